//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A node whose drain is past its deadline is skipped, where the file says so: it is
// given back to the scheduler, the others go on, and it is tried once more when they
// are through. What hinders it still leads to an end that names it; with the hindrance
// gone by then it is replaced as the others were.
func TestSkip(t *testing.T) {
	s := pods(t)
	c := newPodCase(t, s, "skip")
	defer c.end()
	closedBudget(c)
	c.open()
	group := groupName(s, 1)
	before := s.State(t)
	s.PublishImage(t, group)
	r := s.rotatord(t)
	flags := []string{"--group", group, "--on-deadline", "skip", "--drain-deadline", "3s", "--order-node", c.node}

	r.Run(t, "run", flags...).MustExit(t, exitStopped, c.node, "was not drained within 3s", "budget "+c.namespace+"/shop", "not ready: broken-", "2 of 3 replaced, 1 quarantined")
	var fates []string
	for _, e := range r.Events(t, "node-draining", "node-quarantined", "waiting", "node-replaced") {
		switch {
		case e.Kind == "waiting" && e.Code != "retry-last":
		case e.Node == c.node:
			fates = append(fates, "held "+e.Kind)
		case e.Kind == "node-replaced":
			fates = append(fates, "other "+e.Kind)
		}
	}
	try := []string{"held node-draining", "held node-quarantined"}
	want := slices.Concat(try, []string{"other node-replaced", "other node-replaced", "held waiting"}, try)
	if !slices.Equal(fates, want) {
		t.Errorf("%q, want %q", fates, want)
	}
	if left := c.readyOn("web", c.node); len(left) != 2 {
		t.Errorf("of two pods under a budget that allows nothing, %d are left", len(left))
	}
	skipped := s.State(t)
	if d := skipped.Nodes[c.node]; d.Unschedulable || len(d.Taints) > 0 || len(d.Marks) > 0 {
		t.Errorf("node %s was not given back: cordon %t, taints %v, marks %v", c.node, d.Unschedulable, d.Taints, d.Marks)
	}

	p := r.Start(t, "run", flags...)
	if e := p.Await("node-quarantined"); e.Node != c.node {
		t.Errorf("skipped is node %s, want %s", e.Node, c.node)
	}
	_, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).Patch(context.Background(), "shop", types.MergePatchType,
		[]byte(`{"spec":{"minAvailable":0}}`), metav1.PatchOptions{})
	c.must(err)
	res := p.Wait().MustExit(t, exitDone, "is tried once more")
	if strings.Contains(res.Stdout, "quarantined") {
		t.Errorf("it says of a node that was replaced in the end that it is quarantined:\n%s", res.Stdout)
	}
	after := s.State(t)
	after.MustHaveReplaced(t, before, group)
	after.MustBeTidy(t, before)
	s.MustHaveKeptBudgets(t)
}
