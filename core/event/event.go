// Package event holds the one event type of a rotation and its kinds. The
// engine makes events, the journal keeps the durable ones, and reports,
// progress lines and metrics are folds over the stream.
package event

import "time"

// Event is one thing that happened, or that is about to be done. Fields that
// do not apply are empty. An event never carries a secret.
type Event struct {
	// Seq counts the events of a rotation from 1, without gaps.
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	// Rotation is the rotation's id.
	Rotation string `json:"rotation"`
	Group    string `json:"group,omitempty"` // the group's name
	Instance string `json:"instance,omitempty"`
	Node     string `json:"node,omitempty"`
	Pod      string `json:"pod,omitempty"`    // namespace/name
	Budget   string `json:"budget,omitempty"` // namespace/name
	// Op and Verb belong to intents and outcomes.
	Op   string `json:"op,omitempty"`
	Verb string `json:"verb,omitempty"`
	// Message is for a person; nothing parses it.
	Message string `json:"message,omitempty"`
	// Code is stable: the reason of a failure, the policy applied.
	Code string `json:"code,omitempty"`
	// Data holds what replaying needs: prior state, sizes, counts.
	Data map[string]string `json:"data,omitempty"`
}

// Kind of event.
type Kind string

// Kinds. Those that Durable reports are journalled before the effects of the
// same step run.
const (
	RotationStarted  Kind = "rotation-started"  // Data: groups, nodes, mode, spec, unhealthy
	RotationFinished Kind = "rotation-finished" // Code: done, stopped, gate-failed, failed
	RotationStopping Kind = "rotation-stopping" // Code: signal, failure
	WindowClosed     Kind = "window-closed"     // nothing new is begun

	// ReleaseStaging comes before the first change of a group's release, whose intent
	// and outcome have the verb stage. Data: cluster, spec, release (as asked for).
	ReleaseStaging Kind = "release-staging"

	GroupPlanned  Kind = "group-planned"  // Data: instances, separated by spaces
	CanaryPassed  Kind = "canary-passed"  // the group's first node was replaced, its pods are healthy
	GroupStarted  Kind = "group-started"  // Data: base, surge, unavailable, nodes
	GroupHalted   Kind = "group-halted"   // Code and Message say why
	GroupFinished Kind = "group-finished" // Data: replaced, quarantined
	// GroupRolling: the provider rolls the group, or says another thing of its roll.
	// Code: empty, foreign, earlier (who began it), progress. GroupRolled: the roll
	// has ended, or is not waited for any more. Code: succeeded, nothing (was left to
	// roll), cancelled, or why the group was given up. Data of both: roll, the
	// provider's id. Op of GroupRolling: the call that began it.
	GroupRolling Kind = "group-rolling"
	GroupRolled  Kind = "group-rolled"
	GroupResized Kind = "group-resized" // somebody else changed the size. Data: from, to

	// OpIntended is written before a provider or a node is changed, OpSucceeded
	// and OpFailed after. Data of the intent: what replaying the call needs.
	OpIntended  Kind = "op-intended"
	OpSucceeded Kind = "op-succeeded"
	OpFailed    Kind = "op-failed"
	OpRetried   Kind = "op-retried"

	ReplacementLaunched Kind = "replacement-launched"
	ReplacementReady    Kind = "replacement-ready" // Data: boot-seconds
	ReplacementBad      Kind = "replacement-bad"   // Code: never-joined, never-ready, outdated

	NodeDraining Kind = "node-draining"
	NodeQuiesced Kind = "node-quiesced" // it has left its load balancers. Code: empty, or why it is not waited for. Data: seconds
	NodeDrained  Kind = "node-drained"  // Data: seconds, evicted
	NodeBlocked  Kind = "node-blocked"  // what the drain waits for
	// DeadlinePassed: the drain has another one. Code: retry, force.
	DeadlinePassed Kind = "deadline-passed"
	DrainPostponed Kind = "drain-postponed" // before the node was cordoned
	// StillDraining: the time of drains has gone on counting, and nothing else has been
	// journalled for a while. A later run goes on with it.
	StillDraining Kind = "still-draining"
	// DrainWaits is NodeBlocked for the journal: what a drain waits for is another, or
	// has changed. Code: for what. Data: since
	DrainWaits Kind = "drain-waits"
	// GroupWaits is Waiting for the journal: what a group as a whole waits for is
	// another. An empty Message: it waits for nothing any more.
	GroupWaits      Kind = "group-waits"
	NodeQuarantined Kind = "node-quarantined"
	// NodeReplaced: the old instance is gone. Code: empty, rolled (by the provider),
	// by-others, or unwatched (between two runs). Data: seconds.
	NodeReplaced Kind = "node-replaced"

	// A Deployment is moved without downtime. Code: restart, surge. Data: workload.
	WorkloadMoving Kind = "workload-moving"
	WorkloadMoved  Kind = "workload-moved"

	// PlanWarned: what the plan warns of, at the start of each run. Code: the finding's.
	// Data: object, fix
	PlanWarned Kind = "plan-warned"

	PodEvicted      Kind = "pod-evicted"
	EvictionRefused Kind = "eviction-refused"
	// PodOverridden: a pod is about to be treated otherwise than it or its budget
	// asks for. Code: do-not-disrupt, completion, lost-label, budget, unreachable, stuck,
	// returned.
	PodOverridden Kind = "pod-overridden"

	GateFailed Kind = "gate-failed"
	Waiting    Kind = "waiting" // what the rotation as a whole waits for
)

// VerbStage is the verb of an intent, and of its outcome, to make a release a
// group's desired revision. Data of both: group-id, from, to (ids),
// from-name, to-name, downgrade.
const VerbStage = "stage"

// Durable tells whether the journal must hold an event of this kind before
// the effects of its step run. Evictions have no record of their own: the pod
// is the record.
func (k Kind) Durable() bool {
	switch k {
	case RotationStarted, RotationFinished, RotationStopping, WindowClosed, ReleaseStaging,
		GroupPlanned, CanaryPassed, GroupStarted, GroupHalted, GroupFinished, GroupResized, GroupRolling, GroupRolled,
		OpIntended, OpSucceeded, OpFailed,
		ReplacementBad, NodeDraining, NodeQuiesced, DrainPostponed, DeadlinePassed, StillDraining, DrainWaits, GroupWaits, PodOverridden, NodeDrained, NodeQuarantined, NodeReplaced, GateFailed:
		return true
	default:
		return false
	}
}
