package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Groups that their provider rolls, in the manner of EKS: it adds instances and
// waits for them, keeps pods off the old nodes, takes these at random, drains each
// by evictions for a while, cordons and ends it, and takes what it added away.

const (
	// rollAdds is how many instances a roll adds for each that it takes at once.
	rollAdds = 2
	// rollDrains is how long one drain may take before the roll fails, rollJoins how
	// long a new node, and rollSettle how long a drained node waits for its end.
	rollDrains = 15 * time.Minute
	rollJoins  = 20 * time.Minute
	rollSettle = time.Minute
	// taintRolled keeps pods off the old nodes.
	taintRolled = "provider.example.com/unschedulable"
)

// roll is a roll of a group: its provider's record, and what it is at.
type roll struct {
	model.Roll
	revision string
	atOnce   int
	grown    time.Duration            // when the instances were added; they are gone once it is over
	taking   map[string]time.Duration // nodes that it drains, by name, since when
	empty    map[string]time.Duration // of these, since when they are
	fails    time.Duration            // when it fails by itself; 0: it does not
}

// rolls begins a roll.
func (w *World) rolls(g *group, op string, atOnce int) {
	w.rolled++
	r := &roll{revision: g.Revision, atOnce: max(atOnce, 1), grown: w.now, taking: map[string]time.Duration{}, empty: map[string]time.Duration{},
		Roll: model.Roll{ID: fmt.Sprintf("roll-%d", w.rolled), Op: op, State: model.RollRunning, Since: w.time()}}
	g.rolling, g.added = r, rollAdds*r.atOnce
	g.Desired += g.added
	d := w.dice("roll", r.ID)
	if w.faults.strikes(w, RollFails, r.ID) {
		r.fails = w.now + d.between(time.Minute, 40*time.Minute)
	}
	w.says("the provider begins %s of group %s", r.ID, g.Name)
	w.reconcile(g)
	w.rollLater(g, r)
}

func (w *World) rollLater(g *group, r *roll) {
	d := w.dice("rolls", r.ID, w.now.String())
	w.after(d.between(4*time.Second, 12*time.Second), func() {
		if g.rolling == r && r.State == model.RollRunning {
			w.rollOn(g, r)
		}
	})
}

// rollOn is the provider's look at its roll.
func (w *World) rollOn(g *group, r *roll) {
	defer w.rollLater(g, r)
	if r.fails > 0 && r.fails <= w.now {
		w.rollEnds(g, r, model.RollFailed, "group "+g.Name+": the provider failed")
		return
	}
	var old, fresh []*instance
	for _, in := range g.live() {
		switch ready := in.node != nil && in.node.Ready; {
		case in.outdated():
			old = append(old, in)
		case ready:
			fresh = append(fresh, in)
		}
	}
	if r.Phase == "" { // the added ones come up
		if len(fresh) < g.added && len(old) > 0 {
			if w.now-r.grown > rollJoins {
				w.rollEnds(g, r, model.RollFailed, fmt.Sprintf("group %s: %d of %d new nodes did not join", g.Name, g.added-len(fresh), g.added))
			}
			return
		}
		r.Phase = "replacing nodes"
		for _, in := range old {
			if w.rollTaints(in, true); g.cordons && in.node != nil && w.nodes[in.node.Name] == in.node {
				w.rollCordons(in)
			}
		}
	}
	if len(old) == 0 {
		w.rollEnds(g, r, model.RollSucceeded, "")
		return
	}
	r.Phase = fmt.Sprintf("replacing nodes, %d left", len(old))
	for _, in := range slices.Clone(old) {
		if in.node == nil { // it never joined
			w.end(in, byProvider)
		}
	}
	for name := range r.taking {
		if n := w.nodes[name]; n == nil || n.inst.State == model.InstanceTerminating {
			delete(r.taking, name)
		}
	}
	d := w.dice("takes", r.ID, w.now.String())
	for len(r.taking) < r.atOnce {
		in := choose(&d, old, func(in *instance) bool {
			_, taken := r.taking[nodeOf(in)]
			return in.node != nil && !taken && in.State != model.InstanceTerminating
		})
		if in == nil {
			break
		}
		r.taking[in.node.Name] = w.now
	}
	for _, in := range old {
		if since, ok := r.taking[nodeOf(in)]; ok && !w.rollDrains(r, in, since) {
			pod, budget := w.rollBlocked(in.node)
			w.rollEnds(g, r, model.RollFailed, fmt.Sprintf("group %s: pod %s could not be evicted from node %s within %s: budget %s", g.Name, pod, in.node.Name, rollDrains, budget))
			return
		}
	}
}

// taken are the nodes that the provider is at in its roll, in no order.
func (g *group) taken() []string {
	if g.rolling == nil || g.rolling.State != model.RollRunning {
		return nil
	}
	return slices.Collect(maps.Keys(g.rolling.taking))
}

func nodeOf(in *instance) string {
	if in.node == nil {
		return ""
	}
	return in.node.Name
}

// rollDrains evicts what is left on a node; once it is empty it cordons it, and
// ends it after a while. False: that takes too long.
func (w *World) rollDrains(r *roll, in *instance, since time.Duration) bool {
	left := 0
	for _, p := range slices.Clone(in.node.pods) {
		if p.workload.Kind == "DaemonSet" || p.Mirror || p.ToleratesCordon {
			continue
		}
		left++
		if !p.Terminating {
			_ = w.evict(engine.PodRef{PodKey: p.PodKey, UID: p.UID}, nil) // refused: at the next look
		}
	}
	if left > 0 {
		delete(r.empty, in.node.Name)
		return w.now-since <= rollDrains
	}
	at, ok := r.empty[in.node.Name]
	if !ok {
		r.empty[in.node.Name] = w.now
		w.rollCordons(in)
		return true
	}
	if w.now-at >= rollSettle {
		w.end(in, byProvider)
	}
	return true
}

// rollCordons makes a node unschedulable, unless it is.
func (w *World) rollCordons(in *instance) {
	if !in.node.Unschedulable {
		in.node.Unschedulable, in.node.byProvider = true, true
		w.tellNode(in.node, false)
	}
}

// rollBlocked names a pod that is left on a node, and its budget.
func (w *World) rollBlocked(n *node) (pod, budget string) {
	for _, p := range n.pods {
		if p.workload.Kind != "DaemonSet" && !p.Mirror && !p.ToleratesCordon {
			if pod = p.PodKey.String(); len(p.workload.budgets) > 0 {
				return pod, p.workload.budgets[0].Name
			}
		}
	}
	return pod, "none"
}

func (w *World) rollTaints(in *instance, on bool) {
	if in.node == nil || w.nodes[in.node.Name] != in.node {
		return
	}
	in.node.Taints = slices.DeleteFunc(slices.Clone(in.node.Taints), func(t model.Taint) bool { return t.Key == taintRolled })
	if on {
		in.node.Taints = append(in.node.Taints, model.Taint{Key: taintRolled, Effect: "NoSchedule"})
	} else if in.node.byProvider {
		in.node.byProvider, in.node.Unschedulable = false, in.node.person
	}
	w.tellNode(in.node, false)
	w.schedule()
}

// rollEnds ends a roll: what it added goes, the old nodes take pods again.
func (w *World) rollEnds(g *group, r *roll, state model.RollState, why string) {
	w.says("the provider ends %s of group %s: %s %s", r.ID, g.Name, state, why)
	r.State, r.Ended, r.Phase = state, w.time(), ""
	if why != "" {
		r.Diagnostics = []model.Diagnostic{{Severity: model.SeverityError, Code: "roll", Summary: why, Object: g.ID}}
	}
	g.Desired -= g.added
	g.added = 0
	for _, in := range g.live() {
		w.rollTaints(in, false)
	}
	w.reconcile(g)
}

// rollGroup is the verb: the same call is the same roll, and one that is in
// flight is attached to.
func (w *World) rollGroup(g *group, rotation string, e engine.Effect) []act {
	return []act{func() *engine.Error {
		if err := w.holder(g, rotation); err != nil {
			return err
		}
		switch r := g.rolling; {
		case r != nil && r.Op == e.ID:
		case r != nil && r.State == model.RollRunning && r.revision != g.Revision:
			return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("group %s is being rolled to revision %s (%s)", g.Name, r.revision, r.ID)}
		case r != nil && r.State == model.RollRunning:
		default:
			w.rolls(g, e.ID, e.MaxUnavailable)
		}
		return nil
	}}
}

func (w *World) cancelRoll(g *group, e engine.Effect) []act {
	return []act{func() *engine.Error {
		r := g.rolling
		if r == nil || r.Op != e.Target {
			return notFound("roll", e.Target+" of group "+g.Name)
		}
		if r.State == model.RollRunning {
			w.rollEnds(g, r, model.RollCancelled, "group "+g.Name+": cancelled")
		}
		return nil
	}}
}

// shownRoll is the group's roll as a driver reports it.
func (g *group) shownRoll() model.Roll {
	if g.rolling == nil {
		return model.Roll{}
	}
	r := g.rolling.Roll
	if g.nameless {
		r.Op = ""
	}
	return r
}

// otherRolls has the provider roll groups of nodes.
func (s *Shape) otherRolls(seed uint64) {
	d := newDice(seed, "rolls") // of its own: older seeds keep their worlds
	if !d.chance(0.2) {
		return
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		if g.Role != model.RoleNode || !d.chance(0.7) {
			continue
		}
		g.Traits = model.Traits{Roll: true, Drains: pick(&d, model.DrainsProvider, model.DrainsBoth), Prepare: g.Traits.Prepare, RollCancellable: d.chance(0.3)}
		g.Nameless = d.chance(0.2)
		own := newDice(seed, "cordons", g.Name)
		g.Cordons = own.chance(0.5)
	}
	if !slices.ContainsFunc(s.Groups, func(g GroupShape) bool { return g.Traits.Roll }) {
		return
	}
	// A provider moves no Deployments: budgets that never allow an eviction are
	// refused.
	s.Spec.Drain.SingleReplica = plan.SingleEvict
	s.Budgets = slices.DeleteFunc(s.Budgets, func(b BudgetShape) bool { return b.Name[:min(len(b.Name), 5)] == "pdb-s" && b.Name != s.Stuck })
}
