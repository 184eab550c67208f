package host_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/model"
)

func testOptions(t testing.TB, config map[string]any, env ...string) host.Options {
	return host.Options{Name: "test", Path: testDriver(t), Cluster: "prod", Config: config, Env: env}
}

// observe returns the snapshot and the driver's pid, which it reports.
func observe(t *testing.T, d *host.Driver) (*engine.Snapshot, []model.Diagnostic, int) {
	t.Helper()
	s, diagnostics, err := d.Observe(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, diagnostic := range diagnostics {
		if diagnostic.Code == "pid" {
			pid, err := strconv.Atoi(diagnostic.Summary)
			if err != nil {
				t.Fatal(err)
			}
			return s, diagnostics, pid
		}
	}
	t.Fatal("the driver does not report its pid")
	return nil, nil, 0
}

func pidOf(t *testing.T, d *host.Driver) int {
	t.Helper()
	_, text, _ := strings.Cut(d.Info().Version, "+pid.")
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

func TestKilledDriverIsRestartedAndConfiguredAgain(t *testing.T) {
	a := newAlive(t)
	d := launch(t, testOptions(t, map[string]any{"instances": 3, "observe": "slow"}, "TEST_ALIVE="+a.path))
	first := pidOf(t, d)
	result := make(chan error)
	go func() {
		_, _, err := d.Observe(t.Context(), 0)
		result <- err
	}()
	a.observing(t)
	kill(t, first, syscall.SIGKILL)
	if err := <-result; codeOf(err) != engine.ErrTransient || !strings.Contains(err.Error(), "crashed in mid-call (it ended with signal: killed)") {
		t.Errorf("the call that was cut answered %v", err)
	}
	s, _, second := observe(t, d)
	if len(s.Instances) != 3 {
		t.Errorf("the new life sees %d instances, want the 3 of its configuration", len(s.Instances))
	}
	if second == first {
		t.Errorf("pid is still %d", second)
	}
}

func TestDriverKilledBetweenCalls(t *testing.T) {
	a := newAlive(t)
	d := launch(t, testOptions(t, map[string]any{"instances": 1}, "TEST_ALIVE="+a.path))
	kill(t, pidOf(t, d), syscall.SIGKILL)
	a.dead(t)
	// Dead, but perhaps not yet noticed: then one call may fail, and as transient.
	if _, _, err := d.Observe(t.Context(), 0); err != nil && codeOf(err) != engine.ErrTransient {
		t.Fatalf("the call after the crash: %v", err)
	}
	observe(t, d)
}

func TestDriverThatKeepsCrashingIsLost(t *testing.T) {
	d := launch(t, testOptions(t, map[string]any{"observe": "crash"}))
	var last error
	for range 20 {
		_, _, last = d.Observe(t.Context(), 0)
		if codeOf(last) != engine.ErrTransient {
			break
		}
	}
	if codeOf(last) != engine.ErrDriverLost {
		t.Fatalf("after twenty crashes: %v", last)
	}
	for _, want := range []string{"driver test failed 5 times", "exit status 2", "panic: out of cheese"} {
		if !strings.Contains(last.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, last)
		}
	}
	if err := d.Do(t.Context(), "rot-1", engine.Effect{ID: "op", Verb: engine.VerbTerminate, GroupID: "g", InstanceID: "i"}); codeOf(err) != engine.ErrDriverLost {
		t.Errorf("a call to a lost driver: %v", err)
	}
}

func TestCallDeadline(t *testing.T) {
	o := testOptions(t, map[string]any{"observe": "hang"})
	o.CallTimeout = 300 * time.Millisecond
	d := launch(t, o)
	before := pidOf(t, d)
	if _, _, err := d.Observe(t.Context(), 0); codeOf(err) != engine.ErrTransient || strings.Contains(err.Error(), "hangs") {
		t.Errorf("a call without an answer: %v", err)
	}
	// One call hangs, the driver does not: it answers others, in the same life.
	if err := d.Do(t.Context(), "rot-1", engine.Effect{ID: "op", Verb: engine.VerbTerminate, GroupID: "g", InstanceID: "i"}); err != nil {
		t.Errorf("another call: %v", err)
	}
	if err := syscall.Kill(before, 0); err != nil {
		t.Errorf("the driver was ended: %v", err)
	}
}

func TestHungDriverIsKilled(t *testing.T) {
	a := newAlive(t)
	o := testOptions(t, map[string]any{"observe": "stop"}, "TEST_ALIVE="+a.path)
	o.CallTimeout = 300 * time.Millisecond
	d := launch(t, o)
	_, _, err := d.Observe(t.Context(), 0)
	if codeOf(err) != engine.ErrTransient || !strings.Contains(err.Error(), "hangs and was killed") {
		t.Errorf("a stopped driver: %v", err)
	}
	a.observing(t)
	a.dead(t)
}

func TestCloseEndsAHungDriver(t *testing.T) {
	a := newAlive(t)
	d := launch(t, testOptions(t, nil, "TEST_ALIVE="+a.path))
	kill(t, pidOf(t, d), syscall.SIGSTOP)
	d.Close()
	a.dead(t)
}

func TestHostKilled(t *testing.T) {
	direct := testDriver(t)
	// A wrapper stands between host and driver: the driver's parent stays alive.
	wrapper := filepath.Join(t.TempDir(), "rotatord-driver-test")
	if err := os.WriteFile(wrapper, []byte("#!/bin/sh\n"+direct+"\nexit $?\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"direct": direct, "through a wrapper": wrapper} {
		t.Run(name, func(t *testing.T) {
			a, tmp := newAlive(t), t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envHelper+"="+path, "TEST_ALIVE="+a.path, "TMPDIR="+tmp)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "launched\n" {
				t.Fatalf("the host said %q, %v", line, err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			a.dead(t)
			if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
				t.Errorf("left behind in the temporary folder: %v, %v", left, err)
			}
		})
	}
}

func TestSignalsOfTheDriver(t *testing.T) {
	a := newAlive(t)
	d := launch(t, testOptions(t, map[string]any{"instances": 1, "observe": "slow"}, "TEST_ALIVE="+a.path))
	pid := pidOf(t, d)
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("the driver's process group is %d (%v), want its own, %d", group, err, pid)
	}
	kill(t, pid, syscall.SIGINT)
	if _, _, now := observe(t, d); now != pid {
		t.Fatalf("SIGINT ended the driver: pid %d became %d", pid, now)
	}
	a.observing(t)

	result := make(chan error)
	go func() {
		_, _, err := d.Observe(t.Context(), 0)
		result <- err
	}()
	a.observing(t)
	kill(t, pid, syscall.SIGTERM)
	if err := <-result; err != nil {
		t.Errorf("SIGTERM cut the call in flight: %v", err)
	}
	a.dead(t)
}

func TestEnvironmentIsAllowListed(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not for this driver")
	t.Setenv("CI_JOB_TOKEN", "not for any driver")
	t.Setenv("TEST_REGION", "for this driver")
	t.Setenv("GRANTED", "let through by name")
	t.Setenv("NO_PROXY", "localhost")
	d := launch(t, testOptions(t, nil, "GRANTED", "SET=here"))
	_, diagnostics, _ := observe(t, d)
	got := map[string]string{}
	for _, e := range diagnostics {
		if name, value, _ := strings.Cut(e.Summary, "="); e.Code == "env" {
			got[name] = value
		}
	}
	for name, want := range map[string]string{
		"TEST_REGION": "for this driver", "GRANTED": "let through by name", "SET": "here", "NO_PROXY": "localhost",
		"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME"),
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for name := range got {
		if !strings.HasPrefix(name, "PLUGIN_") && !strings.HasPrefix(name, "ROTATOR_") && !strings.HasPrefix(name, "LC_") &&
			!slices.Contains([]string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "TZ", "TEST_REGION", "GRANTED", "SET",
				"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}, name) {
			t.Errorf("variable %s reached the driver", name)
		}
	}
}

// buffer is a log's output, safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestLogsAreForwardedWithoutSecrets(t *testing.T) {
	var out buffer
	o := testOptions(t, map[string]any{"token": "s3cr3t-t0ken", "logToken": true})
	o.Log = hclog.New(&hclog.LoggerOptions{Name: "rotatord", Level: hclog.Info, Output: &out})
	d := launch(t, o)
	d.Close() // after which the whole log has been read
	log := out.String()
	if !strings.Contains(log, "[INFO]") || !strings.Contains(log, "rotatord.driver.test") || !strings.Contains(log, `configured: token=[secret]`) {
		t.Errorf("the driver's line is not in the log:\n%s", log)
	}
	if !strings.Contains(log, "field zone is deprecated") {
		t.Errorf("the warning of Configure is not in the log:\n%s", log)
	}
	for _, unwanted := range []string{"s3cr3t-t0ken", "too detailed"} {
		if strings.Contains(log, unwanted) {
			t.Errorf("the log holds %q:\n%s", unwanted, log)
		}
	}
}

func TestLargeSnapshot(t *testing.T) {
	d := launch(t, testOptions(t, map[string]any{"instances": 5000}))
	s, _, _ := observe(t, d)
	if len(s.Instances) != 5000 || s.Instances[4999].ID != fmt.Sprintf("i-%017d", 4999) {
		t.Fatalf("got %d instances", len(s.Instances))
	}
}

func TestErrorsAreClassified(t *testing.T) {
	d := launch(t, testOptions(t, map[string]any{"instances": 1}))
	pid := pidOf(t, d)
	for _, tt := range []struct {
		instance string
		want     engine.ErrorCode
		text     string
	}{
		{"UNAVAILABLE", engine.ErrTransient, "instance says UNAVAILABLE"},
		{"DEADLINE_EXCEEDED", engine.ErrTransient, ""},
		{"RESOURCE_EXHAUSTED", engine.ErrTransient, ""},
		{"ABORTED", engine.ErrHeld, ""},
		{"UNIMPLEMENTED", engine.ErrUnsupported, ""},
		{"NOT_FOUND", engine.ErrNotFound, ""},
		{"FAILED_PRECONDITION", engine.ErrPermanent, ""},
		{"PERMISSION_DENIED", engine.ErrPermanent, ""},
		{"INVALID_ARGUMENT", engine.ErrPermanent, ""},
		{"INTERNAL", engine.ErrPermanent, ""},
		{"fail-later", engine.ErrTransient, "it is protected: remove the protection"},
		{"fail-never", engine.ErrPermanent, "it is protected"},
		{"fail-capacity", engine.ErrPermanent, "it is protected"},
	} {
		t.Run(tt.instance, func(t *testing.T) {
			err := d.Do(t.Context(), "rot-1", engine.Effect{ID: tt.instance, Verb: engine.VerbTerminate, GroupID: "g", InstanceID: tt.instance})
			if codeOf(err) != tt.want {
				t.Fatalf("error is %v (%s), want %s", err, codeOf(err), tt.want)
			}
			for _, want := range []string{"driver test: terminate of instance " + tt.instance + " (group g)", tt.text} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
	t.Run("verb not offered", func(t *testing.T) {
		err := d.Do(t.Context(), "rot-1", engine.Effect{ID: "s", Verb: engine.VerbSetSurge, GroupID: "g", Surge: 1})
		if codeOf(err) != engine.ErrUnsupported {
			t.Errorf("set-surge: %v", err)
		}
	})
	t.Run("not a driver's verb", func(t *testing.T) {
		if err := d.Do(t.Context(), "rot-1", engine.Effect{ID: "e", Verb: engine.VerbEvict}); codeOf(err) != engine.ErrUnsupported {
			t.Errorf("evict: %v", err)
		}
	})
	t.Run("another body for the same id", func(t *testing.T) {
		for i, instance := range []string{"i-1", "i-2"} {
			err := d.Do(t.Context(), "rot-1", engine.Effect{ID: "same", Verb: engine.VerbTerminate, GroupID: "g", InstanceID: instance})
			if want := []engine.ErrorCode{"", engine.ErrPermanent}[i]; codeOf(err) != want {
				t.Errorf("%s: %v", instance, err)
			}
		}
	})
	if _, _, now := observe(t, d); now != pid {
		t.Errorf("an error that the driver answered restarted it: pid %d became %d", pid, now)
	}
}

func TestBrokenSnapshots(t *testing.T) {
	for mode, want := range map[string]string{
		"no-end":         "without the end marker, after 1 groups and 1 instances",
		"after-end":      "goes on after its end marker",
		"wrong-count":    "counts 1 groups and 2 instances, it has 1 and 1",
		"unknown-role":   "role 99 is not one that this rotatord knows",
		"no-role":        "role ROLE_UNSPECIFIED is not one",
		"unknown-state":  "state 99 is not one",
		"unknown-refill": "refill 99 is not one",
		"lying-traits":   "need the verb set-surge",
		"stranger":       `belongs to group "h", which is not in it`,
		"no-time":        "does not say when",
		"negative":       "desired -1",
		"twice":          "instance i is in it twice",
		"no-payload":     "a message that this rotatord does not know",

		"lost-label-without-key": `lost label "=web": "" is no key of a label`,
		"too-many-lost-labels":   "101 lost labels",

		"roll-without-id": "its roll has no id",
		"roll-unknown":    "roll state 99 is not one",
		"roll-timeless":   "since: ",
	} {
		t.Run(mode, func(t *testing.T) {
			d := launch(t, testOptions(t, nil, "TEST_MODE="+mode))
			s, _, err := d.Observe(t.Context(), 0)
			if s != nil || codeOf(err) != engine.ErrPermanent || !strings.Contains(err.Error(), want) {
				t.Errorf("observe: %v, %v; want a permanent error that says %q", s, err, want)
			}
		})
	}
	t.Run("sound", func(t *testing.T) { // the same driver can answer one that is not broken
		d := launch(t, testOptions(t, nil, "TEST_MODE=sound"))
		if _, _, err := d.Observe(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
}

func TestLostLabels(t *testing.T) {
	s, _, err := launch(t, testOptions(t, nil, "TEST_MODE=lost-labels")).Observe(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []model.LostLabel{{Key: "example.com/pool", Value: "web"}, {Key: "tier", AnyValue: true}}
	if diff := cmp.Diff(want, s.Groups[0].LostLabels); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A file that the system cannot run is told apart from a driver that fails.
func TestLaunchOfWhatCannotBeRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rotatord-driver-test")
	if err := os.WriteFile(path, []byte("rubbish"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, nil)
	o.Path = path
	_, err := host.Launch(t.Context(), o)
	if hostCode(err) != host.CodeStart || !strings.Contains(err.Error(), "cannot be run: ") || !strings.Contains(err.Error(), runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("error %v", err)
	}
}

func TestLaunchFails(t *testing.T) {
	text := func(s ...string) []string { return s }
	for _, tt := range []struct {
		name   string
		config map[string]any
		env    []string
		code   host.Code
		want   []string
	}{
		{"dies during start", nil, text("TEST_MODE=die", "TEST_PASSWORD=hunter22"), host.CodeStart,
			text("ended before it was ready: it ended with exit status 3", "reading /etc/example.conf", "fatal: line 3: no such zone; password is [secret]")},
		{"prints without end", nil, text("TEST_MODE=endless"), host.CodeProtocol, text(`it printed "` + strings.Repeat("x", 100) + `…"`)},
		{"is no driver", nil, text("TEST_MODE=garbage"), host.CodeProtocol, text(`it printed "Usage: something else"`)},
		{"another protocol version", nil, text("TEST_MODE=version"), host.CodeProtocol, text("speaks version 2 of the driver protocol, this rotatord version 1")},
		{"net/rpc", nil, text("TEST_MODE=netrpc"), host.CodeProtocol, text("does not speak gRPC")},
		{"serves another service", nil, text("TEST_MODE=other-service"), host.CodeProtocol, text("does not serve rotator.driver.v1.Driver")},
		{"unknown verb", nil, text("TEST_MODE=unknown-verb"), host.CodeProtocol, text("offers verb 99")},
		{"unknown severity", nil, text("TEST_MODE=unknown-severity"), host.CodeProtocol, text("severity 99")},
		{"another name", nil, text("TEST_MODE=other-name"), host.CodeProtocol, text(`calls itself driver "kops", not "test"`)},
		{"configuration refused", map[string]any{"refuse": "config-region"}, nil, host.CodeConfig, text("driver test: field region is wrong: it is one of a, b")},
		{"credentials denied", map[string]any{"refuse": "cloud-denied"}, nil, host.CodeDenied, text("field region is wrong")},
		{"provider out of reach", map[string]any{"refuse": "unreachable"}, nil, host.CodeUnavailable, text("driver test: the cloud does not answer", "run the same command again once")},
		{"credentials denied by status", map[string]any{"refuse": "status"}, nil, host.CodeDenied, text("the session has expired")},
		{"configuration without a form", map[string]any{"x": func() {}}, nil, host.CodeConfig, text("configuration of driver test")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAlive(t)
			d, err := host.Launch(t.Context(), testOptions(t, tt.config, append(tt.env, "TEST_ALIVE="+a.path)...))
			if err == nil {
				d.Close()
				t.Fatal("it was launched")
			}
			if hostCode(err) != tt.code {
				t.Errorf("code is %q, want %q", hostCode(err), tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter22") {
				t.Errorf("the error holds a secret:\n%v", err)
			}
			a.dead(t) // no process is left behind
		})
	}
}

func TestLaunchEndsWithItsContext(t *testing.T) {
	o := testOptions(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := host.Launch(ctx, o); !errors.Is(err, ctx.Err()) {
		t.Errorf("launch with an ended context: %v", err)
	}
}

func TestInspectAndValidate(t *testing.T) {
	o := testOptions(t, map[string]any{"refuse": "config-region"})
	info, err := host.Inspect(t.Context(), o) // needs no good configuration
	if err != nil || info.Name != "test" || info.Candidate.Path != o.Path {
		t.Errorf("inspect: %+v, %v", info, err)
	}
	if _, err := host.Validate(t.Context(), o); hostCode(err) != host.CodeConfig {
		t.Errorf("validate a bad configuration: %v", err)
	}
	diagnostics, err := host.Validate(t.Context(), testOptions(t, nil))
	if err != nil || len(diagnostics) != 1 || diagnostics[0].Severity != model.SeverityWarning {
		t.Errorf("validate a good configuration: %v, %v", diagnostics, err)
	}
}

func BenchmarkDriverStart(b *testing.B) {
	o := exampleOptions(b, 100)
	for b.Loop() {
		d, err := host.Launch(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		d.Close()
		b.StartTimer()
	}
}
