package sim

import (
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// feed is what watches tell: every change with a delay of its own, in order
// for each kind of object and in no order between kinds.
type feed struct {
	nodes     stream[string, model.Node]
	pods      stream[engine.PodRef, model.Pod]
	workloads stream[model.WorkloadKey, model.Workload]
	budgets   stream[model.BudgetKey, model.Budget]

	deployments stream[model.WorkloadKey, model.Deployment]
	attachments stream[string, model.Attachment]
	claims      stream[model.ClaimKey, model.Claim]
}

// stream is the watch of one kind.
type stream[K comparable, V any] struct {
	queue []change[K, V]
	last  time.Duration // when the latest change becomes visible
}

// change is an object as it was made, or its end.
type change[K comparable, V any] struct {
	at   time.Duration // when it becomes visible
	key  K
	val  V
	gone bool
}

// push adds a change that becomes visible at the given time, or with what came
// before it. It answers when.
func (s *stream[K, V]) push(at time.Duration, key K, val V, gone bool) time.Duration {
	s.last = max(s.last, at)
	s.queue = append(s.queue, change[K, V]{s.last, key, val, gone})
	return s.last
}

// take answers what is visible by now, the last state of each object only.
func (s *stream[K, V]) take(now time.Duration) (vals []V, gone []K) {
	n := 0
	for n < len(s.queue) && s.queue[n].at <= now {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	defer func() { // in place: the queue is short, and pushed to all the time
		left := copy(s.queue, s.queue[n:])
		clear(s.queue[left:])
		s.queue = s.queue[:left]
	}()
	if c := &s.queue[0]; n == 1 && c.gone {
		return nil, []K{c.key}
	} else if n == 1 {
		return []V{c.val}, nil
	}
	last := make(map[K]int, n)
	for i := range n {
		last[s.queue[i].key] = i
	}
	for i := range n {
		c := &s.queue[i]
		if last[c.key] != i {
			continue
		}
		if c.gone {
			gone = append(gone, c.key)
		} else {
			vals = append(vals, c.val)
		}
	}
	return vals, gone
}

// take moves what is visible into in.
func (f *feed) take(now time.Duration, in *engine.Input) {
	in.Nodes, in.NodesGone = f.nodes.take(now)
	in.Pods, in.PodsGone = f.pods.take(now)
	in.Workloads, in.WorkloadsGone = f.workloads.take(now)
	f.count(now)
	in.Budgets, in.BudgetsGone = f.budgets.take(now)
	in.Deployments, in.DeploymentsGone = f.deployments.take(now)
	in.Attachments, in.AttachmentsGone = f.attachments.take(now)
	in.Claims, in.ClaimsGone = f.claims.take(now)
}

// count has the last visible status of each budget name what earlier ones that are
// visible with it have charged.
func (f *feed) count(now time.Duration) {
	counted := make(map[model.BudgetKey][]string)
	for i := range f.budgets.queue {
		c := &f.budgets.queue[i]
		if c.at > now {
			return
		}
		names := slices.Concat(counted[c.key], c.val.Charged)
		slices.Sort(names)
		counted[c.key] = slices.Compact(names)
		c.val.Counted = counted[c.key]
	}
}

// lag is how late a watch is this time. Mostly little; now and then a lot.
func (w *World) lag(kind string) time.Duration {
	w.lags++
	if w.pace.paced() {
		return w.pace.Watch
	}
	d := dice{w.seed ^ w.lags*0x9e3779b97f4a7c15 ^ uint64(kind[0])<<32}
	if d.n(20) == 0 {
		return d.between(100*time.Millisecond, 700*time.Millisecond)
	}
	return d.between(5*time.Millisecond, 100*time.Millisecond)
}

func (w *World) tellNode(n *node, gone bool) {
	w.nodesChanged = true
	w.visible(w.feed.nodes.push(w.now+w.lag("n"), n.Name, n.Node, gone))
}

func (w *World) tellPod(p *pod, gone bool) {
	w.visible(w.feed.pods.push(w.now+w.lag("p"), engine.PodRef{PodKey: p.PodKey, UID: p.UID}, p.Pod, gone))
}

func (w *World) tellWorkload(wl *workload) {
	w.visible(w.feed.workloads.push(w.now+w.lag("w"), wl.WorkloadKey, wl.Workload, false))
}

func (w *World) tellBudget(b *budget) {
	w.visible(w.feed.budgets.push(w.now+w.lag("b"), b.BudgetKey, b.Budget, false))
}

// coalesce is how long changes are collected before they are delivered.
const coalesce = 100 * time.Millisecond

// visible lets the watcher know that there is something at the given time.
func (w *World) visible(at time.Duration) {
	at = max(at, w.told+coalesce)
	if w.watcher == nil || w.toldDue && w.toldAt <= at {
		return
	}
	w.toldDue, w.toldAt = true, at
	w.after(at-w.now, func() {
		if !w.toldDue || w.toldAt != w.now {
			return // an earlier delivery took its place
		}
		w.told, w.toldDue = w.now, false
		w.watcher()
		w.again()
	})
}

// again arranges the delivery of what was not visible yet.
func (w *World) again() {
	next := time.Duration(-1)
	see := func(at time.Duration) {
		if next < 0 || at < next {
			next = at
		}
	}
	if q := w.feed.nodes.queue; len(q) > 0 {
		see(q[0].at)
	}
	if q := w.feed.pods.queue; len(q) > 0 {
		see(q[0].at)
	}
	if q := w.feed.workloads.queue; len(q) > 0 {
		see(q[0].at)
	}
	if q := w.feed.budgets.queue; len(q) > 0 {
		see(q[0].at)
	}
	if q := w.feed.deployments.queue; len(q) > 0 {
		see(q[0].at)
	}
	if q := w.feed.attachments.queue; len(q) > 0 {
		see(q[0].at)
	}
	if q := w.feed.claims.queue; len(q) > 0 {
		see(q[0].at)
	}
	if next >= 0 {
		w.visible(next)
	}
}

// watch begins a new watch: the list is what is, and f is called when changes
// have become visible. Nil ends it.
func (w *World) watch(f func()) {
	w.feed, w.watcher, w.toldDue = feed{}, f, false
}
