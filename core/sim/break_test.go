package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// broken is an engine with one thing broken.
type broken struct {
	Stepper
	change func(now time.Time, r *engine.Ready)
	// swallowed effects are answered with success, and nothing was done.
	swallow func(engine.Effect) bool
	owed    []engine.Outcome
	forces  bool                // the shape's policy is force
	blind   bool                // it is not told of volumes
	sees    func(*engine.Input) // what it is told, changed
	deaf    bool                // nor of Deployments
}

func (b *broken) Step(now time.Time, in engine.Input) engine.Ready {
	in.Outcomes = append(in.Outcomes, b.owed...)
	b.owed = nil
	if b.sees != nil {
		b.sees(&in)
	}
	if b.blind {
		in.Attachments = nil
	}
	if b.deaf {
		in.Deployments = nil
	}
	r := b.Stepper.Step(now, in)
	if b.change != nil {
		b.change(now, &r)
	}
	if b.swallow == nil {
		return r
	}
	r.Effects = slices.DeleteFunc(r.Effects, func(e engine.Effect) bool {
		if b.swallow(e) {
			b.owed = append(b.owed, engine.Outcome{ID: e.ID, Verb: e.Verb, Pod: e.Pod})
			return true
		}
		return false
	})
	if len(b.owed) > 0 {
		r.WakeAt = now.Add(time.Millisecond)
	}
	return r
}

// each changes every effect into some.
func each(f func(e engine.Effect) []engine.Effect) func(time.Time, *engine.Ready) {
	return func(_ time.Time, r *engine.Ready) {
		var out []engine.Effect
		for _, e := range r.Effects {
			out = append(out, f(e)...)
		}
		r.Effects = out
	}
}

// TestChecksNotice breaks the engine in many ways, to see that no invariant is
// blind.
func TestChecksNotice(t *testing.T) {
	one := func(f func(e *engine.Effect)) func(time.Time, *engine.Ready) {
		return each(func(e engine.Effect) []engine.Effect { f(&e); return []engine.Effect{e} })
	}
	cordoned := func(n *engine.NodePatch) *engine.NodePatch {
		p, yes := *n, true
		p.Unschedulable = &yes
		return &p
	}
	for _, tc := range []struct {
		name  string
		wants Invariant
		rates Rates
		make  func() *broken
	}{
		{"an intent is dropped", RecordFirst, nil, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				r.Records = slices.DeleteFunc(r.Records, func(ev event.Event) bool {
					return ev.Kind == event.OpIntended && ev.Verb == string(engine.VerbTerminate)
				})
			}}
		}},
		{"the journal is not told what groups and drains wait for", Told, nil, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				for i, ev := range r.Records {
					if ev.Kind == event.GroupWaits || ev.Kind == event.DrainWaits {
						r.Records[i].Kind = event.Waiting // which is for a person alone
					}
				}
			}}
		}},
		{"the journal is not told of drains", Deadline, Rates{KillRecorded: 0.02, KillActing: 0.01, Closes: 1}, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				for i, ev := range r.Records {
					if ev.Kind == event.NodeDraining {
						r.Records[i].Kind = event.Waiting // which is for a person alone
					}
				}
			}}
		}},
		{"an intent comes one Step late", RecordFirst, nil, func() *broken {
			var late []event.Event
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				records := late
				late = nil
				for _, ev := range r.Records {
					if ev.Kind == event.OpIntended {
						late = append(late, ev)
					} else {
						records = append(records, ev)
					}
				}
				r.Records = records
			}}
		}},
		{"maxUnavailable is ignored", Unavailable, nil, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Patch != nil && e.Patch.AddTaint != nil {
					e.Patch = cordoned(e.Patch)
				}
			})}
		}},
		{"the control plane loses two at once", ControlPlane, nil, func() *broken {
			machines := map[string][]string{} // by group
			return &broken{
				sees: func(in *engine.Input) {
					if in.Snapshot == nil {
						return
					}
					clear(machines)
					for _, i := range in.Snapshot.Instances {
						machines[i.GroupID] = append(machines[i.GroupID], i.ID)
					}
				},
				change: each(func(e engine.Effect) []engine.Effect {
					out := []engine.Effect{e}
					for _, id := range machines[e.GroupID] {
						if e.Verb == engine.VerbTerminate && id != e.InstanceID {
							another := e
							another.ID, another.InstanceID = e.ID+"-too", id
							return append(out, another)
						}
					}
					return out
				}),
			}
		}},
		{"surge is added twice", Capacity, nil, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Verb == engine.VerbSetSurge {
					e.Surge *= 2
				}
			})}
		}},
		{"capacity is taken with every instance", Capacity, nil, func() *broken {
			return &broken{change: one(func(e *engine.Effect) { e.Shrink = e.Shrink || e.Verb == engine.VerbTerminate })}
		}},
		{"surge is kept, and nothing said", Capacity, nil, func() *broken {
			surged := false
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				for _, e := range r.Effects {
					if e.Verb == engine.VerbTerminate && surged {
						r.Effects, r.Done = nil, &engine.Result{Status: engine.StatusGateFailed, Message: "signal"}
						return
					}
					surged = surged || e.Verb == engine.VerbSetSurge
				}
			}}
		}},
		{"an instance is ended undrained", Empty, nil, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Verb == engine.VerbEvict },
				change: each(func(e engine.Effect) []engine.Effect {
					if e.Verb == engine.VerbEvict {
						return []engine.Effect{e, {Verb: engine.VerbTerminate, ID: "early", InstanceID: "i-" + strings.TrimPrefix(e.Node, "n-")}}
					}
					return []engine.Effect{e}
				})}
		}},
		{"an instance is ended twice", Once, nil, func() *broken {
			return &broken{change: each(func(e engine.Effect) []engine.Effect {
				again := e
				again.ID += "-again"
				if e.Verb == engine.VerbTerminate {
					return []engine.Effect{e, again}
				}
				return []engine.Effect{e}
			})}
		}},
		{"a new instance is ended", OnlyOld, nil, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				for _, ev := range slices.Clone(r.Records) {
					if ev.Kind != event.ReplacementReady {
						continue
					}
					id := "wrong-" + ev.Instance
					r.Records = append(r.Records, event.Event{Seq: r.Records[len(r.Records)-1].Seq + 1, Kind: event.OpIntended, Op: id, Verb: string(engine.VerbTerminate)})
					r.Effects = append(r.Effects, engine.Effect{Verb: engine.VerbTerminate, ID: id, GroupID: ev.Group, InstanceID: ev.Instance})
				}
			}}
		}},
		{"pods are deleted, not evicted", Disruption, nil, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Verb == engine.VerbEvict {
					e.Verb = engine.VerbDeletePod
				}
			})}
		}},
		{"pods are deleted under their budgets", Disruption, nil, func() *broken {
			// Where deleting was asked for, for pods that no budget protects.
			return &broken{forces: true, change: one(func(e *engine.Effect) {
				if e.Verb == engine.VerbEvict {
					e.Verb = engine.VerbDeletePod
				}
			})}
		}},
		{"nodes are never uncordoned", Marks, Rates{Signal: 1}, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Patch != nil && e.Patch.Unschedulable != nil && !*e.Patch.Unschedulable {
					p := *e.Patch
					p.Unschedulable = nil
					e.Patch = &p
				}
			})}
		}},
		{"evictions do not wait for the load balancers", Excluded, nil, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Verb == engine.VerbQuiesce }}
		}},
		{"the load balancers of Services are not told", Excluded, nil, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Patch != nil && e.Patch.Exclude != nil {
					p := *e.Patch
					p.Exclude, e.Patch = nil, &p
				}
			})}
		}},
		{"instances are not put back into load balancers", Settings, Rates{Signal: 1}, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Verb == engine.VerbUnquiesce || e.Verb == engine.VerbRestore }}
		}},
		{"a person's mark is taken off", Persons, Rates{Relabel: 1}, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Patch != nil && e.Patch.Shield != nil {
					p := *e.Patch
					p.SetAnnotations = map[string]string{model.AnnotationScaleDownDisabled: "true"}
					e.Patch = &p
				}
			})}
		}},
		{"taints stay", Marks, Rates{Signal: 1}, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Patch != nil && e.Patch.RemoveTaint != "" }}
		}},
		{"a person's cordon is taken off", Persons, Rates{Cordon: 1, Signal: 1}, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Patch != nil && e.Patch.RemoveTaint != "" {
					p, no := *e.Patch, false
					p.Unschedulable = &no
					e.Patch = &p
				}
			})}
		}},
		{"settings are not restored", Settings, nil, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Verb == engine.VerbRestore }}
		}},
		{"it never ends", Ends, nil, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Verb == engine.VerbTerminate },
				change: func(now time.Time, r *engine.Ready) { r.Done = nil }}
		}},
		{"it waits for nothing", Ends, nil, func() *broken {
			steps := 0
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				if steps++; steps > 3 {
					r.Effects, r.WakeAt, r.Done = nil, time.Time{}, nil
				}
			}}
		}},
		{"it does not say why it stopped", Ends, Rates{NeverJoins: 1}, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				if r.Done != nil && r.Done.Status != engine.StatusDone {
					r.Done = &engine.Result{Status: r.Done.Status, Message: "stopped"}
				}
			}}
		}},
		{"it is done too early", Complete, nil, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				r.Effects, r.Done = nil, &engine.Result{Status: engine.StatusDone}
			}}
		}},
		{"single replicas are evicted", Single, nil, func() *broken { return &broken{deaf: true} }},
		{"an extra replica is kept", Single, nil, func() *broken {
			return &broken{swallow: func(e engine.Effect) bool { return e.Verb == engine.VerbPatchWorkload && e.WorkloadPatch.GiveBack }}
		}},
		{"volumes are not waited for", Volumes, nil, func() *broken { return &broken{blind: true} }},
		{"no StatefulSet looks ordered", Ordered, nil, func() *broken {
			return &broken{sees: func(in *engine.Input) {
				in.Workloads = slices.Clone(in.Workloads)
				for i := range in.Workloads {
					in.Workloads[i].Ordered = false
				}
			}}
		}},
		{"a group is rolled twice", Rolled, nil, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				for _, e := range slices.Clone(r.Effects) {
					if e.Verb == engine.VerbRoll {
						e.ID += "-again"
						r.Records = append(r.Records, event.Event{Seq: r.Records[len(r.Records)-1].Seq + 1, Kind: event.OpIntended, Op: e.ID, Verb: string(e.Verb)})
						r.Effects = append(r.Effects, e)
					}
				}
			}}
		}},
		{"pods are evicted that no new node may take", Homed, Rates{Selects: 1}, func() *broken {
			return &broken{sees: func(in *engine.Input) {
				for i := range in.Pods {
					in.Pods[i].Traits = nil
				}
			}}
		}},
		{"what the provider rolls is ended by us", Rolled, nil, func() *broken {
			return &broken{change: one(func(e *engine.Effect) {
				if e.Verb == engine.VerbRoll {
					e.Verb, e.InstanceID = engine.VerbTerminate, "i-00001"
				}
			})}
		}},
		{"a number is left out", Orderly, nil, func() *broken {
			return &broken{change: func(_ time.Time, r *engine.Ready) {
				if len(r.Records) > 2 {
					r.Records = slices.Delete(r.Records, 1, 2)
				}
			}}
		}},
		{"it asks to be woken now, again and again", Orderly, nil, func() *broken {
			return &broken{change: func(now time.Time, r *engine.Ready) { r.WakeAt = now }}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := uint64(1); seed < 300; seed++ {
				shape := RandomShape(seed)
				if tc.make().forces {
					shape.Spec.Drain.OnDeadline = plan.DeadlineForce
				}
				r := Run(Options{Seed: seed, Shape: shape, Rates: tc.rates, Wrap: func(s Stepper) Stepper {
					b := tc.make()
					b.Stepper = s
					return b
				}})
				if slices.ContainsFunc(r.Broken, func(v Violation) bool { return v.Invariant == tc.wants }) {
					return
				}
			}
			t.Errorf("%s was not noticed in 300 worlds", tc.wants)
		})
	}
}

// TestBudgetsAreKept has the simulated API server refuse what a budget does not
// allow, and decrement at once.
func TestBudgetsAreKept(t *testing.T) {
	s := &Shape{Spec: Spec(), Groups: []GroupShape{{Name: "g", Size: 3, Old: 0, Zones: []string{"a"}, Room: 20, Traits: surges(3)}}}
	for _, tc := range []struct {
		name   string
		kind   string
		budget BudgetShape
		broken int
		want   string // of evicting each of four pods in turn, at one moment
	}{
		{"a count", "ReplicaSet", BudgetShape{MinAvailable: "2"}, 0, "ok ok blocked blocked"},
		{"a percentage rounds up", "ReplicaSet", BudgetShape{MinAvailable: "60%"}, 0, "ok blocked blocked blocked"},
		{"unavailable rounds up as well", "ReplicaSet", BudgetShape{MaxUnavailable: "30%"}, 0, "ok ok blocked blocked"},
		{"all are needed", "ReplicaSet", BudgetShape{MinAvailable: "4"}, 0, "blocked blocked blocked blocked"},
		{"none", "StatefulSet", BudgetShape{MaxUnavailable: "0"}, 0, "blocked blocked blocked blocked"},
		{"one not Ready goes when enough are healthy", "ReplicaSet", BudgetShape{MinAvailable: "3"}, 1, "blocked blocked blocked ok"},
		{"one not Ready is kept when too few are healthy", "ReplicaSet", BudgetShape{MinAvailable: "4"}, 1, "blocked blocked blocked blocked"},
		{"one not Ready always goes", "ReplicaSet", BudgetShape{MinAvailable: "4", AlwaysEvictUnhealthy: true}, 1, "blocked blocked blocked ok"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			shape := *s
			shape.Workloads = []WorkloadShape{{Kind: tc.kind, Name: "w", Pods: 4, Request: 1, Start: time.Second, Stop: time.Second, Broken: tc.broken}}
			tc.budget.Name, tc.budget.Workloads = "pdb", []string{"w"}
			shape.Budgets = []BudgetShape{tc.budget}
			w := shape.build(1, newInjector(1, nil, nil), epoch)
			pods := slices.Clone(w.workload("w").pods)
			slices.SortStableFunc(pods, func(a, b *pod) int { return ready(b) - ready(a) })
			var got []string
			for _, p := range pods {
				if err := w.evict(engine.PodRef{PodKey: p.PodKey, UID: p.UID}, nil); err != nil {
					got = append(got, string(err.Code))
				} else {
					got = append(got, "ok")
				}
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("evictions: %s, want %s", s, tc.want)
			}
		})
	}
}

func ready(p *pod) int {
	if p.Ready {
		return 1
	}
	return 0
}

// TestEvictionAnswers are those of the API server that budgets have no part in.
func TestEvictionAnswers(t *testing.T) {
	shape := &Shape{Spec: Spec(), Groups: []GroupShape{{Name: "g", Size: 2, Zones: []string{"a"}, Room: 20, Traits: surges(3)}},
		Workloads: []WorkloadShape{{Kind: "ReplicaSet", Name: "w", Pods: 2, Request: 1, Start: time.Second, Stop: time.Second}},
		Budgets:   []BudgetShape{{Name: "a", Workloads: []string{"w"}, MinAvailable: "1"}, {Name: "b", Workloads: []string{"w"}, MinAvailable: "1"}}}
	w := shape.build(1, newInjector(1, nil, nil), epoch)
	p := w.workload("w").pods[0]
	for _, tc := range []struct {
		name string
		ref  engine.PodRef
		want engine.ErrorCode
	}{
		{"no such pod", engine.PodRef{PodKey: model.PodKey{Namespace: "default", Name: "gone"}}, engine.ErrNotFound},
		{"another life of it, which budgets guard all the same", engine.PodRef{PodKey: p.PodKey, UID: "other"}, engine.ErrMultiBudget},
		{"two budgets", engine.PodRef{PodKey: p.PodKey, UID: p.UID}, engine.ErrMultiBudget},
	} {
		if err := w.evict(tc.ref, nil); err == nil || err.Code != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	for _, q := range w.pods {
		q.Phase = "Pending"
	}
	if err := w.evict(engine.PodRef{PodKey: p.PodKey, UID: "other"}, nil); err == nil || err.Code != engine.ErrConflict {
		t.Errorf("another life of a pending pod: %v", err)
	}
	if err := w.evict(engine.PodRef{PodKey: p.PodKey, UID: p.UID}, nil); err != nil {
		t.Errorf("a pending pod: %v", err)
	}
	if err := w.evict(engine.PodRef{PodKey: p.PodKey, UID: p.UID}, nil); err != nil {
		t.Errorf("a terminating pod, again: %v", err)
	}
	if err := w.deletePod(engine.PodRef{PodKey: p.PodKey, UID: "other"}, nil); err == nil || err.Code != engine.ErrConflict {
		t.Errorf("deleting another life: %v", err)
	}
}
