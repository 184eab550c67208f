//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kopsCluster is a cluster as kops leaves one: three machines of control plane
// behind a load balancer, a bastion, and two groups of workers. Machines boot within kops' intervals
// below, so that its first look at the cluster finds it well: it waits half a
// minute before the second.
var kopsCluster = lazily("kops.example.com", "eu-central-1", "--provider", "kops", "--nodes", "4", "--pods", "20", "--seed", "10",
	"--boot-delay", "500ms", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms", "--node-monitor-grace-period", "10m",
	"--target-group", "--deregistration-delay", "2s")

// kopsWithin bounds one run of kops.
const kopsWithin = 10 * time.Minute

// kopsIntervals are short where kops lets them be.
var kopsIntervals = []string{"--control-plane-interval", "6s", "--node-interval", "6s", "--bastion-interval", "1s", "--post-drain-delay", "0s", "--validate-count", "1"}

// kops runs the kops command itself, unmodified, and returns all that it said.
func (s *Sandbox) kops(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), kopsWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, executable("kops"), args...)
	// It reads ~/.kops.yaml and writes nothing, but a HOME of its own is safe.
	cmd.Env = append(cleanEnviron(), append(slices.Clone(s.environ), "HOME="+tb.TempDir())...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("kops %s: %v; `make kops-command` builds it\n%s", strings.Join(args, " "), err, lastLines(out, 40))
	}
	return string(out)
}

// kopsGroup is a line of the table that `kops rolling-update cluster` prints.
type kopsGroup struct {
	status                   string
	needUpdate, ready, nodes int
}

// kopsGroups reads that table.
func (s *Sandbox) kopsGroups(tb testing.TB) map[string]kopsGroup {
	tb.Helper()
	groups := map[string]kopsGroup{}
	for line := range strings.Lines(s.kops(tb, "rolling-update", "cluster")) {
		f := strings.Fields(line) // NAME STATUS NEEDUPDATE READY MIN TARGET MAX NODES
		if len(f) != 8 || f[0] == "NAME" {
			continue
		}
		number := func(i int) int {
			n, err := strconv.Atoi(f[i])
			if err != nil {
				tb.Fatalf("%q in the line %q of kops is no number", f[i], line)
			}
			return n
		}
		groups[f[0]] = kopsGroup{status: f[1], needUpdate: number(2), ready: number(3), nodes: number(7)}
	}
	return groups
}

// The measure of the sandbox's honesty: kops itself finds its cluster there,
// knows what needs an update, and rolls all of it.
func TestKopsCommand(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t) // kops validates what it finds: a pod that has just begun fails it
	out := s.kops(t, "validate", "cluster")
	if !strings.Contains(out, "Your cluster "+s.Name+" is ready") {
		t.Errorf("kops validate:\n%s", out)
	}
	sizes := map[string]int{"bastions": 1, "nodes-1": 2, "nodes-2": 2}
	for _, z := range "abc" {
		sizes["control-plane-eu-central-1"+string(z)] = 1
	}
	seen := func(status string) {
		t.Helper()
		want := map[string]kopsGroup{}
		for name, size := range sizes {
			g := kopsGroup{status: status, needUpdate: size, nodes: size}
			if status == "Ready" {
				g.needUpdate, g.ready = 0, size
			}
			if name == "bastions" {
				g.nodes = 0 // it joins no cluster
			}
			want[name] = g
		}
		if got := s.kopsGroups(t); !maps.Equal(got, want) {
			t.Errorf("kops sees the groups\n%v, want\n%v", got, want)
		}
	}
	seen("Ready")
	s.CLI(t, "publish-image")
	seen("NeedsUpdate")

	before := s.Verify(t)
	s.Stats(t, true)
	began := time.Now()
	s.kops(t, append([]string{"rolling-update", "cluster", "--yes"}, kopsIntervals...)...)
	t.Logf("kops rolling-update cluster --yes took %s", time.Since(began).Round(time.Second))
	s.mustBeUpToDate(t, s.kopsRotatord(t))
	after := s.MustHaveKeptBudgets(t)
	if len(after.Nodes) != 7 || len(after.Pods.NotReady) > 0 {
		t.Errorf("%d nodes, want 7; pods not Ready: %v", len(after.Nodes), after.Pods.NotReady)
	}
	old := map[string]bool{}
	for _, n := range before.Nodes {
		old[n.ProviderID] = true
	}
	for _, n := range after.Nodes {
		if old[n.ProviderID] {
			t.Errorf("node %s was not replaced", n.Name)
		}
	}
	st := s.Stats(t, false)
	if st.Terminated != 8 || st.Launched != 8 {
		t.Errorf("%d machines launched and %d terminated, want 8 of each", st.Launched, st.Terminated)
	}
	// Surge by detaching: one of the bastions' and one of each group of workers',
	// none of the control plane's.
	detached := 0
	for _, c := range st.Calls {
		if c.Action == "DetachInstances" {
			detached = c.Calls
		}
	}
	if detached != 3 {
		t.Errorf("kops detached %d instances, want 3", detached)
	}
}

func lastLines(b []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
