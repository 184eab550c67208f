package engine

import (
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// Input is what happened since the last Step. The zero value means that only
// time has passed. Deltas are coalesced by the runtime; within one list the
// last value of an object wins.
type Input struct {
	// Snapshot is a whole answer of the driver; nil: none since the last Step.
	Snapshot *Snapshot
	// Nodes, Pods, Workloads and Budgets were added or changed.
	Nodes     []model.Node
	Pods      []model.Pod
	Workloads []model.Workload
	Budgets   []model.Budget
	// The Gone lists name what was deleted.
	NodesGone     []string
	PodsGone      []PodRef
	WorkloadsGone []model.WorkloadKey
	BudgetsGone   []model.BudgetKey
	// The same for what moves without downtime, and for volumes.
	Deployments     []model.Deployment
	DeploymentsGone []model.WorkloadKey
	Autoscalers     []model.Autoscaler
	AutoscalersGone []model.AutoscalerKey
	Attachments     []model.Attachment
	AttachmentsGone []string
	Claims          []model.Claim
	ClaimsGone      []model.ClaimKey
	// Outcomes of effects, in the order in which they came back.
	Outcomes []Outcome
	// Stop asks to start nothing new, to leave the cluster tidy and to end.
	Stop bool
	// Undo asks to end and to take surge back too, however long that takes.
	Undo bool
}

// PodRef names one life of a pod.
type PodRef struct {
	model.PodKey
	UID string
}

// Cluster is an Input with a whole inventory's half of the cluster: what the
// first Step is told.
func Cluster(inv *model.Inventory) Input {
	return Input{Nodes: inv.Nodes, Pods: inv.Pods, Workloads: inv.Workloads, Budgets: inv.Budgets,
		Deployments: inv.Deployments, Autoscalers: inv.Autoscalers, Attachments: inv.Attachments, Claims: inv.Claims}
}

// Snapshot is what the driver answered to an Observe effect.
type Snapshot struct {
	Groups    []model.NodeGroup
	Instances []model.Instance
}

// Ready is what to do after a Step.
type Ready struct {
	// Records are the events of this Step. Those whose kind is Durable MUST be in
	// the journal BEFORE any effect runs; then all are published.
	Records []event.Event
	// Effects may run concurrently. The outcome of each comes back as an input,
	// exactly once.
	Effects []Effect
	// WakeAt is when Step wants to run again without an input; zero: never.
	WakeAt time.Time
	// Done is set once; nothing follows it.
	Done *Result
}

// Verb of an effect.
type Verb string

// Verbs. Those of the provider go to the driver, those of the cluster to the
// API server.
const (
	VerbObserve   Verb = "observe" // provider: a snapshot, which comes back in Input.Snapshot
	VerbPrepare   Verb = "prepare"
	VerbRestore   Verb = "restore"
	VerbSetSurge  Verb = "set-surge"
	VerbTerminate Verb = "terminate"
	// VerbQuiesce takes an instance out of its load balancers, before its drain;
	// snapshots show it as work of this name until it has left them. VerbUnquiesce
	// puts it back.
	VerbQuiesce   Verb = "quiesce"
	VerbUnquiesce Verb = "unquiesce"
	// VerbRoll has the provider replace all outdated instances of a group itself;
	// snapshots show how it goes. VerbCancel ends that.
	VerbRoll      Verb = "roll"
	VerbCancel    Verb = "cancel"
	VerbPatchNode Verb = "patch-node" // cluster: taint, cordon, annotate; goals, so idempotent
	// VerbPatchWorkload restarts a Deployment, or changes its replicas by one.
	VerbPatchWorkload Verb = "patch-workload"
	VerbEvict         Verb = "evict"      // cluster: with a UID precondition
	VerbDeletePod     Verb = "delete-pod" // cluster: only by the force policy
	VerbCheckAPI      Verb = "check-api"  // cluster: changes nothing; an error where the API server is not ready
)

// Effect is something to do. ID is unique within the rotation for provider and
// node changes, and stays the same when the effect is tried again.
type Effect struct {
	ID   string
	Verb Verb

	GroupID    string // all of the provider but Observe
	InstanceID string // Terminate, Quiesce, Unquiesce
	Surge      int    // SetSurge: absolute. Terminate with Shrink: surge afterwards
	Going      []string
	Shrink     bool // Terminate: desired capacity goes down by one

	MaxUnavailable int    // Roll: instances; 0: the group's own setting
	Target         string // Cancel: the id of the operation that began it

	Node  string     // PatchNode, and Terminate with a NodeUID
	Patch *NodePatch // PatchNode
	// NodeUID of a Terminate: BEFORE the instance is ended, this life of Node is
	// deleted from the cluster; empty: the node is left to the cloud's controller.
	NodeUID string

	Workload      model.WorkloadKey // PatchWorkload
	WorkloadPatch *WorkloadPatch    // PatchWorkload

	Pod                PodRef // Evict, DeletePod
	GracePeriodSeconds *int64 // Evict, DeletePod; nil: the pod's own

	// MaxAge of an Observe: how old the driver's answer may be.
	MaxAge time.Duration
}

// NodePatch is a goal for one node. Nil and empty fields are left as they are.
type NodePatch struct {
	UID             string // precondition: the same life of the node
	AddTaint        *model.Taint
	RemoveTaint     string            // key
	Unschedulable   *bool             // cordon or uncordon
	SetAnnotations  map[string]string // under model.Prefix only
	DropAnnotations []string
	// Shield keeps the cluster autoscaler from removing the node, or takes that
	// back; Exclude takes it out of the load balancers of Services, or takes that
	// back. What somebody else set, or changes meanwhile, is left as it is: see
	// Metadata.
	Shield, Exclude *bool
}

// WorkloadPatch is a goal for one Deployment: exactly one of Restart, Surge and
// GiveBack. Each is one write, under the resourceVersion that was read for it.
type WorkloadPatch struct {
	UID string // precondition: the same life of the Deployment
	// Restart is the value for the pod template's annotation of kubectl rollout
	// restart. A template that has it is left as it is.
	Restart string
	// Surge makes Replicas, which it must have, one more, and labels the Deployment
	// with what it was and with Rotation. One that is labelled is left as it is;
	// one with another count answers ErrConflict: somebody scaled it.
	Surge    bool
	Replicas int
	Rotation string
	// GiveBack takes the labels off, and the extra replica with them if the count
	// still is what Surge made of it. Any other count is somebody else's and kept.
	GiveBack bool
}

// Outcome of one effect.
type Outcome struct {
	ID   string
	Verb Verb
	Pod  PodRef // Evict, DeletePod: these have no id
	// Err is nil on success. An accepted change that is still under way at the
	// provider is a success: snapshots show its progress.
	Err *Error
}

// Error of an effect, classified where it happened.
type Error struct {
	Code    ErrorCode
	Message string // for a person: names the object and the cause
	// RetryAfter is what the API server asked for; 0: nothing.
	RetryAfter time.Duration
}

// ErrorCode classifies an effect's error.
type ErrorCode string

// Codes.
const (
	ErrTransient   ErrorCode = "transient"    // try the same effect again later
	ErrPermanent   ErrorCode = "permanent"    // a person must act
	ErrNotFound    ErrorCode = "not-found"    // the object is gone
	ErrBlocked     ErrorCode = "blocked"      // eviction: 429, a budget forbids it
	ErrDenied      ErrorCode = "denied"       // eviction: an admission webhook or policy refuses it, for now
	ErrMultiBudget ErrorCode = "multi-budget" // eviction: several budgets select the pod (500)
	ErrConflict    ErrorCode = "conflict"     // UID precondition failed: another life of the object
	ErrHeld        ErrorCode = "held"         // provider: another rotation holds the group
	ErrDriverLost  ErrorCode = "driver-lost"  // the driver keeps crashing or cannot be started
	ErrUnsupported ErrorCode = "unsupported"  // the driver does not offer the verb
)

// Status of a rotation's end.
type Status string

// How a rotation ends.
const (
	StatusDone       Status = "done"
	StatusStopped    Status = "stopped"     // before the end, can be resumed
	StatusGateFailed Status = "gate-failed" // a health gate failed
	StatusFailed     Status = "failed"      // for another reason
)

// Result of a rotation.
type Result struct {
	Status  Status
	Message string // one line; names what is left and what to do
}
