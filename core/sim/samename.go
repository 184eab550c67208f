package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// Groups that are refilled in other ways than an Auto Scaling group: under the
// names of what went (KeepsNodeName), by the driver's own calls (RefillDriver),
// or by a provisioner, when pods are pending (RefillScheduler).

// reborn is what comes after an instance in a group that keeps names: the same
// machine as the cluster sees it, another as the provider does.
func (w *World) reborn(was *instance) *instance {
	in := w.newInstance(was.g, was.Zone, was.g.Revision)
	in.ProviderID, in.name = was.ProviderID, was.nodeName()
	return in
}

func (in *instance) nodeName() string {
	if in.name != "" {
		return in.name
	}
	return "n" + in.ID[1:]
}

// counted is how many instances a group has for its own mind. One that keeps
// names counts those that end: each makes room for the next of its name.
func (g *group) counted() int {
	if g.Traits.KeepsNodeName {
		return len(g.all)
	}
	return g.size()
}

// afterEnd refills a group one of whose instances ends.
func (w *World) afterEnd(g *group) {
	switch g.Traits.Refill {
	case model.RefillDriver: // nobody does before the driver's next call
	case model.RefillScheduler:
		d := w.dice("provisioner", g.ID, w.now.String())
		w.after(w.span(&d, w.pace.React, time.Second, 8*time.Second), func() {
			short := g.Desired - g.size()
			if short > 0 && len(w.pending) == 0 { // nothing asks for another
				g.Desired, g.own = g.Desired-short, g.own-short
				return
			}
			w.reconcile(g)
		})
	case model.RefillNobody, model.RefillGroup:
		w.reconcile(g)
	}
}

// provision launches an instance for pods that find no node, where a provisioner
// does, and never more than there were.
func (w *World) provision() {
	i := slices.IndexFunc(w.groups, func(g *group) bool { return g.Traits.Refill == model.RefillScheduler && g.Desired < g.most })
	if i < 0 || len(w.pending) == 0 || w.provisioning {
		return
	}
	g := w.groups[i]
	w.provisioning = true
	d := w.dice("provision", w.now.String())
	w.after(w.span(&d, w.pace.React, 5*time.Second, 20*time.Second), func() {
		w.provisioning = false
		if len(w.pending) > 0 && g.Desired < g.most {
			g.Desired, g.own = g.Desired+1, g.own+1
			w.reconcile(g)
		}
		w.provision()
	})
}

// forgetNode deletes one life of a node, as the runtime does before it has an
// instance ended whose name comes back.
func (w *World) forgetNode(name, uid string) {
	if n := w.nodes[name]; n != nil && n.UID == uid {
		w.dropNode(n)
	}
}

// nodeless tells whether no instance is a node: the nodes of all may have been deleted
// before their ends were asked for, which was cut off, and no kubelet registers anew. Such
// a cluster cannot be told from another one, and the plan refuses it.
func (w *World) nodeless() bool {
	return !slices.ContainsFunc(w.order, func(in *instance) bool { return in.node != nil && w.nodes[in.node.Name] == in.node })
}

// takeOver is what a kubelet does that finds a node of its name: the node is
// its, with all that others put on it.
func (w *World) takeOver(n *node, in *instance) {
	n.inst, in.node, n.dead, n.Unreachable = in, n, false, false
	n.label()
	d := w.dice("take-over", in.ID)
	w.after(w.span(&d, min(w.pace.Boot/10, toReady), time.Second, 10*time.Second), func() {
		if w.nodes[n.Name] == n && n.inst == in && in.State != model.InstanceTerminating {
			w.ready(n)
		}
	})
}

// completing makes the acts of a call of those that end by filling the group up,
// where the driver does that.
func (w *World) completing(g *group, acts []act) []act {
	if g.Traits.Refill != model.RefillDriver {
		return acts
	}
	return append(acts, func() *engine.Error {
		w.reconcile(g)
		return nil
	})
}

// otherRefills gives groups of nodes another way to be refilled, and answers how
// much room must stay free for that: none of them can surge.
func (s *Shape) otherRefills(seed uint64) (room int) {
	d := newDice(seed, "refills") // of its own: older seeds keep their worlds
	if !d.chance(0.2) {
		return 0
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		if g.Role != model.RoleNode || d.chance(0.3) {
			continue
		}
		g.Traits.MaxSurge, g.Traits.TerminateShrink, g.Traits.SurgeDetaches = 0, false, false
		switch d.n(3) {
		case 0:
			g.Traits.KeepsNodeName = true
		case 1:
			g.Traits.Refill, g.Traits.Prepare = model.RefillDriver, true
		case 2:
			g.Traits.Refill = model.RefillScheduler
		}
		room += 2 * g.Room
	}
	if st := &s.Spec.Strategy; room > 0 && (st.MaxUnavailable == "0" || st.MaxUnavailable == "30%") { // a percentage may round to none
		st.MaxUnavailable = fmt.Sprint(1 + d.n(2))
	}
	return room
}
