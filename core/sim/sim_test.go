package sim

import (
	"bytes"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

var (
	seeds   = flag.Uint64("seeds", 300, "how many seeds the tests run")
	first   = flag.Uint64("first", 1, "the first of them")
	oneSeed = flag.Uint64("seed", 0, "run this seed only, and print its events")
	calm    = flag.Bool("calm", false, "with -seed: without faults")
	force   = flag.String("force", "", "with -seed: these faults only, separated by semicolons")
)

func TestOne(t *testing.T) {
	if *oneSeed == 0 {
		t.Skip("no -seed")
	}
	o := Options{Seed: *oneSeed, Trace: func(s string) { fmt.Println(s) }}
	switch {
	case *force != "":
		o.Force = strings.Split(*force, ";")
	case !*calm:
		o.Rates = RandomRates(*oneSeed)
	}
	r := Run(o)
	t.Logf("%s: %s; faults: %s", r.Status, r.Message, strings.Join(r.Faults, ";"))
	for _, v := range r.Broken {
		t.Error(v)
	}
}

// TestCalm: without faults every rotation completes, but for one that a budget
// blocks for ever and one whose plan is refused for want of room, and no eviction is asked for that its budget refuses.
func TestCalm(t *testing.T) {
	stuck, tight, noRoom := 0, 0, 0
	for seed := *first; seed < *first+*seeds; seed++ {
		r := Run(Options{Seed: seed})
		report(t, Options{Seed: seed}, r)
		// Of two drainers none knows what the other is about to ask.
		both := slices.ContainsFunc(RandomShape(seed).Groups, func(g GroupShape) bool { return g.Traits.Drains == model.DrainsBoth })
		if r.Refused > 0 && !both {
			t.Errorf("seed %d: %d of %d evictions were refused by a budget", seed, r.Refused, r.Evicted)
		}
		shape := RandomShape(seed)
		if shape.Tight && r.Checks[Room] > 0 {
			tight++
		}
		if r.NoRoom {
			noRoom++
		}
		if name := shape.Stuck; r.Status != engine.StatusDone && !r.NoRoom {
			stuck++
			if name == "" || !strings.Contains(r.Message, name) {
				t.Errorf("seed %d: %s: %s", seed, r.Status, r.Message)
			}
		}
	}
	if stuck == 0 {
		t.Error("no world had a budget that never opens: the seeds do not try enough")
	}
	// A plan is refused for want of room on a proof only, which few worlds give.
	for seed := *first + *seeds; noRoom == 0 && seed < *first+5000; seed++ {
		if RandomShape(seed).Tight {
			if r := Run(Options{Seed: seed}); r.NoRoom {
				noRoom++
			}
		}
	}
	if tight == 0 || noRoom == 0 {
		t.Errorf("of worlds without much room %d were rotated and %d plans refused: the seeds do not try enough", tight, noRoom)
	}
}

// TestFaults: whatever goes wrong, no invariant breaks, and once nothing goes
// wrong any more the same command completes the rotation.
func TestFaults(t *testing.T) {
	struck, checked := map[Kind]int{}, map[Invariant]int{}
	for seed := *first; seed < *first+*seeds; seed++ {
		o := Options{Seed: seed, Rates: RandomRates(seed)}
		r := Run(o)
		report(t, o, r)
		for k, n := range r.Count {
			struck[k] += n
		}
		for i, n := range r.Checks {
			checked[i] += n
		}
	}
	for _, k := range Kinds {
		if struck[k] == 0 && *seeds >= 300 {
			t.Errorf("no fault of kind %s struck: the seeds do not try enough", k)
		}
	}
	for _, i := range Invariants {
		if checked[i] == 0 {
			t.Errorf("invariant %s was never checked", i)
		}
	}
}

// report fails a test with the shortest script of what broke.
func report(t *testing.T, o Options, r *Report) {
	t.Helper()
	if len(r.Broken) == 0 {
		return
	}
	script, least := Shrink(o, r)
	t.Errorf("seed %d: %s\nit takes %d of %d faults: go test ./core/sim -run TestOne -seed %d -force '%s'\nwhich ends with %s",
		o.Seed, r.Broken[0], len(script), len(r.Faults), o.Seed, strings.Join(script, ";"), least.Broken[0])
}

// TestKilledAnywhere kills the process once at every boundary of a rotation, in
// every way, and has the same command run again.
func TestKilledAnywhere(t *testing.T) {
	for _, seed := range worlds(t, 5) {
		calm := Run(Options{Seed: seed})
		for _, k := range []Kind{KillUnrecorded, KillTorn, KillRecorded, KillActing} {
			killed := 0
			for step := 1; step <= calm.Steps; step++ {
				o := Options{Seed: seed, Force: []string{fmt.Sprintf("%s @%d", k, step)}}
				r := Run(o)
				killed += r.Count[k]
				report(t, o, r)
				if r.Status != calm.Status {
					t.Errorf("seed %d, %s: ends with %s: %s, and without it with %s", seed, o.Force[0], r.Status, r.Message, calm.Status)
				}
			}
			if killed == 0 {
				t.Errorf("seed %d: %s never struck", seed, k)
			}
		}
	}
}

// worlds are the first seeds whose calm rotation has surge and evictions,
// and few enough Steps to have them all tried.
func worlds(t *testing.T, n int) []uint64 {
	t.Helper()
	var out []uint64
	for seed := uint64(1); seed < 1000 && len(out) < n; seed++ {
		var records bytes.Buffer
		r := Run(Options{Seed: seed, Events: &records})
		if r.Steps > 80 && r.Steps < 160 && r.Evicted > 5 && bytes.Contains(records.Bytes(), []byte(engine.VerbSetSurge)) && r.Status == engine.StatusDone {
			out = append(out, seed)
		}
	}
	if len(out) < n {
		t.Fatalf("%d worlds of that kind, and %d wanted", len(out), n)
	}
	return out
}

// TestKilledTwice kills the process at a boundary, and the next one soon after
// its start, with the journal deleted in between.
func TestKilledTwice(t *testing.T) {
	for _, seed := range worlds(t, 3) {
		calm := Run(Options{Seed: seed})
		for step := 2; step <= calm.Steps; step += 3 {
			for _, again := range []int{1, 4, 12} {
				o := Options{Seed: seed, Force: []string{fmt.Sprintf("%s @%d", KillActing, step), fmt.Sprintf("%s @%d", KillRecorded, step+again), string(LoseJournal) + " @1"}}
				r := Run(o)
				report(t, o, r)
				if r.Status != calm.Status {
					t.Errorf("seed %d, %v: ends with %s: %s, and without it with %s", seed, o.Force, r.Status, r.Message, calm.Status)
				}
			}
		}
	}
}

// TestSameSeedSameEvents: two runs give the same events, byte for byte.
func TestSameSeedSameEvents(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		var a, b bytes.Buffer
		Run(Options{Seed: seed, Rates: RandomRates(seed), Events: &a})
		Run(Options{Seed: seed, Rates: RandomRates(seed), Events: &b})
		if a.Len() == 0 || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("seed %d: %d and %d bytes of events, which differ", seed, a.Len(), b.Len())
		}
	}
}

// TestFaultsHaveNames: the faults that a report names, and no others, lead to
// the same events again.
func TestFaultsHaveNames(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		var a, b bytes.Buffer
		r := Run(Options{Seed: seed, Rates: RandomRates(seed), Events: &a})
		Run(Options{Seed: seed, Force: r.Faults, Events: &b})
		if r.Runs < 2*maxRuns && !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("seed %d: the faults by name lead to other events", seed)
		}
	}
}

// TestShrink finds the one fault of many that an engine with a flaw minds.
func TestShrink(t *testing.T) {
	forgets := func(s Stepper) Stepper { // to uncordon, after a signal
		return &broken{Stepper: s, change: each(func(e engine.Effect) []engine.Effect {
			if e.Patch != nil && e.Patch.Unschedulable != nil && !*e.Patch.Unschedulable {
				p := *e.Patch
				p.Unschedulable = nil
				e.Patch = &p
			}
			return []engine.Effect{e}
		})}
	}
	tried := 0
	for seed := uint64(1); seed < 100; seed++ {
		o := Options{Seed: seed, Rates: Rates{Signal: 1, Lost: 0.1, Late: 0.1, FailBefore: 0.1}, Wrap: forgets}
		r := Run(o)
		if len(r.Broken) == 0 || r.Broken[0].Invariant != Marks || len(r.Faults) < 10 {
			continue
		}
		script, least := Shrink(o, r)
		if len(least.Broken) == 0 || least.Broken[0].Invariant != Marks {
			t.Errorf("seed %d: %d faults shrink to %v, which breaks %v", seed, len(r.Faults), script, least.Broken)
		}
		if len(script) <= 2 {
			return
		}
		// The signal alone came too early for the flaw, and others delayed it.
		if tried++; tried == 5 {
			break
		}
	}
	t.Errorf("of %d seeds with many faults none shrinks to the one that matters", tried)
}

// BenchmarkRotation1000 rotates 1,000 nodes with 10,000 pods under 100 budgets,
// a tenth at a time.
func BenchmarkRotation1000(b *testing.B) {
	for b.Loop() {
		b.StopTimer() // to make a world is no part of a rotation
		sim := newRunner(Options{Seed: 1, Shape: Large(1000, 10, 100)})
		runtime.GC()
		before := cpuTime(b)
		b.StartTimer()
		r := sim.run()
		b.ReportMetric((cpuTime(b) - before).Seconds(), "cpu-s/op")
		if len(r.Broken) > 0 || r.Status != engine.StatusDone {
			b.Fatal(r.Status, r.Message, r.Broken)
		}
		b.ReportMetric(float64(r.Steps), "steps/op")
		b.ReportMetric(r.Virtual.Minutes(), "virtual-min/op")
		b.ReportMetric(float64(r.Refused), "refused/op")
		b.ReportMetric(float64(r.Evicted)/10000, "moves/pod")
	}
}

// cpuTime is what this process has used, garbage collection on other cores
// included.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSeeds is a rotation of a random world with faults.
func BenchmarkSeeds(b *testing.B) {
	seed := uint64(0)
	for b.Loop() {
		seed++
		Run(Options{Seed: seed, Rates: RandomRates(seed)})
	}
}
