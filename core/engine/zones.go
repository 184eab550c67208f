package engine

import (
	"fmt"

	"github.com/rotatord/rotator/core/plan"
)

// underWay tells whether a member counts as being replaced: from its cordon
// until its instance is gone and its pods are healthy elsewhere. A group that has ended has
// none: where its provider's roll failed, instances that it was about to end may stay.
func (m *member) underWay() bool {
	return m.g.phase != groupFinished && (m.phase == memberCordoning || m.phase == memberDraining || m.old && m.phase == memberTerminating || m.verify.open)
}

// zoneView is what the rules about zones allow just now.
type zoneView struct {
	rule plan.Zones
	// busy nodes of each zone are being replaced, over all groups; most of them may
	// be, where the plan has the zone.
	busy, most map[string]int
	// only is the one zone whose turn it is; any tells that the rule names one.
	only string
	any  bool
}

// zones looks at all groups that are under way.
func (e *Engine) zones() zoneView {
	v := zoneView{rule: e.cfg.Spec.Strategy.Zones, most: e.cfg.Plan.ZoneRoom}
	if v.rule != plan.ZonesSpread && v.rule != plan.ZonesOneAtATime && v.most == nil {
		return v
	}
	v.busy = make(map[string]int)
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.underWay() {
				v.busy[m.inst.Zone]++
			}
		}
	}
	if v.rule != plan.ZonesOneAtATime {
		return v
	}
	// The zone that has begun comes to its end first; then the next by name.
	begun := false
	for _, g := range e.groups {
		if g.phase != groupActive {
			continue
		}
		for _, z := range g.census.zones {
			under := v.busy[z.zone] > 0
			if !under && (begun || z.waiting == 0) {
				continue
			}
			if !v.any || under && !begun || z.zone < v.only {
				v.only, v.any = z.zone, true
			}
			begun = begun || under
		}
	}
	return v
}

// allows tells whether a node of the zone may go now.
func (v zoneView) allows(zone string) bool {
	if v.any && zone != v.only {
		return false
	}
	most, bounded := v.most[zone]
	return !bounded || v.busy[zone] < most
}

// holdBack says why an old node waits for nothing but its zone's turn; empty: none does.
func (e *Engine) holdBack(g *group) string {
	v := e.zones()
	for _, z := range g.census.zones {
		switch {
		case z.waiting == 0 || v.allows(z.zone):
		case v.any && z.zone != v.only:
			return fmt.Sprintf("it is the turn of zone %s, and strategy.zones has one go at a time", v.only)
		default:
			return fmt.Sprintf("%d node(s) of zone %s are being replaced, over all groups, and no more may be at once", v.busy[z.zone], z.zone)
		}
	}
	return ""
}
