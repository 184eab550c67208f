package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// group is a node group that keeps its desired capacity by itself, as an Auto
// Scaling group does.
type group struct {
	model.NodeGroup // Surge and HeldBy are not kept here: shown makes them
	w               *World
	zones           []string
	all             []*instance // that exist, in the order of their launch
	room            int         // what a node of it offers to pods' requests
	rec             *surgeRecord
	heldBy          string
	// suspended says that it does not even out its zones; was, what it was before
	// a rotation took it.
	suspended, was bool
	reconcileDue   bool
	most           int // the size that it began with
	// lost are instances that are gone and under whose names others are to come.
	lost []*instance
	// rolling is the latest roll by the provider, and added what it has added to
	// Desired; nameless: nobody can tell which call began it; cordons: it makes all
	// old nodes unschedulable first.
	rolling  *roll
	added    int
	nameless bool
	relabels bool // its nodes have a label with their revision
	cordons  bool
	// changing is the call that changes the group: a driver does one at a time.
	changing *call

	// The ledger, for the checks: the group's own size by what others did, and
	// what our calls added to desired capacity.
	own, ours int
	// unsure: somebody resized it between a record and its act, so that nobody
	// can tell what is whose.
	unsure bool
}

// instance is one machine.
type instance struct {
	model.Instance
	g      *group
	node   *node
	name   string // of its node, where that is another's; empty: made of its id
	fresh  bool   // launched after the world began: protected from scale-in
	lb     balance
	ending string // who ended it: byUs, byOthers; empty: nobody
}

const (
	byUs       = "us"
	byOthers   = "others"
	byProvider = "provider" // in its roll
)

// shown is the group as a driver reports it.
func (g *group) shown() model.NodeGroup {
	n := g.NodeGroup
	n.Surge, _ = g.standing()
	n.HeldBy = g.heldBy
	n.Roll = g.shownRoll()
	n.LostLabels = g.lostLabels()
	return n
}

func (g *group) standing() (surge int, settled bool) {
	if g.Traits.SurgeDetaches {
		return len(g.detached()), true
	}
	return g.rec.standing(g.Desired, func(id string) bool { return g.find(id) == nil })
}

// find answers an instance that has not ended and is not about to.
func (g *group) find(id string) *instance {
	if in := g.w.instances[id]; in != nil && in.g == g && in.State != model.InstanceTerminating {
		return in
	}
	return nil
}

func (g *group) live() []*instance {
	return slices.DeleteFunc(slices.Clone(g.all), func(in *instance) bool { return in.State == model.InstanceTerminating })
}

// size is how many there are of live.
func (g *group) size() int {
	n := 0
	for _, in := range g.all {
		if in.State != model.InstanceTerminating {
			n++
		}
	}
	return n
}

// perZone is how many members there are in each of the group's zones.
func (g *group) perZone() []int {
	count := make([]int, len(g.zones))
	for _, in := range g.all {
		if in.State != model.InstanceTerminating && in.State != model.InstanceDetached {
			count[slices.Index(g.zones, in.Zone)]++
		}
	}
	return count
}

// outdated tells whether the instance was made from another revision than the
// group wants now.
func (in *instance) outdated() bool { return in.Revision != in.g.Revision }

// shown is the instance as a driver reports it.
func (in *instance) shown() model.Instance {
	s := in.Instance
	if in.State == model.InstanceDetached && !in.outdated() {
		s.Reasons = []model.Reason{{Code: "detached", Message: "detached by an earlier rotation"}}
	}
	if in.outdated() {
		s.Reasons = []model.Reason{{Code: "revision", Message: "made from " + in.Revision + ", wanted " + in.g.Revision}}
	}
	if in.leaving() {
		s.Work = model.Work{Verb: string(engine.VerbQuiesce), Phase: "connections end"}
	}
	return s
}

// reconcile lets the group notice, in a while, that it has too few or too many.
func (w *World) reconcile(g *group) {
	if g.reconcileDue {
		return
	}
	g.reconcileDue = true
	d := w.dice("reconcile", g.ID, w.now.String())
	w.after(w.span(&d, w.pace.React, time.Second, 8*time.Second), func() {
		g.reconcileDue = false
		for range g.Desired - g.counted() {
			if !w.launch(g) {
				w.after(20*time.Second, func() { w.reconcile(g) })
				break
			}
		}
		for range g.size() - g.Desired {
			w.scaleIn(g)
		}
	})
}

// launch starts an instance in the emptiest zone that has capacity; false: none has.
func (w *World) launch(g *group) bool {
	count, least := g.perZone(), -1
	for i, z := range g.zones {
		if w.noCapacity[z] <= w.now && (least < 0 || count[i] < count[least]) {
			least = i
		}
	}
	if least < 0 {
		return false
	}
	var in *instance
	if len(g.lost) > 0 {
		in, g.lost = w.reborn(g.lost[0]), g.lost[1:]
	} else {
		in = w.newInstance(g, g.zones[least], g.Revision)
	}
	in.fresh = true
	w.boot(in)
	return true
}

func (w *World) newInstance(g *group, zone, revision string) *instance {
	w.launched++
	id := fmt.Sprintf("i-%05d", w.launched)
	in := &instance{g: g, Instance: model.Instance{ID: id, GroupID: g.ID, ProviderID: "sim:///" + zone + "/" + id, Zone: zone,
		State: model.InstancePending, Revision: revision, LaunchedAt: w.time()}}
	w.instances[id] = in
	w.order = append(w.order, in)
	g.all = append(g.all, in)
	return in
}

// boot lets an instance come up and join, unless a fault has it otherwise.
func (w *World) boot(in *instance) {
	d := w.dice("boot", in.ID)
	boots := w.span(&d, w.pace.Boot-min(w.pace.Boot/10, toReady), 20*time.Second, 100*time.Second)
	w.after(boots*7/10, func() {
		if in.State == model.InstancePending {
			in.State = model.InstanceInService
			in.serves()
		}
	})
	switch {
	case w.faults.strikes(w, NeverJoins, in.ID):
		boots = max(horizon, w.now+time.Minute) - w.now // a person mends it in the end
	case w.faults.strikes(w, JoinsLate, in.ID):
		boots += d.between(3*time.Minute, 25*time.Minute)
	}
	w.after(boots, func() {
		if (in.State == model.InstanceInService || in.State == model.InstanceDetached) && in.node == nil {
			w.join(in)
		}
	})
}

// end terminates an instance: it shuts down, is gone, and its node goes, in an
// order of its own.
func (w *World) end(in *instance, by string) {
	if in.State == model.InstanceTerminating {
		return
	}
	if in.State == model.InstanceDetached {
		in.g.Desired--
		in.g.ours--
	}
	in.State, in.ending = model.InstanceTerminating, by
	d := w.dice("end", in.ID)
	down := w.span(&d, w.pace.End/2, 500*time.Millisecond, 15*time.Second)
	gone := down + w.span(&d, w.pace.End/2, time.Second, 40*time.Second)
	node := down + w.span(&d, w.pace.End/2, time.Second, 40*time.Second)
	if in.g.Traits.KeepsNodeName {
		node = gone - 1 // or never: the next of its name would find it
	}
	w.after(down, func() {
		if in.node != nil && w.nodes[in.node.Name] == in.node {
			w.unready(in.node)
		}
	})
	w.after(gone, func() {
		delete(w.instances, in.ID)
		remove(&w.order, in)
		remove(&in.g.all, in)
		if in.g.Traits.KeepsNodeName {
			in.g.lost = append(in.g.lost, in)
			w.afterEnd(in.g)
		}
	})
	w.after(node, func() {
		if in.node != nil && !(in.g.Traits.KeepsNodeName && by == byUs) {
			w.dropNode(in.node)
		}
	})
	w.afterEnd(in.g)
}

// scaleIn ends one instance because the group is too large: the group picks,
// the protected ones last, from the fullest zone, and drains nothing.
func (w *World) scaleIn(g *group) {
	count := g.perZone()
	zone := func(in *instance) int { return count[slices.Index(g.zones, in.Zone)] }
	var victim *instance
	better := func(a, b *instance) bool {
		pa, pb := a.fresh && g.suspended, b.fresh && g.suspended
		if pa != pb {
			return !pa
		}
		return zone(a) > zone(b)
	}
	for _, in := range g.members() {
		if victim == nil || better(in, victim) {
			victim = in
		}
	}
	if victim != nil {
		w.end(victim, byOthers)
	}
}

// resize is somebody else setting desired capacity.
func (w *World) resize(g *group, by int) {
	to := min(max(g.Desired+by, g.Min), g.Max)
	if g.rec != nil && !g.rec.applied {
		g.unsure = true
	}
	w.says("somebody resizes group %s from %d to %d", g.Name, g.Desired, to)
	g.own += to - g.Desired
	g.Desired = to
	w.reconcile(g)
}

// The verbs of the driver. Each is a list of acts, one after the other at the
// provider; the driver may die between any two. An act that answers an error
// ends the call.

type act func() *engine.Error

func (w *World) holder(g *group, rotation string) *engine.Error {
	if g.heldBy != "" && g.heldBy != rotation {
		return &engine.Error{Code: engine.ErrHeld, Message: "group " + g.Name + " is held by rotation " + g.heldBy}
	}
	return nil
}

func (w *World) group(id string) *group {
	for _, g := range w.groups {
		if g.ID == id {
			return g
		}
	}
	return nil
}

// verb answers the acts of a call.
func (w *World) verb(rotation string, e engine.Effect) []act {
	g := w.group(e.GroupID)
	if g == nil {
		return []act{func() *engine.Error { return notFound("group", e.GroupID) }}
	}
	switch e.Verb { //nolint:exhaustive // the others are the cluster's
	case engine.VerbPrepare:
		return w.completing(g, []act{
			func() *engine.Error {
				if err := w.holder(g, rotation); err != nil {
					return err
				}
				if g.heldBy == "" { // never over a record that is there
					g.heldBy, g.was = rotation, g.suspended
				}
				return nil
			},
			func() *engine.Error { g.suspended = true; return nil },
		})
	case engine.VerbRestore:
		return w.completing(g, []act{
			func() *engine.Error {
				if err := w.holder(g, rotation); err != nil {
					return err
				}
				if g.heldBy != "" {
					g.suspended = g.was
					g.rebalance()
				}
				return nil
			},
			func() *engine.Error {
				if surge, _ := g.standing(); surge == 0 {
					g.rec = nil
				}
				g.heldBy = ""
				return nil
			},
		})
	case engine.VerbSetSurge:
		if g.Traits.SurgeDetaches {
			return w.takeOut(g, rotation, e)
		}
		return w.setSurge(g, rotation, e.Surge)
	case engine.VerbTerminate:
		if g.Traits.SurgeDetaches {
			return w.terminateDetaching(g, rotation, e)
		}
		acts := w.terminate(g, rotation, e)
		if e.NodeUID != "" {
			acts = append([]act{func() *engine.Error { w.forgetNode(e.Node, e.NodeUID); return nil }}, acts...)
		}
		return w.completing(g, acts)
	case engine.VerbQuiesce:
		return w.quiesce(g, rotation, e.InstanceID)
	case engine.VerbUnquiesce:
		return w.unquiesce(g, e.InstanceID)
	case engine.VerbRoll:
		return w.rollGroup(g, rotation, e)
	case engine.VerbCancel:
		return w.cancelRoll(g, e)
	}
	return []act{func() *engine.Error {
		return &engine.Error{Code: engine.ErrUnsupported, Message: fmt.Sprintf("%s is not a driver's verb", e.Verb)}
	}}
}

func (w *World) setSurge(g *group, rotation string, want int) []act {
	var rec *surgeRecord
	return []act{
		func() *engine.Error {
			if err := w.holder(g, rotation); err != nil {
				return err
			}
			if g.Traits.MaxSurge < want {
				return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("group %s can have a surge of %d", g.Name, g.Traits.MaxSurge)}
			}
			now, settled := g.standing()
			switch {
			case want < now:
				return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("group %s has a surge of %d: desired capacity is never lowered", g.Name, now)}
			case want == now:
				if !settled || g.rec != nil && !g.rec.applied {
					g.rec = &surgeRecord{was: now, surge: now, from: g.Desired, to: g.Desired, applied: true}
				}
				return nil
			}
			rec = &surgeRecord{was: now, surge: want, from: g.Desired, to: g.Desired + want - now}
			g.rec = rec
			return nil
		},
		func() *engine.Error {
			if rec == nil {
				return nil
			}
			g.ours += rec.to - g.Desired
			g.Desired = rec.to
			w.reconcile(g)
			return nil
		},
		func() *engine.Error {
			if rec != nil && g.rec == rec {
				rec.applied = true
			}
			return nil
		},
	}
}

func (w *World) terminate(g *group, rotation string, e engine.Effect) []act {
	if !e.Shrink {
		return []act{func() *engine.Error {
			if err := w.holder(g, rotation); err != nil {
				return err
			}
			if in := g.find(e.InstanceID); in != nil {
				w.end(in, byUs)
			}
			return nil
		}}
	}
	var rec *surgeRecord
	return []act{
		func() *engine.Error {
			if err := w.holder(g, rotation); err != nil {
				return err
			}
			surge, settled := g.standing()
			if g.find(e.InstanceID) == nil { // done; what a crash left open is closed
				if g.rec != nil && g.rec.shrink == e.InstanceID && (!settled || !g.rec.applied) {
					g.rec = &surgeRecord{was: surge, surge: surge, from: g.Desired, to: g.Desired, applied: true}
				}
				return nil
			}
			if g.Desired-1 < g.Min {
				return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("group %s has a desired capacity of %d and a minimum of %d", g.Name, g.Desired, g.Min)}
			}
			rec = &surgeRecord{was: surge, surge: max(surge-1, 0), from: g.Desired, to: g.Desired - 1, shrink: e.InstanceID}
			g.rec = rec
			return nil
		},
		func() *engine.Error {
			if rec == nil {
				return nil
			}
			in := g.find(e.InstanceID)
			if in == nil {
				return &engine.Error{Code: engine.ErrTransient, Message: "instance " + e.InstanceID + " is not in service any more"}
			}
			g.Desired--
			g.ours--
			w.end(in, byUs)
			return nil
		},
		func() *engine.Error {
			if rec != nil && g.rec == rec {
				rec.applied = true
			}
			return nil
		},
	}
}
