package observer

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/control"
)

// A Verdict is what the observer has seen since it started or was reset.
type Verdict struct {
	// OK: no budget was violated, rotatord deleted no pod other than by eviction,
	// and no machine's end was asked for while load balancers used it or a volume was attached. The states of pods and nodes have no part in it.
	OK    bool      `json:"ok"`
	Since time.Time `json:"since"`

	Violations    []Violation     `json:"violations"`
	DirectDeletes []Deletion      `json:"directDeletes"` // of pods, by rotatord's user
	Evictions     []EvictionCount `json:"evictions"`
	// EndedInService are machines that somebody ended while they were in a target
	// group still, or had connections from one.
	EndedInService []control.Termination `json:"endedInService"`
	// EndedAttached are machines that somebody ended while a volume was attached.
	EndedAttached []AttachedEnd `json:"endedAttached"`
	NodeChanges   []UserCount   `json:"nodeChanges"` // creations, changes and deletions of nodes; not of their status

	Budgets   []BudgetState   `json:"budgets"`
	Workloads []WorkloadState `json:"workloads"`
	// MovesPerPod is the moves of all workloads for each of their places.
	// DaemonSets, Jobs and the static pods of nodes are left out: their pods
	// cannot be moved.
	MovesPerPod float64 `json:"movesPerPod"`

	Pods  PodCounts   `json:"pods"`
	Nodes []NodeState `json:"nodes"`
	// Groups is the state of the Auto Scaling groups, as the cloud reports it.
	Groups []aws.GroupState `json:"groups"`
	// Targets are those of the load balancers' target groups.
	Targets []aws.TargetState `json:"targets,omitempty"`
}

// A Violation is a time in which a budget had fewer healthy pods than it demands.
type Violation struct {
	Namespace string     `json:"namespace"`
	Budget    string     `json:"budget"`
	Start     time.Time  `json:"start"`
	End       *time.Time `json:"end,omitempty"` // nil: it lasts
	Desired   int        `json:"desiredHealthy"`
	Healthy   int        `json:"healthy"` // the lowest of that time
	Cause     string     `json:"cause"`   // what became of which pod in the event that began it
}

func (v Violation) String() string {
	lasted := "and lasts"
	if v.End != nil {
		lasted = "for " + v.End.Sub(v.Start).Round(time.Millisecond).String()
	}
	return fmt.Sprintf("budget %s/%s: %d healthy of %d desired, from %s %s: %s", v.Namespace, v.Budget,
		v.Healthy, v.Desired, v.Start.Format(time.TimeOnly), lasted, v.Cause)
}

// A Deletion is a pod deleted directly, as the audit log has it.
type Deletion struct {
	Time      time.Time `json:"time"`
	User      string    `json:"user"`
	UserAgent string    `json:"userAgent"`
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"` // "" for a whole collection
}

// EvictionCount counts one user's calls of the eviction API.
type EvictionCount struct {
	User    string `json:"user"`
	Allowed int    `json:"allowed"`
	Refused int    `json:"refused"` // 429: the budget has no room, or its controller has not yet judged it
	Other   int    `json:"other"`   // failed otherwise, for example because the pod was gone
}

// UserCount counts what one user did.
type UserCount struct {
	User  string `json:"user"`
	Count int    `json:"count"`
}

// BudgetState is a budget as it is now.
type BudgetState struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Desired   int    `json:"desiredHealthy"`
	Healthy   int    `json:"healthy"`
	Lowest    int    `json:"lowestHealthy"` // since it was first met
	// Checked: it has been met since its demand last rose, so that fewer
	// healthy pods now would be a violation.
	Checked bool   `json:"checked"`
	Problem string `json:"problem,omitempty"` // why it cannot be checked
}

// WorkloadState is what became of a workload's pods.
type WorkloadState struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Places    int    `json:"places"` // pods that it wants
	Moves     int    `json:"moves"`  // pods that ended before their work was done
}

// PodCounts counts the pods that have not completed.
type PodCounts struct {
	Total    int      `json:"total"`
	Ready    int      `json:"ready"`
	NotReady []string `json:"notReady"` // namespace/name: phase
}

// NodeState is a node as it is now.
type NodeState struct {
	Name          string   `json:"name"`
	ProviderID    string   `json:"providerID"`
	Ready         bool     `json:"ready"`
	Unschedulable bool     `json:"unschedulable"` // cordoned
	Taints        []string `json:"taints,omitempty"`
}
