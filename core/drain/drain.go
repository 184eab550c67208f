// Package drain holds the decisions of a drain: which pods leave a node, in
// which order, and what stops them. It is pure; the engine keeps the state and
// the cluster port makes the calls.
package drain

import (
	"cmp"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// Action is what a drain does with one pod.
type Action int

// Actions.
const (
	// Evict: the pod must leave, by the eviction API.
	Evict Action = iota
	// Wait: the pod goes by itself; the node is not drained before it has.
	Wait
	// Leave: the pod stays until the instance goes.
	Leave
)

// Reasons to leave a pod where it is, and to wait for one.
const (
	LeaveMirror      = "mirror"      // a static pod: the API cannot evict it
	LeaveDaemonSet   = "daemonset"   // its controller would put it back on the node
	LeaveFinished    = "finished"    // its containers have ended for good
	LeaveRule        = "rule"        // a rule skips it
	LeaveReturned    = "returned"    // it tolerates the cordon and came back after its eviction
	LeaveUnreachable = "unreachable" // its end was due long ago, and the node cannot confirm it
	LeaveStuck       = "stuck"       // its end was due long ago, and the policy is force

	WaitEnding       = "ending"         // it is terminating
	WaitCompletion   = "completion"     // a rule lets it run to its end
	WaitDoNotDisrupt = "do-not-disrupt" // an annotation of its own forbids to evict it
	WaitReturns      = "returns"        // it comes back after each eviction, and a budget protects it
	WaitLostLabel    = "lost-label"     // it selects a label that new nodes lack, and fits no other
)

// stuckAfter is how long after its due end a terminating pod is waited for on a
// node that does not answer, or once a drain is forced: nothing there can confirm the end, and the API server
// keeps such a pod for ever. Karpenter waits as long (IsStuckTerminating) before
// it takes a terminating pod for stuck; kubectl drain and Cluster API have the
// same rule with a time of the user's (--skip-wait-for-delete-timeout).
const stuckAfter = time.Minute

// Circumstances of a decision, beside the pod itself.
type Circumstances struct {
	Now time.Time
	// Unreachable: the node's kubelet does not answer (Ready is Unknown).
	Unreachable bool
	// Returned: the pod came onto the node during its drain, as others of its
	// controller have left it.
	Returned bool
	// Returns: besides, a budget protects it, and evicting it again has not helped.
	Returns bool
	// Homeless: evicted, it would find no node, for want of a label.
	Homeless bool
	// Forced: the deadline has passed under the policy force. What asks to be left
	// alone is evicted then, and what should have ended is not waited for; budgets
	// count as before.
	Forced bool
}

// Decision about one pod.
type Decision struct {
	Action Action
	Why    string // a code of Leave or Wait; for Evict: what was overridden, mostly nothing
	Place  Place
	// Until is when time alone may change the decision; zero: never.
	Until time.Time
}

// Place in the order of a drain: pods of one place leave together, once those
// of the places before it have left.
type Place struct {
	Tier  int // TierOrdinary and so on
	Order int // of the pod's rule, within the tier
}

// Tiers, in order. Those of Karpenter's terminator.
const (
	TierOrdinary = iota
	TierDaemon
	TierCritical
	TierCriticalDaemon
)

// Before tells whether p leaves before q.
func (p Place) Before(q Place) bool {
	return cmp.Or(cmp.Compare(p.Tier, q.Tier), cmp.Compare(p.Order, q.Order)) < 0
}

// SystemCritical is the priority of system-cluster-critical, the lower of the
// two critical classes of Kubernetes.
const SystemCritical = 2_000_000_000

func tier(p *model.Pod) int {
	t := TierOrdinary
	if p.Priority >= SystemCritical {
		t = TierCritical
	}
	if p.Owner.Kind == kindDaemonSet || p.ToleratesCordon {
		t++
	}
	return t
}

const (
	kindDaemonSet = "DaemonSet"
	kindJob       = "Job"
)

// Decide says what to do with a pod on a node that is drained.
func (p *Policy) Decide(pod *model.Pod, c Circumstances) Decision {
	rule := p.match(pod)
	d := Decision{Place: Place{Tier: tier(pod)}}
	if rule != nil {
		d.Place.Order = rule.Order
	}
	leave := func(why string) Decision { d.Action, d.Why = Leave, why; return d }
	wait := func(why string) Decision { d.Action, d.Why = Wait, why; return d }
	switch {
	case pod.Mirror:
		return leave(LeaveMirror)
	case pod.Owner.Kind == kindDaemonSet && p.DaemonSets != DaemonSetsLast:
		return leave(LeaveDaemonSet)
	case pod.Finished():
		return leave(LeaveFinished)
	case rule != nil && rule.Action == ActionSkip:
		return leave(LeaveRule)
	case pod.Terminating:
		if ends := pod.Details().EndsBy; (c.Unreachable || c.Forced) && !ends.IsZero() {
			if d.Until = ends.Add(stuckAfter); !c.Now.Before(d.Until) {
				d.Until = time.Time{}
				if c.Unreachable {
					return leave(LeaveUnreachable)
				}
				return leave(LeaveStuck)
			}
		}
		if c.Returned {
			return leave(LeaveReturned)
		}
		return wait(WaitEnding)
	case c.Returned:
		return leave(LeaveReturned)
	case c.Returns:
		return wait(WaitReturns)
	case rule != nil && rule.Action == ActionWait && !c.Forced:
		return wait(WaitCompletion)
	case c.Homeless && !c.Forced:
		return wait(WaitLostLabel)
	case c.Homeless:
		d.Why = WaitLostLabel
	case rule != nil && rule.Action == ActionWait:
		d.Why = WaitCompletion
	case Held(pod, c.Now):
		// A rule that evicts it, the policy, or the end of all patience overrides it.
		if (rule == nil || rule.Action != ActionEvict) && p.DoNotDisrupt != DoNotDisruptEvict && !c.Forced {
			d.Until = pod.Details().DoNotDisruptUntil
			return wait(WaitDoNotDisrupt)
		}
		d.Why = WaitDoNotDisrupt
	}
	return d
}

// Held tells whether an annotation of the pod forbids to evict it now.
func Held(pod *model.Pod, now time.Time) bool {
	d := pod.Details()
	return d.DoNotDisrupt != "" && (d.DoNotDisruptUntil.IsZero() || now.Before(d.DoNotDisruptUntil))
}

// NeedsRoom tells whether the pod, or another in its place, is to run elsewhere once its
// node has gone: it is evicted, or a rule leaves it until the instance goes, and its
// controller makes another then.
func (p *Policy) NeedsRoom(pod *model.Pod, now time.Time) bool {
	d := p.Decide(pod, Circumstances{Now: now})
	return d.Action == Evict ||
		d.Why == LeaveRule && !pod.Terminating && !Unmanaged(pod) && pod.Owner.Kind != kindJob && pod.Owner.Kind != kindDaemonSet
}

// Returns tells whether evicting the pod may put another of its controller on the
// same node: cordons do not keep it away.
func Returns(pod *model.Pod) bool { return pod.Owner.Kind == kindDaemonSet || pod.ToleratesCordon }

// Candidate is a pod with what was decided about it.
type Candidate struct {
	Pod *model.Pod
	Decision
}

// Sort puts candidates in the order in which they are evicted: by place, the
// less important first, then by name, so that two looks at the same node agree.
func Sort(list []Candidate) {
	slices.SortFunc(list, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(a.Place.Tier, b.Place.Tier),
			cmp.Compare(a.Place.Order, b.Place.Order),
			cmp.Compare(a.Pod.Priority, b.Pod.Priority),
			cmp.Compare(a.Pod.Namespace, b.Pod.Namespace),
			cmp.Compare(a.Pod.Name, b.Pod.Name))
	})
}

// Unmanaged tells whether nothing would make the pod again elsewhere.
func Unmanaged(p *model.Pod) bool {
	return p.Owner == (model.WorkloadKey{}) && !p.Mirror && !p.Finished()
}
