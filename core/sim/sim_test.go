package sim

import (
	"flag"
	"fmt"
	"strings"
	"testing"
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
		o.Rates = randomRates(*oneSeed)
	}
	r := Run(o)
	t.Logf("%s: %s; faults: %s", r.Status, r.Message, strings.Join(r.Faults, ";"))
	for _, v := range r.Broken {
		t.Error(v)
	}
}

func TestCalm(t *testing.T) {
	for seed := *first; seed < *first+*seeds; seed++ {
		r := Run(Options{Seed: seed})
		for _, v := range r.Broken {
			t.Errorf("seed %d: %s", seed, v)
			break
		}
		if r.Status != "done" && RandomShape(seed).Stuck == "" {
			t.Errorf("seed %d: %s %s", seed, r.Status, r.Message)
		}
	}
}

func TestFaults(t *testing.T) {
	bad, runs, steps := 0, 0, 0
	count := map[Kind]int{}
	for seed := *first; seed < *first+*seeds; seed++ {
		r := Run(Options{Seed: seed, Rates: randomRates(seed)})
		runs += r.Runs
		steps += r.Steps
		for k, n := range r.Count {
			count[k] += n
		}
		for _, v := range r.Broken {
			bad++
			o := Options{Seed: seed, Rates: randomRates(seed)}
			script, least := Shrink(o, r)
			t.Errorf("seed %d: %s\nwith %d of %d faults, -seed %d -force '%s':\n%s", seed, v, len(script), len(r.Faults), seed, strings.Join(script, ";"), least.Broken[0])
			break
		}
	}
	t.Logf("%d bad; %d runs, %d steps, faults %v", bad, runs, steps, count)
}
