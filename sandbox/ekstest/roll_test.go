package ekstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awscreds "github.com/aws/aws-sdk-go-v2/credentials"
	awseks "github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

// pods is a cluster whose nodes are the instances in service. Those in blocked have a pod that no eviction gets away.
type pods struct {
	w       *world
	mu      sync.Mutex
	blocked map[string]bool // by instance
}

func (p *pods) Nodes(context.Context) (map[string]aws.Node, error) {
	nodes := map[string]aws.Node{}
	for _, g := range p.w.Groups() {
		for _, id := range members(g, "InService") {
			nodes[id] = aws.Node{Name: "node-" + id, Ready: true}
		}
	}
	return nodes, nil
}

func (*pods) SetUnschedulable(context.Context, string, bool) error { return nil }

func (p *pods) Evict(_ context.Context, node string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blocked[strings.TrimPrefix(node, "node-")] {
		return []string{"default/web-0: its budget allows none"}, nil
	}
	return nil, nil
}

// seedManaged makes the node group "system" of n, one release behind.
func (w *world) seedManaged(n int) {
	w.t.Helper()
	w.publishRelease(1)
	w.nodegroup(n)
	w.publishRelease(9)
}

// eksPerson is somebody else's client of EKS.
func (w *world) eksPerson() *awseks.Client {
	return awseks.NewFromConfig(awssdk.Config{
		Region: region, BaseEndpoint: &w.direct,
		Credentials: awscreds.NewStaticCredentialsProvider(aws.AccessKeyID, aws.SecretAccessKey, ""),
	})
}

// described is a node group as EKS shows it.
func (w *world) described() *ekstypes.Nodegroup { return w.describedAs(system) }

// describedAs reads a node group as EKS shows it.
func (w *world) describedAs(name string) *ekstypes.Nodegroup {
	w.t.Helper()
	out, err := w.eksPerson().DescribeNodegroup(w.t.Context(), &awseks.DescribeNodegroupInput{ClusterName: ptr(cluster), NodegroupName: &name})
	w.check(err)
	return out.Nodegroup
}

// updates are the version updates of the node group.
func (w *world) updates() (list []ekstypes.Update) {
	w.t.Helper()
	ids, err := w.eksPerson().ListUpdates(w.t.Context(), &awseks.ListUpdatesInput{Name: ptr(cluster), NodegroupName: ptr(system)})
	w.check(err)
	for _, id := range ids.UpdateIds {
		out, err := w.eksPerson().DescribeUpdate(w.t.Context(), &awseks.DescribeUpdateInput{Name: ptr(cluster), NodegroupName: ptr(system), UpdateId: &id})
		w.check(err)
		if out.Update.Type == ekstypes.UpdateTypeVersionUpdate {
			list = append(list, *out.Update)
		}
	}
	return list
}

// ended lets time go by until EKS is done with the node group.
func (w *world) ended() {
	w.t.Helper()
	for range 120 {
		if w.managed(system).Status != "UPDATING" {
			return
		}
		w.pass(5 * time.Second)
	}
	w.t.Fatal("the update does not end")
}

func (w *world) asg() string { return w.managed(system).AutoScalingGroup }

func roll(t *testing.T, w *world, d *eks.Driver, change ...func(*sdk.RollRequest)) *sdk.Operation {
	t.Helper()
	r := sdk.RollRequest{Op: op(), GroupID: w.asg()}
	for _, f := range change {
		f(&r)
	}
	return must(d.Roll(t.Context(), r))(t)
}

func managedPrepare(t *testing.T, w *world, d *eks.Driver) *sdk.Operation {
	t.Helper()
	return must(d.Prepare(t.Context(), sdk.GroupRequest{Op: sdk.Op{ID: "op-0", RotationID: rotation}, GroupID: w.asg()}))(t)
}

func managedRestore(t *testing.T, w *world, d *eks.Driver) *sdk.Operation {
	t.Helper()
	return must(d.Restore(t.Context(), sdk.GroupRequest{Op: sdk.Op{ID: "op-9", RotationID: rotation}, GroupID: w.asg()}))(t)
}

// ourTags are the tags of ours on the node group.
func (w *world) ourTags() (keys []string) {
	for k := range w.described().Tags {
		if name, ours := strings.CutPrefix(k, "rotatord.github.io/"); ours {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return keys
}

// TestRoll follows a roll from its beginning to its end, through a restart of the driver.
func TestRoll(t *testing.T) {
	w := newWorld(t)
	w.seedManaged(3)
	d := w.driverWith(`{"strategy":"MINIMAL"}`)
	if g := groupOf(t, look(t, d, 0), system); g.Roll != nil {
		t.Errorf("before: %+v", g.Roll)
	}
	accepted(t, managedPrepare(t, w, d))
	if g := groupOf(t, look(t, d, time.Minute), system); g.HeldBy != rotation {
		t.Errorf("held by %q", g.HeldBy)
	}
	own := w.described().UpdateConfig
	two := func(r *sdk.RollRequest) { r.MaxUnavailable = 2 }
	if o := roll(t, w, d, two); o.State != sdk.OperationRunning {
		t.Fatalf("%+v", o)
	}
	if diff := cmp.Diff([]any{int32(2), ekstypes.NodegroupUpdateStrategiesMinimal}, []any{*w.described().UpdateConfig.MaxUnavailable, w.described().UpdateConfig.UpdateStrategy}); diff != "" {
		t.Errorf("update configuration for the rotation (-want +got):\n%s", diff)
	}
	for _, d := range []*eks.Driver{d, w.driverWith(`{"strategy":"MINIMAL"}`)} {
		r := groupOf(t, look(t, d, time.Minute), system).Roll
		if r == nil || r.State != sdk.RollRunning || r.OpID != "op-1" || !strings.Contains(r.Phase, "1.37.2-20260309") || !strings.Contains(r.Phase, "of 3 instances current") {
			t.Errorf("in flight: %+v", r)
		}
		if o := roll(t, w, d, two); o.State != sdk.OperationRunning || len(o.Diagnostics) > 0 {
			t.Errorf("again: %+v", o)
		}
	}
	w.ended()
	w.pass(5 * time.Second)
	s := look(t, d, 4*time.Second)
	g := groupOf(t, s, system)
	if r := g.Roll; r == nil || r.State != sdk.RollSucceeded || r.OpID != "op-1" || r.Since.IsZero() {
		t.Errorf("ended: %+v", g.Roll)
	}
	if why := outdated(s, g.ID); len(why) > 0 || len(s.Instances) != 3 {
		t.Errorf("%d instances, outdated: %v", len(s.Instances), why)
	}
	if o := roll(t, w, d, two); o.State != sdk.OperationDone {
		t.Errorf("after its end: %+v", o)
	}
	if o := roll(t, w, d, func(r *sdk.RollRequest) { r.ID = "op-2" }); o.State != sdk.OperationDone || !strings.Contains(o.Phase, "already at") {
		t.Errorf("nothing to roll: %+v", o)
	}
	accepted(t, managedRestore(t, w, d))
	w.ended()
	if diff := cmp.Diff([]any{*own.MaxUnavailable, ekstypes.NodegroupUpdateStrategiesDefault}, []any{*w.described().UpdateConfig.MaxUnavailable, w.described().UpdateConfig.UpdateStrategy}); diff != "" {
		t.Errorf("update configuration afterwards (-want +got):\n%s", diff)
	}
	if tags := w.ourTags(); len(tags) > 0 {
		t.Errorf("tags are left: %v", tags)
	}
	if n := len(w.updates()); n != 1 {
		t.Errorf("%d updates, want 1", n)
	}
}

// TestRollFails: what EKS says of its failure reaches the host, and the next operation begins a new update.
func TestRollFails(t *testing.T) {
	w := newWorld(t)
	p := &pods{w: w, blocked: map[string]bool{}}
	w.check(w.ConnectCluster(cluster, "https://127.0.0.1:6443", nil, p))
	w.seedManaged(2)
	stuck := members(w.state(w.asg()), "InService")[0]
	p.mu.Lock()
	p.blocked[stuck] = true
	p.mu.Unlock()
	d := w.driver()
	accepted(t, roll(t, w, d))
	w.ended()
	s := look(t, d, 5*time.Second)
	r := groupOf(t, s, system).Roll
	if r == nil || r.State != sdk.RollFailed || r.OpID != "op-1" {
		t.Fatalf("%+v", r)
	}
	if len(r.Diagnostics) != 1 || r.Diagnostics[0].Code != "pod-eviction-failure" || r.Diagnostics[0].Severity != sdk.SeverityError ||
		!strings.Contains(r.Diagnostics[0].Object, stuck) || !strings.Contains(r.Diagnostics[0].Detail, "PodDisruptionBudget") {
		t.Errorf("%+v, want one that names %s", r.Diagnostics, stuck)
	}
	if why := outdated(s, w.asg()); len(why) == 0 {
		t.Error("nothing is outdated after a failure in the middle")
	}
	if o := roll(t, w, d); o.State != sdk.OperationFailed || codesOf(o.Diagnostics)[0] != "pod-eviction-failure" {
		t.Errorf("the same operation again: %+v", o)
	}
	if o := roll(t, w, d, func(r *sdk.RollRequest) { r.ID, r.Force = "op-2", true }); o.State != sdk.OperationRunning {
		t.Fatalf("another operation: %+v", o)
	}
	w.ended()
	s = look(t, d, 0)
	if r := groupOf(t, s, system).Roll; r.State != sdk.RollSucceeded || r.OpID != "op-2" {
		t.Errorf("with force: %+v", r)
	}
	if why := outdated(s, w.asg()); len(why) > 0 {
		t.Errorf("outdated: %v", why)
	}
}

// TestRollForeign: an update that somebody else began is watched when it leads where we want, and waited for else.
func TestRollForeign(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same=%v", same), func(t *testing.T) {
			w := newWorld(t)
			w.seedManaged(2)
			_, err := w.eksPerson().UpdateNodegroupVersion(t.Context(), &awseks.UpdateNodegroupVersionInput{ClusterName: ptr(cluster), NodegroupName: ptr(system)})
			w.check(err)
			if !same {
				w.publishRelease(20)
			}
			d := w.driver()
			accepted(t, managedPrepare(t, w, d))
			if r := groupOf(t, look(t, d, 0), system).Roll; r == nil || r.State != sdk.RollRunning || r.OpID != "" {
				t.Errorf("shown: %+v", r)
			}
			o := roll(t, w, d)
			if same && (o.State != sdk.OperationRunning || !slices.Equal(codesOf(o.Diagnostics), []string{"roll-foreign"})) {
				t.Errorf("to the same revision: %+v", o)
			}
			if !same && (o.State != sdk.OperationFailed || o.Diagnostics[0].Code != "roll-foreign-revision" || o.Diagnostics[0].Retry != sdk.RetryLater) {
				t.Errorf("to another revision: %+v", o)
			}
			if n := len(w.updates()); n != 1 {
				t.Errorf("%d updates, want 1", n)
			}
			w.ended()
			want := map[bool]sdk.OperationState{true: sdk.OperationDone, false: sdk.OperationRunning}[same]
			if o := roll(t, w, d); o.State != want {
				t.Errorf("once it has ended: %+v", o)
			}
		})
	}
}

// TestRollHeld: while EKS rolls, the update configuration cannot be put back; the next rotation does.
func TestRollHeld(t *testing.T) {
	w := newWorld(t)
	w.seedManaged(3)
	d := w.driver()
	accepted(t, managedPrepare(t, w, d))
	_, err := d.Prepare(t.Context(), sdk.GroupRequest{Op: sdk.Op{ID: "o", RotationID: "r-other"}, GroupID: w.asg()})
	if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), rotation) {
		t.Errorf("another rotation: %v", err)
	}
	accepted(t, roll(t, w, d, func(r *sdk.RollRequest) { r.MaxUnavailable = 3 }))
	o := managedRestore(t, w, d)
	if o.State != sdk.OperationDone || !slices.Equal(codesOf(o.Diagnostics), []string{"update-config-kept"}) {
		t.Errorf("restore while EKS rolls: %+v", o)
	}
	if diff := cmp.Diff([]string{"roll", "update-config"}, w.ourTags()); diff != "" {
		t.Errorf("tags while EKS rolls (-want +got):\n%s", diff)
	}
	w.ended()
	d = w.driver()
	accepted(t, managedPrepare(t, w, d))
	accepted(t, managedRestore(t, w, d))
	w.ended()
	if n := *w.described().UpdateConfig.MaxUnavailable; n != 1 {
		t.Errorf("max unavailable is %d, want 1 as before", n)
	}
	if tags := w.ourTags(); len(tags) > 0 {
		t.Errorf("tags are left: %v", tags)
	}
}

// TestRollRefused: what cannot be rolled is refused before anything is changed.
func TestRollRefused(t *testing.T) {
	cases := []struct {
		name   string
		before func(*world)
		code   string
	}{
		{"older than what runs", func(w *world) {
			w.seedManaged(2)
			w.ended()
			_, err := w.eksPerson().UpdateNodegroupVersion(w.t.Context(), &awseks.UpdateNodegroupVersionInput{ClusterName: ptr(cluster), NodegroupName: ptr(system)})
			w.check(err)
			w.ended()
			w.pin("1.37.2-20260301")
		}, "release-downgrade"},
		{"the template was changed behind EKS", func(w *world) {
			w.seedManaged(2)
			w.breakTemplate()
		}, "ec2-launch-template-version-mismatch"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.before(w)
			d := w.driver()
			w.calls()
			var o *sdk.Operation
			if strings.HasPrefix(c.code, "ec2") {
				o = managedPrepare(t, w, d)
				if g := groupOf(t, look(t, d, 0), system); !slices.Contains(codesOf(g.Diagnostics), c.code) {
					t.Errorf("shown: %+v", g.Diagnostics)
				}
			} else {
				o = roll(t, w, d)
			}
			if o.State != sdk.OperationFailed || !slices.Contains(codesOf(o.Diagnostics), c.code) {
				t.Errorf("%+v, want %s", o, c.code)
			}
			if got := changes(w.calls()); len(got) > 0 {
				t.Errorf("changes: %v", got)
			}
		})
	}
	w := newWorld(t)
	w.seed(1)
	d := w.driver()
	o := must(d.Roll(t.Context(), sdk.RollRequest{Op: op(), GroupID: groupA}))(t)
	if !slices.Equal(codesOf(o.Diagnostics), []string{"group-self-managed"}) {
		t.Errorf("a self-managed group: %+v", o)
	}
	if _, err := d.Roll(t.Context(), sdk.RollRequest{Op: op(), GroupID: "nope"}); status.Code(err) != codes.NotFound {
		t.Errorf("no such group: %v", err)
	}
}

// TestRollDryRun checks, and changes nothing.
func TestRollDryRun(t *testing.T) {
	w := newWorld(t)
	w.seedManaged(2)
	d := w.driver()
	w.calls()
	if o := roll(t, w, d, func(r *sdk.RollRequest) { r.DryRun, r.MaxUnavailable = true, 2 }); o.State != sdk.OperationDone {
		t.Errorf("%+v", o)
	}
	if got := changes(w.calls()); len(got) > 0 {
		t.Errorf("changes: %v", got)
	}
}

// TestRollCustom rolls a node group with an image of the user's own to the newest version of its template.
func TestRollCustom(t *testing.T) {
	w := newWorld(t)
	w.template("mine", w.publishRelease(1).ImageID)
	w.nodegroup(2, func(s *aws.NodegroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.AMIType = "mine", "1", "CUSTOM" })
	w.publish("mine")
	d := w.driver()
	accepted(t, roll(t, w, d))
	if why := outdated(look(t, d, 0), w.asg()); len(why) != 1 {
		t.Errorf("at the beginning: %v", why)
	}
	w.ended()
	s := look(t, d, 0)
	if why := outdated(s, w.asg()); len(why) > 0 || groupOf(t, s, system).Roll.State != sdk.RollSucceeded {
		t.Errorf("afterwards: %v %+v", why, groupOf(t, s, system).Roll)
	}
	if v := *w.described().LaunchTemplate.Version; v != "2" {
		t.Errorf("launch template version %s, want 2", v)
	}
}

// TestRollCrash cuts Prepare, Roll and Restore off before and after each change.
func TestRollCrash(t *testing.T) {
	two := func(r *sdk.RollRequest) { r.MaxUnavailable = 2 }
	seed := func(w *world) { w.seedManaged(2) }
	t.Run("prepare", func(t *testing.T) {
		crashEverywhere(t, seed, nil, func(ctx context.Context, d *eks.Driver, w *world) error {
			return failure(d.Prepare(ctx, sdk.GroupRequest{Op: op(), GroupID: w.asg()}))
		}, func(t *testing.T, w *world, d *eks.Driver) {
			if g := groupOf(t, look(t, d, 0), system); g.HeldBy != rotation {
				t.Errorf("held by %q", g.HeldBy)
			}
		})
	})
	t.Run("roll", func(t *testing.T) {
		crashEverywhere(t, seed, func(t *testing.T, w *world, d *eks.Driver) { accepted(t, managedPrepare(t, w, d)) },
			func(ctx context.Context, d *eks.Driver, w *world) error {
				r := sdk.RollRequest{Op: op(), GroupID: w.asg()}
				two(&r)
				return failure(d.Roll(ctx, r))
			}, func(t *testing.T, w *world, d *eks.Driver) {
				w.ended()
				if n := len(w.updates()); n != 1 {
					t.Errorf("%d updates, want 1", n)
				}
				s := look(t, d, 0)
				if r := groupOf(t, s, system).Roll; r == nil || r.OpID != "op-1" || r.State != sdk.RollSucceeded {
					t.Errorf("roll %+v", r)
				}
				if why := outdated(s, w.asg()); len(why) > 0 {
					t.Errorf("outdated: %v", why)
				}
				accepted(t, managedRestore(t, w, d))
				w.ended()
				if n := *w.described().UpdateConfig.MaxUnavailable; n != 1 {
					t.Errorf("max unavailable afterwards: %d", n)
				}
			})
	})
	t.Run("restore", func(t *testing.T) {
		crashEverywhere(t, seed, func(t *testing.T, w *world, d *eks.Driver) {
			accepted(t, managedPrepare(t, w, d))
			accepted(t, roll(t, w, d, two))
			w.ended()
		}, func(ctx context.Context, d *eks.Driver, w *world) error {
			return failure(d.Restore(ctx, sdk.GroupRequest{Op: op(), GroupID: w.asg()}))
		}, func(t *testing.T, w *world, d *eks.Driver) {
			w.ended()
			if n := *w.described().UpdateConfig.MaxUnavailable; n != 1 {
				t.Errorf("max unavailable afterwards: %d", n)
			}
			if tags := w.ourTags(); len(tags) > 0 {
				t.Errorf("tags are left: %v", tags)
			}
		})
	})
}

// pin is what Stage writes on a node group.
func (w *world) pin(release string) {
	w.t.Helper()
	_, err := w.eksPerson().TagResource(w.t.Context(), &awseks.TagResourceInput{ResourceArn: w.described().NodegroupArn, Tags: map[string]string{"rotatord.github.io/release": release}})
	w.check(err)
}

// breakTemplate points the node group's Auto Scaling group to a version that EKS did not make.
func (w *world) breakTemplate() {
	w.t.Helper()
	w.template("other", w.publishRelease(10).ImageID)
	w.launchFrom(w.asg(), "other")
	w.pass(time.Minute)
}
