package main

import (
	"fmt"
	"io"
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
	if !awaitOpen(w, a.stderr, s.stopper.opening.Done()) {
		return s.interrupted(errInterrupted)
	}
	return nil
}

// awaitOpen waits until the window opens, and says so once. It returns false when
// something comes from stop first.
func awaitOpen[T any](w *window.Window, stderr io.Writer, stop <-chan T) bool {
	for told := false; ; told = true {
		now := time.Now()
		if _, open := w.Open(now); open {
			return true
		}
		at := w.Opens(now)
		if !told {
			fmt.Fprintf(stderr, "the window is shut: waiting until %s\n", at.Format(time.RFC3339))
		}
		select {
		case <-time.After(min(at.Sub(now), time.Minute)): // neither a clock that is set nor a sleep is overslept
		case <-stop:
			return false
		}
	}
}
