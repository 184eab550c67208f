package plan_test

import (
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/model"
)

// Karpenter's nodes are left alone and named, unless the driver has an instance
// for them.
func TestKarpenter(t *testing.T) {
	for label, claimed := range map[string]bool{model.LabelKarpenterNodePool: false, model.LabelKarpenterProvisioner: false, "other": false, model.LabelKarpenterNodePool + " ": true} {
		s := three(3)
		n := model.Node{Name: "fargo", ProviderID: "cloud:///elsewhere", Ready: true, Labels: map[string]string{strings.TrimSpace(label): "default"}}
		if claimed {
			s.Nodes[0].Labels = n.Labels
		} else {
			s.Nodes = append(s.Nodes, n)
		}
		p := build(t, spec(nil), s.Inventory)
		noted := len(p.Notes) == 1 && p.Notes[0].Code == "karpenter-nodes" && strings.Contains(p.Notes[0].Message, "fargo")
		if want := label != "other" && !claimed; noted != want || len(p.Refusals) > 0 || len(p.Warnings) > 0 || p.Nodes() != 3 {
			t.Errorf("label %q, claimed %v: notes %+v, refusals %+v, %d nodes; want a note %v", label, claimed, p.Notes, p.Refusals, p.Nodes(), want)
		}
	}
}
