package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// ordered plans four old nodes: n-1 is the oldest, has the label b and two pods;
// n-2 the label a and three pods; n-3 no label and one pod; n-4 the label b.
func ordered(t *testing.T, past plan.Memory, change func(*plan.Strategy)) *plan.Plan {
	t.Helper()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	inv := model.Inventory{Groups: []model.NodeGroup{{ID: "g", Name: "g", Role: model.RoleNode, Desired: 4,
		Traits: model.Traits{TerminateKeep: true, TerminateShrink: true, MaxSurge: 9, Refill: model.RefillGroup}}}}
	label := map[string]string{"1": "b", "2": "a", "4": "b"}
	pods := map[string]int{"1": 2, "2": 3, "3": 1}
	for i, id := range []string{"1", "2", "3", "4"} {
		inv.Instances = append(inv.Instances, model.Instance{ID: "i-" + id, GroupID: "g", ProviderID: id, Zone: []string{"a", "b"}[i%2],
			State: model.InstanceInService, Reasons: []model.Reason{{Code: "revision"}}, LaunchedAt: now.Add(time.Duration(i) * time.Hour)})
		n := model.Node{Name: "n-" + id, ProviderID: id, Ready: true, Labels: map[string]string{}}
		if v := label[id]; v != "" {
			n.Labels["wave"] = v
		}
		inv.Nodes = append(inv.Nodes, n)
		for p := range pods[id] {
			inv.Pods = append(inv.Pods, model.Pod{PodKey: model.PodKey{Namespace: "d", Name: id + strings.Repeat("x", p)}, Node: n.Name, Phase: "Running",
				Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "d", Name: "web"}})
		}
	}
	spec := plan.Spec{Strategy: plan.Strategy{MaxSurge: "1"}}
	change(&spec.Strategy)
	p, err := plan.Resume(spec, inv, now, past)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOrder(t *testing.T) {
	failed := plan.Memory{Quarantined: map[string]bool{"i-1": true}}
	for _, tc := range []struct {
		name   string
		past   plan.Memory
		change func(*plan.Strategy)
		want   string // nodes; those of one rank in brackets
	}{
		{"oldest leaves the choice to budgets", plan.Memory{}, func(*plan.Strategy) {}, "(n-1 n-2 n-3 n-4)"},
		{"emptiest", plan.Memory{}, func(s *plan.Strategy) { s.Order = plan.OrderEmptiest }, "n-4 n-3 n-1 n-2"},
		{"by label, those without it last", plan.Memory{}, func(s *plan.Strategy) { s.Order = "label:wave" }, "n-2 (n-1 n-4) n-3"},
		{"by label that none has", plan.Memory{}, func(s *plan.Strategy) { s.Order = "label:zzz" }, "(n-1 n-2 n-3 n-4)"},
		{"a list, by name or instance, then the others", plan.Memory{}, func(s *plan.Strategy) { s.OrderNodes = []string{"n-3", "i-2"} }, "n-3 n-2 (n-1 n-4)"},
		{"a list, then by label", plan.Memory{}, func(s *plan.Strategy) { s.OrderNodes, s.Order = []string{"n-3"}, "label:wave" }, "n-3 n-2 (n-1 n-4)"},
		{"what failed goes last", failed, func(s *plan.Strategy) { s.OrderNodes = []string{"n-1"} }, "(n-2 n-3 n-4) n-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nodes := ordered(t, tc.past, tc.change).Groups[0].Nodes
			var got []string
			for i := 0; i < len(nodes); {
				var same []string
				for rank := nodes[i].Rank; i < len(nodes) && nodes[i].Rank == rank; i++ {
					same = append(same, nodes[i].Node)
				}
				s := strings.Join(same, " ")
				if len(same) > 1 {
					s = "(" + s + ")"
				}
				got = append(got, s)
			}
			if d := cmp.Diff(tc.want, strings.Join(got, " ")); d != "" {
				t.Errorf("order (-want +got):\n%s", d)
			}
		})
	}
}

func TestOrderOfUnknownNodesWarns(t *testing.T) {
	p := ordered(t, plan.Memory{}, func(s *plan.Strategy) { s.OrderNodes = []string{"n-1", "n-9"} })
	if len(p.Warnings) == 0 || p.Warnings[0].Code != "order-unknown" || p.Warnings[0].Object != "n-9" {
		t.Errorf("warnings: %+v", p.Warnings)
	}
}

// Budgets over all groups round down, and never to none.
func TestOverall(t *testing.T) {
	for _, tc := range []struct {
		inFlight, perZone string
		want              int
		zones             map[string]int
	}{
		{"0", "0", 0, nil},
		{"3", "1", 3, map[string]int{"a": 1, "b": 1}},
		{"75%", "50%", 3, map[string]int{"a": 1, "b": 1}},
		{"10%", "10%", 1, map[string]int{"a": 1, "b": 1}},
		{"0%", "", 0, nil},
	} {
		p := ordered(t, plan.Memory{}, func(s *plan.Strategy) { s.MaxInFlight, s.MaxUnavailablePerZone = tc.inFlight, tc.perZone })
		if d := cmp.Diff(tc.zones, p.ZoneRoom); d != "" || p.MaxInFlight != tc.want {
			t.Errorf("%s, %s: %d and %v, want %d and %v", tc.inFlight, tc.perZone, p.MaxInFlight, p.ZoneRoom, tc.want, tc.zones)
		}
	}
}
