package ekstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

const (
	blueGreen = `{"way":"blue-green"}`
	green     = system + "-g2"
)

// seedBlueGreen makes a node group of n with something of each kind to carry over, and a newer release.
func (w *world) seedBlueGreen(n int) {
	w.t.Helper()
	w.ways = blueGreen
	w.publishRelease(1)
	w.nodegroup(n, func(s *aws.NodegroupSpec) {
		s.Labels, s.InstanceTypes = map[string]string{"tier": "front"}, []string{"m5.large", "m5a.large"}
		s.Taints = []aws.NodeTaint{{Key: "dedicated", Value: "front", Effect: "NO_SCHEDULE"}}
	})
	w.publishRelease(9)
}

// nodegroupsNamed are the node groups there are, with the capacity that each wants.
func (w *world) nodegroupsNamed() map[string]int {
	out := map[string]int{}
	for _, g := range w.Nodegroups(cluster) {
		out[g.Name] = w.state(g.AutoScalingGroup).Desired
	}
	return out
}

// twin is blue as the driver shows it, with the ids of the instances in service that are outdated and of the others.
func (w *world) twin(t *testing.T, d *eks.Driver, id string) (g sdk.NodeGroup, old, current []string) {
	t.Helper()
	s := look(t, d, 0)
	i := slices.IndexFunc(s.Groups, func(g sdk.NodeGroup) bool { return g.ID == id })
	if i < 0 || len(s.Groups) != 1 {
		t.Fatalf("group %s is not the only one: %+v", id, s.Groups)
	}
	for _, i := range s.Instances {
		switch {
		case i.GroupID != id || i.State != sdk.InstanceInService:
		case len(i.Reasons) > 0:
			old = append(old, i.ID)
		default:
			current = append(current, i.ID)
		}
	}
	return s.Groups[0], old, current
}

func twinEnd(ctx context.Context, d *eks.Driver, group, id string, c sdk.Capacity) error {
	r, err := d.Terminate(ctx, sdk.TerminateRequest{Op: op(), GroupID: group, InstanceID: id, Capacity: c})
	if err != nil {
		return err
	}
	return cmpFailures(&r.Instance, &r.Capacity)
}

// TestBlueGreen replaces a node group by another with the new release, and carries over what it was made from.
func TestBlueGreen(t *testing.T) {
	w := newWorld(t)
	w.seedBlueGreen(2)
	d := w.driver()
	asg := w.asg()
	before := w.described()
	g, old, _ := w.twin(t, d, asg)
	want := sdk.Traits{Prepare: true, Stage: true, TerminateKeep: true, TerminateShrink: true, MaxSurge: 4, Refill: sdk.RefillGroup}
	if diff := cmp.Diff(want, g.Traits); diff != "" || len(old) != 2 || len(g.Diagnostics) > 0 {
		t.Fatalf("outdated %v, %+v, traits (-want +got):\n%s", old, g.Diagnostics, diff)
	}
	accepted(t, managedPrepare(t, w, d))
	accepted(t, must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 1}))(t))
	look(t, d, 0)
	w.pass(10 * time.Second)
	for i, capacity := range []sdk.Capacity{sdk.KeepCapacity, sdk.ShrinkCapacity} {
		g, left, current := w.twin(t, d, asg)
		if g.Desired != 3-i/2 || g.Surge != 1 || len(left) != 2-i || len(current) != 1+i {
			t.Errorf("after %d: desired %d, surge %d, %d outdated, %d current", i, g.Desired, g.Surge, len(left), len(current))
		}
		if err := twinEnd(t.Context(), d, asg, left[0], capacity); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Second)
	}
	if diff := cmp.Diff(map[string]int{system: 0, green: 2}, w.nodegroupsNamed()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	w.pass(time.Minute)
	accepted(t, managedRestore(t, w, d))
	if g, left, current := w.twin(t, d, asg); g.Desired != 2 || len(left) != 0 || len(current) != 2 {
		t.Errorf("to the end it is shown with the id that it had: %+v, %v, %v", g, left, current)
	}
	w.pass(time.Minute)
	if g, _, _ := w.twin(t, d, asg); g.Desired != 2 {
		t.Errorf("%+v", g)
	}
	if diff := cmp.Diff(map[string]int{green: 2}, w.nodegroupsNamed()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	w.ways = blueGreen
	n := w.driver()
	if g, left, current := w.twin(t, n, w.managed(green).AutoScalingGroup); g.Name != green || len(left) != 0 || len(current) != 2 || g.Min != 1 || g.Max != 4 {
		t.Errorf("in another life: %+v, %v, %v", g, left, current)
	}
	after := w.describedAs(green)
	carried := func(n *ekstypes.Nodegroup) any {
		return []any{n.Labels, len(n.Taints), *n.Taints[0].Key, *n.Taints[0].Value, n.Taints[0].Effect, n.Tags, n.InstanceTypes, n.Subnets, *n.NodeRole, n.AmiType, n.CapacityType, *n.ScalingConfig.MinSize, *n.ScalingConfig.MaxSize, *n.ScalingConfig.DesiredSize, *n.UpdateConfig.MaxUnavailable}
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", carried(before)), fmt.Sprintf("%+v", carried(after))); diff != "" {
		t.Errorf("carried over (-before +after):\n%s", diff)
	}
	if *after.ReleaseVersion != "1.37.2-20260309" {
		t.Errorf("release %s", *after.ReleaseVersion)
	}
}

// TestBlueGreenUndone: while blue is whole, Restore leaves it as it was.
func TestBlueGreenUndone(t *testing.T) {
	w := newWorld(t)
	w.seedBlueGreen(2)
	d := w.driver()
	asg := w.asg()
	before := w.state(asg)
	accepted(t, managedPrepare(t, w, d))
	accepted(t, must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 1}))(t))
	w.pass(time.Minute)
	o := managedRestore(t, w, d)
	if diff := cmp.Diff([]string{"blue-green-unfinished"}, codesOf(o.Diagnostics)); diff != "" {
		t.Errorf("with surge outstanding (-want +got):\n%s", diff)
	}
	accepted(t, managedPrepare(t, w, d))
	_, _, current := w.twin(t, d, asg)
	if err := twinEnd(t.Context(), d, asg, current[0], sdk.ShrinkCapacity); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	accepted(t, managedRestore(t, w, d))
	w.pass(time.Minute)
	w.asBefore(t, before)
}

// asBefore checks that blue alone is left, as it was.
func (w *world) asBefore(t *testing.T, before aws.GroupState) {
	t.Helper()
	after := w.state(before.Name)
	got := []any{after.Min, after.Max, after.Desired, after.Tags, after.ProtectsNew, len(after.Suspended), w.nodegroupsNamed()}
	want := []any{before.Min, before.Max, before.Desired, before.Tags, before.ProtectsNew, len(before.Suspended), map[string]int{system: before.Desired}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(members(before, "InService"), members(after, "InService")); diff != "" {
		t.Errorf("instances (-before +after):\n%s", diff)
	}
}

// TestBlueGreenResize: what an autoscaler sets between the driver's look and its change of the limits stays.
func TestBlueGreenResize(t *testing.T) {
	w := newWorld(t)
	w.seedBlueGreen(2)
	d := w.driver()
	asg := w.asg()
	w.meanwhile = map[string]func(){"eks:UpdateNodegroupConfig": func() { w.setDesired(asg, 3) }}
	accepted(t, managedPrepare(t, w, d))
	if s := w.state(asg); s.Min != 0 || s.Desired != 3 {
		t.Errorf("minimum %d, want 0; desired %d, want 3", s.Min, s.Desired)
	}
}

// TestBlueGreenKept leaves the old node group, with no instance.
func TestBlueGreenKept(t *testing.T) {
	w := newWorld(t)
	w.seedBlueGreen(1)
	w.ways = `{"way":"blue-green","blueGreen":{"keepOld":true}}`
	d := w.driver()
	asg := w.asg()
	accepted(t, managedPrepare(t, w, d))
	_, old, _ := w.twin(t, d, asg)
	if err := twinEnd(t.Context(), d, asg, old[0], sdk.KeepCapacity); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	accepted(t, managedRestore(t, w, d))
	w.pass(time.Minute)
	if diff := cmp.Diff(map[string]int{system: 0, green: 1}, w.nodegroupsNamed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, g := range look(t, w.driver(), 0).Groups {
		if g.Surge != 0 || g.HeldBy != "" || len(g.Diagnostics) > 0 {
			t.Errorf("%+v", g)
		}
	}
}

// TestBlueGreenCrash cuts each call off before and after each change that it makes.
func TestBlueGreenCrash(t *testing.T) {
	var asg, victim string
	var was aws.GroupState
	prepare := func(ctx context.Context, d *eks.Driver, _ *world) error {
		o, err := d.Prepare(ctx, sdk.GroupRequest{Op: op(), GroupID: asg})
		return failure(o, err)
	}
	surge := func(ctx context.Context, d *eks.Driver, _ *world) error {
		o, err := d.SetSurge(ctx, sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 1})
		return failure(o, err)
	}
	restore := func(ctx context.Context, d *eks.Driver, _ *world) error {
		o, err := d.Restore(ctx, sdk.GroupRequest{Op: op(), GroupID: asg})
		return failure(o, err)
	}
	end := func(c sdk.Capacity) func(context.Context, *eks.Driver, *world) error {
		return func(ctx context.Context, d *eks.Driver, _ *world) error { return twinEnd(ctx, d, asg, victim, c) }
	}
	prepared := func(t *testing.T, w *world, d *eks.Driver) {
		t.Helper()
		asg = w.asg()
		was = w.state(asg)
		if err := prepare(t.Context(), d, w); err != nil {
			t.Fatal(err)
		}
	}
	surged := func(t *testing.T, w *world, d *eks.Driver) {
		t.Helper()
		prepared(t, w, d)
		if err := surge(t.Context(), d, w); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		_, old, _ := w.twin(t, d, asg)
		victim = old[0]
	}
	sizes := func(blue, other, shown int) func(*testing.T, *world, *eks.Driver) {
		return func(t *testing.T, w *world, d *eks.Driver) {
			t.Helper()
			if diff := cmp.Diff(map[string]int{system: blue, green: other}, w.nodegroupsNamed()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if g, _, _ := w.twin(t, d, asg); g.Surge != shown || g.Desired != blue+other {
				t.Errorf("surge %d, desired %d", g.Surge, g.Desired)
			}
		}
	}
	steps := []struct {
		name   string
		before func(*testing.T, *world, *eks.Driver)
		call   func(context.Context, *eks.Driver, *world) error
		check  func(*testing.T, *world, *eks.Driver)
	}{
		{
			"prepare", func(_ *testing.T, w *world, _ *eks.Driver) { asg = w.asg() }, prepare,
			func(t *testing.T, w *world, d *eks.Driver) {
				t.Helper()
				if g, _, _ := w.twin(t, d, asg); w.state(asg).Min != 0 || g.HeldBy != rotation || g.Min != 1 {
					t.Errorf("minimum %d, %+v", w.state(asg).Min, g)
				}
			},
		},
		{"surge", prepared, surge, sizes(2, 1, 1)},
		{"keep", surged, end(sdk.KeepCapacity), sizes(1, 2, 1)},
		{"shrink of blue", surged, end(sdk.ShrinkCapacity), sizes(1, 1, 0)},
		{"shrink of green", func(t *testing.T, w *world, d *eks.Driver) {
			t.Helper()
			surged(t, w, d)
			_, _, current := w.twin(t, d, asg)
			victim = current[0]
		}, end(sdk.ShrinkCapacity), sizes(2, 0, 0)},
		{"undone", func(t *testing.T, w *world, d *eks.Driver) {
			t.Helper()
			surged(t, w, d)
			_, _, current := w.twin(t, d, asg)
			if err := twinEnd(t.Context(), d, asg, current[0], sdk.ShrinkCapacity); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Minute)
		}, restore, func(t *testing.T, w *world, _ *eks.Driver) {
			t.Helper()
			w.pass(time.Minute)
			w.asBefore(t, was)
		}},
		{"finished", func(t *testing.T, w *world, d *eks.Driver) {
			t.Helper()
			surged(t, w, d)
			for _, c := range []sdk.Capacity{sdk.KeepCapacity, sdk.ShrinkCapacity} {
				_, old, _ := w.twin(t, d, asg)
				if err := twinEnd(t.Context(), d, asg, old[0], c); err != nil {
					t.Fatal(err)
				}
				w.pass(time.Minute)
			}
		}, restore, func(t *testing.T, w *world, _ *eks.Driver) {
			t.Helper()
			w.pass(time.Minute)
			s := w.state(w.managed(green).AutoScalingGroup)
			if diff := cmp.Diff(map[string]int{green: 2}, w.nodegroupsNamed()); diff != "" || s.Min != 1 || s.Max != 4 {
				t.Errorf("sizes %d, %d (-want +got):\n%s", s.Min, s.Max, diff)
			}
			for k := range w.describedAs(green).Tags {
				if strings.HasPrefix(k, "rotatord") {
					t.Errorf("tag %s stays", k)
				}
			}
		}},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			crashEverywhere(t, func(w *world) { w.seedBlueGreen(2) }, s.before, s.call, s.check)
		})
	}
}
