package core

import (
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/window"
)

// closes tells when the spec's window closes; zero: there is none. A result is
// the end of a rotation that finds it shut.
func closes(spec plan.Spec, now time.Time) (time.Time, *engine.Result, error) {
	s := spec.Window
	if s.Start == "" {
		return time.Time{}, nil, nil
	}
	w, err := window.Parse(s.Start, s.Duration, s.TimeZone)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("the window: %w", err)
	}
	at, open := w.Open(now)
	if !open {
		return time.Time{}, &engine.Result{Status: engine.StatusStopped,
			Message: fmt.Sprintf("the window is shut, and opens at %s; nothing was changed", w.Opens(now).Format(time.RFC3339))}, nil
	}
	return at, nil, nil
}
