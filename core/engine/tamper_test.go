package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
)

// TestCheckerNotices breaks each invariant once, between the engine and the
// world, to see that the checker is not blind.
func TestCheckerNotices(t *testing.T) {
	// each effect is changed by f, which may answer several
	effects := func(f func(s *sim, e engine.Effect) []engine.Effect) func(*sim, *engine.Ready) {
		return func(s *sim, r *engine.Ready) {
			var out []engine.Effect
			for _, e := range r.Effects {
				out = append(out, f(s, e)...)
			}
			r.Effects = out
		}
	}
	// swallowed effects do nothing and are answered with success
	swallow := func(want func(engine.Effect) bool) func(*sim, *engine.Ready) {
		return effects(func(s *sim, e engine.Effect) []engine.Effect {
			if !want(e) {
				return []engine.Effect{e}
			}
			s.in.Outcomes = append(s.in.Outcomes, engine.Outcome{ID: e.ID, Verb: e.Verb})
			s.stepSoon()
			return nil
		})
	}
	for _, tc := range []struct {
		name   string
		faults faults
		tamper func(*sim, *engine.Ready)
		want   string
	}{
		{"a change without an intent", faults{}, func(_ *sim, r *engine.Ready) {
			r.Records = slices.DeleteFunc(r.Records, func(e event.Event) bool { return e.Kind == event.OpIntended })
		}, "has no intent"},
		{"a surge too large", faults{}, effects(func(_ *sim, e engine.Effect) []engine.Effect {
			if e.Verb == engine.VerbSetSurge {
				e.Surge += 20
			}
			return []engine.Effect{e}
		}), "at most"},
		{"an instance ended twice", faults{}, effects(func(_ *sim, e engine.Effect) []engine.Effect {
			again := e
			again.ID += "-again"
			if e.Verb == engine.VerbTerminate {
				return []engine.Effect{e, again}
			}
			return []engine.Effect{e}
		}), "terminated twice"},
		{"an instance ended with pods", faults{}, effects(func(_ *sim, e engine.Effect) []engine.Effect {
			if e.Verb == engine.VerbEvict {
				return []engine.Effect{{Verb: engine.VerbTerminate, ID: "x", InstanceID: strings.Replace(e.Node, "node-", "i-", 1)}}
			}
			return []engine.Effect{e}
		}), "on it"},
		{"too many cordoned", faults{}, effects(func(_ *sim, e engine.Effect) []engine.Effect {
			if e.Verb == engine.VerbPatchNode && e.Patch.AddTaint != nil {
				yes := true
				p := *e.Patch
				p.Unschedulable = &yes
				e.Patch = &p
			}
			return []engine.Effect{e}
		}), "usable nodes, fewer than"},
		{"too many evictions", faults{}, effects(func(s *sim, e engine.Effect) []engine.Effect {
			out := []engine.Effect{e}
			for _, p := range s.sortedPods() {
				if o := s.pods[e.Pod.PodKey]; e.Verb == engine.VerbEvict && o != nil && p.Owner == o.Owner && p != o {
					out = append(out, engine.Effect{Verb: engine.VerbEvict, Pod: engine.PodRef{PodKey: p.PodKey, UID: p.UID}})
				}
			}
			return out
		}), "evictions at once under budget"},
		{"a pod deleted", faults{}, effects(func(_ *sim, e engine.Effect) []engine.Effect {
			if e.Verb == engine.VerbEvict {
				e.Verb = engine.VerbDeletePod
			}
			return []engine.Effect{e}
		}), "deleted, not evicted"},
		{"marks left", faults{signal: 1}, swallow(func(e engine.Effect) bool { return e.Patch != nil && e.Patch.RemoveTaint != "" }), "keeps our marks"},
		{"settings left", faults{}, swallow(func(e engine.Effect) bool { return e.Verb == engine.VerbRestore }), "is held still"},
		{"a person's cordon taken off", faults{signal: 1}, effects(func(_ *sim, e engine.Effect) []engine.Effect {
			if e.Patch != nil && e.Patch.RemoveTaint != "" {
				no := false
				e.Patch.Unschedulable = &no
			}
			return []engine.Effect{e}
		}), "a person had cordoned it"},
		{"surge left", faults{}, func(s *sim, r *engine.Ready) {
			if slices.ContainsFunc(s.toy.order, func(id string) bool { return s.groups[id].Surge > 0 }) {
				r.Effects, r.Done = nil, &engine.Result{Status: engine.StatusGateFailed}
			}
		}, "keeps a surge"},
		{"done too early", faults{}, func(_ *sim, r *engine.Ready) {
			r.Effects, r.Done = nil, &engine.Result{Status: engine.StatusDone}
		}, "is there still"},
		{"capacity taken", faults{}, effects(func(s *sim, e engine.Effect) []engine.Effect {
			if e.Verb == engine.VerbRestore {
				s.groups[e.GroupID].Desired++
			}
			return []engine.Effect{e}
		}), "desired capacity of"},
		{"a wake-up that is due", faults{}, func(s *sim, r *engine.Ready) { r.WakeAt = s.now }, "not in the future"},
		{"nothing to wait for", faults{}, func(s *sim, r *engine.Ready) {
			if r.Done == nil && s.now.After(epoch) {
				r.Effects, r.WakeAt = nil, time.Time{}
			}
		}, "nothing moves any more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var last []string
			for seed := uint64(4); seed < 200; seed += 4 { // worlds without faults of their own
				s := newSim(seed)
				s.faults, s.tamper = tc.faults, tc.tamper
				last = s.rotate()
				if slices.ContainsFunc(last, func(p string) bool { return strings.Contains(p, tc.want) }) {
					return
				}
			}
			t.Errorf("not noticed; the last seed said: %v", last)
		})
	}
}
