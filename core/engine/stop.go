package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// stopping is an early end: nothing new starts, our marks come off, and unless
// time is short the surge is taken back.
type stopping struct {
	status  Status
	message string
	signal  bool // time is short: leave surge to the next run
	// keepSurge leaves the surge to the next run for another reason.
	keepSurge bool
	// undo: a person asked for everything to be taken back.
	undo bool
	// driverLost: the provider cannot be reached; nothing there can be put back.
	driverLost bool
	since      time.Time
}

// halt ends the rotation because of one group.
func (e *Engine) halt(g *group, status Status, code, message string) {
	if e.stop != nil {
		return
	}
	if g != nil {
		e.record(event.Event{Kind: event.GroupHalted, Group: g.Name, Code: code, Message: message})
	}
	e.beginStop(stopping{status: status, message: message, driverLost: code == string(ErrDriverLost)})
}

// signalled takes the first signal. One that comes while the rotation puts
// things back for another reason keeps that reason, and makes time short.
func (e *Engine) signalled() {
	if e.stop == nil {
		e.beginStop(stopping{status: StatusStopped, message: "stopped by a signal", signal: true})
		return
	}
	if !e.stop.signal {
		e.stop.signal, e.stop.since = true, e.now
		e.freeze()
	}
}

// undo ends the rotation and takes everything back. A rotation that puts things
// back already goes on with that.
func (e *Engine) undo() {
	switch {
	case e.stop == nil:
		e.beginStop(stopping{status: StatusStopped, message: "aborted: everything is put back", undo: true})
	case e.stop.keepSurge || e.stop.signal:
		e.stop.keepSurge, e.stop.signal, e.stop.undo = false, false, true
		for _, g := range e.groups {
			if g.phase == groupFinished && g.surge > 0 {
				g.phase = groupGivingBack
			}
		}
	}
}

// lost ends the rotation because the provider cannot be observed.
func (e *Engine) lost(err *Error) {
	if e.stop != nil {
		if !e.stop.driverLost {
			e.stop.driverLost = true
			e.freeze()
		}
		return
	}
	e.beginStop(stopping{status: StatusFailed, message: err.Message, driverLost: true})
}

func (e *Engine) beginStop(s stopping) {
	s.since = e.now
	e.stop = &s
	e.phase = phaseStopping
	e.findMarks()
	e.finish = Result{Status: s.status, Message: s.message}
	e.record(event.Event{Kind: event.RotationStopping, Code: string(s.status), Message: s.message})
	e.freeze()
}

// freeze calls off what has not taken effect: drains above all.
func (e *Engine) freeze() {
	e.dropUnsent()
	for _, mv := range e.movers {
		mv.calledOff = true
	}
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			ahead := g.Roll != nil && m.phase == memberDrainedOnly
			if m.phase != memberCordoning && m.phase != memberDraining && !ahead {
				continue
			}
			e.setAside(m)
			e.dropDrain(m)
			m.leaving = false
			m.rest()
		}
		if g.phase == groupWaiting {
			g.phase = groupFinished
		}
	}
	e.unquiesceAll()
}

// stepStopping undoes, in the order of what matters most to the cluster:
// cordons and taints, then the surge, then the provider's settings.
func (e *Engine) stepStopping() {
	if e.unmark(e.givingBackNode) && !e.stop.signal {
		return
	}
	if e.stop.driverLost {
		return // nothing there can be put back
	}
	for _, g := range e.groups {
		if g.phase == groupFinished || g.Roll != nil && !e.leaveRoll(g) {
			continue
		}
		e.checkReplacements(g)
		e.callOff(g)
		e.endDrains(g)
		if !e.stop.signal && !e.stop.keepSurge && !e.giveBack(g) {
			continue
		}
		if e.restore(g) {
			g.phase = groupFinished
		}
	}
}

// givingBackNode tells whether a node's marks are needed still: it is being
// drained to be given back, or it is ending.
func (e *Engine) givingBackNode(node string) bool {
	m := e.memberOn(node)
	return m != nil && (m.leaving && m.phase != memberQuarantined || m.phase == memberTerminating)
}

// stopped tells whether the early end is complete, or time is up.
func (e *Engine) stopped() bool {
	unfinished := slices.ContainsFunc(e.groups, func(g *group) bool { return g.phase != groupFinished })
	if e.stop.driverLost {
		unfinished = false
	}
	complete := !unfinished && len(e.ops) == 0 && e.evicting == 0 && e.replicasReturned()
	if !complete && !(e.stop.signal && e.after(e.stop.since, stopGrace)) {
		return false
	}
	var left []string
	for _, g := range e.groups {
		if g.trouble != "" {
			left = append(left, g.trouble)
		}
		if g.surge > 0 && !strings.Contains(g.trouble, "extra instance") {
			left = append(left, fmt.Sprintf("group %s keeps %d extra instance(s), recorded at the provider", g.Name, g.surge))
		}
		if g.asked > g.surge {
			left = append(left, fmt.Sprintf("group %s may keep %d extra instance(s): the provider has not answered whether it has them", g.Name, g.asked))
		}
		if g.prepared && !g.restored {
			left = append(left, fmt.Sprintf("group %s keeps the settings of the rotation", g.Name))
		}
	}
	left = append(left, e.trouble...)
	if !complete {
		left = append(left, "not everything could be put back in time")
	}
	if len(left) > 0 {
		e.finish.Message += "; " + strings.Join(left, "; ")
	}
	e.finish.Message += "; run the same command again to go on"
	return true
}
