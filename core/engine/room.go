package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/fit"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// roomHolds is how long an answer about the cluster's room is taken for: it
// costs a look at every pod, which 150,000 of them make a tenth of a second.
const roomHolds = 30 * time.Second

// roomPause is how long nodes that came up are gathered before a node that has waited
// for room is looked at again: in a large cluster several come up in each second.
const roomPause = 2 * time.Second

// room is the last answer about the cluster's room, for the nodes of one group.
type room struct {
	at  time.Time // zero: never asked
	why string    // why no node may go now; empty: so many may
	// sure: by the sums, so that no arrangement helps; else the scheduler would find no
	// place for some pod, with the others where they are.
	sure bool
	// good is how many more nodes may go by this answer, and usable how many there
	// were of all groups then: one that came up since may have room.
	good, usable int
}

// noRoom says why the member's pods would find no room if its node went now;
// empty: nothing speaks against it, and it goes. The plan has asked the same before the
// start; this is for what others started since, and for nodes that go before the
// surge is up. Where the sum of what is asked for is more than the sum of what is free,
// the node is held back until that changes; any less certain word could hold up a
// rotation that would go through, and holds a node back only as long as something is
// on its way that may bring room.
func (e *Engine) noRoom(m *member) string {
	s := e.cfg.Spec.Strategy
	n := e.w.nodes[m.node]
	// What is cordoned up front takes pods again once they need it.
	fenced := s.Attract == plan.AttractCordon && m.g.Unavailable == 0
	if cmp.Or(s.CapacityCheck, plan.CapacityRefuse) != plan.CapacityRefuse || fenced || e.cfg.DrainOnly || n == nil || !n.Allocatable.Known() {
		return ""
	}
	r := &m.g.room
	if r.at.IsZero() || e.now.Sub(r.at) >= roomHolds || r.why == "" && r.good == 0 || r.why != "" && e.usable() > r.usable && e.after(r.at, roomPause) {
		e.askRoom(m)
	}
	// Where the plan counts on a surge, and all of it is there, nothing more is to be
	// waited for: pods may be without a node until the replacement is up.
	g := m.g
	if waits := r.sure && (g.Surge == 0 || g.surging || !e.arrived(g)); r.why != "" && (waits || e.roomComes(g)) {
		e.wake(r.at.Add(roomHolds))
		return r.why
	}
	r.good--
	if r.why != "" && !r.sure {
		*r = room{} // it was about this node
	}
	for _, o := range e.groups { // what they were told of counted on room that this one takes
		if o != g && o.room.why == "" {
			o.room.good = 0
		}
	}
	return ""
}

// usable counts the nodes of all groups that carry their share.
func (e *Engine) usable() int {
	n := 0
	for _, g := range e.groups {
		n += g.census.usable
	}
	return n
}

// roomComes tells whether there may soon be more room, in whichever group: replacements
// boot or are owed, or nodes are drained and end. A group waits for that no longer than
// a replacement may take. What its provider adds in a roll of its own is not known.
func (e *Engine) roomComes(g *group) bool {
	if g.Roll != nil || e.after(g.lastProgress, e.cfg.Spec.Gates.NodeReady.Timeout) {
		return false
	}
	return slices.ContainsFunc(e.groups, func(o *group) bool {
		in := &o.census.in
		return o.phase == groupActive && o.Roll == nil &&
			(o.surging || in[memberCordoning]+in[memberDraining]+in[memberTerminating] > 0 || !e.arrived(o))
	})
}

// askRoom asks for as many nodes as may go together; where they would find none,
// for this one alone. Those that a provider may be draining go in any case.
func (e *Engine) askRoom(m *member) {
	g := m.g
	going := []*member{m}
	if g.Roll != nil {
		g.room = room{at: e.now, usable: e.usable(), good: 1}
		g.room.why, g.room.sure = e.lacksRoom(append(going, e.providersNodes(g, m)...))
		return
	}
	for _, o := range g.members {
		if len(going) >= g.Surge+g.Unavailable {
			break
		}
		if o != m && o.old && o.phase == memberWaiting && o.n != nil {
			going = append(going, o)
		}
	}
	g.room = room{at: e.now, usable: e.usable(), good: len(going)}
	if why, sure := e.lacksRoom(going); why != "" {
		g.room.good, g.room.why, g.room.sure = 1, why, sure
		if len(going) > 1 {
			g.room.why, g.room.sure = e.lacksRoom(going[:1])
		}
	}
}

// lacksRoom says why the pods of nodes would find no room, beside those that have
// none yet and those of the nodes that are being drained or end, and whether that is sure.
func (e *Engine) lacksRoom(going []*member) (why string, sure bool) {
	if fit.Autoscaler(slices.Collect(maps.Values(e.w.pods))) != "" {
		return "", false
	}
	for _, g := range e.w.groups {
		if g.Traits.Refill == model.RefillScheduler {
			return "", false // its provisioner adds nodes for pods that have none
		}
	}
	var nodes, drained []string
	for _, m := range going {
		nodes = append(nodes, m.node)
	}
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase == memberCordoning || m.phase == memberDraining || m.phase == memberTerminating && m.node != "" {
				drained = append(drained, m.node)
			}
		}
	}
	nodes = append(nodes, drained...)
	v := e.placed(nodes)
	if v.Short == "" {
		if v.Unplaced == 0 {
			return "", false
		}
		// Those that find no place in any case are no reason.
		before := len(e.w.unbound)
		if len(drained) > 0 {
			before = e.placed(drained).Unplaced
		}
		if v.Unplaced <= before {
			return "", false
		}
	}
	why = fmt.Sprintf("the pods of node %s would find no room", nodes[0])
	if sure = v.Short != ""; sure {
		why += ": " + v.Short
	}
	if len(v.Named) > 0 {
		why += fmt.Sprintf("; the first is %s (%s)", v.Named[0].Pod, v.Named[0].Why)
	}
	return why, sure
}

// placed tries to find places for the pods of nodes, at least one, and for those that
// have none or will be made anew.
func (e *Engine) placed(nodes []string) fit.Verdict {
	q := fit.Question{FirstWindow: true, Groups: []fit.Group{{Nodes: nodes, Unavailable: len(nodes)}},
		Nodes: slices.Collect(maps.Values(e.w.nodes)), Leaves: func(p *model.Pod) bool { return e.policy.NeedsRoom(p, e.now) }}
	owed := e.owed()
	for _, p := range e.w.pods {
		if _, homeless := e.w.unbound[p.PodKey]; homeless { // it has to find room as if it left this node
			moved := *p
			moved.Node = nodes[0]
			p = &moved
		}
		q.Pods = append(q.Pods, p)
		if o := owed[p.Owner]; o != nil {
			o.see(p)
		}
	}
	for _, o := range owed {
		for range o.count {
			if o.like != nil {
				q.Pods = append(q.Pods, o.another(nodes[0]))
			}
		}
	}
	return fit.Check(q)[0]
}

// owedPods are pods of a controller that drains have moved, and that it has not made
// anew yet: they need room as well.
type owedPods struct {
	count int        // less than 1: none; while they are counted, as many as are wanted
	like  *model.Pod // the first by name; nil: none is left to see what they ask for
}

// owed finds the controllers whose pods drains have moved, and how many pods each wants.
func (e *Engine) owed() map[model.WorkloadKey]*owedPods {
	owed := make(map[model.WorkloadKey]*owedPods)
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			for _, k := range slices.AppendSeq(slices.Clone(m.verify.touched), maps.Keys(m.drain.touched)) {
				owed[k] = &owedPods{count: e.w.workloads[k].Desired}
			}
		}
	}
	return owed
}

// see counts a pod that is there.
func (o *owedPods) see(p *model.Pod) {
	if !p.Terminating && !p.Finished() {
		o.count--
	}
	if o.like == nil || p.Name < o.like.Name {
		o.like = p
	}
}

// another is such a pod, as if it left a node.
func (o *owedPods) another(node string) *model.Pod {
	p := *o.like
	p.Node, p.Terminating = node, false
	return &p
}
