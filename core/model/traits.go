package model

import (
	"slices"
	"time"
)

// Resources are amounts of what a node offers and a pod asks for.
type Resources struct {
	MilliCPU         int64 // thousandths of a core
	Memory           int64 // bytes
	EphemeralStorage int64 // bytes
	Pods             int64 // a node's allocatable number of pods; 1 for a pod
	// Extended are further resources by name, such as nvidia.com/gpu. The map is
	// shared: never changed in place.
	Extended map[string]int64
}

// Known tells whether the resources say anything: a node whose kubelet has not
// reported yet has none.
func (r Resources) Known() bool { return r.Pods > 0 || r.MilliCPU > 0 || r.Memory > 0 }

// PodTraits is what decides where a pod can be scheduled: the same for all pods
// of a template, which share one value. It is never changed once made.
type PodTraits struct {
	// Requests as the scheduler counts them: containers and sidecars, or the
	// largest init container where that is more, and the overhead.
	Requests    Resources
	Tolerations []Toleration
	// NodeSelector and NodeAffinity (required terms only) must both hold; of the
	// terms of NodeAffinity one must. nil: any node.
	NodeSelector map[string]string
	NodeAffinity []NodeTerm
	// NodePreferences are the preferred terms of its node affinity.
	NodePreferences []NodeTerm
	// Affinity and AntiAffinity are the required terms towards other pods.
	Affinity, AntiAffinity []PodTerm
	// HostPorts are the ports of the node that the pod takes: "TCP/8080".
	HostPorts []string
	// Volumes tells whether the pod uses persistent volume claims.
	Volumes bool
}

// Toleration is a pod's toleration of taints. An empty Key with Exists
// tolerates every key; an empty Effect every effect.
type Toleration struct {
	Key    string
	Exists bool // operator Exists; otherwise Value must be equal
	Value  string
	Effect string
}

// Tolerates tells whether the toleration covers the taint.
func (t Toleration) Tolerates(taint Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect {
		return false
	}
	if t.Key == "" {
		return t.Exists
	}
	return t.Key == taint.Key && (t.Exists || t.Value == taint.Value)
}

// NodeTerm is one term of a node affinity: all of it must hold.
type NodeTerm struct {
	// Matches tells whether a node with this name and these labels satisfies the
	// term. It is pure and safe for concurrent use.
	Matches func(name string, labels map[string]string) bool
	// Text says the term as a person would: "zone in (a, b)".
	Text string
}

// PodTerm is one required term of a pod (anti-)affinity.
type PodTerm struct {
	TopologyKey string
	// Namespaces that the term looks at; AnyNamespace: all of them.
	Namespaces   []string
	AnyNamespace bool
	// Matches tells whether the term selects a pod with these labels. It is pure
	// and safe for concurrent use.
	Matches func(labels map[string]string) bool
	// Text is the selector as Kubernetes writes it.
	Text string
}

// Selects tells whether the term selects a pod.
func (t *PodTerm) Selects(namespace string, labels map[string]string) bool {
	return (t.AnyNamespace || slices.Contains(t.Namespaces, namespace)) && t.Matches(labels)
}

// StartTook is how long a pod took from being scheduled to being Ready, and 0
// where that cannot be told. Kubernetes keeps whole seconds: a difference of
// none counts as half a second.
func StartTook(scheduled, ready time.Time) time.Duration {
	if scheduled.IsZero() || ready.Before(scheduled) {
		return 0
	}
	return max(ready.Sub(scheduled), 500*time.Millisecond)
}
