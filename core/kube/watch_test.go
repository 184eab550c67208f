package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// seen gathers changes until enough is true of all of them together.
func seen(t *testing.T, c *Cluster, enough func(engine.Input) bool) engine.Input {
	t.Helper()
	var all engine.Input
	deadline := time.After(30 * time.Second)
	for {
		select {
		case in := <-c.Changes():
			all.Nodes = append(all.Nodes, in.Nodes...)
			all.NodesGone = append(all.NodesGone, in.NodesGone...)
			all.Pods = append(all.Pods, in.Pods...)
			all.PodsGone = append(all.PodsGone, in.PodsGone...)
			all.Workloads = append(all.Workloads, in.Workloads...)
			all.WorkloadsGone = append(all.WorkloadsGone, in.WorkloadsGone...)
			all.Budgets = append(all.Budgets, in.Budgets...)
			all.BudgetsGone = append(all.BudgetsGone, in.BudgetsGone...)
			if enough(all) {
				return all
			}
		case <-deadline:
			t.Fatalf("not enough changes: %+v", all)
		}
	}
}

func workloadMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "u-" + "w"}
}

func fill(api *fakeAPI) {
	rs := &appsv1.ReplicaSet{ObjectMeta: workloadMeta("web"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr(int32(2))}, Status: appsv1.ReplicaSetStatus{ReadyReplicas: 2}}
	history := &appsv1.ReplicaSet{ObjectMeta: workloadMeta("web-old"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr(int32(0))}}
	pod := newPod("ns", "web-1", "up")
	pod.Spec.NodeName = "n1"
	api.put(newNode("n1", "u1"), newNode("n2", "u2"), pod, rs, history,
		&appsv1.StatefulSet{ObjectMeta: workloadMeta("db")}, &appsv1.DaemonSet{ObjectMeta: workloadMeta("agent")},
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "ub"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{}}})
}

// names lists an inventory's objects in its order.
func names(inv model.Inventory) []string {
	var list []string
	for _, n := range inv.Nodes {
		list = append(list, "node "+n.Name)
	}
	for _, p := range inv.Pods {
		list = append(list, "pod "+p.PodKey.String()+" on "+p.Node)
	}
	for _, w := range inv.Workloads {
		list = append(list, w.WorkloadKey.String())
	}
	for _, b := range inv.Budgets {
		list = append(list, "budget "+b.BudgetKey.String())
	}
	return list
}

func TestStartBringsTheInventory(t *testing.T) {
	api := newFakeAPI(t)
	fill(api)
	c := api.started()
	want := []string{"node n1", "node n2", "pod ns/web-1 on n1", "DaemonSet ns/agent", "ReplicaSet ns/web", "StatefulSet ns/db", "budget ns/web"}
	if diff := cmp.Diff(want, names(c.Inventory())); diff != "" {
		t.Error(diff)
	}
	api.put(newNode("n3", "u3"))
	if in := seen(t, c, func(in engine.Input) bool { return len(in.Nodes) > 0 }); in.Nodes[0].Name != "n3" || len(in.Nodes) != 1 {
		t.Errorf("%+v", in)
	}
}

// A list of any version would come from the API server's cache, which knows no
// pages.
func TestListsComeInPages(t *testing.T) {
	api := newFakeAPI(t)
	fill(api)
	const all = 2*listPage + 100
	var asked []string
	api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		q := r.URL.Query()
		if r.URL.Path != "/api/v1/nodes" || q.Get("watch") != "" {
			return false
		}
		asked = append(asked, fmt.Sprintf("from %q, at most %s, version %q", q.Get("continue"), q.Get("limit"), q.Get("resourceVersion")))
		from, _ := strconv.Atoi(q.Get("continue"))
		limit, _ := strconv.Atoi(q.Get("limit"))
		meta := map[string]string{"resourceVersion": "200"}
		var items []any
		for i := from; i < min(from+limit, all); i++ {
			items = append(items, stamped(newNode(fmt.Sprintf("n%04d", i), fmt.Sprintf("u%d", i)), 100))
		}
		if from+limit < all {
			meta["continue"] = strconv.Itoa(from + limit)
		}
		respond(w, 200, map[string]any{"kind": "NodeList", "apiVersion": "v1", "metadata": meta, "items": items})
		return true
	}
	inv := api.started().Inventory()
	if len(inv.Nodes) != all || inv.Nodes[all-1].Name != "n4099" {
		t.Errorf("%d nodes", len(inv.Nodes))
	}
	want := []string{`from "", at most 2000, version ""`, `from "2000", at most 2000, version ""`, `from "4000", at most 2000, version ""`}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestChangesFollowTheWatch(t *testing.T) {
	api := newFakeAPI(t)
	fill(api)
	c := api.started()
	c.Inventory()

	// A ReplicaSet that goes to zero no longer counts.
	api.put(&appsv1.ReplicaSet{ObjectMeta: workloadMeta("web"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr(int32(0))}})
	in := seen(t, c, func(in engine.Input) bool { return len(in.WorkloadsGone) > 0 })
	if diff := cmp.Diff([]model.WorkloadKey{{Kind: "ReplicaSet", Namespace: "ns", Name: "web"}}, in.WorkloadsGone); diff != "" {
		t.Error(diff)
	}
	// And counts again.
	api.put(&appsv1.ReplicaSet{ObjectMeta: workloadMeta("web"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr(int32(3))}})
	if in := seen(t, c, func(in engine.Input) bool { return len(in.Workloads) > 0 }); in.Workloads[0].Desired != 3 {
		t.Errorf("%+v", in.Workloads[0])
	}

	api.remove(newPod("ns", "web-1", "up"))
	api.put(newPod("ns", "web-1", "up2"))
	in = seen(t, c, func(in engine.Input) bool { return len(in.Pods) > 0 && len(in.PodsGone) > 0 })
	if in.PodsGone[0].UID != "up" || in.Pods[len(in.Pods)-1].UID != "up2" {
		t.Errorf("%+v", in)
	}

	// A heartbeat changes nothing that we hold; the change after it arrives alone.
	beat := newNode("n1", "u1")
	beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeDiskPressure, LastHeartbeatTime: metav1.Now()}}
	api.put(beat)
	api.put(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "ub"}, Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 1}})
	in = seen(t, c, func(in engine.Input) bool { return len(in.Budgets) > 0 })
	if len(in.Nodes) != 0 || in.Budgets[0].Allowed != 1 {
		t.Errorf("%+v", in)
	}
	// But its version is known: the next patch of the node needs no read.
	if got, want := c.feed.node("n1").version, api.node("n1").ResourceVersion; got != want {
		t.Errorf("version %s, want %s", got, want)
	}
}

// After a long outage the server no longer knows what happened meanwhile: the
// list that follows must show deletions and new lives all the same.
func TestRelistFindsTheDifferences(t *testing.T) {
	api := newFakeAPI(t)
	fill(api)
	gone := newPod("ns", "db-0", "ud")
	api.put(gone)
	c := api.started()
	c.Inventory()
	api.outage(func() {
		api.remove(newNode("n2", "u2"), gone)
		api.remove(newPod("ns", "web-1", "up"))
		api.put(newPod("ns", "web-1", "up2"), newPod("ns", "new", "un"))
	})
	in := seen(t, c, func(in engine.Input) bool {
		return len(in.NodesGone) >= 1 && len(in.PodsGone) >= 2 && len(in.Pods) >= 2
	})
	if diff := cmp.Diff([]string{"n2"}, in.NodesGone); diff != "" {
		t.Error(diff)
	}
	lives := map[string]bool{}
	for _, p := range in.PodsGone {
		lives[p.UID] = true
	}
	for _, p := range in.Pods {
		lives["new "+p.UID] = true
	}
	if diff := cmp.Diff(map[string]bool{"up": true, "ud": true, "new up2": true, "new un": true}, lives); diff != "" {
		t.Error(diff)
	}
	if len(in.Nodes)+len(in.Workloads)+len(in.Budgets) > 0 {
		t.Errorf("what did not change was delivered: %+v", in)
	}
}

func TestStartNamesTheMissingPermission(t *testing.T) {
	for name, c := range map[string]struct {
		status metav1.Status
		code   Code
		want   string
	}{
		"forbidden":    {metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "user x cannot list"}, CodeForbidden, "list and watch poddisruptionbudgets.policy"},
		"unauthorized": {metav1.Status{Code: 401, Reason: metav1.StatusReasonUnauthorized, Message: "Unauthorized"}, CodeUnauthorized, "does not accept the credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			fill(api)
			api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if strings.HasSuffix(r.URL.Path, "/poddisruptionbudgets") {
					refuse(w, c.status)
					return true
				}
				return false
			}
			err := api.cluster().Start(t.Context())
			var e *Error
			if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(err.Error(), c.want) || e.Fix == "" {
				t.Errorf("got %v, want %s: %s", err, c.code, c.want)
			}
		})
	}
}
