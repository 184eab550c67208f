//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// readyWithin bounds the start of a sandbox: control plane, nodes, workloads
// and budgets. On two busy cores it takes well under a minute.
const readyWithin = 5 * time.Minute

// Sandbox is one running bin/sandbox: a control plane with its nodes and a
// simulated AWS. It dies with the test binary, because it ends when its stdin
// is closed.
type Sandbox struct {
	Name    string // the cluster's
	Region  string
	Dir     string
	environ []string // what its ready line says to export
	cmd     *exec.Cmd
	stdin   io.Closer
}

// startSandbox runs `sandbox up` and returns once it says that it is ready.
func startSandbox(dir, cluster, region string, args ...string) (*Sandbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "sandbox.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args = append([]string{"up", "--dir", dir, "--cluster", cluster, "--region", region, "--exit-on-stdin-close"}, args...)
	cmd := exec.Command(executable("sandbox"), args...)
	cmd.Stderr = log
	// Its own process group: an interrupt at the terminal reaches the tests,
	// which stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the sandbox: %w; `make sandbox` builds it", err)
	}
	s := &Sandbox{Name: cluster, Region: region, Dir: dir, cmd: cmd, stdin: stdin}
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		lines <- line
		io.Copy(io.Discard, stdout) // nothing else is expected there
	}()
	select {
	case line := <-lines:
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
		if !ok {
			s.Stop()
			return nil, fmt.Errorf("the sandbox said %q instead of ready; its log ends:\n%s", line, tail(log.Name(), 30))
		}
		s.environ = strings.Fields(rest)
		return s, nil
	case <-time.After(readyWithin):
		s.Stop()
		return nil, fmt.Errorf("the sandbox was not ready within %s; its log ends:\n%s", readyWithin, tail(log.Name(), 30))
	}
}

// Stop ends the sandbox and waits for it.
func (s *Sandbox) Stop() {
	s.stdin.Close()
	done := make(chan struct{})
	go func() { s.cmd.Wait(); close(done) }() // how it ends after its job is done does not matter
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		s.cmd.Process.Kill() // it may just have ended
		<-done
	}
}

// Getenv returns what the ready line said.
func (s *Sandbox) Getenv(name string) string {
	for _, kv := range s.environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// CLI runs a command of bin/sandbox against this sandbox and returns its stdout.
func (s *Sandbox) CLI(tb testing.TB, args ...string) []byte {
	tb.Helper()
	out, err := s.cli(tb.Context(), args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func (s *Sandbox) cli(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, executable("sandbox"), args...)
	cmd.Env = append(cleanEnviron(), s.environ...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return out, fmt.Errorf("sandbox %s: %w\n%s%s", strings.Join(args, " "), err, out, exit.Stderr)
		}
		return out, fmt.Errorf("sandbox %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// PublishImage makes every instance of the group outdated.
func (s *Sandbox) PublishImage(tb testing.TB, group string) {
	tb.Helper()
	s.CLI(tb, "publish-image", "--group", group)
}

// Fault adds a fault and takes it away when the test ends.
func (s *Sandbox) Fault(tb testing.TB, kind string, args ...string) {
	tb.Helper()
	s.CLI(tb, append([]string{"fault", "add", kind}, args...)...)
	tb.Cleanup(func() {
		if _, err := s.cli(context.Background(), "fault", "clear"); err != nil {
			tb.Error(err)
		}
	})
}

// Stats are the calls of the simulated AWS, by "service:action".
type Stats struct {
	Calls []struct {
		Service string         `json:"service"`
		Action  string         `json:"action"`
		Calls   int            `json:"calls"`
		Errors  map[string]int `json:"errors"` // how many were answered with one, by code
	} `json:"calls"`
	Total      int `json:"total"`
	Changing   int `json:"changing"`
	Launched   int `json:"launched"`
	Terminated int `json:"terminated"`
	// Terminations are the terminated instances, each once, with who asked.
	Terminations []struct {
		Instance, Group, By string
	} `json:"terminations"`
}

// Stats reads the counters, and starts them again with reset.
func (s *Sandbox) Stats(tb testing.TB, reset bool) Stats {
	tb.Helper()
	args := []string{"stats", "--output", "json"}
	if reset {
		args = append(args, "--reset")
	}
	return decode[Stats](tb, s.CLI(tb, args...))
}

// Verdict is what the sandbox's own observer saw since it was last reset. It
// watches budgets and pods independently of rotatord, and reads the API
// server's audit log.
type Verdict struct {
	OK            bool              `json:"ok"`
	Violations    []json.RawMessage `json:"violations"`
	DirectDeletes []json.RawMessage `json:"directDeletes"`
	Evictions     []struct {
		User                    string
		Allowed, Refused, Other int
	} `json:"evictions"`
	NodeChanges []struct {
		User  string
		Count int
	} `json:"nodeChanges"`
	EndedAttached []json.RawMessage `json:"endedAttached"`
	MovesPerPod   float64           `json:"movesPerPod"`
	Pods          struct {
		Total, Ready int
		NotReady     []string
	} `json:"pods"`
	Nodes []struct {
		Name, ProviderID     string
		Ready, Unschedulable bool
		Taints               []string
	} `json:"nodes"`
	// Targets are the instances in load balancers' target groups.
	Targets []struct{ Group, Instance, State string } `json:"targets"`
	// EndedInService are instances that somebody ended while they were in one.
	EndedInService []json.RawMessage `json:"endedInService"`
}

// Verify reads the verdict. Reading it is no judgement: tests look at the
// fields that matter to them.
func (s *Sandbox) Verify(tb testing.TB) Verdict {
	tb.Helper()
	out, err := s.cli(tb.Context(), "verify", "--output", "json")
	if len(out) == 0 {
		tb.Fatal(err)
	}
	return decode[Verdict](tb, out)
}

// MustHaveKeptBudgets fails the test when a budget was violated, or when a pod
// was deleted by rotatord other than by eviction.
func (s *Sandbox) MustHaveKeptBudgets(tb testing.TB) Verdict {
	tb.Helper()
	v := s.Verify(tb)
	if !v.OK || len(v.Violations) > 0 || len(v.DirectDeletes) > 0 {
		tb.Errorf("the observer saw violations of budgets %s, deleted pods %s and instances ended in service %s", v.Violations, v.DirectDeletes, v.EndedInService)
	}
	return v
}

func decode[T any](tb testing.TB, b []byte) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatalf("decode %T: %v\n%s", v, err, b)
	}
	return v
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// executable returns the path of a program that make built: in $BIN, or in
// ../bin.
func executable(name string) string {
	dir := os.Getenv("BIN")
	if dir == "" {
		dir = filepath.Join("..", "bin")
	}
	abs, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		panic(err)
	}
	return abs
}

// cleanEnviron is the environment without anything that would lead a program
// to another cluster or another cloud account, or change its configuration.
func cleanEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "KUBECONFIG" || name == "SANDBOX_URL" ||
			strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "KOPS_") || strings.HasPrefix(name, "ROTATOR_")
	})
}

// The sandboxes that tests share, each started by the first test that asks for
// it and stopped at the end. Tests do not run in parallel: they share nodes.
var (
	sandboxes   []*Sandbox
	sandboxesMu sync.Mutex
)

func lazily(cluster, region string, args ...string) func(testing.TB) *Sandbox {
	once := sync.OnceValues(func() (*Sandbox, error) {
		s, err := startSandbox(filepath.Join(workDir, cluster), cluster, region, args...)
		if err == nil {
			sandboxesMu.Lock()
			sandboxes = append(sandboxes, s)
			sandboxesMu.Unlock()
		}
		return s, err
	})
	return func(tb testing.TB) *Sandbox {
		tb.Helper()
		s, err := once()
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
}

// delays are short: what is tested is order, not endurance. A machine that is
// shared with others may stand still for a minute, and no test here is about
// nodes that die: hence the long grace.
var delays = []string{"--boot-delay", "1s", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms", "--node-monitor-grace-period", "10m"}

var (
	// plain: three groups over three zones, with workloads under budgets.
	plain = lazily("e2e", "eu-central-1", append(delays, "--nodes", "9", "--groups", "3", "--zones", "3", "--pods", "45", "--seed", "7")...)
	// mixed: mixed-instances policies and node names by resource id, in a
	// region whose names differ again.
	mixed = lazily("e2e-mixed", "ap-southeast-2", append(delays, "--nodes", "6", "--groups", "1", "--zones", "3", "--pods", "24", "--seed", "8",
		"--mixed-instances", "--resource-names")...)
	// balanced: one group behind a load balancer's target group.
	balanced = lazily("e2e-lb", "eu-west-1", append(delays, "--nodes", "3", "--groups", "1", "--zones", "3", "--pods", "12", "--seed", "10",
		"--target-group", "--deregistration-delay", "4s")...)
	// scrap: what a test may break for good.
	scrap = lazily("e2e-scrap", "us-east-1", append(delays, "--nodes", "6", "--groups", "3", "--zones", "3", "--workload", "none", "--seed", "9")...)
)

// workDir holds the sandboxes' folders: kubeconfigs, logs, etcd data.
var workDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "rotator-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		workDir = dir
		code := m.Run()
		printFigures()
		for _, s := range sandboxes {
			s.Stop()
		}
		if code != 0 || os.Getenv("KEEP") != "" {
			fmt.Fprintf(os.Stderr, "logs of the sandboxes are kept in %s\n", dir)
			return code
		}
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return code
	}())
}
