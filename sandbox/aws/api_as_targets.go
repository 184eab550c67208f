package aws

import (
	"slices"
	"strings"
)

type groupTargetsInput struct {
	AutoScalingGroupName string
	TargetGroupARNs      []string
}

// attachTargets puts a group behind target groups; its members are registered in the next round.
func (c *Cloud) attachTargets(in *groupTargetsInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	return &struct{}{}, c.attachTo(g, in.TargetGroupARNs)
}

// attachTo attaches all or none; one that is attached stays so.
func (c *Cloud) attachTo(g *group, arns []string) error {
	for _, arn := range arns {
		if c.targetGroups[arn] == nil {
			return validationError("Provided Target Groups may not be valid. Please ensure they exist and try again: %s", arn)
		}
	}
	for _, arn := range arns {
		if !slices.Contains(g.targetGroups, arn) {
			g.targetGroups = append(slices.Clip(g.targetGroups), arn)
		}
	}
	slices.Sort(g.targetGroups)
	return nil
}

// detachTargets takes a group out of target groups, and its members with it.
func (c *Cloud) detachTargets(in *groupTargetsInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	for _, arn := range in.TargetGroupARNs {
		if !slices.Contains(g.targetGroups, arn) {
			return nil, validationError("Trying to remove Target Groups that are not part of the group: %s", arn)
		}
	}
	gone := func(arn string) bool { return slices.Contains(in.TargetGroupARNs, arn) }
	for _, m := range g.members {
		for _, arn := range in.TargetGroupARNs {
			if tg := c.targetGroups[arn]; tg != nil {
				tg.deregister(m.inst.id, 0, c.now())
			}
		}
		m.balanced = slices.DeleteFunc(m.balanced, gone)
	}
	g.targetGroups = slices.DeleteFunc(slices.Clone(g.targetGroups), gone)
	return &struct{}{}, nil
}

type describeGroupTargetsInput struct {
	AutoScalingGroupName string
	NextToken            string
	MaxRecords           *int32
}

type describeGroupTargetsOutput struct {
	LoadBalancerTargetGroups []groupTargetState
	NextToken                string
}

type groupTargetState struct {
	LoadBalancerTargetGroupARN string
	State                      string
}

// describeGroupTargets lists a group's target groups: Adding until all members were registered, then InService.
func (c *Cloud) describeGroupTargets(in *describeGroupTargetsInput) (*describeGroupTargetsOutput, error) {
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	size, err := recordLimit(in.MaxRecords, 100)
	if err != nil {
		return nil, err
	}
	items, next, ok := page("group targets", g.targetGroups, strings.Clone, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	out := &describeGroupTargetsOutput{LoadBalancerTargetGroups: []groupTargetState{}, NextToken: next}
	for _, arn := range items {
		state := "InService"
		if slices.ContainsFunc(g.members, func(m *member) bool {
			return m.state == lifecycleInService && !slices.Contains(m.balanced, arn)
		}) {
			state = "Adding"
		}
		out.LoadBalancerTargetGroups = append(out.LoadBalancerTargetGroups, groupTargetState{LoadBalancerTargetGroupARN: arn, State: state})
	}
	return out, nil
}

// trafficSource is a target group as newer clients read it.
type trafficSource struct {
	Identifier string
	Type       string
}

func (g *group) trafficSources() []trafficSource {
	out := []trafficSource{}
	for _, arn := range g.targetGroups {
		out = append(out, trafficSource{Identifier: arn, Type: "elbv2"})
	}
	return out
}
