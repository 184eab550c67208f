package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Before its first eviction an instance leaves its provider's load balancers:
// they would send to it, and to nodes that reach pods through it, until their
// own health checks notice. The call states the goal; that it is reached is what
// snapshots show, as for all work at the provider.

// quiesceState is how far a drain is with that.
type quiesceState struct {
	phase quiescePhase
	since time.Time // of the call
	// acceptedStep is the Step in which the provider accepted it: what was asked
	// for earlier does not show it.
	acceptedStep int
	toldAt       time.Time
}

type quiescePhase int

const (
	quiesceNone    quiescePhase = iota // there is nothing to leave
	quiesceAsked                       // the call is on its way
	quiesceLeaving                     // accepted: connections end, which takes minutes
	quiesceLeft                        // it has left, or was not waited for any longer
)

// holds tells whether the evictions wait for it.
func (q *quiesceState) holds() bool { return q.phase == quiesceAsked || q.phase == quiesceLeaving }

// quiesce begins to take the instance out of its load balancers, where the
// provider has that.
func (e *Engine) quiesce(m *member) {
	if !m.g.Traits.Quiesce || e.cfg.Spec.Drain.QuiesceTimeout <= 0 || e.cfg.DrainOnly {
		return
	}
	m.drain.quiesce = quiesceState{phase: quiesceAsked, since: e.now}
	m.quiesced = true
	e.dropUnquiesce(m)
	e.addOp(&op{purpose: forQuiesce, group: m.g, member: m, Effect: Effect{Verb: VerbQuiesce, InstanceID: m.inst.ID}})
}

// quiesceAccepted: the provider lets the connections end.
func (e *Engine) quiesceAccepted(m *member) {
	if q := &m.drain.quiesce; q.phase == quiesceAsked {
		q.phase, q.acceptedStep = quiesceLeaving, e.step
		e.obs.ask()
	}
}

// quiesceFailed takes a final error of the call. An instance that is gone has
// left; any other makes the drain fail.
func (e *Engine) quiesceFailed(m *member, err *Error) (halts bool) {
	switch {
	case m.drain.quiesce.phase != quiesceAsked: // it was called off meanwhile
		return false
	case err.Code == ErrNotFound:
		m.quiesced = false
		e.quiesceDone(m, "gone", "")
		return false
	}
	e.quarantine(m.g, m, "quiesce-denied", fmt.Sprintf("%s does not leave its load balancers: %s", m.label(), err.Message))
	return !m.leaving
}

// quiesceDone lets the evictions begin. The time for them counts from now.
func (e *Engine) quiesceDone(m *member, code, message string) {
	d := &m.drain
	d.quiesce.phase = quiesceLeft
	d.began, d.deadline = e.now, e.now.Add(e.timeLeft(d))
	e.record(event.Event{Kind: event.NodeQuiesced, Group: m.g.Name, Node: m.node, Instance: m.inst.ID, Code: code, Message: message,
		Data: map[string]string{"seconds": seconds(e.now.Sub(d.quiesce.since))}})
}

// checkQuiesce sees whether an instance has left its load balancers, and applies
// the policy to one that takes too long. True: its drain goes on.
func (e *Engine) checkQuiesce(g *group, m *member) bool {
	q := &m.drain.quiesce
	leaving := m.inst.Work.Verb == string(VerbQuiesce)
	if q.phase == quiesceLeaving && e.obs.answeredStep >= q.acceptedStep && !leaving {
		e.quiesceDone(m, "", "")
		return true
	}
	timeout := e.cfg.Spec.Drain.QuiesceTimeout
	if !e.after(q.since, timeout) {
		e.tellQuiesce(g, m)
		return false
	}
	msg := fmt.Sprintf("%s has not left its load balancers within %s%s", m.label(), timeout, m.workPhase())
	if e.cfg.Spec.Drain.OnQuiesceTimeout == plan.QuiesceFail {
		e.quarantine(g, m, "quiesce-timeout", msg)
		e.nodeFailed(g, m, msg)
		return false
	}
	e.dropQuiesce(m)
	e.quiesceDone(m, "quiesce-timeout", msg+"; it is drained all the same")
	return true
}

// tellQuiesce says every so often what the drain waits for.
func (e *Engine) tellQuiesce(g *group, m *member) {
	q := &m.drain.quiesce
	if q.toldAt.IsZero() {
		q.toldAt = q.since
	}
	if !e.after(q.toldAt, reportEvery) {
		return
	}
	q.toldAt = e.now
	e.wake(e.now.Add(reportEvery))
	e.record(event.Event{Kind: event.NodeBlocked, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: codeQuiescing,
		Message: fmt.Sprintf("%s leaves its load balancers since %s%s", m.label(), e.now.Sub(q.since).Round(time.Second), m.workPhase())})
}

// workPhase is what the provider says of the work on the instance.
func (m *member) workPhase() string {
	if m.inst.Work.Phase == "" {
		return ""
	}
	return ": " + m.inst.Work.Phase
}

// unquiesce puts an instance that stays back into its load balancers: one that a
// call has taken out of them, or may have.
func (e *Engine) unquiesce(m *member) {
	e.dropQuiesce(m)
	m.drain.quiesce = quiesceState{}
	if !m.quiesced || e.stop != nil && e.stop.driverLost {
		return
	}
	m.quiesced = false
	e.addOp(&op{purpose: forUnquiesce, group: m.g, member: m, Effect: Effect{Verb: VerbUnquiesce, InstanceID: m.inst.ID}})
}

// unquiesceAll does so for all that the rotation leaves.
func (e *Engine) unquiesceAll() {
	for _, g := range e.groups {
		for _, m := range g.members {
			if m.quiesced && m.phase != memberGone && m.phase != memberTerminating && !m.leaving {
				e.unquiesce(m)
			}
		}
	}
}

// unquiesceFailed: the instance stays, and nobody sends to it.
func (e *Engine) unquiesceFailed(m *member, err *Error) {
	if err.Code == ErrNotFound || m.phase == memberGone {
		return
	}
	m.g.trouble = fmt.Sprintf("%s is left out of its load balancers: %s", m.label(), err.Message)
}

// dropQuiesce calls off a call that waits to be sent, or to be tried again. One
// that was never sent leaves nothing to be put back.
func (e *Engine) dropQuiesce(m *member) {
	e.ops = slices.DeleteFunc(e.ops, func(o *op) bool {
		if o.purpose != forQuiesce || o.member != m || o.inFlight {
			return false
		}
		if o.attempts == 0 {
			m.quiesced = false
			return true
		}
		ev := o.event(event.OpFailed)
		ev.Code, ev.Message = "superseded", fmt.Sprintf("%s is not waited for to leave its load balancers any longer", m.label())
		e.record(ev)
		return true
	})
}

// dropUnquiesce calls off a call of an earlier drain that waits to be sent, or to be tried
// again: it would hold up the way out, or put the instance back while it is drained.
func (e *Engine) dropUnquiesce(m *member) {
	e.ops = slices.DeleteFunc(e.ops, func(o *op) bool {
		if o.purpose != forUnquiesce || o.member != m || o.inFlight {
			return false
		}
		if o.attempts > 0 {
			ev := o.event(event.OpFailed)
			ev.Code, ev.Message = "superseded", fmt.Sprintf("%s is drained once more", m.label())
			e.record(ev)
		}
		return true
	})
}

// quiescing tells whether a snapshot is waited for that shows an instance out of
// its load balancers.
func (e *Engine) quiescing() bool {
	return slices.ContainsFunc(e.groups, func(g *group) bool {
		return g.census.in[memberDraining] > 0 && slices.ContainsFunc(g.census.busy, func(m *member) bool {
			return m.phase == memberDraining && m.drain.quiesce.phase == quiesceLeaving
		})
	})
}

// balances tells whether an op takes an instance out of its load balancers or
// puts it back. Those of one instance go one after the other.
func (o *op) balances() bool { return o.Verb == VerbQuiesce || o.Verb == VerbUnquiesce }

// quiescedBefore says which instances earlier runs have taken out of their load
// balancers, as far as the journal tells.
func (e *Engine) quiescedBefore() {
	for id := range e.mem.quiesced {
		if m := e.byInst[id]; m != nil && m.g.Traits.Quiesce && m.inst.State != model.InstanceTerminating {
			m.quiesced = true
		}
	}
}
