//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rotationWithin bounds one run of rotatord: most rotations here take seconds.
const rotationWithin = 4 * time.Minute

// Exit codes of rotatord, as documented.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
	exitStopped = 4
	exitGate    = 5
	exitHeld    = 6
)

// Rotatord is how a test runs the command: a real process with an environment
// of its own.
type Rotatord struct {
	// Env is the environment; nil: the sandbox's.
	Env []string
	// Dir holds the rotation's records and reports. Runs that share it share
	// their history.
	Dir string
	// Base are the flags given before each test's own.
	Base []string
	// Within bounds one run; 0: rotationWithin.
	Within time.Duration
}

// rotatord returns the command set up for this sandbox: its cluster, the EKS
// driver, and folders of the test's own.
func (s *Sandbox) rotatord(tb testing.TB) *Rotatord {
	tb.Helper()
	dir := tb.TempDir()
	return &Rotatord{
		Env: append(cleanEnviron(), s.environ...),
		Dir: dir,
		Base: []string{"--cluster", s.Name, "--driver", "eks",
			"--driver-path", executable("rotatord-driver-eks"),
			"--journal-dir", filepath.Join(dir, "journal"), "--report-dir", filepath.Join(dir, "report")},
	}
}

// With returns a copy whose environment has the variables, each NAME=VALUE or,
// to take one away, NAME.
func (r *Rotatord) With(env ...string) *Rotatord {
	out := *r
	out.Env = nil
	for _, kv := range r.Env {
		name, _, _ := strings.Cut(kv, "=")
		keep := true
		for _, e := range env {
			n, _, _ := strings.Cut(e, "=")
			keep = keep && n != name
		}
		if keep {
			out.Env = append(out.Env, kv)
		}
	}
	for _, e := range env {
		if strings.Contains(e, "=") {
			out.Env = append(out.Env, e)
		}
	}
	return &out
}

// Result of a finished process.
type Result struct {
	Args   []string
	Code   int
	Stdout string
	Stderr string
	Took   time.Duration
	MaxRSS int64         // KiB
	CPU    time.Duration // user and system
}

// Text is all that the process said.
func (r Result) Text() string { return r.Stdout + r.Stderr }

// Run runs a command that takes the rotation's flags, and waits for it.
func (r *Rotatord) Run(tb testing.TB, command string, args ...string) Result {
	tb.Helper()
	return r.Start(tb, command, args...).Wait()
}

// Exec runs rotatord with exactly these arguments.
func (r *Rotatord) Exec(tb testing.TB, args ...string) Result {
	tb.Helper()
	return r.start(tb, args).Wait()
}

// Start begins a command that takes the rotation's flags.
func (r *Rotatord) Start(tb testing.TB, command string, args ...string) *Process {
	tb.Helper()
	all := append([]string{command}, r.Base...)
	return r.start(tb, append(all, args...))
}

// Process is a running rotatord.
type Process struct {
	tb       testing.TB
	cmd      *exec.Cmd
	out, err *bytes.Buffer
	began    time.Time
	done     chan struct{}
	timer    *time.Timer
	events   string // the path of events.jsonl
}

func (r *Rotatord) start(tb testing.TB, args []string) *Process {
	tb.Helper()
	p := &Process{tb: tb, out: &bytes.Buffer{}, err: &bytes.Buffer{}, done: make(chan struct{}), began: time.Now(),
		events: filepath.Join(r.Dir, "report", "events.jsonl")}
	os.Remove(p.events) // of an earlier run in the same folder, if any
	p.cmd = exec.Command(executable("rotatord"), args...)
	p.cmd.Env = r.Env
	p.cmd.Dir = r.Dir
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start rotatord: %v; `make build` builds it", err)
	}
	p.timer = time.AfterFunc(cmp.Or(r.Within, rotationWithin), func() {
		p.cmd.Process.Signal(syscall.SIGQUIT) // a stack trace says where it hangs
	})
	go func() {
		p.cmd.Wait() // the exit code is read from ProcessState
		p.timer.Stop()
		close(p.done)
	}()
	tb.Cleanup(func() {
		select {
		case <-p.done:
		default:
			p.cmd.Process.Kill() // it may just have ended
			<-p.done
		}
		if tb.Failed() {
			tb.Logf("rotatord %s: exit code %d\n%s%s", strings.Join(args, " "), p.cmd.ProcessState.ExitCode(), p.out, p.err)
		}
	})
	return p
}

// Wait returns what became of the process.
func (p *Process) Wait() Result {
	<-p.done
	res := Result{Args: p.cmd.Args[1:], Code: p.cmd.ProcessState.ExitCode(), Stdout: p.out.String(), Stderr: p.err.String(), Took: time.Since(p.began),
		CPU: p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()}
	if ru, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		res.MaxRSS = ru.Maxrss
	}
	return res
}

// Signal sends a signal to rotatord alone.
func (p *Process) Signal(sig os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.tb.Fatalf("signal %v: %v", sig, err)
	}
}

// Event is one line of events.jsonl, as far as tests read it.
type Event struct {
	Time     time.Time         `json:"time"`
	Kind     string            `json:"kind"`
	Verb     string            `json:"verb"`
	Group    string            `json:"group"`
	Instance string            `json:"instance"`
	Node     string            `json:"node"`
	Pod      string            `json:"pod"`
	Code     string            `json:"code"`
	Message  string            `json:"message"`
	Data     map[string]string `json:"data"`
}

// Await returns the first event of the kind that the running rotation writes.
// It fails the test when the rotation ends without one.
func (p *Process) Await(kind string) Event {
	p.tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-p.done:
			ended = true
		case <-tick.C:
		}
		for _, e := range readEvents(p.tb, p.events) {
			if e.Kind == kind {
				return e
			}
		}
		if ended {
			p.tb.Fatalf("the rotation ended, exit code %d, without an event %s:\n%s%s", p.cmd.ProcessState.ExitCode(), kind, p.out, p.err)
		}
	}
}

// readEvents reads the whole lines of a file that may still be written.
func readEvents(tb testing.TB, path string) []Event {
	tb.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	var out []Event
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			tb.Fatalf("%s: %v in %q", path, err, line)
		}
		out = append(out, e)
	}
	return out
}

// Events of the last run in this folder.
func (r *Rotatord) Events(tb testing.TB, kinds ...string) []Event {
	tb.Helper()
	var out []Event
	for _, e := range readEvents(tb, filepath.Join(r.Dir, "report", "events.jsonl")) {
		for _, k := range kinds {
			if e.Kind == k {
				out = append(out, e)
			}
		}
	}
	return out
}

// MustExit fails the test unless the process ended with the code and said all
// of the words.
func (r Result) MustExit(tb testing.TB, code int, words ...string) Result {
	tb.Helper()
	if r.Code != code {
		tb.Fatalf("rotatord %s: exit code %d, want %d\n%s", strings.Join(r.Args, " "), r.Code, code, r.Text())
	}
	for _, w := range words {
		if !strings.Contains(r.Text(), w) {
			tb.Errorf("rotatord %s does not say %q:\n%s", strings.Join(r.Args, " "), w, r.Text())
		}
	}
	return r
}
