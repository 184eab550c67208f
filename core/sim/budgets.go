package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
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
	// disrupted are pods, by name, whose eviction was allowed and that do not show
	// it yet.
	disrupted map[string]time.Duration
	dueAt     time.Duration // when its controller looks; 0: not
	closed    bool          // somebody closed it for now
}

// disruptedFor is how long an allowed eviction counts before the pod shows it.
const disruptedFor = 2 * time.Minute

func (w *World) budgetsOf(p *pod) []*budget { return p.workload.budgets }

// disruption lets the disruption controller look at a pod's budget. Of several
// it looks at one, whichever it finds first: the others go stale.
func (w *World) disruption(p *pod) {
	switch over := w.budgetsOf(p); len(over) {
	case 0:
	case 1:
		w.review(over[0])
	default:
		d := w.dice("which budget", p.UID, w.now.String())
		w.review(pick(&d, over...))
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

// account does the disruption controller's sums (Kubernetes'
// pkg/controller/disruption): the expected pods by the scale of the controllers
// of those that exist (or as they are, for a plain minAvailable), percentages
// rounded up, healthy ones without those that are about to go.
func (w *World) account(b *budget) {
	scale, pods, healthy, failed := 0, 0, 0, false
	charged := make(map[string]time.Duration)
	for _, wl := range b.workloads {
		if len(wl.pods) == 0 {
			continue // a controller is found by its pods
		}
		scale += wl.Desired
		failed = failed || !wl.scales()
		pods += len(wl.pods)
		healthy += wl.healthy
	}
	for name, at := range b.disrupted {
		p := w.pods[model.PodKey{Namespace: b.Namespace, Name: name}]
		if p != nil && !p.Terminating && at+disruptedFor >= w.now && slices.Contains(p.workload.budgets, b) {
			if charged[name] = at; p.Ready {
				healthy--
			}
		}
	}
	var wanted, expected int
	percent := strings.HasSuffix(b.minAvailable, "%")
	switch {
	case b.closed:
		wanted, expected = scale+1000, scale
	case failed && (percent || b.maxUnavailable != ""):
		// It does not know how many there should be: nothing may go, and the rest of
		// the status is left as it was.
		if b.Allowed != 0 {
			b.Allowed = 0
			w.tellBudget(b)
		}
		return
	case b.maxUnavailable != "":
		wanted, expected = max(scale-resolve(b.maxUnavailable, scale), 0), scale
	case percent:
		wanted, expected = resolve(b.minAvailable, scale), scale
	default:
		wanted, expected = resolve(b.minAvailable, 0), pods
	}
	b.disrupted = charged
	now := b.Budget
	now.Expected, now.CurrentHealthy, now.DesiredHealthy, now.Observed = expected, healthy, wanted, true
	now.Charged = slices.Sorted(maps.Keys(charged))
	now.Allowed = max(healthy-wanted, 0)
	if expected == 0 {
		now.Allowed = 0
	}
	if now.Expected != b.Expected || now.CurrentHealthy != b.CurrentHealthy || now.DesiredHealthy != b.DesiredHealthy ||
		now.Allowed != b.Allowed || !b.Observed || !slices.Equal(now.Charged, b.Charged) {
		b.Budget = now
		w.tellBudget(b)
	}
	if len(charged) > 0 { // it comes back for those that time out
		w.after(disruptedFor, func() {
			if len(b.disrupted) > 0 {
				w.review(b)
			}
		})
	}
}

// resolve turns a count or a percentage, which rounds up, into a number.
func resolve(s string, of int) int {
	amount, percent := strings.CutSuffix(s, "%")
	n, _ := strconv.Atoi(amount) // shapes and tests give numbers only, or nothing
	if percent {
		return (n*of + 99) / 100
	}
	return n
}

// evict answers as the eviction API does (Kubernetes'
// pkg/registry/core/pod/storage/eviction.go). The UID precondition comes last
// there: it guards the deletion, not what is charged to the budget before, and
// the budget is charged by the pod's name.
func (w *World) evict(ref engine.PodRef, grace *int64) *engine.Error {
	p := w.pods[ref.PodKey]
	if p == nil {
		return notFound("pod", ref.PodKey.String())
	}
	if p.Terminating || p.Finished() || p.Phase == "Pending" {
		return w.deletePod(ref, grace)
	}
	over := w.budgetsOf(p)
	if len(over) > 1 {
		return &engine.Error{Code: engine.ErrMultiBudget, Message: fmt.Sprintf("pod %s: more than one PodDisruptionBudget selects it", p.PodKey)}
	}
	if len(over) == 0 {
		return w.deletePod(ref, grace)
	}
	b := over[0]
	if !p.Ready && (b.AlwaysEvictUnhealthy || b.CurrentHealthy >= b.DesiredHealthy && b.DesiredHealthy > 0) {
		return w.deletePod(ref, grace)
	}
	if !b.Observed {
		return &engine.Error{Code: engine.ErrBlocked, RetryAfter: 10 * time.Second, Message: fmt.Sprintf("budget %s is still being processed", b.BudgetKey)}
	}
	if b.Allowed < 1 {
		return &engine.Error{Code: engine.ErrBlocked, Message: fmt.Sprintf("budget %s needs %d healthy pods and has %d", b.BudgetKey, b.DesiredHealthy, b.CurrentHealthy)}
	}
	b.Allowed--
	b.disrupted[p.Name] = w.now
	b.Charged = slices.Sorted(maps.Keys(b.disrupted))
	w.tellBudget(b)
	w.review(b)
	return w.deletePod(ref, grace)
}

// deletePod answers as the API server does to a plain deletion.
func (w *World) deletePod(ref engine.PodRef, grace *int64) *engine.Error {
	p, err := w.life(ref)
	if err != nil {
		return err
	}
	p.workload.lost = w.now // no budget was asked
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
	b.Selector = strings.Join(apps, ",")
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
