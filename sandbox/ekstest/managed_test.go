package ekstest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

const system = "system" // the managed node group of these tests

// publishRelease publishes a release of all of EKS' images for Kubernetes 1.37, made on a day of March, and returns
// that of Amazon Linux.
func (w *world) publishRelease(day int) aws.Release { return w.publishFor("1.37.2", day) }

func (w *world) publishFor(kubernetes string, day int) aws.Release {
	w.t.Helper()
	list, err := w.AddReleases(aws.ReleaseSpec{Kubernetes: kubernetes, Date: time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC)})
	w.check(err)
	i := slices.IndexFunc(list, func(r aws.Release) bool { return r.AMIType == "AL2023_x86_64_STANDARD" })
	return list[i]
}

// nodegroup makes a managed node group of n and lets it settle.
func (w *world) nodegroup(n int, change ...func(*aws.NodegroupSpec)) {
	w.t.Helper()
	s := aws.NodegroupSpec{Cluster: cluster, Name: system, Min: 1, Max: n + 2, Desired: n}
	for _, f := range change {
		f(&s)
	}
	w.check(w.CreateNodegroup(s))
	w.pass(time.Minute)
	if g := w.managed(s.Name); g.Status != "ACTIVE" {
		w.t.Fatalf("node group %s is %s", s.Name, g.Status)
	}
}

// managed reads a node group from the inside.
func (w *world) managed(name string) aws.NodegroupState {
	w.t.Helper()
	for _, g := range w.Nodegroups(cluster) {
		if g.Name == name {
			return g
		}
	}
	w.t.Fatalf("no node group %s", name)
	return aws.NodegroupState{}
}

// driverWith starts a new life of the driver with managedNodeGroups set.
func (w *world) driverWith(managed string) *eks.Driver {
	w.t.Helper()
	d := eks.New(eks.WithClock(w.now), eks.WithPause(func(_ context.Context, d time.Duration) error { w.pass(d); return nil }))
	raw, err := json.Marshal(map[string]any{"region": region, "endpoint": w.url, "managedNodeGroups": json.RawMessage(managed)})
	w.check(err)
	diags, err := d.Configure(context.Background(), raw, false)
	if err != nil || len(diags) > 0 {
		w.t.Fatalf("configure: %v %+v", err, diags)
	}
	return d
}

// outdated tells why the instances of a group are, once each: CODE: MESSAGE.
func outdated(s *sdk.Snapshot, group string) []string {
	why := []string{}
	for _, i := range s.Instances {
		for _, r := range i.Reasons {
			if t := r.Code + ": " + r.Message; i.GroupID == group && !slices.Contains(why, t) {
				why = append(why, t)
			}
		}
	}
	slices.Sort(why)
	return why
}

// TestManagedOutdated: what is found outdated in a managed node group, and what the group then is to be.
func TestManagedOutdated(t *testing.T) {
	const own = `{"way":"delegated"}`
	cases := []struct {
		name, config string
		before       func(*world) // creates the node group
		after        func(*world)
		want         []string
		revision     string
		codes        []string // of the group's diagnostics
	}{
		{name: "current", before: func(w *world) { w.publishRelease(1); w.nodegroup(2) }, revision: "1.37.2-20260301"},
		{
			name:   "a newer release",
			before: func(w *world) { w.publishRelease(1); w.nodegroup(2) }, after: func(w *world) { w.publishRelease(9) },
			want: []string{"release: release 1.37-20260301, wanted 1.37.2-20260309"}, revision: "1.37.2-20260309",
		},
		{
			name: "Bottlerocket",
			before: func(w *world) {
				w.publishRelease(1)
				w.nodegroup(2, func(s *aws.NodegroupSpec) { s.AMIType = "BOTTLEROCKET_ARM_64" })
			},
			after: func(w *world) { w.publishRelease(9) },
			want:  []string{"release: release 1.26.60-1500857c, wanted 1.26.68-06bc5304"}, revision: "1.26.68-06bc5304",
		},
		{
			name:   "self: a newer release is not a reason",
			config: `{"way":"self"}`,
			before: func(w *world) { w.publishRelease(1); w.nodegroup(2) }, after: func(w *world) { w.publishRelease(9) },
			codes: []string{"release-behind"},
		},
		{
			name: "a launch template of the user's",
			before: func(w *world) {
				w.publishRelease(1)
				w.template("mine", w.publishRelease(2).ImageID)
				w.nodegroup(2, func(s *aws.NodegroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.AMIType = "mine", "1", "CUSTOM" })
			},
			after: func(w *world) { w.publish("mine") },
			want:  []string{"launch-template: launch template version 1, wanted 2"}, revision: "launch template version 2",
		},
		{
			name: "a launch template of the user's at its newest version",
			before: func(w *world) {
				w.publishRelease(1)
				w.template("mine", w.publishRelease(2).ImageID)
				w.nodegroup(2, func(s *aws.NodegroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.AMIType = "mine", "1", "CUSTOM" })
			},
			revision: "launch template version 1",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.before(w)
			if c.after != nil {
				c.after(w)
			}
			if c.config == "" {
				c.config = own
			}
			s := look(t, w.driverWith(c.config), 0)
			g := groupOf(t, s, system)
			if diff := cmp.Diff(append([]string{}, c.want...), outdated(s, g.ID)); diff != "" {
				t.Errorf("outdated (-want +got):\n%s", diff)
			}
			if c.revision != "" && g.Revision != c.revision {
				t.Errorf("revision %q, want %q", g.Revision, c.revision)
			}
			if diff := cmp.Diff(c.codes, codesOf(g.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s%+v", diff, g.Diagnostics)
			}
			if n := len(s.Instances); n != 2 {
				t.Errorf("%d instances, want 2", n)
			}
			for _, i := range s.Instances {
				if len(i.Reasons) == 0 && i.Revision != g.Revision || i.State != sdk.InstanceInService {
					t.Errorf("%+v", i)
				}
			}
		})
	}
}

// TestManagedTraits: each way says what it can do.
func TestManagedTraits(t *testing.T) {
	cases := []struct {
		config string
		want   sdk.Traits
	}{
		{`{}`, sdk.Traits{Prepare: true, Roll: true, Stage: true, Refill: sdk.RefillGroup, Drains: sdk.DrainsProvider}},
		{`{"way":"assisted"}`, sdk.Traits{Prepare: true, Roll: true, Stage: true, Refill: sdk.RefillGroup, Drains: sdk.DrainsBoth}},
		{`{"way":"self"}`, sdk.Traits{Prepare: true, TerminateKeep: true, TerminateShrink: true, MaxSurge: 2, Refill: sdk.RefillGroup}},
		{`{"way":"skip","groups":{"system":{"way":"delegated"}}}`, sdk.Traits{Prepare: true, Roll: true, Stage: true, Refill: sdk.RefillGroup, Drains: sdk.DrainsProvider}},
	}
	w := newWorld(t)
	w.publishRelease(1)
	w.nodegroup(2)
	for _, c := range cases {
		t.Run(c.config, func(t *testing.T) {
			if diff := cmp.Diff(c.want, groupOf(t, look(t, w.driverWith(c.config), 0), system).Traits); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, config := range []string{`{"way":"skip"}`, `{"groups":{"system":{"way":"skip"}}}`} {
		s := look(t, w.driverWith(config), 0)
		if diff := cmp.Diff([]string{"managed-node-group"}, codesOf(s.Diagnostics)); diff != "" || len(s.Groups) > 0 {
			t.Errorf("%s: %d groups, diagnostics (-want +got):\n%s", config, len(s.Groups), diff)
		}
	}
}

// TestManagedNames: a node group and a self-managed group may be called the same, and a node group is found without
// the tag of the self-managed ones.
func TestManagedNames(t *testing.T) {
	w := newWorld(t)
	w.publishRelease(1)
	w.nodegroup(1)
	w.seed(1, func(s *aws.GroupSpec) { s.Name = system })
	asg := w.managed(system).AutoScalingGroup
	names := func(s *sdk.Snapshot) (names []string) {
		for _, g := range s.Groups {
			names = append(names, g.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{asg, system}, names(look(t, w.driver(), 0))); diff != "" {
		t.Errorf("two of a name (-want +got):\n%s", diff)
	}
	d := eks.New(eks.WithClock(w.now))
	if diags, err := d.Configure(t.Context(), w.config(map[string]string{"tag": "team=blue"}), false); err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	if diff := cmp.Diff([]string{system}, names(look(t, d, 0))); diff != "" {
		t.Errorf("by another tag (-want +got):\n%s", diff)
	}
}

// TestManagedSelf replaces an instance of a managed node group within its sizes, and leaves it as it was.
func TestManagedSelf(t *testing.T) {
	w := newWorld(t)
	w.publishRelease(1)
	w.nodegroup(2)
	d := w.driverWith(`{"way":"self"}`)
	asg := w.managed(system).AutoScalingGroup
	before := w.state(asg)
	old := look(t, d, 0).Instances[0].ID
	accepted(t, must(d.Prepare(t.Context(), sdk.GroupRequest{Op: op(), GroupID: asg}))(t))
	o := must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 3}))(t)
	if diff := cmp.Diff([]string{"surge-beyond-max"}, codesOf(o.Diagnostics)); diff != "" || o.State != sdk.OperationFailed {
		t.Errorf("a surge beyond the maximum: %+v", o)
	}
	accepted(t, must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 1}))(t))
	w.pass(5 * time.Second)
	r := must(d.Terminate(t.Context(), sdk.TerminateRequest{Op: op(), GroupID: asg, InstanceID: old, Capacity: sdk.ShrinkCapacity}))(t)
	accepted(t, &r.Instance)
	w.pass(10 * time.Second)
	accepted(t, must(d.Restore(t.Context(), sdk.GroupRequest{Op: op(), GroupID: asg}))(t))
	after := w.state(asg)
	if len(after.Suspended) > 0 || after.ProtectsNew || after.Max != before.Max || after.Desired != before.Desired {
		t.Errorf("afterwards %+v\nbefore %+v", after, before)
	}
	for k := range after.Tags {
		if strings.HasPrefix(k, "rotatord") {
			t.Errorf("tag %s stays", k)
		}
	}
	if up := members(after, "InService"); len(up) != 2 || slices.Contains(up, old) {
		t.Errorf("in service: %v, without %s", up, old)
	}
	if g := w.managed(system); g.Status != "ACTIVE" {
		t.Errorf("node group %+v", g)
	}
}

// TestWayMismatch: the verbs of the other ways are refused, and change nothing.
func TestWayMismatch(t *testing.T) {
	w := newWorld(t)
	w.publishRelease(1)
	w.nodegroup(2)
	asg := w.managed(system).AutoScalingGroup
	delegated, self := w.driverWith(`{}`), w.driverWith(`{"way":"self"}`)
	i := look(t, delegated, 0).Instances[0].ID
	w.calls()
	r := must(delegated.Terminate(t.Context(), sdk.TerminateRequest{Op: op(), GroupID: asg, InstanceID: i, Capacity: sdk.KeepCapacity}))(t)
	for name, o := range map[string]*sdk.Operation{
		"terminate": &r.Instance,
		"surge":     must(delegated.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 1}))(t),
		"roll":      must(self.Roll(t.Context(), sdk.RollRequest{Op: op(), GroupID: asg}))(t),
	} {
		if diff := cmp.Diff([]string{"way-mismatch"}, codesOf(o.Diagnostics)); diff != "" || o.State != sdk.OperationFailed {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if c := changes(w.calls()); len(c) > 0 {
		t.Errorf("changes: %v", c)
	}
}

// TestManagedCalls: fifty node groups cost one describe each, and at rest one call in all.
func TestManagedCalls(t *testing.T) {
	const n = 50
	w := newWorld(t)
	w.publishRelease(1)
	for i := range n {
		w.check(w.CreateNodegroup(aws.NodegroupSpec{Cluster: cluster, Name: fmt.Sprintf("ng-%02d", i), Min: 1, Max: 2, Desired: 1}))
	}
	w.pass(time.Minute)
	d := w.driver()
	w.calls()
	if got := len(look(t, d, time.Second).Groups); got != n {
		t.Fatalf("%d groups", got)
	}
	calls := w.calls()
	if calls["eks:DescribeNodegroup"] != n || calls["eks:ListNodegroups"] != 1 || calls["ssm:GetParameters"] != 1 || calls["eks:DescribeCluster"] != 1 {
		t.Errorf("the first look: %v", calls)
	}
	w.pass(2 * time.Second)
	look(t, d, time.Second)
	if diff := cmp.Diff(map[string]int{"autoscaling:DescribeAutoScalingGroups": 1}, w.calls()); diff != "" {
		t.Errorf("a look at rest (-want +got):\n%s", diff)
	}
}

// TestManagedHealth: what EKS says is wrong is shown; where the core replaces instances, one that EKS names is outdated.
func TestManagedHealth(t *testing.T) {
	w := newWorld(t)
	w.publishRelease(1)
	w.nodegroup(2)
	w.suspendOf(w.asg(), "AZRebalance")
	if g := groupOf(t, look(t, w.driver(), 0), system); !slices.Equal(codesOf(g.Diagnostics), []string{"az-rebalance-suspended"}) {
		t.Errorf("%+v", g.Diagnostics)
	}
	w.breakTemplate()
	for way, severity := range map[string]sdk.Severity{"delegated": sdk.SeverityError, "self": sdk.SeverityWarning} {
		g := groupOf(t, look(t, w.driverWith(`{"way":"`+way+`"}`), 0), system)
		i := slices.IndexFunc(g.Diagnostics, func(d sdk.Diagnostic) bool { return d.Code == "ec2-launch-template-version-mismatch" })
		if i < 0 || g.Diagnostics[i].Severity != severity || g.Diagnostics[i].Detail == "" {
			t.Errorf("%s: %+v", way, g.Diagnostics)
		}
	}
}

// TestManagedDenied: a right that is missing is named, and nothing is shown in part.
func TestManagedDenied(t *testing.T) {
	for _, action := range []string{"eks:ListNodegroups", "eks:DescribeNodegroup", "eks:DescribeCluster", "ssm:GetParameters"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld(t)
			w.publishRelease(1)
			w.nodegroup(1)
			w.fault(control.Fault{Kind: control.Deny, Action: action, Count: 1})
			d := w.driver()
			_, err := d.Observe(t.Context(), sdk.Scope{Cluster: cluster}, 0)
			if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), action) {
				t.Errorf("%v", err)
			}
			look(t, d, 0)
		})
	}
}
