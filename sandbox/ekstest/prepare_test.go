package ekstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

// TestRestoreIsExact: whatever a person had set before is set again afterwards,
// and what they change meanwhile stays.
func TestRestoreIsExact(t *testing.T) {
	cases := []struct {
		name      string
		spec      func(*aws.GroupSpec)
		before    func(*world)
		meanwhile func(*world)
		suspended []string
		protects  bool
		protected func(g aws.GroupState) int // instances protected afterwards
	}{
		{name: "nothing set"},
		{name: "AZRebalance suspended", spec: func(s *aws.GroupSpec) { s.SuspendedProcesses = []string{"AZRebalance"} }, suspended: []string{"AZRebalance"}},
		{name: "another process suspended", spec: func(s *aws.GroupSpec) { s.SuspendedProcesses = []string{"HealthCheck"} }, suspended: []string{"HealthCheck"}},
		{name: "all instances protected", spec: func(s *aws.GroupSpec) { s.ProtectNewInstances = true }, protects: true, protected: func(g aws.GroupState) int { return len(g.Instances) }},
		{
			name:      "one instance protected by hand",
			before:    func(w *world) { w.protect(members(w.state(groupA), "InService")[3]) },
			protected: func(aws.GroupState) int { return 1 },
		},
		{
			name: "a person resumes AZRebalance meanwhile", spec: func(s *aws.GroupSpec) { s.SuspendedProcesses = []string{"AZRebalance"} },
			meanwhile: func(w *world) {
				_, err := w.person().ResumeProcesses(w.t.Context(), &autoscaling.ResumeProcessesInput{AutoScalingGroupName: ptr(groupA), ScalingProcesses: []string{"AZRebalance"}})
				w.check(err)
			},
		},
		{name: "a person suspends another process meanwhile", meanwhile: func(w *world) { w.suspend("HealthCheck") }, suspended: []string{"HealthCheck"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.seed(4, func(s *aws.GroupSpec) {
				if c.spec != nil {
					c.spec(s)
				}
			})
			if c.before != nil {
				c.before(w)
			}
			d := w.driver()
			accepted(t, prepare(t, d))
			if g := w.state(groupA); !g.ProtectsNew || !slices.Contains(g.Suspended, "AZRebalance") {
				t.Fatalf("prepared: %+v", g)
			}
			if g := groupOf(t, look(t, d, 0), groupA); g.HeldBy != rotation {
				t.Errorf("held by %q", g.HeldBy)
			}
			keep(t, d, members(w.state(groupA), "InService")[0])
			w.pass(5 * time.Second)
			if c.meanwhile != nil {
				c.meanwhile(w)
			}
			accepted(t, restore(t, d))
			g := w.state(groupA)
			if diff := cmp.Diff(c.suspended, g.Suspended); diff != "" {
				t.Errorf("suspended (-want +got):\n%s", diff)
			}
			if g.ProtectsNew != c.protects {
				t.Errorf("protects new instances: %v", g.ProtectsNew)
			}
			n, want := 0, 0
			for _, m := range g.Instances {
				if m.Protected {
					n++
				}
			}
			if c.protected != nil {
				want = c.protected(g)
			}
			if n != want {
				t.Errorf("%d instances are protected, want %d", n, want)
			}
			for k := range g.Tags {
				if strings.HasPrefix(k, "rotatord.github.io/") {
					t.Errorf("tag %s is left", k)
				}
			}
			// Again, without a record: success, and no change.
			w.calls()
			accepted(t, restore(t, d))
			if n := changes(w.calls()); len(n) > 0 {
				t.Errorf("again: %v", n)
			}
		})
	}
}

// TestPrepareNeverOverwrites: the second Prepare of a rotation finds settings
// that are its own, and must not record them as a person's.
func TestPrepareNeverOverwrites(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	d := w.driver()
	accepted(t, prepare(t, d))
	record := w.state(groupA).Tags["rotatord.github.io/prepared"]
	if !strings.Contains(record, "azrebalance=running protect=false") {
		t.Fatalf("record %q", record)
	}
	// Somebody resumes what the rotation suspended: it is asserted again.
	_, err := w.person().ResumeProcesses(t.Context(), &autoscaling.ResumeProcessesInput{AutoScalingGroupName: ptr(groupA), ScalingProcesses: []string{"AZRebalance"}})
	w.check(err)
	accepted(t, prepare(t, w.driver()))
	g := w.state(groupA)
	if got := g.Tags["rotatord.github.io/prepared"]; got != record {
		t.Errorf("record %q, was %q", got, record)
	}
	if !slices.Contains(g.Suspended, "AZRebalance") {
		t.Errorf("suspended %v", g.Suspended)
	}
	w.calls()
	accepted(t, prepare(t, d))
	if n := changes(w.calls()); len(n) > 0 {
		t.Errorf("nothing to do, and yet: %v", n)
	}
	accepted(t, restore(t, d))
	asMade(t, w, 2)
}

func TestHeldByAnother(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	d := w.driver()
	accepted(t, prepare(t, d))
	before := w.state(groupA)
	id := members(before, "InService")[0]
	other := sdk.Op{ID: "op-2", RotationID: "r-other"}
	_, p := d.Prepare(t.Context(), sdk.GroupRequest{Op: other, GroupID: groupA})
	_, r := d.Restore(t.Context(), sdk.GroupRequest{Op: other, GroupID: groupA})
	_, s := d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: other, GroupID: groupA, Surge: 1})
	_, k := d.Terminate(t.Context(), sdk.TerminateRequest{Op: other, GroupID: groupA, InstanceID: id, Capacity: sdk.ShrinkCapacity})
	for verb, err := range map[string]error{"prepare": p, "restore": r, "surge": s, "shrink": k} {
		if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), rotation) {
			t.Errorf("%s: %v, want ABORTED naming %s", verb, err, rotation)
		}
	}
	if diff := cmp.Diff(before, w.state(groupA)); diff != "" {
		t.Errorf("the group changed:\n%s", diff)
	}
}

// TestUnreadableRecord: a record that somebody edited stops everything, and is
// shown.
func TestUnreadableRecord(t *testing.T) {
	for _, tag := range []string{"prepared", "surge"} {
		t.Run(tag, func(t *testing.T) {
			w := newWorld(t)
			w.seed(2, func(s *aws.GroupSpec) {
				s.Tags = append(s.Tags, aws.GroupTag{Key: "rotatord.github.io/" + tag, Value: "rotation=r-1 by=hand"})
			})
			d := w.driver()
			g := groupOf(t, look(t, d, 0), groupA)
			if !slices.Equal(codesOf(g.Diagnostics), []string{"record-unreadable"}) || g.Diagnostics[0].Severity != sdk.SeverityError {
				t.Errorf("diagnostics %+v", g.Diagnostics)
			}
			before := w.state(groupA)
			for verb, o := range map[string]*sdk.Operation{"prepare": prepare(t, d), "restore": restore(t, d), "surge": setSurge(t, d, 1), "shrink": &shrinkFirst(t, w, d, 0).Instance} {
				if o.State != sdk.OperationFailed || o.Diagnostics[0].Code != "record-unreadable" {
					t.Errorf("%s: %+v", verb, o)
				}
			}
			if diff := cmp.Diff(before, w.state(groupA)); diff != "" {
				t.Errorf("the group changed:\n%s", diff)
			}
		})
	}
}

// TestManyProtected: more than fifty go in two calls, and those that a person
// had protected stay so, though they fill several tags.
func TestManyProtected(t *testing.T) {
	w := newWorld(t)
	w.seed(90)
	byHand := members(w.state(groupA), "InService")[60:]
	slices.Sort(byHand)
	w.protect(byHand...)
	d := w.driver()
	accepted(t, prepare(t, d))
	for _, id := range members(w.state(groupA), "InService")[:60] {
		keep(t, d, id)
	}
	w.pass(20 * time.Second)
	w.calls()
	accepted(t, restore(t, w.driver()))
	if n := w.calls()["autoscaling:SetInstanceProtection"]; n != 2 {
		t.Errorf("%d calls of SetInstanceProtection, want 2", n)
	}
	var left []string
	for _, m := range w.state(groupA).Instances {
		if m.Protected {
			left = append(left, m.ID)
		}
	}
	slices.Sort(left)
	if diff := cmp.Diff(byHand, left); diff != "" {
		t.Errorf("protected afterwards (-want +got):\n%s", diff)
	}
}

// TestRestoreWaitsForPending: the protection of an instance that is not in
// service yet cannot be changed, and must not be forgotten.
func TestRestoreWaitsForPending(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	d := w.driver()
	accepted(t, prepare(t, d))
	w.setDesired(groupA, 3)
	for range 50 {
		w.pass(100 * time.Millisecond)
		if len(members(w.state(groupA), "Pending")) > 0 {
			break
		}
	}
	o := restore(t, d)
	if o.State != sdk.OperationFailed || o.Diagnostics[0].Code != "instances-pending" || o.Diagnostics[0].Retry != sdk.RetryLater {
		t.Fatalf("%+v", o)
	}
	if g := groupOf(t, look(t, d, 0), groupA); g.HeldBy != rotation {
		t.Errorf("the record is gone: held by %q", g.HeldBy)
	}
	w.pass(3 * time.Second)
	accepted(t, restore(t, d))
	for _, m := range w.state(groupA).Instances {
		if m.Protected {
			t.Errorf("%s is still protected", m.ID)
		}
	}
}

func TestGroupDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	d := w.driver()
	id := look(t, d, 0).Instances[0].ID
	accepted(t, prepare(t, d))
	_, err := w.person().DeleteAutoScalingGroup(t.Context(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: ptr(groupA), ForceDelete: ptr(true)})
	w.check(err)
	w.pass(5 * time.Second)
	if _, err := d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: groupA, Surge: 1}); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), groupA) {
		t.Errorf("surge: %v", err)
	}
	for _, r := range []*sdk.TerminateResult{keep(t, d, id), shrink(t, d, id, 0)} {
		if r.Instance.State != sdk.OperationDone {
			t.Errorf("terminate: %+v", r)
		}
	}
	if o := restore(t, d); o.State != sdk.OperationDone || o.Diagnostics[0].Code != "group-gone" {
		t.Errorf("restore: %+v", o)
	}
	if s := look(t, d, 0); len(s.Groups) > 0 || len(s.Instances) > 0 {
		t.Errorf("still shown: %+v", s)
	}
}

func TestBadRotationID(t *testing.T) {
	w := newWorld(t)
	w.seed(1)
	d := w.driver()
	for _, id := range []string{"", "a b", "a=b", strings.Repeat("x", 65)} {
		_, err := d.Prepare(t.Context(), sdk.GroupRequest{Op: sdk.Op{ID: "op", RotationID: id}, GroupID: groupA})
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestCallsOfARotation rotates 100 instances ten at a time, with a look for
// each event as the engine asks for them, and counts every call.
func TestCallsOfARotation(t *testing.T) {
	const n, surge = 100, 10
	for _, source := range []string{"version", "parameter"} {
		t.Run(source, func(t *testing.T) {
			w := newWorld(t)
			w.template("by-parameter", "resolve:ssm:"+aws.ParameterRecommendedImage)
			w.seed(n, func(s *aws.GroupSpec) {
				if source == "parameter" {
					s.LaunchTemplate = "by-parameter"
				}
			})
			w.publish("nodes")
			w.PutParameter(aws.ParameterRecommendedImage, w.CreateImage(aws.ImageSpec{Name: "newer"}))
			w.calls()
			d := w.driver()
			outdated := func(s *sdk.Snapshot) (ids []string) {
				for _, i := range s.Instances {
					if len(i.Reasons) > 0 && i.State == sdk.InstanceInService {
						ids = append(ids, i.ID)
					}
				}
				return ids
			}
			if got := len(outdated(look(t, d, 0))); got != n {
				t.Fatalf("%d outdated, want %d", got, n)
			}
			accepted(t, prepare(t, d))
			accepted(t, setSurge(t, d, surge))
			left := n
			for round := 0; left > 0 && round < 1000; round++ {
				w.pass(2 * time.Second)
				s := look(t, d, 500*time.Millisecond)
				old := outdated(s)
				left = len(old)
				up := 0
				for _, i := range s.Instances {
					if i.State == sdk.InstanceInService {
						up++
					}
				}
				for i, id := range old[:min(left, max(0, up-n))] {
					if left-i > surge {
						r := keep(t, d, id)
						accepted(t, &r.Instance)
						continue
					}
					r := shrink(t, d, id, left-i-1)
					accepted(t, &r.Capacity)
				}
			}
			accepted(t, restore(t, d))
			w.pass(3 * time.Second)
			calls := w.calls()
			if got := total(calls); got > 3*n {
				t.Errorf("%d calls for %d instances, want at most %d: %v", got, n, 3*n, calls)
			} else {
				t.Logf("%.2f calls an instance: %v", float64(got)/n, calls)
			}
			asMade(t, w, n)
			if got := len(outdated(look(t, w.driver(), 0))); got != 0 {
				t.Errorf("%d are still outdated", got)
			}
			if fmt.Sprint(calls["autoscaling:TerminateInstanceInAutoScalingGroup"]) != fmt.Sprint(n) {
				t.Errorf("%d terminate calls for %d instances", calls["autoscaling:TerminateInstanceInAutoScalingGroup"], n)
			}
		})
	}
}
