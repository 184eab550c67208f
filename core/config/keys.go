package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/window"
)

// Kind is the kind of a key's value.
type Kind string

// The kinds of values.
const (
	Text     Kind = "string"
	Bool     Kind = "bool"
	Count    Kind = "count"    // a whole number
	Duration Kind = "duration" // as Go writes them: 90s, 15m, 1h30m
	Amount   Kind = "amount"   // a count, or a percentage of a group: 2, 25%
	List     Kind = "list"     // of strings
	Map      Kind = "map"      // free-form; its keys keep their case and dots
	Rules    Kind = "rules"    // a list of drain.Rule
)

// noun is the kind in a sentence.
func (k Kind) noun() string {
	switch k {
	case Bool:
		return "true or false"
	case Count:
		return "a whole number"
	case Amount:
		return "a count or a percentage"
	case Text, Duration, List, Map, Rules:
	}
	return "a " + string(k)
}

// Key describes one value of the rotation file. The table of keys is the one
// place from which defaults, documentation, flags, variables, the JSON Schema
// and the example are made.
type Key struct {
	// Path in the file, with dots: strategy.maxSurge.
	Path string
	// Flag without its dashes. The variable's name is made from it.
	Flag string
	// Topic groups flags in help texts.
	Topic string
	Kind  Kind
	// Default in the type of plan.Spec's field; nil: the zero value.
	Default any
	// Doc is one or more sentences for a person.
	Doc string
	// Enum lists all that is allowed, for texts and for elements of a list.
	Enum []string
	// Min and Max bound counts (as numbers) and durations (as nanoseconds),
	// both inclusive.
	Min, Max int64
	// Example of a value, for keys that are empty by default.
	Example string
	// checkFn refuses a text, or an element of a list, by saying what is allowed.
	checkFn func(string) string
}

// Topics of flags, in the order of help texts.
const (
	TopicTarget   = "Cluster and driver"
	TopicRelease  = "Release"
	TopicSelect   = "Selection"
	TopicWindow   = "Window"
	TopicStrategy = "Pace"
	TopicDrain    = "Drain"
	TopicGates    = "Health gates"
	TopicOutput   = "Journal, lock and report"
)

// Topics returns the topics in the order of help texts.
func Topics() []string {
	return []string{TopicTarget, TopicRelease, TopicSelect, TopicWindow, TopicStrategy, TopicDrain, TopicGates, TopicOutput}
}

const (
	// maxWait bounds every wait and deadline: a longer one is a typing error.
	maxWait = int64(7 * 24 * time.Hour)
	// maxAge bounds select.maxAge: ten years.
	maxAge = int64(10 * 365 * 24 * time.Hour)
	// maxNodes bounds counts of nodes: the largest cluster that Kubernetes
	// supports has 5,000.
	maxNodes = 5000
)

// EnvPrefix starts the names of all variables of ours.
const EnvPrefix = "ROTATOR_"

// Env returns the name of the key's environment variable: ROTATOR_MAX_SURGE
// for --max-surge. Maps and rules have none.
func (k Key) Env() string {
	if k.Kind == Map || k.Kind == Rules {
		return ""
	}
	return envName(k.Flag)
}

func envName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// sections documents the mappings that hold the keys.
var sections = map[string]string{
	"driver":             "The driver knows the provider. It runs as a process of its own.",
	"kubernetes":         "How to reach the cluster.",
	"select":             "Which groups and nodes are rotated.",
	"window":             "When work may be done.",
	"strategy":           "How many nodes at once, and how to go on.",
	"strategy.canary":    "A trial with one node of each group before the others.",
	"strategy.waits":     "Fixed pauses, for those who want them. Health gates make them unnecessary.",
	"drain":              "How pods leave a node.",
	"gates":              "Health checks between the steps.",
	"gates.nodeReady":    "A replacement must be Ready and initialized before an old node is drained.",
	"gates.workloads":    "Workloads that were healthy before a node's drain must be healthy after it.",
	"gates.kopsValidate": "The validation of kops rolling-update, for those who want it, with any driver. It looks at what the rotation touches alone.",
	"journal":            "Where the rotation's own records go: they make it resumable.",
	"lock":               "One rotation of a cluster at a time, by a Lease in the cluster.",
	"report":             "Where the results go.",
}

// table is in the order of the example file.
var table = []Key{
	{Path: "cluster", Flag: "cluster", Topic: TopicTarget, Kind: Text, Example: "my-cluster",
		Doc: "The cluster's name at the provider."},

	{Path: "driver.name", Flag: "driver", Topic: TopicTarget, Kind: Text, Example: "eks", checkFn: checkDriverName,
		Doc: "Name of the driver: the executable is rotatord-driver-NAME."},
	{Path: "driver.path", Flag: "driver-path", Topic: TopicTarget, Kind: Text, Example: "/opt/rotator/rotatord-driver-eks",
		Doc: "The driver's executable. Empty: it is searched in the plugin directories, beside rotatord, in the user's data folder and in PATH."},
	{Path: "driver.pluginDirs", Flag: "plugin-dir", Topic: TopicTarget, Kind: List, Example: "/opt/rotator/plugins", checkFn: checkNotEmpty,
		Doc: "Directories that are searched first for the driver."},
	{Path: "driver.sha256", Flag: "driver-sha256", Topic: TopicTarget, Kind: Text, Example: strings.Repeat("0123456789abcdef", 4), checkFn: checkSHA256,
		Doc: "SHA-256 of the driver's executable, in hexadecimal. Empty: not checked."},
	{Path: "driver.config", Flag: "driver-config", Topic: TopicTarget, Kind: Map, Example: "region: eu-west-1",
		Doc: "The driver's own configuration. `rotatord drivers info NAME` prints its schema."},
	{Path: "driver.env", Flag: "driver-env", Topic: TopicTarget, Kind: List, Example: "AWS_CA_BUNDLE", checkFn: checkEnvName,
		Doc: "Names of further environment variables that the driver may see; PREFIX_* names all that begin so. Of rotatord's environment it sees the provider's credentials, PATH and HOME only."},
	{Path: "driver.timeout", Flag: "driver-timeout", Topic: TopicTarget, Kind: Duration, Default: 2 * time.Minute, Min: int64(time.Second), Max: int64(time.Hour),
		Doc: "Deadline of one call to the driver."},

	{Path: "kubernetes.kubeconfig", Flag: "kubeconfig", Topic: TopicTarget, Kind: Text, Example: "/home/me/.kube/config",
		Doc: "The kubeconfig file. Empty: KUBECONFIG, then ~/.kube/config, then the service account of the pod that rotatord runs in."},
	{Path: "kubernetes.context", Flag: "context", Topic: TopicTarget, Kind: Text, Example: "my-cluster-admin",
		Doc: "The kubeconfig's context. Empty: its current one."},

	{Path: "kubernetes.access", Flag: "access", Topic: TopicTarget, Kind: Text, Default: plan.AccessAuto,
		Enum: []string{string(plan.AccessAuto), string(plan.AccessKubeconfig), string(plan.AccessDriver)},
		Doc:  "Whose address and credentials of the API server are used. With kubeconfig, those of one or of the pod's service account. With driver, the provider's own, so that none is needed; the driver renews them as long as the rotation takes. The default auto takes the driver's where no kubeconfig and no service account is found."},

	{Path: "cloudOnly", Flag: "cloudonly", Topic: TopicTarget, Kind: Bool, Default: false,
		Doc: "Does without the cluster's API server, for a cluster that is broken: pods are not drained, nodes are not checked, the journal is in a local folder, and the hold at the provider is the only lock."},

	{Path: "release", Flag: "release", Topic: TopicRelease, Kind: Text, Example: "latest",
		Doc: "Makes a release the selected groups' desired revision before they are rotated. It is latest, an image id such as ami-..., ssm:PARAMETER, or a version as the provider spells it. Empty: they are rotated to the one that they have."},
	{Path: "allowDowngrade", Flag: "allow-downgrade", Topic: TopicRelease, Kind: Bool, Default: false,
		Doc: "Lets the release be older than the one that a group has."},

	{Path: "select.groups", Flag: "group", Topic: TopicSelect, Kind: List, Example: "workers-*", checkFn: checkPattern,
		Doc: "Node groups to rotate, by name or shell pattern. Empty: all that have one of the roles."},
	{Path: "select.excludeGroups", Flag: "exclude-group", Topic: TopicSelect, Kind: List, Example: "spot-*", checkFn: checkPattern,
		Doc: "Node groups that are left out, by name or shell pattern."},
	{Path: "select.roles", Flag: "role", Topic: TopicSelect, Kind: List, Default: []string{string(model.RoleNode)},
		Enum: []string{string(model.RoleBastion), string(model.RoleControlPlane), string(model.RoleAPIServer), string(model.RoleNode)},
		Doc:  "Roles of the groups to rotate."},
	{Path: "select.nodes", Flag: "node", Topic: TopicSelect, Kind: List, Example: "ip-10-0-12-34.eu-west-1.compute.internal", checkFn: checkNotEmpty,
		Doc: "Limits the rotation to these nodes, by node name or instance id. Empty: no limit."},
	{Path: "select.force", Flag: "force", Topic: TopicSelect, Kind: Bool, Default: false,
		Doc: "Replaces current nodes too."},
	{Path: "select.maxAge", Flag: "max-age", Topic: TopicSelect, Kind: Duration, Min: 0, Max: maxAge, Default: time.Duration(0),
		Doc: "Replaces nodes whose instance was launched longer ago than this, such as 720h for 30 days. 0: age is no reason."},

	{Path: "window.start", Flag: "window", Topic: TopicWindow, Kind: Text, Example: "0 22 * * 1-5",
		Doc: "When the window opens, as a cron expression: minute, hour, day of month, month, day of week. Nothing is begun outside of the window; when it closes, what has been begun is finished and the surge is given back. Empty: there is no window."},
	{Path: "window.duration", Flag: "window-duration", Topic: TopicWindow, Kind: Duration, Default: 6 * time.Hour, Min: int64(time.Minute), Max: int64(window.MaxDuration),
		Doc: "For how long the window stays open."},
	{Path: "window.timeZone", Flag: "window-time-zone", Topic: TopicWindow, Kind: Text, Example: "Europe/Berlin",
		Doc: "The time zone of window.start, by its name in the IANA's database. Empty: UTC."},
	{Path: "window.wait", Flag: "wait-for-window", Topic: TopicWindow, Kind: Bool, Default: false,
		Doc: "Waits until the window opens. Otherwise rotatord run ends with exit code 4 where it is shut, and says when it opens."},

	{Path: "strategy.mode", Flag: "mode", Topic: TopicStrategy, Kind: Text, Default: plan.ModeRolling,
		Enum: []string{string(plan.ModeRolling), string(plan.ModeBatch)},
		Doc:  "rolling starts the next node as soon as a budget frees; batch goes in waves, each of which ends before the next begins."},
	{Path: "strategy.maxSurge", Flag: "max-surge", Topic: TopicStrategy, Kind: Amount, Example: "1",
		Doc: "Extra instances while a group is rotated, as a count or a percentage of the group's size (rounded up). Default: the group's own setting where the driver knows one, else 1."},
	{Path: "strategy.maxUnavailable", Flag: "max-unavailable", Topic: TopicStrategy, Kind: Amount, Example: "0",
		Doc: "How many instances of a group may be missing meanwhile, as a count or a percentage of its size (rounded down). Default: the group's own setting where the driver knows one, else 0."},
	{Path: "strategy.maxInFlight", Flag: "max-in-flight", Topic: TopicStrategy, Kind: Amount, Default: "0",
		Doc: "Nodes being replaced at once over all groups, as a count or a percentage of their nodes (rounded down, to 1 at least). 0: no bound but the groups' own."},
	{Path: "strategy.maxUnavailablePerZone", Flag: "max-unavailable-per-zone", Topic: TopicStrategy, Kind: Amount, Default: "0",
		Doc: "Nodes being replaced at once in each zone, over all groups, as a count or a percentage of the zone's nodes (rounded down, to 1 at least). 0: no bound."},
	{Path: "strategy.zones", Flag: "zones", Topic: TopicStrategy, Kind: Text, Default: plan.ZonesAny,
		Enum: []string{string(plan.ZonesAny), string(plan.ZonesSpread), string(plan.ZonesOneAtATime)},
		Doc:  "How zones take turns: spread takes the next node from the zone with the fewest under way; one-at-a-time replaces all nodes of a zone before those of the next; any leaves it to where replacements come up."},
	{Path: "strategy.order", Flag: "order", Topic: TopicStrategy, Kind: Text, Default: plan.OrderOldest, checkFn: checkOrder, Example: "label:example.com/wave",
		Doc: "Which of a group's nodes go first: oldest, where budgets decide which go together; emptiest (fewest pods to evict); or label:KEY, by the label's value, nodes without it last."},
	{Path: "strategy.orderNodes", Flag: "order-node", Topic: TopicStrategy, Kind: List, Example: "ip-10-0-12-34.eu-west-1.compute.internal", checkFn: checkNotEmpty,
		Doc: "Nodes that go before the others, in this order, by node name or instance id."},
	{Path: "strategy.groupsAtOnce", Flag: "groups-at-once", Topic: TopicStrategy, Kind: Count, Min: 1, Max: 1000, Default: 1,
		Doc: "Groups that are rotated in parallel."},
	{Path: "strategy.allowSingleControlPlane", Flag: "allow-single-control-plane", Topic: TopicStrategy, Kind: Bool, Default: false,
		Doc: "Replaces the node of a control plane that has only one: until the new one is up nobody can use the API, and etcd's data must be on a volume of its own."},
	{Path: "strategy.attract", Flag: "attract", Topic: TopicStrategy, Kind: Text, Default: plan.AttractCordon,
		Enum: []string{string(plan.AttractTaint), string(plan.AttractCordon)},
		Doc:  "How displaced pods are made to land on new nodes, so that each moves once. taint asks the scheduler to prefer them (PreferNoSchedule); cordon closes the old nodes too, from the first drain on and also those of groups whose turn has not come, unless nodes may be unavailable, and opens them again when a pod finds no room, the latter first."},
	{Path: "strategy.batchSize", Flag: "batch-size", Topic: TopicStrategy, Kind: Count, Min: 0, Max: maxNodes, Default: 0,
		Doc: "Nodes of one wave, in mode batch. 0: as many as maxSurge and maxUnavailable allow."},
	{Path: "strategy.capacityCheck", Flag: "capacity-check", Topic: TopicStrategy, Kind: Text, Default: plan.CapacityRefuse,
		Enum: []string{string(plan.CapacityRefuse), string(plan.CapacityWarn), string(plan.CapacityOff)},
		Doc:  "When pods would find no room elsewhere while their nodes are replaced: refuse stops the plan where no room can exist, and warns where none was found or an autoscaler may add some; warn only warns, and the pods wait for replacements; off does not look."},
	{Path: "strategy.onFailure", Flag: "on-failure", Topic: TopicStrategy, Kind: Text, Default: plan.FailureAbort,
		Enum: []string{string(plan.FailurePause), string(plan.FailureAbort), string(plan.FailureContinue)},
		Doc:  "When a node cannot be drained: abort ends the rotation and takes surge back; pause ends it and keeps the surge for the next run; continue goes on and tries the node once more at the end. The same when a provider fails to roll a group, where continue goes on with the next group."},
	{Path: "strategy.maxFailed", Flag: "max-failed", Topic: TopicStrategy, Kind: Count, Min: 0, Max: maxNodes, Default: 3,
		Doc: "More nodes than this that cannot be drained end the rotation. 0: no limit."},
	{Path: "strategy.onSignal", Flag: "on-signal", Topic: TopicStrategy, Kind: Text, Default: plan.SignalKeep,
		Enum: []string{string(plan.SignalKeep), string(plan.SignalUndo)},
		Doc:  "On the first SIGINT, SIGTERM or SIGHUP: keep ends within seconds and keeps surge for the next run; undo takes the surge back too, which drains the nodes that are given back."},
	{Path: "strategy.rollTimeout", Flag: "roll-timeout", Topic: TopicStrategy, Kind: Duration, Default: plan.DefaultRollTimeout, Min: int64(time.Minute), Max: maxWait,
		Doc: "How long a provider may take to roll a whole group by itself, where the driver leaves the group to it. Then the rotation ends with the group unfinished; the provider goes on."},
	{Path: "strategy.autoscalerShield", Flag: "autoscaler-shield", Topic: TopicStrategy, Kind: Bool, Default: true,
		Doc: "Keeps the cluster autoscaler from removing old nodes that wait and new ones, by its annotation scale-down-disabled, which is taken off in the end where nobody else had set it."},
	{Path: "strategy.canary.enabled", Flag: "canary", Topic: TopicStrategy, Kind: Bool, Default: true,
		Doc: "The first node of each group goes alone, and must succeed before the others follow."},
	{Path: "strategy.canary.bake", Flag: "canary-bake", Topic: TopicStrategy, Kind: Duration, Min: 0, Max: maxWait, Default: time.Duration(0),
		Doc: "Pause after a group's first node."},
	{Path: "strategy.waits.betweenBatches", Flag: "wait-between-batches", Topic: TopicStrategy, Kind: Duration, Min: 0, Max: maxWait, Default: time.Duration(0),
		Doc: "Pause between two waves, in mode batch."},
	{Path: "strategy.waits.betweenDrains", Flag: "wait-between-drains", Topic: TopicStrategy, Kind: Duration, Min: 0, Max: maxWait, Default: time.Duration(0),
		Doc: "Pause between the end of a drain and the start of the next one in a group, whose drains then go one at a time. With cloudOnly, also after each machine of the control plane."},
	{Path: "strategy.waits.betweenEvictions", Flag: "wait-between-evictions", Topic: TopicStrategy, Kind: Duration, Min: 0, Max: maxWait, Default: time.Duration(0),
		Doc: "Pause between two evictions on a node."},

	{Path: "drain.deadline", Flag: "drain-deadline", Topic: TopicDrain, Kind: Duration, Default: 15 * time.Minute, Min: int64(time.Second), Max: maxWait,
		Doc: "How long one node's drain may take, in all runs of a rotation together. Time in which none runs does not count."},
	{Path: "drain.retries", Flag: "drain-retries", Topic: TopicDrain, Kind: Count, Min: 0, Max: 100, Default: 0,
		Doc: "Further deadlines that a drain gets before onDeadline applies."},
	{Path: "drain.onDeadline", Flag: "on-deadline", Topic: TopicDrain, Kind: Text, Default: plan.DeadlineFail,
		Enum: []string{string(plan.DeadlineFail), string(plan.DeadlineSkip), string(plan.DeadlineForce)},
		Doc:  "When a drain's deadline has passed: fail stops the rotation; skip quarantines the node and goes on; force evicts what asks to be left alone, and deletes pods that no budget protects where eviction keeps failing. Grace periods are kept in any case."},
	{Path: "drain.gracePeriod", Flag: "eviction-grace-period", Topic: TopicDrain, Kind: Duration, Default: time.Duration(0), Min: -int64(time.Hour), Max: int64(24 * time.Hour),
		Doc: "Overrides the pods' own termination grace period. 0 or less: the pods' own."},
	{Path: "drain.unmanagedPods", Flag: "unmanaged-pods", Topic: TopicDrain, Kind: Text, Default: plan.UnmanagedRefuse,
		Enum: []string{string(plan.UnmanagedRefuse), string(plan.UnmanagedEvict)},
		Doc:  "Pods that no controller would make again: refuse stops the plan before anything is touched; evict evicts them for good."},
	{Path: "drain.maxEvictions", Flag: "max-evictions", Topic: TopicDrain, Kind: Count, Min: 1, Max: 10000, Default: 50,
		Doc: "Evictions asked for at once, over all nodes."},
	{Path: "drain.excludeFromLoadBalancers", Flag: "exclude-from-load-balancers", Topic: TopicDrain, Kind: Bool, Default: true,
		Doc: "Labels a node exclude-from-external-load-balancers together with its cordon, so that the load balancers of Services send it nothing more. The label is taken off again where the node stays and nobody else had set it."},
	{Path: "drain.quiesceTimeout", Flag: "quiesce-timeout", Topic: TopicDrain, Kind: Duration, Default: 10 * time.Minute, Min: 0, Max: maxWait,
		Doc: "How long a node may take to leave its provider's load balancers (target groups), for which its drain waits. 0: it is not taken out of them."},
	{Path: "drain.onQuiesceTimeout", Flag: "on-quiesce-timeout", Topic: TopicDrain, Kind: Text, Default: plan.QuiesceContinue,
		Enum: []string{string(plan.QuiesceContinue), string(plan.QuiesceFail)},
		Doc:  "When a node has not left its load balancers in time: continue drains it all the same and says so; fail leaves it as a node that could not be drained."},
	{Path: "drain.volumeDetachTimeout", Flag: "volume-detach-timeout", Topic: TopicDrain, Kind: Duration, Default: 5 * time.Minute, Min: 0, Max: maxWait,
		Doc: "How long a drained node waits for the volumes of the pods that left it to be detached, before its instance ends. 0: not at all."},
	{Path: "drain.singleReplica", Flag: "single-replica", Topic: TopicDrain, Kind: Text, Default: plan.SingleEvict,
		Enum: []string{string(plan.SingleEvict), string(plan.SingleRefuse), string(plan.SingleRestart), string(plan.SingleSurge)},
		Doc:  "How workloads of one replica move, and those whose budget never allows an eviction. With evict the former are down meanwhile, and the plan says which; refuse stops the plan; restart moves Deployments by a rollout restart, surge by a replica more for a while, both without downtime."},
	{Path: "drain.rules", Flag: "drain-rule", Topic: TopicDrain, Kind: Rules, Example: "{namespaces: [batch-*], owners: [Job], action: wait}",
		Doc: "Rules for pods by namespaces, selector (labels, as for kubectl -l) and owners (a kind, or kind/name); the first that matches counts. Its action is evict, also where an annotation asks not to disrupt the pod; or skip, which leaves it on the node; or wait, which lets it run to its end. Its order is 0 by default; lower ones leave first, equal ones together."},
	{Path: "drain.doNotDisrupt", Flag: "do-not-disrupt", Topic: TopicDrain, Kind: Text, Default: drain.DoNotDisruptRefuse,
		Enum: []string{string(drain.DoNotDisruptRefuse), string(drain.DoNotDisruptWait), string(drain.DoNotDisruptEvict)},
		Doc:  "Pods with the annotation karpenter.sh/do-not-disrupt, or with cluster-autoscaler.kubernetes.io/safe-to-evict set to false: refuse stops the plan before anything is touched, but for pods of Jobs, which are waited for; wait waits until they have ended or no longer ask; evict evicts them as others."},
	{Path: "drain.daemonSets", Flag: "daemonset-pods", Topic: TopicDrain, Kind: Text, Default: drain.DaemonSetsLeave,
		Enum: []string{string(drain.DaemonSetsLeave), string(drain.DaemonSetsLast)},
		Doc:  "Pods of DaemonSets: leave lets them run until the instance ends; last evicts them once, after the others of their tier."},
	{Path: "drain.statefulSets", Flag: "statefulset-pods", Topic: TopicDrain, Kind: Text, Default: drain.StatefulSetsOrdered,
		Enum: []string{string(drain.StatefulSetsOrdered), string(drain.StatefulSetsParallel)},
		Doc:  "Pods of StatefulSets whose podManagementPolicy is OrderedReady, which Kubernetes takes where none is given: ordered evicts one at a time, the highest ordinal first, the next once the former is Ready again; parallel evicts them as budgets allow."},
	{Path: "drain.deletePodsDespiteBudgets", Flag: "delete-pods-despite-budgets", Topic: TopicDrain, Kind: Bool, Default: false,
		Doc: "DANGEROUS. With onDeadline force, pods are deleted although a PodDisruptionBudget forbids it, so that budgets WILL BE VIOLATED. Each such pod is named in an event."},

	{Path: "gates.nodeReady.timeout", Flag: "node-ready-timeout", Topic: TopicGates, Kind: Duration, Default: 15 * time.Minute, Min: int64(time.Second), Max: maxWait,
		Doc: "Time from an instance's launch until its node must be Ready and initialized."},
	{Path: "gates.nodeReady.startupTaints", Flag: "startup-taint", Topic: TopicGates, Kind: List, Example: "node.example.com/agent-not-ready", checkFn: checkTaintKey,
		Doc: "Keys of taints that keep a new node uninitialized, beside the well-known ones."},
	{Path: "gates.workloads.enabled", Flag: "workloads-gate", Topic: TopicGates, Kind: Bool, Default: true,
		Doc: "Checks the health of workloads after each drain."},
	{Path: "gates.workloads.timeout", Flag: "workloads-timeout", Topic: TopicGates, Kind: Duration, Default: 10 * time.Minute, Min: int64(time.Second), Max: maxWait,
		Doc: "Time within which workloads must be healthy again."},

	{Path: "gates.kopsValidate.enabled", Flag: "kops-validate", Topic: TopicGates, Kind: Bool, Default: false,
		Doc: "Checks between two nodes what kops checks: nodes of the group and of the control plane are Ready, the control plane's pods and all system-critical pods on these nodes are too."},
	{Path: "gates.kopsValidate.timeout", Flag: "kops-validate-timeout", Topic: TopicGates, Kind: Duration, Default: 15 * time.Minute, Min: int64(time.Second), Max: maxWait,
		Doc: "Time within which the check must pass before the rotation is halted."},

	{Path: "journal.store", Flag: "journal-store", Topic: TopicOutput, Kind: Text, Default: plan.StoreCluster,
		Enum: []string{string(plan.StoreCluster), string(plan.StoreFolder)},
		Doc:  "Where the records are kept: cluster is in the cluster itself, where every machine finds them; folder is a local folder, and what is meant where journal.dir is given."},
	{Path: "journal.namespace", Flag: "journal-namespace", Topic: TopicOutput, Kind: Text, Default: "rotator-system", checkFn: checkNamespace,
		Doc: "Namespace of the records in the cluster, and of the lock: it must be the same for all who rotate the cluster. It is made where it is missing."},
	{Path: "journal.dir", Flag: "journal-dir", Topic: TopicOutput, Kind: Text, Example: "./rotation-journal",
		Doc: "Folder of the records. Empty, with the store folder: rotator's folder in the user's state folder. With the store cluster: a copy is written there first."},
	{Path: "journal.keep", Flag: "journal-keep", Topic: TopicOutput, Kind: Count, Min: 1, Max: 1000, Default: 20,
		Doc: "How many rotations are kept: the oldest go when a new one begins."},

	{Path: "lock.duration", Flag: "lock-duration", Topic: TopicOutput, Kind: Duration, Default: 30 * time.Second, Min: int64(3 * time.Second), Max: int64(time.Hour),
		Doc: "How long the lock holds without being renewed. Calls that change something end before it does, and who takes over from a run that died waits up to twice as long. At least 120s where the machines of the API server are rotated."},
	{Path: "lock.takeOver", Flag: "take-over", Topic: TopicOutput, Kind: Bool, Default: false,
		Doc: "Takes the lock from a run that is alive but must not go on: it stops when it sees that, and this one begins when whatever the other had under way must have ended. A run that died needs no such word."},

	{Path: "report.dir", Flag: "report-dir", Topic: TopicOutput, Kind: Text, Example: "./rotation-report",
		Doc: "Folder for events.jsonl, summary.json, junit.xml, metrics.txt (OpenMetrics) and rotation.env (NAME=value, for later steps of a pipeline). Empty: none is written."},
}

// Keys returns all keys in the order of the example file.
func Keys() []Key { return slices.Clone(table) }

// KeyOf returns the key with this path.
func KeyOf(path string) (Key, bool) {
	i := slices.IndexFunc(table, func(k Key) bool { return k.Path == path })
	if i < 0 {
		return Key{}, false
	}
	return table[i], true
}

var (
	driverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	sha256Hex  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\*?$`)
	namespace  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	taintKey   = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
)

func checkDriverName(s string) string {
	if !driverName.MatchString(s) {
		return "is not a driver's name: lower-case letters, digits and dashes are allowed (to name an executable, set driver.path)"
	}
	return ""
}

func checkSHA256(s string) string {
	if !sha256Hex.MatchString(s) {
		return fmt.Sprintf("is not a SHA-256: 64 hexadecimal digits are needed, this has %d characters", len(s))
	}
	return ""
}

func checkEnvName(s string) string {
	switch {
	case strings.Contains(s, "="):
		return "must be a variable's name alone: its value is taken from rotatord's environment"
	case !variable.MatchString(s):
		return "is not the name of an environment variable: letters, digits, underscores and a * at the end are allowed"
	}
	return ""
}

func checkPattern(s string) string {
	if s == "" {
		return "is empty: give a group's name or a shell pattern (workers-*)"
	}
	if _, err := path.Match(s, ""); err != nil {
		return `is not a shell pattern: *, ?, [a-z] and \ (before a character that is meant as it is) are allowed, and each [ needs its ]`
	}
	return ""
}

func checkTaintKey(s string) string {
	if !taintKey.MatchString(s) {
		return "is not a taint's key: give the key alone, such as node.example.com/agent-not-ready"
	}
	return ""
}

func checkNamespace(s string) string {
	if !namespace.MatchString(s) {
		return "is not the name of a namespace: lower-case letters, digits and dashes are allowed, at most 63"
	}
	return ""
}

func checkOrder(s string) string {
	if key, byLabel := strings.CutPrefix(s, "label:"); byLabel {
		if !taintKey.MatchString(key) { // the same grammar
			return "needs a label's key after label:, such as label:example.com/wave"
		}
		return ""
	}
	if s != string(plan.OrderOldest) && s != string(plan.OrderEmptiest) {
		return "is not an order: oldest, emptiest or label:KEY is allowed"
	}
	return ""
}

func checkNotEmpty(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is empty: leave it out or give a value"
	}
	return ""
}
