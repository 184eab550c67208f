//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A first SIGTERM or SIGINT stops new work, leaves the cluster tidy and exits
// resumable; the same command again completes.
func TestStop(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := plain(t)
			group := groupName(s, 2)
			before := s.State(t)
			s.PublishImage(t, group)
			r := s.rotatord(t)

			p := r.Start(t, "run", "--group", group)
			p.Await("node-replaced")
			p.Signal(sig)
			p.Wait().MustExit(t, exitStopped)

			stopped := s.State(t)
			for name, n := range stopped.Nodes {
				if n.Unschedulable || slices.Contains(n.Taints, ourPrefix+"outdated:PreferNoSchedule") || len(n.Marks) > 0 {
					t.Errorf("node %s is left with cordon %t, taints %v, marks %v", name, n.Unschedulable, n.Taints, n.Marks)
				}
			}

			r.Run(t, "run", "--group", group).MustExit(t, exitDone)
			after := s.State(t)
			after.MustBeTidy(t, before)
			after.MustHaveReplaced(t, before, group)
			s.MustHaveKeptBudgets(t)
		})
	}
}

// children returns the ids of the living processes that have this parent.
func children(t testing.TB, parent int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (comm) state ppid ...: comm may hold anything, so cut at its end.
		_, rest, ok := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(parent) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}
