package engine_test

import (
	"slices"
	"testing"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// What an earlier run took out of its load balancers is put back where the
// rotation is called off, though nothing at the provider tells of it.
func TestQuiescedByAnEarlierRun(t *testing.T) {
	took := event.Event{Seq: 2, Rotation: "r1", Kind: event.OpIntended, Op: "r1-00001", Verb: "quiesce", Group: "workers", Instance: "i-1"}
	gave := event.Event{Seq: 3, Rotation: "r1", Kind: event.OpIntended, Op: "r1-00002", Verb: "unquiesce", Group: "workers", Instance: "i-1"}
	done := gave
	done.Seq, done.Kind = 4, event.OpSucceeded
	failed := took
	failed.Seq, failed.Kind = 3, event.OpFailed
	for name, tc := range map[string]struct {
		journal []event.Event
		want    bool
	}{
		"nothing":                          {nil, false},
		"a call that was cut off":          {[]event.Event{took}, true},
		"a call that failed, half done":    {[]event.Event{took, failed}, true},
		"put back, and the answer missing": {[]event.Event{took, gave}, true},
		"put back":                         {[]event.Event{took, gave, done}, false},
	} {
		t.Run(name, func(t *testing.T) {
			toy := newToy()
			toy.now = epoch
			g := toy.addGroup("workers", 2, "a")
			g.Traits.Prepare, g.Traits.Quiesce = false, true
			for range 2 {
				toy.join(toy.launch(g, true).ID)
			}
			spec, inv := defaults(), toy.inventory()
			p, err := plan.Build(spec, inv, toy.now)
			if err != nil || len(p.Refusals) > 0 {
				t.Fatal(err, p.Refusals)
			}
			past := append([]event.Event{{Seq: 1, Rotation: "r1", Kind: event.RotationStarted}}, tc.journal...)
			e := engine.New(engine.Config{Rotation: "r1", OpPrefix: "r1.2", Plan: p, Spec: spec, Memory: engine.Restore(past)})
			in := engine.Input{Snapshot: toy.snapshot(), Nodes: inv.Nodes}
			var back []string
			for range 20 {
				r := e.Step(toy.now, in)
				in = engine.Input{Undo: true}
				for _, f := range r.Effects {
					if f.Verb == engine.VerbUnquiesce {
						back = append(back, f.InstanceID)
					}
					in.Outcomes = append(in.Outcomes, engine.Outcome{ID: f.ID, Verb: f.Verb, Err: toy.apply(f)})
				}
				d := toy.deltas.take()
				in.Nodes, in.NodesGone = d.Nodes, d.NodesGone
				if r.Done != nil {
					break
				}
			}
			var want []string
			if tc.want {
				want = []string{"i-1"}
			}
			if !slices.Equal(back, want) {
				t.Errorf("put back: %v, want %v", back, want)
			}
			if in := toy.instances["i-1"]; in.State == model.InstanceTerminating {
				t.Error("the instance was ended")
			}
		})
	}
}
