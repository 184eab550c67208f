package fit

import (
	"fmt"
	"testing"

	"github.com/rotatord/rotator/core/model"
)

// nodes5000 is a cluster of that size without pods, and its nodes' names.
func nodes5000() (*cluster, []string) {
	c := &cluster{}
	var names []string
	for i := range 5000 {
		n := c.node(fmt.Sprintf("n%04d", i))
		n.Allocatable.Pods = 110
		names = append(names, n.Name)
	}
	return c, names
}

// BenchmarkFull looks for a proof that a full cluster of that size cannot be rotated
// without more nodes: 30 pods on each node, of which none has room elsewhere.
func BenchmarkFull(b *testing.B) {
	c, names := nodes5000()
	templates := make([]*model.PodTraits, 1500)
	for i := range 150_000 {
		w := i % 1500
		c.pod(fmt.Sprintf("p-%d", i), names[i/30], 133, func(p *model.Pod) {
			p.Owner.Name = fmt.Sprint("app", w)
			if templates[w] == nil {
				templates[w] = p.Traits
			}
			p.Traits = templates[w]
		})
	}
	for b.Loop() {
		v := Check(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: leaves, Groups: []Group{{Nodes: names, Unavailable: 250}}})[0]
		if !v.Certain {
			b.Fatalf("%+v", v)
		}
	}
}

// BenchmarkLargest checks a rotation of 5,000 nodes with 150,000 pods in 1,500
// workloads, a third of which keep their pods on different nodes.
func BenchmarkLargest(b *testing.B) {
	c, names := nodes5000()
	templates := make([]*model.PodTraits, 1500)
	for i := range 150_000 {
		w := i % 1500
		c.pod(fmt.Sprintf("p-%d", i), names[i%5000], 120, func(p *model.Pod) {
			app := fmt.Sprint("app", w)
			p.Owner.Name, p.Labels = app, map[string]string{"app": app}
			if templates[w] == nil {
				if w%3 == 0 {
					apart(labelHostname)(p)
				}
				templates[w] = p.Traits
			}
			p.Traits = templates[w]
		})
	}
	for b.Loop() {
		v := Check(Question{Nodes: refs(c.nodes), Pods: refs(c.pods), Leaves: leaves, Groups: []Group{{Nodes: names, Unavailable: 250}}})[0]
		if v.Pods < 150_000 {
			b.Fatalf("%+v", v)
		}
	}
}
