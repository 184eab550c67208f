package ekstest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	awseks "github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

// actions reads the actions of a policy; IAM allows one string for a list.
func actions(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Version   string
		Statement []struct {
			Sid, Effect string
			Action      any
		}
	}
	if err := json.Unmarshal(raw, &policy); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, s := range policy.Statement {
		switch a := s.Action.(type) {
		case string:
			list = append(list, a)
		case []any:
			for _, v := range a {
				list = append(list, v.(string))
			}
		}
		if s.Effect != "Allow" {
			t.Errorf("statement %s: effect %q", s.Sid, s.Effect)
		}
	}
	slices.Sort(list)
	return list
}

// TestPolicy runs a rotation that needs everything, and holds what it called
// against the policy that the documentation gives to users: no action too many,
// none too few.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.template("by-parameter", "resolve:ssm:"+aws.ParameterRecommendedImage)
	arn, err := w.CreateTargetGroup(aws.TargetGroupSpec{Name: "web"})
	w.check(err)
	w.seed(3, func(s *aws.GroupSpec) {
		s.TargetGroups = []string{arn}
		s.LaunchTemplate = "by-parameter"
		s.Hooks = []aws.LifecycleHook{{LifecycleHookName: "drain-hook", LifecycleTransition: "autoscaling:EC2_INSTANCE_TERMINATING"}}
	})
	d := w.driver()
	old := look(t, d, 0).Instances
	accepted(t, prepare(t, d))
	accepted(t, must(d.Quiesce(t.Context(), request(old[1].ID)))(t))
	accepted(t, must(d.Unquiesce(t.Context(), request(old[1].ID)))(t))
	accepted(t, setSurge(t, d, 4))
	w.pass(3 * time.Second)
	keep(t, d, old[0].ID)
	w.pass(3 * time.Second)
	look(t, d, 0)
	for s := 3; s >= 0; s-- {
		r := shrinkFirst(t, w, d, s)
		accepted(t, &r.Capacity)
	}
	accepted(t, restore(t, d))
	w.holds("rotatord-eks-iam.json")
}

// holds compares what the driver called since the last time with a policy.
func (w *world) holds(policy string) {
	w.t.Helper()
	calls := w.calls()
	delete(calls, "sts:GetCallerIdentity") // needs no permission
	want := actions(w.t, filepath.Join("..", "..", "deploy", "aws", policy))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(calls))); diff != "" {
		w.t.Errorf("actions (-%s +called):\n%s", policy, diff)
	}
}

// TestPolicyManaged is TestPolicy for node groups that EKS rolls: one with EKS' image, one with a template.
func TestPolicyManaged(t *testing.T) {
	w := newWorld(t)
	w.seedManaged(2)
	w.template("mine", w.publishRelease(10).ImageID)
	w.nodegroup(1, func(s *aws.NodegroupSpec) {
		s.Name, s.LaunchTemplate, s.LaunchVersion, s.AMIType = "custom", "mine", "1", "CUSTOM"
	})
	w.publish("mine")
	d := w.driver()
	look(t, d, 0)
	must(d.Access(t.Context(), cluster))(t)
	accepted(t, managedPrepare(t, w, d))
	accepted(t, roll(t, w, d, func(r *sdk.RollRequest) { r.MaxUnavailable = 2 }))
	accepted(t, must(d.Roll(t.Context(), sdk.RollRequest{Op: sdk.Op{ID: "op-2", RotationID: rotation}, GroupID: w.managed("custom").AutoScalingGroup}))(t))
	look(t, d, 0)
	w.ended()
	_, err := w.eksPerson().UpdateNodegroupVersion(t.Context(), &awseks.UpdateNodegroupVersionInput{ClusterName: ptr(cluster), NodegroupName: ptr(system)})
	w.check(err)
	look(t, d, 0) // somebody else's is looked for
	w.ended()
	accepted(t, managedRestore(t, w, d))
	w.holds("rotatord-eks-managed-iam.json")
}

// TestPolicyRelease is TestPolicy for finding and staging releases.
func TestPolicyRelease(t *testing.T) {
	w := newWorld(t)
	w.seedReleases(func(s *aws.GroupSpec) { s.LaunchVersion = "1" })
	w.template("defaults", w.publishRelease(2).ImageID)
	w.group(aws.GroupSpec{Name: "by-default", LaunchTemplate: "defaults", Max: 2, Desired: 1, Tags: clusterTag(cluster, "owned")})
	w.template("by-parameter", "resolve:ssm:"+w.publishRelease(3).Parameter)
	w.group(aws.GroupSpec{Name: "by-parameter", LaunchTemplate: "by-parameter", LaunchVersion: "$Latest", Max: 2, Desired: 1, Tags: clusterTag(cluster, "owned")})
	w.nodegroup(1)
	w.publishRelease(9)
	d := w.driver()
	for _, g := range releases(t, d, "latest").Groups {
		r := stage(t, d, g.GroupID, "latest", as("op-"+g.GroupName))
		accepted(t, &r.Operation)
	}
	w.holds("rotatord-eks-release-iam.json")
}

// TestPolicyBlueGreen is TestPolicy for a node group that another takes the place of: undone first, then to the end.
func TestPolicyBlueGreen(t *testing.T) {
	w := newWorld(t)
	w.seedBlueGreen(1)
	d := w.driver()
	asg := w.asg()
	for _, c := range []sdk.Capacity{sdk.ShrinkCapacity, sdk.KeepCapacity} {
		accepted(t, managedPrepare(t, w, d))
		accepted(t, must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: asg, Surge: 1}))(t))
		w.pass(time.Minute)
		_, old, current := w.twin(t, d, asg)
		end := current[0]
		if c == sdk.KeepCapacity {
			end = old[0]
		}
		if err := twinEnd(t.Context(), d, asg, end, c); err != nil {
			t.Fatal(err)
		}
		look(t, d, 0) // while it ends
		w.pass(time.Minute)
		if c == sdk.KeepCapacity {
			_, _, current = w.twin(t, d, asg)
			if err := twinEnd(t.Context(), d, asg, current[0], sdk.ShrinkCapacity); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Minute)
		}
		accepted(t, managedRestore(t, w, d))
		w.pass(time.Minute)
	}
	// EKS asks for some of these in the name of whoever creates a node group.
	want := []string{
		"ec2:DescribeSubnets", "eks:CreateNodegroup", "eks:DeleteNodegroup", "eks:TagResource", // asked for with the subnets, and with tags
		"iam:GetRole", "iam:ListAttachedRolePolicies", "iam:PassRole", // and with the node role
	}
	own := actions(t, filepath.Join("..", "..", "deploy", "aws", "rotatord-eks-blue-green-iam.json"))
	if diff := cmp.Diff(want, own); diff != "" {
		t.Errorf("its own policy (-want +got):\n%s", diff)
	}
	allowed := own
	for _, policy := range []string{"rotatord-eks-iam.json", "rotatord-eks-managed-iam.json"} {
		allowed = append(allowed, actions(t, filepath.Join("..", "..", "deploy", "aws", policy))...)
	}
	calls := w.calls()
	for action := range calls {
		if action != "sts:GetCallerIdentity" && !slices.Contains(allowed, action) { // that needs no permission
			t.Errorf("%s is in none of the three policies", action)
		}
	}
	if calls["eks:CreateNodegroup"] != 2 || calls["eks:DeleteNodegroup"] != 2 {
		t.Errorf("node groups were created %d times, and deleted %d times", calls["eks:CreateNodegroup"], calls["eks:DeleteNodegroup"])
	}
}

// TestPolicyDetach is TestPolicy for a group that surges by detaching: its policy beside that of self-managed groups.
func TestPolicyDetach(t *testing.T) {
	w := newWorld(t)
	w.seed(2, func(s *aws.GroupSpec) { s.Max = 2 })
	w.publish("nodes")
	d := w.detaching()
	accepted(t, prepare(t, d))
	accepted(t, setSurge(t, d, 1))
	w.pass(3 * time.Second)
	r := shrink(t, d, byState(look(t, d, 0), sdk.InstanceDetached)[0], 0)
	accepted(t, &r.Instance)
	w.pass(3 * time.Second)
	accepted(t, restore(t, d))
	calls := w.calls()
	for _, action := range append(actions(t, filepath.Join("..", "..", "deploy", "aws", "rotatord-eks-iam.json")), "sts:GetCallerIdentity") {
		delete(calls, action)
	}
	own := actions(t, filepath.Join("..", "..", "deploy", "aws", "rotatord-eks-detach-iam.json"))
	if diff := cmp.Diff(own, slices.Sorted(maps.Keys(calls))); diff != "" {
		t.Errorf("actions (-policy +called):\n%s", diff)
	}
}

// TestPolicyLaunchTemplate: whoever points a group to a launch template needs the rights to launch from it, and is told
// which, and in which file they are.
func TestPolicyLaunchTemplate(t *testing.T) {
	const file = "rotatord-eks-launch-template-iam.json"
	want := []string{"ec2:CreateTags", "ec2:RunInstances", "iam:PassRole"}
	if diff := cmp.Diff(want, actions(t, filepath.Join("..", "..", "deploy", "aws", file))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	ownTemplate := func(t *testing.T, ways string) (*world, *eks.Driver) {
		t.Helper()
		w := newWorld(t)
		w.ways = ways
		w.template("mine", w.publishRelease(1).ImageID)
		w.nodegroup(1, func(s *aws.NodegroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.AMIType = "mine", "1", "CUSTOM" })
		w.publish("mine")
		return w, w.driver()
	}
	deny := func(w *world) { w.fault(control.Fault{Kind: control.Deny, Action: "ec2:RunInstances"}) }
	cases := []struct {
		name, action string
		call         func(*testing.T) (*world, func() sdk.Operation)
	}{
		{"a group pinned to a version", "autoscaling:UpdateAutoScalingGroup", func(t *testing.T) (*world, func() sdk.Operation) {
			t.Helper()
			w := newWorld(t)
			w.seedReleases(func(s *aws.GroupSpec) { s.LaunchVersion = "1" })
			w.publishRelease(9)
			d := w.driver()
			return w, func() sdk.Operation { return stage(t, d, groupA, "latest").Operation }
		}},
		{"a node group that EKS rolls", "eks:UpdateNodegroupVersion", func(t *testing.T) (*world, func() sdk.Operation) {
			t.Helper()
			w, d := ownTemplate(t, "")
			return w, func() sdk.Operation { return *roll(t, w, d) }
		}},
		{"a node group that another takes the place of", "eks:CreateNodegroup", func(t *testing.T) (*world, func() sdk.Operation) {
			t.Helper()
			w, d := ownTemplate(t, blueGreen)
			accepted(t, managedPrepare(t, w, d))
			return w, func() sdk.Operation {
				return *must(d.SetSurge(t.Context(), sdk.SetSurgeRequest{Op: op(), GroupID: w.asg(), Surge: 1}))(t)
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, call := c.call(t)
			deny(w)
			o := call()
			if o.State != sdk.OperationFailed || len(o.Diagnostics) != 1 {
				t.Fatalf("%+v", o)
			}
			diag := o.Diagnostics[0]
			if diag.Code != "aws-denied" || !strings.HasPrefix(diag.Summary, c.action+" failed for ") ||
				!strings.Contains(diag.Detail, "ec2:RunInstances") || !strings.Contains(diag.Detail, file) {
				t.Errorf("%+v", diag)
			}
			w.check(w.ClearFaults(""))
			o = call() // given the right, the same call goes on
			accepted(t, &o)
		})
	}
}
