// Package estimate says how long a rotation would take, the time below which no
// order of it could go, and what limits it. It is pure, and as good as what the
// cluster tells of its own past: how long its instances took to become Ready
// nodes, and its pods to become Ready.
//
// It goes through the rotation with a model that is much simpler than the
// engine: nodes take slots in order, evictions take turns under their budgets,
// and nothing fails.
package estimate

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/bound"
	"github.com/rotatord/rotator/core/model"
)

// Input is a rotation, and the cluster whose history is read.
type Input struct {
	Nodes     []model.Node
	Instances []model.Instance
	Pods      []model.Pod

	// Roles of the cluster's node groups, by id; those that are missing have one of
	// their own.
	Roles map[string]model.Role

	Groups       []Group // in the order in which they are visited
	GroupsAtOnce int     // below 1: one
	// Pause is waited between waves, and Gap between drains, which then go one at a
	// time.
	Pause, Gap time.Duration
	// Bake is waited after a group's first node, where Canary is set.
	Canary bool
	Bake   time.Duration
	// Grace overrides the pods' own termination grace period; 0: their own.
	Grace time.Duration
}

// Group is one node group.
type Group struct {
	ID, Name           string
	Nodes              []Node // in order
	Surge, Unavailable int
	// Wave is the number of nodes of one wave; 0: a sliding window.
	Wave int
}

// Node is a node that goes.
type Node struct{ Pods []Pod }

// Pod is a pod that is evicted.
type Pod struct {
	*model.Pod
	Budget *model.Budget // nil: none protects it
	// Last is evicted once the others have left: it is critical to the cluster.
	Last bool
}

// Estimate is what is to be expected. Durations of the text are rounded; those
// of JSON are in seconds.
type Estimate struct {
	// Seconds is what the rotation would take if everything goes as usual, and
	// SecondsLong if boots and starts take as long as the slowest tenth of them and
	// pods use all of their grace period.
	Seconds     float64 `json:"seconds"`
	SecondsLong float64 `json:"secondsLong"`
	// LowerBoundSeconds is the time below which no order of the rotation goes, by
	// the usual durations, and LimitedBy what makes it so long.
	LowerBoundSeconds float64 `json:"lowerBoundSeconds"`
	LimitedBy         string  `json:"limitedBy"`
	Groups            []Part  `json:"groups"`
	// Basis says where the figures come from, for a person.
	Basis []string `json:"basis"`
	// Assumed tells whether some of it is not from the cluster's own history.
	Assumed bool `json:"assumed"`
}

// Part is one group's part of an estimate.
type Part struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	// AtOnce is how many nodes are replaced at once, and Waves how many follow one
	// another; 0: a sliding window.
	AtOnce int `json:"atOnce"`
	Waves  int `json:"waves,omitempty"`
	// BootSeconds is what a new node usually takes.
	BootSeconds float64 `json:"bootSeconds"`
}

// Make makes the estimate; nil: there is nothing to do.
func Make(in Input) *Estimate {
	if !slices.ContainsFunc(in.Groups, func(g Group) bool { return len(g.Nodes) > 0 && g.atOnce() > 0 }) {
		return nil
	}
	h := learn(&in)
	usual := &run{in: &in, h: h, usual: true, budgets: map[*model.Budget]*turns{}}
	long := &run{in: &in, h: h, budgets: map[*model.Budget]*turns{}}
	e := &Estimate{Assumed: h.start.N == 0 || slices.ContainsFunc(in.Groups, func(g Group) bool { return h.bootOf(g.ID).N == 0 })}
	total, parts := usual.all()
	e.Seconds, e.Groups = total.Seconds(), parts
	total, _ = long.all()
	e.SecondsLong = max(total.Seconds(), e.Seconds)
	lower, limit := bound.Lower(usual.shape())
	e.LowerBoundSeconds, e.LimitedBy = min(lower.Seconds(), e.Seconds), limit.String()

	e.Basis = append(e.Basis, "a new node is Ready after "+h.boot.text("instances"),
		"a pod is Ready after "+h.start.text("pods")+h.slowest())
	return e
}

func (g *Group) atOnce() int {
	n := g.Surge + g.Unavailable
	if g.Wave > 0 {
		n = min(n, g.Wave)
	}
	return n
}

// run is one walk through the rotation, with the usual durations or the long
// ones.
type run struct {
	in      *Input
	h       *history
	usual   bool
	budgets map[*model.Budget]*turns
}

func (r *run) of(s Stat) time.Duration {
	if r.usual {
		return s.Median
	}
	return s.P90
}

// stop is how long a pod takes to end.
func (r *run) stop(p *Pod) time.Duration {
	grace := cmp.Or(r.in.Grace, time.Duration(p.GracePeriodSeconds)*time.Second)
	if r.usual {
		return min(grace, r.of(r.h.startOf(p.Pod))/stopShare, longestStop)
	}
	return grace
}

// away is from a pod's eviction until it is Ready elsewhere, and its budget allows the
// next: a StatefulSet's comes back once it is gone, others while it ends.
func (r *run) away(p *Pod) time.Duration {
	start := r.of(r.h.startOf(p.Pod))
	if p.Owner.Kind == "StatefulSet" {
		return r.stop(p) + start
	}
	return start
}

// boot of a group's next instance, from the end of the one before it.
func (r *run) boot(g *Group) time.Duration {
	boot := r.of(r.h.bootOf(g.ID))
	return boot + boot/noticeShare + callsTake
}

func (r *run) turnsOf(b *model.Budget) *turns {
	t := r.budgets[b]
	if t == nil {
		t = &turns{free: make([]time.Duration, atOnce(b))}
		r.budgets[b] = t
	}
	return t
}

// atOnce is how many of a budget's pods may be away at a time: at least one,
// since a plan with one that allows none is refused.
func atOnce(b *model.Budget) int { return max(b.Expected-b.DesiredHealthy, 1) }

// shape is what the lower bound is computed from.
func (r *run) shape() bound.Shape {
	s := bound.Shape{GroupsAtOnce: r.in.GroupsAtOnce}
	for i := range r.in.Groups {
		g := &r.in.Groups[i]
		if g.atOnce() <= 0 {
			continue
		}
		var drains time.Duration
		type chain struct {
			pods int
			each time.Duration
		}
		chains := map[*model.Budget]*chain{}
		var order []*model.Budget
		for j := range g.Nodes {
			var longest time.Duration
			for k := range g.Nodes[j].Pods {
				p := &g.Nodes[j].Pods[k]
				stop := r.stop(p)
				longest = max(longest, stop)
				if p.Budget == nil {
					continue
				}
				c := chains[p.Budget]
				if c == nil {
					c = &chain{}
					chains[p.Budget] = c
					order = append(order, p.Budget)
				}
				c.pods++
				c.each += r.away(p)
			}
			drains += longest
		}
		b := bound.Group{Name: g.Name, Nodes: len(g.Nodes), Slots: g.atOnce(), Boot: r.of(r.h.bootOf(g.ID)), BootFirst: g.Unavailable == 0}
		if len(g.Nodes) > 0 {
			b.Drain = drains / time.Duration(len(g.Nodes))
		}
		slices.SortFunc(order, func(x, y *model.Budget) int { return strings.Compare(x.String(), y.String()) })
		for _, bud := range order {
			c := chains[bud]
			b.Budgets = append(b.Budgets, bound.Budget{Name: bud.String(), Pods: c.pods, AtOnce: atOnce(bud), Each: c.each / time.Duration(c.pods)})
		}
		s.Groups = append(s.Groups, b)
	}
	return s
}

// turns are things that can be held: the times at which they become free, as a
// heap.
type turns struct{ free []time.Duration }

// take returns when the first is free, no earlier than at, and holds it.
func (t *turns) take(at time.Duration) time.Duration {
	return max(heap.Pop(t).(time.Duration), at)
}

func (t *turns) give(at time.Duration) { heap.Push(t, at) }

// wait holds all until then.
func (t *turns) wait(until time.Duration) {
	for i, at := range t.free {
		t.free[i] = max(at, until)
	}
	heap.Init(t)
}

func (t *turns) Len() int           { return len(t.free) }
func (t *turns) Less(i, j int) bool { return t.free[i] < t.free[j] }
func (t *turns) Swap(i, j int)      { t.free[i], t.free[j] = t.free[j], t.free[i] }
func (t *turns) Push(x any)         { t.free = append(t.free, x.(time.Duration)) }
func (t *turns) Pop() any {
	last := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	return last
}

// Lines says it for a person.
func (e *Estimate) Lines() []string {
	at := func(s float64) string { return short(time.Duration(s * float64(time.Second))) }
	head := "about " + at(e.Seconds)
	if at(e.SecondsLong) != at(e.Seconds) {
		head += fmt.Sprintf("; %s if boots, starts and ends of pods are slow", at(e.SecondsLong))
	}
	return append([]string{head, fmt.Sprintf("at least %s, limited by %s", at(e.LowerBoundSeconds), e.LimitedBy)}, e.Basis...)
}
