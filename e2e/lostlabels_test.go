//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eksLabels: one small managed node group, and a group of workers.
var eksLabels = lazily("e2e-labels", "eu-south-2", append(delays, "--provider", "eks-managed", "--nodes", "4", "--groups", "1", "--zones", "2", "--pods", "6",
	"--eks-speedup", "90", "--seed", "15")...)

// A second node group has nodes with another name of it as a label. Pods that
// select the first's are found by the plan; those that come while it runs are
// waited for, and not evicted to where nothing takes them. Both go on once their
// Deployment selects what new nodes have too.
func TestManagedLostLabel(t *testing.T) {
	s := eksLabels(t)
	group := s.Name + "-managed-1"
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	c := &podCase{tb: t, s: s, kube: s.Kube(t), namespace: "labels"}
	_, err := c.kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{})
	c.must(err)
	c.await("a service account", func() bool {
		_, err := c.kube.CoreV1().ServiceAccounts(c.namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err == nil
	})
	lost := map[string]string{"eks.amazonaws.com/nodegroup": group}
	kept := map[string]string{"eks.amazonaws.com/capacityType": "ON_DEMAND"}
	start := func(name string) {
		c.deployment(name, 1, func(p *corev1.PodTemplateSpec) { p.Spec.NodeSelector = lost })
		c.awaitSelecting(name, lost)
	}
	mend := func(name string) {
		c.await("the change of Deployment "+name, func() bool {
			d, err := c.kube.AppsV1().Deployments(c.namespace).Get(t.Context(), name, metav1.GetOptions{})
			c.must(err)
			d.Spec.Template.Spec.NodeSelector = kept
			_, err = c.kube.AppsV1().Deployments(c.namespace).Update(t.Context(), d, metav1.UpdateOptions{})
			if !apierrors.IsConflict(err) {
				c.must(err)
			}
			return err == nil
		})
		c.awaitSelecting(name, kept)
	}
	r := s.rotatord(t)
	file := filepath.Join(r.Dir, "rotation.yaml")
	const text = "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ndriver: {config: {managedNodeGroups: {way: blue-green}}}\n"
	c.must(os.WriteFile(file, []byte(text), 0o600))

	start("early")
	says := []string{"Deployment labels/early", "eks.amazonaws.com/nodegroup=" + group, "new nodes do not have"}
	r.Run(t, "plan", "--config", file, "--group", group).MustExit(t, exitRefused, says...)
	r.Run(t, "run", "--config", file, "--group", group).MustExit(t, exitRefused, says...)
	if now := managedImages(t, s, group); len(now) != len(before) {
		t.Errorf("a rotation that was refused left %d of %d nodes", len(now), len(before))
	}
	mend("early")

	p := r.Start(t, "run", "--config", file, "--group", group, "--attract", "taint", "--canary-bake", "15s")
	p.Await("node-drained")
	start("late")
	c.await("the drain to name pod late", func() bool {
		return slices.ContainsFunc(readEvents(t, p.events), func(e Event) bool {
			return e.Kind == "node-blocked" && strings.HasPrefix(e.Pod, "labels/late-") && strings.Contains(e.Message, "eks.amazonaws.com/nodegroup="+group)
		})
	})
	mend("late")
	p.Wait().MustExit(t, exitDone)
	for _, e := range r.Events(t, "pod-evicted") {
		if strings.HasPrefix(e.Pod, "labels/late-") {
			t.Errorf("pod %s was evicted, and no other node could take it", e.Pod)
		}
	}
	if left := managedImages(t, s, group); len(left) > 0 {
		t.Errorf("nodes of %s are there still: %v", group, left)
	}
	s.MustHaveKeptBudgets(t)
}

// awaitSelecting waits until the one pod of a Deployment runs that selects these
// labels.
func (c *podCase) awaitSelecting(name string, labels map[string]string) {
	c.tb.Helper()
	c.await("the one pod of "+name, func() bool {
		list, err := c.kube.CoreV1().Pods(c.namespace).List(c.tb.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
		c.must(err)
		if len(list.Items) != 1 || list.Items[0].Status.Phase != corev1.PodRunning {
			return false
		}
		for k, v := range labels {
			if list.Items[0].Spec.NodeSelector[k] != v {
				return false
			}
		}
		return true
	})
}
