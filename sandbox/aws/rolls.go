package aws

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"
)

// roll is a version update at work. Its phases are those of the EKS user guide, "Understand each phase of node updates".
type roll struct {
	version  string
	revision eksRevision
	force    bool // terminate a node whose pods do not leave
	minimal  bool // the strategy MINIMAL: end old nodes first, without a surge

	phase string
	since time.Time // when the phase was entered, or last got ahead
	from  int64     // the version of EKS' template before
	to    *templateVersion
	added int                  // the surge that is not yet taken back
	want  int                  // the desired capacity as EKS last set it
	nodes map[string]*rollNode // old instances that are being replaced, by id
	ended int                  // old instances that are gone
}

// The phases of a roll.
const (
	phaseSetup     = ""
	phaseScaleUp   = "scale-up"
	phaseUpgrade   = "upgrade"
	phaseScaleDown = "scale-down"
)

// rollNode is an old instance that is being replaced.
type rollNode struct {
	name  string // of its node
	state string
	since time.Time
}

// The states of an old instance.
const (
	rollDraining = "draining"
	rollCordoned = "cordoned" // empty; EKS waits for the load balancers to notice
	rollEnding   = "ending"
)

// byEKSUpdate and byEKSRollback name EKS in control.Termination.By.
const (
	byEKSUpdate   = serviceEKS + ":UpdateNodegroupVersion"
	byEKSRollback = serviceEKS + ":rollback"
)

func (c *Cloud) tendUpdate(n *nodegroup, g *group, nodes map[string]Node, now time.Time) []kubeTask {
	u := n.updates[len(n.updates)-1]
	if u.roll == nil {
		if !now.Before(u.until) {
			c.endUpdate(n, updateSuccessful, now)
		}
		return nil
	}
	r := u.roll
	switch r.phase {
	case phaseSetup:
		c.setUp(n, g, r, now)
	case phaseScaleUp:
		return c.scaleUp(n, g, r, nodes, now)
	case phaseUpgrade:
		return c.upgrade(n, g, r, nodes, now)
	case phaseScaleDown:
		c.scaleDown(n, g, r, now)
	}
	return nil
}

// endUpdate ends the update at work.
func (c *Cloud) endUpdate(n *nodegroup, status string, now time.Time, errs ...eksUpdateError) {
	u := n.updates[len(n.updates)-1]
	u.status, u.errors = status, errs
	if r := u.roll; r != nil && status == updateSuccessful {
		n.version, n.releaseVersion, n.launchTemplate, n.current = r.version, r.revision.release, r.revision.launchTemplate, r.to.number
	}
	n.enter(nodegroupActive, now)
}

// old says that a member is not made from what the roll makes.
func (r *roll) old(m *member) bool { return m.inst.version != r.to }

// setUp makes the new version of EKS' launch template and points the Auto Scaling group at it. A version that is the
// same already, left by an update that failed, is taken again: "this prevents nodes that have already been updated from
// a previous failed update from being tainted", said earlier editions of the user guide.
func (c *Cloud) setUp(n *nodegroup, g *group, r *roll, now time.Time) {
	if r.since.IsZero() {
		r.since = now
	}
	if now.Before(r.since.Add(c.eksTime(eksSetupDelay))) {
		return
	}
	for _, v := range n.template.versions {
		if reflect.DeepEqual(v.data, r.revision.data) {
			r.to = v
		}
	}
	if r.to == nil {
		v, err := c.createVersion(n.template, "", "", r.revision.data)
		if err != nil {
			c.endUpdate(n, updateFailed, now, eksUpdateError{Code: "Unknown", Message: err.Error(), ResourceIDs: []string{n.template.id}})
			return
		}
		r.to = v
	}
	r.from = n.current
	g.source = source{mixed: n.namedPolicy(r.to.number)}
	r.enter(phaseUpgrade, now)
	if !r.minimal && slices.ContainsFunc(g.members, func(m *member) bool { return m.fillsCapacity() && r.old(m) }) {
		// "Up to twice the number of Availability Zones that the Auto Scaling group is deployed in", or maxUnavailable.
		r.added = max(2*len(g.zones), n.update.sizeOf(g.capacity()))
		g.max += r.added
		g.setDesired(g.desired+r.added, now)
		r.enter(phaseScaleUp, now)
	}
	r.want = g.desired
}

func (r *roll) enter(phase string, now time.Time) { r.phase, r.since = phase, now }

// namedPolicy is the mixed instances policy with the template's name, as Auto Scaling shows it.
func (n *nodegroup) namedPolicy(version int64) *MixedInstancesPolicy {
	p := n.mixedPolicy(n.template, version)
	p.LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateName = n.template.name
	return p
}

// scaleUp waits for a Ready new node in every zone that has old ones, and then makes the old ones unschedulable.
func (c *Cloud) scaleUp(n *nodegroup, g *group, r *roll, nodes map[string]Node, now time.Time) (tasks []kubeTask) {
	covered := map[string]bool{}
	for _, m := range g.members {
		if !r.old(m) && m.state == lifecycleInService && nodes[m.inst.id].Ready {
			covered[m.inst.zone] = true
		}
	}
	for _, m := range g.members {
		if !m.fillsCapacity() || !r.old(m) {
			continue
		}
		if !covered[m.inst.zone] {
			if !now.Before(r.since.Add(c.eksTime(eksJoinTimeout))) {
				return c.rollBack(n, g, r, nodes, now, eksUpdateError{Code: issueNodeCreation, ResourceIDs: []string{g.name},
					Message: "Couldn't proceed with upgrade process as new nodes are not joining node group " + n.name})
			}
			return nil
		}
		if node, ok := nodes[m.inst.id]; ok && !node.Unschedulable {
			tasks = append(tasks, kubeTask{node: node.Name, unschedulable: true})
		}
	}
	r.enter(phaseUpgrade, now)
	return tasks
}

// upgrade replaces old nodes, at most maxUnavailable at once, in an order that is chance: drain, cordon, wait, terminate.
// The Auto Scaling group refills by itself.
func (c *Cloud) upgrade(n *nodegroup, g *group, r *roll, nodes map[string]Node, now time.Time) (tasks []kubeTask) {
	var waiting []*member
	present := map[string]*member{}
	fresh := 0
	for _, m := range g.members {
		present[m.inst.id] = m
		switch {
		case !r.old(m) && m.state == lifecycleInService && nodes[m.inst.id].Ready:
			fresh++
		case r.old(m) && !m.terminating() && m.state != lifecycleDetaching && r.nodes[m.inst.id] == nil:
			waiting = append(waiting, m)
		}
	}
	for id := range r.nodes {
		if present[id] == nil {
			delete(r.nodes, id)
			r.ended++
			r.since = now
		}
	}
	unavailable := len(r.nodes)
	if r.minimal {
		unavailable += max(0, r.ended-fresh)
	}
	limit := n.update.sizeOf(g.desired - r.added)
	for ; unavailable < limit && len(waiting) > 0; unavailable++ {
		i := c.rng.IntN(len(waiting))
		m := waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		r.nodes[m.inst.id] = &rollNode{name: nodes[m.inst.id].Name, state: rollDraining, since: now}
		r.since = now
	}
	for _, id := range slices.Sorted(maps.Keys(r.nodes)) {
		more, failure := c.replace(n, g, r, present[id], nodes, now)
		tasks = append(tasks, more...)
		if failure != nil {
			return c.rollBack(n, g, r, nodes, now, *failure)
		}
	}
	switch {
	case len(waiting) > 0 || len(r.nodes) > 0 || r.minimal && fresh < g.desired:
		if r.minimal && len(r.nodes) == 0 && !now.Before(r.since.Add(c.eksTime(eksJoinTimeout))) {
			return c.rollBack(n, g, r, nodes, now, eksUpdateError{Code: issueNodeCreation, ResourceIDs: []string{g.name},
				Message: "Couldn't proceed with upgrade process as new nodes are not joining node group " + n.name})
		}
	case r.added == 0:
		c.endUpdate(n, updateSuccessful, now)
	default:
		r.want = g.desired
		r.enter(phaseScaleDown, now)
	}
	return tasks
}

// replace moves one old instance on.
func (c *Cloud) replace(n *nodegroup, g *group, r *roll, m *member, nodes map[string]Node, now time.Time) (tasks []kubeTask, failure *eksUpdateError) {
	o := r.nodes[m.inst.id]
	node, joined := nodes[m.inst.id]
	switch {
	case o.state == rollEnding:
	case m.terminating():
		o.state = rollEnding // by somebody else
	case !joined:
		c.endOld(g, m, o, now)
	case o.state == rollDraining && !now.Before(o.since.Add(c.eksTime(eksDrainTimeout))):
		if !r.force {
			return nil, &eksUpdateError{Code: issuePodEviction, ResourceIDs: []string{node.Name},
				Message: "Reached max retries while trying to evict pods from nodes in node group " + n.name}
		}
		o.state, o.since = rollCordoned, now
	case o.state == rollDraining:
		if !node.Unschedulable {
			tasks = append(tasks, kubeTask{node: node.Name, unschedulable: true})
		}
		tasks = append(tasks, kubeTask{node: node.Name, evict: true, done: func(left []string) {
			if len(left) == 0 && o.state == rollDraining {
				o.state, o.since = rollCordoned, c.now()
			}
		}})
	case o.state == rollCordoned && !now.Before(o.since.Add(c.eksTime(eksCordonWait))):
		c.endOld(g, m, o, now)
	}
	return tasks, nil
}

func (c *Cloud) endOld(g *group, m *member, o *rollNode, now time.Time) {
	o.state, o.since = rollEnding, now
	c.beginTerminate(g, m, byEKSUpdate, "At "+stamp(now)+" instance "+m.inst.id+" was taken out of service in response to a user request.", now)
}

// scaleDown takes the surge back one by one; the Auto Scaling group chooses whom. When somebody else changed the desired
// capacity meanwhile ("if the upgrade workflow determines that the Cluster Autoscaler is scaling up"), it stops at once.
func (c *Cloud) scaleDown(n *nodegroup, g *group, r *roll, now time.Time) {
	busy := slices.ContainsFunc(g.members, func(m *member) bool { return m.terminating() })
	switch {
	case g.desired != r.want:
		g.max = max(g.desired, g.max-r.added)
		c.endUpdate(n, updateSuccessful, now)
	case busy || g.capacity() > g.desired:
	case r.added == 0:
		c.endUpdate(n, updateSuccessful, now)
	default:
		r.added--
		r.want = max(g.min, g.desired-1)
		g.setDesired(r.want, now)
		g.max--
	}
}

// rollBack ends an update that failed. EKS documents only that it fails; users tell that it "will fail out and roll
// back". Here that means: the group launches again what it did before, old nodes are schedulable again, the surge goes,
// from the fullest zones and the newest first, and what was replaced stays.
func (c *Cloud) rollBack(n *nodegroup, g *group, r *roll, nodes map[string]Node, now time.Time, failure eksUpdateError) (tasks []kubeTask) {
	g.source = source{mixed: n.namedPolicy(r.from)}
	var fresh []*member
	for _, m := range g.members {
		node, joined := nodes[m.inst.id]
		switch {
		case !m.fillsCapacity():
		case !r.old(m):
			fresh = append(fresh, m)
		case joined && node.Unschedulable:
			tasks = append(tasks, kubeTask{node: node.Name})
		}
	}
	g.max -= r.added
	g.setDesired(g.desired-r.added, now)
	perZone := g.perZone()
	for range min(len(fresh), max(0, g.capacity()-g.desired)) {
		m := slices.MaxFunc(fresh, func(a, b *member) int {
			return cmp.Or(cmp.Compare(perZone[a.inst.zone], perZone[b.inst.zone]), cmp.Compare(a.inst.seq, b.inst.seq))
		})
		fresh = slices.DeleteFunc(fresh, func(o *member) bool { return o == m })
		perZone[m.inst.zone]--
		c.beginTerminate(g, m, byEKSRollback, "At "+stamp(now)+" instance "+m.inst.id+" was taken out of service in response to a user request.", now)
	}
	c.endUpdate(n, updateFailed, now, failure)
	return tasks
}
