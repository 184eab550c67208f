package aws

import (
	"slices"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

const (
	launching   = "autoscaling:EC2_INSTANCE_LAUNCHING"
	terminating = "autoscaling:EC2_INSTANCE_TERMINATING"
)

func (a *account) putHook(name, transition, result string, heartbeat int32) error {
	_, err := a.AS.PutLifecycleHook(a.ctx(), &autoscaling.PutLifecycleHookInput{
		AutoScalingGroupName: sdk.String("g"), LifecycleHookName: &name, LifecycleTransition: &transition, DefaultResult: &result, HeartbeatTimeout: &heartbeat,
	})
	return err
}

func (a *account) complete(hook, id, result string) error {
	_, err := a.AS.CompleteLifecycleAction(a.ctx(), &autoscaling.CompleteLifecycleActionInput{
		AutoScalingGroupName: sdk.String("g"), LifecycleHookName: &hook, InstanceId: &id, LifecycleActionResult: &result,
	})
	return err
}

// stateOf is the lifecycle state of an instance as the wire shows it, "" when the group has it no more.
func (a *account) stateOf(id string) types.LifecycleState {
	a.t.Helper()
	out, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"g"}})
	a.must(err)
	for _, i := range out.AutoScalingGroups[0].Instances {
		if *i.InstanceId == id {
			return i.LifecycleState
		}
	}
	return ""
}

func (a *account) ec2State(id string) string {
	m, _ := a.Machine(id)
	return m.State
}

func TestTerminationHook(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(a *account, id string)
	}{
		{"completed", func(a *account, id string) { a.must(a.complete("drain", id, "CONTINUE")) }},
		{"abandoned", func(a *account, id string) { a.must(a.complete("drain", id, "ABANDON")) }},
		{"timed out", func(a *account, _ string) { a.jump(61 * time.Second) }},
		{"hook deleted", func(a *account, _ string) {
			_, err := a.AS.DeleteLifecycleHook(a.ctx(), &autoscaling.DeleteLifecycleHookInput{AutoScalingGroupName: sdk.String("g"), LifecycleHookName: sdk.String("drain")})
			a.must(err)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAccount(t)
			a.seed()
			a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 2})
			a.must(a.putHook("drain", terminating, "CONTINUE", 60))
			id := a.group("g").Instances[0].ID
			act, err := a.terminate(id, false)
			a.must(err)
			a.pass(5 * time.Second)
			if s := a.stateOf(id); s != types.LifecycleStateTerminatingWait || a.ec2State(id) != "running" {
				t.Fatalf("held by the hook: %s, EC2 %s", s, a.ec2State(id))
			}
			if g := a.group("g"); len(g.settled()) != 2 {
				t.Errorf("the group refills while the old one waits: %v", states(g))
			}
			acts, err := a.AS.DescribeScalingActivities(a.ctx(), &autoscaling.DescribeScalingActivitiesInput{ActivityIds: []string{*act.ActivityId}})
			if err != nil || acts.Activities[0].StatusCode != types.ScalingActivityStatusCodeMidLifecycleAction {
				t.Errorf("activity %+v, %v", acts, err)
			}
			tc.end(a, id)
			a.pass(2 * time.Second)
			if s := a.stateOf(id); s != "" || a.ec2State(id) != "terminated" {
				t.Errorf("afterwards: %q, EC2 %s", s, a.ec2State(id))
			}
			if tc.name != "hook deleted" {
				refused(t, a.complete("drain", id, "CONTINUE"), "ValidationError", "No active Lifecycle Action found")
			}
		})
	}
}

func TestHeartbeatExtendsUpToTheGlobalTimeout(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 1, Desired: 1})
	a.must(a.putHook("drain", terminating, "CONTINUE", 30))
	id := a.group("g").Instances[0].ID
	_, err := a.terminate(id, false)
	a.must(err)
	beat := func() error {
		_, err := a.AS.RecordLifecycleActionHeartbeat(a.ctx(), &autoscaling.RecordLifecycleActionHeartbeatInput{AutoScalingGroupName: sdk.String("g"), LifecycleHookName: sdk.String("drain"), InstanceId: &id})
		return err
	}
	// 100 times the heartbeat is the longest that an instance can be held: 3000 s here.
	for held := range 120 {
		a.jump(25 * time.Second)
		if a.stateOf(id) != types.LifecycleStateTerminatingWait {
			if held != 119 {
				t.Errorf("let go after %d heartbeats", held)
			}
			refused(t, beat(), "ValidationError", "No active Lifecycle Action")
			return
		}
		a.must(beat())
	}
	t.Error("held beyond the global timeout")
}

func TestLaunchHook(t *testing.T) {
	newGroup := func(t *testing.T) (*account, string) {
		a := newAccount(t)
		a.seed()
		a.must(a.CreateAutoScalingGroup(GroupSpec{Name: "g", LaunchTemplate: "nodes", Max: 1, Desired: 1,
			Hooks: []LifecycleHook{{LifecycleHookName: "boot", LifecycleTransition: launching, HeartbeatTimeout: ptr(int32(60))}, {LifecycleHookName: "check", LifecycleTransition: launching}}}))
		a.pass(time.Second)
		id := a.group("g").Instances[0].ID
		if s := a.stateOf(id); s != types.LifecycleStatePendingWait || a.ec2State(id) != "running" {
			t.Fatalf("held by the first hook: %s, EC2 %s", s, a.ec2State(id))
		}
		return a, id
	}
	t.Run("each hook in turn", func(t *testing.T) {
		a, id := newGroup(t)
		a.must(a.complete("boot", id, "CONTINUE"))
		a.pass(time.Second)
		if s := a.stateOf(id); s != types.LifecycleStatePendingWait {
			t.Fatalf("held by the second hook: %s", s)
		}
		refused(t, a.complete("boot", id, "CONTINUE"), "ValidationError", "No active Lifecycle Action")
		a.must(a.complete("check", id, "CONTINUE"))
		a.pass(time.Second)
		if s := a.stateOf(id); s != types.LifecycleStateInService {
			t.Errorf("after both: %s", s)
		}
	})
	t.Run("abandoned: replaced", func(t *testing.T) {
		a, id := newGroup(t)
		a.must(a.complete("boot", id, "ABANDON"))
		a.pass(3 * time.Second)
		if g := a.group("g"); a.ec2State(id) != "terminated" || len(g.Instances) != 1 || g.Instances[0].ID == id {
			t.Errorf("EC2 %s, group %+v", a.ec2State(id), g.Instances)
		}
		var cancelled []string
		for _, act := range a.groups["g"].activities {
			if act.StatusCode == activityCancelled {
				cancelled = append(cancelled, act.Description)
			}
		}
		if want := []string{"Launching a new EC2 instance: " + id}; !slices.Equal(cancelled, want) {
			t.Errorf("cancelled activities %q, want %q", cancelled, want)
		}
	})
	t.Run("timed out: abandoned by default", func(t *testing.T) {
		a, id := newGroup(t)
		a.jump(61 * time.Second)
		a.pass(3 * time.Second)
		if a.ec2State(id) != "terminated" {
			t.Errorf("EC2 %s", a.ec2State(id))
		}
	})
	t.Run("terminated while it waits", func(t *testing.T) {
		a, id := newGroup(t)
		a.must(a.putHook("drain", terminating, "CONTINUE", 60))
		_, err := a.terminate(id, true)
		a.must(err)
		a.pass(2 * time.Second)
		if g := a.group("g"); len(g.Instances) != 0 || a.ec2State(id) != "terminated" {
			t.Errorf("it was never in service, so no hook of termination holds it: %+v", g.Instances)
		}
	})
}

func TestHooksAreCheckedAndShown(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 1})
	for _, tc := range []struct {
		name, text string
		err        error
	}{
		{"a transition that is none", "Lifecycle transition", a.putHook("h", "EC2_INSTANCE_TERMINATING", "CONTINUE", 60)},
		{"a result that is none", "Default result", a.putHook("h", terminating, "RETRY", 60)},
		{"too short", "between 30 and 7200", a.putHook("h", terminating, "CONTINUE", 29)},
		{"an unknown hook", "No Lifecycle Hook found with name x", a.complete("x", "i-1", "CONTINUE")},
		{"a result of an action that is none", "give CONTINUE or ABANDON", a.complete("x", "i-1", "RETRY")},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, tc.err, "ValidationError", tc.text) })
	}
	a.must(a.putHook("h", terminating, "CONTINUE", 60))
	a.must(a.putHook("a", launching, "ABANDON", 7200))
	_, err := a.AS.PutLifecycleHook(a.ctx(), &autoscaling.PutLifecycleHookInput{AutoScalingGroupName: sdk.String("g"), LifecycleHookName: sdk.String("h"), HeartbeatTimeout: sdk.Int32(90)})
	a.must(err)
	out, err := a.AS.DescribeLifecycleHooks(a.ctx(), &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: sdk.String("g")})
	if err != nil || len(out.LifecycleHooks) != 2 || *out.LifecycleHooks[1].HeartbeatTimeout != 90 || *out.LifecycleHooks[1].LifecycleTransition != terminating ||
		*out.LifecycleHooks[1].DefaultResult != "CONTINUE" || *out.LifecycleHooks[0].GlobalTimeout != 172800 {
		t.Errorf("%+v, %v", out, err)
	}
}
