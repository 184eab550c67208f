package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// World is a cluster and its provider. Not safe for concurrent use: Live is.
type World struct {
	queue
	seed   uint64
	epoch  time.Time // when virtual time began
	faults *injector
	pace   Pace

	groups    []*group
	instances map[string]*instance
	order     []*instance // in the order of their launch
	nodes     map[string]*node
	nodeList  []*node // in the order of their joining
	pods      map[model.PodKey]*pod
	workloads []*workload // in the order of their making
	budgets   []*budget

	kinds    int // workloads that there will be
	launched int // instances ever
	rolled   int // rolls by a provider ever
	made     int // pods ever
	lags     uint64

	pending      []*pod // not scheduled, in the order of their making
	tight        bool   // there is no room for more than there is
	scatter      bool   // of nodes that score the same, any takes a pod
	schedulerDue bool
	provisioning bool        // a provisioner is about to launch an instance
	schedulerAt  int         // where the scheduler's next look at nodeList begins
	takers       []candidate // see candidates
	nodesChanged bool        // since takers was made

	feed    feed
	watcher func()
	told    time.Duration // when changes were last delivered
	toldAt  time.Duration // when they will be next
	toldDue bool

	deployments []*deployment // in the order of their making
	attachments []*attachment // in the order of their making

	noCapacity map[string]time.Duration // by zone: until when nothing can be launched
	storm      time.Duration            // until when the provider throttles
	healed     bool                     // no fault begins any more
	tries      map[string]int           // calls of each kind and object, for the names of faults

	says func(format string, args ...any) // what others do, for a person
}

// node is a Kubernetes node and its kubelet.
type node struct {
	model.Node
	inst  *instance
	pods  []*pod
	used  int   // by the requests of its pods
	hosts []int // pods of each workload, by the workload's index
	// byProvider: its provider has cordoned it in a roll.
	byProvider bool
	// dead: the kubelet does not answer any more.
	dead bool
	// person says that a person wants the node cordoned. What we do to it does
	// not change that.
	person bool
	// theirs are the marks that people want on it: see marks.
	theirs string
	// unsure: a person and we changed the cordon at the same moment, so that
	// nobody can tell whose it is.
	unsure     bool
	personAt   time.Duration // of a person's last change of its cordon
	uncordoned time.Duration // when a person last uncordoned it
}

// pod is a pod and its containers.
type pod struct {
	model.Pod
	workload *workload
	on       *node
	request  int
	made     time.Duration // when
	pinnedAt time.Duration // when it last began to select a label
	counted  bool          // not terminating: its workload counts it
}

func newWorld(seed uint64, in *injector) *World {
	return &World{
		seed: seed, faults: in,
		instances: make(map[string]*instance), nodes: make(map[string]*node), pods: make(map[model.PodKey]*pod),
		noCapacity: make(map[string]time.Duration), tries: make(map[string]int), says: func(string, ...any) {},
	}
}

// dice draws by name, in this world.
func (w *World) dice(name string, more ...string) dice { return newDice(w.seed, name, more...) }

// time is the virtual now.
func (w *World) time() time.Time { return w.epoch.Add(w.now) }

// inventory is the cluster's half of an inventory, as it is.
func (w *World) inventory() model.Inventory {
	inv := model.Inventory{
		Nodes: make([]model.Node, 0, len(w.nodeList)), Pods: make([]model.Pod, 0, len(w.pods)),
		Workloads: make([]model.Workload, 0, len(w.workloads)), Budgets: make([]model.Budget, 0, len(w.budgets)),
	}
	for _, n := range w.nodeList {
		inv.Nodes = append(inv.Nodes, n.Node)
	}
	for _, n := range w.nodeList {
		for _, p := range n.pods {
			inv.Pods = append(inv.Pods, p.Pod)
		}
	}
	for _, p := range w.pending {
		inv.Pods = append(inv.Pods, p.Pod)
	}
	for _, wl := range w.workloads {
		inv.Workloads = append(inv.Workloads, wl.Workload)
	}
	for _, b := range w.budgets {
		inv.Budgets = append(inv.Budgets, b.Budget)
	}
	w.persistent(&inv)
	for _, d := range w.deployments {
		inv.Deployments = append(inv.Deployments, d.shown())
	}
	return inv
}

// snapshot is what the driver would answer now.
func (w *World) snapshot() *engine.Snapshot {
	s := &engine.Snapshot{Groups: make([]model.NodeGroup, 0, len(w.groups)), Instances: make([]model.Instance, 0, len(w.order))}
	for _, g := range w.groups {
		s.Groups = append(s.Groups, g.shown())
	}
	for _, in := range w.order {
		s.Instances = append(s.Instances, in.shown())
	}
	return s
}

// toReady is the most that a paced boot spends between its node's joining and
// its being Ready.
const toReady = 5 * time.Second

// join makes an instance's node: not Ready at first.
func (w *World) join(in *instance) {
	if in.g.Role == model.RoleBastion {
		return // never a node
	}
	if n := w.nodes[in.nodeName()]; n != nil {
		w.takeOver(n, in)
		return
	}
	d := w.dice("join", in.ID)
	n := &node{inst: in, hosts: make([]int, w.kinds), Node: model.Node{Name: in.nodeName(), UID: "node-" + in.ID, ProviderID: in.ProviderID, Zone: in.Zone,
		Taints: []model.Taint{{Key: "node.kubernetes.io/not-ready", Effect: "NoSchedule"}}, CreatedAt: w.time(),
		Allocatable: offers(in.g.room), Labels: map[string]string{zoneLabel: in.Zone}}}
	if in.g.Role == model.RoleControlPlane {
		n.Labels["node-role.kubernetes.io/control-plane"] = ""
	}
	in.node = n
	n.label()
	w.nodes[n.Name] = n
	w.nodeList = append(w.nodeList, n)
	w.tellNode(n, false)
	for _, wl := range w.workloads {
		if wl.Kind == "DaemonSet" {
			w.daemonDue(wl, n, w.span(&d, w.pace.Control, 50*time.Millisecond, 2*time.Second))
		}
	}
	w.after(w.span(&d, min(w.pace.Boot/10, toReady), time.Second, 10*time.Second), func() {
		if w.nodes[n.Name] == n && !n.dead && in.State != model.InstanceTerminating {
			w.ready(n)
		}
	})
}

// ready makes a node Ready, and takes its startup taint off.
func (w *World) ready(n *node) {
	n.Ready = true
	n.Taints = slices.DeleteFunc(slices.Clone(n.Taints), func(t model.Taint) bool { return t.Key == "node.kubernetes.io/not-ready" })
	w.tellNode(n, false)
	w.schedule()
	w.mayDie(n)
}

// unready lets a node go dark, and the pods on it with it.
func (w *World) unready(n *node) {
	if n.dead {
		return
	}
	n.dead = true
	if n.Ready {
		n.Ready, n.Unreachable = false, true
		n.Taints = append(slices.Clone(n.Taints), model.Taint{Key: "node.kubernetes.io/not-ready", Effect: "NoSchedule"})
		w.tellNode(n, false)
	}
	for _, p := range slices.Clone(n.pods) {
		if p.Ready {
			p.setReady(false)
			p.workload.lost = w.now
			w.podChanged(p)
		}
	}
}

// dropNode deletes a node, and what was bound to it.
func (w *World) dropNode(n *node) {
	if w.nodes[n.Name] != n {
		return
	}
	delete(w.nodes, n.Name)
	w.nodeList = slices.DeleteFunc(w.nodeList, func(o *node) bool { return o == n })
	w.tellNode(n, true)
	w.forceDetach(n)
	for _, p := range slices.Clone(n.pods) {
		w.removePod(p)
	}
	for _, wl := range w.workloads {
		if wl.Kind == "DaemonSet" && wl.runsOn(n) {
			wl.Desired--
			w.recount(wl)
		}
	}
}

// patch brings a node to a goal, as the cluster port does: it writes what
// differs, and nothing to another life of the node.
func (w *World) patch(name string, p *engine.NodePatch) *engine.Error {
	n := w.nodes[name]
	if n == nil {
		return notFound("node", name)
	}
	if p.UID != "" && p.UID != n.UID {
		return &engine.Error{Code: engine.ErrConflict, Message: "node " + name + " was deleted and made again"}
	}
	taints := slices.Clone(n.Taints)
	if p.RemoveTaint != "" {
		taints = slices.DeleteFunc(taints, func(t model.Taint) bool { return t.Key == p.RemoveTaint })
	}
	if a := p.AddTaint; a != nil {
		taints = append(slices.DeleteFunc(taints, func(t model.Taint) bool { return t.Key == a.Key && t.Effect == a.Effect }), *a)
	}
	n.Taints = taints
	if p.Unschedulable != nil {
		n.Unschedulable = *p.Unschedulable
	}
	labels, annotations := p.Metadata(n.Labels, n.Annotations)
	n.Labels, n.Annotations = merged(n.Labels, labels), merged(n.Annotations, annotations)
	w.tellNode(n, false)
	w.schedule()
	return nil
}

// merged is a map with some keys set and those with nil removed, as a JSON merge
// patch has it. The map itself, which watches show, stays as it is.
func merged(m map[string]string, changes map[string]*string) map[string]string {
	if len(changes) == 0 {
		return m
	}
	out := make(map[string]string, len(m)+len(changes))
	maps.Copy(out, m)
	for k, v := range changes {
		if v == nil {
			delete(out, k)
		} else {
			out[k] = *v
		}
	}
	return out
}

func notFound(what, name string) *engine.Error {
	return &engine.Error{Code: engine.ErrNotFound, Message: what + " " + name + " not found"}
}
