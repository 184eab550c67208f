package engine

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Drains that do not come to their end: another try, force, quarantine, and what
// that means for the rotation.

// deadline applies the policy to a drain that took too long.
func (e *Engine) deadline(g *group, m *member) {
	d := &m.drain
	if until := e.withinGrace(m); !until.IsZero() {
		// The deadline tightens nothing that a pod was promised.
		d.deadline = until
		e.wake(until)
		e.record(event.Event{Kind: event.NodeBlocked, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: "grace",
			Message: fmt.Sprintf("the deadline of %s has passed; %s: within their grace periods until %s", e.cfg.Spec.Drain.Deadline, e.lingering(m), until.UTC().Format(time.RFC3339))})
		return
	}
	why := e.lingering(m)
	if g.guarded() && g.heldBack != "" && e.empty(m) {
		why = g.heldBack
	}
	if len(d.blocked) > 0 {
		why = e.blockedText(m)
	}
	msg := fmt.Sprintf("%s was not drained within %s%s: %s", m.label(), e.cfg.Spec.Drain.Deadline, d.spentText(), why)
	if d.attempt < e.cfg.Spec.Drain.Retries {
		d.attempt++
		e.nextDeadline(m, codeRetry, fmt.Sprintf("%s; attempt %d of %d", msg, d.attempt+1, e.cfg.Spec.Drain.Retries+1))
		return
	}
	if e.cfg.Spec.Drain.OnDeadline == plan.DeadlineForce && !d.forced {
		d.forced = true
		e.nextDeadline(m, codeForce, msg+"; "+e.forceText())
		return
	}
	g.lastDrainEnd = e.now
	e.quarantine(g, m, "drain-deadline", msg)
	if g.Roll != nil {
		return // it is the provider's to drain
	}
	e.nodeFailed(g, m, msg)
}

// nodeFailed applies the policy to a node that could not be drained.
func (e *Engine) nodeFailed(g *group, m *member, msg string) {
	if e.stop != nil || m.leaving {
		return
	}
	if most := e.cfg.Spec.Strategy.MaxFailed; most > 0 && e.failedNodes() > most {
		e.halt(g, StatusStopped, "too-many-failed", fmt.Sprintf("more than %d node(s) could not be drained: %s", most, msg))
		return
	}
	if e.cfg.Spec.Drain.OnDeadline == plan.DeadlineSkip {
		return
	}
	switch e.cfg.Spec.Strategy.OnFailure {
	case plan.FailureContinue:
	case plan.FailurePause:
		e.record(event.Event{Kind: event.GroupHalted, Group: g.Name, Code: "drain-deadline", Message: msg})
		e.beginStop(stopping{status: StatusStopped, message: msg, keepSurge: true})
	case plan.FailureAbort, "":
		e.halt(g, StatusStopped, "drain-deadline", msg)
	}
}

func (e *Engine) failedNodes() int {
	n := 0
	for _, g := range e.groups {
		n += g.census.old[memberQuarantined]
	}
	return n
}

// triedAgain tells whether a failed node has its second try before it: it needs
// a replacement first, as the others.
func (m *member) triedAgain() bool {
	return m.old && m.phase == memberQuarantined && m.retryable && !m.retried
}

// retryLast gives the nodes of a group that failed one more try, once the
// others are through: what blocked them may have passed.
func (e *Engine) retryLast(g *group) bool {
	found := false
	for _, m := range g.census.busy {
		if !m.triedAgain() {
			continue
		}
		if found = true; e.patching[m.node] > 0 || cordonLeft(m.n) {
			continue // the cordon of its first try is still on its way off
		}
		m.retried = true
		m.become(memberWaiting)
		e.record(event.Event{Kind: event.Waiting, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: "retry-last",
			Message: fmt.Sprintf("%s is tried once more", m.label())})
	}
	return found
}

func (e *Engine) lingering(m *member) string {
	var names []string
	for _, p := range m.at.list {
		if e.decidePod(m, p).Action != drain.Leave {
			if s := e.pods[p.UID]; s != nil && s.refusal != "" && !s.accepted {
				return s.refusal
			}
			names = append(names, p.PodKey.String())
		}
	}
	return "pods that have not ended: " + first(names)
}

// quarantine leaves a node as it is and gives it back to the scheduler.
func (e *Engine) quarantine(g *group, m *member, code, why string) {
	e.dropDrain(m)
	e.mem.drains.drop(m.inst.ID)
	m.trouble = why
	e.record(event.Event{Kind: event.NodeQuarantined, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: code, Message: why})
	m.retryable = code == "drain-deadline" || code == "quiesce-timeout"
	m.become(memberQuarantined)
	if m.leaving {
		e.keepsSurge(g, why)
	}
	e.unquiesce(m)
	n := e.w.nodes[m.node]
	if n == nil {
		return
	}
	p := &NodePatch{UID: n.UID}
	e.takeBackExclusion(p, n)
	ours := m.drain.cordonedByUs || n.Annotations[model.AnnotationCordoned] != ""
	if !ours && p.Exclude == nil {
		return
	}
	// Where a person has taken the cordon off, the annotation goes all the same:
	// the next cordon may be that person's.
	if ours {
		p.DropAnnotations = []string{model.AnnotationCordoned}
	}
	if m.drain.cordonedByUs {
		schedulable := false
		p.Unschedulable = &schedulable
		m.drain.cordonedByUs = false
	}
	e.addOp(&op{purpose: forTaint, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: n.Name, Patch: p}})
}
