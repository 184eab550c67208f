package model

import "time"

// Node is a Kubernetes node, trimmed to what a rotation needs.
type Node struct {
	Name          string
	UID           string
	ProviderID    string // spec.providerID; joins the node to its instance
	Zone          string
	Ready         bool
	Unreachable   bool // the Ready condition is Unknown: its kubelet does not answer
	Unschedulable bool // spec.unschedulable: cordoned
	Taints        []Taint
	Labels        map[string]string // shared with the cache: never changed
	// Annotations holds only those under rotator's own prefix, and kops' wish for
	// the node's replacement.
	Annotations map[string]string
	CreatedAt   time.Time
	// ReadySince is when the node last became Ready; zero: it is not, or unknown.
	ReadySince time.Time
	// Allocatable is what its kubelet offers to pods; the zero value: unknown.
	Allocatable Resources
}

// Marked tells whether the node carries a taint or an annotation of rotator's.
func (n *Node) Marked() bool {
	for _, t := range n.Taints {
		if t.Key == TaintOutdated {
			return true
		}
	}
	for _, k := range []string{AnnotationRotation, AnnotationCordoned, AnnotationShielded, AnnotationExcluded} {
		if n.Annotations[k] != "" {
			return true
		}
	}
	return false
}

// Taint is a taint of a node.
type Taint struct {
	Key    string
	Value  string
	Effect string
}

// PodKey names a pod.
type PodKey struct{ Namespace, Name string }

func (k PodKey) String() string { return k.Namespace + "/" + k.Name }

// WorkloadKey names a controller of pods: a ReplicaSet, StatefulSet,
// DaemonSet, Job or another kind.
type WorkloadKey struct{ Kind, Namespace, Name string }

func (k WorkloadKey) String() string { return k.Kind + " " + k.Namespace + "/" + k.Name }

// Pod is a pod, trimmed to what a drain needs.
type Pod struct {
	PodKey
	UID   string
	Node  string      // spec.nodeName; empty: not scheduled
	Owner WorkloadKey // its controller; the zero value: unmanaged
	Phase string      // status.phase
	Ready bool        // the Ready condition is true and it is not terminating
	// Terminating is set once the pod has a deletionTimestamp.
	Terminating bool
	Mirror      bool // a static pod's mirror: cannot be evicted
	Priority    int32
	Labels      map[string]string // shared with the cache: never changed
	// GracePeriodSeconds is the pod's own termination grace period.
	GracePeriodSeconds int64
	EmptyDir           bool // has an emptyDir volume
	// Claims are the PersistentVolumeClaims that it uses, by name.
	Claims []string
	// Traits decide where the pod can be scheduled; nil: not known.
	Traits *PodTraits
	// StartTook is from being scheduled to being Ready; 0: not known.
	StartTook time.Duration
	// ToleratesCordon: the scheduler may bind it to a cordoned node, since it
	// tolerates node.kubernetes.io/unschedulable:NoSchedule.
	ToleratesCordon bool
	// Detail holds what few pods have; nil: nothing of it. It is shared with the
	// cache and never changed: another state of the pod has another Detail.
	Detail *PodDetail
}

// PodDetail is what few of many pods have: with 150,000 of them, a pointer is
// what the others can spare.
type PodDetail struct {
	// EndsBy is when the pod's termination is due, by our clock: its deletionTimestamp,
	// which includes the grace period it was given. Zero while it is not terminating.
	EndsBy time.Time
	// Finalizers are the pod's, separated by commas: it is not gone before they are.
	Finalizers string
	// DoNotDisrupt is the annotation that asks not to evict the pod, as it is
	// written ("karpenter.sh/do-not-disrupt: true"); empty: none. It holds until
	// DoNotDisruptUntil; zero: as long as it is there.
	DoNotDisrupt      string
	DoNotDisruptUntil time.Time
}

// Details is Detail, or the zero value where there is none.
func (p *Pod) Details() PodDetail {
	if p.Detail == nil {
		return PodDetail{}
	}
	return *p.Detail
}

// Finished tells whether all containers have ended for good.
func (p Pod) Finished() bool { return p.Phase == "Succeeded" || p.Phase == "Failed" }

// Workload is a controller of pods with its own count of them.
type Workload struct {
	WorkloadKey
	UID     string
	Desired int // pods wanted
	Ready   int // pods Ready, by the controller's own count
	// Owner is its own controller: a ReplicaSet's Deployment. The zero value: none.
	Owner WorkloadKey
	// Ordered: a StatefulSet that starts and stops its pods one after the other
	// (podManagementPolicy OrderedReady).
	Ordered bool
	// Template says on which nodes its next pods may be: node selector, affinity and
	// tolerations, and nothing else. nil: anywhere; not known of ReplicaSets.
	Template *PodTraits
}

// Healthy tells whether all wanted pods are Ready.
func (w Workload) Healthy() bool { return w.Ready >= w.Desired }

// BudgetKey names a PodDisruptionBudget.
type BudgetKey struct{ Namespace, Name string }

func (k BudgetKey) String() string { return k.Namespace + "/" + k.Name }

// Budget is a PodDisruptionBudget with its status.
type Budget struct {
	BudgetKey
	UID string
	// Matches tells whether the budget selects a pod with these labels, in the
	// budget's own namespace. It is pure and safe for concurrent use.
	Matches func(labels map[string]string) bool
	// Selector stands for Matches where values are compared: budgets of one text
	// select the same pods. Empty: not known.
	Selector string
	// Allowed, CurrentHealthy, DesiredHealthy and Expected are the status'
	// disruptionsAllowed, currentHealthy, desiredHealthy and expectedPods.
	Allowed        int
	CurrentHealthy int
	DesiredHealthy int
	Expected       int
	// Observed is false until the disruption controller has seen the latest
	// spec: until then evictions are refused.
	Observed bool
	// Charged are the pods, by name and sorted, whose evictions the status counts
	// already while the pods may be there yet (disruptedPods). A pod stays in it for
	// milliseconds, or for two minutes where the eviction was cut off after the
	// budget was charged, before the pod was deleted.
	Charged []string
	// Counted are Charged and the pods, by name and sorted, that were in it since the
	// last change that was told: it tells which of one's own evictions a status is
	// not behind.
	Counted []string
	// Scales: DesiredHealthy grows with the workload, because it is a percentage or
	// follows from maxUnavailable. A replica more then gives no room.
	Scales bool
	// AlwaysEvictUnhealthy is spec.unhealthyPodEvictionPolicy AlwaysAllow.
	AlwaysEvictUnhealthy bool
	// Limit is what the budget asks for, as it is written: "minAvailable 50%".
	Limit string
	// Problem says why the disruption controller cannot count the budget's pods, in
	// its own words; it then allows none to be evicted. Empty: it can.
	Problem string
}
