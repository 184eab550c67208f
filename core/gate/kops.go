package gate

import (
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// networkUnavailable is the taint that the node controller sets while the
// condition NetworkUnavailable is true.
const networkUnavailable = "node.kubernetes.io/network-unavailable"

// kopsComponents are the pods without which kops calls a node of the control
// plane invalid.
var kopsComponents = []string{"kube-system/kube-apiserver", "kube-system/kube-controller-manager", "kube-system/kube-scheduler"}

// KopsValidate checks what kops checks between two instances of a rolling update
// (pkg/validation of k8s.io/kops), as far as it concerns the rotation: nodes are
// those of the group that serve and are to serve on, and those of the control
// plane; critical are the cluster's pods of a system-critical priority. A node
// that is not Ready or has no network fails, a node of the control plane without
// its API server, controller manager or scheduler, and a critical pod that is
// pending, unknown or not Ready, on one of these nodes or on none. What a
// rotation of other groups would trip over is not judged.
func KopsValidate(nodes []*model.Node, podsOn func(node string) []*model.Pod, critical []*model.Pod) Verdict {
	for _, n := range nodes {
		if !n.Ready {
			return fail("node %s is not Ready", n.Name)
		}
		if slices.ContainsFunc(n.Taints, func(t model.Taint) bool { return t.Key == networkUnavailable }) {
			return fail("node %s has no network", n.Name)
		}
		if IsControlPlane(n) {
			if v := StaticPods(n, podsOn(n.Name), kopsComponents); !v.OK {
				return v
			}
		}
	}
	for _, p := range critical {
		ours := p.Node == "" || slices.ContainsFunc(nodes, func(n *model.Node) bool { return n.Name == p.Node })
		switch {
		case !ours || p.Finished() || p.Terminating:
		case p.Phase == "Pending" || p.Phase == "Unknown":
			return fail("pod %s, which is system-critical, is %s", p.PodKey, p.Phase)
		case !p.Ready:
			return fail("pod %s, which is system-critical, is not Ready", p.PodKey)
		}
	}
	return Verdict{OK: true}
}
