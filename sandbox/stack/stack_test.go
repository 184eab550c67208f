package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotatord/rotator/sandbox/cloudnode"
	"github.com/rotatord/rotator/sandbox/control"
	"github.com/rotatord/rotator/sandbox/observer"
	"github.com/rotatord/rotator/sandbox/workload"
)

// These tests share one sandbox, since a process can run one control plane.
// Each leaves it as it was: all nodes there, all pods Ready, no fault.
var (
	box   *Sandbox
	admin kubernetes.Interface // as rotatord and people act
)

const (
	testNodes   = 4
	testTimeout = time.Minute // for anything to happen; a loaded machine is slow
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	o := Defaults()
	o.Dir, o.Nodes, o.Workload = dir, testNodes, "testdata/workload.yaml"
	// Pods start slowly enough that a budget is used up for a while, and stop
	// slowly enough to be seen.
	o.BootDelay, o.PodStart, o.PodStop = 300*time.Millisecond, 1500*time.Millisecond, 200*time.Millisecond
	box, err = Up(context.Background(), o, func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer box.Down()
	config, err := clientcmd.BuildConfigFromFlags("", box.plane.Kubeconfig())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	admin = kubernetes.NewForConfigOrDie(config)
	return m.Run()
}

// eventually waits until look names nothing that is missing.
func eventually(t *testing.T, look func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := box.await(ctx, func(context.Context) (string, error) { return look(), nil }); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the sandbox is as at its start, and begins a new judgement.
func settle(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		missing, err := nodesMissing(t.Context(), admin, testNodes)
		if err == nil && missing == "" {
			missing, err = workload.Unsettled(t.Context(), admin)
		}
		if err != nil {
			return err.Error()
		}
		return missing
	})
	if err := box.observer.Reset(); err != nil {
		t.Fatal(err)
	}
}

func verdict(t *testing.T) *observer.Verdict {
	t.Helper()
	v, err := box.observer.Verdict(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func pods(t *testing.T, namespace, app string) []corev1.Pod {
	t.Helper()
	list, err := admin.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func nodes(t *testing.T) map[string]corev1.Node {
	t.Helper()
	list, err := admin.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]corev1.Node{}
	for _, n := range list.Items {
		byName[n.Name] = n
	}
	return byName
}

// evict asks once: without MaxRetries client-go itself repeats a call that was
// refused with Retry-After.
func evict(ctx context.Context, p corev1.Pod) error {
	return admin.CoreV1().RESTClient().Post().MaxRetries(0).
		Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("eviction").
		Body(&policyv1.Eviction{
			TypeMeta:      metav1.TypeMeta{APIVersion: "policy/v1", Kind: "Eviction"},
			ObjectMeta:    metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}},
		}).Do(ctx).Error()
}

// terminate ends the node's machine as an Auto Scaling group's API does, and
// lets the group replace it.
func terminate(t *testing.T, n corev1.Node) {
	t.Helper()
	id := n.Spec.ProviderID[strings.LastIndex(n.Spec.ProviderID, "/")+1:]
	form := url.Values{
		"Action": {"TerminateInstanceInAutoScalingGroup"}, "Version": {"2011-01-01"},
		"InstanceId": {id}, "ShouldDecrementDesiredCapacity": {"false"},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, box.url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=sandbox/20260101/eu-central-1/autoscaling/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("terminating %s: %s: %s (%v)", id, resp.Status, body, err)
	}
}

func TestNodesAreAsOnEKS(t *testing.T) {
	machines := map[string]string{} // provider id -> zone
	for _, m := range box.cloud.Machines() {
		machines[cloudnode.ProviderID(m)] = m.Zone
	}
	all := nodes(t)
	if len(all) != testNodes {
		t.Fatalf("%d nodes, want %d: the foreign group's machine must not join", len(all), testNodes)
	}
	zones := map[string]int{}
	for name, n := range all {
		zone, known := machines[n.Spec.ProviderID]
		if !known {
			t.Errorf("node %s has provider id %q, which is no machine", name, n.Spec.ProviderID)
		}
		zones[zone]++
		want := map[string]string{
			"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
			"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "eu-central-1",
			"node.kubernetes.io/instance-type": "m5.xlarge",
		}
		got := map[string]string{}
		for key := range want {
			got[key] = n.Labels[key]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("labels of node %s (-want +got):\n%s", name, diff)
		}
		if strings.HasSuffix(name, ".ec2.internal") || !strings.HasSuffix(name, ".eu-central-1.compute.internal") {
			t.Errorf("node name %s is not of eu-central-1", name)
		}
		if len(n.Spec.Taints) != 0 {
			t.Errorf("node %s carries %v, want no taint once initialised", name, n.Spec.Taints)
		}
		if _, err := admin.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Errorf("lease of node %s: %v", name, err)
		}
	}
	if len(zones) != 3 {
		t.Errorf("nodes in zones %v, want all 3", zones)
	}
}

func TestWorkloadsRun(t *testing.T) {
	settle(t)
	t.Run("a stateful set's pods keep their names", func(t *testing.T) {
		got := map[string]bool{}
		for _, p := range pods(t, "shop", "db") {
			got[p.Name] = p.Status.Phase == corev1.PodRunning
		}
		if diff := cmp.Diff(map[string]bool{"db-0": true, "db-1": true, "db-2": true}, got); diff != "" {
			t.Errorf("pods running (-want +got):\n%s", diff)
		}
	})
	t.Run("a daemon set has one pod on each node", func(t *testing.T) {
		got := map[string]int{}
		for _, p := range pods(t, "kube-system", "agent") {
			got[p.Spec.NodeName]++
		}
		want := map[string]int{}
		for name := range nodes(t) {
			want[name] = 1
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pods on nodes (-want +got):\n%s", diff)
		}
	})
	t.Run("a job completes", func(t *testing.T) {
		eventually(t, func() string {
			job, err := admin.BatchV1().Jobs("shop").Get(t.Context(), "report", metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			if job.Status.Succeeded != 2 || job.Status.CompletionTime == nil {
				return fmt.Sprintf("job report: %d of 2 pods succeeded", job.Status.Succeeded)
			}
			return ""
		})
	})
	t.Run("a pod that never gets Ready runs", func(t *testing.T) {
		eventually(t, func() string {
			for _, p := range pods(t, "shop", "stuck") {
				for _, c := range p.Status.Conditions {
					if c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse && p.Status.Phase == corev1.PodRunning {
						return ""
					}
				}
			}
			return "the stuck pod to run, unready"
		})
	})
}

// The web budget lets one of four pods go. While its replacement starts, the
// eviction API refuses the next, and the observer sees no violation.
func TestEvictionsKeepTheBudget(t *testing.T) {
	settle(t)
	web := pods(t, "shop", "web")
	if err := evict(t.Context(), web[0]); err != nil {
		t.Fatalf("the first eviction: %v", err)
	}
	err := evict(t.Context(), web[1])
	if !apierrors.IsTooManyRequests(err) {
		t.Fatalf("the second eviction: %v, want 429", err)
	}
	eventually(t, func() string {
		missing, err := workload.Unsettled(t.Context(), admin)
		if err != nil {
			return err.Error()
		}
		return missing
	})
	v := verdict(t)
	if !v.OK || len(v.Violations) != 0 {
		t.Errorf("violations = %v, want none", v.Violations)
	}
	want := []observer.EvictionCount{{User: "rotator-admin", Allowed: 1, Refused: 1}}
	if diff := cmp.Diff(want, v.Evictions); diff != "" {
		t.Errorf("evictions (-want +got):\n%s", diff)
	}
	if moves := v.MovesPerPod * 8; moves != 1 { // web 4, db 3, stuck 1
		t.Errorf("moves = %v of 8 pods, want 1", moves)
	}
}

// Pods deleted directly go although the budget has no room: the observer must
// see it, or nobody could trust a clean verdict.
func TestObserverCatchesAViolation(t *testing.T) {
	settle(t)
	for _, p := range pods(t, "shop", "web")[:2] {
		if err := admin.CoreV1().Pods("shop").Delete(t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() string {
		missing, err := workload.Unsettled(t.Context(), admin)
		if err != nil {
			return err.Error()
		}
		return missing
	})
	v := verdict(t)
	if v.OK || len(v.Violations) != 1 {
		t.Fatalf("ok = %v, violations = %v, want one", v.OK, v.Violations)
	}
	got := v.Violations[0]
	if got.Namespace != "shop" || got.Budget != "web" || got.Desired != 3 || got.Healthy != 2 || got.End == nil ||
		!strings.Contains(got.Cause, "was asked to end") {
		t.Errorf("violation = %v, want shop/web with 2 of 3, over", got)
	}
	if len(v.DirectDeletes) != 2 {
		t.Errorf("direct deletes = %v, want 2", v.DirectDeletes)
	}

	// The same over HTTP, as sandbox verify reads it.
	client, err := control.NewClient(box.url + "/_sandbox")
	if err != nil {
		t.Fatal(err)
	}
	var served observer.Verdict
	if err := client.Do(t.Context(), http.MethodGet, "/verify", nil, &served); err != nil {
		t.Fatal(err)
	}
	if served.OK || len(served.Violations) != 1 {
		t.Errorf("served verdict: ok = %v, violations = %v, want one", served.OK, served.Violations)
	}
	if err := client.Do(t.Context(), http.MethodPost, "/verify/reset", struct{}{}, nil); err != nil {
		t.Fatal(err)
	}
	if v := verdict(t); !v.OK {
		t.Errorf("after a reset: violations = %v, deletes = %v, want none", v.Violations, v.DirectDeletes)
	}
}

// One node is drained and its machine terminated, as a rotation does it.
func TestMachineIsReplaced(t *testing.T) {
	settle(t)
	before := verdict(t)
	var old corev1.Node
	for _, p := range pods(t, "shop", "db") {
		old = nodes(t)[p.Spec.NodeName]
	}
	if _, err := admin.CoreV1().Nodes().Patch(t.Context(), old.Name, types.MergePatchType,
		[]byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		left := 0
		list, err := admin.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + old.Name})
		if err != nil {
			return err.Error()
		}
		for _, p := range list.Items {
			if p.Labels["app"] == "agent" || p.Status.Phase == corev1.PodSucceeded {
				continue
			}
			left++
			if err := evict(t.Context(), p); err != nil && !apierrors.IsTooManyRequests(err) && !apierrors.IsNotFound(err) {
				return err.Error()
			}
		}
		if left > 0 {
			return fmt.Sprintf("%d pods to leave node %s", left, old.Name)
		}
		return ""
	})
	terminate(t, old)
	eventually(t, func() string {
		if n, ok := nodes(t)[old.Name]; ok && n.UID == old.UID {
			return "node " + old.Name + " to go"
		}
		return ""
	})
	eventually(t, func() string {
		for _, p := range pods(t, "kube-system", "agent") {
			if p.Spec.NodeName == old.Name {
				return "the daemon set's pod of the old node to go"
			}
		}
		return ""
	})
	eventually(t, func() string {
		missing, err := nodesMissing(t.Context(), admin, testNodes)
		if err == nil && missing == "" {
			missing, err = workload.Unsettled(t.Context(), admin)
		}
		if err != nil {
			return err.Error()
		}
		return missing
	})
	v := verdict(t)
	if !v.OK {
		t.Errorf("violations = %v, direct deletes = %v, want none", v.Violations, v.DirectDeletes)
	}
	// One of four nodes: the comparison must name the three others, and only them.
	wrong := observer.NotReplaced(before, v, cloudnode.ClusterTag(box.opts.Cluster))
	same := 0
	for _, w := range wrong {
		if strings.Contains(w, "is still the same machine") {
			same++
		} else if !strings.Contains(w, "shop/stuck") {
			t.Errorf("unexpected difference: %s", w)
		}
	}
	if same != testNodes-1 {
		t.Errorf("%d machines are the same (%q), want %d", same, wrong, testNodes-1)
	}
}

// A machine that ends with pods on it takes them along; they come back
// elsewhere, and the kubelets' part is not played for it any more.
func TestMachineIsTerminatedWithPods(t *testing.T) {
	settle(t)
	var old corev1.Node
	for _, p := range pods(t, "shop", "db") {
		old = nodes(t)[p.Spec.NodeName]
	}
	terminate(t, old)
	eventually(t, func() string {
		if n, ok := nodes(t)[old.Name]; ok && n.UID == old.UID {
			return "node " + old.Name + " to go"
		}
		return ""
	})
	settle(t)
}

func TestMachinesThatFail(t *testing.T) {
	for _, c := range []struct {
		kind control.Kind
		look func(t *testing.T, before map[string]corev1.Node) string
	}{
		{kind: control.NeverReady, look: func(t *testing.T, before map[string]corev1.Node) string {
			for name, n := range nodes(t) {
				if _, known := before[name]; known {
					continue
				}
				for _, c := range n.Status.Conditions {
					if c.Type == corev1.NodeReady && c.Status == corev1.ConditionFalse {
						return ""
					}
				}
			}
			return "a new node that is not Ready"
		}},
		{kind: control.NeverJoin, look: func(t *testing.T, before map[string]corev1.Node) string {
			for _, m := range box.cloud.Machines() {
				if m.NeverJoins && m.State == "running" && time.Since(m.LaunchTime) > 2*time.Second {
					if _, joined := nodes(t)[m.PrivateDNSName]; joined {
						t.Errorf("node %s joined", m.PrivateDNSName)
					}
					return ""
				}
			}
			return "a machine that never joins to run"
		}},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			settle(t)
			if _, err := box.cloud.AddFault(control.Fault{Kind: c.kind, Count: 1}); err != nil {
				t.Fatal(err)
			}
			before := nodes(t)
			for _, n := range before {
				terminate(t, n)
				break
			}
			eventually(t, func() string { return c.look(t, before) })
			if err := box.cloud.ClearFaults(""); err != nil {
				t.Fatal(err)
			}
			// The broken machine goes the same way and is replaced by a good one.
			for _, m := range box.cloud.Machines() {
				if m.State == "running" && (m.NeverJoins || m.NeverReady) {
					terminate(t, corev1.Node{Spec: corev1.NodeSpec{ProviderID: cloudnode.ProviderID(m)}})
				}
			}
			settle(t)
		})
	}
}

func TestEnvironment(t *testing.T) {
	content, err := os.ReadFile(box.opts.Dir + "/env")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range box.Environment() {
		k, v, _ := strings.Cut(kv, "=")
		if want := fmt.Sprintf("export %s='%s'\n", k, v); !strings.Contains(string(content), want) {
			t.Errorf("env = %q, want a line %q", content, want)
		}
	}
}
