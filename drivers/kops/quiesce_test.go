package kops

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

var (
	quiesceWeb = sdk.GroupRequest{Op: sdk.Op{ID: "1", RotationID: "r-1"}, GroupID: "k.example.com/web"}
	quiesceOne = sdk.InstanceRequest{Op: quiesceWeb.Op, GroupID: quiesceWeb.GroupID, InstanceID: "i-1"}
)

// The states of an instance of onBalancers.
const (
	served  = "old: in, web: in"
	records = "tag quiesced/0123456789abcdef=" + webTargets + ", tag quiesced/old=old, tag quiesced=r-1"
)

// onlyEC2 is what a look asks for that asks about no load balancer.
var onlyEC2 = []string{"ec2:DescribeInstances"}

// want fails the test unless the operation succeeded in that state.
func want(t *testing.T, state sdk.OperationState) func(*sdk.Operation, error) *sdk.Operation {
	return func(op *sdk.Operation, err error) *sdk.Operation {
		t.Helper()
		if err != nil || op.State != state {
			t.Fatalf("%+v, %v; want %v", op, err, state)
		}
		return op
	}
}

func (b *balancers) wantState(what, id, want string) {
	b.t.Helper()
	if got := b.state(id); got != want {
		b.t.Errorf("%s: %s is %q, want %q", what, id, got, want)
	}
}

func workOn(t *testing.T, d *Driver, id string) string {
	t.Helper()
	for _, i := range observe(t, d).Instances {
		if i.ID == id && i.Work != nil {
			return i.Work.Verb + ": " + i.Work.Phase
		}
	}
	return ""
}

// An instance leaves its load balancers of both kinds, is seen to, and comes back,
// with the permissions of the policy that the documentation gives to users and
// no other.
func TestQuiesce(t *testing.T) {
	d, _, b := onBalancers(t)
	if !observe(t, d).Groups[0].Traits.Quiesce {
		t.Fatal("a group behind load balancers does not offer quiesce")
	}
	if got := b.since(); !slices.Equal(got, onlyEC2) {
		t.Errorf("a look at a group that no rotation holds asks for %s", got)
	}
	want(t, sdk.OperationDone)(d.Prepare(t.Context(), quiesceWeb))
	b.since()
	want(t, sdk.OperationRunning)(d.Quiesce(t.Context(), quiesceOne))
	b.wantState("quiesced", "i-1", "old: leaving, "+records+", web: leaving")
	b.wantState("quiesced", "i-2", served)
	const phase = "quiesce: draining connections of target group web and of load balancer old"
	if got := workOn(t, d, "i-1"); got != phase {
		t.Errorf("work %q, want %q", got, phase)
	}
	want(t, sdk.OperationRunning)(d.Quiesce(t.Context(), quiesceOne)) // again, which begins nothing anew
	d = again(t, d)
	if got := workOn(t, d, "i-1"); got != phase {
		t.Errorf("the next life sees the work %q, want %q", got, phase)
	}
	b.drained()
	if got := workOn(t, d, "i-1"); got != "" {
		t.Errorf("work %q once it has left", got)
	}
	want(t, sdk.OperationDone)(d.Quiesce(t.Context(), quiesceOne))
	want(t, sdk.OperationDone)(d.Unquiesce(t.Context(), quiesceOne))
	b.wantState("put back", "i-1", served)
	if diff := cmp.Diff(actionsOf(t, "rotatord-kops-load-balancers-iam.json"), b.since()); diff != "" {
		t.Errorf("actions (-policy +called):\n%s", diff)
	}

	observe(t, d)
	b.since()
	observe(t, d) // at rest no load balancer is asked about
	if got := b.since(); !slices.Equal(got, onlyEC2) {
		t.Errorf("at rest a look asks for %s", got)
	}
}

// actionsOf reads the actions of a policy, sorted.
func actionsOf(t *testing.T, policy string) (actions []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "aws", policy))
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Statement {
		actions = append(actions, s.Action...)
	}
	slices.Sort(actions)
	return actions
}

// What a killed rotation took out is put back by Restore, and only that: neither
// what a person had taken out before, nor where the group is not attached now.
func TestQuiesceRestored(t *testing.T) {
	for _, tc := range []struct {
		name          string
		before, after func(*asgtypes.AutoScalingGroup, *balancers)
		want          string
		codes         []string
	}{
		{name: "all", want: served},
		{name: "out before", want: "old: in", before: func(_ *asgtypes.AutoScalingGroup, b *balancers) { delete(b.serving[webTargets], "i-1") }},
		{name: "detached meanwhile", want: "web: in", codes: []string{"load-balancer-detached"},
			after: func(g *asgtypes.AutoScalingGroup, _ *balancers) { g.LoadBalancerNames = nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, group, b := onBalancers(t)
			want(t, sdk.OperationDone)(d.Prepare(t.Context(), quiesceWeb))
			if tc.before != nil {
				tc.before(group, b)
			}
			want(t, sdk.OperationRunning)(d.Quiesce(t.Context(), quiesceOne))
			b.drained()
			if tc.after != nil {
				tc.after(group, b)
			}
			op := want(t, sdk.OperationDone)(again(t, d).Restore(t.Context(), quiesceWeb))
			b.wantState("restored", "i-1", tc.want)
			var codes []string
			for _, diag := range op.Diagnostics {
				codes = append(codes, diag.Code)
			}
			if !slices.Equal(codes, tc.codes) {
				t.Errorf("it says %v, want %v", codes, tc.codes)
			}
		})
	}
}

// Each call that is refused ends with the action's name, and the same call
// reaches its goal once it is allowed: wherever it was cut off, nothing is lost.
func TestQuiesceRefused(t *testing.T) {
	for _, action := range actionsOf(t, "rotatord-kops-load-balancers-iam.json") {
		if action == "ec2:DescribeInstances" {
			continue // the library's own look fails first
		}
		t.Run(action, func(t *testing.T) {
			d, _, b := onBalancers(t)
			want(t, sdk.OperationDone)(d.Prepare(t.Context(), quiesceWeb))
			try := func(call func() (*sdk.Operation, error)) (refused bool, op *sdk.Operation) {
				t.Helper()
				b.deny = action
				op, err := call()
				b.deny = ""
				if err != nil {
					t.Fatal(err)
				}
				if op.State != sdk.OperationFailed {
					return false, op
				}
				if diag := op.Diagnostics[0]; diag.Code != "cloud-denied" || !strings.HasPrefix(diag.Summary, action+" failed for ") {
					t.Errorf("it says %+v", diag)
				}
				if op, err = call(); err != nil || op.State == sdk.OperationFailed {
					t.Fatalf("the same call again: %+v, %v", op, err)
				}
				return true, op
			}
			first, _ := try(func() (*sdk.Operation, error) { return d.Quiesce(t.Context(), quiesceOne) })
			b.wantState("quiesced", "i-1", "old: leaving, "+records+", web: leaving")
			b.drained()
			second, _ := try(func() (*sdk.Operation, error) { return d.Restore(t.Context(), quiesceWeb) })
			b.wantState("restored", "i-1", served)
			if !first && !second {
				t.Error("neither call was refused")
			}
		})
	}
}

// What is gone in the moment before it is asked for holds nothing up.
func TestQuiesceGoneMeanwhile(t *testing.T) {
	for _, tc := range []struct{ action, code string }{
		{"DeregisterTargets", "TargetGroupNotFound"},
		{"DeregisterInstancesFromLoadBalancer", "LoadBalancerNotFound"},
		{"DeregisterInstancesFromLoadBalancer", "InvalidInstance"},
	} {
		t.Run(tc.code, func(t *testing.T) {
			d, _, b := onBalancers(t)
			b.deny, b.code = "elasticloadbalancing:"+tc.action, tc.code
			want(t, sdk.OperationRunning)(d.Quiesce(t.Context(), quiesceOne))
			if asked := b.since(); !slices.Contains(asked, b.deny) {
				t.Errorf("it was not asked to %s: %s", tc.action, asked)
			}
		})
	}
}

// A load balancer that is gone, and an instance that is, hold nothing up.
func TestQuiesceGone(t *testing.T) {
	d, group, b := onBalancers(t)
	want(t, sdk.OperationDone)(d.Prepare(t.Context(), quiesceWeb))
	delete(b.serving, oldBalance)
	delete(b.serving, webTargets)
	want(t, sdk.OperationDone)(d.Quiesce(t.Context(), quiesceOne))

	b.serving[oldBalance] = map[string]string{"i-1": in, "i-2": in}
	want(t, sdk.OperationRunning)(d.Quiesce(t.Context(), quiesceOne))
	b.ended = "i-2" // the group shows it for a moment: a call that names both is refused
	if got, want := workOn(t, d, "i-1"), "quiesce: draining connections of load balancer old"; got != want {
		t.Errorf("work %q, want %q", got, want)
	}
	group.Instances = group.Instances[:1]
	other := quiesceOne
	other.InstanceID = "i-2"
	if op, err := d.Quiesce(t.Context(), other); status.Code(err) != codes.NotFound {
		t.Errorf("an instance that is gone: %+v, %v", op, err)
	}
	want(t, sdk.OperationDone)(d.Unquiesce(t.Context(), other))
}

// The only machine that serves the API stays in its load balancer, as for kops;
// two of them leave.
func TestQuiesceAPIServers(t *testing.T) {
	for size, offered := range map[string]bool{"1": false, "2": true} {
		t.Run(size, func(t *testing.T) {
			d, group, b := onBalancers(t)
			*group.AutoScalingGroupName = "web.apiservers.k.example.com"
			group.Tags[0].ResourceId = group.AutoScalingGroupName
			_, s, _ := d.configured()
			sp, err := d.spec(t.Context(), s, "k.example.com", 0)
			if err != nil {
				t.Fatal(err)
			}
			dir := strings.TrimPrefix(sp.base.Path(), "file://")
			writeFiles(t, dir, map[string]string{"instancegroup/web": "apiVersion: kops.k8s.io/v1alpha2\nkind: InstanceGroup\nmetadata:\n  name: web\nspec:\n  role: APIServer\n  minSize: " + size + "\n  maxSize: 2\n"})
			if got := observe(t, d).Groups[0].Traits.Quiesce; got != offered {
				t.Errorf("quiesce is offered: %v, want %v", got, offered)
			}
			op, err := d.Quiesce(t.Context(), quiesceOne)
			if offered {
				want(t, sdk.OperationRunning)(op, err)
				return
			}
			if status.Code(err) != codes.FailedPrecondition {
				t.Errorf("%+v, %v", op, err)
			}
			b.wantState("refused", "i-1", served)
		})
	}
}
