package model

// Deployment is a Deployment, trimmed to what moving its pods without downtime
// needs. Its pods belong to its ReplicaSets, which are Workloads.
type Deployment struct {
	WorkloadKey
	UID      string
	Replicas int // spec.replicas
	Ready    int // status.readyReplicas
	// MaxSurge and MaxUnavailable of its rolling updates, resolved for Replicas as
	// the Deployment controller does. Strategy Recreate: 0 and Replicas.
	MaxSurge, MaxUnavailable int
	Paused                   bool
	// RolledOut: the controller has seen the latest spec, and all pods that there
	// are were made from it and are available.
	RolledOut bool
	// RestartedAt is the pod template's annotation of kubectl rollout restart.
	RestartedAt string
	// Labels holds only those under rotator's own prefix.
	Labels map[string]string
	// Template is as a Workload's.
	Template *PodTraits
}

// Surged tells whether the Deployment has an extra replica of a rotation's.
func (d *Deployment) Surged() bool { return d.Labels[LabelSurgedFrom] != "" }

// AutoscalerKey names a HorizontalPodAutoscaler.
type AutoscalerKey struct{ Namespace, Name string }

func (k AutoscalerKey) String() string { return k.Namespace + "/" + k.Name }

// Autoscaler is a HorizontalPodAutoscaler: it owns its target's replicas.
type Autoscaler struct {
	AutoscalerKey
	UID    string
	Target WorkloadKey
}
