package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/window"
)

// windowView is a rotation's window, or a fleet's, as JSON.
type windowView struct {
	Start    string `json:"start"`
	Duration string `json:"duration"`
	TimeZone string `json:"timeZone"`
	Wait     bool   `json:"wait"`
	Open     bool   `json:"open"`
	// Closes is set where it is open, Opens where it is shut.
	Closes time.Time `json:"closes,omitzero"`
	Opens  time.Time `json:"opens,omitzero"`
}

// windowOf tells how a window stands at now; nil: there is none.
func windowOf(spec plan.Window, now time.Time) *windowView {
	w, err := window.Parse(spec.Start, spec.Duration, spec.TimeZone)
	if spec.Start == "" || err != nil { // the configuration was checked
		return nil
	}
	v := &windowView{Start: spec.Start, Duration: spec.Duration.String(), TimeZone: cmp.Or(spec.TimeZone, "UTC"), Wait: spec.Wait}
	if v.Closes, v.Open = w.Open(now); !v.Open {
		v.Closes, v.Opens = time.Time{}, w.Opens(now)
	}
	return v
}

// String says it for a person.
func (v *windowView) String() string {
	var b strings.Builder
	switch {
	case v.Open:
		fmt.Fprintf(&b, "open until %s", v.Closes.Format(time.RFC3339))
	case v.Wait:
		fmt.Fprintf(&b, "shut until %s, which a run waits for", v.Opens.Format(time.RFC3339))
	default:
		fmt.Fprintf(&b, "shut until %s; a run ends at once before that, with exit code %d", v.Opens.Format(time.RFC3339), exitStopped)
	}
	fmt.Fprintf(&b, " (%s for %s, %s)", v.Start, v.Duration, v.TimeZone)
	return b.String()
}

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
