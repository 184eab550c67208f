package kube

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// window is how long changes are gathered after some were delivered: a rollout
// or a node's end touches many objects at once.
const window = 100 * time.Millisecond

// urgentWindow is the window once a budget has opened: an eviction waits for it,
// and after that one perhaps a chain of others. It is as long as the changes take
// that belong to one: the pod that became Ready, its controller's status.
const urgentWindow = 10 * time.Millisecond

// feed holds what the watches brought and delivers it. The reflectors write
// the tables; one goroutine, run, serves both Inventory and Changes, so that
// no delta can be older than an inventory that was answered before it.
type feed struct {
	clock *clock // of the API server; nil: as ours

	mu           sync.Mutex
	nodes        *table[string, node]
	pods         *table[model.PodKey, model.Pod]
	replicaSets  *table[model.WorkloadKey, model.Workload]
	statefulSets *table[model.WorkloadKey, model.Workload]
	daemonSets   *table[model.WorkloadKey, model.Workload]
	budgets      *table[model.BudgetKey, budget]
	deployments  *table[model.WorkloadKey, model.Deployment]
	autoscalers  *table[model.AutoscalerKey, model.Autoscaler]
	attachments  *table[string, model.Attachment]
	claims       *table[model.ClaimKey, model.Claim]

	urgent chan struct{}             // holds one token once a budget has opened
	dirty  chan struct{}             // holds one token while the tables have changes
	out    chan engine.Input         // Changes
	asks   chan chan model.Inventory // Inventory
	ended  chan struct{}             // closed when run has returned
}

func newFeed() *feed {
	workloads := func() *table[model.WorkloadKey, model.Workload] {
		return newTable[model.WorkloadKey](func(w *model.Workload) string { return w.UID }, sameWorkload)
	}
	f := &feed{
		nodes:        newTable[string](func(n *node) string { return n.UID }, sameNode),
		pods:         newTable[model.PodKey](func(p *model.Pod) string { return p.UID }, samePod),
		replicaSets:  workloads(),
		statefulSets: workloads(),
		daemonSets:   workloads(),
		budgets:      newTable[model.BudgetKey](func(b *budget) string { return b.UID }, sameBudget),
		deployments:  newTable[model.WorkloadKey](func(d *model.Deployment) string { return d.UID }, sameDeployment),
		autoscalers:  newTable[model.AutoscalerKey](func(a *model.Autoscaler) string { return a.UID }, sameAutoscaler),
		attachments:  newTable[string](func(a *model.Attachment) string { return a.UID }, sameAttachment),
		claims:       newTable[model.ClaimKey](func(c *model.Claim) string { return c.UID }, sameClaim),
		urgent:       make(chan struct{}, 1),
		dirty:        make(chan struct{}, 1),
		out:          make(chan engine.Input),
		asks:         make(chan chan model.Inventory),
		ended:        make(chan struct{}),
	}
	f.budgets.keep = func(old, now *budget) {
		now.Counted = slices.Concat(old.Counted, now.Counted)
		slices.Sort(now.Counted)
		now.Counted = slices.Compact(now.Counted)
	}
	f.budgets.urgent = func(old, now *budget) bool { return now.Observed && now.Allowed > old.Allowed }
	return f
}

// hurry says that a change is waited for.
func (f *feed) hurry() {
	select {
	case f.urgent <- struct{}{}:
	default:
	}
}

// touch says that the tables have changes.
func (f *feed) touch() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}

// Changes delivers what happened since Inventory: at most one value every
// 100 ms (10 ms once a budget allows more than before), at once when nothing was
// pending. Within a value each object is named
// once, with its last state; one that came and went in between is not named at
// all. A pod that was deleted and made again is in Pods with its new UID and in
// PodsGone with the old one; other objects that were made again are in their
// list alone, with another UID. The channel is never closed.
func (f *feed) Changes() <-chan engine.Input { return f.out }

// Inventory returns nodes, pods, workloads and budgets, sorted by name.
func (f *feed) Inventory() model.Inventory {
	answer := make(chan model.Inventory, 1)
	select {
	case f.asks <- answer:
		return <-answer
	case <-f.ended:
		return f.inventory() // the last state: nothing changes it any more
	}
}

// run serves until ctx ends.
func (f *feed) run(ctx context.Context) {
	defer close(f.ended)
	known := false // an inventory was answered: before, there is nothing to differ from
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		var dirty <-chan struct{}
		if known {
			dirty = f.dirty
		}
		select {
		case <-ctx.Done():
			return
		case answer := <-f.asks:
			known = true
			answer <- f.inventory()
			continue
		case <-dirty:
		}
		select {
		case <-f.urgent: // it is delivered now
		default:
		}
		in, any := f.take()
		if !any {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case answer := <-f.asks:
			answer <- f.inventory() // it holds what in does
			continue
		case f.out <- in:
		}
		timer.Reset(window)
		delivered := time.Now()
		for gathering := true; gathering; {
			select {
			case <-ctx.Done():
				return
			case <-f.urgent:
				timer.Reset(max(urgentWindow-time.Since(delivered), 0))
			case answer := <-f.asks:
				answer <- f.inventory()
			case <-timer.C:
				gathering = false
			}
		}
	}
}

func (f *feed) inventory() model.Inventory {
	f.mu.Lock()
	defer f.mu.Unlock()
	pods := f.pods.all()
	slices.SortFunc(pods, func(a, b *model.Pod) int { return comparePod(a.PodKey, b.PodKey) }) // before they are copied: of the largest cluster 31 MiB
	inv := model.Inventory{
		Nodes:     nodes(f.nodes.all()),
		Pods:      values(pods),
		Workloads: values(slices.Concat(f.replicaSets.all(), f.statefulSets.all(), f.daemonSets.all())),
		Budgets:   budgets(f.budgets.all()),

		Deployments: values(f.deployments.all()),
		Autoscalers: values(f.autoscalers.all()),
		Attachments: values(f.attachments.all()),
		Claims:      values(f.claims.all()),
	}
	sortAll(inv.Nodes, inv.Pods, inv.Workloads, inv.Budgets)
	sortMore(inv.Deployments, inv.Autoscalers, inv.Attachments, inv.Claims)
	return inv
}

// take returns the changes, sorted, so that equal changes are equal inputs.
func (f *feed) take() (in engine.Input, any bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed, nodesGone := f.nodes.take()
	in.Nodes = nodes(changed)
	for _, l := range nodesGone {
		if _, again := f.nodes.live[l.key]; !again {
			in.NodesGone = append(in.NodesGone, l.key)
		}
	}
	pods, podsGone := f.pods.take()
	in.Pods = values(pods)
	for _, l := range podsGone {
		in.PodsGone = append(in.PodsGone, engine.PodRef{PodKey: l.key, UID: l.uid})
	}
	for _, t := range []*table[model.WorkloadKey, model.Workload]{f.replicaSets, f.statefulSets, f.daemonSets} {
		workloads, gone := t.take()
		in.Workloads = append(in.Workloads, values(workloads)...)
		for _, l := range gone {
			if _, again := t.live[l.key]; !again {
				in.WorkloadsGone = append(in.WorkloadsGone, l.key)
			}
		}
	}
	pdbs, budgetsGone := f.budgets.take()
	in.Budgets = budgets(pdbs)
	for _, l := range budgetsGone {
		if _, again := f.budgets.live[l.key]; !again {
			in.BudgetsGone = append(in.BudgetsGone, l.key)
		}
	}
	in.Deployments, in.DeploymentsGone = changes(f.deployments)
	in.Autoscalers, in.AutoscalersGone = changes(f.autoscalers)
	in.Attachments, in.AttachmentsGone = changes(f.attachments)
	in.Claims, in.ClaimsGone = changes(f.claims)
	any = len(in.Nodes)+len(in.NodesGone)+len(in.Pods)+len(in.PodsGone)+
		len(in.Workloads)+len(in.WorkloadsGone)+len(in.Budgets)+len(in.BudgetsGone)+
		len(in.Deployments)+len(in.DeploymentsGone)+len(in.Autoscalers)+len(in.AutoscalersGone)+
		len(in.Attachments)+len(in.AttachmentsGone)+len(in.Claims)+len(in.ClaimsGone) > 0
	sortAll(in.Nodes, in.Pods, in.Workloads, in.Budgets)
	slices.Sort(in.NodesGone)
	slices.SortFunc(in.PodsGone, func(a, b engine.PodRef) int {
		return cmp.Or(comparePod(a.PodKey, b.PodKey), strings.Compare(a.UID, b.UID))
	})
	slices.SortFunc(in.WorkloadsGone, compareWorkload)
	slices.SortFunc(in.BudgetsGone, compareBudget)
	sortMore(in.Deployments, in.Autoscalers, in.Attachments, in.Claims)
	slices.SortFunc(in.DeploymentsGone, compareWorkload)
	slices.SortFunc(in.AutoscalersGone, compareAutoscaler)
	slices.Sort(in.AttachmentsGone)
	slices.SortFunc(in.ClaimsGone, compareClaim)
	return in, any
}

// changes takes what a table has for the reader. An object that was made again is
// not named as gone.
func changes[K comparable, V any](t *table[K, V]) (changed []V, gone []K) {
	values, lives := t.take()
	for _, v := range values {
		changed = append(changed, *v)
	}
	for _, l := range lives {
		if _, again := t.live[l.key]; !again {
			gone = append(gone, l.key)
		}
	}
	return changed, gone
}

// selecting names the budgets that select the pod. None if it is not known.
func (f *feed) selecting(k model.PodKey) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	pod, ok := f.pods.live[k]
	if !ok {
		return nil
	}
	var names []string
	for b, e := range f.budgets.live {
		if b.Namespace == k.Namespace && e.value.Matches(pod.value.Labels) {
			names = append(names, b.Name)
		}
	}
	slices.Sort(names)
	return names
}

// node is what the watch has told of a node; nil: there is none. It is not changed
// in place.
func (f *feed) node(name string) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e, ok := f.nodes.live[name]; ok {
		return e.value
	}
	return nil
}

func nodes(list []*node) []model.Node {
	if len(list) == 0 {
		return nil
	}
	out := make([]model.Node, len(list))
	for i, n := range list {
		out[i] = n.Node
	}
	return out
}

func values[V any](list []*V) []V {
	if len(list) == 0 {
		return nil
	}
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = *v
	}
	return out
}

func budgets(list []*budget) []model.Budget {
	var out []model.Budget
	for _, b := range list {
		out = append(out, b.Budget)
	}
	return out
}

func sortAll(nodes []model.Node, pods []model.Pod, workloads []model.Workload, budgets []model.Budget) {
	slices.SortFunc(nodes, func(a, b model.Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(pods, func(a, b model.Pod) int { return comparePod(a.PodKey, b.PodKey) })
	slices.SortFunc(workloads, func(a, b model.Workload) int { return compareWorkload(a.WorkloadKey, b.WorkloadKey) })
	slices.SortFunc(budgets, func(a, b model.Budget) int { return compareBudget(a.BudgetKey, b.BudgetKey) })
}

func sortMore(deployments []model.Deployment, autoscalers []model.Autoscaler, attachments []model.Attachment, claims []model.Claim) {
	slices.SortFunc(deployments, func(a, b model.Deployment) int { return compareWorkload(a.WorkloadKey, b.WorkloadKey) })
	slices.SortFunc(autoscalers, func(a, b model.Autoscaler) int { return compareAutoscaler(a.AutoscalerKey, b.AutoscalerKey) })
	slices.SortFunc(attachments, func(a, b model.Attachment) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(claims, func(a, b model.Claim) int { return compareClaim(a.ClaimKey, b.ClaimKey) })
}

func compareAutoscaler(a, b model.AutoscalerKey) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func compareClaim(a, b model.ClaimKey) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func comparePod(a, b model.PodKey) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func compareBudget(a, b model.BudgetKey) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

func compareWorkload(a, b model.WorkloadKey) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}
