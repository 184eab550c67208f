//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
	"github.com/rotatord/rotator/core/sim"
	"github.com/rotatord/rotator/core/sim/contract"
)

// bare is a control plane with next to nothing in it, for the suite of package
// contract: its scenes have a node and a kubelet of their own.
var bare = lazily("e2e-contract", "eu-south-1", "--nodes", "1", "--groups", "1", "--zones", "1", "--workload", "none", "--seed", "13",
	"--node-monitor-grace-period", "10m")

// The real API server and its controllers keep the contract that the simulator
// keeps, through the very ports that rotatord uses.
func TestContract(t *testing.T) {
	w := realWorld(t)
	contract.Run(t, w)
	t.Run("objects", func(t *testing.T) {
		contract.Objects(t, func(t testing.TB) journal.Objects { return w.port.Objects(w.namespace(t)) })
	})
}

// Random budgets over random workloads: what the real disruption controller
// makes of them, and what the eviction API answers, is what the simulator does
// and answers. CONTRACT_SCENES plays more of them, CONTRACT_FROM others.
func TestContractBudgets(t *testing.T) {
	number := func(name string, otherwise uint64) uint64 {
		s := os.Getenv(name)
		if s == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	from := number("CONTRACT_FROM", 0)
	scenes := number("CONTRACT_SCENES", 100)
	n := contract.Budgets(t, realWorld(t), from, from+scenes)
	t.Logf("%d statuses and answers of %d scenes were compared", n, scenes)
}

// reality is the World of the sandbox's control plane.
type reality struct {
	client kubernetes.Interface
	port   *kube.Cluster
	node   string
}

var _ contract.World = (*reality)(nil)

// sceneNode is where the pods of all scenes are bound.
const sceneNode = "contract"

// realWorld connects rotator's own port, and makes the node.
func realWorld(t *testing.T) *reality {
	t.Helper()
	s := bare(t)
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS, cfg.UserAgent = -1, "rotator-e2e"
	w := &reality{node: sceneNode}
	if w.client, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	n, err := w.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.node},
		Spec: corev1.NodeSpec{ProviderID: "contract:///" + w.node}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.client.CoreV1().Nodes().Delete(context.Background(), w.node, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	s.Fault(t, "node-dead", "--node", w.node) // its kubelet is the test
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
	n.Status.Capacity = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("10k")}
	n.Status.Allocatable = n.Status.Capacity
	b, err := json.Marshal(map[string]any{"status": n.Status})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.CoreV1().Nodes().Patch(ctx, w.node, types.StrategicMergePatchType, b, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	if w.port, err = kube.Connect(ctx, kube.Options{Kubeconfig: s.Getenv("KUBECONFIG")}); err != nil {
		t.Fatal(err)
	}
	if err := w.port.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// In implements contract.World: time passes as it does.
func (w *reality) In(t *testing.T, f func(t *testing.T)) { f(t) }

// namespaces of all tests of this process.
var namespaces atomic.Int64

func (w *reality) namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("scene-%d", namespaces.Add(1))
	if _, err := w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The controller would make it in a moment: pods are refused without it.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := w.client.CoreV1().ServiceAccounts(name).Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	return name
}

// Set implements contract.World.
func (w *reality) Set(t testing.TB, s sim.Scene) contract.Stage {
	t.Helper()
	st := &realStage{reality: w, ns: w.namespace(t), pods: map[string][]engine.PodRef{}}
	for _, a := range s.Apps {
		st.app(t, a)
	}
	for _, b := range s.Budgets {
		st.budget(t, b)
	}
	return st
}

// realStage is a namespace.
type realStage struct {
	*reality
	ns   string
	pods map[string][]engine.PodRef
}

func (st *realStage) template(app string) corev1.PodTemplateSpec {
	const aDay = int64(24 * 60 * 60) // no pod ends while somebody looks
	grace := aDay
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}}, Spec: corev1.PodSpec{
		NodeName: st.node, TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
}

// app makes a controller or bare pods, waits for the pods, and sets what they say.
func (st *realStage) app(t testing.TB, a sim.App) {
	t.Helper()
	ctx := t.Context()
	meta := metav1.ObjectMeta{Name: a.Name}
	replicas := int32(max(len(a.Pods), a.Barred))
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": a.Name}}
	template := st.template(a.Name)
	if a.Barred > 0 {
		template.Spec.ServiceAccountName = "missing"
	}
	var err error
	switch a.Kind {
	case "ReplicaSet":
		_, err = st.client.AppsV1().ReplicaSets(st.ns).Create(ctx, &appsv1.ReplicaSet{ObjectMeta: meta,
			Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: selector, Template: template}}, metav1.CreateOptions{})
	case "StatefulSet":
		_, err = st.client.AppsV1().StatefulSets(st.ns).Create(ctx, &appsv1.StatefulSet{ObjectMeta: meta,
			Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Selector: selector, Template: template, PodManagementPolicy: appsv1.ParallelPodManagement}}, metav1.CreateOptions{})
	default:
		var owners []metav1.OwnerReference
		if a.Kind != "" { // it exists, so that the garbage collector leaves its pods
			m, err := st.client.CoreV1().ConfigMaps(st.ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			yes := true
			owners = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: m.Name, UID: m.UID, Controller: &yes}}
		}
		for i := range a.Pods {
			_, err = st.client.CoreV1().Pods(st.ns).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", a.Name, i),
				Labels: template.Labels, OwnerReferences: owners}, Spec: template.Spec}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var list *corev1.PodList
	eventually(t, fmt.Sprintf("%d pods of %s/%s", len(a.Pods), st.ns, a.Name), func() bool {
		list, err = st.client.CoreV1().Pods(st.ns).List(ctx, metav1.ListOptions{LabelSelector: "app=" + a.Name})
		return err == nil && len(list.Items) == len(a.Pods)
	})
	for i, p := range list.Items { // the API sorts by name
		key := model.PodKey{Namespace: st.ns, Name: p.Name}
		st.pods[a.Name] = append(st.pods[a.Name], engine.PodRef{PodKey: key, UID: string(p.UID)})
		st.Report(t, key, a.Pods[i])
	}
}

func (st *realStage) budget(t testing.TB, b sim.BudgetShape) {
	t.Helper()
	pdb := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: b.Name}, Spec: policyv1.PodDisruptionBudgetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "nothing"}}}}
	if len(b.Workloads) > 0 {
		pdb.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: b.Workloads}}}
	}
	if b.MinAvailable != "" {
		v := intstr.Parse(b.MinAvailable)
		pdb.Spec.MinAvailable = &v
	} else {
		v := intstr.Parse(b.MaxUnavailable)
		pdb.Spec.MaxUnavailable = &v
	}
	if b.AlwaysEvictUnhealthy {
		always := policyv1.AlwaysAllow
		pdb.Spec.UnhealthyPodEvictionPolicy = &always
	}
	if _, err := st.client.PolicyV1().PodDisruptionBudgets(st.ns).Create(t.Context(), pdb, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Cluster implements contract.Stage.
func (st *realStage) Cluster() runtime.Cluster { return st.port }

// Pods implements contract.Stage.
func (st *realStage) Pods(app string) []engine.PodRef { return st.pods[app] }

// Look implements contract.Stage: what the port's watches show.
func (st *realStage) Look(testing.TB) model.Inventory {
	var out model.Inventory
	all := st.port.Inventory()
	for _, n := range all.Nodes {
		if n.Name == st.node {
			out.Nodes = append(out.Nodes, n)
		}
	}
	for _, p := range all.Pods {
		if p.Namespace == st.ns {
			out.Pods = append(out.Pods, p)
		}
	}
	for _, b := range all.Budgets {
		if b.Namespace == st.ns {
			out.Budgets = append(out.Budgets, b)
		}
	}
	return out
}

// Report implements contract.Stage.
func (st *realStage) Report(t testing.TB, pod model.PodKey, s sim.PodState) {
	t.Helper()
	is := corev1.ConditionFalse
	if s.Ready {
		is = corev1.ConditionTrue
	}
	b, err := json.Marshal(map[string]any{"status": corev1.PodStatus{Phase: corev1.PodPhase(s.Phase),
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: is, LastTransitionTime: metav1.Now()}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.client.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.StrategicMergePatchType, b, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

// Remake implements contract.Stage.
func (st *realStage) Remake(t testing.TB, pod model.PodKey) {
	t.Helper()
	ctx := t.Context()
	was, err := st.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	if err := st.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.client.CoreV1().Pods(pod.Namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: was.Name, Labels: was.Labels}, Spec: st.template(was.Labels["app"]).Spec}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	st.Report(t, pod, sim.PodState{Phase: string(was.Status.Phase), Ready: true})
}

// Person implements contract.Stage.
func (st *realStage) Person(t testing.TB, add model.Taint) {
	t.Helper()
	n, err := st.client.CoreV1().Nodes().Get(t.Context(), st.node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: add.Key, Value: add.Value, Effect: corev1.TaintEffect(add.Effect)})
	if _, err := st.client.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until f is true, or fails the test.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}
