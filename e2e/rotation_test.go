//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Whole rotations that succeed: every node replaced by real evictions, and
// everything else as it was.
func TestRotation(t *testing.T) {
	tests := []struct {
		name    string
		sandbox func(testing.TB) *Sandbox
		groups  []int
		flags   []string
		order   func(*testing.T, *Sandbox, []string) ordered // nil: any will do
		limits  limits
		// extra is how many new nodes may have to go too, so that the zones end even: the
		// provider chooses where instances come up, and several old ones go at once, or in
		// an order that does not look at zones.
		extra int
	}{
		{"rolling over three zones, surge one, by label", plain, []int{1}, nil, byLabel, limits{drains: 1}, 1},
		{"rolling, surge of a half and one missing, one at once, canary off", plain, []int{1},
			[]string{"--max-surge", "50%", "--max-unavailable", "1", "--max-in-flight", "34%", "--canary=false"}, nil, limits{drains: 1}, 1},
		{"rolling without surge, by hand", plain, []int{2}, []string{"--max-surge", "0", "--max-unavailable", "1"}, byHand, limits{drains: 1}, 0},
		{"all groups, two in parallel, surge as a percentage, spread over zones, half of each", plain, []int{1, 2, 3},
			[]string{"--max-surge", "34%", "--groups-at-once", "2", "--zones", "spread", "--max-unavailable-per-zone", "50%"}, nil, limits{zone: 1}, 3},
		{"batch, the emptiest first", plain, []int{2}, []string{"--mode", "batch", "--max-surge", "2", "--batch-size", "2", "--order", "emptiest",
			"--wait-between-batches", "1s", "--wait-between-drains", "200ms", "--wait-between-evictions", "50ms"}, byPods, limits{}, 1},
		{"mixed instances, resource names, another region, one zone at a time, half of it", mixed, []int{1},
			[]string{"--max-surge", "0", "--max-unavailable", "34%", "--zones", "one-at-a-time", "--max-unavailable-per-zone", "50%"}, nil, limits{zone: 1, zones: 1}, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := tc.sandbox(t)
			var names, flags []string
			for _, g := range tc.groups {
				names = append(names, groupName(s, g))
				flags = append(flags, "--group", groupName(s, g))
			}
			flags = append(flags, tc.flags...)
			s.MustSettle(t)
			before := s.State(t)
			nodes := 0
			var order ordered
			for _, g := range names {
				s.PublishImage(t, g)
				nodes += len(before.Groups[g].Instances)
				if tc.order != nil {
					order = tc.order(t, s, before.NodesOf(g))
					flags = append(flags, order.flags...)
				}
			}
			s.Stats(t, true)
			r := s.rotatord(t)
			watched := s.watchDrains(t)

			r.Run(t, "run", flags...).MustExit(t, exitDone)

			after := s.State(t)
			seen := watched()
			seen.mustBe(t, nodes, tc.extra, order)
			seen.mustKeep(t, tc.limits)
			after.MustBeTidy(t, before)
			after.MustHaveReplaced(t, before, names...)
			s.MustHaveKeptBudgets(t)
			s.MustSettle(t)
			if got := s.Stats(t, false); got.Terminated != got.Launched || got.Launched < nodes || got.Launched > nodes+tc.extra {
				t.Errorf("%d instances launched and %d terminated, want %d each, and %d more at most", got.Launched, got.Terminated, nodes, tc.extra)
			}
			if got := len(r.Events(t, "node-replaced")); got != nodes {
				t.Errorf("%d events say that a node was replaced, want %d", got, nodes)
			}
			mustHaveSummary(t, r, "done", nodes)

			// Once more: nothing is left to do, and nothing is touched.
			again := r.Run(t, "run", flags...).MustExit(t, exitDone, "nothing to do")
			s.State(t).MustEqual(t, after)
			if t.Failed() {
				t.Log(again.Text())
			}
		})
	}
}

// mustHaveSummary holds summary.json against what happened.
func mustHaveSummary(t *testing.T, r *Rotatord, status string, replaced int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.Dir, "report", "summary.json"))
	if err != nil {
		t.Error(err)
		return
	}
	var sum struct {
		Status string `json:"status"`
		Groups []struct {
			Name     string `json:"name"`
			Replaced int    `json:"replaced"`
		} `json:"groups"`
	}
	if err := json.Unmarshal(b, &sum); err != nil {
		t.Errorf("summary.json: %v\n%s", err, b)
		return
	}
	n := 0
	for _, g := range sum.Groups {
		n += g.Replaced
	}
	if sum.Status != status || n != replaced {
		t.Errorf("summary.json has status %q and %d replaced nodes, want %q and %d:\n%s", sum.Status, n, status, replaced, b)
	}
}

// The drain's own limits hold over the wire: a rotation that surges by one
// never has more than one instance too many, and never one too few.
func TestRotationKeepsItsWindow(t *testing.T) {
	s := plain(t)
	group := groupName(s, 3)
	before := s.State(t).Groups[group]
	s.PublishImage(t, group)
	r := s.rotatord(t)
	r.Run(t, "run", "--group", group, "--max-surge", "1").MustExit(t, exitDone)
	ready, draining := 0, 0
	for _, e := range r.Events(t, "replacement-ready", "node-draining", "node-replaced", "group-started") {
		switch e.Kind {
		case "group-started":
			if base, err := strconv.Atoi(e.Data["base"]); err != nil || base != int(before.Desired) {
				t.Errorf("the rotation takes %q for the group's own size, which is %d", e.Data["base"], before.Desired)
			}
		case "replacement-ready":
			ready++
		case "node-draining":
			draining++
			if draining > ready {
				t.Errorf("drain %d began with %d replacements Ready", draining, ready)
			}
		}
	}
	if draining != int(before.Desired) {
		t.Errorf("%d drains, want %d", draining, before.Desired)
	}
}
