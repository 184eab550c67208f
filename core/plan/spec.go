package plan

import (
	"time"

	"github.com/rotatord/rotator/core/drain"
)

// Spec is what a person asks for: the rotation file, decoded and defaulted.
// It is a plain value; package config reads it from files, variables and flags.
type Spec struct {
	// Cluster is the cluster's name at the provider. Required.
	Cluster string `yaml:"cluster" json:"cluster"`
	// CloudOnly does without the cluster's API server, as in a cluster that is
	// broken: nodes are not looked at and pods not drained, the journal is in a
	// folder, and there is no lock but the groups' own hold at the provider.
	CloudOnly bool `yaml:"cloudOnly" json:"cloudOnly"`
	// Release becomes the desired revision of the selected groups before they are
	// rotated: latest, an image id, ssm:PARAMETER, or a version as the provider
	// spells it. Empty: they are rotated to what they have.
	Release string `yaml:"release" json:"release"`
	// AllowDowngrade lets it be older than what a group has.
	AllowDowngrade bool     `yaml:"allowDowngrade" json:"allowDowngrade"`
	Driver         Driver   `yaml:"driver" json:"driver"`
	Select         Select   `yaml:"select" json:"select"`
	Window         Window   `yaml:"window" json:"window"`
	Strategy       Strategy `yaml:"strategy" json:"strategy"`
	Drain          Drain    `yaml:"drain" json:"drain"`
	Gates          Gates    `yaml:"gates" json:"gates"`
	Journal        Journal  `yaml:"journal" json:"journal"`
	Lock           Lock     `yaml:"lock" json:"lock"`
	Report         Report   `yaml:"report" json:"report"`
	Kube           Kube     `yaml:"kubernetes" json:"kubernetes"`
}

// Driver names the driver and carries its configuration.
type Driver struct {
	Name      string   `yaml:"name" json:"name"`
	Path      string   `yaml:"path" json:"path"`             // the executable; empty: searched
	PluginDir []string `yaml:"pluginDirs" json:"pluginDirs"` // searched first
	SHA256    string   `yaml:"sha256" json:"sha256"`         // hex; empty: not checked
	// Config is the driver's own, checked by its schema.
	Config map[string]any `yaml:"config" json:"config"`
	// Env names further environment variables that the driver may see.
	Env []string `yaml:"env" json:"env"`
	// Timeout of one call. Default 2m.
	Timeout time.Duration `yaml:"timeout" json:"timeout"`
}

// Select chooses which groups and instances are rotated.
type Select struct {
	// Groups are names or shell patterns (path.Match); empty: all groups.
	Groups []string `yaml:"groups" json:"groups"`
	// ExcludeGroups are left out, by name or pattern.
	ExcludeGroups []string `yaml:"excludeGroups" json:"excludeGroups"`
	// Roles: control-plane, api-server, node, bastion. Default: node.
	Roles []string `yaml:"roles" json:"roles"`
	// Nodes limits the rotation to these nodes or instance ids.
	Nodes []string `yaml:"nodes" json:"nodes"`
	// Force replaces current instances too.
	Force bool `yaml:"force" json:"force"`
	// MaxAge replaces instances that were launched longer ago; 0: age is no reason.
	MaxAge time.Duration `yaml:"maxAge" json:"maxAge"`
}

// Window is when a rotation may work; the zero value: always. Package window
// reads it.
type Window struct {
	// Start is a cron expression: when it opens.
	Start string `yaml:"start" json:"start"`
	// Duration is for how long.
	Duration time.Duration `yaml:"duration" json:"duration"`
	// TimeZone of Start, by its IANA name; empty: UTC.
	TimeZone string `yaml:"timeZone" json:"timeZone"`
	// Wait has a command that finds it shut wait until it opens.
	Wait bool `yaml:"wait" json:"wait"`
}

// Mode of going on.
type Mode string

// Modes.
const (
	// ModeRolling starts the next node as soon as a budget frees.
	ModeRolling Mode = "rolling"
	// ModeBatch goes in waves; each ends before the next begins.
	ModeBatch Mode = "batch"
)

// Strategy says how many nodes at once, and how to go on.
type Strategy struct {
	Mode Mode `yaml:"mode" json:"mode"` // default rolling
	// MaxSurge is a count ("2") or a percentage ("25%", rounds up) of a group's
	// size: extra instances while the group is rotated. Default: the group's own
	// setting where its driver knows one, else 1.
	MaxSurge string `yaml:"maxSurge" json:"maxSurge"`
	// MaxUnavailable is a count or a percentage (rounds down): how many
	// instances of a group may be missing. Default: as for MaxSurge, else 0.
	MaxUnavailable string `yaml:"maxUnavailable" json:"maxUnavailable"`
	// MaxInFlight bounds the nodes being replaced at once over all groups, as a
	// count or a percentage of their nodes (rounds down, to 1 at least); 0: no
	// bound but the groups' own.
	MaxInFlight string `yaml:"maxInFlight" json:"maxInFlight"`
	// MaxUnavailablePerZone bounds them in each zone, over all groups, in the same
	// way.
	MaxUnavailablePerZone string `yaml:"maxUnavailablePerZone" json:"maxUnavailablePerZone"`
	// Zones says how the zones take turns. Default any.
	Zones Zones `yaml:"zones" json:"zones"`
	// Order of a group's nodes: oldest (default), emptiest, or label:KEY.
	Order Order `yaml:"order" json:"order"`
	// OrderNodes, by node name or instance id, go before the others, in this order.
	OrderNodes []string `yaml:"orderNodes" json:"orderNodes"`
	// GroupsAtOnce is how many groups are rotated in parallel. While the last
	// instances of one end, the next may boot its surge, and drains nothing yet.
	// Default 1.
	GroupsAtOnce int `yaml:"groupsAtOnce" json:"groupsAtOnce"`
	// Attract says how old nodes are made unattractive, so that a pod moves once.
	// Default cordon.
	Attract Attract `yaml:"attract" json:"attract"`
	// AllowSingleControlPlane lets the only node of a control plane be replaced:
	// nobody can use the API until the new one is up, and etcd's data must survive
	// on a volume of its own.
	AllowSingleControlPlane bool `yaml:"allowSingleControlPlane" json:"allowSingleControlPlane"`
	// BatchSize is the number of nodes of a wave in batch mode; 0: as many as
	// MaxSurge and MaxUnavailable allow.
	BatchSize int `yaml:"batchSize" json:"batchSize"`
	// CapacityCheck says what pods that would find no room do to the plan. Default
	// refuse.
	CapacityCheck CapacityCheck `yaml:"capacityCheck" json:"capacityCheck"`
	// OnFailure says what a node that cannot be drained does to the rotation, or a
	// group whose provider fails to roll it. Default abort.
	OnFailure OnFailure `yaml:"onFailure" json:"onFailure"`
	// MaxFailed stops the rotation when more nodes than this could not be
	// drained; 0: no limit. Default 3.
	MaxFailed int `yaml:"maxFailed" json:"maxFailed"`
	// OnSignal says what the first SIGINT or SIGTERM does. Default keep.
	OnSignal OnSignal `yaml:"onSignal" json:"onSignal"`
	// RollTimeout bounds a roll of a whole group by its provider, from its begin;
	// 0: DefaultRollTimeout.
	RollTimeout time.Duration `yaml:"rollTimeout" json:"rollTimeout"`
	// AutoscalerShield keeps the cluster autoscaler from removing old nodes that
	// wait and new ones. Default true.
	AutoscalerShield bool   `yaml:"autoscalerShield" json:"autoscalerShield"`
	Canary           Canary `yaml:"canary" json:"canary"`
	Waits            Waits  `yaml:"waits" json:"waits"`
}

// DefaultRollTimeout is long enough for a provider that takes a hundred nodes one
// at a time, a quarter of an hour each.
const DefaultRollTimeout = 24 * time.Hour

// CapacityCheck is a policy for pods that would find no room while the nodes
// that they are on are replaced.
type CapacityCheck string

// Policies. The zero value is refuse.
const (
	// CapacityRefuse refuses the plan where no room can exist, and warns where none
	// was found or an autoscaler may add some.
	CapacityRefuse CapacityCheck = "refuse"
	CapacityWarn   CapacityCheck = "warn" // warns, and the pods wait for replacements
	CapacityOff    CapacityCheck = "off"  // does not look
)

// Zones says how the zones take turns.
type Zones string

// Rules for zones. With each, an old node goes in the zone where a replacement
// came up, as far as the rule leaves a choice.
const (
	ZonesAny        Zones = "any"
	ZonesSpread     Zones = "spread"        // the next node is of the zone with the fewest under way
	ZonesOneAtATime Zones = "one-at-a-time" // all nodes of a zone before those of the next
)

// Order is the rule for which of a group's nodes go first.
type Order string

// Orders. OrderOldest leaves it to budgets which of the nodes go together; the
// others are strict.
const (
	OrderOldest   Order = "oldest"
	OrderEmptiest Order = "emptiest" // fewest pods to evict
	// orderLabel begins a rule by the value of a label, ascending; nodes without it
	// go last.
	orderLabel = "label:"
)

// Attract says how displaced pods are made to land on new nodes.
type Attract string

// Ways.
const (
	// AttractTaint gives old nodes a taint with the effect PreferNoSchedule.
	AttractTaint Attract = "taint"
	// AttractCordon cordons them too, from the first drain on, also those of groups
	// whose turn has not come, until a pod finds no room: then those are opened
	// first. A group in which nodes may be unavailable is only tainted.
	AttractCordon Attract = "cordon"
)

// OnFailure is a policy for nodes that cannot be drained.
type OnFailure string

// Policies. All leave the failed node as it was before its drain.
const (
	FailurePause    OnFailure = "pause"    // end, and keep the surge for the next run
	FailureAbort    OnFailure = "abort"    // end, and take the surge back
	FailureContinue OnFailure = "continue" // go on, and try the node once more at the end
)

// OnSignal is a policy for the first signal.
type OnSignal string

// Policies.
const (
	// SignalKeep ends within seconds: cordons, taints and provider settings are
	// put back, surge is kept for the next run.
	SignalKeep OnSignal = "keep"
	// SignalUndo takes the surge back too, which drains the nodes given back.
	SignalUndo OnSignal = "undo"
)

// Canary: the first node of each group goes alone.
type Canary struct {
	Enabled bool          `yaml:"enabled" json:"enabled"` // default true
	Bake    time.Duration `yaml:"bake" json:"bake"`       // pause after it; default 0
}

// Waits are fixed pauses, for those who want them. All default to 0.
type Waits struct {
	BetweenBatches   time.Duration `yaml:"betweenBatches" json:"betweenBatches"`
	BetweenDrains    time.Duration `yaml:"betweenDrains" json:"betweenDrains"`
	BetweenEvictions time.Duration `yaml:"betweenEvictions" json:"betweenEvictions"`
}

// OnDeadline says what happens when a drain's deadline has passed.
type OnDeadline string

// Policies.
const (
	DeadlineFail  OnDeadline = "fail"  // stop the rotation
	DeadlineSkip  OnDeadline = "skip"  // quarantine the node and go on
	DeadlineForce OnDeadline = "force" // delete pods that no budget protects
)

// Unmanaged says what to do with pods that no controller would make again.
type Unmanaged string

// Policies for unmanaged pods.
const (
	UnmanagedRefuse Unmanaged = "refuse" // refused at plan time
	UnmanagedEvict  Unmanaged = "evict"
)

// OnQuiesceTimeout is a policy for nodes that do not leave their load balancers.
type OnQuiesceTimeout string

// Policies.
const (
	QuiesceContinue OnQuiesceTimeout = "continue" // drain it all the same, and say so
	QuiesceFail     OnQuiesceTimeout = "fail"     // as a drain that failed
)

// SingleReplica says how workloads are moved that an eviction would take down.
type SingleReplica string

// Ways.
const (
	SingleEvict   SingleReplica = "evict"   // as any other: it is down while it moves
	SingleRefuse  SingleReplica = "refuse"  // refused at plan time
	SingleRestart SingleReplica = "restart" // by a rollout restart that surges
	SingleSurge   SingleReplica = "surge"   // by a replica more for a while
)

// Drain says how pods leave a node.
type Drain struct {
	Deadline   time.Duration `yaml:"deadline" json:"deadline"` // default 15m
	Retries    int           `yaml:"retries" json:"retries"`   // further deadlines before OnDeadline; default 0
	OnDeadline OnDeadline    `yaml:"onDeadline" json:"onDeadline"`
	// GracePeriod overrides the pods' own termination grace period; 0 or less:
	// the pods' own (default), so that a forgotten field never kills at once.
	GracePeriod   time.Duration `yaml:"gracePeriod" json:"gracePeriod"`
	UnmanagedPods Unmanaged     `yaml:"unmanagedPods" json:"unmanagedPods"`
	// MaxEvictions bounds the evictions asked for at once over all nodes. Default 50.
	MaxEvictions int `yaml:"maxEvictions" json:"maxEvictions"`
	// ExcludeFromLoadBalancers labels a node before its drain, so that the load
	// balancers of Services leave it out. Default true.
	ExcludeFromLoadBalancers bool `yaml:"excludeFromLoadBalancers" json:"excludeFromLoadBalancers"`
	// QuiesceTimeout bounds the wait for a node to leave its provider's load
	// balancers; 0: it is not taken out of them. Default 10m.
	QuiesceTimeout time.Duration `yaml:"quiesceTimeout" json:"quiesceTimeout"`
	// OnQuiesceTimeout says what a node does that does not leave in time. Default
	// continue.
	OnQuiesceTimeout OnQuiesceTimeout `yaml:"onQuiesceTimeout" json:"onQuiesceTimeout"`
	// VolumeDetachTimeout bounds the wait for the volumes of pods that left to be
	// detached before the instance ends; 0: no wait. Default 5m.
	VolumeDetachTimeout time.Duration `yaml:"volumeDetachTimeout" json:"volumeDetachTimeout"`
	// SingleReplica says how workloads move that an eviction would take down: those
	// of one replica, and those whose budget allows none. Default evict.
	SingleReplica SingleReplica `yaml:"singleReplica" json:"singleReplica"`
	// Rules for pods by namespace, labels and owner; the first that matches counts.
	Rules []drain.Rule `yaml:"rules" json:"rules"`
	// DoNotDisrupt: pods whose annotations forbid to evict them. Default refuse.
	DoNotDisrupt drain.DoNotDisrupt `yaml:"doNotDisrupt" json:"doNotDisrupt"`
	// DaemonSets: their pods. Default leave.
	DaemonSets drain.DaemonSets `yaml:"daemonSets" json:"daemonSets"`
	// StatefulSets: pods of those with podManagementPolicy OrderedReady. Default ordered.
	StatefulSets drain.StatefulSets `yaml:"statefulSets" json:"statefulSets"`
	// DeletePodsDespiteBudgets lets OnDeadline force delete pods that a budget
	// protects: PodDisruptionBudgets are then violated.
	DeletePodsDespiteBudgets bool `yaml:"deletePodsDespiteBudgets" json:"deletePodsDespiteBudgets"`
}

// Policy for pods. The error names each rule that cannot be used; the policy
// goes without those.
func (d Drain) Policy() (*drain.Policy, error) {
	p, err := drain.NewPolicy(d.Rules, d.DoNotDisrupt, d.DaemonSets)
	p.StatefulSets = d.StatefulSets
	return p, err
}

// Gates are health checks between steps.
type Gates struct {
	NodeReady NodeReadyGate `yaml:"nodeReady" json:"nodeReady"`
	Workloads WorkloadsGate `yaml:"workloads" json:"workloads"`
	// KopsValidate is what kops checks between two instances of a rolling update.
	KopsValidate KopsValidateGate `yaml:"kopsValidate" json:"kopsValidate"`
}

// NodeReadyGate: a replacement must be Ready and initialized.
type NodeReadyGate struct {
	// Timeout from an instance's launch to its node being Ready and initialized.
	// Default 15m.
	Timeout time.Duration `yaml:"timeout" json:"timeout"`
	// StartupTaints are taint keys that keep a node uninitialized, beside the
	// well-known ones.
	StartupTaints []string `yaml:"startupTaints" json:"startupTaints"`
}

// WorkloadsGate: workloads that were healthy before are healthy after.
type WorkloadsGate struct {
	Enabled bool          `yaml:"enabled" json:"enabled"` // default true
	Timeout time.Duration `yaml:"timeout" json:"timeout"` // default 10m
}

// KopsValidateGate: the nodes of the group and of the control plane, and the
// system-critical pods on them, are as kops wants them before each further node.
type KopsValidateGate struct {
	Enabled bool          `yaml:"enabled" json:"enabled"` // default false
	Timeout time.Duration `yaml:"timeout" json:"timeout"` // default 15m
}

// Store is where journals are kept.
type Store string

// Stores.
const (
	StoreCluster Store = "cluster" // in the cluster itself, as ConfigMaps
	StoreFolder  Store = "folder"  // in a local folder
)

// Journal says where the rotation's records go.
type Journal struct {
	// Store is the cluster by default, or the folder where Dir is given.
	Store Store `yaml:"store" json:"store"`
	// Namespace of the journal in the cluster, and of the lock. Default
	// rotator-system.
	Namespace string `yaml:"namespace" json:"namespace"`
	// Dir of StoreFolder; default: rotator's folder in the user's state folder.
	// With StoreCluster: a copy is written there first; default: none.
	Dir string `yaml:"dir" json:"dir"`
	// Keep is how many rotations are kept. Default 20.
	Keep int `yaml:"keep" json:"keep"`
}

// Lock of the cluster: one rotation at a time.
type Lock struct {
	// Duration for which the lock holds without being renewed. Default 30s; at
	// least 120s where the machines of the API server are rotated.
	Duration time.Duration `yaml:"duration" json:"duration"`
	// TakeOver takes the lock from a holder that lives.
	TakeOver bool `yaml:"takeOver" json:"takeOver"`
}

// Report says where the results go.
type Report struct {
	Dir string `yaml:"dir" json:"dir"` // summary.json and events.jsonl; empty: none
}

// Kube says how to reach the cluster.
type Kube struct {
	Kubeconfig string `yaml:"kubeconfig" json:"kubeconfig"` // empty: KUBECONFIG, then ~/.kube/config, then in-cluster
	Context    string `yaml:"context" json:"context"`
	// Access says whose address and credentials are used. Default auto.
	Access Access `yaml:"access" json:"access"`
}

// Access is a way to the cluster's API server.
type Access string

// Ways. The zero value is AccessAuto.
const (
	AccessAuto       Access = "auto"       // AccessKubeconfig where one is found, else AccessDriver where the driver can
	AccessKubeconfig Access = "kubeconfig" // or the service account of the pod that this runs in
	AccessDriver     Access = "driver"     // it knows the address, and makes credentials
)
