//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// withWay returns the flags that set the way of managed node groups.
func (r *Rotatord) withWay(tb testing.TB, way string) []string {
	tb.Helper()
	file := filepath.Join(r.Dir, way+".yaml")
	if err := os.WriteFile(file, []byte("apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ndriver: {config: {managedNodeGroups: {way: "+way+"}}}\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return []string{"--config", file}
}

// The ways of managed node groups other than delegated go through the same:
// killed in the middle and run again, and stuck at a budget that allows nothing
// and run again once it does.
func TestManagedWays(t *testing.T) {
	for _, w := range []struct {
		way     string
		args    []string // why nodes are replaced, where it is not a new release
		release bool     // a new release comes out
		// An event in the middle, and none at which pods are being evicted: a budget
		// stays charged for two minutes for an eviction that was cut off.
		middle string
		stuck  []string // what a drain that gets no further is called
	}{
		{way: "self", args: []string{"--force", "--max-surge", "0", "--max-unavailable", "1", "--capacity-check", "warn"}, middle: "node-drained"},
		{way: "assisted", release: true, middle: "group-rolling", stuck: []string{"PodEvictionFailure"}},
	} {
		t.Run(w.way, func(t *testing.T) {
			s := eksManaged(t)
			terminations := func() (n int) {
				for _, c := range s.Stats(t, false).Calls {
					if strings.HasPrefix(c.Action, "Terminate") {
						n += c.Calls
					}
				}
				return n
			}
			t.Run("killed", func(t *testing.T) {
				group := s.Name + "-managed-2"
				before := managedImages(t, s, group)
				if w.release {
					s.CLI(t, "publish-release")
				}
				r := s.rotatord(t)
				way := r.withWay(t, w.way)
				args := append(append([]string{"--group", group}, way...), w.args...)
				s.Stats(t, true)
				p := r.Start(t, "run", args...)
				p.Await(w.middle)
				p.Signal(syscall.SIGKILL)
				p.Wait()
				r.Run(t, "run", args...).MustExit(t, exitDone, "node(s) replaced")
				mustBeRolled(t, s, group, before)
				if n := terminations(); w.way == "self" != (n > 0) {
					t.Errorf("rotatord asked for the end of %d instances", n)
				}
				s.MustHaveKeptBudgets(t)
				r.Run(t, "run", append(way, "--group", group)...).MustExit(t, exitDone, "nothing")
			})
			t.Run("stuck", func(t *testing.T) {
				group := s.Name + "-managed-1"
				pod := blockNode(t, s, group)
				before := managedImages(t, s, group)
				if w.release {
					s.CLI(t, "publish-release")
				}
				r := s.rotatord(t)
				args := append(append([]string{"--group", group, "--drain-deadline", "6s"}, r.withWay(t, w.way)...), w.args...)
				r.Run(t, "run", args...).MustExit(t, exitStopped, append([]string{pod, "stuck/stuck"}, w.stuck...)...)
				managedImages(t, s, group) // no cordon is left
				unblock(t, s)
				r.Run(t, "run", args...).MustExit(t, exitDone)
				mustBeRolled(t, s, group, before)
				s.MustHaveKeptBudgets(t)
			})
		})
	}
}

// rotatord has time to empty nodes ahead of EKS only from the first new node to
// the last that EKS waits for: then EKS makes all old ones unschedulable. Here the
// new nodes of one zone are late.
func TestManagedAssistedAhead(t *testing.T) {
	s := eksManaged(t)
	group := s.Name + "-managed-1"
	before := managedImages(t, s, group)
	s.CLI(t, "publish-release")
	s.Fault(t, "slow-boot", "--delay", "10s", "--zone", s.Region+"b")
	r := s.rotatord(t)
	args := append(r.withWay(t, "assisted"), "--group", group)
	r.Run(t, "run", args...).MustExit(t, exitDone)
	mustBeRolled(t, s, group, before)
	drained := r.Events(t, "node-drained")
	if len(drained) == 0 {
		t.Error("no node was emptied ahead of EKS")
	}
	for _, e := range drained {
		if _, old := before[e.Node]; !old {
			t.Errorf("node %s was emptied, and is not an old one", e.Node)
		}
	}
	t.Logf("%d of %d nodes were emptied ahead of EKS", len(drained), len(before))
	s.MustHaveKeptBudgets(t)
}
