package plan

import (
	"fmt"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// noteKarpenter says which nodes are Karpenter's: it replaces them by itself
// when they drift, and would fight over them. One that the driver reports an
// instance for is the driver's all the same.
func (b *builder) noteKarpenter() {
	claimed := make(map[string]bool, len(b.inv.Instances))
	for _, in := range b.inv.Instances {
		claimed[in.ProviderID] = true
	}
	var names []string
	for i := range b.inv.Nodes {
		if n := &b.inv.Nodes[i]; karpenters(n) && (n.ProviderID == "" || !claimed[n.ProviderID]) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	b.plan.Notes = append(b.plan.Notes, Finding{Code: "karpenter-nodes", Object: names[0],
		Message: fmt.Sprintf("%d node(s) are Karpenter's and are left alone: %s", len(names), list(names)),
		Fix:     "nothing: Karpenter replaces them when its NodePool or NodeClass changes"})
}

func karpenters(n *model.Node) bool {
	return n.Labels[model.LabelKarpenterNodePool] != "" || n.Labels[model.LabelKarpenterProvisioner] != ""
}
