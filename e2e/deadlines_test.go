//go:build e2e

package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// closedBudget has two pods of app web, and a budget that allows none of them to go
// for want of a third one, which never becomes Ready.
func closedBudget(c *podCase) {
	c.tb.Helper()
	c.deployment("web", 2, nil)
	c.deployment("broken", 1, func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"sandbox.rotatord.github.io/never-ready": "true"}
	})
	both := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"web", "broken"}}}}
	_, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).Create(context.Background(), &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: both, MinAvailable: new(intstr.FromInt32(2))}}, metav1.CreateOptions{})
	c.must(err)
	c.ready("web", 2)
	c.counted("shop", 2)
}

// testCritical: what the cluster needs leaves a node after what uses it.
func testCritical(t *testing.T, c *podCase) {
	c.deployment("a-core", 1, func(p *corev1.PodTemplateSpec) { p.Spec.PriorityClassName = "system-cluster-critical" })
	c.deployment("web", 1, func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"sandbox.rotatord.github.io/stop-delay": "3s"}
	})
	c.ready("a-core", 1)
	c.ready("web", 1)
	seen := c.watch("")
	res, _ := c.drain()
	events := seen()
	res.MustExit(t, exitDone)
	var order []string
	for _, e := range events {
		p, ok := e.Object.(*corev1.Pod)
		if !ok || p.Spec.NodeName != c.node {
			continue
		}
		what := p.Labels["app"] + " ends"
		switch {
		case e.Type == "DELETED":
			what = p.Labels["app"] + " is gone"
		case p.DeletionTimestamp == nil:
			continue
		}
		if !slices.Contains(order, what) {
			order = append(order, what)
		}
	}
	if want := []string{"web ends", "web is gone", "a-core ends", "a-core is gone"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

// testForce: past its deadline a drain that may use force evicts what asks to be left
// alone, and keeps to the budget all the same.
func testForce(t *testing.T, c *podCase) {
	closedBudget(c)
	c.deployment("held", 1, func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"karpenter.sh/do-not-disrupt": "10m"}
	})
	c.ready("held", 1)
	res, events := c.drain("--do-not-disrupt", "wait", "--drain-deadline", "3s", "--on-deadline", "force")
	res.MustExit(t, exitStopped, "what asks to be left alone is evicted now", "budget "+c.namespace+"/shop", "not ready: broken-")
	evicted := podOrder(events, "pod-evicted")
	if !slices.ContainsFunc(evicted, func(name string) bool { return strings.HasPrefix(name, "held-") }) {
		t.Errorf("evicted are %v, want the one that asked to be left alone among them", evicted)
	}
	if left := c.readyOn("web", c.node); len(left) != 2 {
		t.Errorf("of two pods under a budget that allows nothing, %d are left", len(left))
	}
}

// testFail: by default a drain past its deadline fails, names what holds it up, and
// leaves the pods alone.
func testFail(t *testing.T, c *podCase) {
	closedBudget(c)
	res, _ := c.drain("--drain-deadline", "3s")
	res.MustExit(t, exitStopped, "budget "+c.namespace+"/shop", "not ready: broken-")
	if left := c.readyOn("web", c.node); len(left) != 2 {
		t.Errorf("of two pods under a budget that allows nothing, %d are left", len(left))
	}
}

// testDespite: where the file says in these words that pods are deleted despite
// budgets, force deletes those that a closed budget protects: each named in an event,
// and with its grace period. What an open budget protects is evicted all the same.
func testDespite(t *testing.T, c *podCase) {
	closedBudget(c)
	c.deployment("calm", 2, nil)
	c.budget("calm", policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1))})
	c.ready("calm", 2)
	c.counted("calm", 2)
	web := c.readyOn("web", c.node)
	seen := c.watch("app=web")
	res, events := c.drain("--drain-deadline", "3s", "--on-deadline", "force", "--delete-pods-despite-budgets")
	changes := seen()
	shop := c.namespace + "/shop"
	res.MustExit(t, exitDone, "despite-budgets", "is deleted although budget shop forbids it, as drain.deletePodsDespiteBudgets has it")
	told := podOrder(slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Code != "budget" }), "pod-overridden")
	slices.Sort(web)
	slices.Sort(told)
	if !slices.Equal(told, web) {
		t.Errorf("events say of %q that they are deleted despite a budget, want %q", told, web)
	}
	ending := make(map[string]bool)
	for _, e := range changes {
		p, ok := e.Object.(*corev1.Pod)
		if !ok || p.DeletionTimestamp == nil || !slices.Contains(web, p.Name) || ending[p.Name] {
			continue // its kubelet confirms the end with 0 s
		}
		ending[p.Name] = true
		if given := *p.DeletionGracePeriodSeconds; given < *p.Spec.TerminationGracePeriodSeconds {
			t.Errorf("pod %s was given %d s to end, and is to have %d", p.Name, given, *p.Spec.TerminationGracePeriodSeconds)
		}
	}
	if len(ending) != len(web) {
		t.Errorf("pods %v were seen to end, want %q", ending, web)
	}
	c.mustHaveViolated(shop, web)
}

// mustHaveViolated fails the test unless the observer saw that budget violated and no
// other, and those pods deleted and no others. It then begins to observe anew.
func (c *podCase) mustHaveViolated(budget string, pods []string) {
	c.tb.Helper()
	v := c.s.Verify(c.tb)
	if len(v.Violations) == 0 {
		c.tb.Errorf("the observer saw no violation of budget %s: it is blind", budget)
	}
	for _, raw := range v.Violations {
		if was := decode[struct{ Namespace, Budget string }](c.tb, raw); was.Namespace+"/"+was.Budget != budget {
			c.tb.Errorf("violated besides budget %s: %s", budget, raw)
		}
	}
	var deleted []string
	for _, raw := range v.DirectDeletes {
		deleted = append(deleted, decode[struct{ Pod string }](c.tb, raw).Pod)
	}
	slices.Sort(deleted)
	if !slices.Equal(deleted, pods) {
		c.tb.Errorf("deleted are %q, want %q", deleted, pods)
	}
	_, _ = c.s.cli(context.Background(), "verify", "--reset") // it ends with 1, for what it has seen
}
