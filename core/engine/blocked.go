package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

const (
	// overdueAfter is how long after its due end a terminating pod is worth a word:
	// a kubelet kills at once, and tells within seconds.
	overdueAfter = 10 * time.Second
	// graceSlack is what a kubelet has, beyond the grace period that its pods were
	// promised, before a deadline that has passed applies.
	graceSlack = 5 * time.Second
)

// wait is what one pod waits for.
type wait struct {
	code   string // stable
	budget string
	text   string // for a person: names the pod and the cause
}

// Codes of waits, beside those of package drain.
const (
	waitBudget  = "budget"
	waitBudgets = "several-budgets"
	waitTurn    = "statefulset-order"
	waitMove    = "single-replica"
	waitRefused = "refused"

	codeQuiescing = "quiescing"
	codeVolumes   = "volumes"
)

// whyBlocked says what a pod waits for. It looks at every pod under a budget,
// so it is asked only when it is to be told.
func (e *Engine) whyBlocked(m *member, p *model.Pod) wait {
	d := e.decidePod(m, p)
	detail := p.Details()
	switch {
	case d.Action == drain.Wait && d.Why == drain.WaitEnding:
		return wait{code: d.Why, text: e.whyEnding(m, p, false)}
	case d.Action == drain.Wait && d.Why == drain.WaitCompletion:
		return wait{code: d.Why, text: fmt.Sprintf("pod %s runs to its end, as a rule has it", p.PodKey)}
	case d.Action == drain.Wait && d.Why == drain.WaitReturns:
		return wait{code: d.Why, text: fmt.Sprintf("pod %s tolerates the cordon and comes back after each eviction, and budget %s protects it: narrow its tolerations, or make other nodes fit", p.PodKey, budgetNames(e.w.budgetsOf(p)))}
	case d.Action == drain.Wait && d.Why == drain.WaitLostLabel:
		return wait{code: d.Why, text: e.whyHomeless(m, p)}
	case d.Action == drain.Wait:
		s := fmt.Sprintf("pod %s asks not to be disrupted (%s)", p.PodKey, detail.DoNotDisrupt)
		if until := detail.DoNotDisruptUntil; !until.IsZero() {
			s += " until " + until.UTC().Format(time.RFC3339)
		}
		return wait{code: d.Why, text: s}
	}
	if why := e.whyHeld(p); why != "" {
		return wait{code: waitMove, text: why}
	}
	if why := e.outOfTurn(p); why != "" {
		return wait{code: waitTurn, text: why}
	}
	budgets := e.w.budgetsOf(p)
	if len(budgets) > 1 {
		return wait{code: waitBudgets, text: fmt.Sprintf("pod %s is selected by %d budgets (%s): the eviction API refuses it", p.PodKey, len(budgets), budgetNames(budgets))}
	}
	if len(budgets) == 1 {
		if ok, _ := drain.Permits(&budgets[0].Budget, p, budgets[0].Allowed); !ok {
			return wait{code: waitBudget, budget: budgets[0].BudgetKey.String(), text: e.blockedBy(budgets[0], p)}
		}
	}
	if s := e.pods[p.UID]; s != nil && s.refusal != "" {
		return wait{code: waitRefused, text: s.refusal}
	}
	return wait{text: fmt.Sprintf("pod %s waits for its eviction", p.PodKey)}
}

// whyEnding says why a terminating pod may still be there; exact: with the moment at
// which it was to end, and not how long ago that was.
func (e *Engine) whyEnding(m *member, p *model.Pod, exact bool) string {
	detail := p.Details()
	s := fmt.Sprintf("pod %s has not ended", p.PodKey)
	switch late := e.now.Sub(detail.EndsBy); {
	case detail.EndsBy.IsZero() || late < time.Second:
	case exact:
		s = fmt.Sprintf("pod %s was to end by %s", p.PodKey, detail.EndsBy.UTC().Format(moment))
	default:
		s = fmt.Sprintf("pod %s was to end %s ago", p.PodKey, late.Truncate(time.Second))
	}
	if detail.Finalizers != "" {
		s += "; held by finalizers " + detail.Finalizers
	}
	if n := e.w.nodes[m.node]; n != nil && n.Unreachable {
		s += "; its node does not answer"
	}
	return s
}

func budgetNames(budgets []*budget) string {
	names := make([]string, len(budgets))
	for i, b := range budgets {
		names[i] = b.Name
	}
	return strings.Join(names, ", ")
}

func (e *Engine) blockedBy(b *budget, p *model.Pod) string {
	s := fmt.Sprintf("pod %s waits for budget %s: disruptionsAllowed %d, %d of %d healthy, %d wanted", p.PodKey, b.BudgetKey,
		b.Allowed, b.CurrentHealthy, b.Expected, b.DesiredHealthy)
	if bad := e.w.unhealthyUnder(b); len(bad) > 0 {
		s += "; not ready: " + strings.Join(bad, ", ")
	}
	if cut := e.w.chargedFor(b); len(cut) > 0 {
		s += fmt.Sprintf("; charged for the eviction of %s, which was cut off: Kubernetes forgets it after two minutes", strings.Join(cut, ", "))
	}
	if b.Problem != "" {
		s += "; Kubernetes cannot count its pods: " + b.Problem
	}
	return s
}

// tellBlocked says what a drain waits for, every so often.
func (e *Engine) tellBlocked(l *leaving, blocked []*model.Pod) {
	d := &l.member.drain
	d.blocked = blocked
	for _, p := range l.waits {
		if s := e.podState(p); s.since.IsZero() {
			s.since = e.now
		}
	}
	if len(blocked) == 0 || !d.toldAt.IsZero() && !e.after(d.toldAt, reportEvery) {
		return
	}
	d.toldAt = e.now
	w := e.whyBlocked(l.member, blocked[0])
	e.record(event.Event{Kind: event.NodeBlocked, Group: l.group.Name, Node: l.member.node, Instance: l.member.inst.ID,
		Pod: blocked[0].PodKey.String(), Budget: w.budget, Message: e.blockedText(l.member)})
}

// blockedText names the first pod that is blocked, why, and for how long.
func (e *Engine) blockedText(m *member) string {
	p := m.drain.blocked[0]
	w := e.whyBlocked(m, p)
	s := w.text
	if d := e.now.Sub(e.podState(p).since).Truncate(time.Second); d > 0 && w.code != drain.WaitEnding { // whyEnding says it
		s += fmt.Sprintf("; for %s", d)
	}
	return s + more(len(m.drain.blocked))
}

// overdue tells whether a terminating pod should have ended by now.
func (e *Engine) overdue(p *model.Pod) bool {
	at := overdueAt(p)
	return !at.IsZero() && e.after(at, 0)
}

// overdueAt is when a terminating pod counts as overdue; zero: nobody has said when
// it ends.
func overdueAt(p *model.Pod) time.Time {
	ends := p.Details().EndsBy
	if ends.IsZero() {
		return ends
	}
	return ends.Add(overdueAfter)
}

// withinGrace tells until when the pods that are left on the node are still
// within the grace period that they were given; zero: not all of them are.
func (e *Engine) withinGrace(m *member) time.Time {
	var until time.Time
	for _, p := range m.at.list {
		d := e.decidePod(m, p)
		if d.Action == drain.Leave {
			continue
		}
		due := p.Details().EndsBy.Add(graceSlack)
		if d.Action != drain.Wait || d.Why != drain.WaitEnding || !due.After(e.now) {
			return time.Time{}
		}
		if due.After(until) {
			until = due
		}
	}
	return until
}

// overrides says what an eviction overrides.
func (e *Engine) overrides(m *member, p *model.Pod, why string) string {
	switch why {
	case drain.WaitLostLabel:
		return e.whyHomeless(m, p) + ": it is evicted all the same, since the deadline has passed and the policy is force"
	case drain.WaitCompletion:
		return fmt.Sprintf("pod %s is evicted before its end: the deadline has passed, and the policy is force", p.PodKey)
	}
	return fmt.Sprintf("pod %s is evicted although it asks not to be disrupted (%s)", p.PodKey, p.Details().DoNotDisrupt)
}

// tellOverridden records, before it is done, that a pod is treated otherwise than
// it or its budget asks for.
func (e *Engine) tellOverridden(l *leaving, p *model.Pod, code, text string) {
	s := e.podState(p)
	if s.told == code {
		return // another try
	}
	s.told = code
	e.record(event.Event{Kind: event.PodOverridden, Group: l.group.Name, Node: l.member.node, Instance: l.member.inst.ID,
		Pod: p.PodKey.String(), Code: code, Message: text})
}

// tellLeft records that a pod that should have left is not waited for any more.
func (e *Engine) tellLeft(l *leaving, p *model.Pod, why string) {
	switch why {
	case drain.LeaveUnreachable, drain.LeaveStuck:
		e.tellOverridden(l, p, why, e.whyEnding(l.member, p, false)+": it is not waited for any more")
	case drain.LeaveReturned:
		if p.Owner.Kind != "DaemonSet" { // those always come back
			e.tellOverridden(l, p, why, fmt.Sprintf("pod %s tolerates the cordon and came back: it stays until its instance ends", p.PodKey))
		}
	}
}

// tellAllLeft records which pods a node is left with that should have gone: the last of
// them are not told of before, since the node is empty without them.
func (e *Engine) tellAllLeft(g *group, m *member) {
	var left []drain.Candidate
	for _, p := range e.w.podsOn(m.node) {
		if d := e.decidePod(m, p); d.Action == drain.Leave {
			left = append(left, drain.Candidate{Pod: p, Decision: d})
		}
	}
	drain.Sort(left)
	for _, c := range left {
		e.tellLeft(&leaving{group: g, member: m}, c.Pod, c.Why)
	}
}

// forceText says what the policy force does from now on.
func (e *Engine) forceText() string {
	if e.cfg.Spec.Drain.DeletePodsDespiteBudgets {
		return "pods are deleted now where their eviction is refused, ALSO AGAINST THEIR BUDGETS, as drain.deletePodsDespiteBudgets has it"
	}
	return "what asks to be left alone is evicted now, and pods that no budget protects are deleted where that is refused"
}

func sortPods(pods []*model.Pod) {
	slices.SortFunc(pods, func(a, b *model.Pod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}
