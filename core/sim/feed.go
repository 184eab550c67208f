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
	taken int           // changes at the head of queue that were taken
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

// waiting are the changes that were not taken yet.
func (s *stream[K, V]) waiting() []change[K, V] { return s.queue[s.taken:] }

// next is when the next change becomes visible; below zero: there is none.
func (s *stream[K, V]) next() time.Duration {
	if queue := s.waiting(); len(queue) > 0 {
		return queue[0].at
	}
	return -1
}

// take answers what is visible by now, the last state of each object only.
func (s *stream[K, V]) take(now time.Duration) (vals []V, gone []K) {
	queue, n := s.waiting(), 0
	for n < len(queue) && queue[n].at <= now {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	defer s.drop(n)
	if c := &queue[0]; n == 1 && c.gone {
		return nil, []K{c.key}
	} else if n == 1 {
		return []V{c.val}, nil
	}
	last := make(map[K]int, n)
	for i := range n {
		last[queue[i].key] = i
	}
	vals = make([]V, 0, n)
	for i := range n {
		c := &queue[i]
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

// drop takes n changes off the head. Those that are left move there now and then
// only, for the queue is pushed to all the time.
func (s *stream[K, V]) drop(n int) {
	clear(s.waiting()[:n])
	s.taken += n
	if s.taken*2 < len(s.queue) {
		return
	}
	left := copy(s.queue, s.waiting()) // over what is clear already
	clear(s.waiting())
	s.queue, s.taken = s.queue[:left], 0
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
	queue := f.budgets.waiting()
	counted := make(map[model.BudgetKey][]string)
	for i := range queue {
		c := &queue[i]
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
	f, next := &w.feed, time.Duration(-1)
	for _, at := range []time.Duration{f.nodes.next(), f.pods.next(), f.workloads.next(), f.budgets.next(), f.deployments.next(), f.attachments.next(), f.claims.next()} {
		if next < 0 || at >= 0 && at < next {
			next = at
		}
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
