package ekstest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

// crashes are all calls that take more than one change at AWS. Each is cut off
// before and after every one of its changes, and then made again by a new life
// of the driver: it must reach its goal, once.
func TestCrashAtEveryBoundary(t *testing.T) {
	type step struct {
		name   string
		before func(*testing.T, *world, *eks.Driver) // on a group of 4, at most 6, as made
		call   func(context.Context, *eks.Driver, *world) error
		check  func(*testing.T, *world, *eks.Driver)
	}
	var victim string
	steps := []step{
		{
			name: "prepare",
			call: prepareCall,
			check: func(t *testing.T, w *world, d *eks.Driver) {
				g := w.state(groupA)
				if !g.ProtectsNew || !slices.Equal(g.Suspended, []string{"AZRebalance"}) {
					t.Errorf("protects new %v, suspended %v", g.ProtectsNew, g.Suspended)
				}
				if want := "rotation=" + rotation + " azrebalance=running protect=false protected=0"; g.Tags["rotatord.github.io/prepared"] != want {
					t.Errorf("record %q, want %q", g.Tags["rotatord.github.io/prepared"], want)
				}
			},
		},
		{
			name:   "restore",
			before: func(t *testing.T, w *world, d *eks.Driver) { accepted(t, prepare(t, d)); raiseAndTakeBack(t, w, d) },
			call: func(ctx context.Context, d *eks.Driver, _ *world) error {
				o, err := d.Restore(ctx, sdk.GroupRequest{Op: op(), GroupID: groupA})
				return failure(o, err)
			},
			check: func(t *testing.T, w *world, _ *eks.Driver) { asMade(t, w, 4) },
		},
		{
			name:   "raise within the maximum",
			before: func(t *testing.T, _ *world, d *eks.Driver) { accepted(t, prepare(t, d)) },
			call:   surgeCall(2),
			check:  func(t *testing.T, w *world, d *eks.Driver) { capacity(t, w, d, 6, 6, 2) },
		},
		{
			name:   "raise beyond the maximum",
			before: func(t *testing.T, _ *world, d *eks.Driver) { accepted(t, prepare(t, d)) },
			call:   surgeCall(4),
			check:  func(t *testing.T, w *world, d *eks.Driver) { capacity(t, w, d, 8, 8, 4) },
		},
		{
			name: "raise again beyond the maximum",
			before: func(t *testing.T, w *world, d *eks.Driver) {
				accepted(t, prepare(t, d))
				accepted(t, setSurge(t, d, 4))
				w.pass(3 * time.Second)
			},
			call: surgeCall(5),
			check: func(t *testing.T, w *world, d *eks.Driver) {
				capacity(t, w, d, 9, 9, 5)
				for s := 4; s >= 0; s-- {
					accepted(t, &shrinkFirst(t, w, d, s).Capacity)
				}
				accepted(t, restore(t, d))
				if g := w.state(groupA); g.Max != 6 || g.Desired != 4 {
					t.Errorf("afterwards: desired %d, max %d, want 4 and 6", g.Desired, g.Max)
				}
			},
		},
		{
			name: "shrink",
			before: func(t *testing.T, w *world, d *eks.Driver) {
				accepted(t, prepare(t, d))
				accepted(t, setSurge(t, d, 2))
				w.pass(3 * time.Second)
				victim = members(w.state(groupA), "InService")[0]
			},
			call: func(ctx context.Context, d *eks.Driver, _ *world) error {
				r, err := d.Terminate(ctx, sdk.TerminateRequest{Op: op(), GroupID: groupA, InstanceID: victim, Capacity: sdk.ShrinkCapacity, Surge: 1})
				if err != nil {
					return err
				}
				return cmpFailures(&r.Instance, &r.Capacity)
			},
			check: func(t *testing.T, w *world, d *eks.Driver) {
				capacity(t, w, d, 5, 6, 1)
				w.pass(5 * time.Second)
				if up := members(w.state(groupA), "InService"); len(up) != 5 || slices.Contains(up, victim) {
					t.Errorf("in service: %v, want 5 without %s", up, victim)
				}
				if n := w.Stats(false).Terminated; n != 1 {
					t.Errorf("%d instances ended, want 1", n)
				}
			},
		},
		{
			name: "keep",
			before: func(t *testing.T, w *world, d *eks.Driver) {
				accepted(t, prepare(t, d))
				victim = members(w.state(groupA), "InService")[0]
			},
			call: func(ctx context.Context, d *eks.Driver, _ *world) error {
				r, err := d.Terminate(ctx, sdk.TerminateRequest{Op: op(), GroupID: groupA, InstanceID: victim, Capacity: sdk.KeepCapacity})
				if err != nil {
					return err
				}
				return cmpFailures(&r.Instance, &r.Capacity)
			},
			check: func(t *testing.T, w *world, d *eks.Driver) {
				w.pass(5 * time.Second)
				if up := members(w.state(groupA), "InService"); len(up) != 4 || slices.Contains(up, victim) {
					t.Errorf("in service: %v, want 4 without %s", up, victim)
				}
				if n := w.Stats(false).Terminated; n != 1 {
					t.Errorf("%d instances ended, want 1", n)
				}
			},
		},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			crashEverywhere(t, func(w *world) { w.seed(4) }, s.before, s.call, s.check)
		})
	}
}

// crashEverywhere cuts a call off before and after each of its changes, at once
// and with a pause, and makes it again with a new life of the driver.
func crashEverywhere(t *testing.T, seed func(*world), before func(*testing.T, *world, *eks.Driver),
	call func(context.Context, *eks.Driver, *world) error, check func(*testing.T, *world, *eks.Driver)) {
	points := 0
	for at := 0; ; at++ {
		reached := false
		for _, after := range []bool{false, true} {
			for _, pause := range []time.Duration{0, 5 * time.Second} {
				t.Run(fmt.Sprintf("change %d after=%v pause=%v", at, after, pause), func(t *testing.T) {
					w := newWorld(t)
					seed(w)
					d := w.driver()
					if before != nil {
						before(t, w, d)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					w.mu.Lock()
					w.cut = &cut{left: at, after: after, kill: cancel}
					w.mu.Unlock()
					err := call(ctx, d, w)
					w.mu.Lock()
					struck := w.cut.done
					w.cut = nil
					w.mu.Unlock()
					if struck && err == nil {
						t.Error("the call was cut off and claims success")
					}
					reached = reached || struck
					w.pass(pause)
					d = w.driver()
					if err := call(t.Context(), d, w); err != nil {
						t.Fatalf("the same call again: %v", err)
					}
					check(t, w, d)
				})
			}
		}
		if !reached {
			break
		}
		points++
	}
	if points == 0 {
		t.Error("the call was never cut off: the test tests nothing")
	}
}

// TestCrashThenSomebodyElse cuts a raise off everywhere, lets somebody else
// change the desired capacity, and repeats it.
func TestCrashThenSomebodyElse(t *testing.T) {
	for at := range 3 {
		for _, after := range []bool{false, true} {
			for _, other := range []int{3, 5, 6} {
				t.Run(fmt.Sprintf("change %d after=%v desired=%d", at, after, other), func(t *testing.T) {
					w := newWorld(t)
					w.seed(4, func(s *aws.GroupSpec) { s.Max = 20 })
					d := w.driver()
					accepted(t, prepare(t, d))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					w.mu.Lock()
					w.cut = &cut{left: at, after: after, kill: cancel}
					w.mu.Unlock()
					_ = surgeCall(2)(ctx, d, w)
					w.mu.Lock()
					w.cut = nil
					w.mu.Unlock()
					w.setDesired(groupA, other)
					w.pass(3 * time.Second)
					before := w.state(groupA).Desired
					d = w.driver()
					accepted(t, setSurge(t, d, 2))
					g := w.state(groupA)
					if g.Desired < before {
						t.Errorf("desired capacity was lowered from %d to %d", before, g.Desired)
					}
					if n := groupOf(t, look(t, d, 0), groupA); n.Surge != 2 {
						t.Errorf("surge %d, want 2", n.Surge)
					}
				})
			}
		}
	}
}

func prepareCall(ctx context.Context, d *eks.Driver, _ *world) error {
	o, err := d.Prepare(ctx, sdk.GroupRequest{Op: op(), GroupID: groupA})
	return failure(o, err)
}

func surgeCall(n int) func(context.Context, *eks.Driver, *world) error {
	return func(ctx context.Context, d *eks.Driver, _ *world) error {
		o, err := d.SetSurge(ctx, sdk.SetSurgeRequest{Op: op(), GroupID: groupA, Surge: n})
		return failure(o, err)
	}
}

func failure(o *sdk.Operation, err error) error {
	if err != nil {
		return err
	}
	return cmpFailures(o)
}

func cmpFailures(ops ...*sdk.Operation) error {
	for _, o := range ops {
		if o.State == sdk.OperationFailed {
			return fmt.Errorf("operation failed: %+v", o.Diagnostics)
		}
	}
	return nil
}

// capacity checks a group and what the driver shows of it.
func capacity(t *testing.T, w *world, d *eks.Driver, desired, max, surge int) {
	t.Helper()
	g := w.state(groupA)
	n := groupOf(t, look(t, d, 0), groupA)
	got := []int{g.Desired, g.Max, n.Desired, n.Max, n.Surge}
	if diff := cmp.Diff([]int{desired, max, desired, max, surge}, got); diff != "" {
		t.Errorf("desired and max at AWS; desired, max and surge shown (-want +got):\n%s", diff)
	}
}

// raiseAndTakeBack surges by 4 and shrinks back to the group's own size.
func raiseAndTakeBack(t *testing.T, w *world, d *eks.Driver) {
	t.Helper()
	accepted(t, setSurge(t, d, 4))
	w.pass(3 * time.Second)
	for s := 3; s >= 0; s-- {
		r := shrinkFirst(t, w, d, s)
		accepted(t, &r.Instance)
		accepted(t, &r.Capacity)
	}
	w.pass(3 * time.Second)
}

func shrinkFirst(t *testing.T, w *world, d *eks.Driver, surge int) *sdk.TerminateResult {
	t.Helper()
	return shrink(t, d, members(w.state(groupA), "InService")[0], surge)
}

// asMade checks that nothing of a rotation is left on the group of n.
func asMade(t *testing.T, w *world, n int) {
	t.Helper()
	g := w.state(groupA)
	if g.Desired != n || g.Max != n+2 || g.Min != 1 || g.ProtectsNew || len(g.Suspended) > 0 {
		t.Errorf("desired %d, max %d, min %d, protects new %v, suspended %v", g.Desired, g.Max, g.Min, g.ProtectsNew, g.Suspended)
	}
	if diff := cmp.Diff(map[string]string{"kubernetes.io/cluster/" + cluster: "owned"}, g.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	for _, m := range g.Instances {
		if m.Protected {
			t.Errorf("instance %s is still protected from scale-in", m.ID)
		}
	}
}
