package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// checker holds every Step of every test against the invariants of the engine.
// What is judged by what the engine was told (view), and what by what is (toy),
// is said at each.
type checker struct {
	toy    *toy
	plan   *plan.Plan
	policy *drain.Policy
	// force allows pods to be deleted, drainOnly cordons to stay.
	force, drainOnly bool

	// resumed: records that were not durable left gaps in the numbers.
	resumed   bool
	seq       uint64
	intents   map[string]bool
	ended     map[string]string // instance -> op id of its termination
	nodes     map[string]model.Node
	budgets   map[model.BudgetKey]model.Budget
	asked     map[string]askedFor // evictions not answered, by pod UID
	leaving   map[string]bool     // nodes that we cordoned
	person    map[string]bool     // nodes that a person cordoned
	theirs    map[string]string   // nodes' marks that others set, by name
	base      map[string]int      // the smallest size that each group had
	groupOf   map[string]string   // provider id -> group
	surge     map[string]int      // the largest allowed
	available map[string]int      // unavailable, by group
	finished  bool
}

func newChecker(t *toy, p *plan.Plan) *checker {
	c := &checker{toy: t, plan: p, policy: &drain.Policy{}, intents: map[string]bool{}, ended: map[string]string{}, nodes: map[string]model.Node{},
		budgets: map[model.BudgetKey]model.Budget{}, asked: map[string]askedFor{}, leaving: map[string]bool{},
		person: map[string]bool{}, theirs: map[string]string{}, base: map[string]int{}, groupOf: map[string]string{}, surge: map[string]int{}, available: map[string]int{}}
	for _, g := range p.Groups {
		c.surge[g.ID], c.available[g.ID] = max(g.Surge, g.LeftSurge), g.Unavailable
	}
	for name, n := range t.nodes {
		c.person[name] = n.Unschedulable && n.Annotations[model.AnnotationCordoned] == ""
		if n.Annotations[model.AnnotationShielded] == "" {
			c.theirs[name] = theirMarks(n)
		}
	}
	return c
}

// stays tells whether a pod may go with its instance.
func (c *checker) stays(p *model.Pod) bool {
	at := drain.Circumstances{Now: c.toy.now, Forced: c.force, Returned: p.ToleratesCordon || p.Owner.Kind == "DaemonSet"}
	if n := c.toy.nodes[p.Node]; n != nil {
		at.Unreachable = n.Unreachable
	}
	return c.policy.Decide(p, at).Action == drain.Leave
}

// after judges one Step.
func (c *checker) after(in engine.Input, r engine.Ready) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if c.finished {
		bad("a Step after the end")
	}
	c.see(in)
	for _, ev := range r.Records {
		if ev.Seq <= c.seq || ev.Seq > c.seq+1 && !c.resumed {
			bad("record %d follows record %d", ev.Seq, c.seq)
		}
		c.seq = ev.Seq
		switch ev.Kind { // nodes that will not go after all; where a person cordoned there is no patch
		case event.NodeQuarantined:
			delete(c.leaving, ev.Node)
		case event.RotationStopping:
			for name := range c.nodes {
				if c.ended[strings.Replace(name, "node-", "i-", 1)] == "" {
					delete(c.leaving, name)
				}
			}
		}
		if ev.Kind == event.OpIntended {
			if c.intents[ev.Op] {
				bad("op %s is intended twice", ev.Op)
			}
			c.intents[ev.Op] = true
		}
	}
	for _, e := range r.Effects {
		c.effect(e, bad)
	}
	if !r.WakeAt.IsZero() && !r.WakeAt.After(c.toy.now) {
		bad("wake-up at %s is not in the future", r.WakeAt)
	}
	if r.Done != nil {
		c.finished = true
		if len(r.Effects) > 0 {
			bad("effects together with the end")
		}
		c.end(r.Done, bad)
	}
	return problems
}

// askedFor is an eviction that the view of its budget does not count.
type askedFor struct {
	budget model.BudgetKey
	pod    string
}

// see keeps the view: what the engine was told.
func (c *checker) see(in engine.Input) {
	for _, name := range in.NodesGone {
		delete(c.nodes, name)
		delete(c.leaving, name)
	}
	for _, n := range in.Nodes {
		c.nodes[n.Name] = n
	}
	for _, b := range in.Budgets {
		c.budgets[b.BudgetKey] = b
		maps.DeleteFunc(c.asked, func(_ string, a askedFor) bool { return a.budget == b.BudgetKey && slices.Contains(b.Counted, a.pod) })
	}
	for _, o := range in.Outcomes {
		delete(c.asked, o.Pod.UID)
	}
	for _, g := range c.toy.groups { // what is: a snapshot may show a change half done
		if base := g.Desired - g.Surge; c.base[g.ID] == 0 || base < c.base[g.ID] {
			c.base[g.ID] = base
		}
	}
	if in.Snapshot != nil {
		for _, i := range in.Snapshot.Instances {
			c.groupOf[i.ProviderID] = i.GroupID
		}
	}
}

func (c *checker) effect(e engine.Effect, bad func(string, ...any)) {
	switch e.Verb {
	case engine.VerbEvict:
		c.eviction(e, bad)
		return
	case engine.VerbDeletePod:
		if !c.force {
			bad("pod %s is deleted, not evicted", e.Pod.PodKey)
		}
		return
	case engine.VerbObserve, engine.VerbCheckAPI:
		return
	}
	if !c.intents[e.ID] {
		bad("%s %s has no intent", e.Verb, e.ID)
	}
	switch e.Verb {
	case engine.VerbSetSurge:
		if e.Surge > c.surge[e.GroupID] {
			bad("surge of group %s is %d, and at most %d is allowed", e.GroupID, e.Surge, c.surge[e.GroupID])
		}
	case engine.VerbTerminate:
		if id, ok := c.ended[e.InstanceID]; ok && id != e.ID {
			bad("instance %s is terminated twice, by %s and %s", e.InstanceID, id, e.ID)
		}
		c.ended[e.InstanceID] = e.ID
		for _, p := range c.toy.sortedPods() { // what is, not what was told
			if p.Node == nodeName(e.InstanceID) && !c.stays(p) {
				bad("instance %s is terminated with pod %s on it", e.InstanceID, p.PodKey)
			}
		}
	case engine.VerbPatchNode:
		if e.Patch.Unschedulable != nil && !*e.Patch.Unschedulable {
			delete(c.leaving, e.Node)
			if c.person[e.Node] {
				bad("node %s is uncordoned, and a person had cordoned it", e.Node)
			}
		}
		// The cordon before a drain: by its annotation where a person cordoned.
		if e.Patch.SetAnnotations[model.AnnotationCordoned] == model.CordonedAhead {
			return // it keeps its pods
		}
		if e.Patch.Unschedulable != nil && *e.Patch.Unschedulable || len(e.Patch.SetAnnotations) > 0 && e.Patch.AddTaint == nil {
			c.cordon(e, bad)
		}
	}
}

// cordon judges by the view: what others do meanwhile is not ours.
func (c *checker) cordon(e engine.Effect, bad func(string, ...any)) {
	if c.leaving[e.Node] {
		return // the same again
	}
	group := c.groupOf[c.nodes[e.Node].ProviderID]
	usable := 0
	for name, n := range c.nodes {
		if c.groupOf[n.ProviderID] == group && n.Ready && !c.leaving[name] && name != e.Node {
			usable++
		}
	}
	if least := c.base[group] - c.available[group]; usable < least && c.nodes[e.Node].Ready && !c.drainOnly {
		bad("the drain of %s leaves group %s with %d usable nodes, fewer than %d", e.Node, group, usable, least)
	}
	c.leaving[e.Node] = true
}

// eviction judges by the view: the API server guards what is.
func (c *checker) eviction(e engine.Effect, bad func(string, ...any)) {
	p := c.toy.pods[e.Pod.PodKey]
	if p == nil || !p.Ready {
		return
	}
	if l := c.toy.selects[p.Owner]; l.Key != "" && !c.force && !c.toy.lasts(l) {
		bad("pod %s is evicted, and only nodes that go have the label %s", p.PodKey, l)
	}
	for k, b := range c.budgets {
		if k.Namespace != p.Namespace || !b.Matches(p.Labels) {
			continue
		}
		asked := 1
		for _, other := range c.asked {
			if other.budget == k {
				asked++
			}
		}
		if asked > b.Allowed {
			bad("%d evictions at once under budget %s, which allows %d", asked, k, b.Allowed)
		}
		c.asked[e.Pod.UID] = askedFor{k, e.Pod.Name}
	}
}

// end judges what is left behind, by what is.
func (c *checker) end(r *engine.Result, bad func(string, ...any)) {
	cut := strings.Contains(r.Message, "not everything could be put back")
	for _, pg := range c.plan.Groups {
		g := c.toy.groups[pg.ID]
		if g == nil || g.HeldBy != "" && g.HeldBy != "r1" {
			continue
		}
		if g.Surge != 0 && (r.Status == engine.StatusDone || !strings.Contains(r.Message, "extra instance") && !cut) && !c.drainOnly {
			bad("group %s keeps a surge of %d, and the result is %s: %s", g.Name, g.Surge, r.Status, r.Message)
		}
		if g.prepare && g.HeldBy != "" && (r.Status == engine.StatusDone || !strings.Contains(r.Message, "keeps the settings") && !cut) {
			bad("group %s is held still, and the result is %s: %s", g.Name, r.Status, r.Message)
		}
		if r.Status == engine.StatusDone && !c.drainOnly {
			for _, n := range pg.Nodes {
				if in := c.toy.instances[n.Instance]; in != nil && in.State != model.InstanceTerminating {
					bad("the rotation is done, and %s is there still", n.Instance)
				}
			}
		}
	}
	for name, n := range c.toy.nodes {
		in := c.toy.instances["i-"+strings.TrimPrefix(name, "node-")]
		if c.drainOnly && name != c.plan.Groups[0].Nodes[0].Node {
			continue
		}
		if in == nil || in.State == model.InstanceTerminating || cut || strings.Contains(r.Message, "keeps rotator's marks") {
			continue
		}
		if n.Marked() {
			bad("node %s keeps our marks", name)
		}
		if n.Unschedulable != c.person[name] && !c.drainOnly {
			bad("node %s: cordoned %v, by a person %v", name, n.Unschedulable, c.person[name])
		}
		if c.toy.unbalanced[in.ID] && !strings.Contains(r.Message, "left out of its load balancers") && in.State != model.InstanceTerminating {
			bad("instance %s is left out of its load balancers", in.ID)
		}
		if now := theirMarks(n); now != c.theirs[name] {
			bad("node %s has the marks %q of others, and had %q", name, now, c.theirs[name])
		}
	}
}

// theirMarks are the marks for others that the node carries, whoever set them.
func theirMarks(n *model.Node) string {
	var marks []string
	if v, ok := n.Annotations[model.AnnotationScaleDownDisabled]; ok {
		marks = append(marks, "scale-down-disabled="+v)
	}
	if v, ok := n.Labels[model.LabelExcludeFromLoadBalancers]; ok {
		marks = append(marks, "excluded="+v)
	}
	return strings.Join(marks, ",")
}
