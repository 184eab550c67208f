package sim

import (
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// view is what a run has been told of nodes and instances, and what of the nodes
// counts for their groups. The counts follow each change, so that a drain is judged
// without counting the group.
type view struct {
	nodes    map[string]*model.Node
	instance map[string]viewed // by provider id
	leaving  map[string]bool   // nodes that we take away
	bad      map[string]bool   // nodes that were given up because they did not become Ready

	carries map[string]string // by node: the group that it carries pods for; missing: none
	usable  map[string]int    // by group: how many nodes carry pods for it
}

type viewed struct {
	group string
	going bool
}

func newView() view {
	return view{nodes: make(map[string]*model.Node), instance: make(map[string]viewed), leaving: make(map[string]bool),
		bad: make(map[string]bool), carries: make(map[string]string), usable: make(map[string]int)}
}

// see takes an input.
func (v *view) see(in *engine.Input) {
	for _, name := range in.NodesGone {
		delete(v.nodes, name)
		delete(v.leaving, name)
		v.recount(name)
	}
	for i := range in.Nodes {
		n := &in.Nodes[i]
		v.nodes[n.Name] = n
		v.recount(n.Name)
	}
	if in.Snapshot == nil {
		return
	}
	before := v.instance
	v.instance = make(map[string]viewed, len(in.Snapshot.Instances))
	for i := range in.Snapshot.Instances {
		one := &in.Snapshot.Instances[i]
		v.instance[one.ProviderID] = viewed{one.GroupID, one.State == model.InstanceTerminating}
	}
	for name, n := range v.nodes {
		if before[n.ProviderID] != v.instance[n.ProviderID] {
			v.recount(name)
		}
	}
}

// leave takes note that we take a node away, or that it stays.
func (v *view) leave(node string, leaves bool) { v.mark(v.leaving, node, leaves) }

// giveUp takes note that a node is no good, or that it is after all.
func (v *view) giveUp(node string, bad bool) { v.mark(v.bad, node, bad) }

func (v *view) mark(marks map[string]bool, node string, on bool) {
	if on {
		marks[node] = true
	} else {
		delete(marks, node)
	}
	v.recount(node)
}

// stay takes note that no node is taken away any more.
func (v *view) stay() {
	for name := range v.leaving {
		v.leave(name, false)
	}
}

// group of a node; empty: no instance is known to be its.
func (v *view) group(node string) string {
	if n := v.nodes[node]; n != nil {
		return v.instance[n.ProviderID].group
	}
	return ""
}

// recount follows a change of one node.
func (v *view) recount(node string) {
	group := ""
	if n := v.nodes[node]; n != nil && !v.leaving[node] && !v.bad[node] && carriesPods(n) {
		if in := v.instance[n.ProviderID]; !in.going {
			group = in.group
		}
	}
	was := v.carries[node]
	if was == group {
		return
	}
	if was != "" {
		v.usable[was]--
	}
	if group == "" {
		delete(v.carries, node)
		return
	}
	v.usable[group]++
	v.carries[node] = group
}

// carriesPods tells whether a node does, by the view: Ready, without a
// startup taint, and not cordoned by us.
func carriesPods(n *model.Node) bool {
	return n.Ready && (!n.Unschedulable || n.Annotations[model.AnnotationCordoned] != model.CordonedToDrain) &&
		!slices.ContainsFunc(n.Taints, func(t model.Taint) bool {
			return strings.HasPrefix(t.Key, "node.kubernetes.io/") && t.Effect == "NoSchedule"
		})
}

// see takes what a run is told.
func (c *checker) see(in engine.Input) {
	c.view.see(&in)
	for _, o := range in.Outcomes {
		c.stayed(o)
		c.drained.answered(o, c.w.now)
	}
	if s := in.Snapshot; s != nil {
		for _, g := range s.Groups {
			base, known := c.base[g.ID]
			if c.changing[g.ID] == 0 && c.doubtful[g.ID] > 0 {
				c.doubtful[g.ID]--
			}
			// That somebody made it larger may be taken for a change of our own.
			if now := g.Desired - g.Surge; !known || now < base || c.changing[g.ID] == 0 && c.doubtful[g.ID] == 0 {
				c.base[g.ID] = now
			}
		}
	}
}

// takes judges by the view: the node is about to be taken from its group.
func (c *checker) takes(name string) {
	v := &c.view
	n := v.nodes[name]
	if n == nil || v.leaving[name] {
		return
	}
	v.leave(name, true)
	if !carriesPods(n) || v.bad[name] {
		return // costs nothing
	}
	group := v.group(name)
	count, g := v.usable[group], c.w.group(group)
	if g == nil {
		return
	}
	for _, other := range g.taken() {
		if v.carries[other] == group {
			count--
		}
	}
	least := min(c.base[group], g.own) - c.room[group].Unavailable
	if g.Traits.Rolled() { // nobody can tell what others add from what its provider does
		least = min(least, c.room[group].Size-c.room[group].Unavailable)
		c.hold(Rolled, g.Traits.Drains == model.DrainsBoth, "node %s is drained, and the provider of group %s does that", name, group)
	}
	c.hold(Unavailable, count >= least || g.unsure, "the drain of %s leaves group %s with %d usable nodes of %d", name, group, count, least)
}

// sparesControlPlane judges by the view: when a node of the control plane is
// ended, all others are there.
func (c *checker) sparesControlPlane(name string) {
	v := &c.view
	guarded := func(node string) bool {
		g := c.w.group(v.group(node))
		return g != nil && g.Role == model.RoleControlPlane
	}
	if !guarded(name) {
		return
	}
	for other, n := range v.nodes {
		if other != name && guarded(other) {
			c.hold(ControlPlane, n.Ready && !v.leaving[other], "%s of the control plane is ended while %s goes, or is not Ready", name, other)
		}
	}
}
