package estimate

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// tour is the walk through one group.
type tour struct {
	g     *Group
	start time.Duration
	slots *turns
	lots  []*lot
	left  int
	// slotTime is what the slots take for all nodes, one after the other.
	slotTime time.Duration

	end, waveEnd, lastDrain time.Duration
	inWave                  int
}

// lot is the nodes that have a budget in common: of their pods' budgets the one with
// the longest chain of evictions. The engine has those go one after the other, the
// longest chain first, and fills the gaps with others.
type lot struct {
	budget *model.Budget // nil: none
	chain  time.Duration
	nodes  []*Node // that are left, in order
}

// all walks through all groups and returns the end and each group's time. What
// happens in groups that go in parallel happens in the order of time, since they share
// budgets.
func (r *run) all() (time.Duration, []Part) {
	var waiting []*Group
	for i := range r.in.Groups {
		if g := &r.in.Groups[i]; len(g.Nodes) > 0 && g.atOnce() > 0 {
			waiting = append(waiting, g)
		}
	}
	chains := r.chains(waiting)
	var going, done []*tour
	begin := func(at time.Duration) {
		if len(waiting) > 0 {
			going = append(going, r.begin(waiting[0], at, chains))
			waiting = waiting[1:]
		}
	}
	for range max(r.in.GroupsAtOnce, 1) {
		begin(0)
	}
	var end time.Duration
	for len(going) > 0 {
		t := slices.MinFunc(going, func(a, b *tour) int { return cmp.Compare(a.slots.free[0], b.slots.free[0]) })
		if r.next(t); t.left > 0 {
			continue
		}
		going = slices.DeleteFunc(going, func(o *tour) bool { return o == t })
		done = append(done, t)
		end = max(end, t.end)
		begin(t.end)
	}
	slices.SortStableFunc(done, func(a, b *tour) int { return cmp.Compare(a.start, b.start) })
	parts := make([]Part, len(done))
	for i, t := range done {
		parts[i] = r.part(t)
	}
	return end, parts
}

func (r *run) part(t *tour) Part {
	g := t.g
	p := Part{Name: g.Name, Seconds: (t.end - t.start).Seconds(), AtOnce: g.atOnce(), BootSeconds: r.of(r.h.bootOf(g.ID)).Seconds()}
	if g.Wave > 0 {
		rest := len(g.Nodes)
		if r.in.Canary && rest > 1 {
			p.Waves, rest = 1, rest-1
		}
		p.Waves += (rest + g.atOnce() - 1) / g.atOnce()
	}
	return p
}

// chains is how long the evictions under each budget take, one after the other.
func (r *run) chains(groups []*Group) map[*model.Budget]time.Duration {
	sum := map[*model.Budget]time.Duration{}
	for _, g := range groups {
		for i := range g.Nodes {
			for j := range g.Nodes[i].Pods {
				if p := &g.Nodes[i].Pods[j]; p.Budget != nil {
					sum[p.Budget] += r.away(p) / time.Duration(atOnce(p.Budget))
				}
			}
		}
	}
	return sum
}

// begin starts a group.
func (r *run) begin(g *Group, at time.Duration, chains map[*model.Budget]time.Duration) *tour {
	t := &tour{g: g, start: at, slots: &turns{}, left: len(g.Nodes),
		slotTime: r.boot(g) * time.Duration((len(g.Nodes)+g.atOnce()-1)/g.atOnce())}
	for i := range g.atOnce() {
		free := at
		if i < g.Surge {
			free += r.boot(g) // extra nodes come first
		}
		t.slots.give(free)
	}
	lots := map[*model.Budget]*lot{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		var key *model.Budget
		for j := range n.Pods {
			if b := n.Pods[j].Budget; b != nil && (key == nil || chains[b] > chains[key]) {
				key = b
			}
		}
		if lots[key] == nil {
			lots[key] = &lot{budget: key, chain: chains[key]}
			t.lots = append(t.lots, lots[key])
		}
		lots[key].nodes = append(lots[key].nodes, n)
	}
	slices.SortStableFunc(t.lots, func(a, b *lot) int { return cmp.Compare(b.chain, a.chain) })
	return t
}

// pick takes the node that goes next: of the longest chain whose budget is open, else
// one without a budget, else the one that waits the least. The nodes of a chain that
// takes nearly as long as all slots do may wait in theirs for up to half a boot.
func (r *run) pick(t *tour, at time.Duration) *Node {
	boot := r.boot(t.g)
	var best *lot
	var least time.Duration
	for _, l := range t.lots {
		wait := time.Duration(0)
		if l.budget != nil {
			wait = max(r.turnsOf(l.budget).free[0]-at, 0)
			if 3*l.chain >= 2*t.slotTime && wait <= boot/2 {
				wait = 0
			}
		}
		if best == nil || wait < least {
			best, least = l, wait
		}
		if wait == 0 {
			break
		}
	}
	n := best.nodes[0]
	if best.nodes = best.nodes[1:]; len(best.nodes) == 0 {
		t.lots = slices.DeleteFunc(t.lots, func(l *lot) bool { return l == best })
	}
	return n
}

// next has the next node of a group go. A slot is held from a drain's start until the
// next node may go: its replacement is Ready, and its pods are.
func (r *run) next(t *tour) {
	g, boot := t.g, r.boot(t.g)
	gone := r.of(r.h.bootOf(g.ID)) / endShare
	index := len(g.Nodes) - t.left
	t.left--
	canary := index == 0 && r.in.Canary && len(g.Nodes) > 1
	at := t.slots.take(0)
	if r.in.Gap > 0 && index > 0 {
		at = max(at, t.lastDrain+r.in.Gap)
	}
	empty, healthy := r.drain(r.pick(t, at), at)
	t.lastDrain = empty
	after := max(empty+boot, healthy)
	t.end = max(t.end, healthy, empty+gone)
	// The last nodes need no replacement where those came first.
	if index < len(g.Nodes)-g.Surge {
		t.end = max(t.end, after)
	}
	t.slots.give(after)
	switch {
	case canary:
		t.slots.wait(max(empty, healthy) + r.in.Bake)
	case g.Wave > 0:
		t.waveEnd = max(t.waveEnd, after)
		if t.inWave++; t.inWave == g.atOnce() {
			t.slots.wait(t.waveEnd + r.in.Pause)
			t.inWave = 0
		}
	}
}

// drain returns when the node is empty, and when its pods are Ready elsewhere.
func (r *run) drain(n *Node, at time.Duration) (empty, healthy time.Duration) {
	empty, healthy = at, at
	for _, last := range []bool{false, true} {
		from := empty
		for i := range n.Pods {
			p := &n.Pods[i]
			if p.Last != last {
				continue
			}
			evicted := from
			if p.Budget != nil {
				t := r.turnsOf(p.Budget)
				evicted = t.take(from)
				t.give(evicted + r.away(p))
			}
			empty = max(empty, evicted+r.stop(p))
			healthy = max(healthy, evicted+r.away(p))
		}
	}
	return max(empty, at+shortestDrain), healthy
}
