package engine

import (
	"cmp"
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/fit"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// roomHolds is how long an answer about the cluster's room is taken for: it
// costs a look at every pod, which 150,000 of them make a tenth of a second.
const roomHolds = 30 * time.Second

// room is the last answer about the cluster's room.
type room struct {
	at  time.Time // zero: never asked
	why string    // why no node may go now; empty: so many may
	// good is how many more nodes may go by this answer, and usable how many there
	// were of the group then: one that came up since may have room.
	good, usable int
}

// noRoom says why the member's pods would find no room if its node went now;
// empty: nothing speaks against it, and it goes. The plan has asked the same before the
// start; this is for what others started since, and for nodes that go before the
// surge is up. It holds a node back only where the sum of what is asked for is more
// than the sum of what is free: any less certain word could hold up a rotation that
// would go through.
func (e *Engine) noRoom(m *member) string {
	s := e.cfg.Spec.Strategy
	n := e.w.nodes[m.node]
	// What is cordoned up front takes pods again once they need it.
	fenced := s.Attract == plan.AttractCordon && m.g.Unavailable == 0
	if cmp.Or(s.CapacityCheck, plan.CapacityRefuse) != plan.CapacityRefuse || fenced || e.cfg.DrainOnly || n == nil || !n.Allocatable.Known() {
		return ""
	}
	r := &e.room
	if r.at.IsZero() || e.now.Sub(r.at) >= roomHolds || r.why == "" && r.good == 0 || r.why != "" && m.g.census.usable > r.usable {
		e.askRoom(m)
	}
	// Where the plan counts on a surge, and all of it is there, nothing more is to be
	// waited for: pods may be without a node until the replacement is up.
	if g := m.g; r.why != "" && (g.Surge == 0 || g.surging || !e.arrived(g)) {
		e.wake(r.at.Add(roomHolds))
		return r.why
	}
	r.good--
	return ""
}

// askRoom asks for as many nodes as may go together; where they would find none,
// for this one alone. Those that a provider may be draining go in any case.
func (e *Engine) askRoom(m *member) {
	g := m.g
	going := []*member{m}
	if g.Roll != nil {
		e.room = room{at: e.now, usable: g.census.usable, good: 1, why: e.lacksRoom(append(going, e.providersNodes(g, m)...))}
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
	e.room = room{at: e.now, usable: g.census.usable, good: len(going)}
	if why := e.lacksRoom(going); why != "" {
		e.room.good, e.room.why = 1, why
		if len(going) > 1 {
			e.room.why = e.lacksRoom(going[:1])
		}
	}
}

// lacksRoom says why the pods of nodes would find no room, beside those that have
// none yet and those of the nodes that are being drained.
func (e *Engine) lacksRoom(going []*member) string {
	q := fit.Question{FirstWindow: true, Leaves: func(p *model.Pod) bool {
		return e.policy.Decide(p, drain.Circumstances{Now: e.now}).Action == drain.Evict
	}}
	var nodes []string
	for _, m := range going {
		nodes = append(nodes, m.node)
	}
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase == memberCordoning || m.phase == memberDraining {
				nodes = append(nodes, m.node)
			}
		}
	}
	q.Groups = []fit.Group{{Nodes: nodes, Unavailable: len(nodes)}}
	for _, n := range e.w.nodes {
		q.Nodes = append(q.Nodes, n)
	}
	for _, p := range e.w.pods {
		if _, homeless := e.w.unbound[p.PodKey]; homeless { // it has to find room as if it left this node
			moved := *p
			moved.Node = nodes[0]
			p = &moved
		}
		q.Pods = append(q.Pods, p)
	}
	v := fit.Check(q)[0]
	if v.Short == "" || fit.Autoscaler(q.Pods) != "" {
		return ""
	}
	for _, g := range e.w.groups {
		if g.Traits.Refill == model.RefillScheduler {
			return "" // its provisioner adds nodes for pods that have none
		}
	}
	why := fmt.Sprintf("the pods of node %s would find no room: %s", nodes[0], v.Short)
	if len(v.Named) > 0 {
		why += fmt.Sprintf("; the first is %s (%s)", v.Named[0].Pod, v.Named[0].Why)
	}
	return why
}
