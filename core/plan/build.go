// Package plan turns what a person asked for (Spec) and what there is
// (model.Inventory) into an ordered plan, or into refusals with reasons. It is
// pure: the same input gives the same plan.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// Build makes the plan. The only error is a *SelectionError, when the
// selection matches nothing that exists; everything else that stands in the
// way becomes a refusal in the plan. now is used for ages only.
func Build(spec Spec, inv model.Inventory, now time.Time) (*Plan, error) {
	return Resume(spec, inv, now, Memory{})
}

// Resume makes the plan of a rotation that goes on after its earlier runs. With
// an empty memory it is Build.
func Resume(spec Spec, inv model.Inventory, now time.Time, past Memory) (*Plan, error) {
	b := &builder{spec: spec, inv: inv, now: now, past: past, plan: &Plan{Cluster: spec.Cluster, Mode: spec.Strategy.Mode, CloudOnly: spec.CloudOnly}}
	b.policies()
	b.index()
	groups, err := selectGroups(spec.Cluster, spec.Select, inv.Groups)
	if err != nil {
		return nil, err
	}
	if err := b.checkNodesSelected(groups); err != nil {
		return nil, err
	}
	if spec.CloudOnly {
		b.noteCloudOnly()
	} else {
		b.checkIdentity(groups)
	}
	for _, g := range groups {
		b.group(g)
	}
	b.overall()
	b.checkHolds()
	b.checkPods()
	if !spec.CloudOnly {
		b.checkLostLabels()
		b.checkCapacity()
	}
	b.estimateTime()
	b.noteKarpenter()
	b.checkAsks()
	b.checkBudgets()
	b.countMarks()
	return b.plan, nil
}

type builder struct {
	spec Spec
	inv  model.Inventory
	now  time.Time
	past Memory
	plan *Plan
	// policy for pods, as the drain will have it.
	policy *drain.Policy

	nodeOf    map[string]*model.Node  // by provider id
	podsOn    map[string][]*model.Pod // by node name
	instances map[string][]model.Instance

	budgetsIn map[string][]*model.Budget // by namespace; made by budgetsOf
	coveredBy map[model.WorkloadKey]selection
}

func (b *builder) index() {
	b.nodeOf = make(map[string]*model.Node, len(b.inv.Nodes))
	for i := range b.inv.Nodes {
		if n := &b.inv.Nodes[i]; n.ProviderID != "" {
			b.nodeOf[n.ProviderID] = n
		}
	}
	b.podsOn = make(map[string][]*model.Pod)
	for i := range b.inv.Pods {
		if p := &b.inv.Pods[i]; p.Node != "" {
			b.podsOn[p.Node] = append(b.podsOn[p.Node], p)
		}
	}
	b.instances = make(map[string][]model.Instance)
	for _, in := range b.inv.Instances {
		b.instances[in.GroupID] = append(b.instances[in.GroupID], in)
	}
}

func (b *builder) refuse(f Finding) { b.plan.Refusals = append(b.plan.Refusals, f) }
func (b *builder) warn(f Finding)   { b.plan.Warnings = append(b.plan.Warnings, f) }

// group plans one selected node group.
func (b *builder) group(g model.NodeGroup) {
	staging := b.staging(g)
	old, current := b.outdated(g, staging)
	pg := Group{ID: g.ID, Name: g.Name, Role: g.Role, Revision: g.Revision, Traits: g.Traits, Staging: staging,
		Size: g.Desired - g.Surge, HeldBy: g.HeldBy, LeftSurge: g.Surge, Current: current, Nodes: old, LostLabels: g.LostLabels}
	if len(old) > 0 && b.disabled(g) {
		b.warnDisabled(g, len(old))
		pg.Nodes, old = nil, nil
	}
	switch {
	case g.Traits.Rolled():
		b.roll(&pg, g)
	case len(old) > 0:
		b.checkGroup(g)
		b.checkControlPlane(g)
		b.checkHold(g)
		b.size(&pg, g)
		b.checkShrink(pg)
	default:
		b.warnCurrent(g)
	}
	b.plan.Groups = append(b.plan.Groups, pg)
}

// outdated lists what is to be replaced, in order, and counts the rest.
func (b *builder) outdated(g model.NodeGroup, staging *Staging) ([]Node, int) {
	var old []aged
	current := 0
	for _, in := range b.instances[g.ID] {
		if in.State == model.InstanceTerminating {
			continue
		}
		n := b.nodeOf[in.ProviderID]
		reasons := b.reasons(g, in, n)
		if len(reasons) == 0 {
			reasons = staging.outdates(in)
		}
		if len(reasons) == 0 || !b.selected(in, n) {
			current++
			continue
		}
		p := Node{Instance: in.ID, Zone: in.Zone, Reasons: reasons}
		if n != nil {
			p.Node = n.Name
			p.Pods = b.evictable(n.Name)
		}
		old = append(old, aged{Node: p, launched: in.LaunchedAt, node: n})
	}
	b.rank(old)
	// By rank; oldest first; the id breaks ties, so that two plans agree.
	slices.SortFunc(old, func(a, c aged) int {
		return cmp.Or(cmp.Compare(a.Rank, c.Rank), a.launched.Compare(c.launched), cmp.Compare(a.Instance, c.Instance))
	})
	nodes := make([]Node, len(old))
	for i := range old {
		nodes[i] = old[i].Node
	}
	return nodes, current
}

func (b *builder) reasons(g model.NodeGroup, in model.Instance, n *model.Node) []model.Reason {
	reasons := slices.Clone(in.Reasons)
	if n != nil {
		for _, a := range []string{model.AnnotationReplace, model.AnnotationKopsNeedsUpdate} {
			if _, asked := n.Annotations[a]; asked {
				reasons = append(reasons, model.Reason{Code: "marked", Message: "its node has the annotation " + a})
			}
		}
	}
	if planned := b.past.Planned[g.Name]; planned != nil && !planned[in.ID] {
		return reasons // it came up during the rotation: only the provider's reasons count
	}
	if age := b.spec.Select.MaxAge; age > 0 && !in.LaunchedAt.IsZero() && b.now.Sub(in.LaunchedAt) > age {
		reasons = append(reasons, model.Reason{Code: "age",
			Message: fmt.Sprintf("launched %s, older than %s", in.LaunchedAt.UTC().Format(time.RFC3339), age)})
	}
	if b.spec.Select.Force && len(reasons) == 0 {
		reasons = append(reasons, model.Reason{Code: "forced", Message: "replacement was forced"})
	}
	return reasons
}

func (b *builder) selected(in model.Instance, n *model.Node) bool {
	want := b.spec.Select.Nodes
	return len(want) == 0 || slices.Contains(want, in.ID) || n != nil && slices.Contains(want, n.Name)
}

func (b *builder) evictable(node string) int {
	count := 0
	for _, p := range b.podsOn[node] {
		if b.decide(p).Action == drain.Evict {
			count++
		}
	}
	return count
}

// size resolves the budgets of the strategy for one group. They do not
// count for the control plane, which goes one node at a time and without surge.
func (b *builder) size(g *Group, of model.NodeGroup) {
	maxSurge, maxUnavailable := b.budgets(of)
	surge, errS := Resolve(maxSurge.value, g.Size, true)
	unavailable, errU := Resolve(maxUnavailable.value, g.Size, false)
	if errS != nil || errU != nil {
		b.refuse(Finding{Code: "bad-budget", Object: g.Name, Fix: "correct strategy.maxSurge and strategy.maxUnavailable, or the group's own settings",
			Message: fmt.Sprintf("group %s: %s", g.Name, cmp.Or(errText(errS), errText(errU)))})
		return
	}
	if g.Role == model.RoleControlPlane {
		// One more member of etcd for a while, and one less, is two changes of its
		// membership for nothing.
		g.Surge, g.Unavailable = 0, 1
		return
	}
	surge, unavailable = min(surge, len(g.Nodes)), min(unavailable, g.Size)
	if g.Traits.MaxSurge < surge {
		if g.Traits.MaxSurge == 0 && unavailable == 0 {
			b.refuse(Finding{Code: "cannot-surge", Object: g.Name,
				Message: fmt.Sprintf("group %s can have no extra instances, and the rotation asks for %d with no instance unavailable", g.Name, surge),
				Fix:     "set strategy.maxSurge to 0 and strategy.maxUnavailable to 1 or more, or raise what limits the group"})
			return
		}
		surge = g.Traits.MaxSurge
		b.warn(Finding{Code: "surge-limited", Object: g.Name,
			Message: fmt.Sprintf("group %s can have at most %d extra instances", g.Name, surge), Fix: "nothing: the rotation uses what there is"})
	}
	if surge == 0 && unavailable == 0 {
		b.refuse(Finding{Code: "no-room", Object: g.Name,
			Message: fmt.Sprintf("group %s has %d instances: of maxSurge %s and maxUnavailable %s nothing is left after rounding",
				g.Name, g.Size, maxSurge.value, maxUnavailable.value),
			Fix: "set strategy.maxSurge or strategy.maxUnavailable to 1 or more"})
	}
	g.Surge, g.Unavailable = surge, unavailable
	g.SurgeFrom, g.UnavailableFrom = maxSurge.from, maxUnavailable.from
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Resolve turns a count ("2") or a percentage ("25%") of size into a number.
// As in a Deployment, a surge rounds up and an unavailability down. Empty is 0.
func Resolve(s string, size int, roundUp bool) (int, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	num, percent := strings.CutSuffix(s, "%")
	n := 0
	if _, err := fmt.Sscanf(num, "%d", &n); err != nil || n < 0 || fmt.Sprint(n) != num {
		return 0, fmt.Errorf("%q is neither a count nor a percentage", s)
	}
	if !percent {
		return n, nil
	}
	if n > 100 {
		return 0, fmt.Errorf("%q is more than 100%%", s)
	}
	if roundUp {
		return (n*size + 99) / 100, nil
	}
	return n * size / 100, nil
}
