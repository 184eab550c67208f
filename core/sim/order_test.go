package sim

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/bound"
	"github.com/rotatord/rotator/core/engine"
)

// small are clusters of five nodes whose order can be searched exhaustively.
func small() map[string]func() *Shape {
	five := func(surge string) *builder {
		b := family(5).surge(surge)
		b.shape.Spec.Strategy.Canary.Enabled = false
		return b
	}
	return map[string]func() *Shape{
		"no budgets":             func() *Shape { return five("2").pods(10, 2, "").shape },
		"one chain":              func() *Shape { return five("2").each(1, 3, "1").pods(5, 1, "").shape },
		"two chains":             func() *Shape { return five("2").each(2, 3, "1").shape },
		"many small":             func() *Shape { return five("2").each(4, 2, "1").shape },
		"a huge one and a chain": func() *Shape { return five("3").each(1, 10, "40%").each(1, 2, "1").shape },
		"one for each node":      func() *Shape { return five("3").each(1, 5, "1").shape },
		"zonal":                  func() *Shape { return five("2").zonal(3, 2, "1").pods(5, 1, "").shape },
		"StatefulSets":           func() *Shape { return five("2").stateful(2, 3, "1").shape },
	}
}

// TestOrderAgainstTheBest holds the engine's order of nodes against the best of
// all 120: each is forced in turn by strategy.orderNodes.
func TestOrderAgainstTheBest(t *testing.T) {
	worst := 1.0
	shapes := small()
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		shape := shapes[name]
		var best, slowest time.Duration
		permutations([]string{"i-00001", "i-00002", "i-00003", "i-00004", "i-00005"}, func(order []string) {
			s := shape()
			s.Spec.Strategy.OrderNodes = order
			took := rotate(t, s)
			if best == 0 || took < best {
				best = took
			}
			slowest = max(slowest, took)
		})
		took := rotate(t, shape())
		least, limit := bound.Lower(shape().Limits())
		ratio := took.Seconds() / best.Seconds()
		worst = max(worst, ratio)
		t.Logf("%-24s engine %s, best order %s, worst %s, bound %s (%s): %.2f of the best", name, took.Round(time.Second), best.Round(time.Second),
			slowest.Round(time.Second), least, limit, ratio)
		if best < least {
			t.Errorf("%s: the best order takes %s, less than the lower bound of %s", name, best, least)
		}
		if ratio > 1.10 { // one pod's start on so few nodes
			t.Errorf("%s: the engine takes %s, and the best order of nodes %s", name, took, best)
		}
	}
	t.Logf("at most %.2f of the best order", worst)
}

func rotate(t *testing.T, s *Shape) time.Duration {
	t.Helper()
	r := Run(Options{Seed: 1, Shape: s})
	if r.Status != engine.StatusDone || len(r.Broken) > 0 {
		t.Fatal(fmt.Sprint(r.Status, r.Message, r.Broken))
	}
	return r.Took
}

// permutations calls f with each order of s.
func permutations(s []string, f func([]string)) {
	var visit func(int)
	visit = func(i int) {
		if i == len(s) {
			f(append([]string(nil), s...))
			return
		}
		for j := i; j < len(s); j++ {
			s[i], s[j] = s[j], s[i]
			visit(i + 1)
			s[i], s[j] = s[j], s[i]
		}
	}
	visit(0)
}

// TestFamilyNearItsBound rotates the smaller clusters of the family: `make
// bench` does all of them.
func TestFamilyNearItsBound(t *testing.T) {
	for _, c := range Family() {
		pods := 0
		for _, w := range c.Shape.Workloads {
			pods += w.Pods
		}
		if pods > 2000 {
			continue
		}
		r := Run(Options{Seed: 1, Shape: c.Shape})
		least, limit := bound.Lower(c.Shape.Limits())
		ratio := r.Took.Seconds() / least.Seconds()
		if r.Status != engine.StatusDone || len(r.Broken) > 0 || ratio < 1 || ratio > 1.25 {
			t.Errorf("%s: %s %s %v: %s is %.2f of %s (%s)", c.Name, r.Status, r.Message, r.Broken, r.Took, ratio, least, limit)
		}
		if moves := float64(r.Evicted) / float64(pods); moves > 1.02 && c.Shape.Spec.Strategy.MaxUnavailable == "0" {
			t.Errorf("%s: each pod moves %.3f times", c.Name, moves)
		}
	}
}

// TestThreeKindsOfNodes rotates twelve nodes of which every third has pods of the
// same services, one of each, all under budgets of one. Nodes of one kind must not
// go together, and zones must not leave them over: each time they do costs a start.
func TestThreeKindsOfNodes(t *testing.T) {
	b := family(12).surge("4")
	b.shape.Pace = Pace{React: 500 * time.Millisecond, Boot: 20 * time.Second, End: 3 * time.Second, Cloud: 10 * time.Millisecond,
		API: 10 * time.Millisecond, Control: 50 * time.Millisecond, Watch: 20 * time.Millisecond}
	for i := range 23 {
		if i < 22 {
			b.each(1, 4, "1")
		} else {
			b.pods(8, 1, "")
		}
		w := &b.shape.Workloads[i]
		w.Start, w.Stop = time.Duration(3+i%6)*time.Second, 500*time.Millisecond
	}
	// A boot for the surge, the canary until its pods are healthy, two more waves and
	// the last pods' start.
	if took, goal := rotate(t, b.shape), 82*time.Second; took > goal {
		t.Errorf("it takes %s, want at most %s", took, goal)
	}
}
