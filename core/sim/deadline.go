package sim

import (
	"maps"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// drains judges how long nodes are drained over all runs of a rotation, from the
// cordon's success to whatever ends the drain, or the run.
type drains struct {
	of      map[string]*drainClock // by node
	cordons map[string]string      // ops that cordon a node for its drain -> the node
}

// drainClock is one node's.
type drainClock struct {
	since time.Duration
	runs  bool
	total time.Duration // before since
	cuts  int           // how often it was cut since the drain first began
}

func newDrains() drains {
	return drains{of: make(map[string]*drainClock), cordons: make(map[string]string)}
}

// cutShort is by how much each cut may lengthen a drain: what the journal had not
// heard of a run that was killed, a Step that came to nothing, and the least that a
// drain is given that goes on.
const cutShort = 3 * time.Minute

// pastDue is what pods may still have that were asked to leave just before a
// deadline: their grace period, and the kubelet's, 35 s; and as much again each time
// that one comes back and is evicted once more, which is three times at most.
const pastDue = 150 * time.Second

func (k *drainClock) stop(now time.Duration) {
	if k.runs {
		k.total, k.runs = k.total+now-k.since, false
	}
}

// cut stops all clocks: the drains are called off, or their run has ended.
func (d *drains) cut(now time.Duration) {
	for _, k := range d.of {
		k.stop(now)
		k.cuts++
	}
	clear(d.cordons)
}

// drains takes an effect that is about to be done. Where instances leave load balancers
// first, when the drain's time begins is the engine's to say: those are not judged.
func (c *checker) drains(e engine.Effect) {
	d := &c.drained
	switch e.Verb {
	case engine.VerbPatchNode:
		n := c.w.nodes[e.Node]
		switch p := e.Patch; {
		case n == nil || n.inst == nil:
		case p.Unschedulable != nil && !*p.Unschedulable:
			d.calledOff(e.Node, c.w.now)
		case p.SetAnnotations[model.AnnotationCordoned] == model.CordonedToDrain && !c.w.group(n.inst.GroupID).Traits.Quiesce:
			d.cordons[e.ID] = e.Node
		}
	case engine.VerbTerminate:
		if in := c.w.instances[e.InstanceID]; in != nil && in.node != nil {
			delete(d.of, in.node.Name)
		}
	case engine.VerbObserve, engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbQuiesce, engine.VerbUnquiesce, engine.VerbRoll, engine.VerbCancel,
		engine.VerbPatchWorkload, engine.VerbEvict, engine.VerbDeletePod, engine.VerbCheckAPI:
	}
}

// calledOff stops a node's clock, which keeps what it shows.
func (d *drains) calledOff(node string, now time.Duration) {
	maps.DeleteFunc(d.cordons, func(_, of string) bool { return of == node })
	if k := d.of[node]; k != nil {
		k.stop(now)
	}
}

// answered takes the end of an effect.
func (d *drains) answered(o engine.Outcome, now time.Duration) {
	node, ok := d.cordons[o.ID]
	if !ok || o.Err != nil {
		return
	}
	k := d.of[node]
	if k == nil {
		k = &drainClock{}
		d.of[node] = k
	}
	if !k.runs {
		k.since, k.runs = now, true
	}
}

// recorded takes an event of the run.
func (d *drains) recorded(ev event.Event, now time.Duration) {
	switch ev.Kind { //nolint:exhaustive // only these end drains
	case event.RotationStopping:
		d.cut(now) // what is given back then may be drained once more
	case event.NodeDrained, event.NodeQuarantined, event.NodeReplaced:
		d.calledOff(ev.Node, now)
		delete(d.of, ev.Node)
	}
}

// checkDeadlines holds each drain to the deadlines that it has in all.
func (c *checker) checkDeadlines() {
	spec := &c.spec.Drain
	stages := 1 + spec.Retries
	if spec.OnDeadline == plan.DeadlineForce {
		stages++
	}
	for node, k := range c.drained.of {
		if c.w.nodes[node] == nil { // no event says so of a new one that was to be given back
			delete(c.drained.of, node)
			continue
		}
		if !k.runs {
			continue
		}
		took, most := k.total+c.w.now-k.since, time.Duration(stages)*(spec.Deadline+pastDue)+time.Duration(k.cuts)*cutShort
		c.hold(Deadline, took <= most, "node %s is being drained for %s cut short %d times, and has %s", node, took, k.cuts, most)
	}
}
