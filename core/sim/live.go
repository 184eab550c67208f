package sim

import (
	"context"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

var (
	_ runtime.Cluster  = (*Live)(nil)
	_ runtime.Provider = (*Live)(nil)
	_ runtime.Journal  = (*Live)(nil)
)

// Live is a world that lives by the clock: a runtime.Cluster, a
// runtime.Provider and a runtime.Journal at once, so that the concurrent
// runtime rotates the same world as the simulation. It is meant for a
// testing/synctest bubble, where an hour takes a moment. Its methods are safe
// for concurrent use.
type Live struct {
	mu      sync.Mutex
	w       *World
	check   *checker
	began   time.Time
	kick    chan struct{} // something was planned: look at the queue again
	visible chan struct{} // the watches have something to tell
	changes chan engine.Input
}

// NewLive makes the world of a seed's shape, with the faults of calls and of
// the world that rates enables; nobody is killed. Start brings it to life.
func NewLive(o Options) *Live {
	l := &Live{began: clock(), kick: make(chan struct{}, 1), visible: make(chan struct{}, 1), changes: make(chan engine.Input)}
	shape := o.Shape
	if shape == nil {
		shape = RandomShape(o.Seed)
	}
	l.w = shape.build(o.Seed, newInjector(o.Seed, o.Rates, o.Force), l.began)
	l.check = newChecker(l.w, shape.Spec)
	l.w.interfere()
	return l
}

// clock is the only wall clock of this package.
func clock() time.Time {
	return time.Now() //nolint:forbidigo // Live lives by the clock
}

// Start begins the watches and lets time pass until ctx ends.
func (l *Live) Start(ctx context.Context) error {
	l.mu.Lock()
	l.catchUp()
	l.w.watch(func() { signal(l.visible) })
	l.mu.Unlock()
	go l.live(ctx)
	go l.tell(ctx)
	return nil
}

// signal leaves one token.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// catchUp lets everything happen that is due. The lock is held.
func (l *Live) catchUp() {
	now := clock().Sub(l.began)
	for {
		at, ok := l.w.next()
		if !ok || at > now {
			break
		}
		l.w.turn()
	}
	l.w.now = now
}

func (l *Live) live(ctx context.Context) {
	for {
		l.mu.Lock()
		l.catchUp()
		wait := time.Hour
		if at, ok := l.w.next(); ok {
			wait = at - l.w.now
		}
		l.mu.Unlock()
		timer := time.NewTimer(wait) //nolint:forbidigo // Live lives by the clock
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-l.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// tell delivers what the watches have. While nobody takes it, more collects.
func (l *Live) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.visible:
		}
		var in engine.Input
		l.mu.Lock()
		l.w.feed.take(l.w.now, &in)
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case l.changes <- in:
		}
	}
}

// Inventory is the cluster's half of an inventory. Changes go on from there.
func (l *Live) Inventory() model.Inventory {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.watch(func() { signal(l.visible) })
	return l.w.inventory()
}

// Changes implements runtime.Cluster.
func (l *Live) Changes() <-chan engine.Input { return l.changes }

// do carries an effect out and waits for its answer.
func (l *Live) do(ctx context.Context, rotation string, e engine.Effect) (*engine.Snapshot, error) {
	type answer struct {
		snapshot *engine.Snapshot
		err      *engine.Error
	}
	answers := make(chan answer, 1)
	c := &call{Effect: e, rotation: rotation, before: l.check.before, after: l.check.after,
		answer: func(c *call, err *engine.Error) { answers <- answer{c.snapshot, err} }}
	l.mu.Lock()
	l.catchUp()
	l.check.begun(e)
	l.w.perform(c)
	l.mu.Unlock()
	signal(l.kick)
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, a.err
		}
		return a.snapshot, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Observe implements runtime.Provider; every answer is a fresh one.
func (l *Live) Observe(ctx context.Context, _ time.Duration) (*engine.Snapshot, []model.Diagnostic, error) {
	s, err := l.do(ctx, "", engine.Effect{Verb: engine.VerbObserve})
	return s, nil, err
}

// Do implements runtime.Provider.
func (l *Live) Do(ctx context.Context, rotation string, e engine.Effect) error {
	_, err := l.do(ctx, rotation, e)
	return err
}

// PatchNode implements runtime.Cluster.
func (l *Live) PatchNode(ctx context.Context, node string, p engine.NodePatch) error {
	l.mu.Lock()
	id := l.check.patches[node] // the port is not told the op
	l.mu.Unlock()
	_, err := l.do(ctx, "", engine.Effect{ID: id, Verb: engine.VerbPatchNode, Node: node, Patch: &p})
	return err
}

// PatchWorkload implements runtime.Cluster.
func (l *Live) PatchWorkload(ctx context.Context, k model.WorkloadKey, p engine.WorkloadPatch) error {
	l.mu.Lock()
	id := l.check.patches[k.String()]
	l.mu.Unlock()
	_, err := l.do(ctx, "", engine.Effect{ID: id, Verb: engine.VerbPatchWorkload, Workload: k, WorkloadPatch: &p})
	return err
}

// Evict implements runtime.Cluster.
func (l *Live) Evict(ctx context.Context, pod engine.PodRef, grace *int64) error {
	_, err := l.do(ctx, "", engine.Effect{Verb: engine.VerbEvict, Pod: pod, GracePeriodSeconds: grace})
	return err
}

// DeletePod implements runtime.Cluster.
func (l *Live) DeletePod(ctx context.Context, pod engine.PodRef, grace *int64) error {
	_, err := l.do(ctx, "", engine.Effect{Verb: engine.VerbDeletePod, Pod: pod, GracePeriodSeconds: grace})
	return err
}

// DeleteNode implements runtime.Cluster.
func (l *Live) DeleteNode(_ context.Context, node, uid string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.forgetNode(node, uid)
	return nil
}

// CheckAPI implements runtime.Cluster.
func (l *Live) CheckAPI(ctx context.Context) error {
	_, err := l.do(ctx, "", engine.Effect{Verb: engine.VerbCheckAPI})
	return err
}

// Append implements runtime.Journal.
func (l *Live) Append(_ context.Context, events []event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range events {
		if ev.Kind == event.OpIntended {
			l.check.durable[ev.Op] = true
			if ev.Verb == string(engine.VerbPatchNode) {
				l.check.patches[ev.Node] = ev.Op
			}
			if ev.Verb == string(engine.VerbPatchWorkload) {
				l.check.patches[ev.Data["workload"]] = ev.Op
			}
		}
	}
	return nil
}

// Watched is an engine whose Steps are judged as those of a simulation are.
func (l *Live) Watched(s Stepper, p *plan.Plan, first engine.Input) runtime.Stepper {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.check.begins(p, 0, first)
	return &watched{l, s}
}

type watched struct {
	*Live
	Stepper
}

func (w *watched) Step(now time.Time, in engine.Input) engine.Ready {
	r := w.Stepper.Step(now, in)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.catchUp()
	w.check.stepped(in, r)
	return r
}

// Ended judges the world at the end of a run with this result, and answers all
// that broke.
func (l *Live) Ended(rotation string, r *engine.Result) []Violation {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catchUp()
	l.check.ended(rotation, r, false)
	if r.Status == engine.StatusDone {
		l.check.final()
	}
	return l.check.broken
}
