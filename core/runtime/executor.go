package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// A lane is a kind of effect with a bound of its own, so that tainting a
// thousand nodes up front does not hold back the first drain.
type lane int

const (
	laneProvider lane = iota
	laneNodes
	lanePods
	lanes
)

// width is how many effects of each lane run at once. The engine bounds the
// driver's calls by its budgets; 64 is a net under that. Those of the cluster
// share one client, whose rate they cannot exceed anyway.
var width = [lanes]int{laneProvider: 64, laneNodes: 32, lanePods: 64}

// result is how one effect ended.
type result struct {
	lane     lane
	outcome  engine.Outcome
	snapshot *engine.Snapshot
	found    []model.Diagnostic
}

// executor runs effects, each on a goroutine of its own, in the order in which
// they came and at most width at once. Its methods are called from the loop's
// goroutine only.
type executor struct {
	ctx      context.Context
	cancel   context.CancelFunc
	reads    context.Context // of effects that change nothing: cut off first
	stopRead context.CancelFunc
	rotation string
	provider Provider
	cluster  Cluster
	timeout  time.Duration // of the driver's calls
	lock     Lock          // nil: none
	log      *slog.Logger

	results chan result
	left    chan struct{} // closed when nobody reads results any more
	wg      sync.WaitGroup
	running [lanes]int
	queue   [lanes][]engine.Effect // as long as the engine made it: it bounds what it asks for
}

func newExecutor(ctx context.Context, o Options) *executor {
	ctx, cancel := context.WithCancel(ctx)
	reads, stopRead := context.WithCancel(ctx)
	return &executor{
		ctx: ctx, cancel: cancel, reads: reads, stopRead: stopRead,
		rotation: o.Rotation, provider: o.Provider, cluster: o.Cluster, timeout: o.ProviderTimeout, lock: o.Lock, log: o.Log,
		results: make(chan result), left: make(chan struct{}),
	}
}

func laneOf(v engine.Verb) lane {
	switch v {
	case engine.VerbPatchNode, engine.VerbPatchWorkload, engine.VerbCheckAPI:
		return laneNodes
	case engine.VerbEvict, engine.VerbDeletePod:
		return lanePods
	case engine.VerbObserve, engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbTerminate,
		engine.VerbQuiesce, engine.VerbUnquiesce, engine.VerbRoll, engine.VerbCancel:
	}
	return laneProvider
}

// reads tells whether an effect changes nothing.
func reads(v engine.Verb) bool { return v == engine.VerbObserve || v == engine.VerbCheckAPI }

// start runs the effects, or queues them behind those of their lane.
func (x *executor) start(effects []engine.Effect) {
	for _, e := range effects {
		l := laneOf(e.Verb)
		x.queue[l] = append(x.queue[l], e)
	}
	for l := range lanes {
		x.fill(l)
	}
}

func (x *executor) fill(l lane) {
	for x.running[l] < width[l] && len(x.queue[l]) > 0 {
		e := x.queue[l][0]
		x.queue[l] = x.queue[l][1:]
		x.running[l]++
		x.wg.Go(func() {
			res := x.run(e)
			res.lane = l
			select {
			case x.results <- res:
			case <-x.left:
			}
		})
	}
}

// ended makes room after a result was received.
func (x *executor) ended(res result) {
	x.running[res.lane]--
	x.fill(res.lane)
}

// cut cuts off everything at once: the lock is lost, and what is in flight must
// not go on beside another rotation.
func (x *executor) cut() { x.cancel() }

// close leaves what waits (only ended starts it), cuts off what only reads, gives what changes something
// the grace to end, cuts off the rest, and returns whether or not that heeds it.
func (x *executor) close() {
	close(x.left)
	x.stopRead()
	idle := make(chan struct{})
	go func() {
		x.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(grace):
	}
	x.cancel()
	select {
	case <-idle:
	case <-time.After(cancelled):
		x.log.Warn("calls are still in flight; they state goals, so that they may land late without harm")
	}
}

// run performs one effect and answers its one outcome, whatever the adapter
// does: an error in an adapter must not lose the rotation.
func (x *executor) run(e engine.Effect) (res result) {
	base, timeout := x.ctx, clusterTimeout
	if laneOf(e.Verb) == laneProvider {
		timeout = x.timeout
	}
	if reads(e.Verb) {
		base = x.reads
	}
	res.outcome = engine.Outcome{ID: e.ID, Verb: e.Verb, Pod: e.Pod}
	deadline := time.Now().Add(timeout)
	if x.lock != nil && !reads(e.Verb) {
		// What changes something must have ended before anybody else can hold the
		// lock. The deadline goes to the driver too, whose process may run on while
		// this one stands still. What only reads may run on while the lock is renewed.
		until := x.lock.Valid()
		if !time.Now().Before(until) {
			res.outcome.Err = &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s was not started: the lock is not valid any more", e.Verb)}
			return res
		}
		if until.Before(deadline) {
			deadline = until
		}
	}
	ctx, cancel := context.WithDeadline(base, deadline)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			x.log.Error("panic in an effect: this is a bug in rotator, please report it",
				"verb", e.Verb, "op", e.ID, "panic", p, "stack", string(debug.Stack()))
			res.snapshot = nil
			res.outcome.Err = &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s: internal error: %v (the log has the stack)", e.Verb, p)}
		}
	}()
	var err error
	switch e.Verb {
	case engine.VerbObserve:
		res.snapshot, res.found, err = x.provider.Observe(ctx, e.MaxAge)
		switch {
		case err != nil:
			res.snapshot = nil // half an answer is none
		case res.snapshot == nil:
			err = errors.New("the driver answered no snapshot")
		}
	case engine.VerbTerminate:
		if e.NodeUID != "" { // BEFORE the instance: see engine.Effect
			err = x.cluster.DeleteNode(ctx, e.Node, e.NodeUID)
		}
		if err == nil {
			err = x.provider.Do(ctx, x.rotation, e)
		}
	case engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbQuiesce, engine.VerbUnquiesce,
		engine.VerbRoll, engine.VerbCancel:
		err = x.provider.Do(ctx, x.rotation, e)
	case engine.VerbPatchNode:
		if e.Patch == nil {
			err = &engine.Error{Code: engine.ErrUnsupported, Message: "patch of node " + e.Node + " without a goal"}
			break
		}
		err = x.cluster.PatchNode(ctx, e.Node, *e.Patch)
	case engine.VerbPatchWorkload:
		if e.WorkloadPatch == nil {
			err = &engine.Error{Code: engine.ErrUnsupported, Message: "patch of " + e.Workload.String() + " without a goal"}
			break
		}
		err = x.cluster.PatchWorkload(ctx, e.Workload, *e.WorkloadPatch)
	case engine.VerbEvict:
		err = x.cluster.Evict(ctx, e.Pod, e.GracePeriodSeconds)
	case engine.VerbDeletePod:
		err = x.cluster.DeletePod(ctx, e.Pod, e.GracePeriodSeconds)
	case engine.VerbCheckAPI:
		err = x.cluster.CheckAPI(ctx)
	default:
		err = &engine.Error{Code: engine.ErrUnsupported, Message: fmt.Sprintf("unknown verb %q", e.Verb)}
	}
	res.outcome.Err = classified(e, err)
	return res
}

// classified returns err as the engine knows it. Adapters classify; what comes
// without a class is a deadline, or a gap in an adapter, and since effects
// state goals it is safe to try again.
func classified(e engine.Effect, err error) *engine.Error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*engine.Error](err); ok && known != nil {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s: no answer in time: %v", e.Verb, err)}
	}
	return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s: %v", e.Verb, err)}
}
