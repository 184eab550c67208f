package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rotatord/rotator/core/engine"
)

// call is an effect on its way.
type call struct {
	engine.Effect
	name     string
	rotation string
	life     int // of the driver: each run starts its own
	acts     []act
	snapshot *engine.Snapshot
	answer   func(*call, *engine.Error) // nil: nobody listens any more
	acted    bool                       // all that is to happen has happened
	lost     bool                       // its answer does not come
	dropped  bool                       // it never reached the other side
	delay    time.Duration              // it is held up on the way by so much more
	decided  time.Duration              // when it was asked for
	// before and after see each act, for the checks; nil: nobody looks.
	before, after func(*call)
	was           string // who had ended the instance before the act
}

func provider(v engine.Verb) bool {
	switch v {
	case engine.VerbObserve, engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbTerminate,
		engine.VerbQuiesce, engine.VerbUnquiesce, engine.VerbRoll, engine.VerbCancel:
		return true
	case engine.VerbPatchNode, engine.VerbPatchWorkload, engine.VerbEvict, engine.VerbDeletePod, engine.VerbCheckAPI:
	}
	return false
}

// name of the call, for faults: what it is, and which try.
func (w *World) nameCall(e engine.Effect) string {
	what := string(e.Verb)
	switch e.Verb {
	case engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbRoll, engine.VerbCancel:
		what += " " + e.GroupID
	case engine.VerbTerminate, engine.VerbQuiesce, engine.VerbUnquiesce:
		what += " " + e.InstanceID
	case engine.VerbPatchNode:
		what += " " + e.Node
	case engine.VerbPatchWorkload:
		what += " " + e.Workload.Name
	case engine.VerbEvict, engine.VerbDeletePod:
		what += " " + e.Pod.UID
	case engine.VerbObserve, engine.VerbCheckAPI:
	}
	w.tries[what]++
	return what + " #" + strconv.Itoa(w.tries[what])
}

// perform carries a call out: after a while each of its acts, after another
// its answer. Faults may have it otherwise.
func (w *World) perform(c *call) {
	c.name, c.decided = w.nameCall(c.Effect), w.now
	cloud := provider(c.Verb)
	slow, fixed := 150*time.Millisecond, w.pace.API
	if cloud {
		slow, fixed = 1500*time.Millisecond, w.pace.Cloud
	}
	d := w.dice("call", c.name)
	reach, back := w.span(&d, fixed, 2*time.Millisecond, slow), w.span(&d, fixed, 2*time.Millisecond, slow)
	if w.faults.strikes(w, Late, c.name) {
		reach += d.between(5*time.Second, 40*time.Second)
		back += d.between(time.Second, 30*time.Second)
	}
	c.lost = w.faults.strikes(w, Lost, c.name)
	failed := &engine.Error{Code: engine.ErrTransient, Message: c.name + ": no answer"}
	if w.faults.strikes(w, FailBefore, c.name) {
		w.after(reach, func() { c.acted = true; w.respond(c, failed, back) })
		return
	}
	switch c.Verb {
	case engine.VerbObserve:
		c.acts = []act{func() *engine.Error { c.snapshot = w.snapshot(); return nil }}
	case engine.VerbCheckAPI: // there is one as long as there is a world
		c.acts = []act{func() *engine.Error { return nil }}
	case engine.VerbPatchNode:
		c.acts = []act{func() *engine.Error { return w.patch(c.Node, c.Patch) }}
	case engine.VerbPatchWorkload:
		c.acts = []act{func() *engine.Error { return w.patchWorkload(c.Workload, c.WorkloadPatch) }}
	case engine.VerbEvict:
		c.acts = []act{func() *engine.Error { return w.evict(c.Pod, c.GracePeriodSeconds) }}
	case engine.VerbDeletePod:
		c.acts = []act{func() *engine.Error { return w.deletePod(c.Pod, c.GracePeriodSeconds) }}
	case engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbTerminate, engine.VerbQuiesce, engine.VerbUnquiesce,
		engine.VerbRoll, engine.VerbCancel:
		c.acts = w.verb(c.rotation, c.Effect)
	}
	if n := len(c.acts); n > 1 && w.faults.strikes(w, DriverDies, c.name) {
		c.acts = append(slices.Clip(c.acts[:1+d.n(n-1)]), func() *engine.Error {
			return &engine.Error{Code: engine.ErrTransient, Message: c.name + ": the driver died"}
		})
	}
	w.step(c, 0, reach, back, slow)
}

// step does one act, then the next after a while.
func (w *World) step(c *call, i int, in, back, slow time.Duration) {
	w.after(in, func() {
		if c.dropped {
			return
		}
		if late := c.delay; late > 0 {
			c.delay, c.acts = 0, c.acts[:i+1] // its deadline passes: nothing follows
			w.step(c, i, late, back, slow)
			return
		}
		if i == 0 && !w.alone(c) {
			w.step(c, i, 20*time.Millisecond, back, slow)
			return
		}
		var err *engine.Error
		if i == 0 && provider(c.Verb) && w.storm > w.now {
			if d := w.dice("throttled", c.name); d.chance(0.6) {
				err = &engine.Error{Code: engine.ErrTransient, Message: c.name + ": rate exceeded"}
			}
		}
		if err == nil {
			if c.before != nil {
				c.before(c)
			}
			err = c.acts[i]()
			if c.after != nil {
				c.after(c)
			}
		}
		if err == nil && i+1 < len(c.acts) {
			d := w.dice("act", c.name, fmt.Sprint(i))
			w.step(c, i+1, w.span(&d, w.pace.Cloud, 5*time.Millisecond, slow/2), back, slow)
			return
		}
		c.acted = true
		w.respond(c, err, back)
	})
}

// alone tells whether the driver may begin with a call: it makes one change of a
// group at a time. Another life of it knows nothing of this one.
func (w *World) alone(c *call) bool {
	g := w.group(c.GroupID)
	if g == nil || len(c.acts) < 2 {
		return true
	}
	if o := g.changing; o != nil && o != c && o.life == c.life && !o.acted && !o.dropped {
		return false
	}
	g.changing = c
	return true
}

// respond brings the answer back.
func (w *World) respond(c *call, err *engine.Error, back time.Duration) {
	if c.lost {
		err = &engine.Error{Code: engine.ErrTransient, Message: c.name + ": the answer was lost"}
		c.snapshot = nil
		back += 5 * time.Second
	}
	w.after(back, func() {
		if c.answer != nil {
			c.answer(c, err)
		}
	})
}
