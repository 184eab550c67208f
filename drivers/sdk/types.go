package sdk

import (
	"slices"
	"strings"
	"time"
)

// Info describes a driver.
type Info struct {
	Name    string // as in --driver NAME
	Version string // semantic version of the driver
	// ConfigSchema is the JSON Schema of the driver's configuration.
	ConfigSchema []byte
}

// Snapshot is everything a driver sees within a scope: whole, or not at all.
type Snapshot struct {
	Groups    []NodeGroup
	Instances []Instance
	// Diagnostics about the scope: groups that were skipped and why.
	Diagnostics []Diagnostic
	// ObservedAt is when the provider was asked; it may be up to max age old.
	ObservedAt time.Time
}

// NodeGroup is a set of instances with one desired revision.
type NodeGroup struct {
	ID   string // stable: the same in every snapshot
	Name string // what a person calls it; unique within the driver
	Role Role
	// Desired, Min and Max are the capacity settings, in instances.
	Desired, Min, Max int
	// Surge is how much of Desired is a rotation's surge, as recorded at the
	// provider by SetSurge and Terminate. The group's own size is Desired-Surge.
	Surge    int
	Revision string // what new instances are made from
	Traits   Traits
	// HeldBy is the id of the rotation that prepared the group; empty: none.
	HeldBy string
	// Defaults hold where the rotation file says nothing; zero: none.
	Defaults Defaults
	// Diagnostics about the group; an error means that it cannot be rotated now.
	Diagnostics []Diagnostic
	// Roll is the roll of the group by its provider that is in flight, whoever began
	// it, or the latest that the provider remembers; nil: none.
	Roll *RollStatus
	// LostLabels are labels that nodes of the group carry and their replacements
	// will not: KEY=VALUE where those carry another value, KEY where they do not
	// carry it at all. Each once, at most [MaxLostLabels]. Pods that select them, and
	// fit no other node, are refused in the plan, and not evicted.
	LostLabels []string
}

// MaxLostLabels bounds the LostLabels of one group.
const MaxLostLabels = 100

// Role is what the machines of a group do.
type Role int

// Roles. The zero value is refused: a driver must say.
const (
	RoleUnspecified Role = iota
	RoleBastion
	RoleControlPlane
	RoleAPIServer
	RoleNode
)

// Refill says who replaces an instance that was terminated with KeepCapacity.
type Refill int

// Who refills.
const (
	RefillNobody Refill = iota
	RefillGroup
	RefillDriver
	RefillScheduler
)

// Drains says who drains the nodes of a group.
type Drains int

// Who drains.
const (
	DrainsCore Drains = iota
	DrainsProvider
	DrainsBoth
)

// Traits say what can be done with one group. The zero value means "cannot".
// Traits that need a verb which the driver does not implement are cleared by
// Serve, so that they cannot lie.
type Traits struct {
	TerminateKeep, TerminateShrink bool
	Prepare, Quiesce               bool
	Reimage, Roll, Stage           bool
	MaxSurge                       int // instances; 0: no surge
	Refill                         Refill
	Drains                         Drains
	KeepsNodeName                  bool
	RollPausable, RollCancellable  bool
	// SurgeDetaches: SetSurge takes the instances that are going out of the group,
	// which launches others. They run on in the state InstanceDetached, count in
	// Desired and in Surge, and only they are ended with ShrinkCapacity.
	SurgeDetaches bool
	// StageTogether: Stage of several such groups at the same time is one change,
	// and takes about as long as that of one. The host then sends the calls together,
	// else one after the other.
	StageTogether bool
}

// Defaults are settings of a group's own, which hold where the rotation file
// says nothing.
type Defaults struct {
	// MaxSurge and MaxUnavailable are counts, or percentages of the group's own
	// size ("25%"); empty: the group has none.
	MaxSurge, MaxUnavailable string
	// Disabled: the group is not to be rotated unless the rotation file names it.
	Disabled bool
	// Source says where they come from, for a person.
	Source string
}

// InstanceState is where an instance is in its life.
type InstanceState int

// States. Instances that are gone are left out of a snapshot.
const (
	InstanceStateUnspecified InstanceState = iota
	InstancePending
	InstanceInService
	InstanceTerminating
	InstanceDetached
	InstanceStandby
)

// Instance is one machine.
type Instance struct {
	ID         string
	GroupID    string
	ProviderID string // as spec.providerID of its node
	Zone       string
	State      InstanceState
	Revision   string
	LaunchedAt time.Time // zero: unknown
	// Reasons say why the instance is outdated; none: it is current.
	Reasons []Reason
	// Work is what is in flight for the instance, recovered from the provider;
	// nil: nothing.
	Work *Work
}

// Work is work in flight that Observe found at the provider.
type Work struct {
	Verb  string // terminate, quiesce, reimage, ...
	Phase string // for a person: "waiting for lifecycle hook drain-hook"
	Since time.Time
}

// Reason says why an instance is to be replaced.
type Reason struct {
	Code    string // stable: revision, age, marked, forced
	Message string
}

// Severity of a diagnostic.
type Severity int

// Severities.
const (
	SeverityUnspecified Severity = iota
	SeverityInfo
	SeverityWarning
	SeverityError
)

// Retry tells what to do after a failed call.
type Retry int

// What a caller may do after a failure.
const (
	RetryNever Retry = iota // a person must act first
	RetryLater              // transient: send the same op id again after a pause
)

// Diagnostic is a finding for a person, with a stable code.
type Diagnostic struct {
	Severity Severity
	Code     string // lower case with dashes; stable
	Summary  string // one line that names the object
	Detail   string // the cause, and what to do next
	Object   string
	Retry    Retry
}

// AboutCredentials tells whether a diagnostic's code is about credentials that
// are missing or refused: one of its words is "credentials" or "denied", as in
// "aws-credentials-missing" and "cloud-denied". The host reports such
// diagnostics of Configure apart from a wrong configuration.
func AboutCredentials(code string) bool {
	return slices.ContainsFunc(strings.Split(code, "-"), func(word string) bool {
		return word == "credentials" || word == "denied"
	})
}

// Scope selects what Observe returns.
type Scope struct {
	// Cluster is the cluster's name at the provider. Required.
	Cluster string
	// Groups limits the answer to these group ids; empty: all of the cluster.
	Groups []string
}

// Op is carried by every changing call.
type Op struct {
	// ID of the operation: the same id means the same goal, sent again.
	ID string
	// RotationID is written to whatever the driver marks at the provider.
	RotationID string
	// DryRun asks for every check and for no change.
	DryRun bool
}

// OperationState is where an operation stands.
type OperationState int

// States of an operation.
const (
	OperationStateUnspecified OperationState = iota
	// OperationRunning: accepted; Observe shows its progress.
	OperationRunning
	// OperationDone: the goal is reached.
	OperationDone
	// OperationFailed: not reached; the diagnostics say why, and Retry whether
	// the same op id may be sent again.
	OperationFailed
)

// Operation answers a changing call.
type Operation struct {
	State       OperationState
	Phase       string // for a person
	Diagnostics []Diagnostic
}

// Capacity says what happens to a group's size when an instance is terminated.
type Capacity int

// What happens to the size.
const (
	CapacityUnspecified Capacity = iota
	// KeepCapacity: the group is refilled, by whom its traits say.
	KeepCapacity
	// ShrinkCapacity: desired capacity goes down by one with the instance.
	ShrinkCapacity
)

// TerminateRequest asks that one instance be gone.
type TerminateRequest struct {
	Op
	GroupID    string
	InstanceID string
	Capacity   Capacity
	// Surge is the group's surge once this call has succeeded (absolute, never
	// "-1"): a driver that records surge at the provider records this value
	// before it shrinks. Meaningful with ShrinkCapacity only.
	Surge int
}

// TerminateResult answers Terminate: the instance's and the capacity's outcome
// apart, because one can succeed without the other.
type TerminateResult struct {
	Instance Operation
	Capacity Operation
}

// SetSurgeRequest asks that the group have Surge instances beyond its own size.
type SetSurgeRequest struct {
	Op
	GroupID string
	// Surge is absolute: the same request twice changes nothing the second time.
	// It is only ever raised by SetSurge: shrinking rides on Terminate, since a
	// provider that is told a lower number picks the victim itself.
	Surge int
	// Going lists the instances that are about to go, in order. Drivers that
	// surge by detaching use it; others ignore it.
	Going []string
}

// GroupRequest names a group: Prepare, Restore.
type GroupRequest struct {
	Op
	GroupID string
}

// InstanceRequest names an instance: Quiesce, Unquiesce, Reimage.
type InstanceRequest struct {
	Op
	GroupID    string
	InstanceID string
}

// CancelRequest cancels an operation in flight.
type CancelRequest struct {
	Op
	GroupID  string
	TargetID string // the op id to cancel
}
