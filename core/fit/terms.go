package fit

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// Required terms towards other pods cost the most: each placement may be
// forbidden by any pod of the cluster. Pods of one template are alike in this,
// so that a class knows its terms and those that select it, and each term
// counts its pods by domain.

// terms are all that the cluster's pods have.
type terms struct {
	all []*term
}

// term is one required term, however many pods have it.
type term struct {
	*model.PodTerm
	anti bool
	// selected and holders count, by value of the topology key, the pods that the
	// term selects and those that have it as anti-affinity.
	selected, holders map[string]int
	total             int // selected, over all domains
}

// class is what pods of one template have in common.
type class struct {
	labels         map[string]string
	affinity, anti []*term
	selected       []*term // terms of anyone that select the class
	failed         int     // the window in which one of it found no place
}

type classKey struct {
	owner     model.WorkloadKey
	namespace string
	name      string // of pods that nobody owns, or whose labels are their own
	traits    *model.PodTraits
}

// class of a pod, made when it is first asked for.
func (s *state) class(p *model.Pod) *class {
	k := classKey{owner: p.Owner, namespace: p.Namespace, traits: p.Traits}
	if p.Owner == (model.WorkloadKey{}) {
		k.name = p.Name
	}
	c := s.classes[k]
	if c != nil && len(s.terms.all) > 0 && !maps.Equal(c.labels, p.Labels) {
		k.name = p.Name
		c = s.classes[k]
	}
	if c == nil {
		c = s.terms.classify(p)
		s.classes[k] = c
	}
	return c
}

func (ts *terms) classify(p *model.Pod) *class {
	c := &class{labels: p.Labels}
	for _, t := range ts.all {
		if t.Selects(p.Namespace, p.Labels) {
			c.selected = append(c.selected, t)
		}
	}
	if p.Traits != nil {
		c.affinity, c.anti = ts.of(p.Traits.Affinity, false), ts.of(p.Traits.AntiAffinity, true)
	}
	return c
}

func (ts *terms) of(list []model.PodTerm, anti bool) []*term {
	var out []*term
	for i := range list {
		at, ok := slices.BinarySearchFunc(ts.all, &term{PodTerm: &list[i], anti: anti}, compareTerm)
		if ok {
			out = append(out, ts.all[at])
		}
	}
	return out
}

func compareTerm(a, b *term) int {
	flag := func(v bool) int {
		if v {
			return 1
		}
		return 0
	}
	return cmp.Or(flag(a.anti)-flag(b.anti), strings.Compare(a.Text, b.Text), strings.Compare(a.TopologyKey, b.TopologyKey),
		flag(a.AnyNamespace)-flag(b.AnyNamespace), slices.Compare(a.Namespaces, b.Namespaces))
}

// findTerms collects the distinct terms of all pods. Terms are equal when
// their texts are.
func findTerms(pods []*model.Pod) *terms {
	ts := &terms{}
	seen := map[*model.PodTraits]bool{}
	for _, p := range pods {
		t := p.Traits
		if t == nil || len(t.Affinity)+len(t.AntiAffinity) == 0 || seen[t] {
			continue
		}
		seen[t] = true
		add := func(list []model.PodTerm, anti bool) {
			for i := range list {
				n := &term{PodTerm: &list[i], anti: anti, selected: map[string]int{}, holders: map[string]int{}}
				if at, ok := slices.BinarySearchFunc(ts.all, n, compareTerm); !ok {
					ts.all = slices.Insert(ts.all, at, n)
				}
			}
		}
		add(t.Affinity, false)
		add(t.AntiAffinity, true)
	}
	return ts
}

// note counts a pod of the class that comes to a bin (1) or leaves it (-1).
func (ts *terms) note(c *class, b *bin, change int) {
	for _, t := range c.selected {
		t.total += change
		if domain, ok := b.label(t.TopologyKey); ok {
			t.selected[domain] += change
		}
	}
	for _, t := range c.anti {
		if domain, ok := b.label(t.TopologyKey); ok {
			t.holders[domain] += change
		}
	}
}

// objection says which required term forbids a pod of the class on the bin;
// empty: none.
func (ts *terms) objection(c *class, b *bin) string {
	for _, t := range c.anti {
		if domain, ok := b.label(t.TopologyKey); ok && t.selected[domain] > 0 {
			return "its anti-affinity to " + t.Text
		}
	}
	for _, t := range c.selected {
		if domain, ok := b.label(t.TopologyKey); t.anti && ok && t.holders[domain] > 0 {
			return "the anti-affinity of pods there"
		}
	}
	// The first of a group that wants to be together may begin anywhere, if its
	// own terms all select it and no other pod is there yet.
	begins := true
	for _, t := range c.affinity {
		if t.total > 0 || !slices.Contains(c.selected, t) {
			begins = false
		}
	}
	for _, t := range c.affinity {
		domain, ok := b.label(t.TopologyKey)
		if !ok || t.selected[domain] == 0 && !begins {
			return "its affinity to " + t.Text
		}
	}
	return ""
}
