package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// steps lets the toy answer everything at once until the engine waits for longer
// than d, or has ended, and answers the effects of the two verbs of rolls.
func steps(toy *toy, e *engine.Engine, in engine.Input, d time.Duration) (rolls []engine.Effect, records []event.Event, done *engine.Result) {
	end := toy.now.Add(d)
	for range 200 {
		r := e.Step(toy.now, in)
		records, in = append(records, r.Records...), engine.Input{}
		for _, f := range r.Effects {
			if f.Verb == engine.VerbRoll || f.Verb == engine.VerbCancel {
				rolls = append(rolls, f)
			}
			in.Outcomes = append(in.Outcomes, engine.Outcome{ID: f.ID, Verb: f.Verb, Err: toy.apply(f)})
			if f.Verb == engine.VerbObserve {
				in.Snapshot = toy.snapshot()
			}
		}
		if r.Done != nil {
			return rolls, records, r.Done
		}
		if len(r.Effects) == 0 {
			if r.WakeAt.IsZero() || r.WakeAt.After(end) {
				return rolls, records, nil
			}
			toy.now = r.WakeAt
		}
		delta := toy.deltas.take()
		in.Nodes, in.NodesGone, in.Pods, in.PodsGone = delta.Nodes, delta.NodesGone, delta.Pods, delta.PodsGone
	}
	return rolls, records, nil
}

// rolledToy is a group of two outdated nodes that its provider rolls.
func rolledToy(cancellable bool) (*toy, *toyGroup) {
	toy := newToy()
	toy.now = epoch
	g := toy.addGroup("workers", 2, "a")
	g.Traits = model.Traits{Roll: true, Drains: model.DrainsProvider, RollCancellable: cancellable}
	for range 2 {
		toy.join(toy.launch(g, true).ID)
	}
	return toy, g
}

// TestRollTakenUp has a rotation that was cut off go on with its roll: attach
// where the provider shows it, send the same call again where not, and begin
// another where it has ended.
func TestRollTakenUp(t *testing.T) {
	intent := event.Event{Seq: 2, Rotation: "r1", Kind: event.OpIntended, Op: "r1-00001", Verb: "roll", Group: "workers", Data: map[string]string{"max-unavailable": "0"}}
	other := intent
	other.Data = map[string]string{"max-unavailable": "3"}
	accepted := intent
	accepted.Seq, accepted.Kind = 3, event.OpSucceeded
	ended := event.Event{Seq: 4, Rotation: "r1", Kind: event.GroupRolled, Group: "workers", Code: "roll-failed"}
	failed := []model.Diagnostic{{Severity: model.SeverityError, Code: "pod-eviction", Summary: "pod default/web-1 could not be evicted"}}
	for name, tc := range map[string]struct {
		journal []event.Event
		shown   model.Roll
		sent    string // id of the call; empty: none
		says    string // of the records
	}{
		"a call that was cut off":               {[]event.Event{intent}, model.Roll{}, "r1-00001", ""},
		"the same, with another bound":          {[]event.Event{other}, model.Roll{}, "r1.2-00001", "superseded"},
		"a call that was cut off, and rolls":    {[]event.Event{intent}, model.Roll{ID: "u-1", Op: "r1-00001", State: model.RollRunning}, "", "found-done"},
		"a roll that goes on":                   {[]event.Event{intent, accepted}, model.Roll{ID: "u-1", Op: "r1-00001", State: model.RollRunning}, "", "the provider rolls the group (u-1)"},
		"a roll that has failed meanwhile":      {[]event.Event{intent, accepted}, model.Roll{ID: "u-1", Op: "r1-00001", State: model.RollFailed, Diagnostics: failed}, "", "pod default/web-1 could not be evicted"},
		"a roll that failed before":             {[]event.Event{intent, accepted, ended}, model.Roll{ID: "u-1", Op: "r1-00001", State: model.RollFailed, Diagnostics: failed}, "r1.2-00001", ""},
		"a provider that does not tell whose":   {[]event.Event{intent, accepted}, model.Roll{ID: "u-1", State: model.RollRunning}, "r1.2-00001", "somebody else has begun"},
		"a roll of an earlier rotation goes on": {nil, model.Roll{ID: "u-1", Op: "r0-00007", State: model.RollRunning}, "r1.2-00001", "an earlier rotation has begun"},
	} {
		t.Run(name, func(t *testing.T) {
			toy, g := rolledToy(false)
			g.Roll = tc.shown
			spec, inv := defaults(), toy.inventory()
			past := append([]event.Event{{Seq: 1, Rotation: "r1", Kind: event.RotationStarted}}, tc.journal...)
			p, err := plan.Build(spec, inv, toy.now)
			if err != nil || len(p.Refusals) > 0 {
				t.Fatal(err, p.Refusals)
			}
			e := engine.New(engine.Config{Rotation: "r1", OpPrefix: "r1.2", Plan: p, Spec: spec, Memory: engine.Restore(past)})
			in := engine.Cluster(&inv)
			in.Snapshot = toy.snapshot()
			rolls, records, _ := steps(toy, e, in, 20*time.Second)
			sent := ""
			for _, f := range rolls {
				sent = f.ID
			}
			if sent != tc.sent || len(rolls) > 1 {
				t.Errorf("calls %v, want %q", rolls, tc.sent)
			}
			said := ""
			for _, ev := range records {
				said += ev.Code + " " + ev.Message + "\n"
			}
			if name == "the same, with another bound" { // closed at the end only
				_, records, _ = steps(toy, e, engine.Input{Stop: true}, time.Minute)
				for _, ev := range records {
					said += ev.Code + "\n"
				}
			}
			if !strings.Contains(said, tc.says) {
				t.Errorf("says %q, want %q", said, tc.says)
			}
		})
	}
}

// TestRollAbandoned ends a rotation that nobody goes on with, while the provider
// rolls a group of it.
func TestRollAbandoned(t *testing.T) {
	for _, cancellable := range []bool{true, false} {
		toy, g := rolledToy(cancellable)
		toy.roll(g, "r0-00001")
		inv := toy.inventory()
		p := plan.Undo(defaults(), inv)
		e := engine.New(engine.Config{Rotation: "r1", Plan: p, Spec: defaults()})
		in := engine.Cluster(&inv)
		in.Snapshot = toy.snapshot()
		rolls, _, done := steps(toy, e, in, time.Hour)
		cancels := slices.ContainsFunc(rolls, func(f engine.Effect) bool { return f.Verb == engine.VerbCancel && f.Target == "r0-00001" })
		if len(rolls) > 1 || cancels != cancellable {
			t.Errorf("cancellable %v: calls %v", cancellable, rolls)
		}
		if done == nil || cancellable != (done.Status == engine.StatusDone) || !cancellable && !strings.Contains(done.Message, "goes on by itself") {
			t.Errorf("cancellable %v: %+v", cancellable, done)
		}
	}
}

// TestRollEndIsSeenSoon: within 10 s of its end, whatever time it ends at.
func TestRollEndIsSeenSoon(t *testing.T) {
	for late := range 20 {
		toy, g := rolledToy(false)
		spec, inv := defaults(), toy.inventory()
		p, err := plan.Build(spec, inv, toy.now)
		if err != nil {
			t.Fatal(err)
		}
		e := engine.New(engine.Config{Rotation: "r1", Plan: p, Spec: spec})
		in := engine.Cluster(&inv)
		in.Snapshot = toy.snapshot()
		at := epoch.Add(5*time.Minute + time.Duration(late)*700*time.Millisecond)
		steps(toy, e, in, at.Sub(epoch))
		toy.now = at
		g.Roll.State = model.RollFailed
		_, records, _ := steps(toy, e, engine.Input{}, time.Minute)
		i := slices.IndexFunc(records, func(ev event.Event) bool { return ev.Kind == event.GroupRolled })
		if i < 0 || records[i].Time.Sub(at) > 10*time.Second {
			t.Errorf("the end at %s is not seen within 10 s: %+v", at.Sub(epoch), records)
		}
	}
}
