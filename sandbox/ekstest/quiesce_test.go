package ekstest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

// delay is the deregistration delay of the target groups here.
const delay = 30 * time.Second

// balanced is a group of n behind two target groups, all targets healthy.
func (w *world) balanced(n int) (arns []string) {
	w.t.Helper()
	for _, name := range []string{"api", "web"} {
		arn, err := w.CreateTargetGroup(aws.TargetGroupSpec{Name: name, DeregistrationDelay: delay})
		if err != nil {
			w.t.Fatal(err)
		}
		arns = append(arns, arn)
	}
	w.seed(n, func(s *aws.GroupSpec) { s.TargetGroups = arns })
	w.pass(2 * time.Second)
	return arns
}

// targetsOf lists the states of an instance's targets, sorted: "web: healthy".
func (w *world) targetsOf(id string) []string {
	states := []string{}
	for _, s := range w.Targets() {
		if s.Instance == id {
			states = append(states, s.Group+": "+s.State)
		}
	}
	slices.Sort(states)
	return states
}

var (
	both     = []string{"api: healthy", "web: healthy"}
	draining = []string{"api: draining", "web: draining"}
)

func (w *world) wantTargets(what, id string, want ...string) {
	w.t.Helper()
	if got := w.targetsOf(id); !slices.Equal(got, want) {
		w.t.Errorf("%s: targets of %s are %v, want %v", what, id, got, want)
	}
}

func request(id string) sdk.InstanceRequest {
	return sdk.InstanceRequest{Op: op(), GroupID: groupA, InstanceID: id}
}

func quiesceCall(id *string) func(context.Context, *eks.Driver, *world) error {
	return func(ctx context.Context, d *eks.Driver, _ *world) error {
		o, err := d.Quiesce(ctx, request(*id))
		return failure(o, err)
	}
}

func workOn(t *testing.T, s *sdk.Snapshot, id string) string {
	t.Helper()
	for _, i := range s.Instances {
		if i.ID == id {
			if i.Work == nil {
				return ""
			}
			return i.Work.Verb + ": " + i.Work.Phase
		}
	}
	t.Fatalf("no instance %s in the snapshot", id)
	return ""
}

func TestQuiesce(t *testing.T) {
	w := newWorld(t)
	w.balanced(3)
	d := w.driver()
	if !groupOf(t, look(t, d, 0), groupA).Traits.Quiesce {
		t.Fatal("a group behind target groups does not offer quiesce")
	}
	accepted(t, prepare(t, d))
	id := members(w.state(groupA), "InService")[0]
	leaves := func(want sdk.OperationState) {
		t.Helper()
		if o := must(d.Quiesce(t.Context(), request(id)))(t); o.State != want {
			t.Errorf("quiesce answers %+v, want state %v", o, want)
		}
	}
	w.calls()
	leaves(sdk.OperationRunning)
	want := map[string]int{"autoscaling:DescribeAutoScalingGroups": 1, "ec2:CreateTags": 1,
		"elasticloadbalancing:DescribeTargetHealth": 2, "elasticloadbalancing:DeregisterTargets": 2}
	if diff := cmp.Diff(want, w.calls()); diff != "" {
		t.Errorf("calls for an instance in two target groups (-want +got):\n%s", diff)
	}
	w.wantTargets("quiesced", id, draining...)
	const phase = "quiesce: draining connections of target group api and web"
	if got := workOn(t, look(t, d, time.Second), id); got != phase {
		t.Errorf("work %q, want %q", got, phase)
	}
	w.pass(delay / 2)
	leaves(sdk.OperationRunning) // again, which begins nothing anew
	d = w.driver()
	if got := workOn(t, look(t, d, 0), id); got != phase {
		t.Errorf("the next life sees the work %q, want %q", got, phase)
	}
	w.pass(delay / 2)
	if got := workOn(t, look(t, d, time.Second), id); got != "" {
		t.Errorf("work %q once it has left", got)
	}
	leaves(sdk.OperationDone)
	w.wantTargets("later", id)

	// At rest a look asks about no target group.
	w.calls()
	look(t, d, time.Second)
	w.pass(time.Second)
	look(t, d, time.Second)
	if n := w.calls()["elasticloadbalancing:DescribeTargetHealth"]; n > 0 {
		t.Errorf("%d calls about target groups at rest", n)
	}

	accepted(t, must(d.Unquiesce(t.Context(), request(id)))(t))
	w.pass(2 * time.Second)
	w.wantTargets("put back", id, both...)
	accepted(t, restore(t, d))
	asMade(t, w, 3)
	noRecord(t, d, w)
}

// noRecord checks that no instance carries a tag of ours: putting back finds
// nothing to do.
func noRecord(t *testing.T, d *eks.Driver, w *world) {
	t.Helper()
	w.calls()
	accepted(t, restore(t, d))
	if c := w.calls(); c["elasticloadbalancing:RegisterTargets"]+c["ec2:DeleteTags"] > 0 {
		t.Errorf("a record is left: %v", c)
	}
}

// A target group that somebody took the instance out of before is not put back.
func TestQuiesceKeepsWhatOthersDid(t *testing.T) {
	w := newWorld(t)
	arns := w.balanced(2)
	d := w.driver()
	id := members(w.state(groupA), "InService")[0]
	w.deregister(arns[1], id)
	w.pass(delay + time.Second)
	accepted(t, prepare(t, d))
	accepted(t, must(d.Quiesce(t.Context(), request(id)))(t))
	w.wantTargets("quiesced", id, "api: draining")
	accepted(t, must(d.Unquiesce(t.Context(), request(id)))(t))
	w.pass(2 * time.Second)
	w.wantTargets("put back", id, "api: healthy")
	// What was taken out and never recorded as ours stays out at the end, too.
	accepted(t, restore(t, d))
	w.wantTargets("restored", id, "api: healthy")
}

func TestQuiesceCrashes(t *testing.T) {
	var victim string
	pick := func(t *testing.T, w *world, d *eks.Driver) {
		accepted(t, prepare(t, d))
		victim = members(w.state(groupA), "InService")[0]
	}
	seed := func(w *world) { w.balanced(3) }
	t.Run("quiesce", func(t *testing.T) {
		crashEverywhere(t, seed, pick, quiesceCall(&victim), func(t *testing.T, w *world, d *eks.Driver) {
			w.wantTargets("quiesced", victim, draining...)
			w.pass(delay)
			w.wantTargets("later", victim)
			accepted(t, restore(t, d)) // a rotation that ends here puts it back
			w.pass(2 * time.Second)
			w.wantTargets("restored", victim, both...)
			noRecord(t, d, w)
		})
	})
	out := func(t *testing.T, w *world, d *eks.Driver) {
		pick(t, w, d)
		accepted(t, must(d.Quiesce(t.Context(), request(victim)))(t))
		w.pass(delay)
	}
	back := func(t *testing.T, w *world, d *eks.Driver) {
		w.pass(2 * time.Second)
		w.wantTargets("put back", victim, both...)
		noRecord(t, d, w)
	}
	t.Run("unquiesce", func(t *testing.T) {
		crashEverywhere(t, seed, out, func(ctx context.Context, d *eks.Driver, _ *world) error {
			o, err := d.Unquiesce(ctx, request(victim))
			return failure(o, err)
		}, back)
	})
	t.Run("restore", func(t *testing.T) {
		crashEverywhere(t, seed, out, func(ctx context.Context, d *eks.Driver, _ *world) error {
			o, err := d.Restore(ctx, sdk.GroupRequest{Op: op(), GroupID: groupA})
			return failure(o, err)
		}, back)
	})
}

func TestQuiesceRefused(t *testing.T) {
	for action, want := range map[string]string{
		"DescribeTargetHealth": "aws-denied", "ec2:CreateTags": "aws-denied", "DeregisterTargets": "aws-denied",
	} {
		w := newWorld(t)
		w.balanced(2)
		d := w.driver()
		accepted(t, prepare(t, d))
		id := members(w.state(groupA), "InService")[0]
		w.fault(control.Fault{Kind: control.Deny, Action: action})
		o := must(d.Quiesce(t.Context(), request(id)))(t)
		if o.State != sdk.OperationFailed || !slices.Equal(codesOf(o.Diagnostics), []string{want}) {
			t.Errorf("%s denied: %+v, want %s", action, o, want)
		}
		if !strings.Contains(o.Diagnostics[0].Summary, action[strings.IndexByte(action, ':')+1:]) {
			t.Errorf("%s denied: %q does not name it", action, o.Diagnostics[0].Summary)
		}
		if action != "DeregisterTargets" {
			w.wantTargets("refused", id, both...)
		}
	}
}

// Without target groups there is nothing to ask for, and no call is made.
func TestNoTargetGroups(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	d := w.driver()
	accepted(t, prepare(t, d))
	if groupOf(t, look(t, d, 0), groupA).Traits.Quiesce {
		t.Error("a group without target groups offers quiesce")
	}
	accepted(t, restore(t, d))
	for name, n := range w.calls() {
		if strings.HasPrefix(name, "elasticloadbalancing:") {
			t.Errorf("%d calls of %s", n, name)
		}
	}
}

// Groups that share a target group are asked about in one call.
func TestSharedTargetGroup(t *testing.T) {
	w := newWorld(t)
	arns := w.balanced(2)
	w.group(aws.GroupSpec{Name: "prod-workers-2", LaunchTemplate: "nodes", LaunchVersion: "$Latest", Max: 4, Desired: 2, Tags: clusterTag(cluster, "owned"), TargetGroups: arns})
	d := w.driver()
	accepted(t, prepare(t, d))
	accepted(t, must(d.Prepare(t.Context(), sdk.GroupRequest{Op: op(), GroupID: "prod-workers-2"}))(t))
	accepted(t, must(d.Quiesce(t.Context(), request(members(w.state(groupA), "InService")[0])))(t))
	w.calls()
	look(t, d, time.Second)
	if diff := cmp.Diff(2, w.calls()["elasticloadbalancing:DescribeTargetHealth"]); diff != "" {
		t.Errorf("calls for two target groups (-want +got):\n%s", diff)
	}
}
