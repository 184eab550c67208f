// Package fit tells whether the pods of nodes that are about to go would find
// room elsewhere. It is pure: it goes through a rotation in thought, window by
// window, and places each pod that leaves by the scheduler's required rules:
// requests, the number of pods, taints, node selectors, required node affinity,
// required pod affinity and anti-affinity, host ports, and the zone of volumes.
//
// Preferences, topology spread constraints, preemption and what an autoscaler
// would add are not looked at. A pod that is placed here has a place in a real
// cluster too as far as those rules go; one that is not may still find one by a
// better arrangement, or if fewer nodes go at a time, unless the verdict is
// certain: that takes a proof.
package fit

import (
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// Question is what a rotation is about to do with a cluster.
type Question struct {
	Nodes  []*model.Node
	Pods   []*model.Pod // in any order
	Groups []Group      // in the order in which they are visited
	// Leaves tells whether the pod, or another in its place, has to run on another node
	// once its own has gone: a drain moves it, mostly. Required.
	Leaves func(*model.Pod) bool
	// FirstWindow looks no further than the nodes that go first: what follows
	// depends on where pods will have landed.
	FirstWindow bool
	// AtOnce is how many groups are rotated in parallel; below 1: one.
	AtOnce int
}

// moves tells whether a drain moves the pod to another node: those of DaemonSets come with
// each node, also where a drain evicts them.
func (q *Question) moves(p *model.Pod) bool { return !q.everywhere(p) && q.Leaves(p) }

// everywhere tells whether each node has its own pod of this kind.
func (q *Question) everywhere(p *model.Pod) bool { return p.Mirror || p.Owner.Kind == kindDaemonSet }

// Group is one node group that is rotated.
type Group struct {
	Name  string
	Nodes []string // names of the nodes that go, in order
	// Offer is what a new node of the group offers; the zero value: as much as the
	// one that it replaces.
	Offer model.Resources
	// Lost are the labels that a new node of the group does not have.
	Lost []model.LostLabel
	// Surge and Unavailable are how many nodes come first, and how many may be
	// missing meanwhile. Their sum is the window.
	Surge, Unavailable int
	// Up is how many of the surge are among the nodes already: an earlier run left them.
	Up int
	// Canary tells whether the first node goes alone.
	Canary bool
}

// Verdict is the answer for one group.
type Verdict struct {
	Group string
	// Unknown says why nothing can be told; empty: the rest holds.
	Unknown string
	// Pods counts those that were placed or not, Unplaced those that found no
	// room, of which the first few are named.
	Pods, Unplaced int
	Named          []Unplaced
	// Certain tells whether it is proven that no order of the nodes and no
	// arrangement of the pods has room for all. Never with FirstWindow.
	Certain bool
	// Short says what the window lacks where the sum of what is asked for is more
	// than the sum of what is free, if all of its nodes go together: "cpu: 12.5 asked
	// for, 8 free".
	Short string
}

// Fits tells whether all pods found a place.
func (v *Verdict) Fits() bool { return v.Unknown == "" && v.Unplaced == 0 }

// Unplaced is a pod without a place.
type Unplaced struct {
	Pod  model.PodKey
	Node string // where it is now
	Why  string
}

// maxNamed bounds the pods that a verdict names.
const maxNamed = 5

// Check answers for each group, in order: the groups before it have been
// rotated by then.
func Check(q Question) []Verdict {
	s := newState(q)
	verdicts := make([]Verdict, 0, len(q.Groups))
	for i, g := range q.Groups {
		s.missing = nil
		v := s.group(g)
		v.Certain = len(s.missing) > 0 && !q.FirstWindow && impossible(q, i, s.missing)
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// state is the cluster as it would be.
type state struct {
	q       Question
	bins    []*bin // all nodes that there are
	byBin   map[string]*bin
	pods    map[string][]*model.Pod // by node name
	terms   *terms
	missing []*model.Pod // of the group that is gone through, found no place
	classes map[classKey]*class
	window  int // counts windows: failures of a class are remembered for one
	// full is, by what a pod asks for, how many bins from the end have no room for that:
	// within a window bins only get fuller.
	full map[plainRequest]int
}

// plainRequest is what most pods ask for: no extended resource.
type plainRequest struct{ milliCPU, memory, ephemeralStorage int64 }

func newState(q Question) *state {
	s := &state{q: q, byBin: make(map[string]*bin, len(q.Nodes)), pods: make(map[string][]*model.Pod, len(q.Nodes)),
		classes: map[classKey]*class{}}
	for _, n := range q.Nodes {
		b := newBin(n)
		s.bins = append(s.bins, b)
		s.byBin[b.name] = b
	}
	// The order of bins is the order in which they are tried.
	slices.SortFunc(s.bins, func(a, b *bin) int { return strings.Compare(a.name, b.name) })
	s.terms = findTerms(q.Pods)
	for _, p := range q.Pods {
		b := s.byBin[p.Node]
		if b == nil || p.Finished() {
			continue
		}
		s.pods[p.Node] = append(s.pods[p.Node], p)
		s.settle(p, b)
	}
	return s
}

// settle puts a pod on a bin, and lift takes it off.
func (s *state) settle(p *model.Pod, b *bin) { b.add(p); s.terms.note(s.class(p), b, 1) }
func (s *state) lift(p *model.Pod, b *bin)   { b.remove(p); s.terms.note(s.class(p), b, -1) }

// group goes through one group's rotation.
func (s *state) group(g Group) Verdict {
	v := Verdict{Group: g.Name}
	var old []*bin
	for _, name := range g.Nodes {
		if b := s.byBin[name]; b != nil && !b.gone {
			old = append(old, b)
		}
	}
	if g.Surge+g.Unavailable <= 0 || len(old) == 0 {
		return v // nothing goes
	}
	for _, b := range old {
		if !g.Offer.Known() && !b.offer.Known() {
			v.Unknown = "node " + b.name + " has not reported what it offers (status.allocatable), and neither has another node of its group"
			return v
		}
	}
	var waiting []*model.Pod // found no place in an earlier window
	up := min(g.Up, g.Surge)
	came := up + s.replace(g, old[:min(g.Surge-up, len(old))])
	for from := 0; from < len(old); {
		window := g.Surge + g.Unavailable
		if g.Canary && from == 0 {
			window = 1
		}
		going := old[from:min(from+window, len(old))]
		from += len(going)
		waiting = s.drain(&v, going, waiting)
		if s.q.FirstWindow {
			return v
		}
		// The group refills: as many come as went, up to its own size. The last of
		// them stand in for nodes that were replaced first.
		s.replace(g, old[min(came, len(old)):min(came+len(going), len(old))])
		came += len(going)
	}
	return v
}

// replace adds the replacements of nodes and returns how many.
func (s *state) replace(g Group, old []*bin) int {
	for _, b := range old {
		staying := s.staying(b.name)
		n := b.replacement(g.Offer, g.Lost, staying)
		s.bins = append(s.bins, n)
		b.heir = n
		for _, p := range staying {
			s.terms.note(s.class(p), n, 1)
		}
	}
	return len(old)
}

// staying are the pods that are no drain's business: each node has its own of
// these.
func (s *state) staying(node string) []*model.Pod {
	var list []*model.Pod
	for _, p := range s.pods[node] {
		if !s.q.moves(p) && !p.Terminating {
			list = append(list, p)
		}
	}
	return list
}

// drain places the pods of the nodes that go, after those that still wait, and
// returns what found no place.
func (s *state) drain(v *Verdict, going []*bin, waiting []*model.Pod) []*model.Pod {
	s.window++
	s.full = make(map[plainRequest]int)
	var moving []*model.Pod
	for _, b := range going {
		b.gone = true
	}
	for _, b := range going {
		for _, p := range b.pods {
			if s.q.moves(p) {
				moving = append(moving, p)
			}
		}
		for _, p := range slices.Clone(b.pods) {
			s.lift(p, b)
		}
	}
	s.bins = slices.DeleteFunc(s.bins, func(b *bin) bool { return b.gone })
	byWeight(moving, s.total())
	v.Pods += len(moving)
	all := slices.Concat(waiting, moving)
	if short := shortage(all, s.bins); v.Short == "" {
		v.Short = short
	}
	var left []*model.Pod
	for i, p := range all {
		b := s.place(p)
		if b != nil {
			s.settle(p, b)
			continue
		}
		left = append(left, p)
		if i < len(waiting) {
			continue // counted already
		}
		v.Unplaced++
		s.missing = append(s.missing, p)
		if len(v.Named) < maxNamed {
			v.Named = append(v.Named, Unplaced{Pod: p.PodKey, Node: p.Node, Why: s.why(p)})
		}
	}
	return left
}

// place finds the first bin that takes the pod: the replacement of its own
// node, where it fits as it did; then new nodes before old ones, as the
// scheduler prefers them during a rotation.
func (s *state) place(p *model.Pod) *bin {
	c := s.class(p)
	if own := s.byBin[p.Node]; own != nil && own.heir != nil && !own.heir.gone && s.takes(own.heir, p, c) {
		return own.heir
	}
	if c.failed == s.window && len(c.affinity) == 0 && !volumes(p) {
		return nil // one just like it found no place, and nothing got better since
	}
	for _, b := range slices.Backward(s.bins[:len(s.bins)-s.skip(p)]) { // those that came last are at the end
		if s.takes(b, p, c) {
			return b
		}
	}
	c.failed = s.window
	return nil
}

// skip is how many bins from the end have no room for what the pod asks for. In a
// cluster that is nearly full those are most, and there is a pod for each of them.
func (s *state) skip(p *model.Pod) int {
	r := requests(p)
	if len(r.Extended) > 0 {
		return 0
	}
	key := plainRequest{r.MilliCPU, r.Memory, r.EphemeralStorage}
	n := s.full[key]
	for n < len(s.bins) {
		if b := s.bins[len(s.bins)-1-n]; b.open && enough(b.free, r) {
			break
		}
		n++
	}
	s.full[key] = n
	return n
}

// takes tells whether the bin takes the pod now.
func (s *state) takes(b *bin, p *model.Pod, c *class) bool {
	return b.open && enough(b.free, requests(p)) && !b.taken(p) && b.objection(p, s.zone(p)) == "" && s.terms.objection(c, b) == ""
}

// zone is where the pod's volumes are, as far as that is known: where the pod
// is now; empty: anywhere. Volumes that can be reached from every zone are
// taken for zonal too: claims do not tell.
func (s *state) zone(p *model.Pod) string {
	if !volumes(p) {
		return ""
	}
	if b := s.byBin[p.Node]; b != nil {
		return b.zone
	}
	return ""
}

func volumes(p *model.Pod) bool { return p.Traits != nil && p.Traits.Volumes }

// Autoscaler names a running pod that adds nodes for pods that find no room;
// empty: none is known.
func Autoscaler(pods []*model.Pod) string {
	first := ""
	for _, p := range pods {
		if !p.Ready {
			continue
		}
		for _, key := range []string{"app.kubernetes.io/name", "app", "k8s-app"} {
			if v := p.Labels[key]; v == "karpenter" || strings.HasSuffix(v, "cluster-autoscaler") {
				if name := p.String(); first == "" || name < first {
					first = name
				}
			}
		}
	}
	return first
}
