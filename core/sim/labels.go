package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// poolLabel is on the nodes of groups that relabel, with a value for each revision:
// a replacement has another one.
const poolLabel = "pool"

// pool is the value of poolLabel on the node of an instance; empty: it has none.
func (in *instance) pool() string {
	if !in.g.relabels {
		return ""
	}
	return in.g.Name + "-" + in.Revision
}

// label gives a node the label of its instance.
func (n *node) label() {
	if v := n.inst.pool(); v != "" {
		n.Labels = merged(n.Labels, map[string]*string{poolLabel: &v})
	}
}

// lostLabels are those of the group's outdated instances.
func (g *group) lostLabels() []model.LostLabel {
	var lost []model.LostLabel
	for _, in := range g.w.order {
		l := model.LostLabel{Key: poolLabel, Value: in.pool()}
		if in.g == g && in.outdated() && l.Value != "" && !slices.Contains(lost, l) {
			lost = append(lost, l)
		}
	}
	slices.SortFunc(lost, func(a, b model.LostLabel) int { return strings.Compare(a.Value, b.Value) })
	return lost
}

// pinned says which value of poolLabel a pod selects; empty: none.
func (p *pod) pinned() string {
	if p.Traits == nil {
		return ""
	}
	return p.Traits.NodeSelector[poolLabel]
}

// pin has a running pod on an outdated node select that node's label, as if
// somebody had made it anew there, until time has passed or the world heals. False:
// there is no such pod.
func (w *World) pin(d *dice) bool {
	p := choose(d, w.runningPods(), func(p *pod) bool {
		return p.on != nil && p.Ready && p.on.inst.outdated() && p.on.inst.pool() != "" && p.workload.zone == "" && p.pinned() == ""
	})
	if p == nil {
		return false
	}
	t := *p.workload.traits
	t.NodeSelector = map[string]string{poolLabel: p.on.inst.pool()}
	p.Traits, p.pinnedAt = &t, w.now
	w.says("pod %s selects %s=%s", p.PodKey, poolLabel, p.pinned())
	w.podChanged(p)
	w.after(d.between(time.Minute, time.Hour), func() { w.unpin(p) })
	return true
}

func (w *World) unpin(p *pod) {
	if w.pods[p.PodKey] != p || p.pinned() == "" {
		return
	}
	w.says("pod %s selects no label any more", p.PodKey)
	p.Traits = p.workload.traits
	w.podChanged(p)
}

// seenWithin is the most by which what the engine knows of a pod is behind.
const seenWithin = 5 * time.Second

// keepsHome judges an eviction: a pod that only nodes that go may take stays where
// it is, unless the policy is force.
func (c *checker) keepsHome(e engine.Effect) {
	p := c.w.pods[e.Pod.PodKey]
	if p == nil || p.UID != e.Pod.UID || p.on == nil || p.on.Labels[poolLabel] == "" || c.spec.Drain.OnDeadline == plan.DeadlineForce {
		return
	}
	pinned := p.pinned() == p.on.Labels[poolLabel] && c.w.now-p.pinnedAt >= seenWithin
	c.hold(Homed, !pinned || !c.planned(p.on.inst.ID) || c.w.pooled(p.pinned()),
		"pod %s is evicted, and only nodes that go have the label %s=%s", p.PodKey, poolLabel, p.pinned())
}

// planned tells whether this run replaces the instance.
func (c *checker) planned(instance string) bool {
	return slices.ContainsFunc(c.plan.Groups, func(g plan.Group) bool {
		return slices.ContainsFunc(g.Nodes, func(n plan.Node) bool { return n.Instance == instance })
	})
}

// pooled tells whether a node that is not outdated has the value of poolLabel.
func (w *World) pooled(value string) bool {
	return slices.ContainsFunc(w.nodeList, func(n *node) bool { return n.Labels[poolLabel] == value && !n.inst.outdated() })
}

// relabels has new nodes of some groups carry another label, for some seeds.
func (s *Shape) relabels(seed uint64) {
	d := newDice(seed, "labels") // of its own: older seeds keep their worlds
	if !d.chance(0.3) {
		return
	}
	for i := range s.Groups {
		s.Groups[i].Relabels = s.Groups[i].Role == model.RoleNode && d.chance(0.7)
	}
}
