package plan_test

import (
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// fill puts one pod on each node that asks for three of its four cores.
func fill(s *stock) {
	for i, n := range s.Nodes {
		p := s.pod("web-"+string(rune('a'+i)), "web", n.Name)
		p.Traits = &model.PodTraits{Requests: model.Resources{MilliCPU: 3000, Pods: 1}}
	}
}

func TestCapacityCheck(t *testing.T) {
	full := "default/web-a on node-i-1 (none of 2 nodes: 2 lack cpu (asks 3, at most 1 free))"
	for _, tc := range []struct {
		name     string
		change   func(*stock)
		strategy func(*plan.Strategy)
		refusals string
		warnings string
		says     string // in the first finding
	}{
		{name: "the default surge brings the room", strategy: func(s *plan.Strategy) { s.MaxSurge, s.MaxUnavailable = "1", "0" }},
		{name: "the surge is up since an earlier run, and has pods", change: func(s *stock) {
			s.Groups[0].Surge, s.Groups[0].HeldBy = 1, "r-1"
		}, strategy: func(s *plan.Strategy) { s.MaxSurge, s.MaxUnavailable = "1", "0" }, warnings: "pods-do-not-fit", says: full},
		{name: "a full cluster without surge", refusals: "pods-do-not-fit", says: full},
		{name: "only warned", strategy: func(s *plan.Strategy) { s.CapacityCheck = plan.CapacityWarn }, warnings: "pods-do-not-fit", says: full},
		{name: "not looked at", strategy: func(s *plan.Strategy) { s.CapacityCheck = plan.CapacityOff }},
		{name: "an autoscaler may add room", change: func(s *stock) {
			s.pod("as-1", "aws-cluster-autoscaler", "node-i-3").Labels = map[string]string{"app.kubernetes.io/name": "aws-cluster-autoscaler"}
		}, warnings: "pods-do-not-fit", says: "the autoscaler default/as-1 may add room"},
		{name: "an autoscaler that does not run", change: func(s *stock) {
			p := s.pod("as-1", "karpenter", "node-i-3")
			p.Labels, p.Ready = map[string]string{"app": "karpenter"}, false
		}, refusals: "pods-do-not-fit", says: full},
		{name: "room that was not found and exists", change: func(s *stock) {
			// The first goes to node-i-3, where the two others have to be.
			s.Pods, s.Instances[1].Reasons = nil, nil
			for i, cpu := range []int64{2000, 1250, 1250, 2000, 1500} {
				at := s.Nodes[max(0, i-2)].Name
				s.pod("p"+string(rune('a'+i)), "p"+string(rune('a'+i)), at).Traits = &model.PodTraits{Requests: model.Resources{MilliCPU: cpu, Pods: 1}}
			}
		}, warnings: "pods-do-not-fit", says: "1 of 3 pod(s) that leave may find no room"},
		{name: "room for one node at a time, and two may be missing", change: func(s *stock) {
			s.Pods = s.Pods[:2]
		}, strategy: func(s *plan.Strategy) { s.MaxUnavailable = "2" }, warnings: "pods-do-not-fit",
			says: "may find no room until a replacement is up if as many nodes go together as are allowed (cpu: 6 asked for, 4 free; fewer go at a time then)"},
		{name: "the new size of nodes is known from the first", change: func(s *stock) {
			s.Instances[0].Reasons, s.Instances[2].Reasons = nil, s.Instances[0].Reasons
			s.Nodes[0].Allocatable.MilliCPU = 2000 // current, and smaller
			s.Pods = s.Pods[1:]
		}, strategy: func(s *plan.Strategy) { s.MaxSurge, s.MaxUnavailable = "1", "0" }, refusals: "pods-do-not-fit", says: "asks 3, at most 2 free"},
		{name: "nodes that do not say what they offer", change: func(s *stock) {
			for i := range s.Nodes {
				s.Nodes[i].Allocatable = model.Resources{}
			}
		}, warnings: "capacity-unknown", says: "node node-i-1 has not reported what it offers"},
		{name: "refused for another reason: nothing more is said", change: func(s *stock) { s.Groups[0].Traits.TerminateKeep = false }, refusals: "cannot-replace", says: "no way"},
		{name: "fewer at once", change: func(s *stock) {
			s.Pods = s.Pods[:1] // one node could take it, not none
		}, strategy: func(s *plan.Strategy) { s.MaxUnavailable = "3"; s.MaxInFlight = "1" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := three(2)
			fill(s)
			if tc.change != nil {
				tc.change(s)
			}
			p := build(t, spec(func(sp *plan.Spec) {
				sp.Strategy.MaxSurge, sp.Strategy.MaxUnavailable = "0", "1"
				if tc.strategy != nil {
					tc.strategy(&sp.Strategy)
				}
			}), s.Inventory)
			if codes(p.Refusals) != tc.refusals || codes(p.Warnings) != tc.warnings {
				t.Fatalf("refused %q, warned %q; want %q and %q\n%v %v", codes(p.Refusals), codes(p.Warnings), tc.refusals, tc.warnings, p.Refusals, p.Warnings)
			}
			text := ""
			for _, f := range append(p.Refusals, p.Warnings...) {
				text += f.Message
			}
			if !strings.Contains(text, tc.says) {
				t.Errorf("%s\nmust say %s", text, tc.says)
			}
		})
	}
}

// What a rule leaves on a node until its instance goes is made anew then, and needs room
// like what is evicted; what a DaemonSet left does not.
func TestCapacityOfWhatIsLeft(t *testing.T) {
	for kind, want := range map[string]string{"ReplicaSet": "pods-do-not-fit", "StatefulSet": "pods-do-not-fit", "DaemonSet": "", "Job": ""} {
		t.Run(kind, func(t *testing.T) {
			s := three(2)
			fill(s)
			for i := range s.Pods {
				s.Pods[i].Owner.Kind = kind
			}
			p := build(t, spec(func(sp *plan.Spec) {
				sp.Strategy.MaxSurge, sp.Strategy.MaxUnavailable = "0", "1"
				sp.Drain.Rules = []drain.Rule{{Owners: []string{kind}, Action: drain.ActionSkip}}
			}), s.Inventory)
			if got := codes(p.Refusals); got != want {
				t.Errorf("refused %q, want %q: %v", got, want, p.Refusals)
			}
		})
	}
}
