package aws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/sandbox/control"
)

func (a *account) setDesired(group string, n int32) error {
	_, err := a.AS.SetDesiredCapacity(a.ctx(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: &group, DesiredCapacity: &n})
	return err
}

func (a *account) terminate(id string, decrement bool) (*types.Activity, error) {
	out, err := a.AS.TerminateInstanceInAutoScalingGroup(a.ctx(), &autoscaling.TerminateInstanceInAutoScalingGroupInput{InstanceId: &id, ShouldDecrementDesiredCapacity: &decrement})
	if err != nil {
		return nil, err
	}
	return out.Activity, nil
}

func (a *account) suspend(group string, processes ...string) {
	a.t.Helper()
	if _, err := a.AS.SuspendProcesses(a.ctx(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: &group, ScalingProcesses: processes}); err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// settled lists the ids of a group's instances that are in service.
func (g GroupState) settled() (ids []string) {
	for _, m := range g.Instances {
		if m.State == "InService" {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func TestGroupSpreadsOverZonesAndTagsInstances(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 9, Desired: 7, Tags: []GroupTag{{Key: "cluster", Value: "demo", PropagateAtLaunch: true}, {Key: "own", Value: "x"}}})
	g := a.group("g")
	if n := zones(g); n["eu-central-1a"] != 3 || n["eu-central-1b"] != 2 || n["eu-central-1c"] != 2 || states(g)["InService"] != 7 {
		t.Errorf("zones %v states %v", n, states(g))
	}
	m, _ := a.Machine(g.Instances[0].ID)
	want := map[string]string{
		"cluster": "demo", "aws:autoscaling:groupName": "g", "aws:ec2launchtemplate:id": a.templateNames["nodes"].id, "aws:ec2launchtemplate:version": "1",
	}
	if d := cmp.Diff(want, m.Tags); d != "" {
		t.Errorf("tags of an instance: %s", d)
	}
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"g", "unknown"}})
	if err != nil || len(out.AutoScalingGroups) != 1 {
		t.Fatalf("describe %+v, %v", out, err)
	}
	shown := out.AutoScalingGroups[0]
	lt := shown.Instances[0].LaunchTemplate
	if *shown.LaunchTemplate.Version != "$Default" || *lt.Version != "1" || *lt.LaunchTemplateName != "nodes" || *shown.Instances[0].InstanceType != "m5.large" {
		t.Errorf("group %+v instance %+v", shown.LaunchTemplate, lt)
	}
	if len(shown.Tags) != 2 || *shown.Tags[0].ResourceId != "g" || !*shown.Tags[0].PropagateAtLaunch || *shown.Tags[1].PropagateAtLaunch {
		t.Errorf("tags %+v", shown.Tags)
	}
}

func TestCapacityLimits(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Min: 2, Max: 4, Desired: 2})
	victim := a.group("g").Instances[0].ID
	update := func(change func(*autoscaling.UpdateAutoScalingGroupInput)) error {
		in := &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: sdk.String("g")}
		change(in)
		_, err := a.AS.UpdateAutoScalingGroup(a.ctx(), in)
		return err
	}
	for _, tc := range []struct {
		name, text string
		call       func() error
	}{
		{"desired beyond max", "New SetDesiredCapacity value 5 is above max value 4", func() error { return a.setDesired("g", 5) }},
		{"desired below min", "New SetDesiredCapacity value 1 is below min value 2", func() error { return a.setDesired("g", 1) }},
		{"an unknown group", "AutoScalingGroup name not found", func() error { return a.setDesired("nope", 1) }},
		{"a decrement below min", "Currently, desiredSize equals minSize (2)", func() error { _, err := a.terminate(victim, true); return err }},
		{"an unknown instance", "No managed instance found", func() error { _, err := a.terminate("i-00000000000000000", false); return err }},
		{"update: min above max", "Max bound, 4, must be greater than or equal to min bound, 5", func() error {
			return update(func(in *autoscaling.UpdateAutoScalingGroupInput) { in.MinSize = sdk.Int32(5) })
		}},
		{"update: desired beyond max", "Desired capacity:9 must be between", func() error {
			return update(func(in *autoscaling.UpdateAutoScalingGroupInput) { in.DesiredCapacity = sdk.Int32(9) })
		}},
		{"update: an unknown policy", "Invalid termination policy", func() error {
			return update(func(in *autoscaling.UpdateAutoScalingGroupInput) {
				in.MaxSize, in.TerminationPolicies = sdk.Int32(8), []string{"Youngest"}
			})
		}},
		{"update: an unknown template version", "Could not find the specified version 7", func() error {
			return update(func(in *autoscaling.UpdateAutoScalingGroupInput) {
				in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nodes"), Version: sdk.String("7")}
			})
		}},
		{"suspending what is no process", "Invalid process name", func() error {
			_, err := a.AS.SuspendProcesses(a.ctx(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: sdk.String("g"), ScalingProcesses: []string{"AZRebalance", "Lunch"}})
			return err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, tc.call(), "ValidationError", tc.text) })
	}
	a.pass(time.Second)
	if g := a.group("g"); g.Desired != 2 || g.Max != 4 || len(g.Suspended) != 0 || len(g.settled()) != 2 {
		t.Errorf("refused calls changed the group: %+v", g)
	}
	// Without a desired capacity the group's own is moved into the new bounds.
	a.must(update(func(in *autoscaling.UpdateAutoScalingGroupInput) { in.MinSize = sdk.Int32(3) }))
	if g := a.group("g"); g.Desired != 3 {
		t.Errorf("desired %d after the min rose to 3", g.Desired)
	}
	a.must(update(func(in *autoscaling.UpdateAutoScalingGroupInput) { in.MinSize, in.MaxSize = sdk.Int32(0), sdk.Int32(1) }))
	if g := a.group("g"); g.Desired != 1 {
		t.Errorf("desired %d after the max fell to 1", g.Desired)
	}
}

func TestHonorCooldown(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 4, Desired: 1})
	_, err := a.AS.SetDesiredCapacity(a.ctx(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: sdk.String("g"), DesiredCapacity: sdk.Int32(2), HonorCooldown: sdk.Bool(true)})
	refused(t, err, "ScalingActivityInProgress", "cooldown")
	a.must(a.setDesired("g", 2)) // it is not honoured by default
	a.jump(301 * time.Second)
	a.jump(301 * time.Second)
	_, err = a.AS.SetDesiredCapacity(a.ctx(), &autoscaling.SetDesiredCapacityInput{AutoScalingGroupName: sdk.String("g"), DesiredCapacity: sdk.Int32(3), HonorCooldown: sdk.Bool(true)})
	a.must(err)
}

func TestTerminateRefillsOrShrinks(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 6, Desired: 4})
	first, second := a.group("g").Instances[0].ID, a.group("g").Instances[1].ID

	act, err := a.terminate(first, false)
	a.must(err)
	if act.StatusCode != types.ScalingActivityStatusCodeInProgress || !strings.Contains(*act.Cause, "instance "+first+" was taken out of service in response to a user request") {
		t.Errorf("activity %+v", act)
	}
	if g := a.group("g"); g.Desired != 4 || g.Instances[0].State != "Terminating" || len(g.settled()) != 3 {
		t.Errorf("right after: %+v", g)
	}
	a.pass(3 * time.Second)
	if g := a.group("g"); g.Desired != 4 || len(g.settled()) != 4 || slices.Contains(g.settled(), first) || zones(g)["eu-central-1a"] != 2 {
		t.Errorf("it must refill, in the zone that lost one: %+v", g)
	}
	_, err = a.terminate(first, false)
	refused(t, err, "ValidationError", "No managed instance found")

	_, err = a.terminate(second, true)
	a.must(err)
	a.pass(3 * time.Second)
	if g := a.group("g"); g.Desired != 3 || len(g.settled()) != 3 {
		t.Errorf("it must shrink: %+v", g)
	}
	// The trap that cluster autoscalers fell into: the capacity is taken again when the call is repeated.
	third := a.group("g").settled()[0]
	for range 2 {
		_, err = a.terminate(third, true)
		a.must(err)
	}
	if g := a.group("g"); g.Desired != 1 {
		t.Errorf("desired %d after the same call twice, want 1", g.Desired)
	}
}

func TestInstanceTerminatedBehindTheGroupsBack(t *testing.T) {
	for _, tc := range []struct {
		name      string
		suspended []string
		replaced  bool
	}{
		{"replaced", nil, true},
		{"not noticed", []string{"HealthCheck"}, false},
		{"noticed but not replaced", []string{"ReplaceUnhealthy"}, false},
		{"taken out but nothing launched", []string{"Launch"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.seed()
			a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 3})
			if tc.suspended != nil {
				a.suspend("g", tc.suspended...)
			}
			lost := a.group("g").Instances[1].ID
			_, err := a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: []string{lost}})
			a.must(err)
			a.pass(3 * time.Second)
			g := a.group("g")
			launched := len(a.Machines()) - 3
			if (launched == 1) != tc.replaced {
				t.Errorf("%d launched; group %+v", launched, g.Instances)
			}
			if i := slices.IndexFunc(g.Instances, func(m MemberState) bool { return m.ID == lost }); tc.name == "noticed but not replaced" && (i < 0 || g.Instances[i].Healthy) {
				t.Errorf("the lost instance must be shown unhealthy: %+v", g.Instances)
			}
		})
	}
}

func TestSetInstanceHealth(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 2})
	sick := a.group("g").Instances[0].ID
	_, err := a.AS.SetInstanceHealth(a.ctx(), &autoscaling.SetInstanceHealthInput{InstanceId: &sick, HealthStatus: sdk.String("Unhealthy")})
	a.must(err)
	a.pass(3 * time.Second)
	if g := a.group("g"); slices.Contains(g.settled(), sick) || len(g.settled()) != 2 {
		t.Errorf("%+v", g.Instances)
	}
	_, err = a.AS.SetInstanceHealth(a.ctx(), &autoscaling.SetInstanceHealthInput{InstanceId: sdk.String(a.group("g").settled()[0]), HealthStatus: sdk.String("Tired")})
	refused(t, err, "ValidationError", "Tired")
}

func TestSuspendedProcesses(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 6, Desired: 3})
	a.suspend("g", "Launch", "AZRebalance")
	suspended := stamp(a.clock())
	a.must(a.setDesired("g", 5))
	a.pass(2 * time.Second)
	a.suspend("g", "AZRebalance") // once more, later: the first reason stands
	if g := a.group("g"); len(g.Instances) != 3 || !slices.Equal(g.Suspended, []string{"AZRebalance", "Launch"}) {
		t.Errorf("launched with Launch suspended: %+v", g)
	}
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
	a.must(err)
	if p := out.AutoScalingGroups[0].SuspendedProcesses; len(p) != 2 || !strings.HasPrefix(*p[1].SuspensionReason, "User suspended at "+suspended) {
		t.Errorf("processes %+v", p)
	}
	_, err = a.AS.ResumeProcesses(a.ctx(), &autoscaling.ResumeProcessesInput{AutoScalingGroupName: sdk.String("g"), ScalingProcesses: []string{"Launch"}})
	a.must(err)
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.settled()) != 5 || !slices.Equal(g.Suspended, []string{"AZRebalance"}) {
		t.Errorf("after the resume: %+v", g)
	}
	a.suspend("g", "Terminate")
	a.must(a.setDesired("g", 3))
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.settled()) != 5 {
		t.Errorf("scaled in with Terminate suspended: %v", states(g))
	}
	// A person's terminate call is no scaling process.
	_, err = a.terminate(a.group("g").settled()[0], false)
	a.must(err)
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.settled()) != 4 {
		t.Errorf("%v", states(g))
	}
	_, err = a.AS.SuspendProcesses(a.ctx(), &autoscaling.SuspendProcessesInput{AutoScalingGroupName: sdk.String("g")})
	a.must(err)
	if g := a.group("g"); len(g.Suspended) != len(processes) {
		t.Errorf("without names all are suspended, have %v", g.Suspended)
	}
}

func TestScaleInPicksItsOwnVictims(t *testing.T) {
	for _, tc := range []struct {
		name     string
		policies []string
		protect  []int // instances by the order of their launch
		desired  int32
		want     []int // those that are left
	}{
		// Launched in turn over the zones: 0 a, 1 b, 2 c, 3 a, 4 b, 5 c, 6 a; 0-2 from version 1, 3-6 from version 2, the
		// first three at once, the others ten minutes apart. Zone a has most, so it loses first whatever the policy.
		{name: "default: the zone with most, then the oldest version", desired: 6, want: []int{1, 2, 3, 4, 5, 6}},
		{name: "newest: the zone with most, then the newest", policies: []string{"NewestInstance"}, desired: 6, want: []int{0, 1, 2, 3, 4, 5}},
		{name: "oldest", policies: []string{"OldestInstance"}, desired: 6, want: []int{1, 2, 3, 4, 5, 6}},
		{name: "the oldest template", policies: []string{"OldestLaunchTemplate"}, desired: 6, want: []int{1, 2, 3, 4, 5, 6}},
		{name: "the oldest template, then the newest instance", policies: []string{"OldestLaunchTemplate", "NewestInstance"}, protect: []int{0}, desired: 6, want: []int{0, 1, 2, 3, 4, 5}},
		{name: "protected ones are passed over", protect: []int{0, 3}, desired: 6, want: []int{0, 1, 2, 3, 4, 5}},
		{name: "a zone full of protected ones is passed over", policies: []string{"OldestInstance"}, protect: []int{0, 3, 6, 1, 4}, desired: 6, want: []int{0, 1, 3, 4, 5, 6}},
		{name: "all protected: nothing goes and the capacity stays", protect: []int{0, 1, 2, 3, 4, 5, 6}, desired: 5, want: []int{0, 1, 2, 3, 4, 5, 6}},
		{name: "zones stay balanced", policies: []string{"OldestInstance"}, desired: 3, want: []int{6, 4, 5}},
		{name: "the end of the hour", policies: []string{"ClosestToNextInstanceHour"}, desired: 6, want: []int{0, 1, 2, 4, 5, 6}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.seed()
			a.seedGroup(GroupSpec{Name: "g", LaunchVersion: "$Latest", Max: 9, Desired: 3, TerminationPolicies: tc.policies})
			second := a.CreateImage(ImageSpec{Name: "node-2"})
			if _, err := a.CreateLaunchTemplateVersion("nodes", "1", LaunchTemplateData{ImageID: &second}); err != nil {
				t.Fatal(err)
			}
			a.jump(85 * time.Minute) // 3's hour ends before those of 0 and 6
			for n := int32(4); n <= 7; n++ {
				a.must(a.setDesired("g", n))
				a.pass(time.Second)
				a.jump(10 * time.Minute)
			}
			order := a.group("g").settled()
			if len(order) != 7 {
				t.Fatalf("%v", order)
			}
			var ids []string
			for _, n := range tc.protect {
				ids = append(ids, order[n])
			}
			if ids != nil {
				_, err := a.AS.SetInstanceProtection(a.ctx(), &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: sdk.String("g"), InstanceIds: ids, ProtectedFromScaleIn: sdk.Bool(true)})
				a.must(err)
			}
			a.must(a.setDesired("g", tc.desired))
			a.pass(2 * time.Second)
			g := a.group("g")
			var left []int
			for n, id := range order {
				if slices.Contains(g.settled(), id) {
					left = append(left, n)
				}
			}
			slices.Sort(tc.want)
			if !slices.Equal(left, tc.want) || g.Desired != int(tc.desired) {
				t.Errorf("left %v, want %v; desired %d", left, tc.want, g.Desired)
			}
		})
	}
}

func TestAZRebalance(t *testing.T) {
	unbalanced := func(t *testing.T, protect bool) *account {
		a := newAccount(t)
		a.seed()
		a.seedGroup(GroupSpec{Name: "g", Max: 4, Desired: 4, Zones: []string{"eu-central-1a"}, ProtectNewInstances: protect})
		return a
	}
	widen := func(a *account) {
		_, err := a.AS.UpdateAutoScalingGroup(a.ctx(), &autoscaling.UpdateAutoScalingGroupInput{
			AutoScalingGroupName: sdk.String("g"), VPCZoneIdentifier: sdk.String(a.SubnetID("eu-central-1a") + "," + a.SubnetID("eu-central-1b")),
		})
		a.must(err)
	}
	t.Run("launches before it terminates, beyond max", func(t *testing.T) {
		a := unbalanced(t, false)
		widen(a)
		most := 0
		for range 80 {
			a.pass(100 * time.Millisecond)
			g := a.group("g")
			if n := states(g)["InService"]; n < 4 {
				t.Fatalf("capacity fell to %d: %+v", n, g.Instances)
			}
			most = max(most, len(g.settled())+states(g)["Pending"])
		}
		if g := a.group("g"); zones(g)["eu-central-1a"] != 2 || zones(g)["eu-central-1b"] != 2 || most != 5 {
			t.Errorf("zones %v, at most %d at once", zones(g), most)
		}
	})
	for _, p := range []string{"AZRebalance", "Launch", "Terminate"} {
		t.Run("not with "+p+" suspended", func(t *testing.T) {
			a := unbalanced(t, false)
			a.suspend("g", p)
			widen(a)
			a.pass(5 * time.Second)
			if g := a.group("g"); zones(g)["eu-central-1a"] != 4 || len(g.Instances) != 4 {
				t.Errorf("zones %v", zones(g))
			}
		})
	}
	t.Run("not when what would go is protected", func(t *testing.T) {
		a := unbalanced(t, true)
		widen(a)
		a.pass(5 * time.Second)
		if g := a.group("g"); zones(g)["eu-central-1a"] != 4 || len(g.Instances) != 4 {
			t.Errorf("zones %v", zones(g))
		}
	})
}

func TestInstanceProtection(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 60, Desired: 2, ProtectNewInstances: true})
	a.seedGroup(GroupSpec{Name: "h", Max: 1, Desired: 1})
	g := a.group("g")
	if !g.Instances[0].Protected || !g.ProtectsNew {
		t.Fatalf("new instances must be protected: %+v", g)
	}
	call := func(on bool, ids ...string) error {
		_, err := a.AS.SetInstanceProtection(a.ctx(), &autoscaling.SetInstanceProtectionInput{AutoScalingGroupName: sdk.String("g"), InstanceIds: ids, ProtectedFromScaleIn: &on})
		return err
	}
	refused(t, call(false, g.Instances[0].ID, a.group("h").Instances[0].ID), "ValidationError", "is not part of Auto Scaling group g")
	refused(t, call(false, slices.Repeat([]string{g.Instances[0].ID}, 51)...), "ValidationError", "between 1 and 50")
	if !a.group("g").Instances[0].Protected {
		t.Error("a refused call changed an instance")
	}
	a.must(call(false, g.Instances[0].ID))
	a.must(a.setDesired("g", 0))
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.settled()) != 1 || !g.Instances[0].Protected {
		t.Errorf("left %+v", g.Instances)
	}
	_, err := a.terminate(a.group("g").Instances[0].ID, false) // protection is from scale-in only
	a.must(err)
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.Instances) != 0 {
		t.Errorf("left %+v", g.Instances)
	}
}

func TestMixedInstances(t *testing.T) {
	count := func(a *account, n int32, base, percent *int32, strategy string, kindsInOrder ...string) (kinds map[string]int, spot int) {
		a.t.Helper()
		a.seed()
		policy := &types.MixedInstancesPolicy{
			LaunchTemplate:        &types.LaunchTemplate{LaunchTemplateSpecification: &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nodes"), Version: sdk.String("$Latest")}},
			InstancesDistribution: &types.InstancesDistribution{OnDemandBaseCapacity: base, OnDemandPercentageAboveBaseCapacity: percent},
		}
		if strategy != "" {
			policy.InstancesDistribution.OnDemandAllocationStrategy = &strategy
		}
		for _, k := range kindsInOrder {
			policy.LaunchTemplate.Overrides = append(policy.LaunchTemplate.Overrides, types.LaunchTemplateOverrides{InstanceType: &k, WeightedCapacity: sdk.String("1")})
		}
		_, err := a.AS.CreateAutoScalingGroup(a.ctx(), &autoscaling.CreateAutoScalingGroupInput{
			AutoScalingGroupName: sdk.String("g"), MinSize: sdk.Int32(0), MaxSize: sdk.Int32(50), DesiredCapacity: &n, MixedInstancesPolicy: policy, AvailabilityZones: []string{"eu-central-1a"},
		})
		a.must(err)
		a.pass(2 * time.Second)
		kinds = map[string]int{}
		for _, i := range a.describe() {
			kinds[string(i.InstanceType)]++
			if i.InstanceLifecycle == "spot" {
				spot++
			}
		}
		return kinds, spot
	}
	t.Run("on demand takes the first type", func(t *testing.T) {
		a := newAccount(t)
		kinds, spot := count(a, 6, nil, nil, "", "m5.large", "m5a.large")
		if kinds["m5.large"] != 6 || spot != 0 {
			t.Errorf("%v, %d spot", kinds, spot)
		}
		out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
		a.must(err)
		g := out.AutoScalingGroups[0]
		d := g.MixedInstancesPolicy.InstancesDistribution
		if g.LaunchTemplate != nil || *d.OnDemandAllocationStrategy != "prioritized" || *d.OnDemandPercentageAboveBaseCapacity != 100 || *g.Instances[0].LaunchTemplate.Version != "1" || *g.Instances[0].WeightedCapacity != "1" {
			t.Errorf("shown %+v %+v", d, g.Instances[0])
		}
	})
	t.Run("base and percentage", func(t *testing.T) {
		if _, spot := count(newAccount(t), 12, sdk.Int32(2), sdk.Int32(30), "", "m5.large"); spot != 7 {
			t.Errorf("%d spot of 12, want 7: 2 on demand, and 3 of the 10 above", spot)
		}
	})
	t.Run("lowest price is chance by seed", func(t *testing.T) {
		first, _ := count(newAccount(t), 20, nil, nil, "lowest-price", "m5.large", "m5a.large")
		again, _ := count(newAccount(t), 20, nil, nil, "lowest-price", "m5.large", "m5a.large")
		other, _ := count(newAccount(t, func(c *Config) { c.Seed = 99 }), 20, nil, nil, "lowest-price", "m5.large", "m5a.large")
		if len(first) != 2 || !maps.Equal(first, again) || maps.Equal(first, other) {
			t.Errorf("%v, again %v, with another seed %v", first, again, other)
		}
	})
	t.Run("weights are refused", func(t *testing.T) {
		a := newAccount(t)
		a.seed()
		_, err := a.AS.CreateAutoScalingGroup(a.ctx(), &autoscaling.CreateAutoScalingGroupInput{
			AutoScalingGroupName: sdk.String("g"), MinSize: sdk.Int32(0), MaxSize: sdk.Int32(1), AvailabilityZones: []string{"eu-central-1a"},
			MixedInstancesPolicy: &types.MixedInstancesPolicy{LaunchTemplate: &types.LaunchTemplate{
				LaunchTemplateSpecification: &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nodes")},
				Overrides:                   []types.LaunchTemplateOverrides{{InstanceType: sdk.String("m5.large"), WeightedCapacity: sdk.String("2")}},
			}},
		})
		refused(t, err, "ValidationError", "WeightedCapacity 2")
	})
}

func TestLaunchConfigurations(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	create := func(name string) error {
		_, err := a.AS.CreateLaunchConfiguration(a.ctx(), &autoscaling.CreateLaunchConfigurationInput{
			LaunchConfigurationName: &name, ImageId: &image, InstanceType: sdk.String("m5.large"), SecurityGroups: []string{"sg-1"}, AssociatePublicIpAddress: sdk.Bool(false),
		})
		return err
	}
	a.must(create("lc-1"))
	refused(t, create("lc-1"), "AlreadyExists", "lc-1")
	a.seedGroup(GroupSpec{Name: "g", LaunchConfiguration: "lc-1", Max: 4, Desired: 2})
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
	a.must(err)
	if i := out.AutoScalingGroups[0].Instances[0]; i.LaunchTemplate != nil || *i.LaunchConfigurationName != "lc-1" {
		t.Errorf("%+v", i)
	}
	lcs, err := a.AS.DescribeLaunchConfigurations(a.ctx(), &autoscaling.DescribeLaunchConfigurationsInput{LaunchConfigurationNames: []string{"lc-1"}})
	if err != nil || len(lcs.LaunchConfigurations) != 1 || *lcs.LaunchConfigurations[0].ImageId != image {
		t.Errorf("%+v, %v", lcs, err)
	}
	_, err = a.AS.DeleteLaunchConfiguration(a.ctx(), &autoscaling.DeleteLaunchConfigurationInput{LaunchConfigurationName: sdk.String("lc-1")})
	refused(t, err, "ResourceInUse", "g")
	p, err := a.PublishImage(t.Context(), control.PublishImageRequest{})
	a.must(err)
	if p.Groups[0].LaunchConfiguration == "lc-1" || a.group("g").DesiredImage != p.ImageID {
		t.Errorf("published %+v, group %+v", p, a.group("g"))
	}
	_, err = a.AS.DeleteLaunchConfiguration(a.ctx(), &autoscaling.DeleteLaunchConfigurationInput{LaunchConfigurationName: sdk.String("lc-1")})
	a.must(err)
	if lcs, err := a.AS.DescribeLaunchConfigurations(a.ctx(), &autoscaling.DescribeLaunchConfigurationsInput{}); err != nil || len(lcs.LaunchConfigurations) != 1 {
		t.Errorf("after the delete: %+v, %v", lcs, err)
	}
}

func TestCreateAndDeleteGroups(t *testing.T) {
	a := newAccount(t)
	a.seed()
	in := func(change func(*autoscaling.CreateAutoScalingGroupInput)) *autoscaling.CreateAutoScalingGroupInput {
		in := &autoscaling.CreateAutoScalingGroupInput{
			AutoScalingGroupName: sdk.String("g"), MinSize: sdk.Int32(1), MaxSize: sdk.Int32(2), AvailabilityZones: []string{"eu-central-1a"},
			LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nodes"), Version: sdk.String("1")},
		}
		change(in)
		return in
	}
	type input = *autoscaling.CreateAutoScalingGroupInput
	for _, tc := range []struct {
		name, text string
		in         input
	}{
		{"nothing to launch from", "Valid requests must contain either LaunchTemplate", in(func(i input) { i.LaunchTemplate = nil })},
		{"two things to launch from", "Valid requests must contain either LaunchTemplate", in(func(i input) {
			i.MixedInstancesPolicy = &types.MixedInstancesPolicy{LaunchTemplate: &types.LaunchTemplate{LaunchTemplateSpecification: i.LaunchTemplate}}
		})},
		{"unknown template", "with template name x, does not exist", in(func(i input) { i.LaunchTemplate.LaunchTemplateName = sdk.String("x") })},
		{"no zone", "At least one Availability Zone", in(func(i input) { i.AvailabilityZones = nil })},
		{"unknown zone", "Invalid availability zones", in(func(i input) { i.AvailabilityZones = []string{"mars-1a"} })},
		{"unknown subnet", "subnet ID 'subnet-1' does not exist", in(func(i input) { i.VPCZoneIdentifier = sdk.String("subnet-1") })},
		{"zones that are not the subnets'", "do not match", in(func(i input) { i.VPCZoneIdentifier = sdk.String(a.SubnetID("eu-central-1b")) })},
		{"reserved tag", "reserved for AWS use", in(func(i input) { i.Tags = []types.Tag{{Key: sdk.String("aws:x")}} })},
		{"min above max", "Max bound, 2", in(func(i input) { i.MinSize = sdk.Int32(3) })},
		{"what is not simulated", "does not know it", in(func(i input) { i.LoadBalancerNames = []string{"lb"} })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := a.AS.CreateAutoScalingGroup(a.ctx(), tc.in)
			refused(t, err, "ValidationError", tc.text)
		})
	}
	if n := len(a.Groups()); n != 0 {
		t.Fatalf("refused calls made %d groups", n)
	}
	_, err := a.AS.CreateAutoScalingGroup(a.ctx(), in(func(input) {}))
	a.must(err)
	_, err = a.AS.CreateAutoScalingGroup(a.ctx(), in(func(input) {}))
	refused(t, err, "AlreadyExists", "g already exists")
	a.pass(2 * time.Second)
	del := func(force bool) error {
		_, err := a.AS.DeleteAutoScalingGroup(a.ctx(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: sdk.String("g"), ForceDelete: &force})
		return err
	}
	refused(t, del(false), "ResourceInUse", "instances")
	a.must(del(true))
	refused(t, a.setDesired("g", 1), "ValidationError", "pending delete")
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil || *out.AutoScalingGroups[0].Status != "Delete in progress" {
		t.Errorf("%+v, %v", out, err)
	}
	a.pass(2 * time.Second)
	if n := len(a.Groups()); n != 0 {
		t.Errorf("%d groups left", n)
	}
	acts, err := a.AS.DescribeScalingActivities(a.ctx(), &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: sdk.String("g"), IncludeDeletedGroups: sdk.Bool(true)})
	if err != nil || len(acts.Activities) != 2 {
		t.Errorf("activities of a deleted group: %+v, %v", acts, err)
	}
}

func TestScalingActivities(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.must(a.CreateAutoScalingGroup(GroupSpec{Name: "g", LaunchTemplate: "nodes", Max: 5, Desired: 1}))
	read := func() []types.Activity {
		t.Helper()
		out, err := a.AS.DescribeScalingActivities(a.ctx(), &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: sdk.String("g")})
		a.must(err)
		return out.Activities
	}
	a.pass(100 * time.Millisecond)
	if act := read()[0]; act.StatusCode != types.ScalingActivityStatusCodePreInService || *act.Progress != 30 || act.EndTime != nil || !strings.Contains(*act.Cause, "created an AutoScalingGroup changing the desired capacity from 0 to 1") {
		t.Errorf("launching: %+v", act)
	}
	a.pass(2 * time.Second)
	if act := read()[0]; act.StatusCode != types.ScalingActivityStatusCodeSuccessful || *act.Progress != 100 || act.EndTime == nil || !strings.HasPrefix(*act.Description, "Launching a new EC2 instance: i-") {
		t.Errorf("launched: %+v", act)
	}
	a.must(a.setDesired("g", 3))
	a.pass(2 * time.Second)
	a.must(a.setDesired("g", 2))
	a.pass(2 * time.Second)
	all := read()
	if len(all) != 4 || !strings.Contains(*all[0].Cause, "shrinking the capacity from 3 to 2") || !strings.Contains(*all[0].Cause, "explicitly set group desired capacity changing the desired capacity from 3 to 2") ||
		!strings.Contains(*all[1].Cause, "increasing the capacity from 2 to 3") {
		t.Errorf("newest first, with causes: %+v", all)
	}
	// A refill has a cause of its own and does not cite the request that set the capacity long ago.
	_, err := a.terminate(a.group("g").settled()[0], false)
	a.must(err)
	a.pass(2 * time.Second)
	all = read()
	if cause := *all[0].Cause; !strings.HasPrefix(*all[0].Description, "Launching") || strings.Contains(cause, "explicitly") || !strings.Contains(cause, "increasing the capacity from 1 to 2") {
		t.Errorf("the refill's cause: %s", cause)
	}
	var paged []string
	p := autoscaling.NewDescribeScalingActivitiesPaginator(a.AS, &autoscaling.DescribeScalingActivitiesInput{MaxRecords: sdk.Int32(1)})
	for p.HasMorePages() {
		out, err := p.NextPage(a.ctx())
		a.must(err)
		for _, act := range out.Activities {
			paged = append(paged, *act.ActivityId)
		}
	}
	var want []string
	for _, act := range all {
		want = append(want, *act.ActivityId)
	}
	if !slices.Equal(paged, want) {
		t.Errorf("pages %v, want %v", paged, want)
	}
	_, err = a.AS.DescribeScalingActivities(a.ctx(), &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: sdk.String("x")})
	refused(t, err, "ValidationError", "name not found")
}

func TestGroupTags(t *testing.T) {
	a := newAccount(t)
	a.seed()
	for n := range 3 {
		a.must(a.CreateAutoScalingGroup(GroupSpec{Name: fmt.Sprint("g", n), LaunchTemplate: "nodes", Max: 1, Tags: []GroupTag{{Key: fmt.Sprint("kubernetes.io/cluster/c", n), Value: "owned"}}}))
	}
	tag := func(group, key, value string) types.Tag {
		return types.Tag{ResourceId: &group, ResourceType: sdk.String("auto-scaling-group"), Key: &key, Value: &value, PropagateAtLaunch: sdk.Bool(false)}
	}
	put := func(tags ...types.Tag) error {
		_, err := a.AS.CreateOrUpdateTags(a.ctx(), &autoscaling.CreateOrUpdateTagsInput{Tags: tags})
		return err
	}
	a.must(put(tag("g0", "rotator/record", `{"a":1}`), tag("g1", "x", "")))
	a.must(put(tag("g0", "rotator/record", `{"a":2}`)))
	refused(t, put(tag("g0", "late", ""), tag("nope", "x", "")), "ValidationError", "name not found")
	refused(t, put(tag("g0", "aws:x", "")), "ValidationError", "reserved")
	if g := a.group("g0"); g.Tags["rotator/record"] != `{"a":2}` || len(g.Tags) != 2 {
		t.Errorf("tags %v", g.Tags)
	}
	var many []types.Tag
	for n := range 49 {
		many = append(many, tag("g0", fmt.Sprint("k", n), ""))
	}
	refused(t, put(many...), "LimitExceeded", "50")

	names := func(filters ...types.Filter) (got []string) {
		t.Helper()
		out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{Filters: filters})
		a.must(err)
		for _, g := range out.AutoScalingGroups {
			got = append(got, *g.AutoScalingGroupName)
		}
		return got
	}
	f := func(name string, values ...string) types.Filter { return types.Filter{Name: &name, Values: values} }
	for _, tc := range []struct {
		name    string
		filters []types.Filter
		want    []string
	}{
		{"by key", []types.Filter{f("tag-key", "kubernetes.io/cluster/c1")}, []string{"g1"}},
		{"by key and value", []types.Filter{f("tag:kubernetes.io/cluster/c2", "owned", "shared")}, []string{"g2"}},
		{"exactly, never by part", []types.Filter{f("tag-key", "kubernetes.io/cluster/c")}, nil},
		{"both filters", []types.Filter{f("tag-key", "kubernetes.io/cluster/c1", "kubernetes.io/cluster/c0"), f("tag:x", "")}, []string{"g1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := names(tc.filters...); !slices.Equal(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
	_, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{Filters: []types.Filter{f("name", "g1")}})
	refused(t, err, "ValidationError", "Filter type name is not correct")

	_, err = a.AS.DeleteTags(a.ctx(), &autoscaling.DeleteTagsInput{Tags: []types.Tag{tag("g0", "rotator/record", ""), tag("g0", "never there", "")}})
	a.must(err)
	out, err := a.AS.DescribeTags(a.ctx(), &autoscaling.DescribeTagsInput{Filters: []types.Filter{f("auto-scaling-group", "g0")}})
	if err != nil || len(out.Tags) != 1 || *out.Tags[0].Key != "kubernetes.io/cluster/c0" || *out.Tags[0].ResourceType != "auto-scaling-group" {
		t.Errorf("tags %+v, %v", out, err)
	}
}

func TestGroupPages(t *testing.T) {
	a := newAccount(t)
	a.seed()
	for n := range 7 {
		a.seedGroup(GroupSpec{Name: fmt.Sprint("g", n), Max: 9, Desired: n})
	}
	var names []string
	pages := 0
	p := autoscaling.NewDescribeAutoScalingGroupsPaginator(a.AS, &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: sdk.Int32(3)})
	for p.HasMorePages() {
		out, err := p.NextPage(a.ctx())
		a.must(err)
		if pages++; pages == 1 { // a group that goes between two pages must not shift them
			_, err := a.AS.DeleteAutoScalingGroup(a.ctx(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: sdk.String("g0")})
			a.must(err)
		}
		for _, g := range out.AutoScalingGroups {
			names = append(names, *g.AutoScalingGroupName)
		}
	}
	if want := []string{"g0", "g1", "g2", "g3", "g4", "g5", "g6"}; !slices.Equal(names, want) || pages != 3 {
		t.Errorf("%d pages: %v", pages, names)
	}
	var ids []string
	q := autoscaling.NewDescribeAutoScalingInstancesPaginator(a.AS, &autoscaling.DescribeAutoScalingInstancesInput{MaxRecords: sdk.Int32(10)})
	for q.HasMorePages() {
		out, err := q.NextPage(a.ctx())
		a.must(err)
		for _, i := range out.AutoScalingInstances {
			ids = append(ids, *i.InstanceId)
		}
	}
	if len(ids) != 21 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 21 {
		t.Errorf("%d instances in pages, want 21 different ones", len(ids))
	}
	_, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: sdk.Int32(101)})
	refused(t, err, "ValidationError", "between 1 and 100")
	_, err = a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{NextToken: sdk.String("x")})
	refused(t, err, "InvalidNextToken", "token")
}
