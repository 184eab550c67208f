package main

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/window"
)

// awaitWindow waits until the rotation's window opens, where the spec asks for
// that. A signal ends it.
func (a *app) awaitWindow(s *session) error {
	spec := s.spec.Window
	if spec.Start == "" || !spec.Wait {
		return nil
	}
	w, err := window.Parse(spec.Start, spec.Duration, spec.TimeZone)
	if err != nil {
		return usage("", "the window: %s", err) // the configuration was checked
	}
	for told := false; ; told = true {
		now := time.Now()
		if _, open := w.Open(now); open {
			return nil
		}
		at := w.Opens(now)
		if !told {
			fmt.Fprintf(a.stderr, "the window is shut: waiting until %s\n", at.Format(time.RFC3339))
		}
		// A clock that is set, or a machine that slept, must not be overslept.
		select {
		case <-time.After(min(at.Sub(now), time.Minute)):
		case <-s.stopper.opening.Done():
			return s.interrupted(errInterrupted)
		}
	}
}
