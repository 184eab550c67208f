//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// allRoles selects everything that `kops rolling-update cluster` rolls. The lock
// is in the API server whose machines go: it must outlive the end of one.
var allRoles = []string{"--role", "bastion", "--role", "control-plane", "--role", "node", "--lock-duration", "2m"}

// rotatordKops returns the command set up for a cluster of kops.
func (s *Sandbox) rotatordKops(tb testing.TB) *Rotatord {
	tb.Helper()
	r := s.rotatord(tb)
	r.Base = []string{"--cluster", s.Name, "--driver", "kops", "--driver-path", executable("rotatord-driver-kops"),
		"--journal-dir", filepath.Join(r.Dir, "journal"), "--report-dir", filepath.Join(r.Dir, "report")}
	return r
}

// earlier keeps a verdict for `sandbox verify --replaced-since`, and begins a
// new judgement.
func (s *Sandbox) earlier(tb testing.TB) (path string) {
	tb.Helper()
	s.MustSettle(tb)
	s.CLI(tb, "verify", "--reset")
	path = filepath.Join(tb.TempDir(), "earlier.json")
	if err := os.WriteFile(path, s.CLI(tb, "verify", "--output", "json"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// kopsMustBeDone fails the test unless kops finds nothing to do.
func (s *Sandbox) kopsMustBeDone(tb testing.TB) {
	tb.Helper()
	if out := s.kops(tb, "rolling-update", "cluster"); !strings.Contains(out, "No rolling-update required") {
		tb.Errorf("kops still finds something to do:\n%s", out)
	}
}

// rotatordMustBeDone fails the test unless rotatord finds nothing to do.
func (s *Sandbox) rotatordMustBeDone(tb testing.TB) {
	tb.Helper()
	s.rotatordKops(tb).Run(tb, "run", allRoles...).MustExit(tb, exitDone, "nothing to do")
}

// The whole cluster, control plane included; then kops finds nothing to do.
func TestKopsClusterRotated(t *testing.T) {
	s := kopsCluster(t)
	earlier := s.earlier(t)
	s.CLI(t, "publish-image")
	s.Stats(t, true)
	res := s.rotatordKops(t).Run(t, "run", allRoles...).MustExit(t, exitDone)
	t.Logf("rotatord run --driver kops took %s", res.Took.Round(time.Second))
	s.kopsMustBeDone(t)
	if _, err := s.cli(t.Context(), "verify", "--replaced-since", earlier, "--cluster", s.Name); err != nil {
		t.Error(err)
	}
	if st := s.Stats(t, false); st.Terminated != 8 || st.Launched != 8 {
		t.Errorf("%d machines launched and %d terminated, want 8 of each", st.Launched, st.Terminated)
	}
	s.rotatordMustBeDone(t)
}

const kopsWorkers = "nodes-1.kops.example.com" // an Auto Scaling group of kopsCluster

// mustBeWholeAgain fails the test unless all of kopsWorkers was replaced, each
// old instance ended once, and both tools see it so.
func mustBeWholeAgain(t *testing.T, s *Sandbox, before State) {
	t.Helper()
	s.MustSettle(t)
	s.kopsMustBeDone(t)
	s.rotatordMustBeDone(t)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, kopsWorkers)
	s.MustHaveKeptBudgets(t)
	var ended []string
	for _, e := range s.Stats(t, false).Terminations {
		ended = append(ended, e.Instance)
	}
	slices.Sort(ended)
	if want := before.Groups[kopsWorkers].Instances; !slices.Equal(ended, want) {
		t.Errorf("instances %v ended, want %v", ended, want)
	}
}

// A rotation that was killed half way is finished by kops. rotatord then takes
// back what its run had left.
func TestKopsFinishesWhatRotatordBegan(t *testing.T) {
	s := kopsCluster(t)
	s.earlier(t)
	before := s.State(t)
	s.PublishImage(t, kopsWorkers)
	s.Stats(t, true)
	r := s.rotatordKops(t)
	p := r.Start(t, "run")
	p.Await("node-replaced")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	s.kops(t, append([]string{"rolling-update", "cluster", "--yes"}, kopsIntervals...)...)
	s.kopsMustBeDone(t)
	r.Run(t, "run").MustExit(t, exitDone)
	mustBeWholeAgain(t, s, before)
}

// And the other way round: an instance that a killed kops had detached is
// drained and ended by rotatord.
func TestRotatordFinishesWhatKopsBegan(t *testing.T) {
	s := kopsCluster(t)
	s.earlier(t)
	before := s.State(t)
	s.PublishImage(t, kopsWorkers)
	s.Stats(t, true)
	cmd := exec.Command(executable("kops"), append([]string{"rolling-update", "cluster", "--yes"}, kopsIntervals...)...)
	cmd.Env = append(cleanEnviron(), append(slices.Clone(s.environ), "HOME="+t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start kops: %v; `make kops-command` builds it", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for detached := false; !detached; {
		select {
		case err := <-ended:
			t.Fatalf("kops ended before it had detached anything: %v", err)
		case <-tick.C:
		}
		for _, c := range s.Stats(t, false).Calls {
			detached = detached || c.Action == "DetachInstances"
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	s.rotatordKops(t).Run(t, "run").MustExit(t, exitDone)
	mustBeWholeAgain(t, s, before)
}
