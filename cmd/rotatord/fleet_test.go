package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/report"
)

// The runtime's goroutine for signals begins with the first one that is asked for:
// not in a bubble of synctest, which it would outlive.
func init() { outliveReaders() }

// selves play the rotatords that a fleet starts.
type selves struct {
	mu    sync.Mutex
	calls [][]string
	// play is one of them: it returns the exit code. told is closed at a signal.
	play func(cluster string, told <-chan os.Signal, stdout, stderr io.Writer) int
}

type fakeChild struct {
	told chan os.Signal
	code chan int
}

func (c *fakeChild) Signal(s os.Signal) error { c.told <- s; return nil }
func (c *fakeChild) Wait() int                { return <-c.code }

func (s *selves) start(args, env []string, stdout, stderr io.Writer) (child, error) {
	s.mu.Lock()
	s.calls = append(s.calls, append(slices.Clone(env), args...))
	s.mu.Unlock()
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--config=") })
	name := strings.TrimSuffix(filepath.Base(args[i]), ".yaml")
	c := &fakeChild{told: make(chan os.Signal, 4), code: make(chan int, 1)}
	go func() { c.code <- s.play(name, c.told, stdout, stderr) }()
	return c, nil
}

// fleetFiles writes a fleet of two waves: canary (a), then eu (b and c).
func fleetFiles(t *testing.T, top string) string {
	t.Helper()
	dir := t.TempDir()
	for _, c := range []string{"a", "b", "c"} {
		text := "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ncluster: " + c + "\ndriver: {name: eks}\n"
		if c == "c" {
			text += "window: {start: '@hourly', duration: 1h}\n"
		}
		if err := os.WriteFile(filepath.Join(dir, c+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "fleet.yaml")
	text := fmt.Sprintf(`apiVersion: rotatord.github.io/v1alpha1
kind: Fleet
name: production
%s
waves:
  - {name: canary, bake: 30m, clusters: [{name: a, config: %[2]s/a.yaml}]}
  - {name: eu, clusters: [{name: b, config: %[2]s/b.yaml, set: {strategy.maxSurge: 3}}, {name: c, config: %[2]s/c.yaml}]}
`, top, dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func summary(replaced int) string {
	return fmt.Sprintf(`{"rotation":"r","status":"done","seconds":1,"replaced":%d}`, replaced)
}

func callFleet(t *testing.T, s *selves, signals <-chan os.Signal, args ...string) outcome {
	t.Helper()
	var stdout, stderr buffer
	a := &app{stdout: &stdout, stderr: &stderr, backend: &fake{}, self: s.start, signals: signals, exit: func(int) { t.Error("the process was ended") }}
	code := a.run(t.Context(), args)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := fleetFiles(t, "atOnce: 2\nwindow: {start: '@daily', duration: 4h}")
		s := &selves{play: func(cluster string, _ <-chan os.Signal, stdout, stderr io.Writer) int {
			fmt.Fprint(stderr, "rotates\nand goes on")
			time.Sleep(10 * time.Minute)
			fmt.Fprint(stderr, "\n")
			fmt.Fprint(stdout, summary(len(cluster)))
			return 0
		}}
		out := filepath.Join(t.TempDir(), "out")
		o := callFleet(t, s, nil, "run", "--fleet", file, "--report-dir", out, "--max-unavailable", "1")
		if o.code != exitDone {
			t.Fatalf("exit code %d: %s", o.code, o.stderr)
		}
		dir := filepath.Dir(file)
		window := []string{"--window=@daily", "--window-duration=4h0m0s"}
		want := [][]string{
			slices.Concat([]string{"run", "--config=" + dir + "/a.yaml", "--output=json", "--max-unavailable=1"}, window, []string{"--report-dir=" + out + "/a"}),
			slices.Concat([]string{"run", "--config=" + dir + "/b.yaml", "--output=json", "--max-surge=3", "--max-unavailable=1"}, window, []string{"--report-dir=" + out + "/b"}),
			{"run", "--config=" + dir + "/c.yaml", "--output=json", "--max-unavailable=1", "--report-dir=" + out + "/c"},
		}
		if diff := cmp.Diff(want, s.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		wantOut := `CLUSTER  WAVE    STATE  EXIT  REPLACED  TIME   
a        canary  done   0     1         10m0s  
b        eu      done   0     1         10m0s  
c        eu      done   0     1         10m0s  
`
		if diff := cmp.Diff(wantOut, o.stdout); diff != "" {
			t.Errorf("stdout (-want +got):\n%s", diff)
		}
		if want := "a: begins\na: rotates\na: and goes on\na: ended with exit code 0, 1 node(s) replaced\n"; !strings.HasPrefix(o.stderr, want) {
			t.Errorf("stderr does not begin with %q:\n%s", want, o.stderr)
		}
		for name, want := range map[string]string{
			report.SummaryFile: `"fleet": "production"`, report.JUnitFile: `tests="3" failures="0" skipped="0"`,
			report.MetricsFile: `rotator_exit_code{cluster="c"} 0`, report.EnvFile: "ROTATION_CLUSTERS_DONE=3\nROTATION_NODES_PLANNED=0\nROTATION_NODES_REPLACED=3\n",
		} {
			if b, err := os.ReadFile(filepath.Join(out, name)); err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s does not hold %q: %v\n%s", name, want, err, b)
			}
		}
		if took := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); took != 50*time.Minute {
			t.Errorf("it took %v, want 50m: two waves of 10m and a bake of 30m", took)
		}
	})
}

func TestFleetStopsAtAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &selves{play: func(_ string, _ <-chan os.Signal, _, stderr io.Writer) int {
			fmt.Fprint(stderr, "error: a health gate failed: node n\nerror: and more\n")
			return exitGate
		}}
		o := callFleet(t, s, nil, "run", "--fleet", fleetFiles(t, "atOnce: 1"), "--output", "json")
		var d fleetDocument
		if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
			t.Fatalf("%v: %s", err, o.stdout)
		}
		if o.code != exitGate || d.ExitCode != exitGate || len(s.calls) != 1 || d.Clusters[1].State != "skipped" || d.Clusters[1].Why != "cluster a has failed" || d.Clusters[0].Why != "a health gate failed: node n" {
			t.Errorf("exit code %d, %d calls: %+v", o.code, len(s.calls), d)
		}
		if want := "error: 3 of 3 cluster(s) are not done: a, b, c; cluster a has failed\n"; !strings.Contains(o.stderr, want) {
			t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
		}
	})
}

func TestFleetStopsAtASignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		s := &selves{play: func(_ string, told <-chan os.Signal, stdout, _ io.Writer) int {
			if got := <-told; got != syscall.SIGTERM {
				t.Errorf("told %v", got)
			}
			fmt.Fprint(stdout, summary(0))
			return exitStopped
		}}
		go func() { synctest.Wait(); signals <- os.Interrupt }()
		o := callFleet(t, s, signals, "run", "--fleet", fleetFiles(t, ""))
		if o.code != exitStopped || len(s.calls) != 1 {
			t.Errorf("exit code %d, %d calls: %s", o.code, len(s.calls), o.stderr)
		}
		if want := "SIGINT: stopping: no cluster is begun; 1 rotation(s) are told to stop\n"; !strings.Contains(o.stderr, want) {
			t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
		}
	})
}

func TestFleetWaitsForItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Time{}
		s := &selves{play: func(string, <-chan os.Signal, io.Writer, io.Writer) int {
			if began.IsZero() {
				began = time.Now()
			}
			return 0
		}}
		o := callFleet(t, s, nil, "run", "--fleet", fleetFiles(t, "window: {start: 0 22 * * *, duration: 1h}"), "--wait-for-window")
		if want := time.Date(2000, 1, 1, 22, 0, 0, 0, time.UTC); o.code != exitDone || !began.Equal(want) {
			t.Errorf("exit code %d, began %v: %s", o.code, began.UTC(), o.stderr)
		}
		o = callFleet(t, s, nil, "run", "--fleet", fleetFiles(t, "window: {start: 0 12 * * *, duration: 1h, wait: true}"), "--wait-for-window=false")
		if want := "the window is shut, and opens at 2000-01-02T12:00:00Z"; o.code != exitStopped || !strings.Contains(o.stdout, want) {
			t.Errorf("exit code %d, want %d and %q:\n%s", o.code, exitStopped, want, o.stdout)
		}
	})
}

func TestFleetBadUsage(t *testing.T) {
	file := fleetFiles(t, "")
	t.Run("variable", func(t *testing.T) {
		t.Setenv("ROTATOR_CLUSTER", "x")
		s := &selves{}
		if o := callFleet(t, s, nil, "run", "--fleet", file); o.code != exitUsage || len(s.calls) > 0 || !strings.Contains(o.stderr, "ROTATOR_CLUSTER is of one cluster, --fleet names many") {
			t.Errorf("exit code %d:\n%s", o.code, o.stderr)
		}
	})
	for _, tt := range []struct {
		want string
		args []string
	}{
		{`--only: the fleet has no "eu/2"`, []string{"--fleet", file, "--only", "canary,eu/2"}},
		{"--only is of a fleet", []string{"--only", "a", "--cluster", "x", "--driver", "eks"}},
		{"--cluster is of one cluster, --fleet names many", []string{"--fleet", file, "--cluster", "x"}},
		{"--config is of one cluster, --fleet names many", []string{"--fleet", file, "--config", "x"}},
		{"not a directory; nothing was changed", []string{"--fleet", file, "--report-dir", filepath.Join(file, "out of reach")}},
		{"none.yaml: the fleet file cannot be read", []string{"--fleet", "none.yaml"}},
		{"strategy.maxSurge: \"7 x\"", []string{"--fleet", file, "--max-surge", "7 x"}},
	} {
		s := &selves{}
		if o := callFleet(t, s, nil, append([]string{"run"}, tt.args...)...); o.code != exitUsage || len(s.calls) > 0 || !strings.Contains(o.stderr, tt.want) {
			t.Errorf("%v: exit code %d, want %q:\n%s", tt.args, o.code, tt.want, o.stderr)
		}
	}
}

func TestPrefixedWritesWholeLines(t *testing.T) {
	var out strings.Builder
	p := &prefixed{w: &out, prefix: "a: "}
	for _, s := range []string{"one\ntw", "o\n", "", "three"} {
		if n, err := io.WriteString(p, s); n != len(s) || err != nil {
			t.Fatalf("%q: %d, %v", s, n, err)
		}
	}
	if got := out.String(); got != "a: one\na: two\n" {
		t.Errorf("%q", got)
	}
	p.end()
	p.end()
	if got := out.String(); got != "a: one\na: two\na: three\n" {
		t.Errorf("at the end %q", got)
	}
}

// What a cluster's rotatord says is read to its end, also where ours has no reader.
func TestPrefixedOutlivesItsReader(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	long := strings.Repeat("x", 64<<10)
	p := &prefixed{w: w, prefix: "a: "}
	if n, err := io.WriteString(p, "one\n"+long+"two\n"); n != len(long)+8 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	var out strings.Builder
	p = &prefixed{w: &out, prefix: "a: "}
	for _, s := range []string{long, "two\n"} {
		if _, err := io.WriteString(p, s); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "a: "+long+"\na: two\n" {
		t.Errorf("a long line: %d bytes, which end with %q", out.Len(), out.String()[out.Len()-10:])
	}
}

func TestFleetValidate(t *testing.T) {
	file := fleetFiles(t, "")
	if o := callFleet(t, &selves{}, nil, "config", "validate", "--fleet", file); o.code != exitDone || o.stdout != file+": valid\n" {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	if o := callFleet(t, &selves{}, nil, "config", "validate", file); o.code != exitUsage || !strings.Contains(o.stderr, "kind: this is a fleet file: give it with --fleet\n") {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
	file = fleetFiles(t, "atOnce: 0")
	if o := callFleet(t, &selves{}, nil, "config", "validate", "--fleet", file, "--output", "json"); o.code != exitUsage || !strings.Contains(o.stdout, `"valid": false`) || !strings.Contains(o.stdout, "0 is out of range") {
		t.Errorf("exit code %d: %s%s", o.code, o.stdout, o.stderr)
	}
}

func TestFleetOnly(t *testing.T) {
	for _, tt := range []struct{ only, want string }{{"eu/1", "c"}, {"eu", "bc"}, {"canary/0,c", "ac"}, {"b,eu,eu/0", "bc"}} {
		synctest.Test(t, func(t *testing.T) {
			ran := ""
			s := &selves{play: func(cluster string, _ <-chan os.Signal, stdout, _ io.Writer) int {
				ran += cluster
				fmt.Fprint(stdout, summary(1))
				return exitDone
			}}
			o := callFleet(t, s, nil, "run", "--fleet", fleetFiles(t, ""), "--only", tt.only)
			if o.code != exitDone || ran != tt.want {
				t.Errorf("--only %s: exit code %d, rotated %q, want %q\n%s", tt.only, o.code, ran, tt.want, o.stderr)
			}
		})
	}
}
