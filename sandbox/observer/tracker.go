package observer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// A tracker folds the events of budgets, pods and controllers into violations
// and moves. Its methods are called in the order of events and may be called
// from several goroutines.
type tracker struct {
	now func() time.Time

	mu          sync.Mutex
	pods        map[string]map[types.UID]*pod    // by namespace
	budgets     map[string]map[types.UID]*budget // by namespace
	controllers map[types.UID]controller
	moved       map[owner]int // pods that ended since the last reset
	violations  []*Violation
}

func newTracker(now func() time.Time) *tracker {
	return &tracker{
		now: now, pods: map[string]map[types.UID]*pod{}, budgets: map[string]map[types.UID]*budget{},
		controllers: map[types.UID]controller{}, moved: map[owner]int{},
	}
}

// pod is what the tracker keeps of a pod.
type pod struct {
	name, namespace string
	labels          labels.Set
	controller      types.UID // "" for a pod of its own
	owner           owner     // as the pod names it
	ready, deleting bool
	completed       bool
}

func (p *pod) healthy() bool { return p.ready && !p.deleting }

// A controller wants a number of pods. A ReplicaSet of a Deployment only points
// to it: the Deployment's number counts, once, however many ReplicaSets it has.
type controller struct {
	owner    owner
	replicas int
	parent   types.UID
}

// owner names a workload.
type owner struct{ Kind, Namespace, Name string }

func (o owner) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

type budget struct {
	namespace, name string
	spec            policyv1.PodDisruptionBudgetSpec
	selector        labels.Selector
	selectorErr     error
	pods            map[types.UID]*pod // those that match now
	controllers     map[types.UID]bool // all that ever had a matching pod
	desired         int
	healthy, lowest int
	expected        int
	armed           bool
	problem         string
	open            *Violation
}

func (t *tracker) setPod(p *corev1.Pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := &pod{
		name: p.Name, namespace: p.Namespace, labels: p.Labels, deleting: p.DeletionTimestamp != nil,
		ready:     isReady(p),
		completed: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	now.owner = owner{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
	if ref := metav1.GetControllerOf(p); ref != nil {
		now.controller, now.owner = ref.UID, owner{Kind: ref.Kind, Namespace: p.Namespace, Name: ref.Name}
	}
	was := t.pods[p.Namespace][p.UID]
	if was == nil {
		was = &pod{}
	}
	if t.pods[p.Namespace] == nil {
		t.pods[p.Namespace] = map[types.UID]*pod{}
	}
	t.pods[p.Namespace][p.UID] = now
	cause := ""
	switch {
	case now.deleting && !was.deleting:
		cause = "was asked to end"
		t.countMove(now)
	case was.ready && !now.ready:
		cause = "is no longer Ready"
	}
	t.judge(p.UID, now, cause)
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (t *tracker) removePod(namespace string, uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.pods[namespace][uid]
	if was == nil {
		return
	}
	delete(t.pods[namespace], uid)
	cause := ""
	if !was.deleting { // by force, or its end was not seen
		cause = "was removed at once"
		t.countMove(was)
	}
	t.judge(uid, was, cause)
}

// countMove counts a pod that ended before its work was done.
func (t *tracker) countMove(p *pod) {
	if !p.completed {
		t.moved[t.workload(p)]++
	}
}

// workload is the outermost controller of a pod that is known.
func (t *tracker) workload(p *pod) owner {
	if c, ok := t.controllers[p.controller]; ok {
		if parent, ok := t.controllers[c.parent]; ok {
			return parent.owner
		}
		return c.owner
	}
	return p.owner
}

func (t *tracker) setController(uid types.UID, c controller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.controllers[uid] == c {
		return // its status changed, as it does with each of its pods
	}
	t.controllers[uid] = c
	t.judgeNamespace(c.owner.Namespace)
}

func (t *tracker) removeController(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.controllers[uid]
	if !ok {
		return
	}
	delete(t.controllers, uid)
	t.judgeNamespace(c.owner.Namespace)
}

func (t *tracker) setBudget(b *policyv1.PodDisruptionBudget) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.budgets[b.Namespace] == nil {
		t.budgets[b.Namespace] = map[types.UID]*budget{}
	}
	known := t.budgets[b.Namespace][b.UID]
	if known == nil {
		known = &budget{namespace: b.Namespace, name: b.Name, controllers: map[types.UID]bool{}, lowest: -1}
		t.budgets[b.Namespace][b.UID] = known
	}
	known.spec = b.Spec
	known.selector, known.selectorErr = metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if known.selectorErr != nil {
		known.selector = labels.Nothing()
	}
	known.pods = map[types.UID]*pod{}
	for uid, p := range t.pods[b.Namespace] {
		if known.selector.Matches(p.labels) {
			known.take(uid, p)
		}
	}
	t.evaluate(known, "")
}

func (t *tracker) removeBudget(namespace string, uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.budgets[namespace][uid]; b != nil {
		t.close(b)
		delete(t.budgets[namespace], uid)
	}
}

// judge evaluates the budgets that a pod matched before or matches now, unless
// it is gone.
func (t *tracker) judge(uid types.UID, p *pod, cause string) {
	if cause != "" {
		cause = fmt.Sprintf("pod %s/%s %s", p.namespace, p.name, cause)
	}
	_, exists := t.pods[p.namespace][uid]
	for _, b := range t.budgets[p.namespace] {
		_, matched := b.pods[uid]
		switch matches := exists && b.selector.Matches(p.labels); {
		case matches:
			b.take(uid, p)
		case matched:
			delete(b.pods, uid)
		default:
			continue
		}
		t.evaluate(b, cause)
	}
}

func (b *budget) take(uid types.UID, p *pod) {
	b.pods[uid] = p
	if p.controller != "" {
		b.controllers[p.controller] = true
	}
}

func (t *tracker) judgeNamespace(namespace string) {
	for _, b := range t.budgets[namespace] {
		t.evaluate(b, "")
	}
}

// evaluate brings one budget's state up to date. Cause names what happened, and
// is empty for an event that takes no healthy pod away.
func (t *tracker) evaluate(b *budget, cause string) {
	healthy := 0
	for _, p := range b.pods {
		if p.healthy() {
			healthy++
		}
	}
	desired, problem := t.demand(b)
	if desired > b.desired || desired == 0 {
		b.armed = false
	}
	b.desired, b.healthy, b.problem = desired, healthy, problem
	switch {
	case desired == 0: // or unknown, because of a problem
		t.close(b)
	case healthy >= desired:
		b.armed = true
		t.close(b)
		if b.lowest < 0 {
			b.lowest = healthy
		}
		b.lowest = min(b.lowest, healthy)
	case b.armed && b.open == nil:
		if cause == "" {
			cause = "unknown: no pod ended or became unready in the event that showed it"
		}
		b.open = &Violation{
			Namespace: b.namespace, Budget: b.name, Start: t.now(), Desired: desired, Healthy: healthy, Cause: cause,
		}
		b.lowest = min(b.lowest, healthy)
		t.violations = append(t.violations, b.open)
	case b.open != nil:
		b.open.Healthy = min(b.open.Healthy, healthy)
		b.lowest = min(b.lowest, healthy)
	}
}

// demand computes what a budget demands now, or why it demands nothing that can
// be checked. The controllers of earlier pods count as long as they exist: a
// workload without a single pod left demands as much as before.
func (t *tracker) demand(b *budget) (desired int, problem string) {
	if b.selectorErr != nil {
		return 0, "selector: " + b.selectorErr.Error()
	}
	b.expected = 0
	counted := map[types.UID]bool{}
	for uid := range b.controllers {
		c, ok := t.controllers[uid]
		if !ok {
			continue // gone, or of a kind without a scale
		}
		if parent, ok := t.controllers[c.parent]; ok {
			uid, c = c.parent, parent
		}
		if !counted[uid] {
			counted[uid] = true
			b.expected += c.replicas
		}
	}
	desired, err := desiredHealthy(b.spec, b.expected)
	if err != nil {
		return 0, err.Error()
	}
	return desired, ""
}

func (t *tracker) close(b *budget) {
	if b.open != nil {
		end := t.now()
		b.open.End, b.open = &end, nil
	}
}

// reset forgets what was counted and the violations that are over.
func (t *tracker) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moved = map[owner]int{}
	t.violations = nil
	for _, inNamespace := range t.budgets {
		for _, b := range inNamespace {
			b.lowest = -1
			if b.armed && b.open == nil {
				b.lowest = b.healthy
			}
			if b.open != nil {
				t.violations = append(t.violations, b.open)
			}
		}
	}
}

// snapshot copies what the tracker knows, sorted.
func (t *tracker) snapshot() (budgets []BudgetState, violations []Violation, workloads []WorkloadState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, inNamespace := range t.budgets {
		for _, b := range inNamespace {
			s := BudgetState{
				Namespace: b.namespace, Name: b.name, Desired: b.desired, Healthy: b.healthy,
				Lowest: b.lowest, Checked: b.armed, Problem: b.problem,
			}
			if b.lowest < 0 {
				s.Lowest = b.healthy
			}
			budgets = append(budgets, s)
		}
	}
	slices.SortFunc(budgets, func(a, b BudgetState) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	violations = make([]Violation, 0, len(t.violations))
	for _, v := range t.violations {
		violations = append(violations, *v)
	}
	return budgets, violations, t.workloads()
}

// workloads counts the places and the moves of each workload.
func (t *tracker) workloads() []WorkloadState {
	places := map[owner]int{}
	for _, inNamespace := range t.pods {
		for _, p := range inNamespace {
			if !p.deleting && !p.completed {
				places[t.workload(p)]++
			}
		}
	}
	for _, c := range t.controllers {
		if _, nested := t.controllers[c.parent]; !nested {
			places[c.owner] = max(places[c.owner], c.replicas)
		}
	}
	for o := range t.moved {
		places[o] += 0 // a workload that has no place left was moved all the same
	}
	states := make([]WorkloadState, 0, len(places))
	for _, o := range slices.SortedFunc(maps.Keys(places), func(a, b owner) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	}) {
		states = append(states, WorkloadState{
			Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Places: places[o], Moves: t.moved[o],
		})
	}
	return states
}

// controllerOf reads what a Deployment, StatefulSet, ReplicaSet or
// ReplicationController wants. Other kinds have no scale that budgets know.
func controllerOf(o any) (types.UID, controller, bool) {
	var meta *metav1.ObjectMeta
	var kind string
	var replicas *int32
	switch o := o.(type) {
	case *appsv1.Deployment:
		meta, kind, replicas = &o.ObjectMeta, "Deployment", o.Spec.Replicas
	case *appsv1.StatefulSet:
		meta, kind, replicas = &o.ObjectMeta, "StatefulSet", o.Spec.Replicas
	case *appsv1.ReplicaSet:
		meta, kind, replicas = &o.ObjectMeta, "ReplicaSet", o.Spec.Replicas
	case *corev1.ReplicationController:
		meta, kind, replicas = &o.ObjectMeta, "ReplicationController", o.Spec.Replicas
	default:
		return "", controller{}, false
	}
	c := controller{owner: owner{Kind: kind, Namespace: meta.Namespace, Name: meta.Name}, replicas: 1}
	if replicas != nil {
		c.replicas = int(*replicas)
	}
	if ref := metav1.GetControllerOfNoCopy(meta); ref != nil {
		c.parent = ref.UID
	}
	return meta.UID, c, true
}
