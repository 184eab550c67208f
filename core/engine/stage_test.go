package engine_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// staging is the journal of a run that staged releases for two groups.
func staging() []event.Event {
	e := []event.Event{
		{Kind: event.ReleaseStaging, Data: map[string]string{"spec": "abc", "cluster": "prod"}},
		{Kind: event.OpIntended, Op: "s-1", Verb: event.VerbStage, Group: "workers"},
		{Kind: event.OpIntended, Op: "s-2", Verb: event.VerbStage, Group: "spot"},
		{Kind: event.OpSucceeded, Op: "s-1", Verb: event.VerbStage, Group: "workers"},
		{Kind: event.OpFailed, Op: "s-2", Verb: event.VerbStage, Group: "spot"},
		{Kind: event.RotationFinished, Code: "failed"},
	}
	for i := range e {
		e[i].Seq, e[i].Rotation, e[i].Time = uint64(i+1), "r1", epoch
	}
	return e
}

// What a later run learns from any prefix of it.
func TestRestoreOfStaging(t *testing.T) {
	type learned struct {
		Staged map[string]bool
		Open   []string
		Spec   string
		Ended  engine.Status
	}
	none, one := map[string]bool{}, map[string]bool{"workers": true}
	want := []learned{
		{Staged: none},
		{Staged: none, Spec: "abc"},
		{Staged: none, Spec: "abc", Open: []string{"s-1"}},
		{Staged: none, Spec: "abc", Open: []string{"s-1", "s-2"}},
		{Staged: one, Spec: "abc", Open: []string{"s-2"}},
		{Staged: one, Spec: "abc"},
		{Staged: one, Spec: "abc", Ended: engine.StatusFailed},
	}
	for n, w := range want {
		m := engine.Restore(staging()[:n])
		got := learned{Staged: m.Staged, Spec: m.Spec, Ended: m.Ended}
		for _, e := range m.OpenStages() {
			got.Open = append(got.Open, e.Op)
		}
		if d := cmp.Diff(w, got); d != "" {
			t.Errorf("after %d events: %s", n, d)
		}
	}
	again := append(staging(), event.Event{Seq: 7, Kind: event.ReleaseStaging, Data: map[string]string{"spec": "abc"}})
	if m := engine.Restore(again); m.Ended != "" {
		t.Errorf("a rotation that stages again has ended: %s", m.Ended)
	}
}

// A run that staged releases has drained nothing: what was not well when the
// rotation itself begins was not well before it.
func TestStagingIsNoBaseline(t *testing.T) {
	toy := newToy()
	toy.now = epoch
	g := toy.addGroup("workers", 1, "a")
	toy.join(toy.launch(g, true).ID)
	sick := model.WorkloadKey{Kind: "ReplicaSet", Namespace: "shop", Name: "web"}
	spec, inv := defaults(), toy.inventory()
	inv.Workloads = append(inv.Workloads, model.Workload{WorkloadKey: sick, Desired: 2, Ready: 1})
	p, err := plan.Build(spec, inv, toy.now)
	if err != nil || len(p.Refusals) > 0 {
		t.Fatal(err, p.Refusals)
	}
	e := engine.New(engine.Config{Rotation: "r1", OpPrefix: "r1.2", Plan: p, Spec: spec, Memory: engine.Restore(staging()[:4])})
	in := engine.Cluster(&inv)
	in.Snapshot = toy.snapshot()
	for _, r := range e.Step(toy.now, in).Records {
		if r.Kind == event.RotationStarted {
			if got, want := r.Data["unhealthy"], "ReplicaSet/shop/web"; got != want {
				t.Errorf("workloads that were not well before: %q, want %q", got, want)
			}
			return
		}
	}
	t.Error("the rotation did not start")
}

// Each run tells what its plan warns of: whoever runs a rotation may not have looked at
// the plan by itself.
func TestWarningsAreTold(t *testing.T) {
	toy := newToy()
	toy.now = epoch
	g := toy.addGroup("workers", 1, "a")
	toy.join(toy.launch(g, true).ID)
	spec, inv := defaults(), toy.inventory()
	p, err := plan.Build(spec, inv, toy.now)
	if err != nil || len(p.Refusals) > 0 {
		t.Fatal(err, p.Refusals)
	}
	p.Warnings = []plan.Finding{{Code: "finalizers", Object: "shop/web-1", Message: "1 pod(s) are held", Fix: "find out why"}}
	e := engine.New(engine.Config{Rotation: "r1", OpPrefix: "r1", Plan: p, Spec: spec})
	in := engine.Cluster(&inv)
	in.Snapshot = toy.snapshot()
	var told []string
	for _, r := range e.Step(toy.now, in).Records {
		if r.Kind == event.PlanWarned {
			told = append(told, r.Code+" "+r.Data["object"]+" "+r.Message+" "+r.Data["fix"])
		}
	}
	if want := []string{"finalizers shop/web-1 1 pod(s) are held find out why"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
