package ekstest

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

func TestObserve(t *testing.T) {
	w := newWorld(t)
	w.seed(3)
	s := look(t, w.driver(), 0)
	g := groupOf(t, s, groupA)
	want := sdk.NodeGroup{
		ID: groupA, Name: groupA, Role: sdk.RoleNode, Desired: 3, Min: 1, Max: 5, Revision: g.Revision,
		Traits: sdk.Traits{TerminateKeep: true, TerminateShrink: true, Prepare: true, Stage: true, MaxSurge: 1000, Refill: sdk.RefillGroup},
	}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Errorf("group (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(g.Revision, "lt-") || !strings.HasSuffix(g.Revision, ":1") {
		t.Errorf("revision %q, want lt-…:1", g.Revision)
	}
	if len(s.Instances) != 3 || len(s.Diagnostics) > 0 {
		t.Fatalf("%d instances, diagnostics %v", len(s.Instances), s.Diagnostics)
	}
	for _, i := range s.Instances {
		m, _ := w.Machine(i.ID)
		want := sdk.Instance{
			ID: i.ID, GroupID: groupA, ProviderID: "aws:///" + m.Zone + "/" + i.ID, Zone: m.Zone,
			State: sdk.InstanceInService, Revision: g.Revision, LaunchedAt: m.LaunchTime.Truncate(time.Second),
		}
		if diff := cmp.Diff(want, i, cmp.Transformer("UTC", func(at time.Time) time.Time { return at.Truncate(time.Second).UTC() })); diff != "" {
			t.Errorf("instance (-want +got):\n%s", diff)
		}
	}
}

func TestOutdated(t *testing.T) {
	lt := func(version string) func(*aws.GroupSpec) { return func(s *aws.GroupSpec) { s.LaunchVersion = version } }
	cases := []struct {
		name    string
		spec    func(*aws.GroupSpec)
		publish func(*world)
		code    string // of each instance's reason; empty: all are current
		in      string // of the reason's message
	}{
		{name: "$Latest and a new version", spec: lt("$Latest"), publish: (*world).publishNodes, code: "revision", in: "version 1, wanted 2"},
		{name: "$Default and a new version", spec: lt("$Default"), publish: (*world).publishNodes},
		{name: "no version means $Default", spec: lt(""), publish: (*world).publishNodes},
		{name: "a number and a new version", spec: lt("1"), publish: (*world).publishNodes},
		{name: "$Latest and nothing new", spec: lt("$Latest"), publish: func(*world) {}},
		{
			name: "mixed instances and a new version", code: "revision", in: "version 1, wanted 2",
			spec: func(s *aws.GroupSpec) {
				s.LaunchVersion, s.InstanceTypes = "$Latest", []string{"m5.large", "m6i.large"}
			},
			publish: (*world).publishNodes,
		},
		{
			name: "mixed instances and nothing new",
			spec: func(s *aws.GroupSpec) {
				s.LaunchVersion, s.InstanceTypes = "$Latest", []string{"m5.large", "m6i.large"}
			}, publish: func(*world) {},
		},
		{
			name: "an instance type that is none of the group's any more", code: "revision", in: "instance type m5.large",
			spec: func(s *aws.GroupSpec) { s.LaunchVersion, s.InstanceTypes = "$Latest", []string{"m5.large"} },
			publish: func(w *world) {
				w.update(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: ptr(groupA), MixedInstancesPolicy: &asgtypes.MixedInstancesPolicy{LaunchTemplate: &asgtypes.LaunchTemplate{
					LaunchTemplateSpecification: &asgtypes.LaunchTemplateSpecification{LaunchTemplateName: ptr("nodes"), Version: ptr("$Latest")},
					Overrides:                   []asgtypes.LaunchTemplateOverrides{{InstanceType: ptr("m6i.large")}},
				}}})
			},
		},
		{
			name: "another launch template", spec: lt("$Latest"), code: "revision", in: "launch template lt-",
			publish: func(w *world) {
				w.template("other", w.CreateImage(aws.ImageSpec{Name: "other"}))
				w.update(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: ptr(groupA), LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateName: ptr("other"), Version: ptr("$Latest")}})
			},
		},
		{
			name: "launch configuration and nothing new",
			spec: func(s *aws.GroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.LaunchConfiguration = "", "", "nodes-1" }, publish: func(*world) {},
		},
		{
			name: "another launch configuration", code: "revision", in: "launch configuration nodes-1, wanted nodes-2",
			spec: func(s *aws.GroupSpec) { s.LaunchTemplate, s.LaunchVersion, s.LaunchConfiguration = "", "", "nodes-1" },
			publish: func(w *world) {
				w.update(&autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: ptr(groupA), LaunchConfigurationName: ptr("nodes-2")})
			},
		},
		{
			name: "an image by parameter, and a new one", code: "image", in: "image ami-",
			spec: func(s *aws.GroupSpec) { s.LaunchTemplate, s.LaunchVersion = "by-parameter", "$Latest" },
			publish: func(w *world) {
				w.PutParameter(aws.ParameterRecommendedImage, w.CreateImage(aws.ImageSpec{Name: "newer"}))
			},
		},
		{
			name: "an image by parameter, and nothing new",
			spec: func(s *aws.GroupSpec) { s.LaunchTemplate, s.LaunchVersion = "by-parameter", "$Latest" }, publish: func(*world) {},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.template("by-parameter", "resolve:ssm:"+aws.ParameterRecommendedImage)
			for _, name := range []string{"nodes-1", "nodes-2"} {
				if err := w.CreateLaunchConfiguration(name, w.CreateImage(aws.ImageSpec{Name: name}), "m5.large"); err != nil {
					t.Fatal(err)
				}
			}
			w.seed(3, c.spec)
			d := w.driver()
			for _, i := range look(t, d, 0).Instances {
				if len(i.Reasons) > 0 {
					t.Fatalf("before: %+v", i)
				}
			}
			c.publish(w)
			s := look(t, d, 0)
			if len(s.Instances) != 3 {
				t.Fatalf("%d instances", len(s.Instances))
			}
			for _, i := range s.Instances {
				switch {
				case c.code == "" && len(i.Reasons) > 0:
					t.Errorf("reasons %+v, want none", i.Reasons)
				case c.code != "" && (len(i.Reasons) != 1 || i.Reasons[0].Code != c.code || !strings.Contains(i.Reasons[0].Message, c.in)):
					t.Errorf("reasons %+v, want %s: …%s…", i.Reasons, c.code, c.in)
				case c.code != "" && !strings.HasPrefix(c.in, "instance type") && i.Revision == groupOf(t, s, groupA).Revision:
					t.Errorf("the outdated instance shows the group's revision %s", i.Revision)
				}
			}
			// What launches from now on is current.
			if c.code != "" {
				keep(t, d, s.Instances[0].ID)
				w.pass(5 * time.Second)
				s = look(t, d, time.Millisecond)
				current := 0
				for _, i := range s.Instances {
					if len(i.Reasons) == 0 && i.Revision == groupOf(t, s, groupA).Revision {
						current++
					}
				}
				if len(s.Instances) != 3 || current != 1 {
					t.Errorf("%d instances, %d current, want 3 and 1: %+v", len(s.Instances), current, s.Instances)
				}
			}
		})
	}
}

// TestReplacementOfANewerVersion: a version that came out since the templates
// were read must not make a replacement look outdated.
func TestReplacementOfANewerVersion(t *testing.T) {
	w := newWorld(t)
	w.seed(2)
	d := w.driver()
	look(t, d, 0)
	w.publish("nodes")
	old := members(w.state(groupA), "InService")
	keep(t, d, old[0])
	w.pass(5 * time.Second)
	s := look(t, d, time.Millisecond)
	for _, i := range s.Instances {
		if outdated := len(i.Reasons) > 0; outdated != (i.ID == old[1]) {
			t.Errorf("%s (%s): reasons %+v", i.ID, i.Revision, i.Reasons)
		}
	}
}

// TestImageNotShownYet: a replacement that EC2 does not show yet counts as
// pending where images are compared, for nobody knows what it is made from.
func TestImageNotShownYet(t *testing.T) {
	w := newWorld(t)
	w.template("by-parameter", "resolve:ssm:"+aws.ParameterRecommendedImage)
	w.seed(2, func(s *aws.GroupSpec) { s.LaunchTemplate = "by-parameter" })
	d := w.driver()
	w.hide(true)
	for _, i := range look(t, d, 0).Instances {
		if i.State != sdk.InstancePending || len(i.Reasons) > 0 {
			t.Errorf("%s: state %v, reasons %v", i.ID, i.State, i.Reasons)
		}
	}
	w.hide(false)
	for _, i := range look(t, d, 0).Instances {
		if i.State != sdk.InstanceInService || !strings.Contains(i.Revision, "@ami-") {
			t.Errorf("%s: state %v, revision %s", i.ID, i.State, i.Revision)
		}
	}
}

func TestWhichGroups(t *testing.T) {
	w := newWorld(t)
	w.seed(1)
	extra := func(name string, tags []aws.GroupTag) {
		w.group(aws.GroupSpec{Name: name, LaunchTemplate: "nodes", Max: 2, Desired: 1, Tags: tags})
	}
	extra("prod-2-workers", clusterTag("prod-2", "owned"))
	extra("pro-workers", clusterTag("pro", "owned"))
	extra("prod-odd", clusterTag(cluster, "OWNED"))
	extra("prod-shared", clusterTag(cluster, "shared"))
	extra("eks-managed", append(clusterTag(cluster, "owned"), aws.GroupTag{Key: "eks:nodegroup-name", Value: "system"}))
	extra("by-team", []aws.GroupTag{{Key: "team", Value: "blue"}})
	cases := []struct {
		name, tag string
		scope     sdk.Scope
		want      []string
		codes     []string
	}{
		{name: "the cluster's", scope: sdk.Scope{Cluster: cluster}, want: []string{"prod-shared", groupA}, codes: []string{"managed-node-group"}},
		{name: "one of them", scope: sdk.Scope{Cluster: cluster, Groups: []string{groupA}}, want: []string{groupA}},
		{name: "by prefix is none", scope: sdk.Scope{Cluster: cluster, Groups: []string{"prod"}}, codes: []string{"group-not-found"}},
		{name: "one of another cluster", scope: sdk.Scope{Cluster: cluster, Groups: []string{"prod-2-workers"}}, codes: []string{"group-not-found"}},
		{name: "the other cluster's", scope: sdk.Scope{Cluster: "prod-2"}, want: []string{"prod-2-workers"}, codes: []string{"cluster-not-found"}},
		{name: "none at all", scope: sdk.Scope{Cluster: "nope"}, codes: []string{"cluster-not-found", "no-groups"}},
		{name: "by another tag", tag: "team=blue", scope: sdk.Scope{Cluster: cluster}, want: []string{"by-team"}},
		{name: "by another tag with any value", tag: "team", scope: sdk.Scope{Cluster: cluster}, want: []string{"by-team"}},
		{name: "by another tag with another value", tag: "team=red", scope: sdk.Scope{Cluster: cluster}, codes: []string{"no-groups"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := eks.New(eks.WithClock(w.now))
			if diags, err := d.Configure(t.Context(), w.config(map[string]string{"tag": c.tag}), false); err != nil || len(diags) > 0 {
				t.Fatal(err, diags)
			}
			s, err := d.Observe(t.Context(), c.scope, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range s.Groups {
				got = append(got, g.Name)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.codes, codesOf(s.Diagnostics)); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
			for _, i := range s.Instances {
				m, _ := w.Machine(i.ID)
				if m.Group != i.GroupID {
					t.Errorf("instance %s is of %s, shown in %s", i.ID, m.Group, i.GroupID)
				}
			}
		})
	}
}

func TestGroupsThatCannotBeRotated(t *testing.T) {
	cases := []struct {
		name string
		make func(*world)
		code string
	}{
		{"instance refresh", func(w *world) {
			w.check(w.SeedInstanceRefresh(control.InstanceRefreshRequest{Group: groupA}))
		}, "instance-refresh-active"},
		{"warm pool", func(w *world) { w.check(w.SeedWarmPool(control.WarmPoolRequest{Group: groupA})) }, "warm-pool-unsupported"},
		{"Launch suspended", func(w *world) { w.suspend("Launch") }, "process-suspended"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.seed(2)
			c.make(w)
			d := w.driver()
			g := groupOf(t, look(t, d, 0), groupA)
			if diff := cmp.Diff([]string{c.code}, codesOf(g.Diagnostics)); diff != "" || g.Diagnostics[0].Severity != sdk.SeverityError {
				t.Errorf("diagnostics %+v", g.Diagnostics)
			}
			before := w.state(groupA)
			if o := prepare(t, d); o.State != sdk.OperationFailed || o.Diagnostics[0].Code != c.code {
				t.Errorf("prepare: %+v", o)
			}
			if diff := cmp.Diff(before, w.state(groupA)); diff != "" {
				t.Errorf("the refused prepare changed the group:\n%s", diff)
			}
		})
	}
}

// TestLifecycleHook: an instance that waits for a hook says which.
func TestLifecycleHook(t *testing.T) {
	w := newWorld(t)
	w.seed(2, func(s *aws.GroupSpec) {
		s.Hooks = []aws.LifecycleHook{{LifecycleHookName: "drain-hook", LifecycleTransition: "autoscaling:EC2_INSTANCE_TERMINATING"}}
	})
	d := w.driver()
	id := look(t, d, 0).Instances[0].ID
	keep(t, d, id)
	w.pass(3 * time.Second)
	for _, i := range look(t, d, 0).Instances {
		if i.ID != id {
			continue
		}
		want := &sdk.Work{Verb: "terminate", Phase: "waiting for lifecycle hook drain-hook"}
		if diff := cmp.Diff(want, i.Work); diff != "" || i.State != sdk.InstanceTerminating {
			t.Errorf("state %v, work (-want +got):\n%s", i.State, diff)
		}
		// Asked again while it waits: success, and no second end.
		if r := keep(t, w.driver(), id); r.Instance.State != sdk.OperationDone {
			t.Errorf("again: %+v", r)
		}
		return
	}
	t.Fatalf("%s is not shown", id)
}

// TestGroupDeletedDuringALook: somebody deletes a group after the look has listed
// it and before it asks what AWS answers for one group only. The look shows it
// once more, the next one does not.
func TestGroupDeletedDuringALook(t *testing.T) {
	for _, action := range []string{"DescribeInstanceRefreshes", "DescribeLifecycleHooks"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld(t)
			w.seed(2, func(s *aws.GroupSpec) {
				s.Hooks = []aws.LifecycleHook{{LifecycleHookName: "drain-hook", LifecycleTransition: "autoscaling:EC2_INSTANCE_TERMINATING"}}
			})
			d := w.driver()
			keep(t, d, look(t, d, 0).Instances[0].ID)
			w.pass(3 * time.Second)
			deleted := false
			w.meanwhile = map[string]func(){"autoscaling:" + action: func() {
				deleted = true
				w.deleteGroup(groupA)
				w.pass(time.Minute) // its instances go first
			}}
			look(t, w.driver(), 0)
			if !deleted {
				t.Fatalf("the look has not asked for %s", action)
			}
			w.pass(time.Minute)
			if s := look(t, d, 0); len(s.Groups) > 0 {
				t.Errorf("the next look shows %d groups", len(s.Groups))
			}
		})
	}
}

// TestObserveCalls: a look at rest is one call, whatever it had to learn first.
func TestObserveCalls(t *testing.T) {
	for _, n := range []int{1, 250} {
		w := newWorld(t)
		w.seed(n)
		d := w.driver()
		w.calls()
		look(t, d, time.Second)
		want := map[string]int{
			"autoscaling:DescribeAutoScalingGroups": 1, "autoscaling:DescribeInstanceRefreshes": 1, "eks:ListNodegroups": 1,
			"ec2:DescribeLaunchTemplates": 1, "ec2:DescribeLaunchTemplateVersions": 1, "ec2:DescribeInstances": (n + 199) / 200,
		}
		if diff := cmp.Diff(want, w.calls()); diff != "" {
			t.Errorf("%d instances, the first look (-want +got):\n%s", n, diff)
		}
		look(t, d, time.Second)
		if got := w.calls(); len(got) > 0 {
			t.Errorf("%d instances, within the max age: %v", n, got)
		}
		for range 5 {
			w.pass(2 * time.Second)
			look(t, d, time.Second)
			if diff := cmp.Diff(map[string]int{"autoscaling:DescribeAutoScalingGroups": 1}, w.calls()); diff != "" {
				t.Errorf("%d instances, a look at rest (-want +got):\n%s", n, diff)
			}
		}
	}
}

func TestPages(t *testing.T) {
	w := newWorld(t)
	w.template("nodes", w.CreateImage(aws.ImageSpec{Name: "node-1"}))
	const n = 230
	for i := range n {
		w.check(w.CreateAutoScalingGroup(aws.GroupSpec{Name: groupA + strings.Repeat("x", i%7) + time.Duration(i).String(), LaunchTemplate: "nodes", Max: 1, Tags: clusterTag(cluster, "owned")}))
	}
	d := w.driver()
	w.calls()
	if s := look(t, d, 0); len(s.Groups) != n {
		t.Errorf("%d groups, want %d", len(s.Groups), n)
	}
	if got := w.calls()["autoscaling:DescribeAutoScalingGroups"]; got != 3 {
		t.Errorf("%d calls for %d groups, want 3", got, n)
	}
}

// TestObserveIsWholeOrAnError: a call that fails must not look like vanished
// nodes, and says what was denied or that it may be tried again.
func TestObserveIsWholeOrAnError(t *testing.T) {
	cases := []struct {
		name  string
		fault control.Fault
		code  codes.Code
		in    string
	}{
		{"denied groups", control.Fault{Kind: control.Deny, Action: "DescribeAutoScalingGroups"}, codes.PermissionDenied, "autoscaling:DescribeAutoScalingGroups"},
		{"denied templates", control.Fault{Kind: control.Deny, Action: "DescribeLaunchTemplates"}, codes.PermissionDenied, "ec2:DescribeLaunchTemplates"},
		{"denied instances", control.Fault{Kind: control.Deny, Action: "DescribeInstances"}, codes.PermissionDenied, "ec2:DescribeInstances"},
		{"throttled for good", control.Fault{Kind: control.Throttle, Action: "DescribeAutoScalingGroups"}, codes.ResourceExhausted, "aws-throttled"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.seed(2)
			d := w.driver()
			w.fault(c.fault)
			_, err := d.Observe(t.Context(), sdk.Scope{Cluster: cluster}, 0)
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.in) {
				t.Errorf("error %v, want %v naming %s", err, c.code, c.in)
			}
		})
	}
	t.Run("throttled now and then", func(t *testing.T) {
		w := newWorld(t)
		w.seed(2)
		d := w.driver()
		w.fault(control.Fault{Kind: control.Throttle, Count: 2})
		look(t, d, 0)
	})
}
