//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// fleet writes a fleet of one wave for each of the groups: the clusters are
// groups of one sandbox, which share its lock as one cluster would.
func fleetOf(t *testing.T, s *Sandbox, r *Rotatord, top string, groups ...string) (args []string) {
	t.Helper()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := "apiVersion: rotatord.github.io/v1alpha1\nkind: Fleet\n" + top + "\nwaves:\n"
	for i, g := range groups {
		write(fmt.Sprintf("c%d.yaml", i), fmt.Sprintf(`apiVersion: rotatord.github.io/v1alpha1
kind: Rotation
cluster: %s
driver: {name: eks, path: %s}
select: {groups: [%s]}
lock: {duration: 3s}
`, s.Name, executable("rotatord-driver-eks"), g))
		file += fmt.Sprintf("  - {name: w%d, clusters: [{name: c%d, config: c%d.yaml}]}\n", i, i, i)
	}
	write("fleet.yaml", file)
	return []string{"run", "--fleet", "fleet.yaml", "--report-dir", "report", "--journal-dir", "journal"}
}

// A fleet is rotated wave by wave. A signal stops the rotation that runs and
// begins no other; a fleet whose process was killed stops its rotations. The
// same command goes on each time.
func TestFleet(t *testing.T) {
	s := plain(t)
	groups := []string{groupName(s, 1), groupName(s, 2)}
	before := s.State(t)
	for _, g := range groups {
		s.PublishImage(t, g)
	}
	r := s.rotatord(t)
	args := fleetOf(t, s, r, "window: {start: '@daily', duration: 24h}", groups...)
	start := func(cluster string, more ...string) *Process {
		p := r.start(t, append(args, more...))
		p.events = filepath.Join(r.Dir, "report", cluster, "events.jsonl")
		os.Remove(p.events) // of the run before
		return p
	}

	p := start("c0", "--canary-bake", "5m")
	p.Await("canary-passed")
	p.Signal(syscall.SIGTERM)
	p.Wait().MustExit(t, exitStopped, "SIGTERM: stopping: no cluster is begun; 1 rotation(s) are told to stop", "c1       w1    skipped", "stopped by a signal")

	p = start("c0")
	p.Await("node-drained")
	p.Signal(syscall.SIGKILL)
	p.Wait()

	// Its rotation was told to stop, which takes it a moment.
	res := start("c1", "--wait-for-window", "--take-over").Wait().MustExit(t, exitDone, "c0: ended with exit code 0", "c1: ended with exit code 0, 3 node(s) replaced")
	if !strings.HasPrefix(res.Stdout, "CLUSTER  WAVE  STATE  EXIT  REPLACED") {
		t.Errorf("no table of clusters:\n%s", res.Stdout)
	}
	for _, c := range []string{"c0", "c1"} {
		if _, err := os.Stat(filepath.Join(r.Dir, "report", c, "summary.json")); err != nil {
			t.Error(err)
		}
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, groups...)
	s.MustHaveKeptBudgets(t)
	r.start(t, args).Wait().MustExit(t, exitDone, "c1       w1    done   0     0")
}

// The window of a rotation: outside of it nothing is touched.
func TestWindow(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	s.PublishImage(t, group)
	before := s.State(t)
	r := s.rotatord(t)
	// Open on the 29th of February for a minute.
	r.Run(t, "run", "--group", group, "--window", "0 0 29 2 *", "--window-duration", "1m").MustExit(t, exitStopped, "the window is shut, and opens at 2028-02-29T00:00:00Z; nothing was changed")
	s.State(t).MustEqual(t, before)
	r.Run(t, "run", "--group", group, "--window", "* * * * *", "--window-duration", "1h").MustExit(t, exitDone)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
}
