package model

import "time"

// Role is what the machines of a node group do.
type Role string

// The roles, in the order in which a rotation visits them.
const (
	RoleBastion      Role = "bastion"
	RoleControlPlane Role = "control-plane"
	RoleAPIServer    Role = "api-server"
	RoleNode         Role = "node"
)

// NodeGroup is a set of instances with one desired revision.
type NodeGroup struct {
	ID   string // the driver's stable id
	Name string // what a person calls it; unique within one driver
	Role Role
	// Desired, Min and Max are the provider's capacity settings, in instances.
	Desired, Min, Max int
	// Surge is how much of Desired is surge of a rotation, as recorded at the
	// provider: the group's own size is Desired - Surge.
	Surge int
	// Revision is what new instances are made from.
	Revision string
	Traits   Traits
	// HeldBy is the id of the rotation that prepared the group; empty: none.
	HeldBy string
	// Defaults hold where the rotation file says nothing.
	Defaults Defaults
	// Diagnostics about the group. One of severity error means that the group
	// cannot be rotated now.
	Diagnostics []Diagnostic
	// Roll is the roll of the group by its provider that is in flight, whoever began
	// it, or the latest that the provider remembers; the zero value: none.
	Roll Roll
	// LostLabels are those of its nodes that their replacements do not carry, at
	// most MaxLostLabels.
	LostLabels []LostLabel
}

// Roll is the replacement of a whole group by its provider.
type Roll struct {
	ID string // the provider's own
	// Op is the id of our operation that began it; empty: unknown, or somebody
	// else's.
	Op           string
	State        RollState
	Phase        string // for a person
	Since, Ended time.Time
	// Diagnostics say what holds it up, or why it failed.
	Diagnostics []Diagnostic
}

// RollState is where a roll stands.
type RollState string

// The states of a roll. The zero value: there is none.
const (
	RollNone      RollState = ""
	RollRunning   RollState = "running"
	RollSucceeded RollState = "succeeded"
	RollFailed    RollState = "failed"
	RollCancelled RollState = "cancelled"
)

// Refill says who replaces an instance that was terminated with KeepCapacity.
type Refill string

// Who refills a group.
const (
	RefillNobody    Refill = ""
	RefillGroup     Refill = "group"     // the provider's group does, by itself
	RefillDriver    Refill = "driver"    // the driver launches the replacement
	RefillScheduler Refill = "scheduler" // a provisioner does, once pods are pending
)

// Drains says who drains nodes of the group.
type Drains string

// Who drains.
const (
	DrainsCore     Drains = ""
	DrainsProvider Drains = "provider"
	DrainsBoth     Drains = "both"
)

// Traits say what can be done with one node group. The zero value means
// "cannot"; the planner refuses what the traits do not offer.
type Traits struct {
	TerminateKeep   bool // Terminate, after which the group is refilled
	TerminateShrink bool // Terminate, after which the group is smaller by one
	Prepare         bool // Prepare and Restore
	Quiesce         bool
	Reimage         bool
	Roll            bool
	Stage           bool
	// MaxSurge is the largest surge in instances; 0: no surge.
	MaxSurge        int
	Refill          Refill
	Drains          Drains
	KeepsNodeName   bool
	RollPausable    bool
	RollCancellable bool
	// SurgeDetaches: the extra instances are old ones that were taken out of the
	// group, which launched others. They are in the state InstanceDetached, and
	// only they are ended with ShrinkCapacity.
	SurgeDetaches bool
	// StageTogether: releases of several such groups are staged by calls at the same
	// time, which the driver makes one change of; else one after the other.
	StageTogether bool
}

// Rolled tells whether the group's nodes are replaced by a roll of its provider,
// which drains them itself, alone or beside the core.
func (t Traits) Rolled() bool { return t.Roll && t.Drains != DrainsCore }

// Defaults are settings of a group's own, which hold where the rotation file
// says nothing.
type Defaults struct {
	// MaxSurge and MaxUnavailable are counts or percentages; empty: none.
	MaxSurge, MaxUnavailable string
	// Disabled: the group is not rotated unless the rotation file names it.
	Disabled bool
	// Source says where they come from, for a person.
	Source string
}

// InstanceState is where an instance is in its life.
type InstanceState string

// The states of an instance. A driver leaves out instances that are gone.
const (
	InstancePending     InstanceState = "pending"    // launched, not yet in service
	InstanceInService   InstanceState = "in-service" // counted by the group
	InstanceTerminating InstanceState = "terminating"
	InstanceDetached    InstanceState = "detached"
	InstanceStandby     InstanceState = "standby"
)

// Instance is one machine, known by the provider's id.
type Instance struct {
	ID      string
	GroupID string
	// ProviderID is what spec.providerID of its node says.
	ProviderID string
	Zone       string
	State      InstanceState
	Revision   string
	LaunchedAt time.Time // zero: unknown
	// Reasons say why the instance is outdated; none: it is current.
	Reasons []Reason
	// Work is what is in flight for it at the provider; the zero value: nothing.
	Work Work
}

// Work is work in flight that the provider shows.
type Work struct {
	Verb  string    // terminate, quiesce, ...
	Phase string    // for a person: "draining connections of target group web"
	Since time.Time // zero: unknown
}

// Outdated tells whether the driver gave a reason to replace the instance.
func (i Instance) Outdated() bool { return len(i.Reasons) > 0 }

// Reason says why an instance is to be replaced.
type Reason struct {
	Code    string `json:"code"`    // stable: revision, age, marked, forced, ...
	Message string `json:"message"` // for a person: "launch template lt-1 version 3, wanted 4"
}

// Severity of a diagnostic.
type Severity string

// Severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

// Retry tells what to do after a failed call.
type Retry string

// What a caller may do after a failure.
const (
	RetryNever Retry = ""      // the same call will fail again: a person must act
	RetryLater Retry = "later" // transient: the same op id may be sent again after a pause
)

// Diagnostic is one finding for a person, with a code that is stable.
type Diagnostic struct {
	Severity Severity
	Code     string // stable, lower case with dashes; nothing parses the prose
	Summary  string // one line that names the object
	Detail   string // cause and what to do next
	Object   string // the id of what it is about
	Retry    Retry
}
