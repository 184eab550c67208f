//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	hooksv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What is wrong with pods, their owners, budgets and webhooks: each is named, the
// configured policy applies, and no drain hangs.
func TestBadPods(t *testing.T) {
	s := pods(t)
	for _, tc := range []struct {
		name string
		run  func(t *testing.T, c *podCase)
	}{
		{"a webhook that refuses, and one that does not answer", testWebhook},
		{"budgets that overlap since the drain began", testOverlap},
		{"owners that nobody knows, and none", testOwners},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newPodCase(t, s, "bad")
			defer c.end()
			tc.run(t, c)
			s.MustHaveKeptBudgets(t)
		})
	}
}

// webhook has a validating webhook asked about evictions in the case's namespace.
func (c *podCase) webhook(srv *httptest.Server) {
	c.tb.Helper()
	hooks := c.kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	name := "guard-" + c.namespace
	_, err := hooks.Create(context.Background(), &hooksv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []hooksv1.ValidatingWebhook{{
			Name: "guard.example.com", FailurePolicy: new(hooksv1.Fail), SideEffects: new(hooksv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			TimeoutSeconds:    new(int32(2)),
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.namespace}},
			ClientConfig: hooksv1.WebhookClientConfig{URL: new(srv.URL),
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})},
			Rules: []hooksv1.RuleWithOperations{{Operations: []hooksv1.OperationType{hooksv1.Create},
				Rule: hooksv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/eviction"}}}}}}}, metav1.CreateOptions{})
	c.must(err)
	c.tb.Cleanup(func() {
		_ = hooks.Delete(context.Background(), name, metav1.DeleteOptions{}) // gone already, where the test came to its end
	})
}

func testWebhook(t *testing.T, c *podCase) {
	c.deployment("web", 1, nil)
	c.ready("web", 1)
	guard := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Code: http.StatusForbidden, Message: "a backup runs"}}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review) // the API server reports what is cut off
	}))
	defer guard.Close()
	c.webhook(guard)
	pod := c.readyOn("web", c.node)[0]
	asks := func(words string) {
		c.await("the webhook to act", func() bool { // the API server learns of it by and by
			err := c.kube.CoreV1().Pods(c.namespace).EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: c.namespace},
				DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}})
			return err != nil && strings.Contains(err.Error(), words)
		})
	}
	asks("a backup runs")
	res, _ := c.drain("--drain-deadline", "4s")
	res.MustExit(t, exitStopped, c.namespace+"/"+pod, `admission webhook "guard.example.com" denied the request: a backup runs`)

	guard.Close()
	asks("failed calling webhook")
	res, events := c.drain("--drain-deadline", "4s")
	res.MustExit(t, exitStopped, c.namespace+"/"+pod, `failed calling webhook "guard.example.com"`)
	if evicted := podOrder(events, "pod-evicted"); len(evicted) > 0 {
		t.Errorf("evicted are %v", evicted)
	}
	// No budget protects it: force deletes it, with its grace period.
	res, _ = c.drain("--drain-deadline", "4s", "--on-deadline", "force")
	res.MustExit(t, exitDone, "pods that no budget protects are deleted where that is refused")
	if left := c.readyOn("web", c.node); slices.Contains(left, pod) {
		t.Errorf("pod %s is still there", pod)
	}
	if v := c.s.Verify(t); len(v.DirectDeletes) != 1 || !strings.Contains(string(v.DirectDeletes[0]), pod) {
		t.Errorf("deleted are %s, want %s", v.DirectDeletes, pod)
	}
	_, _ = c.s.cli(context.Background(), "verify", "--reset") // so that the next case begins with none; it ends with 1, for what it has seen
}

func testOverlap(t *testing.T, c *podCase) {
	c.deployment("web", 2, nil)
	c.budget("web", policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(1))})
	c.deployment("slow", 1, func(p *corev1.PodTemplateSpec) { // keeps the drain going
		p.Annotations = map[string]string{"sandbox.rotatord.github.io/stop-delay": "10s"}
	})
	c.ready("web", 2)
	c.ready("slow", 1)
	c.counted("web", 2)
	for _, n := range c.others { // so that the second pod has to wait for the first
		c.cordon(n, true)
	}
	r := c.s.rotatord(t)
	p := r.Start(t, "drain", c.node, "--drain-deadline", "20s")
	p.Await("node-blocked")
	_, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).Create(context.Background(), &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "again"},
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: appLabel("web"), MinAvailable: new(intstr.FromInt32(0))}}, metav1.CreateOptions{})
	c.must(err)
	began := time.Now()
	p.Wait().MustExit(t, exitStopped, c.namespace+"/web-", "is selected by 2 budgets (again, web): the eviction API refuses it")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s to end", took)
	}
	// Else they are violated when the case's pods are deleted.
	c.must(c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{}))
}

func testOwners(t *testing.T, c *podCase) {
	bare := func(name string, owner *metav1.OwnerReference) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}, Spec: podTemplate(name, nil).Spec}
		if owner != nil {
			pod.OwnerReferences = []metav1.OwnerReference{*owner}
		}
		_, err := c.kube.CoreV1().Pods(c.namespace).Create(context.Background(), pod, metav1.CreateOptions{})
		c.must(err)
		c.ready(name, 1)
	}
	bare("lone", nil)
	bare("gear", &metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Widget", Name: "gears", UID: "0b7e1c5e-2d5b-4a3c-9d0a-000000000001", Controller: new(true)})
	for _, name := range []string{"lone", "gear"} {
		c.budget(name, policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))})
	}
	c.await("the budgets to be looked at", func() bool {
		list, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).List(context.Background(), metav1.ListOptions{})
		c.must(err)
		return !slices.ContainsFunc(list.Items, func(b policyv1.PodDisruptionBudget) bool { return len(b.Status.Conditions) == 0 })
	})
	res, _ := c.drain()
	res.MustExit(t, exitRefused, "1 pod(s) have no controller and would be lost: "+c.namespace+"/lone",
		"PodDisruptionBudget "+c.namespace+"/gear (maxUnavailable 1) allows no eviction, since Kubernetes cannot count its pods",
		"select pods without a controller, which Kubernetes leaves out of their sums: "+c.namespace+"/lone")

	budgets := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace)
	for _, name := range []string{"lone", "gear"} {
		c.must(budgets.Delete(context.Background(), name, metav1.DeleteOptions{}))
	}
	res, events := c.drain("--unmanaged-pods", "evict")
	res.MustExit(t, exitDone, "1 pod(s) belong to controllers that are not Kubernetes' own: "+c.namespace+"/gear (Widget gears)")
	evicted := podOrder(events, "pod-evicted")
	slices.Sort(evicted)
	if !slices.Equal(evicted, []string{"gear", "lone"}) {
		t.Errorf("evicted are %v, want both", evicted)
	}
}

// On a node that does not answer nothing can confirm the end of a pod: one that has been
// terminating for long, and one that the drain evicts, are named and not waited for
// once their end was due a minute ago.
func TestDeadNode(t *testing.T) {
	s := mortal(t)
	c := newPodCase(t, s, "dead")
	for _, app := range []string{"stuck", "web"} {
		c.deployment(app, 1, func(p *corev1.PodTemplateSpec) { p.Spec.TerminationGracePeriodSeconds = new(int64(1)) })
		c.ready(app, 1)
	}
	stuck, web := c.readyOn("stuck", c.node)[0], c.readyOn("web", c.node)[0]
	s.Fault(t, "node-dead", "--node", c.node)
	c.must(c.kube.CoreV1().Pods(c.namespace).EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: stuck, Namespace: c.namespace}}))
	c.await("the node to be called dead", func() bool {
		n, err := c.kube.CoreV1().Nodes().Get(context.Background(), c.node, metav1.GetOptions{})
		c.must(err)
		return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown
		})
	})
	res, events := c.drain()
	res.MustExit(t, exitDone, "its node does not answer", "it is not waited for any more")
	told := map[string]string{}
	for _, e := range events {
		if e.Kind == "pod-overridden" {
			told[e.Pod] = e.Code
		}
	}
	for _, pod := range []string{stuck, web} {
		if code := told[c.namespace+"/"+pod]; code != "unreachable" {
			t.Errorf("of pod %s the drain says %q, want that it is not waited for, as its node does not answer: %v", pod, code, told)
		}
	}
	if res.Took > 90*time.Second {
		t.Errorf("the drain took %s", res.Took)
	}
	s.MustHaveKeptBudgets(t)
	s.CLI(t, "fault", "clear") // else its pods never go
	c.end()
}
