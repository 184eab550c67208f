package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

func TestWhatPodsAskFor(t *testing.T) {
	held := func(until time.Time) *model.PodDetail {
		return &model.PodDetail{DoNotDisrupt: "karpenter.sh/do-not-disrupt: true", DoNotDisruptUntil: until}
	}
	for _, tc := range []struct {
		name   string
		change func(*stock)
		spec   func(*plan.Spec)
		refused, warned,
		says string
	}{
		{name: "do not disrupt", change: func(s *stock) { s.pod("web-1", "web", "node-i-1").Detail = held(time.Time{}) },
			refused: "do-not-disrupt", says: "default/web-1 (karpenter.sh/do-not-disrupt: true)"},
		{name: "on a node that stays", change: func(s *stock) { s.pod("web-1", "web", "node-i-3").Detail = held(time.Time{}) }},
		{name: "until a moment that has passed", change: func(s *stock) { s.pod("web-1", "web", "node-i-1").Detail = held(now) }},
		{name: "of a Job", change: func(s *stock) {
			p := s.pod("import-1", "import", "node-i-1")
			p.Owner.Kind, p.Detail = "Job", held(time.Time{})
		}, warned: "waits-for-pods", says: "default/import-1"},
		{name: "waited for", change: func(s *stock) { s.pod("web-1", "web", "node-i-1").Detail = held(time.Time{}) },
			spec: func(s *plan.Spec) { s.Drain.DoNotDisrupt = drain.DoNotDisruptWait }, warned: "waits-for-pods"},
		{name: "evicted", change: func(s *stock) { s.pod("web-1", "web", "node-i-1").Detail = held(time.Time{}) },
			spec: func(s *plan.Spec) { s.Drain.DoNotDisrupt = drain.DoNotDisruptEvict }},
		{name: "evicted by a rule", change: func(s *stock) { s.pod("web-1", "web", "node-i-1").Detail = held(time.Time{}) },
			spec: func(s *plan.Spec) { s.Drain.Rules = []drain.Rule{{Selector: "app=web"}} }},
		{name: "a rule that waits", change: func(s *stock) { s.pod("web-1", "web", "node-i-1") },
			spec:   func(s *plan.Spec) { s.Drain.Rules = []drain.Rule{{Selector: "app=web", Action: drain.ActionWait}} },
			warned: "waits-for-pods", says: "default/web-1 (drain.rules)"},
		{name: "an unmanaged pod that a rule skips", change: func(s *stock) { s.pod("lonely", "web", "node-i-1").Owner = model.WorkloadKey{} },
			spec: func(s *plan.Spec) {
				s.Drain.Rules = []drain.Rule{{Selector: "app=web", Action: drain.ActionSkip}}
			}},
		{name: "a rule that cannot be used", change: func(*stock) {},
			spec: func(s *plan.Spec) { s.Drain.Rules = []drain.Rule{{Selector: "=="}} }, refused: "bad-rule", says: "rule 1: selector"},
		{name: "tolerates the cordon", change: func(s *stock) { s.pod("web-1", "web", "node-i-1").ToleratesCordon = true },
			warned: "tolerates-cordon", says: "default/web-1"},
		{name: "a DaemonSet that does", change: func(s *stock) {
			p := s.pod("agent-1", "agent", "node-i-1")
			p.Owner.Kind, p.ToleratesCordon = "DaemonSet", true
		}, spec: func(s *plan.Spec) { s.Drain.DaemonSets = drain.DaemonSetsLast }},
		{name: "of a controller that is not known", change: func(s *stock) { s.pod("db-1", "db", "node-i-1").Owner.Kind = "Cluster" },
			warned: "unknown-owners", says: "default/db-1 (Cluster db)"},
		{name: "of one that a rule skips", change: func(s *stock) { s.pod("db-1", "db", "node-i-1").Owner.Kind = "Cluster" },
			spec: func(s *plan.Spec) {
				s.Drain.Rules = []drain.Rule{{Owners: []string{"Cluster"}, Action: drain.ActionSkip}}
			}},
		{name: "budgets may be violated", change: func(*stock) {},
			spec:   func(s *plan.Spec) { s.Drain.OnDeadline, s.Drain.DeletePodsDespiteBudgets = plan.DeadlineForce, true },
			warned: "despite-budgets", says: "PodDisruptionBudgets may be VIOLATED"},
		{name: "force by itself violates none", change: func(*stock) {}, spec: func(s *plan.Spec) { s.Drain.OnDeadline = plan.DeadlineForce }},
		{name: "held by finalizers", change: func(s *stock) {
			p := s.pod("web-1", "web", "node-i-1")
			p.Terminating, p.Detail = true, &model.PodDetail{Finalizers: "example.com/backup"}
		}, warned: "finalizers", says: "default/web-1 (example.com/backup)"},
		{name: "a budget that matches nothing", change: func(s *stock) { s.budget("idle", "nobody", 0, 0) },
			warned: "budget-matches-nothing", says: "default/idle"},
		{name: "a budget whose pods have not been counted", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1")
			s.budget("web", "web", 0, 0)
		}},
		{name: "a percentage over unmanaged pods", change: func(s *stock) {
			s.pod("lonely", "web", "node-i-3").Owner = model.WorkloadKey{}
			s.budget("web", "web", 1, 2)
			b := &s.Budgets[len(s.Budgets)-1]
			b.Scales, b.Limit = true, "minAvailable 50%"
		}, warned: "budget-miscounts", says: "default/web (minAvailable 50%, which rounds up)"},
		{name: "a budget that cannot be counted", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1")
			s.budget("web", "web", 0, 0)
			s.Budgets[len(s.Budgets)-1].Problem = "things do not implement the scale subresource"
		}, refused: "budget-cannot-count", says: "do not implement the scale subresource"},
		{name: "a budget that cannot be counted, elsewhere", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-3")
			s.budget("web", "web", 0, 0)
			s.Budgets[len(s.Budgets)-1].Problem = "x"
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := three(2)
			tc.change(s)
			p := build(t, spec(tc.spec), s.Inventory)
			if codes(p.Refusals) != tc.refused || codes(p.Warnings) != tc.warned {
				t.Errorf("refused %q, warned %q; want %q, %q", codes(p.Refusals), codes(p.Warnings), tc.refused, tc.warned)
			}
			if all := append(p.Refusals, p.Warnings...); tc.says != "" && (len(all) == 0 || !strings.Contains(all[0].Message, tc.says)) {
				t.Errorf("got %+v, want it to say %q", all, tc.says)
			}
		})
	}
}
