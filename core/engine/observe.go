package engine

import (
	"time"

	"github.com/rotatord/rotator/core/model"
)

// observer decides when the provider is asked. What the cluster's watches show
// needs no asking: a node that joins is the cue to learn which instance it is.
type observer struct {
	inFlight bool
	wanted   bool
	last     time.Time // when the last answer came
	shownAt  time.Time // when the last that was no error came
	notUntil time.Time
	failures int
	// askedStep is the Step that asked last, answeredStep the one that asked for
	// the last answer.
	askedStep, answeredStep int
	seen                    map[string]bool // provider ids of nodes that an answer did not explain
}

// Pauses between looks at the provider.
const (
	observeAtMost = time.Second // never more often: joins come in swarms
	// observeMaxAge is below the pause, so that each look is a new one, and above
	// 0, which would ask the driver to read anew what changes rarely as well
	// (templates, instance refreshes): three calls instead of one.
	observeMaxAge  = observeAtMost / 2
	observeWaiting = 15 * time.Second // while an instance is expected or ending
	observeIdle    = 60 * time.Second
	// observeQuiescing, while an instance leaves its load balancers: its drain
	// waits for that, and nothing else tells.
	observeQuiescing = 5 * time.Second
	// observeRolling, while a provider rolls a group: its end is to be seen within
	// 10 s.
	observeRolling = 5 * time.Second
	// maxObserveFailures in a row, with pauses up to 30 s: about four minutes.
	maxObserveFailures = 10
)

func (o *observer) ask() { o.wanted = true }

func (e *Engine) planObserve() {
	o := &e.obs
	if o.inFlight || e.phase == phaseTidying || e.cfg.DrainOnly || e.stop != nil && (e.stop.signal || e.stop.driverLost) {
		return
	}
	every := observeIdle
	switch {
	case e.rolls():
		every = observeRolling
	case e.quiescing():
		every = observeQuiescing
	case e.expecting():
		every = observeWaiting
	}
	// A never-joined instance must be noticed well within its own deadline.
	every = min(every, max(e.cfg.Spec.Gates.NodeReady.Timeout/4, observeAtMost))
	due := o.last.Add(every)
	if o.wanted {
		due = o.last.Add(observeAtMost)
	}
	if o.notUntil.After(due) {
		due = o.notUntil
	}
	if due.After(e.now) {
		e.wake(due)
		return
	}
	o.inFlight, o.wanted, o.askedStep = true, false, e.step
	e.out.Effects = append(e.out.Effects, Effect{Verb: VerbObserve, MaxAge: observeMaxAge})
}

func (e *Engine) observed(out Outcome) {
	o := &e.obs
	o.inFlight = false
	o.last = e.now
	if out.Err == nil {
		o.failures = 0
		return
	}
	o.failures++
	o.wanted = true
	o.notUntil = e.now.Add(backoff("observe", o.failures))
	if out.Err.Code != ErrTransient || o.failures >= maxObserveFailures {
		e.lost(out.Err)
	}
}

// expecting tells whether the provider owes something.
func (e *Engine) expecting() bool {
	for _, g := range e.groups {
		if g.phase != groupActive && g.phase != groupGivingBack {
			continue
		}
		if g.surging {
			return true
		}
		for _, m := range g.census.busy {
			if m.ours && m.phase == memberBooting || m.phase == memberTerminating {
				return true
			}
		}
		if e.live(g) < g.base+g.surge {
			return true
		}
	}
	return false
}

// strangers sees whether a node joined that the last answer did not explain,
// and remembers it: each is a reason to ask once.
func (e *Engine) strangers(changed []model.Node) {
	if e.obs.seen == nil {
		e.obs.seen = make(map[string]bool)
	}
	for i := range changed {
		n := &changed[i]
		if !n.Ready || n.ProviderID == "" || e.obs.seen[n.ProviderID] {
			continue
		}
		e.obs.seen[n.ProviderID] = true
		if e.started && e.byProvider[n.ProviderID] == nil {
			e.obs.ask()
		}
	}
}
