package ekstest

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

func TestSetSurgeIsAbsolute(t *testing.T) {
	w := newWorld(t)
	w.seed(4)
	d := w.driver()
	accepted(t, prepare(t, d))
	accepted(t, setSurge(t, d, 2))
	capacity(t, w, d, 6, 6, 2)
	w.calls()
	accepted(t, setSurge(t, d, 2))
	if diff := cmp.Diff(map[string]int{"autoscaling:DescribeAutoScalingGroups": 1}, w.calls()); diff != "" {
		t.Errorf("the same surge again (-want +got):\n%s", diff)
	}
	accepted(t, setSurge(t, d, 3))
	capacity(t, w, d, 7, 7, 3)
	o := setSurge(t, d, 1)
	if o.State != sdk.OperationFailed || !slices.Equal(codesOf(o.Diagnostics), []string{"surge-lowered"}) {
		t.Errorf("a lower surge: %+v", o)
	}
	capacity(t, w, d, 7, 7, 3)
}

// TestRebase: what others set between two changes is kept, and never written
// over.
func TestRebase(t *testing.T) {
	cases := []struct {
		name    string
		others  func(*world)
		surge   int // asked for afterwards
		desired int
		codes   []string
	}{
		{name: "raised", others: func(w *world) { w.setDesired(groupA, 9) }, surge: 3, desired: 10, codes: []string{"capacity-rebased"}},
		{name: "lowered", others: func(w *world) { w.setDesired(groupA, 5) }, surge: 3, desired: 6, codes: []string{"capacity-rebased"}},
		{name: "raised, and the surge stays", others: func(w *world) { w.setDesired(groupA, 9) }, surge: 2, desired: 9, codes: []string{"capacity-rebased"}},
		{name: "below the surge", others: func(w *world) { w.setDesired(groupA, 1) }, surge: 2, desired: 2, codes: []string{"capacity-rebased"}},
		{name: "nothing", others: func(*world) {}, surge: 3, desired: 7},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.seed(4, func(s *aws.GroupSpec) { s.Max = 20 })
			d := w.driver()
			accepted(t, setSurge(t, d, 2))
			w.pass(3 * time.Second)
			c.others(w)
			o := setSurge(t, w.driver(), c.surge)
			accepted(t, o)
			if diff := cmp.Diff(c.codes, codesOf(o.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
			capacity(t, w, d, c.desired, 20, c.surge)
			// It says so once.
			if o := setSurge(t, d, c.surge); len(o.Diagnostics) > 0 {
				t.Errorf("again: %+v", o.Diagnostics)
			}
		})
	}
}

func TestMaxSize(t *testing.T) {
	setMax := func(n int) func(*world) {
		return func(w *world) {
			w.update(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: ptr(groupA), MaxSize: ptr(int32(n))})
		}
	}
	cases := []struct {
		name   string
		others func(*world) // after the raise of a group of 4, at most 6, by 4
		max    int          // after Restore
		codes  []string
	}{
		{name: "put back", others: func(*world) {}, max: 6},
		{name: "somebody raised it", others: setMax(12), max: 12},
		{name: "somebody raised the desired capacity above it", others: func(w *world) { setMax(12)(w); w.setDesired(groupA, 11); setMax(8 + 3)(w); setMax(12)(w) }, max: 12},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.seed(4)
			d := w.driver()
			accepted(t, prepare(t, d))
			accepted(t, setSurge(t, d, 4))
			capacity(t, w, d, 8, 8, 4)
			w.pass(3 * time.Second)
			c.others(w)
			w.pass(3 * time.Second)
			for s := 3; s >= 0; s-- {
				r := shrinkFirst(t, w, d, s)
				accepted(t, &r.Capacity)
			}
			o := restore(t, d)
			accepted(t, o)
			if diff := cmp.Diff(c.codes, codesOf(o.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
			if g := w.state(groupA); g.Max != c.max || g.Tags["rotatord.github.io/surge"] != "" {
				t.Errorf("max %d, want %d; tags %v", g.Max, c.max, g.Tags)
			}
		})
	}
	t.Run("it cannot go below the desired capacity", func(t *testing.T) {
		w := newWorld(t)
		w.seed(4)
		d := w.driver()
		accepted(t, setSurge(t, d, 4))
		w.pass(3 * time.Second)
		for s := 3; s >= 0; s-- {
			shrinkFirst(t, w, d, s)
		}
		w.setDesired(groupA, 7)
		o := restore(t, d)
		accepted(t, o)
		if g := w.state(groupA); g.Max != 7 || g.Desired != 7 || !slices.Equal(codesOf(o.Diagnostics), []string{"max-size-kept"}) {
			t.Errorf("max %d, desired %d, %+v", g.Max, g.Desired, o.Diagnostics)
		}
	})
	t.Run("it stays while surge is outstanding", func(t *testing.T) {
		w := newWorld(t)
		w.seed(4)
		d := w.driver()
		accepted(t, prepare(t, d))
		accepted(t, setSurge(t, d, 4))
		w.pass(3 * time.Second)
		o := restore(t, d)
		accepted(t, o)
		if !slices.Equal(codesOf(o.Diagnostics), []string{"surge-outstanding"}) {
			t.Errorf("diagnostics %+v", o.Diagnostics)
		}
		capacity(t, w, d, 8, 8, 4)
		if g := groupOf(t, look(t, d, 0), groupA); g.HeldBy != "" {
			t.Errorf("still held by %s", g.HeldBy)
		}
		// A later rotation takes it back, and the maximum with it.
		for s := 3; s >= 0; s-- {
			shrinkFirst(t, w, d, s)
		}
		accepted(t, restore(t, d))
		w.pass(3 * time.Second)
		asMade(t, w, 4)
	})
}

func TestTerminateKeepIsOneCall(t *testing.T) {
	w := newWorld(t)
	w.seed(4)
	d := w.driver()
	id := look(t, d, 0).Instances[0].ID
	w.calls()
	r := keep(t, d, id)
	accepted(t, &r.Instance)
	accepted(t, &r.Capacity)
	if diff := cmp.Diff(map[string]int{"autoscaling:TerminateInstanceInAutoScalingGroup": 1}, w.calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	w.pass(5 * time.Second)
	if g := w.state(groupA); g.Desired != 4 || len(members(g, "InService")) != 4 {
		t.Errorf("desired %d, in service %v", g.Desired, members(g, "InService"))
	}
	// Long gone: success, by both ways, and nothing else ends.
	for range 2 {
		r := keep(t, w.driver(), id)
		s := shrink(t, w.driver(), id, 0)
		if r.Instance.State != sdk.OperationDone || s.Instance.State != sdk.OperationDone || s.Capacity.State != sdk.OperationDone {
			t.Errorf("again: %+v, %+v", r, s)
		}
	}
	if g := w.state(groupA); g.Desired != 4 || w.Stats(false).Terminated != 1 {
		t.Errorf("desired %d, %d ended", g.Desired, w.Stats(false).Terminated)
	}
}

// TestTerminateOnlyMembers: an instance of another group, or of none, is never
// ended, and what runs is never called gone.
func TestTerminateOnlyMembers(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	w.group(aws.GroupSpec{Name: "other", LaunchTemplate: "nodes", Max: 2, Desired: 1, Tags: clusterTag("prod-2", "owned")})
	foreign := members(w.state("other"), "InService")[0]
	for _, after := range []string{"no look", "a look"} {
		t.Run(after, func(t *testing.T) {
			d := w.driver()
			if after == "a look" {
				look(t, d, 0)
			}
			for _, r := range []*sdk.TerminateResult{keep(t, d, foreign), shrink(t, d, foreign, 0)} {
				if r.Instance.State != sdk.OperationFailed || !slices.Equal(codesOf(r.Instance.Diagnostics), []string{"instance-detached"}) {
					t.Errorf("%+v", r)
				}
			}
			if n := w.Stats(false).Terminated; n != 0 {
				t.Errorf("%d instances ended", n)
			}
		})
	}
}

func TestShrink(t *testing.T) {
	t.Run("not below the minimum", func(t *testing.T) {
		w := newWorld(t)
		w.seed(2, func(s *aws.GroupSpec) { s.Min = 2 })
		d := w.driver()
		r := shrinkFirst(t, w, d, 0)
		if r.Instance.State != sdk.OperationFailed || !slices.Equal(codesOf(r.Instance.Diagnostics), []string{"below-min-size"}) {
			t.Errorf("%+v", r)
		}
		if g := w.state(groupA); len(members(g, "InService")) != 2 || g.Tags["rotatord.github.io/surge"] != "" {
			t.Errorf("it changed something: %+v", g)
		}
	})
	t.Run("the group's own size", func(t *testing.T) {
		w := newWorld(t)
		w.seed(3)
		d := w.driver()
		r := shrinkFirst(t, w, d, 0)
		accepted(t, &r.Capacity)
		capacity(t, w, d, 2, 5, 0)
	})
	t.Run("in any order", func(t *testing.T) {
		w := newWorld(t)
		w.seed(3)
		d := w.driver()
		accepted(t, setSurge(t, d, 2))
		w.pass(3 * time.Second)
		up := members(w.state(groupA), "InService")
		shrink(t, d, up[0], 0)
		shrink(t, d, up[1], 1)
		capacity(t, w, d, 3, 5, 0)
	})
	t.Run("at once", func(t *testing.T) {
		w := newWorld(t)
		w.seed(3)
		d := w.driver()
		accepted(t, setSurge(t, d, 2))
		w.pass(3 * time.Second)
		up := members(w.state(groupA), "InService")
		done := make(chan error, 2)
		for i := range 2 {
			go func() {
				_, err := d.Terminate(t.Context(), sdk.TerminateRequest{Op: op(), GroupID: groupA, InstanceID: up[i], Capacity: sdk.ShrinkCapacity, Surge: 1 - i})
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		capacity(t, w, d, 3, 5, 0)
	})
	t.Run("it went by itself", func(t *testing.T) {
		// The record is written, the call fails, and the group replaces the
		// instance on its own before the call comes again.
		w := newWorld(t)
		w.seed(3)
		d := w.driver()
		accepted(t, setSurge(t, d, 2))
		w.pass(3 * time.Second)
		id := members(w.state(groupA), "InService")[0]
		w.fault(control.Fault{Kind: control.ErrorBeforeAct, Action: "TerminateInstanceInAutoScalingGroup", Count: 1})
		if r := shrink(t, d, id, 1); r.Instance.State != sdk.OperationFailed || r.Instance.Diagnostics[0].Retry != sdk.RetryLater {
			t.Fatalf("%+v", r)
		}
		_, err := w.person().TerminateInstanceInAutoScalingGroup(t.Context(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{InstanceId: &id, ShouldDecrementDesiredCapacity: ptr(false)})
		w.check(err)
		r := shrink(t, d, id, 1)
		if r.Instance.State != sdk.OperationDone || !slices.Equal(codesOf(r.Capacity.Diagnostics), []string{"capacity-kept"}) {
			t.Errorf("%+v", r)
		}
		capacity(t, w, d, 5, 5, 2)
	})
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.seed(3)
	d := w.driver()
	id := look(t, d, 0).Instances[0].ID
	before := w.state(groupA)
	dry := sdk.Op{ID: "op-1", RotationID: rotation, DryRun: true}
	w.calls()
	accepted(t, must(d.Prepare(t.Context(), sdk.GroupRequest{Op: dry, GroupID: groupA}))(t))
	accepted(t, must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: dry, GroupID: groupA, Surge: 2}))(t))
	for _, c := range []sdk.Capacity{sdk.KeepCapacity, sdk.ShrinkCapacity} {
		accepted(t, &must(d.Terminate(t.Context(), sdk.TerminateRequest{Op: dry, GroupID: groupA, InstanceID: id, Capacity: c}))(t).Instance)
	}
	accepted(t, must(d.Restore(t.Context(), sdk.GroupRequest{Op: dry, GroupID: groupA}))(t))
	if n := changes(w.calls()); len(n) > 0 {
		t.Errorf("changing calls: %v", n)
	}
	if diff := cmp.Diff(before, w.state(groupA)); diff != "" {
		t.Errorf("the group changed:\n%s", diff)
	}
	if _, err := d.Prepare(t.Context(), sdk.GroupRequest{Op: dry, GroupID: "nope"}); status.Code(err) != codes.NotFound {
		t.Errorf("of a group that does not exist: %v", err)
	}
}

// TestFaultsOfOneCall: errors before and after the act, at each action of each
// call, are answered as such, and the same call again reaches its goal once.
func TestFaultsOfOneCall(t *testing.T) {
	for _, kind := range []control.Kind{control.ErrorBeforeAct, control.ErrorAfterAct} {
		for _, action := range []string{"CreateOrUpdateTags", "UpdateAutoScalingGroup", "SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup"} {
			t.Run(string(kind)+" "+action, func(t *testing.T) {
				w := newWorld(t)
				w.seed(3)
				d := w.driver()
				w.fault(control.Fault{Kind: kind, Action: action, Count: 1})
				again := func(call func() error) {
					t.Helper()
					if err := call(); err == nil {
						return
					}
					w.check(call())
				}
				again(func() error { return prepareCall(t.Context(), d, w) })
				again(func() error { return surgeCall(4)(t.Context(), d, w) })
				w.pass(3 * time.Second)
				id := members(w.state(groupA), "InService")[0]
				again(func() error { r := shrink(t, d, id, 3); return cmpFailures(&r.Instance, &r.Capacity) })
				w.pass(3 * time.Second)
				capacity(t, w, d, 6, 7, 3)
				if n := w.Stats(false).Terminated; n != 1 {
					t.Errorf("%d instances ended, want 1", n)
				}
				if f := w.Faults(); f[0].Struck != 1 {
					t.Errorf("the fault struck %d times: the test tests nothing", f[0].Struck)
				}
			})
		}
	}
}
