package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Invariant is what must hold whatever happens.
type Invariant string

// The invariants.
const (
	// RecordFirst: no provider or node change without a durable intent.
	RecordFirst Invariant = "record-first"
	// Unavailable: no drain leaves a group with fewer usable nodes than its size
	// less maxUnavailable, as far as the engine has been told.
	Unavailable Invariant = "unavailable"
	// Capacity: a group is never larger by us than maxSurge and never smaller by
	// us than its own size, which is what others make it; in the end it is that.
	Capacity Invariant = "capacity"
	// Empty: an instance is ended only when no pod that a drain moves is on it.
	Empty Invariant = "empty"
	// Once: each instance is ended at most once.
	Once Invariant = "once"
	// OnlyOld: none is ended but the outdated, and surge that is given back.
	OnlyOld Invariant = "only-old"
	// Disruption: no pod under a PodDisruptionBudget goes but by an eviction, and
	// none is deleted unless that was asked for.
	Disruption Invariant = "disruption"
	// Marks: taints and cordons of ours come off in the end.
	Marks Invariant = "marks"
	// Excluded: no pod is evicted before its node has left the load balancers.
	Excluded Invariant = "excluded"
	// Persons: a cordon or mark that a person set, or took off, stays so.
	Persons Invariant = "persons"
	// Settings of the provider are as they were in the end.
	Settings Invariant = "settings"
	// Ends: a rotation ends within bounded time, and one that is not complete
	// names what is left; once nothing goes wrong any more it completes.
	Ends Invariant = "ends"
	// Complete: after a rotation that is done nothing is left that was outdated.
	Complete Invariant = "complete"
	// Volumes: no instance is ended with a volume attached that a pod needs which
	// has left it, before the time for its detach has passed.
	Volumes Invariant = "volumes"
	// Single: the one replica of a Deployment that is to be moved without downtime
	// does not go before another is Ready, and no extra replica is left.
	Single Invariant = "single"
	// ControlPlane: none of its nodes is ended while another is on its way or is
	// not Ready.
	ControlPlane Invariant = "control-plane"
	// Room: where the plan found room for all pods and nothing went wrong, none is
	// without a node for long.
	Room Invariant = "room"
	// Ordered: pods of an ordered StatefulSet leave one at a time.
	Ordered Invariant = "ordered"
	// Homed: no pod is evicted that only nodes which go may take, but by force.
	Homed Invariant = "homed"
	// Rolled: of a group that its provider rolls no instance is ended by us, none is
	// drained where the provider drains alone, and a run asks for one roll at most.
	Rolled Invariant = "rolled"
	// Deadline: a drain has no more time, over all runs of a rotation, than its deadlines.
	Deadline Invariant = "deadline"
	// Told: at every moment the journal says what the rotation waits for.
	Told Invariant = "told"
	// Orderly: records are numbered without gaps, ops have ids of their own, a
	// wake-up is in the future, Steps do not follow each other without time.
	Orderly Invariant = "orderly"
)

// Invariants are all of them.
var Invariants = []Invariant{RecordFirst, Unavailable, Capacity, Empty, Once, OnlyOld, Disruption, Marks, Excluded, Persons, Settings, Ends, Complete, Volumes, Single, ControlPlane, Room, Ordered, Homed, Rolled, Deadline, Told, Orderly}

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant Invariant
	At        time.Duration // since the world began
	Message   string
}

func (v Violation) String() string { return fmt.Sprintf("%s at %s: %s", v.Invariant, v.At, v.Message) }

// checker judges every Step and every act. It knows what a rotation must not
// do, and nothing of how the engine goes about it. What the engine could know
// is judged by what it was told (the view), everything else by what is.
type checker struct {
	w      *World
	spec   plan.Spec
	checks map[Invariant]int
	broken []Violation

	// Of all runs.
	durable map[string]bool   // op ids of intents that were durable
	target  map[string]bool   // instances that were outdated when a run began
	surge   map[string]int    // by group id: the largest surge that any plan allowed
	settled map[string]bool   // groups' own suspension, by id
	patches map[string]string // by node: the op of its latest patch
	late    map[string]bool   // nodes whose marks for others an earlier run's patch has changed

	drained drains // of all runs that go on with one journal

	// Of this run.
	plan     *plan.Plan
	began    time.Duration
	promised bool // the plan says that all pods will find room
	seq      uint64
	intended map[string]bool
	sent     map[string]bool // ids of effects that began
	view     view
	told     told
	base     map[string]int           // the size that each group was last seen with
	room     map[string]plan.Group    // by group id
	quiesced map[string]time.Duration // instances that this run takes out of their load balancers, since when
	// rebalanced instances were put back by a call of an earlier run.
	rebalanced map[string]bool
	rolls      map[string]string // by group id: the op that has it rolled
	ends       map[string]string // by which op an instance is ended
	resizes    map[string]string // op ids of our changes of a capacity -> group id
	changing   map[string]int    // by group id: our changes of its capacity on their way
	doubtful   map[string]int    // by group id: so many answers may show such a change by half
	last       time.Duration     // of the last Step
	steps      int               // at that moment
}

func newChecker(w *World, spec plan.Spec) *checker {
	c := &checker{w: w, spec: spec, checks: make(map[Invariant]int), drained: newDrains(), durable: make(map[string]bool), target: make(map[string]bool),
		late: make(map[string]bool), surge: make(map[string]int), settled: make(map[string]bool), patches: make(map[string]string)}
	for _, g := range w.groups {
		c.settled[g.ID] = g.suspended
	}
	return c
}

// hold checks one invariant once.
func (c *checker) hold(i Invariant, ok bool, format string, args ...any) {
	c.checks[i]++
	if !ok && len(c.broken) < 20 {
		c.broken = append(c.broken, Violation{i, c.w.now, fmt.Sprintf(format, args...)})
	}
}

// begins takes note of a run's plan; seq is the number of the last record.
func (c *checker) begins(p *plan.Plan, seq uint64, in engine.Input) {
	c.plan, c.seq, c.began, c.promised = p, seq, c.w.now, promises(p, c.spec) && !c.w.vague()
	if c.drained.cut(c.last); seq == 0 { // the run before had ended by its last Step
		c.drained = newDrains() // another rotation, or one whose journal is lost
	}
	c.intended, c.sent = make(map[string]bool), make(map[string]bool)
	c.view, c.base, c.told = newView(), make(map[string]int), newTold(c.w.now)
	c.room, c.ends = make(map[string]plan.Group), make(map[string]string)
	c.rolls = make(map[string]string)
	c.quiesced, c.rebalanced = make(map[string]time.Duration), make(map[string]bool)
	c.resizes = make(map[string]string)
	c.changing, c.doubtful = make(map[string]int), make(map[string]int)
	for _, wl := range c.w.workloads {
		wl.left = nil // a run knows what it has begun itself
	}
	for _, g := range p.Groups {
		c.room[g.ID] = g
		c.surge[g.ID] = max(c.surge[g.ID], g.Surge)
		for _, i := range in.Snapshot.Instances {
			if i.GroupID == g.ID && i.Outdated() && i.State != model.InstanceTerminating {
				c.target[i.ID] = true
			}
		}
	}
}

// stepped judges what the engine answers to an input.
func (c *checker) stepped(in engine.Input, r engine.Ready) {
	c.see(in)
	if c.steps++; c.w.now > c.last {
		c.last, c.steps = c.w.now, 0
	}
	c.hold(Orderly, c.steps < 50, "%d Steps at one moment", c.steps)
	c.hold(Orderly, r.WakeAt.IsZero() || r.WakeAt.After(c.w.time()), "the wake-up at %s is not in the future", r.WakeAt)
	for _, ev := range r.Records {
		c.record(ev)
	}
	for _, e := range r.Effects {
		c.effect(e)
	}
	c.checkRoom()
	c.checkTold()
	c.checkDeadlines()
}

func (c *checker) record(ev event.Event) {
	c.seq++
	c.hold(Orderly, ev.Seq == c.seq, "record %d has the number %d", c.seq, ev.Seq)
	c.seq = ev.Seq
	c.drained.recorded(ev, c.w.now)
	c.rare(ev)
	c.told.take(ev, c.w.now)
	switch ev.Kind { //nolint:exhaustive // only these change what is judged
	case event.ReplacementBad:
		if ev.Code != "outdated" {
			c.view.giveUp(ev.Node, true)
		}
	case event.ReplacementReady:
		c.view.giveUp(ev.Node, false)
	case event.NodeQuarantined:
		c.view.leave(ev.Node, false)
	case event.RotationStopping:
		c.view.stay()
	case event.OpSucceeded, event.OpFailed:
		// Between two attempts a look may show a change by half as well.
		if g := c.resizes[ev.Op]; g != "" {
			delete(c.resizes, ev.Op)
			c.changing[g]--
			c.doubtful[g] = 2
		}
	case event.OpIntended:
		c.hold(Orderly, !c.intended[ev.Op], "op %s is intended twice", ev.Op)
		c.intended[ev.Op] = true
	}
}

// effect judges what the engine is about to do.
func (c *checker) effect(e engine.Effect) {
	again := c.sent[e.ID] && e.ID != ""
	c.drains(e)
	c.sent[e.ID] = true
	if e.Verb == engine.VerbSetSurge || e.Verb == engine.VerbTerminate && e.Shrink {
		if c.resizes[e.ID] == "" {
			c.changing[e.GroupID]++
		}
		c.resizes[e.ID] = e.GroupID
	}
	switch e.Verb {
	case engine.VerbTerminate:
		if g := c.w.group(e.GroupID); g != nil {
			c.hold(Rolled, !g.Traits.Rolled(), "instance %s is ended, and the provider of group %s does that", e.InstanceID, e.GroupID)
		}
		was := c.ends[e.InstanceID]
		c.hold(Once, was == "" || was == e.ID, "instance %s is ended by op %s, and was by %s", e.InstanceID, e.ID, was)
		c.ends[e.InstanceID] = e.ID
		if !again {
			c.isEmpty(e)
			c.isDetached(e)
			if in := c.w.instances[e.InstanceID]; in != nil && in.node != nil {
				c.sparesControlPlane(in.node.Name)
			}
		}
	case engine.VerbPatchNode:
		p := e.Patch
		if p.Unschedulable != nil && !*p.Unschedulable {
			c.view.leave(e.Node, false)
		}
		if p.SetAnnotations[model.AnnotationCordoned] == model.CordonedAhead {
			return // it keeps its pods
		}
		if p.Unschedulable != nil && *p.Unschedulable || len(p.SetAnnotations) > 0 && p.AddTaint == nil {
			c.takes(e.Node)
		}
	case engine.VerbDeletePod:
		c.leaves(e)
		c.keepsHome(e)
		c.hold(Disruption, c.spec.Drain.OnDeadline == plan.DeadlineForce, "pod %s is deleted, and nobody asked for that", e.Pod)
	case engine.VerbEvict:
		c.leaves(e)
		c.keepsHome(e)
		c.excluded(e)
		c.quiesces(e)
	case engine.VerbQuiesce:
		if _, ok := c.quiesced[e.InstanceID]; !ok {
			c.quiesced[e.InstanceID] = c.w.now
		}
	case engine.VerbUnquiesce:
		delete(c.quiesced, e.InstanceID)
	case engine.VerbRoll:
		g := c.w.group(e.GroupID)
		was := c.rolls[e.GroupID]
		c.hold(Rolled, was == "" || was == e.ID, "group %s is rolled by op %s, and was by %s", e.GroupID, e.ID, was)
		c.hold(Rolled, g == nil || g.Traits.Roll, "the provider is asked to roll group %s, and cannot", e.GroupID)
		c.rolls[e.GroupID] = e.ID
	case engine.VerbObserve, engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbPatchWorkload, engine.VerbCheckAPI, engine.VerbCancel:
	}
}

// isEmpty judges by what is: pods that a drain moves must be gone from the node,
// unless a person opened it again a moment ago.
func (c *checker) isEmpty(e engine.Effect) {
	in := c.w.instances[e.InstanceID]
	if in == nil || in.node == nil || c.w.nodes[in.node.Name] != in.node {
		return
	}
	opened := in.node.uncordoned > 0 && c.w.now-in.node.uncordoned < 5*time.Second
	for _, p := range in.node.pods {
		stays := p.Mirror || p.Finished() || p.workload.Kind == "DaemonSet" || p.workload.skipped || p.ToleratesCordon || c.hangs(in.node, p)
		c.hold(Empty, stays || opened, "instance %s is ended with pod %s on it", e.InstanceID, p.PodKey)
	}
}

// hangs tells whether nobody need wait for a terminating pod any more: its end was
// due a minute ago, and its node cannot confirm it, or the drain was forced.
func (c *checker) hangs(n *node, p *pod) bool {
	ends := p.Details().EndsBy
	return p.Terminating && (n.dead || c.spec.Drain.OnDeadline == plan.DeadlineForce) && !c.w.time().Before(ends.Add(time.Minute))
}

// leaves judges an eviction of a pod of an ordered StatefulSet, by what is: the
// pod that left before it must have come back. What was just lost otherwise may not
// have been told yet.
func (c *checker) leaves(e engine.Effect) {
	p := c.w.pods[e.Pod.PodKey]
	if p == nil || p.UID != e.Pod.UID || !p.Ready || p.Terminating || !p.workload.Ordered || c.spec.Drain.StatefulSets == drain.StatefulSetsParallel {
		return
	}
	if f := p.workload.left; f != nil && f.UID != p.UID {
		now := c.w.pods[f.PodKey]
		back := now != nil && now.UID != f.UID
		c.hold(Ordered, back || c.w.now-p.workload.lost < 2*time.Minute, "pod %s is to leave, and %s has not come back", p.PodKey, f.PodKey)
	}
	p.workload.left = p
}

// stayed takes note that an eviction, or a deletion in its place, failed: its pod has not
// left.
func (c *checker) stayed(o engine.Outcome) {
	if o.Verb != engine.VerbEvict && o.Verb != engine.VerbDeletePod || o.Err == nil {
		return
	}
	if p := c.w.pods[o.Pod.PodKey]; p != nil && p.UID == o.Pod.UID && !p.Terminating && p.workload.left == p {
		p.workload.left = nil
	}
}

// begun judges an effect that begins: its intent must be durable.
func (c *checker) begun(e engine.Effect) {
	switch e.Verb {
	case engine.VerbObserve, engine.VerbEvict, engine.VerbDeletePod, engine.VerbCheckAPI:
	case engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbTerminate, engine.VerbPatchNode,
		engine.VerbPatchWorkload, engine.VerbQuiesce, engine.VerbUnquiesce, engine.VerbRoll, engine.VerbCancel:
		c.hold(RecordFirst, c.durable[e.ID], "%s %s begins without a durable intent", e.Verb, e.ID)
	}
}

// before and after see each act as it happens.
func (c *checker) before(k *call) {
	if in := c.w.instances[k.InstanceID]; in != nil {
		k.was = in.ending
	}
	switch k.Verb { //nolint:exhaustive // the others are judged when they begin, or after
	case engine.VerbDeletePod:
		if p := c.w.pods[k.Pod.PodKey]; p != nil && p.UID == k.Pod.UID && !p.Terminating && p.Phase == "Running" {
			for _, b := range c.w.budgetsOf(p) {
				c.hold(Disruption, c.spec.Drain.DeletePodsDespiteBudgets, "pod %s is deleted, and budget %s protects it", p.PodKey, b.Name)
			}
		}
	case engine.VerbEvict:
		c.eviction(k)
	case engine.VerbTerminate:
		if in := c.w.instances[k.InstanceID]; in != nil && in.node != nil && in.ending == "" {
			c.undrained(in)
		}
	case engine.VerbPatchNode:
		n := c.w.nodes[k.Node]
		c.lateMarks(k)
		if n == nil || k.Patch.Unschedulable == nil {
			return
		}
		// Between what the engine was told and now, a person may have changed it.
		if n.personAt > 0 && n.personAt > k.decided-2*time.Second {
			n.unsure = true
		}
		if !*k.Patch.Unschedulable && n.Unschedulable {
			c.hold(Persons, !n.person || n.unsure, "node %s is uncordoned, and a person had cordoned it", k.Node)
		}
	}
}

// eviction counts anew what the disruption controller counts, by what is. Its
// status is behind by as much as pods have just been lost.
func (c *checker) eviction(k *call) {
	p := c.w.pods[k.Pod.PodKey]
	if p == nil || p.UID != k.Pod.UID || p.Terminating || !p.Ready {
		return
	}
	over := c.w.budgetsOf(p)
	if len(over) != 1 || over[0].Allowed < 1 || over[0].closed {
		if len(over) == 0 {
			c.alone(p, k.decided)
		}
		return // it will be refused, or no budget minds
	}
	c.alone(p, k.decided)
	b := over[0]
	healthy, asked, lost := 0, 0, -time.Hour
	for _, wl := range b.workloads {
		asked += wl.Desired
		lost = max(lost, wl.lost)
		healthy += wl.healthy
	}
	wanted := resolve(b.minAvailable, asked)
	if b.maxUnavailable != "" {
		wanted = asked - resolve(b.maxUnavailable, asked)
	}
	c.hold(Disruption, healthy-1 >= wanted || c.w.now-lost < 2*time.Second,
		"pod %s is evicted under budget %s, which leaves %d healthy of %d wanted", p.PodKey, b.Name, healthy-1, wanted)
}

// undrained judges an instance that ends now: no pod under a budget goes with it.
func (c *checker) undrained(in *instance) {
	opened := in.node.uncordoned > 0 && c.w.now-in.node.uncordoned < 10*time.Second
	for _, p := range in.node.pods {
		if !p.Terminating && p.Ready && len(c.w.budgetsOf(p)) > 0 && !p.ToleratesCordon { // such a one may come at any moment
			c.hold(Disruption, opened, "instance %s is ended with pod %s, which a budget protects", in.ID, p.PodKey)
		}
	}
}

func (c *checker) after(k *call) {
	g := c.w.group(k.GroupID)
	if g == nil {
		return
	}
	if (k.Verb == engine.VerbUnquiesce || k.Verb == engine.VerbRestore) && !c.intended[k.ID] {
		for _, in := range g.live() {
			c.rebalanced[in.ID] = c.rebalanced[in.ID] || in.lb.in
		}
	}
	if in := c.w.instances[k.InstanceID]; k.Verb == engine.VerbTerminate && in != nil && in.ending == byUs && k.was == "" {
		c.hold(OnlyOld, c.target[in.ID] || k.Shrink, "instance %s is ended, and it was not outdated", in.ID)
		if !c.target[in.ID] {
			c.hold(OnlyOld, g.ours >= 0 || g.unsure, "instance %s is ended, and there was no surge to give back", in.ID)
		}
	}
	c.hold(Capacity, g.ours >= 0 || g.unsure, "group %s is smaller by us than its own size: %d, and %d with us", g.ID, g.own, g.Desired)
	c.hold(Capacity, g.ours <= c.surge[g.ID] || g.unsure, "group %s is larger by us than allowed: %d, and %d with us; surge %d", g.ID, g.own, g.Desired, c.surge[g.ID])
}

// ended judges what a run leaves when it has come to an end of its own.
func (c *checker) ended(rotation string, r *engine.Result, flying bool) {
	done := r.Status == engine.StatusDone
	said := func(s string) bool { return !done && strings.Contains(r.Message, s) }
	cut := said("not everything could be put back") || flying
	c.hold(Ends, done || c.names(r.Message), "%s, and does not say what is left: %s", r.Status, r.Message)
	for _, pg := range c.plan.Groups {
		g := c.w.group(pg.ID)
		if surge, _ := g.standing(); surge > 0 {
			c.hold(Capacity, cut || g.unsure || said("extra instance"), "group %s keeps a surge of %d, and the result is %s: %s", g.Name, surge, r.Status, r.Message)
		}
		if g.heldBy == rotation {
			c.hold(Settings, cut || said("keeps the settings"), "group %s is held still, and the result is %s: %s", g.Name, r.Status, r.Message)
		} else {
			c.hold(Settings, g.suspended == c.settled[g.ID], "group %s: zones are evened out: %v, and before: %v", g.Name, !g.suspended, !c.settled[g.ID])
			if !cut && !said("left out of its load balancers") {
				c.balanced(g)
			}
		}
		if !done {
			continue
		}
		// A journal that was lost took the intent along.
		c.hold(Capacity, g.rec == nil || g.rec.applied || c.w.faults.count[LoseJournal] > 0, "group %s keeps the open record of a change of its capacity, and the result is done", g.Name)
		for _, in := range g.live() {
			c.hold(Complete, !c.target[in.ID], "the rotation is done, and outdated instance %s of group %s is there still", in.ID, g.Name)
		}
	}
	if !cut && !said("keeps rotator's marks") {
		c.clean()
	}
	if !cut && !said("extra replica") {
		c.returned()
	}
}

// clean judges the nodes: nothing of ours is left, what a person wants is so.
func (c *checker) clean() {
	for _, n := range c.w.nodeList {
		if n.inst.State == model.InstanceTerminating {
			continue
		}
		if c.late[n.Name] {
			continue
		}
		c.hold(Marks, !n.Marked(), "node %s keeps our marks: %v %v", n.Name, n.Taints, n.Annotations)
		c.hold(Persons, n.marks() == n.theirs, "node %s has the marks %q, and people want %q", n.Name, n.marks(), n.theirs)
		switch {
		case n.unsure || n.byProvider:
		case n.person:
			c.hold(Persons, n.Unschedulable, "node %s is not cordoned any more, and a person had cordoned it", n.Name)
		default:
			c.hold(Marks, !n.Unschedulable, "node %s stays cordoned, and no person wants it so", n.Name)
		}
	}
}

// names tells whether a message says what it is about.
func (c *checker) names(msg string) bool {
	if strings.Contains(msg, "signal") || strings.Contains(msg, "driver") || strings.Contains(msg, "aborted: everything is put back") {
		return true
	}
	for _, g := range c.w.groups {
		if strings.Contains(msg, g.Name) {
			return true
		}
	}
	return strings.Contains(msg, "Deployment ") || strings.Contains(msg, "i-") || strings.Contains(msg, "node n-") || strings.Contains(msg, "observe #")
}

// final judges the world once a rotation is done and all calls have landed.
func (c *checker) final() {
	for _, g := range c.w.groups {
		if !g.unsure {
			c.hold(Capacity, g.ours == 0 && g.Desired == g.own+g.added, "group %s ends with a desired capacity of %d: its own size is %d, of ours is %d, of its provider's roll %d", g.Name, g.Desired, g.own, g.ours, g.added)
		}
		c.hold(Settings, g.heldBy == "" && g.suspended == c.settled[g.ID], "group %s ends held by %q, suspended %v", g.Name, g.heldBy, g.suspended)
		c.balanced(g)
	}
	c.clean()
}
