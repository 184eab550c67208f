package aws

import (
	"cmp"
	"slices"
)

type putWarmPoolInput struct {
	AutoScalingGroupName     string
	MaxGroupPreparedCapacity *int32
	MinSize                  *int32
	PoolState                string
	InstanceReusePolicy      *struct{ ReuseOnScaleIn *bool }
}

// putWarmPool gives a group a warm pool or changes its own. What an update leaves out falls back to its default, as the
// API reference says of a Max of -1 and of the size.
func (c *Cloud) putWarmPool(in *putWarmPoolInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	next := &WarmPoolConfiguration{MaxGroupPreparedCapacity: in.MaxGroupPreparedCapacity, MinSize: deref(in.MinSize), PoolState: cmp.Or(in.PoolState, poolStopped)}
	if n := next.MaxGroupPreparedCapacity; n != nil && *n == -1 {
		next.MaxGroupPreparedCapacity = nil
	}
	switch {
	case next.MinSize < 0 || deref(next.MaxGroupPreparedCapacity) < 0:
		return nil, validationError("The size of a warm pool must not be negative.")
	case next.PoolState != poolStopped && next.PoolState != poolRunning:
		return nil, validationError("the simulated AWS keeps warm pools Stopped or Running, not %s", next.PoolState)
	case in.InstanceReusePolicy != nil && deref(in.InstanceReusePolicy.ReuseOnScaleIn):
		return nil, validationError("the simulated AWS does not put instances back into warm pools on scale-in")
	case g.source.mixed != nil:
		return nil, validationError("You cannot add a warm pool to an Auto Scaling group that has a mixed instances policy.")
	case slices.ContainsFunc(g.hooks, func(h *LifecycleHook) bool { return h.LifecycleTransition == transitionLaunching }):
		return nil, validationError("the simulated AWS does not run the hooks of a launch for instances of a warm pool")
	case g.warmPool != nil && g.warmPool.Status == poolPendingDelete:
		return nil, validationError("The warm pool of the group is pending delete.")
	}
	g.warmPool = next
	return &struct{}{}, nil
}

type deleteWarmPoolInput struct {
	AutoScalingGroupName string
	ForceDelete          bool
}

// deleteWarmPool ends the pool and its instances. With ForceDelete it is gone at once.
func (c *Cloud) deleteWarmPool(in *deleteWarmPoolInput) (*struct{}, error) {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if g.warmPool == nil {
		return nil, validationError("No warm pool found for Auto Scaling group %s.", g.name)
	}
	gone := *g.warmPool // the old one may be in an answer that is being written
	gone.Status = poolPendingDelete
	g.warmPool = &gone
	if !in.ForceDelete {
		return &struct{}{}, nil
	}
	now := c.now()
	for _, m := range g.warm {
		c.terminateInstance(m.inst, byWarmPool, "User initiated", now)
	}
	g.warmPool, g.warm = nil, nil
	return &struct{}{}, nil
}

type describeWarmPoolInput struct {
	AutoScalingGroupName string
	MaxRecords           *int32
	NextToken            string
}

type describeWarmPoolOutput struct {
	WarmPoolConfiguration *WarmPoolConfiguration
	Instances             []asInstance
	NextToken             string
}

func (c *Cloud) describeWarmPool(in *describeWarmPoolInput) (*describeWarmPoolOutput, error) {
	size, err := recordLimit(in.MaxRecords, 50)
	if err != nil {
		return nil, err
	}
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	list := slices.Clone(g.warm)
	slices.SortFunc(list, func(a, b *member) int { return cmp.Compare(a.inst.id, b.inst.id) })
	items, next, ok := page("warm pool", list, func(m *member) string { return m.inst.id }, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	out := &describeWarmPoolOutput{WarmPoolConfiguration: g.warmPool, Instances: []asInstance{}, NextToken: next}
	for _, m := range items {
		out.Instances = append(out.Instances, m.asInstance())
	}
	return out, nil
}
