package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Shape is what a world begins with, and what is asked for.
type Shape struct {
	Spec      plan.Spec
	Pace      Pace
	Groups    []GroupShape
	Workloads []WorkloadShape
	Budgets   []BudgetShape
	// Cordoned is how many nodes a person has cordoned before the start.
	Cordoned int
	// Marked is how many nodes a person has marked for the autoscaler and for load
	// balancers before the start.
	Marked int
	// Tight: the nodes have hardly more room than is needed, so that the plan may be
	// refused.
	Tight bool
	// Scatter: the scheduler scores as finely as kube-scheduler does, and takes any of
	// the nodes that score best; else the first, so that a workload's pods are side by side.
	Scatter bool
	// Stuck names a budget that never opens; the rotation is to end and say so.
	Stuck string
}

// GroupShape is a node group.
type GroupShape struct {
	Name      string
	Role      model.Role
	Size, Old int // instances, and how many of them are outdated
	Zones     []string
	Room      int // what a node offers to pods' requests
	Traits    model.Traits
	Suspended bool // somebody has suspended its evening out of zones
	Nameless  bool // of a roll by its provider nobody can tell which call began it
	Relabels  bool // its new nodes have another value of a label
	Cordons   bool // its provider cordons all old nodes first, as EKS does; else it taints them
}

// WorkloadShape is a controller with its pods.
type WorkloadShape struct {
	Kind, Name    string
	Pods, Request int
	Priority      int32
	// Start and Stop bound how long a pod takes to become Ready, and to end.
	Start, Stop time.Duration
	// Zone is where alone its pods may be; empty: anywhere.
	Zone string
	// Broken pods never become Ready.
	Broken int
	// Deployment: a Deployment owns it, whose updates surge.
	Deployment bool
	// Ordered: a StatefulSet whose pods leave one at a time.
	Ordered bool
	// Hold: for so long after its start a pod asks not to be disrupted.
	Hold time.Duration
	// ToleratesCordon: its pods go to cordoned nodes too.
	ToleratesCordon bool
	// Skipped: a rule leaves its pods on the nodes that are drained.
	Skipped bool
	// Volumes: each pod has a volume of its own, which follows its name.
	Volumes bool
	// Static: a DaemonSet in name only; the kubelets of the control plane's nodes
	// run its pods.
	Static bool
}

// BudgetShape is a PodDisruptionBudget over workloads.
type BudgetShape struct {
	Name                         string
	Workloads                    []string
	MinAvailable, MaxUnavailable string
	AlwaysEvictUnhealthy         bool
}

// Spec is what a rotation file without anything in it asks for.
func Spec() plan.Spec {
	return plan.Spec{
		Cluster:  "sim",
		Select:   plan.Select{Roles: []string{string(model.RoleBastion), string(model.RoleControlPlane), string(model.RoleNode)}},
		Strategy: plan.Strategy{Mode: plan.ModeRolling, MaxSurge: "1", MaxUnavailable: "0", GroupsAtOnce: 1, OnFailure: plan.FailureAbort, MaxFailed: 3, Attract: plan.AttractCordon, AutoscalerShield: true, AllowSingleControlPlane: true, Canary: plan.Canary{Enabled: true}},
		Lock:     plan.Lock{Duration: 2 * time.Minute},
		Drain: plan.Drain{Deadline: 15 * time.Minute, OnDeadline: plan.DeadlineFail, UnmanagedPods: plan.UnmanagedRefuse, MaxEvictions: 50, ExcludeFromLoadBalancers: true,
			QuiesceTimeout: 10 * time.Minute, OnQuiesceTimeout: plan.QuiesceContinue},
		Gates: plan.Gates{NodeReady: plan.NodeReadyGate{Timeout: 15 * time.Minute},
			Workloads: plan.WorkloadsGate{Enabled: true, Timeout: 10 * time.Minute}},
	}
}

// Large is one group of many nodes, a budget for each workload.
func Large(nodes, podsEach, workloads int) *Shape {
	s := &Shape{Spec: Spec()}
	s.Spec.Strategy.MaxSurge, s.Spec.Strategy.Canary.Enabled = "10%", false
	s.Groups = []GroupShape{{Name: "g", Role: model.RoleNode, Size: nodes, Old: nodes, Zones: []string{"a", "b", "c"}, Room: 2 * podsEach, Traits: surges(nodes)}}
	for i := range workloads {
		name := fmt.Sprintf("w%d", i)
		s.Workloads = append(s.Workloads, WorkloadShape{Kind: "ReplicaSet", Name: name, Pods: nodes * podsEach / workloads, Request: 1, Start: 10 * time.Second, Stop: 5 * time.Second})
		s.Budgets = append(s.Budgets, BudgetShape{Name: name, Workloads: []string{name}, MaxUnavailable: "20%"})
	}
	return s
}

// surges are the traits of an Auto Scaling group.
func surges(most int) model.Traits {
	return model.Traits{TerminateKeep: true, TerminateShrink: true, Prepare: true, MaxSurge: most, Refill: model.RefillGroup}
}

// RandomShape is a small world by the seed.
func RandomShape(seed uint64) *Shape {
	d := newDice(seed, "shape")
	s := &Shape{Spec: Spec()}
	room, nodes := 0, 0
	for i := range 1 + d.n(3) {
		size := 1 + d.n(pick(&d, 3, 6, 12))
		g := GroupShape{Name: fmt.Sprintf("g%d", i), Role: model.RoleNode, Size: size, Old: 1 + d.n(size), Zones: []string{"a", "b", "c"}[:1+d.n(3)],
			Room: 20, Traits: surges(100), Suspended: d.chance(0.2)}
		if d.chance(0.15) && i > 0 { // pods need somewhere to go: the control plane never surges
			g.Role = model.RoleControlPlane
			room -= g.Room
		}
		g.Traits.Prepare = d.chance(0.85)
		room, nodes = room+g.Room*size, nodes+size
		s.Groups = append(s.Groups, g)
	}
	// Dice of its own: what else a seed gives stays as it is.
	if detach := newDice(seed, "detach"); detach.chance(0.25) {
		for i := range s.Groups {
			s.Groups[i].Traits.SurgeDetaches = detach.chance(0.7)
		}
	}
	if bastion := newDice(seed, "bastion"); bastion.chance(0.15) { // machines that never join
		size := 1 + bastion.n(3)
		s.Groups = append(s.Groups, GroupShape{Name: "bastions", Role: model.RoleBastion, Size: size, Old: 1 + bastion.n(size),
			Zones: []string{"a", "b"}, Traits: surges(100)})
	}
	if validate := newDice(seed, "validate"); validate.chance(0.15) {
		s.Spec.Gates.KopsValidate = plan.KopsValidateGate{Enabled: true, Timeout: 15 * time.Minute}
	}
	st := &s.Spec.Strategy
	sched := newDice(seed, "scheduling")
	st.Attract = pick(&d, plan.AttractTaint, plan.AttractCordon)
	st.Mode = pick(&d, plan.ModeRolling, plan.ModeRolling, plan.ModeBatch)
	st.MaxSurge = pick(&d, "1", "1", "2", "3", "25%", "100%")
	st.MaxUnavailable = pick(&d, "0", "0", "1", "2", "30%")
	if d.chance(0.2) { // groups that cannot surge
		st.MaxSurge, st.MaxUnavailable = pick(&d, "0", "1"), pick(&d, "1", "2")
		for i := range s.Groups {
			s.Groups[i].Traits.MaxSurge, s.Groups[i].Traits.TerminateShrink = 0, false
		}
		room = max(nodes-2*len(s.Groups), 0) * 20 // where else could pods go?
	}
	room -= s.otherRefills(seed)
	st.GroupsAtOnce, st.MaxInFlight = 1+d.n(3), pick(&d, "0", "0", "1", "3")
	st.Zones, st.MaxUnavailablePerZone = pick(&sched, plan.ZonesAny, plan.ZonesSpread, plan.ZonesOneAtATime), pick(&sched, "0", "0", "1", "50%")
	st.Order = pick(&sched, plan.OrderOldest, plan.OrderEmptiest)
	st.BatchSize = pick(&d, 0, 0, 1, 4)
	st.Canary = plan.Canary{Enabled: d.chance(0.5), Bake: pick(&d, 0, 5*time.Minute)}
	st.Waits = plan.Waits{BetweenBatches: pick(&d, 0, 5*time.Minute), BetweenDrains: pick(&d, 0, 0, 0, time.Minute), BetweenEvictions: pick(&d, 0, 0, 0, 2*time.Second)}
	st.OnFailure = pick(&d, plan.FailureAbort, plan.FailurePause, plan.FailureContinue)
	st.MaxFailed = pick(&d, 0, 1, 3)
	st.OnSignal = pick(&d, plan.SignalKeep, plan.SignalUndo)
	s.Spec.Drain.OnDeadline = pick(&d, plan.DeadlineFail, plan.DeadlineSkip, plan.DeadlineForce)
	s.Spec.Drain.Retries = pick(&d, 0, 0, 1)
	s.Spec.Drain.MaxEvictions = pick(&d, 1, 50)
	s.Spec.Drain.Deadline = pick(&d, 5*time.Minute, 15*time.Minute)
	v := newDice(seed, "volumes") // of its own: older seeds keep their worlds
	s.Spec.Drain.VolumeDetachTimeout = pick(&v, 0, time.Minute, 5*time.Minute)
	for _, g := range s.Groups {
		if g.Role == model.RoleControlPlane { // one of it is missing at a time, and nothing stands in
			room -= g.Room
		}
	}
	room = max(room, 0) / 2 // the other half lets pods move
	for i := range d.n(10) {
		wl := WorkloadShape{Kind: pick(&d, "ReplicaSet", "ReplicaSet", "StatefulSet"), Name: fmt.Sprintf("w%d", i), Pods: 1 + d.n(12), Request: 1 + d.n(3),
			Start: pick(&d, 2*time.Second, 30*time.Second), Stop: pick(&d, time.Second, 20*time.Second)}
		if room -= wl.Pods * wl.Request; room < 0 {
			break
		}
		if d.chance(0.1) {
			wl.Priority = 2_000_000_000
		}
		wl.Volumes = wl.Kind == "StatefulSet" && v.chance(0.5)
		s.Workloads = append(s.Workloads, wl)
		if wl.Pods < 2 || d.chance(0.4) {
			continue
		}
		b := BudgetShape{Name: "pdb-" + wl.Name, Workloads: []string{wl.Name}, AlwaysEvictUnhealthy: d.chance(0.3)}
		switch d.n(4) {
		case 0:
			b.MinAvailable = fmt.Sprint(1 + d.n(wl.Pods-1))
		case 1:
			b.MinAvailable = "50%"
		case 2:
			b.MaxUnavailable = "1"
		case 3:
			b.MaxUnavailable = "25%"
		}
		s.Budgets = append(s.Budgets, b)
	}
	s.singles(seed, &room)
	if d.chance(0.7) {
		s.Workloads = append(s.Workloads, WorkloadShape{Kind: "DaemonSet", Name: "agent", Start: 5 * time.Second, Stop: time.Second})
	}
	if slices.ContainsFunc(s.Groups, func(g GroupShape) bool { return g.Role == model.RoleControlPlane }) {
		for _, c := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"} {
			s.Workloads = append(s.Workloads, WorkloadShape{Kind: "DaemonSet", Name: c, Static: true, Start: 20 * time.Second, Stop: time.Second})
		}
	}
	if nodes > 3 && d.chance(0.2) {
		s.Cordoned = 1
	}
	s.Spec.Strategy.AutoscalerShield, s.Spec.Drain.ExcludeFromLoadBalancers = d.chance(0.7), d.chance(0.7)
	if d.chance(0.3) {
		s.Marked = 1
	}
	s.Spec.Drain.QuiesceTimeout = pick(&d, 0, time.Minute, 10*time.Minute, 10*time.Minute)
	s.Spec.Drain.OnQuiesceTimeout = plan.QuiesceContinue
	if s.Spec.Drain.QuiesceTimeout > leavesWithin && d.chance(0.4) { // with less time it would never end
		s.Spec.Drain.OnQuiesceTimeout = plan.QuiesceFail
	}
	for i := range s.Groups { // Restore is what puts back after a journal is lost
		s.Groups[i].Traits.Quiesce = s.Groups[i].Traits.Prepare && d.chance(0.4)
	}
	s.drains(seed)
	s.otherRolls(seed)
	s.relabels(seed)
	if d.chance(0.05) { // one budget never opens: one pod too few is ever Ready
		s.Stuck = "pdb-stuck"
		s.Workloads = append(s.Workloads, WorkloadShape{Kind: "ReplicaSet", Name: "stuck", Pods: 3, Start: time.Second, Stop: time.Second, Broken: 1})
		s.Budgets = append(s.Budgets, BudgetShape{Name: s.Stuck, Workloads: []string{"stuck"}, MinAvailable: "2"})
	}
	s.tighten(seed)
	return s
}

// singles adds Deployments, some of one replica under a budget that allows no
// eviction, where the spec says how to move them.
func (s *Shape) singles(seed uint64, room *int) {
	d := newDice(seed, "singles") // of its own: older seeds keep their worlds
	s.Spec.Drain.SingleReplica = pick(&d, plan.SingleEvict, plan.SingleRestart, plan.SingleSurge)
	for i := range d.n(4) {
		wl := WorkloadShape{Kind: "ReplicaSet", Name: fmt.Sprintf("s%d", i), Pods: pick(&d, 1, 1, 3), Request: 1, Deployment: true,
			Start: pick(&d, 2*time.Second, 30*time.Second), Stop: pick(&d, time.Second, 20*time.Second)}
		if *room -= (wl.Pods + 1) * wl.Request; *room < 0 {
			return
		}
		s.Workloads = append(s.Workloads, wl)
		if s.Spec.Drain.SingleReplica != plan.SingleEvict && d.chance(0.6) {
			s.Budgets = append(s.Budgets, BudgetShape{Name: "pdb-" + wl.Name, Workloads: []string{wl.Name}, MinAvailable: fmt.Sprint(wl.Pods)})
		}
	}
}

// drains varies what pods ask of a drain, and what is asked of them. It has dice of
// its own, so that the rest of a seed's shape is as it was.
func (s *Shape) drains(seed uint64) {
	d := newDice(seed, "drains")
	dr := &s.Spec.Drain
	guarded := make(map[string]bool)
	for _, b := range s.Budgets {
		for _, name := range b.Workloads {
			guarded[name] = true
		}
	}
	for i := range s.Workloads {
		wl := &s.Workloads[i]
		wl.Ordered = wl.Kind == "StatefulSet" && d.chance(0.6)
		rule := drain.Rule{Selector: "app=" + wl.Name}
		switch {
		case wl.Kind == "DaemonSet":
		case d.chance(0.07):
			wl.Hold = pick(&d, time.Minute, 3*time.Minute)
		case !guarded[wl.Name] && d.chance(0.07): // a guarded one might come back for ever
			wl.ToleratesCordon = true
		case !guarded[wl.Name] && d.chance(0.07):
			wl.Skipped, rule.Action = true, drain.ActionSkip
			dr.Rules = append(dr.Rules, rule)
		case d.chance(0.1):
			rule.Order = pick(&d, -1, 1)
			dr.Rules = append(dr.Rules, rule)
		}
	}
	// Where no node is added first, a pod may not come back before its node has gone.
	if s.Spec.Strategy.MaxSurge == "0" || slices.ContainsFunc(s.Groups, func(g GroupShape) bool { return g.Traits.MaxSurge == 0 || g.Role != model.RoleNode }) {
		dr.StatefulSets = drain.StatefulSetsParallel
	}
	dr.DoNotDisrupt = pick(&d, drain.DoNotDisruptWait, drain.DoNotDisruptWait, drain.DoNotDisruptEvict)
	dr.DaemonSets = pick(&d, drain.DaemonSetsLeave, drain.DaemonSetsLeave, drain.DaemonSetsLast)
	dr.DeletePodsDespiteBudgets = dr.OnDeadline == plan.DeadlineForce && d.chance(0.3)
}

// rest is how long a new world has for its pods to become Ready.
const rest = 5 * time.Minute

// epoch is when virtual time begins, where it is not tied to a clock.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// build makes the world of a shape, which is at rest at the given time.
func (s *Shape) build(seed uint64, in *injector, now time.Time) *World {
	w := newWorld(seed, in)
	w.epoch, w.pace = now.Add(-rest), s.Pace
	w.tight, w.scatter = s.Tight, s.Scatter
	w.healed, w.kinds = true, len(s.Workloads) // nothing goes wrong while it is made
	for _, gs := range s.Groups {
		g := &group{w: w, zones: gs.Zones, room: gs.Room, own: gs.Size, most: gs.Size, nameless: gs.Nameless, relabels: gs.Relabels, cordons: gs.Cordons, suspended: gs.Suspended, NodeGroup: model.NodeGroup{
			ID: gs.Name, Name: gs.Name, Role: gs.Role, Desired: gs.Size, Max: 10*gs.Size + 100, Revision: "new", Traits: gs.Traits}}
		w.groups = append(w.groups, g)
		for i := range gs.Size {
			revision := "old"
			if i >= gs.Old {
				revision = "new"
			}
			inst := w.newInstance(g, gs.Zones[i%len(gs.Zones)], revision)
			inst.State = model.InstanceInService
			inst.serves()
			inst.LaunchedAt = w.epoch.Add(-time.Duration(gs.Size-i) * time.Hour)
			w.join(inst)
		}
	}
	for _, ws := range s.Workloads {
		wl := &workload{index: len(w.workloads), app: ws.Name, zone: ws.Zone, request: ws.Request, priority: ws.Priority, start: ws.Start, stop: ws.Stop, broken: ws.Broken, volumes: ws.Volumes, static: ws.Static, lost: -time.Hour,
			hold: ws.Hold, toleratesCordon: ws.ToleratesCordon, skipped: ws.Skipped,
			Workload: model.Workload{WorkloadKey: model.WorkloadKey{Kind: ws.Kind, Namespace: "default", Name: ws.Name}, UID: "workload-" + ws.Name, Desired: ws.Pods, Ordered: ws.Ordered}}
		if ws.Static {
			wl.Namespace = "kube-system"
		}
		w.workloads = append(w.workloads, wl)
		if ws.Deployment {
			w.addDeployment(wl)
		}
		if ws.Kind == "DaemonSet" {
			for _, n := range w.nodeList {
				w.daemonDue(wl, n, 0)
			}
		}
		w.fill(wl)
	}
	for _, b := range s.Budgets {
		w.addBudget(b.Name, budget{minAvailable: b.MinAvailable, maxUnavailable: b.MaxUnavailable,
			Budget: model.Budget{AlwaysEvictUnhealthy: b.AlwaysEvictUnhealthy}}, b.Workloads...)
	}
	for {
		if at, ok := w.next(); !ok || at > rest {
			break
		}
		w.turn()
	}
	for i := range s.Marked {
		d := w.dice("marked", fmt.Sprint(i))
		w.markFor(w.nodeList[d.n(len(w.nodeList))], pick(&d, "true", "false"), "")
	}
	for i := range s.Cordoned {
		d := w.dice("cordoned", fmt.Sprint(i))
		n := w.nodeList[d.n(len(w.nodeList))]
		n.Unschedulable, n.person, w.nodesChanged = true, true, true
	}
	w.epoch = now
	if s.Pace.paced() {
		w.past()
	}
	w.queue, w.feed, w.healed = queue{}, feed{}, false // what is left in it does nothing in a world at rest
	for _, b := range w.budgets {
		b.dueAt = 0
	}
	for _, d := range w.deployments {
		d.dueAt, d.Ready = 0, d.wl.healthy
		d.RolledOut = d.Ready == d.Replicas
		w.reconcileDeployment(d)
	}
	return w
}
