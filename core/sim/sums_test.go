package sim

import (
	"maps"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
)

// auditing counts anew at each Step.
type auditing struct {
	Stepper
	audit func()
}

func (a *auditing) Step(now time.Time, in engine.Input) engine.Ready {
	a.audit()
	return a.Stepper.Step(now, in)
}

// TestSums: what the world and the checks keep the sums of is what counting anew
// gives, at each Step of worlds with faults.
func TestSums(t *testing.T) {
	drains := 0
	for seed := uint64(1); seed <= 60; seed++ {
		var r *runner
		audit := func() {
			for _, wl := range r.w.workloads {
				ready := 0
				for _, p := range wl.pods {
					if p.Ready {
						ready++
					}
					if p.Ready && p.Terminating {
						t.Errorf("seed %d at %s: pod %s is Ready and terminating", seed, r.w.now, p.PodKey)
					}
				}
				if wl.healthy != ready {
					t.Errorf("seed %d at %s: %s has %d Ready pods, and counts %d", seed, r.w.now, wl.WorkloadKey, ready, wl.healthy)
				}
			}
			v := &r.check.view
			drains += len(v.leaving)
			usable := make(map[string]int)
			for name, n := range v.nodes {
				if in := v.instance[n.ProviderID]; in.group != "" && !in.going && !v.leaving[name] && !v.bad[name] && carriesPods(n) {
					usable[in.group]++
				}
			}
			maps.DeleteFunc(v.usable, func(_ string, n int) bool { return n == 0 })
			if !maps.Equal(usable, v.usable) {
				t.Errorf("seed %d at %s: nodes that carry pods by group: %v, and counted %v", seed, r.w.now, usable, v.usable)
			}
		}
		r = newRunner(Options{Seed: seed, Rates: RandomRates(seed), Wrap: func(s Stepper) Stepper { return &auditing{s, audit} }})
		r.run()
		if t.Failed() {
			return
		}
	}
	if drains == 0 {
		t.Error("no node was taken away in any of them")
	}
}
