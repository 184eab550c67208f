package engine

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/plan"
)

// A drain's deadline counts over all runs of a rotation: a job that is killed and
// started again each hour comes to drain.onDeadline all the same. Only the time
// counts in which a run was there to evict pods: what passes between two runs moves
// none, and a node that was being drained when its run died must not be forced, or
// fail, by the first Step of the one that comes days later.
//
// Each run's time is taken from its own events, so that clocks of two machines are
// never compared. What comes after the last of them is lost with a run that is killed:
// about a fifteenth of a deadline.

const (
	// keepsShare is how often, for each deadline, the journal has an event while drains
	// wait, once for all of them. Steps are 30 s apart where nothing happens; more than
	// five minutes would be much of the hour after which a job is killed.
	keepsShare               = 15
	keepsLeast, keepsLongest = 30 * time.Second, 5 * time.Minute
	// leastResumed is what a drain gets at the least that another run goes on with: an
	// eviction that is refused is asked for again after 30 s at the latest.
	leastResumed = 45 * time.Second
)

// drainTime is what earlier runs have used of the time that a node's drain has.
type drainTime struct {
	attempt int           // how many of the further deadlines of drain.retries have begun
	forced  bool          // the last deadline has begun, under the policy force
	spent   time.Duration // of the deadline that has begun last
	node    string
	since   time.Time // since when it counts; zero: it does not
	asked   bool      // the node's cordon is on its way: it counts from then on
}

// drainTimes folds the events of a rotation into what its drains have used.
type drainTimes struct {
	of     map[string]*drainTime // by instance id; those whose drain has not ended
	onNode map[string]*drainTime // the same, by node
	alive  time.Time             // of the last event of the run
}

func newDrainTimes() drainTimes {
	return drainTimes{of: make(map[string]*drainTime), onNode: make(map[string]*drainTime)}
}

func (d *drainTimes) fold(ev event.Event) {
	if ev.Kind == event.NodeReplaced && ev.Code == "unwatched" {
		d.drop(ev.Instance)
		return // a later run's, before it says that it has begun
	}
	t := d.of[ev.Instance]
	switch ev.Kind {
	case event.RotationStarted:
		d.pause(d.alive) // the run before was dead by then
	case event.ReleaseStaging:
		return
	case event.RotationStopping:
		d.pause(ev.Time)
	case event.NodeDraining:
		if t == nil {
			t = &drainTime{node: ev.Node}
			d.of[ev.Instance], d.onNode[ev.Node] = t, t
		}
		t.asked = true
	case event.DrainPostponed:
		if t != nil {
			t.asked = false
		}
	case event.OpSucceeded:
		if t := d.onNode[ev.Node]; t != nil && t.asked && ev.Verb == string(VerbPatchNode) {
			t.asked, t.since = false, ev.Time
		}
	case event.OpIntended:
		if t != nil && ev.Verb == string(VerbQuiesce) {
			t.since = time.Time{} // its time begins once it has left its load balancers
		}
	case event.NodeQuiesced:
		if t != nil {
			t.since = ev.Time
		}
	case event.DeadlinePassed:
		if t != nil {
			t.spent, t.since = 0, ev.Time
			if ev.Code == codeForce {
				t.forced = true
			} else {
				t.attempt++
			}
		}
	case event.NodeDrained, event.NodeQuarantined, event.NodeReplaced:
		d.drop(ev.Instance)
	default: // signs of life, no more
	}
	if ev.Verb != event.VerbStage {
		d.alive = ev.Time
	}
}

// pause ends what counts: drains are called off, or nobody is there any more.
func (d *drainTimes) pause(at time.Time) {
	for _, t := range d.of {
		if !t.since.IsZero() {
			t.spent += max(at.Sub(t.since), 0)
		}
		t.since, t.asked = time.Time{}, false
	}
}

func (d *drainTimes) drop(instance string) {
	if t := d.of[instance]; t != nil {
		delete(d.of, instance)
		delete(d.onNode, t.node)
	}
}

// Codes of DeadlinePassed.
const (
	codeRetry = "retry"
	codeForce = "force"
)

// takeTime has a drain that begins go on with the time that is left of it, and says
// how much that is; empty: it has not begun before.
func (e *Engine) takeTime(m *member) string {
	t, d, spec := e.mem.drains.of[m.inst.ID], &m.drain, &e.cfg.Spec.Drain
	if t == nil || t.spent == 0 && t.attempt == 0 && !t.forced {
		return ""
	}
	d.attempt, d.forced, d.spent = min(t.attempt, spec.Retries), t.forced && spec.OnDeadline == plan.DeadlineForce, t.spent
	which := ""
	switch {
	case d.forced:
		which = ", by force"
	case d.attempt > 0:
		which = fmt.Sprintf(", attempt %d of %d", d.attempt+1, spec.Retries+1)
	}
	return fmt.Sprintf("it goes on with %s of its deadline of %s%s: %s are used",
		e.timeLeft(d).Round(time.Second), spec.Deadline, which, d.spent.Round(time.Second))
}

// setAside keeps what a drain has used that is called off with the others: a node that
// is given back may be drained once more in the same run.
func (e *Engine) setAside(m *member) {
	d := &m.drain
	if m.phase != memberDraining || !d.emptied.IsZero() {
		return
	}
	t := &drainTime{node: m.node, attempt: d.attempt, forced: d.forced, spent: d.spent}
	if !d.quiesce.holds() {
		t.spent = max(e.cfg.Spec.Drain.Deadline-d.deadline.Sub(e.now), 0)
	}
	e.mem.drains.of[m.inst.ID], e.mem.drains.onNode[m.node] = t, t
}

// timeLeft is how long a drain that begins to evict pods has until its deadline.
func (e *Engine) timeLeft(d *drainState) time.Duration {
	whole := e.cfg.Spec.Drain.Deadline
	if d.spent <= 0 {
		return whole
	}
	return max(whole-d.spent, min(whole, leastResumed))
}

// keepTime records that drains go on, where the journal has had nothing for a while.
func (e *Engine) keepTime() {
	pause := min(max(e.cfg.Spec.Drain.Deadline/keepsShare, keepsLeast), keepsLongest)
	if e.now.Sub(e.kept) < pause {
		return // without a wake-up: there is a Step now and then
	}
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase == memberDraining && m.drain.emptied.IsZero() && !m.drain.quiesce.holds() {
				e.record(event.Event{Kind: event.StillDraining})
				return
			}
		}
	}
}

// past is a time by an earlier run's clock, which may be ahead of this one's.
func (e *Engine) past(t time.Time) time.Time {
	if t.After(e.now) {
		return e.now
	}
	return t
}

// spentText says how much of its deadline was used before, where that is so.
func (d *drainState) spentText() string {
	if d.spent <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%s of it before it was cut short)", d.spent.Round(time.Second))
}

// nextDeadline gives a drain whose deadline has passed another one.
func (e *Engine) nextDeadline(m *member, code, message string) {
	m.drain.spent, m.drain.deadline = 0, e.now.Add(e.cfg.Spec.Drain.Deadline)
	e.record(event.Event{Kind: event.DeadlinePassed, Group: m.g.Name, Node: m.node, Instance: m.inst.ID, Code: code, Message: message})
}
