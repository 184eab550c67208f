package report

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/event"
)

// released is the troubled rotation, with releases staged first and the nodes
// named that it set out to replace.
func released() []event.Event {
	s := (&story{}).at(0)
	s.add(event.Event{Kind: event.ReleaseStaging, Message: "release latest for 2 group(s)"}, "cluster", "demo", "release", "latest")
	for _, g := range []string{"workers", "spot"} {
		s.add(event.Event{Kind: event.OpSucceeded, Group: g, Op: "s-" + g, Verb: event.VerbStage}, "from", "ami-1", "from-name", "image-1", "to", "ami-2", "to-name", "image <2> \"new\"")
	}
	s.add(event.Event{Kind: event.GroupPlanned, Group: "workers"}, "instances", "i-old1 i-old2 i-old3")
	s.add(event.Event{Kind: event.GroupPlanned, Group: "spot"}, "instances", "i-spot1")
	for _, e := range troubled() {
		e.Seq += 5
		s.events = append(s.events, e)
	}
	return s.events
}

func summed(events []event.Event) (Summary, *JUnit) {
	f, j := &Fold{}, &JUnit{}
	f.Publish(events)
	j.Publish(events)
	return f.Summary(), j
}

func TestPipelineGolden(t *testing.T) {
	s, j := summed(released())
	for name, write := range map[string]func(b *bytes.Buffer) error{
		"released.junit.xml":   func(b *bytes.Buffer) error { return j.Write(b, s) },
		"released.metrics.txt": func(b *bytes.Buffer) error { return s.WriteMetrics(b, 5) },
		"released.env":         func(b *bytes.Buffer) error { return s.WriteEnv(b, 5) },
		"released.txt":         func(b *bytes.Buffer) error { return s.WriteText(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// The counts of the elements are those of what they hold, and any prefix of a
// journal, replayed or not, gives a report that can be read.
func TestJUnitOfEveryPrefix(t *testing.T) {
	events := released()
	for n := range len(events) + 1 {
		s, j := summed(events[:n])
		j.Publish(events[:n]) // a replay overlaps
		var b bytes.Buffer
		if err := j.Write(&b, s); err != nil {
			t.Fatal(err)
		}
		var doc xmlSuites
		if err := xml.Unmarshal(b.Bytes(), &doc); err != nil {
			t.Fatalf("after %d events: %v\n%s", n, err, b.String())
		}
		tests, failures, skipped := 0, 0, 0
		for _, x := range doc.Suites {
			if x.Tests != len(x.Cases) {
				t.Errorf("suite %s says %d tests and has %d", x.Name, x.Tests, len(x.Cases))
			}
			tests += len(x.Cases)
			for _, c := range x.Cases {
				if c.Failure != nil {
					failures++
				}
				if c.Skipped != nil {
					skipped++
				}
			}
		}
		if doc.Tests != tests || doc.Failures != failures || doc.Skipped != skipped {
			t.Errorf("after %d events: says %d, %d, %d and has %d, %d, %d", n, doc.Tests, doc.Failures, doc.Skipped, tests, failures, skipped)
		}
	}
}

// A run that goes on with a rotation reports what the earlier one did, and what
// that one gave up only if it is given up again.
func TestJUnitOfResumedRotation(t *testing.T) {
	s := (&story{}).at(0)
	s.add(event.Event{Kind: event.RotationStarted}, "cluster", "demo", "nodes", "2")
	s.add(event.Event{Kind: event.GroupPlanned, Group: "g"}, "instances", "i-1 i-2")
	s.add(event.Event{Kind: event.NodeReplaced, Group: "g", Instance: "i-1", Node: "node-1"}, "seconds", "3")
	s.add(event.Event{Kind: event.GateFailed, Group: "g", Code: "workloads", Message: "shop/web is down"})
	s.add(event.Event{Kind: event.GroupHalted, Group: "g", Message: "shop/web is down"})
	s.add(event.Event{Kind: event.RotationFinished, Code: "gate-failed", Message: "shop/web is down"})
	sum, j := summed(s.events)
	var b bytes.Buffer
	if err := j.Write(&b, sum); err != nil || strings.Count(b.String(), "<failure") != 3 || strings.Count(b.String(), "<skipped") != 1 {
		t.Errorf("%v\n%s", err, b.String())
	}
	s.add(event.Event{Kind: event.RotationStarted}, "cluster", "demo", "nodes", "1")
	s.add(event.Event{Kind: event.GroupStarted, Group: "g"}, "nodes", "1")
	s.add(event.Event{Kind: event.NodeReplaced, Group: "g", Instance: "i-2", Node: "node-2"}, "seconds", "3")
	s.add(event.Event{Kind: event.GroupFinished, Group: "g"})
	s.add(event.Event{Kind: event.RotationFinished, Code: "done"})
	sum, j = summed(s.events)
	b.Reset()
	if err := j.Write(&b, sum); err != nil || strings.Contains(b.String(), "<failure") || strings.Contains(b.String(), "<skipped") || strings.Count(b.String(), "<testcase") != 4 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A group that its provider rolled has passed only where the provider has done so.
func TestJUnitOfRolledGroup(t *testing.T) {
	for code, want := range map[string]caseState{"succeeded": casePassed, "nothing": casePassed, "cancelled": casePlanned, "failed": caseFailed, "roll-timeout": caseFailed} {
		s := (&story{}).at(0)
		s.add(event.Event{Kind: event.GroupRolling, Group: "g"}, "roll", "u-1")
		s.add(event.Event{Kind: event.GroupRolled, Group: "g", Code: code, Message: "pod shop/web"}, "roll", "u-1")
		_, j := summed(s.events)
		if got := j.of("g").itself(); got.state != want || want == caseFailed && got.message != "pod shop/web" {
			t.Errorf("%s: %+v, want state %d", code, got, want)
		}
	}
}

// The grammar of OpenMetrics, as far as it is used.
func TestMetricsGrammar(t *testing.T) {
	s, _ := summed(released())
	s.Cluster = `a "b" \ c` + "\nd"
	var b bytes.Buffer
	if err := s.WriteMetrics(&b, 0); err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile(`^[a-z_]+\{([a-z]+="([^"\\]|\\["\\n])*",?)*\} [0-9.]+$`)
	seen := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, l := range lines {
		switch {
		case i == len(lines)-1:
			if l != "# EOF" {
				t.Errorf("it ends with %q", l)
			}
		case strings.HasPrefix(l, "# "):
		case !sample.MatchString(l):
			t.Errorf("line %q", l)
		default:
			if series, _, _ := strings.Cut(l, "} "); seen[series] {
				t.Errorf("series %s is there twice", series)
			} else {
				seen[series] = true
			}
		}
	}
}

// What rotatord reads as settings must not come out of a report: a later job of
// the pipeline would take it for one.
func TestEnvHoldsNoSettings(t *testing.T) {
	s, _ := summed(released())
	s.Cluster = "a\nROTATOR_FORCE=true"
	var b bytes.Buffer
	if err := s.WriteEnv(&b, 3); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(b.String()) {
		if !strings.HasPrefix(l, "ROTATION_") {
			t.Errorf("line %q", l)
		}
	}
}

func TestFilesOfAPipeline(t *testing.T) {
	dir := t.TempDir()
	all := []string{SummaryFile, JUnitFile, MetricsFile, EnvFile}
	for _, name := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("of another rotation"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s of another rotation is still there: %v", name, err)
		}
	}
	events := released()
	f.Recall(events[:9])
	f.Publish(events[9:])
	s, _ := summed(events)
	if err := f.Close(s, 5); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{JUnitFile: "i-old1", MetricsFile: "rotator_exit_code{cluster=\"demo\"} 5", EnvFile: "ROTATION_EXIT_CODE=5\n"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || name != JUnitFile && !strings.Contains(string(got), want) || name == JUnitFile && !strings.Contains(string(got), "node-old1") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}
