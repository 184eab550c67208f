package fit

import (
	"testing"

	"github.com/rotatord/rotator/core/model"
)

// TestHomeless: of three nodes the first two go, and lose a label.
func TestHomeless(t *testing.T) {
	lost := []model.LostLabel{{Key: "pool", Value: "old"}}
	taint := model.Taint{Key: "drained-soon", Effect: "NoSchedule"}
	on := func(node string, selector map[string]string) *model.Pod {
		return &model.Pod{PodKey: model.PodKey{Namespace: "shop", Name: "web-1"}, Node: node, Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "shop", Name: "web"},
			Traits: &model.PodTraits{NodeSelector: selector}}
	}
	old := map[string]string{"pool": "old"}
	for _, c := range []struct {
		name  string
		pod   *model.Pod
		taint string // the node that carries the taint
		stays bool   // the third node has the label
		want  bool
	}{
		{"it selects what is lost", on("n1", old), "", false, true},
		{"it selects nothing", on("n1", nil), "", false, false},
		{"another node has the label", on("n1", old), "", true, false},
		{"another node has it, and a taint", on("n1", old), "n3", true, true},
		{"its own node was tainted since", on("n1", old), "n1", false, true},
		{"it has no node, and could be on one that goes", on("", old), "n1", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &cluster{}
			for _, name := range []string{"n1", "n2", "n3"} {
				n := w.node(name)
				if name != "n3" || c.stays {
					n.Labels["pool"] = "old"
				}
				if name == c.taint {
					n.Taints = []model.Taint{taint}
				}
			}
			var nodes []*model.Node
			for i := range w.nodes {
				nodes = append(nodes, &w.nodes[i])
			}
			h := NewHomes(nodes, func(n *model.Node) []model.LostLabel {
				if n.Name == "n3" {
					return nil
				}
				return lost
			})
			if got := h.Homeless(c.pod); got.Yes() != c.want {
				t.Errorf("homeless: %v (%v), want %v", got.Yes(), got, c.want)
			}
		})
	}
}
