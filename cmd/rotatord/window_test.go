package main

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The clock of a bubble begins at midnight of the 1st of January 2000, UTC.

func TestRunWaitsForItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := doneRun()
		opened := time.Time{}
		f.running = func(request) { opened = time.Now() }
		o := call(t, f, with("run", "--window", "30 4 * * *", "--window-duration", "2h", "--window-time-zone", "Europe/Berlin", "--wait-for-window")...)
		if o.code != exitDone || f.ran != 1 {
			t.Fatalf("exit code %d, ran %d times: %s", o.code, f.ran, o.stderr)
		}
		if want := time.Date(2000, 1, 1, 3, 30, 0, 0, time.UTC); !opened.Equal(want) {
			t.Errorf("ran at %v, want %v", opened.UTC(), want)
		}
		if want := "the window is shut: waiting until 2000-01-01T04:30:00+01:00\n"; strings.Count(o.stderr, want) != 1 {
			t.Errorf("stderr does not say once %q:\n%s", want, o.stderr)
		}
	})
}

func TestRunInItsWindowDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if o := call(t, doneRun(), with("run", "--window", "@daily", "--wait-for-window")...); o.code != exitDone || !time.Now().Equal(began) {
			t.Errorf("exit code %d after %v: %s", o.code, time.Since(began), o.stderr)
		}
	})
}

func TestSignalEndsTheWaitForAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := doneRun()
		s := startSignalled(t, f, with("run", "--window", "30 4 * * *", "--wait-for-window")...)
		synctest.Wait()
		s.signals <- os.Interrupt
		if code := <-s.code; code != exitStopped || f.ran != 0 {
			t.Errorf("exit code %d, ran %d times: %s", code, f.ran, s.stderr.String())
		}
		if !strings.Contains(s.stderr.String(), "error: interrupted before the start: nothing was changed\n") {
			t.Errorf("stderr:\n%s", s.stderr.String())
		}
	})
}
