// Package gate holds the health checks of a rotation. Each is a pure verdict
// over values, with the evidence in words for a person.
package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// Verdict of a check.
type Verdict struct {
	OK       bool
	Evidence string // names the object and what is wrong; empty when OK
}

func fail(format string, args ...any) Verdict {
	return Verdict{Evidence: fmt.Sprintf(format, args...)}
}

// startupTaints keep a node uninitialized until a component removes them.
var startupTaints = []string{
	"node.kubernetes.io/not-ready",
	"node.kubernetes.io/unreachable",
	"node.kubernetes.io/network-unavailable",
	"node.cloudprovider.kubernetes.io/uninitialized",
	"node.cilium.io/agent-not-ready",
	"ebs.csi.aws.com/agent-not-ready",
	"efs.csi.aws.com/agent-not-ready",
	"fsx.csi.aws.com/agent-not-ready",
}

// NodeReady checks that a node is Ready and initialized: no startup taint (the
// well-known ones and those in extra), and a Ready pod of each DaemonSet that
// is expected there.
func NodeReady(n *model.Node, pods []*model.Pod, daemonSets []model.WorkloadKey, extra []string) Verdict {
	if !n.Ready {
		return fail("node %s is not Ready", n.Name)
	}
	for _, t := range n.Taints {
		if slices.Contains(startupTaints, t.Key) || slices.Contains(extra, t.Key) {
			return fail("node %s still has the startup taint %s", n.Name, t.Key)
		}
	}
	for _, p := range pods {
		if p.Owner.Kind == "DaemonSet" && !p.Ready && !p.Terminating {
			return fail("node %s: DaemonSet pod %s is not Ready", n.Name, p.PodKey)
		}
	}
	for _, ds := range daemonSets {
		if !slices.ContainsFunc(pods, func(p *model.Pod) bool { return p.Owner == ds && p.Ready }) {
			return fail("node %s: no Ready pod of %s yet", n.Name, ds)
		}
	}
	return Verdict{OK: true}
}

// Recovered tells whether Workloads would pass, without words about it.
func Recovered(touched []model.WorkloadKey, before map[model.WorkloadKey]bool, now func(model.WorkloadKey) (model.Workload, bool)) bool {
	return !slices.ContainsFunc(touched, func(k model.WorkloadKey) bool {
		w, ok := now(k)
		return ok && before[k] && !w.Healthy()
	})
}

// Workloads checks that what was healthy before is healthy now. before holds
// the workloads that were healthy when the rotation began; now looks one up as
// it is. A workload that is gone was deleted by somebody: that is not ours to
// judge.
func Workloads(touched []model.WorkloadKey, before map[model.WorkloadKey]bool, now func(model.WorkloadKey) (model.Workload, bool)) Verdict {
	var bad []string
	for _, k := range touched {
		if w, ok := now(k); ok && before[k] && !w.Healthy() {
			bad = append(bad, fmt.Sprintf("%s has %d of %d pods Ready", k, w.Ready, w.Desired))
		}
	}
	if len(bad) == 0 {
		return Verdict{OK: true}
	}
	slices.Sort(bad)
	const most = 5
	if more := len(bad) - most; more > 0 {
		bad = append(bad[:most], fmt.Sprintf("and %d more", more))
	}
	return fail("%s", strings.Join(bad, "; "))
}
