package fit

import (
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// A walk through the rotation that finds no room for a pod proves nothing: it takes
// a whole window at once, in one order, and puts each pod on the first node that
// takes it. The engine takes one node at a time where that helps, and the scheduler
// may choose other nodes. So a plan is refused on a proof only. There are three:
//
//   - a pod that no other node takes at any time, however empty;
//   - pods that ask for more, together, than the nodes that they may be on offer
//     while one node of the group is away, whichever node they are on by then;
//   - no node of the group can be the first to go: for each, its pods find no room
//     among those that are there then.
//
// Where something is not known, it is taken to be as good as it can be: pods that
// may end by themselves (of Jobs, or terminating) and those that make room for any
// other (with a negative priority) ask for nothing; a pod may displace others of
// less priority; nodes that are rotated before or beside the group are empty, and of
// the larger of their old and new sizes; taints that come and go are not there.

const (
	// maxProof bounds the questions that one group's proof may ask, each of which
	// takes some 100 ns: what is not proven by then is not certain.
	maxProof = 3_000_000
	// maxTries bounds the arrangements of one node's pods that are tried.
	maxTries = 5000
	// maxSets bounds the kinds of pods the sums of whose nodes are looked at: those
	// that weigh most come first.
	maxSets = 16
)

// prover looks for a proof that a group cannot be rotated.
type prover struct {
	q     Question
	s     *state          // the cluster as it is, with the pods that last
	of    map[*bin]int    // by node: the place of its group among those that are rotated
	heirs map[*bin][]*bin // what may come in a node's place
	least int32           // the least priority of all pods
	at    int             // the group's place
	old   []*bin          // its nodes
	// settled counts pods of the nodes that stay, by what they have to do with a term
	// that looks beyond the node, and by domain.
	settled map[domainKey]int
	places  []*place
	others  map[fitKey][]*place
	work    int
}

// place is where a pod may be while a node of the group is away: a node, or
// several of the surge.
type place struct {
	node *bin // nil: of the surge
	// now is what may be there when the first node of the group goes, ever what may be
	// there while one goes, last what may be there once all have: the node, or one that
	// comes for it. Each is one of several cases.
	now, ever, last []*bin
	count           int
}

// fitKey is what pods have in common that the same places take.
type fitKey struct {
	class    *class
	priority int32
	zone     string // where their volumes are
	from     string // their node, where that matters
	when     when
}

func (pr *prover) key(p *model.Pod) fitKey {
	k := fitKey{class: pr.s.class(p), priority: p.Priority, zone: pr.s.zone(p)}
	if k.class.wide() {
		k.from = p.Node
	}
	return k
}

type domainKey struct {
	term   *term
	holds  bool // pods that have the term; else those that it selects
	domain string
}

// lasts tells whether a pod is there to stay, and has a right to a place.
func lasts(p *model.Pod) bool {
	return !p.Finished() && !p.Terminating && p.Owner.Kind != "Job" && p.Priority >= 0
}

// impossible tells whether the group cannot be rotated without a pod that finds no
// room, for certain. unplaced are those that the walk found no place for.
func impossible(q Question, at int, unplaced []*model.Pod) bool {
	pr := newProver(q, at)
	unplaced = slices.DeleteFunc(slices.Clone(unplaced), func(p *model.Pod) bool { return !lasts(p) })
	if len(unplaced) == 0 {
		return false
	}
	// One of each kind stands for all of it.
	kinds := map[fitKey]bool{}
	unplaced = slices.DeleteFunc(unplaced, func(p *model.Pod) bool {
		key := pr.key(p)
		known := kinds[key]
		kinds[key] = true
		return known
	})
	sets := pr.sets(unplaced)
	return slices.ContainsFunc(sets, pr.tooMany) || slices.ContainsFunc(unplaced, pr.nowhere) ||
		!slices.ContainsFunc(pr.old, func(b *bin) bool { return pr.mayBegin(b, sets) })
}

func newProver(q Question, at int) *prover {
	all := q.Pods
	q.Pods = nil
	for _, p := range all {
		if lasts(p) {
			q.Pods = append(q.Pods, p)
		}
	}
	pr := &prover{q: q, s: newState(q), at: at, of: map[*bin]int{}, heirs: map[*bin][]*bin{}, settled: map[domainKey]int{}, others: map[fitKey][]*place{}}
	for _, p := range q.Pods {
		pr.least = min(pr.least, p.Priority)
	}
	for _, b := range pr.s.bins {
		b.taints = lasting(b.taints)
	}
	for i, g := range q.Groups {
		var nodes []*bin
		for _, name := range g.Nodes {
			if b := pr.s.byBin[name]; b != nil {
				nodes = append(nodes, b)
				pr.of[b] = i
			}
		}
		pr.inherit(nodes, largest(g.Offer, nodes), g.Lost)
		if i == at {
			pr.old = nodes
		}
	}
	pr.settle()
	pr.arrange()
	return pr
}

// inherit says what may come in the place of a group's nodes: one like the old node,
// or like another of the group, in its zone.
func (pr *prover) inherit(nodes []*bin, offer model.Resources, lost []model.LostLabel) {
	var kinds []*bin
	for _, b := range nodes {
		like := b.offer
		if offer.Known() {
			like = offer
		}
		own := b.replacement(like, lost, pr.comesWith(b))
		pr.heirs[b] = []*bin{own}
		if !slices.ContainsFunc(kinds, func(k *bin) bool { return k.zone == own.zone && slices.Equal(k.taints, own.taints) }) {
			kinds = append(kinds, own)
		}
	}
	for _, b := range nodes {
		pr.heirs[b] = append(pr.heirs[b], kinds...)
	}
}

// settle counts the pods of the nodes that stay.
func (pr *prover) settle() {
	for _, b := range pr.s.bins {
		if !pr.stays(b) {
			continue
		}
		for _, p := range b.pods {
			c := pr.s.class(p)
			for _, t := range c.selected {
				if d, ok := b.label(t.TopologyKey); ok && t.wide() {
					pr.settled[domainKey{t, false, d}]++
				}
			}
			for _, t := range c.anti {
				if d, ok := b.label(t.TopologyKey); ok && t.wide() {
					pr.settled[domainKey{t, true, d}]++
				}
			}
		}
	}
}

// wide tells whether a term looks beyond the node.
func (t *term) wide() bool { return t.anti && t.TopologyKey != labelHostname }

// largest is what a new node of a group may offer at best: what one was seen to,
// and where its old nodes differ in size, as much as the largest of them. The zero
// value: as much as the one that it replaces.
func largest(offer model.Resources, nodes []*bin) model.Resources {
	differ := slices.ContainsFunc(nodes, func(b *bin) bool { return b.offer.MilliCPU != nodes[0].offer.MilliCPU })
	if !differ {
		return offer
	}
	for _, b := range nodes {
		offer = Most(offer, b.offer)
	}
	return offer
}

// comesWith are the pods that a node's replacement has from the start.
func (pr *prover) comesWith(b *bin) []*model.Pod {
	var list []*model.Pod
	for _, p := range b.pods {
		if pr.q.everywhere(p) {
			list = append(list, p)
		}
	}
	return list
}

// changes tells whether a node may have been replaced when the group's turn comes.
func (pr *prover) changes(b *bin) bool {
	i, rotated := pr.of[b]
	return rotated && i != pr.at && (i < pr.at || pr.q.AtOnce > 1)
}

// stays tells whether a node and its pods are the same for all of the group's turn.
func (pr *prover) stays(b *bin) bool {
	i, rotated := pr.of[b]
	return !rotated || i > pr.at && pr.q.AtOnce <= 1
}

// arrange lists the places.
func (pr *prover) arrange() {
	for _, b := range pr.s.bins {
		self := []*bin{b}
		p := &place{node: b, now: self, ever: self, last: self, count: 1}
		switch {
		case pr.changes(b):
			p.now = append(self, pr.heirs[b]...)
			p.ever, p.last = p.now, p.now
		case !pr.stays(b): // one of the group
			p.ever, p.last = append(self, pr.heirs[b]...), pr.heirs[b]
		}
		pr.places = append(pr.places, p)
	}
	for i, g := range pr.q.Groups {
		if g.Surge <= 0 || i != pr.at && pr.q.AtOnce <= 1 {
			continue
		}
		p := &place{count: g.Surge}
		for _, name := range g.Nodes {
			if b := pr.s.byBin[name]; b != nil {
				p.now = append(p.now, pr.heirs[b][0])
			}
		}
		if p.ever = p.now; i != pr.at {
			p.last = p.now
		}
		pr.places = append(pr.places, p)
	}
}

// when is a moment of the group's turn.
type when int

const (
	first   when = iota // its first node goes
	anytime             // one of them does
	last                // all have gone, the surge too
)

func (at *place) cases(w when) []*bin {
	switch w {
	case first:
		return at.now
	case last:
		return at.last
	case anytime:
	}
	return at.ever
}

// allows tells whether a pod may be in a place, whatever else is there.
func (pr *prover) allows(at *place, p *model.Pod, w when) bool {
	zone := pr.s.zone(p)
	return slices.ContainsFunc(at.cases(w), func(b *bin) bool {
		pr.work++
		return b.open && b.objection(p, zone) == ""
	})
}

// another tells whether some place but its own node has room for a pod, as the only one
// that moves.
func (pr *prover) another(p *model.Pod, w when) bool {
	key := pr.key(p)
	key.when = w
	list, known := pr.others[key]
	if !known {
		for _, at := range pr.places {
			if pr.work >= maxProof {
				return true // it gives up
			}
			if pr.takes(at, p, w) {
				if list = append(list, at); len(list) == 2 {
					break // one of the two is not the node of whoever asks
				}
			}
		}
		pr.others[key] = list
	}
	return slices.ContainsFunc(list, func(at *place) bool {
		// Its own node is none, and what comes for it comes too late; once all have gone, it is there.
		return w == last || at.node == nil || at.node.name != p.Node
	})
}

// takes tells whether a place has room for a pod, as the only one that moves there.
func (pr *prover) takes(at *place, p *model.Pod, w when) bool {
	c, zone := pr.s.class(p), pr.s.zone(p)
	return slices.ContainsFunc(at.cases(w), func(b *bin) bool {
		pr.work++
		return b.open && b.objection(p, zone) == "" && enough(pr.room(b, p.Priority), requests(p)) &&
			!pr.keptAway(b, b.pods, p, c) && !pr.keptOut(b, p, c, w)
	})
}

// room is what a node has for a pod that may displace those of less priority.
func (pr *prover) room(b *bin, priority int32) model.Resources {
	free := b.free
	if priority > pr.least {
		pr.work += len(b.pods)
		for _, o := range b.pods {
			if o.Priority < priority {
				free = plus(free, requests(o))
			}
		}
	}
	return free
}

// keptAway tells whether a pod of the node keeps p from it: by its host port, or by
// the anti-affinity of either.
func (pr *prover) keptAway(b *bin, others []*model.Pod, p *model.Pod, c *class) bool {
	ports := p.Traits != nil && len(p.Traits.HostPorts) > 0
	if !ports && len(c.anti) == 0 && !slices.ContainsFunc(c.selected, func(t *term) bool { return t.anti }) {
		return false
	}
	pr.work += len(others)
	for _, o := range others {
		if o.Priority < p.Priority {
			continue
		}
		if ports && o.Traits != nil && slices.ContainsFunc(o.Traits.HostPorts, func(port string) bool { return slices.Contains(p.Traits.HostPorts, port) }) {
			return true
		}
		if len(c.affinity) == 0 && apartBy(b, c, pr.s.class(o)) {
			return true
		}
	}
	return false
}

// apartBy tells whether pods of two classes may not be on one node.
func apartBy(b *bin, x, y *class) bool {
	holds := func(t *term, other *class) bool {
		_, ok := b.label(t.TopologyKey)
		return ok && slices.Contains(other.selected, t)
	}
	return slices.ContainsFunc(x.anti, func(t *term) bool { return holds(t, y) }) ||
		slices.ContainsFunc(y.anti, func(t *term) bool { return holds(t, x) })
}

// keptOut tells whether pods of other nodes in the same domain, such as a zone, keep p
// out of it by anti-affinity: those that stay where they are, and as long as the nodes
// of the group go one by one and none has gone, all others too.
func (pr *prover) keptOut(b *bin, p *model.Pod, c *class, w when) bool {
	if !c.wide() || len(c.affinity) > 0 {
		return false
	}
	g := pr.q.Groups[pr.at]
	all := w == first && pr.at == 0 && pr.q.AtOnce <= 1 && g.Surge+g.Unavailable == 1
	home := pr.s.byBin[p.Node]
	there := func(t *term, holds bool, of func(*class) []*term) bool {
		d, ok := b.label(t.TopologyKey)
		if !ok || !t.wide() {
			return false
		}
		n := pr.settled[domainKey{t, holds, d}]
		if all {
			if n = t.selected[d]; holds {
				n = t.holders[d]
			}
		}
		if n == 0 {
			return false
		}
		pr.work += len(home.pods) + len(b.pods)
		if own, ok := home.label(t.TopologyKey); ok && own == d && all { // those of its node move, too
			for _, o := range home.pods {
				if slices.Contains(of(pr.s.class(o)), t) {
					n--
				}
			}
		}
		if !b.fresh && (all || pr.stays(b)) { // it may displace others from the node
			for _, o := range b.pods {
				if o.Priority < p.Priority && slices.Contains(of(pr.s.class(o)), t) {
					n--
				}
			}
		}
		return n > 0
	}
	return slices.ContainsFunc(c.anti, func(t *term) bool { return there(t, false, func(c *class) []*term { return c.selected }) }) ||
		slices.ContainsFunc(c.selected, func(t *term) bool { return there(t, true, func(c *class) []*term { return c.anti }) })
}

// wide tells whether a term that looks beyond the node concerns the class.
func (c *class) wide() bool {
	return slices.ContainsFunc(c.anti, (*term).wide) || slices.ContainsFunc(c.selected, (*term).wide)
}

// nowhere proves that no other node takes the pod at any time, or none once all nodes
// of the group have gone.
func (pr *prover) nowhere(p *model.Pod) bool { return !pr.another(p, anytime) || !pr.another(p, last) }

// set is a set of places, and tells which pods may be in these only.
type set struct {
	in   map[*place]bool
	only map[fitKey]bool // memo
	top  int32           // the highest priority of these pods: they may displace others
}

// sets are those that the pods may be in, each once.
func (pr *prover) sets(pods []*model.Pod) []*set {
	var list []*set
	for _, p := range pods[:min(len(pods), maxSets)] {
		n := &set{in: map[*place]bool{}, only: map[fitKey]bool{}}
		for _, at := range pr.places {
			if pr.allows(at, p, anytime) {
				n.in[at] = true
			}
		}
		if !slices.ContainsFunc(list, func(o *set) bool { return equal(o.in, n.in) }) {
			list = append(list, n)
		}
	}
	for _, n := range list {
		for _, p := range pr.q.Pods {
			if p.Priority > n.top && pr.holds(n, p) {
				n.top = p.Priority
			}
		}
	}
	return list
}

func equal(a, b map[*place]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

// holds tells whether a pod may be in places of the set only.
func (pr *prover) holds(n *set, p *model.Pod) bool {
	key := fitKey{class: pr.s.class(p), zone: pr.s.zone(p)} // the rest says nothing of where
	only, ok := n.only[key]
	if !ok {
		only = !slices.ContainsFunc(pr.places, func(at *place) bool { return !n.in[at] && pr.allows(at, p, anytime) })
		n.only[key] = only
	}
	return only
}

// tooMany proves that the pods of a set do not fit into it while the largest node of the
// group is away, or once all of them have gone, whichever node each pod is on by then.
func (pr *prover) tooMany(n *set) bool {
	var asked, offered, away, end model.Resources
	for _, at := range pr.places {
		if at.node == nil {
			if n.in[at] {
				offered = plus(offered, times(best(at.ever), at.count))
				end = plus(end, times(best(at.last), at.count))
			}
			continue
		}
		var mine, fixed model.Resources // of the pods that the set holds, and of others that stay
		pr.work += len(at.node.pods)
		for _, p := range at.node.pods {
			switch {
			case pr.q.everywhere(p):
				fixed = plus(fixed, requests(p))
			case pr.holds(n, p):
				mine = plus(mine, requests(p))
			case pr.stays(at.node) && p.Priority >= n.top:
				fixed = plus(fixed, requests(p))
			}
		}
		i, rotated := pr.of[at.node]
		ours := rotated && i == pr.at
		if n.in[at] || ours {
			asked = plus(asked, mine)
		}
		if !n.in[at] {
			continue
		}
		old := mine // a node that is overcommitted keeps what it has
		if at.node.open {
			old = Most(old, positive(minus(at.node.offer, fixed)))
		}
		heirs := best(pr.heirs[at.node])
		switch {
		case ours:
			offered, end = plus(offered, Most(old, heirs)), plus(end, heirs)
			away = Most(away, Most(old, heirs))
		case pr.changes(at.node):
			offered, end = plus(offered, Most(old, heirs)), plus(end, Most(old, heirs))
		default:
			offered, end = plus(offered, old), plus(end, old)
		}
	}
	return lack(minus(offered, away), asked) != "" || lack(end, asked) != ""
}

// best is the most that one of several nodes has free.
func best(cases []*bin) model.Resources {
	var free model.Resources
	for _, b := range cases {
		free = Most(free, positive(b.free))
	}
	return free
}

// mayBegin tells whether a node of the group may be the first to go: nothing proves
// that its pods find no room then.
func (pr *prover) mayBegin(b *bin, sets []*set) bool {
	if pr.work >= maxProof {
		return true
	}
	var moving []*model.Pod
	var priority int32
	for _, p := range b.pods {
		if pr.q.moves(p) {
			moving = append(moving, p)
			priority = max(priority, p.Priority)
		}
	}
	if slices.ContainsFunc(moving, func(p *model.Pod) bool { return !pr.another(p, first) }) {
		return false
	}
	free := make([]model.Resources, len(pr.places)) // at best, and at most
	for i, at := range pr.places {
		for _, c := range at.now {
			if at.node != b && c.open {
				free[i] = Most(free[i], positive(pr.room(c, priority)))
			}
		}
	}
	for _, n := range sets {
		var asked, offered model.Resources
		for _, p := range moving {
			if pr.holds(n, p) {
				asked = plus(asked, requests(p))
			}
		}
		for i, at := range pr.places {
			if n.in[at] {
				offered = plus(offered, times(free[i], at.count))
			}
		}
		if lack(offered, asked) != "" {
			return false
		}
	}
	return pr.arrangeable(b, moving, free)
}

// arrangeable tries to put all pods somewhere at once. True: they fit, or it gave up.
func (pr *prover) arrangeable(b *bin, moving []*model.Pod, free []model.Resources) bool {
	type slot struct {
		at   *place
		free model.Resources
		pods []*model.Pod
	}
	var slots []*slot
	var total model.Resources
	for i, at := range pr.places {
		if at.node == b {
			continue
		}
		for range min(at.count, len(moving)) {
			slots = append(slots, &slot{at: at, free: free[i]})
			total = plus(total, free[i])
		}
	}
	byWeight(moving, total)
	tries := 0
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(moving) {
			return true
		}
		p := moving[i]
		c := pr.s.class(p)
		for _, s := range slots {
			if tries++; tries > maxTries || pr.work >= maxProof {
				return true
			}
			if !enough(s.free, requests(p)) || !pr.takes(s.at, p, first) || pr.keptAway(s.at.now[0], s.pods, p, c) {
				continue
			}
			before := s.free
			s.free, s.pods = minus(s.free, requests(p)), append(s.pods, p)
			if try(i + 1) {
				return true
			}
			s.free, s.pods = before, s.pods[:len(s.pods)-1]
		}
		return false
	}
	return try(0)
}
