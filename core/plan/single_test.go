package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// deployment puts a pod of a Deployment of one replica on an old node.
func (s *stock) deployment(app string, replicas int) *model.Deployment {
	s.pod(app+"-1", app, "node-i-1")
	k := model.WorkloadKey{Kind: "Deployment", Namespace: "default", Name: app}
	s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: app},
		Desired: replicas, Ready: replicas, Owner: k})
	s.Deployments = append(s.Deployments, model.Deployment{WorkloadKey: k, Replicas: replicas, Ready: replicas, RolledOut: true, MaxSurge: 1})
	return &s.Deployments[len(s.Deployments)-1]
}

// statefulSet puts a pod of a StatefulSet of one replica on an old node.
func (s *stock) statefulSet(app string) {
	s.pod(app+"-0", app, "node-i-1").Owner.Kind = "StatefulSet"
	s.Workloads = append(s.Workloads, model.Workload{WorkloadKey: model.WorkloadKey{Kind: "StatefulSet", Namespace: "default", Name: app}, Desired: 1, Ready: 1})
}

func TestSingles(t *testing.T) {
	for _, tc := range []struct {
		name    string
		how     plan.SingleReplica
		fill    func(*stock)
		want    []plan.Single
		warned  string
		refused string
		says    string // one of the findings
	}{
		{name: "others have more", how: plan.SingleRefuse, fill: func(s *stock) { s.deployment("cart", 2) }},
		{name: "one that does not move", how: plan.SingleRefuse, fill: func(s *stock) {
			s.deployment("cart", 1)
			s.Pods[0].Node = "node-i-3"
		}},
		{name: "evicted", how: plan.SingleEvict, fill: func(s *stock) { s.deployment("cart", 1); s.statefulSet("db") },
			want:   []plan.Single{{Workload: "Deployment default/cart", Way: drain.ByEviction, Down: true}, {Workload: "StatefulSet default/db", Way: drain.ByEviction, Down: true}},
			warned: "single-replica", says: "2 workload(s) of one replica will be down while they move: Deployment default/cart, StatefulSet default/db"},
		{name: "refused", how: plan.SingleRefuse, fill: func(s *stock) { s.deployment("cart", 1) },
			want: []plan.Single{{Workload: "Deployment default/cart", Way: drain.ByEviction, Down: true}}, refused: "single-replica"},
		{name: "restarted", how: plan.SingleRestart, fill: func(s *stock) { s.deployment("cart", 1); s.budget("cart", "cart", 1, 1) },
			want: []plan.Single{{Workload: "Deployment default/cart", Way: drain.ByRestart, Budget: "default/cart"}}},
		{name: "surged", how: plan.SingleSurge, fill: func(s *stock) { s.deployment("cart", 3); s.budget("cart", "cart", 3, 3) },
			want: []plan.Single{{Workload: "Deployment default/cart", Way: drain.BySurge, Budget: "default/cart"}}},
		{name: "what cannot be restarted is down", how: plan.SingleRestart, fill: func(s *stock) { s.deployment("cart", 1).Paused = true },
			want:   []plan.Single{{Workload: "Deployment default/cart", Way: drain.ByEviction, Why: "it is paused, and does not roll out a restart", Down: true}},
			warned: "single-replica", says: "Deployment default/cart: it is paused"},
		{name: "what cannot be surged under a budget that allows nothing", how: plan.SingleSurge, fill: func(s *stock) {
			d := s.deployment("cart", 2)
			s.budget("cart", "cart", 2, 2)
			s.Autoscalers = []model.Autoscaler{{AutoscalerKey: model.AutoscalerKey{Namespace: "default", Name: "cart"}, Target: d.WorkloadKey}}
		}, want: []plan.Single{{Workload: "Deployment default/cart", Way: drain.ByEviction, Budget: "default/cart", Why: "HorizontalPodAutoscaler default/cart sets its replicas"}},
			refused: "budget-never-allows", says: "cannot be moved by surge: HorizontalPodAutoscaler default/cart sets its replicas"},
		{name: "a claim that several nodes can have", how: plan.SingleRestart, fill: func(s *stock) {
			s.deployment("cart", 1)
			s.Pods[0].Claims = []string{"data"}
			s.Claims = []model.Claim{{ClaimKey: model.ClaimKey{Namespace: "default", Name: "data"}, Shared: true}}
		}, want: []plan.Single{{Workload: "Deployment default/cart", Way: drain.ByRestart}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := three(1)
			tc.fill(s)
			p := build(t, spec(func(sp *plan.Spec) { sp.Drain.SingleReplica = tc.how }), s.Inventory)
			if d := cmp.Diff(tc.want, p.Singles); d != "" {
				t.Errorf("singles (-want +got):\n%s", d)
			}
			if got := codes(p.Warnings); got != tc.warned {
				t.Errorf("warnings %q, want %q", got, tc.warned)
			}
			if got := codes(p.Refusals); got != tc.refused {
				t.Errorf("refusals %q, want %q", got, tc.refused)
			}
			said := ""
			for _, f := range append(p.Warnings, p.Refusals...) {
				said += f.Message
			}
			if !strings.Contains(said, tc.says) {
				t.Errorf("findings say %q, want %q", said, tc.says)
			}
		})
	}
}

// What an earlier run left on Deployments is a reason to run, and to undo.
func TestSurgedWorkloadsAreLeftovers(t *testing.T) {
	s := three(0)
	s.deployment("cart", 2).Labels = map[string]string{model.LabelSurgedFrom: "1"}
	if p := build(t, spec(nil), s.Inventory); p.SurgedWorkloads != 1 || !p.Leftovers() {
		t.Errorf("%d surged workloads, leftovers %v", p.SurgedWorkloads, p.Leftovers())
	}
	if p := plan.Undo(spec(nil), s.Inventory); p.SurgedWorkloads != 1 || !p.Leftovers() {
		t.Errorf("undo: %d surged workloads, leftovers %v", p.SurgedWorkloads, p.Leftovers())
	}
}
