package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Stepper decides: the engine, or one that a test has broken.
type Stepper interface {
	Step(now time.Time, in engine.Input) engine.Ready
}

// Options of a simulation. The zero value is seed 0 without faults.
type Options struct {
	Seed uint64
	// Rates of faults; nil: none but those of Force.
	Rates Rates
	// Force names faults that strike in any case: a report's, to have them again.
	Force []string
	// Shape of the world; nil: by the seed.
	Shape *Shape
	// Wrap changes the engine of each run, to see that the checks notice.
	Wrap func(Stepper) Stepper
	// Events gets each record as a line of JSON; Trace what happens, for a person.
	Events io.Writer
	Trace  func(string)
}

// Report is how a simulation went.
type Report struct {
	Seed    uint64
	Status  engine.Status // of the last run
	Message string
	Runs    int
	Steps   int
	Virtual time.Duration
	// Took is from the first Step to the end of the last run.
	Took time.Duration
	// Faults that struck, by name, in order; Count by kind.
	Faults []string
	Count  map[Kind]int
	// Checks of each invariant, and those that did not hold.
	Checks map[Invariant]int
	Broken []Violation
	// Evicted counts evictions, Refused those that a budget did not allow; Ended the
	// instances that we ended.
	Evicted, Refused, Ended int
	// Estimated is what the plan of the first run said that the rotation takes.
	Estimated time.Duration
	// NoRoom: the plan was refused because pods would find no room.
	NoRoom bool
}

// refused is the status of a run whose plan had refusals.
const refused engine.Status = "refused"

// Bounds of a simulation.
const (
	maxRuns = 60 // of one rotation, before the horizon
	// maxRunsHealed: once nothing goes wrong any more, the same command must
	// complete the rotation in so many runs.
	maxRunsHealed = 4
	maxVirtual    = horizon + 72*time.Hour
	maxTurns      = 3_000_000
	turnsPerPod   = 100 // beyond those, for large worlds
	maxKills      = 12
)

// runner is one simulation: a world, and runs of the same command one after
// the other until the rotation is done.
type runner struct {
	Options
	w      *World
	shape  *Shape
	check  *checker
	report Report

	journals map[string]*memory
	latest   string // the rotation that ran last
	kills    int

	// The run.
	eng      Stepper // nil: the process is not running
	rotation string
	result   *engine.Result
	flying   []*call
	outcomes []engine.Outcome
	snapshot *engine.Snapshot
	stop     bool
	wake     uint64 // counts what the engine asked to be woken for
	due      bool   // a Step is in the queue
	began    time.Duration
	// cramped: a plan said that pods may find no room, or would find none: the rotation
	// may stop for it, and has promised nothing else.
	cramped bool
}

// memory is a rotation's journal.
type memory struct {
	events []event.Event
	ended  bool
}

// Run simulates one rotation: its runs until one is done.
func Run(o Options) *Report { return newRunner(o).run() }

func (r *runner) run() *Report {
	r.all()
	r.report.Seed, r.report.Virtual = r.Seed, r.w.now
	r.report.Faults, r.report.Count = r.w.faults.names, r.w.faults.count
	r.report.Checks, r.report.Broken = r.check.checks, r.check.broken
	if r.result != nil {
		r.report.Status, r.report.Message = r.result.Status, r.result.Message
	}
	return &r.report
}

func newRunner(o Options) *runner {
	r := &runner{Options: o, shape: o.Shape, journals: make(map[string]*memory)}
	if r.shape == nil {
		r.shape = RandomShape(o.Seed)
	}
	r.w = r.shape.build(o.Seed, newInjector(o.Seed, o.Rates, o.Force), epoch)
	r.check = newChecker(r.w, r.shape.Spec)
	r.w.says = r.trace
	return r
}

func (r *runner) trace(format string, args ...any) {
	if r.Trace != nil {
		r.Trace(fmt.Sprintf("%12s  ", r.w.now) + fmt.Sprintf(format, args...))
	}
}

func (r *runner) all() {
	r.w.interfere()
	healed := 0
	for {
		r.report.Runs++
		if r.w.healed {
			healed++
		}
		r.start()
		r.loop()
		if len(r.check.broken) > 0 {
			return
		}
		if r.report.NoRoom && r.report.Runs == 1 {
			r.check.final()
			return
		}
		if r.result != nil && r.result.Status == engine.StatusDone {
			r.pass(10*time.Minute, true)
			r.check.final()
			return
		}
		if healed >= maxRunsHealed && r.result != nil || r.report.Runs > 2*maxRuns {
			// What fitted once need not fit again: pods are packed as they come.
			full := r.shape.Tight && len(r.w.pending) > 0
			r.check.hold(Ends, r.shape.Stuck != "" || r.cramped || full || r.w.nodeless(),
				"nothing goes wrong any more, and run %d ends with %s: %s", r.report.Runs, r.result.Status, r.result.Message)
			return
		}
		r.between()
	}
}

// between lets time pass until somebody runs the same command again.
func (r *runner) between() {
	where := fmt.Sprintf("@%d", r.report.Runs)
	d := r.w.dice("again", where)
	pause := d.between(2*time.Second, 4*time.Minute)
	if r.report.Runs > maxRuns && !r.w.healed {
		pause = horizon // enough of it
	}
	wait := true
	if len(r.flying) > 0 && r.w.faults.strikes(r.w, LoseLease, where) {
		for _, c := range r.flying {
			c.delay, c.dropped = d.between(time.Second, 30*time.Second), len(c.acts) > 1
		}
		r.flying = slices.DeleteFunc(r.flying, func(c *call) bool { return c.dropped })
		pause, wait = time.Second, false
	}
	r.pass(pause, wait)
	if r.w.faults.strikes(r.w, LoseJournal, where) {
		r.trace("the journal is deleted")
		clear(r.journals)
	}
}

// longest is how long a call can take, with every fault that delays it.
const longest = 10 * time.Minute

// pass lets time pass, and if asked to, until all calls have landed: a takeover
// waits for them.
func (r *runner) pass(d time.Duration, land bool) {
	until := r.w.now + d
	r.w.after(d, func() {})
	for {
		at, ok := r.w.next()
		if late := land && len(r.flying) > 0 && at <= until+longest; !ok || at > until && !late {
			return
		}
		r.w.turn()
	}
}

// start plans and makes an engine, as each run of the command does: the watches
// begin, a moment later the driver is asked, then the plan is made.
func (r *runner) start() {
	w := r.w
	r.eng, r.result, r.outcomes, r.snapshot, r.stop, r.due = nil, nil, nil, nil, false, false
	r.wake++
	w.watch(nil)
	inv := w.inventory()
	w.watch(func() { r.soon(0) })
	d := w.dice("start", w.now.String())
	r.pass(d.between(100*time.Millisecond, 2*time.Second), false)
	snap := w.snapshot()
	inv.Groups, inv.Instances = snap.Groups, snap.Instances
	r.rotation = r.takeUp(inv)
	j := r.journals[r.rotation]
	if j == nil {
		j = &memory{}
		r.journals[r.rotation] = j
	}
	mem := engine.Restore(j.events)
	p, err := plan.Resume(r.shape.Spec, inv, w.time(), mem.Memory)
	if err == nil {
		r.cramped = r.cramped || slices.ContainsFunc(p.Warnings, aboutRoom) || slices.ContainsFunc(p.Refusals, aboutRoom)
	}
	switch {
	case err != nil:
		r.result = &engine.Result{Status: refused, Message: err.Error()}
	case len(p.Refusals) > 0:
		r.report.NoRoom = slices.ContainsFunc(p.Refusals, aboutRoom)
		r.result = &engine.Result{Status: refused, Message: p.Refusals[0].Message}
	case p.Nodes() == 0 && !p.Leftovers():
		r.result = &engine.Result{Status: engine.StatusDone, Message: "nothing to do"}
	}
	r.trace("run %d of rotation %s", r.report.Runs, r.rotation)
	if r.result != nil {
		r.trace("%s: %s", r.result.Status, r.result.Message)
		return
	}
	in := engine.Cluster(&inv)
	in.Snapshot = snap
	run := r.report.Runs
	where := fmt.Sprintf("@%d", run)
	var closes time.Time
	if w.faults.strikes(w, WindowShuts, where) {
		d := w.dice("window", where)
		closes = w.time().Add(d.between(0, 30*time.Minute))
	}
	r.eng = engine.New(engine.Config{Rotation: r.rotation, OpPrefix: fmt.Sprintf("%s.%d", r.rotation, r.report.Runs), Memory: mem,
		Plan: p, Spec: r.shape.Spec, UndoOnStop: r.shape.Spec.Strategy.OnSignal == plan.SignalUndo, ClosesAt: closes})
	if r.Wrap != nil {
		r.eng = r.Wrap(r.eng)
	}
	r.check.begins(p, mem.LastSeq, in)
	if run == 1 {
		if p.Estimate != nil {
			r.report.Estimated = time.Duration(p.Estimate.Seconds * float64(time.Second))
		}
		r.began = w.now
	}
	if w.faults.strikes(w, Signal, where) {
		d := w.dice("signal", where)
		w.after(d.between(0, 30*time.Minute), func() {
			if r.report.Runs == run && r.eng != nil {
				r.stop = true
				r.soon(0)
			}
		})
	}
	r.step(in)
}

// takeUp answers which rotation goes on: the one that holds a group, else the
// one whose marks nodes carry, else the last one that did not come to its end,
// else a new one.
func (r *runner) takeUp(inv model.Inventory) string {
	for _, g := range inv.Groups {
		if g.HeldBy != "" {
			return g.HeldBy
		}
	}
	for _, n := range inv.Nodes {
		if id := n.Annotations[model.AnnotationRotation]; id != "" {
			return id
		}
	}
	if j := r.journals[r.latest]; j != nil && !j.ended {
		return r.latest
	}
	return fmt.Sprintf("r%d", r.report.Runs)
}

// loop lets the world turn until the run ends or is killed.
func (r *runner) loop() {
	for range maxTurns + turnsPerPod*len(r.w.pods) {
		if r.eng == nil || len(r.check.broken) > 0 {
			return
		}
		if r.w.now > maxVirtual {
			r.check.hold(Ends, false, "after %s of virtual time the rotation has not ended", r.w.now)
			return
		}
		if _, ok := r.w.next(); !ok {
			r.check.hold(Ends, false, "nothing moves any more, and nothing is waited for")
			return
		}
		r.w.turn()
	}
	r.check.hold(Ends, false, "after %d turns the rotation has not ended", maxTurns)
}

// soon asks for a Step in d, unless one comes earlier.
func (r *runner) soon(d time.Duration) {
	if r.eng == nil || r.due {
		return
	}
	r.due = true
	run := r.report.Runs
	r.w.after(d, func() {
		if r.report.Runs != run || r.eng == nil {
			return
		}
		r.due = false
		in := engine.Input{Snapshot: r.snapshot, Outcomes: r.outcomes, Stop: r.stop}
		r.snapshot, r.outcomes, r.stop = nil, nil, false
		r.w.feed.take(r.w.now, &in)
		r.step(in)
	})
}

// step is one turn of the runtime's loop: Step, journal, effects.
func (r *runner) step(in engine.Input) {
	w := r.w
	ready := r.eng.Step(w.time(), in)
	r.report.Steps++
	r.check.stepped(in, ready)
	where := "@" + strconv.Itoa(r.report.Steps)
	if r.killed(KillUnrecorded, where) {
		return
	}
	records := ready.Records
	if len(records) > 1 && r.killed(KillTorn, where) {
		d := w.dice("torn", where)
		r.keep(records[:1+d.n(len(records)-1)])
		r.exit()
		return
	}
	r.keep(records)
	if len(records) > 0 && r.killed(KillRecorded, where) {
		return
	}
	if ready.Done != nil {
		r.trace("%s: %s", ready.Done.Status, ready.Done.Message)
		r.check.ended(r.rotation, ready.Done, len(r.flying) > 0)
		r.result, r.report.Took = ready.Done, w.now-r.began
		r.exit()
		return
	}
	cut := len(ready.Effects)
	killed := cut > 0 && r.killed(KillActing, where)
	if killed {
		d := w.dice("acting", where)
		cut = d.n(cut + 1)
	}
	for _, e := range ready.Effects[:cut] {
		r.perform(e)
	}
	if killed {
		r.exit()
		return
	}
	r.wake++
	if !ready.WakeAt.IsZero() {
		wake := r.wake
		w.after(ready.WakeAt.Sub(w.time()), func() {
			if r.wake == wake {
				r.soon(0)
			}
		})
	}
}

// killed tells whether the process is killed here.
func (r *runner) killed(k Kind, where string) bool {
	if r.kills >= maxKills && len(r.Force) == 0 || !r.w.faults.strikes(r.w, k, where) {
		return false
	}
	r.kills++
	r.trace("%s", k)
	if k != KillTorn && k != KillActing { // those have something to do first
		r.exit()
	}
	return true
}

// exit ends the process. Its calls that are on their way happen or not.
func (r *runner) exit() {
	r.eng = nil
	r.w.watch(nil)
	for _, c := range r.flying {
		d := r.w.dice("cut off", c.name)
		c.dropped = d.chance(0.5)
	}
	r.flying = slices.DeleteFunc(r.flying, func(c *call) bool { return c.dropped })
}

// keep makes records durable, and publishes them.
func (r *runner) keep(records []event.Event) {
	j := r.journals[r.rotation]
	r.latest = r.rotation
	for _, ev := range records {
		if ev.Kind.Durable() {
			j.events = append(j.events, ev)
			switch ev.Kind { //nolint:exhaustive // the others are only kept
			case event.OpIntended:
				r.check.durable[ev.Op] = true
			case event.RotationStarted:
				j.ended = false
			case event.RotationFinished:
				j.ended = ev.Code == string(engine.StatusDone)
			}
		}
		switch ev.Kind { //nolint:exhaustive // counted, no more
		case event.PodEvicted:
			r.report.Evicted++
		case event.EvictionRefused:
			if ev.Code == string(engine.ErrBlocked) {
				r.report.Refused++
			}
		}
		if r.Trace != nil {
			r.trace("%s", line(ev))
		}
		if r.Events != nil {
			b, err := json.Marshal(ev)
			if err == nil {
				_, err = r.Events.Write(append(b, '\n'))
			}
			if err != nil {
				r.check.hold(Orderly, false, "record %d cannot be written: %v", ev.Seq, err)
			}
		}
	}
}

// line is an event for a person.
func line(ev event.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", ev.Seq, ev.Kind)
	for _, s := range []string{ev.Verb, ev.Op, ev.Group, ev.Instance, ev.Node, ev.Pod, ev.Budget, ev.Code} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if len(ev.Data) > 0 {
		fmt.Fprintf(&b, " %v", ev.Data)
	}
	if ev.Message != "" {
		b.WriteString(": " + ev.Message)
	}
	return b.String()
}

// gather is how long answers are collected before a Step, as the runtime takes
// what is there.
const gather = 10 * time.Millisecond

// perform begins an effect.
func (r *runner) perform(e engine.Effect) {
	r.check.begun(e)
	c := &call{Effect: e, rotation: r.rotation, life: r.report.Runs, before: r.check.before, after: r.check.after}
	run := r.report.Runs
	c.answer = func(c *call, err *engine.Error) {
		r.flying = slices.DeleteFunc(r.flying, func(o *call) bool { return o == c })
		if r.report.Runs != run || r.eng == nil {
			return
		}
		if err == nil && c.snapshot != nil {
			r.snapshot = c.snapshot
		}
		r.outcomes = append(r.outcomes, engine.Outcome{ID: c.ID, Verb: c.Verb, Pod: c.Pod, Err: err})
		r.soon(gather)
	}
	r.flying = append(r.flying, c)
	r.w.perform(c)
}
