package journal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/event"
)

// memory is an API server in memory. before and after, where set, are called
// around each change, with its number from 1; an error of before means that
// the change is not made, one of after that its answer is lost.
type memory struct {
	mu      sync.Mutex
	objects map[string]Object
	version int
	changes int
	writes  int
	bytes   int64
	largest int64

	before, after func(n int, verb string, o Object) error
	get           func(name string) error
}

var _ Objects = (*memory)(nil)

func newMemory() *memory { return &memory{objects: map[string]Object{}} }

func clone(o Object) Object {
	o.Labels = maps.Clone(o.Labels)
	o.Data = maps.Clone(o.Data)
	for k, v := range o.Data {
		o.Data[k] = slices.Clone(v)
	}
	return o
}

func (m *memory) Where() string { return "namespace test" }

func (m *memory) Get(_ context.Context, name string) (Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.get != nil {
		if err := m.get(name); err != nil {
			return Object{}, err
		}
	}
	o, ok := m.objects[name]
	if !ok {
		return Object{}, ErrNoObject
	}
	return clone(o), nil
}

// change makes one change with its faults.
func (m *memory) change(verb string, o Object, make func() (string, error)) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	n := m.changes
	if m.before != nil {
		if err := m.before(n, verb, o); err != nil {
			return "", err
		}
	}
	v, err := make()
	if err == nil && m.after != nil {
		if lost := m.after(n, verb, o); lost != nil {
			return "", lost
		}
	}
	return v, err
}

func (m *memory) put(o Object) string {
	m.version++
	o = clone(o)
	o.Version = fmt.Sprint(m.version)
	m.objects[o.Name] = o
	m.writes++
	m.bytes += size(o)
	m.largest = max(m.largest, size(o))
	return o.Version
}

func (m *memory) Create(_ context.Context, o Object) (string, error) {
	return m.change("create", o, func() (string, error) {
		if _, ok := m.objects[o.Name]; ok {
			return "", ErrConflict
		}
		return m.put(o), nil
	})
}

func (m *memory) Update(_ context.Context, o Object) (string, error) {
	return m.change("update", o, func() (string, error) {
		old, ok := m.objects[o.Name]
		switch {
		case !ok:
			return "", ErrNoObject
		case old.Immutable:
			return "", errors.New("immutable")
		case old.Version != o.Version:
			return "", ErrConflict
		}
		return m.put(o), nil
	})
}

func (m *memory) List(_ context.Context, labels map[string]string) ([]Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Object
	for _, name := range slices.Sorted(maps.Keys(m.objects)) {
		if o := m.objects[name]; carries(o, labels) {
			list = append(list, clone(o))
		}
	}
	return list, nil
}

func (m *memory) Delete(_ context.Context, labels map[string]string) error {
	_, err := m.change("delete", Object{}, func() (string, error) {
		maps.DeleteFunc(m.objects, func(_ string, o Object) bool { return carries(o, labels) })
		return "", nil
	})
	return err
}

func carries(o Object, labels map[string]string) bool {
	for k, v := range labels {
		if o.Labels[k] != v {
			return false
		}
	}
	return true
}

// chunks are the names of all chunks, in order.
func (m *memory) chunks() []string {
	var list []string
	for name, o := range m.objects {
		if o.Labels[LabelPart] == partChunk {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func take(t *testing.T, m *memory, fence int64) Log {
	t.Helper()
	l, err := Cluster{Objects: m, Fence: fence, Writer: fmt.Sprint("writer-", fence)}.Open(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t *testing.T, l Log, events []event.Event) {
	t.Helper()
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// noise is an event whose message does not compress.
func noise(seq uint64, bytes int) event.Event {
	b := make([]byte, bytes*3/4)
	_, _ = rand.Read(b)
	e := makeEvents(seq, 1)[0]
	e.Message = base64.StdEncoding.EncodeToString(b)
	return e
}

func holds(t *testing.T, m *memory, want []event.Event) {
	t.Helper()
	got, err := Cluster{Objects: m}.Read(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the journal holds (-want +got):\n%s", diff)
	}
}

func TestClusterKeepsWhatWasAppended(t *testing.T) {
	m := newMemory()
	l := take(t, m, 1)
	if l.Past() != nil {
		t.Errorf("a new journal has a past: %v", l.Past())
	}
	mustAppend(t, l, makeEvents(1, 2))
	mustAppend(t, l, nil)
	mustAppend(t, l, makeEvents(3, 3))
	holds(t, m, makeEvents(1, 5))
	if err := l.Append(t.Context(), makeEvents(5, 1)); err == nil {
		t.Error("an event with a sequence number that is taken was appended")
	}
	mustAppend(t, l, makeEvents(6, 1)) // that was no harm
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), makeEvents(7, 1)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("append after close: %v", err)
	}
	again := take(t, m, 2)
	if diff := cmp.Diff(makeEvents(1, 6), again.Past()); diff != "" {
		t.Error(diff)
	}
	mustAppend(t, again, makeEvents(7, 1))
	holds(t, m, makeEvents(1, 7))
	if _, err := (Cluster{Objects: m}).Read(t.Context(), "r2"); !errors.Is(err, ErrNoRotation) {
		t.Errorf("a rotation that does not exist: %v", err)
	}
}

// A rotation of 5,000 nodes, as a Step each of 1 to 20 events.
func TestClusterAtFiveThousandNodes(t *testing.T) {
	const events = 40_000
	m := newMemory()
	l := take(t, m, 1)
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	var want []event.Event
	appends := 0
	for seq := uint64(1); seq <= events; {
		var group []event.Event
		for range min(1+rng.Uint64N(20), events-seq+1) {
			kind := []event.Kind{event.OpIntended, event.OpSucceeded, event.NodeDraining, event.NodeDrained, event.NodeReplaced}[rng.IntN(5)]
			node := fmt.Sprintf("ip-10-%d-%d-%d.eu-central-1.compute.internal", rng.IntN(4), rng.IntN(256), rng.IntN(256))
			group = append(group, event.Event{Seq: seq, Time: start.Add(time.Duration(seq*37) * time.Millisecond), Kind: kind, Rotation: "r20261122-120000-0a1b2c",
				Group: "workers-1", Instance: fmt.Sprintf("i-%017x", rng.Uint64()), Node: node,
				Op: fmt.Sprintf("r20261122-120000-0a1b2c-%d", seq), Verb: "patch-node", Message: "taint node " + node,
				Data: map[string]string{"cordoned": "false", "seconds": fmt.Sprint(rng.IntN(300))}})
			seq++
		}
		mustAppend(t, l, group)
		want = append(want, group...)
		appends++
	}
	holds(t, m, want)
	var kept int64
	for _, o := range m.objects {
		kept += size(o)
	}
	t.Logf("%d events in %d appends: %d writes, %.1f MiB written, %d objects of %.1f MiB kept, the largest %d bytes",
		events, appends, m.writes, float64(m.bytes)/(1<<20), len(m.objects), float64(kept)/(1<<20), m.largest)
	// Each append writes one head, each full head one chunk more.
	if most := appends + len(m.objects) + 1; m.writes > most {
		t.Errorf("%d writes, want at most %d", m.writes, most)
	}
	if m.largest > maxHead {
		t.Errorf("an object of %d bytes", m.largest)
	}
	if most := int64(appends)*maxHead*6/10 + kept; m.bytes > most {
		t.Errorf("%d bytes were written, want at most %d: the head is half full on average", m.bytes, most)
	}
	if kept > 4<<20 {
		t.Errorf("%d bytes are kept", kept)
	}
	list, err := Cluster{Objects: m}.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Events != events || list[0].Size != kept {
		t.Errorf("listed as %+v, %v; %d bytes are kept", list, err, kept)
	}
}

func TestEventsLargerThanTheHead(t *testing.T) {
	m := newMemory()
	l := take(t, m, 1)
	want := makeEvents(1, 3)
	mustAppend(t, l, want)
	// One event of 100 KiB, a group of thirty, then small ones again.
	next := []event.Event{noise(4, 100<<10)}
	mustAppend(t, l, next)
	want = append(want, next...)
	next = nil
	for i := range uint64(30) {
		next = append(next, noise(5+i, 50<<10))
	}
	mustAppend(t, l, next)
	want = append(want, next...)
	mustAppend(t, l, makeEvents(35, 2))
	want = append(want, makeEvents(35, 2)...)
	holds(t, m, want)
	if m.largest > 1<<20 {
		t.Errorf("an object of %d bytes: the API server takes 1 MiB", m.largest)
	}
	if n := len(m.chunks()); n < 4 {
		t.Errorf("%d chunks", n)
	}
	if err := l.Append(t.Context(), []event.Event{noise(37, 600<<10)}); err == nil || Transient(err) || !strings.Contains(err.Error(), "limit") {
		t.Errorf("an event of 600 KiB: %v", err)
	}
	mustAppend(t, l, makeEvents(37, 1))
	again := take(t, m, 2)
	if diff := cmp.Diff(append(want, makeEvents(37, 1)...), again.Past()); diff != "" {
		t.Error(diff)
	}
}

// A crash at each change, before or after it was made, then a new writer:
// whole groups only, none that was acknowledged is lost, and it goes on.
func TestCrashAtEachBoundary(t *testing.T) {
	groups := func() [][]event.Event {
		var list [][]event.Event
		seq := uint64(1)
		for i := range 12 {
			var g []event.Event
			for range 1 + i%3 {
				g = append(g, noise(seq, 9<<10)) // three of them fill the head
				seq++
			}
			list = append(list, g)
		}
		return append(list, []event.Event{noise(seq, 80<<10), noise(seq+1, 10)}, []event.Event{noise(seq+2, 10)})
	}()
	crash := errors.New("killed")
	// run appends from a given place until something fails.
	run := func(t *testing.T, l Log, from uint64) (acknowledged int, err error) {
		for _, g := range groups {
			if g[0].Seq > from {
				if err := l.Append(t.Context(), g); err != nil {
					return acknowledged, err
				}
			}
			acknowledged += len(g)
		}
		return acknowledged, nil
	}
	whole := newMemory()
	all, err := run(t, take(t, whole, 1), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.chunks()) < 5 {
		t.Fatalf("%d chunks: too few boundaries", len(whole.chunks()))
	}
	var want []event.Event
	for _, g := range groups {
		want = append(want, g...)
	}
	t.Logf("%d boundaries", 2*whole.changes)
	for n := 1; n <= whole.changes; n++ {
		for _, made := range []bool{false, true} {
			t.Run(fmt.Sprintf("change %d made %t", n, made), func(t *testing.T) {
				m := newMemory()
				dead := false
				fault := func(at bool) func(int, string, Object) error {
					return func(i int, _ string, _ Object) error {
						if dead || i == n && at == made {
							dead = true
							return crash
						}
						return nil
					}
				}
				m.before, m.after = fault(false), fault(true)
				m.get = func(string) error {
					if dead {
						return crash
					}
					return nil
				}
				acknowledged := 0
				if l, err := (Cluster{Objects: m, Fence: 1}).Open(t.Context(), "r1"); err == nil {
					acknowledged, err = run(t, l, 0)
					if !errors.Is(err, crash) {
						t.Fatalf("got %v", err)
					}
				}
				m.before, m.after, m.get = nil, nil, nil
				l := take(t, m, 2)
				past := l.Past()
				if len(past) < acknowledged {
					t.Fatalf("%d events are left of %d that were acknowledged", len(past), acknowledged)
				}
				var last uint64
				if len(past) > 0 {
					last = past[len(past)-1].Seq
				}
				if got, err := run(t, l, last); err != nil || got != all {
					t.Fatalf("went on to %d of %d, %v", got, all, err)
				}
				holds(t, m, want)
			})
		}
	}
}

var lost = &TransientError{errors.New("connection reset")}

func TestLostAnswers(t *testing.T) {
	tests := map[string]struct {
		before, after func(n int, verb string, o Object) error
		get           func() func(string) error
		appends       int // calls of Append until it succeeds
	}{
		"written, the answer lost": {after: once("update"), appends: 1},
		"not written":              {before: once("update"), appends: 2},
		"written, and the head cannot be read either": {after: once("update"), appends: 2,
			get: func() func(string) error {
				n := 0
				return func(string) error {
					if n++; n == 1 {
						return lost
					}
					return nil
				}
			}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			l := take(t, m, 1)
			mustAppend(t, l, makeEvents(1, 2))
			m.before, m.after = tc.before, tc.after
			if tc.get != nil {
				m.get = tc.get()
			}
			n := 0
			for ; n < 5; n++ {
				err := l.Append(t.Context(), makeEvents(3, 2))
				if err == nil {
					break
				}
				if !Transient(err) {
					t.Fatal(err)
				}
				if err := l.Append(t.Context(), makeEvents(5, 1)); err == nil || Transient(err) {
					t.Fatalf("other events while it is not known whether the last are durable: %v", err)
				}
			}
			if n+1 != tc.appends {
				t.Errorf("%d calls, want %d", n+1, tc.appends)
			}
			mustAppend(t, l, makeEvents(5, 1))
			holds(t, m, makeEvents(1, 5))
		})
	}
}

// once fails the next change of a kind with an answer that is lost.
func once(verb string) func(int, string, Object) error {
	done := false
	return func(_ int, v string, _ Object) error {
		if v != verb || done {
			return nil
		}
		done = true
		return lost
	}
}

// The late landing: an update whose answer was a timeout takes effect after the
// head was read again. The version makes the repetition a conflict, and the
// content tells that it is our own.
func TestUpdateThatLandsLate(t *testing.T) {
	m := newMemory()
	l := take(t, m, 1)
	var late Object
	m.before = func(_ int, _ string, o Object) error { late = clone(o); return lost }
	if err := l.Append(t.Context(), makeEvents(1, 2)); !Transient(err) {
		t.Fatalf("got %v", err)
	}
	m.before = nil
	if _, err := m.Update(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, makeEvents(1, 2))
	mustAppend(t, l, makeEvents(3, 1))
	holds(t, m, makeEvents(1, 3))
}

func TestTakenOver(t *testing.T) {
	t.Run("the old writer is refused, the new one goes on", func(t *testing.T) {
		m := newMemory()
		old := take(t, m, 1)
		mustAppend(t, old, makeEvents(1, 2))
		now := take(t, m, 2)
		err := old.Append(t.Context(), makeEvents(3, 1))
		if !errors.Is(err, ErrTakenOver) || Transient(err) || !strings.Contains(err.Error(), "writer-2") {
			t.Fatalf("got %v", err)
		}
		if again := old.Append(t.Context(), makeEvents(3, 1)); again != err {
			t.Errorf("then %v", again)
		}
		mustAppend(t, now, makeEvents(3, 1))
		holds(t, m, makeEvents(1, 3))
	})
	t.Run("identical events of another writer are not ours", func(t *testing.T) {
		m := newMemory()
		old := take(t, m, 1)
		mustAppend(t, take(t, m, 1), makeEvents(1, 2))
		if err := old.Append(t.Context(), makeEvents(1, 2)); !errors.Is(err, ErrTakenOver) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a lower fencing number is refused", func(t *testing.T) {
		m := newMemory()
		take(t, m, 7)
		_, err := Cluster{Objects: m, Fence: 6}.Open(t.Context(), "r1")
		if !errors.Is(err, ErrTakenOver) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the head was deleted", func(t *testing.T) {
		m := newMemory()
		l := take(t, m, 1)
		delete(m.objects, headName("r1"))
		if err := l.Append(t.Context(), makeEvents(1, 1)); !errors.Is(err, ErrTakenOver) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a label is no takeover", func(t *testing.T) {
		m := newMemory()
		l := take(t, m, 1)
		mustAppend(t, l, makeEvents(1, 1))
		o := m.objects[headName("r1")]
		o.Labels["team"] = "a"
		m.put(o)
		mustAppend(t, l, makeEvents(2, 1))
		holds(t, m, makeEvents(1, 2))
	})
	t.Run("a label all the time ends the try", func(t *testing.T) {
		m := newMemory()
		l := take(t, m, 1)
		m.before = func(_ int, _ string, o Object) error { m.put(m.objects[o.Name]); return nil }
		if err := l.Append(t.Context(), makeEvents(1, 1)); !Transient(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the permission was taken away", func(t *testing.T) {
		m := newMemory()
		l := take(t, m, 1)
		denied := errors.New("forbidden")
		m.before = func(int, string, Object) error { return denied }
		if err := l.Append(t.Context(), makeEvents(1, 1)); !errors.Is(err, denied) || Transient(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOpenWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.before = func(n int, _ string, _ Object) error {
			if n < openTries {
				return lost
			}
			return nil
		}
		began := time.Now()
		take(t, m, 1)
		if took := time.Since(began); took != 15*openPause {
			t.Errorf("took %v", took)
		}
		m.before = func(int, string, Object) error { return lost }
		if _, err := (Cluster{Objects: m, Fence: 1}).Open(t.Context(), "r1"); !Transient(err) {
			t.Errorf("got %v", err)
		}
		// An answer that is lost while the journal is taken.
		m.before, m.after = nil, once("update")
		mustAppend(t, take(t, m, 2), makeEvents(1, 1))
		holds(t, m, makeEvents(1, 1))
	})
}

func TestDamageNamesTheObject(t *testing.T) {
	filled := func() *memory {
		m := newMemory()
		l := take(t, m, 1)
		for seq := range uint64(16) {
			mustAppend(t, l, []event.Event{noise(seq+1, 9<<10)})
		}
		return m
	}
	flip := func(m *memory, name, key string) {
		o := clone(m.objects[name])
		o.Data[key][len(o.Data[key])/2] ^= 1
		m.objects[name] = o
	}
	tests := map[string]func(m *memory) (name string){
		"a chunk is missing":      func(m *memory) string { n := m.chunks()[1]; delete(m.objects, n); return n },
		"the first is missing":    func(m *memory) string { n := m.chunks()[0]; delete(m.objects, n); return n },
		"the last is missing":     func(m *memory) string { c := m.chunks(); n := c[len(c)-1]; delete(m.objects, n); return n },
		"a bit of a chunk":        func(m *memory) string { n := m.chunks()[1]; flip(m, n, keyEvents); return n },
		"a bit of a chunk's link": func(m *memory) string { n := m.chunks()[1]; flip(m, n, keyHeader); return n },
		"a chunk without events":  func(m *memory) string { n := m.chunks()[0]; delete(m.objects[n].Data, keyEvents); return n },
		"a bit of the head":       func(m *memory) string { flip(m, headName("r1"), keyEvents); return headName("r1") },
		"a bit of the header":     func(m *memory) string { flip(m, headName("r1"), keyHeader); return headName("r1") },
		"a head without a header": func(m *memory) string { delete(m.objects[headName("r1")].Data, keyHeader); return headName("r1") },
		"a chunk in another's name": func(m *memory) string {
			c := m.chunks()
			o := clone(m.objects[c[2]])
			o.Name = c[1]
			m.objects[c[1]] = o
			return c[1]
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			m := filled()
			where := damage(m)
			_, err := Cluster{Objects: m, Fence: 2}.Open(t.Context(), "r1")
			if _, ok := errors.AsType[*CorruptError](err); !ok || !strings.Contains(err.Error(), where) {
				t.Errorf("got %v, want an error that names %s", err, where)
			}
			if _, rerr := (Cluster{Objects: m}).Read(t.Context(), "r1"); rerr == nil {
				t.Error("it can be read")
			}
			list, err := Cluster{Objects: m}.List(t.Context())
			if err != nil || len(list) != 1 || list[0].Rotation != "r1" {
				t.Errorf("listed as %+v, %v", list, err)
			}
		})
	}
}

func TestChunkThatIsThereAlready(t *testing.T) {
	// The crash between chunk and head is in TestCrashAtEachBoundary. Here another
	// version of rotator made the chunk and compressed it otherwise.
	m := newMemory()
	l := take(t, m, 1)
	var seq uint64
	for len(m.chunks()) == 0 {
		var made Object
		m.before = func(_ int, verb string, o Object) error {
			if verb == "create" {
				made = clone(o)
				s := newStream()
				raw, err := inflate(o.Data[keyEvents])
				if err != nil {
					t.Fatal(err)
				}
				s.add(raw[:100])
				s.add(raw[100:])
				made.Data[keyEvents] = s.bytes()
				m.put(made)
			}
			return nil
		}
		seq++
		mustAppend(t, l, []event.Event{noise(seq, 9<<10)})
	}
	m.before = nil
	if got, err := (Cluster{Objects: m}).Read(t.Context(), "r1"); err != nil || len(got) != int(seq) {
		t.Errorf("%d events of %d, %v", len(got), seq, err)
	}
	// And one with other lines under the same name is damage.
	m = newMemory()
	l = take(t, m, 1)
	m.before = func(_ int, verb string, o Object) error {
		if verb == "create" {
			o = clone(o)
			s := newStream()
			s.add([]byte("other"))
			o.Data[keyEvents] = s.bytes()
			m.put(o)
		}
		return nil
	}
	for seq := range uint64(5) {
		if err := l.Append(t.Context(), []event.Event{noise(seq+1, 9<<10)}); err != nil {
			if _, ok := errors.AsType[*CorruptError](err); !ok {
				t.Error(err)
			}
			return
		}
	}
	t.Error("a chunk with other lines was taken for ours")
}

func TestListReadPrune(t *testing.T) {
	for name, store := range map[string]Store{"cluster": Cluster{Objects: newMemory()}, "folder": Folder{t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			ids := []string{"r1", "R2_with.dots", strings.Repeat("x", 128), "r4", "r5"}
			for i, id := range ids {
				l, err := store.Open(ctx, id)
				if err != nil {
					t.Fatal(err)
				}
				events := []event.Event{{Seq: 1, Time: start.Add(time.Duration(i) * time.Hour), Kind: event.RotationStarted, Data: map[string]string{"cluster": "prod"}}}
				for seq := range uint64(10) {
					e := noise(seq+2, 9<<10)
					e.Time = start.Add(time.Duration(i) * time.Hour)
					events = append(events, e)
				}
				if i%2 == 0 {
					events = append(events, event.Event{Seq: 12, Time: start.Add(time.Duration(i) * time.Hour), Kind: event.RotationFinished, Code: "done"})
				}
				for _, e := range events {
					mustAppend(t, l, []event.Event{e})
				}
				if err := l.Close(ctx); err != nil {
					t.Fatal(err)
				}
				if got, err := store.Read(ctx, id); err != nil || len(got) != len(events) {
					t.Errorf("%s: %d events, %v", id, len(got), err)
				}
				if f, ok := store.(Folder); ok { // files are told apart by their time
					at := start.Add(time.Duration(i) * time.Hour)
					if err := os.Chtimes(filepath.Join(f.Path, id+suffix), at, at); err != nil {
						t.Fatal(err)
					}
				}
			}
			list, err := store.List(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range list {
				got = append(got, fmt.Sprint(e.Rotation, " ", e.Cluster, " ", e.Status, " ", e.Started.Equal(start.Add(time.Duration(len(ids)-1-len(got))*time.Hour))))
				if e.Size < 60<<10 || e.Events < 11 || e.Where == "" || e.Problem != "" {
					t.Errorf("%+v", e)
				}
			}
			want := []string{"r5 prod done true", "r4 prod unfinished true", ids[2] + " prod done true", ids[1] + " prod unfinished true", "r1 prod done true"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if err := store.Prune(ctx, 1, "r4"); err != nil {
				t.Fatal(err)
			}
			list, err = store.List(ctx)
			if err != nil || len(list) != 2 || list[0].Rotation != "r5" || list[1].Rotation != "r4" {
				t.Errorf("kept %+v, %v", list, err)
			}
			for i, id := range ids {
				events, err := store.Read(ctx, id)
				if i < 3 && !errors.Is(err, ErrNoRotation) || i >= 3 && (err != nil || len(events) < 11) {
					t.Errorf("%s after pruning: %d events, %v", id, len(events), err)
				}
			}
			if c, ok := store.(Cluster); ok {
				m := c.Objects.(*memory)
				for name, o := range m.objects {
					if r := o.Labels[LabelRotation]; r != "r4" && r != "r5" {
						t.Errorf("%s is left", name)
					}
					if len(o.Labels[LabelRotation]) > 63 {
						t.Errorf("label %q", o.Labels[LabelRotation])
					}
				}
			}
			if _, err := store.Read(ctx, "../x"); !errors.Is(err, ErrNoRotation) {
				t.Errorf("a path: %v", err)
			}
		})
	}
}

func TestSlug(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range []string{"r1", "R1", "r.1", "r_1", "r-1", "r1-", strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 128), "r20261122-120000-0a1b2c"} {
		s := slug(id)
		if !plain.MatchString(s) || seen[s] {
			t.Errorf("%s: %q", id, s)
		}
		seen[s] = true
	}
	if slug("r20261122-120000-0a1b2c") != "r20261122-120000-0a1b2c" {
		t.Error("an ordinary id is changed")
	}
}

func FuzzInflate(f *testing.F) {
	s := newStream()
	f.Add(s.bytes())
	s.add([]byte("one"))
	s.add([]byte("two"))
	f.Add(s.bytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		_, _ = inflate(p)
		s := newStream()
		s.add(p)
		s.add(p)
		if got, err := inflate(s.bytes()); err != nil || string(got) != string(p)+string(p) {
			t.Errorf("%q became %q, %v", p, got, err)
		}
	})
}
