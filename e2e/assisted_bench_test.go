//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// speedup is how much faster than at AWS EKS works in BenchmarkAssisted: its 15
// minutes are 90 s. Boots and starts of pods are as many times faster than a minute
// and than 90 s.
const speedup = 10

// BenchmarkAssisted compares two ways to roll a managed node group of six nodes
// whose budgets are slow: each node holds a workload of its own that may lose one
// pod at a time. One of them has more pods than EKS can evict in its 15 minutes.
func BenchmarkAssisted(b *testing.B) {
	const most = 11
	for _, load := range []struct {
		name     string
		replicas []int32 // of each node's workload
	}{
		{"even", []int32{3, 3, 3, 3, 3, 3}},
		{"one node too slow for EKS", []int32{most, 3, 3, 3, 3, 3}},
	} {
		var took []time.Duration
		for i, way := range []string{"delegated", "assisted"} {
			s := slowBudgets(b, way+"-"+strings.Fields(load.name)[0])
			group := s.Name + "-managed-1"
			c := &podCase{tb: b, s: s, kube: s.Kube(b), namespace: "slow"}
			c.fillNodes(group, load.replicas)
			s.CLI(b, "publish-release")
			r := s.rotatord(b)
			r.Within = 10 * time.Minute
			flags := append(r.withWay(b, way), "--group", group)
			began, runs := time.Now(), 0
			for done := false; !done && runs < 6; runs++ {
				res := r.Run(b, "run", flags...)
				done = res.Code == exitDone
				b.Logf("%s, %s: run %d: exit code %d after %s, %d nodes emptied ahead", load.name, way, runs+1, res.Code, res.Took.Round(time.Second), len(r.Events(b, "node-drained")))
			}
			took = append(took, time.Since(began))
			v := s.MustHaveKeptBudgets(b)
			figure(fmt.Sprintf("%s, %s: until all nodes are new", load.name, way), took[i].Round(time.Second).String(), fmt.Sprintf("in %d run(s); moves of each pod %.2f", runs, v.MovesPerPod))
			s.Stop()
		}
		figure(load.name+": assisted as a part of delegated", fmt.Sprintf("%.2f", took[1].Seconds()/took[0].Seconds()), "")
	}
}

// slowBudgets starts a cluster with a managed node group of six nodes, and six others.
func slowBudgets(b *testing.B, name string) *Sandbox {
	b.Helper()
	s, err := startSandbox(b.TempDir(), name, "eu-central-1", "--provider", "eks-managed", "--nodes", "12", "--groups", "1", "--zones", "2", "--workload", "none",
		"--eks-speedup", fmt.Sprint(speedup), "--boot-delay", (time.Minute / speedup).String(), "--pod-start-delay", (90 * time.Second / speedup).String(),
		"--pod-stop-delay", "200ms", "--node-monitor-grace-period", "10m", "--seed", "3")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Stop)
	return s
}

// fillNodes gives each node of a managed node group a workload whose pods leave one
// at a time and stay in the node group.
func (c *podCase) fillNodes(group string, replicas []int32) {
	c.tb.Helper()
	ctx := context.Background()
	_, err := c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{})
	c.must(err)
	c.await("a service account", func() bool {
		_, err := c.kube.CoreV1().ServiceAccounts(c.namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	nodes := sortedKeys(managedImages(c.tb, c.s, group))
	for _, n := range nodes {
		c.cordon(n, true)
	}
	for i, count := range replicas {
		name := fmt.Sprintf("web-%d", i)
		c.cordon(nodes[i], false)
		c.deployment(name, count, func(t *corev1.PodTemplateSpec) {
			t.Spec.NodeSelector = map[string]string{"eks.amazonaws.com/nodegroup": group}
		})
		c.budget(name, policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))})
		c.await("the scheduler", func() bool {
			list, err := c.kube.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
			c.must(err)
			return len(list.Items) == int(count) && !slices.ContainsFunc(list.Items, func(p corev1.Pod) bool { return p.Spec.NodeName == "" })
		})
		c.cordon(nodes[i], true)
	}
	for _, n := range nodes {
		c.cordon(n, false)
	}
	c.await("all pods", func() bool {
		list, err := c.kube.AppsV1().Deployments(c.namespace).List(ctx, metav1.ListOptions{})
		c.must(err)
		return !slices.ContainsFunc(list.Items, func(d appsv1.Deployment) bool { return d.Status.ReadyReplicas != *d.Spec.Replicas })
	})
}
