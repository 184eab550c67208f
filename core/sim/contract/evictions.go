package contract

import (
	"testing"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/sim"
)

// States of pods.
var (
	ready    = sim.PodState{Phase: "Running", Ready: true}
	unready  = sim.PodState{Phase: "Running"}
	pending  = sim.PodState{Phase: "Pending"}
	finished = sim.PodState{Phase: "Succeeded"}
)

// act is one thing done to a pod of app a.
type act struct {
	what string // evict, evict other (life), delete, delete other, remake, unready
	i    int    // which pod
	want string // the answer
}

// evictions are answered by these rules, which are Kubernetes'
// (pkg/registry/core/pod/storage/eviction.go). All scenes have one app, a.
func evictions(t *testing.T, w World) {
	over := func(b sim.BudgetShape) []sim.BudgetShape {
		b.Name, b.Workloads = "b", []string{"a"}
		return []sim.BudgetShape{b}
	}
	pods := func(s ...sim.PodState) []sim.PodState { return s }
	for _, tc := range []struct {
		name    string
		kind    string
		pods    []sim.PodState
		budgets []sim.BudgetShape
		before  string // the statuses of the budgets, once they are observed
		acts    []act
		after   string
		gone    []int // pods that are not there any more afterwards
	}{
		{name: "without a budget, as often as one likes", kind: "ReplicaSet", pods: pods(ready, ready),
			acts: []act{{"evict", 0, "ok"}, {"evict", 0, "ok"}, {"evict", 1, "ok"}}},
		{name: "a pod that does not exist", pods: pods(ready),
			acts: []act{{"evict none", 0, "not-found"}, {"delete none", 0, "not-found"}}},
		{name: "as many as the budget allows", kind: "ReplicaSet", pods: pods(ready, ready, ready), budgets: over(sim.BudgetShape{MinAvailable: "2"}),
			before: "b: 1 allowed, 3 healthy of 2 needed, 3 expected",
			acts:   []act{{"evict", 0, "ok"}, {"evict", 1, "blocked"}, {"evict", 0, "ok"}},
			// The pod that ends and the one made for it are both counted.
			after: "b: 0 allowed, 2 healthy of 2 needed, 4 expected"},
		{name: "a percentage of what is wanted", kind: "ReplicaSet", pods: pods(ready, ready, ready), budgets: over(sim.BudgetShape{MaxUnavailable: "34%"}),
			before: "b: 2 allowed, 3 healthy of 1 needed, 3 expected",
			acts:   []act{{"evict", 0, "ok"}, {"evict", 1, "ok"}, {"evict", 2, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 1 needed, 3 expected"},
		{name: "a StatefulSet's waits for the name", kind: "StatefulSet", pods: pods(ready, ready), budgets: over(sim.BudgetShape{MaxUnavailable: "1"}),
			before: "b: 1 allowed, 2 healthy of 1 needed, 2 expected",
			acts:   []act{{"evict", 1, "ok"}, {"evict", 0, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 1 needed, 2 expected"},
		{name: "one that is not Ready goes while enough others are", kind: "ReplicaSet", pods: pods(ready, ready, unready), budgets: over(sim.BudgetShape{MinAvailable: "2"}),
			before: "b: 0 allowed, 2 healthy of 2 needed, 3 expected",
			acts:   []act{{"evict", 0, "blocked"}, {"evict", 2, "ok"}},
			after:  "b: 0 allowed, 2 healthy of 2 needed, 4 expected"},
		{name: "one that is not Ready stays when too few are", kind: "ReplicaSet", pods: pods(ready, unready, unready), budgets: over(sim.BudgetShape{MinAvailable: "2"}),
			before: "b: 0 allowed, 1 healthy of 2 needed, 3 expected",
			acts:   []act{{"evict", 1, "blocked"}, {"evict", 0, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 2 needed, 3 expected"},
		{name: "one that is not Ready always goes under AlwaysAllow", kind: "ReplicaSet", pods: pods(ready, unready, unready),
			budgets: over(sim.BudgetShape{MinAvailable: "2", AlwaysEvictUnhealthy: true}),
			before:  "b: 0 allowed, 1 healthy of 2 needed, 3 expected",
			acts:    []act{{"evict", 0, "blocked"}, {"evict", 1, "ok"}},
			after:   "b: 0 allowed, 1 healthy of 2 needed, 4 expected"},
		{name: "a pending pod goes whatever the budget says", kind: "ReplicaSet", pods: pods(ready, pending), budgets: over(sim.BudgetShape{MinAvailable: "2"}),
			before: "b: 0 allowed, 1 healthy of 2 needed, 2 expected",
			acts:   []act{{"evict", 1, "ok"}, {"evict", 0, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 2 needed, 3 expected"},
		{name: "a finished pod goes, and at once", pods: pods(finished, ready), budgets: over(sim.BudgetShape{MinAvailable: "2"}),
			before: "b: 0 allowed, 1 healthy of 2 needed, 2 expected",
			acts:   []act{{"evict", 0, "ok"}},
			after:  "b: 0 allowed, 1 healthy of 2 needed, 1 expected", gone: []int{0}},
		{name: "several budgets", kind: "ReplicaSet", pods: pods(ready, pending),
			budgets: []sim.BudgetShape{{Name: "b", Workloads: []string{"a"}, MinAvailable: "0"}, {Name: "c", Workloads: []string{"a"}, MaxUnavailable: "2"}},
			before:  "b: 1 allowed, 1 healthy of 0 needed, 2 expected\nc: 1 allowed, 1 healthy of 0 needed, 2 expected",
			acts:    []act{{"evict", 0, "multi-budget"}, {"evict", 1, "ok"}},
			after:   "b: 1 allowed, 1 healthy of 0 needed, 3 expected\nc: 1 allowed, 1 healthy of 0 needed, 2 expected"},
		{name: "another life of a pod without a budget", pods: pods(ready), acts: []act{{"evict other", 0, "conflict"}, {"delete other", 0, "conflict"}}},
		{name: "another life of a pending pod", pods: pods(pending), acts: []act{{"evict other", 0, "conflict"}}},
		{name: "a pod that was made again", pods: pods(ready), acts: []act{{"remake", 0, "ok"}, {"evict", 0, "conflict"}, {"delete", 0, "conflict"}}},
		// The precondition guards the deletion. The budget is charged before, and
		// stays so for two minutes: who evicts by an old UID takes from others.
		{name: "another life of a pod charges its budget", kind: "ReplicaSet", pods: pods(ready, ready, ready), budgets: over(sim.BudgetShape{MinAvailable: "1"}),
			before: "b: 2 allowed, 3 healthy of 1 needed, 3 expected",
			acts:   []act{{"evict other", 0, "conflict"}},
			after:  "b: 1 allowed, 2 healthy of 1 needed, 3 expected, 1 charged"},
		{name: "another life of a pod under a closed budget", kind: "ReplicaSet", pods: pods(ready), budgets: over(sim.BudgetShape{MinAvailable: "1"}),
			before: "b: 0 allowed, 1 healthy of 1 needed, 1 expected",
			acts:   []act{{"evict other", 0, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 1 needed, 1 expected"},
		{name: "a deletion asks no budget", kind: "ReplicaSet", pods: pods(ready, ready), budgets: over(sim.BudgetShape{MaxUnavailable: "0"}),
			before: "b: 0 allowed, 2 healthy of 2 needed, 2 expected",
			acts:   []act{{"evict", 0, "blocked"}, {"delete", 0, "ok"}, {"delete", 0, "ok"}},
			after:  "b: 0 allowed, 1 healthy of 2 needed, 2 expected"},
		{name: "a budget over pods that no controller made allows nothing", pods: pods(ready, unready), budgets: over(sim.BudgetShape{MaxUnavailable: "50%"}),
			before: "b: 0 allowed, 1 healthy of 0 needed, 0 expected",
			acts:   []act{{"evict", 0, "blocked"}, {"evict", 1, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 0 needed, 0 expected"},
		{name: "a budget over pods whose controller has no scale is never observed", kind: "ConfigMap", pods: pods(ready), budgets: over(sim.BudgetShape{MaxUnavailable: "50%"}),
			before: "b: not observed, 0 allowed",
			acts:   []act{{"evict", 0, "blocked"}},
			after:  "b: not observed, 0 allowed"},
		{name: "a count needs no scale", kind: "ConfigMap", pods: pods(ready, ready), budgets: over(sim.BudgetShape{MinAvailable: "1"}),
			before: "b: 1 allowed, 2 healthy of 1 needed, 2 expected",
			acts:   []act{{"evict", 0, "ok"}, {"evict", 1, "blocked"}},
			after:  "b: 0 allowed, 1 healthy of 1 needed, 2 expected"},
		{name: "a budget that selects nothing guards nothing", kind: "ReplicaSet", pods: pods(ready),
			budgets: []sim.BudgetShape{{Name: "b", MinAvailable: "1"}},
			before:  "b: 0 allowed, 0 healthy of 1 needed, 0 expected",
			acts:    []act{{"evict", 0, "ok"}},
			after:   "b: 0 allowed, 0 healthy of 1 needed, 0 expected"},
		{name: "a pod that stops being Ready takes from the budget", kind: "ReplicaSet", pods: pods(ready, ready, ready), budgets: over(sim.BudgetShape{MaxUnavailable: "1"}),
			before: "b: 1 allowed, 3 healthy of 2 needed, 3 expected",
			acts:   []act{{"unready", 0, "ok"}},
			after:  "b: 0 allowed, 2 healthy of 2 needed, 3 expected"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.In(t, func(t *testing.T) {
				st := w.Set(t, sim.Scene{Apps: []sim.App{{Name: "a", Kind: tc.kind, Pods: tc.pods}}, Budgets: tc.budgets})
				budgets := func(what, want string) {
					t.Helper()
					eventually(t, what, func() string {
						if got := statuses(t, st); got != want {
							return got + "\nwant " + want
						}
						return ""
					})
				}
				budgets("budgets at first", tc.before)
				for n, a := range tc.acts {
					if got := do(t, st, a.what, st.Pods("a")[a.i]); got != a.want {
						t.Errorf("%d. %s pod %d: %s, want %s", n+1, a.what, a.i, got, a.want)
					}
				}
				budgets("budgets in the end", tc.after)
				for _, i := range tc.gone {
					eventually(t, "a pod that is to be gone", func() string {
						if find(st.Look(t), st.Pods("a")[i].PodKey) != nil {
							return "it is there"
						}
						return ""
					})
				}
			})
		})
	}
}

// do does something to a pod and answers what came of it.
func do(t testing.TB, st Stage, what string, ref engine.PodRef) string {
	t.Helper()
	c, other, none := st.Cluster(), ref, ref
	other.UID = "00000000-0000-0000-0000-000000000000"
	none.Name = "none"
	switch what {
	case "evict":
		return code(t, c.Evict(t.Context(), ref, nil))
	case "evict other":
		return code(t, c.Evict(t.Context(), other, nil))
	case "evict none":
		return code(t, c.Evict(t.Context(), none, nil))
	case "delete":
		return code(t, c.DeletePod(t.Context(), ref, nil))
	case "delete other":
		return code(t, c.DeletePod(t.Context(), other, nil))
	case "delete none":
		return code(t, c.DeletePod(t.Context(), none, nil))
	case "remake":
		st.Remake(t, ref.PodKey)
		return "ok"
	case "unready":
		st.Report(t, ref.PodKey, unready)
		return "ok"
	default:
		t.Fatalf("nothing is called %q", what)
		return ""
	}
}
