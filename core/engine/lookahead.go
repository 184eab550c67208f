package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/lookahead"
	"github.com/rotatord/rotator/core/plan"
)

const (
	// lookaheadNodes is up to how many nodes that wait the rest of a group is played
	// through. Where there are more, enough of them are free to go at any moment.
	lookaheadNodes = 24
	// lookaheadPlays bounds what one pick costs: a few milliseconds.
	lookaheadPlays = 500
)

// foresee marks those of the candidates with which the group ends the soonest, within
// shortWait, by a play of all that is left of it.
func (e *Engine) foresee(g *group, candidates []*member, surplus map[string]int) {
	for _, m := range candidates {
		m.bid.late = false
	}
	if len(candidates) < 2 || !e.foresees(g) {
		return
	}
	p := e.lookahead(g, candidates, surplus)
	if p == nil {
		return
	}
	ends := p.Ends(lookaheadPlays)
	soonest := slices.Min(ends)
	for i, m := range candidates {
		m.bid.late = ends[i] >= soonest+shortWait
	}
}

// foresees tells whether a play says anything about the group: its nodes go as soon
// as there are places, and in the order that we choose.
func (e *Engine) foresees(g *group) bool {
	st := e.cfg.Spec.Strategy
	return g.census.old[memberWaiting] <= lookaheadNodes && e.cfg.Plan.Mode != plan.ModeBatch && st.Waits.BetweenDrains == 0 &&
		st.Zones != plan.ZonesOneAtATime && e.cfg.Plan.ZoneRoom == nil && e.cfg.Plan.MaxInFlight == 0 && g.Surge+g.Unavailable > 1
}

// lookahead is the play of all that is left of a group. Nil: its nodes are not in
// each other's way.
func (e *Engine) lookahead(g *group, candidates []*member, surplus map[string]int) *lookahead.Problem {
	f := foresight{e: e, at: make(map[*contention]int), boot: cmp.Or(g.longestBoot, roundGuess)}
	zones := make(map[string]int)
	for _, z := range g.census.zones {
		zones[z.zone] = len(zones)
		f.p.Spare = append(f.p.Spare, -surplus[z.zone])
	}
	for _, m := range candidates {
		zone := zones[m.inst.Zone]
		f.p.Spare[zone]++
		f.p.Waiting = append(f.p.Waiting, f.node(m, zone))
	}
	if len(f.p.Budgets) == 0 {
		return nil
	}
	f.p.Boot, f.p.Canary = f.boot, e.canary(g)
	var draining []*member
	for _, o := range e.groups {
		for _, m := range o.census.busy {
			switch {
			case m.phase == memberCordoning || m.phase == memberDraining:
				draining = append(draining, m)
			case o == g && m.ours && m.phase == memberBooting:
				f.slot(m.launched())
			}
		}
	}
	slices.SortStableFunc(draining, func(a, b *member) int { return cmp.Compare(a.drain.turn, b.drain.turn) })
	for _, m := range draining {
		f.p.Draining = append(f.p.Draining, f.node(m, 0))
	}
	f.owed(g)
	for range g.census.usable - (g.base - g.Unavailable) {
		f.p.Slots = append(f.p.Slots, 0)
	}
	if len(f.p.Slots) == 0 {
		f.p.Slots = append(f.p.Slots, 0) // it carries nothing, and goes in any case
	}
	return &f.p
}

// foresight makes a play.
type foresight struct {
	e    *Engine
	p    lookahead.Problem
	at   map[*contention]int // places in its Budgets
	boot time.Duration
}

// owed adds the slots of instances that the provider has yet to launch.
func (f *foresight) owed(g *group) {
	n := max(g.base+g.surge-f.e.live(g), 0)
	for i := range n {
		if k := len(g.vacant) - n + i; k >= 0 {
			f.slot(g.vacant[k])
		} else {
			f.slot(f.e.now)
		}
	}
}

// slot adds the one of an instance that boots since then.
func (f *foresight) slot(since time.Time) {
	f.p.Slots = append(f.p.Slots, max(f.boot-f.e.now.Sub(since), 0))
}

// node is a member with its pods.
func (f *foresight) node(m *member, zone int) lookahead.Node {
	n := lookahead.Node{Zone: zone, Rank: m.rank + (2*bit(m.g.outside(m))+bit(m.counted.usable))<<32, Settle: m.settle}
	for _, l := range m.loads {
		if l.queued+l.waiting <= l.atOnce {
			continue // all of them may go together
		}
		n.Loads = append(n.Loads, lookahead.Load{Budget: f.budget(l), Pods: l.pods})
	}
	return n
}

// budget is a budget's place in the play.
func (f *foresight) budget(l load) int {
	i, ok := f.at[l.contention]
	if ok {
		return i
	}
	i = len(f.p.Budgets)
	f.at[l.contention] = i
	now := f.e.market(l.contention)
	b := lookahead.Budget{Round: now.round, Opens: make([]time.Duration, l.atOnce)}
	open := min(max(now.allowed, 0), l.atOnce)
	for k := range b.Opens[open:] {
		b.Opens[open+k] = b.Round
		if k < len(now.out) {
			b.Opens[open+k] = max(b.Round-f.e.now.Sub(now.out[k]), 0)
		}
	}
	f.p.Budgets = append(f.p.Budgets, b)
	return i
}
