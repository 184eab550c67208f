package engine

import (
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// Groups that surge by detaching (kops): SetSurge takes old instances out of
// the group, which launches others. Those taken out are the surge. They go
// last, so that the room that they make lasts; only they are ended with the
// capacity; and what is given back is they, because they do not go back.

// outside tells whether a member was taken out of its group, which has its
// replacement already.
func (g *group) outside(m *member) bool {
	return g.Traits.SurgeDetaches && m.inst.State == model.InstanceDetached
}

// going lists the old instances that SetSurge is to count on: those that are
// ended first, or where surge is made by detaching, those that are ended last.
func (g *group) going(want int) []string {
	var ids []string
	take := func(m *member) {
		if m.old && len(ids) < want && (!g.Traits.SurgeDetaches || m.phase == memberWaiting) {
			ids = append(ids, m.inst.ID)
		}
	}
	if !g.Traits.SurgeDetaches {
		for _, m := range g.members {
			take(m)
		}
		return ids
	}
	for _, m := range slices.Backward(g.members) {
		take(m)
	}
	return ids
}

// outsiders lists the members that are out of the group and wait: all that such
// a group can give back.
func (g *group) outsiders() []*member {
	var list []*member
	for _, m := range g.members {
		if g.outside(m) && !m.leaving && (m.phase == memberWaiting || m.phase == memberReady || m.phase == memberBooting || m.phase == memberBad) {
			list = append(list, m)
		}
	}
	return list
}
