package fit

import (
	"maps"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

const (
	labelHostname = "kubernetes.io/hostname"
	kindDaemonSet = "DaemonSet"
)

// bin is a node, or one that will come.
type bin struct {
	name   string
	zone   string
	labels map[string]string // shared with the node; hostname aside
	taints []model.Taint     // those that keep pods away
	offer  model.Resources
	free   model.Resources
	pods   []*model.Pod
	open   bool // takes pods
	fresh  bool // came with the rotation
	gone   bool
	heir   *bin // its replacement
}

func newBin(n *model.Node) *bin {
	b := &bin{name: n.Name, zone: n.Zone, labels: n.Labels, offer: n.Allocatable, free: n.Allocatable,
		open: n.Ready && !n.Unschedulable && n.Allocatable.Known()}
	for _, t := range n.Taints {
		if t.Effect == "NoSchedule" || t.Effect == "NoExecute" {
			b.taints = append(b.taints, t)
		}
	}
	return b
}

// passing are prefixes of taints that belong to a moment of a node's life and
// not to its group: a new node does not keep them.
var passing = []string{"node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "ToBeDeletedByClusterAutoscaler",
	"DeletionCandidateOfClusterAutoscaler", model.Prefix}

// lasting leaves out the taints of the moment.
func lasting(taints []model.Taint) []model.Taint {
	var out []model.Taint
	for _, t := range taints {
		if !slices.ContainsFunc(passing, func(prefix string) bool { return strings.HasPrefix(t.Key, prefix) }) {
			out = append(out, t)
		}
	}
	return out
}

// replacement is the node that will come for b: as b is but for the labels that
// are lost, and with the pods that every node of its kind has.
func (b *bin) replacement(offer model.Resources, lost []model.LostLabel, staying []*model.Pod) *bin {
	if !offer.Known() {
		offer = b.offer
	}
	n := &bin{name: "the replacement of " + b.name, zone: b.zone, labels: model.Relabel(b.labels, lost), taints: lasting(b.taints), offer: offer, free: offer, open: true, fresh: true}
	for _, p := range staying {
		n.add(p)
	}
	return n
}

func (b *bin) add(p *model.Pod) {
	b.pods = append(b.pods, p)
	b.free = minus(b.free, requests(p))
}

func (b *bin) remove(p *model.Pod) {
	if i := slices.Index(b.pods, p); i >= 0 {
		b.pods = slices.Delete(b.pods, i, i+1)
		b.free = plus(b.free, requests(p))
	}
}

// label of the bin. A replacement has a name of its own.
func (b *bin) label(key string) (string, bool) {
	if b.fresh && key == labelHostname {
		return b.name, true
	}
	v, ok := b.labels[key]
	return v, ok
}

// objection says why the pod may not be on the node, whatever else is there:
// taints, node selector, node affinity, and the zone of its volumes; empty: it
// may. Reasons are worded alike for all nodes, so that they can be counted.
func (b *bin) objection(p *model.Pod, zone string) string {
	t := p.Traits
	if t == nil {
		t = &model.PodTraits{}
	}
	for i := range b.taints {
		if !slices.ContainsFunc(t.Tolerations, func(x model.Toleration) bool { return x.Tolerates(b.taints[i]) }) {
			return "tainted " + b.taints[i].Key
		}
	}
	if zone != "" && b.zone != zone {
		return "not in zone " + zone + ", where its volumes are"
	}
	for k, want := range t.NodeSelector {
		if got, ok := b.label(k); !ok || got != want {
			return "not of its node selector"
		}
	}
	if len(t.NodeAffinity) > 0 {
		set := b.labels
		if b.fresh {
			set = maps.Clone(b.labels)
			if set == nil {
				set = map[string]string{}
			}
			set[labelHostname] = b.name
		}
		if !slices.ContainsFunc(t.NodeAffinity, func(term model.NodeTerm) bool { return term.Matches(b.name, set) }) {
			return "not of its node affinity"
		}
	}
	return ""
}

// taken tells whether a pod on the node has a host port that the pod needs.
func (b *bin) taken(p *model.Pod) bool {
	if p.Traits == nil || len(p.Traits.HostPorts) == 0 {
		return false
	}
	return slices.ContainsFunc(b.pods, func(other *model.Pod) bool {
		return other.Traits != nil && slices.ContainsFunc(other.Traits.HostPorts, func(port string) bool { return slices.Contains(p.Traits.HostPorts, port) })
	})
}
