package engine

import (
	"cmp"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// contention is one PodDisruptionBudget as the order of nodes sees it: how many
// of its pods have to move yet, and how many may be on their way at once.
type contention struct {
	key model.BudgetKey
	// waiting pods are on old nodes whose turn has not come, queued ones on nodes
	// that are being drained.
	waiting, queued int
	budget          *budget
	// atOnce is the budget's allowance while all its pods are healthy.
	atOnce int
	// starts is the longest time that one of its pods took from being scheduled to
	// being Ready; 0: not known.
	starts time.Duration
	// now is what its bids of one pick have in common.
	now market
}

// market is what all nodes that bid have in common under one budget, at one pick.
type market struct {
	pick  uint64 // Engine.picks; any other: it is of another pick
	round time.Duration
	// chain is the time for all pods that have to move yet.
	chain   time.Duration
	allowed int
	// out are the evictions that the budget has not made up for, oldest first.
	out []time.Time
}

// ahead is how many rounds of evictions the pods that are queued take.
func (c *contention) ahead() float64 { return float64(c.queued) / float64(c.atOnce) }

// chain is how many rounds all pods take that have to move yet.
func (c *contention) chain() float64 { return float64(c.queued+c.waiting) / float64(c.atOnce) }

// load is what of a node's pods falls under one budget.
type load struct {
	*contention
	pods int
}

// turn is whether a member's pods count as waiting or as queued.
type turn int

const (
	turnNone turn = iota
	turnWaiting
	turnQueued
)

func (m *member) turn() turn {
	switch m.phase {
	case memberWaiting:
		if m.old {
			return turnWaiting
		}
	case memberCordoning, memberDraining:
		return turnQueued
	case memberTerminating, memberGone, memberQuarantined, memberDrainedOnly, memberBooting, memberReady, memberBad:
	}
	return turnNone
}

// weigh brings the sums of the budgets up to date with a member. It looks at
// the node's pods only where they have changed.
func (e *Engine) weigh(m *member) {
	now := m.turn()
	stale := m.podsVersion != m.at.version || m.budgetsVersion != e.w.budgetsVersion
	if now == m.weighedAs && (!stale || now == turnNone) {
		return
	}
	m.shift(m.weighedAs, -1)
	if stale {
		m.podsVersion, m.budgetsVersion = m.at.version, e.w.budgetsVersion
		m.loads, m.settle = e.loadsOn(m)
	}
	m.weighedAs = now
	m.shift(now, 1)
}

// weighAll brings the sums up to date with a group, and with what is under way in
// the others: a budget's pods may be in several. Within one Step, only the phases
// can have changed since the first time.
func (e *Engine) weighAll(g *group) {
	for _, o := range e.groups {
		for _, m := range o.census.busy {
			e.weigh(m)
		}
	}
	if g.weighedStep != e.step {
		g.weighedStep = e.step
		for _, m := range g.members {
			e.weigh(m)
		}
	}
}

// shift adds a member's pods to the sums of their budgets, or takes them out.
func (m *member) shift(as turn, by int) {
	for _, l := range m.loads {
		switch as {
		case turnWaiting:
			l.waiting += by * l.pods
		case turnQueued:
			l.queued += by * l.pods
		case turnNone:
		}
	}
}

// loadsOn counts the pods of a node under each budget. Those that are on their
// way are not counted any more. It tells also how long the slowest of all its pods
// took to start.
func (e *Engine) loadsOn(m *member) (loads []load, settle time.Duration) {
	for _, p := range m.at.list {
		if e.decidePod(m, p).Action != drain.Evict {
			continue
		}
		settle = max(settle, p.StartTook)
		for _, b := range e.w.budgetsOf(p) {
			c := e.contentionOf(b)
			c.starts = max(c.starts, min(p.StartTook, maxRound))
			found := false
			for i := range loads {
				if loads[i].contention == c {
					loads[i].pods++
					found = true
				}
			}
			if !found {
				loads = append(loads, load{c, 1})
			}
		}
	}
	return loads, settle
}

func (e *Engine) contentionOf(b *budget) *contention {
	c := e.contentions[b.BudgetKey]
	if c == nil {
		c = &contention{key: b.BudgetKey}
		e.contentions[b.BudgetKey] = c
	}
	c.atOnce, c.budget = max(b.Expected-b.DesiredHealthy, 1), b
	return c
}

// market of a budget at this pick.
func (e *Engine) market(c *contention) *market {
	if m := &c.now; m.pick != e.picks {
		*m = market{pick: e.picks, round: cmp.Or(c.budget.rhythm.round(), c.starts, e.w.rhythm.round(), roundGuess), out: c.budget.rhythm.out}
		m.chain = times(c.chain(), m.round)
		m.allowed, _ = c.budget.allowed(e.now)
		m.out = m.out[len(m.out)-min(len(m.out), max(c.atOnce-m.allowed, 0)):] // the budget has made up for the rest
	}
	return &c.now
}

// opens is how long it takes until the budget allows so many evictions at once;
// zero: it does, or not for want of pods that we have moved.
func (m *market) opens(now time.Time, wanted, atOnce int) time.Duration {
	missing := min(wanted, atOnce) - m.allowed
	if missing <= 0 || len(m.out) == 0 {
		return 0
	}
	return max(m.round-now.Sub(m.out[min(missing, len(m.out))-1]), 0)
}

// bid is how well it would be to drain a node next, as far as budgets go.
type bid struct {
	// waits: its pods would stand behind others under the same budget, for so long; 0
	// where that is below shortWait.
	waits time.Duration
	// chain is the longest chain of evictions that its pods are part of.
	chain time.Duration
	// late: with another one next, the group would end sooner (see foresee).
	late bool
}

// outlook is what the places for nodes promise, as far as can be told.
type outlook struct {
	// all is how long the nodes that wait will take if no budget delays them.
	all time.Duration
	// next is how long it takes until places are free again.
	next time.Duration
}

// outlook estimates by the boots that were seen.
func (e *Engine) outlook(g *group) outlook {
	boot := max(g.longestBoot, roundGuess)
	cycle := boot + e.w.rhythm.round()
	o := outlook{next: cycle, all: time.Duration(g.census.old[memberWaiting]) * cycle / time.Duration(max(g.Surge+g.Unavailable, 1))}
	for _, m := range g.census.busy {
		var since time.Time
		switch {
		case m.ours && m.phase == memberBooting:
			since = m.launched()
		case m.phase == memberTerminating && !m.endedAt.IsZero():
			since = m.endedAt
		}
		if ready := boot - e.now.Sub(since); !since.IsZero() && ready > 0 {
			o.next = min(o.next, ready)
		}
	}
	return o
}

// shortWait is a wait under a budget that is none: a drain takes about as long in
// any case, until the pods that may go at once have ended.
const shortWait = time.Second

// bid for a node.
func (e *Engine) bid(m *member, view outlook) bid {
	var b bid
	for _, l := range m.loads {
		now := e.market(l.contention)
		ahead := now.opens(e.now, l.queued+l.pods, l.atOnce)
		b.chain = max(b.chain, now.chain)
		if l.queued > 0 && l.queued+l.pods > l.atOnce {
			ahead += times(l.ahead(), now.round)
		}
		switch {
		case l.budget.rhythm.closed: // whoever closed it may open it again: later
			b.waits = max(b.waits, now.round)
		case ahead >= shortWait && ahead >= view.mayWait(now.chain):
			b.waits = max(b.waits, ahead)
		}
	}
	return b
}

// mayWait is how long a node may stand behind others under a budget. It holds a
// place meanwhile that another could use; but places become free in bunches,
// and where a chain of evictions takes nearly as long as all the nodes, or
// longer, it must not pause until the next bunch.
func (o outlook) mayWait(chain time.Duration) time.Duration {
	share := 1.0
	if o.all > chain {
		share = float64(chain) / float64(o.all)
	}
	return times(max(2*share-1, 0), o.next)
}

func times(n float64, d time.Duration) time.Duration { return time.Duration(n * float64(d)) }

// less tells whether a is the better one to go next: first who need not wait,
// of those the longest chain; of those who must, who waits least.
func (a bid) less(b bid) bool {
	if a.waits != b.waits {
		return a.waits < b.waits
	}
	return a.chain > b.chain
}
