package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/fit"
	"github.com/rotatord/rotator/core/model"
)

// stranded are the pods that select a label which the new nodes of one group lack.
type stranded struct {
	group          string
	labels         map[string]bool
	owners, prefer map[string]*ownedPods // by owner
}

// ownedPods are pods of one owner: the first by name, and how many.
type ownedPods struct {
	first string
	count int
}

// checkLostLabels refuses to replace nodes by others that lack labels without
// which pods fit no node: each would stay Pending, however much room there is.
func (b *builder) checkLostLabels() {
	lost := make(map[string][]model.LostLabel) // by name of a node that goes
	groupOf := make(map[string]*stranded)
	var groups []*stranded
	for _, g := range b.plan.Groups {
		if len(g.Nodes) == 0 || len(g.LostLabels) == 0 {
			continue
		}
		s := &stranded{group: g.Name, labels: map[string]bool{}, owners: map[string]*ownedPods{}, prefer: map[string]*ownedPods{}}
		groups = append(groups, s)
		for _, n := range g.Nodes {
			if n.Node != "" {
				lost[n.Node], groupOf[n.Node] = g.LostLabels, s
			}
		}
	}
	if len(lost) == 0 {
		return
	}
	homes := fit.NewHomes(pointers(b.inv.Nodes), func(n *model.Node) []model.LostLabel { return lost[n.Name] })
	owners := b.topOwners()
	for i := range b.inv.Pods {
		p := &b.inv.Pods[i]
		if !b.comesBack(p) {
			continue
		}
		if h := homes.Homeless(p); h.Yes() {
			s := groupOf[h.Node]
			addPod(s.owners, owners, p)
			for _, l := range h.Labels {
				s.labels[l.String()] = true
			}
		} else if len(homes.Prefers(p)) > 0 {
			addPod(groupOf[p.Node].prefer, owners, p)
		}
	}
	for _, s := range groups {
		b.tellStranded(s)
	}
}

// comesBack tells whether the pod, or another in its place, is to run somewhere
// once it has left its node.
func (b *builder) comesBack(p *model.Pod) bool {
	if p.Finished() || p.Mirror || p.Terminating || drain.Unmanaged(p) {
		return false
	}
	return p.Owner.Kind != "Job" || b.decide(p).Action != drain.Wait // it ends by itself
}

// topOwners finds the controllers of controllers: a ReplicaSet's Deployment.
func (b *builder) topOwners() map[model.WorkloadKey]model.WorkloadKey {
	out := make(map[model.WorkloadKey]model.WorkloadKey, len(b.inv.Workloads))
	for i := range b.inv.Workloads {
		if w := &b.inv.Workloads[i]; w.Owner != (model.WorkloadKey{}) {
			out[w.WorkloadKey] = w.Owner
		}
	}
	return out
}

// addPod counts a pod under its owner, or its owner's owner.
func addPod(to map[string]*ownedPods, owners map[model.WorkloadKey]model.WorkloadKey, p *model.Pod) {
	owner := p.Owner
	if top, ok := owners[owner]; ok {
		owner = top
	}
	name := p.String()
	of := to[owner.String()]
	if of == nil {
		of = &ownedPods{first: name}
		to[owner.String()] = of
	}
	of.first = min(of.first, name)
	of.count++
}

// ownersText are the owners with their pods, in the order of their names.
func ownersText(of map[string]*ownedPods) (list []string, pods int) {
	for _, owner := range slices.Sorted(maps.Keys(of)) {
		o := of[owner]
		text := fmt.Sprintf("%s (pod %s)", owner, o.first)
		if o.count > 1 {
			text = fmt.Sprintf("%s (%d pods, the first %s)", owner, o.count, o.first)
		}
		list, pods = append(list, text), pods+o.count
	}
	return list, pods
}

func (b *builder) tellStranded(s *stranded) {
	if len(s.owners) > 0 {
		owners, pods := ownersText(s.owners)
		f := Finding{Code: "pods-select-lost-label", Object: s.group,
			Message: fmt.Sprintf("group %s: %d pod(s) can be on no other node than those with the label %s, which the new nodes do not have: %s",
				s.group, pods, strings.Join(slices.Sorted(maps.Keys(s.labels)), ", "), list(owners)),
			Fix: "have them select a label that new nodes carry too, as one of the group's own, or rotate the group in a way in which new nodes keep the label"}
		if b.goesOn() {
			f.Message += "; they are not evicted, and hold up their nodes"
			b.warn(f)
		} else {
			b.refuse(f)
		}
	}
	if len(s.prefer) > 0 {
		owners, pods := ownersText(s.prefer)
		b.warn(Finding{Code: "pods-prefer-lost-label", Object: s.group,
			Message: fmt.Sprintf("group %s: %d pod(s) prefer nodes with a label that the new ones do not have, and may end up anywhere: %s", s.group, pods, list(owners)),
			Fix:     "nothing, or have them prefer a label that new nodes carry too"})
	}
}
