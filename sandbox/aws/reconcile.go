package aws

import (
	"cmp"
	"slices"
	"time"
)

// reconcile makes one round of a group: it notices what became of its instances, replaces the unhealthy ones, and
// launches or terminates toward the desired capacity. Its cost is proportional to the group's size. Caller holds mu.
func (c *Cloud) reconcile(g *group, now time.Time) {
	c.checkHealth(g, now)
	for _, m := range g.members {
		c.advanceMember(g, m, now)
	}
	c.balance(g, now)
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return m.state == lifecycleTerminated || m.state == lifecycleDetached })
	if g.deleting && len(g.members) == 0 {
		c.removeGroup(g)
		return
	}
	count := g.capacity()
	switch {
	case count < g.desired:
		c.scaleOut(g, count, now)
	case count > g.desired:
		c.scaleIn(g, count, now)
	default:
		g.why = "" // reached: what comes next has a cause of its own
		c.rebalance(g, count, now)
	}
	c.reconcilePool(g, now)
}

// capacity counts the members that fill the desired capacity.
func (g *group) capacity() int {
	n := 0
	for _, m := range g.members {
		if m.fillsCapacity() {
			n++
		}
	}
	return n
}

// checkHealth marks members whose EC2 instance went away behind the group's back, and ends the unhealthy ones so that
// they are replaced. The two are processes of their own and can be suspended each.
func (c *Cloud) checkHealth(g *group, now time.Time) {
	for _, m := range g.members {
		if !m.fillsCapacity() {
			continue
		}
		if m.inst.gone() && !g.isSuspended(processHealthCheck) {
			m.healthy = false
		}
		if m.healthy || g.isSuspended(processReplaceUnhealthy) || g.isSuspended(processTerminate) {
			continue
		}
		what := "an instance was taken out of service in response to an instance health check set by a user."
		if m.inst.gone() {
			what = "an instance was taken out of service in response to an EC2 health check indicating it has been terminated or stopped."
		}
		c.beginTerminate(g, m, byHealthCheck, "At "+stamp(now)+" "+what, now)
	}
}

// scaleOut launches what is missing, each instance in the zone that has the fewest.
func (c *Cloud) scaleOut(g *group, count int, now time.Time) {
	if g.isSuspended(processLaunch) {
		return
	}
	perZone := g.perZone()
	for ; count < g.desired; count++ {
		zone, ok := g.emptiestZone(perZone, now)
		if !ok {
			return // every zone failed a moment ago; the backoff ends by itself
		}
		cause := g.why + "At " + stamp(now) + " an instance was started in response to a difference between desired and actual capacity, increasing the capacity from " +
			itoa(count) + " to " + itoa(count+1) + "."
		if from, ok := c.takeWarm(g, zone, cause, now); ok {
			perZone[from]++
			continue
		}
		if !c.launchMember(g, zone, cause, now) {
			count-- // the next zone may have room; this one is in backoff now
			continue
		}
		perZone[zone]++
	}
}

// perZone counts the members that fill the desired capacity, by zone.
func (g *group) perZone() map[string]int {
	n := map[string]int{}
	for _, m := range g.members {
		if m.fillsCapacity() {
			n[m.inst.zone]++
		}
	}
	return n
}

// emptiestZone is where the next instance goes: the zone with the fewest instances that is not in backoff, the first in
// the group's order among equals.
func (g *group) emptiestZone(perZone map[string]int, now time.Time) (string, bool) {
	best, found := "", false
	for _, z := range g.zones {
		if now.Before(g.backoff[z]) {
			continue
		}
		if !found || perZone[z] < perZone[best] {
			best, found = z, true
		}
	}
	return best, found
}

// launchMember launches one instance in a zone. A failure becomes a failed activity and leaves the zone alone for a
// while; AWS then tries the group's other zones.
func (c *Cloud) launchMember(g *group, zone, cause string, now time.Time) bool {
	l, override, err := c.planLaunch(g, zone)
	var i *instance
	if err == nil {
		i, err = c.launchInstance(l, now)
	}
	if err != nil {
		a := c.begin(g, "Launching a new EC2 instance.  Status Reason: "+asError(serviceEC2, "RunInstances", err).Message+" Launching EC2 instance failed.",
			cause, activityFailed, zone, now)
		a.end(activityFailed, asError(serviceEC2, "RunInstances", err).Message+" Launching EC2 instance failed.", now)
		g.backoff[zone] = now.Add(c.cfg.LaunchBackoff)
		return false
	}
	if n := c.nodegroupOf(g.name); n != nil {
		i.identity = n.identity(i)
	}
	m := &member{inst: i, state: lifecyclePending, healthy: true, protected: g.protectNew, override: override}
	m.activity = c.begin(g, "Launching a new EC2 instance: "+i.id, cause, activityPreInService, zone, now)
	m.activity.Progress = 30
	g.members = append(g.members, m)
	g.coolUntil = now.Add(time.Duration(g.cooldown) * time.Second)
	return true
}

// maxVictims bounds what one round takes away, because each choice looks at the whole group. The next round goes on.
const maxVictims = 100

// scaleIn takes away what is too much. Protected instances stay, even when the group then stays too large: "Auto Scaling
// does not terminate instances that are protected from scale in", its guide says, and the desired capacity is kept.
func (c *Cloud) scaleIn(g *group, count int, now time.Time) {
	if g.isSuspended(processTerminate) {
		return
	}
	perZone := g.perZone()
	for range min(count-g.desired, maxVictims) {
		m := c.victim(g, perZone, now)
		if m == nil {
			return
		}
		perZone[m.inst.zone]--
		c.beginTerminate(g, m, byScaleIn, g.why+"At "+stamp(now)+" an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from "+
			itoa(count)+" to "+itoa(count-1)+".  At "+stamp(now)+" instance "+m.inst.id+" was selected for termination.", now)
		count--
	}
}

// rebalance evens out the zones of a group that is complete: it launches in an underfull zone first and lets the
// scale-in that follows terminate in the overfull one, so that capacity never drops ("Auto Scaling launches new
// instances before terminating the earlier ones … can temporarily exceed the maximum capacity by 10 percent or one
// instance"). One instance at a time is within both limits.
//
// Suspending Launch or Terminate stops it as well, since it needs both.
func (c *Cloud) rebalance(g *group, count int, now time.Time) {
	if count == 0 || g.isSuspended(processAZRebalance) || g.isSuspended(processLaunch) || g.isSuspended(processTerminate) {
		return
	}
	for _, m := range g.members {
		if m.state != lifecycleInService && m.state != lifecycleStandby {
			return // it waits until the group has settled
		}
	}
	perZone := g.perZone()
	low, ok := g.emptiestZone(perZone, now)
	if !ok {
		return
	}
	high := slices.MaxFunc(g.zones, func(a, b string) int { return cmp.Compare(perZone[a], perZone[b]) })
	movable := slices.ContainsFunc(g.members, func(m *member) bool { return m.inst.zone == high && !m.protected && m.fillsCapacity() })
	if perZone[high]-perZone[low] < 2 || !movable {
		return
	}
	cause := "At " + stamp(now) + " an instance was launched to aid in balancing the group's zones."
	c.launchMember(g, low, cause, now)
}

// removeGroup forgets a deleted group; its activities stay readable for DescribeScalingActivities.
func (c *Cloud) removeGroup(g *group) {
	delete(c.groups, g.name)
	c.groupOrder = slices.DeleteFunc(c.groupOrder, func(o *group) bool { return o == g })
	c.endedGroups = append(c.endedGroups, g.activities...)
	if n := len(c.endedGroups); n > maxActivities {
		c.endedGroups = c.endedGroups[n-maxActivities:]
	}
}
