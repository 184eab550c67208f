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
	}{
		{"rolling over three zones, surge one", plain, []int{1}, nil},
		{"rolling, surge two and one missing, canary off", plain, []int{1},
			[]string{"--max-surge", "2", "--max-unavailable", "1", "--canary=false"}},
		{"rolling without surge", plain, []int{2}, []string{"--max-surge", "0", "--max-unavailable", "1"}},
		{"all groups, two in parallel, surge as a percentage", plain, []int{1, 2, 3},
			[]string{"--max-surge", "34%", "--groups-at-once", "2"}},
		{"batch", plain, []int{2}, []string{"--mode", "batch", "--max-surge", "2", "--batch-size", "2",
			"--wait-between-batches", "1s", "--wait-between-drains", "200ms", "--wait-between-evictions", "50ms"}},
		{"mixed instances, resource names, another region", mixed, []int{1}, []string{"--max-surge", "2"}},
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
			for _, g := range names {
				s.PublishImage(t, g)
				nodes += len(before.Groups[g].Instances)
			}
			s.Stats(t, true)
			r := s.rotatord(t)

			r.Run(t, "run", flags...).MustExit(t, exitDone)

			after := s.State(t)
			after.MustBeTidy(t, before)
			after.MustHaveReplaced(t, before, names...)
			s.MustHaveKeptBudgets(t)
			s.MustSettle(t)
			if got := s.Stats(t, false); got.Terminated != nodes || got.Launched != nodes {
				t.Errorf("%d instances launched and %d terminated, want %d each", got.Launched, got.Terminated, nodes)
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
