package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// BenchmarkRotation1000 rotates 1,000 nodes with 10,000 pods under 100 budgets,
// a tenth at a time. The goal is an engine's part under a second.
func BenchmarkRotation1000(b *testing.B) {
	for b.Loop() {
		s := newStream(1000, 10, 100)
		s.run(b)
		b.ReportMetric(s.inside.Seconds(), "engine-s/op")
		b.ReportMetric(float64(s.steps), "steps/op")
		b.ReportMetric(s.now.Sub(epoch).Minutes(), "virtual-min/op")
	}
}

// BenchmarkJournal1000 is what such a rotation leaves in its journal, and what of it
// says what is waited for.
func BenchmarkJournal1000(b *testing.B) {
	for b.Loop() {
		s := newStream(1000, 10, 100)
		s.killAt = epoch.Add(1000 * time.Hour) // never: for its records
		s.run(b)
		bytes, waits := 0, 0
		for _, ev := range s.past {
			line, err := json.Marshal(ev)
			if err != nil {
				b.Fatal(err)
			}
			if bytes += len(line) + 1; ev.Kind == event.GroupWaits || ev.Kind == event.DrainWaits {
				waits += len(line) + 1
			}
		}
		b.ReportMetric(float64(len(s.past)), "records")
		b.ReportMetric(float64(bytes)/1024, "KiB")
		b.ReportMetric(float64(waits)/1024, "KiB-of-waits")
	}
}

// BenchmarkStop1000 is a signal in the middle of it: all marks come off.
func BenchmarkStop1000(b *testing.B) {
	for b.Loop() {
		s := newStream(1000, 10, 100)
		s.stopAt = epoch.Add(3 * time.Minute)
		s.run(b)
		b.ReportMetric(s.inside.Seconds(), "engine-s/op")
	}
}

// BenchmarkResume1000 is the way from the journal and the inventory of a rotation
// that was killed in the midst to the first thing that the next run does. The
// goal is two seconds, in which a run also lists the cluster (make bench measures
// `rotatord plan` for that).
func BenchmarkResume1000(b *testing.B) {
	s := newStream(1000, 10, 100)
	s.killAt = epoch.Add(10 * time.Minute)
	s.run(b)
	inv := model.Inventory{}
	snap := s.snapshot()
	inv.Groups, inv.Instances = snap.Groups, snap.Instances
	inv.Groups[0].HeldBy = "r1"
	old := 0
	for _, in := range snap.Instances {
		if len(in.Reasons) > 0 {
			old++
		}
		inv.Nodes = append(inv.Nodes, s.node(in))
	}
	if old == 0 || old == len(snap.Instances) {
		b.Fatalf("%d of %d instances are old: this is not the midst", old, len(snap.Instances))
	}
	for _, p := range s.pods {
		inv.Pods = append(inv.Pods, *p)
	}
	for app, bud := range s.budget {
		inv.Budgets = append(inv.Budgets, *bud)
		inv.Workloads = append(inv.Workloads, model.Workload{WorkloadKey: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: app},
			Desired: bud.Expected, Ready: bud.CurrentHealthy})
	}
	for b.Loop() {
		b.ReportMetric(float64(len(s.past)), "records")
		m := engine.Restore(s.past)
		p, err := plan.Resume(s.spec, inv, s.now, m.Memory)
		if err != nil || len(p.Refusals) > 0 {
			b.Fatal(err, p.Refusals)
		}
		e := engine.New(engine.Config{Rotation: "r1", Plan: p, Spec: s.spec, Memory: m, OpPrefix: "again"})
		r := e.Step(s.now, engine.Input{Snapshot: snap, Nodes: inv.Nodes, Pods: inv.Pods, Workloads: inv.Workloads, Budgets: inv.Budgets})
		if len(r.Effects) == 0 {
			b.Fatal("the first Step does nothing")
		}
	}
}

// stream is a world as lean as can be: answers come in the next tick, pods
// move in five seconds, instances boot in a minute.
type stream struct {
	now    time.Time
	eng    *engine.Engine
	ticks  map[time.Time][]func()
	in     engine.Input
	group  model.NodeGroup
	live   map[string]model.Instance
	seq    int
	pods   map[model.PodKey]*model.Pod
	fresh  []string // nodes that take pods, in turn
	podSeq int
	budget map[string]*model.Budget
	stopAt time.Time
	killAt time.Time
	spec   plan.Spec
	past   []event.Event // what a journal would hold
	steps  int
	inside time.Duration
}

const tick = 100 * time.Millisecond

func newStream(nodes, podsEach, workloads int) *stream {
	s := &stream{now: epoch, ticks: map[time.Time][]func(){}, live: map[string]model.Instance{}, pods: map[model.PodKey]*model.Pod{}, budget: map[string]*model.Budget{},
		group: model.NodeGroup{ID: "g", Name: "g", Role: model.RoleNode, Desired: nodes, Traits: model.Traits{
			TerminateKeep: true, TerminateShrink: true, MaxSurge: nodes, Refill: model.RefillGroup}}}
	for i := range workloads {
		app := fmt.Sprintf("app-%d", i)
		n := nodes * podsEach / workloads
		bud := model.Budget{Selector: app, BudgetKey: model.BudgetKey{Namespace: "default", Name: app}, Observed: true, Expected: n, CurrentHealthy: n,
			DesiredHealthy: n - n/5, Allowed: n / 5, Matches: func(l map[string]string) bool { return l["app"] == app }}
		s.budget[app] = &bud
		s.in.Budgets = append(s.in.Budgets, bud)
		s.in.Workloads = append(s.in.Workloads, model.Workload{WorkloadKey: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: app}, Desired: n, Ready: n})
	}
	for range nodes {
		in := s.launch([]model.Reason{{Code: "revision"}})
		s.in.Nodes = append(s.in.Nodes, s.node(in))
		for range podsEach {
			s.pod("node-"+in.ID, fmt.Sprintf("app-%d", s.podSeq%workloads))
		}
	}
	spec := defaults()
	spec.Strategy.MaxSurge = "10%"
	spec.Drain.MaxEvictions = 50
	snap := s.snapshot()
	p, err := plan.Build(spec, model.Inventory{Groups: snap.Groups, Instances: snap.Instances, Nodes: s.in.Nodes, Pods: s.in.Pods,
		Workloads: s.in.Workloads, Budgets: s.in.Budgets}, s.now)
	if err != nil || len(p.Refusals) > 0 {
		panic(fmt.Sprint(err, p.Refusals))
	}
	s.in.Snapshot, s.spec = snap, spec
	s.eng = engine.New(engine.Config{Rotation: "r1", Plan: p, Spec: spec})
	return s
}

func (s *stream) launch(reasons []model.Reason) model.Instance {
	s.seq++
	id := fmt.Sprintf("i-%05d", s.seq)
	in := model.Instance{ID: id, GroupID: "g", ProviderID: "aws:///" + id, Zone: string(rune('a' + s.seq%3)), State: model.InstanceInService, Reasons: reasons, LaunchedAt: s.now}
	s.live[id] = in
	return in
}

func (s *stream) node(in model.Instance) model.Node {
	return model.Node{Name: "node-" + in.ID, UID: in.ID, ProviderID: in.ProviderID, Zone: in.Zone, Ready: true}
}

func (s *stream) pod(node, app string) {
	s.podSeq++
	p := model.Pod{PodKey: model.PodKey{Namespace: "default", Name: fmt.Sprintf("%s-%d", app, s.podSeq)}, UID: fmt.Sprint(s.podSeq), Node: node,
		Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: app}, Phase: "Running", Ready: true, Labels: map[string]string{"app": app}}
	s.pods[p.PodKey] = &p
	s.in.Pods = append(s.in.Pods, p)
}

func (s *stream) snapshot() *engine.Snapshot {
	snap := &engine.Snapshot{Groups: []model.NodeGroup{s.group}}
	for i := range s.seq {
		if in, ok := s.live[fmt.Sprintf("i-%05d", i+1)]; ok {
			snap.Instances = append(snap.Instances, in)
		}
	}
	return snap
}

func (s *stream) after(d time.Duration, f func()) {
	at := s.now.Add(d)
	s.ticks[at] = append(s.ticks[at], f)
}

// healthy changes the count of an app's healthy pods.
func (s *stream) healthy(app string, by int) {
	b := s.budget[app]
	b.CurrentHealthy += by
	b.Allowed = max(b.CurrentHealthy-b.DesiredHealthy, 0)
	s.in.Budgets = append(s.in.Budgets, *b)
	s.in.Workloads = append(s.in.Workloads, model.Workload{WorkloadKey: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: app},
		Desired: b.Expected, Ready: b.CurrentHealthy})
}

func (s *stream) boot() {
	in := s.launch(nil)
	s.after(time.Minute, func() {
		if _, ok := s.live[in.ID]; ok {
			s.in.Nodes = append(s.in.Nodes, s.node(in))
			s.fresh = append(s.fresh, "node-"+in.ID)
		}
	})
}

func (s *stream) do(e engine.Effect) {
	out := engine.Outcome{ID: e.ID, Verb: e.Verb, Pod: e.Pod}
	switch e.Verb {
	case engine.VerbSetSurge:
		for range e.Surge - s.group.Surge {
			s.boot()
		}
		s.group.Desired, s.group.Surge = s.group.Desired+e.Surge-s.group.Surge, e.Surge
	case engine.VerbTerminate:
		if e.Shrink {
			s.group.Desired--
			s.group.Surge--
		} else {
			s.after(5*time.Second, s.boot)
		}
		s.after(20*time.Second, func() {
			delete(s.live, e.InstanceID)
			s.in.NodesGone = append(s.in.NodesGone, "node-"+e.InstanceID)
		})
	case engine.VerbPatchNode:
		if u := e.Patch.Unschedulable; u != nil && *u {
			s.fresh = slices.DeleteFunc(s.fresh, func(n string) bool { return n == e.Node })
			n := s.node(s.live[e.Patch.UID])
			n.Unschedulable = true
			s.in.Nodes = append(s.in.Nodes, n)
		}
	case engine.VerbEvict:
		p := s.pods[e.Pod.PodKey]
		app := p.Owner.Name
		gone := *p
		gone.Terminating, gone.Ready = true, false
		s.in.Pods = append(s.in.Pods, gone)
		s.healthy(app, -1)
		s.after(5*time.Second, func() {
			delete(s.pods, e.Pod.PodKey)
			s.in.PodsGone = append(s.in.PodsGone, e.Pod)
			s.pod(s.fresh[s.podSeq%len(s.fresh)], app)
			s.healthy(app, 1)
		})
	}
	s.after(tick, func() {
		if e.Verb == engine.VerbObserve {
			s.in.Snapshot = s.snapshot()
		}
		s.in.Outcomes = append(s.in.Outcomes, out)
	})
}

// run ticks like the runtime does: what comes within 100 ms is one input.
func (s *stream) run(b *testing.B) {
	var wake time.Time
	for s.now.Sub(epoch) < 24*time.Hour {
		due := s.ticks[s.now]
		delete(s.ticks, s.now)
		for _, f := range due {
			f()
		}
		if !s.killAt.IsZero() && !s.now.Before(s.killAt) {
			return
		}
		if !s.stopAt.IsZero() && s.now.Equal(s.stopAt) {
			s.in.Stop = true
		}
		if s.steps == 0 || len(due) > 0 || s.in.Stop || !wake.IsZero() && !wake.After(s.now) {
			in := s.in
			s.in = engine.Input{}
			began := time.Now()
			r := s.eng.Step(s.now, in)
			s.inside += time.Since(began)
			s.steps++
			wake = r.WakeAt
			if !s.killAt.IsZero() {
				s.past = append(s.past, slices.DeleteFunc(slices.Clone(r.Records), func(ev event.Event) bool { return !ev.Kind.Durable() })...)
			}
			for _, e := range r.Effects {
				s.do(e)
			}
			if r.Done != nil {
				if want := s.stopAt.IsZero(); (r.Done.Status == engine.StatusDone) != want {
					b.Fatalf("%s: %s", r.Done.Status, r.Done.Message)
				}
				return
			}
		}
		s.now = s.now.Add(tick)
	}
	b.Fatal("no end within a day")
}
