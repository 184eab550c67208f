package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Memory is what an engine takes from the journal of its rotation: ownership
// and what was before. Facts it takes from the world.
type Memory struct {
	plan.Memory
	// LastSeq is the sequence number of the last event; 0: there was none.
	LastSeq uint64
	// Started is when the rotation began; Spec the fingerprint it began with.
	Started time.Time
	Spec    string
	// Ended is the code of the last RotationFinished; empty: it was cut off.
	Ended Status

	canary    map[string]time.Time // by group name: when it was through
	unhealthy map[model.WorkloadKey]bool
	// quiesced instances were taken out of their load balancers, or may have been.
	quiesced map[string]bool
	// rolls are the calls, by group name, that had a provider roll the group and
	// whose roll has not been seen to end.
	rolls map[string]intent
	// drained is when the last drain of a group ended, by its name.
	drained map[string]time.Time
	// drains is what is used of the time for the drains that have not ended.
	drains drainTimes
	open   []event.Event // intents without an outcome, oldest first
	// replaced are instances whose end is recorded.
	replaced map[string]bool
}

// intent is a change that an earlier run has recorded: its id, and when that was.
type intent struct {
	op string
	at time.Time
}

// Restore folds the events of a rotation's earlier runs. It is pure, and any
// prefix of a journal gives a Memory that is safe to go on with.
func Restore(past []event.Event) Memory {
	m := Memory{drains: newDrainTimes(), canary: make(map[string]time.Time), unhealthy: make(map[model.WorkloadKey]bool), quiesced: make(map[string]bool), rolls: make(map[string]intent),
		drained:  make(map[string]time.Time),
		replaced: make(map[string]bool)}
	m.Planned, m.Quarantined, m.Staged = make(map[string]map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, ev := range past {
		m.LastSeq = ev.Seq
		m.drains.fold(ev)
		switch ev.Kind {
		case event.RotationStarted:
			m.Ended = ""
			if m.Started.IsZero() {
				m.Started, m.Spec = ev.Time, ev.Data["spec"]
				for _, s := range strings.Fields(ev.Data["unhealthy"]) {
					if k, ok := parseWorkload(s); ok {
						m.unhealthy[k] = true
					}
				}
			}
		case event.ReleaseStaging:
			if m.Ended = ""; m.Spec == "" {
				m.Spec = ev.Data["spec"]
			}
		case event.GroupPlanned:
			if m.Planned[ev.Group] == nil {
				m.Planned[ev.Group] = make(map[string]bool)
			}
			for _, id := range strings.Fields(ev.Data["instances"]) {
				m.Planned[ev.Group][id] = true
			}
		case event.CanaryPassed:
			m.canary[ev.Group] = ev.Time
		case event.NodeQuarantined:
			m.Quarantined[ev.Instance] = true
			m.drained[ev.Group] = ev.Time
		case event.NodeDrained:
			m.drained[ev.Group] = ev.Time
		case event.NodeReplaced:
			m.replaced[ev.Instance] = true
		case event.OpIntended:
			m.close(ev.Op)
			m.open = append(m.open, ev)
			if ev.Verb == string(VerbQuiesce) {
				m.quiesced[ev.Instance] = true
			}
			if ev.Verb == string(VerbRoll) {
				m.rolls[ev.Group] = intent{ev.Op, ev.Time}
			}
		case event.GroupRolled:
			delete(m.rolls, ev.Group)
		case event.OpSucceeded, event.OpFailed:
			m.close(ev.Op)
			switch {
			case ev.Kind == event.OpFailed:
			case ev.Verb == string(VerbUnquiesce):
				delete(m.quiesced, ev.Instance)
			case ev.Verb == event.VerbStage:
				m.Staged[ev.Group] = true
			}
		case event.RotationFinished:
			m.Ended = Status(ev.Code)
		default: // what the others tell, the world shows
		}
	}
	m.drains.pause(m.drains.alive)
	return m
}

// OpenStages returns the intents to stage a release that have no outcome, oldest
// first.
func (m *Memory) OpenStages() []event.Event {
	var open []event.Event
	for _, ev := range m.open {
		if ev.Verb == event.VerbStage {
			open = append(open, ev)
		}
	}
	return open
}

func (m *Memory) close(op string) {
	m.open = slices.DeleteFunc(m.open, func(o event.Event) bool { return o.Op == op })
}

// plannedChunk bounds the ids in one GroupPlanned event.
const plannedChunk = 200

// recordPlanned keeps which instances the rotation set out to replace, so that
// a later run does not take the replacements for more of them.
func (e *Engine) recordPlanned(g *group) {
	var fresh []string
	for _, n := range g.Nodes {
		if !e.mem.Planned[g.Name][n.Instance] {
			fresh = append(fresh, n.Instance)
		}
	}
	for ids := range slices.Chunk(fresh, plannedChunk) {
		e.record(event.Event{Kind: event.GroupPlanned, Group: g.Name, Data: map[string]string{"instances": strings.Join(ids, " ")}})
	}
}

// endedUnwatched takes note of the instances that earlier runs set out to replace
// and that ended when none was there to see it: a provider's roll goes on by
// itself, and what a run that was killed had asked for still happens. Without that
// a report would say of a rotation that is done that it did not come to them.
func (e *Engine) endedUnwatched() {
	for _, g := range e.groups {
		for _, id := range slices.Sorted(maps.Keys(e.mem.Planned[g.Name])) {
			if e.byInst[id] == nil && !e.mem.replaced[id] {
				e.record(event.Event{Kind: event.NodeReplaced, Group: g.Name, Instance: id, Code: "unwatched",
					Message: "instance " + id + " ended while no run watched"})
			}
		}
	}
}

// baseline remembers which workloads were healthy when the rotation began; an
// earlier run's word counts, because its own drains may be why one is not now.
func (e *Engine) baseline() (unhealthy string) {
	resumed := !e.mem.Started.IsZero() // what staged a release before has drained nothing
	var names []string
	for k, w := range e.w.workloads {
		healthy := w.Healthy()
		if resumed {
			healthy = !e.mem.unhealthy[k]
		}
		if healthy {
			e.healthy[k] = true
			continue
		}
		names = append(names, formatWorkload(k))
	}
	slices.Sort(names)
	// A cluster with more broken workloads than this has none to speak of; those
	// beyond it would only be judged more strictly after a crash.
	const most = 500
	return strings.Join(names[:min(len(names), most)], " ")
}

func formatWorkload(k model.WorkloadKey) string { return k.Kind + "/" + k.Namespace + "/" + k.Name }

func parseWorkload(s string) (model.WorkloadKey, bool) {
	p := strings.Split(s, "/")
	if len(p) != 3 {
		return model.WorkloadKey{}, false
	}
	return model.WorkloadKey{Kind: p[0], Namespace: p[1], Name: p[2]}, true
}

// takeUp compares the intents that an earlier run left open with the world:
// where the goal is reached, the intent is closed; the others stay open and
// give their id to the same change, should it be decided again.
//
// A change of capacity is sent again although its goal is reached: the driver's
// record of it may be open still, and a record is read against the group's size.
// Once somebody else changes that, nobody can tell what is the surge.
func (e *Engine) takeUp() {
	var again []*op
	for _, ev := range e.mem.open {
		if o := e.settling(ev); o != nil && e.reached(ev) {
			// Several runs may have been cut off at one change: the latest stands for all.
			again = slices.DeleteFunc(again, func(p *op) bool {
				return p.group == o.group && p.Verb == o.Verb && p.InstanceID == o.InstanceID
			})
			again = append(again, o)
		}
	}
	for _, o := range again {
		e.addOp(o)
	}
	e.mem.open = slices.DeleteFunc(e.mem.open, func(ev event.Event) bool {
		done, code := e.reached(ev), "found-done"
		if v := Verb(ev.Verb); v == VerbPatchNode || v == VerbPatchWorkload {
			// What a node or a Deployment carries is read from it, and decided anew.
			done, code = true, "decided-anew"
		}
		if done {
			e.record(event.Event{Kind: event.OpSucceeded, Op: ev.Op, Verb: ev.Verb, Group: ev.Group, Instance: ev.Instance, Node: ev.Node, Code: code})
		}
		return done
	})
}

// settling is the op of an intent that changes a group's capacity, to be sent once
// more; nil: it does not, or the driver keeps no record of it (where instances are
// detached, each says so itself).
func (e *Engine) settling(ev event.Event) *op {
	g := e.groupNamed(ev.Group)
	if g == nil || g.Traits.SurgeDetaches {
		return nil
	}
	surge, err := strconv.Atoi(ev.Data["surge"])
	o := &op{purpose: forSettle, group: g, Effect: Effect{Verb: Verb(ev.Verb), InstanceID: ev.Instance, Surge: surge, Shrink: ev.Data["shrink"] == "true"}}
	if o.Verb == VerbSetSurge {
		o.Going = g.going(surge)
	}
	if err != nil || !o.capacity() {
		return nil
	}
	return o
}

func (e *Engine) reached(ev event.Event) bool {
	g := e.groupNamed(ev.Group)
	if g == nil {
		return false
	}
	switch Verb(ev.Verb) {
	case VerbTerminate:
		m := e.byInst[ev.Instance]
		return m == nil || m.phase == memberTerminating || m.phase == memberGone
	case VerbSetSurge:
		return fmt.Sprint(g.surge) == ev.Data["surge"]
	case VerbRestore:
		return !g.prepared
	case VerbRoll:
		shown := e.w.groups[g.ID].Roll
		return shown.State != model.RollNone && shown.Op == ev.Op
	case VerbCancel:
		return e.w.groups[g.ID].Roll.State != model.RollRunning
	case VerbPrepare, VerbQuiesce, VerbUnquiesce, VerbPatchNode, VerbPatchWorkload, VerbObserve, VerbEvict, VerbDeletePod, VerbCheckAPI:
	}
	return false
}

func (e *Engine) groupNamed(name string) *group {
	for _, g := range e.groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// reuse returns the id under which an earlier run recorded the same change;
// empty: none did.
func (e *Engine) reuse(o *op) string {
	want := o.event(event.OpIntended)
	for i, ev := range e.mem.open {
		if ev.Verb == want.Verb && ev.Group == want.Group && ev.Instance == want.Instance &&
			ev.Data["shrink"] == want.Data["shrink"] && ev.Data["surge"] == want.Data["surge"] &&
			ev.Data["max-unavailable"] == want.Data["max-unavailable"] && ev.Data["target"] == want.Data["target"] {
			e.mem.open = slices.Delete(e.mem.open, i, i+1)
			return ev.Op
		}
	}
	return ""
}

// giveUp closes what is still open at the end: it was not decided again.
func (e *Engine) giveUp() {
	for _, ev := range e.mem.open {
		e.record(event.Event{Kind: event.OpFailed, Op: ev.Op, Verb: ev.Verb, Group: ev.Group, Instance: ev.Instance, Node: ev.Node,
			Code: "superseded", Message: "an earlier run was cut off during this change, and it is not needed any more"})
	}
	e.mem.open = nil
}
