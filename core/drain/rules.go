package drain

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// Policy is what a rotation says about pods. The zero value is the default: no
// rules, pods that ask not to be disrupted are waited for, DaemonSets' are left.
type Policy struct {
	DoNotDisrupt DoNotDisrupt
	DaemonSets   DaemonSets
	StatefulSets StatefulSets
	rules        []compiled
}

// DoNotDisrupt says what to do with pods that carry karpenter.sh/do-not-disrupt
// or cluster-autoscaler.kubernetes.io/safe-to-evict: "false".
type DoNotDisrupt string

// Policies for such pods.
const (
	// DoNotDisruptRefuse refuses the plan, but for pods of a Job, which end by
	// themselves; one that shows up later is waited for.
	DoNotDisruptRefuse DoNotDisrupt = "refuse"
	DoNotDisruptWait   DoNotDisrupt = "wait"  // until it has ended, or no longer asks
	DoNotDisruptEvict  DoNotDisrupt = "evict" // as any other, with an event
)

// DaemonSets says what to do with pods of DaemonSets.
type DaemonSets string

// Policies for pods of DaemonSets.
const (
	DaemonSetsLeave DaemonSets = "leave" // until the instance goes
	DaemonSetsLast  DaemonSets = "last"  // evicted after the others of their tier, once
)

// StatefulSets says how pods of StatefulSets leave whose podManagementPolicy is
// OrderedReady.
type StatefulSets string

// Policies for such pods.
const (
	StatefulSetsOrdered  StatefulSets = "ordered"  // one at a time, the highest ordinal first
	StatefulSetsParallel StatefulSets = "parallel" // as budgets allow
)

// RuleAction is what a rule does with the pods that it matches.
type RuleAction string

// Actions of rules.
const (
	ActionEvict RuleAction = "evict" // even where an annotation asks not to disrupt it
	ActionSkip  RuleAction = "skip"  // left on the node, and gone with the instance
	ActionWait  RuleAction = "wait"  // not evicted: waited for, until it has ended by itself
)

// Rule says what a drain does with some pods. Of several rules that match a pod
// the first counts. A rule must select something: one without namespaces,
// selector and owners is an error.
type Rule struct {
	// Namespaces are names or shell patterns (path.Match); none: all.
	Namespaces []string `yaml:"namespaces" json:"namespaces,omitempty"`
	// Selector of labels, as kubectl's -l has it; empty: any.
	Selector string `yaml:"selector" json:"selector,omitempty"`
	// Owners are kinds of controllers, or kind/name, where the name may be a
	// pattern: Job, StatefulSet/db-*. A Deployment's pods belong to its ReplicaSets.
	// None: any.
	Owners []string `yaml:"owners" json:"owners,omitempty"`
	// Action defaults to evict.
	Action RuleAction `yaml:"action" json:"action,omitempty"`
	// Order within a tier: lower ones leave first, equal ones together; 0 is that of
	// pods without a rule.
	Order int `yaml:"order" json:"order,omitempty"`
}

// maxOrder bounds Order in both directions: a larger one is a typing error.
const maxOrder = 1000

// compiled is a rule in a form that is quick to match.
type compiled struct {
	Rule
	selector selector
}

// NewPolicy makes a policy of rules. The error names each rule that cannot be
// used; the policy goes without those.
func NewPolicy(rules []Rule, hold DoNotDisrupt, daemons DaemonSets) (*Policy, error) {
	p := &Policy{DoNotDisrupt: hold, DaemonSets: daemons}
	var errs []error
	for i, r := range rules {
		if problems := r.Check(); len(problems) > 0 {
			for _, m := range problems {
				errs = append(errs, fmt.Errorf("rule %d: %s: %s", i+1, m.Key, m.Message))
			}
			continue
		}
		s, err := parseSelector(r.Selector)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %d: selector: %w", i+1, err))
			continue
		}
		if r.Action == "" {
			r.Action = ActionEvict
		}
		p.rules = append(p.rules, compiled{r, s})
	}
	return p, errors.Join(errs...)
}

// Problem with one key of a rule.
type Problem struct{ Key, Message string }

// Check says what is wrong with the rule; nothing: it can be used.
func (r Rule) Check() []Problem {
	var out []Problem
	add := func(key, format string, args ...any) { out = append(out, Problem{key, fmt.Sprintf(format, args...)}) }
	if len(r.Namespaces) == 0 && strings.TrimSpace(r.Selector) == "" && len(r.Owners) == 0 {
		add("", "matches every pod: give namespaces, selector or owners")
	}
	for _, n := range r.Namespaces {
		if _, err := path.Match(n, ""); err != nil || n == "" {
			add("namespaces", "%q is neither a namespace nor a shell pattern (team-*)", n)
		}
	}
	for _, o := range r.Owners {
		kind, name, named := strings.Cut(o, "/")
		if _, err := path.Match(name, ""); err != nil || kind == "" || named && name == "" {
			add("owners", "%q is neither a kind (Job) nor a kind and a name or pattern (StatefulSet/db-*)", o)
		}
	}
	if _, err := parseSelector(r.Selector); err != nil {
		add("selector", "%s", err)
	}
	switch r.Action {
	case ActionEvict, ActionSkip, ActionWait, "":
	default:
		add("action", "%q is unknown: evict, skip or wait is allowed", r.Action)
	}
	if r.Order < -maxOrder || r.Order > maxOrder {
		add("order", "%d is out of range: %d to %d is allowed", r.Order, -maxOrder, maxOrder)
	}
	return out
}

// match finds the first rule that matches the pod; nil: none.
func (p *Policy) match(pod *model.Pod) *Rule {
	for i := range p.rules {
		if r := &p.rules[i]; r.matches(pod) {
			return &r.Rule
		}
	}
	return nil
}

func (r *compiled) matches(pod *model.Pod) bool {
	return matchesAny(r.Namespaces, pod.Namespace) && r.owned(pod.Owner) && r.selector.matches(pod.Labels)
}

func (r *compiled) owned(k model.WorkloadKey) bool {
	if len(r.Owners) == 0 {
		return true
	}
	for _, o := range r.Owners {
		kind, name, named := strings.Cut(o, "/")
		if kind == k.Kind && (!named || matchesAny([]string{name}, k.Name)) {
			return true
		}
	}
	return false
}

// matchesAny tells whether one of the patterns matches; none: anything does.
func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, s); err == nil && ok {
			return true
		}
	}
	return len(patterns) == 0
}
