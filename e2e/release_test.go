//go:build e2e

package e2e

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// exitBehind: `release check` found a group without the release.
const exitBehind = 7

// releasing: two managed node groups and one of its own Auto Scaling group.
var releasing = lazily("e2e-release", "eu-west-3", append(delays, "--provider", "eks-managed", "--nodes", "6", "--groups", "2", "--zones", "3", "--pods", "24", "--seed", "21")...)

// From "a new image is published" to "every node runs it", in one rotation that
// is killed on its way, without a kubeconfig; then back again.
func TestRelease(t *testing.T) {
	s := releasing(t)
	self := s.Name + "-workers-1"
	r := s.rotatord(t).With("KUBECONFIG", "HOME="+t.TempDir())
	r.Base = append(r.Base, "--journal-store", "cluster")
	check := func(args ...string) Result {
		t.Helper()
		base := []string{"release", "check", "--cluster", s.Name, "--driver", "eks", "--driver-path", executable("rotatord-driver-eks")}
		return r.Exec(t, append(base, args...)...)
	}
	check().MustExit(t, exitDone, "same")
	s.CLI(t, "publish-release")
	s.Stats(t, true)
	behind := check("--output", "json").MustExit(t, exitBehind)
	var doc struct {
		Current bool
		Groups  []struct {
			Group, Order    string
			Current, Target struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(behind.Stdout), &doc); err != nil || doc.Current || len(doc.Groups) != 3 {
		t.Fatalf("%v\n%s", err, behind.Stdout)
	}
	for _, g := range doc.Groups {
		if g.Order != "newer" || g.Current.ID == g.Target.ID {
			t.Errorf("group %s: %+v", g.Group, g)
		}
	}
	st := s.Stats(t, false)
	describes := 0
	for _, c := range st.Calls {
		if c.Action == "DescribeNodegroup" {
			describes += c.Calls
		}
	}
	if st.Changing > 0 || describes != 2 || st.Total-describes > 10 {
		t.Errorf("a check of 2 managed groups and 1 other made %d calls, %d of them DescribeNodegroup, %d changing", st.Total, describes, st.Changing)
	}

	r.Run(t, "plan", "--release", "latest").MustExit(t, exitDone, "replace 6 nodes in 3 groups", "first its release becomes")
	p := r.Start(t, "run", "--release", "latest")
	p.Await("release-staging")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	done := r.Run(t, "run", "--release", "latest")
	done.MustExit(t, exitDone, "6 of 6 replaced", "RELEASE")
	check().MustExit(t, exitDone, "same")
	r.Run(t, "plan", "--release", "latest").MustExit(t, exitDone, "nothing to replace")
	s.MustHaveKeptBudgets(t)
	// A template of its own for each staging: a call that was cut off made no second.
	staged := 0
	for _, c := range s.Stats(t, false).Calls {
		if c.Action == "CreateLaunchTemplateVersion" {
			staged += c.Calls - c.Errors["DryRunOperation"] // those asked only whether it may
		}
	}
	if staged > 2 { // the one that was cut off was sent again, under the same client token
		t.Errorf("%d launch template versions asked for", staged)
	}
	report := func(name string) string {
		b, err := os.ReadFile(filepath.Join(r.Dir, "report", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if env := report("rotation.env"); !strings.Contains(env, "ROTATION_STATUS=done\n") || !strings.Contains(env, "ROTATION_NODES_REPLACED=6\n") {
		t.Errorf("rotation.env:\n%s", env)
	}
	if err := xml.Unmarshal([]byte(report("junit.xml")), new(struct{})); err != nil || strings.Contains(report("junit.xml"), "<failure") {
		t.Errorf("%v\n%s", err, report("junit.xml"))
	}

	// EKS rolls no managed group back, and says so before anything is changed; the
	// other group can go back, and forth.
	rollback := func(args ...string) Result {
		t.Helper()
		return r.Exec(t, append(append([]string{"release", "rollback"}, r.Base...), args...)...)
	}
	rollback().MustExit(t, exitRefused, "EKS does not roll a node group back", "--exclude-group")
	rollback("--group", self).MustExit(t, exitDone, "staged")
	check("--group", self).MustExit(t, exitBehind, "newer")
	rollback("--group", self).MustExit(t, exitDone, "staged")
	check().MustExit(t, exitDone, "same")
}
