// Package drain holds the decisions of a drain: which pods leave a node, in
// which order, and what stops them. It is pure; the engine keeps the state and
// the cluster port makes the calls.
package drain

import (
	"cmp"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// Action is what a drain does with one pod.
type Action int

// Actions.
const (
	// Evict: the pod must leave, by the eviction API.
	Evict Action = iota
	// Wait: the pod is ending already; the node is not drained before it is gone.
	Wait
	// Leave: the pod stays until the instance goes.
	Leave
)

// Reasons to leave a pod where it is.
const (
	LeaveMirror    = "mirror"    // a static pod: the API cannot evict it
	LeaveDaemonSet = "daemonset" // its controller would put it back on the node
	LeaveFinished  = "finished"  // its containers have ended for good
)

// Decide says what to do with a pod on a node that is drained, and why where
// it is left.
func Decide(p *model.Pod) (Action, string) {
	switch {
	case p.Mirror:
		return Leave, LeaveMirror
	case p.Owner.Kind == "DaemonSet":
		return Leave, LeaveDaemonSet
	case p.Finished():
		return Leave, LeaveFinished
	case p.Terminating:
		return Wait, ""
	}
	return Evict, ""
}

// SystemCritical is the priority of system-cluster-critical, the lower of the
// two critical classes of Kubernetes.
const SystemCritical = 2_000_000_000

// Sort puts pods in the order in which they are evicted: ordinary before
// critical, the less important first, then by name, so that two looks at the
// same node agree.
func Sort(pods []*model.Pod) {
	slices.SortFunc(pods, func(a, b *model.Pod) int {
		return cmp.Or(
			cmp.Compare(a.Priority, b.Priority),
			cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name))
	})
}

// Tier of a pod: a tier is evicted once the one before it has left.
func Tier(p *model.Pod) int {
	if p.Priority >= SystemCritical {
		return 1
	}
	return 0
}

// Unmanaged tells whether nothing would make the pod again elsewhere.
func Unmanaged(p *model.Pod) bool {
	return p.Owner == (model.WorkloadKey{}) && !p.Mirror && !p.Finished()
}
