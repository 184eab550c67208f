package aws

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rotatord/rotator/sandbox/control"
)

// counters count the calls of each action and the errors that they were answered with.
type counters struct {
	mu    sync.Mutex
	since time.Time
	calls map[callKey]*callCount
}

type callKey struct{ service, action string }

type callCount struct {
	calls  int64
	errors map[string]int64
}

func newCounters(now time.Time) *counters {
	return &counters{since: now, calls: map[callKey]*callCount{}}
}

// add counts one call; code is "" for a success.
func (s *counters) add(service, action, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := callKey{service, action}
	n := s.calls[k]
	if n == nil {
		n = &callCount{errors: map[string]int64{}}
		s.calls[k] = n
	}
	n.calls++
	if code != "" {
		n.errors[code]++
	}
}

func (s *counters) read(reset bool, now time.Time) control.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := control.Stats{Since: s.since, Calls: []control.Calls{}}
	for k, n := range s.calls {
		out.Calls = append(out.Calls, control.Calls{Service: k.service, Action: k.action, Calls: n.calls, Errors: maps.Clone(n.errors)})
		out.Total += n.calls
		if !reads(k.action) {
			out.Changing += n.calls
		}
	}
	slices.SortFunc(out.Calls, func(a, b control.Calls) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Action, b.Action))
	})
	if reset {
		s.since, s.calls = now, map[callKey]*callCount{}
	}
	return out
}

// Stats implements [control.Backend].
func (c *Cloud) Stats(reset bool) control.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.stats.read(reset, c.now())
	out.Launched, out.Terminated, out.MostMachines = c.launched, c.terminated, c.mostAlive
	out.Terminations = append([]control.Termination{}, c.terminations...)
	if reset {
		c.launched, c.terminated, c.mostAlive, c.terminations = 0, 0, c.alive, nil
	}
	return out
}
