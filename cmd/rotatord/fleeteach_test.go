package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/plan"
)

// documentOf is what a command gives with --output json.
func documentOf(t *testing.T, f *fake, args ...string) string {
	t.Helper()
	return call(t, f, append(with(args...), "--output", "json")...).stdout
}

// A plan of a fleet is the plans of its clusters, of all of them: neither the stop
// rule nor the window holds one back, and the heaviest exit code is the fleet's.
func TestFleetPlan(t *testing.T) {
	planned, refused := documentOf(t, &fake{plan: examplePlan(), notes: exampleNotes}, "plan"), documentOf(t, &fake{plan: refusedPlan()}, "plan")
	play := func(cluster string, _ <-chan os.Signal, stdout, stderr io.Writer) int {
		switch cluster {
		case "a":
			fmt.Fprint(stdout, planned)
			return exitDone
		case "b":
			fmt.Fprint(stdout, refused)
			fmt.Fprintln(stderr, "error: refused for 2 reasons, nothing was changed; the first: budget shop/db")
			return exitRefused
		}
		fmt.Fprintln(stderr, "error: the API server cannot be reached")
		return exitFailed
	}
	for _, tt := range []struct {
		name string
		args []string
	}{{"fleet-plan", nil}, {"fleet-plan-json", []string{"--output", "json"}}} {
		synctest.Test(t, func(t *testing.T) {
			s := &selves{play: play}
			file := fleetFiles(t, "window: {start: 0 22 * * *, duration: 4h, timeZone: Europe/Berlin}")
			o := callFleet(t, s, nil, append([]string{"plan", "--fleet", file, "--report-dir", "out", "--max-unavailable", "1", "--exit-code"}, tt.args...)...)
			if o.code != exitFailed || len(s.calls) != 3 {
				t.Errorf("exit code %d, calls %q", o.code, s.calls)
			}
			stderr := o.stderr[strings.Index(o.stderr, "error: 2 of"):] // what stands before is in the order of the ends
			golden(t, tt.name, "-- stdout --\n"+o.stdout+"-- stderr --\n"+stderr)
			for _, c := range s.calls {
				if text := strings.Join(c, " "); !strings.HasPrefix(text, "plan --exit-code --config=") || !strings.Contains(text, " --output=json ") || !strings.Contains(text, "--max-unavailable=1") ||
					!strings.Contains(text, "--report-dir=out/") || strings.Contains(text, "--window=0 22 * * *") == strings.Contains(text, "/c.yaml") {
					t.Errorf("called %q", c)
				}
			}
		})
	}
}

func TestFleetReleaseCheck(t *testing.T) {
	behind, same := exampleReleases(), exampleReleases()
	behind.Groups, same.Groups = behind.Groups[:2], same.Groups[1:2]
	s := &selves{play: func(cluster string, _ <-chan os.Signal, stdout, stderr io.Writer) int {
		if cluster != "b" {
			fmt.Fprint(stdout, documentOf(t, &fake{releases: same}, "release", "check"))
			return exitDone
		}
		fmt.Fprint(stdout, documentOf(t, &fake{releases: behind}, "release", "check"))
		fmt.Fprintln(stderr, "error: 1 of 2 groups does not have release latest")
		return exitBehind
	}}
	o := callFleet(t, s, nil, "release", "check", "--fleet", fleetFiles(t, ""), "--release", "latest")
	if o.code != exitBehind {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	golden(t, "fleet-release-check", o.stdout)
	for _, c := range s.calls {
		// What the fleet file sets and the command has no flag for goes by a variable.
		text := strings.Join(c, " ")
		if !strings.Contains(text, "release check --config=") || !strings.Contains(text, "--release=latest") || strings.Contains(text, "--max-surge") || strings.HasPrefix(text, "ROTATOR_MAX_SURGE=3 ") != strings.Contains(text, "/b.yaml") {
			t.Errorf("called %q", c)
		}
	}
}

// An abort goes on with the other clusters when one fails, some at a time.
func TestFleetAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		fleet := "apiVersion: rotatord.github.io/v1alpha1\nkind: Fleet\nwaves:\n- name: all\n  clusters:\n"
		for i := range 6 {
			file := filepath.Join(dir, fmt.Sprintf("c%d.yaml", i))
			if err := os.WriteFile(file, []byte("apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ncluster: c\ndriver: {name: eks}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			fleet += fmt.Sprintf("  - {name: c%d, config: %s}\n", i, file)
		}
		file := filepath.Join(dir, "fleet.yaml")
		if err := os.WriteFile(file, []byte(fleet), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &selves{play: func(cluster string, _ <-chan os.Signal, stdout, stderr io.Writer) int {
			time.Sleep(time.Minute)
			if cluster == "c0" {
				fmt.Fprintln(stderr, "error: no access")
				return exitFailed
			}
			fmt.Fprint(stdout, `{"status":"done","message":"nothing to take back"}`)
			return exitDone
		}}
		began := time.Now()
		o := callFleet(t, s, nil, "abort", "--fleet", file)
		if took := time.Since(began); o.code != exitFailed || len(s.calls) != 6 || took != 2*time.Minute {
			t.Errorf("exit code %d, %d calls in %v: four at once are expected", o.code, len(s.calls), took)
		}
		for _, want := range []string{"CLUSTER  WAVE  EXIT  RESULT", "c0       all   1     -                     no access\n", "c5       all   0     nothing to take back  \n"} {
			if !strings.Contains(o.stdout, want) {
				t.Errorf("stdout does not hold %q:\n%s", want, o.stdout)
			}
		}
	})
}

func TestFleetEachStopsAtASignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal)
		s := &selves{play: func(_ string, told <-chan os.Signal, _, _ io.Writer) int { <-told; return exitStopped }}
		go func() { synctest.Wait(); signals <- os.Interrupt }()
		file := fleetFiles(t, "")
		o := callFleet(t, s, signals, "abort", "--fleet", file, "--output", "json")
		var d eachDocument
		if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
			t.Fatal(err)
		}
		if o.code != exitStopped || len(s.calls) != 3 || d.ExitCode != exitStopped || d.Clusters[2].ExitCode != exitStopped {
			t.Errorf("exit code %d, %d calls: %+v", o.code, len(s.calls), d)
		}
	})
}

func TestHeavier(t *testing.T) {
	for _, tt := range []struct{ codes, want int }{{0, 0}, {70, exitBehind}, {74, exitStopped}, {43, exitRefused}, {31, exitFailed}, {21, exitFailed}, {56, exitGate}} {
		if got := heavier(heavier(exitDone, tt.codes/10), tt.codes%10); got != tt.want {
			t.Errorf("%d and %d: %d, want %d", tt.codes/10, tt.codes%10, got, tt.want)
		}
	}
	if got := heavier(exitFailed, 137); got != 137 {
		t.Errorf("an exit code that is none of ours: %d", got)
	}
}

// A plan that was read back from its JSON is shown as it was before.
func TestPlanReadBack(t *testing.T) {
	for name, p := range map[string]*plan.Plan{"example": examplePlan(), "large": largePlan(), "roll": rollPlan(), "refused": refusedPlan(), "release": stagingPlan()} {
		w := windowOf(plan.Window{Start: "@hourly", Duration: time.Minute}, start)
		doc := newPlanDocument(p, exampleNotes, w)
		var text, again, js bytes.Buffer
		if err := writeJSON(&js, doc); err != nil {
			t.Fatal(err)
		}
		var back planDocument
		if err := json.Unmarshal(js.Bytes(), &back); err != nil {
			t.Fatal(err)
		}
		if err := doc.write(&text, true); err != nil {
			t.Fatal(err)
		}
		if err := back.write(&again, true); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text.String(), again.String()); diff != "" {
			t.Errorf("%s (-before +read back):\n%s", name, diff)
		}
		if !strings.Contains(text.String(), "  window: open until") {
			t.Errorf("%s shows no window:\n%s", name, text.String())
		}
	}
}

// For a pipeline: whether there is anything to do is an exit code, and the plan is
// in files.
func TestPlanForPipelines(t *testing.T) {
	nothing := &plan.Plan{Cluster: "prod", Groups: []plan.Group{{Name: "workers", Current: 3}}}
	left := &plan.Plan{Cluster: "prod", MarkedNodes: 1}
	for _, tt := range []struct {
		plan *plan.Plan
		args []string
		code int
		want string
	}{
		{examplePlan(), []string{"--exit-code"}, exitBehind, "error: there is something to do: 2 nodes to replace, what an earlier run left to put back\n"},
		{stagingPlan(), []string{"--exit-code"}, exitBehind, "1 release to stage"},
		{left, []string{"--exit-code"}, exitBehind, "what an earlier run left to put back"},
		{nothing, []string{"--exit-code"}, exitDone, ""},
		{refusedPlan(), []string{"--exit-code"}, exitRefused, "refused for 2 reasons"},
		{examplePlan(), nil, exitDone, ""},
	} {
		dir := filepath.Join(t.TempDir(), "plan")
		o := call(t, &fake{plan: tt.plan}, append(with("plan", "--report-dir", dir), tt.args...)...)
		if o.code != tt.code || !strings.Contains(o.stderr, tt.want) {
			t.Errorf("exit code %d, want %d and %q:\n%s", o.code, tt.code, tt.want, o.stderr)
		}
		text, err := os.ReadFile(filepath.Join(dir, "plan.txt"))
		if err != nil || string(text) != o.stdout {
			t.Errorf("plan.txt is not what was printed: %v\n%s", err, text)
		}
		data, err := os.ReadFile(filepath.Join(dir, "plan.json"))
		if err != nil {
			t.Fatal(err)
		}
		oneDocument(t, string(data))
	}
	if o := call(t, &fake{plan: examplePlan()}, with("plan", "--report-dir", "/dev/null/x")...); o.code != exitFailed || !strings.Contains(o.stderr, "error: the plan could not be kept: ") {
		t.Errorf("a folder that cannot be made: exit code %d:\n%s", o.code, o.stderr)
	}
}
