package aws

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/sandbox/control"
)

func (a *account) createInput(name string, change ...func(*eks.CreateNodegroupInput)) *eks.CreateNodegroupInput {
	in := &eks.CreateNodegroupInput{
		ClusterName: ptr(testCluster), NodegroupName: &name, NodeRole: ptr("arn:aws:iam::123456789012:role/nodes"),
		Subnets: []string{a.SubnetID("eu-central-1a"), a.SubnetID("eu-central-1b")}, AmiType: types.AMITypesBottlerocketArm64,
		ScalingConfig: &types.NodegroupScalingConfig{MinSize: ptr(int32(0)), MaxSize: ptr(int32(4)), DesiredSize: ptr(int32(2))},
		Labels:        map[string]string{"team": "a"}, Taints: []types.Taint{{Key: ptr("dedicated"), Value: ptr("a"), Effect: types.TaintEffectNoSchedule}},
		Tags: map[string]string{"cost": "1"}, InstanceTypes: []string{"m7g.large", "m6g.large"},
	}
	for _, f := range change {
		f(in)
	}
	return in
}

func TestCreateAndDeleteNodegroup(t *testing.T) {
	a, f := newEKS(t, 1)
	out, err := a.EKS.CreateNodegroup(a.ctx(), a.createInput("green", func(in *eks.CreateNodegroupInput) { in.ClientRequestToken = ptr("op-1") }))
	if err != nil {
		t.Fatal(err)
	}
	if out.Nodegroup.Status != types.NodegroupStatusCreating {
		t.Errorf("node group %+v", out.Nodegroup)
	}
	again, err := a.EKS.CreateNodegroup(a.ctx(), a.createInput("green", func(in *eks.CreateNodegroupInput) { in.ClientRequestToken = ptr("op-1") }))
	if err != nil || *again.Nodegroup.NodegroupArn != *out.Nodegroup.NodegroupArn {
		t.Errorf("the same token: %+v, %v", again, err)
	}
	_, err = a.EKS.CreateNodegroup(a.ctx(), a.createInput("blue", func(in *eks.CreateNodegroupInput) { in.ClientRequestToken = ptr("op-1") }))
	wantError(t, err, "InvalidParameterException", http.StatusBadRequest)
	_, err = a.EKS.CreateNodegroup(a.ctx(), a.createInput("green"))
	wantError(t, err, "ResourceInUseException", http.StatusConflict)

	a.pass(5 * time.Second)
	g := a.nodegroup("green")
	if g.Status != types.NodegroupStatusActive || *g.ReleaseVersion != a.parameter("/aws/service/bottlerocket/aws-k8s-1.37/arm64/latest/image_version") ||
		g.Tags["cost"] != "1" || g.Labels["team"] != "a" || !slices.Equal(g.Subnets, a.createInput("").Subnets) {
		t.Errorf("node group %+v", g)
	}
	s := a.nodegroupASG("green")
	if d := cmp.Diff(map[string]int{"eu-central-1a": 1, "eu-central-1b": 1}, zones(s)); d != "" {
		t.Errorf("zones: %s", d)
	}
	m, _ := a.Machine(s.Instances[0].ID)
	if m.Labels["team"] != "a" || m.Architecture != "arm64" || m.InstanceType != "m7g.large" || len(m.Taints) != 1 || m.Taints[0].Effect != "NO_SCHEDULE" || m.Tags["cost"] != "" {
		t.Errorf("machine %+v", m)
	}

	f.block(s.Instances[0].ID, "no")
	gone, err := a.EKS.DeleteNodegroup(a.ctx(), &eks.DeleteNodegroupInput{ClusterName: ptr(testCluster), NodegroupName: ptr("green")})
	if err != nil || gone.Nodegroup.Status != types.NodegroupStatusDeleting {
		t.Fatalf("%+v, %v", gone, err)
	}
	_, err = a.EKS.DeleteNodegroup(a.ctx(), &eks.DeleteNodegroupInput{ClusterName: ptr(testCluster), NodegroupName: ptr("green")})
	wantError(t, err, "ResourceInUseException", http.StatusConflict)
	a.pass(4 * time.Second)
	if a.nodegroup("green").Status != types.NodegroupStatusDeleting {
		t.Error("it does not wait for the drain")
	}
	a.pass(5 * time.Second) // the drain before a deletion is 5 minutes of EKS'
	_, err = a.EKS.DescribeNodegroup(a.ctx(), &eks.DescribeNodegroupInput{ClusterName: ptr(testCluster), NodegroupName: ptr("green")})
	wantError(t, err, "ResourceNotFoundException", http.StatusNotFound)
	for _, g := range a.Groups() {
		if g.Name == s.Name {
			t.Errorf("the Auto Scaling group is still there: %+v", g)
		}
	}
	if _, err := a.EKS.CreateNodegroup(a.ctx(), a.createInput("green")); err != nil {
		t.Errorf("the name cannot be used again: %v", err)
	}
}

func TestNodegroupsThatAreRefused(t *testing.T) {
	a, _ := newEKS(t, 1)
	a.template("mine", a.CreateImage(ImageSpec{Name: "mine-1"}))
	for _, tc := range []struct {
		name   string
		change func(*eks.CreateNodegroupInput)
		code   string
		status int
	}{
		{"no such cluster", func(in *eks.CreateNodegroupInput) { in.ClusterName = ptr("other") }, "ResourceNotFoundException", 404},
		{"no such subnet", func(in *eks.CreateNodegroupInput) { in.Subnets = []string{"subnet-1"} }, "InvalidParameterException", 400},
		{"sizes out of order", func(in *eks.CreateNodegroupInput) { in.ScalingConfig.DesiredSize = ptr(int32(5)) }, "InvalidParameterException", 400},
		{"newer than the cluster", func(in *eks.CreateNodegroupInput) { in.Version = ptr("1.38") }, "InvalidParameterException", 400},
		{"a release that is none", func(in *eks.CreateNodegroupInput) { in.ReleaseVersion = ptr("1.0.0-00000000") }, "InvalidParameterException", 400},
		{"a version without releases", func(in *eks.CreateNodegroupInput) { in.Version = ptr("1.36") }, "InvalidParameterException", 400},
		{"an AMI type that is none", func(in *eks.CreateNodegroupInput) { in.AmiType = "PLAN9" }, "InvalidParameterException", 400},
		{"an AMI type beside an image", func(in *eks.CreateNodegroupInput) {
			in.InstanceTypes, in.LaunchTemplate = nil, &types.LaunchTemplateSpecification{Name: ptr("mine")}
		}, "InvalidParameterException", 400},
		{"instance types twice", func(in *eks.CreateNodegroupInput) {
			in.LaunchTemplate = &types.LaunchTemplateSpecification{Name: ptr("mine")}
		}, "InvalidParameterException", 400},
		{"both limits", func(in *eks.CreateNodegroupInput) {
			in.UpdateConfig = &types.NodegroupUpdateConfig{MaxUnavailable: ptr(int32(1)), MaxUnavailablePercentage: ptr(int32(1))}
		}, "InvalidParameterException", 400},
		{"a label of EKS' own", func(in *eks.CreateNodegroupInput) { in.Labels = map[string]string{"eks.amazonaws.com/x": "y"} }, "InvalidParameterException", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(a.Groups())
			_, err := a.EKS.CreateNodegroup(a.ctx(), a.createInput("new", tc.change))
			wantError(t, err, tc.code, tc.status)
			if n := len(a.Groups()); n != before {
				t.Errorf("a refused call made %d Auto Scaling groups", n-before)
			}
		})
	}
}

func TestUpdateNodegroupConfig(t *testing.T) {
	a, _ := newEKS(t, 2)
	out, err := a.EKS.UpdateNodegroupConfig(a.ctx(), &eks.UpdateNodegroupConfigInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps"),
		ScalingConfig: &types.NodegroupScalingConfig{MinSize: ptr(int32(1)), MaxSize: ptr(int32(6)), DesiredSize: ptr(int32(4))},
		UpdateConfig:  &types.NodegroupUpdateConfig{MaxUnavailablePercentage: ptr(int32(50))}})
	if err != nil || out.Update.Type != types.UpdateTypeConfigUpdate || out.Update.Status != types.UpdateStatusInProgress || len(out.Update.Params) != 4 {
		t.Fatalf("%+v, %v", out, err)
	}
	a.pass(3 * time.Second)
	s, g := a.nodegroupASG("apps"), a.nodegroup("apps")
	if s.Min != 1 || s.Max != 6 || s.Desired != 4 || len(s.Instances) != 4 || *g.ScalingConfig.DesiredSize != 4 || g.UpdateConfig.MaxUnavailable != nil ||
		*g.UpdateConfig.MaxUnavailablePercentage != 50 || g.Status != types.NodegroupStatusActive {
		t.Errorf("group %+v, node group %+v", s, g)
	}
	if u := a.update("apps", *out.Update.Id); u.Status != types.UpdateStatusSuccessful {
		t.Errorf("update %+v", u)
	}
	_, err = a.EKS.UpdateNodegroupConfig(a.ctx(), &eks.UpdateNodegroupConfigInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps"),
		Labels: &types.UpdateLabelsPayload{AddOrUpdateLabels: map[string]string{"a": "b"}}})
	wantError(t, err, "InvalidRequestException", http.StatusBadRequest)
	_, err = a.EKS.UpdateNodegroupConfig(a.ctx(), &eks.UpdateNodegroupConfigInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps"),
		UpdateConfig: &types.NodegroupUpdateConfig{MaxUnavailable: ptr(int32(101))}})
	wantError(t, err, "InvalidParameterException", http.StatusBadRequest)
}

func TestEKSTags(t *testing.T) {
	a, _ := newEKS(t, 1)
	arn := a.nodegroup("apps").NodegroupArn
	if _, err := a.EKS.TagResource(a.ctx(), &eks.TagResourceInput{ResourceArn: arn, Tags: map[string]string{"rotatord.github.io/release": "x", "b": ""}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.EKS.UntagResource(a.ctx(), &eks.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"b", "none"}}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"rotatord.github.io/release": "x"}
	out, err := a.EKS.ListTagsForResource(a.ctx(), &eks.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil || cmp.Diff(want, out.Tags) != "" {
		t.Errorf("tags %+v, %v", out, err)
	}
	if d := cmp.Diff(want, a.nodegroup("apps").Tags); d != "" {
		t.Error(d)
	}
	_, err = a.EKS.ListTagsForResource(a.ctx(), &eks.ListTagsForResourceInput{ResourceArn: ptr(*arn + "x")})
	wantError(t, err, "NotFoundException", http.StatusNotFound)
	_, err = a.EKS.ListTagsForResource(a.ctx(), &eks.ListTagsForResourceInput{ResourceArn: ptr("arn:aws:ec2:x:y:z")})
	wantError(t, err, "BadRequestException", http.StatusBadRequest)
}

// Whoever ends an instance of a managed group, EKS empties its node first, for 15 minutes of its own at most.
func TestTerminatingInstancesAreDrained(t *testing.T) {
	a, f := newEKS(t, 2)
	s := a.nodegroupASG("apps")
	free, stuck := s.Instances[0].ID, s.Instances[1].ID
	f.block(stuck, "its budget allows no disruption")
	for _, id := range []string{free, stuck} {
		if _, err := a.AS.TerminateInstanceInAutoScalingGroup(a.ctx(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{
			InstanceId: &id, ShouldDecrementDesiredCapacity: ptr(false)}); err != nil {
			t.Fatal(err)
		}
	}
	a.pass(2 * time.Second)
	if s := a.memberState("apps", free); s != "" {
		t.Errorf("the instance without pods is %s", s)
	}
	if s := a.memberState("apps", stuck); s != "Terminating:Wait" {
		t.Errorf("the instance with a pod is %s", s)
	}
	if !slices.Contains(f.cordoned(), stuck) {
		t.Error("the node is not cordoned")
	}
	a.pass(15 * time.Second)
	if s := a.memberState("apps", stuck); s != "" {
		t.Errorf("the instance with a pod is %s after the drain's time", s)
	}
	if n := len(a.nodegroupASG("apps").Instances); n != 2 {
		t.Errorf("%d instances afterwards, want 2", n)
	}
}

func issues(g *types.Nodegroup) (out []string) {
	for _, i := range g.Health.Issues {
		out = append(out, string(i.Code))
	}
	return out
}

// A change of the Auto Scaling group's launch template behind EKS' back degrades the group, and no update mends it.
func TestLaunchTemplateVersionMismatch(t *testing.T) {
	a, _ := newEKS(t, 1)
	s := a.nodegroupASG("apps")
	id := ""
	for _, tpl := range a.templateOrder {
		if tpl.name == s.LaunchTemplate {
			id = tpl.id
		}
	}
	if _, err := a.CreateLaunchTemplateVersion(s.LaunchTemplate, "1", LaunchTemplateData{ImageID: ptr(a.CreateImage(ImageSpec{Name: "mine"}))}); err != nil {
		t.Fatal(err)
	}
	point := func(version string) {
		t.Helper()
		if _, err := a.AS.UpdateAutoScalingGroup(a.ctx(), &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: &s.Name,
			MixedInstancesPolicy: &astypes.MixedInstancesPolicy{LaunchTemplate: &astypes.LaunchTemplate{
				LaunchTemplateSpecification: &astypes.LaunchTemplateSpecification{LaunchTemplateId: &id, Version: &version}}}}); err != nil {
			t.Fatal(err)
		}
		a.pass(time.Second)
	}
	point("2")
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusDegraded || !slices.Equal(issues(g), []string{"Ec2LaunchTemplateVersionMismatch"}) {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
	_, err := a.EKS.UpdateNodegroupVersion(a.ctx(), &eks.UpdateNodegroupVersionInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps")})
	wantError(t, err, "InvalidRequestException", http.StatusBadRequest)
	point("1")
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusActive || len(g.Health.Issues) > 0 {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
}

func TestLaunchFailuresDegradeUntilOneSucceeds(t *testing.T) {
	a, _ := newEKS(t, 1)
	fault, err := a.AddFault(control.Fault{Kind: control.InsufficientCapacity, Group: "apps"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.EKS.UpdateNodegroupConfig(a.ctx(), &eks.UpdateNodegroupConfigInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps"),
		ScalingConfig: &types.NodegroupScalingConfig{MaxSize: ptr(int32(2)), DesiredSize: ptr(int32(2))}}); err != nil {
		t.Fatal(err)
	}
	a.pass(2 * time.Second)
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusDegraded || !slices.Equal(issues(g), []string{"AsgInstanceLaunchFailures"}) {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
	if err := a.ClearFaults(fault.ID); err != nil {
		t.Fatal(err)
	}
	a.pass(5 * time.Second)
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusActive {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
}

func TestNodesThatDoNotJoinDegrade(t *testing.T) {
	a, _ := newEKS(t, 1)
	if _, err := a.AddFault(control.Fault{Kind: control.NeverJoin, Group: "apps"}); err != nil {
		t.Fatal(err)
	}
	id := a.nodegroupASG("apps").Instances[0].ID
	if _, err := a.AS.TerminateInstanceInAutoScalingGroup(a.ctx(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{InstanceId: &id, ShouldDecrementDesiredCapacity: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	a.pass(25 * time.Second)
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusDegraded || !slices.Equal(issues(g), []string{"NodeCreationFailure"}) {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
	if err := a.CreateNodegroup(NodegroupSpec{Cluster: testCluster, Name: "new", Max: 1, Desired: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddFault(control.Fault{Kind: control.NeverJoin, Group: "new"}); err != nil {
		t.Fatal(err)
	}
	a.pass(25 * time.Second)
	if g := a.nodegroup("new"); g.Status != types.NodegroupStatusCreateFailed || !slices.Equal(issues(g), []string{"NodeCreationFailure"}) {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
}

func TestAutoScalingGroupThatIsGone(t *testing.T) {
	a, _ := newEKS(t, 1)
	a.release("AL2023_x86_64_STANDARD")
	u := a.roll("apps")
	name := a.nodegroupASG("apps").Name
	if _, err := a.AS.DeleteAutoScalingGroup(a.ctx(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	a.pass(10 * time.Second)
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusDegraded || !slices.Equal(issues(g), []string{"AutoScalingGroupNotFound"}) {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
	if got := a.update("apps", *u.Id); got.Status != types.UpdateStatusFailed {
		t.Errorf("update %+v", got)
	}
	if _, err := a.EKS.DeleteNodegroup(a.ctx(), &eks.DeleteNodegroupInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps")}); err != nil {
		t.Fatal(err)
	}
	a.pass(time.Second)
	if left := a.Nodegroups(testCluster); len(left) > 0 {
		t.Errorf("node groups %+v", left)
	}
}

// What stops every call stops EKS' in its own words.
func TestEKSCallsThatDoNotAct(t *testing.T) {
	a, _ := newEKS(t, 1)
	list := func(key, region string) error {
		_, err := eks.NewFromConfig(a.config(key, region)).ListNodegroups(a.ctx(), &eks.ListNodegroupsInput{ClusterName: ptr(testCluster)})
		return err
	}
	wantError(t, list("denied", ""), "AccessDeniedException", http.StatusForbidden)
	wantError(t, list("nobody", ""), "UnrecognizedClientException", http.StatusForbidden)
	wantError(t, list("sandbox", "us-east-1"), "InvalidSignatureException", http.StatusForbidden)
	for kind, want := range map[control.Kind]struct {
		code   string
		status int
	}{
		control.Throttle: {"TooManyRequestsException", 429}, control.ErrorBeforeAct: {"ServerException", 500}, control.Deny: {"AccessDeniedException", 403},
	} {
		if _, err := a.AddFault(control.Fault{Kind: kind, Action: "eks:ListNodegroups", Count: 1}); err != nil {
			t.Fatal(err)
		}
		wantError(t, list("sandbox", ""), want.code, want.status)
	}
	if err := list("sandbox", ""); err != nil {
		t.Error(err)
	}
	_, err := a.EKS.DescribeAddon(a.ctx(), &eks.DescribeAddonInput{ClusterName: ptr(testCluster), AddonName: ptr("x")})
	wantError(t, err, "UnknownOperationException", http.StatusNotFound)
}

// A new image of the account is not for groups that EKS manages, unless somebody breaks one on purpose.
func TestPublishedImagesLeaveManagedGroupsAlone(t *testing.T) {
	a, _ := newEKS(t, 1)
	out, err := a.PublishImage(t.Context(), control.PublishImageRequest{})
	if err != nil || len(out.Groups) > 0 {
		t.Errorf("published to %+v, %v", out.Groups, err)
	}
	if _, err := a.PublishImage(t.Context(), control.PublishImageRequest{Group: a.nodegroupASG("apps").Name}); err != nil {
		t.Fatal(err)
	}
	a.pass(time.Second)
	if g := a.nodegroup("apps"); !slices.Equal(issues(g), []string{"Ec2LaunchTemplateVersionMismatch"}) {
		t.Errorf("node group %s %v", g.Status, issues(g))
	}
	list, err := a.PublishRelease(control.PublishReleaseRequest{AMIType: "AL2023_x86_64_STANDARD"})
	if err != nil || len(list) != 1 || list[0].Version != a.parameter("/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/x86_64/standard/recommended/release_version") {
		t.Errorf("release %+v, %v", list, err)
	}
	for _, r := range []control.PublishReleaseRequest{{AMIType: "PLAN9"}, {Kubernetes: "1.37"}} {
		if _, err := a.PublishRelease(r); err == nil {
			t.Errorf("%+v is not refused", r)
		}
	}
}

// What the simulation does not know it refuses, in bodies and in queries.
func TestParametersThatAreNotSimulated(t *testing.T) {
	a, _ := newEKS(t, 1)
	_, err := a.EKS.CreateNodegroup(a.ctx(), a.createInput("new", func(in *eks.CreateNodegroupInput) {
		in.NodeRepairConfig = &types.NodeRepairConfig{Enabled: ptr(true)}
	}))
	wantError(t, err, "SerializationException", http.StatusBadRequest)
	_, err = a.EKS.ListUpdates(a.ctx(), &eks.ListUpdatesInput{Name: ptr(testCluster), AddonName: ptr("x")})
	wantError(t, err, "SerializationException", http.StatusBadRequest)
}
