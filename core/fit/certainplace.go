package fit

import (
	"slices"

	"github.com/rotatord/rotator/core/model"
)

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
