package aws

import (
	"slices"
	"strings"
	"time"
)

// maxMembershipIDs is how many instances one call of DetachInstances or AttachInstances takes (their documentation),
// and of EnterStandby and ExitStandby.
const maxMembershipIDs = 20

type membershipInput struct {
	InstanceIDs                    []string `q:"InstanceIds"`
	AutoScalingGroupName           string
	ShouldDecrementDesiredCapacity *bool
}

type activitiesOutput struct {
	Activities []*Activity
}

// membersNamed finds the instances of a call, each once, all members of the group in one of the states given; what is
// wrong with one is wrong with the call.
func (c *Cloud) membersNamed(g *group, ids []string, states ...string) ([]*member, error) {
	if len(ids) == 0 || len(ids) > maxMembershipIDs {
		return nil, validationError("1 validation error detected: %d instance ids at 'instanceIds' failed to satisfy constraint: Member must have length between 1 and %d", len(ids), maxMembershipIDs)
	}
	var list []*member
	for _, id := range ids {
		owner, m, err := c.findMember(id)
		switch {
		case err != nil || owner != g:
			return nil, validationError("The instance %s is not part of Auto Scaling group %s.", id, g.name)
		case !slices.Contains(states, m.state):
			return nil, validationError("The instance %s is not in %s.", id, strings.Join(states, " or "))
		case !slices.Contains(list, m):
			list = append(list, m)
		}
	}
	return list, nil
}

// takeOut checks a decrement of the desired capacity, which must not fall below the minimum, and makes it. Without it
// the next round finds the group too small and launches replacements.
func (g *group) takeOut(n int, decrement *bool, verb string) error {
	switch {
	case decrement == nil:
		return validationError("1 validation error detected: Value null at 'shouldDecrementDesiredCapacity' failed to satisfy constraint: Member must not be null")
	case !*decrement:
		return nil
	case g.desired-n < g.min:
		return validationError("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To %s %d instance, please update the AutoScalingGroup sizes appropriately.",
			g.name, g.min, g.max, g.desired, verb, n)
	}
	g.desired -= n
	return nil
}

// detachInstances takes instances out of the group; they run on, on their own. It answers at once and the instances are
// Detaching until the group's next round. A detached instance keeps its tags but the one that Auto Scaling set itself.
func (c *Cloud) detachInstances(in *membershipInput) (*activitiesOutput, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	list, err := c.membersNamed(g, in.InstanceIDs, lifecycleInService, lifecycleStandby)
	if err != nil {
		return nil, err
	}
	if err := g.takeOut(counted(list), in.ShouldDecrementDesiredCapacity, "detach"); err != nil {
		return nil, err
	}
	return c.leave(g, list, lifecycleDetaching, "Detaching EC2 instance: ", "detached in response to a user request", c.now()), nil
}

// enterStandby takes instances out of service; they stay members that fill no capacity.
func (c *Cloud) enterStandby(in *membershipInput) (*activitiesOutput, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	list, err := c.membersNamed(g, in.InstanceIDs, lifecycleInService)
	if err != nil {
		return nil, err
	}
	if err := g.takeOut(len(list), in.ShouldDecrementDesiredCapacity, "place into standby"); err != nil {
		return nil, err
	}
	return c.leave(g, list, lifecycleEnteringStandby, "Moving EC2 instance to Standby: ", "moved to standby in response to a user request", c.now()), nil
}

func counted(list []*member) (n int) {
	for _, m := range list {
		if m.fillsCapacity() {
			n++
		}
	}
	return n
}

func (c *Cloud) leave(g *group, list []*member, state, description, what string, now time.Time) *activitiesOutput {
	out := &activitiesOutput{Activities: []*Activity{}}
	for _, m := range list {
		m.state = state
		c.leaveBalancers(g, m, now)
		m.balanced = nil // one that comes back is registered anew
		m.activity = c.begin(g, description+m.inst.id, "At "+stamp(now)+" instance "+m.inst.id+" was "+what+".", activityInProgress, m.inst.zone, now)
		m.activity.Progress = 50
		out.Activities = append(out.Activities, m.activity)
	}
	return out
}

// exitStandby puts instances back into service. The desired capacity grows with them and may not pass the maximum.
func (c *Cloud) exitStandby(in *struct {
	InstanceIDs          []string `q:"InstanceIds"`
	AutoScalingGroupName string
}) (*activitiesOutput, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	list, err := c.membersNamed(g, in.InstanceIDs, lifecycleStandby)
	if err != nil {
		return nil, err
	}
	if err := g.takeIn(len(list), "take out of standby"); err != nil {
		return nil, err
	}
	return c.enter(g, list, "Moving EC2 instance out of Standby: ", "moved out of standby in response to a user request", c.now()), nil
}

// attachInstances makes running instances that no group has members of one, and its desired capacity grows with them.
func (c *Cloud) attachInstances(in *struct {
	InstanceIDs          []string `q:"InstanceIds"`
	AutoScalingGroupName string
}) error {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if len(in.InstanceIDs) == 0 || len(in.InstanceIDs) > maxMembershipIDs {
		return validationError("1 validation error detected: %d instance ids at 'instanceIds' failed to satisfy constraint: Member must have length between 1 and %d", len(in.InstanceIDs), maxMembershipIDs)
	}
	var list []*member
	for _, id := range slices.Compact(slices.Sorted(slices.Values(in.InstanceIDs))) {
		i := c.instances[id]
		switch {
		case i == nil:
			return validationError("Invalid Instance ID %s.", id)
		case i.group != "":
			return validationError("Instance %s is already in an Auto Scaling group.", id)
		case i.state != stateRunning:
			return validationError("Instance %s is not in correct state. Instance(s) must be in 'running' state.", id)
		case !slices.Contains(g.zones, i.zone):
			return validationError("Instance %s is in availability zone %s, which the group does not use.", id, i.zone)
		}
		list = append(list, &member{inst: i, healthy: true, protected: g.protectNew})
	}
	if err := g.takeIn(len(list), "attach"); err != nil {
		return err
	}
	for _, m := range list {
		m.inst.group = g.name
		m.inst.tags[tagGroupName] = g.name
	}
	g.members = append(g.members, list...)
	c.enter(g, list, "Attaching an existing EC2 instance: ", "attached in response to a user request", c.now())
	return nil
}

// takeIn lets the desired capacity grow by what joins.
func (g *group) takeIn(n int, verb string) error {
	if g.desired+n > g.max {
		return validationError("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To %s %d instance, please update the AutoScalingGroup sizes appropriately.",
			g.name, g.min, g.max, g.desired, verb, n)
	}
	g.desired += n
	return nil
}

// enter sends members through Pending, and so through the hooks of a launch, as the guide's diagram shows.
func (c *Cloud) enter(g *group, list []*member, description, what string, now time.Time) *activitiesOutput {
	out := &activitiesOutput{Activities: []*Activity{}}
	for _, m := range list {
		m.state, m.passed = lifecyclePending, nil
		m.activity = c.begin(g, description+m.inst.id, "At "+stamp(now)+" instance "+m.inst.id+" was "+what+".", activityPreInService, m.inst.zone, now)
		m.activity.Progress = 30
		out.Activities = append(out.Activities, m.activity)
	}
	return out
}

// advanceLeaving ends the transition of a member that leaves service without ending.
func (c *Cloud) advanceLeaving(m *member, now time.Time) {
	m.activity.end(activitySuccessful, "", now)
	if m.state == lifecycleEnteringStandby {
		m.state = lifecycleStandby
		return
	}
	m.state = lifecycleDetached
	m.inst.group = ""
	delete(m.inst.tags, tagGroupName)
}
