package kube

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/rotatord/rotator/core/model"
)

// maxTraits bounds the traits that a sharer remembers: one for each template of
// a cluster's pods.
const maxTraits = 1 << 14

// interner makes equal traits one. A pod's spec is written into a key, in a
// buffer that is used again; only the first pod of a template costs more.
type interner struct {
	key    []byte
	traits map[string]*model.PodTraits
}

func (s *sharer) traits(p *corev1.Pod) *model.PodTraits {
	in := &s.interned
	requests := podRequests(&p.Spec)
	in.key = writeKey(in.key[:0], p, requests)
	if known, ok := in.traits[string(in.key)]; ok {
		return known
	}
	if in.traits == nil || len(in.traits) >= maxTraits {
		in.traits = map[string]*model.PodTraits{}
	}
	t := s.makeTraits(p, requests)
	in.traits[string(in.key)] = t
	return t
}

// template are the traits of a pod template as far as its nodes matter; nil: any
// will do, but for their taints. What else the template holds was not read.
func (s *sharer) template(namespace string, t *corev1.PodSpec) *model.PodTraits {
	if len(t.NodeSelector) == 0 && (t.Affinity == nil || t.Affinity.NodeAffinity == nil) {
		return nil
	}
	p := corev1.Pod{Spec: corev1.PodSpec{NodeSelector: t.NodeSelector, Tolerations: t.Tolerations}}
	if t.Affinity != nil {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: t.Affinity.NodeAffinity}
	}
	p.Namespace = namespace
	return s.traits(&p)
}

// writeKey writes all that makeTraits reads. What is rare and deep is written as
// the API's own text of it.
func writeKey(b []byte, p *corev1.Pod, r model.Resources) []byte {
	text := func(s string) { b = append(append(b, s...), 0) }
	for _, n := range []int64{r.MilliCPU, r.Memory, r.EphemeralStorage} {
		b = binary.AppendVarint(b, n)
	}
	if len(r.Extended) > 0 {
		for _, k := range slices.Sorted(maps.Keys(r.Extended)) {
			text(k)
			b = binary.AppendVarint(b, r.Extended[k])
		}
	}
	b = append(b, 1)
	for _, t := range p.Spec.Tolerations {
		text(t.Key)
		text(string(t.Operator))
		text(t.Value)
		text(string(t.Effect))
	}
	b = append(b, 2)
	b = writeSet(b, p.Spec.NodeSelector)
	b = append(b, 3)
	if a := p.Spec.Affinity; a != nil {
		text(p.Namespace) // terms without namespaces look at the pod's own
		if a.NodeAffinity != nil {
			text(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.String())
			for i := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
				text(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference.String())
			}
		}
		b = append(b, 4)
		if a.PodAffinity != nil {
			b = writeTerms(b, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
		b = append(b, 5)
		if a.PodAntiAffinity != nil {
			b = writeTerms(b, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		}
	}
	b = append(b, 6)
	for _, port := range hostPorts(&p.Spec) {
		text(port)
	}
	if hasClaims(&p.Spec) {
		b = append(b, 7)
	}
	return b
}

// writeTerms writes all of some terms. They have a form of their own, since a third
// of a cluster's pods may keep apart from others, and the API's own text of them
// showed in the profile of a large plan.
func writeTerms(b []byte, terms []corev1.PodAffinityTerm) []byte {
	for i := range terms {
		t := &terms[i]
		b = writeTexts(b, t.TopologyKey)
		b = writeSelector(b, t.LabelSelector)
		b = writeSelector(b, t.NamespaceSelector)
		for _, list := range [][]string{t.Namespaces, t.MatchLabelKeys, t.MismatchLabelKeys} {
			b = writeTexts(binary.AppendVarint(b, int64(len(list))), list...)
		}
	}
	return b
}

// writeSelector writes a selector: none, which selects nothing, is not the empty
// one, which selects all.
func writeSelector(b []byte, s *metav1.LabelSelector) []byte {
	if s == nil {
		return append(b, 0)
	}
	b = writeSet(append(b, 1), s.MatchLabels)
	b = binary.AppendVarint(b, int64(len(s.MatchExpressions)))
	for i := range s.MatchExpressions {
		r := &s.MatchExpressions[i]
		b = writeTexts(b, r.Key, string(r.Operator))
		b = writeTexts(binary.AppendVarint(b, int64(len(r.Values))), r.Values...)
	}
	return b
}

func writeSet(b []byte, set map[string]string) []byte {
	b = binary.AppendVarint(b, int64(len(set)))
	switch len(set) {
	case 0:
	case 1:
		for k, v := range set {
			b = writeTexts(b, k, v)
		}
	default:
		for _, k := range slices.Sorted(maps.Keys(set)) {
			b = writeTexts(b, k, set[k])
		}
	}
	return b
}

func writeTexts(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = append(append(b, s...), 0)
	}
	return b
}

func (s *sharer) makeTraits(p *corev1.Pod, requests model.Resources) *model.PodTraits {
	requests.Extended = s.amounts(requests.Extended)
	t := &model.PodTraits{Requests: requests, NodeSelector: s.set(p.Spec.NodeSelector), Volumes: hasClaims(&p.Spec), HostPorts: hostPorts(&p.Spec)}
	for _, x := range p.Spec.Tolerations {
		// Lt and Gt compare numbers: they are taken for satisfied, because a plan is
		// refused only for what is certain.
		exists := x.Operator != corev1.TolerationOpEqual && x.Operator != ""
		t.Tolerations = append(t.Tolerations, model.Toleration{Key: s.text(x.Key), Exists: exists,
			Value: s.text(x.Value), Effect: s.text(string(x.Effect))})
	}
	a := p.Spec.Affinity
	if a == nil {
		return t
	}
	if a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			t.NodeAffinity = append(t.NodeAffinity, nodeTerm(&term))
		}
	}
	if a.NodeAffinity != nil {
		for _, term := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			t.NodePreferences = append(t.NodePreferences, nodeTerm(&term.Preference))
		}
	}
	if a.PodAffinity != nil {
		t.Affinity = s.podTerms(p, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		t.AntiAffinity = s.podTerms(p, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	return t
}

// podRequests adds up a pod's requests as the scheduler does
// (k8s.io/component-helpers/resource, PodRequests): containers and sidecars run
// together; each init container beside the sidecars before it; the overhead is
// added; requests of the pod as a whole replace those of its containers.
func podRequests(spec *corev1.PodSpec) model.Resources {
	var sum, peak, sidecars model.Resources
	for i := range spec.Containers {
		sum = plus(sum, spec.Containers[i].Resources.Requests)
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sum, sidecars = plus(sum, c.Resources.Requests), plus(sidecars, c.Resources.Requests)
			peak = most(peak, sidecars)
			continue
		}
		peak = most(peak, plus(sidecars, c.Resources.Requests))
	}
	sum = most(sum, peak)
	if spec.Resources != nil {
		var whole model.Resources
		whole = plus(whole, spec.Resources.Requests)
		if _, ok := spec.Resources.Requests[corev1.ResourceCPU]; ok {
			sum.MilliCPU = whole.MilliCPU
		}
		if _, ok := spec.Resources.Requests[corev1.ResourceMemory]; ok {
			sum.Memory = whole.Memory
		}
	}
	sum = plus(sum, spec.Overhead)
	sum.Pods = 1
	return sum
}

func plus(r model.Resources, list corev1.ResourceList) model.Resources {
	r.MilliCPU += list.Cpu().MilliValue()
	r.Memory += list.Memory().Value()
	r.EphemeralStorage += list.StorageEphemeral().Value()
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourcePods:
		default:
			extended := map[string]int64{}
			maps.Copy(extended, r.Extended)
			extended[string(name)] += q.Value()
			r.Extended = extended
		}
	}
	return r
}

func most(a, b model.Resources) model.Resources {
	out := model.Resources{MilliCPU: max(a.MilliCPU, b.MilliCPU), Memory: max(a.Memory, b.Memory),
		EphemeralStorage: max(a.EphemeralStorage, b.EphemeralStorage), Extended: a.Extended}
	for k, v := range b.Extended {
		if v > out.Extended[k] {
			extended := map[string]int64{}
			maps.Copy(extended, out.Extended)
			extended[k] = v
			out.Extended = extended
		}
	}
	return out
}

// allocatable of a node. Pages of huge memory and attachable volumes are left
// to the scheduler with the other extended resources.
func (s *sharer) allocatable(list corev1.ResourceList) model.Resources {
	r := plus(model.Resources{}, list)
	r.Pods = list.Pods().Value()
	r.Extended = s.amounts(r.Extended)
	return r
}

// amounts shares the names of extended resources and drops those of none.
func (s *sharer) amounts(m map[string]int64) map[string]int64 {
	var out map[string]int64
	for k, v := range m {
		if v == 0 {
			continue
		}
		if out == nil {
			out = make(map[string]int64, len(m))
		}
		out[s.text(k)] = v
	}
	return out
}

func hostPorts(spec *corev1.PodSpec) []string {
	var ports []string
	for i := range spec.Containers {
		for _, p := range spec.Containers[i].Ports {
			if p.HostPort > 0 {
				protocol := p.Protocol
				if protocol == "" {
					protocol = corev1.ProtocolTCP
				}
				ports = append(ports, fmt.Sprintf("%s/%d", protocol, p.HostPort))
			}
		}
	}
	return ports
}

func hasClaims(spec *corev1.PodSpec) bool {
	return slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil })
}

// nodeTerm compiles a term. One that is empty, or that cannot be read, matches
// no node, as in the scheduler.
func nodeTerm(term *corev1.NodeSelectorTerm) model.NodeTerm {
	never := model.NodeTerm{Matches: func(string, map[string]string) bool { return false }, Text: "nothing"}
	if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
		return never
	}
	var byLabel, byName []labels.Requirement
	var text []string
	for _, e := range term.MatchExpressions {
		r, err := requirement(e)
		if err != nil {
			return never
		}
		byLabel, text = append(byLabel, *r), append(text, r.String())
	}
	for _, e := range term.MatchFields {
		r, err := requirement(e)
		if err != nil || e.Key != metav1.ObjectNameField {
			return never
		}
		byName, text = append(byName, *r), append(text, r.String())
	}
	return model.NodeTerm{Text: strings.Join(text, ","), Matches: func(name string, set map[string]string) bool {
		for i := range byLabel {
			if !byLabel[i].Matches(labels.Set(set)) {
				return false
			}
		}
		for i := range byName {
			if !byName[i].Matches(labels.Set{metav1.ObjectNameField: name}) {
				return false
			}
		}
		return true
	}}
}

var operators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn:           selection.In,
	corev1.NodeSelectorOpNotIn:        selection.NotIn,
	corev1.NodeSelectorOpExists:       selection.Exists,
	corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt:           selection.GreaterThan,
	corev1.NodeSelectorOpLt:           selection.LessThan,
}

func requirement(e corev1.NodeSelectorRequirement) (*labels.Requirement, error) {
	op, ok := operators[e.Operator]
	if !ok {
		return nil, fmt.Errorf("unknown operator %q", e.Operator)
	}
	return labels.NewRequirement(e.Key, op, e.Values)
}

// podTerms compiles required terms. A selector that cannot be read selects
// nothing. A selector of namespaces by their labels is taken for all
// namespaces: namespaces are not watched.
func (s *sharer) podTerms(p *corev1.Pod, terms []corev1.PodAffinityTerm) []model.PodTerm {
	out := make([]model.PodTerm, 0, len(terms))
	for _, t := range terms {
		selector, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
		if err != nil {
			selector = labels.Nothing()
		}
		term := model.PodTerm{TopologyKey: s.text(t.TopologyKey), AnyNamespace: t.NamespaceSelector != nil, Text: selector.String(),
			Matches: func(set map[string]string) bool { return selector.Matches(labels.Set(set)) }}
		for _, n := range t.Namespaces {
			term.Namespaces = append(term.Namespaces, s.text(n))
		}
		if len(t.Namespaces) == 0 {
			term.Namespaces = []string{s.text(p.Namespace)}
		}
		out = append(out, term)
	}
	return out
}
