package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// toy is a small provider and cluster, in values: what effects do to it is
// done at once, and what a watch would tell is collected in deltas. Golden
// scripts move it by hand, the seeded test from a heap of timed events.
type toy struct {
	offers int // pods that a node has room for; 0: not known

	now       time.Time
	groups    map[string]*toyGroup
	order     []string // group ids
	instances map[string]*model.Instance
	// unbalanced instances are out of their load balancers, or leave them.
	unbalanced map[string]bool
	seq        int // of instances
	nodes      map[string]*model.Node
	pods       map[model.PodKey]*model.Pod
	podSeq     int
	workloads  map[model.WorkloadKey]*model.Workload
	budgets    map[model.BudgetKey]*model.Budget
	minimum    map[model.BudgetKey]int
	volumes    toyVolumes
	// style gives the pods of a workload what they have beside their names.
	style map[model.WorkloadKey]func(*model.Pod)
	// tolerant workloads' pods go to cordoned nodes too.
	tolerant map[model.WorkloadKey]bool
	// selects is the label of the nodes that alone the pods of a workload may be on.
	selects map[model.WorkloadKey]model.LostLabel

	noProgress  bool // the controllers of Deployments do nothing
	deployments map[model.WorkloadKey]*toyDeployment
	told        map[model.WorkloadKey]model.Deployment
	deltas      deltas
	// slowEnd keeps terminated instances terminating until ended by the test.
	slowEnd bool
	// noLaunch keeps groups from launching: no capacity.
	noLaunch bool
	// launchOld makes launched instances outdated: a stale template.
	launchOld bool
	// staysBalanced keeps instances from ever leaving their load balancers.
	staysBalanced bool
	// slowReady starts pods that are not Ready before the test says so.
	slowReady bool
	// static pods run on each node of the control plane.
	static []string
	// slowStatic lets them be not Ready before the test says so.
	slowStatic bool
	// hidesRolls: snapshots do not show them.
	hidesRolls bool
	// apiAway is what the API server says is not ready; empty: it is.
	apiAway string
}

type toyGroup struct {
	model.NodeGroup
	zones   []string
	prepare bool // called at least once
	// lost are ended instances under whose names others are to come.
	lost  []*model.Instance
	rolls int // rolls that there were
	// label is a key that its nodes have with their revision as value.
	label string
}

func newToy() *toy {
	return &toy{groups: map[string]*toyGroup{}, instances: map[string]*model.Instance{}, unbalanced: map[string]bool{}, nodes: map[string]*model.Node{},
		pods: map[model.PodKey]*model.Pod{}, workloads: map[model.WorkloadKey]*model.Workload{},
		budgets: map[model.BudgetKey]*model.Budget{}, minimum: map[model.BudgetKey]int{},
		style: map[model.WorkloadKey]func(*model.Pod){}, volumes: newToyVolumes(), tolerant: map[model.WorkloadKey]bool{}, selects: map[model.WorkloadKey]model.LostLabel{},
		deployments: map[model.WorkloadKey]*toyDeployment{}, told: map[model.WorkloadKey]model.Deployment{}, deltas: newDeltas()}
}

func (t *toy) addGroup(name string, size int, zones ...string) *toyGroup {
	g := &toyGroup{zones: zones, NodeGroup: model.NodeGroup{ID: name, Name: name, Role: model.RoleNode, Desired: size, Max: 100,
		Revision: "new", Traits: model.Traits{TerminateKeep: true, TerminateShrink: true, Prepare: true, MaxSurge: 100, Refill: model.RefillGroup}}}
	t.groups[name] = g
	t.order = append(t.order, name)
	return g
}

// launch starts an instance of a group in its emptiest zone.
func (t *toy) launch(g *toyGroup, outdated bool) *model.Instance {
	t.seq++
	count := make(map[string]int)
	for _, in := range t.instances {
		if in.GroupID == g.ID && in.State != model.InstanceTerminating {
			count[in.Zone]++
		}
	}
	zone := slices.MinFunc(g.zones, func(a, b string) int { return count[a] - count[b] })
	id := fmt.Sprintf("i-%d", t.seq)
	in := &model.Instance{ID: id, GroupID: g.ID, ProviderID: fmt.Sprintf("aws:///%s/%s", zone, id),
		Zone: zone, State: model.InstancePending, Revision: g.Revision, LaunchedAt: t.now}
	if len(g.lost) > 0 { // the same machine, as the cluster sees it
		was := g.lost[0]
		g.lost = g.lost[1:]
		in.ProviderID, in.Zone = was.ProviderID, was.Zone
		first, life, _ := strings.Cut(was.ID, ".")
		n, _ := strconv.Atoi(life)
		in.ID = fmt.Sprintf("%s.%d", first, max(n, 1)+1)
	}
	if outdated {
		in.Revision, in.Reasons = "old", []model.Reason{{Code: "revision", Message: "revision old, wanted new"}}
	}
	t.instances[in.ID] = in
	return in
}

// nodeName is the node of an instance. Where a replacement keeps the name, its id
// is that of the first with a count: i-1, i-1.2.
func nodeName(instance string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(instance, "i-"), ".")
	return "node-" + name
}

// refill launches what groups lack, and returns it.
func (t *toy) refill() []*model.Instance {
	var out []*model.Instance
	for _, id := range t.order {
		g := t.groups[id]
		if g == nil || t.noLaunch {
			continue
		}
		live := 0
		for _, in := range t.instances {
			if in.GroupID == id && in.State != model.InstanceTerminating {
				live++
			}
		}
		for range g.Desired - live {
			out = append(out, t.launch(g, t.launchOld))
		}
	}
	return out
}

// join makes an instance's node appear, Ready, with its DaemonSet pods.
func (t *toy) join(id string) {
	in := t.instances[id]
	in.State = model.InstanceInService
	if t.groups[in.GroupID].Role == model.RoleBastion {
		return // never a node
	}
	if n := t.nodes[nodeName(id)]; n != nil { // a kubelet takes over the node of its name
		t.changeNode(n.Name, func(n *model.Node) { n.Ready = true })
		return
	}
	uid := "uid-" + nodeName(id)
	if _, life, again := strings.Cut(id, "."); again {
		uid += "." + life
	}
	n := &model.Node{Name: nodeName(id), UID: uid, ProviderID: in.ProviderID, Zone: in.Zone, Ready: true, CreatedAt: t.now,
		Allocatable: model.Resources{Pods: int64(t.offers)}}
	if key := t.groups[in.GroupID].label; key != "" {
		n.Labels = map[string]string{key: in.Revision}
	}
	t.setNode(n)
	for _, k := range sortedWorkloads(t.workloads) {
		if k.Kind == "DaemonSet" {
			t.startPod(k, nodeName(id))
		}
	}
	if t.groups[in.GroupID].Role == model.RoleControlPlane {
		for _, c := range t.static {
			p := &model.Pod{PodKey: model.PodKey{Namespace: "kube-system", Name: c + "-" + nodeName(id)}, UID: c + id, Node: nodeName(id), Phase: "Running", Ready: !t.slowStatic, Mirror: true}
			t.setPod(p)
		}
	}
	t.count()
}

func (t *toy) setNode(n *model.Node) {
	t.nodes[n.Name] = n
	t.deltas.node(*n)
}

func (t *toy) changeNode(name string, f func(*model.Node)) {
	n := *t.nodes[name]
	n.Taints, n.Annotations = slices.Clone(n.Taints), maps.Clone(n.Annotations)
	f(&n)
	t.setNode(&n)
}

// end removes an instance with its node and all pods there.
func (t *toy) end(id string) {
	in := t.instances[id]
	delete(t.instances, id)
	if in == nil {
		return
	}
	if g := t.groups[in.GroupID]; g != nil && g.Traits.KeepsNodeName {
		g.lost = append(g.lost, in)
		return // its provider id stays: no controller deletes the node
	}
	t.dropNode(nodeName(id))
}

// dropNode deletes a node, and all pods there.
func (t *toy) dropNode(name string) {
	if t.nodes[name] == nil {
		return
	}
	for _, p := range t.sortedPods() {
		if p.Node == name {
			t.removePod(p)
		}
	}
	delete(t.nodes, name)
	t.deltas.nodeGone(name)
	t.count()
}

// pending tells whether a pod finds no node: a provisioner launches one for it.
func (t *toy) pending() bool {
	for _, p := range t.pods {
		if p.Node == "" && !p.Terminating {
			return true
		}
	}
	return false
}

func (t *toy) setPod(p *model.Pod) {
	t.pods[p.PodKey] = p
	t.deltas.pod(*p)
}

func (t *toy) removePod(p *model.Pod) {
	delete(t.pods, p.PodKey)
	t.deltas.podGone(p.PodKey, p.UID)
}

// startPod runs a Ready pod of a workload on a node.
func (t *toy) startPod(k model.WorkloadKey, node string) *model.Pod {
	t.podSeq++
	number := t.podSeq
	if k.Kind == "StatefulSet" { // one name, one pod
		for number = 0; t.pods[model.PodKey{Namespace: k.Namespace, Name: fmt.Sprintf("%s-%d", k.Name, number)}] != nil; number++ {
		}
	}
	p := &model.Pod{PodKey: model.PodKey{Namespace: k.Namespace, Name: fmt.Sprintf("%s-%d", k.Name, number)}, UID: fmt.Sprintf("p%d", t.podSeq),
		Node: node, Owner: k, Phase: "Running", Ready: !t.slowReady, Labels: map[string]string{"app": k.Name}, Claims: t.volumes.claims[k]}
	if style := t.style[k]; style != nil {
		style(p)
	}
	if l := t.selects[k]; l.Key != "" {
		p.Traits = &model.PodTraits{NodeSelector: map[string]string{l.Key: l.Value}}
	}
	t.setPod(p)
	if v := t.volumes.of[k]; v != "" {
		t.attach(p, v)
	}
	return p
}

// ends tells whether a terminating pod has gone by now.
func (t *toy) ends(p *model.Pod) bool {
	n := t.nodes[p.Node]
	silent := n != nil && n.Unreachable
	return p.Terminating && p.Details().Finalizers == "" && !silent && (p.GracePeriodSeconds <= 60 || !t.now.Before(p.Details().EndsBy))
}

// changePod changes a pod of the namespace default.
func (t *toy) changePod(name string, f func(*model.Pod)) {
	p := *t.pods[model.PodKey{Namespace: "default", Name: name}]
	f(&p)
	t.setPod(&p)
	t.count()
}

// evictEnds ends all terminating pods, but those that finalizers hold, that have
// longer to end than others, or whose node is silent.
func (t *toy) evictEnds() {
	for _, p := range t.sortedPods() {
		if t.ends(p) {
			t.removePod(p)
		}
	}
	t.detach("")
	t.count()
}

// fill starts the pods that workloads lack, where there is a node for them.
func (t *toy) fill() {
	running := make(map[model.WorkloadKey]int)
	on := make(map[string]int)
	for _, p := range t.pods {
		on[p.Node]++
		if !p.Terminating {
			running[p.Owner]++
		}
	}
	for _, k := range sortedWorkloads(t.workloads) {
		if k.Kind == "DaemonSet" {
			continue
		}
		if t.workloads[k].Owner != (model.WorkloadKey{}) {
			continue // progress does
		}
		for range t.workloads[k].Desired - running[k] {
			node := t.schedule(on, t.tolerant[k], t.selects[k])
			if node == "" {
				break
			}
			on[node]++
			t.startPod(k, node)
		}
	}
	t.count()
}

// schedule picks the Ready, schedulable node with the fewest pods; an outdated
// one only when there is no other. A tolerant pod does not mind a cordon; one that
// selects a label needs it.
func (t *toy) schedule(on map[string]int, tolerant bool, selects model.LostLabel) string {
	best, cost := "", 0
	for _, name := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[name]
		if !n.Ready || n.Unschedulable && !tolerant || selects.Key != "" && !selects.In(n.Labels) {
			continue
		}
		c := on[name]
		if slices.ContainsFunc(n.Taints, func(t model.Taint) bool { return t.Key == model.TaintOutdated }) {
			c += 1000
		}
		if best == "" || c < cost {
			best, cost = name, c
		}
	}
	return best
}

// lasts tells whether a node that is not outdated has the label.
func (t *toy) lasts(l model.LostLabel) bool {
	for _, in := range t.instances {
		if n := t.nodes[nodeName(in.ID)]; n != nil && !in.Outdated() && l.In(n.Labels) {
			return true
		}
	}
	return false
}

func (t *toy) sortedPods() []*model.Pod {
	return slices.SortedFunc(maps.Values(t.pods), func(a, b *model.Pod) int { return strings.Compare(a.String(), b.String()) })
}

func sortedWorkloads(m map[model.WorkloadKey]*model.Workload) []model.WorkloadKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b model.WorkloadKey) int { return strings.Compare(a.String(), b.String()) })
}

// count does what controllers do: the status of workloads and budgets.
func (t *toy) count() {
	ready := make(map[model.WorkloadKey]int)
	for _, p := range t.pods {
		if p.Ready && !p.Terminating {
			ready[p.Owner]++
		}
	}
	for k, w := range t.workloads {
		if w.Ready != ready[k] {
			w.Ready = ready[k]
			t.deltas.workload(*w)
		}
	}
	t.countDeployments()
	for k, b := range t.budgets {
		now := *b
		now.CurrentHealthy, now.Expected = 0, 0
		for _, p := range t.pods {
			if p.Namespace == k.Namespace && b.Matches(p.Labels) && p.Ready && !p.Terminating && !slices.Contains(b.Charged, p.Name) {
				now.CurrentHealthy++
			}
		}
		for _, w := range t.workloads {
			if w.Namespace == k.Namespace && b.Matches(map[string]string{"app": w.Name}) {
				now.Expected += w.Desired
			}
		}
		if now.DesiredHealthy = t.minimum[k]; now.Scales {
			now.DesiredHealthy = now.Expected
		}
		now.Allowed = max(now.CurrentHealthy-now.DesiredHealthy, 0)
		if now.CurrentHealthy != b.CurrentHealthy || now.Expected != b.Expected || now.DesiredHealthy != b.DesiredHealthy {
			*b = now
			t.deltas.budget(now)
		}
	}
}

func (t *toy) addBudget(name, minimum string, apps ...string) {
	k := model.BudgetKey{Namespace: "default", Name: name}
	fmt.Sscan(minimum, new(int))
	n := 0
	fmt.Sscan(minimum, &n)
	t.minimum[k] = n
	t.budgets[k] = &model.Budget{BudgetKey: k, UID: name, Observed: true, Expected: -1,
		Matches: func(l map[string]string) bool { return slices.Contains(apps, l["app"]) }}
	t.count()
}

func (t *toy) addWorkload(kind, name string, pods int) model.WorkloadKey {
	k := model.WorkloadKey{Kind: kind, Namespace: "default", Name: name}
	t.workloads[k] = &model.Workload{WorkloadKey: k, UID: name, Desired: pods}
	return k
}

// snapshot is the driver's answer to an Observe.
func (t *toy) snapshot() *engine.Snapshot {
	s := &engine.Snapshot{}
	for _, id := range t.order {
		if g := t.groups[id]; g != nil {
			shown := g.NodeGroup
			if t.hidesRolls {
				shown.Roll = model.Roll{}
			}
			s.Groups = append(s.Groups, shown)
		}
	}
	for _, in := range t.instances {
		now := *in
		if now.Work.Verb == "quiesce" && !t.staysBalanced && t.now.Sub(now.Work.Since) >= leaves {
			now.Work = model.Work{}
		}
		s.Instances = append(s.Instances, now)
	}
	slices.SortFunc(s.Instances, func(a, b model.Instance) int {
		return byNumber(a.ID, b.ID)
	})
	return s
}

// leaves is how long an instance takes to leave its load balancers.
const leaves = 20 * time.Second

func byNumber(a, b string) int {
	var x, y int
	fmt.Sscanf(a, "i-%d", &x)
	fmt.Sscanf(b, "i-%d", &y)
	return x - y
}

func (t *toy) inventory() model.Inventory {
	s := t.snapshot()
	in := t.deltas.take()
	return model.Inventory{Groups: s.Groups, Instances: s.Instances, Nodes: in.Nodes, Pods: in.Pods, Workloads: in.Workloads, Budgets: in.Budgets,
		Deployments: in.Deployments, Autoscalers: in.Autoscalers, Attachments: in.Attachments, Claims: in.Claims}
}

// relist has the deltas tell all there is: a new watch begins with a whole list.
func (t *toy) relist() {
	t.deltas = newDeltas()
	for _, n := range t.nodes {
		t.deltas.node(*n)
	}
	for _, p := range t.pods {
		t.deltas.pod(*p)
	}
	for _, w := range t.workloads {
		t.deltas.workload(*w)
	}
	for _, b := range t.budgets {
		t.deltas.budget(*b)
	}
	for k, volume := range t.volumes.of {
		t.addVolume(k, volume)
	}
	for _, name := range slices.Sorted(maps.Keys(t.volumes.attachments)) {
		t.deltas.more.Attachments = append(t.deltas.more.Attachments, t.volumes.attachments[name])
	}
	clear(t.told)
	t.count()
}

// apply does what an effect asks for, as the provider or the API server would.
func (t *toy) apply(e engine.Effect) *engine.Error {
	missing := func(what, name string) *engine.Error {
		return &engine.Error{Code: engine.ErrNotFound, Message: fmt.Sprintf("%s %s not found", what, name)}
	}
	g := t.groups[e.GroupID]
	switch e.Verb {
	case engine.VerbPrepare, engine.VerbRestore, engine.VerbSetSurge, engine.VerbTerminate, engine.VerbQuiesce, engine.VerbUnquiesce,
		engine.VerbRoll, engine.VerbCancel:
		if g == nil {
			return missing("group", e.GroupID)
		}
	}
	switch e.Verb {
	case engine.VerbPrepare:
		if g.HeldBy != "" && g.HeldBy != "r1" {
			return &engine.Error{Code: engine.ErrHeld, Message: fmt.Sprintf("group %s is held by rotation %s", g.Name, g.HeldBy)}
		}
		g.HeldBy, g.prepare = "r1", true
	case engine.VerbRestore:
		g.HeldBy = ""
		for _, in := range t.instances {
			if in.GroupID == g.ID && in.State != model.InstanceTerminating && t.unbalanced[in.ID] {
				t.unbalanced[in.ID], in.Work = false, model.Work{}
			}
		}
	case engine.VerbSetSurge:
		if e.Surge < g.Surge {
			return &engine.Error{Code: engine.ErrPermanent, Message: "desired capacity is never lowered"}
		}
		for _, id := range e.Going {
			if in := t.instances[id]; g.Traits.SurgeDetaches && e.Surge > g.Surge && in.State == model.InstanceInService {
				in.State = model.InstanceDetached
				g.Desired, g.Surge = g.Desired+1, g.Surge+1
			}
		}
		if !g.Traits.SurgeDetaches {
			g.Desired += e.Surge - g.Surge
			g.Surge = e.Surge
		}
	case engine.VerbTerminate:
		if n := t.nodes[e.Node]; e.NodeUID != "" && n != nil && n.UID == e.NodeUID {
			t.dropNode(e.Node)
		}
		in := t.instances[e.InstanceID]
		if in == nil {
			return missing("instance", e.InstanceID)
		}
		if in.State == model.InstanceTerminating {
			return nil
		}
		shrink := e.Shrink
		if g.Traits.SurgeDetaches {
			if shrink = in.State == model.InstanceDetached; e.Shrink && !shrink {
				return &engine.Error{Code: engine.ErrPermanent, Message: "instance " + in.ID + " is counted by its group"}
			}
		}
		in.State = model.InstanceTerminating
		if shrink {
			g.Desired--
			g.Surge--
		}
		if g.Traits.Refill == model.RefillScheduler && !t.pending() {
			g.Desired-- // nothing asks for another
		}
		if !t.slowEnd {
			t.end(in.ID)
		}
	case engine.VerbQuiesce, engine.VerbUnquiesce:
		in := t.instances[e.InstanceID]
		if in == nil {
			return missing("instance", e.InstanceID)
		}
		if e.Verb == engine.VerbUnquiesce {
			t.unbalanced[in.ID], in.Work = false, model.Work{}
		} else if !t.unbalanced[in.ID] {
			t.unbalanced[in.ID], in.Work = true, model.Work{Verb: "quiesce", Phase: "draining connections of target group web", Since: t.now}
		}
	case engine.VerbRoll:
		if g.Roll.State != model.RollRunning {
			t.roll(g, e.ID)
		}
	case engine.VerbCancel:
		if g.Roll.Op != e.Target {
			return missing("operation", e.Target)
		}
		g.Roll.State, g.Roll.Ended = model.RollCancelled, t.now
	case engine.VerbPatchNode:
		if t.nodes[e.Node] == nil {
			return missing("node", e.Node)
		}
		t.changeNode(e.Node, func(n *model.Node) { patch(n, e.Patch) })
	case engine.VerbPatchWorkload:
		return t.patchWorkload(e.Workload, e.WorkloadPatch)
	case engine.VerbEvict, engine.VerbDeletePod:
		return t.evict(e)
	case engine.VerbCheckAPI:
		if t.apiAway != "" {
			return &engine.Error{Code: engine.ErrTransient, Message: t.apiAway}
		}
	case engine.VerbObserve:
	}
	return nil
}

func patch(n *model.Node, p *engine.NodePatch) {
	remove := p.RemoveTaint
	if p.AddTaint != nil {
		remove = p.AddTaint.Key
	}
	n.Taints = slices.DeleteFunc(n.Taints, func(t model.Taint) bool { return t.Key == remove })
	if p.AddTaint != nil {
		n.Taints = append(n.Taints, *p.AddTaint)
	}
	if p.Unschedulable != nil {
		n.Unschedulable = *p.Unschedulable
	}
	labels, annotations := p.Metadata(n.Labels, n.Annotations)
	n.Labels, n.Annotations = merged(n.Labels, labels), merged(n.Annotations, annotations)
}

func merged(m map[string]string, changes map[string]*string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = *v
		}
	}
	return out
}

func (t *toy) evict(e engine.Effect) *engine.Error {
	p := t.pods[e.Pod.PodKey]
	if p == nil {
		return &engine.Error{Code: engine.ErrNotFound, Message: fmt.Sprintf("pod %s not found", e.Pod.PodKey)}
	}
	if p.UID != e.Pod.UID {
		return &engine.Error{Code: engine.ErrConflict, Message: fmt.Sprintf("pod %s is another", e.Pod.PodKey)}
	}
	if e.Verb == engine.VerbEvict {
		var over []*model.Budget
		for _, b := range t.budgets {
			if b.Namespace == p.Namespace && b.Matches(p.Labels) {
				over = append(over, b)
			}
		}
		if len(over) > 1 {
			return &engine.Error{Code: engine.ErrMultiBudget, Message: fmt.Sprintf("pod %s has more than one budget", p.PodKey)}
		}
		if len(over) == 1 && p.Ready && over[0].Allowed < 1 {
			return &engine.Error{Code: engine.ErrBlocked, Message: fmt.Sprintf("budget %s allows no eviction of pod %s", over[0].BudgetKey, p.PodKey)}
		}
	}
	if p.Terminating {
		return nil
	}
	q := *p
	q.Terminating, q.Ready = true, false
	detail := q.Details()
	detail.EndsBy = t.now.Add(time.Duration(q.GracePeriodSeconds) * time.Second)
	if e.GracePeriodSeconds != nil {
		detail.EndsBy = t.now.Add(time.Duration(*e.GracePeriodSeconds) * time.Second)
	}
	q.Detail = &detail
	t.setPod(&q)
	t.count()
	t.deltas.charge(t.budgets, p)
	return nil
}

// deltas collects what watches would tell, the last value of an object only.
type deltas struct {
	nodes     map[string]*model.Node
	pods      map[model.PodKey]*model.Pod
	podsGone  map[engine.PodRef]bool
	workloads map[model.WorkloadKey]model.Workload
	budgets   map[model.BudgetKey]model.Budget
	more      engine.Input // what is told in the order in which it happened
}

func newDeltas() deltas {
	return deltas{map[string]*model.Node{}, map[model.PodKey]*model.Pod{}, map[engine.PodRef]bool{},
		map[model.WorkloadKey]model.Workload{}, map[model.BudgetKey]model.Budget{}, engine.Input{}}
}

func (d *deltas) node(n model.Node)         { d.nodes[n.Name] = &n }
func (d *deltas) nodeGone(name string)      { d.nodes[name] = nil }
func (d *deltas) pod(p model.Pod)           { d.pods[p.PodKey] = &p }
func (d *deltas) workload(w model.Workload) { d.workloads[w.WorkloadKey] = w }
func (d *deltas) budget(b model.Budget) {
	b.Counted = slices.Concat(d.budgets[b.BudgetKey].Counted, b.Charged)
	d.budgets[b.BudgetKey] = b
}

// charge shows in the statuses of its budgets that a pod's eviction was allowed.
func (d *deltas) charge(budgets map[model.BudgetKey]*model.Budget, p *model.Pod) {
	for k, b := range budgets {
		if k.Namespace == p.Namespace && b.Matches(p.Labels) {
			d.budget(*b)
			now := d.budgets[k]
			now.Counted = append(now.Counted, p.Name)
			d.budgets[k] = now
		}
	}
}

func (d *deltas) podGone(k model.PodKey, uid string) {
	if p := d.pods[k]; p != nil && p.UID == uid {
		delete(d.pods, k)
	}
	d.podsGone[engine.PodRef{PodKey: k, UID: uid}] = true
}

// move puts the deltas of one kind into in, and tells whether there were any.
func (d *deltas) move(kind string, in *engine.Input) bool {
	rest := *d
	*d = newDeltas()
	switch kind {
	case "nodes":
		d.nodes, rest.nodes = rest.nodes, d.nodes
	case "pods":
		d.pods, rest.pods, d.podsGone, rest.podsGone = rest.pods, d.pods, rest.podsGone, d.podsGone
	case "workloads":
		d.workloads, rest.workloads = rest.workloads, d.workloads
	case "budgets":
		d.budgets, rest.budgets = rest.budgets, d.budgets
	}
	got := d.take()
	*d = rest
	// What the last Step has not taken yet is older: deletions in it are undone
	// by what came since, and what it added may be gone by now.
	in.Nodes = append(slices.DeleteFunc(in.Nodes, func(n model.Node) bool { return slices.Contains(got.NodesGone, n.Name) }), got.Nodes...)
	in.NodesGone = append(in.NodesGone, got.NodesGone...)
	in.Pods = append(slices.DeleteFunc(in.Pods, func(p model.Pod) bool {
		return slices.Contains(got.PodsGone, engine.PodRef{PodKey: p.PodKey, UID: p.UID})
	}), got.Pods...)
	in.PodsGone = append(in.PodsGone, got.PodsGone...)
	in.Workloads = append(in.Workloads, got.Workloads...)
	in.Budgets = append(in.Budgets, got.Budgets...)
	return len(got.Nodes)+len(got.NodesGone)+len(got.Pods)+len(got.PodsGone)+len(got.Workloads)+len(got.Budgets) > 0
}

// take returns what has come together, sorted, and starts anew.
func (d *deltas) take() engine.Input {
	in := d.more
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		if n := d.nodes[name]; n != nil {
			in.Nodes = append(in.Nodes, *n)
		} else {
			in.NodesGone = append(in.NodesGone, name)
		}
	}
	for _, p := range d.pods {
		in.Pods = append(in.Pods, *p)
	}
	slices.SortFunc(in.Pods, func(a, b model.Pod) int { return strings.Compare(a.String(), b.String()) })
	in.PodsGone = slices.SortedFunc(maps.Keys(d.podsGone), func(a, b engine.PodRef) int { return strings.Compare(a.UID, b.UID) })
	in.Workloads = slices.SortedFunc(maps.Values(d.workloads), func(a, b model.Workload) int { return strings.Compare(a.WorkloadKey.String(), b.WorkloadKey.String()) })
	in.Budgets = slices.SortedFunc(maps.Values(d.budgets), func(a, b model.Budget) int { return strings.Compare(a.Name, b.Name) })
	*d = newDeltas()
	return in
}
