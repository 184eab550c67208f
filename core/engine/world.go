package engine

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// world is what the engine knows of the cluster and the provider, kept current
// by deltas. It holds facts only: what the rotation makes of them lives in
// groups and members.
type world struct {
	now        time.Time
	rhythm     rhythm // over all budgets
	groups     map[string]model.NodeGroup
	nodes      map[string]*model.Node
	nodeOf     map[string]string // provider id -> node name
	pods       map[model.PodKey]*model.Pod
	critical   map[model.PodKey]*model.Pod // of pods, those of a system-critical priority
	unready    map[model.PodKey]*model.Pod // of pods, those that are neither Ready nor finished
	podsByNode map[string]*nodePods
	workloads  map[model.WorkloadKey]model.Workload
	budgets    map[string]map[string]*budget // by namespace and name
	persistent
	deployments map[model.WorkloadKey]*model.Deployment
	autoscalers map[model.AutoscalerKey]model.WorkloadKey
	// unbound are the pods that wait for the scheduler, and since when as far as
	// was seen; those of DaemonSets are for one node each and do not count.
	unbound map[model.PodKey]time.Time
	surged  map[model.WorkloadKey]bool // deployments that have an extra replica
	covered map[model.WorkloadKey]coverage
	// budgetsVersion counts the changes of which budgets there are.
	budgetsVersion uint64
	// workloadsVersion counts the inputs that changed workloads, from 1.
	workloadsVersion uint64
}

func newWorld() *world {
	return &world{
		groups:     make(map[string]model.NodeGroup),
		nodes:      make(map[string]*model.Node),
		nodeOf:     make(map[string]string),
		pods:       make(map[model.PodKey]*model.Pod),
		critical:   make(map[model.PodKey]*model.Pod),
		unready:    make(map[model.PodKey]*model.Pod),
		podsByNode: make(map[string]*nodePods),
		workloads:  make(map[model.WorkloadKey]model.Workload),
		budgets:    make(map[string]map[string]*budget),

		persistent:  newPersistent(),
		deployments: make(map[model.WorkloadKey]*model.Deployment),
		autoscalers: make(map[model.AutoscalerKey]model.WorkloadKey),
		surged:      make(map[model.WorkloadKey]bool),

		unbound: make(map[model.PodKey]time.Time), covered: make(map[model.WorkloadKey]coverage), budgetsVersion: 1, workloadsVersion: 1,
	}
}

// apply takes the cluster's deltas. Deletions come first: an object that was
// deleted and made again within one delta exists.
func (w *world) apply(in *Input) {
	for _, name := range in.NodesGone {
		w.dropNode(name)
	}
	for _, ref := range in.PodsGone {
		if p := w.pods[ref.PodKey]; p != nil && p.UID == ref.UID {
			delete(w.unbound, ref.PodKey)
			w.dropPod(p)
		}
	}
	if len(in.Workloads)+len(in.WorkloadsGone) > 0 {
		w.workloadsVersion++
	}
	for _, k := range in.WorkloadsGone {
		delete(w.covered, k)
		delete(w.workloads, k)
	}
	for _, k := range in.BudgetsGone {
		w.budgetsVersion++
		delete(w.budgets[k.Namespace], k.Name)
	}
	for i := range in.Nodes {
		n := in.Nodes[i]
		w.dropNode(n.Name)
		w.nodes[n.Name] = &n
		if n.ProviderID != "" {
			w.nodeOf[n.ProviderID] = n.Name
		}
	}
	for i := range in.Pods {
		p := in.Pods[i]
		if old := w.pods[p.PodKey]; old != nil && old.Node != p.Node {
			w.dropPod(old)
		}
		w.putPod(&p)
	}
	for _, wl := range in.Workloads {
		w.workloads[wl.WorkloadKey] = wl
	}
	for _, b := range in.Budgets {
		w.setBudget(b)
	}
	w.persistent.apply(in)
	for _, k := range in.DeploymentsGone {
		delete(w.deployments, k)
		delete(w.surged, k)
	}
	for _, d := range in.Deployments {
		w.deployments[d.WorkloadKey] = &d
		if delete(w.surged, d.WorkloadKey); d.Surged() {
			w.surged[d.WorkloadKey] = true
		}
	}
	for _, k := range in.AutoscalersGone {
		delete(w.autoscalers, k)
	}
	for _, a := range in.Autoscalers {
		w.autoscalers[a.AutoscalerKey] = a.Target
	}
}

func (w *world) dropNode(name string) {
	if n := w.nodes[name]; n != nil {
		if w.nodeOf[n.ProviderID] == name {
			delete(w.nodeOf, n.ProviderID)
		}
		delete(w.nodes, name)
	}
}

// seeBound takes note of whether a pod waits for the scheduler.
func (w *world) seeBound(p *model.Pod) {
	if p.Node != "" || p.Phase != "Pending" || p.Terminating || p.Owner.Kind == "DaemonSet" {
		delete(w.unbound, p.PodKey)
	} else if w.unbound[p.PodKey].IsZero() {
		w.unbound[p.PodKey] = w.now
	}
}

// putPod takes a pod's new state; where its node has changed, the old one has been
// dropped.
func (w *world) putPod(p *model.Pod) {
	w.pods[p.PodKey] = p
	if p.Priority >= drain.SystemCritical {
		w.critical[p.PodKey] = p
	} else if len(w.critical) > 0 {
		delete(w.critical, p.PodKey)
	}
	if p.Ready || p.Finished() {
		delete(w.unready, p.PodKey)
	} else {
		w.unready[p.PodKey] = p
	}
	w.seeBound(p)
	if p.Node != "" {
		w.podsAt(p.Node).put(p)
	}
}

func (w *world) dropPod(p *model.Pod) {
	delete(w.pods, p.PodKey)
	delete(w.critical, p.PodKey)
	delete(w.unready, p.PodKey)
	if p.Node != "" {
		w.podsAt(p.Node).drop(p.PodKey)
	}
}

// coverage is what the budgets of a namespace make of the pods of one owner,
// which have the same labels, nearly always.
type coverage struct {
	version uint64
	labels  map[string]string
	by      []*budget
}

// budgetsOf returns the budgets that select the pod, by name. The caller must
// not change the list.
func (w *world) budgetsOf(p *model.Pod) []*budget {
	if len(w.budgets[p.Namespace]) == 0 {
		return nil
	}
	if c, ok := w.covered[p.Owner]; ok && c.version == w.budgetsVersion && p.Owner.Namespace == p.Namespace && maps.Equal(c.labels, p.Labels) {
		return c.by
	}
	var out []*budget
	for _, b := range w.budgets[p.Namespace] {
		if b.Matches(p.Labels) {
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b *budget) int { return strings.Compare(a.Name, b.Name) })
	if p.Owner.Name != "" {
		w.covered[p.Owner] = coverage{w.budgetsVersion, p.Labels, out}
	}
	return out
}

// chargedFor names the pods, at most three, whose eviction the budget counts
// although nobody is deleting them: it was cut off between the API server's two
// steps, by the end of whoever asked.
func (w *world) chargedFor(b *budget) []string {
	var out []string
	for _, name := range b.Charged {
		p := w.pods[model.PodKey{Namespace: b.Namespace, Name: name}]
		if p == nil || p.Terminating {
			continue
		}
		if _, ours := b.asked[p.UID]; ours {
			continue // on its way
		}
		if out = append(out, name); len(out) == 3 {
			break
		}
	}
	return out
}

// unhealthyUnder names the pods under a budget that are not healthy, at most
// three, for a person.
func (w *world) unhealthyUnder(b *budget) []string {
	var out []string
	for _, p := range w.unready {
		if p.Namespace == b.Namespace && b.Matches(p.Labels) {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 3)]
}
