package aws

import (
	"fmt"
	"slices"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

func (a *account) detach(decrement bool, ids ...string) ([]types.Activity, error) {
	out, err := a.AS.DetachInstances(a.ctx(), &autoscaling.DetachInstancesInput{
		AutoScalingGroupName: sdk.String("g"), InstanceIds: ids, ShouldDecrementDesiredCapacity: &decrement,
	})
	if err != nil {
		return nil, err
	}
	return out.Activities, nil
}

func (a *account) attach(ids ...string) error {
	_, err := a.AS.AttachInstances(a.ctx(), &autoscaling.AttachInstancesInput{AutoScalingGroupName: sdk.String("g"), InstanceIds: ids})
	return err
}

func (a *account) enterStandby(decrement bool, ids ...string) error {
	_, err := a.AS.EnterStandby(a.ctx(), &autoscaling.EnterStandbyInput{
		AutoScalingGroupName: sdk.String("g"), InstanceIds: ids, ShouldDecrementDesiredCapacity: &decrement,
	})
	return err
}

func (a *account) exitStandby(ids ...string) error {
	_, err := a.AS.ExitStandby(a.ctx(), &autoscaling.ExitStandbyInput{AutoScalingGroupName: sdk.String("g"), InstanceIds: ids})
	return err
}

func (a *account) has(group, id string) bool {
	return slices.ContainsFunc(a.group(group).Instances, func(m MemberState) bool { return m.ID == id })
}

func TestDetach(t *testing.T) {
	for _, tc := range []struct {
		decrement bool
		desired   int
	}{{false, 3}, {true, 2}} {
		t.Run(fmt.Sprintf("decrement %v", tc.decrement), func(t *testing.T) {
			a := newAccount(t)
			a.seed()
			a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 3, Tags: []GroupTag{{Key: "cluster", Value: "demo", PropagateAtLaunch: true}}})
			id := a.group("g").Instances[0].ID
			acts, err := a.detach(tc.decrement, id)
			a.must(err)
			if s := a.stateOf(id); len(acts) != 1 || acts[0].StatusCode != types.ScalingActivityStatusCodeInProgress || s != types.LifecycleStateDetaching {
				t.Errorf("at once: activities %+v, state %s", acts, s)
			}
			a.pass(2 * time.Second)
			g := a.group("g")
			if most := a.Stats(false).MostMachines; most != tc.desired+1 {
				t.Errorf("at most %d machines at once, want %d", most, tc.desired+1)
			}
			if len(g.settled()) != tc.desired || g.Desired != tc.desired || a.has("g", id) {
				t.Errorf("the group has %v at desired %d, with the detached one: %v", states(g), g.Desired, a.has("g", id))
			}
			m, _ := a.Machine(id)
			if m.State != "running" || m.Group != "" || m.Tags[tagGroupName] != "" || m.Tags["cluster"] != "demo" {
				t.Errorf("detached: %+v", m)
			}
			// It is nobody's now: EC2 ends it, and the group does not care.
			_, err = a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
			a.must(err)
			launched := a.Stats(false).Launched
			a.pass(2 * time.Second)
			if s := a.Stats(false); a.ec2State(id) != "terminated" || s.Launched != launched {
				t.Errorf("state %s, %d launched after its end", a.ec2State(id), s.Launched-launched)
			}
			if _, err := a.terminate(id, true); err == nil {
				t.Error("Auto Scaling terminates what it does not have")
			}
		})
	}
}

func TestAttach(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 2})
	id := a.group("g").Instances[0].ID
	_, err := a.detach(true, id)
	a.must(err)
	a.pass(time.Second)
	a.must(a.attach(id))
	a.pass(time.Second)
	m, _ := a.Machine(id)
	if g := a.group("g"); g.Desired != 2 || len(g.settled()) != 2 || !a.has("g", id) || m.Group != "g" || m.Tags[tagGroupName] != "g" {
		t.Errorf("attached again: desired %d, %v, %+v", g.Desired, states(g), m)
	}
}

func TestStandby(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 3})
	id := a.group("g").Instances[0].ID
	a.must(a.enterStandby(true, id))
	a.pass(2 * time.Second)
	if g := a.group("g"); a.stateOf(id) != types.LifecycleStateStandby || g.Desired != 2 || len(g.settled()) != 2 || a.ec2State(id) != "running" {
		t.Errorf("standing by: %s, desired %d, %v", a.stateOf(id), g.Desired, states(g))
	}
	a.must(a.setDesired("g", 1)) // the one that stands by is no victim
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.settled()) != 1 || a.stateOf(id) != types.LifecycleStateStandby {
		t.Errorf("after a scale-in: %v", states(g))
	}
	a.must(a.exitStandby(id))
	a.pass(2 * time.Second)
	if g := a.group("g"); a.stateOf(id) != types.LifecycleStateInService || g.Desired != 2 || len(g.settled()) != 2 {
		t.Errorf("back: %s, desired %d, %v", a.stateOf(id), g.Desired, states(g))
	}
	// Without decrement the group fills up and there is no room to come back.
	a.must(a.enterStandby(false, id))
	a.must(a.setDesired("g", 3))
	a.pass(2 * time.Second)
	if g := a.group("g"); len(g.settled()) != 3 || g.Desired != 3 {
		t.Errorf("without decrement: desired %d, %v", g.Desired, states(g))
	}
	refused(t, a.exitStandby(id), "ValidationError", "max-size=3, and desired-size=3")
}

func TestMembershipIsRefused(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Min: 2, Max: 3, Desired: 2})
	a.seedGroup(GroupSpec{Name: "other", Max: 1, Desired: 1})
	mine, foreign := a.group("g").Instances[0].ID, a.group("other").Instances[0].ID
	many := make([]string, maxMembershipIDs+1)
	for i := range many {
		many[i] = fmt.Sprintf("i-%017x", i)
	}
	for _, tc := range []struct {
		name, text string
		call       func() error
	}{
		{"more than 20", "between 1 and 20", func() error { _, err := a.detach(false, many...); return err }},
		{"another group's", "is not part of Auto Scaling group g", func() error { _, err := a.detach(false, mine, foreign); return err }},
		{"below the minimum", "min-size=2", func() error { _, err := a.detach(true, mine); return err }},
		{"standby below the minimum", "place into standby 1 instance", func() error { return a.enterStandby(true, mine) }},
		{"out of standby what does not stand by", "is not in Standby", func() error { return a.exitStandby(mine) }},
		{"attaching another group's", "already in an Auto Scaling group", func() error { return a.attach(foreign) }},
		{"attaching what is not there", "Invalid Instance ID", func() error { return a.attach("i-00000000000000000") }},
		{"attaching more than 20", "between 1 and 20", func() error { return a.attach(many...) }},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, tc.call(), "ValidationError", tc.text) })
	}
	a.pass(time.Second)
	if g := a.group("g"); g.Desired != 2 || len(g.settled()) != 2 || !a.has("g", mine) {
		t.Errorf("refused calls changed the group: %+v", g)
	}
}
