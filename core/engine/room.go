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
	why string    // why no node may go now; empty: one may
}

// noRoom says why the member's pods would find no room if its node went now;
// empty: nothing speaks against it. The plan has asked the same before the
// start; this is for what others started since. It holds a node back only where
// the sum of what is asked for is more than the sum of what is free: any less
// certain word could hold up a rotation that would go through.
func (e *Engine) noRoom(m *member) string {
	s := e.cfg.Spec.Strategy
	n := e.w.nodes[m.node]
	if cmp.Or(s.CapacityCheck, plan.CapacityRefuse) != plan.CapacityRefuse || s.Attract == plan.AttractCordon || e.cfg.DrainOnly ||
		n == nil || !n.Allocatable.Known() {
		return "" // what is cordoned up front takes pods again once they need it
	}
	if e.room.at.IsZero() || e.now.Sub(e.room.at) >= roomHolds {
		e.room = room{at: e.now, why: e.lacksRoom(n)}
	}
	if e.room.why != "" {
		e.wake(e.room.at.Add(roomHolds))
	}
	return e.room.why
}

func (e *Engine) lacksRoom(n *model.Node) string {
	q := fit.Question{FirstWindow: true, Groups: []fit.Group{{Nodes: []string{n.Name}, Unavailable: 1}},
		Leaves: func(p *model.Pod) bool {
			return e.policy.Decide(p, drain.Circumstances{Now: e.now}).Action == drain.Evict
		}}
	for _, n := range e.w.nodes {
		q.Nodes = append(q.Nodes, n)
	}
	for _, p := range e.w.pods {
		q.Pods = append(q.Pods, p)
	}
	v := fit.Check(q)[0]
	if v.Short == "" || fit.Autoscaler(q.Pods) != "" {
		return ""
	}
	why := fmt.Sprintf("the pods of node %s would find no room: %s", n.Name, v.Short)
	if len(v.Named) > 0 {
		why += fmt.Sprintf("; the first is %s (%s)", v.Named[0].Pod, v.Named[0].Why)
	}
	return why
}
