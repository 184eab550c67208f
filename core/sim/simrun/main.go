// Command simrun simulates seeded rotations with faults for a given time and
// prints how fast, which faults struck, and whether an invariant broke. It ends
// with 1 if one did, and prints the seed and the shortest script that it found.
//
//	simrun -time 60s            as many seeds as fit, from a random first one
//	simrun -seeds 10000         so many
//	simrun -seed 17 [-calm | -force 'lost prepare g0 #1;signal @1']   one, with its story
package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotatord/rotator/core/sim"
)

func main() {
	limit := flag.Duration("time", 10*time.Second, "how long to run; 0: until -seeds have been run")
	seeds := flag.Uint64("seeds", 0, "how many seeds to run at most; 0: as many as fit")
	first := flag.Uint64("first", uint64(time.Now().Unix()), "the first seed")
	one := flag.Uint64("seed", 0, "run this seed only, and print what happens")
	force := flag.String("force", "", "with -seed: these faults only, separated by semicolons")
	calm := flag.Bool("calm", false, "without faults")
	flag.Parse()
	if *limit <= 0 && *seeds == 0 && *one == 0 {
		fmt.Fprintln(os.Stderr, "give -time or -seeds: without both it would never end")
		os.Exit(2)
	}
	if *one > 0 {
		os.Exit(story(*one, *force, *calm))
	}
	if *seeds > 0 && !given("time") {
		*limit = 0
	}
	os.Exit(many(*first, *seeds, *limit, *calm))
}

func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// story runs one seed and prints what happens.
func story(seed uint64, force string, calm bool) int {
	o := sim.Options{Seed: seed, Trace: func(s string) { fmt.Println(s) }}
	switch {
	case force != "":
		o.Force = strings.Split(force, ";")
	case !calm:
		o.Rates = sim.RandomRates(seed)
	}
	r := sim.Run(o)
	fmt.Printf("\nseed %d: %s: %s\n%d run(s), %d steps, %s of virtual time\nfaults: %s\n", seed, r.Status, r.Message, r.Runs, r.Steps,
		r.Virtual.Round(time.Second), strings.Join(r.Faults, ";"))
	for _, v := range r.Broken {
		fmt.Println("BROKEN", v)
	}
	return min(len(r.Broken), 1)
}

// sums are those of all seeds.
type sums struct {
	rotations, runs, steps, evicted, refused int
	virtual                                  time.Duration
	faults                                   map[sim.Kind]int
	checks                                   map[sim.Invariant]int
	broken                                   map[sim.Invariant]int
	said                                     int
}

// maxSaid bounds how many broken seeds are shrunk and printed.
const maxSaid = 10

// many runs seeds on all processors, each on one goroutine.
func many(first, count uint64, limit time.Duration, calm bool) int {
	s := sums{faults: map[sim.Kind]int{}, checks: map[sim.Invariant]int{}, broken: map[sim.Invariant]int{}}
	var mu sync.Mutex
	next, began := first, time.Now()
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if count > 0 && next-first >= count || limit > 0 && time.Since(began) >= limit {
			return 0, false
		}
		next++
		return next - 1, true
	}
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				o := sim.Options{Seed: seed}
				if !calm {
					o.Rates = sim.RandomRates(seed)
				}
				r := sim.Run(o)
				mu.Lock()
				say := s.add(r)
				mu.Unlock()
				if say {
					explain(o, r)
				}
			}
		})
	}
	wg.Wait()
	s.print(time.Since(began), workers, first, next)
	return min(len(s.broken), 1)
}

// add counts a report, and tells whether it is to be explained.
func (s *sums) add(r *sim.Report) bool {
	s.rotations++
	s.runs += r.Runs
	s.steps += r.Steps
	s.evicted += r.Evicted
	s.refused += r.Refused
	s.virtual += r.Virtual
	for k, n := range r.Count {
		s.faults[k] += n
	}
	for i, n := range r.Checks {
		s.checks[i] += n
	}
	if len(r.Broken) == 0 {
		return false
	}
	s.broken[r.Broken[0].Invariant]++
	s.said++
	return s.said <= maxSaid
}

// explain prints the shortest script that breaks what a report broke.
func explain(o sim.Options, r *sim.Report) {
	script, least := sim.Shrink(o, r)
	fmt.Printf("BROKEN seed %d: %s\n  with %d of %d faults: make sim SIM_ARGS=\"-seed %d -force '%s'\"\n  which ends with %s\n",
		o.Seed, r.Broken[0], len(script), len(r.Faults), o.Seed, strings.Join(script, ";"), least.Broken[0])
}

func (s *sums) print(took time.Duration, workers int, first, next uint64) {
	fmt.Printf("%d rotations in %s on %d core(s): %.0f a second; seeds %d to %d\n", s.rotations, took.Round(time.Millisecond), workers,
		float64(s.rotations)/took.Seconds(), first, next-1)
	fmt.Printf("%d runs, %d steps, %s of virtual time, %d evictions (%d refused)\n", s.runs, s.steps, s.virtual.Round(time.Hour), s.evicted, s.refused)
	total := 0
	for n := range maps.Values(s.faults) {
		total += n
	}
	fmt.Printf("\n%d faults\n", total)
	for _, k := range sim.Kinds {
		if n := s.faults[k]; n > 0 {
			fmt.Printf("  %-16s %9d\n", k, n)
		}
	}
	total = 0
	for n := range maps.Values(s.checks) {
		total += n
	}
	fmt.Printf("\n%d checks of %d invariants       broken\n", total, len(sim.Invariants))
	for _, i := range slices.SortedFunc(slices.Values(sim.Invariants), func(a, b sim.Invariant) int { return cmp.Compare(a, b) }) {
		fmt.Printf("  %-16s %12d %6d\n", i, s.checks[i], s.broken[i])
	}
}
