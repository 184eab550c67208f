package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

// invalid tells what kops' validation finds wrong with the group, with the
// control plane or with critical pods, if the rotation file asks for it; empty:
// nothing. Nodes that go, old ones that are broken, and replacements that have
// not come up are left out: it is the rotation that puts an end to these.
func (e *Engine) invalid(g *group) string {
	if !e.cfg.Spec.Gates.KopsValidate.Enabled || e.cfg.DrainOnly || e.cfg.Spec.CloudOnly {
		return ""
	}
	nodes := e.controlPlaneNodes()
	for _, m := range g.members {
		n := e.w.nodes[m.node]
		serves := m.phase == memberWaiting && n != nil && n.Ready || m.phase == memberReady && !m.leaving
		if n != nil && serves && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
		}
	}
	if g.guarded() { // its node that is about to go may be why: mayLose judges the others
		nodes = slices.DeleteFunc(nodes, func(n *model.Node) bool {
			m := e.byProvider[n.ProviderID]
			return m != nil && m.old && m.phase == memberWaiting
		})
	}
	return gate.KopsValidate(nodes, e.w.podsOn, e.w.criticalPods()).Evidence
}

// validates tells whether the next node of the group may go, by kops'
// validation. One that stays bad for its timeout halts the rotation.
func (e *Engine) validates(g *group) bool {
	why := e.invalid(g)
	if why == "" {
		g.invalidSince = time.Time{}
		return true
	}
	g.heldBack = "kops' validation finds that " + why
	timeout := e.cfg.Spec.Gates.KopsValidate.Timeout
	if g.invalidSince.IsZero() {
		g.invalidSince = e.now
	}
	if e.after(g.invalidSince, timeout) {
		msg := "group " + g.Name + " was not valid within " + timeout.String() + ": " + why
		e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Code: "kops-validate", Message: msg})
		e.halt(g, StatusGateFailed, "kops-validate", msg)
	}
	return false
}

// criticalPods are those of a system-critical priority, by name.
func (w *world) criticalPods() []*model.Pod {
	out := make([]*model.Pod, 0, len(w.critical))
	for _, p := range w.critical {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *model.Pod) int { return strings.Compare(a.PodKey.String(), b.PodKey.String()) })
	return out
}
