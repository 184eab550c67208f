package bound_test

import (
	"testing"
	"time"

	"github.com/rotatord/rotator/core/bound"
)

func TestLower(t *testing.T) {
	const s = time.Second
	workers := bound.Group{Name: "workers", Nodes: 100, Slots: 10, Boot: 60 * s, Drain: 20 * s, BootFirst: true}
	with := func(g bound.Group, b ...bound.Budget) bound.Group { g.Budgets = b; return g }
	cart := bound.Budget{Name: "shop/cart", Pods: 30, AtOnce: 1, Each: 40 * s}
	for _, tc := range []struct {
		name  string
		shape bound.Shape
		want  time.Duration
		limit string
	}{
		{"nothing to do", bound.Shape{}, 0, "nothing"},
		{"no old nodes", bound.Shape{Groups: []bound.Group{{Name: "g", Slots: 1, Boot: s}}}, 0, "nothing"},
		{"slots", bound.Shape{Groups: []bound.Group{workers}}, 800 * s, "group workers: 100 nodes, 10 at a time, 1m20s each: 13m20s"},
		{"a last round that is not full", bound.Shape{Groups: []bound.Group{{Name: "g", Nodes: 11, Slots: 5, Boot: 9 * s, Drain: s}}}, 30 * s,
			"group g: 11 nodes, 5 at a time, 10s each: 30s"},
		{"no slots count as one", bound.Shape{Groups: []bound.Group{{Name: "g", Nodes: 2, Drain: s}}}, 2 * s, "group g: 2 nodes, one at a time, 1s each: 2s"},
		{"a budget's chain, which begins with a boot", bound.Shape{Groups: []bound.Group{with(workers, cart)}}, 1260 * s,
			"budget shop/cart: 30 pods, one at a time, 40s each: 21m0s"},
		{"a wide budget does not limit", bound.Shape{Groups: []bound.Group{with(workers, bound.Budget{Name: "a/b", Pods: 30, AtOnce: 10, Each: 40 * s})}}, 800 * s,
			"group workers: 100 nodes, 10 at a time, 1m20s each: 13m20s"},
		{"groups one after the other add up", bound.Shape{Groups: []bound.Group{workers, with(workers, cart)}}, 2060 * s,
			"budget shop/cart: 30 pods, one at a time, 40s each: 21m0s"},
		{"groups in parallel: the longest", bound.Shape{GroupsAtOnce: 2, Groups: []bound.Group{workers, with(workers, cart)}}, 1260 * s,
			"budget shop/cart: 30 pods, one at a time, 40s each: 21m0s"},
		{"groups in parallel: an even share", bound.Shape{GroupsAtOnce: 2, Groups: []bound.Group{workers, workers, workers}}, 1200 * s,
			"2 groups at once: 3 groups, 2 at a time: 20m0s"},
		{"groups in parallel under one budget", bound.Shape{GroupsAtOnce: 2, Groups: []bound.Group{with(workers, cart), with(workers, cart)}}, 2400 * s,
			"budget shop/cart: 60 pods, one at a time, 40s each: 40m0s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, limit := bound.Lower(tc.shape)
			if got != tc.want || limit.String() != tc.limit {
				t.Errorf("%s by %s, want %s by %s", got, limit, tc.want, tc.limit)
			}
		})
	}
}
