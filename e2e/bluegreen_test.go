//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eksBlueGreen: as eksManaged, for node groups that others take the place of.
var eksBlueGreen = lazily("e2e-bluegreen", "eu-north-1", append(delays, "--provider", "eks-managed", "--nodes", "5", "--groups", "2", "--zones", "2", "--pods", "16",
	"--eks-speedup", "90", "--seed", "14")...)

// blueGreenFile is a rotation's file with the way blue-green.
func (r *Rotatord) blueGreenFile(tb testing.TB) string {
	tb.Helper()
	file := filepath.Join(r.Dir, "rotation.yaml")
	const text = "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ndriver: {config: {managedNodeGroups: {way: blue-green}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// A second node group with the new release takes the place of the first: with the
// first undone while it is whole, then killed half way, then to the end.
func TestManagedBlueGreen(t *testing.T) {
	s := eksBlueGreen(t)
	group := s.Name + "-managed-1"
	before := managedImages(t, s, group)
	labels := nodeLabels(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)
	file := r.blueGreenFile(t)

	r.Run(t, "plan", "--config", file, "--group", group).MustExit(t, exitDone)

	// Stopped once the second node group is there, and aborted: the first is as before.
	p := r.Start(t, "run", "--config", file, "--group", group, "--max-surge", "1", "--max-unavailable", "0", "--canary-bake", "5m")
	p.Await("replacement-ready")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	r.Run(t, "abort", "--config", file).MustExit(t, exitDone, "put back")
	if left := managedImages(t, s, group); len(left) != len(before) {
		t.Errorf("after the abort node group %s has %d nodes, and had %d", group, len(left), len(before))
	}

	p = r.Start(t, "run", "--config", file, "--group", group)
	p.Await("node-drained")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	r.Run(t, "run", "--config", file, "--group", group).MustExit(t, exitDone)

	if left := managedImages(t, s, group); len(left) > 0 {
		t.Errorf("nodes of %s are there still: %v", group, left)
	}
	green := successorOf(t, s, group)
	after := managedImages(t, s, green)
	if len(after) != len(before) {
		t.Errorf("%d nodes took the place of %d", len(after), len(before))
	}
	for k, v := range nodeLabels(t, s, green) {
		if was := labels[k]; was != v {
			t.Errorf("label %s was %q and is %q", k, was, v)
		}
	}
	s.MustHaveKeptBudgets(t)
	r.Run(t, "run", "--config", file, "--group", green).MustExit(t, exitDone, "nothing")
}

// A budget that allows nothing stops it half way: both node groups stay, and the
// same command goes on once the budget allows it, to the end.
func TestManagedBlueGreenStuck(t *testing.T) {
	s := eksBlueGreen(t)
	group := s.Name + "-managed-2"
	pod := blockNode(t, s, group)
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)
	args := []string{"--config", r.blueGreenFile(t), "--group", group, "--drain-deadline", "6s", "--capacity-check", "warn"}
	r.Run(t, "run", args...).MustExit(t, exitStopped, pod, "stuck/stuck")
	if left := managedImages(t, s, group); len(left) == 0 {
		t.Error("the node that could not be emptied is gone")
	}
	unblock(t, s)
	r.Run(t, "run", args...).MustExit(t, exitDone)
	if left := managedImages(t, s, group); len(left) > 0 {
		t.Errorf("nodes of %s are there still: %v", group, left)
	}
	if after := managedImages(t, s, successorOf(t, s, group)); len(after) != len(before) {
		t.Errorf("%d nodes took the place of %d", len(after), len(before))
	}
	s.MustHaveKeptBudgets(t)
}

// successorOf names the node group that took the place of another: an earlier one
// that was undone may have had the first of its names still.
func successorOf(tb testing.TB, s *Sandbox, nodegroup string) string {
	tb.Helper()
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range nodes.Items {
		if name := n.Labels["eks.amazonaws.com/nodegroup"]; strings.HasPrefix(name, nodegroup+"-g") {
			return name
		}
	}
	tb.Fatalf("no node group took the place of %s", nodegroup)
	return ""
}

// nodeLabels are the labels of one node of a node group, without those of the node
// and of the release.
func nodeLabels(tb testing.TB, s *Sandbox, nodegroup string) map[string]string {
	tb.Helper()
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{LabelSelector: "eks.amazonaws.com/nodegroup=" + nodegroup})
	if err != nil || len(nodes.Items) == 0 {
		tb.Fatalf("no node of %s: %v", nodegroup, err)
	}
	out := map[string]string{}
	for k, v := range nodes.Items[0].Labels {
		if k != corev1.LabelHostname && !strings.HasPrefix(k, "eks.amazonaws.com/") && !strings.HasPrefix(k, "topology.") {
			out[k] = v
		}
	}
	return out
}
