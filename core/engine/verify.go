package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

// verification follows the workloads of a drained node until they are healthy.
type verification struct {
	open    bool
	since   time.Time
	touched []model.WorkloadKey
	// seen is the version of the workloads that were not healthy; 0: none yet.
	seen uint64
}

// verifyLater begins to follow the workloads whose pods the drain moved.
func (e *Engine) verifyLater(m *member) {
	if !e.cfg.Spec.Gates.Workloads.Enabled || len(m.drain.touched) == 0 {
		return
	}
	if !m.verify.open { // else pods came and left once more, while volumes were waited for
		m.verify = verification{open: true}
	}
	m.verify.since, m.verify.seen = e.now, 0
	for k := range m.drain.touched {
		if !slices.Contains(m.verify.touched, k) {
			m.verify.touched = append(m.verify.touched, k)
		}
	}
	slices.SortFunc(m.verify.touched, func(a, b model.WorkloadKey) int { return strings.Compare(a.String(), b.String()) })
	clear(m.drain.touched)
	m.recount()
}

func (e *Engine) checkVerification(g *group, m *member) {
	if !m.verify.open {
		return
	}
	timeout := e.cfg.Spec.Gates.Workloads.Timeout
	late := e.stop == nil && e.after(m.verify.since, timeout)
	if m.verify.seen == e.w.workloadsVersion && !late {
		return // none has changed since
	}
	if !late && !e.after(m.drain.lastEviction, settles) {
		return // their controllers may not have counted what left last
	}
	m.verify.seen = e.w.workloadsVersion
	// One that has been whole since is through: what it lacks later, it lacks for other
	// nodes, which wait for it themselves.
	m.verify.touched = slices.DeleteFunc(m.verify.touched, func(k model.WorkloadKey) bool {
		return gate.Recovered([]model.WorkloadKey{k}, e.healthy, e.workload)
	})
	if len(m.verify.touched) == 0 {
		m.verify.open = false
		m.recount()
		g.lastProgress = e.now
		return
	}
	if !late {
		return
	}
	m.verify.open = false
	m.recount()
	msg := fmt.Sprintf("after the drain of %s, not healthy within %s: %s", m.label(), timeout, e.unhealthy(m))
	e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Node: m.node, Code: "workloads", Message: msg})
	e.halt(g, StatusGateFailed, "workloads", msg)
}

func (e *Engine) workload(k model.WorkloadKey) (model.Workload, bool) {
	w, ok := e.w.workloads[k]
	return w, ok
}

// unhealthy says which of the workloads that the member's drain moved are not
// healthy; empty: all are.
func (e *Engine) unhealthy(m *member) string {
	return gate.Workloads(m.verify.touched, e.healthy, e.workload).Evidence
}

// verified tells whether the workloads of all drained nodes are healthy.
func (e *Engine) verified(g *group) bool {
	for _, m := range g.census.busy {
		e.checkVerification(g, m)
		if m.verify.open {
			return false
		}
	}
	return true
}
