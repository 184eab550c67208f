//go:build e2e

package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What a drain does with each kind of pod, with real evictions, budgets and the
// real scheduler. No budget is violated in any of the cases.
func TestPods(t *testing.T) {
	s := pods(t)
	for _, tc := range []struct {
		name string
		run  func(t *testing.T, c *podCase)
	}{
		{"rules: skipped, waited for, in order", testRules},
		{"do not disrupt", testDoNotDisrupt},
		{"a StatefulSet in order", testStatefulSetOrder},
		{"DaemonSet pods last, those that tolerate the cordon once, static ones never", testReturning},
		{"finalizers that never end", testFinalizer},
		{"an admission policy that refuses", testDenied},
		{"budgets that cannot allow", testBadBudgets},
		{"a grace period beyond the deadline", testGrace},
		{"critical pods last", testCritical},
		{"a deadline that passes at a closed budget", testFail},
		{"force, at a closed budget", testForce},
		{"force, where the file says that budgets are no bar", testDespite},
		{"evictions that are refused", testRefused},
		{"pods that have gone before their evictions", testGone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newPodCase(t, s, "pods")
			defer c.end()
			tc.run(t, c)
			s.MustHaveKeptBudgets(t)
		})
	}
}

// order answers the kinds and pods of the events, as "pod-evicted web".
func podOrder(events []Event, kind string) []string {
	var out []string
	for _, e := range events {
		if e.Kind == kind {
			_, name, _ := strings.Cut(e.Pod, "/")
			out = append(out, name)
		}
	}
	return out
}

func testRules(t *testing.T, c *podCase) {
	c.deployment("web", 1, nil)
	c.deployment("cache", 1, nil)
	c.deployment("late", 1, nil)
	_, err := c.kube.BatchV1().Jobs(c.namespace).Create(context.Background(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "import"},
		Spec: batchv1.JobSpec{Template: podTemplate("import", func(p *corev1.PodTemplateSpec) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Annotations = map[string]string{"sandbox.rotatord.github.io/run-delay": "4s"}
		})}}, metav1.CreateOptions{})
	c.must(err)
	for _, app := range []string{"web", "cache", "late", "import"} {
		c.ready(app, 1)
	}
	res, events := c.drain("--drain-rule", "{selector: app=cache, action: skip}", "--drain-rule", "{namespaces: ['pods-*'], owners: [Job], action: wait}",
		"--drain-rule", "{owners: ['ReplicaSet/late-*'], order: 5}")
	res.MustExit(t, exitDone, "import", "runs to its end")
	evicted := podOrder(events, "pod-evicted")
	if len(evicted) != 2 || !strings.HasPrefix(evicted[0], "web-") || !strings.HasPrefix(evicted[1], "late-") {
		t.Errorf("evicted are %v, want web, then late", evicted)
	}
	if left := c.readyOn("cache", c.node); len(left) != 1 {
		t.Errorf("the pod that a rule skips is not on the node any more")
	}
	job, err := c.kube.BatchV1().Jobs(c.namespace).Get(context.Background(), "import", metav1.GetOptions{})
	c.must(err)
	if job.Status.Failed > 0 {
		t.Errorf("the job that was to be waited for has %d failed pods", job.Status.Failed)
	}
}

func testDoNotDisrupt(t *testing.T, c *podCase) {
	hold := func(value string) func(*corev1.PodTemplateSpec) {
		return func(p *corev1.PodTemplateSpec) {
			p.Annotations = map[string]string{"karpenter.sh/do-not-disrupt": value}
		}
	}
	c.deployment("held", 1, hold("true"))
	c.deployment("brief", 1, hold("6s"))
	c.deployment("unsafe", 1, func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
	})
	for _, app := range []string{"held", "brief", "unsafe"} {
		c.ready(app, 1)
	}
	res, _ := c.drain()
	res.MustExit(t, exitRefused, "held-", "karpenter.sh/do-not-disrupt: true", "unsafe-", "safe-to-evict: false", "drain.doNotDisrupt")
	res, events := c.drain("--do-not-disrupt", "wait", "--drain-rule", "{selector: app=held}", "--drain-rule", "{selector: app=unsafe}")
	res.MustExit(t, exitDone, "is evicted although it asks not to be disrupted")
	if told := podOrder(events, "pod-overridden"); len(told) != 2 {
		t.Errorf("overridden are %v, want held and unsafe", told)
	}
	if evicted := podOrder(events, "pod-evicted"); len(evicted) != 3 || !strings.HasPrefix(evicted[2], "brief-") {
		t.Errorf("evicted are %v, want the one that asked for 6 s last", evicted)
	}
}

func testStatefulSetOrder(t *testing.T, c *podCase) {
	const replicas = 3
	_, err := c.kube.AppsV1().StatefulSets(c.namespace).Create(context.Background(), &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{Replicas: new(int32(replicas)), Selector: appLabel("db"), ServiceName: "db", Template: podTemplate("db", nil)}}, metav1.CreateOptions{})
	c.must(err)
	c.ready("db", replicas)
	seen := c.watch("app=db")
	res, events := c.drain()
	changes := seen()
	res.MustExit(t, exitDone)
	if got := podOrder(events, "pod-evicted"); !slices.Equal(got, []string{"db-2", "db-1", "db-0"}) {
		t.Errorf("evicted are %v, want the highest ordinal first", got)
	}
	// Never two of them missing at once.
	ready := map[string]bool{"db-0": true, "db-1": true, "db-2": true}
	if len(changes) < 3*replicas {
		t.Errorf("only %d changes of its pods were seen", len(changes))
	}
	for _, e := range changes {
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		ready[p.Name] = p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		missing := 0
		for _, is := range ready {
			if !is {
				missing++
			}
		}
		if missing > 1 {
			t.Errorf("%d pods of the StatefulSet are not Ready at once: %v", missing, ready)
		}
	}
}

func testReturning(t *testing.T, c *podCase) {
	node, err := c.kube.CoreV1().Nodes().Get(context.Background(), c.node, metav1.GetOptions{})
	c.must(err)
	bound := func(p *corev1.PodTemplateSpec) { // it can go nowhere else
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node.Labels[corev1.LabelHostname]}
	}
	c.deployment("bound", 1, bound)
	c.deployment("slow", 1, func(p *corev1.PodTemplateSpec) { // keeps the node from being empty when the others come back
		bound(p)
		p.Annotations = map[string]string{"sandbox.rotatord.github.io/stop-delay": "3s"}
	})
	_, err = c.kube.AppsV1().DaemonSets(c.namespace).Create(context.Background(), &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec: appsv1.DaemonSetSpec{Selector: appLabel("agent"), Template: podTemplate("agent", nil)}}, metav1.CreateOptions{})
	c.must(err)
	static := c.mirror("proxy", node)
	for _, app := range []string{"slow", "bound", "agent", "proxy"} {
		c.ready(app, 1)
	}
	res, events := c.drain("--daemonset-pods", "last")
	res.MustExit(t, exitDone, "tolerates the cordon and came back")
	evicted := podOrder(events, "pod-evicted")
	count := map[string]int{}
	for _, name := range evicted {
		app, _, _ := strings.Cut(name, "-")
		count[app]++
	}
	if len(evicted) != 3 || count["slow"] != 1 || count["bound"] != 1 || count["agent"] != 1 {
		t.Errorf("evicted are %v, want each once", evicted)
	}
	if left := c.readyOn("proxy", c.node); !slices.Equal(left, []string{static}) {
		t.Errorf("of the node's static pod %s, %q is left", static, left)
	}
	c.must(c.kube.CoreV1().Pods(c.namespace).EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: static, Namespace: c.namespace}}))
}

// mirror shows a static pod of the node to the API server, as its kubelet would.
func (c *podCase) mirror(app string, node *corev1.Node) string {
	c.tb.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: app + "-static", Labels: map[string]string{"app": app},
		Annotations:     map[string]string{corev1.MirrorPodAnnotationKey: "0", "kubernetes.io/config.source": "file"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: new(true)}}},
		Spec: podTemplate(app, nil).Spec}
	pod.Spec.NodeName = node.Name
	_, err := c.kube.CoreV1().Pods(c.namespace).Create(context.Background(), pod, metav1.CreateOptions{})
	c.must(err)
	return pod.Name
}

func testFinalizer(t *testing.T, c *podCase) {
	c.deployment("web", 1, func(p *corev1.PodTemplateSpec) {
		p.Finalizers = []string{"example.com/backup"}
		p.Spec.TerminationGracePeriodSeconds = new(int64(1))
	})
	c.ready("web", 1)
	pod := c.readyOn("web", c.node)[0]
	c.open()
	r := c.s.rotatord(t)
	p := r.Start(t, "drain", c.node, "--drain-deadline", "18s")
	r.awaitStatus(t, `waits: pod `+c.namespace+`/`+pod+` was to end by `+moment+`; held by finalizers example.com/backup \(since `+moment+`, told at `+moment+`\)$`)
	p.Wait().MustExit(t, exitStopped, pod, "held by finalizers example.com/backup")
	list, err := c.kube.CoreV1().Pods(c.namespace).List(context.Background(), metav1.ListOptions{})
	c.must(err)
	for _, p := range list.Items {
		_, err := c.kube.CoreV1().Pods(c.namespace).Patch(context.Background(), p.Name, types.JSONPatchType,
			[]byte(`[{"op":"remove","path":"/metadata/finalizers"}]`), metav1.PatchOptions{})
		c.must(err)
	}
	// Whoever makes its successor adds the finalizer again: it must not hold the end.
	c.must(c.kube.AppsV1().Deployments(c.namespace).Delete(context.Background(), "web", metav1.DeleteOptions{}))
	c.await("the pods to go", func() bool {
		list, err := c.kube.CoreV1().Pods(c.namespace).List(context.Background(), metav1.ListOptions{})
		c.must(err)
		for _, p := range list.Items {
			_, _ = c.kube.CoreV1().Pods(c.namespace).Patch(context.Background(), p.Name, types.MergePatchType,
				[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}) // it may be gone
		}
		return len(list.Items) == 0
	})
}

func testDenied(t *testing.T, c *podCase) {
	c.deployment("web", 1, nil)
	c.ready("web", 1)
	policies := c.kube.AdmissionregistrationV1()
	name := "guard-" + c.namespace
	_, err := policies.ValidatingAdmissionPolicies().Create(context.Background(), &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/eviction"}}}}}},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "a backup runs"}}}}, metav1.CreateOptions{})
	c.must(err)
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(context.Background(), &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}}}, metav1.CreateOptions{})
	c.must(err)
	lift := func() {
		// Both are gone at the second call.
		_ = policies.ValidatingAdmissionPolicyBindings().Delete(context.Background(), name, metav1.DeleteOptions{})
		_ = policies.ValidatingAdmissionPolicies().Delete(context.Background(), name, metav1.DeleteOptions{})
	}
	defer lift()
	pod := c.readyOn("web", c.node)[0]
	c.await("the policy to act", func() bool { // it is compiled by and by
		err := c.kube.CoreV1().Pods(c.namespace).EvictV1(context.Background(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: c.namespace},
			DeleteOptions: &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}})
		return err != nil && strings.Contains(err.Error(), "a backup runs")
	})
	c.open()
	r := c.s.rotatord(t)
	p := r.Start(t, "drain", c.node)
	refused := p.Await("eviction-refused")
	if refused.Code != "denied" || !strings.Contains(refused.Message, "a backup runs") {
		t.Errorf("refused with %q: %s", refused.Code, refused.Message)
	}
	lift()
	p.Wait().MustExit(t, exitDone, "a backup runs")
}

func testBadBudgets(t *testing.T, c *podCase) {
	c.deployment("web", 3, nil)
	c.deployment("twice", 1, nil)
	c.budget("web", policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromString("90%"))})
	c.budget("twice", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))})
	_, err := c.kube.PolicyV1().PodDisruptionBudgets(c.namespace).Create(context.Background(), &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "again"},
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: appLabel("twice"), MaxUnavailable: new(intstr.FromInt32(1))}}, metav1.CreateOptions{})
	c.must(err)
	c.budget("nobody", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))})
	c.ready("twice", 1)
	c.ready("web", 3)
	c.counted("web", 3)
	began := time.Now()
	res, _ := c.drain()
	res.MustExit(t, exitRefused, "wants 3 of 3 pods healthy and can never allow an eviction", "minAvailable 90%, which rounds up",
		"selected by several PodDisruptionBudgets", "again, twice", c.namespace+"/nobody", "protect nothing")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the refusal took %s", took)
	}
}

func testGrace(t *testing.T, c *podCase) {
	c.deployment("slow", 1, func(p *corev1.PodTemplateSpec) {
		p.Annotations = map[string]string{"sandbox.rotatord.github.io/stop-delay": "5s"}
		p.Spec.TerminationGracePeriodSeconds = new(int64(20))
	})
	c.ready("slow", 1)
	res, _ := c.drain("--drain-deadline", "2s")
	res.MustExit(t, exitDone, "the deadline of 2s has passed", "within their grace periods")
}

// rotatord status says from the journal what a running drain waits for.
func TestDrainStatus(t *testing.T) {
	s := pods(t)
	c := newPodCase(t, s, "status")
	defer c.end()
	closedBudget(c)
	c.open()
	r := s.rotatord(t)
	p := r.Start(t, "drain", c.node)
	waits := p.Await("drain-waits")
	if waits.Code != "budget" {
		t.Errorf("it waits for %q: %s", waits.Code, waits.Message)
	}
	r.awaitStatus(t, `waits: pod `+c.namespace+`/web-.* waits for budget `+c.namespace+`/shop: disruptionsAllowed 0, 2 of 3 healthy, 2 wanted; not ready: broken-.* `+
		`\(since `+moment+`, told at `+moment+`\)$`)
	p.Signal(os.Interrupt)
	p.Wait().MustExit(t, exitStopped)
	s.MustHaveKeptBudgets(t)
}
