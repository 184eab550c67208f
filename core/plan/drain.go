package plan

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// BuildDrain plans the drain of one node, in a group of its own: no instance is
// ended, and no driver is needed. The only error is a *SelectionError.
// now is used for what pods ask of their age only.
func BuildDrain(spec Spec, inv model.Inventory, node string, now time.Time) (*Plan, error) {
	b := &builder{spec: spec, inv: inv, now: now, plan: &Plan{Cluster: spec.Cluster, Mode: ModeRolling}}
	b.policies()
	b.index()
	for _, n := range inv.Nodes {
		if n.Name != node {
			continue
		}
		b.plan.Groups = []Group{{ID: "drain", Name: "drain", Role: model.RoleNode, Size: 1, Unavailable: 1,
			Nodes: []Node{{Instance: node, Node: node, Zone: n.Zone, Pods: b.evictable(node),
				Reasons: []model.Reason{{Code: "asked", Message: "a person asked for it"}}}}}}
		b.checkPods()
		b.checkAsks()
		b.checkBudgets()
		return b.plan, nil
	}
	return nil, &SelectionError{Message: fmt.Sprintf("the cluster has no node %q", node), Fix: "give the name as kubectl get nodes prints it"}
}
