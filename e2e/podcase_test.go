//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kubewatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// pods: three nodes and nothing on them, for tests that bring their own pods.
var pods = lazily("e2e-pods", "eu-north-1", append(delays, "--nodes", "3", "--groups", "1", "--zones", "1", "--workload", "none", "--seed", "11")...)

// podCase is a namespace whose pods begin on one node, where the real scheduler
// has put them because the others were cordoned meanwhile.
type podCase struct {
	tb        testing.TB
	s         *Sandbox
	kube      kubernetes.Interface
	namespace string
	node      string
	others    []string
}

var podCases int

func newPodCase(tb testing.TB, s *Sandbox, name string) *podCase {
	tb.Helper()
	podCases++
	c := &podCase{tb: tb, s: s, kube: s.Kube(tb), namespace: fmt.Sprintf("%s-%d", name, podCases)}
	nodes, err := c.kube.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	c.must(err)
	for i, n := range nodes.Items {
		if i == 0 {
			c.node = n.Name
			continue
		}
		c.others = append(c.others, n.Name)
		c.cordon(n.Name, true)
	}
	c.cordon(c.node, false)
	_, err = c.kube.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{})
	c.must(err)
	c.await("a service account", func() bool {
		_, err := c.kube.CoreV1().ServiceAccounts(c.namespace).Get(context.Background(), "default", metav1.GetOptions{})
		return err == nil
	})
	return c
}

func (c *podCase) must(err error) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatal(err)
	}
}

// await waits until a condition of the cluster holds.
func (c *podCase) await(what string, holds func() bool) {
	c.tb.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			c.tb.Fatalf("%s: waited a minute for %s", c.namespace, what)
		}
		<-tick.C
	}
}

func (c *podCase) cordon(node string, want bool) {
	c.tb.Helper()
	_, err := c.kube.CoreV1().Nodes().Patch(context.Background(), node, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"unschedulable":%v}}`, want), metav1.PatchOptions{})
	c.must(err)
}

func podTemplate(name string, change func(*corev1.PodTemplateSpec)) corev1.PodTemplateSpec {
	t := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: "registry.invalid/" + name + ":1"}}}}
	if change != nil {
		change(&t)
	}
	return t
}

func appLabel(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func (c *podCase) deployment(name string, replicas int32, change func(*corev1.PodTemplateSpec)) {
	c.tb.Helper()
	_, err := c.kube.AppsV1().Deployments(c.namespace).Create(context.Background(), &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: appLabel(name), Template: podTemplate(name, change)}}, metav1.CreateOptions{})
	c.must(err)
}

func (c *podCase) budget(name string, spec policyv1.PodDisruptionBudgetSpec) {
	c.tb.Helper()
	spec.Selector = appLabel(name)
	_, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).Create(context.Background(),
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	c.must(err)
}

// ready waits until so many pods of the app are Ready on the node.
func (c *podCase) ready(app string, want int) {
	c.tb.Helper()
	c.await(fmt.Sprintf("%d Ready pods of %s", want, app), func() bool { return len(c.readyOn(app, c.node)) == want })
}

// counted waits until the budget has counted so many Ready pods.
func (c *podCase) counted(budget string, want int32) {
	c.tb.Helper()
	c.await("budget "+budget, func() bool {
		b, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).Get(context.Background(), budget, metav1.GetOptions{})
		c.must(err)
		return b.Status.ObservedGeneration == b.Generation && b.Status.CurrentHealthy == want
	})
}

// open lets the scheduler use the other nodes.
func (c *podCase) open() {
	for _, n := range c.others {
		c.cordon(n, false)
	}
}

// readyOn names the Ready pods of an app on a node.
func (c *podCase) readyOn(app, node string) []string {
	c.tb.Helper()
	list, err := c.kube.CoreV1().Pods(c.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + app})
	c.must(err)
	var out []string
	for _, p := range list.Items {
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil && p.Spec.NodeName == node {
				out = append(out, p.Name)
			}
		}
	}
	return out
}

// watch follows the namespace's pods with these labels, empty for all, until the
// answer is called, which returns what has happened.
func (c *podCase) watch(selector string) func() []kubewatch.Event {
	c.tb.Helper()
	w, err := c.kube.CoreV1().Pods(c.namespace).Watch(context.Background(), metav1.ListOptions{LabelSelector: selector})
	c.must(err)
	seen := make(chan []kubewatch.Event)
	go func() {
		var events []kubewatch.Event
		for e := range w.ResultChan() {
			events = append(events, e)
		}
		seen <- events
	}()
	return func() []kubewatch.Event {
		w.Stop()
		return <-seen
	}
}

// drain empties the node with these flags and answers what the process said.
func (c *podCase) drain(flags ...string) (Result, []Event) {
	c.tb.Helper()
	c.open()
	r := c.s.rotatord(c.tb)
	res := r.Run(c.tb, "drain", append([]string{c.node}, flags...)...)
	return res, readEvents(c.tb, r.Dir+"/report/events.jsonl")
}

// end deletes the case's workloads, whose pods Kubernetes then collects. The
// namespace may take its time.
func (c *podCase) end() {
	c.tb.Helper()
	ctx, all := context.Background(), metav1.ListOptions{}
	at := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
	// First what would be violated by the end of the others.
	c.must(c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).DeleteCollection(ctx, at, all))
	c.must(c.kube.AppsV1().Deployments(c.namespace).DeleteCollection(ctx, at, all))
	c.must(c.kube.AppsV1().StatefulSets(c.namespace).DeleteCollection(ctx, at, all))
	c.must(c.kube.AppsV1().DaemonSets(c.namespace).DeleteCollection(ctx, at, all))
	c.must(c.kube.BatchV1().Jobs(c.namespace).DeleteCollection(ctx, at, all))
	c.await("the pods to go", func() bool {
		list, err := c.kube.CoreV1().Pods(c.namespace).List(ctx, all)
		c.must(err)
		return len(list.Items) == 0
	})
	c.must(c.kube.CoreV1().Namespaces().Delete(ctx, c.namespace, at))
	if _, err := c.kube.CoreV1().Nodes().Get(ctx, c.node, metav1.GetOptions{}); apierrors.IsNotFound(err) {
		return // a rotation replaced it
	}
	c.cordon(c.node, false)
}
