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

// seedReleases makes the cluster's self-managed group of 2 with EKS' image of 1 March.
func (w *world) seedReleases(change ...func(*aws.GroupSpec)) {
	w.t.Helper()
	w.template("nodes", w.publishRelease(1).ImageID)
	s := aws.GroupSpec{Name: groupA, LaunchTemplate: "nodes", LaunchVersion: "$Latest", Min: 1, Max: 4, Desired: 2, Tags: clusterTag(cluster, "owned")}
	for _, f := range change {
		f(&s)
	}
	w.group(s)
}

func releases(t *testing.T, d *eks.Driver, release string) *sdk.Releases {
	t.Helper()
	return must(d.Releases(t.Context(), sdk.Scope{Cluster: cluster}, release))(t)
}

// only is the one group of an answer.
func only(t *testing.T, r *sdk.Releases) sdk.GroupRelease {
	t.Helper()
	if len(r.Groups) != 1 {
		t.Fatalf("%+v", r)
	}
	return r.Groups[0]
}

func stage(t *testing.T, d *eks.Driver, group, release string, change ...func(*sdk.StageRequest)) *sdk.StageResult {
	t.Helper()
	r := sdk.StageRequest{Op: op(), GroupID: group, Release: release}
	for _, f := range change {
		f(&r)
	}
	return must(d.Stage(t.Context(), r))(t)
}

func as(id string) func(*sdk.StageRequest) { return func(r *sdk.StageRequest) { r.ID = id } }

func downgrade(r *sdk.StageRequest) { r.AllowDowngrade = true }

// TestStageSelfManaged stages the newest release, and the one before again, however the group names its template.
func TestStageSelfManaged(t *testing.T) {
	cases := map[string]func(*aws.GroupSpec){
		"$Latest":    func(*aws.GroupSpec) {},
		"$Default":   func(s *aws.GroupSpec) { s.LaunchVersion = "$Default" },
		"a number":   func(s *aws.GroupSpec) { s.LaunchVersion = "1" },
		"of a mix":   func(s *aws.GroupSpec) { s.LaunchVersion, s.InstanceTypes = "1", []string{"m5.large", "m5a.large"} },
		"the latest": func(s *aws.GroupSpec) { s.InstanceTypes = []string{"m5.large", "m5a.large"} },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.seedReleases(change)
			old := only(t, releases(t, w.driver(), "latest")).Current
			next := w.publishRelease(9)
			d := w.driver()
			g := only(t, releases(t, d, "latest"))
			want := sdk.GroupRelease{
				GroupID: groupA, GroupName: groupA, Order: sdk.ReleaseNewer, Current: old,
				Target: &sdk.Release{
					ID: next.ImageID, Name: "amazon-eks-node-al2023-x86_64-standard-1.37-v20260309", Created: g.Target.Created,
					Notes: "https://github.com/awslabs/amazon-eks-ami/releases/tag/v20260309", Kubernetes: "1.37",
				},
			}
			if diff := cmp.Diff(want, g); diff != "" || g.Target.Created.IsZero() {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !groupOf(t, look(t, d, 0), groupA).Traits.Stage {
				t.Error("the group does not say that it can be staged")
			}
			w.calls()
			if r := stage(t, d, groupA, "latest", func(r *sdk.StageRequest) { r.DryRun = true }); r.State != sdk.OperationDone || r.Staged.ID != next.ImageID {
				t.Errorf("dry run: %+v", r)
			}
			// EC2 is asked whether it would, and does not.
			c := changes(w.calls())
			if diff := cmp.Diff(map[string]int{"ec2:CreateLaunchTemplateVersion": 1}, c); diff != "" || w.templateVersions("nodes") != 1 {
				t.Errorf("a dry run leaves %d versions; calls (-want +got):\n%s", w.templateVersions("nodes"), diff)
			}
			for range 2 { // the second time the goal is reached
				r := stage(t, d, groupA, "latest")
				if r.State != sdk.OperationDone || r.Previous.ID != old.ID || r.Staged.ID != next.ImageID {
					t.Fatalf("%+v", r)
				}
				d = w.driver()
			}
			s := look(t, d, 0)
			if why := outdated(s, groupA); len(why) == 0 || len(s.Instances) != 2 || slices.ContainsFunc(s.Instances, func(i sdk.Instance) bool { return len(i.Reasons) == 0 }) {
				t.Errorf("outdated: %v", why)
			}
			if n := w.Stats(false).Terminated; n > 0 {
				t.Errorf("%d instances ended", n)
			}
			if o := only(t, releases(t, d, "latest")).Order; o != sdk.ReleaseSame {
				t.Errorf("order afterwards: %v", o)
			}
			if r := stage(t, d, groupA, old.ID, as("op-2")); r.State != sdk.OperationFailed || !slices.Contains(codesOf(r.Diagnostics), "release-downgrade") {
				t.Errorf("a downgrade: %+v", r)
			}
			if r := stage(t, d, groupA, old.ID, as("op-3"), downgrade); r.State != sdk.OperationDone || r.Previous.ID != next.ImageID || r.Staged.ID != old.ID {
				t.Errorf("rollback: %+v", r)
			}
			if g := only(t, releases(t, d, "1.37.2-20260309")); g.Target == nil || g.Target.ID != next.ImageID || g.Current.ID != old.ID {
				t.Errorf("by version: %+v", g)
			}
		})
	}
}

// TestReleaseOf says what is found, or why not, of self-managed groups with images of their own.
func TestReleaseOf(t *testing.T) {
	w := newWorld(t)
	made := func(name, arch string, day int, tags map[string]string) string {
		return w.CreateImage(aws.ImageSpec{Name: name, Architecture: arch, CreationDate: time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC), Tags: tags})
	}
	older, own, newer := made("acme-0", "", 1, nil), made("acme-1", "", 2, nil), made("acme-2", "", 3, nil)
	arm := made("acme-2-arm", "arm64", 3, nil)
	other := made("acme-3", "", 4, map[string]string{"kubernetes": "1.38.1"})
	w.PutParameter("/acme/newest", newer)
	w.PutParameter("/acme/text", "hello")
	w.template("nodes", own)
	w.group(aws.GroupSpec{Name: groupA, LaunchTemplate: "nodes", LaunchVersion: "$Latest", Max: 2, Desired: 1, Tags: clusterTag(cluster, "owned")})
	cases := []struct {
		release, config string
		target          string
		order           sdk.ReleaseOrder
		code            string
	}{
		{release: newer, target: newer, order: sdk.ReleaseNewer},
		{release: own, target: own, order: sdk.ReleaseSame},
		{release: older, target: older, order: sdk.ReleaseOlder},
		{release: "ssm:/acme/newest", target: newer, order: sdk.ReleaseNewer},
		{release: "ssm:/acme/none", code: "image-parameter-missing"},
		{release: "ssm:/acme/text", code: "image-parameter-invalid"},
		{release: "latest", code: "release-source-unknown"},
		{release: "latest", config: `{"prod-workers-1":"ssm:/acme/newest"}`, target: newer, order: sdk.ReleaseNewer},
		{release: "1.37.2-20260309", code: "release-not-found"},
		{release: "ami-0123", code: "image-not-found"},
		{release: arm, target: arm, order: sdk.ReleaseNewer, code: "release-architecture"},
		{release: other, target: other, order: sdk.ReleaseNewer, code: "release-kubernetes"},
	}
	for _, c := range cases {
		t.Run(c.release+c.config, func(t *testing.T) {
			d := eks.New(eks.WithClock(w.now))
			config := map[string]any{"region": region, "endpoint": w.url}
			if c.config != "" {
				config["releases"] = json.RawMessage(c.config)
			}
			raw, err := json.Marshal(config)
			w.check(err)
			if diags, err := d.Configure(t.Context(), raw, false); err != nil || len(diags) > 0 {
				t.Fatal(err, diags)
			}
			g := only(t, releases(t, d, c.release))
			got := ""
			if g.Target != nil {
				got = g.Target.ID
			}
			if got != c.target || g.Order != c.order || g.Current.ID != own {
				t.Errorf("%+v", g)
			}
			var want []string
			if c.code != "" {
				want = []string{c.code}
			}
			if diff := cmp.Diff(want, codesOf(g.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
			if c.code == "" {
				return
			}
			w.calls()
			if r := stage(t, d, groupA, c.release, downgrade); r.State != sdk.OperationFailed || !slices.Contains(codesOf(r.Diagnostics), c.code) {
				t.Errorf("stage: %+v", r)
			}
			if n := changes(w.calls()); len(n) > 0 {
				t.Errorf("a refused stage changes %v", n)
			}
		})
	}
}

// TestReleaseFollowsParameter: a template that takes its image from a parameter needs no new version.
func TestReleaseFollowsParameter(t *testing.T) {
	w := newWorld(t)
	image := w.publishRelease(1)
	w.template("nodes", "resolve:ssm:"+image.Parameter)
	w.group(aws.GroupSpec{Name: groupA, LaunchTemplate: "nodes", LaunchVersion: "$Latest", Max: 2, Desired: 1, Tags: clusterTag(cluster, "owned")})
	next := w.publishRelease(9)
	d := w.driver()
	if g := only(t, releases(t, d, "latest")); g.Order != sdk.ReleaseSame || g.Current.ID != next.ImageID {
		t.Errorf("%+v", g)
	}
	w.calls()
	if r := stage(t, d, groupA, "latest"); r.State != sdk.OperationDone || len(changes(w.calls())) > 0 {
		t.Errorf("%+v", r)
	}
}

// TestStageRefused: what cannot be given a release says so.
func TestStageRefused(t *testing.T) {
	t.Run("launch configuration", func(t *testing.T) {
		w := newWorld(t)
		w.check(w.CreateLaunchConfiguration("old", w.publishRelease(1).ImageID, "m5.large"))
		w.group(aws.GroupSpec{Name: groupA, LaunchConfiguration: "old", Max: 2, Desired: 1, Tags: clusterTag(cluster, "owned")})
		d := w.driver()
		r := releases(t, d, "latest")
		if len(r.Groups) > 0 || !slices.Equal(codesOf(r.Diagnostics), []string{"launch-configuration"}) {
			t.Errorf("%+v", r)
		}
		if groupOf(t, look(t, d, 0), groupA).Traits.Stage {
			t.Error("the trait stage is set")
		}
		if r := stage(t, d, groupA, "latest"); r.State != sdk.OperationFailed || !slices.Contains(codesOf(r.Diagnostics), "launch-configuration") {
			t.Errorf("stage: %+v", r)
		}
	})
	t.Run("held by another rotation", func(t *testing.T) {
		w := newWorld(t)
		w.seedReleases()
		d := w.driver()
		accepted(t, prepare(t, d))
		w.publishRelease(9)
		_, err := d.Stage(t.Context(), sdk.StageRequest{Op: sdk.Op{ID: "o", RotationID: "r-other"}, GroupID: groupA, Release: "latest"})
		if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), rotation) {
			t.Errorf("%v", err)
		}
	})
	t.Run("the template is full", func(t *testing.T) {
		w := newWorld(t, func(c *aws.Config) { c.TemplateVersions = 1 })
		w.seedReleases()
		w.publishRelease(9)
		r := stage(t, w.driver(), groupA, "latest")
		if r.State != sdk.OperationFailed || !slices.Equal(codesOf(r.Diagnostics), []string{"launch-template-full"}) || !strings.HasPrefix(r.Diagnostics[0].Object, "lt-") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("not allowed to", func(t *testing.T) {
		for _, dryRun := range []bool{true, false} {
			w := newWorld(t)
			w.seedReleases()
			w.publishRelease(9)
			w.fault(control.Fault{Kind: control.Deny, Action: "CreateLaunchTemplateVersion", Count: 1})
			r := stage(t, w.driver(), groupA, "latest", func(r *sdk.StageRequest) { r.DryRun = dryRun })
			if r.State != sdk.OperationFailed || !slices.Equal(codesOf(r.Diagnostics), []string{"aws-denied"}) || !strings.Contains(r.Diagnostics[0].Summary, "ec2:CreateLaunchTemplateVersion") {
				t.Errorf("dry run %v: %+v", dryRun, r)
			}
		}
	})
}

// TestStageManaged pins a node group; a roll goes to the pin and not to what is recommended by then.
func TestStageManaged(t *testing.T) {
	w := newWorld(t)
	w.publishRelease(1)
	w.nodegroup(2)
	d := w.driver()
	if g := only(t, releases(t, d, "latest")); g.Order != sdk.ReleaseSame || g.GroupName != system || g.Current.ID != "1.37.2-20260301" {
		t.Errorf("current: %+v", g)
	}
	w.publishRelease(9)
	g := only(t, releases(t, d, "latest"))
	if g.Order != sdk.ReleaseNewer || g.Target.ID != "1.37.2-20260309" || g.Current.ID != "1.37.2-20260301" || g.Target.Name == "" || len(g.Diagnostics) > 0 {
		t.Errorf("behind: %+v", g)
	}
	for range 2 {
		r := stage(t, d, w.asg(), "latest")
		if r.State != sdk.OperationDone || r.Previous.ID != "1.37.2-20260301" || r.Staged.ID != "1.37.2-20260309" {
			t.Fatalf("%+v", r)
		}
		d = w.driver()
	}
	w.publishRelease(20)
	if g := groupOf(t, look(t, d, 0), system); g.Revision != "1.37.2-20260309" || !g.Traits.Stage {
		t.Errorf("pinned: %+v", g)
	}
	if g := only(t, releases(t, d, "latest")); g.Order != sdk.ReleaseNewer || g.Target.ID != "1.37.2-20260320" || g.Current.ID != "1.37.2-20260309" {
		t.Errorf("beyond the pin: %+v", g)
	}
	if r := stage(t, d, w.asg(), "1.37.2-20260320", as("op-2")); r.State != sdk.OperationDone || r.Previous.ID != "1.37.2-20260309" {
		t.Errorf("%+v", r)
	}
	if r := stage(t, d, w.asg(), "1.37.2-20260309", as("op-3")); r.State != sdk.OperationFailed {
		t.Errorf("a downgrade: %+v", r)
	}
	if r := stage(t, d, w.asg(), "1.37.2-20260309", as("op-3"), downgrade); r.State != sdk.OperationDone {
		t.Errorf("a downgrade that nothing runs yet: %+v", r)
	}
	accepted(t, must(d.Roll(t.Context(), sdk.RollRequest{Op: sdk.Op{ID: "op-4", RotationID: rotation}, GroupID: w.asg()}))(t))
	w.ended()
	if v := w.managed(system).ReleaseVersion; v != "1.37.2-20260309" {
		t.Errorf("rolled to %s", v)
	}
	if why := outdated(look(t, d, 0), w.asg()); len(why) > 0 {
		t.Errorf("outdated after the roll: %v", why)
	}
	if r := stage(t, d, w.asg(), "1.37.2-20260301", as("op-5"), downgrade); r.State != sdk.OperationFailed || !slices.Contains(codesOf(r.Diagnostics), "release-downgrade") {
		t.Errorf("older than what runs: %+v", r)
	}
	for release, code := range map[string]string{"1.37.2": "release-not-found", "ami-0123": "release-is-image", "1.38.0-20260320": "release-kubernetes", "1.37.2-20270101": "release-unverified"} {
		if g := only(t, releases(t, d, release)); !slices.Contains(codesOf(g.Diagnostics), code) {
			t.Errorf("%s: %+v, want %s", release, g, code)
		}
	}
	r := must(w.driverWith(`{"way":"self"}`).Releases(t.Context(), sdk.Scope{Cluster: cluster}, "latest"))(t)
	if len(r.Groups) > 0 || !slices.Equal(codesOf(r.Diagnostics), []string{"way-mismatch"}) {
		t.Errorf("self: %+v", r)
	}
}

// TestStageCustom gives a node group with an image of the user's own another one: a version of its template, which
// Roll then takes.
func TestStageCustom(t *testing.T) {
	w := newWorld(t)
	old := w.publishRelease(1).ImageID
	w.template("mine", old)
	w.nodegroup(2, func(s *aws.NodegroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.AMIType = "mine", "1", "CUSTOM" })
	next := w.publishRelease(9).ImageID
	d := w.driver()
	r := stage(t, d, w.asg(), "latest")
	if r.State != sdk.OperationDone || r.Previous.ID != old || r.Staged.ID != next {
		t.Fatalf("%+v", r)
	}
	accepted(t, roll(t, w, d))
	w.ended()
	for _, id := range members(w.state(w.asg()), "InService") {
		if m, _ := w.Machine(id); m.ImageID != next {
			t.Errorf("%s runs %s, want %s", id, m.ImageID, next)
		}
	}
}

// TestReleaseCalls: 50 managed node groups in under 3 seconds, with one describe each and at most 10 other calls.
func TestReleaseCalls(t *testing.T) {
	const n = 50
	w := newWorld(t)
	w.publishRelease(1)
	for i := range n {
		s := aws.NodegroupSpec{Cluster: cluster, Name: fmt.Sprintf("ng-%02d", i), Min: 1, Max: 2, Desired: 1}
		s.AMIType = aws.AMITypes()[i%len(aws.AMITypes())]
		w.check(w.CreateNodegroup(s))
	}
	w.pass(time.Minute)
	w.publishRelease(9)
	d := w.driver()
	w.calls()
	began := time.Now()
	r := releases(t, d, "latest")
	took := time.Since(began)
	calls := w.calls()
	describes := calls["eks:DescribeNodegroup"]
	others := total(calls) - describes
	t.Logf("%d node groups in %v: %v", n, took, calls)
	if len(r.Groups) != n || describes != n || others > 10 {
		t.Errorf("%d groups, %d describes, %d other calls: %v", len(r.Groups), describes, others, calls)
	}
	for _, g := range r.Groups {
		if g.Order != sdk.ReleaseNewer {
			t.Errorf("%+v", g)
		}
	}
	if took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestStageCrash cuts Stage off before and after each change: it stages once, and says what was before.
func TestStageCrash(t *testing.T) {
	var old string
	for name, change := range map[string]func(*aws.GroupSpec){
		"$Latest":  func(*aws.GroupSpec) {},
		"$Default": func(s *aws.GroupSpec) { s.LaunchVersion = "$Default" },
		"a number": func(s *aws.GroupSpec) { s.LaunchVersion = "1" },
	} {
		t.Run(name, func(t *testing.T) {
			var previous string
			crashEverywhere(t, func(w *world) {
				w.seedReleases(change)
				old = only(t, releases(t, w.driver(), "latest")).Current.ID
				w.publishRelease(9)
			}, nil, func(ctx context.Context, d *eks.Driver, _ *world) error {
				r, err := d.Stage(ctx, sdk.StageRequest{Op: op(), GroupID: groupA, Release: "latest"})
				if err != nil {
					return err
				}
				previous = r.Previous.ID
				return cmpFailures(&r.Operation)
			}, func(t *testing.T, w *world, d *eks.Driver) {
				if previous != old {
					t.Errorf("previous %q, want %q", previous, old)
				}
				if g := only(t, releases(t, d, "latest")); g.Order != sdk.ReleaseSame {
					t.Errorf("%+v", g)
				}
				if n := w.templateVersions("nodes"); n != 2 {
					t.Errorf("%d versions of the template, want 2", n)
				}
			})
		})
	}
	t.Run("managed", func(t *testing.T) {
		crashEverywhere(t, func(w *world) { w.seedManaged(1) }, nil, func(ctx context.Context, d *eks.Driver, w *world) error {
			r, err := d.Stage(ctx, sdk.StageRequest{Op: op(), GroupID: w.asg(), Release: "latest"})
			if err != nil {
				return err
			}
			return cmpFailures(&r.Operation)
		}, func(t *testing.T, w *world, _ *eks.Driver) {
			if pin := w.described().Tags["rotatord.github.io/release"]; pin != "1.37.2-20260309" {
				t.Errorf("pinned to %q", pin)
			}
		})
	})
}
