package sim

import (
	"fmt"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Scene is a namespace as a test wants it, on one node whose kubelet does
// nothing: no pod starts or ends by itself. The same scene can be made in a real
// cluster, to see whether both answer alike (package contract).
type Scene struct {
	Apps []App
	// Budgets over apps by name; one over none selects nothing.
	Budgets []BudgetShape
}

// App is a controller with its pods.
type App struct {
	Name string
	// Kind is ReplicaSet or StatefulSet; empty: pods that no controller made;
	// another: a controller that has no scale.
	Kind string
	// Pods are those that it wants and has, in the order of their names.
	Pods []PodState
	// Barred is how many pods a controller without any wants and is not given.
	Barred int
}

// PodState is what a kubelet says of a pod.
type PodState struct {
	Phase string // Pending, Running, Succeeded, Failed
	Ready bool   // Running only
}

// sceneGrace is the grace period of a scene's pods: longer than any test looks.
const sceneGrace = 24 * 60 * 60

// NewScene makes a world of a scene. It has no groups to rotate.
func NewScene(s Scene) *Live {
	l := &Live{began: clock(), kick: make(chan struct{}, 1), visible: make(chan struct{}, 1), changes: make(chan engine.Input)}
	l.w = s.build(l)
	l.check = newChecker(l.w, plan.Spec{})
	l.check.begins(&plan.Plan{}, 0, engine.Input{Snapshot: &engine.Snapshot{}})
	return l
}

func (s Scene) build(l *Live) *World {
	w := newWorld(1, newInjector(1, nil, nil))
	w.epoch, w.healed, w.kinds = l.began, true, len(s.Apps)
	g := &group{w: w, zones: []string{"a"}, room: 1 << 30, NodeGroup: model.NodeGroup{ID: "scene", Name: "scene"}}
	in := w.newInstance(g, "a", "new")
	w.join(in)
	n := in.node
	n.Ready, n.dead, n.Taints = true, true, nil
	for i, a := range s.Apps {
		wl := &workload{index: i, app: a.Name, barred: a.Barred > 0, Workload: model.Workload{
			WorkloadKey: model.WorkloadKey{Kind: a.Kind, Namespace: "default", Name: a.Name}, UID: "workload-" + a.Name}}
		if a.Kind == "ReplicaSet" || a.Kind == "StatefulSet" { // others make no pods
			wl.Desired = max(len(a.Pods), a.Barred)
		}
		w.workloads = append(w.workloads, wl)
		for j, state := range a.Pods {
			p := w.newPod(wl, fmt.Sprintf("%s-%d", a.Name, j), n)
			p.Phase, p.GracePeriodSeconds = state.Phase, sceneGrace
			p.setReady(state.Ready)
			if a.Kind == "" {
				p.Owner = model.WorkloadKey{}
			}
		}
	}
	for _, b := range s.Budgets {
		w.addBudget(b.Name, budget{minAvailable: b.MinAvailable, maxUnavailable: b.MaxUnavailable,
			Budget: model.Budget{AlwaysEvictUnhealthy: b.AlwaysEvictUnhealthy}}, b.Workloads...)
	}
	return w
}

// Report is what the kubelet of a scene's node says of a pod from now on.
func (l *Live) Report(key model.PodKey, s PodState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catchUp()
	if p := l.w.pods[key]; p != nil {
		p.Phase = s.Phase
		p.setReady(s.Ready && !p.Terminating)
		l.w.podChanged(p)
	}
	signal(l.kick)
}

// Remake ends a pod of a scene at once and makes another of the same name, in
// the same state.
func (l *Live) Remake(key model.PodKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catchUp()
	if p := l.w.pods[key]; p != nil {
		was, n := *p, p.on
		l.w.removePod(p)
		next := l.w.newPod(was.workload, was.Name, n)
		next.Phase, next.Owner, next.GracePeriodSeconds = was.Phase, was.Owner, was.GracePeriodSeconds
		next.setReady(was.Ready)
		l.w.podChanged(next)
	}
	signal(l.kick)
}

// Look is the cluster as it is, not as its watches show it.
func (l *Live) Look() model.Inventory {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.catchUp()
	return l.w.inventory()
}
