package stack

import (
	"fmt"
	"strings"
	"time"

	"github.com/rotatord/rotator/sandbox/kops"
)

// Options say how large the sandbox is and how fast its parts are.
type Options struct {
	Dir string // holds the kubeconfig, logs and credentials
	// Provider is how the cluster got its machines: ProviderEKS, ProviderEKSManaged or ProviderKops.
	Provider string
	Cluster  string // its name, in the tags of its groups
	Region   string
	Nodes    int // together, spread over the groups
	Groups   int
	// NoBastion leaves the bastion out of a cluster of kops.
	NoBastion bool
	Zones     int

	BootDelay    time.Duration // a machine, from running to registered
	PodStart     time.Duration // a pod, from bound to Ready
	PodStop      time.Duration // a pod, from asked to end to gone
	JobRun       time.Duration // a pod of a job, from Running to Succeeded
	VolumeAttach time.Duration // a volume, from asked for to attached
	VolumeDetach time.Duration // a volume, from given up to detached
	NodeLostTime time.Duration // how long a node whose kubelet is silent counts as alive

	Workload            string        // WorkloadDemo, WorkloadNone or the path of a YAML file
	Pods                int           // of the demo; 0: as many as suit the nodes
	Seed                uint64        // decides all chance
	MixedInstances      bool          // groups use a mixed instances policy
	TargetGroup         bool          // groups are behind a load balancer's target group: all, or kops' control plane
	DeregistrationDelay time.Duration // of the target group, in whole seconds
	ResourceNames       bool          // node names from instance ids instead of addresses
	TemplateVersions    int           // how many versions a launch template may have
	EKSSpeedup          float64       // how many times faster than at AWS managed node groups are updated
	APIServerPort       int           // where the kubeconfig leads; 0: a free one
}

// The providers.
const (
	// ProviderEKS has groups of workers that somebody made by hand or with
	// another tool, and no machine of the control plane, as on EKS.
	ProviderEKS = "eks"
	// ProviderEKSManaged has managed node groups, which EKS looks after, and one
	// group of workers beside them that it does not.
	ProviderEKSManaged = "eks-managed"
	// ProviderKops has all that kops makes: control plane, bastions, workers and
	// the state store.
	ProviderKops = "kops"
)

// The workloads that are no file.
const (
	WorkloadDemo = "demo"
	WorkloadNone = "none"
)

// Defaults are a cluster that is ready within ten seconds.
func Defaults() Options {
	return Options{
		Provider: ProviderEKS, Cluster: "demo", Region: "eu-central-1", Nodes: 12, Groups: 1, Zones: 3,
		BootDelay: 2 * time.Second, PodStart: time.Second, PodStop: 500 * time.Millisecond, JobRun: 30 * time.Second,
		VolumeAttach: 500 * time.Millisecond, VolumeDetach: 2 * time.Second,
		// Kubernetes' 50 s have been too short for a loaded machine: nodes were
		// called dead, and their pods not Ready, only because nothing got a CPU.
		// A terminated machine's node goes at once all the same.
		NodeLostTime: 3 * time.Minute,
		EKSSpeedup:   60, TemplateVersions: 10_000,
		Workload: WorkloadDemo, Seed: 1, DeregistrationDelay: 5 * time.Second,
	}
}

// KopsCluster is the name of a cluster of kops that was given none.
const KopsCluster = "kops.example.com"

// maxZones is how many zones the simulated region has at most.
const maxZones = 8

// Validate says what is wrong with the options, by the flag's name.
func (o Options) Validate() error {
	switch {
	case o.Dir == "":
		return fmt.Errorf("--dir: a folder is required")
	case o.Provider != ProviderEKS && o.Provider != ProviderEKSManaged && o.Provider != ProviderKops:
		return fmt.Errorf("--provider %q: choose %s, %s or %s", o.Provider, ProviderEKS, ProviderEKSManaged, ProviderKops)
	case o.Provider == ProviderEKSManaged && o.Nodes <= o.Groups:
		return fmt.Errorf("--nodes %d: each of the %d managed node groups and the group beside them needs at least one", o.Nodes, o.Groups)
	case o.TemplateVersions < 1:
		return fmt.Errorf("--launch-template-versions %d: at least 1 is needed", o.TemplateVersions)
	case o.EKSSpeedup < 1 || o.EKSSpeedup > 10_000:
		return fmt.Errorf("--eks-speedup %v: choose 1 to 10000", o.EKSSpeedup)
	case o.Provider == ProviderKops && o.Zones < kops.ControlPlaneSize:
		return fmt.Errorf("--zones %d: the control plane of a kops cluster is in %d zones here", o.Zones, kops.ControlPlaneSize)
	case o.Provider == ProviderKops && !strings.Contains(o.Cluster, "."):
		return fmt.Errorf("--cluster %q: kops names its clusters like domains, for instance %s", o.Cluster, KopsCluster)
	case o.Provider == ProviderKops && o.MixedInstances:
		return fmt.Errorf("--mixed-instances: the kops cluster has none")
	case o.Cluster == "":
		return fmt.Errorf("--cluster: a name is required")
	case o.Region == "":
		return fmt.Errorf("--region: a name such as eu-central-1 is required")
	case o.Groups < 1:
		return fmt.Errorf("--groups %d: at least 1 is needed", o.Groups)
	case o.Nodes < o.Groups:
		return fmt.Errorf("--nodes %d: each of the %d groups needs at least one", o.Nodes, o.Groups)
	case o.Zones < 1 || o.Zones > maxZones:
		return fmt.Errorf("--zones %d: choose 1 to %d", o.Zones, maxZones)
	case o.Pods < 0:
		return fmt.Errorf("--pods %d: it cannot be negative", o.Pods)
	case o.Workload == "":
		return fmt.Errorf("--workload: give demo, none or the path of a YAML file")
	case o.Provider == ProviderEKSManaged && o.TargetGroup:
		return fmt.Errorf("--target-group: the %s cluster has none", o.Provider)
	case o.DeregistrationDelay%time.Second != 0 || o.DeregistrationDelay > time.Hour:
		return fmt.Errorf("--deregistration-delay %v: choose whole seconds, at most an hour", o.DeregistrationDelay)
	case o.APIServerPort < 0 || o.APIServerPort > 65535:
		return fmt.Errorf("--apiserver-port %d: choose 1 to 65535, or 0 for a free one", o.APIServerPort)
	}
	for flag, d := range map[string]time.Duration{
		"boot-delay": o.BootDelay, "pod-start-delay": o.PodStart, "pod-stop-delay": o.PodStop, "job-run-delay": o.JobRun, "volume-attach-delay": o.VolumeAttach, "volume-detach-delay": o.VolumeDetach, "node-monitor-grace-period": o.NodeLostTime,
		"deregistration-delay": o.DeregistrationDelay,
	} {
		if d < 0 {
			return fmt.Errorf("--%s %v: it cannot be negative", flag, d)
		}
	}
	return nil
}
