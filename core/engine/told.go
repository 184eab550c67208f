package engine

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// What drains and groups wait for is told to a person (NodeBlocked, Waiting), which
// is gone with the process. The journal is told too (DrainWaits, GroupWaits), with
// moments in place of durations, so that any machine can say what a rotation waits
// for and since when, also after the run was killed. It grows with what changes and
// not with how long something takes: the same in the same words is told once.

const (
	// waitLasts is how long a drain has begun before the journal hears what it waits
	// for: most waits are over by then.
	waitLasts = 5 * time.Second
	// tellPause is the least time between two words to the journal about one drain, or
	// about one group.
	tellPause = 10 * time.Second
	// rewordPause is the least time until what a drain still waits for is told in
	// other words (of a budget, how many pods are healthy); with the time that it has
	// waited it grows: by that, divided by rewordShare.
	rewordPause = time.Minute
	rewordShare = 4
	// moment is how times are written within a message.
	moment = "2006-01-02 15:04:05Z"
)

// toldDrain is what the journal was last told that a drain waits for.
type toldDrain struct {
	key  waitKey
	text string
	// due is when the journal may be told of something else, reword when it may be
	// told of the same in other words; zero: nothing was told.
	due, reword time.Time
}

// waitKey tells, without words, one thing that a drain waits for from another.
type waitKey struct {
	kind waitKind
	pod  string // by UID; empty: several, or none
}

type waitKind int

const (
	waitNothing  waitKind = iota
	waitQuiesces          // its load balancers let go of it
	waitBlocked           // a pod that is blocked, or overdue
	waitDetaches          // volumes of pods that have left
	waitPods              // pods that are asked to leave, within their grace period
)

// tellJournal tells the journal what drains and groups wait for.
func (e *Engine) tellJournal() {
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase == memberDraining {
				e.tellDrain(g, m)
			}
		}
		e.tellGroup(g)
	}
}

func (m *member) waitKey() waitKey {
	d := &m.drain
	switch {
	case d.quiesce.holds():
		return waitKey{kind: waitQuiesces}
	case len(d.blocked) > 0:
		return waitKey{waitBlocked, d.blocked[0].UID}
	case !d.detaching.IsZero():
		return waitKey{kind: waitDetaches}
	case d.emptied.IsZero():
		return waitKey{kind: waitPods}
	}
	return waitKey{}
}

// tellDrain records what a drain waits for, where the journal does not have it.
func (e *Engine) tellDrain(g *group, m *member) {
	t, key := &m.drain.told, m.waitKey()
	if t.due.IsZero() {
		t.due = e.now.Add(waitLasts)
	}
	due := t.due
	if key == t.key {
		due = t.reword
	}
	switch {
	case key.kind == waitNothing, key == t.key && due.After(e.now):
		return // without a wake-up: there is a Step now and then
	case due.After(e.now):
		e.wake(due)
		return
	}
	ev, since := e.drainWaits(m, key)
	if lasts := since.Add(waitLasts); key.kind == waitPods && lasts.After(e.now) {
		e.wake(lasts)
		return
	}
	t.due, t.reword = e.now.Add(tellPause), e.now.Add(max(rewordPause, e.now.Sub(since)/rewordShare))
	if ev.Message == "" || key == t.key && ev.Message == t.text {
		return
	}
	t.key, t.text = key, ev.Message
	ev.Kind, ev.Group, ev.Node, ev.Instance = event.DrainWaits, g.Name, m.node, m.inst.ID
	ev.Data = map[string]string{"since": since.UTC().Format(time.RFC3339)}
	e.record(ev)
}

// drainWaits says what a drain waits for, and since when. Without a Message it
// waits for nothing that can be named.
func (e *Engine) drainWaits(m *member, key waitKey) (ev event.Event, since time.Time) {
	d := &m.drain
	switch key.kind {
	case waitQuiesces:
		return event.Event{Code: codeQuiescing, Message: m.label() + " leaves its load balancers" + m.workPhase()}, d.quiesce.since
	case waitBlocked:
		p := d.blocked[0]
		w := e.whyBlocked(m, p)
		if w.code == drain.WaitEnding {
			w.text = e.whyEnding(m, p, true)
		}
		return event.Event{Code: w.code, Pod: p.PodKey.String(), Budget: w.budget, Message: w.text + more(len(d.blocked))}, e.podState(p).since
	case waitDetaches:
		left := e.attached(m)
		if len(left) == 0 {
			return event.Event{}, e.now
		}
		return event.Event{Code: codeVolumes, Message: fmt.Sprintf("%s is empty and waits for %s to detach", m.label(), e.volumesText(left))}, d.detaching
	case waitPods:
		since = d.began
		if !d.lastEviction.IsZero() {
			since = d.lastEviction
		}
		return e.podsEnding(m), since
	case waitNothing:
	}
	return event.Event{}, e.now
}

// podsEnding names the pod that ends the last of those that have been asked to leave
// the node, or where none has, the first that is to be.
func (e *Engine) podsEnding(m *member) event.Event {
	var last, first *model.Pod
	ending := 0
	for _, p := range m.at.list {
		switch d := e.decidePod(m, p); {
		case d.Action == drain.Leave:
		case d.Action == drain.Wait && d.Why == drain.WaitEnding:
			if ending++; last == nil || p.Details().EndsBy.After(last.Details().EndsBy) {
				last = p
			}
		case first == nil:
			first = p
		}
	}
	switch {
	case last != nil:
		s := fmt.Sprintf("pod %s is ending", last.PodKey)
		if by := last.Details().EndsBy; !by.IsZero() {
			s += ", by " + by.UTC().Format(moment) + " at the latest"
		}
		return event.Event{Code: drain.WaitEnding, Pod: last.PodKey.String(), Message: s + more(ending)}
	case first != nil:
		s := fmt.Sprintf("pod %s waits for its eviction", first.PodKey)
		if st := e.podState(first); !st.pending() {
			s = fmt.Sprintf("pod %s has been asked to leave", first.PodKey)
		} else if w := e.cfg.Spec.Strategy.Waits.BetweenEvictions; w > 0 {
			s += fmt.Sprintf(": there are %s between two of a node", w)
		} else if most := e.cfg.Spec.Drain.MaxEvictions; most > 0 && e.evicting >= most {
			s += fmt.Sprintf(": %d at once are under way, as many as drain.maxEvictions allows", most)
		}
		return event.Event{Pod: first.PodKey.String(), Message: s}
	}
	return event.Event{}
}

// more says how many there are beside the one that is named.
func more(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n-1)
}

// toldGroup is what the journal was last told that a group waits for.
type toldGroup struct {
	text string
	// looked is when it was last worked out, and from what.
	looked   time.Time
	changes  int
	heldBack string
	// since when what no instance stands for is waited for; zero: it is not.
	lacks, held time.Time
}

// tellGroup records what a group as a whole waits for, where that is another than
// the journal has.
func (e *Engine) tellGroup(g *group) {
	t := &g.told
	switch {
	case g.phase == groupWaiting:
		return
	case t.looked.IsZero():
		t.looked = e.now
	}
	if e.now.Sub(t.looked) < tellPause {
		// Of a group that its provider rolls, GroupRolling says most.
		if g.phase != groupFinished && g.Roll == nil && (t.changes != g.census.changes || t.heldBack != g.heldBack) {
			e.wake(t.looked.Add(tellPause))
		}
		return
	}
	t.looked, t.changes, t.heldBack = e.now, g.census.changes, g.heldBack
	text := e.waitsFor(g, true)
	if text == t.text {
		return
	}
	t.text = text
	e.record(event.Event{Kind: event.GroupWaits, Group: g.Name, Message: text})
}

// firstSince keeps in t since when something is so, as far as it was looked at.
func firstSince(t *time.Time, is bool, now time.Time) time.Time {
	switch {
	case !is:
		*t = time.Time{}
	case t.IsZero():
		*t = now
	}
	return *t
}
