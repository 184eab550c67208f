package fit

import (
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// Homes tells which pods have no node left that they may be on, once nodes have
// been replaced by others that lack some of their labels. It looks at what lasts:
// taints, node selectors, required node affinity and the zone of volumes; not at
// room, nor at whether a node takes pods now. A pod that it calls homeless stays
// Pending whatever is added, unless somebody adds a node with those labels.
//
// It is for one state of the nodes, and for one goroutine.
type Homes struct {
	bins map[string]*lodging // by node name
	// sorted and going are the bins in the order of names: all, and those that lose a
	// label.
	sorted, going []*lodging
	// Pods of one template share their traits: what was found for one holds for all.
	elsewhere map[homeKey]bool              // some node will do
	hoped     map[*model.PodTraits]*lodging // by pods without a node: the first going one that would do; nil: none
}

// lodging is a node as it is, and as its replacement will be.
type lodging struct {
	was, will *bin // the same, where it stays or loses nothing
	lost      []model.LostLabel
}

// Homeless says what keeps a pod away from all nodes that there will be; the zero
// value: nothing.
type Homeless struct {
	Node   string // the one that goes, and that it could be on
	Labels []model.LostLabel
}

// Yes tells whether the pod has no node left.
func (h Homeless) Yes() bool { return h.Node != "" }

type homeKey struct {
	traits *model.PodTraits
	zone   string
}

// NewHomes looks at the nodes. Lost returns what the replacement of a node will not
// carry; nil: the node stays, or its replacement is just like it.
func NewHomes(nodes []*model.Node, lost func(*model.Node) []model.LostLabel) *Homes {
	h := &Homes{bins: make(map[string]*lodging, len(nodes)), elsewhere: map[homeKey]bool{}, hoped: map[*model.PodTraits]*lodging{}}
	for _, n := range nodes {
		was := newBin(n)
		was.taints = lasting(was.taints)
		l := &lodging{was: was, will: was}
		for _, x := range lost(n) {
			if x.In(n.Labels) {
				l.lost = append(l.lost, x)
			}
		}
		if len(l.lost) > 0 {
			l.will = was.relabelled(l.lost)
			h.going = append(h.going, l)
		}
		h.bins[n.Name] = l
		h.sorted = append(h.sorted, l)
	}
	byName := func(a, b *lodging) int { return strings.Compare(a.was.name, b.was.name) }
	slices.SortFunc(h.sorted, byName)
	slices.SortFunc(h.going, byName)
	return h
}

// Knows tells whether the node was among those that were looked at.
func (h *Homes) Knows(node string) bool { return h.bins[node] != nil }

// relabelled is the bin without the labels.
func (b *bin) relabelled(lost []model.LostLabel) *bin {
	n := *b
	n.labels = model.Relabel(b.labels, lost)
	return &n
}

// untainted is the bin without taints.
func (b *bin) untainted() *bin {
	n := *b
	n.taints = nil
	return &n
}

// Homeless tells whether a pod has no node left. A DaemonSet's asks for a place on
// the replacement of its own node. Pods that nobody makes again are the caller's
// business.
func (h *Homes) Homeless(p *model.Pod) Homeless {
	t := p.Traits
	if len(h.going) == 0 || t == nil || len(t.NodeSelector)+len(t.NodeAffinity) == 0 {
		return Homeless{}
	}
	own := h.bins[p.Node]
	if p.Node == "" {
		own = h.hope(p)
	}
	if own == nil || len(own.lost) == 0 {
		return Homeless{} // it can stay where it is
	}
	zone := ""
	if volumes(p) && p.Node != "" {
		zone = own.was.zone
	}
	if p.Owner.Kind == kindDaemonSet {
		// Its controller gives each of its pods a node by name, in place of the
		// affinity of its template.
		q, traits := *p, *t
		traits.NodeAffinity = nil
		q.Traits = &traits
		return own.homeless(&q, zone)
	}
	v := own.homeless(p, zone)
	if v.Yes() && h.other(p, zone) {
		return Homeless{}
	}
	return v
}

// hope is the first node that goes and that a pod without a node could be on; nil:
// there is none.
func (h *Homes) hope(p *model.Pod) *lodging {
	l, ok := h.hoped[p.Traits]
	if !ok {
		if i := slices.IndexFunc(h.going, func(l *lodging) bool { return l.was.objection(p, "") == "" }); i >= 0 {
			l = h.going[i]
		}
		h.hoped[p.Traits] = l
	}
	return l
}

// other tells whether there will be a node for the pod.
func (h *Homes) other(p *model.Pod, zone string) bool {
	k := homeKey{p.Traits, zone}
	yes, ok := h.elsewhere[k]
	if !ok {
		yes = slices.ContainsFunc(h.sorted, func(l *lodging) bool { return l.will.objection(p, zone) == "" })
		h.elsewhere[k] = yes
	}
	return yes
}

// homeless tells whether a pod may be on the node and not on its replacement. Of one
// that is on it the node's taints say nothing: they came after it, as those do that
// keep further pods off nodes that go.
func (l *lodging) homeless(p *model.Pod, zone string) Homeless {
	was, will := l.was, l.will
	if p.Node == was.name {
		was, will = was.untainted(), will.untainted()
	}
	if was.objection(p, zone) != "" || will.objection(p, zone) == "" {
		return Homeless{}
	}
	v := Homeless{Node: l.was.name}
	for _, x := range l.lost { // those that matter by themselves
		if was.relabelled([]model.LostLabel{x}).objection(p, zone) != "" {
			v.Labels = append(v.Labels, x)
		}
	}
	if len(v.Labels) == 0 {
		v.Labels = l.lost
	}
	return v
}

// Without returns, for each node that goes and that a DaemonSet with such a template
// has a pod on, why its replacement will have none.
func (h *Homes) Without(template *model.PodTraits) []Homeless {
	var out []Homeless
	for _, l := range h.going {
		if v := l.homeless(&model.Pod{Traits: template}, ""); v.Yes() {
			out = append(out, v)
		}
	}
	return out
}

// Prefers returns the labels that a pod prefers its node for, and that the node's
// replacement lacks.
func (h *Homes) Prefers(p *model.Pod) []model.LostLabel {
	own := h.bins[p.Node]
	if own == nil || p.Traits == nil {
		return nil
	}
	var out []model.LostLabel
	for _, x := range own.lost {
		without := model.Relabel(own.was.labels, []model.LostLabel{x})
		if slices.ContainsFunc(p.Traits.NodePreferences, func(t model.NodeTerm) bool {
			return t.Matches(own.was.name, own.was.labels) && !t.Matches(own.was.name, without)
		}) {
			out = append(out, x)
		}
	}
	return out
}
