//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubewatch "k8s.io/apimachinery/pkg/watch"
)

// limits are how many may be under way at once at most, and have been; 0: any number.
type limits struct {
	drains, zones int // in all, and in how many zones
	zone          int // nodes of one zone
}

// ordered are the flags for an order of nodes, and the ranks that the nodes then
// have: no node goes before one of a lower rank.
type ordered struct {
	flags []string
	ranks map[string]int
}

// byLabel has the nodes go in the order of a label, against that of their ages.
func byLabel(t *testing.T, s *Sandbox, nodes []string) ordered {
	t.Helper()
	o := ordered{flags: []string{"--order", "label:example.com/wave"}, ranks: make(map[string]int)}
	for i, n := range s.byAge(t, nodes) {
		o.ranks[n] = len(nodes) - i
		s.markNode(t, n, fmt.Sprintf(`{"metadata":{"labels":{"example.com/wave":"%d"}}}`, o.ranks[n]))
	}
	return o
}

// byHand names the youngest node first, and then one by its instance's id.
func byHand(t *testing.T, s *Sandbox, nodes []string) ordered {
	t.Helper()
	old := s.byAge(t, nodes)
	slices.Reverse(old)
	o := ordered{flags: []string{"--order-node", old[0], "--order-node", instanceOf(s.State(t).Nodes[old[1]].ProviderID)}, ranks: make(map[string]int)}
	for i, n := range old {
		o.ranks[n] = i
	}
	return o
}

// byPods has the nodes go by how many pods they have: the test's own count.
func byPods(t *testing.T, s *Sandbox, nodes []string) ordered {
	t.Helper()
	o := ordered{ranks: make(map[string]int)}
	for _, n := range nodes {
		o.ranks[n] = len(podsOn(t, s, n))
	}
	return o
}

// byAge sorts nodes, the oldest first.
func (s *Sandbox) byAge(t *testing.T, nodes []string) []string {
	t.Helper()
	list, err := s.Kube(t).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	since := make(map[string]metav1.Time)
	for _, n := range list.Items {
		since[n.Name] = n.CreationTimestamp
	}
	return slices.SortedFunc(slices.Values(nodes), func(a, b string) int {
		return cmp.Or(since[a].Compare(since[b].Time), cmp.Compare(a, b))
	})
}

// seenDrain is a node that is drained, or gone: what the cluster shows of it, whatever
// rotatord says.
type seenDrain struct {
	node, zone string
	gone       bool
}

type drains []seenDrain

// watchDrains follows the nodes from now on, until the answer is called. A node is
// being drained once it is kept from load balancers, and until it is gone.
func (s *Sandbox) watchDrains(t *testing.T) func() drains {
	t.Helper()
	nodes := s.Kube(t).CoreV1().Nodes()
	list, err := nodes.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := nodes.Watch(context.Background(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan drains)
	go func() {
		var all drains
		for e := range w.ResultChan() {
			n, ok := e.Object.(*corev1.Node)
			if !ok {
				continue
			}
			d := seenDrain{node: n.Name, zone: n.Labels[corev1.LabelTopologyZone], gone: e.Type == kubewatch.Deleted}
			if _, leaves := n.Labels[excluded]; leaves && !slices.Contains(all, d) {
				all = append(all, d)
			}
		}
		seen <- all
	}()
	return func() drains {
		w.Stop()
		return <-seen
	}
}

// mustBe fails the test unless so many nodes were drained, with up to so many extra,
// in the order.
func (d drains) mustBe(t *testing.T, nodes, extra int, o ordered) {
	t.Helper()
	var order []string
	for _, n := range d {
		if !n.gone {
			order = append(order, n.node)
		}
	}
	if len(order) < nodes || len(order) > nodes+extra {
		t.Errorf("%d nodes were seen to be drained, want %d and %d more at most: %v", len(order), nodes, extra, order)
	}
	order = slices.DeleteFunc(order, func(node string) bool { _, old := o.ranks[node]; return !old })
	if !slices.IsSortedFunc(order, func(a, b string) int { return cmp.Compare(o.ranks[a], o.ranks[b]) }) {
		t.Errorf("the nodes went in the order %v, want that of %v", order, o.ranks)
	}
}

// mustKeep fails the test when more were under way at once than may be, and when
// never as many were: then nobody was held back.
func (d drains) mustKeep(t *testing.T, most limits) {
	t.Helper()
	var seen limits
	zones := make(map[string]int)
	under := 0
	for _, n := range d {
		if n.gone {
			under--
			zones[n.zone]--
		} else {
			under++
			zones[n.zone]++
		}
		if zones[n.zone] == 0 {
			delete(zones, n.zone)
		}
		seen.drains, seen.zone, seen.zones = max(seen.drains, under), max(seen.zone, zones[n.zone]), max(seen.zones, len(zones))
	}
	for what, n := range map[string][2]int{"nodes": {seen.drains, most.drains}, "nodes of a zone": {seen.zone, most.zone}, "zones": {seen.zones, most.zones}} {
		if n[1] > 0 && n[0] != n[1] {
			t.Errorf("at most %d %s were under way at once, want %d: %+v", n[0], what, n[1], d)
		}
	}
}
