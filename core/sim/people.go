package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// slots is how many occasions each kind of interference has in a world.
const slots = 3

// interfere plans what people, autoscalers and the cloud do to the world, from
// the beginning to shortly before the horizon.
func (w *World) interfere() {
	plan := func(k Kind, f func(d *dice) bool) {
		for i := range slots {
			where := fmt.Sprintf("@%d", i)
			if !w.faults.strikes(w, k, where) {
				continue
			}
			d := w.dice(string(k), where)
			at := d.between(0, pick(&d, 10*time.Minute, time.Hour, horizon-30*time.Minute))
			var try func()
			tries := 0
			try = func() { // where there is nothing to do it to, a little later
				if tries++; !w.healed && !f(&d) && tries < 20 {
					w.after(15*time.Second, try)
				}
			}
			w.after(at, try)
		}
	}
	plan(Storm, func(d *dice) bool {
		w.storm = max(w.storm, w.now+d.between(30*time.Second, 4*time.Minute))
		return true
	})
	plan(NoCapacity, func(d *dice) bool {
		g := w.groups[d.n(len(w.groups))]
		zone := g.zones[d.n(len(g.zones))]
		w.noCapacity[zone] = max(w.noCapacity[zone], w.now+d.between(2*time.Minute, 40*time.Minute))
		return true
	})
	plan(Closes, func(d *dice) bool {
		if len(w.budgets) == 0 {
			return true
		}
		b := w.budgets[d.n(len(w.budgets))]
		b.closed = true
		w.says("somebody closes budget %s", b.Name)
		w.review(b)
		w.after(d.between(time.Minute, time.Hour), func() { w.open(b) })
		return true
	})
	plan(Uncordon, func(d *dice) bool {
		n := choose(d, w.nodeList, func(n *node) bool { return n.Unschedulable && !n.person && n.inst.State != model.InstanceTerminating })
		if n == nil {
			return false
		}
		w.says("somebody uncordons %s", n.Name)
		n.Unschedulable, n.personAt, n.uncordoned = false, w.now, w.now
		w.tellNode(n, false)
		w.schedule()
		return true
	})
	plan(Cordon, func(d *dice) bool {
		n := choose(d, w.nodeList, func(n *node) bool {
			return !n.Unschedulable && n.inst.State != model.InstanceTerminating && w.spare(n.inst.g)
		})
		if n == nil {
			return false
		}
		w.says("somebody cordons %s", n.Name)
		n.Unschedulable, n.person, n.personAt = true, true, w.now
		// A cordon of ours that somebody took off between two runs left its record on
		// the node, which says that this one is ours as well.
		n.unsure = n.unsure || n.Annotations[model.AnnotationCordoned] != ""
		w.tellNode(n, false)
		return true
	})
	plan(Relabel, func(d *dice) bool {
		n := choose(d, w.nodeList, func(n *node) bool { return n.inst.State != model.InstanceTerminating })
		if n == nil {
			return false
		}
		w.says("somebody marks %s", n.Name)
		w.markFor(n, pick(d, "false", "never"), "by-hand")
		w.tellNode(n, false)
		return true
	})
	plan(EndInstance, func(d *dice) bool {
		in := choose(d, w.order, func(in *instance) bool { return in.State != model.InstanceTerminating })
		if in != nil {
			w.says("somebody ends %s", in.ID)
			w.end(in, byOthers)
		}
		return in != nil
	})
	plan(Autoscaler, func(d *dice) bool {
		in := choose(d, w.order, func(in *instance) bool {
			return in.State != model.InstanceTerminating && in.State != model.InstanceDetached && w.spare(in.g) && !in.node.kept()
		})
		if in == nil {
			return false
		}
		if in.g.rec != nil && !in.g.rec.applied {
			in.g.unsure = true
		}
		w.says("an autoscaler takes %s away", in.ID)
		in.g.Desired--
		in.g.own--
		w.end(in, byOthers)
		return true
	})
	plan(DeletePod, func(d *dice) bool {
		if len(w.runningPods()) == 0 {
			return false
		}
		pods := w.runningPods()
		p := pods[d.n(len(pods))]
		p.workload.lost = w.now
		w.says("somebody deletes pod %s", p.PodKey)
		w.terminatePod(p, nil)
		return true
	})
	plan(ScaleUp, func(d *dice) bool {
		w.resize(w.groups[d.n(len(w.groups))], 1+d.n(2))
		return true
	})
	plan(ScaleDown, func(d *dice) bool {
		g := w.groups[d.n(len(w.groups))]
		if !w.spare(g) {
			return false
		}
		w.resize(g, -1)
		return true
	})
	plan(Rescale, func(d *dice) bool {
		dep := choose(d, w.deployments, func(*deployment) bool { return true })
		if dep != nil && !w.tight {
			w.rescale(dep, 1+d.n(2))
		}
		return true
	})
	plan(Rolls, func(d *dice) bool {
		g := choose(d, w.groups, func(g *group) bool {
			return g.Traits.Roll && (g.rolling == nil || g.rolling.State != model.RollRunning)
		})
		if g != nil {
			w.rolls(g, "", 1)
		}
		return true
	})
	plan(Selects, w.pin)
	plan(Retemplate, func(d *dice) bool {
		g := w.groups[d.n(len(w.groups))]
		g.Revision += "+"
		w.says("somebody gives group %s revision %s", g.Name, g.Revision)
		return true
	})
	w.after(horizon, w.heal)
}

// choose picks one that will do; the zero value: none does.
func choose[T any](d *dice, from []T, ok func(T) bool) T {
	var fit []T
	for _, v := range from {
		if ok(v) {
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		var none T
		return none
	}
	return fit[d.n(len(fit))]
}

// runningPods are the running pods of workloads that are not DaemonSets.
func (w *World) runningPods() []*pod {
	var out []*pod
	for _, wl := range w.workloads {
		if wl.Kind == "DaemonSet" {
			continue
		}
		out = append(out, slices.DeleteFunc(slices.Clone(wl.pods), func(p *pod) bool { return p.Terminating })...)
	}
	return out
}

// spare tells whether a group can do without one more node for good: two more
// are left, and all pods have room on half of what is left.
func (w *World) spare(g *group) bool {
	if g.own < 3 {
		return false
	}
	room, asked := -g.room, 0
	for _, o := range w.groups {
		room += o.own * o.room
	}
	for _, n := range w.nodeList {
		if n.person {
			room -= n.inst.g.room
		}
	}
	for _, wl := range w.workloads {
		if wl.Kind != "DaemonSet" {
			asked += wl.Desired * wl.request
		}
	}
	return asked*2 <= room
}

func (w *World) open(b *budget) {
	b.closed = false
	w.review(b)
}

// mayDie lets a node go dark after a while: its pods hang, the node controller
// deletes them after five minutes, and the group replaces it in the end.
func (w *World) mayDie(n *node) {
	if !w.faults.strikes(w, NodeDies, n.Name) {
		return
	}
	d := w.dice("dies", n.Name)
	w.after(d.between(time.Minute, 40*time.Minute), func() {
		if w.nodes[n.Name] != n || n.dead || w.healed || n.inst.State == model.InstanceTerminating {
			return
		}
		w.says("node %s goes dark", n.Name)
		w.unready(n)
		w.after(5*time.Minute, func() {
			for _, p := range slices.Clone(n.pods) {
				if w.nodes[n.Name] == n && p.workload.Kind != "DaemonSet" {
					w.terminatePod(p, nil)
				}
			}
		})
		w.after(d.between(6*time.Minute, 30*time.Minute), func() { w.end(n.inst, byOthers) })
	})
}

// heal ends all faults that last.
func (w *World) heal() {
	w.healed = true
	w.storm = 0
	clear(w.noCapacity)
	for _, a := range slices.Clone(w.attachments) {
		if a.left > 0 {
			w.dropAttachment(a)
		}
	}
	for _, b := range w.budgets {
		if b.closed {
			w.open(b)
		}
	}
	for _, wl := range w.workloads {
		for _, p := range wl.pods {
			w.unpin(p)
		}
	}
	for _, g := range w.groups {
		w.reconcile(g)
	}
}
