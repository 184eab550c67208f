package engine_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/report"
)

// What earlier runs set out to replace and what ended between them and this one is
// recorded once, so that a report of the whole comes to all of it.
func TestEndedUnwatched(t *testing.T) {
	past := func(events ...event.Event) []event.Event {
		all := append([]event.Event{
			{Kind: event.RotationStarted, Data: map[string]string{"nodes": "4"}},
			{Kind: event.GroupPlanned, Group: "workers", Data: map[string]string{"instances": "i-1 i-2 i-8 i-9"}},
			{Kind: event.GroupStarted, Group: "workers", Data: map[string]string{"nodes": "4"}},
		}, events...)
		for i := range all {
			all[i].Seq, all[i].Rotation = uint64(i+1), "r1"
		}
		return all
	}
	seen := event.Event{Kind: event.NodeReplaced, Group: "workers", Instance: "i-8", Code: "rolled"}
	for name, tc := range map[string]struct {
		past []event.Event
		want []string // instances
	}{
		"one was seen to end":    {past(seen), []string{"i-9"}},
		"none was seen to end":   {past(), []string{"i-8", "i-9"}},
		"a run before said so":   {past(seen, event.Event{Kind: event.NodeReplaced, Group: "workers", Instance: "i-9", Code: "unwatched"}), nil},
		"there is no run before": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			toy, _ := rolledToy(false) // i-1 and i-2 are left
			spec, inv := defaults(), toy.inventory()
			p, err := plan.Build(spec, inv, toy.now)
			if err != nil || p.Nodes() != 2 {
				t.Fatal(err, p)
			}
			e := engine.New(engine.Config{Rotation: "r1", OpPrefix: "r1.2", Plan: p, Spec: spec, Memory: engine.Restore(tc.past)})
			in := engine.Cluster(&inv)
			in.Snapshot = toy.snapshot()
			_, records, _ := steps(toy, e, in, time.Second)
			var got []string
			for _, ev := range records {
				if ev.Kind == event.NodeReplaced && ev.Code == "unwatched" {
					got = append(got, ev.Instance)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("recorded as ended unwatched (-want +got):\n%s", diff)
			}
			if tc.past == nil {
				return
			}
			f := &report.Fold{}
			f.Publish(tc.past)
			f.Publish(records)
			if s := f.Summary(); s.Planned != 4 || s.Replaced != 2 || s.ByOthers != 0 || s.Replace.Count != 0 || s.Groups[0].Planned != 4 || s.Groups[0].Replaced != 2 {
				t.Errorf("the summary: %d of %d replaced, of the group %d of %d", s.Replaced, s.Planned, s.Groups[0].Replaced, s.Groups[0].Planned)
			}
		})
	}
}
