package window_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/window"
)

func parse(t *testing.T, start string, d time.Duration, zone string) *window.Window {
	t.Helper()
	w, err := window.Parse(start, d, zone)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name, start string
		duration    time.Duration
		zone        string
		now         string
		closes      string // empty: it is shut
		opens       string
	}{
		{"before", "0 22 * * *", 6 * time.Hour, "", "2026-11-23T21:59:59Z", "", "2026-11-23T22:00:00Z"},
		{"the first moment", "0 22 * * *", 6 * time.Hour, "", "2026-11-23T22:00:00Z", "2026-11-24T04:00:00Z", "2026-11-24T22:00:00Z"},
		{"after midnight", "0 22 * * *", 6 * time.Hour, "", "2026-11-24T03:59:59Z", "2026-11-24T04:00:00Z", "2026-11-24T22:00:00Z"},
		{"the moment that it closes", "0 22 * * *", 6 * time.Hour, "", "2026-11-24T04:00:00Z", "", "2026-11-24T22:00:00Z"},
		{"working days: Friday's lasts into Saturday", "0 22 * * 1-5", 6 * time.Hour, "", "2026-11-28T03:00:00Z", "2026-11-28T04:00:00Z", "2026-11-30T22:00:00Z"},
		{"working days: Saturday evening", "0 22 * * 1-5", 6 * time.Hour, "", "2026-11-28T23:00:00Z", "", "2026-11-30T22:00:00Z"},
		{"in another zone", "0 22 * * *", time.Hour, "Asia/Tokyo", "2026-11-23T13:30:00Z", "2026-11-23T14:00:00Z", "2026-11-24T13:00:00Z"},
		{"summer time", "0 22 * * *", time.Hour, "Europe/Berlin", "2026-07-01T20:30:00Z", "2026-07-01T21:00:00Z", "2026-07-02T20:00:00Z"},
		{"winter time", "0 22 * * *", time.Hour, "Europe/Berlin", "2026-12-01T20:30:00Z", "", "2026-12-01T21:00:00Z"},
		{"an hour that summer time leaves out", "30 2 * * *", time.Hour, "Europe/Berlin", "2026-03-29T01:45:00Z", "", "2026-03-30T00:30:00Z"},
		{"starts that keep it open", "0 * * * *", 2 * time.Hour, "", "2026-11-23T21:30:00Z", "2026-11-30T22:00:00Z", "2026-11-23T22:00:00Z"},
		{"a name", "@daily", time.Hour, "", "2026-11-23T00:59:00Z", "2026-11-23T01:00:00Z", "2026-11-24T00:00:00Z"},
		{"a leap day", "0 0 29 2 *", time.Hour, "", "2026-11-23T00:00:00Z", "", "2028-02-29T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := parse(t, tt.start, tt.duration, tt.zone)
			now := at(t, tt.now)
			closes, open := w.Open(now)
			if want := tt.closes != ""; open != want {
				t.Fatalf("open: %t until %v, want %t", open, closes, want)
			}
			if open && !closes.Equal(at(t, tt.closes)) {
				t.Errorf("closes %v, want %s", closes.UTC(), tt.closes)
			}
			if got := w.Opens(now); !got.Equal(at(t, tt.opens)) {
				t.Errorf("opens %v, want %s", got.UTC(), tt.opens)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		start    string
		duration time.Duration
		zone     string
		want     string
	}{
		{"0 22 * *", time.Hour, "", "is no cron expression"},
		{"99 22 * * *", time.Hour, "", "is no cron expression"},
		{"", time.Hour, "", "is no cron expression"},
		{"TZ=Asia/Tokyo 0 22 * * *", time.Hour, "", "the time zone has a field of its own"},
		{"0 0 30 2 *", time.Hour, "", "never comes"},
		{"0 22 * * *", 0, "", "from 1m to 168h0m0s"},
		{"0 22 * * *", 8 * 24 * time.Hour, "", "from 1m to 168h0m0s"},
		{"0 22 * * *", time.Hour, "Europe/Atlantis", "time zone \"Europe/Atlantis\" is unknown"},
	} {
		if _, err := window.Parse(tt.start, tt.duration, tt.zone); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q %s %q: %v, want %q", tt.start, tt.duration, tt.zone, err, tt.want)
		}
	}
}
