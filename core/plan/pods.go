package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// policies reads the rules for pods. Package config has checked those of a file;
// a spec that was made in Go is refused here.
func (b *builder) policies() {
	var err error
	if b.policy, err = b.spec.Drain.Policy(); err != nil {
		b.refuse(Finding{Code: "bad-rule", Object: "drain.rules", Message: err.Error(), Fix: "correct drain.rules"})
	}
}

// decide says what the drain of its node would do with the pod now.
func (b *builder) decide(p *model.Pod) drain.Decision {
	return b.policy.Decide(p, drain.Circumstances{Now: b.now})
}

// knownOwners are the kinds of controllers whose pods are followed, or known to be
// made again.
var knownOwners = []string{"ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"}

// checkAsks finds pods that ask for something else than to be evicted, on the
// nodes that go.
func (b *builder) checkAsks() {
	var held, waited, tolerant, stuck, strange []string
	for _, g := range b.plan.Groups {
		for _, n := range g.Nodes {
			for _, p := range b.podsOn[n.Node] {
				d := b.decide(p)
				detail := p.Details()
				if d.Action == drain.Evict && !drain.Unmanaged(p) && !slices.Contains(knownOwners, p.Owner.Kind) {
					strange = append(strange, fmt.Sprintf("%s (%s %s)", p.PodKey, p.Owner.Kind, p.Owner.Name))
				}
				switch {
				case d.Action == drain.Wait && d.Why == drain.WaitDoNotDisrupt:
					text := fmt.Sprintf("%s (%s)", p.PodKey, detail.DoNotDisrupt)
					if b.policy.DoNotDisrupt == drain.DoNotDisruptWait || p.Owner.Kind == "Job" {
						waited = append(waited, text)
					} else {
						held = append(held, text)
					}
				case d.Action == drain.Wait && d.Why == drain.WaitCompletion:
					waited = append(waited, p.String()+" (drain.rules)")
				case d.Action == drain.Wait && detail.Finalizers != "":
					stuck = append(stuck, fmt.Sprintf("%s (%s)", p.PodKey, detail.Finalizers))
				case d.Action == drain.Evict && p.ToleratesCordon && p.Owner.Kind != "DaemonSet":
					tolerant = append(tolerant, p.String())
				}
			}
		}
	}
	for _, names := range [][]string{held, waited, tolerant, stuck, strange} {
		slices.Sort(names)
	}
	if len(held) > 0 {
		b.refuse(Finding{Code: "do-not-disrupt", Object: held[0],
			Message: fmt.Sprintf("%d pod(s) ask not to be disrupted: %s", len(held), list(held)),
			Fix:     "wait for their end with drain.doNotDisrupt: wait, evict them with evict, or give them a rule in drain.rules"})
	}
	if len(waited) > 0 {
		b.warn(Finding{Code: "waits-for-pods", Object: waited[0],
			Message: fmt.Sprintf("%d pod(s) are not evicted, and their nodes wait until they have ended: %s", len(waited), list(waited)),
			Fix:     fmt.Sprintf("see that they end within drain.deadline (%s)", b.spec.Drain.Deadline)})
	}
	if len(tolerant) > 0 {
		b.warn(Finding{Code: "tolerates-cordon", Object: tolerant[0],
			Message: fmt.Sprintf("%d pod(s) tolerate the taint of a cordoned node, and may come back to the node that they are evicted from: %s", len(tolerant), list(tolerant)),
			Fix:     "nothing: those that come back are left there, unless a budget protects them; to keep them away, narrow their tolerations"})
	}
	if len(strange) > 0 {
		b.warn(Finding{Code: "unknown-owners", Object: strange[0],
			Message: fmt.Sprintf("%d pod(s) belong to controllers that are not Kubernetes' own: %s; they are evicted as others, and nothing here tells whether they are made again and get healthy", len(strange), list(strange)),
			Fix:     "see that their controllers make them again, or give them a rule in drain.rules (owners: [KIND], action: skip or wait)"})
	}
	if len(stuck) > 0 {
		b.warn(Finding{Code: "finalizers", Object: stuck[0],
			Message: fmt.Sprintf("%d pod(s) are terminating and held by finalizers: %s", len(stuck), list(stuck)),
			Fix:     "find out why whoever set them does not take them off; the drain of their nodes waits for it"})
	}
}

// checkBudgets finds budgets that cannot do what they were made for.
func (b *builder) checkBudgets() {
	labels := make(map[string][]map[string]string) // of the pods, by namespace
	loose := make(map[string][]*model.Pod)         // pods without a controller
	for i := range b.inv.Pods {
		p := &b.inv.Pods[i]
		if p.Finished() {
			continue
		}
		labels[p.Namespace] = append(labels[p.Namespace], p.Labels)
		if drain.Unmanaged(p) {
			loose[p.Namespace] = append(loose[p.Namespace], p)
		}
	}
	var idle, miscounted []string
	for i := range b.inv.Budgets {
		bud := &b.inv.Budgets[i]
		if bud.Observed && bud.Expected == 0 && bud.CurrentHealthy == 0 && bud.Problem == "" && !slices.ContainsFunc(labels[bud.Namespace], bud.Matches) {
			idle = append(idle, bud.BudgetKey.String())
		}
		// A plain minAvailable counts pods; the others count by controllers' scales.
		if bud.Scales && slices.ContainsFunc(loose[bud.Namespace], func(p *model.Pod) bool { return bud.Matches(p.Labels) }) {
			miscounted = append(miscounted, bud.BudgetKey.String()+limit(bud))
		}
		if bud.Problem == "" {
			continue
		}
		if pods := b.leavingUnder(bud); len(pods) > 0 {
			b.refuse(Finding{Code: "budget-cannot-count", Object: bud.BudgetKey.String(),
				Message: fmt.Sprintf("PodDisruptionBudget %s%s allows no eviction, since Kubernetes cannot count its pods (%s); it protects %s",
					bud.BudgetKey, limit(bud), bud.Problem, list(pods)),
				Fix: "let it select pods of controllers only, or give minAvailable as a number"})
		}
	}
	if len(miscounted) > 0 {
		slices.Sort(miscounted)
		b.warn(Finding{Code: "budget-miscounts", Object: miscounted[0],
			Message: fmt.Sprintf("%d PodDisruptionBudget(s) select pods without a controller, which Kubernetes leaves out of their sums: %s", len(miscounted), list(miscounted)),
			Fix:     "give minAvailable as a number, or narrow the selector: such a budget may allow more than it says"})
	}
	if len(idle) > 0 {
		slices.Sort(idle)
		b.warn(Finding{Code: "budget-matches-nothing", Object: idle[0],
			Message: fmt.Sprintf("%d PodDisruptionBudget(s) select no pod and protect nothing: %s", len(idle), list(idle)),
			Fix:     "compare their selectors with the pods' labels"})
	}
}

// leavingUnder names the pods that would be evicted under a budget.
func (b *builder) leavingUnder(bud *model.Budget) []string {
	var out []string
	for _, g := range b.plan.Groups {
		for _, n := range g.Nodes {
			for _, p := range b.podsOn[n.Node] {
				if p.Namespace == bud.Namespace && bud.Matches(p.Labels) && b.decide(p).Action == drain.Evict {
					out = append(out, p.String())
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// limit is what the budget asks for, in parentheses.
func limit(bud *model.Budget) string {
	if bud.Limit == "" {
		return ""
	}
	s := " (" + bud.Limit
	if strings.HasSuffix(bud.Limit, "%") {
		s += ", which rounds up"
	}
	return s + ")"
}
