package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// rolled is three, in a group that its provider rolls.
func rolled(old int, by model.Drains) *stock {
	s := three(old)
	s.Groups[0].Traits = model.Traits{Roll: true, Drains: by, Prepare: true}
	return s
}

func TestRoll(t *testing.T) {
	running := func(op string) func(*stock) {
		return func(s *stock) {
			s.Groups[0].Roll = model.Roll{ID: "u-1", Op: op, State: model.RollRunning}
		}
	}
	for _, tc := range []struct {
		name   string
		drains model.Drains
		stock  func(*stock)
		spec   func(*plan.Spec)
		nodes  int
		want   plan.Roll // but for Cannot
		says   string    // codes of refusals and warnings
	}{
		{name: "delegated", drains: model.DrainsProvider, nodes: 2},
		{name: "assisted", drains: model.DrainsBoth, nodes: 2, want: plan.Roll{Assisted: true}, says: "assisted-experimental"},
		{name: "the file's own unavailable", drains: model.DrainsProvider, nodes: 2, want: plan.Roll{MaxUnavailable: 2},
			spec: func(s *plan.Spec) { s.Strategy.MaxUnavailable = "80%" }},
		{name: "the group's own unavailable", drains: model.DrainsProvider, nodes: 2,
			stock: func(s *stock) {
				s.Groups[0].Defaults = model.Defaults{MaxUnavailable: "2", Source: "updateConfig"}
			}},
		{name: "none unavailable cannot be asked for", drains: model.DrainsProvider, nodes: 2, want: plan.Roll{Ignored: []string{"strategy.maxUnavailable"}},
			spec: func(s *plan.Spec) { s.Strategy.MaxUnavailable = "0" }},
		{name: "somebody else rolls it", drains: model.DrainsProvider, nodes: 2, stock: running(""), want: plan.Roll{Running: "u-1"}, says: "roll-foreign"},
		{name: "an earlier run rolls it", drains: model.DrainsProvider, nodes: 2, stock: running("r0-1"), want: plan.Roll{Running: "u-1", Ours: true}},
		{name: "single nodes", drains: model.DrainsProvider, nodes: 1, says: "cannot-choose-nodes",
			spec: func(s *plan.Spec) { s.Select.Nodes = []string{"i-1"} }},
		{name: "age beside revision", drains: model.DrainsProvider, nodes: 2, says: "roll-cannot-replace",
			spec: func(s *plan.Spec) { s.Select.MaxAge = 24 * time.Hour }},
		{name: "the driver's error", drains: model.DrainsProvider, nodes: 2, says: "degraded",
			stock: func(s *stock) {
				s.Groups[0].Diagnostics = []model.Diagnostic{{Severity: model.SeverityError, Code: "degraded", Summary: "group web is degraded"}}
			}},
		{name: "a control plane", drains: model.DrainsProvider, nodes: 2, says: "cannot-replace",
			stock: func(s *stock) { s.Groups[0].Role = model.RoleControlPlane },
			spec:  func(s *plan.Spec) { s.Select.Roles = []string{"control-plane"} }},
		{name: "settings without effect", drains: model.DrainsProvider, nodes: 2,
			spec: func(s *plan.Spec) {
				s.Strategy.MaxInFlight, s.Strategy.Order, s.Strategy.Waits.BetweenDrains = "2", plan.OrderEmptiest, time.Minute
				s.Drain.Rules = []drain.Rule{{Selector: "app=web", Order: 1}}
			},
			want: plan.Roll{Ignored: []string{"strategy.maxInFlight", "strategy.order", "strategy.waits", "drain.rules"}}},
		{name: "drain rules hold for what is emptied ahead", drains: model.DrainsBoth, nodes: 2, says: "assisted-experimental",
			spec: func(s *plan.Spec) { s.Drain.Rules = []drain.Rule{{Selector: "app=web", Order: 1}} },
			want: plan.Roll{Assisted: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := rolled(2, tc.drains)
			if tc.stock != nil {
				tc.stock(s)
			}
			sp := spec(func(s *plan.Spec) { s.Strategy.MaxSurge = "" })
			if tc.spec != nil {
				tc.spec(&sp)
			}
			p := build(t, sp, s.Inventory)
			g := p.Groups[0]
			if len(g.Nodes) != tc.nodes || g.Roll == nil {
				t.Fatalf("%d nodes, roll %+v", len(g.Nodes), g.Roll)
			}
			if g.Surge != 0 || g.Unavailable < 1 {
				t.Errorf("surge %d, unavailable %d", g.Surge, g.Unavailable)
			}
			r := *g.Roll
			if r.Assisted != tc.want.Assisted || r.MaxUnavailable != tc.want.MaxUnavailable || r.Running != tc.want.Running || r.Ours != tc.want.Ours || !slices.Equal(r.Ignored, tc.want.Ignored) {
				t.Errorf("roll %+v, want %+v", r, tc.want)
			}
			if len(p.Refusals) == 0 && len(r.Cannot) == 0 {
				t.Error("nothing is said about what a roll cannot do")
			}
			var codes []string
			for _, f := range append(p.Refusals, p.Warnings...) {
				codes = append(codes, f.Code)
			}
			if got := strings.Join(codes, " "); got != tc.says {
				t.Errorf("says %q, want %q", got, tc.says)
			}
			if p.Estimate != nil {
				t.Error("there is an estimate of a time that nobody knows")
			}
		})
	}
}

// What holds for some nodes of a roll alone, and what is not known yet, is said.
func TestRollSaysWhatHoldsInPart(t *testing.T) {
	const single, labels = "drain.singleReplica holds for the nodes that the core empties", "is known once it is staged"
	restart := func(s *plan.Spec) { s.Drain.SingleReplica = plan.SingleRestart }
	for name, tc := range map[string]struct {
		drains         model.Drains
		spec           func(*plan.Spec)
		single, labels bool
	}{
		"nothing of it":          {drains: model.DrainsBoth},
		"both drain":             {drains: model.DrainsBoth, spec: restart, single: true},
		"the provider alone":     {drains: model.DrainsProvider, spec: restart}, // named as without effect
		"a release comes first":  {drains: model.DrainsProvider, spec: func(s *plan.Spec) { s.Release = "latest" }, labels: true},
		"both, and both of them": {drains: model.DrainsBoth, spec: func(s *plan.Spec) { s.Release = "latest"; restart(s) }, single: true, labels: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := rolled(2, tc.drains)
			g := s.Groups[0]
			s.Releases = []model.GroupRelease{{GroupID: g.ID, Group: g.Name, Role: g.Role, Current: model.Release{ID: "r1"}, Target: &model.Release{ID: "r2"}, Order: model.ReleaseNewer}}
			p := build(t, spec(func(s *plan.Spec) {
				s.Strategy.MaxSurge = ""
				if tc.spec != nil {
					tc.spec(s)
				}
			}), s.Inventory)
			says := strings.Join(p.Groups[0].Roll.Cannot, "\n")
			if strings.Contains(says, single) != tc.single || strings.Contains(says, labels) != tc.labels {
				t.Errorf("says:\n%s", says)
			}
		})
	}
}

// TestRollReplacesOutdatedOnly refuses a plan whose only reasons a roll cannot
// answer.
func TestRollReplacesOutdatedOnly(t *testing.T) {
	for name, change := range map[string]func(*plan.Spec){
		"age":    func(s *plan.Spec) { s.Select.MaxAge = time.Hour },
		"forced": func(s *plan.Spec) { s.Select.Force = true },
	} {
		p := build(t, spec(change), rolled(0, model.DrainsProvider).Inventory)
		if len(p.Refusals) != 1 || p.Refusals[0].Code != "roll-cannot-replace" {
			t.Errorf("%s: %+v", name, p.Refusals)
		}
	}
}

// TestRollInFlight has a group without outdated nodes taken up as long as its
// provider rolls it for us, and only then.
func TestRollInFlight(t *testing.T) {
	for _, tc := range []struct {
		name  string
		roll  model.Roll
		taken bool
	}{
		{"none", model.Roll{}, false},
		{"ours", model.Roll{ID: "u-1", Op: "r0-1", State: model.RollRunning}, true},
		{"ours, over", model.Roll{ID: "u-1", Op: "r0-1", State: model.RollSucceeded}, false},
		{"somebody else's", model.Roll{ID: "u-1", State: model.RollRunning}, false},
	} {
		s := rolled(0, model.DrainsProvider)
		s.Groups[0].Roll = tc.roll
		p := build(t, spec(nil), s.Inventory)
		if taken := p.Groups[0].Roll != nil; taken != tc.taken || p.Leftovers() != tc.taken {
			t.Errorf("%s: taken up %v, leftovers %v; want %v", tc.name, taken, p.Leftovers(), tc.taken)
		}
		if undo := plan.Undo(spec(nil), s.Inventory); (len(undo.Groups) == 1 && undo.Groups[0].Roll.Abandon) != tc.taken {
			t.Errorf("%s: undone %+v, want %v", tc.name, undo.Groups, tc.taken)
		}
	}
}

// TestProviderDrainsWithoutRoll refuses a group that the core must not drain and
// whose provider offers no roll.
func TestProviderDrainsWithoutRoll(t *testing.T) {
	s := three(1)
	s.Groups[0].Traits.Drains = model.DrainsProvider
	if p := build(t, spec(nil), s.Inventory); len(p.Refusals) != 1 || p.Refusals[0].Code != "cannot-replace" {
		t.Errorf("%+v", p.Refusals)
	}
}

// TestRollMovesNoDeployments: the way out of a budget that never allows an
// eviction is not the provider's.
func TestRollMovesNoDeployments(t *testing.T) {
	for by, refused := range map[model.Drains]bool{model.DrainsProvider: true, model.DrainsBoth: false} {
		s := rolled(1, by)
		k := model.WorkloadKey{Kind: "Deployment", Namespace: "default", Name: "cart"}
		s.Workloads = []model.Workload{{WorkloadKey: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: "cart"}, Owner: k, Desired: 1, Ready: 1}}
		s.Deployments = []model.Deployment{{WorkloadKey: k, Replicas: 1, Ready: 1, RolledOut: true, MaxSurge: 1}}
		s.pod("cart-1", "cart", "node-i-1")
		s.budget("cart", "cart", 1, 1)
		p := build(t, spec(func(s *plan.Spec) { s.Drain.SingleReplica = plan.SingleRestart }), s.Inventory)
		if got := slices.ContainsFunc(p.Refusals, func(f plan.Finding) bool { return f.Code == "budget-never-allows" }); got != refused {
			t.Errorf("drains %q: refused %v, want %v: %+v", by, got, refused, p.Refusals)
		}
	}
}
