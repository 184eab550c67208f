package sim

import (
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// unit is what one unit of a shape's room is in millicores.
const unit = 1000

// offers is what a kubelet reports of a node with so much room.
func offers(room int) model.Resources {
	return model.Resources{MilliCPU: int64(room) * unit, Memory: 1 << 40, Pods: 1000}
}

// traitsOf are those of all pods of a workload.
func traitsOf(wl *workload) *model.PodTraits {
	t := &model.PodTraits{Requests: model.Resources{MilliCPU: int64(wl.request) * unit, Pods: 1}}
	if wl.zone != "" {
		t.NodeSelector = map[string]string{zoneLabel: wl.zone}
	}
	return t
}

// zoneLabel is how pods ask for a zone.
const zoneLabel = "topology.kubernetes.io/zone"

// roomWithin is how long a pod may be without a node where the plan found room
// for all: the engine opens the nodes that it has closed in two steps of 10 s, and
// the rest is for patches and the scheduler.
const roomWithin = time.Minute

// promises tells whether a plan says that all pods will find room.
func promises(p *plan.Plan, s plan.Spec) bool {
	if s.Strategy.CapacityCheck == plan.CapacityOff {
		return false
	}
	return !slices.ContainsFunc(p.Warnings, aboutRoom)
}

// vague: what the plan says about room cannot be held to. Pods wait already, which
// the plan does not place; a provisioner acts on pods that wait; a provider rolls a
// group in its own way; or some pods must be in a zone: the plan expects a
// replacement in the zone of the node before, and a group cannot be told where to
// launch.
func (w *World) vague() bool {
	return len(w.pending) > 0 || slices.ContainsFunc(w.workloads, func(wl *workload) bool { return wl.zone != "" }) ||
		slices.ContainsFunc(w.groups, func(g *group) bool { return g.Traits.Refill == model.RefillScheduler || g.Traits.Roll })
}

func aboutRoom(f plan.Finding) bool {
	return f.Code == "pods-do-not-fit" || f.Code == "capacity-unknown"
}

// checkRoom holds what the plan said about room against what pods find. Where
// something goes wrong, or somebody else changes something, it has promised
// nothing.
func (c *checker) checkRoom() {
	if !c.promised || len(c.w.faults.names) > 0 {
		return
	}
	late := slices.IndexFunc(c.w.pending, func(p *pod) bool { return p.made >= c.began && c.w.now-p.made > roomWithin })
	if late < 0 {
		c.hold(Room, true, "")
		return
	}
	p := c.w.pending[late]
	c.hold(Room, c.w.scattered(p), "pod %s has had no node for %s, and the plan found room for all", p.Name, c.w.now-p.made)
}

// scattered tells whether what is free would be enough for a pod, and for all that
// wait, if it were on one node. The plan packs pods as tight as it can, and the
// scheduler spreads them as they come, and moves none again: of such room the plan has
// promised too much, and no order of the nodes would have been sure to keep it.
func (w *World) scattered(p *pod) bool {
	free, asked := 0, 0
	for _, c := range w.candidates(p) {
		free += max(c.inst.g.room-c.used, 0)
	}
	for _, q := range w.pending {
		asked += q.request
	}
	return free >= asked
}

// tighten makes the nodes hardly larger than what runs on them needs, for some
// seeds.
func (s *Shape) tighten(seed uint64) {
	d := newDice(seed, "tight")
	if !d.chance(0.2) {
		return
	}
	asked, nodes, largest := 0, 0, 1
	for _, wl := range s.Workloads {
		pods := wl.Pods
		if wl.Deployment { // one more where it is moved without downtime
			pods++
		}
		if wl.Kind != "DaemonSet" {
			asked, largest = asked+pods*wl.Request, max(largest, wl.Request)
		}
	}
	for _, g := range s.Groups {
		if g.Role == model.RoleNode {
			nodes += g.Size
		}
	}
	percent := pick(&d, 105, 120, 150)
	room := max((asked*percent+100*nodes-1)/(100*nodes), largest)
	for i := range s.Groups {
		s.Groups[i].Room = min(s.Groups[i].Room, room)
	}
	s.Tight = true
}
