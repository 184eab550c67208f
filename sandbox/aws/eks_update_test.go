package aws

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/sandbox/control"
)

// roll begins an update of the node group to the recommended release.
func (a *account) roll(name string, change ...func(*eks.UpdateNodegroupVersionInput)) *types.Update {
	a.t.Helper()
	in := &eks.UpdateNodegroupVersionInput{ClusterName: ptr(testCluster), NodegroupName: &name}
	for _, f := range change {
		f(in)
	}
	out, err := a.EKS.UpdateNodegroupVersion(a.ctx(), in)
	if err != nil {
		a.t.Fatal(err)
	}
	return out.Update
}

func (a *account) update(name, id string) *types.Update {
	a.t.Helper()
	out, err := a.EKS.DescribeUpdate(a.ctx(), &eks.DescribeUpdateInput{Name: ptr(testCluster), NodegroupName: &name, UpdateId: &id})
	if err != nil {
		a.t.Fatal(err)
	}
	return out.Update
}

// finish lets time pass until the update is over, and calls look after each step of it.
func (a *account) finish(name, id string, look func(GroupState)) *types.Update {
	a.t.Helper()
	for range 3000 {
		a.pass(100 * time.Millisecond)
		if look != nil {
			look(a.nodegroupASG(name))
		}
		if u := a.update(name, id); u.Status != types.UpdateStatusInProgress {
			return u
		}
	}
	a.t.Fatalf("the update %s does not end", id)
	return nil
}

func (a *account) setUpdateConfig(name string, c types.NodegroupUpdateConfig) {
	a.t.Helper()
	in := &eks.UpdateNodegroupConfigInput{ClusterName: ptr(testCluster), NodegroupName: &name, UpdateConfig: &c}
	if _, err := a.EKS.UpdateNodegroupConfig(a.ctx(), in); err != nil {
		a.t.Fatal(err)
	}
	a.pass(time.Second)
	if s := a.nodegroup(name).Status; s != types.NodegroupStatusActive {
		a.t.Fatalf("a change of the configuration leaves the group %s", s)
	}
}

func (g GroupState) ids(image string) (old, fresh []string) {
	for _, m := range g.Instances {
		if m.ImageID == image {
			fresh = append(fresh, m.ID)
		} else {
			old = append(old, m.ID)
		}
	}
	return old, fresh
}

func TestUpdateReplacesAllNodes(t *testing.T) {
	a, f := newEKS(t, 3)
	next := a.release("AL2023_x86_64_STANDARD")
	before := a.nodegroupASG("apps")
	u := a.roll("apps")
	if u.Status != types.UpdateStatusInProgress || u.Type != types.UpdateTypeVersionUpdate {
		t.Fatalf("update %+v", u)
	}
	if s := a.nodegroup("apps").Status; s != types.NodegroupStatusUpdating {
		t.Errorf("the group is %s", s)
	}
	most, mostOldGoing := 0, 0
	cordonedBefore := false
	u = a.finish("apps", *u.Id, func(s GroupState) {
		old, fresh := s.ids(next.ImageID)
		up, going := 0, 0
		for _, m := range s.Instances {
			if m.ImageID != next.ImageID && m.State != "InService" {
				going++
			}
			if m.State == "InService" || m.State == "Pending" {
				up++
			}
		}
		most = max(most, up)
		mostOldGoing = max(mostOldGoing, going)
		zonesReady := map[string]bool{}
		nodes, _ := f.Nodes(t.Context())
		for _, m := range s.Instances {
			if slices.Contains(fresh, m.ID) && nodes[m.ID].Ready {
				zonesReady[m.Zone] = true
			}
		}
		for _, id := range f.cordoned() {
			if slices.Contains(old, id) && len(zonesReady) < 3 {
				cordonedBefore = true
			}
		}
	})
	if u.Status != types.UpdateStatusSuccessful || len(u.Errors) > 0 {
		t.Fatalf("update %+v", u)
	}
	after := a.nodegroupASG("apps")
	old, fresh := after.ids(next.ImageID)
	if len(old) > 0 || len(fresh) != 3 || after.Desired != 3 || after.Max != before.Max || after.Min != before.Min {
		t.Errorf("afterwards %+v", after)
	}
	// Three zones: the surge is 6, above the three that are replaced.
	if most != 9 {
		t.Errorf("at most %d instances at once, want 9", most)
	}
	if mostOldGoing != 1 {
		t.Errorf("at most %d old instances going at once, want maxUnavailable, 1", mostOldGoing)
	}
	if cordonedBefore {
		t.Error("old nodes were made unschedulable before each zone had a Ready new one")
	}
	if g := a.nodegroup("apps"); *g.ReleaseVersion != next.Version || g.Status != types.NodegroupStatusActive || len(g.Health.Issues) > 0 {
		t.Errorf("node group %+v", g)
	}
	if left := f.cordoned(); len(left) > 0 {
		t.Errorf("nodes %v are still unschedulable", left)
	}
	ended := a.Stats(false).Terminations
	byEKS := 0
	for _, e := range ended {
		if e.By == byEKSUpdate {
			byEKS++
		}
	}
	if byEKS != 3 || len(ended) != 9 {
		t.Errorf("terminations %+v, want 3 by the update and 6 of the surge", ended)
	}
	list, err := a.EKS.ListUpdates(a.ctx(), &eks.ListUpdatesInput{Name: ptr(testCluster), NodegroupName: ptr("apps")})
	if err != nil || !slices.Equal(list.UpdateIds, []string{*u.Id}) {
		t.Errorf("updates %+v, %v", list, err)
	}
	of, err := a.EKS.ListUpdates(a.ctx(), &eks.ListUpdatesInput{Name: ptr(testCluster)})
	if err != nil || len(of.UpdateIds) > 0 {
		t.Errorf("updates of the cluster %+v, %v", of, err)
	}
}

// Between a node's last pod and its end lie 60 seconds of EKS'.
func TestUpdateWaitsAfterTheDrain(t *testing.T) {
	a, f := newEKS(t, 1)
	a.release("AL2023_x86_64_STANDARD")
	id := a.nodegroupASG("apps").Instances[0].ID
	f.block(id, "its budget allows no disruption")
	u := a.roll("apps")
	a.pass(10 * time.Second)
	if s := a.memberState("apps", id); s != "InService" {
		t.Fatalf("the old instance is %s while a pod is on it", s)
	}
	f.unblock(id)
	a.pass(900 * time.Millisecond)
	if s := a.memberState("apps", id); s != "InService" {
		t.Errorf("the old instance is %s before the wait is over", s)
	}
	a.pass(400 * time.Millisecond)
	if s := a.memberState("apps", id); s == "InService" {
		t.Error("the old instance is in service after the wait")
	}
	if u := a.finish("apps", *u.Id, nil); u.Status != types.UpdateStatusSuccessful {
		t.Errorf("update %+v", u)
	}
}

func (f *fakeCluster) unblock(id string) { f.block(id, "") }

func (a *account) memberState(nodegroup, id string) string {
	a.t.Helper()
	for _, m := range a.nodegroupASG(nodegroup).Instances {
		if m.ID == id {
			return m.State
		}
	}
	return ""
}

func TestUpdateTakesMaxUnavailableAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config types.NodegroupUpdateConfig
		want   int
	}{
		{"a number", types.NodegroupUpdateConfig{MaxUnavailable: ptr(int32(2))}, 2},
		{"a percentage, rounded up", types.NodegroupUpdateConfig{MaxUnavailablePercentage: ptr(int32(50))}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, f := newEKS(t, 5)
			a.setUpdateConfig("apps", tc.config)
			next := a.release("AL2023_x86_64_STANDARD")
			for _, m := range a.nodegroupASG("apps").Instances {
				f.block(m.ID, "no") // so that all that are drained at once are seen to be
			}
			a.roll("apps")
			a.pass(8 * time.Second)
			f.mu.Lock()
			asked := slices.Compact(slices.Sorted(slices.Values(f.log)))
			f.mu.Unlock()
			if len(asked) != tc.want {
				t.Errorf("%d nodes are drained at once, want %d: %v", len(asked), tc.want, asked)
			}
			if old, _ := a.nodegroupASG("apps").ids(next.ImageID); len(old) != 5 {
				t.Errorf("%d old instances are left, want 5", len(old))
			}
		})
	}
}

func TestPodEvictionFailureAndSecondAttempt(t *testing.T) {
	a, f := newEKS(t, 3)
	next := a.release("AL2023_x86_64_STANDARD")
	before := a.nodegroupASG("apps")
	var stuck []string // all but the first that EKS takes
	u := a.finish("apps", *a.roll("apps").Id, func(s GroupState) {
		if len(stuck) == 0 && len(a.Stats(false).Terminations) == 1 {
			stuck, _ = s.ids(next.ImageID)
			stuck = slices.DeleteFunc(stuck, func(id string) bool { return id == a.Stats(false).Terminations[0].Instance })
			for _, id := range stuck {
				f.block(id, "its budget allows no disruption")
			}
		}
	})
	if u.Status != types.UpdateStatusFailed || len(u.Errors) != 1 || u.Errors[0].ErrorCode != types.ErrorCodePodEvictionFailure ||
		*u.Errors[0].ErrorMessage != "Reached max retries while trying to evict pods from nodes in node group apps" ||
		len(u.Errors[0].ResourceIds) != 1 || !slices.Contains(stuck, strings.TrimPrefix(u.Errors[0].ResourceIds[0], "node-")) {
		t.Fatalf("update %+v", u)
	}
	a.pass(20 * time.Second) // what is on its way out goes
	s := a.nodegroupASG("apps")
	if s.Desired != 3 || s.Max != before.Max || len(s.Instances) != 3 {
		t.Errorf("afterwards %+v", s)
	}
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusActive || *g.ReleaseVersion == next.Version || len(g.Health.Issues) > 0 {
		t.Errorf("node group %+v", g)
	}
	if left := f.cordoned(); len(left) > 0 {
		t.Errorf("nodes %v are still unschedulable", left)
	}
	_, kept := s.ids(next.ImageID)
	if len(kept) != 1 {
		t.Errorf("%d new instances are left after one was replaced", len(kept))
	}
	for _, id := range stuck {
		f.unblock(id)
	}
	if u := a.finish("apps", *a.roll("apps").Id, nil); u.Status != types.UpdateStatusSuccessful {
		t.Fatalf("second update %+v", u)
	}
	old, fresh := a.nodegroupASG("apps").ids(next.ImageID)
	if len(old) > 0 || len(fresh) != 3 {
		t.Errorf("old %v, new %v", old, fresh)
	}
	for _, e := range a.Stats(false).Terminations {
		if e.By == byEKSUpdate && slices.Contains(kept, e.Instance) {
			t.Errorf("instance %s was made by the first update and replaced by the second", e.Instance)
		}
	}
}

func TestForcedUpdateEndsNodesWithPods(t *testing.T) {
	a, f := newEKS(t, 1)
	a.release("AL2023_x86_64_STANDARD")
	f.block(a.nodegroupASG("apps").Instances[0].ID, "no")
	u := a.roll("apps", func(in *eks.UpdateNodegroupVersionInput) { in.Force = true })
	a.pass(10 * time.Second)
	if n := len(a.Stats(false).Terminations); n > 0 {
		t.Errorf("%d instances ended before the drain's 15 minutes", n)
	}
	if u := a.finish("apps", *u.Id, nil); u.Status != types.UpdateStatusSuccessful {
		t.Errorf("update %+v", u)
	}
}

func TestMinimalStrategyHasNoSurge(t *testing.T) {
	// Slow machines: the next old node must wait for the one before to be replaced.
	a, _ := newEKS(t, 3, func(c *Config) { c.PendingDelay = 3 * time.Second })
	a.setUpdateConfig("apps", types.NodegroupUpdateConfig{UpdateStrategy: types.NodegroupUpdateStrategiesMinimal})
	if g := a.nodegroup("apps"); g.UpdateConfig.UpdateStrategy != types.NodegroupUpdateStrategiesMinimal || *g.UpdateConfig.MaxUnavailable != 1 {
		t.Fatalf("update configuration %+v", g.UpdateConfig)
	}
	next := a.release("AL2023_x86_64_STANDARD")
	u := a.finish("apps", *a.roll("apps").Id, func(s GroupState) {
		up := states(s)["InService"] + states(s)["Pending"]
		if up > 3 || s.Desired != 3 || s.Max != 3 {
			t.Errorf("%d instances, desired %d, max %d", up, s.Desired, s.Max)
		}
		if n := states(s)["InService"]; n < 2 {
			t.Errorf("only %d instances are in service: more than maxUnavailable are missing", n)
		}
	})
	if old, fresh := a.nodegroupASG("apps").ids(next.ImageID); u.Status != types.UpdateStatusSuccessful || len(old) > 0 || len(fresh) != 3 {
		t.Errorf("update %+v: old %v, new %v", u, old, fresh)
	}
}

func TestNewNodesThatDoNotJoin(t *testing.T) {
	for _, strategy := range []types.NodegroupUpdateStrategies{types.NodegroupUpdateStrategiesDefault, types.NodegroupUpdateStrategiesMinimal} {
		t.Run(string(strategy), func(t *testing.T) {
			a, f := newEKS(t, 3)
			a.setUpdateConfig("apps", types.NodegroupUpdateConfig{UpdateStrategy: strategy})
			next := a.release("AL2023_x86_64_STANDARD")
			fault, err := a.AddFault(control.Fault{Kind: control.NeverJoin, Group: "apps"})
			if err != nil {
				t.Fatal(err)
			}
			u := a.finish("apps", *a.roll("apps").Id, nil)
			if u.Status != types.UpdateStatusFailed || u.Errors[0].ErrorCode != types.ErrorCodeNodeCreationFailure {
				t.Fatalf("update %+v", u)
			}
			if err := a.ClearFaults(fault.ID); err != nil {
				t.Fatal(err)
			}
			a.pass(20 * time.Second)
			s := a.nodegroupASG("apps")
			if s.Desired != 3 || s.Max != 3 || s.DesiredImage == next.ImageID {
				t.Errorf("afterwards %+v", s)
			}
			if left := f.cordoned(); len(left) > 0 {
				t.Errorf("nodes %v are still unschedulable", left)
			}
		})
	}
}

// An autoscaler that scales up while EKS takes its surge back keeps what it asked for.
func TestScaleDownStopsWhenSomebodyElseScales(t *testing.T) {
	a, _ := newEKS(t, 1)
	a.release("AL2023_x86_64_STANDARD")
	u := a.roll("apps")
	name := a.nodegroupASG("apps").Name
	asked := false
	got := a.finish("apps", *u.Id, func(s GroupState) {
		if !asked && s.Desired == 5 { // 1 + 6, two taken back
			asked = true
			if _, err := a.AS.SetDesiredCapacity(a.ctx(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &name, DesiredCapacity: ptr(int32(5 - 1))}); err != nil {
				t.Fatal(err)
			}
		}
	})
	if s := a.nodegroupASG("apps"); !asked || got.Status != types.UpdateStatusSuccessful || s.Desired != 4 || s.Max < 4 {
		t.Errorf("update %+v, group %+v", got, s)
	}
}

func TestUpdateTokens(t *testing.T) {
	a, _ := newEKS(t, 1)
	a.release("AL2023_x86_64_STANDARD")
	token := func(force bool) (*eks.UpdateNodegroupVersionOutput, error) {
		return a.EKS.UpdateNodegroupVersion(a.ctx(), &eks.UpdateNodegroupVersionInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps"),
			ClientRequestToken: ptr("op-1"), Force: force})
	}
	first, err := token(false)
	if err != nil {
		t.Fatal(err)
	}
	again, err := token(false)
	if err != nil || *again.Update.Id != *first.Update.Id {
		t.Errorf("the same token made update %+v, %v", again, err)
	}
	_, err = token(true)
	wantError(t, err, "InvalidParameterException", http.StatusBadRequest)
	_, err = a.EKS.UpdateNodegroupVersion(a.ctx(), &eks.UpdateNodegroupVersionInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps")})
	wantError(t, err, "ResourceInUseException", http.StatusConflict)
	a.finish("apps", *first.Update.Id, nil)
	if late, err := token(false); err != nil || late.Update.Status != types.UpdateStatusSuccessful {
		t.Errorf("the same token after the end: %+v, %v", late, err)
	}
}

func TestUpdatesThatAreRefused(t *testing.T) {
	a, _ := newEKS(t, 1)
	first := a.parameter("/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/x86_64/standard/recommended/release_version")
	next := a.release("AL2023_x86_64_STANDARD")
	if u := a.finish("apps", *a.roll("apps", func(in *eks.UpdateNodegroupVersionInput) { in.ReleaseVersion = &next.Version }).Id, nil); u.Status != types.UpdateStatusSuccessful {
		t.Fatalf("update %+v", u)
	}
	a.template("mine", a.CreateImage(ImageSpec{Name: "mine-1"}))
	if err := a.CreateNodegroup(NodegroupSpec{Cluster: testCluster, Name: "custom", Max: 1, LaunchTemplate: "mine", LaunchVersion: "1"}); err != nil {
		t.Fatal(err)
	}
	a.pass(5 * time.Second)
	for _, tc := range []struct {
		name   string
		change func(*eks.UpdateNodegroupVersionInput)
		code   string
		status int
	}{
		{"an older release", func(in *eks.UpdateNodegroupVersionInput) { in.ReleaseVersion = &first }, "InvalidParameterException", 400},
		{"a release that is none", func(in *eks.UpdateNodegroupVersionInput) { in.ReleaseVersion = ptr("1.36.0-20260101") }, "InvalidParameterException", 400},
		{"newer than the cluster", func(in *eks.UpdateNodegroupVersionInput) { in.Version = ptr("1.38") }, "InvalidParameterException", 400},
		{"an older version", func(in *eks.UpdateNodegroupVersionInput) { in.Version = ptr("1.36") }, "InvalidParameterException", 400},
		{"a launch template where there is none", func(in *eks.UpdateNodegroupVersionInput) {
			in.LaunchTemplate = &types.LaunchTemplateSpecification{Name: ptr("mine"), Version: ptr("1")}
		}, "InvalidParameterException", 400},
		{"a release of a custom image", func(in *eks.UpdateNodegroupVersionInput) {
			in.NodegroupName, in.ReleaseVersion = ptr("custom"), &next.Version
		}, "InvalidParameterException", 400},
		{"a version of a custom image", func(in *eks.UpdateNodegroupVersionInput) {
			in.NodegroupName, in.Version = ptr("custom"), ptr("1.37")
		}, "InvalidParameterException", 400},
		{"another launch template", func(in *eks.UpdateNodegroupVersionInput) {
			in.NodegroupName, in.LaunchTemplate = ptr("custom"), &types.LaunchTemplateSpecification{Name: ptr("eks"), Version: ptr("1")}
		}, "InvalidParameterException", 400},
		{"no such group", func(in *eks.UpdateNodegroupVersionInput) { in.NodegroupName = ptr("nobody") }, "ResourceNotFoundException", 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := &eks.UpdateNodegroupVersionInput{ClusterName: ptr(testCluster), NodegroupName: ptr("apps")}
			tc.change(in)
			_, err := a.EKS.UpdateNodegroupVersion(a.ctx(), in)
			wantError(t, err, tc.code, tc.status)
		})
	}
	_, err := a.EKS.DescribeUpdate(a.ctx(), &eks.DescribeUpdateInput{Name: ptr(testCluster), NodegroupName: ptr("apps"), UpdateId: ptr("none")})
	wantError(t, err, "ResourceNotFoundException", http.StatusNotFound)
}

// template makes a launch template with an image, "" for none.
func (a *account) template(name, image string) {
	a.t.Helper()
	data := LaunchTemplateData{InstanceType: ptr("m5.large")}
	if image != "" {
		data.ImageID = &image
	}
	if _, err := a.CreateLaunchTemplate(name, data); err != nil {
		a.t.Fatal(err)
	}
}

// A node group with a launch template of the user's rolls to another version of it, and its image is the user's.
func TestUpdateToAnotherVersionOfTheUsersTemplate(t *testing.T) {
	a, _ := newEKS(t, 1)
	image := a.CreateImage(ImageSpec{Name: "mine-1"})
	a.template("mine", image)
	if err := a.CreateNodegroup(NodegroupSpec{Cluster: testCluster, Name: "custom", Max: 1, Desired: 1, LaunchTemplate: "mine", LaunchVersion: "1"}); err != nil {
		t.Fatal(err)
	}
	a.pass(5 * time.Second)
	if g := a.nodegroup("custom"); g.AmiType != types.AMITypesCustom || *g.ReleaseVersion != image || *g.LaunchTemplate.Version != "1" || g.InstanceTypes != nil {
		t.Fatalf("node group %+v", g)
	}
	second := a.CreateImage(ImageSpec{Name: "mine-2"})
	if _, err := a.EC2.CreateLaunchTemplateVersion(a.ctx(), &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateName: ptr("mine"), SourceVersion: ptr("1"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &second},
	}); err != nil {
		t.Fatal(err)
	}
	u := a.finish("custom", *a.roll("custom", func(in *eks.UpdateNodegroupVersionInput) {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{Name: ptr("mine"), Version: ptr("2")}
	}).Id, nil)
	g := a.nodegroup("custom")
	if old, fresh := a.nodegroupASG("custom").ids(second); u.Status != types.UpdateStatusSuccessful || len(old) > 0 || len(fresh) != 1 ||
		*g.ReleaseVersion != second || *g.LaunchTemplate.Version != "2" {
		t.Errorf("update %+v, group %+v", u, g)
	}
	var params []string
	for _, p := range u.Params {
		params = append(params, string(p.Type)+"="+*p.Value)
	}
	if d := cmp.Diff([]string{"Version=1.37", "LaunchTemplateName=mine", "LaunchTemplateVersion=2"}, params); d != "" {
		t.Error(d)
	}
}

// While the API server cannot be reached EKS does nothing, and it goes on afterwards.
func TestUpdateWithoutAPIServer(t *testing.T) {
	a, f := newEKS(t, 1)
	a.release("AL2023_x86_64_STANDARD")
	f.mu.Lock()
	f.down = true
	f.mu.Unlock()
	u := a.roll("apps")
	a.pass(30 * time.Second)
	if n := a.nodegroupASG("apps"); n.Desired != 1 || a.update("apps", *u.Id).Status != types.UpdateStatusInProgress {
		t.Errorf("group %+v", n)
	}
	f.mu.Lock()
	f.down = false
	f.mu.Unlock()
	if u := a.finish("apps", *u.Id, nil); u.Status != types.UpdateStatusSuccessful {
		t.Errorf("update %+v", u)
	}
}

// A group behind the control plane rolls within its version when a release is named, and to the cluster's otherwise.
func TestUpdateAcrossKubernetesVersions(t *testing.T) {
	a, _ := newEKS(t, 1)
	if _, err := a.AddReleases(ReleaseSpec{AMIType: "AL2023_x86_64_STANDARD", Kubernetes: "1.36.9", Date: start.AddDate(0, 0, -9)}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.EKS.CreateNodegroup(a.ctx(), a.createInput("behind", func(in *eks.CreateNodegroupInput) {
		in.Version, in.AmiType = ptr("1.36"), types.AMITypesAl2023X8664Standard
	})); err != nil {
		t.Fatal(err)
	}
	a.pass(5 * time.Second)
	if m, _ := a.Machine(a.nodegroupASG("behind").Instances[0].ID); m.Kubernetes != "1.36.9" {
		t.Errorf("machine %+v", m)
	}
	_, err := a.EKS.UpdateNodegroupVersion(a.ctx(), &eks.UpdateNodegroupVersionInput{ClusterName: ptr(testCluster), NodegroupName: ptr("behind"),
		ReleaseVersion: a.nodegroup("apps").ReleaseVersion})
	wantError(t, err, "InvalidParameterException", http.StatusBadRequest)
	u := a.finish("behind", *a.roll("behind").Id, nil)
	if g := a.nodegroup("behind"); u.Status != types.UpdateStatusSuccessful || *g.Version != "1.37" || *g.ReleaseVersion != *a.nodegroup("apps").ReleaseVersion {
		t.Errorf("update %+v, group %+v", u, g)
	}
}

// One zone without a new node holds the old nodes of all zones back.
func TestScaleUpWaitsForEveryZone(t *testing.T) {
	a, f := newEKS(t, 3)
	a.release("AL2023_x86_64_STANDARD")
	fault, err := a.AddFault(control.Fault{Kind: control.InsufficientCapacity, Zone: "eu-central-1c"})
	if err != nil {
		t.Fatal(err)
	}
	u := a.roll("apps")
	a.pass(10 * time.Second)
	if s := a.nodegroupASG("apps"); len(s.Instances) != 9 || zones(s)["eu-central-1c"] != 1 {
		t.Errorf("zones %v, want the surge in the two others", zones(s))
	}
	if got := f.cordoned(); len(got) > 0 {
		t.Errorf("nodes %v are unschedulable, and zone c has no new one", got)
	}
	if err := a.ClearFaults(fault.ID); err != nil {
		t.Fatal(err)
	}
	if u := a.finish("apps", *u.Id, nil); u.Status != types.UpdateStatusSuccessful {
		t.Errorf("update %+v", u)
	}
}

// Which old node comes next is chance, by the seed.
func TestUpdateTakesNodesAtRandom(t *testing.T) {
	first := map[int]bool{}
	for seed := range uint64(6) {
		a, _ := newEKS(t, 4, func(c *Config) { c.Seed = seed })
		a.release("AL2023_x86_64_STANDARD")
		var ids []string
		for _, m := range a.nodegroupASG("apps").Instances {
			ids = append(ids, m.ID)
		}
		a.roll("apps")
		for range 200 {
			a.pass(100 * time.Millisecond)
			if ended := a.Stats(false).Terminations; len(ended) > 0 {
				first[slices.Index(ids, ended[0].Instance)] = true
				break
			}
		}
	}
	if len(first) < 2 {
		t.Errorf("with six seeds the first node to go was always number %v", first)
	}
}
