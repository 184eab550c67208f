//go:build e2e

package e2e

import (
	"context"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rotatord drain NODE empties one node and leaves it cordoned; with
// --terminate its instance goes too, and the group refills.
func TestDrainNode(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	t.Run("drain", func(t *testing.T) {
		before := s.State(t)
		node := before.NodesOf(group)[0]
		r := s.rotatord(t)
		r.Run(t, "drain", node).MustExit(t, exitDone)
		after := s.State(t)
		if !after.Nodes[node].Unschedulable {
			t.Errorf("node %s is not cordoned", node)
		}
		if pods := podsOn(t, s, node); len(pods) > 0 {
			t.Errorf("pods are left on node %s: %v", node, pods)
		}
		if !slices.Equal(before.Groups[group].Instances, after.Groups[group].Instances) {
			t.Error("an instance was replaced, and only a drain was asked for")
		}
		s.MustHaveKeptBudgets(t)
		uncordon(t, s, node)
	})
	t.Run("terminate", func(t *testing.T) {
		before := s.State(t)
		node := before.NodesOf(group)[0]
		s.rotatord(t).Run(t, "drain", node, "--terminate").MustExit(t, exitDone)
		after := s.State(t)
		if id := instanceOf(before.Nodes[node].ProviderID); slices.Contains(after.Groups[group].Instances, id) {
			t.Errorf("instance %s of node %s still is in group %s", id, node, group)
		}
		s.MustHaveKeptBudgets(t)
		waitForNodes(t, s, len(before.Nodes))
		s.State(t).MustBeTidy(t, before)
	})
	t.Run("a node that does not exist", func(t *testing.T) {
		before := s.State(t)
		r := s.rotatord(t).Run(t, "drain", "no-such-node")
		if r.Code == exitDone {
			t.Errorf("exit code 0 for a node that does not exist:\n%s", r.Text())
		}
		r.MustExit(t, r.Code, "no-such-node")
		s.State(t).MustEqual(t, before)
	})
}

// podsOn names the pods on a node that a drain must have moved.
func podsOn(t *testing.T, s *Sandbox, node string) []string {
	t.Helper()
	pods, err := s.Kube(t).CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range pods.Items {
		owner := metav1.GetControllerOf(&p)
		if owner != nil && owner.Kind == "DaemonSet" || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
			continue
		}
		out = append(out, p.Namespace+"/"+p.Name)
	}
	return out
}

// uncordon does what a person does after the work on a drained node.
func uncordon(t *testing.T, s *Sandbox, node string) {
	t.Helper()
	n, err := s.Kube(t).CoreV1().Nodes().Get(context.Background(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Spec.Unschedulable = false
	for k := range n.Annotations {
		if len(k) > len(ourPrefix) && k[:len(ourPrefix)] == ourPrefix {
			delete(n.Annotations, k)
		}
	}
	n.Spec.Taints = nil
	if _, err := s.Kube(t).CoreV1().Nodes().Update(context.Background(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
