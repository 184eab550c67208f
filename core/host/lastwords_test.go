package host

import (
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// What a driver wrote before it ended may be read after its end is known, on a
// machine that is busy.
func TestLastWordsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		e := &executable{tail: &tail{}}
		e.stderr = newLineFilter(r, newMasker(nil), e.tail)
		go func() { _, _ = io.Copy(io.Discard, e.stderr) }()
		go func() {
			time.Sleep(time.Second)
			_, _ = io.WriteString(w, "panic: out of cheese\n")
			_ = w.Close()
		}()
		if got := e.lastWords(); !slices.Equal(got, []string{"panic: out of cheese"}) {
			t.Errorf("the last words are %q", got)
		}
	})
}

// Whoever closes the output does not wait for more of it.
func TestLastWordsOfClosed(t *testing.T) {
	r, _ := io.Pipe()
	e := &executable{tail: &tail{}}
	e.stderr = newLineFilter(r, newMasker(nil), e.tail)
	_ = e.stderr.Close()
	if got := e.lastWords(); len(got) > 0 {
		t.Errorf("the last words are %q", got)
	}
}
