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
