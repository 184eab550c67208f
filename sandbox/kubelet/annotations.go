package kubelet

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Annotations override a simulator's options for one pod or node. Delays are
// Go durations ("1.5s"); one that cannot be read is ignored.
const (
	prefix = "sandbox.rotatord.github.io/"

	// AnnotationStartDelay, on a pod: from bound to Running and Ready.
	AnnotationStartDelay = prefix + "start-delay"
	// AnnotationStopDelay, on a pod: from asked to end to gone. The pod's grace
	// period cuts it short.
	AnnotationStopDelay = prefix + "stop-delay"
	// AnnotationRunDelay, on a pod that may complete: from Running to Succeeded.
	AnnotationRunDelay = prefix + "run-delay"
	// AnnotationReadyDelay, on a node: from registered to Ready.
	AnnotationReadyDelay = prefix + "ready-delay"
	// AnnotationNeverReady, "true" on a pod or node: it runs and never gets
	// Ready.
	AnnotationNeverReady = prefix + "never-ready"
)

// NeverReady reports whether a pod, a pod template or a node is annotated to
// stay unready for ever.
func NeverReady(o metav1.Object) bool { return o.GetAnnotations()[AnnotationNeverReady] == "true" }

func delay(o metav1.Object, annotation string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(o.GetAnnotations()[annotation]); err == nil {
		return d
	}
	return otherwise
}
