package observer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// world drives a tracker by hand. Its clock goes on a second for each event.
type world struct {
	*tracker
	clock time.Time
}

func newWorld(t *testing.T, budget policyv1.PodDisruptionBudgetSpec, replicas int) *world {
	t.Helper()
	w := &world{clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.tracker = newTracker(func() time.Time {
		w.clock = w.clock.Add(time.Second)
		return w.clock
	})
	w.scale(replicas)
	w.setController("rs-uid", controller{owner: owner{"ReplicaSet", "shop", "web-1"}, replicas: replicas, parent: "deploy-uid"})
	w.budget(budget)
	return w
}

func (w *world) scale(replicas int) {
	w.setController("deploy-uid", controller{owner: owner{"Deployment", "shop", "web"}, replicas: replicas})
}

func (w *world) budget(spec policyv1.PodDisruptionBudgetSpec) {
	spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	w.setBudget(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "pdb-uid"}, Spec: spec})
}

type podState int

const (
	starting podState = iota
	ready
	ending
	endingReady
	completed
)

func (w *world) pod(name string, state podState) {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-1", UID: "rs-uid", Controller: new(true)}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if state == ready || state == endingReady {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	if state == ending || state == endingReady {
		p.DeletionTimestamp = &metav1.Time{Time: w.clock}
	}
	if state == completed {
		p.Status.Phase = corev1.PodSucceeded
	}
	w.setPod(p)
}

func (w *world) gone(name string) { w.removePod("shop", types.UID(name)) }

func (w *world) pods(n int) {
	for i := range n {
		w.pod(fmt.Sprint("p", i), starting)
	}
	for i := range n {
		w.pod(fmt.Sprint("p", i), ready)
	}
}

func (w *world) summary() []string {
	_, violations, _ := w.snapshot()
	out := []string{}
	for _, v := range violations {
		state := "open"
		if v.End != nil {
			state = "over"
		}
		out = append(out, fmt.Sprintf("%s/%s %d of %d, %s: %s", v.Namespace, v.Budget, v.Healthy, v.Desired, state, v.Cause))
	}
	return out
}

func TestViolations(t *testing.T) {
	one := policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))}
	for _, c := range []struct {
		name   string
		budget policyv1.PodDisruptionBudgetSpec
		events func(*world)
		want   []string
	}{
		{
			name: "a start is none", budget: one,
			events: func(w *world) { w.pods(3) },
		},
		{
			name: "one pod of one may go", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.pod("p0", endingReady)
				w.pod("n0", starting)
				w.gone("p0")
				w.pod("n0", ready)
			},
		},
		{
			name: "a second pod before the first is replaced", budget: one,
			events: func(w *world) { w.pods(3); w.pod("p0", endingReady); w.pod("p1", endingReady) },
			want:   []string{"shop/web 1 of 2, open: pod shop/p1 was asked to end"},
		},
		{
			name: "a violation ends when the budget is met", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.pod("p0", endingReady)
				w.pod("p1", endingReady)
				w.pod("n0", ready)
			},
			want: []string{"shop/web 1 of 2, over: pod shop/p1 was asked to end"},
		},
		{
			name: "the lowest count is kept, and it is one violation", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.pod("p0", endingReady)
				w.pod("p1", endingReady)
				w.pod("p2", endingReady)
				w.gone("p0")
				w.pod("n0", ready)
				w.pod("n1", ready)
			},
			want: []string{"shop/web 0 of 2, over: pod shop/p1 was asked to end"},
		},
		{
			name: "removed by force", budget: one,
			events: func(w *world) { w.pods(3); w.gone("p0"); w.gone("p1") },
			want:   []string{"shop/web 1 of 2, open: pod shop/p1 was removed at once"},
		},
		{
			name: "no longer Ready", budget: one,
			events: func(w *world) { w.pods(3); w.pod("p0", starting); w.pod("p1", starting) },
			want:   []string{"shop/web 1 of 2, open: pod shop/p1 is no longer Ready"},
		},
		{
			name: "all pods gone: the workload still wants them", budget: one,
			events: func(w *world) { w.pods(2); w.gone("p0"); w.gone("p1") },
			want:   []string{"shop/web 0 of 1, open: pod shop/p1 was removed at once"},
		},
		{
			name: "scaled up disarms until met", budget: one,
			events: func(w *world) { w.pods(3); w.scale(6) },
		},
		{
			name: "scaled up, met, violated", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.scale(4)
				w.pod("p3", ready)
				w.pod("p0", endingReady)
				w.pod("p1", endingReady)
			},
			want: []string{"shop/web 2 of 3, open: pod shop/p1 was asked to end"},
		},
		{
			name: "scaled down with its pods", budget: one,
			events: func(w *world) { w.pods(3); w.scale(1); w.pod("p0", endingReady); w.pod("p1", endingReady) },
		},
		{
			name: "a stricter budget disarms", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.pod("p0", endingReady)
				w.budget(policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(0))})
			},
		},
		{
			name: "a stricter budget does not end a violation", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.pod("p0", endingReady)
				w.pod("p1", endingReady)
				w.budget(policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(0))})
			},
			want: []string{"shop/web 1 of 2, open: pod shop/p1 was asked to end"},
		},
		{
			name: "another workload's pods do not matter", budget: one,
			events: func(w *world) {
				w.pods(3)
				w.setPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "media", Name: "x", UID: "x", Labels: map[string]string{"app": "web"}}})
				w.removePod("media", "x")
			},
		},
		{
			name: "min available as a number", budget: policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromInt32(2))},
			events: func(w *world) { w.pods(3); w.pod("p0", ending); w.pod("p1", ending) },
			want:   []string{"shop/web 1 of 2, open: pod shop/p1 was asked to end"},
		},
		{
			name: "min available as a percentage rounds up", budget: policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromString("50%"))},
			events: func(w *world) { w.pods(3); w.pod("p0", ending); w.pod("p1", ending) },
			want:   []string{"shop/web 1 of 2, open: pod shop/p1 was asked to end"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.budget, 3)
			if strings.HasPrefix(c.name, "all pods gone") {
				w.scale(2)
			}
			c.events(w)
			want := c.want
			if want == nil {
				want = []string{}
			}
			if diff := cmp.Diff(want, w.summary()); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

// Pods and controllers come over watches of their own, in any order.
func TestControllersMayBeSeenAfterTheirPods(t *testing.T) {
	w := newWorld(t, policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))}, 3)
	w.removeController("rs-uid")
	w.removeController("deploy-uid")
	w.pods(3)
	w.setController("rs-uid", controller{owner: owner{"ReplicaSet", "shop", "web-1"}, replicas: 3, parent: "deploy-uid"})
	w.scale(3)
	budgets, _, _ := w.snapshot()
	if len(budgets) != 1 || !budgets[0].Checked || budgets[0].Desired != 2 {
		t.Errorf("budgets = %+v, want one that demands 2 and is checked", budgets)
	}
}

func TestBudgetThatCannotBeChecked(t *testing.T) {
	w := newWorld(t, policyv1.PodDisruptionBudgetSpec{MinAvailable: new(intstr.FromString("half"))}, 3)
	w.pods(3)
	budgets, _, _ := w.snapshot()
	if len(budgets) != 1 || budgets[0].Checked || !strings.Contains(budgets[0].Problem, "minAvailable") {
		t.Errorf("budgets = %+v, want one that names minAvailable as its problem", budgets)
	}
}

func TestMoves(t *testing.T) {
	w := newWorld(t, policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))}, 3)
	w.pods(3)
	w.pod("p0", endingReady) // evicted: one move, however many events follow
	w.pod("p0", ending)
	w.gone("p0")
	w.gone("p1") // by force: one move
	w.pod("p2", completed)
	w.gone("p2") // its work was done: none
	w.pod("n0", ready)
	_, _, workloads := w.snapshot()
	want := []WorkloadState{{Kind: "Deployment", Namespace: "shop", Name: "web", Places: 3, Moves: 2}}
	if diff := cmp.Diff(want, workloads); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	w.reset()
	_, _, workloads = w.snapshot()
	want[0].Moves = 0
	if diff := cmp.Diff(want, workloads); diff != "" {
		t.Errorf("workloads after reset (-want +got):\n%s", diff)
	}
}

func TestResetKeepsViolationsThatLast(t *testing.T) {
	w := newWorld(t, policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1))}, 3)
	w.pods(3)
	w.pod("p0", ending)
	w.pod("p1", ending)
	w.reset()
	if got := w.summary(); len(got) != 1 {
		t.Fatalf("violations = %q, want the one that lasts", got)
	}
	w.pod("n0", ready)
	w.reset()
	if got := w.summary(); len(got) != 0 {
		t.Errorf("violations = %q, want none after the end", got)
	}
}

// A relist after a broken watch shows all changes at once. A pod that was Ready
// before another went must not be seen after it.
func TestRelistSeesHealthyPodsFirst(t *testing.T) {
	for range 20 { // maps have no order
		w := newWorld(t, policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(0))}, 1)
		s := newSink(
			func(o metav1.Object) { w.setPod(o.(*corev1.Pod)) },
			func(o metav1.Object) { w.removePod(o.GetNamespace(), o.GetUID()) })
		mk := func(name string, deleting bool) *corev1.Pod {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-1", UID: "rs-uid", Controller: new(true)}},
			}}
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
			if deleting {
				p.DeletionTimestamp = &metav1.Time{Time: w.clock}
			}
			return p
		}
		for _, list := range [][]any{{mk("old", false)}, {mk("old", true), mk("new", false)}, {mk("new", false)}} {
			if err := s.Replace(list, ""); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.summary(); len(got) != 0 {
			t.Fatalf("violations = %q, want none", got)
		}
	}
}
