package engine_test

import (
	"container/heap"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

var (
	seeds   = flag.Uint64("seeds", 400, "how many seeds TestRandom runs")
	oneSeed = flag.Uint64("seed", 0, "run this seed only, and print its events")
)

// TestRandom rotates random groups in virtual time, with random delays and
// faults, and holds every Step against the invariants.
func TestRandom(t *testing.T) {
	if *oneSeed > 0 {
		s := newSim(*oneSeed)
		s.log = t.Logf
		for _, p := range s.rotate() {
			t.Error(p)
		}
		return
	}
	ends := make(map[string]int)
	for seed := uint64(1); seed <= *seeds; seed++ {
		s := newSim(seed)
		problems := s.rotate()
		ends[s.end]++
		if len(problems) > 0 {
			t.Errorf("seed %d (go test ./core/engine -run TestRandom -v -seed %d): %s", seed, seed, strings.Join(problems[:min(len(problems), 3)], "; "))
		}
	}
	t.Logf("ends: %v", ends)
	for _, end := range []string{"done", "gate-failed", "stopped", "resumed: done"} {
		if ends[end] == 0 && *seeds >= 400 {
			t.Errorf("no seed ended with %q: the seeds do not try enough", end)
		}
	}
}

// sim drives an engine and a toy world from a heap of timed events.
type sim struct {
	*toy
	rng     *rand.Rand
	spec    plan.Spec
	faults  faults
	queue   events
	order   int
	eng     *engine.Engine
	check   *checker
	run     int // counts the engines: outcomes for an earlier one are lost
	in      engine.Input
	due     bool // a Step is in the queue
	wake    time.Time
	result  *engine.Result
	end     string
	half    map[string]int // groups whose capacity changes just now: the record as it was
	want    map[string]int // the size that each group must end with
	ending  map[string]bool
	journal []event.Event // the durable ones, over all runs
	mute    bool          // the next effects do not start: killed just before
	muted   bool
	last    time.Time // of the last Step
	steps   int       // Steps at that moment
	flying  int       // effects that have not come back
	// tamper changes what the engine wants, to see that the checker notices.
	tamper   func(*sim, *engine.Ready)
	problems []string
	log      func(string, ...any)
}

// faults are what may go wrong in one seed, as chances.
type faults struct {
	transient, lost, neverJoins, byOthers, resize, tight, signal, crash float64
}

type timed struct {
	at    time.Time
	order int // ties keep the order of their making
	f     func()
}

type events []timed

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(timed)) }
func (q *events) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func (s *sim) after(d time.Duration, f func()) {
	s.order++
	heap.Push(&s.queue, timed{s.now.Add(d), s.order, f})
}

// between is a random time from a to b.
func (s *sim) between(a, b time.Duration) time.Duration {
	return a + time.Duration(s.rng.Int64N(int64(b-a)+1))
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// newSim makes a random world and a random spec.
func newSim(seed uint64) *sim {
	s := &sim{toy: newToy(), rng: rand.New(rand.NewPCG(seed, 1)), half: map[string]int{}, want: map[string]int{}, log: func(string, ...any) {}}
	r := s.rng
	s.now, s.slowEnd = epoch.Add(-time.Hour), true
	if seed%4 != 0 { // every fourth world has no faults, and must end well
		s.faults = faults{transient: pick(r, 0, 0.05, 0.2), lost: pick(r, 0, 0.05), neverJoins: pick(r, 0, 0, 0.1),
			byOthers: pick(r, 0, 0, 0.5), resize: pick(r, 0, 0, 0.5), tight: pick(r, 0, 0, 0.5), signal: pick(r, 0, 0.3), crash: pick(r, 0, 0.3)}
	}
	for i := range 1 + r.IntN(3) {
		size := 1 + r.IntN(12)
		g := s.addGroup(fmt.Sprintf("g%d", i), size, []string{"a", "b", "c"}[:1+r.IntN(3)]...)
		if r.IntN(5) == 0 {
			g.Role = model.RoleControlPlane
		}
		old := 1 + r.IntN(size)
		for n := range size {
			s.join(s.launch(g, n < old).ID)
		}
		s.want[g.ID] = size
	}
	// Somewhere pods can always go.
	s.join(s.launch(s.addGroup("spare", 1, "a"), false).ID)
	s.want["spare"] = 1
	s.spec = defaults()
	st := &s.spec.Strategy
	s.spec.Select.Roles = []string{"control-plane", "node"}
	st.Mode = pick(r, plan.ModeRolling, plan.ModeBatch)
	st.MaxSurge = pick(r, "0", "1", "2", "3", "25%", "100%")
	st.MaxUnavailable = pick(r, "0", "0", "1", "2", "30%")
	st.Attract = pick(r, plan.AttractTaint, plan.AttractCordon)
	st.GroupsAtOnce, st.MaxInFlight = 1+r.IntN(3), pick(r, "0", "0", "1", "3", "30%")
	st.Zones, st.MaxUnavailablePerZone = pick(r, plan.ZonesAny, plan.ZonesSpread, plan.ZonesOneAtATime), pick(r, "0", "0", "1", "50%")
	st.BatchSize = pick(r, 0, 0, 1, 4)
	st.Canary = plan.Canary{Enabled: r.IntN(2) == 0, Bake: pick(r, 0, 5*time.Minute, 30*time.Minute)}
	st.Waits = plan.Waits{BetweenBatches: pick(r, 0, 20*time.Minute), BetweenDrains: pick(r, 0, 0, time.Minute), BetweenEvictions: pick(r, 0, 0, 2*time.Second)}
	s.spec.Drain.OnDeadline = pick(r, plan.DeadlineFail, plan.DeadlineSkip, plan.DeadlineForce)
	s.spec.Drain.MaxEvictions = pick(r, 1, 50)
	for i := range r.IntN(5) {
		n := 1 + r.IntN(10)
		s.addWorkload("ReplicaSet", fmt.Sprintf("w%d", i), n)
		s.toy.fill()
		if n > 1 && r.IntN(2) == 0 {
			s.addBudget(fmt.Sprintf("w%d", i), fmt.Sprint(n-1-r.IntN(n-1)), fmt.Sprintf("w%d", i))
		}
	}
	ds := s.addWorkload("DaemonSet", "agent", 0)
	for _, n := range s.snapshot().Instances {
		s.startPod(ds, nodeName(n.ID))
		if r.IntN(10) == 0 && n.GroupID != "spare" {
			s.changeNode(nodeName(n.ID), func(n *model.Node) { n.Unschedulable = true })
		}
	}
	s.count()
	s.now = epoch
	return s
}

// rotate runs until a rotation ends; one that was stopped or killed is run
// again, as a person would.
func (s *sim) rotate() []string {
	s.interfere()
	s.tighten()
	for range 6 {
		s.start()
		if s.result == nil {
			s.loop()
		}
		if len(s.problems) > 0 {
			return s.problems
		}
		if s.result != nil && s.result.Message != "stopped by a signal" && !strings.HasPrefix(s.result.Message, "stopped by a signal;") {
			break
		}
		// Somebody starts it again. A takeover waits for calls on their way.
		again := s.now.Add(s.between(time.Second, time.Minute))
		s.after(again.Sub(s.now), func() {})
		for s.flying > 0 || s.now.Before(again) {
			s.turn()
		}
	}
	s.judge()
	return s.problems
}

func (s *sim) bad(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf("at %s: ", s.now.Sub(epoch))+fmt.Sprintf(format, args...))
}

// start plans and makes an engine, as each run of the command does.
func (s *sim) start() {
	s.run++
	s.in, s.wake, s.result = engine.Input{}, time.Time{}, nil
	s.relist()
	inv := s.inventory()
	past := engine.Restore(s.journal)
	p, err := plan.Resume(s.spec, inv, s.now, past.Memory)
	if err != nil {
		s.bad("plan: %v", err)
		return
	}
	if len(p.Refusals) > 0 {
		s.end = "refused " + p.Refusals[0].Code
		s.result = &engine.Result{Status: "refused"}
		return
	}
	s.eng = engine.New(engine.Config{Rotation: "r1", OpPrefix: fmt.Sprintf("r1.%d", s.run), Memory: past, Plan: p, Spec: s.spec})
	s.check = newChecker(s.toy, p)
	s.check.resumed, s.check.seq = s.run > 1, past.LastSeq
	s.check.force = s.spec.Drain.OnDeadline == plan.DeadlineForce
	s.step(engine.Input{Snapshot: s.shown(), Nodes: inv.Nodes, Pods: inv.Pods, Workloads: inv.Workloads, Budgets: inv.Budgets})
}

// loop goes from event to event until the rotation ends.
func (s *sim) loop() {
	run := s.run
	signal, crash := s.faults.signal, s.faults.crash
	if run > 4 {
		signal, crash = 0, 0 // nobody is as unlucky as that
	}
	if s.chance(signal) {
		s.after(s.between(0, 20*time.Minute), func() {
			if s.run == run {
				s.in.Stop = true
				s.stepSoon()
			}
		})
	}
	var killed bool
	if s.chance(crash) {
		early := s.chance(0.5) // once its records are kept, before their effects start
		s.after(s.between(0, 20*time.Minute), func() { killed, s.mute = s.run == run && !early, s.run == run && early })
	}
	for range 200_000 {
		if s.result != nil || len(s.problems) > 0 {
			return
		}
		if killed || s.mute && s.muted {
			s.mute, s.muted = false, false
			s.log("%s killed", s.now.Sub(epoch))
			s.run++ // what it had asked for still happens; nobody hears of it
			return
		}
		if s.now.Sub(epoch) > 48*time.Hour {
			s.bad("the rotation does not end")
			return
		}
		if !s.wake.IsZero() && (len(s.queue) == 0 || s.wake.Before(s.queue[0].at)) {
			s.now = s.wake
			s.stepNow()
		} else if len(s.queue) == 0 {
			s.bad("nothing moves any more, and nothing is waited for")
		} else {
			s.turn()
		}
	}
	s.bad("200,000 turns and no end")
}

// turn takes the next event.
func (s *sim) turn() {
	e := heap.Pop(&s.queue).(timed)
	s.now = e.at
	e.f()
}

// stepSoon asks for a Step once what comes together is together.
func (s *sim) stepSoon() {
	if s.due {
		return
	}
	s.due = true
	s.after(s.between(0, 100*time.Millisecond), func() {
		s.due = false
		if s.result == nil {
			s.stepNow()
		}
	})
}

func (s *sim) stepNow() {
	in := s.in
	s.in = engine.Input{}
	s.step(in)
}

func (s *sim) step(in engine.Input) {
	if s.eng == nil || s.result != nil {
		return
	}
	s.wake = time.Time{}
	if s.steps++; s.now.After(s.last) {
		s.last, s.steps = s.now, 0
	}
	if s.steps > 100 {
		s.bad("more than 100 Steps at one moment")
	}
	r := s.eng.Step(s.now, in)
	if s.tamper != nil {
		s.tamper(s, &r)
	}
	for _, ev := range r.Records {
		s.log("%s %s", s.now.Sub(epoch), recordText(ev))
		if ev.Kind.Durable() {
			s.journal = append(s.journal, ev)
		}
	}
	for _, p := range append(s.check.after(in, r), s.eng.Audit()...) {
		s.bad("%s", p)
	}
	s.wake, s.result = r.WakeAt, r.Done
	if r.Done != nil {
		s.end = string(r.Done.Status)
		if s.run > 1 {
			s.end = "resumed: " + s.end
		}
		s.log("%s %s %s", s.now.Sub(epoch), r.Done.Status, r.Done.Message)
	}
	if s.mute && len(r.Effects) > 0 && s.result == nil {
		s.muted = true
		return
	}
	for _, e := range r.Effects {
		s.perform(e)
	}
}

// perform lets an effect happen after a while, and its outcome come back after
// another. Either may go wrong.
func (s *sim) perform(e engine.Effect) {
	run := s.run
	out := engine.Outcome{ID: e.ID, Verb: e.Verb, Pod: e.Pod}
	slow := 300 * time.Millisecond
	if e.Verb == engine.VerbObserve || e.Verb == engine.VerbTerminate || e.Verb == engine.VerbSetSurge {
		slow = 4 * time.Second
	}
	failed := &engine.Error{Code: engine.ErrTransient, Message: "injected"}
	s.flying++
	refused, lost := s.chance(s.faults.transient), s.chance(s.faults.lost)
	s.after(s.between(time.Millisecond, slow), func() {
		var seen *engine.Snapshot
		switch {
		case refused:
			out.Err = failed
		case e.Verb == engine.VerbObserve:
			seen = s.shown()
		default:
			if g := s.groups[e.GroupID]; g != nil && (e.Verb == engine.VerbSetSurge || e.Shrink) {
				s.half[g.ID] = g.Surge // the provider's two changes are not one
			}
			out.Err = s.apply(e)
			s.changed()
			if e.Verb == engine.VerbTerminate && out.Err == nil {
				s.dies(e.InstanceID)
			}
		}
		s.after(s.between(time.Millisecond, slow), func() {
			delete(s.half, e.GroupID)
			s.flying--
			if s.run != run {
				return
			}
			if lost && out.Err == nil {
				out.Err = failed
			}
			if out.Err == nil && seen != nil {
				s.in.Snapshot = seen
			}
			s.in.Outcomes = append(s.in.Outcomes, out)
			s.stepSoon()
		})
	})
}

// shown is what the driver sees: it may be in the middle of a change.
func (s *sim) shown() *engine.Snapshot {
	snap := s.snapshot()
	for i := range snap.Groups {
		if was, ok := s.half[snap.Groups[i].ID]; ok {
			snap.Groups[i].Surge = was
		}
	}
	return snap
}

// changed lets the world react to what has just changed: watches tell, groups
// refill, pods end and start.
func (s *sim) changed() {
	s.tellSoon()
	s.after(s.between(100*time.Millisecond, 5*time.Second), func() {
		for _, in := range s.refill() {
			s.boots(in)
		}
	})
	for _, p := range s.sortedPods() {
		if uid := p.UID; p.Terminating && !s.seen(uid) {
			k := p.PodKey
			s.after(s.between(0, 30*time.Second), func() {
				if p := s.pods[k]; p != nil && p.UID == uid {
					s.removePod(p)
					s.count()
					s.tellSoon()
				}
			})
		}
	}
	s.after(s.between(10*time.Millisecond, 2*time.Second), s.fill)
}

// seen tells whether a pod's end has been arranged.
func (s *sim) seen(uid string) bool {
	if s.ending == nil {
		s.ending = make(map[string]bool)
	}
	was := s.ending[uid]
	s.ending[uid] = true
	return was
}

// fill starts pods that are not Ready at once.
func (s *sim) fill() {
	before := s.podSeq
	s.toy.fill()
	for _, p := range s.sortedPods() {
		var n int
		fmt.Sscanf(p.UID, "p%d", &n)
		if n <= before {
			continue
		}
		q := *p
		q.Ready = false
		s.setPod(&q)
		k, uid := q.PodKey, q.UID
		s.after(s.between(0, 20*time.Second), func() {
			if p := s.pods[k]; p != nil && p.UID == uid && !p.Terminating {
				r := *p
				r.Ready = true
				s.setPod(&r)
				s.count()
				s.tellSoon()
			}
		})
	}
	s.count()
	s.tellSoon()
}

// tellSoon delivers deltas, each kind with its own delay.
func (s *sim) tellSoon() {
	for _, kind := range []string{"nodes", "pods", "workloads", "budgets"} {
		run := s.run
		s.after(s.between(0, 700*time.Millisecond), func() {
			if s.run == run && s.result == nil && s.deltas.move(kind, &s.in) {
				s.stepSoon()
			}
		})
	}
}

func (s *sim) boots(in *model.Instance) {
	id := in.ID
	if s.chance(s.faults.neverJoins) {
		s.log("%s (%s will never join)", s.now.Sub(epoch), id)
		return
	}
	s.after(s.between(20*time.Second, 2*time.Minute), func() {
		if in := s.instances[id]; in != nil && in.State == model.InstancePending {
			s.join(id)
			s.changed()
		}
	})
}

func (s *sim) dies(id string) {
	s.after(s.between(time.Second, time.Minute), func() {
		if in := s.instances[id]; in != nil && in.State == model.InstanceTerminating {
			s.toy.end(id)
			s.changed()
		}
	})
}

// interfere plans what other people do to the groups.
func (s *sim) interfere() {
	for _, id := range s.toy.order {
		g := s.groups[id]
		victim := func() *model.Instance {
			var live []*model.Instance
			for _, in := range s.instances {
				if in.GroupID == id && in.State != model.InstanceTerminating {
					live = append(live, in)
				}
			}
			if len(live) == 0 {
				return nil
			}
			slices.SortFunc(live, func(a, b *model.Instance) int { return byNumber(a.ID, b.ID) })
			return live[s.rng.IntN(len(live))]
		}
		if s.chance(s.faults.byOthers) {
			s.after(s.between(0, 20*time.Minute), func() {
				if in := victim(); in != nil {
					s.log("%s (somebody ends %s)", s.now.Sub(epoch), in.ID)
					in.State = model.InstanceTerminating
					s.dies(in.ID)
					s.changed()
				}
			})
		}
		if s.chance(s.faults.resize) {
			more := pick(s.rng, 1, 3)
			s.after(s.between(0, 20*time.Minute), func() {
				s.log("%s (somebody adds %d to %s)", s.now.Sub(epoch), more, id)
				g.Desired += more
				s.want[id] += more
				s.changed()
			})
		}
	}
}

// tighten lets somebody close budgets for a while.
func (s *sim) tighten() {
	for _, k := range slices.SortedFunc(maps.Keys(s.budgets), func(a, b model.BudgetKey) int { return strings.Compare(a.Name, b.Name) }) {
		if !s.chance(s.faults.tight) {
			continue
		}
		was := s.minimum[k]
		set := func(n int) {
			s.minimum[k] = n
			s.count()
			s.tellSoon()
		}
		at := s.between(0, 10*time.Minute)
		s.after(at, func() { set(1000) })
		s.after(at+s.between(time.Minute, time.Hour), func() { set(was) })
	}
}

// judge looks at how all of it ended.
func (s *sim) judge() {
	if s.result == nil {
		s.bad("no end in six runs")
		return
	}
	if s.faults == (faults{}) && s.result.Status != engine.StatusDone && s.result.Status != "refused" {
		s.bad("nothing went wrong, and yet: %s: %s", s.result.Status, s.result.Message)
	}
	for id, want := range s.want {
		if g := s.groups[id]; s.result.Status == engine.StatusDone && g.Desired != want {
			s.bad("group %s ends with a desired capacity of %d, and it was %d", id, g.Desired, want)
		}
	}
}
