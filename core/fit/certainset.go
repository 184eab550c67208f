package fit

import (
	"slices"

	"github.com/rotatord/rotator/core/model"
)

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
