package aws

import (
	"cmp"
	"slices"
)

type setDesiredInput struct {
	AutoScalingGroupName string
	DesiredCapacity      *int32
	HonorCooldown        bool
}

func (c *Cloud) setDesiredCapacity(in *setDesiredInput) error {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if in.DesiredCapacity == nil {
		return validationError("1 validation error detected: Value null at 'desiredCapacity' failed to satisfy constraint: Member must not be null")
	}
	n, now := int(*in.DesiredCapacity), c.now()
	switch {
	case n > g.max:
		return validationError("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", n, g.max)
	case n < g.min:
		return validationError("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", n, g.min)
	case in.HonorCooldown && now.Before(g.coolUntil):
		return failf("ScalingActivityInProgress", "Scaling activity is in cooldown until %s and blocks this action", stamp(g.coolUntil))
	}
	g.setDesired(n, now)
	return nil
}

type terminateInput struct {
	InstanceID                     string `q:"InstanceId"`
	ShouldDecrementDesiredCapacity *bool
}

type activityOutput struct {
	Activity *Activity
}

// terminateInstanceInGroup takes one instance out. Scale-in protection and suspended processes do not stop it ("does
// not protect … from manual termination"). Without decrement the group refills, unless Launch is suspended.
//
// An instance that is terminating already answers with its activity again, and a decrement happens again: the desired
// capacity is the group's, not the instance's. AWS does not document this; kubernetes/autoscaler#5411 tells of such
// calls that succeed while the desired size dwindles, and skips terminating instances since. The harsher reading is
// the one to test against.
func (c *Cloud) terminateInstanceInGroup(in *terminateInput) (*activityOutput, error) {
	if in.ShouldDecrementDesiredCapacity == nil {
		return nil, validationError("1 validation error detected: Value null at 'shouldDecrementDesiredCapacity' failed to satisfy constraint: Member must not be null")
	}
	g, m, err := c.findMember(in.InstanceID)
	if err != nil {
		return nil, err
	}
	now := c.now()
	cause := "At " + stamp(now) + " instance " + m.inst.id + " was taken out of service in response to a user request"
	if *in.ShouldDecrementDesiredCapacity {
		if g.desired <= g.min {
			return nil, validationError("Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate group's min size constraint. "+
				"Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", g.min)
		}
		cause += ", shrinking the capacity from " + itoa(g.desired) + " to " + itoa(g.desired-1)
		g.desired--
	}
	if m.terminating() {
		return &activityOutput{Activity: m.activity}, nil
	}
	return &activityOutput{Activity: c.beginTerminate(g, m, byTerminateInGroup, cause+".", now)}, nil
}

// maxProtectionIDs is how many instances one SetInstanceProtection takes.
const maxProtectionIDs = 50

type setProtectionInput struct {
	InstanceIDs          []string `q:"InstanceIds"`
	AutoScalingGroupName string
	ProtectedFromScaleIn *bool
}

// setInstanceProtection changes all of the instances or none.
func (c *Cloud) setInstanceProtection(in *setProtectionInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	switch {
	case in.ProtectedFromScaleIn == nil:
		return nil, validationError("1 validation error detected: Value null at 'protectedFromScaleIn' failed to satisfy constraint: Member must not be null")
	case len(in.InstanceIDs) == 0 || len(in.InstanceIDs) > maxProtectionIDs:
		return nil, validationError("1 validation error detected: %d instance ids at 'instanceIds' failed to satisfy constraint: Member must have length between 1 and %d", len(in.InstanceIDs), maxProtectionIDs)
	}
	var list []*member
	for _, id := range in.InstanceIDs {
		owner, m, err := c.findMember(id)
		if err != nil || owner != g {
			return nil, validationError("The instance %s is not part of Auto Scaling group %s.", id, g.name)
		}
		if m.state != lifecycleInService {
			return nil, validationError("The instance %s is not in InService or EnteringStandby or Standby.", id)
		}
		list = append(list, m)
	}
	for _, m := range list {
		m.protected = *in.ProtectedFromScaleIn
	}
	return &struct{}{}, nil
}

type setHealthInput struct {
	InstanceID               string `q:"InstanceId"`
	HealthStatus             string
	ShouldRespectGracePeriod *bool
}

// setInstanceHealth marks an instance; an unhealthy one is replaced by the next rounds. The grace period is respected
// by default.
func (c *Cloud) setInstanceHealth(in *setHealthInput) error {
	g, m, err := c.findMember(in.InstanceID)
	if err != nil {
		return err
	}
	if in.HealthStatus != "Healthy" && in.HealthStatus != "Unhealthy" {
		return validationError("Invalid health status %s: give Healthy or Unhealthy", in.HealthStatus)
	}
	respect := in.ShouldRespectGracePeriod == nil || *in.ShouldRespectGracePeriod
	if respect && c.now().Before(m.inst.launchTime.Add(seconds(&g.healthGrace))) {
		return nil
	}
	m.healthy = in.HealthStatus == "Healthy"
	return nil
}

type processesInput struct {
	AutoScalingGroupName string
	ScalingProcesses     []string
}

// suspendProcesses suspends the named processes, all of them without names.
func (c *Cloud) suspendProcesses(in *processesInput) error {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if len(in.ScalingProcesses) == 0 {
		in.ScalingProcesses = processes
	}
	return g.suspend(in.ScalingProcesses, c.now())
}

func (c *Cloud) resumeProcesses(in *processesInput) error {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if len(in.ScalingProcesses) == 0 {
		in.ScalingProcesses = processes
	}
	for _, p := range in.ScalingProcesses {
		if !slices.Contains(processes, p) {
			return validationError("Invalid process name %s", p)
		}
	}
	for _, p := range in.ScalingProcesses {
		delete(g.suspended, p)
	}
	return nil
}

type describeActivitiesInput struct {
	ActivityIDs          []string `q:"ActivityIds"`
	AutoScalingGroupName string
	IncludeDeletedGroups bool
	MaxRecords           *int32
	NextToken            string
}

type describeActivitiesOutput struct {
	Activities []Activity
	NextToken  string
}

// describeScalingActivities shows the newest first.
func (c *Cloud) describeScalingActivities(in *describeActivitiesInput) (*describeActivitiesOutput, error) {
	size, err := recordLimit(in.MaxRecords, 100)
	if err != nil {
		return nil, err
	}
	var list []*Activity
	for _, g := range c.groupOrder {
		if in.AutoScalingGroupName == "" || in.AutoScalingGroupName == g.name {
			list = append(list, g.activities...)
		}
	}
	if in.AutoScalingGroupName != "" && c.groups[in.AutoScalingGroupName] == nil && !in.IncludeDeletedGroups {
		return nil, validationError("AutoScalingGroup name not found - AutoScalingGroup %s not found", in.AutoScalingGroupName)
	}
	if in.IncludeDeletedGroups {
		for _, a := range c.endedGroups {
			if in.AutoScalingGroupName == "" || in.AutoScalingGroupName == a.AutoScalingGroupName {
				list = append(list, a)
			}
		}
	}
	if len(in.ActivityIDs) > 0 {
		list = slices.DeleteFunc(list, func(a *Activity) bool { return !slices.Contains(in.ActivityIDs, a.ActivityID) })
	}
	slices.SortFunc(list, func(a, b *Activity) int { return cmp.Compare(a.order, b.order) })
	slices.Reverse(list)
	items, next, ok := page("activities", list, (*Activity).pageKey, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	out := &describeActivitiesOutput{Activities: []Activity{}, NextToken: next}
	for _, a := range items {
		out.Activities = append(out.Activities, *a)
	}
	return out, nil
}
