package workload

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	nodeCPU    = 3920
	nodeMemory = 15 * 1024
)

func TestDemoFits(t *testing.T) {
	for _, c := range []struct{ nodes, pods int }{{1, 0}, {2, 0}, {3, 12}, {12, 0}, {12, 108}, {12, 600}, {100, 1000}} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprintf("%d nodes %d pods seed %d", c.nodes, c.pods, seed), func(t *testing.T) {
				objects, err := Demo(DemoOptions{Nodes: c.nodes, Pods: c.pods, Seed: seed, NodeCPU: nodeCPU, NodeMemory: nodeMemory})
				if err != nil {
					t.Fatal(err)
				}
				want := c.pods
				if want == 0 {
					want = PodsPerNode * c.nodes
				}
				pods, cpu, memory := 0, int64(0), int64(0)
				count := func(n int, template corev1.PodTemplateSpec) {
					r := template.Spec.Containers[0].Resources.Requests
					pods += n
					cpu += int64(n) * r.Cpu().MilliValue()
					memory += int64(n) * (r.Memory().Value() >> 20)
				}
				namespaces, names := map[string]bool{"kube-system": true}, map[string]bool{}
				for _, o := range objects {
					m := o.(metav1.Object)
					kind := o.GetObjectKind().GroupVersionKind().Kind
					if kind == "" {
						t.Fatalf("%T %s has no kind", o, m.GetName())
					}
					key := kind + " " + m.GetNamespace() + "/" + m.GetName()
					if names[key] {
						t.Errorf("%s is made twice", key)
					}
					names[key] = true
					if m.GetNamespace() != "" && !namespaces[m.GetNamespace()] {
						t.Errorf("%s comes before its namespace", key)
					}
					switch o := o.(type) {
					case *corev1.Namespace:
						namespaces[o.Name] = true
					case *appsv1.Deployment:
						count(int(*o.Spec.Replicas), o.Spec.Template)
					case *appsv1.StatefulSet:
						count(int(*o.Spec.Replicas), o.Spec.Template)
					case *batchv1.Job:
						count(int(*o.Spec.Parallelism), o.Spec.Template)
					case *appsv1.DaemonSet:
						count(c.nodes, o.Spec.Template)
					}
				}
				if pods != want {
					t.Errorf("%d pods, want %d", pods, want)
				}
				spare := int64(max(1, c.nodes-1))
				if cpu > spare*nodeCPU || memory > spare*nodeMemory {
					t.Errorf("pods ask for %dm CPU and %d MiB: %d nodes have %dm and %d", cpu, memory, spare, spare*nodeCPU, spare*nodeMemory)
				}
			})
		}
	}
}

// Every kind of budget is there, and each can be kept: a budget that no eviction
// ever satisfies would stop the demo.
func TestDemoBudgets(t *testing.T) {
	objects, err := Demo(DemoOptions{Nodes: 12, Seed: 1, NodeCPU: nodeCPU, NodeMemory: nodeMemory})
	if err != nil {
		t.Fatal(err)
	}
	replicas := map[string]int{}
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			replicas[o.Namespace+"/"+o.Name] = int(*o.Spec.Replicas)
		case *appsv1.StatefulSet:
			replicas[o.Namespace+"/"+o.Name] = int(*o.Spec.Replicas)
		}
	}
	kinds := map[string]int{}
	covered := map[string]bool{}
	for _, o := range objects {
		b, ok := o.(*policyv1.PodDisruptionBudget)
		if !ok {
			continue
		}
		key := b.Namespace + "/" + b.Name
		covered[key] = true
		n := replicas[key]
		var room int
		describe := func(name string, v *intstr.IntOrString) int {
			kind := name + " number"
			if v.Type == intstr.String {
				kind = name + " percentage"
			}
			kinds[kind]++
			scaled, err := intstr.GetScaledValueFromIntOrPercent(v, n, true)
			if err != nil {
				t.Fatal(err)
			}
			return scaled
		}
		if b.Spec.MaxUnavailable != nil {
			room = describe("maxUnavailable", b.Spec.MaxUnavailable)
		} else {
			room = n - describe("minAvailable", b.Spec.MinAvailable)
		}
		if room < 1 {
			t.Errorf("budget %s over %d pods never allows an eviction", key, n)
		}
	}
	for _, kind := range []string{"maxUnavailable number", "maxUnavailable percentage", "minAvailable number", "minAvailable percentage"} {
		if kinds[kind] == 0 {
			t.Errorf("no budget with %s among %v", kind, kinds)
		}
	}
	if len(covered) == len(replicas) {
		t.Error("every workload has a budget, want some without")
	}
}

func TestDemoIsDecidedByItsSeed(t *testing.T) {
	o := DemoOptions{Nodes: 12, Seed: 1, NodeCPU: nodeCPU, NodeMemory: nodeMemory}
	first, err := Demo(o)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Demo(o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same seed made other workloads:\n%s", diff)
	}
	o.Seed = 2
	third, err := Demo(o)
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(first, third) {
		t.Error("another seed made the same workloads")
	}
}

func TestDemoRefuses(t *testing.T) {
	for _, c := range []struct {
		name        string
		nodes, pods int
		want        string
	}{
		{"no node", 0, 0, "at least 1"},
		{"too many pods", 3, 400, "do not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Demo(DemoOptions{Nodes: c.nodes, Pods: c.pods, NodeCPU: nodeCPU, NodeMemory: nodeMemory})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	for _, c := range []struct {
		name, content string
		want          []string
		wantErr       string
	}{
		{
			name: "several documents",
			content: "# a comment\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" +
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n",
			want: []string{"Namespace /shop", "ConfigMap shop/a"},
		},
		{
			name: "a list",
			content: "apiVersion: v1\nkind: List\nitems:\n" +
				"- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n",
			want: []string{"ConfigMap /a", "ConfigMap /b"},
		},
		{name: "empty", content: "# nothing\n", wantErr: "holds no object"},
		{name: "no kind", content: "---\napiVersion: v1\nmetadata: {name: a}\n", wantErr: "are required"},
		{name: "no name", content: "apiVersion: v1\nkind: Pod\n", wantErr: "are required"},
		{name: "a key twice", content: "apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}\n", wantErr: "document 1"},
		{name: "no yaml", content: "{", wantErr: "document 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "w.yaml")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			objects, err := ReadFile(path)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) || !strings.Contains(err.Error(), path) {
					t.Fatalf("error = %v, want one with %q and the path", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range objects {
				u := o.(*unstructured.Unstructured)
				got = append(got, u.GetKind()+" "+u.GetNamespace()+"/"+u.GetName())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a file that is not there was read")
	}
}
