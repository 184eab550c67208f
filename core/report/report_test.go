package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rotatord/rotator/core/event"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", name, d)
	}
}

// story builds a stream of events: at sets the time of those that follow.
type story struct {
	events []event.Event
	now    time.Time
}

func (s *story) at(d time.Duration) *story {
	s.now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC).Add(d)
	return s
}

func (s *story) add(e event.Event, data ...string) *story {
	e.Seq, e.Time, e.Rotation = uint64(len(s.events)+1), s.now, "r-1"
	for i := 0; i+1 < len(data); i += 2 {
		keep(&e.Data, data[i], data[i+1])
	}
	s.events = append(s.events, e)
	return s
}

// troubled is a rotation in which most of what can happen does.
func troubled() []event.Event {
	const g, h = "workers", "spot"
	s := (&story{}).at(0)
	s.add(event.Event{Kind: event.RotationStarted, Message: "rotation of 4 node(s) in 2 group(s) of cluster demo"}, "nodes", "4", "groups", "2", "mode", "rolling", "cluster", "demo")
	s.add(event.Event{Kind: event.GroupStarted, Group: g, Message: "3 of 3 node(s) to replace, surge 1, unavailable 0"}, "base", "3", "surge", "1", "unavailable", "0", "nodes", "3")
	s.add(event.Event{Kind: event.OpIntended, Group: g, Op: "1", Verb: "prepare"})
	s.add(event.Event{Kind: event.OpSucceeded, Group: g, Op: "1", Verb: "prepare"})
	s.add(event.Event{Kind: event.OpIntended, Group: g, Op: "2", Verb: "set-surge"}, "surge", "1")
	s.at(time.Second).add(event.Event{Kind: event.OpRetried, Group: g, Op: "2", Verb: "set-surge", Code: "transient", Message: "Throttling: Rate exceeded\n\x1b[31mred"})
	s.at(2 * time.Second).add(event.Event{Kind: event.OpRetried, Group: g, Op: "2", Verb: "set-surge", Code: "transient", Message: "Throttling: Rate exceeded\n\x1b[31mred"})
	s.at(3 * time.Second).add(event.Event{Kind: event.OpSucceeded, Group: g, Op: "2", Verb: "set-surge"})
	s.at(5*time.Second).add(event.Event{Kind: event.ReplacementLaunched, Group: g, Instance: "i-new1"}, "zone", "eu-west-1a")
	s.at(15 * time.Second).add(event.Event{Kind: event.Waiting, Group: g, Message: "waiting for replacement i-new1"})
	s.at(25 * time.Second).add(event.Event{Kind: event.Waiting, Group: g, Message: "waiting for replacement i-new1"})
	s.at(26*time.Second).add(event.Event{Kind: event.ReplacementReady, Group: g, Instance: "i-new1", Node: "node-new1"}, "boot-seconds", "21.0")
	s.add(event.Event{Kind: event.NodeDraining, Group: g, Instance: "i-old1", Node: "node-old1"})
	s.add(event.Event{Kind: event.OpIntended, Group: g, Node: "node-old1", Op: "3", Verb: "patch-node"})
	s.add(event.Event{Kind: event.OpSucceeded, Group: g, Node: "node-old1", Op: "3", Verb: "patch-node"})
	s.add(event.Event{Kind: event.PodEvicted, Pod: "shop/web-1", Node: "node-old1"})
	s.add(event.Event{Kind: event.EvictionRefused, Pod: "shop/db-0", Node: "node-old1", Budget: "shop/db", Code: "blocked"})
	s.at(31 * time.Second).add(event.Event{Kind: event.NodeBlocked, Group: g, Instance: "i-old1", Node: "node-old1", Message: "shop/db-0 by budget shop/db: disruptionsAllowed 0, 2 of 3 healthy, db-2 not ready"})
	s.at(45 * time.Second).add(event.Event{Kind: event.PodEvicted, Pod: "shop/db-0", Node: "node-old1"})
	s.at(60*time.Second).add(event.Event{Kind: event.NodeDrained, Group: g, Instance: "i-old1", Node: "node-old1"}, "seconds", "34.0", "evicted", "2")
	s.add(event.Event{Kind: event.OpIntended, Group: g, Instance: "i-old1", Node: "node-old1", Op: "4", Verb: "terminate"}, "shrink", "false")
	s.at(80*time.Second).add(event.Event{Kind: event.NodeReplaced, Group: g, Instance: "i-old1", Node: "node-old1"}, "seconds", "54.0")
	s.add(event.Event{Kind: event.CanaryPassed, Group: g, Message: "the first node was replaced and its pods are healthy"})
	s.at(90*time.Second).add(event.Event{Kind: event.GroupResized, Group: g, Message: "somebody else changed the size of group workers from 3 to 4; the rotation goes on with it"}, "from", "3", "to", "4")
	s.add(event.Event{Kind: event.NodeReplaced, Group: g, Instance: "i-old2", Node: "node-old2", Code: "by-others", Message: "node-old2 was ended by somebody else"})
	s.at(100 * time.Second).add(event.Event{Kind: event.NodeDraining, Group: g, Instance: "i-old3", Node: "node-old3"})
	s.at(110 * time.Second).add(event.Event{Kind: event.NodeBlocked, Group: g, Instance: "i-old3", Node: "node-old3", Message: "shop/db-1 by budget shop/db: disruptionsAllowed 0"})
	s.at(1000 * time.Second).add(event.Event{Kind: event.NodeQuarantined, Group: g, Instance: "i-old3", Node: "node-old3", Code: "drain-deadline", Message: "the drain took longer than 15m"})
	s.add(event.Event{Kind: event.GroupFinished, Group: g, Message: "2 node(s) replaced"}, "replaced", "2", "quarantined", "1")
	s.add(event.Event{Kind: event.GroupStarted, Group: h, Message: "1 of 1 node(s) to replace, surge 1, unavailable 0"}, "nodes", "1")
	s.at(1010*time.Second).add(event.Event{Kind: event.ReplacementLaunched, Group: h, Instance: "i-new9"}, "zone", "eu-west-1b")
	s.at(3700 * time.Second).add(event.Event{Kind: event.ReplacementBad, Group: h, Instance: "i-new9", Code: "never-joined", Message: "instance i-new9 did not join within 15m"})
	s.add(event.Event{Kind: event.GateFailed, Group: h, Code: "node-ready", Message: "1 replacement is not Ready"})
	s.add(event.Event{Kind: event.GroupHalted, Group: h, Code: "node-ready", Message: "1 replacement is not Ready"})
	s.add(event.Event{Kind: event.RotationStopping, Code: "gate-failed", Message: "group spot: 1 replacement is not Ready"})
	s.at(3705 * time.Second).add(event.Event{Kind: event.RotationFinished, Code: "gate-failed", Message: "group spot: 1 replacement is not Ready; 2 node(s) left"})
	return s.events
}

func render(t *testing.T, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	events := troubled()
	var f Fold
	f.Publish(events)
	s := f.Summary()
	golden(t, "troubled.txt", render(t, func(b *bytes.Buffer) error { return s.WriteText(b) }))
	golden(t, "troubled.json", render(t, func(b *bytes.Buffer) error { return s.WriteJSON(b) }))
	golden(t, "progress.txt", render(t, func(b *bytes.Buffer) error { NewProgress(b).Publish(events); return nil }))
}

func TestProgressHasNoControlCharacters(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b)
	for _, e := range troubled() { // one at a time, as a slow rotation does
		p.Publish([]event.Event{e})
	}
	for _, r := range b.String() {
		if r < ' ' && r != '\n' || r == 0x7f || r == '\u202e' {
			t.Errorf("control character %q in the progress", r)
		}
	}
	for line := range strings.Lines(b.String()) {
		if strings.TrimRight(line, " \n")+"\n" != line {
			t.Errorf("line %q ends in blanks", line)
		}
	}
}

func TestFoldReplays(t *testing.T) {
	events := troubled()
	var whole, pieces Fold
	whole.Publish(events)
	// One by one, with an overlap, as after a resume.
	for i := range events {
		pieces.Publish(events[max(0, i-3) : i+1])
	}
	if d := cmp.Diff(whole.Summary(), pieces.Summary(), cmpopts.IgnoreUnexported(Stats{}, Group{}, Blocked{})); d != "" {
		t.Errorf("summary (-whole +pieces):\n%s", d)
	}
}

func TestSummaryIsACopy(t *testing.T) {
	var f Fold
	f.Publish(troubled())
	first := f.Summary()
	first.Groups[0].Name, first.Failures[0].Message = "changed", "changed"
	if s := f.Summary(); s.Groups[0].Name != "workers" || s.Failures[0].Message == "changed" {
		t.Error("a caller changed the fold through its summary")
	}
}

func TestDurableEventsAloneGiveTheCounts(t *testing.T) {
	var all, durable Fold
	for _, e := range troubled() {
		all.Publish([]event.Event{e})
		if e.Kind.Durable() {
			durable.Publish([]event.Event{e})
		}
	}
	a, d := all.Summary(), durable.Summary()
	if a.Replaced != d.Replaced || a.Quarantined != d.Quarantined || a.Drain != d.Drain || a.Evicted != d.Evicted || a.Evicted != 2 || a.Status != d.Status || a.Planned != d.Planned {
		t.Errorf("the journal's events give another summary:\n%+v\n%+v", a, d)
	}
}

func TestDurationsFromTimes(t *testing.T) {
	s := (&story{}).at(0)
	s.add(event.Event{Kind: event.ReplacementLaunched, Group: "g", Instance: "i-1"})
	s.at(20 * time.Second).add(event.Event{Kind: event.ReplacementReady, Group: "g", Instance: "i-1"})
	s.add(event.Event{Kind: event.NodeDraining, Group: "g", Instance: "i-0"})
	s.at(25 * time.Second).add(event.Event{Kind: event.NodeDrained, Group: "g", Instance: "i-0"})
	s.at(30 * time.Second).add(event.Event{Kind: event.NodeReplaced, Group: "g", Instance: "i-0"})
	var f Fold
	f.Publish(s.events)
	got := f.Summary()
	if got.Boot.Mean != 20 || got.Drain.Mean != 5 || got.Replace.Mean != 10 || got.Seconds != 30 || got.Status != "running" {
		t.Errorf("boot %v, drain %v, replace %v, total %v, status %s; want 20, 5, 10, 30, running", got.Boot.Mean, got.Drain.Mean, got.Replace.Mean, got.Seconds, got.Status)
	}
}

// A node that is tried once more after its quarantine counts once, and not at all
// when it is replaced then.
func TestQuarantinedAndTriedAgain(t *testing.T) {
	const g = "workers"
	s := (&story{}).at(0)
	try := func(id string, ends event.Kind) {
		s.add(event.Event{Kind: event.NodeDraining, Group: g, Instance: id})
		s.add(event.Event{Kind: ends, Group: g, Instance: id, Message: id})
	}
	for _, ends := range []event.Kind{event.NodeQuarantined, event.NodeReplaced} {
		try("i-1", event.NodeQuarantined)
		try("i-2", ends)
	}
	var f Fold
	f.Publish(s.events)
	got := f.Summary()
	if got.Quarantined != 1 || got.Groups[0].Quarantined != 1 || len(got.Quarantines) != 1 || got.Quarantines[0].Instance != "i-1" {
		t.Errorf("%d are quarantined, of the group %d: %+v; want i-1 alone", got.Quarantined, got.Groups[0].Quarantined, got.Quarantines)
	}
}

func TestResumedRotation(t *testing.T) {
	const g = "workers"
	started := func(s *story, nodes string) {
		s.add(event.Event{Kind: event.RotationStarted}, "nodes", nodes, "mode", "rolling")
		s.add(event.Event{Kind: event.GroupStarted, Group: g}, "nodes", nodes)
	}
	s := (&story{}).at(0)
	started(s, "3")
	s.at(10 * time.Second).add(event.Event{Kind: event.NodeReplaced, Group: g, Instance: "i-1"})
	s.add(event.Event{Kind: event.NodeQuarantined, Group: g, Instance: "i-2", Message: "its drain took too long"})
	s.at(20 * time.Second).add(event.Event{Kind: event.GroupHalted, Group: g, Message: "i-2"})
	s.add(event.Event{Kind: event.RotationFinished, Code: "stopped", Message: "i-2"})
	s.at(time.Hour)
	started(s, "2")
	var f Fold
	f.Publish(s.events)
	if got := f.Summary(); got.Status != "running" || got.Groups[0].Status != "running" || got.Quarantined != 0 || got.Seconds != 20 {
		t.Errorf("once it has begun again: status %s, group %s, %d quarantined, %v s; want running, running, 0, 20",
			got.Status, got.Groups[0].Status, got.Quarantined, got.Seconds)
	}
	for _, id := range []string{"i-2", "i-3"} {
		s.at(time.Hour + 5*time.Second).add(event.Event{Kind: event.NodeReplaced, Group: g, Instance: id})
	}
	s.add(event.Event{Kind: event.GroupFinished, Group: g})
	s.add(event.Event{Kind: event.RotationFinished, Code: "done"})
	f.Publish(s.events)
	got := f.Summary()
	if got.Replaced != 3 || got.Planned != 3 || got.Seconds != 25 || got.Status != "done" {
		t.Errorf("%d of %d replaced in %v s, %s; want 3 of 3 in 25 s, done", got.Replaced, got.Planned, got.Seconds, got.Status)
	}
	if r := got.Groups[0]; r.Replaced != 3 || r.Planned != 3 || r.Seconds != 25 || r.Status != "done" || r.Quarantined != 0 {
		t.Errorf("group: %d of %d replaced in %v s, %s, %d quarantined; want 3 of 3 in 25 s, done, none", r.Replaced, r.Planned, r.Seconds, r.Status, r.Quarantined)
	}
}

func TestEmptySummary(t *testing.T) {
	var f Fold
	s := f.Summary()
	if j := render(t, func(b *bytes.Buffer) error { return s.WriteJSON(b) }); bytes.Contains(j, []byte("null")) {
		t.Errorf("JSON of an empty summary holds null:\n%s", j)
	}
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "report")
	// What an earlier rotation left.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{EventsFile, SummaryFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("old\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, SummaryFile)); !os.IsNotExist(err) {
		t.Errorf("the earlier summary is still there: %v", err)
	}
	events := troubled()
	f.Publish(events[:5])
	f.Publish(events[5:])
	var fold Fold
	fold.Publish(events)
	for range 2 {
		if err := f.Close(fold.Summary(), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{EventsFile, SummaryFile} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, st.Mode().Perm())
		}
	}
	file, err := os.Open(filepath.Join(dir, EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var got []event.Event
	for sc := bufio.NewScanner(file); sc.Scan(); {
		var e event.Event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if d := cmp.Diff(events, got); d != "" {
		t.Errorf("events.jsonl (-published +read):\n%s", d)
	}
	var s Summary
	data, err := os.ReadFile(filepath.Join(dir, SummaryFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if s.Status != "gate-failed" || s.Replaced != 2 {
		t.Errorf("summary.json says %s, %d replaced; want gate-failed, 2", s.Status, s.Replaced)
	}
}

func TestFilesKeepTheFirstError(t *testing.T) {
	f, err := OpenFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.events.Close(); err != nil { // as a disk that went away
		t.Fatal(err)
	}
	f.Publish(troubled())
	if err := f.Close(Summary{}, 0); err == nil || !strings.Contains(err.Error(), "report: write") {
		t.Errorf("Close returns %v, want the error of the write", err)
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{-1: "0s", 0: "0ms", 0.85: "850ms", 1: "1.0s", 9.94: "9.9s", 21.4: "21s", 59.6: "1m00s", 61: "1m01s", 252: "4m12s", 3599.7: "1h00m", 7500: "2h05m"} {
		if got := Seconds(s); got != want {
			t.Errorf("Seconds(%v) = %s, want %s", s, got, want)
		}
	}
}
