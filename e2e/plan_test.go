//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fullWorkload asks for more than half of each of three nodes: no two of its
// pods fit on one.
const fullWorkload = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
      - name: app
        image: app:v1
        resources: {requests: {cpu: 2200m, memory: 64Mi}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: cart, namespace: shop}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: cart}}
`

// full is a cluster without room: made with its workload when it is first asked
// for.
var full = func() func(testing.TB) *Sandbox {
	var once sync.Once
	var s func(testing.TB) *Sandbox
	return func(tb testing.TB) *Sandbox {
		tb.Helper()
		once.Do(func() {
			file := filepath.Join(workDir, "full.yaml")
			if err := os.WriteFile(file, []byte(fullWorkload), 0o600); err != nil {
				tb.Fatal(err)
			}
			s = lazily("e2e-full", "eu-west-2", append(delays, "--nodes", "3", "--groups", "1", "--zones", "1", "--seed", "12", "--workload", file)...)
		})
		return s(tb)
	}
}()

// planned is what `rotatord plan --output json` says, as far as tests read it.
type planned struct {
	Nodes    int `json:"nodes"`
	Warnings []struct{ Code, Message string }
	Refusals []struct{ Code, Message string }
	Estimate struct {
		Seconds           float64
		SecondsLong       float64
		LowerBoundSeconds float64
		LimitedBy         string
		Assumed           bool
		Basis             []string
		Groups            []struct {
			Name          string
			AtOnce, Waves int
			BootSeconds   float64
		}
	}
}

func (r Result) planned(tb testing.TB) planned {
	tb.Helper()
	var p planned
	if err := json.Unmarshal([]byte(r.Stdout), &p); err != nil {
		tb.Fatalf("%v in %s", err, r.Text())
	}
	return p
}

// A cluster that is too full to lose a node is refused before anything is
// touched, with the pods that would find no room; with an extra node it is not,
// and the estimate comes from what the cluster has seen.
func TestPlanKnowsWhetherPodsFit(t *testing.T) {
	s := full(t)
	group := groupName(s, 1)
	s.MustSettle(t)
	s.PublishImage(t, group)
	r := s.rotatord(t)
	before := s.State(t)

	tight := []string{"--max-surge", "0", "--max-unavailable", "1"}
	for _, command := range []string{"plan", "run"} {
		r.Run(t, command, tight...).MustExit(t, exitRefused, "pods-do-not-fit", "shop/cart-", "lack cpu (asks 2.2, at most", "strategy.maxSurge")
	}
	r.Run(t, "plan", append(tight, "--capacity-check", "warn")...).MustExit(t, exitDone, "pods-do-not-fit", "stay Pending")
	if res := r.Run(t, "plan", append(tight, "--capacity-check", "off")...).MustExit(t, exitDone); strings.Contains(res.Text(), "pods-do-not-fit") {
		t.Errorf("looked at all the same:\n%s", res.Text())
	}
	s.State(t).MustBeTidy(t, before)

	r.Run(t, "plan").MustExit(t, exitDone, "time:", "at least", "a new node is Ready after", "a pod is Ready after", "one at a time")
	p := r.Run(t, "plan", "--output", "json").MustExit(t, exitDone).planned(t)
	e := p.Estimate
	if p.Nodes != 3 || len(p.Warnings)+len(p.Refusals) > 0 || e.Assumed || e.LowerBoundSeconds <= 0 || e.Seconds < e.LowerBoundSeconds || e.SecondsLong < e.Seconds ||
		!strings.HasPrefix(e.LimitedBy, "group "+group+": 3 nodes, one at a time") || len(e.Groups) != 1 || e.Groups[0].AtOnce != 1 {
		t.Errorf("%+v", p)
	}
	res := r.Run(t, "run").MustExit(t, exitDone)
	t.Logf("estimated %.1f s, at least %.1f s; took %.1f s", e.Seconds, e.LowerBoundSeconds, res.Took.Seconds())
	s.MustHaveKeptBudgets(t)

	waves := r.Run(t, "plan", "--force", "--mode", "batch", "--max-surge", "2", "--canary=false", "--output", "json").MustExit(t, exitDone).planned(t)
	if g := waves.Estimate.Groups; len(g) != 1 || g[0].Waves != 2 || g[0].AtOnce != 2 {
		t.Errorf("waves: %+v", waves.Estimate)
	}
}

// BenchmarkEstimate compares what `rotatord plan` says with what a rotation
// takes, once the cluster has seen boots like those to come: the machines that
// a sandbox begins with were there before its control plane.
func BenchmarkEstimate(b *testing.B) {
	for _, tc := range []struct {
		nodes, surge string
		box          func(testing.TB) *Sandbox
	}{{"3", "1", plain}, {"30", "3", thirtyNodes}} {
		b.Run("nodes="+tc.nodes, func(b *testing.B) {
			s := tc.box(b)
			group := groupName(s, 1)
			for b.Loop() {
				r := s.rotatord(b)
				r.Run(b, "run", "--group", group, "--force", "--max-surge", tc.nodes).MustExit(b, exitDone)
				s.MustSettle(b)
				flags := []string{"--group", group, "--force", "--max-surge", tc.surge}
				e := r.Run(b, "plan", append(flags, "--output", "json")...).MustExit(b, exitDone).planned(b).Estimate
				res := r.Run(b, "run", flags...).MustExit(b, exitDone)
				s.MustHaveKeptBudgets(b)
				took := res.Took.Seconds()
				figure("estimate of a rotation of "+tc.nodes+" nodes, surge "+tc.surge, fmt.Sprintf("%.1f s", e.Seconds), fmt.Sprintf("up to %.1f s", e.SecondsLong))
				figure("  what it took", fmt.Sprintf("%.1f s", took), fmt.Sprintf("the estimate was off by %+.0f %%", 100*(e.Seconds-took)/took))
			}
		})
	}
}
