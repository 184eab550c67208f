package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// closeWindow begins nothing once the window has closed: what has been begun is
// finished, for a node that is half drained would only have moved its pods for
// nothing, and then the rotation ends as a stop does that is in no hurry: marks
// come off, surge is given back.
func (e *Engine) closeWindow() {
	at := e.cfg.ClosesAt
	if at.IsZero() {
		return
	}
	if at.After(e.now) {
		e.wake(at)
		return
	}
	if !e.shut {
		e.shut = true
		e.record(event.Event{Kind: event.WindowClosed, Message: fmt.Sprintf("the window closed at %s: nothing new is begun", at.UTC().Format(time.RFC3339))})
	}
	busy := slices.ContainsFunc(e.groups, func(g *group) bool {
		old := &g.census.old
		if g.phase == groupFinished {
			return false // it may have been given up while instances of it end: it is not looked at any more
		}
		if g.Roll != nil && g.phase == groupActive && g.roll.op != "" {
			return true // its provider goes on in any case: better to see how it ends
		}
		return g.surging || g.preparing || old[memberCordoning]+old[memberDraining]+old[memberTerminating] > 0
	})
	var left []string
	for _, g := range e.groups {
		if n := g.unreplaced(); n > 0 {
			left = append(left, fmt.Sprintf("%d node(s) of group %s", n, g.Name))
		}
	}
	if busy || len(left) == 0 {
		return
	}
	e.beginStop(stopping{status: StatusStopped, message: "the window has closed before " + strings.Join(left, ", ")})
}
