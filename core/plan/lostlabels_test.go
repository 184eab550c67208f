package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

const pool = "example.com/pool"

// in is a required term: the label has one of the values.
func in(key string, values ...string) model.NodeTerm {
	return model.NodeTerm{Text: key, Matches: func(_ string, labels map[string]string) bool {
		v, ok := labels[key]
		return ok && slices.Contains(values, v)
	}}
}

func notIn(key string, values ...string) model.NodeTerm {
	not := in(key, values...)
	return model.NodeTerm{Text: key, Matches: func(n string, labels map[string]string) bool { return !not.Matches(n, labels) }}
}

func exists(key string) model.NodeTerm {
	return model.NodeTerm{Text: key, Matches: func(_ string, labels map[string]string) bool { _, ok := labels[key]; return ok }}
}

func terms(list ...model.NodeTerm) *model.PodTraits { return &model.PodTraits{NodeAffinity: list} }

// pools are two groups of two nodes, "web" and "api", with their names as a label
// of each node that replacements of web will have another value of.
func pools() *stock {
	s := &stock{}
	for _, g := range []string{"web", "api"} {
		reasons := []string{"revision"}
		if g == "api" {
			reasons = nil
		}
		s.group(g, model.RoleNode, 2)
		for _, n := range []string{"1", "2"} {
			s.instance(g, g+"-"+n, 3, reasons...)
			n := &s.Nodes[len(s.Nodes)-1]
			n.Labels = map[string]string{pool: g, "tier": "front", "kubernetes.io/hostname": n.Name}
		}
	}
	s.Groups[0].LostLabels = []model.LostLabel{{Key: pool, Value: "web"}}
	return s
}

func TestLostLabels(t *testing.T) {
	selects := func(values ...string) *model.PodTraits {
		return &model.PodTraits{NodeSelector: map[string]string{values[0]: values[1]}}
	}
	for _, tc := range []struct {
		name     string
		traits   *model.PodTraits
		change   func(*stock, *model.Pod)
		refusals string
		warnings string
		says     string
	}{
		{name: "selects nothing", traits: &model.PodTraits{}},
		{name: "its traits are not known"},
		{
			name: "node selector", traits: selects(pool, "web"), refusals: "pods-select-lost-label",
			says: "group web: 1 pod(s) can be on no other node than those with the label example.com/pool=web, which the new nodes do not have: ReplicaSet default/shop (pod default/p)",
		},
		{name: "another label, which stays", traits: selects("tier", "front")},
		{name: "required affinity", traits: terms(in(pool, "web", "gone")), refusals: "pods-select-lost-label"},
		{name: "required affinity with another term that holds", traits: terms(in(pool, "web"), in("tier", "front"))},
		{name: "a value of another group's", traits: terms(in(pool, "web", "api"))},
		{name: "a value of another group's, which keeps it off", traits: terms(in(pool, "web", "api")), refusals: "pods-select-lost-label", change: func(s *stock, _ *model.Pod) {
			for i := range s.Nodes[2:] {
				s.Nodes[2+i].Taints = []model.Taint{{Key: "dedicated", Effect: "NoSchedule"}}
			}
		}},
		{name: "another group's, whose nodes are not ready now", traits: terms(in(pool, "web", "api")), change: func(s *stock, _ *model.Pod) {
			for i := range s.Nodes[2:] {
				s.Nodes[2+i].Ready, s.Nodes[2+i].Taints = false, []model.Taint{{Key: "node.kubernetes.io/not-ready", Effect: "NoSchedule"}}
			}
		}, refusals: "pods-do-not-fit"},
		{name: "both groups lose it", traits: terms(in(pool, "web", "api")), refusals: "pods-select-lost-label", change: func(s *stock, _ *model.Pod) {
			s.Groups[1].LostLabels = []model.LostLabel{{Key: pool, Value: "api"}}
			for i := range s.Instances {
				s.Instances[i].Reasons = []model.Reason{{Code: "revision"}}
			}
		}},
		{name: "not in", traits: terms(notIn(pool, "api"))},
		{name: "exists with another value", traits: terms(exists(pool))},
		{name: "exists, and the replacements do not carry it", traits: terms(exists(pool)), refusals: "pods-select-lost-label", says: "with the label example.com/pool, which", change: func(s *stock, _ *model.Pod) {
			s.Groups[0].LostLabels = []model.LostLabel{{Key: pool, AnyValue: true}}
			delete(s.Nodes[2].Labels, pool)
			delete(s.Nodes[3].Labels, pool)
		}},
		{name: "only the label that matters is named", traits: selects(pool, "web"), refusals: "pods-select-lost-label", says: "the label example.com/pool=web, which", change: func(s *stock, _ *model.Pod) {
			s.Groups[0].LostLabels = []model.LostLabel{{Key: pool, Value: "web"}, {Key: "tier", Value: "front"}, {Key: "absent", AnyValue: true}}
		}},
		{name: "pending", traits: selects(pool, "web"), refusals: "pods-select-lost-label", change: func(_ *stock, p *model.Pod) { p.Node, p.Phase = "", "Pending" }},
		{name: "pending for another group", traits: selects(pool, "api"), change: func(_ *stock, p *model.Pod) { p.Node, p.Phase = "", "Pending" }},
		{name: "on a node that stays", traits: selects(pool, "web"), change: func(s *stock, _ *model.Pod) { s.Instances[0].Reasons = nil }},
		{name: "another node of the group stays", traits: selects(pool, "web"), change: func(s *stock, _ *model.Pod) { s.Instances[1].Reasons = nil }},
		{name: "another node of the group is not replaced, and ends", traits: selects(pool, "web"), refusals: "pods-select-lost-label", change: func(s *stock, _ *model.Pod) {
			s.Instances[1].Reasons, s.Instances[1].State = nil, model.InstanceTerminating
		}},
		{name: "on a node that ends, and others go", traits: selects(pool, "web"), refusals: "pods-select-lost-label", change: func(s *stock, _ *model.Pod) {
			s.Instances[0].State = model.InstanceTerminating
		}},
		{name: "nothing goes", traits: selects(pool, "web"), change: func(s *stock, _ *model.Pod) { s.Instances[0].Reasons, s.Instances[1].Reasons = nil, nil }},
		{name: "finished", traits: selects(pool, "web"), change: func(_ *stock, p *model.Pod) { p.Phase = "Succeeded" }},
		{name: "nobody makes it again", traits: selects(pool, "web"), refusals: "unmanaged-pods", change: func(_ *stock, p *model.Pod) { p.Owner = model.WorkloadKey{} }},
		{
			name: "a DaemonSet's would not be on new nodes", refusals: "pods-select-lost-label", says: "DaemonSet default/agent",
			traits: &model.PodTraits{NodeSelector: map[string]string{pool: "web"}, NodeAffinity: []model.NodeTerm{{Matches: func(n string, _ map[string]string) bool { return n == "node-web-1" }}}},
			change: func(_ *stock, p *model.Pod) { p.Owner.Kind, p.Owner.Name = "DaemonSet", "agent" },
		},
		{
			name: "a DaemonSet's, bound to its node by name", traits: terms(model.NodeTerm{Matches: func(n string, _ map[string]string) bool { return n == "node-web-1" }}),
			change: func(_ *stock, p *model.Pod) { p.Owner.Kind = "DaemonSet" },
		},
		{
			name: "a DaemonSet's template would not be on new nodes", refusals: "pods-select-lost-label", says: "DaemonSet default/agent (on 2 node(s), the first node-web-1)",
			traits: terms(model.NodeTerm{Matches: func(n string, _ map[string]string) bool { return n == "node-web-1" }}),
			change: func(s *stock, p *model.Pod) {
				p.Owner.Kind, p.Owner.Name = "DaemonSet", "agent"
				s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: p.Owner, Template: terms(in(pool, "web", "api"))})
			},
		},
		{
			name: "a DaemonSet's template has changed since", traits: selects(pool, "web"),
			change: func(s *stock, p *model.Pod) {
				p.Owner.Kind, p.Owner.Name = "DaemonSet", "agent"
				s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: p.Owner, Template: terms(exists(pool))})
			},
		},
		{
			name: "a Deployment without pods", traits: &model.PodTraits{}, warnings: "workloads-select-lost-label",
			says: "group web: 1 workload(s) select nodes with the label example.com/pool=web, which the new nodes do not have; pods that they make from now on would stay Pending: Deployment default/nightly",
			change: func(s *stock, _ *model.Pod) {
				s.Deployments = append(s.Deployments, model.Deployment{WorkloadKey: model.WorkloadKey{Kind: "Deployment", Namespace: "default", Name: "nightly"}, Template: selects(pool, "web")})
			},
		},
		{
			name: "a Deployment whose pods are named already", traits: selects(pool, "web"), refusals: "pods-select-lost-label",
			change: func(s *stock, p *model.Pod) {
				d := model.WorkloadKey{Kind: "Deployment", Namespace: "default", Name: "shop"}
				s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: p.Owner, Owner: d})
				s.Deployments = append(s.Deployments, model.Deployment{WorkloadKey: d, Template: p.Traits})
			},
		},
		{
			name: "a StatefulSet with another template than its pods", traits: &model.PodTraits{}, warnings: "workloads-select-lost-label", says: "StatefulSet default/db",
			change: func(s *stock, _ *model.Pod) {
				s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: model.WorkloadKey{Kind: "StatefulSet", Namespace: "default", Name: "db"}, Template: selects(pool, "web")})
			},
		},
		{name: "volumes in a zone where the other group has no node", traits: &model.PodTraits{NodeAffinity: []model.NodeTerm{in(pool, "web", "api")}, Volumes: true}, refusals: "pods-select-lost-label", change: func(s *stock, _ *model.Pod) {
			s.Nodes[0].Zone, s.Nodes[1].Zone, s.Nodes[2].Zone, s.Nodes[3].Zone = "a", "a", "b", "b"
		}},
		{name: "several pods of a Deployment", traits: selects(pool, "web"), refusals: "pods-select-lost-label", says: "2 pod(s) can be on no other node than those with the label example.com/pool=web, which the new nodes do not have: Deployment default/shop (2 pods, the first default/o)", change: func(s *stock, p *model.Pod) {
			s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: p.Owner, Owner: model.WorkloadKey{Kind: "Deployment", Namespace: "default", Name: "shop"}})
			s.pod("o", "shop", "node-web-2").Traits = p.Traits
		}},
		{name: "the rotation has begun: it goes on", traits: selects(pool, "web"), warnings: "pods-select-lost-label pods-do-not-fit", says: "they are not evicted", change: func(s *stock, _ *model.Pod) { s.Groups[0].HeldBy = "r-1" }},
		{name: "preferred", traits: &model.PodTraits{NodePreferences: []model.NodeTerm{in(pool, "web")}}, warnings: "pods-prefer-lost-label", says: "group web: 1 pod(s) prefer nodes with a label that the new ones do not have"},
		{name: "preferred, and stays", traits: &model.PodTraits{NodePreferences: []model.NodeTerm{in("tier", "front")}}},
		{name: "rolled by the provider", traits: selects(pool, "web"), refusals: "pods-select-lost-label", change: func(s *stock, _ *model.Pod) {
			s.Groups[0].Traits = model.Traits{Roll: true, Drains: model.DrainsProvider, Refill: model.RefillGroup}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := pools()
			p := s.pod("p", "shop", "node-web-1")
			p.Traits = tc.traits
			if tc.change != nil {
				tc.change(s, p)
			}
			got := build(t, spec(func(sp *plan.Spec) { sp.Strategy.MaxUnavailable = "1" }), s.Inventory)
			if codes(got.Refusals) != tc.refusals || codes(got.Warnings) != tc.warnings {
				t.Fatalf("refused %q, warned %q; want %q and %q\n%v %v", codes(got.Refusals), codes(got.Warnings), tc.refusals, tc.warnings, got.Refusals, got.Warnings)
			}
			text := ""
			for _, f := range append(got.Refusals, got.Warnings...) {
				text += f.Message
			}
			if !strings.Contains(text, tc.says) {
				t.Errorf("%s\nmust say %s", text, tc.says)
			}
		})
	}
}
