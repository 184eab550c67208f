//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chaos: one group whose rotation replaces every node of the cluster, so that
// the sandbox's own judgement (sandbox verify --replaced-since) fits it.
var chaos = lazily("e2e-chaos", "eu-west-1", append(delays, "--nodes", "5", "--groups", "1", "--zones", "3", "--pods", "24", "--seed", "11")...)

// lockDuration is for tests that wait for a lock to expire. Others have the
// default: a lock whose holder is known to have died is taken over at once.
const lockDuration = 5 * time.Second

// atLength tells whether `make chaos` runs these tests, with all the time that it
// takes; `make test` has a few minutes.
var atLength = os.Getenv("CHAOS") == "all"

// trial is one rotation of the sandbox chaos that is done harm to, and what must
// be true of its end all the same.
type trial struct {
	*testing.T
	s       *Sandbox
	r       *Rotatord
	group   string
	before  State
	earlier string // the verdict at the start, a file
}

// newTrial makes every node outdated and starts the counters anew.
func newTrial(t *testing.T) *trial {
	t.Helper()
	s := chaos(t)
	c := &trial{T: t, s: s, group: groupName(s, 1), r: s.rotatord(t)}
	// The journal is where it is by default, in the cluster.
	if i := slices.Index(c.r.Base, "--journal-dir"); i >= 0 {
		c.r.Base = slices.Delete(c.r.Base, i, i+2)
	}
	s.MustSettle(t)
	c.before = s.State(t)
	s.CLI(t, "verify", "--reset")
	c.earlier = filepath.Join(t.TempDir(), "earlier.json")
	if err := os.WriteFile(c.earlier, s.CLI(t, "verify", "--output", "json"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.PublishImage(t, c.group)
	s.Stats(t, true)
	return c
}

// another is the same command with a report folder of its own.
func (c *trial) another() *Rotatord {
	c.Helper()
	r := c.s.rotatord(c)
	r.Base = append(slices.Clip(c.r.Base), "--report-dir", filepath.Join(r.Dir, "report"))
	return r
}

// mustBeWhole fails the test unless the rotation is complete and nothing else
// happened: the sandbox's judgement, traces on nodes, and instance by instance
// what ended at the provider.
func (c *trial) mustBeWhole() {
	c.Helper()
	if _, err := c.s.cli(c.Context(), "verify", "--replaced-since", c.earlier, "--cluster", c.s.Name); err != nil {
		c.Error(err)
	}
	after := c.s.State(c)
	after.MustBeTidy(c, c.before)
	after.MustHaveReplaced(c, c.before, c.group)
	c.mustHaveEnded(c.before.Groups[c.group].Instances...)
}

// mustHaveEnded fails the test unless exactly these instances were terminated,
// each by the driver's own call.
func (c *trial) mustHaveEnded(want ...string) {
	c.Helper()
	count := map[string]int{}
	for _, e := range c.s.Stats(c, false).Terminations {
		count[e.Instance]++
		if e.By != "autoscaling:TerminateInstanceInAutoScalingGroup" {
			c.Errorf("instance %s of group %s was ended by %s", e.Instance, e.Group, e.By)
		}
		if !slices.Contains(want, e.Instance) {
			c.Errorf("instance %s of group %s was ended, and was none of the old ones %v", e.Instance, e.Group, want)
		}
	}
	for _, id := range want {
		if count[id] != 1 {
			c.Errorf("old instance %s was ended %d times, want once", id, count[id])
		}
	}
}

// victim says which processes a kill hits.
type victim string

const (
	rotatordAlone victim = "rotatord"
	driverAlone   victim = "driver"
	both          victim = "rotatord and driver"
)

// point is a moment of a rotation, known by the event that the run writes.
type point struct {
	name string
	kind string            // empty: any
	verb string            // of intents and outcomes
	data map[string]string // which the event must carry
	nth  int               // of such events in one run; 0: the first
}

func (p point) matches(e Event) bool {
	if p.kind != "" && e.Kind != p.kind || p.verb != "" && e.Verb != p.verb {
		return false
	}
	for k, v := range p.data {
		if e.Data[k] != v {
			return false
		}
	}
	return true
}

// number counts the events that are of the point's kind.
func (p point) number(events []Event) int {
	n := 0
	for _, e := range events {
		if p.matches(e) {
			n++
		}
	}
	return n
}

func (p point) String() string { return p.name }

// The points by name. keep and shrink tell the two ways in which an old
// instance ends: the group refills, or takes the surge back with it.
var (
	keep   = map[string]string{"shrink": "false"}
	shrink = map[string]string{"shrink": "true"}
	cordon = map[string]string{"unschedulable": "true"}

	rotationStarted  = point{name: "rotation started", kind: "rotation-started"}
	prepareIntended  = point{name: "prepare intended", kind: "op-intended", verb: "prepare"}
	prepareSucceeded = point{name: "prepare succeeded", kind: "op-succeeded", verb: "prepare"}
	taintSucceeded   = point{name: "first taint", kind: "op-succeeded", verb: "patch-node"}
	surgeIntended    = point{name: "surge intended", kind: "op-intended", verb: "set-surge"}
	surgeSucceeded   = point{name: "surge succeeded", kind: "op-succeeded", verb: "set-surge"}
	launched         = point{name: "replacement launched", kind: "replacement-launched"}
	ready            = point{name: "replacement ready", kind: "replacement-ready"}
	cordonIntended   = point{name: "cordon intended", kind: "op-intended", verb: "patch-node", data: cordon}
	cordonSucceeded  = point{name: "cordon succeeded", kind: "op-succeeded", verb: "patch-node", data: cordon}
	draining         = point{name: "node draining", kind: "node-draining"}
	firstEvicted     = point{name: "first pod evicted", kind: "pod-evicted"}
	thirdEvicted     = point{name: "third pod evicted", kind: "pod-evicted", nth: 3}
	drained          = point{name: "node drained", kind: "node-drained"}
	keepIntended     = point{name: "terminate (keep) intended", kind: "op-intended", verb: "terminate", data: keep}
	keepSucceeded    = point{name: "terminate (keep) succeeded", kind: "op-succeeded", verb: "terminate", data: keep}
	replaced         = point{name: "node replaced", kind: "node-replaced"}
	canaryPassed     = point{name: "canary passed", kind: "canary-passed"}
	secondDraining   = point{name: "second node draining", kind: "node-draining", nth: 2}
	secondDrained    = point{name: "second node drained", kind: "node-drained", nth: 2}
	shrinkIntended   = point{name: "terminate (shrink) intended", kind: "op-intended", verb: "terminate", data: shrink}
	shrinkSucceeded  = point{name: "terminate (shrink) succeeded", kind: "op-succeeded", verb: "terminate", data: shrink}
	restoreIntended  = point{name: "restore intended", kind: "op-intended", verb: "restore"}
	restoreSucceeded = point{name: "restore succeeded", kind: "op-succeeded", verb: "restore"}
	groupFinished    = point{name: "group finished", kind: "group-finished"}
)

// The kill table: kill -9 at each point, and the same command again, until one
// run ends by itself, with exit code 0.
func TestKillTable(t *testing.T) {
	for _, tc := range []struct {
		name   string
		long   bool // only at length
		kill   victim
		points []point
		flags  []string
	}{
		{"both together", false, both, []point{rotationStarted, prepareSucceeded, surgeIntended, ready, draining, thirdEvicted, drained,
			canaryPassed, secondDraining, shrinkIntended, restoreSucceeded}, calm},
		{"rotatord alone, a folder for the journal", false, rotatordAlone, []point{prepareIntended, surgeSucceeded, cordonIntended, firstEvicted,
			keepIntended, replaced, secondDrained, shrinkSucceeded, restoreIntended}, append(calm, "--journal-store", "folder", "--journal-dir", "journal")},
		{"rotatord alone, surge two, a local copy of the journal", false, rotatordAlone, []point{taintSucceeded, launched, keepSucceeded, groupFinished},
			append(calm, "--max-surge", "2", "--canary=false", "--journal-store", "cluster", "--journal-dir", "journal")},
		{"the driver alone", false, driverAlone, []point{prepareIntended, surgeIntended, keepIntended, shrinkIntended}, nil},
		{"the driver alone, after the act", true, driverAlone, []point{prepareSucceeded, surgeSucceeded, keepSucceeded, restoreIntended}, nil},
		{"rotatord alone, in the midst of evictions", true, rotatordAlone, []point{cordonSucceeded, firstEvicted, thirdEvicted, secondDrained}, nil},
		{"both together, without surge", true, both, []point{prepareSucceeded, cordonSucceeded, drained, keepIntended, keepSucceeded, restoreIntended},
			[]string{"--max-surge", "0", "--max-unavailable", "1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.long && !atLength {
				t.Skip("make chaos runs it")
			}
			// A kill comes a few milliseconds after its event, and what the rotation did
			// in them is done: a point may slip by, and waits for the next rotation.
			left := tc.points
			for range maxRotations {
				c := newTrial(t)
				left = c.killAt(tc.kill, left, tc.flags...)
				c.mustBeWhole()
				if len(left) == 0 || t.Failed() {
					return
				}
			}
			t.Errorf("not reached in %d rotations: %v", maxRotations, left)
		})
	}
}

// calm lets a moment pass after each eviction, in which a kill cuts off no other.
// The API server takes an eviction in two steps: it charges the budget, then
// deletes the pod. Where the client's death cuts it off between them, the budget
// stays charged for two minutes. The rotation waits for that, and it is tested at
// length; here it would only take time.
var calm = []string{"--wait-between-evictions", "300ms"}

// maxRotations bounds the rotations that it takes to come by a list of points.
const maxRotations = 3

// Killed at the first event, then at the second, and so on: the events of the
// whole rotation, each the end of one run.
func TestKilledAtEachEvent(t *testing.T) {
	if !atLength {
		t.Skip("make chaos runs it")
	}
	for _, v := range []victim{rotatordAlone, both} {
		t.Run(string(v), func(t *testing.T) {
			c := newTrial(t)
			for n := 1; ; n++ {
				w := c.watch(c.r.Start(t, "run", calm...))
				if i, e := w.await(point{nth: n}); i >= 0 && w.signal(v, syscall.SIGKILL) {
					t.Logf("run %d: killed %s after event %s %s", n, time.Since(e.Time).Round(time.Millisecond), e.Kind, e.Verb)
				}
				if res := w.p.Wait(); res.Code != -1 {
					res.MustExit(t, exitDone)
					break
				}
			}
			c.mustBeWhole()
		})
	}
}

// killAt runs the same command again and again, each run killed at the first of
// the points that it comes by, until one ends by itself. It returns the points
// that none came by. The driver alone is killed at all points of one run.
func (c *trial) killAt(v victim, points []point, flags ...string) (left []point) {
	c.Helper()
	left = slices.Clone(points)
	// Each run but the last takes one point away.
	for runs := 1; ; runs++ {
		w := c.watch(c.r.Start(c, "run", flags...))
		for len(left) > 0 {
			i, e := w.await(left...)
			if i < 0 {
				break
			}
			if !w.signal(v, syscall.SIGKILL) {
				break // it has ended by itself meanwhile
			}
			c.Logf("run %d: killed %s %s after event: %s", runs, v, time.Since(e.Time).Round(time.Millisecond), left[i])
			left = slices.Delete(left, i, i+1)
			if v != driverAlone {
				break
			}
		}
		res := w.p.Wait()
		if res.Code == -1 && v != driverAlone { // by our signal
			continue
		}
		res.MustExit(c, exitDone)
		return left
	}
}

// watch follows the events of a run closely, so that a kill comes right after
// the event that it is meant for.
type watch struct {
	tb     testing.TB
	p      *Process
	driver int // the last that was seen; 0: none yet
	file   *os.File
	rest   []byte
	seen   []Event
	next   int // the first of seen that await has not looked at
}

func (c *trial) watch(p *Process) *watch {
	w := &watch{tb: c, p: p}
	c.Cleanup(func() {
		if w.file != nil {
			w.file.Close()
		}
	})
	return w
}

// lookEvery is how often the file is read. Reading on costs next to nothing.
const lookEvery = 2 * time.Millisecond

// await returns the first event that is one of the points, and which; -1: the run
// ended without one. Points are counted anew in each run.
func (w *watch) await(points ...point) (int, Event) {
	w.tb.Helper()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-w.p.done:
			ended = true
		case <-tick.C:
		}
		w.read()
		for ; w.next < len(w.seen); w.next++ {
			for i, p := range points {
				if p.matches(w.seen[w.next]) && p.number(w.seen[:w.next]) == max(p.nth, 1)-1 {
					w.next++
					return i, w.seen[w.next-1]
				}
			}
		}
		if ended {
			return -1, Event{}
		}
		if w.driver == 0 { // looked for before it is needed: that takes a while
			if pids := children(w.tb, w.p.cmd.Process.Pid); len(pids) > 0 {
				w.driver = pids[0]
			}
		}
	}
}

// read takes the whole lines that were added.
func (w *watch) read() {
	w.tb.Helper()
	if w.file == nil {
		f, err := os.Open(w.p.events)
		if os.IsNotExist(err) {
			return
		}
		if err != nil {
			w.tb.Fatal(err)
		}
		w.file = f
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		w.rest = append(w.rest, buf[:n]...)
		if n == 0 || err != nil {
			break
		}
	}
	for {
		line, rest, ok := strings.Cut(string(w.rest), "\n")
		if !ok {
			return
		}
		w.rest = []byte(rest)
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			w.tb.Fatalf("%s: %v in %q", w.p.events, err, line)
		}
		w.seen = append(w.seen, e)
	}
}

// signal sends a signal to the processes of the victim, the driver first: it
// must not see its parent's end before its own. It returns false when rotatord
// has ended already.
func (w *watch) signal(v victim, sig syscall.Signal) bool {
	w.tb.Helper()
	if v != rotatordAlone {
		deadline := time.Now().Add(10 * time.Second)
		for w.driver == 0 || syscall.Kill(w.driver, sig) != nil {
			w.driver = 0 // none yet, or one that has just ended
			select {
			case <-w.p.done:
				return false
			default:
			}
			if pids := children(w.tb, w.p.cmd.Process.Pid); len(pids) > 0 {
				w.driver = pids[0]
			} else if time.Now().After(deadline) {
				w.tb.Fatalf("rotatord %d has no driver process", w.p.cmd.Process.Pid)
			}
		}
		if sig == syscall.SIGKILL {
			w.driver = 0 // the next one is another process
		}
	}
	if v == driverAlone {
		return true
	}
	err := w.p.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.tb.Fatalf("signal %v: %v", sig, err)
	}
	return err == nil
}

// mustReach awaits a point without which the test makes no sense.
func (w *watch) mustReach(p point) Event {
	w.tb.Helper()
	i, e := w.await(p)
	if i < 0 {
		w.tb.Fatalf("the run ended before the point %q:\n%s", p.name, w.p.Wait().Text())
	}
	return e
}

// Half of all calls are throttled, or answers are lost after the act: calls
// state goals, so that they are made again, and nothing happens twice.
func TestCloudFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		faults [][]string
	}{
		{"throttled by half", [][]string{{"throttle", "--share", "0.5"}}},
		{"answers lost after the act", [][]string{
			{"error-after-act", "--action", "TerminateInstanceInAutoScalingGroup", "--count", "2"},
			{"error-after-act", "--action", "SetDesiredCapacity", "--count", "2"},
			{"error-after-act", "--action", "CreateOrUpdateTags", "--count", "2"},
			{"error-after-act", "--action", "SuspendProcesses", "--count", "1"},
			{"error-after-act", "--action", "DeleteTags", "--count", "1"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTrial(t)
			for _, f := range tc.faults {
				c.s.Fault(t, f[0], f[1:]...)
			}
			c.r.Run(t, "run").MustExit(t, exitDone)
			for _, f := range c.s.faults(t) {
				if f.Struck == 0 {
					t.Errorf("fault %s of %s never struck", f.Kind, cmp.Or(f.Action, "all calls"))
				}
			}
			c.s.CLI(t, "fault", "clear")
			c.mustBeWhole()
		})
	}
}

// The API server is away for a while: the rotation waits and goes on. Once only
// the way to it is cut; then kube-apiserver itself ends and starts again, for the
// controllers, the scheduler and the kubelets too, at several moments.
func TestAPIServerRestarts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault []string
		at    []point
	}{
		{"the way to it", []string{"api-cut", "--for", "5s"}, []point{firstEvicted}},
		{"itself", []string{"api-restart", "--for", "2s"}, []point{surgeIntended, firstEvicted, keepSucceeded}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTrial(t)
			w := c.watch(c.r.Start(t, "run", calm...))
			for _, p := range tc.at {
				w.mustReach(p)
				c.s.Fault(t, tc.fault[0], tc.fault[1:]...)
			}
			w.p.Wait().MustExit(t, exitDone)
			c.mustBeWhole()
		})
	}
}

// The network to the API server is cut for longer than the lock holds: whoever
// held it makes no call any more and ends, resumable; the next run completes.
func TestNetworkCut(t *testing.T) {
	c := newTrial(t)
	w := c.watch(c.r.Start(t, "run", "--lock-duration", lockDuration.String()))
	w.mustReach(firstEvicted)
	c.s.Fault(t, "api-blackhole")
	// From here on at the latest somebody else could hold the lock.
	time.Sleep(lockDuration)
	calls := c.s.Stats(t, false).Changing
	w.p.Wait().MustExit(t, exitStopped)
	if now := c.s.Stats(t, false).Changing; now != calls {
		t.Errorf("%d calls changed something at the provider after the lock was lost", now-calls)
	}
	c.s.CLI(t, "fault", "clear")
	c.r.Run(t, "run").MustExit(t, exitDone)
	c.mustBeWhole()
}

// A run stands still for longer than the lock holds, and another takes over:
// once it wakes, the first does nothing but end.
func TestPaused(t *testing.T) {
	for _, tc := range []struct {
		who  victim
		at   point
		long bool // only at length
	}{
		{rotatordAlone, firstEvicted, true},
		{rotatordAlone, keepIntended, false},
		{both, firstEvicted, false},
		{both, shrinkIntended, true},
	} {
		t.Run(fmt.Sprintf("%s at %s", tc.who, tc.at.name), func(t *testing.T) {
			if tc.long && !atLength {
				t.Skip("make chaos runs it")
			}
			c := newTrial(t)
			c.r.Base = append(c.r.Base, "--lock-duration", lockDuration.String())
			first := c.watch(c.r.Start(t, "run"))
			first.mustReach(tc.at)
			if !first.signal(tc.who, syscall.SIGSTOP) {
				t.Fatal("the run ended before it could be stopped")
			}

			second := c.another()
			second.Run(t, "run").MustExit(t, exitDone)
			c.mustBeWhole()

			calls, changes := c.s.Stats(t, false).Changing, c.s.changes(t)
			first.signal(tc.who, syscall.SIGCONT)
			first.p.Wait().MustExit(t, exitStopped)
			if now := c.s.Stats(t, false).Changing; now != calls {
				t.Errorf("%d calls changed something at the provider after the other run had completed", now-calls)
			}
			if now := c.s.changes(t); now != changes {
				t.Errorf("%d calls changed something in the cluster after the other run had completed", now-changes)
			}
			c.mustBeWhole()
		})
	}
}

// Two runs at once: exactly one acts, and the other says who does.
func TestTwoAtOnce(t *testing.T) {
	c := newTrial(t)
	other := c.another()
	runs := []*Process{c.r.Start(t, "run"), other.Start(t, "run")}
	folders := []*Rotatord{c.r, other}
	done := 0
	for i, p := range runs {
		res := p.Wait()
		switch res.Code {
		case exitDone:
			done++
		case exitHeld:
			if got := folders[i].Events(t, "op-intended", "pod-evicted"); len(got) > 0 {
				t.Errorf("the run that did not get the lock acted: %+v", got)
			}
		default:
			t.Errorf("exit code %d:\n%s", res.Code, res.Text())
		}
	}
	if done != 1 {
		t.Errorf("%d of two runs at once completed, want one", done)
	}
	c.mustBeWhole()
}

// mortal has nodes that are called dead within seconds, and a rotation that
// rests after its first node.
var mortal = lazily("e2e-mortal", "eu-north-1", "--boot-delay", "1s", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms",
	"--node-monitor-grace-period", "10s", "--nodes", "3", "--groups", "1", "--zones", "3", "--workload", "none", "--seed", "12")

// A replacement that was Ready dies: the rotation ends before it spreads, and
// takes back the dead one, which is its surge. No other old node goes.
func TestReplacementDies(t *testing.T) {
	s := mortal(t)
	group := groupName(s, 1)
	before := s.State(t)
	s.PublishImage(t, group)
	s.Stats(t, true)
	c := &trial{T: t, s: s, group: group, r: s.rotatord(t), before: before}
	c.r.Base = append(c.r.Base, "--node-ready-timeout", "8s")
	w := c.watch(c.r.Start(t, "run", "--canary-bake", "5m"))
	born := w.mustReach(ready)
	w.mustReach(canaryPassed)
	s.Fault(t, "node-dead", "--node", born.Node)
	w.p.Wait().MustExit(t, exitGate, born.Node, "was Ready, and has not been for")
	var gone []string
	for _, e := range c.r.Events(t, "node-draining") {
		gone = append(gone, e.Instance)
	}
	if len(gone) != 2 || !slices.Contains(before.Groups[group].Instances, gone[0]) || gone[1] != born.Instance {
		t.Errorf("instances %v were drained, want one old one and then %s, which died", gone, born.Instance)
	}
	c.mustHaveEnded(gone...)
	s.CLI(t, "fault", "clear")
	waitForNodes(t, s, len(before.Nodes))
	c.r.Run(t, "run").MustExit(t, exitDone)
	waitForNodes(t, s, len(before.Nodes))
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	c.mustHaveEnded(append(before.Groups[group].Instances, born.Instance)...)
}

// faults are those of the sandbox, with how often they struck.
func (s *Sandbox) faults(tb testing.TB) []struct {
	Kind, Action string
	Struck       int
} {
	tb.Helper()
	return decode[[]struct {
		Kind, Action string
		Struck       int
	}](tb, s.CLI(tb, "fault", "list", "--output", "json"))
}

// changes counts what rotatord's user changed in the cluster, by the API
// server's audit log: nodes and evictions.
func (s *Sandbox) changes(tb testing.TB) int {
	tb.Helper()
	n, v := 0, s.Verify(tb)
	for _, u := range v.NodeChanges {
		if u.User == "rotator-admin" {
			n += u.Count
		}
	}
	for _, e := range v.Evictions {
		if e.User == "rotator-admin" {
			n += e.Allowed + e.Refused + e.Other
		}
	}
	return n
}
