package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// giveBack takes surge back that no old instance took with it. True once none
// is left or nothing more can be done.
func (e *Engine) giveBack(g *group) bool {
	if g.surging || slices.ContainsFunc(g.census.busy, func(m *member) bool {
		return m.leaving && m.phase != memberGone && m.phase != memberQuarantined
	}) {
		return false
	}
	if g.giveBackStuck || e.cfg.DrainOnly {
		return true
	}
	if g.surge <= 0 {
		return e.confirmed(g)
	}
	// What the provider owes may come yet: to end another in its place would
	// leave the group too small.
	timeout := e.cfg.Spec.Gates.NodeReady.Timeout
	extra := min(e.live(g)-g.base, g.surge)
	if extra < g.surge && !e.after(g.lastProgress, timeout) {
		return false
	}
	late := !g.heldSince.IsZero() && e.after(g.heldSince, timeout)
	victims, surplus := e.victims(g), e.surplus(g)
	usable := g.census.usable
	taken, owed := 0, extra > 0
	for _, m := range victims {
		if taken >= extra {
			break
		}
		switch {
		case m.usable() && usable <= g.base-g.Unavailable:
			// The others are not up. One of another zone in its place would leave the
			// zones uneven, and a provider that evens them out drains nothing: rather
			// wait for those that boot.
			if surplus[m.inst.Zone] > 0 && !late {
				extra = taken
			}
			continue
		case m.usable():
			usable--
		case m.phase == memberBooting && m.carries() && usable < g.base-g.Unavailable && !late:
			continue // it waits for no more than pods of DaemonSets, and is needed then
		case !m.ours && m.phase == memberBooting && !late:
			continue // it was there before, and may come back
		}
		why, stuck := e.mayLose(m)
		if g.heldBack = why; why != "" && !stuck {
			return false
		}
		if why != "" {
			break
		}
		m.leaving = true
		e.startDrain(g, m)
		taken++
	}
	if taken > 0 {
		g.heldSince = time.Time{}
		return false
	}
	if owed && !late { // the nodes that it would leave may come up yet
		if g.heldSince.IsZero() {
			g.heldSince = e.now
			e.wake(e.now.Add(timeout))
		}
		return false
	}
	g.giveBackStuck = true
	g.trouble = fmt.Sprintf("group %s keeps %d extra instance(s), recorded at the provider: it has %d of %d instances, %d of them usable",
		g.Name, g.surge, e.live(g), g.base+g.surge, usable)
	return true
}

// confirmed tells whether the provider has been looked at since the group's
// capacity was last changed. Where somebody else ended an instance just before
// we ended it together with its capacity, the capacity is still there.
func (e *Engine) confirmed(g *group) bool {
	if slices.ContainsFunc(e.ops, func(o *op) bool { return o.group == g && o.capacity() }) {
		return false // its answer may come after the end of its instance
	}
	if e.obs.answeredStep >= g.resizedStep {
		return true
	}
	e.obs.ask()
	return false
}

// victims lists what may be given back: bad instances first, then those of zones
// that have too many, and in each of these first what an earlier run was about to
// give back, then those still booting, then the ones with the fewest pods. What was
// there before the rotation is spared where possible.
func (e *Engine) victims(g *group) []*member {
	if g.Traits.SurgeDetaches {
		return g.outsiders()
	}
	var victims []*member
	for _, m := range g.members {
		if !m.old && !m.leaving && (m.phase == memberBad || m.phase == memberBooting || m.phase == memberReady) {
			victims = append(victims, m)
		}
	}
	rank := func(m *member) int {
		switch {
		case m.phase == memberBad:
			return 0
		case m.phase == memberBooting && m.ours:
			return 1
		case m.phase == memberBooting: // was there before, and will come back
			return 3
		}
		return 2
	}
	going := func(m *member) bool { return cordonLeft(e.w.nodes[m.node]) }
	slices.SortStableFunc(victims, func(a, b *member) int {
		// Whether it came up in the rotation is forgotten where nobody goes on with it:
		// what is outdated was there before.
		return cmp.Or(cmp.Compare(bit(going(b)), bit(going(a))), cmp.Compare(rank(a), rank(b)), cmp.Compare(bit(b.ours), bit(a.ours)),
			cmp.Compare(bit(a.inst.Outdated()), bit(b.inst.Outdated())),
			cmp.Compare(len(a.at.list), len(b.at.list)))
	})
	surplus, even := e.surplus(g), make(map[*member]bool)
	for _, m := range victims {
		if m.phase != memberBad && surplus[m.inst.Zone] > 0 {
			surplus[m.inst.Zone]--
			even[m] = true
		}
	}
	slices.SortStableFunc(victims, func(a, b *member) int {
		return cmp.Or(cmp.Compare(bit(b.phase == memberBad), bit(a.phase == memberBad)), cmp.Compare(bit(even[b]), bit(even[a])))
	})
	return victims
}
