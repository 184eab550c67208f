// Package bound computes how short a rotation could be at best: by the number
// of nodes that may be replaced at once, and by the chains that a
// PodDisruptionBudget forces evictions into. It is plain arithmetic over counts
// and durations and shares nothing with the code that plans and schedules, so
// that it can judge it.
package bound

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Shape is what limits a rotation.
type Shape struct {
	// Groups in the order in which they are visited.
	Groups []Group
	// GroupsAtOnce is how many groups are rotated in parallel; 0 or 1: one.
	GroupsAtOnce int
}

// Group is a node group.
type Group struct {
	Name string
	// Nodes are to be replaced, at most Slots at once: surge plus unavailable. A
	// group without nodes takes no time; Slots below 1 counts as 1.
	Nodes, Slots int
	// Boot is from the moment at which the group may launch an instance until its
	// node is Ready, Drain from the cordon of a node until it is empty where no
	// budget delays it: the shortest of all, or the mean for an estimate.
	Boot, Drain time.Duration
	// BootFirst says that nothing may be drained before a replacement is Ready:
	// the group may have none unavailable.
	BootFirst bool
	// Budgets that select pods on the nodes to be replaced.
	Budgets []Budget
}

// Budget is a PodDisruptionBudget, with its pods on one group's old nodes.
type Budget struct {
	Name string // namespace/name; budgets of several groups are joined by it
	// Pods are to be moved, at most AtOnce at a time. AtOnce below 1 counts as 1.
	Pods, AtOnce int
	// Each is from an eviction until the budget allows the next one in its place.
	Each time.Duration
}

// Limit names what makes the lower bound as long as it is. The zero value:
// nothing does, because nothing is to be done.
type Limit struct {
	Object string // "group workers", "budget shop/cart", "2 groups at once"
	Units  string // what goes one after the other: "nodes", "pods", "groups"
	Count  int
	AtOnce int
	Each   time.Duration // 0: not all the same
	Takes  time.Duration
}

// String is one line for a person: "budget shop/cart: 30 pods, one at a time,
// 40s each: 20m0s".
func (l Limit) String() string {
	if l.Object == "" {
		return "nothing"
	}
	s := fmt.Sprintf("%s: %d %s, ", l.Object, l.Count, l.Units)
	if l.AtOnce == 1 {
		s += "one at a time"
	} else {
		s += fmt.Sprintf("%d at a time", l.AtOnce)
	}
	if l.Each > 0 {
		s += fmt.Sprintf(", %s each", l.Each.Round(100*time.Millisecond))
	}
	return s + fmt.Sprintf(": %s", l.Takes.Round(time.Second))
}

// Lower answers a time that no order of replacing the shape's nodes goes
// below, and what limits it. Groups that go one after the other add up; of
// those, the limit is what takes the largest part.
func Lower(s Shape) (time.Duration, Limit) {
	var sum time.Duration
	var largest Limit
	groups := 0
	for _, g := range s.Groups {
		l := g.lower()
		sum += l.Takes
		groups += min(g.Nodes, 1)
		largest = longer(largest, l)
	}
	if s.GroupsAtOnce <= 1 {
		return sum, largest
	}
	// In parallel: no shorter than the longest, than an even share of all, or than
	// the chain of a budget over all groups.
	for _, b := range joined(s.Groups) {
		largest = longer(largest, b.lower(0))
	}
	even := Limit{Object: fmt.Sprintf("%d groups at once", s.GroupsAtOnce), Units: "groups", Count: groups, AtOnce: s.GroupsAtOnce,
		Takes: sum / time.Duration(s.GroupsAtOnce)}
	largest = longer(largest, even)
	return largest.Takes, largest
}

// lower is the limit of one group by itself.
func (g Group) lower() Limit {
	if g.Nodes <= 0 {
		return Limit{}
	}
	l := chain(Limit{Object: "group " + g.Name, Units: "nodes", Count: g.Nodes, AtOnce: g.Slots, Each: g.Boot + g.Drain})
	first := time.Duration(0)
	if g.BootFirst {
		first = g.Boot
	}
	for _, b := range g.Budgets {
		l = longer(l, b.lower(first))
	}
	return l
}

func (b Budget) lower(first time.Duration) Limit {
	l := chain(Limit{Object: "budget " + b.Name, Units: "pods", Count: b.Pods, AtOnce: b.AtOnce, Each: b.Each})
	if b.Pods > 0 {
		l.Takes += first
	}
	return l
}

// chain fills in what a limit takes: as many rounds as its count needs.
func chain(l Limit) Limit {
	l.AtOnce = max(l.AtOnce, 1)
	l.Takes = time.Duration((max(l.Count, 0)+l.AtOnce-1)/l.AtOnce) * l.Each
	return l
}

// longer is the limit that takes more; the first, where they take the same.
func longer(a, b Limit) Limit {
	if b.Takes > a.Takes {
		return b
	}
	return a
}

// joined are the budgets of all groups, those of one name as one: it allows no
// more for being spread over groups.
func joined(groups []Group) []Budget {
	var all []Budget
	for _, g := range groups {
		for _, b := range g.Budgets {
			i := slices.IndexFunc(all, func(o Budget) bool { return o.Name == b.Name })
			if i < 0 {
				all = append(all, b)
				continue
			}
			o := &all[i]
			o.Pods += b.Pods
			o.AtOnce, o.Each = max(o.AtOnce, b.AtOnce), min(o.Each, b.Each)
		}
	}
	slices.SortFunc(all, func(a, b Budget) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
