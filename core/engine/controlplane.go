package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

// controlPlane is what the rotation knows of the machines that run the API
// server and etcd. They go strictly one at a time, over all groups, and none
// goes before all others are whole: nodes Ready, their static pods too, and the
// API server ready by its own word. Every member of etcd but one is there then,
// which is more than its quorum.
type controlPlane struct {
	// components are the static pods that each of its nodes ran when the first of
	// them was about to go, and is to run.
	components []string
	learned    bool
	cameUp     time.Time // when its last replacement was in service; zero: none yet

	asking   bool // a question to the API server is on its way
	readyAt  time.Time
	notUntil time.Time
	failures int
	refusal  string // its last bad answer; empty: none since the last good one
}

// apiWordHolds is how long the API server's word is taken for: until the step
// that it was asked for, and no longer.
const apiWordHolds = 5 * time.Second

// guarded tells whether the group's machines run etcd and the API server.
func (g *group) guarded() bool { return g.Role == model.RoleControlPlane }

// controlPlaneNodes are those that say so, and those of groups that have the
// role, by name.
func (e *Engine) controlPlaneNodes() []*model.Node {
	var out []*model.Node
	for _, n := range e.w.nodes {
		m := e.byProvider[n.ProviderID]
		if gate.IsControlPlane(n) || n.ProviderID != "" && m != nil && m.g.Role == model.RoleControlPlane {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *model.Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// wantedControlPlane is how many machines the provider's groups want, those that
// are not rotated included.
func (e *Engine) wantedControlPlane() int {
	n := 0
	for _, g := range e.w.groups {
		if g.Role == model.RoleControlPlane {
			n += g.Desired - g.Surge
		}
	}
	return n
}

// learnControlPlane takes note of what the control plane is when it is whole as
// far as it can be: before the first of its nodes goes.
func (e *Engine) learnControlPlane(g *group) {
	switch {
	case g.Role == model.RoleControlPlane && !e.cp.learned:
		ready := slices.DeleteFunc(e.controlPlaneNodes(), func(n *model.Node) bool { return !n.Ready })
		e.cp.components, e.cp.learned = gate.Components(ready, e.w.podsOn), true
		g.components = e.cp.components
	case g.Role == model.RoleControlPlane:
		g.components = e.cp.components
	case g.Role == model.RoleAPIServer:
		var ready []*model.Node
		for _, m := range g.members {
			if n := e.w.nodes[m.node]; m.old && n != nil && n.Ready {
				ready = append(ready, n)
			}
		}
		g.components = gate.Components(ready, e.w.podsOn)
	}
}

// mayLose tells whether a drain of the member's node may begin, as far as the
// control plane is concerned, and if not, why. late: it is not whole, and has
// nothing under way that would make it so.
func (e *Engine) mayLose(m *member) (why string, late bool) {
	if !m.g.guarded() {
		return "", false
	}
	if why, late := e.spares(m); why != "" {
		return why, late
	}
	if !e.cfg.Spec.CloudOnly {
		return e.apiReady()
	}
	// Nothing tells when etcd has its member back: time has to do.
	if pause := e.cfg.Spec.Strategy.Waits.BetweenDrains; !e.cp.cameUp.IsZero() && !e.after(e.cp.cameUp, pause) {
		return fmt.Sprintf("the pause of %s after a machine of the control plane came up", pause), false
	}
	return "", false
}

// spares tells whether all nodes of the control plane but the member's are there
// and whole, and if not, why. It is asked again before the instance is ended: a
// drain takes minutes, in which another may have failed.
func (e *Engine) spares(m *member) (why string, late bool) {
	for _, g := range e.groups {
		if !g.guarded() || g.phase == groupWaiting || g.phase == groupFinished {
			continue // nobody works on these: what they lack is missed below
		}
		for _, o := range g.census.busy {
			resting := o.phase == memberQuarantined || o.phase == memberBad || o.phase == memberBooting && !o.ours
			if o != m && !resting {
				return o.label() + " of the control plane is being replaced", false
			}
		}
	}
	if e.cfg.Spec.CloudOnly {
		return "", false // nothing more can be known
	}
	others := 0
	for _, n := range e.controlPlaneNodes() {
		if n.Name == m.node {
			continue
		}
		others++
		if v := gate.StaticPods(n, e.w.podsOn(n.Name), e.cp.components); !v.OK {
			return "the control plane is not whole: " + v.Evidence, true
		}
	}
	wanted := e.wantedControlPlane()
	if missing := wanted - 1 - others; missing > 0 {
		return fmt.Sprintf("the control plane is not whole: %d of its %d nodes are missing", missing, wanted), true
	}
	return "", false
}

// apiReady asks the API server whether it is ready, anew for each node.
func (e *Engine) apiReady() (why string, late bool) {
	if !e.cp.readyAt.IsZero() && e.now.Sub(e.cp.readyAt) < apiWordHolds {
		e.cp.readyAt = time.Time{}
		return "", false
	}
	if !e.cp.asking {
		if e.cp.notUntil.After(e.now) {
			e.wake(e.cp.notUntil)
		} else {
			e.cp.asking = true
			e.out.Effects = append(e.out.Effects, Effect{Verb: VerbCheckAPI})
		}
	}
	return cmp.Or(e.cp.refusal, "the API server is asked whether it is ready"), e.cp.refusal != ""
}

// apiAnswered takes the API server's word.
func (e *Engine) apiAnswered(o Outcome) {
	e.cp.asking = false
	if o.Err == nil {
		e.cp.readyAt, e.cp.failures, e.cp.refusal = e.now, 0, ""
		return
	}
	e.cp.failures++
	e.cp.refusal = "the API server is not ready: " + o.Err.Message
	e.cp.notUntil = e.now.Add(backoff("check-api", e.cp.failures))
}
