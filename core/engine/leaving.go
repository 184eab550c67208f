package engine

import (
	"slices"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// leaving is what a drain has before it. It is worked out anew only where
// something that it follows from has changed: most of the time the pods of all
// nodes that are drained only wait.
type leaving struct {
	group  *group
	member *member
	due    []candidate       // to be evicted, in order; of some it was asked for
	waits  []*model.Pod      // that go by themselves, and that a person should hear of
	left   []drain.Candidate // that should have gone and are not waited for

	from seenFrom
	// until is when time alone may change it, wake when it does and a Step should see
	// that; zero: never.
	until, wake time.Time
}

// candidate is a pod that is to be evicted.
type candidate struct {
	drain.Candidate
	state   *podState
	budgets []*budget // that select it
}

// seenFrom is all that a look at a node's pods follows from, but for time. What
// the drain itself counts (drainState.again) makes it forget the look.
type seenFrom struct {
	pods                *nodePods
	version, budgets    uint64
	forced, unreachable bool
	lostLabels          bool // what a pod's place follows from is more: it is looked for anew
}

// look decides about the pods of a node that is drained.
func (e *Engine) look(g *group, m *member) *leaving {
	from := seenFrom{pods: m.at, version: m.at.version, budgets: e.w.budgetsVersion, forced: m.drain.forced, unreachable: m.n != nil && m.n.Unreachable,
		lostLabels: len(g.LostLabels) > 0}
	l := m.drain.seen
	if l == nil || l.from != from || from.lostLabels || !l.until.IsZero() && !l.until.After(e.now) {
		l = &leaving{group: g, member: m, from: from}
		e.lookAnew(l)
		m.drain.seen = l
	}
	if !l.wake.IsZero() {
		e.wake(l.wake)
	}
	return l
}

func (e *Engine) lookAnew(l *leaving) {
	var place drain.Place
	var due []drain.Candidate
	found := 0
	for _, p := range l.member.at.list {
		d := e.decidePod(l.member, p)
		l.changes(e.now, d.Until, true)
		if d.Action == drain.Leave {
			if d.Why == drain.LeaveUnreachable || d.Why == drain.LeaveStuck || d.Why == drain.LeaveReturned {
				l.left = append(l.left, drain.Candidate{Pod: p, Decision: d})
			}
			continue
		}
		if found == 0 || d.Place.Before(place) {
			place = d.Place
		}
		found++
		switch {
		case d.Action == drain.Evict:
			due = append(due, drain.Candidate{Pod: p, Decision: d})
			l.changes(e.now, p.Details().DoNotDisruptUntil, false) // then nothing is overridden any more
		case d.Why != drain.WaitEnding:
			l.waits = append(l.waits, p)
		default:
			if at := overdueAt(p); at.After(e.now) {
				l.changes(e.now, at, true)
			} else if !at.IsZero() {
				l.waits = append(l.waits, p)
			}
		}
	}
	due = slices.DeleteFunc(due, func(c drain.Candidate) bool { return place.Before(c.Place) })
	drain.Sort(due)
	drain.Sort(l.left)
	sortPods(l.waits)
	l.due = make([]candidate, len(due))
	for i, c := range due {
		l.due[i] = candidate{c, e.podState(c.Pod), e.w.budgetsOf(c.Pod)}
	}
}

// changes takes note of when time alone may change the look.
func (l *leaving) changes(now, at time.Time, wake bool) {
	if !at.After(now) {
		return
	}
	if l.until.IsZero() || at.Before(l.until) {
		l.until = at
	}
	if wake && (l.wake.IsZero() || at.Before(l.wake)) {
		l.wake = at
	}
}

// decidePod says what the drain of the member's node does with a pod now.
func (e *Engine) decidePod(m *member, p *model.Pod) drain.Decision {
	c := drain.Circumstances{Now: e.now, Forced: m.drain.forced, Unreachable: m.n != nil && m.n.Unreachable, Homeless: len(e.homeless(m, p)) > 0}
	if m.drain.first != nil && drain.Returns(p) && !m.drain.first[p.UID] {
		// One that a budget protects must not go with the instance: the scheduler gets
		// a few more chances to choose another node.
		c.Returned = p.Owner.Kind == "DaemonSet" || len(e.w.budgetsOf(p)) == 0
		c.Returns = !c.Returned && m.drain.again[p.Owner] >= maxAgain
	}
	return e.policy.Decide(p, c)
}
