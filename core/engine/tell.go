package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// tell says what the rotation waits for: to the journal as soon as it is another,
// and to a person every so often.
func (e *Engine) tell() {
	if e.lastTold.IsZero() {
		e.lastTold = e.now
	}
	if e.phase == phaseDone {
		return
	}
	e.tellJournal()
	e.keepTime()
	if !e.after(e.lastTold, reportEvery) {
		return
	}
	e.lastTold = e.now
	e.wake(e.now.Add(reportEvery))
	for _, g := range e.groups {
		if s := e.waitsFor(g, false); s != "" {
			e.record(event.Event{Kind: event.Waiting, Group: g.Name, Message: s})
		}
	}
}

// waitsFor names what a group waits for; empty: nothing, or it has ended. exact has
// it with the moments since when, and without what changes with every look: for the
// journal.
func (e *Engine) waitsFor(g *group, exact bool) string {
	if g.phase == groupWaiting || g.phase == groupFinished {
		return ""
	}
	since := func(t time.Time) string {
		if !exact || t.IsZero() {
			return ""
		}
		return " since " + t.UTC().Format(moment)
	}
	var parts []string
	add := func(what string, in func(*member) bool, began func(*member) time.Time, why func(*member) string) {
		var one *member
		n := 0
		for _, m := range g.census.busy {
			if in(m) {
				if n++; one == nil {
					one = m
				}
			}
		}
		if n == 0 {
			return
		}
		s := what + " " + one.label() + since(began(one))
		if why != nil {
			if w := why(one); w != "" {
				s += " (" + w + ")"
			}
		}
		parts = append(parts, s+more(n))
	}
	if g.Roll == nil || g.roll.over {
		add("replacement", func(m *member) bool { return m.phase == memberBooting }, func(m *member) time.Time { return m.firstSeen },
			func(m *member) string {
				if !exact && (m.n == nil || !m.n.Ready) {
					return "" // that is what one expects
				}
				return e.initialized(g, m).Evidence
			})
	}
	quiescing := func(m *member) bool { return m.phase == memberDraining && m.drain.quiesce.holds() }
	add("load balancers to let go of", quiescing, func(m *member) time.Time { return m.drain.quiesce.since }, nil)
	add("drain of", func(m *member) bool {
		return (m.phase == memberDraining || m.phase == memberCordoning) && !quiescing(m)
	}, func(m *member) time.Time { return m.startedAt }, nil)
	add("end of", func(m *member) bool { return m.phase == memberTerminating }, func(m *member) time.Time { return m.endedAt }, nil)
	add("pods that left", func(m *member) bool { return m.verify.open }, func(m *member) time.Time { return m.verify.since }, e.unhealthy)
	missing := g.base + g.surge - e.live(g)
	lacks := missing > 0 && !e.cfg.DrainOnly && g.Roll == nil
	if exact {
		firstSince(&g.told.lacks, lacks, e.now)
	}
	if lacks {
		parts = append(parts, notLaunched(missing)+since(g.told.lacks))
	}
	if !g.canaryAt.IsZero() && e.canary(g) {
		parts = append(parts, fmt.Sprintf("the canary's bake time of %s", e.cfg.Spec.Strategy.Canary.Bake)+since(g.canaryAt))
	}
	var text []string
	if g.Roll != nil {
		if s := e.waitsForRoll(g, !exact); s != "" {
			text = append(text, s)
		}
	}
	if len(parts) > 0 {
		text = append(text, "waiting for "+strings.Join(parts, "; "))
	}
	idle := ""
	if len(text) == 0 {
		idle = e.idles(g)
	}
	if exact {
		firstSince(&g.told.held, idle != "", e.now)
	}
	if idle != "" {
		return idle + since(g.told.held)
	}
	return strings.Join(text, "; ")
}

func notLaunched(n int) string {
	return fmt.Sprintf("%d instance(s) that the provider has not launched yet", n)
}

// idles says why a group does not go on although nothing is under way in it; empty:
// it does.
func (e *Engine) idles(g *group) string {
	const next = "the next node waits: "
	w := e.cfg.Spec.Strategy.Waits
	switch g.phase {
	case groupActive, groupGivingBack, groupRestoring:
	case groupWaiting, groupFinished:
		return ""
	}
	few := g.census.usable <= g.base-g.Unavailable
	switch {
	case g.heldBack != "":
		return next + g.heldBack
	case !g.heldSince.IsZero():
		return fmt.Sprintf("%d extra instance(s) are given back later: %s", g.surge, e.tooFew(g))
	case (g.phase == groupGivingBack || e.stop != nil) && e.obs.answeredStep < g.resizedStep:
		return "waiting for the provider to show the size of the group"
	case g.phase != groupActive || g.preparing || g.Roll != nil || e.stop != nil || g.census.old[memberWaiting] == 0:
		return ""
	case g.early:
		return next + "nodes of the groups before it are still being replaced"
	case w.BetweenDrains > 0 && !g.lastDrainEnd.IsZero() && e.now.Sub(g.lastDrainEnd) < w.BetweenDrains:
		return next + fmt.Sprintf("the pause of %s between drains", w.BetweenDrains)
	case w.BetweenBatches > 0 && !g.waveEnded.IsZero() && e.now.Sub(g.waveEnded) < w.BetweenBatches:
		return next + fmt.Sprintf("the pause of %s between batches", w.BetweenBatches)
	case few:
		return next + e.tooFew(g)
	}
	return ""
}
