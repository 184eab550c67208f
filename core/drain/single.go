package drain

import (
	"fmt"

	"github.com/rotatord/rotator/core/model"
)

// Way is how a pod leaves its node.
type Way string

// Ways. The second and third take no pod away before another is Ready.
const (
	ByEviction Way = "evict"
	ByRestart  Way = "restart" // a rollout restart of its Deployment
	BySurge    Way = "surge"   // its Deployment gets a replica more for a while
)

// Single is what decides how a Deployment's pod can be moved.
type Single struct {
	Deployment *model.Deployment
	// Budget over the pod; nil: none.
	Budget *model.Budget
	// Autoscaler that sets the Deployment's replicas; empty: none.
	Autoscaler string
	// Exclusive names a claim of the pod that one node at a time can have; empty:
	// it has none.
	Exclusive string
}

// Needed tells whether an eviction would take the workload down, or is never
// allowed: it has one replica, or its budget wants all of its pods healthy. In
// the midst of a rollout there are more of these, and the budget may seem to
// allow one: it is the one that the rollout is about to take.
func (s Single) Needed() bool {
	d, b := s.Deployment, s.Budget
	return d.Replicas == 1 || b != nil && (NeverAllows(b) || !d.RolledOut && b.DesiredHealthy >= d.Replicas)
}

// Way answers how the pod leaves where want is asked for: that way, or by
// eviction, and why.
func (s Single) Way(want Way) (way Way, why string) {
	d := s.Deployment
	switch {
	case want == ByEviction:
		return ByEviction, ""
	case s.Exclusive != "":
		return ByEviction, fmt.Sprintf("its pods use the volume of claim %s, which one node at a time can have", s.Exclusive)
	case want == ByRestart && d.Paused:
		return ByEviction, "it is paused, and does not roll out a restart"
	case want == ByRestart && d.MaxUnavailable > 0:
		return ByEviction, fmt.Sprintf("its update strategy takes %d pod(s) away before others are Ready", d.MaxUnavailable)
	case want == ByRestart && d.MaxSurge < 1:
		return ByEviction, "its update strategy has no surge"
	case want == BySurge && s.Autoscaler != "":
		return ByEviction, fmt.Sprintf("HorizontalPodAutoscaler %s sets its replicas", s.Autoscaler)
	case want == BySurge && s.Budget != nil && NeverAllows(s.Budget) && (s.Budget.Scales || s.Budget.DesiredHealthy > s.Budget.Expected):
		return ByEviction, fmt.Sprintf("budget %s would want a replica more healthy, too", s.Budget.BudgetKey)
	}
	return want, ""
}
