package workload

import (
	"fmt"
	"math/rand/v2"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotatord/rotator/sandbox/kubelet"
)

// PodsPerNode is how many pods the demo puts on each node where the number of
// pods is not given.
const PodsPerNode = 9

// DemoOptions shape the demo.
type DemoOptions struct {
	Nodes int    // how many nodes there are
	Pods  int    // how many pods to make in about all; 0: PodsPerNode for each node
	Seed  uint64 // the same seed makes the same workloads
	// NodeCPU and NodeMemory are what one node has for pods, in thousandths of
	// a CPU and in MiB. Requests are cut so that all pods fit on one node less.
	NodeCPU, NodeMemory int64
}

// fill is the share of the cluster, less one node, that pods may ask for: what
// a scheduler that spreads pods can still place.
const fill = 0.75

// Demo makes the workloads of a small company: web services under budgets of
// every kind and without, a database as a StatefulSet, agents on each node, and
// a long job that completes. It fails when so many pods cannot fit.
func Demo(o DemoOptions) ([]runtime.Object, error) {
	if o.Nodes < 1 {
		return nil, fmt.Errorf("demo workload: %d nodes: at least 1 is needed", o.Nodes)
	}
	pods := o.Pods
	if pods == 0 {
		pods = PodsPerNode * o.Nodes
	}
	d := &demo{rng: rand.New(rand.NewPCG(o.Seed, 0x776f726b))}
	// The two agents run on each node; the rest has to go around among them.
	free := pods - agents*o.Nodes
	if spare := maxPodsPerNode * max(1, o.Nodes-1); free > spare {
		return nil, fmt.Errorf("demo workload: %d pods do not fit on %d nodes with one missing: at most %d", pods, o.Nodes, spare+agents*o.Nodes)
	}
	share := fill * float64(max(1, o.Nodes-1)) / float64(max(1, free))
	d.cpu, d.memory = int64(share*float64(o.NodeCPU)), int64(share*float64(o.NodeMemory))

	for _, name := range namespaces {
		d.add(&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	d.agent("kube-system", "node-agent", true)
	d.agent("platform", "log-shipper", false)
	if free >= 6 {
		free -= d.database(3)
	}
	if free >= 2 {
		free -= d.job(1)
	}
	for i := 0; free > 0; i++ {
		free -= d.service(i, free)
	}
	return d.objects, nil
}

const (
	agents         = 2
	maxPodsPerNode = 100 // of the 110 that a node takes; the agents and the unevenness need the rest
)

var namespaces = []string{"shop", "media", "platform"}

// services are the demo's web services in the order in which they are made;
// further rounds number them.
var services = []struct{ namespace, name string }{
	{"shop", "storefront"}, {"media", "thumbnails"}, {"shop", "checkout"}, {"platform", "gateway"},
	{"media", "encoder"}, {"shop", "cart"}, {"platform", "auth"}, {"media", "player"},
	{"shop", "search"}, {"platform", "billing"}, {"shop", "recommendations"}, {"media", "uploads"},
}

type demo struct {
	rng         *rand.Rand
	cpu, memory int64 // the most that one pod may ask for on average
	objects     []runtime.Object
}

func (d *demo) add(o ...runtime.Object) { d.objects = append(d.objects, o...) }

// service makes a Deployment and perhaps its budget, of at most free pods, and
// returns how many pods it has. The kinds of budgets take turns, so that each is
// there in every cluster that is large enough.
func (d *demo) service(i, free int) int {
	s := services[i%len(services)]
	name := s.name
	if round := i / len(services); round > 0 {
		name = fmt.Sprintf("%s-%d", name, round+1)
	}
	replicas := min(free, 2+d.rng.IntN(5))
	var budget *policyv1.PodDisruptionBudgetSpec
	switch i % 6 {
	case 0:
		budget = &policyv1.PodDisruptionBudgetSpec{MaxUnavailable: number(1)}
	case 1:
		budget = &policyv1.PodDisruptionBudgetSpec{MaxUnavailable: percent(25)}
	case 2:
		budget = &policyv1.PodDisruptionBudgetSpec{MinAvailable: number(replicas - 1)}
	case 3: // no budget
	case 4:
		budget = &policyv1.PodDisruptionBudgetSpec{MinAvailable: percent(50)}
	case 5: // no budget and a single pod
		replicas = 1
	}
	if replicas < 2 {
		budget = nil // it could never be moved
	}
	d.add(&appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(replicas)), Selector: selector(name), Template: d.template(name, corev1.RestartPolicyAlways),
		},
	})
	if budget != nil {
		d.budget(s.namespace, name, *budget)
	}
	return replicas
}

func (d *demo) database(replicas int) int {
	d.add(&appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(replicas)), ServiceName: "orders-db", Selector: selector("orders-db"),
			Template: d.template("orders-db", corev1.RestartPolicyAlways),
		},
	})
	d.budget("shop", "orders-db", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: number(1)})
	return replicas
}

// jobRuns is longer than a demo's start and shorter than its rotation, so that
// the job completes in the middle.
const jobRuns = "45s"

func (d *demo) job(pods int) int {
	template := d.template("nightly-report", corev1.RestartPolicyNever)
	template.Annotations = map[string]string{kubelet.AnnotationRunDelay: jobRuns}
	d.add(&batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "nightly-report"},
		Spec:       batchv1.JobSpec{Parallelism: new(int32(pods)), Completions: new(int32(pods)), Template: template},
	})
	return pods
}

// agent makes a DaemonSet; a system agent tolerates everything.
func (d *demo) agent(namespace, name string, system bool) {
	template := d.template(name, corev1.RestartPolicyAlways)
	template.Spec.Containers[0].Resources.Requests = requests(20, 32)
	if system {
		template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		template.Spec.PriorityClassName = "system-node-critical"
		template.Spec.HostNetwork = true
	}
	d.add(&appsv1.DaemonSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DaemonSetSpec{Selector: selector(name), Template: template},
	})
}

func (d *demo) budget(namespace, name string, spec policyv1.PodDisruptionBudgetSpec) {
	spec.Selector = selector(name)
	d.add(&policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       spec,
	})
}

func (d *demo) template(name string, restart corev1.RestartPolicy) corev1.PodTemplateSpec {
	step := int64(1 + d.rng.IntN(3)) // small, middle or large
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			RestartPolicy: restart,
			Containers: []corev1.Container{{
				Name: name, Image: "registry.invalid/" + name + ":1", // never pulled
				Resources: corev1.ResourceRequirements{Requests: requests(min(100*step, d.cpu), min(128*step, d.memory))},
			}},
		},
	}
}

func requests(milliCPU, mebibytes int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(max(1, milliCPU), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(max(1, mebibytes)<<20, resource.BinarySI),
	}
}

func selector(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func number(n int) *intstr.IntOrString { return new(intstr.FromInt32(int32(n))) }

func percent(n int) *intstr.IntOrString { return new(intstr.FromString(fmt.Sprintf("%d%%", n))) }
