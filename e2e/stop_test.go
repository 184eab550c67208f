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
	"time"
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

// The driver is killed in mid-run: the host starts it again and the rotation
// completes, with nothing terminated twice.
func TestDriverKilled(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	before := s.State(t)
	s.PublishImage(t, group)
	s.Stats(t, true)
	r := s.rotatord(t)
	p := r.Start(t, "run", "--group", group)
	for _, kind := range []string{"group-started", "replacement-ready", "node-drained"} {
		p.Await(kind)
		killDriver(t, p.cmd.Process.Pid)
	}
	p.Wait().MustExit(t, exitDone)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
	if n := len(before.Groups[group].Instances); s.Stats(t, false).Terminated != n {
		t.Errorf("%d instances terminated, want %d", s.Stats(t, false).Terminated, n)
	}
}

// rotatord itself is killed: its driver goes with it, and the same command
// again completes the rotation.
func TestRotatordKilled(t *testing.T) {
	s := plain(t)
	group := groupName(s, 3)
	before := s.State(t)
	s.PublishImage(t, group)
	s.Stats(t, true)
	r := s.rotatord(t)
	p := r.Start(t, "run", "--group", group)
	p.Await("node-draining")
	p.Signal(syscall.SIGKILL)
	p.Wait()

	t.Log(r.Run(t, "run", "--group", group).MustExit(t, exitDone).Text())
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
	if n := len(before.Groups[group].Instances); s.Stats(t, false).Terminated != n {
		t.Errorf("%d instances terminated, want %d", s.Stats(t, false).Terminated, n)
	}
}

// killDriver sends SIGKILL to the driver process of one rotatord, found by its
// parent: those of anybody else are none of the test's. A driver that was just
// killed needs a moment to be started again.
func killDriver(t testing.TB, parent int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		for _, pid := range children(t, parent) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatalf("kill the driver, process %d: %v", pid, err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("rotatord %d has no driver process to kill", parent)
		}
		time.Sleep(20 * time.Millisecond)
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
