package plan

import (
	"maps"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/estimate"
	"github.com/rotatord/rotator/core/model"
)

// estimateTime says how long the plan would take, as far as that can be told.
func (b *builder) estimateTime() {
	s := b.spec.Strategy
	in := estimate.Input{Nodes: b.inv.Nodes, Instances: b.inv.Instances, Pods: b.inv.Pods, GroupsAtOnce: s.GroupsAtOnce,
		Canary: s.Canary.Enabled, Bake: s.Canary.Bake, Gap: s.Waits.BetweenDrains, Grace: max(b.spec.Drain.GracePeriod, 0)}
	if s.Mode == ModeBatch {
		in.Pause = s.Waits.BetweenBatches
	}
	in.Roles = make(map[string]model.Role, len(b.inv.Groups))
	for i := range b.inv.Groups {
		in.Roles[b.inv.Groups[i].ID] = b.inv.Groups[i].Role
	}
	for _, g := range b.plan.Groups {
		if g.Roll != nil {
			continue // nothing tells how long its provider takes
		}
		out := estimate.Group{ID: g.ID, Name: g.Name, Nodes: make([]estimate.Node, len(g.Nodes))}
		out.Surge, out.Unavailable = b.atOnce(g)
		if s.Mode == ModeBatch {
			if out.Wave = s.BatchSize; out.Wave <= 0 {
				out.Wave = g.Surge + g.Unavailable
			}
		}
		for i, n := range g.Nodes {
			for _, p := range b.podsOn[n.Node] {
				d := b.decide(p)
				if d.Action != drain.Evict {
					continue
				}
				e := estimate.Pod{Pod: p, Last: d.Place.Tier >= drain.TierCritical}
				if over := b.budgetsOf(p); len(over) == 1 {
					e.Budget = over[0]
				}
				out.Nodes[i].Pods = append(out.Nodes[i].Pods, e)
			}
		}
		in.Groups = append(in.Groups, out)
	}
	b.plan.Estimate = estimate.Make(in)
}

// atOnce is what is left of a group's surge and unavailable under the bound
// over all groups.
func (b *builder) atOnce(g Group) (surge, unavailable int) {
	surge, unavailable = g.Surge, g.Unavailable
	if most := b.plan.MaxInFlight; most > 0 {
		surge = min(surge, most)
		unavailable = min(unavailable, most-surge)
	}
	return surge, unavailable
}

// budgetsOf are the budgets that select the pod. Pods of one owner have the
// same labels, nearly always: their answer is found once.
func (b *builder) budgetsOf(p *model.Pod) []*model.Budget {
	if b.budgetsIn == nil {
		b.budgetsIn = map[string][]*model.Budget{}
		for i := range b.inv.Budgets {
			k := b.inv.Budgets[i].Namespace
			b.budgetsIn[k] = append(b.budgetsIn[k], &b.inv.Budgets[i])
		}
		b.coveredBy = map[model.WorkloadKey]selection{}
	}
	if len(b.budgetsIn[p.Namespace]) == 0 {
		return nil
	}
	known, ok := b.coveredBy[p.Owner]
	if ok && p.Owner != (model.WorkloadKey{}) && maps.Equal(known.labels, p.Labels) {
		return known.by
	}
	var by []*model.Budget
	for _, bud := range b.budgetsIn[p.Namespace] {
		if bud.Matches(p.Labels) {
			by = append(by, bud)
		}
	}
	b.coveredBy[p.Owner] = selection{p.Labels, by}
	return by
}

// selection is what budgets say of pods with these labels.
type selection struct {
	labels map[string]string
	by     []*model.Budget
}
