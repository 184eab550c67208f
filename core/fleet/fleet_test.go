package fleet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/window"
)

var epoch = time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)

func wave(name string, bake time.Duration, atOnce int, clusters ...string) fleet.Wave {
	w := fleet.Wave{Name: name, Bake: bake, AtOnce: atOnce}
	for _, c := range clusters {
		w.Clusters = append(w.Clusters, fleet.Cluster{Name: c, Config: c + ".yaml"})
	}
	return w
}

// play runs a fleet in virtual time: each cluster takes ten minutes, and ends as
// ends says (default 0, with three nodes replaced).
func play(t *testing.T, f *fleet.Fleet, ends map[string]int, current ...string) (log []string, s *fleet.Schedule) {
	t.Helper()
	s = fleet.New(f)
	type end struct {
		name string
		at   time.Time
	}
	var running []end
	now := epoch
	note := func(format string, args ...any) {
		log = append(log, fmt.Sprintf("%v ", now.Sub(epoch))+fmt.Sprintf(format, args...))
	}
	for range 1000 {
		begin, wake, over := s.Next(now)
		for _, c := range begin {
			note("begin %s", c.Name)
			running = append(running, end{c.Name, now.Add(10 * time.Minute)})
		}
		if over {
			if len(running) > 0 {
				t.Fatalf("over while %v run", running)
			}
			note("over %d", s.ExitCode())
			return log, s
		}
		if len(begin) > 0 {
			continue
		}
		if len(running) > 0 && (wake.IsZero() || !running[0].at.After(wake)) {
			now = running[0].at
			replaced := 3
			for _, c := range current {
				if c == running[0].name {
					replaced = 0
				}
			}
			s.Ended(running[0].name, ends[running[0].name], replaced, now)
			running = running[1:]
			continue
		}
		if !wake.After(now) {
			t.Fatalf("at %v nothing is waited for: %v", now, log)
		}
		now = wake
	}
	t.Fatal("it does not end")
	return nil, nil
}

func TestSchedule(t *testing.T) {
	night, err := window.Parse("0 22 * * *", 15*time.Minute, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		fleet   fleet.Fleet
		ends    map[string]int
		current []string
		want    []string
		skipped map[string]string // and why, in part
	}{
		{"waves, a bake between them",
			fleet.Fleet{AtOnce: 2, Waves: []fleet.Wave{wave("canary", 30*time.Minute, 0, "a"), wave("eu", time.Hour, 0, "b", "c", "d")}}, nil, nil,
			[]string{"0s begin a", "40m0s begin b", "40m0s begin c", "50m0s begin d", "1h0m0s over 0"}, nil},
		{"no bake where nothing was replaced",
			fleet.Fleet{AtOnce: 2, Waves: []fleet.Wave{wave("canary", 30*time.Minute, 0, "a"), wave("eu", 0, 0, "b")}}, nil, []string{"a"},
			[]string{"0s begin a", "10m0s begin b", "20m0s over 0"}, nil},
		{"a wave's own limit",
			fleet.Fleet{AtOnce: 5, Waves: []fleet.Wave{wave("all", 0, 1, "a", "b")}}, nil, nil,
			[]string{"0s begin a", "10m0s begin b", "20m0s over 0"}, nil},
		{"the first failure stops, what runs is ended",
			fleet.Fleet{AtOnce: 2, OnFailure: fleet.FailureStop, Waves: []fleet.Wave{wave("all", 0, 0, "a", "b", "c")}}, map[string]int{"a": 5}, nil,
			[]string{"0s begin a", "0s begin b", "10m0s over 5"}, map[string]string{"c": "cluster a has failed"}},
		{"the wave is finished",
			fleet.Fleet{AtOnce: 1, OnFailure: fleet.FailureFinishWave, Waves: []fleet.Wave{wave("eu", 0, 0, "a", "b"), wave("us", 0, 0, "c")}}, map[string]int{"a": 1}, nil,
			[]string{"0s begin a", "10m0s begin b", "20m0s over 1"}, map[string]string{"c": "cluster a of wave eu has failed"}},
		{"all are tried",
			fleet.Fleet{AtOnce: 1, OnFailure: fleet.FailureContinue, Waves: []fleet.Wave{wave("eu", 0, 0, "a", "b"), wave("us", 0, 0, "c")}}, map[string]int{"a": 4, "b": 6}, nil,
			[]string{"0s begin a", "10m0s begin b", "20m0s begin c", "30m0s over 6"}, nil},
		{"too many have failed",
			fleet.Fleet{AtOnce: 1, OnFailure: fleet.FailureContinue, MaxFailed: 1, Waves: []fleet.Wave{wave("all", 0, 0, "a", "b", "c")}}, map[string]int{"a": 1, "b": 1}, nil,
			[]string{"0s begin a", "10m0s begin b", "20m0s over 1"}, map[string]string{"c": "2 clusters have failed: a"}},
		{"the window closes",
			fleet.Fleet{AtOnce: 1, Window: night, Waves: []fleet.Wave{wave("all", 0, 0, "a", "b", "c")}}, nil, nil,
			[]string{"0s begin a", "10m0s begin b", "20m0s over 4"}, map[string]string{"c": "the window is shut, and opens at 2026-11-24T22:00:00Z"}},
		{"it closes in a bake",
			fleet.Fleet{AtOnce: 1, Window: night, Waves: []fleet.Wave{wave("canary", time.Hour, 0, "a"), wave("eu", 0, 0, "b")}}, nil, nil,
			[]string{"0s begin a", "1h10m0s over 4"}, map[string]string{"b": "the window is shut"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log, s := play(t, &tt.fleet, tt.ends, tt.current...)
			if diff := cmp.Diff(tt.want, log); diff != "" {
				t.Errorf("run (-want +got):\n%s", diff)
			}
			for _, c := range s.Standings() {
				want, skipped := tt.skipped[c.Name]
				if skipped != (c.State == fleet.Skipped) || !strings.Contains(c.Why, want) {
					t.Errorf("%s is %s: %q, want skipped %t: %q", c.Name, c.State, c.Why, skipped, want)
				}
			}
		})
	}
}

func TestHalt(t *testing.T) {
	s := fleet.New(&fleet.Fleet{AtOnce: 1, Waves: []fleet.Wave{wave("all", 0, 0, "a", "b")}})
	if begin, _, _ := s.Next(epoch); len(begin) != 1 {
		t.Fatalf("begins %v", begin)
	}
	s.Halt("stopped by a signal")
	if begin, _, over := s.Next(epoch); len(begin) != 0 || over {
		t.Fatalf("after Halt: begins %v, over %t", begin, over)
	}
	s.Ended("a", 4, 1, epoch)
	if _, _, over := s.Next(epoch); !over || s.ExitCode() != 4 {
		t.Errorf("over %t, exit code %d", over, s.ExitCode())
	}
	if c := s.Standings()[1]; c.State != fleet.Skipped || c.Why != "stopped by a signal" {
		t.Errorf("%+v", c)
	}
}
