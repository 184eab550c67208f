package engine

import (
	"fmt"
)

// Ops that are given up, and what that means for what they were for.

// failed takes an op for given up, and ends the rotation where that is a failure.
func (e *Engine) failed(o *op, err *Error) {
	gone := err.Code == ErrNotFound || err.Code == ErrConflict // the node, or this life of it
	fails := true
	switch o.purpose {
	case forTerminate:
		fails = e.terminateFailed(o, err)
	case forTaint:
		if fails = !gone; gone {
			delete(e.marked, o.Node)
		}
	case forUnmark:
		// Left behind, and said so at the end; the rotation ends all the same.
		fails = false
		delete(e.marked, o.Node)
		if !gone {
			e.finish.Status = StatusFailed
			e.finish.Message = fmt.Sprintf("node %s keeps rotator's marks: %s", o.Node, err.Message)
		}
	case forCordon:
		if fails = !gone; gone {
			e.cordoned(o.member) // the node object is gone, and with it what a drain could protect
		} else {
			e.cordonFailed(o, err)
		}
	case forSettle:
		fails = false // what it was for has happened
	case forRestore:
		fails = e.restoreFailed(o.group, err)
	case forPrepare:
		e.prepareFailed(o.group, err)
	case forSurge:
		o.group.surging = false
		if err.Code == ErrTransient || err.Code == ErrDriverLost {
			o.group.asked = o.Surge
		}
	case forRoll:
		if fails = err.Code == ErrNotFound || err.Code == ErrDriverLost; fails {
			o.group.roll.over = true
		} else {
			e.rollFailed(o.group, string(err.Code), err.Message)
		}
	case forCancel:
		fails = false
		e.rollGoesOn(o.group)
		o.group.trouble += ": " + err.Message
	case forQuiesce:
		fails = e.quiesceFailed(o.member, err)
	case forUnquiesce:
		fails = false
		e.unquiesceFailed(o.member, err)
	case forMove:
		fails = false
		e.moved(o, err)
	case forReturn:
		fails = false
		e.returnedReplica(o, err)
	}
	if fails {
		e.halt(o.group, StatusFailed, string(err.Code), err.Message)
	}
}

// terminateFailed: the instance stays, unless it is gone already. It tells whether
// that is a failure.
func (e *Engine) terminateFailed(o *op, err *Error) bool {
	if err.Code == ErrNotFound {
		e.terminateAccepted(o.member)
		return false
	}
	o.member.trouble = err.Message
	delete(e.departed, o.NodeUID)
	if o.member.phase != memberTerminating {
		return true
	}
	o.member.become(memberQuarantined)
	if o.Shrink {
		o.group.surge++
	}
	if o.member.leaving {
		e.keepsSurge(o.group, err.Message)
	}
	return true
}

func (e *Engine) cordonFailed(o *op, err *Error) {
	switch {
	case o.member.phase != memberCordoning: // it has been called off meanwhile
	case o.member.leaving:
		o.member.trouble = err.Message
		o.member.become(memberQuarantined)
		e.keepsSurge(o.group, err.Message)
	default:
		o.member.become(memberWaiting)
	}
}

// restoreFailed tells whether it is a failure that ends the rotation.
func (e *Engine) restoreFailed(g *group, err *Error) bool {
	g.restored = true
	if err.Code == ErrNotFound {
		return false // the group is gone, and its settings with it
	}
	g.trouble = fmt.Sprintf("group %s keeps the settings of the rotation: %s", g.Name, err.Message)
	return e.phase != phaseStopping
}

func (e *Engine) prepareFailed(g *group, err *Error) {
	g.preparing = false
	switch err.Code {
	case ErrHeld:
		// Whatever it has of another rotation is not ours to put back.
		g.prepared, g.surge, g.phase = false, 0, groupFinished
	case ErrNotFound, ErrUnsupported:
	case ErrTransient, ErrPermanent, ErrBlocked, ErrDenied, ErrMultiBudget, ErrConflict, ErrDriverLost:
		// It may have been done in part, and putting back nothing is success.
		g.prepared = true
	}
}

// keepsSurge takes note that an instance cannot be given back.
func (e *Engine) keepsSurge(g *group, why string) {
	g.giveBackStuck = true
	g.trouble = fmt.Sprintf("group %s keeps %d extra instance(s): %s", g.Name, g.surge, why)
}
