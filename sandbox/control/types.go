// Package control is the sandbox's side door: faults, call counters and new machine images over plain HTTP and JSON,
// beside the AWS wire protocol and never part of it. It holds the values, the handler and the Go client; whoever plays
// the cloud (package aws) implements [Backend].
package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind names what a fault does.
type Kind string

// The kinds of faults. Which fields of [Fault] each one reads stands beside it; Count and Share work for all but those
// that read For, which last instead of striking.
const (
	// Throttle answers calls with the service's throttling error instead of acting. Reads Action.
	Throttle Kind = "throttle"
	// InsufficientCapacity makes launches fail as EC2 does when a zone has run dry. Reads Group, Zone.
	InsufficientCapacity Kind = "insufficient-capacity"
	// NeverJoin launches machines whose kubelet never registers a node. Reads Group, Zone.
	NeverJoin Kind = "never-join"
	// NeverReady launches machines whose node registers and never gets Ready. Reads Group, Zone.
	NeverReady Kind = "never-ready"
	// SlowBoot launches machines that take Delay longer to boot. Reads Group, Zone, Delay.
	SlowBoot Kind = "slow-boot"
	// ErrorAfterAct lets the call act and then answers an internal error: the response is lost, the effect is not. Reads Action.
	ErrorAfterAct Kind = "error-after-act"
	// ErrorBeforeAct answers an internal error and does nothing. Reads Action.
	ErrorBeforeAct Kind = "error-before-act"
	// Deny answers calls as if the caller's policy did not allow them. Reads Action.
	Deny Kind = "deny"
	// APICut resets all connections that the kubeconfig's users have to the API server and refuses new ones, as when it
	// restarts. The sandbox's own parts keep theirs. Reads For.
	APICut Kind = "api-cut"
	// APIRestart ends the API server itself and starts it again, with the data that it had: for the cluster's own parts
	// too it is gone meanwhile. Reads For, how long it is gone.
	APIRestart Kind = "api-restart"
	// APIBlackhole lets those connections hang: nothing is delivered either way and neither end learns of it, as when the
	// network is cut. What was sent meanwhile is delivered late when it ends. Reads For.
	APIBlackhole Kind = "api-blackhole"
	// NodeDead silences the kubelet of a node whose machine runs on: its lease runs out and it reports nothing, so that
	// the control plane calls it not Ready once its grace period is over. Reads Node, For.
	NodeDead Kind = "node-dead"
)

// Kinds are all kinds of faults, in the order in which help texts list them.
func Kinds() []Kind {
	return []Kind{Throttle, InsufficientCapacity, NeverJoin, NeverReady, SlowBoot, ErrorAfterAct, ErrorBeforeAct, Deny,
		APICut, APIRestart, APIBlackhole, NodeDead}
}

// Lasts says whether faults of the kind begin at once and last, rather than strike single calls or launches.
func (k Kind) Lasts() bool {
	return k == APICut || k == APIRestart || k == APIBlackhole || k == NodeDead
}

// Fault is something that shall go wrong from now on.
type Fault struct {
	// ID is given by the sandbox; empty in a request.
	ID   string `json:"id,omitempty"`
	Kind Kind   `json:"kind"`
	// Action limits a fault of calls: an API action ("TerminateInstanceInAutoScalingGroup"), a service ("autoscaling"),
	// or both ("autoscaling:TerminateInstanceInAutoScalingGroup"). Empty: every call of every service.
	Action string `json:"action,omitempty"`
	// Group limits a fault of machines to an Auto Scaling group, or to that of a managed node group. Empty: every launch.
	Group string `json:"group,omitempty"`
	// Zone limits a fault of machines to an availability zone. Empty: all.
	Zone string `json:"zone,omitempty"`
	// Count is how often the fault strikes before it is used up; 0: until it is cleared.
	Count int `json:"count,omitempty"`
	// Share is the part of the matching calls or launches that it strikes, above 0 to 1, decided by the sandbox's seed.
	// 0 means 1: all of them.
	Share float64 `json:"share,omitempty"`
	// Delay is what a slow boot adds.
	Delay Duration `json:"delay,omitempty"`
	// Node is the name of the node whose kubelet falls silent.
	Node string `json:"node,omitempty"`
	// For is how long a fault lasts that lasts; 0: until it is cleared.
	For Duration `json:"for,omitempty"`
	// Struck is how often the fault has struck so far; set by the sandbox.
	Struck int `json:"struck"`
	// Over says that the time of a fault that lasts has passed; set by the sandbox.
	Over bool `json:"over,omitempty"`
}

// Validate says what is wrong with a fault before it is added.
func (f Fault) Validate() error {
	ofCalls := []Kind{Throttle, ErrorAfterAct, ErrorBeforeAct, Deny}
	switch {
	case !slices.Contains(Kinds(), f.Kind):
		names := make([]string, 0, len(Kinds()))
		for _, k := range Kinds() {
			names = append(names, string(k))
		}
		return fmt.Errorf("fault kind %q is not known: choose one of %s", f.Kind, strings.Join(names, ", "))
	case f.Count < 0:
		return fmt.Errorf("fault %s: count %d is negative: give 0 for no limit", f.Kind, f.Count)
	case f.Share < 0 || f.Share > 1:
		return fmt.Errorf("fault %s: share %v is not between 0 and 1", f.Kind, f.Share)
	case f.Kind.Lasts() && (f.Count != 0 || f.Share != 0 || f.Action != "" || f.Group != "" || f.Zone != ""):
		return fmt.Errorf("fault %s lasts: it takes how long, and no count, share, action, group or zone", f.Kind)
	case f.For < 0:
		return fmt.Errorf("fault %s: it cannot last %v", f.Kind, time.Duration(f.For))
	case !f.Kind.Lasts() && f.For != 0:
		return fmt.Errorf("fault %s does not last: it takes a count, not a time", f.Kind)
	case f.Kind == NodeDead && f.Node == "":
		return fmt.Errorf("fault %s: give the name of the node", f.Kind)
	case f.Kind != NodeDead && f.Node != "":
		return fmt.Errorf("fault %s takes no node", f.Kind)
	case f.Kind == SlowBoot && f.Delay <= 0:
		return fmt.Errorf("fault %s: give the delay that a boot takes longer", f.Kind)
	case f.Kind != SlowBoot && f.Delay != 0:
		return fmt.Errorf("fault %s takes no delay", f.Kind)
	case slices.Contains(ofCalls, f.Kind) && (f.Group != "" || f.Zone != ""):
		return fmt.Errorf("fault %s strikes calls: it takes an action, not a group or a zone", f.Kind)
	case !slices.Contains(ofCalls, f.Kind) && f.Action != "": // of those that last it is refused above
		return fmt.Errorf("fault %s strikes launches: it takes a group or a zone, not an action", f.Kind)
	}
	return nil
}

// Duration is a time.Duration that JSON writes as "1m30s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Calls counts the calls of one API action.
type Calls struct {
	Service string `json:"service"`
	Action  string `json:"action"`
	// Calls is how many arrived, those that were refused or throttled included.
	Calls int64 `json:"calls"`
	// Errors is how many of them were answered with an error, by error code.
	Errors map[string]int64 `json:"errors,omitempty"`
}

// Stats are the counters since the start or the last reset, sorted by service and action.
type Stats struct {
	Since time.Time `json:"since"`
	Calls []Calls   `json:"calls"`
	Total int64     `json:"total"`
	// Changing counts only the calls of actions that change something (not Describe, Get, List).
	Changing int64 `json:"changing"`
	// Launched and Terminated count machines, whoever asked for them.
	Launched   int64 `json:"launched"`
	Terminated int64 `json:"terminated"`
	// MostMachines is how many machines there were at once at most, from their launch until their end was asked for.
	MostMachines int `json:"mostMachines"`
	// Terminations are the terminated machines one by one, in order: each at most once, however often it was asked for.
	Terminations []Termination `json:"terminations"`
}

// Termination is the end of one machine, counted when it begins to shut down.
type Termination struct {
	Instance string    `json:"instance"`
	Group    string    `json:"group,omitempty"`
	Time     time.Time `json:"time"`
	// By is who asked for it first: an API action ("autoscaling:TerminateInstanceInAutoScalingGroup",
	// "ec2:TerminateInstances", "autoscaling:DeleteAutoScalingGroup"), or what the group did by itself ("scale-in",
	// "health-check", "abandoned-launch", "failed-launch"), or EKS ("eks:UpdateNodegroupVersion", "eks:rollback").
	By string `json:"by"`
	// Targets are the states of the machine in target groups when its end was first asked for, as "web: healthy". Empty:
	// no load balancer sent to it, nor had connections to it.
	Targets []string `json:"targets,omitempty"`
}

// PublishImageRequest asks for a new machine image.
type PublishImageRequest struct {
	// Group limits the new revision to one Auto Scaling group; empty: every group that owns instances of the image's kind.
	Group string `json:"group,omitempty"`
}

// PublishedImage says what PublishImage changed.
type PublishedImage struct {
	ImageID      string    `json:"imageId"`
	ImageName    string    `json:"imageName"`
	CreationDate time.Time `json:"creationDate"`
	// Parameter is the SSM parameter that names the image now, at ParameterVersion.
	Parameter        string           `json:"parameter"`
	ParameterVersion int64            `json:"parameterVersion"`
	Groups           []PublishedGroup `json:"groups"`
}

// PublishedGroup is what the new image means for one Auto Scaling group.
type PublishedGroup struct {
	Name string `json:"name"`
	// LaunchTemplate and Version are the group's template and the version that it launches from now; a template that
	// follows the SSM parameter gets no new version.
	LaunchTemplate string `json:"launchTemplate,omitempty"`
	Version        int64  `json:"version,omitempty"`
	// LaunchConfiguration is set for a group that launches from a launch configuration instead.
	LaunchConfiguration string `json:"launchConfiguration,omitempty"`
}

// PublishReleaseRequest asks for a new release of EKS' node images, which EKS recommends from then on.
type PublishReleaseRequest struct {
	// AMIType limits it to one, for instance AL2023_x86_64_STANDARD; empty: all.
	AMIType string `json:"amiType,omitempty"`
	// Kubernetes is the version with its patch, for instance 1.37.2; empty: the sandbox's own.
	Kubernetes string `json:"kubernetes,omitempty"`
}

// PublishedRelease is a new release of one AMI type.
type PublishedRelease struct {
	AMIType    string `json:"amiType"`
	Kubernetes string `json:"kubernetes"`
	Version    string `json:"version"`
	ImageID    string `json:"imageId"`
	ImageName  string `json:"imageName"`
	// Parameter is the SSM parameter that names the image now.
	Parameter string `json:"parameter"`
}

// InstanceRefreshRequest seeds an instance refresh: what DescribeInstanceRefreshes shows. The refresh replaces nothing.
type InstanceRefreshRequest struct {
	Group string `json:"group"`
	// Status is AWS's InstanceRefreshStatus; default InProgress. The newest refresh of a group that is still at work is
	// updated in place, so that a second request can end it.
	Status string `json:"status,omitempty"`
}

// WarmPoolRequest gives a group a warm pool, or takes it away with Remove. It holds
// MinSize instances, or as many as the group lacks to its maximum if they are more, stopped.
type WarmPoolRequest struct {
	Group   string `json:"group"`
	MinSize int    `json:"minSize,omitempty"`
	Remove  bool   `json:"remove,omitempty"`
}

// Backend is what the handler drives. Errors are the caller's mistakes (an unknown group or fault) and answer 400.
type Backend interface {
	AddFault(Fault) (Fault, error)
	Faults() []Fault
	// ClearFaults removes the fault with the id, or all of them for "".
	ClearFaults(id string) error
	// Stats reads the counters and, with reset, starts them again in the same moment, so that no call is lost between.
	Stats(reset bool) Stats
	PublishImage(context.Context, PublishImageRequest) (PublishedImage, error)
	PublishRelease(PublishReleaseRequest) ([]PublishedRelease, error)
	SeedInstanceRefresh(InstanceRefreshRequest) error
	SeedWarmPool(WarmPoolRequest) error
}
