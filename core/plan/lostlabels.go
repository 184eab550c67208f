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
	templates      map[string]bool       // workloads that have no such pod now
}

// ownedPods are pods of one owner: the first by name, and how many. Of a DaemonSet
// they are the nodes that it is on.
type ownedPods struct {
	first  string
	count  int
	daemon bool
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
		s := &stranded{group: g.Name, labels: map[string]bool{}, owners: map[string]*ownedPods{}, prefer: map[string]*ownedPods{}, templates: map[string]bool{}}
		groups = append(groups, s)
		for _, n := range g.Nodes {
			if n.Node != "" {
				lost[n.Node], groupOf[n.Node] = g.LostLabels, s
			}
		}
		for _, in := range b.instances[g.ID] { // one that ends in any case is no home either
			if n := b.nodeOf[in.ProviderID]; n != nil && in.State == model.InstanceTerminating {
				lost[n.Name], groupOf[n.Name] = g.LostLabels, s
			}
		}
	}
	if len(lost) == 0 {
		return
	}
	homes := fit.NewHomes(pointers(b.inv.Nodes), func(n *model.Node) []model.LostLabel { return lost[n.Name] })
	owners := b.topOwners()
	daemons := b.checkDaemons(homes, groupOf)
	for i := range b.inv.Pods {
		p := &b.inv.Pods[i]
		if !b.comesBack(p) || daemons[p.Owner] {
			continue
		}
		if h := homes.Homeless(p); h.Yes() {
			s := groupOf[h.Node]
			addPod(s.owners, owners, p)
			s.name(h)
		} else if len(homes.Prefers(p)) > 0 {
			addPod(groupOf[p.Node].prefer, owners, p)
		}
	}
	b.checkTemplates(homes, groupOf)
	for _, s := range groups {
		b.tellStranded(s)
	}
}

// name remembers the labels that keep a pod away.
func (s *stranded) name(h fit.Homeless) {
	for _, l := range h.Labels {
		s.labels[l.String()] = true
	}
}

// checkDaemons looks which DaemonSets would not be on new nodes, and returns those
// that it knows: their pods say less than their templates.
func (b *builder) checkDaemons(homes *fit.Homes, groupOf map[string]*stranded) map[model.WorkloadKey]bool {
	known := make(map[model.WorkloadKey]bool)
	for i := range b.inv.Workloads {
		w := &b.inv.Workloads[i]
		if w.Kind != "DaemonSet" {
			continue
		}
		known[w.WorkloadKey] = true
		if w.Template == nil {
			continue
		}
		for _, h := range homes.Without(w.Template) {
			s := groupOf[h.Node]
			of := s.owners[w.WorkloadKey.String()]
			if of == nil {
				of = &ownedPods{first: h.Node, daemon: true}
				s.owners[w.WorkloadKey.String()] = of
			}
			of.count++
			s.name(h)
		}
	}
	return known
}

// checkTemplates looks for workloads whose next pods would find no node: they have
// none now, or their template has changed since.
func (b *builder) checkTemplates(homes *fit.Homes, groupOf map[string]*stranded) {
	check := func(k model.WorkloadKey, t *model.PodTraits) {
		if t == nil || k.Kind == "DaemonSet" {
			return
		}
		h := homes.Homeless(&model.Pod{PodKey: model.PodKey{Namespace: k.Namespace, Name: k.Name}, Owner: k, Traits: t})
		if !h.Yes() {
			return
		}
		if s := groupOf[h.Node]; s.owners[k.String()] == nil {
			s.templates[k.String()] = true
			s.name(h)
		}
	}
	for i := range b.inv.Workloads {
		check(b.inv.Workloads[i].WorkloadKey, b.inv.Workloads[i].Template)
	}
	for i := range b.inv.Deployments {
		check(b.inv.Deployments[i].WorkloadKey, b.inv.Deployments[i].Template)
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
		var text string
		switch {
		case o.daemon:
			text = fmt.Sprintf("%s (on %d node(s), the first %s)", owner, o.count, o.first)
		case o.count > 1:
			text = fmt.Sprintf("%s (%d pods, the first %s)", owner, o.count, o.first)
		default:
			text = fmt.Sprintf("%s (pod %s)", owner, o.first)
		}
		list, pods = append(list, text), pods+o.count
	}
	return list, pods
}

func (b *builder) tellStranded(s *stranded) {
	labels := strings.Join(slices.Sorted(maps.Keys(s.labels)), ", ")
	const fix = "have them select a label that new nodes carry too, as one of the group's own, or rotate the group in a way in which new nodes keep the label"
	if len(s.owners) > 0 {
		owners, pods := ownersText(s.owners)
		f := Finding{Code: "pods-select-lost-label", Object: s.group,
			Message: fmt.Sprintf("group %s: %d pod(s) can be on no other node than those with the label %s, which the new nodes do not have: %s",
				s.group, pods, labels, list(owners)),
			Fix: fix}
		if b.goesOn() {
			f.Message += "; they are not evicted, and hold up their nodes"
			b.warn(f)
		} else {
			b.refuse(f)
		}
	}
	if len(s.templates) > 0 {
		b.warn(Finding{Code: "workloads-select-lost-label", Object: s.group,
			Message: fmt.Sprintf("group %s: %d workload(s) select nodes with the label %s, which the new nodes do not have; pods that they make from now on would stay Pending: %s",
				s.group, len(s.templates), labels, list(slices.Sorted(maps.Keys(s.templates)))), Fix: fix})
	}
	if len(s.prefer) > 0 {
		owners, pods := ownersText(s.prefer)
		b.warn(Finding{Code: "pods-prefer-lost-label", Object: s.group,
			Message: fmt.Sprintf("group %s: %d pod(s) prefer nodes with a label that the new ones do not have, and may end up anywhere: %s", s.group, pods, list(owners)),
			Fix:     "nothing, or have them prefer a label that new nodes carry too"})
	}
}
