package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// noRoomFor is how long a pod may find no node before the old nodes take pods
// again: the cluster autoscaler looks every 10 s, and a scheduler that has room
// needs less.
const noRoomFor = 10 * time.Second

// fencing is the state of the cordon up front.
type fencing struct {
	// began is when the first group was fenced; zero: none is.
	began time.Time
	// eased is when the groups whose turn has not come were opened for good, because
	// a pod found no room; zero: they were not.
	eased time.Time
	// lifted: a pod still found no room, so all old nodes take pods again, for good.
	lifted bool
}

// fence cordons the old nodes of a group that wait, so that what a drain moves
// lands on new nodes only: the taint alone is a preference, and in clusters of
// more than 100 nodes the scheduler does not look at all of them. It comes before
// the first drain after the canary, once there is a new node. Where nodes may be
// missing instead (maxUnavailable) the old ones are needed.
//
// The groups of the same role whose turn has not come are fenced with the first:
// what lands there moves twice. They are the first to be opened where room is
// short.
//
// Its patches go before the cordons of drains that begin in the same Step: what
// those move must find the others closed.
func (e *Engine) fence() {
	if e.cfg.Spec.Strategy.Attract != plan.AttractCordon || e.cfg.DrainOnly || e.phase != phaseRunning {
		return
	}
	if !e.fencing.lifted {
		e.checkRoom()
	}
	earlier := e.ops
	e.ops = nil
	for _, g := range e.groups {
		on := e.wantsFence(g)
		if on == g.fenced {
			continue
		}
		if g.fenced = on; e.fencing.began.IsZero() {
			e.fencing.began = e.now
		}
		for _, m := range g.members {
			if m.old && m.phase == memberWaiting && m.n != nil {
				e.setFence(g, m, on)
			}
		}
	}
	e.ops = append(e.ops, earlier...)
}

// wantsFence tells whether the old nodes of a group that wait are to be cordoned.
func (e *Engine) wantsFence(g *group) bool {
	switch g.phase {
	case groupActive:
		return g.Unavailable == 0 && !e.fencing.lifted && (g.fenced || e.hasRoom(g))
	case groupWaiting:
		return g.Unavailable == 0 && !e.fencing.lifted && e.fencing.eased.IsZero() && (g.fenced || slices.ContainsFunc(e.groups, func(o *group) bool {
			return o.phase == groupActive && o.fenced && o.Role == g.Role
		}))
	case groupGivingBack, groupRestoring, groupFinished:
	}
	return g.fenced // no old node of it waits
}

// hasRoom tells whether the group has new nodes that take pods, and the canary,
// where there is one, has been moved.
func (e *Engine) hasRoom(g *group) bool {
	if e.cfg.Spec.Strategy.Canary.Enabled && len(g.Nodes) > 1 && g.canaryAt.IsZero() && g.census.old[memberTerminating] == 0 {
		return false
	}
	return g.census.in[memberReady] > 0
}

// setFence cordons one node that waits, or takes that cordon off. What a person
// cordoned is left as it is.
func (e *Engine) setFence(g *group, m *member, on bool) {
	// What the node shows may be behind what we did.
	ours := m.ahead || m.n.Annotations[model.AnnotationCordoned] != ""
	if on && (m.n.Unschedulable || m.ahead) || !on && !ours {
		return
	}
	m.ahead = on
	p := &NodePatch{UID: m.n.UID, Unschedulable: &on}
	if on {
		p.SetAnnotations = map[string]string{model.AnnotationRotation: e.cfg.Rotation, model.AnnotationCordoned: model.CordonedAhead}
	} else {
		p.DropAnnotations = []string{model.AnnotationCordoned}
	}
	e.marked[m.node] = true
	e.addOp(&op{purpose: forTaint, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: m.node, Patch: p}})
}

// watchFence sees that a person takes a node back that only waits: its next
// cordon is that person's.
func (e *Engine) watchFence(g *group, m *member) {
	switch ahead := cordonedAhead(m.n); {
	case ahead && m.n.Unschedulable:
		m.fenceSeen = true
	case ahead && m.fenceSeen && e.patching[m.node] == 0:
		m.fenceSeen, m.ahead = false, false
		e.addOp(&op{purpose: forTaint, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: m.node,
			Patch: &NodePatch{UID: m.n.UID, DropAnnotations: []string{model.AnnotationCordoned}}}})
	}
}

// cordonedAhead tells whether the node's cordon is one up front.
func cordonedAhead(n *model.Node) bool {
	return n != nil && n.Annotations[model.AnnotationCordoned] == model.CordonedAhead
}

// checkRoom sees whether a pod has found no node for too long, and opens nodes for
// it: those of the groups whose turn has not come, and if that is not enough, all.
// A pod that had found none for as long before does not count: it is not for want
// of old nodes.
func (e *Engine) checkRoom() {
	began, found := e.fencing.began, model.PodKey{}
	if began.IsZero() {
		return
	}
	for key, since := range e.w.unbound {
		if since.Add(noRoomFor).Before(began) {
			continue
		}
		for _, later := range []time.Time{began, e.fencing.eased} {
			if since.Before(later) {
				since = later
			}
		}
		if e.after(since, noRoomFor) && (found == model.PodKey{} || cmp.Or(cmp.Compare(key.Namespace, found.Namespace), cmp.Compare(key.Name, found.Name)) < 0) {
			found = key
		}
	}
	if found == (model.PodKey{}) {
		return
	}
	which := "the old nodes that wait"
	if e.fencing.eased.IsZero() && slices.ContainsFunc(e.groups, func(g *group) bool { return g.phase == groupWaiting && g.fenced }) {
		e.fencing.eased = e.now
		which = "the nodes of the groups whose turn has not come"
	} else {
		e.fencing.lifted = true
	}
	e.record(event.Event{Kind: event.Waiting, Pod: found.String(), Code: "no-room",
		Message: fmt.Sprintf("pod %s has found no node for %s: %s take pods again", found, noRoomFor, which)})
}
