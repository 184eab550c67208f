// Package fleet decides in which order the clusters of a fleet are rotated:
// wave by wave, some at once, within a window, until too many have failed. It
// knows nothing of how one is rotated, and reads no clock.
package fleet

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/window"
)

// Fleet names clusters in waves. Package config reads it from a file.
type Fleet struct {
	Name string
	// AtOnce is how many clusters are rotated at once, over all waves; 1 at least.
	AtOnce int
	// OnFailure says what a cluster that fails does to the others.
	OnFailure OnFailure
	// MaxFailed clusters may fail before the fleet stops, whatever OnFailure says;
	// 0: no limit.
	MaxFailed int
	// Window is when clusters may be begun, and their own rotations' too; nil:
	// always.
	Window *window.Window
	Waves  []Wave
}

// OnFailure is a stop rule.
type OnFailure string

// Stop rules. What runs is always brought to its end.
const (
	FailureStop       OnFailure = "stop"        // no other cluster is begun
	FailureFinishWave OnFailure = "finish-wave" // the rest of the wave is, no other wave
	FailureContinue   OnFailure = "continue"    // all are
)

// Wave is a set of clusters that are through before the next wave begins.
type Wave struct {
	Name string
	// AtOnce bounds the clusters of the wave beside Fleet.AtOnce; 0: it does not.
	AtOnce int
	// Bake is the pause after the wave, before the next one, unless nothing was
	// replaced in the wave.
	Bake     time.Duration
	Clusters []Cluster
}

// Cluster is one rotation.
type Cluster struct {
	// Name is unique in the fleet.
	Name string
	// Config is the path of its rotation file.
	Config string
	// Set overrides keys of that file, by their path.
	Set map[string]string
}

// State is where a cluster stands.
type State string

// States of a cluster.
const (
	Waiting State = "waiting"
	Running State = "running"
	Done    State = "done"
	Stopped State = "stopped" // before its end: it can be gone on with
	Failed  State = "failed"  // it ended otherwise
	Skipped State = "skipped" // it was not begun, and will not be
)

// Standing is one cluster in a Schedule.
type Standing struct {
	Cluster
	Wave         string
	State        State
	ExitCode     int // of its rotation, once it has ended
	Replaced     int // nodes
	Began, Ended time.Time
	// Why it was skipped.
	Why string
}

// exitStopped is the exit code of a rotation that stopped before its end.
const exitStopped = 4

// Schedule is one run of a fleet. Not safe for concurrent use.
type Schedule struct {
	fleet    *Fleet
	clusters []*Standing
	waves    [][]*Standing
	baked    []time.Time // when each wave's bake ends; zero: not begun
	halted   string      // why nothing is begun any more; empty: it is
}

// New makes the schedule of one run.
func New(f *Fleet) *Schedule {
	s := &Schedule{fleet: f, baked: make([]time.Time, len(f.Waves))}
	for _, w := range f.Waves {
		var members []*Standing
		for _, c := range w.Clusters {
			members = append(members, &Standing{Cluster: c, Wave: w.Name, State: Waiting})
		}
		s.waves = append(s.waves, members)
		s.clusters = append(s.clusters, members...)
	}
	return s
}

// Next answers which clusters begin now; they count as Running from then on.
// Without any, wake is when to ask again, at the latest; zero: when a cluster
// ends. Once over is true nothing will begin any more, and nothing runs.
func (s *Schedule) Next(now time.Time) (begin []Cluster, wake time.Time, over bool) {
	running := s.count(Running)
	for i, members := range s.waves {
		if s.halted == "" {
			s.judge(i)
		}
		if s.halted != "" {
			break
		}
		if through(members) {
			if at := s.bakedAt(i, now); i+1 < len(s.waves) && at.After(now) {
				return nil, at, false
			}
			continue
		}
		if w := s.fleet.Window; w != nil {
			if closes, open := w.Open(now); open {
				wake = closes
			} else {
				s.halted = fmt.Sprintf("the window is shut, and opens at %s", w.Opens(now).Format(time.RFC3339))
				break
			}
		}
		mine := 0
		for _, c := range members {
			if c.State == Running {
				mine++
			}
		}
		for _, c := range members {
			if c.State != Waiting || running >= s.fleet.AtOnce || s.fleet.Waves[i].AtOnce > 0 && mine >= s.fleet.Waves[i].AtOnce {
				continue
			}
			c.State, c.Began = Running, now
			begin = append(begin, c.Cluster)
			running++
			mine++
		}
		return begin, wake, false
	}
	if s.halted != "" {
		for _, c := range s.clusters {
			if c.State == Waiting {
				c.State, c.Why = Skipped, s.halted
			}
		}
	}
	return nil, time.Time{}, running == 0
}

// judge holds the stop rule against the waves up to the i-th.
func (s *Schedule) judge(i int) {
	failed := s.count(Failed) + s.count(Stopped)
	switch {
	case failed == 0:
	case s.fleet.MaxFailed > 0 && failed > s.fleet.MaxFailed:
		s.halted = fmt.Sprintf("%d clusters have failed: %s", failed, s.firstFailed())
	case s.fleet.OnFailure == FailureContinue:
	case s.fleet.OnFailure == FailureFinishWave:
		for _, members := range s.waves[:i] {
			for _, c := range members {
				if c.failed() {
					s.halted = fmt.Sprintf("cluster %s of wave %s has failed", c.Name, c.Wave)
					return
				}
			}
		}
	default:
		s.halted = fmt.Sprintf("cluster %s has failed", s.firstFailed())
	}
}

// bakedAt is when a wave that is through has baked.
func (s *Schedule) bakedAt(i int, now time.Time) time.Time {
	if s.baked[i].IsZero() {
		s.baked[i] = now
		for _, c := range s.waves[i] {
			if c.Replaced > 0 {
				s.baked[i] = now.Add(s.fleet.Waves[i].Bake)
				break
			}
		}
	}
	return s.baked[i]
}

// Ended takes note of how the rotation of a running cluster ended.
func (s *Schedule) Ended(name string, exitCode, replaced int, now time.Time) {
	for _, c := range s.clusters {
		if c.Name == name && c.State == Running {
			c.State, c.ExitCode, c.Replaced, c.Ended = Failed, exitCode, replaced, now
			switch exitCode {
			case 0:
				c.State = Done
			case exitStopped:
				c.State = Stopped
			}
		}
	}
}

// Halt begins no other cluster.
func (s *Schedule) Halt(why string) {
	if s.halted == "" {
		s.halted = why
	}
}

// Standings are all clusters, in the order of the file.
func (s *Schedule) Standings() []*Standing { return s.clusters }

// ExitCode of the whole run: 0 when all clusters are done; the code of the first
// that failed otherwise than by being stopped; 4 when the rest can be gone on
// with.
func (s *Schedule) ExitCode() int {
	code := 0
	for _, c := range s.clusters {
		switch {
		case c.State == Failed:
			return c.ExitCode
		case c.State != Done:
			code = exitStopped
		}
	}
	return code
}

// Halted tells why nothing is begun any more; empty: it is.
func (s *Schedule) Halted() string { return s.halted }

func (s *Schedule) count(st State) int {
	n := 0
	for _, c := range s.clusters {
		if c.State == st {
			n++
		}
	}
	return n
}

// failed tells whether it ended and is not done.
func (c *Standing) failed() bool { return c.State == Failed || c.State == Stopped }

func (s *Schedule) firstFailed() string {
	for _, c := range s.clusters {
		if c.failed() {
			return c.Name
		}
	}
	return ""
}

func through(members []*Standing) bool {
	for _, c := range members {
		if c.State == Waiting || c.State == Running {
			return false
		}
	}
	return true
}
