//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kopsApplied is a cluster that kops itself applies: without a bastion, whose
// load balancer is not simulated.
var kopsApplied = lazily("applied.example.com", "eu-central-1", "--provider", "kops", "--no-bastion", "--nodes", "4", "--pods", "20", "--seed", "11",
	"--boot-delay", "500ms", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms", "--node-monitor-grace-period", "10m")

const (
	// recommended is the parameter that names the newest image of the account.
	recommended = "ssm:/sandbox/eks/ami/recommended/image_id"
	// otherGroup is an Auto Scaling group of another cluster in the account: an
	// image that is published for it is in no template of the cluster.
	otherGroup = "other-workers-1"
)

// kopsUpdate is `kops update cluster`, with --yes if that is given.
func (s *Sandbox) kopsUpdate(tb testing.TB, args ...string) string {
	tb.Helper()
	return s.kops(tb, append([]string{"update", "cluster", "--create-kube-config=false"}, args...)...)
}

// mustBeApplied fails the test unless kops finds nothing to apply.
func (s *Sandbox) mustBeApplied(tb testing.TB) {
	tb.Helper()
	if out := s.kopsUpdate(tb); !strings.Contains(out, "No changes need to be applied") {
		tb.Errorf("kops finds something to apply:\n%s", lastLines([]byte(out), 40))
	}
}

// releaseApply stages the latest image of the account.
func (s *Sandbox) releaseApply(tb testing.TB, r *Rotatord, args ...string) Result {
	tb.Helper()
	return r.Exec(tb, s.releaseArgs(args...)...)
}

func (s *Sandbox) releaseArgs(args ...string) []string {
	return append([]string{"release", "apply", "--cluster", s.Name, "--driver", "kops",
		"--driver-path", executable("rotatord-driver-kops"), "--driver-config", "latest=" + recommended}, args...)
}

// stored is the specification of an instance group in the state store.
func (s *Sandbox) stored(tb testing.TB, group string) string {
	tb.Helper()
	store, _ := strings.CutPrefix(s.Getenv("KOPS_STATE_STORE"), "file://")
	b, err := os.ReadFile(filepath.Join(store, s.Name, "instancegroup", group))
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// A new image, from the moment it is published to a cluster that runs it, and
// kops finds nothing to apply and nothing to roll.
func TestKopsStage(t *testing.T) {
	s := kopsApplied(t)
	s.MustSettle(t)
	s.kopsUpdate(t, "--yes")
	s.mustBeApplied(t)
	r := s.kopsRotatord(t)
	all := []string{"--role", "control-plane", "--role", "node"}
	s.CLI(t, "publish-image", "--group", otherGroup)
	was := s.stored(t, "nodes-1")
	s.releaseApply(t, r, append(all, "--dry-run")...).MustExit(t, exitDone, "5 groups would get another release")
	if now := s.stored(t, "nodes-1"); now != was {
		t.Errorf("a dry run has changed the state store:\n%s", now)
	}
	s.mustBeApplied(t)
	s.releaseApply(t, r, all...).MustExit(t, exitDone, "staged")
	s.releaseApply(t, r, all...).MustExit(t, exitDone, "nothing to stage")
	s.mustBeApplied(t)

	before := s.State(t)
	s.Stats(t, true)
	r.Run(t, "run").MustExit(t, exitDone, "7 node(s) replaced")
	s.mustBeUpToDate(t, r)
	s.mustBeApplied(t)
	s.MustSettle(t)
	after := s.State(t)
	after.MustBeTidy(t, before)
	s.MustHaveKeptBudgets(t)
	if st := s.Stats(t, false); st.Terminated != 7 || st.Launched != 7 {
		t.Errorf("%d machines launched and %d terminated, want 7 of each", st.Launched, st.Terminated)
	}
}

// A staging that was killed with images in the state store that are not applied
// is finished by the same command, for all groups, and by kops itself no more.
func TestKopsStageKilled(t *testing.T) {
	s := kopsApplied(t)
	s.MustSettle(t)
	s.kopsUpdate(t, "--yes")
	s.CLI(t, "publish-image", "--group", otherGroup)
	r := s.kopsRotatord(t)
	all := []string{"--role", "control-plane", "--role", "node", "--journal-dir", filepath.Join(r.Dir, "journal")}
	was := s.stored(t, "nodes-2")
	p := r.start(t, s.releaseArgs(all...))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.stored(t, "nodes-2") == was { // the last of the five that are written
		select {
		case <-p.done:
			t.Fatalf("it ended and has specified nothing:\n%s%s", p.out, p.err)
		case <-tick.C:
		}
	}
	p.Signal(syscall.SIGKILL)
	p.Wait()
	if out := s.kopsUpdate(t); strings.Contains(out, "No changes need to be applied") {
		t.Error("it was killed, and everything is applied: the test has come too late")
	}
	s.releaseApply(t, r, all...).MustExit(t, exitDone, "5 group(s) have another release", "an earlier run began it")
	s.mustBeApplied(t)
}

// What was specified otherwise and not applied is not applied with an image.
func TestKopsStageRefused(t *testing.T) {
	s := kopsApplied(t)
	s.kopsUpdate(t, "--yes")
	s.CLI(t, "publish-image", "--group", otherGroup)
	r := s.kopsRotatord(t)
	store, _ := strings.CutPrefix(s.Getenv("KOPS_STATE_STORE"), "file://")
	for _, tc := range []struct {
		name     string
		file     string // of the cluster's folder
		from, to string
		says     []string
	}{
		{"another group's machine type", "instancegroup/nodes-2", "machineType: m5.xlarge", "machineType: m5.large", []string{"has changes that were not applied", "modify LaunchTemplate/nodes-2." + s.Name}},
		{"another minor version of kops", "kops-version.txt", "1.36.0", "1.33.2", []string{"was last applied by kops 1.33.2"}},
		{"Terraform", "config", "\nspec:\n", "\nspec:\n  target:\n    terraform:\n      providerExtraConfig:\n        alias: x\n", []string{"targets Terraform"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(store, s.Name, tc.file)
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			edited := strings.Replace(string(was), tc.from, tc.to, 1)
			if edited == string(was) {
				t.Fatalf("%s does not hold %q:\n%s", tc.file, tc.from, was)
			}
			group := s.stored(t, "nodes-1")
			if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := os.WriteFile(path, was, 0o600); err != nil {
					t.Fatal(err)
				}
			}()
			res := s.releaseApply(t, r, "--group", "nodes-1")
			if res.Code != exitRefused || slices.ContainsFunc(tc.says, func(w string) bool { return !strings.Contains(res.Text(), w) }) {
				t.Errorf("exit code %d, want %d with all of %q\n%s", res.Code, exitRefused, tc.says, res.Text())
			}
			if now := s.stored(t, "nodes-1"); now != group {
				t.Errorf("it was refused, and the state store has changed:\n%s", now)
			}
		})
	}
	s.mustBeApplied(t)
}
