package aws

import (
	"slices"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func (a *account) putPool(in autoscaling.PutWarmPoolInput) error {
	in.AutoScalingGroupName = sdk.String("g")
	_, err := a.AS.PutWarmPool(a.ctx(), &in)
	return err
}

func (a *account) deletePool(force bool) error {
	_, err := a.AS.DeleteWarmPool(a.ctx(), &autoscaling.DeleteWarmPoolInput{AutoScalingGroupName: sdk.String("g"), ForceDelete: &force})
	return err
}

// pool reads the warm pool of g over the wire.
func (a *account) pool() *autoscaling.DescribeWarmPoolOutput {
	a.t.Helper()
	out, err := a.AS.DescribeWarmPool(a.ctx(), &autoscaling.DescribeWarmPoolInput{AutoScalingGroupName: sdk.String("g")})
	a.must(err)
	return out
}

// told counts what the hooks were told of a machine.
func (a *account) told(what, id string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.log {
		if l == what+" "+id {
			n++
		}
	}
	return n
}

func TestWarmPoolWaitsAndServes(t *testing.T) {
	for _, tc := range []struct {
		state types.WarmPoolState
		warm  types.LifecycleState
		ec2   string
	}{
		{types.WarmPoolStateStopped, types.LifecycleStateWarmedStopped, "stopped"},
		{types.WarmPoolStateRunning, types.LifecycleStateWarmedRunning, "running"},
	} {
		t.Run(string(tc.state), func(t *testing.T) {
			a := newAccount(t)
			a.seed()
			a.seedGroup(GroupSpec{Name: "g", Max: 5, Desired: 3, Tags: []GroupTag{{Key: "cluster", Value: "demo", PropagateAtLaunch: true}}})
			a.must(a.putPool(autoscaling.PutWarmPoolInput{PoolState: tc.state}))
			a.pass(3 * time.Second)
			p := a.pool()
			if len(p.Instances) != 2 || p.Instances[0].LifecycleState != tc.warm {
				t.Fatalf("a pool up to the maximum: %+v", p.Instances)
			}
			for _, i := range p.Instances {
				m, _ := a.Machine(*i.InstanceId)
				if m.State != tc.ec2 || m.Tags["cluster"] != "demo" || a.told("running", m.ID) != 0 {
					t.Errorf("%s waits as %s with %v; the cluster was told of it %d times", m.ID, m.State, m.Tags, a.told("running", m.ID))
				}
			}
			out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{})
			a.must(err)
			if g := out.AutoScalingGroups[0]; len(g.Instances) != 3 || *g.WarmPoolSize != 2 {
				t.Errorf("the group shows %d instances and a pool of %d", len(g.Instances), *g.WarmPoolSize)
			}
			_, err = a.terminate(*p.Instances[0].InstanceId, false)
			refused(t, err, "ValidationError", "No managed instance found")

			// The template moves on; what waits does not, and is what the group takes first.
			_, err = a.CreateLaunchTemplateVersion("nodes", "1", LaunchTemplateData{})
			a.must(err)
			_, err = a.EC2.ModifyLaunchTemplate(a.ctx(), &ec2.ModifyLaunchTemplateInput{LaunchTemplateName: sdk.String("nodes"), DefaultVersion: sdk.String("2")})
			a.must(err)
			a.must(a.setDesired("g", 4))
			a.pass(3 * time.Second)
			g := a.group("g")
			i := slices.IndexFunc(g.Instances, func(m MemberState) bool {
				return m.ID == *p.Instances[0].InstanceId || m.ID == *p.Instances[1].InstanceId
			})
			if len(g.settled()) != 4 || i < 0 || g.Instances[i].Version != 1 {
				t.Fatalf("the group took nothing of its pool: %+v", g.Instances)
			}
			if id := g.Instances[i].ID; a.told("running", id) != 1 || a.ec2State(id) != "running" {
				t.Errorf("taken into service: told %d times, %s", a.told("running", id), a.ec2State(id))
			}
			if n := len(a.pool().Instances); n != 1 {
				t.Errorf("%d instances wait, want 1: the maximum less the desired capacity", n)
			}
		})
	}
}

func TestWarmPoolRefills(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 2, Desired: 2})
	a.must(a.putPool(autoscaling.PutWarmPoolInput{MinSize: sdk.Int32(2)}))
	a.pass(3 * time.Second)
	old := a.pool().Instances
	_, err := a.CreateLaunchTemplateVersion("nodes", "1", LaunchTemplateData{})
	a.must(err)
	_, err = a.EC2.ModifyLaunchTemplate(a.ctx(), &ec2.ModifyLaunchTemplateInput{LaunchTemplateName: sdk.String("nodes"), DefaultVersion: sdk.String("2")})
	a.must(err)
	// kops empties a pool like this: one instance after the other, through EC2.
	_, err = a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: []string{*old[0].InstanceId}})
	a.must(err)
	a.pass(3 * time.Second)
	versions := map[string]int{}
	for _, i := range a.pool().Instances {
		versions[*i.LaunchTemplate.Version]++
	}
	if versions["1"] != 1 || versions["2"] != 1 || a.ec2State(*old[0].InstanceId) != "terminated" {
		t.Errorf("versions in the pool %v", versions)
	}
	if g := a.group("g"); len(g.settled()) != 2 || g.Desired != 2 {
		t.Errorf("the group itself changed: %+v", g)
	}
	// What ends is not taken into service, not even in the round before the pool knows.
	var ids []string
	for _, i := range a.pool().Instances {
		ids = append(ids, *i.InstanceId)
	}
	_, err = a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: ids})
	a.must(err)
	_, err = a.detach(false, a.group("g").Instances[0].ID)
	a.must(err)
	a.pass(3 * time.Second)
	for _, id := range ids {
		if a.has("g", id) || a.told("running", id) > 0 || a.ec2State(id) != "terminated" {
			t.Errorf("%s was ended, and is %s; in the group: %v", id, a.ec2State(id), a.has("g", id))
		}
	}
	if g := a.group("g"); len(g.settled()) != 2 {
		t.Errorf("the group did not fill up: %v", states(g))
	}
	// A smaller pool ends what is too much of it.
	a.must(a.putPool(autoscaling.PutWarmPoolInput{MinSize: sdk.Int32(1)}))
	a.pass(3 * time.Second)
	if n := len(a.pool().Instances); n != 1 {
		t.Errorf("%d instances in a pool of 1", n)
	}
}

func TestWarmPoolEnds(t *testing.T) {
	for _, force := range []bool{false, true} {
		a := newAccount(t)
		a.seed()
		a.seedGroup(GroupSpec{Name: "g", Max: 1, Desired: 1})
		a.must(a.putPool(autoscaling.PutWarmPoolInput{MinSize: sdk.Int32(1)}))
		a.pass(3 * time.Second)
		id := *a.pool().Instances[0].InstanceId
		_, err := a.AS.DeleteAutoScalingGroup(a.ctx(), &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: sdk.String("g")})
		refused(t, err, "ResourceInUse", "warm pool")
		a.must(a.deletePool(force))
		p := a.pool()
		if force != (p.WarmPoolConfiguration == nil) || !force && p.WarmPoolConfiguration.Status != types.WarmPoolStatusPendingDelete {
			t.Errorf("force %v: at once %+v", force, p.WarmPoolConfiguration)
		}
		a.pass(3 * time.Second)
		if p := a.pool(); p.WarmPoolConfiguration != nil || len(p.Instances) != 0 || a.ec2State(id) != "terminated" {
			t.Errorf("force %v: %+v, the instance is %s", force, p, a.ec2State(id))
		}
		refused(t, a.deletePool(force), "ValidationError", "No warm pool found")
	}
}

func TestWarmPoolIsRefused(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 1, Desired: 1})
	for _, tc := range []struct {
		name, text string
		in         autoscaling.PutWarmPoolInput
	}{
		{"hibernated", "Stopped or Running", autoscaling.PutWarmPoolInput{PoolState: types.WarmPoolStateHibernated}},
		{"reused", "scale-in", autoscaling.PutWarmPoolInput{InstanceReusePolicy: &types.InstanceReusePolicy{ReuseOnScaleIn: sdk.Bool(true)}}},
		{"negative", "must not be negative", autoscaling.PutWarmPoolInput{MinSize: sdk.Int32(-1)}},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, a.putPool(tc.in), "ValidationError", tc.text) })
	}
	a.must(a.putPool(autoscaling.PutWarmPoolInput{}))
	refused(t, a.putHook("boot", launching, "CONTINUE", 60), "ValidationError", "hooks of a launch")
	a.must(a.deletePool(true))
	a.must(a.putHook("boot", launching, "CONTINUE", 60))
	refused(t, a.putPool(autoscaling.PutWarmPoolInput{}), "ValidationError", "hooks of a launch")
	if p := a.pool(); p.WarmPoolConfiguration != nil {
		t.Errorf("refused, and there: %+v", p.WarmPoolConfiguration)
	}
}
