// Package lookahead tells in which order the last nodes of a group end the soonest,
// where nodes that are drained together stand in each other's way under
// PodDisruptionBudgets. It plays the rest of the rotation through, in a model of it:
// slots that become free as replacements boot, and budgets that allow an eviction once
// the pod evicted before is Ready elsewhere.
//
// Everything here is pure, and bounded by the number of plays that it is given.
package lookahead

import (
	"cmp"
	"math"
	"time"
)

// Problem is what is left of a group's rotation. Moments are durations from now on.
type Problem struct {
	Budgets []Budget
	// Draining nodes come before all others, in the order in which they are served.
	Draining []Node
	// Waiting nodes are those to be ordered.
	Waiting []Node
	// Slots are when places for nodes become free. A node that is drained gives its
	// place back a boot later.
	Slots []time.Duration
	Boot  time.Duration
	// Canary: after the first node no other begins before its pods are healthy.
	Canary bool
	// Spare is, for each zone, how many nodes may go before only such zones are left
	// whose nodes must go last. Nodes of a zone that has spare ones go first.
	Spare []int
}

// Budget is a PodDisruptionBudget.
type Budget struct {
	// Opens are the moments at which it allows an eviction, one for each of those
	// that it allows at once, in order, none later than Round. At least one.
	Opens []time.Duration
	// Round is how long it takes after an eviction until it allows another instead.
	Round time.Duration
}

// Node is one that is or will be drained.
type Node struct {
	Loads []Load
	// Settle is how long the slowest of its pods takes to be Ready elsewhere.
	Settle time.Duration
	// Zone is its place in Spare.
	Zone int
	// Rank: nodes of a lower one go first.
	Rank int
}

// Load is what of a node's pods falls under one budget.
type Load struct{ Budget, Pods int }

// Ends tells for each node that waits when the rotation would end if that one went
// next, as far as a search of about so many plays finds: the shortest time over the orders
// of the others that it has tried. A node that may not go next, by its rank or its
// zone, has math.MaxInt64.
func (p *Problem) Ends(plays int) []time.Duration {
	ends := make([]time.Duration, len(p.Waiting))
	s := newSearch(p)
	first := s.mayGoFirst()
	each := plays / max(len(first), 1)
	for i := range ends {
		ends[i] = math.MaxInt64
	}
	for _, i := range first {
		ends[i] = s.improve(s.greedy(i), each)
	}
	return ends
}

// mayGoFirst are the nodes that rank and zones let go next.
func (s *search) mayGoFirst() []int {
	lowest := math.MaxInt
	for i := range s.Waiting {
		lowest = min(lowest, s.Waiting[i].Rank)
	}
	copy(s.left, s.Spare)
	var all, spare []int
	for i := range s.Waiting {
		if n := &s.Waiting[i]; n.Rank == lowest {
			if all = append(all, i); s.left[n.Zone] > 0 {
				spare = append(spare, i)
			}
		}
	}
	if len(spare) > 0 {
		return spare
	}
	return all
}

// search holds what its plays share.
type search struct {
	*Problem
	opens []ring
	slots []time.Duration
	left  []int
	went  []bool
}

// ring is when a budget opens, in order from the first. Since no drain begins before
// the one that was played last, what is taken opens again after all others.
type ring struct {
	at    []time.Duration
	first int
}

// take asks for an eviction at a moment, and tells when it is allowed.
func (r *ring) take(at, round time.Duration) time.Duration {
	evicted := max(at, r.at[r.first])
	r.at[r.first] = evicted + round
	if r.first++; r.first == len(r.at) {
		r.first = 0
	}
	return evicted
}

// outcome of a play: when all is over, and for how long in all nodes held places.
type outcome struct{ end, held time.Duration }

func (o outcome) less(b outcome) bool {
	if o.end != b.end {
		return o.end < b.end
	}
	return o.held < b.held
}

func newSearch(p *Problem) *search {
	s := &search{Problem: p, left: make([]int, len(p.Spare)), went: make([]bool, len(p.Waiting)), opens: make([]ring, len(p.Budgets)),
		slots: make([]time.Duration, 0, len(p.Slots)+len(p.Draining))}
	for i := range p.Budgets {
		s.opens[i].at = make([]time.Duration, len(p.Budgets[i].Opens))
	}
	return s
}

// begin sets everything to now.
func (s *search) begin() (o outcome) {
	for i := range s.Budgets {
		copy(s.opens[i].at, s.Budgets[i].Opens)
		s.opens[i].first = 0
	}
	copy(s.left, s.Spare)
	s.slots = append(s.slots[:0], s.Slots...)
	clear(s.went)
	for i := range s.Draining {
		empty, healthy := s.drain(&s.Draining[i], 0)
		s.slots = append(s.slots, empty+s.Boot)
		o.end = max(o.end, healthy)
	}
	return o
}

// drain plays the drain of a node that begins at a moment.
func (s *search) drain(n *Node, at time.Duration) (empty, healthy time.Duration) {
	empty, healthy = at, at+n.Settle
	for _, l := range n.Loads {
		opens, round := &s.opens[l.Budget], s.Budgets[l.Budget].Round
		for range l.Pods {
			evicted := opens.take(at, round)
			empty, healthy = max(empty, evicted), max(healthy, evicted+round)
		}
	}
	return empty, healthy
}

// place is the slot that is free first.
func (s *search) place() int {
	first := 0
	for i := range s.slots {
		if s.slots[i] < s.slots[first] {
			first = i
		}
	}
	return first
}

// take lets a node go in the place that is free first.
func (s *search) take(o outcome, i int, first bool) outcome {
	place := s.place()
	at := s.slots[place]
	n := &s.Waiting[i]
	s.went[i] = true
	s.left[n.Zone]--
	empty, healthy := s.drain(n, at)
	s.slots[place] = empty + s.Boot
	if first && s.Canary {
		for j := range s.slots {
			s.slots[j] = max(s.slots[j], healthy)
		}
	}
	return outcome{max(o.end, healthy), o.held + empty - at}
}

// play plays an order, in which nodes stand by their ranks. What zones do not let go
// next waits behind the others.
func (s *search) play(order []int) outcome {
	o := s.begin()
	for k := range order {
		o = s.take(o, s.allowed(order), k == 0)
	}
	return o
}

// allowed is the first node of an order that has not gone, or of those of its rank the
// first that its zone lets go.
func (s *search) allowed(order []int) int {
	any := -1
	for _, i := range order {
		switch n := &s.Waiting[i]; {
		case s.went[i]:
		case any >= 0 && n.Rank != s.Waiting[any].Rank:
			return any
		case s.left[n.Zone] > 0:
			return i
		case any < 0:
			any = i
		}
	}
	return any
}

// greedy makes an order that begins with a node: each time goes who is empty the
// soonest, of several such who has the most pods under budgets.
func (s *search) greedy(first int) []int {
	o := s.begin()
	o = s.take(o, first, true)
	order := []int{first}
	for len(order) < len(s.Waiting) {
		best, bestEmpty, bestPods := -1, time.Duration(0), 0
		at := s.slots[s.place()]
		for i := range s.Waiting {
			if s.went[i] || !s.fits(i) {
				continue
			}
			empty, pods := s.look(&s.Waiting[i], at)
			if best < 0 || cmp.Or(cmp.Compare(empty, bestEmpty), cmp.Compare(bestPods, pods)) < 0 {
				best, bestEmpty, bestPods = i, empty, pods
			}
		}
		o = s.take(o, best, false)
		order = append(order, best)
	}
	return order
}

// fits tells whether rank and zones let a node go next.
func (s *search) fits(i int) bool {
	spare := false
	for j := range s.Waiting {
		if n := &s.Waiting[j]; !s.went[j] {
			if n.Rank < s.Waiting[i].Rank {
				return false
			}
			spare = spare || n.Rank == s.Waiting[i].Rank && s.left[n.Zone] > 0
		}
	}
	return !spare || s.left[s.Waiting[i].Zone] > 0
}

// look tells when a node would be empty, roughly, and how many pods it has under budgets.
func (s *search) look(n *Node, at time.Duration) (empty time.Duration, pods int) {
	empty = at
	for _, l := range n.Loads {
		opens := &s.opens[l.Budget]
		rounds := (l.Pods - 1) / len(opens.at)
		empty = max(empty, max(at, opens.at[opens.first])+time.Duration(rounds)*s.Budgets[l.Budget].Round)
		pods += l.Pods
	}
	return empty, pods
}

// improve exchanges nodes of an order, but for its first, as long as that helps.
func (s *search) improve(order []int, plays int) time.Duration {
	best := s.play(order)
	n := len(order)
	for better := true; better && plays > 0; {
		better = false
		for i := 1; i < n && plays > 0; i++ {
			for j := i + 1; j < n && plays > 0; j++ {
				if s.Waiting[order[i]].Rank != s.Waiting[order[j]].Rank {
					break // those of a rank stand together
				}
				plays--
				order[i], order[j] = order[j], order[i]
				if o := s.play(order); o.less(best) {
					best, better = o, true
				} else {
					order[i], order[j] = order[j], order[i]
				}
			}
		}
	}
	return best.end
}
