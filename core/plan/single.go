package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// Single is a workload that an eviction would take down, or that its budget
// never lets go: what the plan does with it.
type Single struct {
	Workload string `json:"workload"` // "Deployment shop/cart"
	Budget   string `json:"budget,omitempty"`
	// Way is evict, restart or surge; Why, where restart or surge was asked for and
	// cannot be: the reason.
	Way drain.Way `json:"way"`
	Why string    `json:"why,omitempty"`
	// Down: it has one replica and is moved by eviction.
	Down bool `json:"down"`
}

// way is what the spec asks for.
func (s SingleReplica) way() drain.Way {
	switch s {
	case SingleRestart:
		return drain.ByRestart
	case SingleSurge:
		return drain.BySurge
	case SingleEvict, SingleRefuse, "":
	}
	return drain.ByEviction
}

// singles finds the workloads of one replica, and those whose budget never
// allows an eviction, among the pods that will leave their nodes.
type singles struct {
	want        drain.Way
	workloads   map[model.WorkloadKey]*model.Workload
	deployments map[model.WorkloadKey]*model.Deployment
	autoscalers map[model.WorkloadKey]string
	shared      map[model.ClaimKey]bool
	found       map[string]Single // by workload
}

func newSingles(spec Spec, inv *model.Inventory) *singles {
	s := &singles{want: spec.Drain.SingleReplica.way(), workloads: make(map[model.WorkloadKey]*model.Workload, len(inv.Workloads)),
		deployments: make(map[model.WorkloadKey]*model.Deployment, len(inv.Deployments)),
		autoscalers: make(map[model.WorkloadKey]string), shared: make(map[model.ClaimKey]bool), found: make(map[string]Single)}
	for i := range inv.Workloads {
		s.workloads[inv.Workloads[i].WorkloadKey] = &inv.Workloads[i]
	}
	for i := range inv.Deployments {
		s.deployments[inv.Deployments[i].WorkloadKey] = &inv.Deployments[i]
	}
	for _, a := range inv.Autoscalers {
		if was := s.autoscalers[a.Target]; was == "" || a.String() < was {
			s.autoscalers[a.Target] = a.String()
		}
	}
	for _, c := range inv.Claims {
		s.shared[c.ClaimKey] = c.Shared
	}
	return s
}

// look takes one pod that will leave, with the budget over it (nil: none), and
// tells whether it is moved in a way that asks no budget. Where ours is false,
// a provider drains: it evicts, and knows no other way.
func (s *singles) look(p *model.Pod, b *model.Budget, ours bool) (moved bool) {
	want := s.want
	if !ours {
		want = drain.ByEviction
	}
	w := s.workloads[p.Owner]
	if w == nil || w.Kind == "DaemonSet" {
		return false // a Job's pod, or one of a controller that is not known
	}
	never := b != nil && drain.NeverAllows(b)
	found := Single{Workload: w.WorkloadKey.String(), Way: drain.ByEviction, Down: w.Desired == 1}
	d := s.deployments[w.Owner]
	switch {
	case d != nil:
		found.Workload = d.WorkloadKey.String()
		single := drain.Single{Deployment: d, Budget: b, Autoscaler: s.autoscalers[d.WorkloadKey]}
		for _, name := range p.Claims {
			if !s.shared[model.ClaimKey{Namespace: p.Namespace, Name: name}] {
				single.Exclusive = name
			}
		}
		if !single.Needed() {
			return false
		}
		found.Way, found.Why = single.Way(want)
		found.Down = d.Replicas == 1 && found.Way == drain.ByEviction
	case !found.Down && !never:
		return false
	case want != drain.ByEviction:
		found.Why = fmt.Sprintf("no Deployment can start a pod of a %s before the old one ends", w.Kind)
	}
	if never {
		found.Budget = b.BudgetKey.String()
	}
	s.found[found.Workload] = found
	return found.Way != drain.ByEviction
}

// why says what keeps the workloads under a budget from being moved in another
// way; empty: nothing was asked for.
func (s *singles) why(k model.BudgetKey) string {
	var reasons []string
	for _, f := range s.found {
		if f.Budget == k.String() && f.Why != "" {
			reasons = append(reasons, fmt.Sprintf("; %s cannot be moved by %s: %s", f.Workload, s.want, f.Why))
		}
	}
	slices.Sort(reasons)
	return strings.Join(reasons[:min(len(reasons), 3)], "")
}

// countMarks counts what rotations have left on nodes and Deployments.
func (b *builder) countMarks() {
	for i := range b.inv.Nodes {
		if b.inv.Nodes[i].Marked() {
			b.plan.MarkedNodes++
		}
	}
	for i := range b.inv.Deployments {
		if b.inv.Deployments[i].Surged() {
			b.plan.SurgedWorkloads++
		}
	}
}

// checkSingles says which workloads of one replica will be down, and which are
// moved without that.
func (b *builder) checkSingles(s *singles) {
	var down, reasons []string
	for _, f := range s.found {
		b.plan.Singles = append(b.plan.Singles, f)
	}
	slices.SortFunc(b.plan.Singles, func(x, y Single) int { return cmp.Compare(x.Workload, y.Workload) })
	for _, f := range b.plan.Singles {
		if f.Down {
			down = append(down, f.Workload)
			if f.Why != "" {
				reasons = append(reasons, f.Workload+": "+f.Why)
			}
		}
	}
	if len(down) == 0 {
		return
	}
	f := Finding{Code: "single-replica", Object: down[0],
		Message: fmt.Sprintf("%d workload(s) of one replica will be down while they move: %s", len(down), list(down)),
		Fix:     "move Deployments without downtime with drain.singleReplica: restart or surge, or give them a second replica"}
	if len(reasons) > 0 {
		f.Message += "; " + strings.Join(reasons[:min(len(reasons), 5)], "; ")
		f.Fix = "give them a second replica, or remove the reason"
	}
	if b.spec.Drain.SingleReplica == SingleRefuse {
		b.refuse(f)
		return
	}
	b.warn(f)
}
