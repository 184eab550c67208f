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

// budget is a PodDisruptionBudget with the evictions that were asked for and
// that its status may not show yet.
type budget struct {
	model.Budget
	asked map[string]asking // by pod UID
	// rhythm lives as long as the budget does, whatever its status.
	rhythm *rhythm
	// version counts the budget's changes.
	version uint64
	// opened is when it last allowed a disruption again; zero: it never was closed.
	opened time.Time
}

// asking is an eviction that no status is known to count.
type asking struct {
	pod string
	// answered is when the API server allowed it; zero: not yet.
	answered time.Time
	// told: a status has come since that does not name it, as old as it may be.
	told bool
}

// How long after the answer to an eviction the budget's status counts as behind
// it. The API server names the pod in the status before it answers, and a watch
// that is not interrupted shows it; else these hold: a status that comes later
// than settles counts it, and after shows the status does that was there before.
const (
	settles = time.Second
	shows   = 5 * time.Second
)

// until is when the budget's status counts the eviction in any case.
func (a asking) until() time.Time {
	if a.told {
		return a.answered.Add(settles)
	}
	return a.answered.Add(shows)
}

// allowed is how many evictions may still be asked for, and when there may be
// more without a new status; zero: not before an answer.
func (b *budget) allowed(now time.Time) (n int, more time.Time) {
	n = b.Allowed
	for _, a := range b.asked {
		until := a.until()
		if !a.answered.IsZero() && !until.After(now) {
			continue
		}
		n--
		if !a.answered.IsZero() && (more.IsZero() || until.Before(more)) {
			more = until
		}
	}
	return n, more
}

// follow drops the evictions that a new status counts.
func (b *budget) follow(now time.Time, counted []string) {
	maps.DeleteFunc(b.asked, func(_ string, a asking) bool {
		return slices.Contains(counted, a.pod) || !a.answered.IsZero() && !a.answered.Add(settles).After(now)
	})
	for uid, a := range b.asked {
		a.told = !a.answered.IsZero()
		b.asked[uid] = a
	}
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

// setBudget takes a budget's new status.
func (w *world) setBudget(b model.Budget) {
	in := w.budgets[b.Namespace]
	if in == nil {
		in = make(map[string]*budget)
		w.budgets[b.Namespace] = in
	}
	old := in[b.Name]
	if old == nil {
		w.budgetsVersion++
		old = &budget{asked: make(map[string]asking), rhythm: &rhythm{}}
		in[b.Name] = old
	} else {
		if b.Selector == "" || b.Selector != old.Selector {
			w.budgetsVersion++
		}
		old.version++
		if old.Allowed <= 0 && b.Allowed > 0 {
			old.opened = w.now
		}
		if took := old.rhythm.opened(w.now, b.Allowed-old.Allowed); took > 0 {
			w.rhythm.learn(took)
		}
		old.follow(w.now, b.Counted)
	}
	old.Budget = b
	old.rhythm.closed = b.Allowed <= 0 && len(old.asked)+len(old.rhythm.out) == 0
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
