package engine

import (
	"fmt"
	"strings"

	"github.com/rotatord/rotator/core/event"
)

// tell says every so often what the rotation as a whole waits for.
func (e *Engine) tell() {
	if e.lastTold.IsZero() {
		e.lastTold = e.now
	}
	if e.phase == phaseDone || !e.after(e.lastTold, reportEvery) {
		return
	}
	e.lastTold = e.now
	e.wake(e.now.Add(reportEvery))
	for _, g := range e.groups {
		if s := e.waitsFor(g); s != "" {
			e.record(event.Event{Kind: event.Waiting, Group: g.Name, Message: s})
		}
	}
}

// waitsFor names what a group waits for; empty: nothing, or it has ended.
func (e *Engine) waitsFor(g *group) string {
	if g.phase == groupWaiting || g.phase == groupFinished {
		return ""
	}
	var parts []string
	if g.Roll != nil {
		if s := e.waitsForRoll(g); s != "" {
			parts = append(parts, s)
		}
	}
	add := func(what string, in func(*member) bool) {
		var names []string
		for _, m := range g.census.busy {
			if in(m) {
				names = append(names, m.label())
			}
		}
		if len(names) > 0 {
			parts = append(parts, what+" "+first(names))
		}
	}
	if g.Roll == nil {
		add("replacement", func(m *member) bool { return m.phase == memberBooting })
	}
	quiescing := func(m *member) bool { return m.phase == memberDraining && m.drain.quiesce.holds() }
	add("load balancers to let go of", quiescing)
	add("drain of", func(m *member) bool {
		return (m.phase == memberDraining || m.phase == memberCordoning) && !quiescing(m)
	})
	add("end of", func(m *member) bool { return m.phase == memberTerminating })
	add("pods that left", func(m *member) bool { return m.verify.open })
	if missing := g.base + g.surge - e.live(g); missing > 0 && !e.cfg.DrainOnly && g.Roll == nil {
		parts = append(parts, fmt.Sprintf("%d instance(s) that the provider has not launched yet", missing))
	}
	if !g.canaryAt.IsZero() && e.canary(g) {
		parts = append(parts, fmt.Sprintf("the canary's bake time of %s", e.cfg.Spec.Strategy.Canary.Bake))
	}
	if len(parts) == 0 && g.heldBack != "" {
		return "the next node waits: " + g.heldBack
	}
	if len(parts) == 0 {
		return ""
	}
	text := strings.Join(parts, "; ")
	if g.Roll != nil {
		return text
	}
	return "waiting for " + text
}
