// Package window knows when work may be done: from each time that a cron
// expression names, for a duration, in a time zone. It reads no clock.
package window

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// MaxDuration bounds a window: a week.
const MaxDuration = 7 * 24 * time.Hour

// fields of an expression: five, as cron(8) and Kubernetes' CronJobs have them,
// or a name such as @daily.
const fields = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor

// Window is when work may be done.
type Window struct {
	schedule cron.Schedule
	duration time.Duration
	location *time.Location
}

// Parse makes a window that opens when start says, in the zone, and stays open
// for duration. start is a cron expression of five fields or a name such as
// @daily; zone is a name of the IANA's time zone database, empty for UTC. Where
// the clock is put forward over a start, the window opens at the first moment
// after; where it is put back, it opens once.
//
// A window that never opens is an error: the 30th of February.
func Parse(start string, duration time.Duration, zone string) (*Window, error) {
	if duration < time.Minute || duration > MaxDuration {
		return nil, fmt.Errorf("duration %s: from 1m to %s is allowed", duration, MaxDuration)
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is unknown: write a name such as Europe/Berlin or UTC", zone)
	}
	if strings.Contains(start, "=") { // the parser knows TZ=
		return nil, fmt.Errorf("%q: the time zone has a field of its own", start)
	}
	schedule, err := cron.NewParser(fields).Parse(start)
	if err != nil {
		return nil, fmt.Errorf("%q is no cron expression (minute hour day-of-month month day-of-week): %w", start, err)
	}
	w := &Window{schedule: schedule, duration: duration, location: location}
	// A schedule that has no time within five years of any moment has none: leap
	// years are four years apart.
	if schedule.Next(time.Date(2023, 1, 1, 0, 0, 0, 0, location)).IsZero() {
		return nil, fmt.Errorf("%q never comes: there is no such day", start)
	}
	return w, nil
}

// Open tells whether the window is open at now, and if so, when it closes. Starts
// that come while it is open keep it open; how long is told for about a week.
func (w *Window) Open(now time.Time) (closes time.Time, open bool) {
	for at := w.schedule.Next(now.Add(-w.duration).In(w.location)); !at.IsZero() && !at.After(now); at = w.schedule.Next(at) {
		closes, open = at.Add(w.duration), true
	}
	if !open {
		return time.Time{}, false
	}
	for at := w.schedule.Next(now.In(w.location)); !at.IsZero() && !at.After(closes) && closes.Sub(now) <= MaxDuration; at = w.schedule.Next(at) {
		closes = at.Add(w.duration)
	}
	return closes, true
}

// Opens returns when the window opens next, after now.
func (w *Window) Opens(now time.Time) time.Time { return w.schedule.Next(now.In(w.location)) }
