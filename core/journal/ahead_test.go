package journal

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/event"
)

func TestAhead(t *testing.T) {
	setup := func(t *testing.T) (*memory, Folder, func() Log) {
		m, local := newMemory(), Folder{t.TempDir()}
		return m, local, func() Log {
			l, err := Ahead{Store: Cluster{Objects: m, Fence: 1}, Local: local}.Open(t.Context(), "r1")
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
	}
	same := func(t *testing.T, m *memory, local Folder, want []event.Event) {
		t.Helper()
		holds(t, m, want)
		got, err := local.Read(t.Context(), "r1")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("the copy (-want +got):\n%s", d)
		}
	}
	t.Run("the copy is written first, and once", func(t *testing.T) {
		m, local, open := setup(t)
		l := open()
		m.before = func(int, string, Object) error {
			if got, err := local.Read(t.Context(), "r1"); err != nil || len(got) != 2 {
				t.Errorf("the copy holds %d events while the store is written, %v", len(got), err)
			}
			return lost
		}
		for range 3 {
			if err := l.Append(t.Context(), makeEvents(1, 2)); !Transient(err) {
				t.Fatal(err)
			}
		}
		m.before = nil
		mustAppend(t, l, makeEvents(1, 2))
		mustAppend(t, l, makeEvents(3, 1))
		same(t, m, local, makeEvents(1, 3))
	})
	t.Run("what only the copy holds is handed on", func(t *testing.T) {
		m, local, open := setup(t)
		l := open()
		mustAppend(t, l, makeEvents(1, 2))
		m.before = func(int, string, Object) error { return lost }
		if err := l.Append(t.Context(), makeEvents(3, 2)); !Transient(err) {
			t.Fatal(err)
		}
		_ = l.Close(t.Context())
		m.before = nil
		l = open()
		if d := cmp.Diff(makeEvents(1, 4), l.Past()); d != "" {
			t.Error(d)
		}
		mustAppend(t, l, makeEvents(5, 1))
		same(t, m, local, makeEvents(1, 5))
	})
	t.Run("a copy that lags is brought up to date", func(t *testing.T) {
		m, local, open := setup(t)
		l := open()
		mustAppend(t, l, makeEvents(1, 2))
		_ = l.Close(t.Context())
		mustAppend(t, take(t, m, 1), makeEvents(3, 2)) // on another machine
		l = open()
		mustAppend(t, l, makeEvents(5, 1))
		same(t, m, local, makeEvents(1, 5))
	})
	t.Run("a copy that has gone another way is made anew", func(t *testing.T) {
		m, local, open := setup(t)
		l := open()
		mustAppend(t, l, makeEvents(1, 2))
		m.before = func(int, string, Object) error { return lost }
		if err := l.Append(t.Context(), makeEvents(3, 2)); !Transient(err) {
			t.Fatal(err)
		}
		_ = l.Close(t.Context())
		m.before = nil
		other := makeEvents(3, 3)
		for i := range other {
			other[i].Op = "another machine's"
		}
		mustAppend(t, take(t, m, 1), other)
		l = open()
		mustAppend(t, l, makeEvents(6, 1))
		same(t, m, local, append(append(makeEvents(1, 2), other...), makeEvents(6, 1)...))
	})
	t.Run("a folder that cannot be written ends the log", func(t *testing.T) {
		_, local, open := setup(t)
		l := open()
		if _, err := local.Open(t.Context(), "r1"); !errors.Is(err, ErrInUse) {
			t.Errorf("the copy is open: %v", err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(t.Context(), makeEvents(1, 1)); err == nil || Transient(err) {
			t.Errorf("got %v", err)
		}
	})
}
