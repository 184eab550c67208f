package plan_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// stock is an inventory that a test fills.
type stock struct{ model.Inventory }

func (s *stock) group(name string, role model.Role, desired int) *model.NodeGroup {
	s.Groups = append(s.Groups, model.NodeGroup{ID: "id-" + name, Name: name, Role: role, Desired: desired, Max: 100, Revision: "2",
		Traits: model.Traits{TerminateKeep: true, TerminateShrink: true, Prepare: true, MaxSurge: 10, Refill: model.RefillGroup}})
	return &s.Groups[len(s.Groups)-1]
}

// instance adds one in service that has joined as a node; days is its age.
func (s *stock) instance(group, id string, days int, reasons ...string) *model.Instance {
	in := model.Instance{ID: id, GroupID: "id-" + group, ProviderID: "cloud:///" + id, Zone: "a", State: model.InstanceInService,
		LaunchedAt: now.AddDate(0, 0, -days)}
	for _, r := range reasons {
		in.Reasons = append(in.Reasons, model.Reason{Code: r})
	}
	s.Instances = append(s.Instances, in)
	s.Nodes = append(s.Nodes, model.Node{Name: "node-" + id, ProviderID: in.ProviderID, Ready: true,
		Allocatable: model.Resources{MilliCPU: 4000, Memory: 8 << 30, Pods: 110}})
	return &s.Instances[len(s.Instances)-1]
}

func (s *stock) pod(name, app, node string) *model.Pod {
	s.Pods = append(s.Pods, model.Pod{PodKey: model.PodKey{Namespace: "default", Name: name}, UID: name, Node: node, Phase: "Running", Ready: true,
		Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: app}, Labels: map[string]string{"app": app}})
	return &s.Pods[len(s.Pods)-1]
}

func (s *stock) budget(name, app string, desired, expected int) {
	s.Budgets = append(s.Budgets, model.Budget{BudgetKey: model.BudgetKey{Namespace: "default", Name: name}, Observed: true,
		DesiredHealthy: desired, Expected: expected, CurrentHealthy: expected, Allowed: expected - desired,
		Matches: func(l map[string]string) bool { return l["app"] == app }})
}

// three is a group "web" of three instances, of which old ones are outdated.
func three(old int) *stock {
	s := &stock{}
	s.group("web", model.RoleNode, 3)
	for i := range 3 {
		var reasons []string
		if i < old {
			reasons = []string{"revision"}
		}
		s.instance("web", fmt.Sprintf("i-%d", i+1), 10-i, reasons...)
	}
	return s
}

func spec(change func(*plan.Spec)) plan.Spec {
	s := plan.Spec{Cluster: "demo", Strategy: plan.Strategy{Mode: plan.ModeRolling, MaxSurge: "1"}, Drain: plan.Drain{UnmanagedPods: plan.UnmanagedRefuse},
		Gates: plan.Gates{NodeReady: plan.NodeReadyGate{Timeout: 15 * time.Minute}}}
	if change != nil {
		change(&s)
	}
	return s
}

func build(t *testing.T, s plan.Spec, inv model.Inventory) *plan.Plan {
	t.Helper()
	p, err := plan.Build(s, inv, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// codes are the codes of findings, in order.
func codes(fs []plan.Finding) string {
	var s []string
	for _, f := range fs {
		s = append(s, f.Code)
		if f.Message == "" || f.Fix == "" || f.Object == "" {
			s = append(s, "(without message, fix or object)")
		}
	}
	return strings.Join(s, " ")
}

func instances(g plan.Group) string {
	var s []string
	for _, n := range g.Nodes {
		s = append(s, n.Instance)
	}
	return strings.Join(s, " ")
}

func TestGroupsInOrderOfRoleThenName(t *testing.T) {
	s := &stock{}
	for _, g := range []struct {
		name string
		role model.Role
	}{{"b-nodes", model.RoleNode}, {"a-nodes", model.RoleNode}, {"api", model.RoleAPIServer}, {"masters", model.RoleControlPlane}, {"jump", model.RoleBastion}} {
		s.group(g.name, g.role, 1)
		s.instance(g.name, "i-"+g.name, 1, "revision")
	}
	all := []string{"node", "control-plane", "api-server", "bastion"}
	for _, tc := range []struct {
		name string
		sel  plan.Select
		want string
	}{
		{"nodes only, by default", plan.Select{}, "a-nodes b-nodes"},
		{"all roles", plan.Select{Roles: all}, "jump masters api a-nodes b-nodes"},
		{"by name", plan.Select{Groups: []string{"b-nodes"}}, "b-nodes"},
		{"by pattern", plan.Select{Groups: []string{"*-nodes"}}, "a-nodes b-nodes"},
		{"excluded by pattern", plan.Select{Roles: all, ExcludeGroups: []string{"*-nodes", "jump"}}, "masters api"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, g := range build(t, spec(func(s *plan.Spec) { s.Select = tc.sel }), s.Inventory).Groups {
				got = append(got, g.Name)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

func TestSelectionErrors(t *testing.T) {
	s := three(1)
	s.group("masters", model.RoleControlPlane, 1)
	s.instance("masters", "i-9", 1, "revision")
	for _, tc := range []struct {
		name string
		inv  model.Inventory
		sel  plan.Select
		want string // must be named in the message
	}{
		{"no groups at all", model.Inventory{}, plan.Select{}, "demo"},
		{"a group that is not there", s.Inventory, plan.Select{Groups: []string{"web", "wbe"}}, "wbe"},
		{"a malformed pattern", s.Inventory, plan.Select{Groups: []string{"[web"}}, "[web"},
		{"everything excluded", s.Inventory, plan.Select{ExcludeGroups: []string{"*"}}, "none of the 2"},
		{"a role that no group has", s.Inventory, plan.Select{Roles: []string{"bastion"}}, "bastion"},
		{"a node that is not there", s.Inventory, plan.Select{Nodes: []string{"node-i-1", "node-x"}}, "node-x"},
		{"a node of a group that is not selected", s.Inventory, plan.Select{Nodes: []string{"node-i-9"}}, "node-i-9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := plan.Build(spec(func(s *plan.Spec) { s.Select = tc.sel }), tc.inv, now)
			var sel *plan.SelectionError
			if !errors.As(err, &sel) || !strings.Contains(sel.Message, tc.want) || sel.Fix == "" {
				t.Errorf("got %v, want a SelectionError that names %q and says what to do", err, tc.want)
			}
		})
	}
}

func TestWhichInstances(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*stock)
		sel     plan.Select
		past    plan.Memory
		want    string
		current int
	}{
		{name: "oldest first", want: "i-1 i-2", current: 1},
		{name: "equal ages by id", change: func(s *stock) {
			for i := range s.Instances {
				s.Instances[i].LaunchedAt = now
			}
			slices.Reverse(s.Instances)
		}, want: "i-1 i-2", current: 1},
		{name: "dying ones are left out", change: func(s *stock) { s.Instances[0].State = model.InstanceTerminating }, want: "i-2", current: 1},
		{name: "one that never joined is planned too", change: func(s *stock) { s.Nodes = s.Nodes[1:] }, want: "i-1 i-2", current: 1},
		{name: "forced: all", sel: plan.Select{Force: true}, want: "i-1 i-2 i-3", current: 0},
		{name: "by node name", sel: plan.Select{Nodes: []string{"node-i-2"}}, want: "i-2", current: 2},
		{name: "by instance id", sel: plan.Select{Nodes: []string{"i-1"}}, want: "i-1", current: 2},
		{name: "a current one is no reason by itself", sel: plan.Select{Nodes: []string{"i-3"}}, want: "", current: 3},
		{name: "forced, by name", sel: plan.Select{Nodes: []string{"i-3"}, Force: true}, want: "i-3", current: 2},
		{name: "by age", sel: plan.Select{MaxAge: 9*24*time.Hour + time.Hour}, want: "i-1 i-2", current: 1},
		{name: "by age, all", sel: plan.Select{MaxAge: 24 * time.Hour}, want: "i-1 i-2 i-3", current: 0},
		{name: "exactly the age is not over it", change: func(s *stock) { s.Instances = s.Instances[2:] }, sel: plan.Select{MaxAge: 8 * 24 * time.Hour}, want: "", current: 1},
		{name: "of unknown age", change: func(s *stock) { s.Instances[2].LaunchedAt = time.Time{} }, sel: plan.Select{MaxAge: time.Hour}, want: "i-1 i-2", current: 1},
		{name: "those that failed before go last", past: plan.Memory{Quarantined: map[string]bool{"i-1": true}}, want: "i-2 i-1", current: 1},
		{name: "forced again: what came meanwhile stays", sel: plan.Select{Force: true},
			past: plan.Memory{Planned: map[string]map[string]bool{"web": {"i-1": true}}}, want: "i-1 i-2", current: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := three(2)
			if tc.change != nil {
				tc.change(s)
			}
			p, err := plan.Resume(spec(func(sp *plan.Spec) { sp.Select = tc.sel }), s.Inventory, now, tc.past)
			if err != nil {
				t.Fatal(err)
			}
			if got := instances(p.Groups[0]); got != tc.want || p.Groups[0].Current != tc.current {
				t.Errorf("got %q and %d current, want %q and %d", got, p.Groups[0].Current, tc.want, tc.current)
			}
		})
	}
}

func TestNodeOfThePlan(t *testing.T) {
	s := three(1)
	s.pod("web-1", "web", "node-i-1")
	s.pod("agent", "agent", "node-i-1").Owner.Kind = "DaemonSet"
	s.pod("done", "job", "node-i-1").Phase = "Succeeded"
	got := build(t, spec(func(s *plan.Spec) { s.Select.MaxAge = time.Hour; s.Select.Nodes = []string{"i-1"} }), s.Inventory).Groups[0].Nodes[0]
	want := plan.Node{Instance: "i-1", Node: "node-i-1", Zone: "a", Pods: 1, Reasons: []model.Reason{{Code: "revision"},
		{Code: "age", Message: "launched 2026-05-22T12:00:00Z, older than 1h0m0s"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		name, surge, unavailable string
		old, size                int
		traits                   func(*model.Traits)
		left                     int // surge of an earlier run
		wantS, wantU             int
		refused, warned          string
	}{
		{name: "counts", surge: "2", unavailable: "1", old: 5, size: 10, wantS: 2, wantU: 1},
		{name: "surge rounds up", surge: "25%", old: 10, size: 10, wantS: 3},
		{name: "unavailable rounds down", surge: "1", unavailable: "25%", old: 10, size: 10, wantS: 1, wantU: 2},
		{name: "no more surge than old nodes", surge: "5", old: 2, size: 10, wantS: 2},
		{name: "all at once", surge: "100%", old: 10, size: 10, wantS: 10},
		{name: "no more unavailable than there are", surge: "0", unavailable: "50", old: 3, size: 3, wantU: 3},
		{name: "the surge of an earlier run is not the group's size", surge: "50%", old: 10, size: 12, left: 2, wantS: 5},
		{name: "both zero", surge: "0", old: 1, size: 3, refused: "no-room"},
		{name: "nothing left after rounding", surge: "0", unavailable: "30%", old: 1, size: 3, refused: "no-room"},
		{name: "empty is the default", old: 1, size: 3, wantS: 1},
		{name: "an empty surge is the default", unavailable: "1", old: 1, size: 3, wantS: 1, wantU: 1},
		{name: "not a number", surge: "many", old: 1, size: 3, refused: "bad-budget"},
		{name: "negative", surge: "-1", old: 1, size: 3, refused: "bad-budget"},
		{name: "over a hundred per cent", surge: "1", unavailable: "101%", old: 1, size: 3, refused: "bad-budget"},
		{name: "a group that cannot surge", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.MaxSurge = 0 }, refused: "cannot-surge"},
		{name: "a group that cannot surge may lack one", surge: "1", unavailable: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.MaxSurge = 0 },
			wantU: 1, warned: "surge-limited"},
		{name: "a group that can surge a little", surge: "5", old: 9, size: 9, traits: func(t *model.Traits) { t.MaxSurge = 2 }, wantS: 2, warned: "surge-limited"},
		{name: "a group that cannot shrink", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.TerminateShrink = false }, wantS: 1, refused: "cannot-shrink"},
		{name: "a group that cannot shrink need not", surge: "0", unavailable: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.TerminateShrink = false }, wantU: 1},
		{name: "a group that does not refill", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.Refill = model.RefillNobody }, wantS: 1, refused: "cannot-replace"},
		{name: "a group whose instances cannot be ended", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.TerminateKeep = false }, wantS: 1, refused: "cannot-replace"},
		{name: "a group whose replacements keep the name of the node", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.KeepsNodeName = true }, wantS: 1},
		{name: "a group that nobody refills", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.Refill = model.RefillNobody }, wantS: 1, refused: "cannot-replace"},
		{name: "a group that the driver refills", surge: "1", old: 1, size: 3, traits: func(t *model.Traits) { t.Refill = model.RefillDriver }, wantS: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &stock{}
			g := s.group("web", model.RoleNode, tc.size)
			g.Surge = tc.left
			if tc.traits != nil {
				tc.traits(&g.Traits)
			}
			for i := range tc.size {
				var reasons []string
				if i < tc.old {
					reasons = []string{"revision"}
				}
				s.instance("web", fmt.Sprintf("i-%02d", i), 1, reasons...)
			}
			p := build(t, spec(func(s *plan.Spec) { s.Strategy.MaxSurge, s.Strategy.MaxUnavailable = tc.surge, tc.unavailable }), s.Inventory)
			got := p.Groups[0]
			if got.Surge != tc.wantS || got.Unavailable != tc.wantU {
				t.Errorf("surge %d and unavailable %d, want %d and %d", got.Surge, got.Unavailable, tc.wantS, tc.wantU)
			}
			if codes(p.Refusals) != tc.refused || codes(p.Warnings) != tc.warned {
				t.Errorf("refused %q and warned %q, want %q and %q", codes(p.Refusals), codes(p.Warnings), tc.refused, tc.warned)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	for _, tc := range []struct {
		in       string
		size     int
		up, down int
		bad      bool
	}{
		{in: "", size: 7}, {in: " 3 ", size: 7, up: 3, down: 3}, {in: "0%", size: 7}, {in: "1%", size: 7, up: 1}, {in: "50%", size: 7, up: 4, down: 3},
		{in: "100%", size: 7, up: 7, down: 7}, {in: "33%", size: 0},
		{in: "%", size: 7, bad: true}, {in: "1.5", size: 7, bad: true}, {in: "+1", size: 7, bad: true}, {in: "01", size: 7, bad: true},
		{in: "1 %", size: 7, bad: true}, {in: "1x", size: 7, bad: true}, {in: "-5%", size: 7, bad: true}, {in: "200%", size: 7, bad: true},
	} {
		for _, roundUp := range []bool{true, false} {
			want := tc.down
			if roundUp {
				want = tc.up
			}
			if got, err := plan.Resolve(tc.in, tc.size, roundUp); (err != nil) != tc.bad || err == nil && got != want {
				t.Errorf("Resolve(%q, %d, %v) = %d, %v; want %d, an error %v", tc.in, tc.size, roundUp, got, err, want, tc.bad)
			}
		}
	}
}

func TestPreflight(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*stock)
		spec    func(*plan.Spec)
		refused string
		warned  string
		says    string // in the first refusal or warning
	}{
		{name: "nothing wrong", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1")
			s.budget("web", "web", 1, 2)
		}},
		{name: "a kubeconfig of another cluster", change: func(s *stock) {
			for i := range s.Nodes {
				s.Nodes[i].ProviderID += "-other"
			}
		}, refused: "other-cluster", says: "of 3 instances in service of cluster demo only 0"},
		{name: "most have not joined", change: func(s *stock) { s.Nodes = s.Nodes[:1] }, refused: "other-cluster", says: "only 1"},
		{name: "most may be booting", change: func(s *stock) {
			s.Nodes = s.Nodes[:1]
			for i := range 2 {
				s.Instances[i+1].LaunchedAt = now.Add(-time.Minute)
			}
		}},
		{name: "most have not joined for long", change: func(s *stock) {
			s.Nodes = s.Nodes[:1]
			for i := range 2 {
				s.Instances[i+1].LaunchedAt = now.Add(-time.Hour)
			}
		}, refused: "other-cluster", says: "only 1"},
		{name: "none has joined, and all may be booting", change: func(s *stock) {
			s.Nodes = nil
			for i := range s.Instances {
				s.Instances[i].LaunchedAt = now.Add(-time.Minute)
			}
		}, refused: "other-cluster", says: "only 0"},
		{name: "one has not joined", change: func(s *stock) { s.Nodes = s.Nodes[:2] }},
		{name: "those that boot do not count", change: func(s *stock) {
			for i := range 2 {
				s.Instances[i].State, s.Nodes[i].ProviderID = model.InstancePending, "x"
			}
		}},
		{name: "a node without provider id", change: func(s *stock) { s.Nodes[2].ProviderID = "" }, warned: "no-provider-id", says: "node-i-3"},
		{name: "the driver says no", change: func(s *stock) {
			s.Groups[0].Diagnostics = []model.Diagnostic{{Severity: model.SeverityError, Code: "instance-refresh", Summary: "group web is being refreshed", Detail: "wait"},
				{Severity: model.SeverityWarning, Code: "odd", Summary: "hm", Detail: "look"}}
		}, refused: "instance-refresh", warned: "odd", says: "being refreshed"},
		{name: "an unmanaged pod", change: func(s *stock) { s.pod("lonely", "", "node-i-1").Owner = model.WorkloadKey{} }, refused: "unmanaged-pods", says: "default/lonely"},
		{name: "an unmanaged pod that may go", change: func(s *stock) { s.pod("lonely", "", "node-i-1").Owner = model.WorkloadKey{} },
			spec: func(s *plan.Spec) { s.Drain.UnmanagedPods = plan.UnmanagedEvict }},
		{name: "an unmanaged pod on a node that stays", change: func(s *stock) { s.pod("lonely", "", "node-i-3").Owner = model.WorkloadKey{} }},
		{name: "an unmanaged pod that has ended", change: func(s *stock) {
			p := s.pod("lonely", "", "node-i-1")
			p.Owner, p.Phase = model.WorkloadKey{}, "Failed"
		}},
		{name: "more than can be named", change: func(s *stock) {
			for i := range 7 {
				s.pod(fmt.Sprintf("lonely-%d", i), "", "node-i-1").Owner = model.WorkloadKey{}
			}
		}, refused: "unmanaged-pods", says: "default/lonely-4 and 2 more"},
		{name: "several budgets over one pod", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1")
			s.budget("z", "web", 1, 2)
			s.budget("a", "web", 1, 2)
		}, refused: "several-budgets", says: "default/web-1 (a, z)"},
		{name: "a budget that never allows", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1")
			s.budget("web", "web", 2, 2)
		}, refused: "budget-never-allows", says: "wants 2 of 2"},
		{name: "a budget that never allows, elsewhere", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-3")
			s.budget("web", "web", 2, 2)
		}},
		{name: "a budget of another namespace", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1").Namespace = "other"
			s.budget("web", "web", 2, 2)
		}},
		{name: "refusals in a stable order", change: func(s *stock) {
			s.pod("web-1", "web", "node-i-1")
			s.budget("web", "web", 2, 2)
			s.pod("lonely", "", "node-i-1").Owner = model.WorkloadKey{}
			s.Groups[0].Traits.Refill = model.RefillNobody
		}, refused: "budget-never-allows cannot-replace unmanaged-pods"},
		{name: "a group with nothing to replace is not judged", change: func(s *stock) {
			s.group("idle", model.RoleNode, 0).Traits = model.Traits{}
		}},
		{name: "two rotations hold groups", change: func(s *stock) {
			s.Groups[0].HeldBy = "r1"
			s.group("idle", model.RoleNode, 0).HeldBy = "r2"
		}, refused: "held"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := three(2)
			tc.change(s)
			p := build(t, spec(tc.spec), s.Inventory)
			if codes(p.Refusals) != tc.refused && !(tc.refused == "held" && len(p.Refusals) == 1) {
				t.Errorf("refused %q, want %q", codes(p.Refusals), tc.refused)
			}
			if codes(p.Warnings) != tc.warned {
				t.Errorf("warned %q, want %q", codes(p.Warnings), tc.warned)
			}
			if all := append(p.Refusals, p.Warnings...); tc.says != "" && (len(all) == 0 || !strings.Contains(all[0].Message, tc.says)) {
				t.Errorf("got %+v, want it to say %q", all, tc.says)
			}
		})
	}
}

func TestLeftovers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*stock)
		want   bool
	}{
		{"none", func(*stock) {}, false},
		{"surge", func(s *stock) { s.Groups[0].Surge = 1 }, true},
		{"a hold", func(s *stock) { s.Groups[0].HeldBy = "r1" }, true},
		{"a taint", func(s *stock) { s.Nodes[2].Taints = []model.Taint{{Key: model.TaintOutdated}} }, true},
		{"a cordon of ours", func(s *stock) { s.Nodes[2].Annotations = map[string]string{model.AnnotationCordoned: "true"} }, true},
		{"a shield from the autoscaler", func(s *stock) { s.Nodes[2].Annotations = map[string]string{model.AnnotationShielded: model.Absent} }, true},
		{"an exclusion from load balancers", func(s *stock) { s.Nodes[2].Annotations = map[string]string{model.AnnotationExcluded: "true"} }, true},
		{"a cordon of a person", func(s *stock) { s.Nodes[2].Unschedulable = true }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := three(0)
			tc.change(s)
			p := build(t, spec(nil), s.Inventory)
			if p.Leftovers() != tc.want || p.Nodes() != 0 {
				t.Errorf("leftovers %v of %d nodes, want %v of 0", p.Leftovers(), p.Nodes(), tc.want)
			}
		})
	}
}

func TestBuildDrain(t *testing.T) {
	s := three(0)
	s.pod("web-1", "web", "node-i-2")
	s.pod("lonely", "", "node-i-3").Owner = model.WorkloadKey{}
	p, err := plan.BuildDrain(spec(nil), s.Inventory, "node-i-2", now)
	if err != nil || p.Nodes() != 1 || p.Groups[0].Nodes[0].Node != "node-i-2" || p.Groups[0].Nodes[0].Pods != 1 || len(p.Refusals) > 0 {
		t.Errorf("got %+v, %v; want a drain of node-i-2 with one pod", p, err)
	}
	if p, _ := plan.BuildDrain(spec(nil), s.Inventory, "node-i-3", now); codes(p.Refusals) != "unmanaged-pods" {
		t.Errorf("got %+v, want a refusal because of the unmanaged pod", p.Refusals)
	}
	var sel *plan.SelectionError
	if _, err := plan.BuildDrain(spec(nil), s.Inventory, "node-x", now); !errors.As(err, &sel) || !strings.Contains(err.Error(), "node-x") {
		t.Errorf("got %v, want a SelectionError that names node-x", err)
	}
}

// TestSamePlanTwice: nothing hangs on the order of what was found.
func TestSamePlanTwice(t *testing.T) {
	s := three(3)
	for i := range 9 {
		s.pod(fmt.Sprintf("w-%d", i), "w", fmt.Sprintf("node-i-%d", 1+i%3))
	}
	s.budget("b", "w", 9, 9)
	s.budget("a", "w", 9, 9)
	first := build(t, spec(nil), s.Inventory)
	for _, reverse := range []func(){func() { slices.Reverse(s.Instances) }, func() { slices.Reverse(s.Nodes) }, func() { slices.Reverse(s.Pods) }, func() { slices.Reverse(s.Budgets) }} {
		reverse()
		if diff := cmp.Diff(first, build(t, spec(nil), s.Inventory)); diff != "" {
			t.Errorf("another order, another plan:\n%s", diff)
		}
	}
}

// What runs the API server needs a lock that outlives the end of one.
func TestControlPlaneNeedsALongLock(t *testing.T) {
	for _, tc := range []struct {
		name     string
		role     model.Role
		lock     time.Duration
		refusals int
	}{
		{"30 s and a control plane", model.RoleControlPlane, 30 * time.Second, 1},
		{"120 s and a control plane", model.RoleControlPlane, 120 * time.Second, 0},
		{"30 s and workers", model.RoleNode, 30 * time.Second, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &stock{}
			s.group("g", tc.role, 1)
			s.instance("g", "i-1", 1, "revision")
			asked := plan.Spec{Cluster: "demo", Select: plan.Select{Roles: []string{string(tc.role)}},
				Strategy: plan.Strategy{MaxSurge: "1"}, Lock: plan.Lock{Duration: tc.lock}}
			p, err := plan.Build(asked, s.Inventory, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			found := slices.DeleteFunc(p.Refusals, func(f plan.Finding) bool { return f.Code != "lock-too-short" })
			if len(found) != tc.refusals {
				t.Errorf("refusals %+v", p.Refusals)
			}
		})
	}
}

// The control plane goes one node at a time and without surge, whatever the
// strategy says; its only node goes only where that is allowed in so many words.
func TestControlPlaneSize(t *testing.T) {
	for _, tc := range []struct {
		name     string
		machines int // in groups of one machine each
		allow    bool
		refused  bool
	}{
		{"three machines", 3, false, false},
		{"one machine", 1, false, true},
		{"one machine, and that is allowed", 1, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &stock{}
			for i := range tc.machines {
				id := fmt.Sprint("masters-", i)
				s.group(id, model.RoleControlPlane, 1)
				s.instance(id, "i-"+id, 1, "revision")
			}
			p, err := plan.Build(plan.Spec{Cluster: "demo", Select: plan.Select{Roles: []string{"control-plane"}, Groups: []string{"masters-0"}},
				Strategy: plan.Strategy{MaxSurge: "100%", AllowSingleControlPlane: tc.allow}, Lock: plan.Lock{Duration: 2 * time.Minute}}, s.Inventory, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.ContainsFunc(p.Refusals, func(f plan.Finding) bool { return f.Code == "single-control-plane" }); got != tc.refused {
				t.Errorf("refused: %v, want %v: %+v", got, tc.refused, p.Refusals)
			}
			if g := p.Groups[0]; g.Surge != 0 || g.Unavailable != 1 {
				t.Errorf("surge %d, unavailable %d; want 0 and 1", g.Surge, g.Unavailable)
			}
		})
	}
}

// A node that carries a wish for its replacement is outdated, however new its
// instance.
func TestNodesMarkedForReplacement(t *testing.T) {
	for _, a := range []string{"rotatord.github.io/replace", "kops.k8s.io/needs-update"} {
		s := three(0)
		s.Nodes[1].Annotations = map[string]string{a: ""}
		p := build(t, spec(nil), s.Inventory)
		if len(p.Groups[0].Nodes) != 1 || p.Groups[0].Nodes[0].Node != s.Nodes[1].Name || p.Groups[0].Nodes[0].Reasons[0].Code != "marked" {
			t.Errorf("%s: planned %+v, want node %s, marked", a, p.Groups[0].Nodes, s.Nodes[1].Name)
		}
	}
}

// Without the API server nobody can tell whether the instances are nodes of the
// right cluster: the plan says so, and wants a hold at the provider instead.
func TestCloudOnly(t *testing.T) {
	s := three(3)
	s.Nodes, s.Pods, s.Budgets = nil, nil, nil
	cloudOnly := spec(func(s *plan.Spec) { s.CloudOnly = true })
	codes := func(list []plan.Finding) (out []string) {
		for _, f := range list {
			out = append(out, f.Code)
		}
		return out
	}
	p := build(t, cloudOnly, s.Inventory)
	if len(p.Refusals) > 0 || !slices.Contains(codes(p.Warnings), "cloud-only") {
		t.Errorf("refusals %v, warnings %v; want none and cloud-only", codes(p.Refusals), codes(p.Warnings))
	}
	for i := range s.Groups {
		s.Groups[i].Traits.Prepare = false
	}
	if p := build(t, cloudOnly, s.Inventory); !slices.Contains(codes(p.Refusals), "cannot-hold") {
		t.Errorf("a group that cannot be held: refusals %v, want cannot-hold", codes(p.Refusals))
	}
	for i := range s.Groups {
		s.Groups[i].Traits.Prepare, s.Groups[i].Traits.Refill = true, model.RefillScheduler
	}
	if p := build(t, cloudOnly, s.Inventory); !slices.Contains(codes(p.Refusals), "cannot-replace") {
		t.Errorf("a group that pending pods refill: refusals %v, want cannot-replace", codes(p.Refusals))
	}
	for i := range s.Groups {
		s.Groups[i].Traits.Refill = model.RefillGroup
	}
	for i := range s.Groups {
		s.Groups[i].Traits.Prepare, s.Groups[i].Role = true, model.RoleControlPlane
	}
	masters := spec(func(s *plan.Spec) { s.CloudOnly, s.Select.Roles = true, []string{"control-plane"} })
	if p := build(t, masters, s.Inventory); !slices.Equal(codes(p.Refusals), []string{"no-pause"}) {
		t.Errorf("a control plane without a pause: refusals %v, want no-pause", codes(p.Refusals))
	}
	masters.Strategy.Waits.BetweenDrains = time.Minute
	if p := build(t, masters, s.Inventory); len(p.Refusals) > 0 {
		t.Errorf("a control plane with a pause: refusals %v, want none", codes(p.Refusals))
	}
	for i := range s.Groups {
		s.Groups[i].Role = model.RoleNode
	}
	if p := build(t, spec(nil), s.Inventory); !slices.Contains(codes(p.Refusals), "other-cluster") {
		t.Errorf("with the API server: refusals %v, want other-cluster", codes(p.Refusals))
	}
}

// What a driver warns of a group is said where nothing is outdated too: it may be
// why. What it only notes, or what would stop a rotation, is not.
func TestWarningsOfCurrentGroups(t *testing.T) {
	s := three(0)
	for i := range s.Groups {
		s.Groups[i].Diagnostics = []model.Diagnostic{
			{Severity: model.SeverityWarning, Code: "group-not-applied", Summary: "it was changed", Detail: "apply it"},
			{Severity: model.SeverityInfo, Code: "noted", Summary: "noted"}, {Severity: model.SeverityError, Code: "cannot", Summary: "it cannot be rotated"},
		}
	}
	p := build(t, spec(func(*plan.Spec) {}), s.Inventory)
	var codes []string
	for _, f := range p.Warnings {
		codes = append(codes, f.Code)
	}
	if !slices.Equal(codes, []string{"group-not-applied"}) || len(p.Refusals) > 0 || p.Nodes() != 0 {
		t.Errorf("warnings %v, refusals %+v, %d nodes to replace; want group-not-applied, none and none", codes, p.Refusals, p.Nodes())
	}
}
