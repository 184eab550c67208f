//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// abort takes everything back: a rotation that runs does it itself, for one
// that was killed abort does it. Afterwards the same run completes.
func TestAbort(t *testing.T) {
	s := plain(t)
	group := groupName(s, 2)
	before := s.State(t)
	s.PublishImage(t, group)
	r := s.rotatord(t)

	// It bakes until it is asked: a rotation of three nodes ends within seconds.
	p := r.Start(t, "run", "--group", group, "--canary-bake", "5m", "--lock-duration", "3s")
	p.Await("canary-passed")
	// With folders of its own: the other's report is being written.
	s.rotatord(t).Run(t, "abort").MustExit(t, exitDone)
	p.Wait().MustExit(t, exitStopped, "aborted")
	s.State(t).MustBeTidy(t, before)

	// Between two evictions, which are far apart: Kubernetes leaves the budget of one
	// that was cut off charged for two minutes.
	p = r.Start(t, "run", "--group", group, "--wait-between-evictions", "2s")
	p.Await("pod-evicted")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	r.Run(t, "abort").MustExit(t, exitDone, "put back")
	s.State(t).MustBeTidy(t, before)
	r.Run(t, "abort").MustExit(t, exitDone, "nothing to take back")

	r.Run(t, "run", "--group", group).MustExit(t, exitDone)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
}

// Without the journal, the marks on nodes and the records at the provider are
// enough to finish.
func TestResumeFromCluster(t *testing.T) {
	s := plain(t)
	group := groupName(s, 3)
	before := s.State(t)
	s.PublishImage(t, group)
	s.Stats(t, true)
	r := s.rotatord(t)

	p := r.Start(t, "run", "--group", group)
	p.Await("node-drained")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	journals, err := filepath.Glob(filepath.Join(r.Dir, "journal", "*.jsonl"))
	if err != nil || len(journals) == 0 {
		t.Fatalf("journals %v, %v", journals, err)
	}
	for _, j := range journals {
		if err := os.Truncate(j, 0); err != nil {
			t.Fatal(err)
		}
	}
	r.Run(t, "resume", "--group", group, "--from-cluster").MustExit(t, exitDone)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
	if n := len(before.Groups[group].Instances); s.Stats(t, false).Terminated != n {
		t.Errorf("%d instances terminated, want %d", s.Stats(t, false).Terminated, n)
	}
}
