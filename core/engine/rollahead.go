package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/drain"
)

// Nodes that the core empties ahead of the provider (plan.Roll.Assisted), which
// drains the same group at the same time, in an order of its own. EKS makes all old
// nodes unschedulable first, and does not tell at which of them it is; only the
// pods show it, that end without our asking, and so they do when somebody else
// deletes them. So:
//
//   - as many nodes as the provider may be at count as missing, beside those that we
//     drain: no fewer serve than the group's size less what may be unavailable;
//   - their pods need room as well: a node that we empty must not take it from them;
//   - a budget's disruptions are theirs first: the provider's drain has a deadline,
//     and ours can wait. The nodes that it seems to be at go first. Where we do not
//     drain all of those, what a budget allows anew is left to it for a while.

// providersTurn is how long a budget that opens is left to the provider. kubectl's
// drain asks again every 5 s; EKS does not say how often it does.
const providersTurn = 10 * time.Second

// drainAhead cordons and drains old nodes while the provider's roll leaves room
// for it, and for us. It waits for the first new node: on another old one a pod
// would have to move once more.
func (e *Engine) drainAhead(g *group) {
	r := &g.roll
	theirs := g.Unavailable // nodes that the provider may be at
	busy, serving, up, seen := theirs, 0, 0, 0
	fresh := false
	var from, first []*member
	for _, m := range g.members {
		if m.phase == memberGone || m.phase == memberTerminating {
			continue
		}
		e.seeProvider(m)
		up += bit(m.n != nil && m.n.Ready)
		if m.phase == memberCordoning || m.phase == memberDraining || m.verify.open {
			busy++
			seen += bit(m.taken && m.phase != memberDrainedOnly)
			continue
		}
		serving += bit(m.usable())
		fresh = fresh || m.usable() && !m.inst.Outdated()
		// Of the others there is nothing to move, or nobody who could.
		if m.old && m.phase == memberWaiting && m.n != nil && m.n.Ready {
			if from = append(from, m); m.taken {
				first = append(first, m)
			}
		}
	}
	g.heldBack = ""
	r.unseen = max(0, theirs-seen)
	e.weighAll(g)
	if !fresh || g.early || e.shut {
		return
	}
	least, most := r.size-g.Unavailable, g.Unavailable+max(0, up-r.size)
	for busy < most && len(from) > 0 && e.noGlobalRoom() == "" {
		m := e.pick(g, first)
		if m == nil {
			m = e.pick(g, from)
		}
		if m == nil || serving-bit(m.usable())-theirs < least || !e.validates(g) {
			return
		}
		if why := e.noRoom(m); why != "" {
			g.heldBack = why
			return
		}
		from, first = without(from, []*member{m}), without(first, []*member{m})
		busy, serving = busy+1, serving-bit(m.usable())
		e.startDrain(g, m)
	}
}

// seeProvider takes note of a node whose pods somebody ends, and we do not: likely
// the provider is at it.
func (e *Engine) seeProvider(m *member) {
	if m.taken || !m.old && !m.inst.Outdated() || m.phase == memberDrainedOnly {
		return
	}
	for _, p := range m.at.list {
		if s := e.pods[p.UID]; p.Terminating && (s == nil || !s.asked && !s.accepted) && e.policy.Decide(p, drain.Circumstances{Now: e.now}).Action != drain.Leave {
			m.taken = true
			return
		}
	}
}

// providersNodes are the nodes that the provider may be at, beside m: those that it
// seems to be at, and for the others those with the most pods.
func (e *Engine) providersNodes(g *group, m *member) []*member {
	var out []*member
	for _, o := range g.members {
		if o != m && o.old && o.phase == memberWaiting && o.n != nil {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b *member) int {
		return cmp.Or(cmp.Compare(bit(b.taken), bit(a.taken)), cmp.Compare(len(b.at.list), len(a.at.list)))
	})
	return out[:min(len(out), g.Unavailable)]
}

// leftToProvider is until when a budget is left to the provider, for pods of other
// nodes than m's; the zero time: it is not.
func (e *Engine) leftToProvider(m *member, b *budget) time.Time {
	if g := m.g; g.Roll == nil || !g.Roll.Assisted || g.roll.unseen == 0 || m.taken || b.opened.IsZero() {
		return time.Time{}
	}
	c := e.contentionOf(b)
	others := c.waiting + c.queued
	for _, l := range m.loads {
		if l.contention == c {
			others -= l.pods
		}
	}
	if others <= 0 {
		return time.Time{}
	}
	return b.opened.Add(providersTurn)
}

// releaseAhead lets the nodes be used again that were emptied, or were about to
// be, and that the provider has not ended.
func (e *Engine) releaseAhead(g *group) {
	ours := make(map[string]bool)
	for _, m := range g.census.busy {
		if m.phase != memberCordoning && m.phase != memberDraining && m.phase != memberDrainedOnly {
			continue
		}
		e.dropCordon(m)
		e.dropDrain(m)
		e.unquiesce(m)
		m.rest()
		ours[m.node] = true
	}
	if len(ours) > 0 {
		e.unmark(func(node string) bool { return !ours[node] })
	}
}
