package aws

import (
	"slices"

	"time"
)

// The lifecycle states of an instance in a warm pool ("Warm pools for applications with long boot times").
const (
	lifecycleWarmedPending     = "Warmed:Pending"
	lifecycleWarmedRunning     = "Warmed:Running"
	lifecycleWarmedStopped     = "Warmed:Stopped"
	lifecycleWarmedTerminating = "Warmed:Terminating"
)

// The states in which a pool keeps its instances.
const (
	poolStopped = "Stopped"
	poolRunning = "Running"
)

// poolPendingDelete is the status of a pool that ends once its instances are gone.
const poolPendingDelete = "PendingDelete"

// WarmPoolConfiguration is a group's warm pool: instances that were launched ahead and wait, stopped or running, to be
// taken into service. The group takes from it first when it grows, whatever revision its own template names by then.
type WarmPoolConfiguration struct {
	MaxGroupPreparedCapacity *int32
	MinSize                  int32
	PoolState                string
	Status                   string
}

// poolTarget is how many instances the pool shall hold: what is missing from the desired capacity to the prepared one,
// which is the group's maximum by default, and no fewer than the pool's minimum.
func (g *group) poolTarget() int {
	if g.warmPool.Status == poolPendingDelete {
		return 0
	}
	prepared := g.max
	if n := g.warmPool.MaxGroupPreparedCapacity; n != nil {
		prepared = int(*n)
	}
	return max(int(g.warmPool.MinSize), prepared-g.desired)
}

// maxWarmLaunches bounds what one round launches into a pool, whose size a caller gives. The next round goes on.
const maxWarmLaunches = 100

// reconcilePool makes one round of the group's warm pool: it moves its instances on, forgets those that are gone, and
// launches or terminates toward its size.
func (c *Cloud) reconcilePool(g *group, now time.Time) {
	if g.warmPool == nil {
		return
	}
	for _, m := range g.warm {
		c.advanceWarm(g, m, now)
	}
	g.warm = slices.DeleteFunc(g.warm, func(m *member) bool { return m.inst.state == stateTerminated })
	if g.warmPool.Status == poolPendingDelete && len(g.warm) == 0 {
		g.warmPool = nil
		return
	}
	var waiting []*member
	for _, m := range g.warm {
		if m.state != lifecycleWarmedTerminating {
			waiting = append(waiting, m)
		}
	}
	target := g.poolTarget()
	for range min(target-len(waiting), maxWarmLaunches) {
		if g.isSuspended(processLaunch) || !c.launchWarm(g, now) {
			return // after a failure the zone is in backoff: the next round tries another
		}
	}
	if !g.isSuspended(processTerminate) {
		for _, m := range waiting[min(len(waiting), target):] {
			m.state = lifecycleWarmedTerminating
			c.terminateInstance(m.inst, byWarmPool, "User initiated", now)
		}
	}
}

// advanceWarm moves an instance of the pool as far as it goes now. One that somebody ended is on its way out.
func (c *Cloud) advanceWarm(g *group, m *member, now time.Time) {
	switch {
	case m.inst.gone():
		m.state = lifecycleWarmedTerminating
	case m.state != lifecycleWarmedPending:
	case m.inst.state == stateRunning && g.warmPool.PoolState == poolRunning:
		m.state = lifecycleWarmedRunning
		m.activity.end(activitySuccessful, "", now)
	case m.inst.state == stateRunning:
		m.inst.state, m.inst.changedAt = stateStopping, now
		c.alive--
		c.moving = append(c.moving, m.inst)
	case m.inst.state == stateStopped:
		m.state = lifecycleWarmedStopped
		m.activity.end(activitySuccessful, "", now)
	}
}

// launchWarm launches one instance into the pool, in the zone that has the fewest of group and pool together.
func (c *Cloud) launchWarm(g *group, now time.Time) bool {
	perZone := g.perZone()
	for _, m := range g.warm {
		perZone[m.inst.zone]++
	}
	zone, ok := g.emptiestZone(perZone, now)
	if !ok {
		return false
	}
	before := len(g.members)
	cause := "At " + stamp(now) + " an instance was started in response to a difference between desired and actual capacity of the warm pool."
	if !c.launchMember(g, zone, cause, now) {
		return false
	}
	m := g.members[before]
	g.members = g.members[:before]
	m.state, m.inst.warm = lifecycleWarmedPending, true
	g.warm = append(g.warm, m)
	return true
}

// takeWarm moves an instance of the pool into service, one of the zone if there is one. It reports false when none is
// ready: the group launches a new one then. One that somebody ended a moment ago is not, though the pool still has it.
func (c *Cloud) takeWarm(g *group, zone, cause string, now time.Time) (tookFrom string, ok bool) {
	ready := func(m *member) bool {
		return !m.inst.gone() && (m.state == lifecycleWarmedStopped || m.state == lifecycleWarmedRunning)
	}
	i := slices.IndexFunc(g.warm, func(m *member) bool { return ready(m) && m.inst.zone == zone })
	if i < 0 {
		i = slices.IndexFunc(g.warm, ready)
	}
	if i < 0 {
		return "", false
	}
	m := g.warm[i]
	g.warm = slices.Delete(g.warm, i, i+1)
	g.members = append(g.members, m)
	m.activity = c.begin(g, "Launching a new EC2 instance from warm pool: "+m.inst.id, cause, activityPreInService, m.inst.zone, now)
	m.activity.Progress = 30
	m.state, m.inst.warm, m.passed = lifecyclePending, false, nil
	if m.inst.state == stateStopped {
		m.inst.state, m.inst.changedAt = statePending, now
		c.alive++
		c.mostAlive = max(c.mostAlive, c.alive)
		c.moving = append(c.moving, m.inst)
	} else {
		c.tell(c.cfg.Hooks.Running, m.inst) // it runs, and joins only now
	}
	return m.inst.zone, true
}
