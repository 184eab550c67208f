package sim

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// SideBySide is the cluster on which other tools were measured too: 12 nodes that
// boot in 20 s, with 96 pods that start in 3 to 8 s: 22 services of four, of which one
// may be down, and one of eight without a budget. Where its pods are is up to chance.
func SideBySide(surge string) *Shape {
	s := &Shape{Spec: Spec(), Scatter: true, Pace: Pace{React: 500 * time.Millisecond, Boot: 20 * time.Second, End: time.Second,
		Cloud: 20 * time.Millisecond, API: 5 * time.Millisecond, Control: 50 * time.Millisecond, Watch: 20 * time.Millisecond}}
	s.Spec.Strategy.MaxSurge, s.Spec.Strategy.Attract = surge, plan.AttractCordon
	s.Groups = []GroupShape{{Name: "workers", Role: model.RoleNode, Size: 12, Old: 12, Zones: familyZones, Room: 60, Traits: surges(120)}}
	for i := range 23 {
		w := WorkloadShape{Kind: "ReplicaSet", Name: fmt.Sprintf("w%02d", i), Pods: 4, Request: 1,
			Start: time.Duration(3+i%6) * time.Second, Stop: 500 * time.Millisecond}
		if i == 22 {
			w.Pods = 8
		} else {
			s.Budgets = append(s.Budgets, BudgetShape{Name: w.Name, Workloads: []string{w.Name}, MaxUnavailable: "1"})
		}
		s.Workloads = append(s.Workloads, w)
	}
	return s
}
