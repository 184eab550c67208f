package engine

import (
	"cmp"
	"slices"
)

// census holds the sums over a group's members that decisions ask for in every
// Step, so that a Step costs in proportion to what has changed and not to the
// size of the group. become and recount keep it; nothing else writes to it, and
// a test counts anew after every Step of every script.
type census struct {
	changes int               // of what stands of any member
	in      [memberPhases]int // members in each phase
	old     [memberPhases]int // of these, those that the plan replaces
	// usable members carry their share; started are old ones whose replacement has
	// begun; light are old ones that wait and carry nothing.
	usable, started, light int
	// zones in the order of their names. A zone stays once it has been seen: the
	// group has it, even when it is empty.
	zones []*zoneCensus
	// busy are the members with which something is under way, in the order of
	// members. It is replaced and never changed, so a loop may run over it while
	// its members change.
	busy []*member
}

// zoneCensus is the part of one zone.
type zoneCensus struct {
	zone string
	zoneSums
	now zoneChoice
}

// zoneSums of a zone's members.
type zoneSums struct {
	// live instances count for the evenness of zones: bad and ending ones do not.
	live, old, usable, waiting int
}

// zoneChoice is what a pick has to choose from in a zone.
type zoneChoice struct {
	allowed bool // one of its nodes may go now
	busy    int  // nodes of it that are being replaced, over all groups
	spare   int  // old ones that wait, but for those that must end with the surge
	free    int  // old ones that need not wait for others under a budget
}

// standing is what the census holds of one member.
type standing struct {
	counted, old, usable, started, busy bool
	phase                               memberPhase
	zone                                string
}

// become moves a member to another phase. Nothing else sets a phase.
func (m *member) become(p memberPhase) {
	m.phase = p
	m.recount()
}

// rest lets a member be what it was before it was to be drained.
func (m *member) rest() {
	if m.old {
		m.become(memberWaiting)
		return
	}
	m.become(memberReady)
}

// recount brings the census up to date with a member. It must follow every
// change of what stands counts.
func (m *member) recount() {
	if now := m.stands(); now != m.counted {
		m.g.census.changes++
		m.g.census.add(m, m.counted, -1)
		m.g.census.add(m, now, 1)
		if now.busy != m.counted.busy {
			m.g.census.setBusy(m, now.busy)
		}
		if m.zone == nil || m.zone.zone != now.zone {
			m.zone = m.g.census.zone(now.zone)
		}
		m.counted = now
	}
}

// stands is what counts of a member.
func (m *member) stands() standing {
	busy := m.verify.open
	switch m.phase {
	case memberCordoning, memberDraining, memberTerminating, memberQuarantined, memberDrainedOnly, memberBooting, memberBad:
		busy = true
	case memberWaiting, memberReady, memberGone:
	}
	return standing{counted: true, phase: m.phase, old: m.old, usable: m.usable(), started: m.old && !m.startedAt.IsZero(), busy: busy, zone: m.inst.Zone}
}

// add counts a member in (by 1) or out (by -1).
func (c *census) add(m *member, s standing, by int) {
	if !s.counted {
		return
	}
	old, usable := by*bit(s.old), by*bit(s.usable)
	c.in[s.phase] += by
	c.old[s.phase] += old
	c.usable += usable
	c.started += by * bit(s.started)
	z := c.zone(s.zone)
	z.usable += usable
	switch s.phase {
	case memberGone, memberTerminating, memberBad:
		return
	case memberWaiting:
		z.waiting += old
		c.light += old * bit(!s.usable)
	case memberCordoning, memberDraining, memberQuarantined, memberDrainedOnly, memberBooting, memberReady:
	}
	z.live += by
	z.old += old
}

// zone finds a zone, and makes it where it is new.
func (c *census) zone(name string) *zoneCensus {
	i, found := slices.BinarySearchFunc(c.zones, name, func(z *zoneCensus, name string) int { return cmp.Compare(z.zone, name) })
	if !found {
		c.zones = slices.Insert(c.zones, i, &zoneCensus{zone: name})
	}
	return c.zones[i]
}

func (c *census) setBusy(m *member, busy bool) {
	i, found := slices.BinarySearchFunc(c.busy, m.place, func(o *member, place int) int { return cmp.Compare(o.place, place) })
	switch {
	case busy && !found:
		next := make([]*member, 0, len(c.busy)+1)
		c.busy = append(append(append(next, c.busy[:i]...), m), c.busy[i:]...)
	case !busy && found:
		next := make([]*member, 0, len(c.busy)-1)
		c.busy = append(append(next, c.busy[:i]...), c.busy[i+1:]...)
	}
}

// enlist gives a new member its place behind the others.
func (g *group) enlist(m *member) {
	m.g, m.place = g, g.places
	g.places++
	g.members = append(g.members, m)
	m.recount()
}

// rearrange sorts the members anew: as the plan has them.
func (g *group) rearrange(order func(a, b *member) int) {
	slices.SortFunc(g.members, order)
	g.untainted = nil
	for i, m := range g.members {
		m.place = i
		if m.old {
			g.untainted = append(g.untainted, m)
		}
	}
	slices.SortFunc(g.census.busy, func(a, b *member) int { return cmp.Compare(a.place, b.place) })
}

// sweep drops the members that are gone and have nothing left to be verified,
// and keeps what is asked of them later.
func (g *group) sweep(e *Engine) {
	verified := g.census.in[memberGone]
	for _, m := range g.census.busy {
		verified -= bit(m.phase == memberGone)
	}
	if verified == 0 {
		return
	}
	g.members = slices.DeleteFunc(g.members, func(m *member) bool {
		if m.phase != memberGone || m.verify.open {
			return false
		}
		e.weigh(m)
		g.census.add(m, m.counted, -1)
		if m.counted.started {
			g.census.started++ // for good
			g.firstThrough = true
		}
		switch {
		case m.wasBad:
			g.fallen = append(g.fallen, m)
		case m.old:
			g.replaced++
		}
		return true
	})
}
