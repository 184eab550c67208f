// Command shapes rotates a family of clusters in virtual time and prints, as a
// table in Markdown, how long each rotation takes against its lower bound, how
// often a pod moves, how many evictions are refused, and what the engine costs.
// It ends with 1 if a rotation fails or an invariant breaks.
//
//	shapes                     all of the family
//	shapes -run 'zonal|mix'    those whose name matches
//	shapes -attract taint      with another strategy.attract than the default
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"github.com/rotatord/rotator/core/bound"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/sim"
)

func main() {
	run := flag.String("run", "", "only the clusters whose name matches this pattern")
	seed := flag.Uint64("seed", 1, "where pods are when the rotation begins")
	attract := flag.String("attract", string(plan.AttractCordon), "how old nodes are made unattractive: taint or cordon")
	flag.Parse()
	only, err := regexp.Compile(*run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "-run:", err)
		os.Exit(2)
	}
	failed := 0
	fmt.Println("| cluster | nodes | pods | time | estimate | off by | lower bound | ratio | limited by | moves per pod | refused | decisions | per second | engine memory |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|")
	for _, c := range sim.Family() {
		if only.MatchString(c.Name) {
			c.Shape.Spec.Strategy.Attract = plan.Attract(*attract)
			failed = max(failed, row(c, *seed))
		}
	}
	os.Exit(failed)
}

// row rotates one cluster and prints its line.
func row(c sim.Case, seed uint64) int {
	nodes, pods := 0, 0
	for _, g := range c.Shape.Groups {
		nodes += g.Size
	}
	for _, w := range c.Shape.Workloads {
		pods += w.Pods
	}
	var meter *meter
	r := sim.Run(sim.Options{Seed: seed, Shape: c.Shape, Wrap: func(s sim.Stepper) sim.Stepper {
		meter = newMeter(s)
		return meter
	}})
	if r.Status != engine.StatusDone || len(r.Broken) > 0 {
		fmt.Printf("| %s | %d | %d | %s: %s %v |\n", c.Name, nodes, pods, r.Status, r.Message, r.Broken)
		return 1
	}
	least, limit := bound.Lower(c.Shape.Limits())
	fmt.Printf("| %s | %d | %d | %s | %s | %+.0f %% | %s | %.2f | %s | %.3f | %d | %d | %.0f | %.0f MiB |\n", c.Name, nodes, pods,
		r.Took.Round(time.Second), r.Estimated.Round(time.Second), 100*(r.Estimated.Seconds()/r.Took.Seconds()-1), least.Round(time.Second), r.Took.Seconds()/least.Seconds(), limit,
		float64(r.Evicted)/float64(pods), r.Refused, r.Steps, float64(r.Steps)/meter.inside.Seconds(), meter.memory())
	return 0
}

// meter measures the engine inside a simulation.
type meter struct {
	sim.Stepper
	before uint64
	inside time.Duration
}

func newMeter(s sim.Stepper) *meter { return &meter{Stepper: s, before: heap()} }

// Step measures the time of a decision.
func (m *meter) Step(now time.Time, in engine.Input) engine.Ready {
	began := time.Now()
	defer func() { m.inside += time.Since(began) }()
	return m.Stepper.Step(now, in)
}

// memory is what the engine holds at the end, in MiB: what is free without it.
func (m *meter) memory() float64 {
	with := heap()
	m.Stepper = nil
	return float64(with-min(heap(), with)) / (1 << 20)
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
