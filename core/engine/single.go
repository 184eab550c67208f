package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// mover moves the pods of one Deployment without downtime: by a rollout restart
// once their node is cordoned, or by an extra replica that is there until the
// old pod has been evicted. What it has done is in the journal and on the
// Deployment itself; a run that is cut off leaves it to the next to take back.
type mover struct {
	key model.WorkloadKey
	way drain.Way
	uid string
	// patching: a change of the Deployment is queued or on its way.
	patching bool
	// restartedAt is the mark of our restart, before what was there before it.
	restartedAt, before string
	// surged: it has, or may have, an extra replica of ours.
	surged bool
	// returned is when the extra replica was taken back; the watch may show it for
	// a moment more.
	returned time.Time
	// calledOff: a change that fails is not tried again.
	calledOff bool
	// stuck: the extra replica cannot be taken back.
	stuck bool
	// used: a node being drained has a pod of it; unusedAt is since when none has.
	used     bool
	unusedAt time.Time
	// refused counts what somebody else's change came before; notUntil is when the
	// next try is due.
	refused  int
	notUntil time.Time
}

// Bounds of a mover.
const (
	// surgeSettles is how long after a pod was seen to end the extra replica stays:
	// a ReplicaSet whose controller does not know yet that the old pod ends might
	// otherwise give up the new one.
	surgeSettles = time.Second
	// maxRefused tries to add a replica to what others scale at the same time.
	maxRefused = 5
)

// wantedWay is how single replicas are to be moved.
func (e *Engine) wantedWay() drain.Way {
	switch e.cfg.Spec.Drain.SingleReplica {
	case plan.SingleRestart:
		return drain.ByRestart
	case plan.SingleSurge:
		return drain.BySurge
	case plan.SingleEvict, plan.SingleRefuse, "":
	}
	return drain.ByEviction
}

// deploymentOf finds the Deployment that a pod belongs to; nil: none.
func (w *world) deploymentOf(p *model.Pod) *model.Deployment {
	if p.Owner.Kind != "ReplicaSet" {
		return nil
	}
	return w.deployments[w.workloads[p.Owner].Owner]
}

// single gathers what decides how a pod of the Deployment can be moved.
func (w *world) single(d *model.Deployment, p *model.Pod) drain.Single {
	s := drain.Single{Deployment: d}
	if budgets := w.budgetsOf(p); len(budgets) == 1 {
		s.Budget = &budgets[0].Budget
	}
	var names []string
	for k, target := range w.autoscalers {
		if target == d.WorkloadKey {
			names = append(names, k.String())
		}
	}
	if len(names) > 0 {
		s.Autoscaler = slices.Min(names)
	}
	for _, name := range p.Claims {
		if c := w.claims[model.ClaimKey{Namespace: p.Namespace, Name: name}]; c == nil || !c.Shared {
			s.Exclusive = name
		}
	}
	return s
}

// held tells whether a pod's eviction waits because its Deployment is being
// moved without downtime, and takes the next step of that. It is asked once the
// pod's node is cordoned, so that the new pod lands on another.
func (e *Engine) held(m *member, p *model.Pod, s *podState) bool {
	want := e.wantedWay()
	if m.drain.forced || want == drain.ByEviction && len(e.movers) == 0 {
		return false
	}
	d := e.w.deploymentOf(p)
	if d == nil {
		return false
	}
	mv := e.movers[d.WorkloadKey]
	switch {
	case mv == nil && (want == drain.ByEviction || s.restarted):
		return false // a pod that was restarted for is only shown still
	case mv == nil:
		mv = &mover{key: d.WorkloadKey, way: want, uid: d.UID}
	case !mv.returned.IsZero() && !e.after(mv.returned, shows):
		// One of its pods is about to end, and its budget's status may count that
		// pod still: an eviction now could be one too many.
		return true
	case !mv.returned.IsZero():
		mv.returned = time.Time{}
	}
	if mv.idle() {
		single := e.w.single(d, p)
		if way, _ := single.Way(want); way == drain.ByEviction || !single.Needed() || !p.Ready {
			delete(e.movers, d.WorkloadKey)
			return false
		}
		mv.way = want
	}
	e.movers[d.WorkloadKey] = mv
	if mv.way == drain.ByRestart {
		return e.heldByRestart(mv, d, s)
	}
	return e.heldBySurge(mv, d)
}

// idle tells whether nothing has been done to the Deployment.
func (mv *mover) idle() bool { return !mv.patching && !mv.surged && mv.restartedAt == "" }

func (e *Engine) heldByRestart(mv *mover, d *model.Deployment, s *podState) bool {
	switch {
	case mv.patching:
	case mv.restartedAt == "" && !d.RolledOut:
		return true // somebody's rollout is under way, and would be taken for ours
	case mv.restartedAt == "":
		mv.before, mv.restartedAt = d.RestartedAt, e.now.UTC().Format(time.RFC3339)
		if mv.restartedAt == mv.before { // twice within a second would be once
			mv.restartedAt = e.now.UTC().Add(time.Second).Format(time.RFC3339)
		}
		e.markRestarted(d)
		e.tellMoving(mv, "is restarted: its new pods are Ready before the old ones end")
		e.patchWorkload(mv, forMove, WorkloadPatch{UID: d.UID, Restart: mv.restartedAt})
	case !mv.rolledOut(d):
	default:
		// The pod may be shown for a moment more; it is not restarted for again.
		e.restarted(mv)
		return !s.restarted
	}
	return true
}

// markRestarted takes note of the pods that a restart is for. Those that it makes
// are none of them, wherever they land.
func (e *Engine) markRestarted(d *model.Deployment) {
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase != memberDraining {
				continue
			}
			for _, p := range m.at.list {
				if e.w.deploymentOf(p) == d {
					e.podState(p).restarted = true
				}
			}
		}
	}
}

// rolledOut tells whether the pods that our restart made have taken the place of
// the old ones.
func (mv *mover) rolledOut(d *model.Deployment) bool {
	return d.RestartedAt != mv.before && d.RolledOut
}

func (e *Engine) restarted(mv *mover) {
	delete(e.movers, mv.key)
	e.tellMoved(mv, "was moved by a restart")
}

func (e *Engine) heldBySurge(mv *mover, d *model.Deployment) bool {
	if mv.patching {
		return true
	}
	if !mv.surged {
		if mv.refused >= maxRefused {
			return false // others scale it all the time: what it has is theirs to say
		}
		if mv.notUntil.After(e.now) {
			e.wake(mv.notUntil)
			return true
		}
		e.tellMoving(mv, fmt.Sprintf("gets a replica more: %d instead of %d", d.Replicas+1, d.Replicas))
		e.patchWorkload(mv, forMove, WorkloadPatch{UID: d.UID, Surge: true, Replicas: d.Replicas, Rotation: e.cfg.Rotation})
		return true
	}
	// The extra pod counts once it is Ready, and it cannot be on a cordoned node. In
	// a rollout there are others that are Ready and about to go.
	return !d.Surged() || !d.RolledOut
}

func (e *Engine) tellMoving(mv *mover, what string) {
	e.record(event.Event{Kind: event.WorkloadMoving, Code: string(mv.way), Data: map[string]string{"workload": mv.key.String()},
		Message: fmt.Sprintf("%s %s", mv.key, what)})
}

func (e *Engine) tellMoved(mv *mover, what string) {
	e.record(event.Event{Kind: event.WorkloadMoved, Code: string(mv.way), Data: map[string]string{"workload": mv.key.String()},
		Message: fmt.Sprintf("%s %s", mv.key, what)})
}

func (e *Engine) patchWorkload(mv *mover, purpose purpose, p WorkloadPatch) {
	mv.patching, mv.calledOff = true, false
	e.addOp(&op{purpose: purpose, mover: mv, Effect: Effect{Verb: VerbPatchWorkload, Workload: mv.key, WorkloadPatch: &p}})
}

// whyHeld says what a pod waits for whose Deployment is being moved; empty: it
// is not.
func (e *Engine) whyHeld(p *model.Pod) string {
	d := e.w.deploymentOf(p)
	if d == nil || e.movers[d.WorkloadKey] == nil {
		return ""
	}
	mv := e.movers[d.WorkloadKey]
	switch {
	case !mv.returned.IsZero():
		return fmt.Sprintf("pod %s waits a moment: %s has just given back an extra replica", p.PodKey, d.WorkloadKey)
	case mv.way == drain.ByRestart && mv.restartedAt == "":
		return fmt.Sprintf("pod %s waits for a rollout of %s that somebody else has begun: %d of %d pods Ready", p.PodKey, d.WorkloadKey, d.Ready, d.Replicas)
	case mv.way == drain.ByRestart:
		return fmt.Sprintf("pod %s waits for the restart of %s: %d of %d pods Ready", p.PodKey, d.WorkloadKey, d.Ready, d.Replicas)
	case !d.Surged() || !d.RolledOut:
		return fmt.Sprintf("pod %s waits for the extra replica of %s: %d of %d pods Ready", p.PodKey, d.WorkloadKey, d.Ready, d.Replicas)
	}
	return ""
}

// moved takes the answer to a restart, or to an extra replica.
func (e *Engine) moved(o *op, err *Error) {
	mv := o.mover
	mv.patching = false
	surge := o.WorkloadPatch.Surge
	if err == nil {
		mv.surged = surge
		return
	}
	switch err.Code {
	case ErrNotFound:
		delete(e.movers, mv.key) // and its pods go with it
	case ErrConflict:
		// Somebody has scaled it, or made it again: the watch will show.
		mv.refused++
		mv.notUntil = e.now.Add(backoff(mv.key.String(), mv.refused))
		mv.restartedAt = ""
	case ErrTransient, ErrPermanent, ErrBlocked, ErrDenied, ErrMultiBudget, ErrHeld, ErrDriverLost, ErrUnsupported:
		mv.mayBeDone(o)
		e.halt(nil, StatusFailed, "workload-patch", err.Message)
	}
}

// mayBeDone takes note that nobody knows whether a change was made. Taking back
// nothing is success.
func (mv *mover) mayBeDone(o *op) { mv.patching, mv.surged = false, o.WorkloadPatch.Surge }

// settleMoves takes extra replicas back that no drain needs any more, those of
// earlier runs included, and forgets what has ended.
func (e *Engine) settleMoves() {
	if len(e.w.surged) == 0 && len(e.movers) == 0 {
		return
	}
	for k := range e.w.surged {
		if e.movers[k] == nil {
			e.movers[k] = &mover{key: k, way: drain.BySurge, uid: e.w.deployments[k].UID, surged: true}
		}
	}
	used := e.usedMovers()
	for _, k := range slices.SortedFunc(maps.Keys(e.movers), compareWorkloads) {
		mv, d := e.movers[k], e.w.deployments[k]
		if used[k] {
			mv.used = true
			continue
		}
		if mv.used {
			mv.used, mv.unusedAt = false, e.now
		}
		switch {
		case mv.patching || mv.stuck:
		case mv.surged:
			if mv.unusedAt.IsZero() || e.after(mv.unusedAt, surgeSettles) {
				e.patchWorkload(mv, forReturn, WorkloadPatch{UID: mv.uid, GiveBack: true})
			}
		case !mv.returned.IsZero():
			if !e.after(mv.returned, shows) {
				break
			}
			if delete(e.movers, k); e.w.surged[k] { // it has not gone: it is another
				e.movers[k] = &mover{key: k, way: drain.BySurge, uid: mv.uid, surged: true}
			}
		case mv.restartedAt != "" && d != nil && e.stop == nil:
			if mv.rolledOut(d) {
				e.restarted(mv)
			}
		default:
			delete(e.movers, k)
		}
	}
}

func compareWorkloads(a, b model.WorkloadKey) int { return strings.Compare(a.String(), b.String()) }

// usedMovers names the Deployments that are being moved and have pods on nodes
// being drained that have not begun to end.
func (e *Engine) usedMovers() map[model.WorkloadKey]bool {
	used := make(map[model.WorkloadKey]bool)
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.phase != memberDraining {
				continue
			}
			for _, p := range m.at.list {
				if d := e.w.deploymentOf(p); d != nil && e.movers[d.WorkloadKey] != nil && e.decidePod(m, p).Action == drain.Evict {
					used[d.WorkloadKey] = true
				}
			}
		}
	}
	return used
}

// returnedReplica takes the answer to the end of an extra replica.
func (e *Engine) returnedReplica(o *op, err *Error) {
	mv := o.mover
	mv.patching = false
	if err == nil || err.Code == ErrNotFound || err.Code == ErrConflict {
		mv.surged, mv.returned = false, e.now
		e.tellMoved(mv, "has its own number of replicas again")
		return
	}
	mv.stuck = true
	e.trouble = append(e.trouble, fmt.Sprintf("%s keeps an extra replica, labelled %s: %s", mv.key, model.LabelSurgedFrom, err.Message))
}

// replicasReturned tells whether no extra replica is left to take back.
func (e *Engine) replicasReturned() bool {
	for _, mv := range e.movers {
		if mv.surged && !mv.stuck || mv.patching {
			return false
		}
	}
	return true
}

// dropMove forgets a change of a Deployment that was never sent.
func (e *Engine) dropMove(o *op) {
	o.mover.patching = false
	delete(e.movers, o.mover.key)
}

func (p *WorkloadPatch) data(k model.WorkloadKey) map[string]string {
	d := map[string]string{"workload": k.String()}
	switch {
	case p.Restart != "":
		d["restarted-at"] = p.Restart
	case p.Surge:
		d["replicas"], d["replicas-before"] = strconv.Itoa(p.Replicas+1), strconv.Itoa(p.Replicas)
	case p.GiveBack:
		d["give-back"] = "true"
	}
	return d
}
