package fit

import (
	"slices"

	"github.com/rotatord/rotator/core/model"
)

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
