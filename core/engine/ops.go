package engine

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// op is a change of the provider or of a node: recorded before it is sent,
// sent again with the same id while it fails for a passing reason.
type op struct {
	Effect
	purpose  purpose
	group    *group
	member   *member
	mover    *mover
	attempts int
	inFlight bool
	notUntil time.Time
}

// purpose says what the engine does once an op has ended.
type purpose int

const (
	forPrepare purpose = iota
	forRestore
	forSurge
	forTerminate
	forTaint  // mark an outdated node
	forCordon // before its drain
	forUnmark // take our marks off
	forQuiesce
	forUnquiesce
	forMove   // restart a Deployment, or add a replica
	forReturn // take an extra replica back
	forRoll
	forCancel
	forSettle // have the driver close its record of a change that an earlier run was cut off at
)

// addOp queues a change. It is recorded and sent by sendOps of the same Step,
// if the bounds allow.
func (e *Engine) addOp(o *op) *op {
	if o.group != nil {
		o.GroupID = o.group.ID
	}
	if o.ID = e.reuse(o); o.ID == "" {
		e.opSeq++
		o.ID = fmt.Sprintf("%s-%05d", e.cfg.OpPrefix, e.opSeq)
	}
	e.ops = append(e.ops, o)
	if o.Verb == VerbPatchNode {
		e.patching[o.Node]++
	}
	return o
}

// forget takes note that an op has left the queue.
func (e *Engine) forget(o *op) {
	if o.Verb != VerbPatchNode {
		return
	}
	if e.patching[o.Node]--; e.patching[o.Node] == 0 {
		delete(e.patching, o.Node)
	}
}

// sendOps sends what is due: the intent first, then the effect.
func (e *Engine) sendOps() {
	patches := 0
	for _, o := range e.ops {
		if o.inFlight && o.Verb == VerbPatchNode {
			patches++
		}
	}
	clear(e.patched)
	for _, o := range e.ops {
		if o.Verb == VerbPatchNode && o.attempts == 0 && patches >= maxPatches {
			continue // thousands may wait; what comes behind it of its node cannot go either
		}
		// Patches of one node go one after the other: an uncordon that overtook the
		// cordon after it would fill the node again.
		first := o.Verb != VerbPatchNode || !e.patched[o.Node]
		if o.Verb == VerbPatchNode {
			e.patched[o.Node] = true
		}
		if o.inFlight || !first || e.behind(o) {
			continue
		}
		if o.notUntil.After(e.now) {
			e.wake(o.notUntil)
			continue
		}
		if o.Verb == VerbPatchNode {
			if patches >= maxPatches {
				continue
			}
			patches++
		}
		o.inFlight = true
		o.attempts++
		if o.attempts == 1 {
			if o.purpose == forQuiesce { // it may have waited for the call that took back the one before
				o.member.drain.quiesce.since = e.now
			}
			e.record(o.event(event.OpIntended))
		}
		e.out.Effects = append(e.out.Effects, o.Effect)
	}
}

// maxShrinks is how many instances of a group may be ended together with their
// capacity at once. The driver makes them take turns; what is saved is the way
// there and back, and the journal's.
const maxShrinks = 4

// behind tells whether an op has to wait for earlier changes of the same group's
// capacity: the surge is an absolute number, which must not overtake what shrinks
// the group, nor the other way round.
//
// The calls that take one instance out of its load balancers and put it back go
// one after the other, too.
func (e *Engine) behind(o *op) bool {
	if o.balances() {
		i := slices.IndexFunc(e.ops, func(p *op) bool { return p.balances() && p.InstanceID == o.InstanceID })
		return e.ops[i] != o
	}
	if !o.capacity() {
		return false
	}
	shrinks := 0
	for _, p := range e.ops {
		if p == o {
			return false
		}
		if p.group != o.group || !p.capacity() {
			continue
		}
		if shrinks++; shrinks == maxShrinks || p.Verb == VerbSetSurge || o.Verb == VerbSetSurge {
			return true
		}
	}
	return false
}

func (o *op) capacity() bool { return o.Verb == VerbSetSurge || o.Verb == VerbTerminate && o.Shrink }

// event describes the op. Its data is what sending it again needs.
func (o *op) event(k event.Kind) event.Event {
	ev := event.Event{Kind: k, Op: o.ID, Verb: string(o.Verb), Instance: o.InstanceID, Node: o.Node}
	if o.group != nil {
		ev.Group = o.group.Name
	}
	if o.member != nil && ev.Node == "" {
		ev.Node = o.member.node
	}
	switch o.Verb {
	case VerbSetSurge:
		ev.Data = map[string]string{"surge": fmt.Sprint(o.Surge)}
	case VerbTerminate:
		ev.Data = map[string]string{"shrink": fmt.Sprint(o.Shrink), "surge": fmt.Sprint(o.Surge)}
		if o.NodeUID != "" {
			ev.Data["delete-node"] = o.NodeUID
		}
	case VerbPatchNode:
		ev.Data = o.Patch.data()
	case VerbPatchWorkload:
		ev.Data = o.WorkloadPatch.data(o.Workload)
	case VerbRoll:
		ev.Data = map[string]string{"max-unavailable": fmt.Sprint(o.MaxUnavailable)}
	case VerbCancel:
		ev.Data = map[string]string{"target": o.Target}
	case VerbPrepare, VerbRestore, VerbQuiesce, VerbUnquiesce, VerbObserve, VerbEvict, VerbDeletePod, VerbCheckAPI:
	}
	return ev
}

func (p *NodePatch) data() map[string]string {
	d := make(map[string]string)
	if p.AddTaint != nil {
		d["add-taint"] = p.AddTaint.Key + ":" + p.AddTaint.Effect
	}
	if p.RemoveTaint != "" {
		d["remove-taint"] = p.RemoveTaint
	}
	if p.Unschedulable != nil {
		d["unschedulable"] = fmt.Sprint(*p.Unschedulable)
	}
	if p.Shield != nil {
		d["autoscaler-shield"] = fmt.Sprint(*p.Shield)
	}
	if p.Exclude != nil {
		d["exclude-from-load-balancers"] = fmt.Sprint(*p.Exclude)
	}
	return d
}

// outcome takes the end of an effect.
func (e *Engine) outcome(o Outcome) {
	switch o.Verb {
	case VerbObserve:
		e.observed(o)
		return
	case VerbEvict, VerbDeletePod:
		e.evicted(o)
		return
	case VerbCheckAPI:
		e.apiAnswered(o)
		return
	case VerbPrepare, VerbRestore, VerbSetSurge, VerbTerminate, VerbQuiesce, VerbUnquiesce, VerbRoll, VerbCancel, VerbPatchNode, VerbPatchWorkload:
	}
	for i, p := range e.ops {
		if p.ID != o.ID || !p.inFlight {
			continue
		}
		p.inFlight = false
		if p.capacity() {
			p.group.resizedStep = e.step
		}
		if o.Err != nil && o.Err.Code == ErrTransient && e.calledOff(p) {
			// It was called off meanwhile: sent again, it would take the node once more.
			e.ops = slices.Delete(e.ops, i, i+1)
			e.forget(p)
			if p.mover != nil {
				p.mover.mayBeDone(p)
			}
			ev := p.event(event.OpFailed)
			ev.Code, ev.Message = "superseded", o.Err.Message
			e.record(ev)
			return
		}
		if o.Err != nil && o.Err.Code == ErrTransient && p.attempts < maxAttempts {
			p.notUntil = e.now.Add(max(o.Err.RetryAfter, backoff(p.ID, p.attempts)))
			ev := p.event(event.OpRetried)
			ev.Code, ev.Message = string(o.Err.Code), o.Err.Message
			e.record(ev)
			return
		}
		e.ops = slices.Delete(e.ops, i, i+1)
		e.forget(p)
		if o.Err == nil {
			e.record(p.event(event.OpSucceeded))
			e.succeeded(p)
			return
		}
		ev := p.event(event.OpFailed)
		ev.Code, ev.Message = string(o.Err.Code), o.Err.Message
		e.record(ev)
		e.failed(p, o.Err)
		return
	}
}

// calledOff tells whether an op on its way is not wanted any more.
func (e *Engine) calledOff(o *op) bool {
	switch o.purpose {
	case forRoll:
		return e.stop != nil
	case forCordon:
		return o.member.phase != memberCordoning
	case forQuiesce:
		return o.member.drain.quiesce.phase != quiesceAsked
	case forUnquiesce:
		return o.member.drain.quiesce.phase == quiesceAsked
	case forMove:
		return o.mover.calledOff
	case forPrepare, forRestore, forSurge, forTerminate, forTaint, forUnmark, forReturn, forCancel, forSettle:
	}
	return false
}

// backoff grows from 1 s to 30 s, with a jitter that depends on the op alone:
// the engine has no chance in it.
func backoff(id string, attempt int) time.Duration {
	d := min(time.Second<<min(attempt-1, 5), 30*time.Second)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", id, attempt)
	return d*3/4 + d/2*time.Duration(h.Sum32()%1000)/1000
}

func (e *Engine) succeeded(o *op) {
	switch o.purpose {
	case forPrepare:
		o.group.prepared, o.group.preparing = true, false
	case forRestore:
		o.group.prepared, o.group.restored = false, true
	case forSurge:
		o.group.surge, o.group.surging = o.Surge, false
		o.group.lastProgress = e.now
		e.obs.ask()
	case forTerminate:
		e.terminateAccepted(o.member)
	case forCordon:
		e.cordoned(o.member)
	case forUnmark:
		delete(e.marked, o.Node)
	case forQuiesce:
		e.quiesceAccepted(o.member)
	case forMove:
		e.moved(o, nil)
	case forReturn:
		e.returnedReplica(o, nil)
	case forRoll:
		e.rollAccepted(o.group)
	case forCancel:
		e.obs.ask()
	case forTaint, forUnquiesce, forSettle:
	}
}

// dropUnsent forgets ops that were never sent: nothing has happened yet. Those
// that undo are kept, and a drained instance is ended all the same.
func (e *Engine) dropUnsent() {
	kept := e.ops[:0]
	for _, o := range e.ops {
		undoes := o.purpose == forUnmark || o.purpose == forUnquiesce || o.purpose == forReturn || o.Patch != nil && o.Patch.undoes()
		if o.attempts > 0 || o.purpose == forTerminate || undoes {
			kept = append(kept, o)
			continue
		}
		e.forget(o)
		switch o.purpose {
		case forSurge:
			o.group.surging = false
		case forPrepare:
			o.group.preparing = false
		case forRestore:
			o.group.restoring = false
		case forCordon:
			// A cordon that is found on it later is a person's, but for one of an
			// earlier run, which the node says itself.
			o.member.drain.cordonedByUs = false
		case forTaint:
			if o.Patch.Unschedulable != nil { // only a cordon up front is dropped
				o.member.ahead = false
			}
			// One that is on its way before it marks the node all the same.
			if n := e.w.nodes[o.Node]; e.patching[o.Node] == 0 && (n == nil || !n.Marked()) {
				delete(e.marked, o.Node)
			}
		case forQuiesce:
			o.member.quiesced = false
		case forMove:
			e.dropMove(o)
		case forRoll:
			o.group.roll.op = ""
		case forCancel:
			o.group.roll.cancelling = false
		case forTerminate, forUnmark, forUnquiesce, forReturn, forSettle:
		}
	}
	clear(e.ops[len(kept):])
	e.ops = kept
}
