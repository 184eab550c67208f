package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// budget is a PodDisruptionBudget and what its controller keeps.
type budget struct {
	model.Budget
	apps []string // what it selects
	// One of the two is set: a count, or a percentage of what is expected.
	minAvailable, maxUnavailable string
	workloads                    []*workload
	// disrupted are pods whose eviction was allowed and that do not show it yet.
	disrupted map[string]time.Duration
	dueAt     time.Duration // when its controller looks; 0: not
	closed    bool          // somebody closed it for now
}

// disruptedFor is how long an allowed eviction counts before the pod shows it.
const disruptedFor = 2 * time.Minute

func (w *World) budgetsOf(p *pod) []*budget { return p.workload.budgets }

// disruption lets the disruption controller look at a pod's budgets.
func (w *World) disruption(p *pod) {
	for _, b := range p.workload.budgets {
		w.review(b)
	}
}

func (w *World) review(b *budget) {
	if b.dueAt > w.now {
		return
	}
	d := w.dice("review", b.Name, w.now.String())
	takes := w.span(&d, w.pace.Control, 10*time.Millisecond, 400*time.Millisecond)
	b.dueAt = w.now + takes
	w.after(takes, func() { w.account(b) })
}

// account does the disruption controller's sums: the expected pods by the scale
// of their controllers (or as they are, for a plain minAvailable), percentages
// rounded up, healthy ones without those that are about to go.
func (w *World) account(b *budget) {
	expected, pods, healthy := 0, 0, 0
	for _, wl := range b.workloads {
		expected += wl.Desired
		for _, p := range wl.pods {
			pods++
			switch at, going := b.disrupted[p.UID]; {
			case p.Terminating:
				delete(b.disrupted, p.UID)
				continue
			case going && at+disruptedFor > w.now:
				continue
			case going: // it was never deleted after all
				delete(b.disrupted, p.UID)
			}
			if p.Ready {
				healthy++
			}
		}
	}
	for uid, at := range b.disrupted { // pods that are gone
		if at+disruptedFor <= w.now {
			delete(b.disrupted, uid)
		}
	}
	var wanted int
	switch {
	case b.closed:
		wanted = expected + 1000
	case b.maxUnavailable != "":
		wanted = max(expected-resolve(b.maxUnavailable, expected), 0)
	case strings.HasSuffix(b.minAvailable, "%"):
		wanted = resolve(b.minAvailable, expected)
	default:
		wanted, expected = resolve(b.minAvailable, 0), pods
	}
	now := b.Budget
	now.Expected, now.CurrentHealthy, now.DesiredHealthy, now.Observed = expected, healthy, wanted, true
	now.Allowed = max(healthy-wanted, 0)
	if expected == 0 {
		now.Allowed = 0
	}
	if now.Expected != b.Expected || now.CurrentHealthy != b.CurrentHealthy || now.DesiredHealthy != b.DesiredHealthy ||
		now.Allowed != b.Allowed || !b.Observed {
		b.Budget = now
		w.tellBudget(b)
	}
	if len(b.disrupted) > 0 { // it comes back for those that time out
		w.after(disruptedFor, func() {
			if len(b.disrupted) > 0 {
				w.review(b)
			}
		})
	}
}

// resolve turns a count or a percentage, which rounds up, into a number.
func resolve(s string, of int) int {
	n := 0
	_, _ = fmt.Sscanf(s, "%d", &n) // shapes and tests give numbers only
	if strings.HasSuffix(s, "%") {
		return (n*of + 99) / 100
	}
	return n
}

// evict answers as the eviction API does.
func (w *World) evict(ref engine.PodRef, grace *int64) *engine.Error {
	p, err := w.life(ref)
	if err != nil {
		return err
	}
	if p.Terminating || p.Finished() || p.Phase == "Pending" {
		w.terminatePod(p, grace)
		return nil
	}
	over := w.budgetsOf(p)
	if len(over) > 1 {
		return &engine.Error{Code: engine.ErrMultiBudget, Message: fmt.Sprintf("pod %s: more than one PodDisruptionBudget selects it", p.PodKey)}
	}
	if len(over) == 0 {
		w.terminatePod(p, grace)
		return nil
	}
	b := over[0]
	if !p.Ready && (b.AlwaysEvictUnhealthy || b.CurrentHealthy >= b.DesiredHealthy && b.DesiredHealthy > 0) {
		w.terminatePod(p, grace)
		return nil
	}
	if !b.Observed {
		return &engine.Error{Code: engine.ErrBlocked, RetryAfter: 10 * time.Second, Message: fmt.Sprintf("budget %s is still being processed", b.BudgetKey)}
	}
	if b.Allowed < 1 {
		return &engine.Error{Code: engine.ErrBlocked, Message: fmt.Sprintf("budget %s needs %d healthy pods and has %d", b.BudgetKey, b.DesiredHealthy, b.CurrentHealthy)}
	}
	b.Allowed--
	b.disrupted[p.UID] = w.now
	w.tellBudget(b)
	w.terminatePod(p, grace)
	w.review(b)
	return nil
}

// deletePod answers as the API server does to a plain deletion.
func (w *World) deletePod(ref engine.PodRef, grace *int64) *engine.Error {
	p, err := w.life(ref)
	if err != nil {
		return err
	}
	w.terminatePod(p, grace)
	return nil
}

// life finds this life of a pod.
func (w *World) life(ref engine.PodRef) (*pod, *engine.Error) {
	p := w.pods[ref.PodKey]
	switch {
	case p == nil:
		return nil, notFound("pod", ref.PodKey.String())
	case ref.UID != "" && p.UID != ref.UID:
		return nil, &engine.Error{Code: engine.ErrConflict, Message: fmt.Sprintf("pod %s is another by now", ref.PodKey)}
	}
	return p, nil
}

func (w *World) addBudget(name string, b budget, apps ...string) *budget {
	b.BudgetKey = model.BudgetKey{Namespace: "default", Name: name}
	b.UID, b.apps, b.disrupted = "budget-"+name, apps, make(map[string]time.Duration)
	b.Matches = func(labels map[string]string) bool { return slices.Contains(apps, labels["app"]) }
	for _, wl := range w.workloads {
		if slices.Contains(apps, wl.app) {
			b.workloads = append(b.workloads, wl)
			wl.budgets = append(wl.budgets, &b)
		}
	}
	w.budgets = append(w.budgets, &b)
	w.account(&b)
	return &b
}
