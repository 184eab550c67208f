package sim

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// balance is where an instance stands with its group's load balancers. A driver
// records at the provider what it takes out, before it does, so that Restore of
// a later life puts it back.
type balance struct {
	in    bool          // it is sent to
	until time.Duration // out, and its connections end until then
	taken bool          // the record: by a rotation
}

// leavesWithin is how long an instance takes at most to leave its load balancers,
// where nothing goes wrong.
const leavesWithin = 4 * time.Minute

// leaving tells whether connections of the instance go on still.
func (in *instance) leaving() bool {
	return in.g.Traits.Quiesce && !in.lb.in && in.lb.until > in.g.w.now
}

// serves puts an instance into the load balancers once it is in service.
func (in *instance) serves() {
	in.lb.in, in.lb.until = in.g.Traits.Quiesce, 0
}

// quiesce takes an instance out: record, then act.
func (w *World) quiesce(g *group, rotation, id string) []act {
	missing := func() *engine.Error { return notFound("instance", id) }
	return []act{
		func() *engine.Error {
			if err := w.holder(g, rotation); err != nil {
				return err
			}
			in := g.find(id)
			if in == nil {
				return missing()
			}
			in.lb.taken = true
			return nil
		},
		func() *engine.Error {
			in := g.find(id)
			if in == nil {
				return missing()
			}
			if !in.lb.in {
				return nil
			}
			d := w.dice("leaves", id, w.now.String())
			in.lb.in, in.lb.until = false, w.now+d.between(0, leavesWithin)
			if w.faults.strikes(w, StaysBalanced, id+" "+fmt.Sprint(w.now)) {
				in.lb.until = w.now + 30*time.Minute
			}
			return nil
		},
	}
}

func (w *World) unquiesce(g *group, id string) []act {
	return []act{
		func() *engine.Error {
			if in := g.find(id); in != nil && in.lb.taken {
				in.serves()
			}
			return nil
		},
		func() *engine.Error {
			if in := g.find(id); in != nil {
				in.lb.taken = false
			}
			return nil
		},
	}
}

// rebalance puts back all that a rotation took out.
func (g *group) rebalance() {
	for _, in := range g.live() {
		if in.lb.taken {
			in.serves()
			in.lb.taken = false
		}
	}
}

// quiesces judges an eviction: the instance has left its load balancers, or was
// waited for as long as was asked, unless an earlier run's call came late.
func (c *checker) quiesces(e engine.Effect) {
	n := c.w.nodes[e.Node]
	if n == nil || c.spec.Drain.QuiesceTimeout <= 0 || !n.inst.g.Traits.Quiesce || n.inst.State != model.InstanceInService {
		return
	}
	asked, ok := c.quiesced[n.inst.ID]
	waited := ok && c.w.now-asked >= c.spec.Drain.QuiesceTimeout
	c.hold(Excluded, waited || c.rebalanced[n.inst.ID] || !n.inst.lb.in && !n.inst.leaving(),
		"pod %s is evicted, and instance %s has not left its load balancers", e.Pod, n.inst.ID)
}

// balanced judges the end: what stays is in its load balancers.
func (c *checker) balanced(g *group) {
	for _, in := range g.live() {
		if g.Traits.Quiesce && in.State == model.InstanceInService {
			c.hold(Settings, in.lb.in && !in.lb.taken, "instance %s of group %s is left out of its load balancers", in.ID, g.Name)
		}
	}
}
