package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// A provider drains without telling which pod holds it up: where it says anything
// it names nodes. The core watches pods and budgets, and says the rest.

// heldUp says which pods on old nodes the provider cannot evict now, and why:
// those on the nodes that its findings name, or where they name none, on all.
// Empty: none is to be seen.
func (e *Engine) heldUp(g *group, shown model.Roll) string {
	named := make(map[string]bool)
	for _, d := range shown.Diagnostics {
		for _, o := range strings.FieldsFunc(d.Object, func(r rune) bool { return r == ',' || r == ' ' }) {
			named[o] = true
		}
	}
	var on, all []*member
	for _, m := range g.members {
		if m.phase == memberGone || m.phase == memberTerminating || !m.inst.Outdated() || m.node == "" {
			continue
		}
		all = append(all, m)
		if named[m.node] || named[m.inst.ID] {
			on = append(on, m)
		}
	}
	if len(on) == 0 {
		on = all
	}
	var held []string
	for _, m := range on {
		for _, p := range m.at.list {
			if why := e.whyKept(m, p); why != "" {
				held = append(held, fmt.Sprintf("%s (on %s)", why, m.node))
			}
		}
	}
	return first(held)
}

// whyKept says why a plain eviction of a pod would be refused, or why its end
// takes too long; empty: it would not.
func (e *Engine) whyKept(m *member, p *model.Pod) string {
	switch d := e.decidePod(m, p); {
	case d.Action == drain.Wait && d.Why == drain.WaitEnding && e.overdue(p):
		s := fmt.Sprintf("pod %s should have ended and has not", p.PodKey) // no times: what changes is told anew
		if f := p.Details().Finalizers; f != "" {
			s += "; held by finalizers " + f
		}
		if m.n != nil && m.n.Unreachable {
			s += "; its node does not answer"
		}
		return s
	case d.Action == drain.Leave || p.Terminating:
		return ""
	}
	budgets := e.w.budgetsOf(p)
	switch {
	case len(budgets) > 1:
		slices.SortFunc(budgets, func(a, b *budget) int { return strings.Compare(a.Name, b.Name) })
		return fmt.Sprintf("pod %s is selected by %d budgets (%s): the eviction API refuses it", p.PodKey, len(budgets), budgetNames(budgets))
	case len(budgets) == 1:
		if ok, _ := drain.Permits(&budgets[0].Budget, p, budgets[0].Allowed); !ok {
			return e.blockedBy(budgets[0], p)
		}
	}
	return ""
}
