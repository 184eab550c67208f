package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/fit"
	"github.com/rotatord/rotator/core/model"
)

// checkCapacity asks whether the pods of the nodes that go would find room:
// what cannot is refused or told, by the policy of the strategy.
func (b *builder) checkCapacity() {
	policy := cmp.Or(b.spec.Strategy.CapacityCheck, CapacityRefuse)
	if policy == CapacityOff || len(b.plan.Refusals) > 0 {
		return // what is refused already would be looked at under wrong premises
	}
	q := fit.Question{Nodes: pointers(b.inv.Nodes), Pods: pointers(b.inv.Pods), Leaves: b.leaves, AtOnce: b.spec.Strategy.GroupsAtOnce}
	for _, g := range b.plan.Groups {
		if len(g.Nodes) == 0 {
			continue
		}
		out := b.fitGroup(g)
		if g.Roll != nil { // its nodes change, and how many its provider adds first is its own
			out.Surge, out.Unavailable = 0, 0
		}
		q.Groups = append(q.Groups, out)
	}
	autoscaler := fit.Autoscaler(q.Pods)
	for _, g := range b.inv.Groups {
		if g.Traits.Refill == model.RefillScheduler { // its provisioner adds nodes for pods that have none
			autoscaler = cmp.Or(autoscaler, "of group "+g.Name)
		}
	}
	for _, v := range fit.Check(q) {
		f, ok := capacityFinding(v, autoscaler)
		switch {
		case !ok:
		case v.Certain && policy == CapacityRefuse && autoscaler == "" && !b.goesOn():
			b.refuse(f)
		default:
			b.warn(f)
		}
	}
}

// goesOn tells whether the rotation has begun before. To refuse it then would leave
// the cluster half rotated: the engine waits for room instead, and says so.
func (b *builder) goesOn() bool {
	return len(b.past.Planned) > 0 || slices.ContainsFunc(b.plan.Groups, func(g Group) bool { return g.HeldBy != "" })
}

// leaves tells whether the pod needs room elsewhere once its node has gone.
func (b *builder) leaves(p *model.Pod) bool { return b.policy.NeedsRoom(p, b.now) }

func (b *builder) fitGroup(g Group) fit.Group {
	out := fit.Group{Name: g.Name, Offer: b.offer(g), Lost: g.LostLabels, Canary: b.spec.Strategy.Canary.Enabled && len(g.Nodes) > 1}
	out.Surge, out.Unavailable = b.atOnce(g)
	out.Up = g.LeftSurge
	for _, n := range g.Nodes {
		if n.Node != "" {
			out.Nodes = append(out.Nodes, n.Node)
		}
	}
	return out
}

// offer is what a new node of the group offers, where one is there to be seen, and the
// most where they differ; else the zero value.
func (b *builder) offer(g Group) (offer model.Resources) {
	old := make(map[string]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		old[n.Instance] = true
	}
	for _, in := range b.instances[g.ID] {
		if n := b.nodeOf[in.ProviderID]; !old[in.ID] && !in.Outdated() && n != nil && n.Ready && n.Allocatable.Known() {
			offer = fit.Most(offer, n.Allocatable)
		}
	}
	return offer
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// capacityFinding words a verdict. All pods that are named are named with their
// reason.
func capacityFinding(v fit.Verdict, autoscaler string) (Finding, bool) {
	if v.Unknown != "" {
		return Finding{Code: "capacity-unknown", Object: v.Group,
			Message: fmt.Sprintf("group %s: whether its pods find room elsewhere cannot be told: %s", v.Group, v.Unknown),
			Fix:     "find out why the kubelet does not report"}, true
	}
	if v.Fits() {
		return Finding{}, false
	}
	var pods []string
	for _, u := range v.Named {
		pods = append(pods, fmt.Sprintf("%s on %s (%s)", u.Pod, u.Node, u.Why))
	}
	if more := v.Unplaced - len(pods); more > 0 {
		pods = append(pods, fmt.Sprintf("and %d more", more))
	}
	how := "may find no room"
	if v.Certain {
		how = "would find no room"
	}
	msg := fmt.Sprintf("group %s: %d of %d pod(s) that leave %s until a replacement is up", v.Group, v.Unplaced, v.Pods, how)
	switch {
	case v.Short != "" && v.Certain:
		msg += " (" + v.Short + ")"
	case v.Short != "": // the engine sees to that
		msg += " if as many nodes go together as are allowed (" + v.Short + "; fewer go at a time then)"
	}
	msg += ": " + strings.Join(slices.Clip(pods), ", ")
	if autoscaler != "" {
		msg += "; the autoscaler " + autoscaler + " may add room"
	}
	return Finding{Code: "pods-do-not-fit", Object: v.Group, Message: msg,
		Fix: "raise strategy.maxSurge, lower strategy.maxUnavailable, or add nodes; with strategy.capacityCheck warn such pods stay Pending until a replacement is up"}, true
}
