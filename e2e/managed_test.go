//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eksManaged: two managed node groups of EKS, and a group of workers; EKS works so
// fast that its drain of 15 minutes takes 10 s.
var eksManaged = lazily("e2e-managed", "eu-west-2", append(delays, "--provider", "eks-managed", "--nodes", "7", "--groups", "2", "--zones", "2", "--pods", "20",
	"--eks-speedup", "90", "--seed", "12")...)

// managedImages are the images of a managed node group's nodes, by node.
func managedImages(tb testing.TB, s *Sandbox, nodegroup string) map[string]string {
	tb.Helper()
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{LabelSelector: "eks.amazonaws.com/nodegroup=" + nodegroup})
	if err != nil {
		tb.Fatal(err)
	}
	images := make(map[string]string)
	for _, n := range nodes.Items {
		images[n.Name] = n.Labels["eks.amazonaws.com/nodegroup-image"]
		if n.Spec.Unschedulable {
			tb.Errorf("node %s is left cordoned", n.Name)
		}
	}
	return images
}

// mustBeRolled fails the test unless as many nodes as before are there, all of
// them new.
func mustBeRolled(tb testing.TB, s *Sandbox, nodegroup string, before map[string]string) {
	tb.Helper()
	after := managedImages(tb, s, nodegroup)
	if len(after) != len(before) {
		tb.Errorf("node group %s had %d nodes and has %d", nodegroup, len(before), len(after))
	}
	for name, image := range after {
		if _, was := before[name]; was {
			tb.Errorf("node %s of node group %s is there still, with image %s", name, nodegroup, image)
		}
	}
}

// EKS rolls a managed node group to a new release, and rotatord watches.
func TestManagedDelegated(t *testing.T) {
	s := eksManaged(t)
	group := s.Name + "-managed-1"
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)

	r.Run(t, "plan", "--group", group, "--order", "emptiest").MustExit(t, exitDone, "the provider rolls it: replace 3 nodes", "it takes the nodes in an order of its own",
		"without effect on it: strategy.order")
	s.Stats(t, true)
	r.Run(t, "run", "--group", group).MustExit(t, exitDone, "3 node(s) replaced", "the provider has rolled the group")
	mustBeRolled(t, s, group, before)
	if n := len(r.Events(t, "node-draining", "pod-evicted")); n > 0 {
		t.Errorf("%d nodes or pods were drained by rotatord", n)
	}
	stats := s.Stats(t, false)
	for _, c := range stats.Calls {
		if c.Action == "UpdateNodegroupVersion" && c.Calls != 1 || strings.HasPrefix(c.Action, "Terminate") {
			t.Errorf("%d calls of %s", c.Calls, c.Action)
		}
	}
	s.MustHaveKeptBudgets(t)
	r.Run(t, "run", "--group", group).MustExit(t, exitDone, "nothing")
}

// A killed rotatord leaves EKS at work; the same command again attaches to the
// same update.
func TestManagedDelegatedKilled(t *testing.T) {
	s := eksManaged(t)
	group := s.Name + "-managed-2"
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)
	s.Stats(t, true)

	p := r.Start(t, "run", "--group", group)
	began := p.Await("group-rolling")
	p.Signal(syscall.SIGKILL)
	p.Wait()

	r.Run(t, "run", "--group", group).MustExit(t, exitDone, "the provider rolls the group ("+began.Data["roll"]+")")
	mustBeRolled(t, s, group, before)
	for _, c := range s.Stats(t, false).Calls {
		if c.Action == "UpdateNodegroupVersion" && c.Calls != 1 {
			t.Errorf("%d calls of %s: the second run must attach", c.Calls, c.Action)
		}
	}
	s.MustHaveKeptBudgets(t)
}

// An update whose drain can get no further fails with EKS' PodEvictionFailure:
// the rotation says which pod and which budget it was, and the next one completes.
func TestManagedDelegatedFails(t *testing.T) {
	s := eksManaged(t)
	group := s.Name + "-managed-1"
	pod := blockNode(t, s, group)
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)

	failed := r.Run(t, "run", "--group", group).MustExit(t, exitStopped, "PodEvictionFailure", "pod "+pod, "budget stuck/stuck", "run the same command again to go on")
	if e := r.Events(t, "group-rolled"); len(e) != 1 || e[0].Code != "roll-failed" || !strings.Contains(e[0].Message, pod) {
		t.Errorf("events %+v", e)
	}
	if strings.Contains(failed.Text(), "keeps the settings") {
		t.Error("what was set for the rotation is left behind")
	}
	r.Exec(t, "status", "--journal-dir", filepath.Join(r.Dir, "journal")).MustExit(t, exitDone, "PodEvictionFailure", pod)

	unblock(t, s)
	r.Run(t, "run", "--group", group).MustExit(t, exitDone)
	mustBeRolled(t, s, group, before)
}

// A signal ends rotatord, and not EKS: it says so, and the next run attaches.
func TestManagedDelegatedStopped(t *testing.T) {
	s := eksManaged(t)
	group := s.Name + "-managed-2"
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)

	p := r.Start(t, "run", "--group", group)
	roll := p.Await("group-rolling").Data["roll"]
	p.Signal(syscall.SIGTERM)
	p.Wait().MustExit(t, exitStopped, "roll "+roll, "goes on by itself")

	r.Run(t, "run", "--group", group).MustExit(t, exitDone, roll)
	mustBeRolled(t, s, group, before)
}

// rotatord may empty nodes ahead of EKS, and ends none. How many it gets to is
// chance: EKS is as fast here as it is.
func TestManagedAssisted(t *testing.T) {
	s := eksManaged(t)
	group := s.Name + "-managed-1"
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	r := s.rotatord(t)
	s.Stats(t, true)
	file := filepath.Join(r.Dir, "rotation.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ndriver: {config: {managedNodeGroups: {way: assisted}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Run(t, "run", "--config", file, "--group", group).MustExit(t, exitDone, "3 node(s) replaced", "experimental")
	mustBeRolled(t, s, group, before)
	t.Logf("%d of 3 nodes were emptied ahead of EKS", len(r.Events(t, "node-drained")))
	for _, c := range s.Stats(t, false).Calls {
		if strings.HasPrefix(c.Action, "Terminate") {
			t.Errorf("%d calls of %s", c.Calls, c.Action)
		}
	}
	s.MustHaveKeptBudgets(t)
}

// blockNode puts a pod on a node of the group that its budget does not let go: of
// two replicas, one of which has no place. It answers the pod's name.
func blockNode(t *testing.T, s *Sandbox, group string) string {
	t.Helper()
	ctx, kube := t.Context(), s.Kube(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stuck"}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) { // it stays after a test
		must(err)
	}
	t.Cleanup(func() { unblock(t, s) })
	labels := map[string]string{"app": "stuck"}
	var nodes []string
	for name := range managedImages(t, s, group) {
		nodes = append(nodes, name)
	}
	two, one := int32(2), intstr.FromInt32(1)
	c := &podCase{tb: t, s: s, kube: kube, namespace: "stuck"}
	c.await("a service account", func() bool {
		_, err := kube.CoreV1().ServiceAccounts("stuck").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	_, err = kube.AppsV1().Deployments("stuck").Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "stuck"}, Spec: appsv1.DeploymentSpec{
		Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers:   []corev1.Container{{Name: "app", Image: "app"}},
			NodeSelector: map[string]string{corev1.LabelHostname: slices.Min(nodes)},
			Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
				{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: labels}}}}},
		}}}}, metav1.CreateOptions{})
	must(err)
	_, err = kube.PolicyV1().PodDisruptionBudgets("stuck").Create(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "stuck"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}}}, metav1.CreateOptions{})
	must(err)
	name := ""
	c.await("one of two pods, and its budget", func() bool {
		list, err := kube.CoreV1().Pods("stuck").List(ctx, metav1.ListOptions{})
		must(err)
		for _, p := range list.Items {
			if p.Status.Phase == corev1.PodRunning {
				name = p.Name
			}
		}
		b, err := kube.PolicyV1().PodDisruptionBudgets("stuck").Get(ctx, "stuck", metav1.GetOptions{})
		must(err)
		return name != "" && len(list.Items) == 2 && b.Status.CurrentHealthy == 1 && b.Status.ExpectedPods == 2
	})
	return "stuck/" + name
}

// unblock takes away what blockNode made.
func unblock(t *testing.T, s *Sandbox) {
	t.Helper()
	kube := s.Kube(t)
	now := int64(0)
	for _, err := range []error{
		kube.PolicyV1().PodDisruptionBudgets("stuck").DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{}),
		kube.AppsV1().Deployments("stuck").DeleteCollection(context.Background(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	c := &podCase{tb: t, s: s, kube: kube, namespace: "stuck"}
	c.await("the end of the pods", func() bool {
		list, err := kube.CoreV1().Pods("stuck").List(context.Background(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 0
	})
}
