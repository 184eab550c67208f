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
	// AnnotationCordoned says that rotator cordoned the node ("true"), and not a
	// person: only then is it uncordoned on undo.
	AnnotationCordoned = Prefix + "cordoned"
)
