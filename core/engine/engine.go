// Package engine is the rotation as a pure state machine: Step takes what
// happened and answers what to record, what to do and when to look again. It
// never blocks, reads no clock, starts no goroutine and uses no chance, so that
// a whole rotation can be replayed, simulated and tested in virtual time.
//
// All scheduling is here: which instance goes next, which pod next, how many
// at once, when to wait. engine.go drives; world.go holds facts; group.go is a
// group's life, member.go an instance's, evict.go the drain, ordered.go that of
// StatefulSets, blocked.go what a drain waits for; capacity.go
// counts; ops.go sends and retries changes; stop.go ends early; observe.go
// decides when to ask the provider.
package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Config of an engine. The plan must have no refusals.
type Config struct {
	// Rotation is the rotation's id.
	Rotation string
	// OpPrefix makes the ids of this run's ops unique; default Rotation. A run
	// that goes on with an earlier rotation's id must choose another.
	OpPrefix string
	// Memory of the rotation's earlier runs, by Restore; zero: there was none.
	Memory Memory
	Plan   *plan.Plan
	Spec   plan.Spec
	// SpecID is a fingerprint of the spec: it tells a run that goes on with this
	// rotation from one that wants another.
	SpecID string
	// UndoOnStop takes surge back too when Input.Stop asks to end, however long it
	// takes; otherwise a few seconds have to do, and surge is left to the next run.
	UndoOnStop bool
	// DrainOnly empties the plan's nodes and ends no instance: they stay cordoned.
	DrainOnly bool
	// ClosesAt is when the rotation's window closes: nothing is begun from then on.
	// Zero: never.
	ClosesAt time.Time
}

// Bounds of the engine, with their reasons.
const (
	// stopGrace: CI runners kill about 10 s after the first signal.
	stopGrace = 5 * time.Second
	// maxPatches at once: enough to taint 5,000 nodes in a boot's time, few enough
	// to leave the API server to others.
	maxPatches = 20
	// maxAttempts of one change, with pauses from 1 s to 30 s: about three minutes.
	maxAttempts = 10
	// reportEvery bounds how often the same wait is told again.
	reportEvery = 30 * time.Second
)

type phase int

const (
	phaseRunning phase = iota
	phaseTidying       // all groups have ended: take our marks off what is left
	phaseStopping
	phaseDone
)

// Engine is one rotation. Not safe for concurrent use.
type Engine struct {
	cfg   Config
	w     *world
	now   time.Time
	out   Ready
	seq   uint64
	phase phase

	groups     []*group
	byInst     map[string]*member   // members of all groups, by instance id
	byProvider map[string]*member   // the same, by provider id
	byNode     map[string][]*member // the same, by the name of their node
	healthy    map[model.WorkloadKey]bool
	started    bool
	step       int // counts Steps: tells what came before what at one moment

	mem      Memory
	ops      []*op // not finished, in the order of their making
	opSeq    int
	patching map[string]int  // how many of them patch a node, by its name
	patched  map[string]bool // nodes that sendOps has come by; kept for its memory
	marked   map[string]bool // nodes that carry a mark of ours, or may
	departed map[string]bool // UIDs of nodes that went before their instances (samename.go)

	movers      map[model.WorkloadKey]*mover // Deployments that are moved without downtime
	trouble     []string                     // what could not be taken back of them
	pods        map[string]*podState         // by pod UID
	draining    []*leaving                   // in this Step; kept for its memory
	contentions map[model.BudgetKey]*contention
	picks       uint64        // calls of pick
	evicting    int           // evictions asked for and not answered
	policy      *drain.Policy // for pods
	// former is the pod of an ordered StatefulSet that left last; turn is the one
	// whose turn it is in this Step, by StatefulSet.
	former map[model.WorkloadKey]PodRef
	turn   map[model.WorkloadKey]*model.Pod

	fencing  fencing
	obs      observer
	cp       controlPlane
	homes    homes
	stop     *stopping
	shut     bool // the window has closed
	finish   Result
	lastTold time.Time
	kept     time.Time // of the last durable event
}

// New makes an engine. The first Step must carry the first snapshot and the
// whole cluster.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, w: newWorld(), byInst: make(map[string]*member),
		byProvider: make(map[string]*member), byNode: make(map[string][]*member), marked: make(map[string]bool), patching: make(map[string]int), patched: make(map[string]bool),
		pods: make(map[string]*podState), contentions: make(map[model.BudgetKey]*contention), healthy: make(map[model.WorkloadKey]bool),
		former: make(map[model.WorkloadKey]PodRef), movers: make(map[model.WorkloadKey]*mover)}
	e.policy, _ = cfg.Spec.Drain.Policy() // a plan without refusals has no bad rules
	e.mem, e.seq = cfg.Memory, cfg.Memory.LastSeq
	if e.mem.drains.of == nil { // there is no journal
		e.mem.drains = newDrainTimes()
	}
	if e.cfg.OpPrefix == "" {
		e.cfg.OpPrefix = cfg.Rotation
	}
	for _, g := range cfg.Plan.Groups {
		e.groups = append(e.groups, newGroup(g, cfg.Spec))
	}
	return e
}

// Step advances the rotation to now with what happened since the last call.
func (e *Engine) Step(now time.Time, in Input) Ready {
	if e.phase == phaseDone {
		return Ready{}
	}
	e.now, e.out = now, Ready{}
	e.step++
	e.w.now = now
	e.w.apply(&in)
	for _, o := range in.Outcomes {
		e.outcome(o)
	}
	if in.Snapshot != nil {
		e.takeSnapshot(in.Snapshot)
	}
	e.join(&in)
	if !e.started {
		e.start()
	}
	switch {
	case in.Undo || in.Stop && e.cfg.UndoOnStop:
		e.undo()
	case in.Stop:
		e.signalled()
	}
	e.decide()
	e.evict()
	e.settleMoves()
	e.sendOps()
	e.planObserve()
	e.tell()
	for _, g := range e.groups {
		g.sweep(e)
	}
	e.settle()
	return e.out
}

func (e *Engine) start() {
	e.started = true
	unhealthy := e.baseline()
	e.findMarks()
	e.endedUnwatched() // before the start, which says how many nodes are left
	e.record(event.Event{Kind: event.RotationStarted, Message: fmt.Sprintf("rotation of %d node(s) in %d group(s) of cluster %s",
		e.cfg.Plan.Nodes(), len(e.groups), e.cfg.Plan.Cluster),
		Data: map[string]string{"nodes": fmt.Sprint(e.cfg.Plan.Nodes()), "groups": fmt.Sprint(len(e.groups)), "mode": string(e.cfg.Plan.Mode),
			"cluster": e.cfg.Plan.Cluster, "spec": e.cfg.SpecID, "unhealthy": unhealthy}})
	for _, w := range e.cfg.Plan.Warnings { // nobody may have looked at the plan by itself
		e.record(event.Event{Kind: event.PlanWarned, Code: w.Code, Message: w.Message, Data: map[string]string{"object": w.Object, "fix": w.Fix}})
	}
	e.takeUp()
	e.quiescedBefore()
	e.releaseNew()
}

// releaseNew takes our marks off nodes that an earlier run was cut off at and
// that are needed: new nodes of groups that are to be rotated, which it gave
// back; and where a rotation is only taken back, nodes that it drained in zones
// that have none too many.
func (e *Engine) releaseNew() {
	early := make(map[string]bool)
	for _, g := range e.groups {
		surplus := e.surplus(g)
		for _, m := range g.members {
			needed := len(g.Nodes) > 0 || cordonLeft(e.w.nodes[m.node]) && surplus[m.inst.Zone] == 0
			if needed && !m.old && e.marked[m.node] && !onlyShielded(e.w.nodes[m.node]) {
				early[m.node] = true
			}
		}
	}
	if len(early) > 0 {
		e.unmark(func(node string) bool { return !early[node] })
	}
}

// findMarks takes note of the nodes that carry a mark of ours: those of an
// earlier run, whose last patch may even land when this one has begun. The
// drain of one node leaves alone what was drained before.
func (e *Engine) findMarks() {
	if e.cfg.DrainOnly {
		return
	}
	for name, n := range e.w.nodes {
		if n.Marked() {
			e.marked[name] = true
		}
	}
}

func (e *Engine) decide() {
	switch e.phase {
	case phaseRunning:
		if e.closeWindow(); e.stop != nil {
			break
		}
		e.markOutdated()
		e.stepGroups()
		e.fence()
	case phaseStopping, phaseTidying, phaseDone:
	}
	// A rotation that has just come to its end begins to undo in the same Step:
	// nothing may be on its way that would cause another.
	switch e.phase {
	case phaseStopping:
		e.stepStopping()
	case phaseTidying:
		e.unmark(nil)
	case phaseRunning, phaseDone:
	}
}

// settle ends the rotation when nothing is left to do.
func (e *Engine) settle() {
	switch e.phase {
	case phaseTidying:
		if len(e.ops) == 0 && len(e.marked) == 0 && e.replicasReturned() {
			if len(e.trouble) > 0 {
				e.finish.Status = StatusFailed
				e.finish.Message += "; " + strings.Join(e.trouble, "; ")
			}
			e.done()
		}
	case phaseStopping:
		if e.stopped() {
			e.done()
		}
	case phaseRunning, phaseDone:
	}
}

func (e *Engine) done() {
	e.phase = phaseDone
	e.giveUp()
	e.record(event.Event{Kind: event.RotationFinished, Code: string(e.finish.Status), Message: e.finish.Message})
	r := e.finish
	e.out.Done, e.out.Effects, e.out.WakeAt = &r, nil, time.Time{}
}

// uid of a node, as far as is known.
func (e *Engine) uid(node string) string {
	if n := e.w.nodes[node]; n != nil {
		return n.UID
	}
	return ""
}

// record adds an event to this Step's records.
func (e *Engine) record(ev event.Event) {
	e.seq++
	ev.Seq, ev.Time, ev.Rotation = e.seq, e.now, e.cfg.Rotation
	if ev.Kind.Durable() {
		e.kept = e.now
	}
	e.out.Records = append(e.out.Records, ev)
}

// wake asks for a Step at t, at the latest.
func (e *Engine) wake(t time.Time) {
	if e.out.WakeAt.IsZero() || t.Before(e.out.WakeAt) {
		e.out.WakeAt = t
	}
}

// after tells whether d has passed since t, and asks for a wake-up if not.
func (e *Engine) after(t time.Time, d time.Duration) bool {
	if due := t.Add(d); due.After(e.now) {
		e.wake(due)
		return false
	}
	return true
}
