package model

// Names that rotator puts on objects of the cluster. All carry one prefix, so
// that a person can find what a rotation left.
const (
	// Prefix of every annotation, label, taint and provider tag of ours.
	Prefix = "rotatord.github.io/"
	// TaintOutdated marks a node that a rotation will replace; its effect is
	// PreferNoSchedule, so that displaced pods land on new nodes.
	TaintOutdated = Prefix + "outdated"
	// AnnotationRotation names the rotation that works on the node.
	AnnotationRotation = Prefix + "rotation"
	// AnnotationCordoned says that rotator cordoned the node, and not a person: only
	// then is it uncordoned on undo. Its value is CordonedToDrain or CordonedAhead.
	AnnotationCordoned = Prefix + "cordoned"
	// CordonedToDrain: the node's pods leave. CordonedAhead: it keeps its pods and
	// takes no others, so that those of other nodes land on new ones.
	CordonedToDrain, CordonedAhead = "true", "ahead"
	// AnnotationShielded says that rotator keeps the cluster autoscaler from the
	// node. Its value is what the autoscaler's own annotation was before; Absent:
	// there was none.
	AnnotationShielded = Prefix + "shielded"
	// AnnotationReplace asks for the node's replacement, whatever its value: for
	// people, and for controllers that found something wrong with the node.
	AnnotationReplace = Prefix + "replace"
	// AnnotationExcluded says that rotator put LabelExcludeFromLoadBalancers on
	// the node, and not a person ("true").
	AnnotationExcluded = Prefix + "excluded-from-load-balancers"
	// LabelSurgedFrom is on a Deployment that has a replica more than its own
	// count, which is the value. A label, because the Deployment controller copies
	// annotations to the ReplicaSets, where they would stay.
	LabelSurgedFrom = Prefix + "surged-from"
	// LabelRotation names the rotation that added the replica.
	LabelRotation = Prefix + "rotation"
	// Absent is the value of a record of ours for something that was not there.
	Absent = "-"
)

// Names of others that a rotation reads or sets.
const (
	// AnnotationKopsNeedsUpdate asks for the node's replacement, whatever its value
	// (k8s.io/kops/pkg/cloudinstances); AnnotationReplace is our own for the same.
	AnnotationKopsNeedsUpdate = "kops.k8s.io/needs-update"
	// AnnotationScaleDownDisabled, "true", keeps the cluster autoscaler from
	// removing the node: a node with room for all its pods elsewhere looks
	// superfluous to it, and in a rotation most do.
	AnnotationScaleDownDisabled = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
	// LabelExcludeFromLoadBalancers takes the node out of the load balancers of
	// Services, whatever its value: the service controllers look at its presence.
	LabelExcludeFromLoadBalancers = "node.kubernetes.io/exclude-from-external-load-balancers"
	// LabelKarpenterNodePool and LabelKarpenterProvisioner (before Karpenter 0.32)
	// name the pool of a node that Karpenter launched and ends by itself.
	LabelKarpenterNodePool    = "karpenter.sh/nodepool"
	LabelKarpenterProvisioner = "karpenter.sh/provisioner-name"
)
