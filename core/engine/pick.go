package engine

import (
	"github.com/rotatord/rotator/core/plan"
)

// pick chooses the next old node of the zones that may go now: one that carries
// nothing first (it costs no capacity), then by the plan's rank, then from the
// zone with the fewest under way where zones are to be spread, then from a zone
// that has more old nodes than must end with the surge (see surplus), then from
// those with which the group ends the soonest (see foresee), then from
// the nodes that need not wait for others under a budget, then from the zone with
// the most usable nodes, because that is where a replacement came up, then, where
// nodes that need not wait get few, from the zone that has the fewest of them for
// what has to go there; then as budgets have it (see bid), and last in the plan's
// order.
func (e *Engine) pick(g *group, from []*member) *member {
	if g.census.old[memberWaiting] == 0 {
		return nil
	}
	view, zones, surplus, slots := e.outlook(g), e.zones(), e.surplus(g), g.Surge+g.Unavailable
	for _, z := range g.census.zones {
		z.now = zoneChoice{allowed: zones.allows(z.zone), busy: zones.busy[z.zone], spare: -surplus[z.zone]}
	}
	e.weighAll(g)
	e.picks++
	waits := func(m *member) bool { return m.old && m.phase == memberWaiting }
	var candidates []*member
	for _, m := range from {
		if !waits(m) {
			continue
		}
		z := &m.zone.now
		z.spare++
		if z.allowed {
			m.bid = e.bid(m, view)
			z.free += bit(m.bid.waits == 0)
			candidates = append(candidates, m)
		}
	}
	e.foresee(g, candidates, surplus)
	better := func(a, b *member) bool {
		if oa, ob := g.outside(a), g.outside(b); oa != ob {
			return ob
		}
		ua, ub := a.counted.usable, b.counted.usable
		if ua != ub {
			return !ua
		}
		if a.rank != b.rank {
			return a.rank < b.rank
		}
		za, zb := a.zone, b.zone
		if zones.rule == plan.ZonesSpread && za.now.busy != zb.now.busy {
			return za.now.busy < zb.now.busy
		}
		if za != zb {
			if sa, sb := za.now.spare > 0, zb.now.spare > 0; sa != sb {
				return sa
			}
		}
		if a.bid.late != b.bid.late {
			return b.bid.late
		}
		if za != zb {
			if wa, wb := a.bid.waits > 0, b.bid.waits > 0; wa != wb {
				return wb
			}
			if za.usable != zb.usable {
				return za.usable > zb.usable
			}
			fa, fb := za.now.free, zb.now.free
			if la, lb := fa*zb.now.spare, fb*za.now.spare; za.now.spare > 0 && min(fa, fb) <= slots && la != lb {
				return la < lb
			}
		}
		return a.bid.less(b.bid) // ties keep the plan's order
	}
	var best *member
	for _, m := range candidates {
		if best == nil || better(m, best) {
			best = m
		}
	}
	return best
}
