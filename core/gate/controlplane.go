package gate

import (
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// labelsControlPlane mark the nodes of the control plane, today and before
// Kubernetes 1.24.
var labelsControlPlane = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}

// IsControlPlane tells whether a node says that it belongs to the control plane.
func IsControlPlane(n *model.Node) bool {
	return slices.ContainsFunc(labelsControlPlane, func(l string) bool { _, ok := n.Labels[l]; return ok })
}

// Component is what a static pod runs: its name without its node's, which the
// kubelet appends. Empty: the pod is not a static one.
func Component(p *model.Pod) string {
	if !p.Mirror {
		return ""
	}
	name, _ := strings.CutSuffix(p.Name, "-"+p.Node)
	return p.Namespace + "/" + name
}

// Components are the static pods that are Ready on every one of the nodes,
// sorted: what a further node of the same kind is expected to run. Of a control
// plane these are the API server, the controller manager, the scheduler and the
// members of etcd.
func Components(nodes []*model.Node, podsOn func(node string) []*model.Pod) []string {
	counts := make(map[string]int)
	for _, n := range nodes {
		for _, p := range podsOn(n.Name) {
			if c := Component(p); c != "" && p.Ready {
				counts[c]++
			}
		}
	}
	var out []string
	for c, n := range counts {
		if n == len(nodes) {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

// StaticPods checks that a node is Ready and that each of the components runs
// on it and is Ready. With all members of etcd among the components, as every
// node of the control plane passes this check, etcd has its quorum and one
// member more than it needs.
func StaticPods(n *model.Node, pods []*model.Pod, components []string) Verdict {
	if !n.Ready {
		return fail("node %s is not Ready", n.Name)
	}
	for _, c := range components {
		i := slices.IndexFunc(pods, func(p *model.Pod) bool { return Component(p) == c })
		switch {
		case i < 0:
			return fail("node %s: static pod %s is not there yet", n.Name, c)
		case !pods[i].Ready:
			return fail("node %s: static pod %s is not Ready", n.Name, pods[i].PodKey)
		}
	}
	return Verdict{OK: true}
}
