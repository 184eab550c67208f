package plan

import (
	"cmp"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// Undo plans the end of a rotation that nobody goes on with: no node is
// replaced; surge is taken back, provider settings are put back, and rotator's
// marks come off the nodes. Groups that no rotation holds, and whose provider is
// not rolling them for one, are left out. The only refusals are of groups that
// different rotations hold.
func Undo(spec Spec, inv model.Inventory) *Plan {
	b := &builder{spec: spec, inv: inv, plan: &Plan{Cluster: spec.Cluster, Mode: ModeRolling}}
	b.index()
	for _, g := range inv.Groups {
		pg := Group{ID: g.ID, Name: g.Name, Role: g.Role, Revision: g.Revision, Traits: g.Traits,
			Size: g.Desired - g.Surge, Current: len(b.instances[g.ID]), HeldBy: g.HeldBy, LeftSurge: g.Surge}
		if g.Traits.Rolled() {
			pg.Roll = newRoll(g)
			pg.Roll.Abandon = true
		}
		if g.HeldBy == "" && g.Surge == 0 && (pg.Roll == nil || !pg.Roll.Ours) {
			continue
		}
		b.plan.Groups = append(b.plan.Groups, pg)
	}
	slices.SortFunc(b.plan.Groups, func(x, y Group) int { return cmp.Compare(x.Name, y.Name) })
	b.checkHolds()
	b.countMarks()
	return b.plan
}
