package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// cordonSettles is how long after its cordon a node may still get pods that the
// scheduler bound before it: watches and the scheduler are behind by less.
const cordonSettles = time.Second

// maxAgain bounds how often one controller's pods are evicted once more that come
// back to a node that is drained.
const maxAgain = 3

// drainState is the drain of one node.
type drainState struct {
	began        time.Time
	turn         uint64 // the pick that chose the node: an earlier one's pods go first
	attempt      int
	spent        time.Duration // of its deadline, before it was cut short
	deadline     time.Time
	cordonedByUs bool
	quiesce      quiesceState
	forced       bool // the deadline has passed under the force policy
	cordonSeen   bool // the node has shown our cordon
	evicted      int
	lastEviction time.Time
	touched      map[model.WorkloadKey]bool
	blocked      []*model.Pod // whose eviction or end waits for something, in order
	toldAt       time.Time
	// emptied is when the last pod had left, detaching since when the node waits for
	// volumes; zero: not yet.
	emptied, detaching time.Time
	told               toldDrain
	// first are the pods, by UID, that the cordon would not keep away and that were
	// there when the drain began: later ones have come back.
	first map[string]bool
	// again counts the evictions of those, by their controller.
	again map[model.WorkloadKey]int
	// seen is the last look at its pods; nil: it does not hold any more.
	seen *leaving
}

// podState is an eviction's, by the pod's UID.
type podState struct {
	asked    bool // on its way
	accepted bool // the API server has set the pod's end
	// A refused eviction is tried again at notUntil, or as soon as its budget's
	// status is another than the one that refused it.
	notUntil  time.Time
	refusedAt uint64
	spent     string // the budget, by name, one of whose disruptions was asked for last
	failures  int
	// byBudget: the API server named a budget when it last refused, whether the watch
	// shows one or not.
	byBudget  bool
	refusal   string    // the last one, for a person
	since     time.Time // when it was first blocked; zero: it is not
	told      string    // what was overridden for it, and told
	restarted bool      // its Deployment was restarted to move it
}

// pending tells whether an eviction is to be asked for still.
func (s *podState) pending() bool { return !s.asked && !s.accepted }

// startDrain cordons the member's node; one without a node has nothing to drain.
func (e *Engine) startDrain(g *group, m *member) {
	m.startedAt, g.lastProgress = e.now, e.now
	n := e.w.nodes[m.node]
	if n == nil {
		if e.cfg.DrainOnly {
			m.become(memberDrainedOnly)
			return
		}
		if g.cloudOnly {
			g.lastDrainEnd = e.now // there is no other end that a pause could follow
		}
		e.terminate(g, m)
		return
	}
	m.become(memberCordoning)
	m.drain = drainState{turn: e.picks}
	used := e.takeTime(m)
	p := &NodePatch{UID: n.UID}
	if !e.cfg.DrainOnly {
		p.SetAnnotations = map[string]string{model.AnnotationRotation: e.cfg.Rotation}
	}
	if !n.Unschedulable || n.Annotations[model.AnnotationCordoned] != "" {
		// What a person cordoned before stays theirs.
		unschedulable := true
		p.Unschedulable = &unschedulable
		m.drain.cordonedByUs = true
		if !e.cfg.DrainOnly {
			p.SetAnnotations[model.AnnotationCordoned] = model.CordonedToDrain
		}
	}
	if e.excludes() {
		p.Exclude = goal(true)
	}
	e.marked[n.Name] = true
	e.record(event.Event{Kind: event.NodeDraining, Group: g.Name, Instance: m.inst.ID, Node: m.node, Message: used,
		Data: map[string]string{"cordoned-before": fmt.Sprint(n.Unschedulable && !m.drain.cordonedByUs)}})
	e.addOp(&op{purpose: forCordon, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: n.Name, Patch: p}})
}

// cordoned begins the evictions.
func (e *Engine) cordoned(m *member) {
	if m.phase != memberCordoning {
		return
	}
	m.ahead = false // its cordon is the drain's from now on
	m.become(memberDraining)
	m.drain.began = e.now
	m.drain.deadline = e.now.Add(e.timeLeft(&m.drain))
	e.mem.drains.drop(m.inst.ID) // another drain of it has a deadline of its own
	m.drain.touched = make(map[model.WorkloadKey]bool)
	e.quiesce(m)
	m.drain.first = make(map[string]bool)
	for _, p := range m.at.list {
		if drain.Returns(p) {
			m.drain.first[p.UID] = true
		}
	}
}

// dropDrain forgets a drain that will not go on.
func (e *Engine) dropDrain(m *member) {
	if m.phase == memberDraining || m.phase == memberCordoning {
		e.verifyLater(m)
	}
	m.drain.blocked = nil
}

// evict asks for the evictions that are due on all nodes being drained.
func (e *Engine) evict() {
	nodes := e.draining[:0]
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase == memberDraining && !m.drain.quiesce.holds() {
				nodes = append(nodes, e.look(g, m))
			}
		}
	}
	e.draining = nodes
	e.nextOrdered(nodes)
	// Those first that a provider drains as well: its deadline is not ours to extend.
	slices.SortStableFunc(nodes, func(a, b *leaving) int {
		return cmp.Or(bit(b.member.taken)-bit(a.member.taken), cmp.Compare(a.member.drain.turn, b.member.drain.turn))
	})
	for _, l := range nodes {
		e.evictNode(l)
	}
}

func (e *Engine) evictNode(l *leaving) {
	m := l.member
	d := &m.drain
	for _, c := range l.left {
		e.tellLeft(l, c.Pod, c.Why)
	}
	blocked := d.blocked[:0]
	for i := range l.due {
		c := &l.due[i]
		if !c.state.pending() {
			continue
		}
		if pause := e.cfg.Spec.Strategy.Waits.BetweenEvictions; pause > 0 && !d.lastEviction.IsZero() && !e.after(d.lastEviction, pause) {
			break
		}
		if !e.evictPod(l, c) {
			blocked = append(blocked, c.Pod)
			if c.state.since.IsZero() {
				c.state.since = e.now
			}
		}
	}
	e.tellBlocked(l, append(blocked, l.waits...))
}

// podState returns what is known of a pod's eviction.
func (e *Engine) podState(p *model.Pod) *podState {
	s := e.pods[p.UID]
	if s == nil {
		s = &podState{}
		e.pods[p.UID] = s
	}
	return s
}

// evictPod asks for one eviction if its budget allows it. False: it is blocked
// by something that a person should hear of.
func (e *Engine) evictPod(l *leaving, c *candidate) bool {
	m, p, s, budgets := l.member, c.Pod, c.state, c.budgets
	if e.held(m, p, s) {
		return false
	}
	if most := e.cfg.Spec.Drain.MaxEvictions; most > 0 && e.evicting >= most {
		return true
	}
	if s.notUntil.After(e.now) && (len(budgets) != 1 || budgets[0].version == s.refusedAt) {
		e.wake(s.notUntil)
		return false
	}
	if e.outOfTurn(p) != "" {
		return false
	}
	verb := VerbEvict
	despite := m.drain.forced && e.cfg.Spec.Drain.DeletePodsDespiteBudgets
	switch {
	case len(budgets) > 1 && despite:
		verb = VerbDeletePod
	case len(budgets) > 1:
		return false
	case len(budgets) == 1:
		b := budgets[0]
		allowed, more := b.allowed(e.now)
		ok, spends := drain.Permits(&b.Budget, p, allowed)
		if !ok && despite {
			verb = VerbDeletePod
			break
		}
		if !ok {
			if !more.IsZero() {
				e.wake(more)
			}
			// What waits for an eviction of our own is not worth a word.
			ok, _ = drain.Permits(&b.Budget, p, b.Allowed)
			return ok
		}
		if until := e.leftToProvider(m, b); spends && until.After(e.now) {
			e.wake(until)
			return true
		}
		if spends {
			b.ask(p)
			s.spent = b.Name
		}
	case m.drain.forced && s.failures > 0 && (!s.byBudget || despite):
		// No budget protects it, by what we see and by what the API server said last,
		// and evicting it keeps failing for another reason.
		verb = VerbDeletePod
	}
	if verb == VerbDeletePod && (len(budgets) > 0 || s.byBudget) {
		name := "a budget"
		if len(budgets) > 0 {
			name = "budget " + budgetNames(budgets)
		}
		e.tellOverridden(l, p, "budget", fmt.Sprintf("pod %s is deleted although %s forbids it, as drain.deletePodsDespiteBudgets has it", p.PodKey, name))
	}
	if c.Why != "" {
		e.tellOverridden(l, p, c.Why, e.overrides(m, p, c.Why))
	}
	for _, b := range budgets {
		s.refusedAt = b.version // should it be: a status that comes before the answer may allow it already
	}
	s.asked = true
	e.evicting++
	m.drain.lastEviction = e.now
	if p.Owner != (model.WorkloadKey{}) {
		m.drain.touched[p.Owner] = true
	}
	if drain.Returns(p) && !m.drain.first[p.UID] {
		if m.drain.again == nil {
			m.drain.again = make(map[model.WorkloadKey]int)
		}
		m.drain.again[p.Owner]++
		m.drain.seen = nil
	}
	e.left(p)
	e.out.Effects = append(e.out.Effects, Effect{Verb: verb, Node: m.node, Pod: PodRef{PodKey: p.PodKey, UID: p.UID}, GracePeriodSeconds: e.grace()})
	return true
}

// grace is nil for the pod's own grace period.
func (e *Engine) grace() *int64 {
	g := e.cfg.Spec.Drain.GracePeriod
	if g <= 0 {
		return nil
	}
	s := max(int64(g.Seconds()), 1)
	return &s
}

// evicted takes the answer to an eviction.
func (e *Engine) evicted(o Outcome) {
	s := e.pods[o.Pod.UID]
	if s == nil || !s.asked {
		return
	}
	s.asked = false
	e.evicting--
	m := e.drainingPod(o.Pod)
	p := e.w.pods[o.Pod.PodKey]
	var budgets []*budget
	if p != nil && p.UID == o.Pod.UID {
		budgets = e.w.budgetsOf(p)
	}
	node := ""
	if p != nil {
		node = p.Node
	}
	if o.Err == nil || o.Err.Code == ErrNotFound || o.Err.Code == ErrConflict {
		s.accepted, s.since = true, time.Time{}
		// The pod may be gone already: its budget is found by what was asked.
		if b := e.w.budgets[o.Pod.Namespace][s.spent]; b != nil {
			if o.Err != nil {
				b.unask(o.Pod.UID)
			} else {
				b.answer(o.Pod.UID, e.now)
				b.rhythm.took(e.now)
			}
		}
		if o.Err == nil {
			if m != nil {
				m.drain.evicted++
			}
			e.record(event.Event{Kind: event.PodEvicted, Pod: o.Pod.String(), Node: node})
		}
		return
	}
	if b := e.w.budgets[o.Pod.Namespace][s.spent]; b != nil {
		b.unask(o.Pod.UID)
	}
	if p != nil && e.former[p.Owner].UID == o.Pod.UID {
		delete(e.former, p.Owner) // it has not left after all
	}
	s.failures++
	s.byBudget = o.Err.Code == ErrBlocked || o.Err.Code == ErrMultiBudget
	s.refusal = fmt.Sprintf("the eviction of pod %s was refused %d time(s): %s", o.Pod.PodKey, s.failures, o.Err.Message)
	s.notUntil = e.now.Add(max(o.Err.RetryAfter, backoff(o.Pod.UID, s.failures)))
	ev := event.Event{Kind: event.EvictionRefused, Pod: o.Pod.String(), Node: node, Code: string(o.Err.Code), Message: o.Err.Message}
	if len(budgets) == 1 {
		ev.Budget = budgets[0].BudgetKey.String()
	}
	e.record(ev)
	if o.Err.Code == ErrPermanent {
		e.halt(nil, StatusFailed, "eviction-denied", o.Err.Message)
	}
}

func (e *Engine) drainingPod(ref PodRef) *member {
	p := e.w.pods[ref.PodKey]
	if p == nil {
		return nil
	}
	if m := e.memberOn(p.Node); m != nil && m.phase == memberDraining {
		return m
	}
	return nil
}

// endDrains sees which nodes are empty, and which took too long.
func (e *Engine) endDrains(g *group) {
	for _, m := range g.census.busy {
		switch {
		case m.phase != memberDraining:
		case m.drain.quiesce.holds() && !e.checkQuiesce(g, m):
		default:
			// One that a person opened meanwhile, before our cordon was ever seen, is
			// not empty for long.
			closed := m.n == nil || m.n.Unschedulable && !cordonedAhead(m.n)
			if e.empty(m) && e.after(m.settles(), 0) && closed && e.mayEnd(g, m) {
				e.drained(g, m)
			} else if e.after(m.drain.deadline, 0) {
				e.deadline(g, m)
			}
		}
		e.checkVerification(g, m)
	}
}

// settles is when each pod has shown that was bound just before the node's cordon:
// one that was cordoned up front need not be waited for when its drain begins.
func (m *member) settles() time.Time {
	since := m.drain.began
	if !m.closedAt.IsZero() && m.closedAt.Before(since) {
		since = m.closedAt
	}
	return since.Add(cordonSettles)
}

// mayEnd tells whether the instance of an empty node may be ended: of the control
// plane, only while all others are whole. It is asked until the end is: another may
// fail while the node's volumes detach.
func (e *Engine) mayEnd(g *group, m *member) bool {
	if !g.guarded() {
		return true
	}
	g.heldBack, _ = e.spares(m)
	return g.heldBack == ""
}

// empty tells whether no pod that a drain moves is left on the node.
func (e *Engine) empty(m *member) bool {
	for _, p := range m.at.list {
		if e.decidePod(m, p).Action != drain.Leave {
			return false
		}
	}
	return true
}

// drained takes note that the pods have left, and ends the instance once their
// volumes have, too.
func (e *Engine) drained(g *group, m *member) {
	if m.drain.emptied.IsZero() {
		m.drain.emptied = e.now
		e.tellAllLeft(g, m)
		g.lastDrainEnd, g.lastProgress = e.now, e.now
		e.record(event.Event{Kind: event.NodeDrained, Group: g.Name, Node: m.node, Instance: m.inst.ID,
			Data: map[string]string{"seconds": seconds(e.now.Sub(m.drain.began)), "evicted": fmt.Sprint(m.drain.evicted)}})
	}
	e.verifyLater(m)
	if !e.detached(g, m) {
		return
	}
	if g.Roll != nil {
		m.become(memberDrainedOnly) // the provider ends it
		return
	}
	if e.cfg.DrainOnly {
		// The cordon is a person's from now on: no later run takes it off.
		m.drain.cordonedByUs = false
		m.become(memberDrainedOnly)
		e.addOp(&op{purpose: forUnmark, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: m.node, Patch: &NodePatch{
			UID: e.uid(m.node), DropAnnotations: []string{model.AnnotationRotation, model.AnnotationCordoned}}}})
		return
	}
	e.terminate(g, m)
}

// callOff lets nodes wait again whose cordon has not been sent (the node is
// being patched, or many others are), where the room that they were to take is
// gone meanwhile: somebody ended an instance, or a node went dark.
func (e *Engine) callOff(g *group) {
	if g.census.in[memberCordoning] == 0 {
		return
	}
	usable := g.census.usable
	kept := e.ops[:0]
	for _, o := range e.ops {
		m := o.member
		n := e.w.nodes[o.Node]
		if o.purpose != forCordon || o.group != g || o.attempts > 0 || m.phase != memberCordoning ||
			usable >= g.base-g.Unavailable || n == nil || !n.Ready || cordonLeft(n) {
			kept = append(kept, o)
			continue
		}
		usable++
		e.forget(o)
		m.leaving, m.startedAt, m.drain = false, time.Time{}, drainState{}
		m.rest()
		e.record(event.Event{Kind: event.DrainPostponed, Group: g.Name, Node: m.node, Instance: m.inst.ID,
			Message: fmt.Sprintf("%s is not drained yet: others went missing before it was cordoned", m.label())})
	}
	clear(e.ops[len(kept):])
	e.ops = kept
}

// terminate ends a drained instance.
func (e *Engine) terminate(g *group, m *member) {
	shrink := e.shrinks(g, m)
	m.endedAt = e.now
	m.become(memberTerminating)
	surge := g.surge
	if shrink {
		g.surge--
		surge = g.surge
	} else {
		g.vacant = append(g.vacant, e.now)
	}
	effect := Effect{Verb: VerbTerminate, InstanceID: m.inst.ID, Shrink: shrink, Surge: surge}
	if n := e.forgetNode(g, m); n != nil {
		effect.Node, effect.NodeUID = n.Name, n.UID
	}
	e.addOp(&op{purpose: forTerminate, group: g, member: m, Effect: effect})
}

// terminateAccepted: the provider ends the instance; snapshots or the node's
// removal show when it is gone.
func (e *Engine) terminateAccepted(m *member) {
	m.ending = true
	if m.node == "" || e.w.nodes[m.node] == nil {
		e.obs.ask()
	}
}
