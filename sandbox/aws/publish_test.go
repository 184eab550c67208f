package aws

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/rotatord/rotator/sandbox/control"
)

// controlClient serves the account as `sandbox up` does, the control endpoint below /_sandbox/, and answers its client.
func (a *account) controlClient() *control.Client {
	a.t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/_sandbox/", a.Control())
	mux.Handle("/", a.Handler())
	srv := httptest.NewServer(mux)
	a.t.Cleanup(srv.Close)
	c, err := control.NewClient(srv.URL + "/_sandbox")
	a.must(err)
	return c
}

func TestPublishImage(t *testing.T) {
	a := newAccount(t)
	first := a.seed()
	for _, name := range []string{"pinned", "latest", "default", "mixed"} {
		_, err := a.CreateLaunchTemplate(name, LaunchTemplateData{ImageID: &first, InstanceType: ptr("m5.large")})
		a.must(err)
	}
	_, err := a.CreateLaunchTemplate("follow", LaunchTemplateData{ImageID: ptr("resolve:ssm:" + ParameterRecommendedImage), InstanceType: ptr("m5.large")})
	a.must(err)
	for _, s := range []GroupSpec{
		{Name: "pinned", LaunchTemplate: "pinned", LaunchVersion: "1"},
		{Name: "shared", LaunchTemplate: "pinned", LaunchVersion: "1"},
		{Name: "latest", LaunchTemplate: "latest", LaunchVersion: "$Latest"},
		{Name: "default", LaunchTemplate: "default"},
		{Name: "mixed", LaunchTemplate: "mixed", LaunchVersion: "1", InstanceTypes: []string{"m5.large"}},
		{Name: "follow", LaunchTemplate: "follow"},
	} {
		s.Max, s.Desired = 2, 1
		a.seedGroup(s)
	}
	c := a.controlClient()
	p, err := c.PublishImage(t.Context(), control.PublishImageRequest{})
	a.must(err)
	if p.ParameterVersion != 2 || p.Parameter != ParameterRecommendedImage || p.ImageID == first || !p.CreationDate.After(start) || len(p.Groups) != 6 {
		t.Fatalf("published %+v", p)
	}
	for _, g := range a.Groups() {
		wantVersion := int64(2)
		if g.Name == "follow" {
			wantVersion = 1
		}
		if g.DesiredImage != p.ImageID || g.DesiredVersion != wantVersion {
			t.Errorf("group %s launches image %s of version %d, want %s of %d", g.Name, g.DesiredImage, g.DesiredVersion, p.ImageID, wantVersion)
		}
		if i := g.Instances[0]; i.ImageID != first || i.Version != 1 {
			t.Errorf("group %s: its instance must stay what it was: %+v", g.Name, i)
		}
	}
	if v := a.group("shared").ConfiguredVersion; v != "2" {
		t.Errorf("two groups of one template share its new version, have %s", v)
	}
	out, err := a.SSM.GetParameter(a.ctx(), &ssm.GetParameterInput{Name: sdk.String(ParameterRecommendedImage)})
	if err != nil || *out.Parameter.Value != p.ImageID || out.Parameter.Version != 2 || *out.Parameter.DataType != "aws:ec2:image" {
		t.Errorf("parameter %+v, %v", out, err)
	}
	old, err := a.SSM.GetParameter(a.ctx(), &ssm.GetParameterInput{Name: sdk.String(ParameterRecommendedImage + ":1")})
	if err != nil || *old.Parameter.Value != first || *old.Parameter.Selector != ":1" {
		t.Errorf("its first version %+v, %v", old, err)
	}

	one, err := c.PublishImage(t.Context(), control.PublishImageRequest{Group: "latest"})
	a.must(err)
	if len(one.Groups) != 1 || a.group("latest").DesiredImage != one.ImageID || a.group("pinned").DesiredImage != p.ImageID {
		t.Errorf("for one group: %+v", one)
	}
	if _, err := c.PublishImage(t.Context(), control.PublishImageRequest{Group: "nope"}); err == nil || err.Error() != `publish an image for group "nope": there is no such Auto Scaling group` {
		t.Errorf("error %v", err)
	}
}

func TestParameterErrors(t *testing.T) {
	a := newAccount(t)
	a.seed()
	for _, tc := range []struct{ name, code string }{
		{"/nope", "ParameterNotFound"},
		{ParameterRecommendedImage + ":7", "ParameterVersionNotFound"},
		{ParameterRecommendedImage + ":label", "ParameterVersionNotFound"},
	} {
		_, err := a.SSM.GetParameter(a.ctx(), &ssm.GetParameterInput{Name: &tc.name})
		refused(t, err, tc.code, "")
	}
}

func TestSeededRefreshAndWarmPool(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 2, Desired: 2})
	c := a.controlClient()
	refreshes := func() []types.InstanceRefresh {
		t.Helper()
		out, err := a.AS.DescribeInstanceRefreshes(a.ctx(), &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: sdk.String("g")})
		a.must(err)
		return out.InstanceRefreshes
	}
	pool := func() (*types.WarmPoolConfiguration, *types.WarmPoolConfiguration) {
		t.Helper()
		out, err := a.AS.DescribeWarmPool(a.ctx(), &autoscaling.DescribeWarmPoolInput{AutoScalingGroupName: sdk.String("g")})
		a.must(err)
		groups, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
		a.must(err)
		return out.WarmPoolConfiguration, groups.AutoScalingGroups[0].WarmPoolConfiguration
	}
	if p, q := pool(); len(refreshes()) != 0 || p != nil || q != nil {
		t.Fatal("a new group has neither")
	}
	a.must(c.SeedInstanceRefresh(t.Context(), control.InstanceRefreshRequest{Group: "g"}))
	if r := refreshes(); len(r) != 1 || r[0].Status != types.InstanceRefreshStatusInProgress || *r[0].InstancesToUpdate != 2 || r[0].EndTime != nil {
		t.Errorf("in progress: %+v", r)
	}
	a.must(c.SeedInstanceRefresh(t.Context(), control.InstanceRefreshRequest{Group: "g", Status: "Successful"}))
	a.must(c.SeedInstanceRefresh(t.Context(), control.InstanceRefreshRequest{Group: "g", Status: "Pending"}))
	if r := refreshes(); len(r) != 2 || r[0].Status != types.InstanceRefreshStatusPending || r[1].Status != types.InstanceRefreshStatusSuccessful || *r[1].PercentageComplete != 100 {
		t.Errorf("newest first: %+v", r)
	}
	if err := c.SeedInstanceRefresh(t.Context(), control.InstanceRefreshRequest{Group: "g", Status: "Lazy"}); err == nil {
		t.Error("an unknown status must be refused")
	}
	a.must(c.SeedWarmPool(t.Context(), control.WarmPoolRequest{Group: "g", MinSize: 3}))
	if p, q := pool(); p == nil || q == nil || *p.MinSize != 3 || *q.MinSize != 3 || p.PoolState != types.WarmPoolStateStopped {
		t.Errorf("warm pool %+v %+v", p, q)
	}
	a.must(c.SeedWarmPool(t.Context(), control.WarmPoolRequest{Group: "g", Remove: true}))
	if p, q := pool(); p != nil || q != nil {
		t.Errorf("removed: %+v %+v", p, q)
	}
	_, err := a.AS.DescribeInstanceRefreshes(a.ctx(), &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: sdk.String("x")})
	refused(t, err, "ValidationError", "name not found")
}

// A replacement is what rotations wait for: after an image is published, terminating with KEEP brings an instance of
// the new version, and the group is never seen larger than it may be.
func TestRotationByHand(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", LaunchVersion: "$Latest", Max: 6, Desired: 6})
	p, err := a.PublishImage(t.Context(), control.PublishImageRequest{})
	a.must(err)
	for range 6 {
		for _, m := range a.group("g").Instances {
			if m.ImageID != p.ImageID {
				_, err := a.terminate(m.ID, false)
				a.must(err)
				break
			}
		}
		a.pass(2 * time.Second)
		if n := a.group("g").Instances; len(n) != 6 {
			t.Fatalf("%d instances", len(n))
		}
	}
	for _, m := range a.group("g").Instances {
		if m.ImageID != p.ImageID || m.Version != 2 {
			t.Errorf("left over: %+v", m)
		}
	}
	if n := zones(a.group("g")); n["eu-central-1a"] != 2 || n["eu-central-1b"] != 2 || n["eu-central-1c"] != 2 {
		t.Errorf("zones %v", n)
	}
}
