package sim

import (
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// untold is how long a run may do nothing that its journal shows before the journal
// must say what it waits for: the engine looks at least every 30 s, and tells what a
// group waits for at most every 10 s.
const untold = 45 * time.Second

// told is what a run's journal says is under way: what `rotatord status` shows.
type told struct {
	open map[string]string // calls by op id, what groups, drains and rolls wait for
	last time.Duration     // when anything was recorded
	// said is when it was last told what a group or a drain waits for.
	said map[string]time.Duration
}

// tellPause is the least time between two words to the journal about the same drain
// or group, so that it grows with what happens and not with how long that takes.
const tellPause = 10 * time.Second

func newTold(now time.Duration) told {
	return told{open: make(map[string]string), last: now, said: make(map[string]time.Duration)}
}

// rare holds what is told of waits to its pause, from the first word about a drain
// on: one may begin anew.
func (c *checker) rare(ev event.Event) {
	key := "group " + ev.Group
	switch ev.Kind {
	case event.NodeDraining:
		delete(c.told.said, "drain "+ev.Node)
		return
	case event.DrainWaits:
		key = "drain " + ev.Node
	case event.GroupWaits:
		c.hold(Told, ev.Message != c.told.open[key], "the journal is told twice that %s waits for %s", key, ev.Message)
	default:
		return
	}
	if before, ok := c.told.said[key]; ok {
		c.hold(Told, c.w.now-before >= tellPause, "the journal is told within %s of another wait of %s: %s", c.w.now-before, key, ev.Message)
	}
	c.told.said[key] = c.w.now
}

// take folds one durable event.
func (t *told) take(ev event.Event, now time.Duration) {
	if !ev.Kind.Durable() {
		return
	}
	t.last = now
	switch ev.Kind { //nolint:exhaustive // only these begin or end a wait
	case event.RotationStopping: // drains are called off
		for key := range t.open {
			if strings.HasPrefix(key, "drain ") {
				delete(t.open, key)
			}
		}
	case event.OpIntended:
		t.open["op "+ev.Op] = ev.Verb
	case event.OpSucceeded, event.OpFailed:
		delete(t.open, "op "+ev.Op)
	case event.GroupWaits:
		t.open["group "+ev.Group] = ev.Message
		if ev.Message == "" {
			delete(t.open, "group "+ev.Group)
		}
	case event.GroupFinished:
		delete(t.open, "group "+ev.Group)
	case event.GroupRolling:
		t.open["roll "+ev.Group] = ev.Message
	case event.GroupRolled:
		delete(t.open, "roll "+ev.Group)
	case event.DrainWaits:
		t.open["drain "+ev.Node] = ev.Message
	case event.NodeDrained, event.NodeQuarantined, event.NodeReplaced:
		delete(t.open, "drain "+ev.Node)
	}
}

// checkTold holds the journal to saying at every moment what the run waits for.
func (c *checker) checkTold() {
	if quiet := c.w.now - c.told.last; quiet > untold {
		c.hold(Told, len(c.told.open) > 0, "nothing was recorded for %s, and the journal does not say what is waited for", quiet)
	}
}
