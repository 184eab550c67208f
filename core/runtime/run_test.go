package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// script is an engine that does what a test says. n counts the Steps from 0.
type script struct {
	step func(n int, now time.Time, in engine.Input) engine.Ready
	n    int
	busy atomic.Bool
}

func (s *script) Step(now time.Time, in engine.Input) engine.Ready {
	if !s.busy.CompareAndSwap(false, true) {
		panic("two Steps at once")
	}
	defer s.busy.Store(false)
	n := s.n
	s.n++
	return s.step(n, now, in)
}

// fake is every port at once. Nil hooks succeed at once.
type fake struct {
	changes chan engine.Input
	observe func(ctx context.Context) (*engine.Snapshot, []model.Diagnostic, error)
	do      func(ctx context.Context, e engine.Effect) error
	patch   func(ctx context.Context, node string, p engine.NodePatch) error
	evict   func(ctx context.Context, pod engine.PodRef, grace *int64) error
	append  func(ctx context.Context, events []event.Event) error

	mu        sync.Mutex
	rotation  string
	restarted []string
	deleted   []engine.PodRef
	forgotten []string // name/uid of nodes
	// deleteNode is what DeleteNode answers.
	deleteNode error
}

func newFake() *fake { return &fake{changes: make(chan engine.Input)} }

func (f *fake) Observe(ctx context.Context, _ time.Duration) (*engine.Snapshot, []model.Diagnostic, error) {
	if f.observe == nil {
		return &engine.Snapshot{}, nil, nil
	}
	return f.observe(ctx)
}

func (f *fake) Do(ctx context.Context, rotation string, e engine.Effect) error {
	f.mu.Lock()
	f.rotation = rotation
	f.mu.Unlock()
	if f.do == nil {
		return nil
	}
	return f.do(ctx, e)
}
func (f *fake) Start(context.Context) error  { return nil }
func (f *fake) Inventory() model.Inventory   { return model.Inventory{} }
func (f *fake) Changes() <-chan engine.Input { return f.changes }
func (f *fake) Publish([]event.Event)        {}
func (f *fake) Append(ctx context.Context, e []event.Event) error {
	if f.append == nil {
		return nil
	}
	return f.append(ctx, e)
}

func (f *fake) PatchNode(ctx context.Context, node string, p engine.NodePatch) error {
	if f.patch == nil {
		return nil
	}
	return f.patch(ctx, node, p)
}

func (f *fake) PatchWorkload(_ context.Context, k model.WorkloadKey, p engine.WorkloadPatch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restarted = append(f.restarted, k.Name+" "+p.Restart)
	return nil
}

func (f *fake) Evict(ctx context.Context, pod engine.PodRef, grace *int64) error {
	if f.evict == nil {
		return nil
	}
	return f.evict(ctx, pod, grace)
}

func (f *fake) DeletePod(_ context.Context, pod engine.PodRef, _ *int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = append(f.deleted, pod)
	return nil
}

func (f *fake) DeleteNode(_ context.Context, node, uid string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten = append(f.forgotten, node+"/"+uid)
	return f.deleteNode
}

func (f *fake) CheckAPI(context.Context) error { return nil }

var (
	_ Provider = (*fake)(nil)
	_ Cluster  = (*fake)(nil)
	_ Journal  = (*fake)(nil)
	_ Sink     = (*fake)(nil)
)

type sinkFunc func([]event.Event)

func (f sinkFunc) Publish(events []event.Event) { f(events) }

func options(f *fake, step func(n int, now time.Time, in engine.Input) engine.Ready) Options {
	return Options{Rotation: "r1", Engine: &script{step: step}, Provider: f, Cluster: f, Journal: f}
}

var done = engine.Ready{Done: &engine.Result{Status: engine.StatusDone}}

func evict(name string) engine.Effect {
	return engine.Effect{Verb: engine.VerbEvict, Pod: pod(name)}
}

func pod(name string) engine.PodRef {
	return engine.PodRef{PodKey: model.PodKey{Namespace: "ns", Name: name}, UID: "uid-" + name}
}

func op(id string, verb engine.Verb) engine.Effect { return engine.Effect{ID: id, Verb: verb} }

func intent(seq uint64) event.Event { return event.Event{Seq: seq, Kind: event.OpIntended} }
func seqs(events []event.Event) []uint64 {
	var list []uint64
	for _, e := range events {
		list = append(list, e.Seq)
	}
	return list
}

// mustRun runs to the end that the script has, in virtual time.
func mustRun(t *testing.T, o Options) *engine.Result {
	t.Helper()
	res, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestFirstStepGetsTheInitialInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(newFake(), func(n int, _ time.Time, in engine.Input) engine.Ready {
			if len(in.Nodes) != 1 || in.Snapshot == nil || in.Stop {
				t.Errorf("first input: %+v", in)
			}
			return done
		})
		o.Initial = engine.Input{Nodes: []model.Node{{Name: "n1"}}, Snapshot: &engine.Snapshot{}}
		if res := mustRun(t, o); res.Status != engine.StatusDone {
			t.Errorf("result: %+v", res)
		}
	})
}

// The order that everything rests on: durable, then published, then done.
func TestEffectsWaitForTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var durable atomic.Uint64 // the last Seq whose Append has returned
		var appended [][]uint64
		f.append = func(_ context.Context, events []event.Event) error {
			time.Sleep(time.Second) // effects that do not wait would run now
			appended = append(appended, seqs(events))
			durable.Store(events[len(events)-1].Seq)
			return nil
		}
		var ran []string
		f.do = func(_ context.Context, e engine.Effect) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if want := map[string]uint64{"a": 2, "b": 5}[e.ID]; durable.Load() < want {
				t.Errorf("effect %s ran when %d was durable, it needs %d", e.ID, durable.Load(), want)
			}
			ran = append(ran, e.ID)
			return nil
		}
		f.evict = func(context.Context, engine.PodRef, *int64) error {
			if durable.Load() < 5 {
				t.Errorf("an eviction ran when %d was durable", durable.Load())
			}
			return nil
		}
		var published []uint64
		o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
			switch n {
			case 0:
				return engine.Ready{
					Records: []event.Event{intent(1), intent(2)},
					Effects: []engine.Effect{op("a", engine.VerbTerminate)},
				}
			case 1:
				return engine.Ready{
					Records: []event.Event{{Seq: 3, Kind: event.PodEvicted}, intent(4), intent(5), {Seq: 6, Kind: event.Waiting}},
					Effects: []engine.Effect{op("b", engine.VerbSetSurge), evict("p")},
				}
			case 2: // nothing durable: the journal is not called
				return engine.Ready{Records: []event.Event{{Seq: 7, Kind: event.Waiting}}, WakeAt: time.Now().Add(time.Second)}
			}
			return done
		})
		o.Sinks = []Sink{sinkFunc(func(events []event.Event) {
			for _, e := range events {
				if e.Kind.Durable() && durable.Load() < e.Seq {
					t.Errorf("event %d was published when %d was durable", e.Seq, durable.Load())
				}
			}
			published = append(published, seqs(events)...)
		})}
		mustRun(t, o)
		if diff := cmp.Diff([][]uint64{{1, 2}, {4, 5}}, appended); diff != "" {
			t.Error("appended: ", diff)
		}
		if diff := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6, 7}, published); diff != "" {
			t.Error("published: ", diff)
		}
		if diff := cmp.Diff([]string{"a", "b"}, ran); diff != "" || f.rotation != "r1" {
			t.Error("ran: ", diff, f.rotation)
		}
	})
}

func TestJournalErrorStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		full := errors.New("disk full")
		f.append = func(_ context.Context, events []event.Event) error {
			if events[0].Seq == 2 {
				return full
			}
			return nil
		}
		var ran []string
		f.do = func(ctx context.Context, e engine.Effect) error {
			f.mu.Lock()
			ran = append(ran, e.ID)
			f.mu.Unlock()
			if e.ID == "slow" {
				time.Sleep(3 * time.Second) // in flight when the journal fails: it may end
				return ctx.Err()
			}
			return nil
		}
		var published []uint64
		o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
			if n == 0 {
				return engine.Ready{Records: []event.Event{intent(1)}, Effects: []engine.Effect{op("slow", engine.VerbPrepare), op("quick", engine.VerbPrepare)}}
			}
			return engine.Ready{Records: []event.Event{intent(2)}, Effects: []engine.Effect{op("never", engine.VerbTerminate), evict("never")}}
		})
		o.Sinks = []Sink{sinkFunc(func(events []event.Event) { published = append(published, seqs(events)...) })}
		f.evict = func(context.Context, engine.PodRef, *int64) error { t.Error("an eviction ran"); return nil }
		began := time.Now()
		res, err := Run(t.Context(), o)
		if res != nil || !errors.Is(err, ErrJournal) || !errors.Is(err, full) || !strings.Contains(err.Error(), "r1") {
			t.Fatalf("got %+v, %v", res, err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("returned after %v, want 3s: what was in flight", took)
		}
		slices.Sort(ran)
		if diff := cmp.Diff([]string{"quick", "slow"}, ran); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]uint64{1}, published); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEachEffectHasOneOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		classifiedErr := &engine.Error{Code: engine.ErrHeld, Message: "held by r0"}
		f.do = func(ctx context.Context, e engine.Effect) error {
			switch e.ID {
			case "held":
				return fmt.Errorf("call: %w", classifiedErr)
			case "plain":
				return errors.New("boom")
			case "panic":
				panic("nil map")
			case "hangs":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		f.observe = func(context.Context) (*engine.Snapshot, []model.Diagnostic, error) { return nil, nil, nil }
		f.patch = func(context.Context, string, engine.NodePatch) error { panic(errors.New("in patch")) }
		effects := []engine.Effect{
			op("ok", engine.VerbTerminate), op("held", engine.VerbPrepare), op("plain", engine.VerbRestore),
			op("panic", engine.VerbSetSurge), op("hangs", engine.VerbTerminate), op("nothing", engine.VerbObserve),
			{ID: "patch", Verb: engine.VerbPatchNode, Node: "n1", Patch: &engine.NodePatch{}},
			{ID: "no-goal", Verb: engine.VerbPatchNode, Node: "n1"},
			op("odd", "dance"), evict("p1"), {Verb: engine.VerbDeletePod, Pod: pod("p2")},
		}
		got := map[string]string{}
		var last time.Duration
		began := time.Now()
		o := options(f, func(n int, now time.Time, in engine.Input) engine.Ready {
			if n == 0 {
				return engine.Ready{Effects: effects}
			}
			if in.Snapshot != nil {
				t.Error("a snapshot from nothing")
			}
			for _, out := range in.Outcomes {
				name := out.ID + out.Pod.Name
				if _, twice := got[name]; twice {
					t.Errorf("second outcome of %s", name)
				}
				got[name] = string(out.Verb)
				if out.Err != nil {
					got[name] += " " + string(out.Err.Code)
				}
			}
			if len(got) < len(effects) {
				return engine.Ready{}
			}
			if last == 0 {
				last = now.Sub(began)
				return engine.Ready{WakeAt: now.Add(time.Hour)} // a second outcome would come now
			}
			return done
		})
		o.ProviderTimeout = time.Minute
		var log strings.Builder
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		mustRun(t, o)
		want := map[string]string{
			"ok": "terminate", "held": "prepare held", "plain": "restore transient", "panic": "set-surge transient",
			"hangs": "terminate transient", "nothing": "observe transient", "patch": "patch-node transient",
			"no-goal": "patch-node unsupported", "odd": "dance unsupported", "p1": "evict", "p2": "delete-pod",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if last != time.Minute {
			t.Errorf("the hanging call ended after %v, want 1m", last)
		}
		if !strings.Contains(log.String(), "nil map") || !strings.Contains(log.String(), "run_test.go") {
			t.Errorf("the log lacks the panic and its stack: %s", log.String())
		}
		if diff := cmp.Diff([]engine.PodRef{pod("p2")}, f.deleted); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSnapshotComesWithItsOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.observe = func(context.Context) (*engine.Snapshot, []model.Diagnostic, error) {
			return &engine.Snapshot{Groups: []model.NodeGroup{{ID: "g"}}},
				[]model.Diagnostic{{Severity: model.SeverityWarning, Code: "managed", Object: "mng-1", Summary: "group mng-1 is skipped"}}, nil
		}
		var log strings.Builder
		o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
			if n < 3 {
				if n > 0 && (in.Snapshot == nil || in.Snapshot.Groups[0].ID != "g" || len(in.Outcomes) != 1 || in.Outcomes[0].ID != fmt.Sprint(n-1)) {
					t.Errorf("step %d: %+v", n, in)
				}
				return engine.Ready{Effects: []engine.Effect{op(fmt.Sprint(n), engine.VerbObserve)}}
			}
			return done
		})
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		mustRun(t, o)
		if n := strings.Count(log.String(), "group mng-1 is skipped"); n != 1 {
			t.Errorf("the diagnostic was logged %d times, want once", n)
		}
	})
}

func TestWakeAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		o := options(newFake(), func(n int, now time.Time, in engine.Input) engine.Ready {
			at = append(at, now.Sub(began))
			switch n {
			case 0:
				return engine.Ready{WakeAt: now.Add(7 * time.Minute)}
			case 1:
				return engine.Ready{WakeAt: now.Add(-time.Hour)} // the past: soon, but no spinning
			case 2: // zero: only an input wakes; the earlier time must not
				return engine.Ready{Effects: []engine.Effect{op("o", engine.VerbObserve)}}
			}
			return done
		})
		f := o.Provider.(*fake)
		f.observe = func(context.Context) (*engine.Snapshot, []model.Diagnostic, error) {
			time.Sleep(10 * time.Minute)
			return &engine.Snapshot{}, nil, nil
		}
		mustRun(t, o)
		want := []time.Duration{0, 7 * time.Minute, 7*time.Minute + minWake, 17*time.Minute + minWake}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

// What arrives while a Step's records are being written is one input.
func TestInputsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.append = func(context.Context, []event.Event) error {
			time.Sleep(10 * time.Second)
			return nil
		}
		o := options(f, func(n int, now time.Time, in engine.Input) engine.Ready {
			switch n {
			case 0:
				return engine.Ready{Effects: []engine.Effect{evict("a"), evict("b"), op("o", engine.VerbObserve)}, WakeAt: now.Add(time.Millisecond)}
			case 1: // by time: the effects take a second; they end while this is written
				return engine.Ready{Records: []event.Event{intent(1)}}
			case 2:
				if len(in.Outcomes) != 3 || in.Snapshot == nil || len(in.Nodes) != 1 || len(in.PodsGone) != 1 || !in.Stop {
					t.Errorf("got %+v, want three outcomes, the snapshot, one value of changes, and the stop", in)
				}
				return engine.Ready{}
			case 3: // the second value of changes, and nothing twice
				if len(in.Outcomes) != 0 || in.Snapshot != nil || len(in.Nodes) != 1 || in.Nodes[0].Name != "n2" || len(in.PodsGone) != 0 || in.Stop {
					t.Errorf("got %+v, want the second value of changes alone", in)
				}
			}
			return done
		})
		slow := func() { time.Sleep(time.Second) }
		f.evict = func(context.Context, engine.PodRef, *int64) error { slow(); return nil }
		f.observe = func(context.Context) (*engine.Snapshot, []model.Diagnostic, error) {
			slow()
			return &engine.Snapshot{}, nil, nil
		}
		stop := make(chan struct{})
		o.Stop = stop
		go func() {
			time.Sleep(2 * time.Second)
			close(stop)
		}()
		go func() {
			time.Sleep(2 * time.Second)
			f.changes <- engine.Input{Nodes: []model.Node{{Name: "n1"}}, PodsGone: []engine.PodRef{pod("x")}}
			f.changes <- engine.Input{Nodes: []model.Node{{Name: "n2"}}}
		}()
		mustRun(t, o)
	})
}

func TestStopIsDeliveredOnce(t *testing.T) {
	for name, before := range map[string]bool{"before the start": true, "while it runs": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				if before {
					close(stop)
				} else {
					time.AfterFunc(time.Minute, func() { close(stop) })
				}
				began := time.Now()
				var stops []time.Duration
				o := options(newFake(), func(n int, now time.Time, in engine.Input) engine.Ready {
					if in.Stop {
						stops = append(stops, now.Sub(began))
					}
					if n == 5 {
						return done
					}
					return engine.Ready{WakeAt: now.Add(25 * time.Second)}
				})
				o.Stop = stop
				mustRun(t, o)
				want := []time.Duration{time.Minute}
				if before {
					want[0] = 0
				}
				if diff := cmp.Diff(want, stops); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAbortIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		abort := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(abort) })
		began := time.Now()
		var undos []time.Duration
		o := options(newFake(), func(n int, now time.Time, in engine.Input) engine.Ready {
			if in.Undo {
				undos = append(undos, now.Sub(began))
			}
			if n == 5 {
				return done
			}
			return engine.Ready{WakeAt: now.Add(25 * time.Second)}
		})
		o.Abort = abort
		mustRun(t, o)
		if diff := cmp.Diff([]time.Duration{time.Minute}, undos); diff != "" {
			t.Error(diff)
		}
	})
}

func TestContextEnd(t *testing.T) {
	cases := map[string]struct {
		takes time.Duration // of the effect in flight
		heeds bool          // it ends when it is cut off
		verb  engine.Verb
		want  time.Duration // from the cancel to the return
		cut   bool
	}{
		"what ends within the grace may end": {takes: 63 * time.Second, verb: engine.VerbTerminate, want: 3 * time.Second},
		"what does not is cut off":           {takes: time.Hour, heeds: true, verb: engine.VerbTerminate, want: grace, cut: true},
		"what does not heed that is left":    {takes: 62*time.Second + grace, verb: engine.VerbTerminate, want: grace + cancelled, cut: true},
		"what only reads is cut off at once": {takes: time.Hour, heeds: true, verb: engine.VerbObserve, want: 0, cut: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				var cut atomic.Bool
				call := func(ctx context.Context) error {
					timer := time.NewTimer(c.takes)
					defer timer.Stop()
					cutOff := ctx.Done()
					for {
						select {
						case <-timer.C:
							return nil
						case <-cutOff:
							cut.Store(true)
							if c.heeds {
								return ctx.Err()
							}
							cutOff = nil
						}
					}
				}
				f.do = func(ctx context.Context, _ engine.Effect) error { return call(ctx) }
				f.observe = func(ctx context.Context) (*engine.Snapshot, []model.Diagnostic, error) {
					return nil, nil, call(ctx)
				}
				o := options(f, func(n int, _ time.Time, _ engine.Input) engine.Ready {
					if n > 0 {
						t.Error("a Step after the end of the context")
					}
					return engine.Ready{Effects: []engine.Effect{op("x", c.verb)}}
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				began := time.Now()
				time.AfterFunc(time.Minute, func() { cancel(nil) })
				res, err := Run(ctx, o)
				if res != nil || !errors.Is(err, context.Canceled) {
					t.Errorf("got %+v, %v", res, err)
				}
				if took := time.Since(began) - time.Minute; took != c.want {
					t.Errorf("returned %v after the cancel, want %v", took, c.want)
				}
				if cut.Load() != c.cut {
					t.Errorf("cut off: %v, want %v", cut.Load(), c.cut)
				}
				time.Sleep(time.Hour) // what was left ends before the test does
			})
		})
	}
}

func TestContextThatEndedStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := options(newFake(), func(int, time.Time, engine.Input) engine.Ready {
		t.Error("a Step after the end of the context")
		return done
	})
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLanesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var now, most [lanes]atomic.Int64
		hold := func(l lane) {
			n := now[l].Add(1)
			for m := most[l].Load(); n > m && !most[l].CompareAndSwap(m, n); m = most[l].Load() {
			}
			time.Sleep(time.Second)
			now[l].Add(-1)
		}
		f.do = func(context.Context, engine.Effect) error { hold(laneProvider); return nil }
		f.patch = func(context.Context, string, engine.NodePatch) error { hold(laneNodes); return nil }
		f.evict = func(context.Context, engine.PodRef, *int64) error { hold(lanePods); return nil }
		var effects []engine.Effect
		for i := range 200 {
			effects = append(effects,
				op(fmt.Sprint("t", i), engine.VerbTerminate),
				engine.Effect{ID: fmt.Sprint("p", i), Verb: engine.VerbPatchNode, Patch: &engine.NodePatch{}},
				evict(fmt.Sprint("e", i)))
		}
		outcomes := 0
		o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
			outcomes += len(in.Outcomes)
			switch {
			case n == 0:
				return engine.Ready{Effects: effects}
			case outcomes < len(effects):
				return engine.Ready{}
			}
			return done
		})
		mustRun(t, o)
		if outcomes != len(effects) {
			t.Errorf("%d outcomes of %d effects", outcomes, len(effects))
		}
		for l := range lanes {
			if got := most[l].Load(); got != int64(width[l]) {
				t.Errorf("lane %d: %d at once, want %d", l, got, width[l])
			}
		}
	})
}

func TestEffectsThatWaitAreDroppedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var ran atomic.Int64
		f.evict = func(context.Context, engine.PodRef, *int64) error {
			ran.Add(1)
			time.Sleep(time.Second)
			return nil
		}
		o := options(f, func(n int, now time.Time, in engine.Input) engine.Ready {
			if n > 0 {
				return done
			}
			var effects []engine.Effect
			for i := range width[lanePods] + 10 {
				effects = append(effects, evict(fmt.Sprint(i)))
			}
			return engine.Ready{Effects: effects, WakeAt: now.Add(time.Millisecond)}
		})
		mustRun(t, o)
		if got := ran.Load(); got != int64(width[lanePods]) {
			t.Errorf("%d evictions ran, want %d", got, width[lanePods])
		}
	})
}

func TestSinks(t *testing.T) {
	// Each Step publishes one event, sinkQueue+20 of them, a millisecond apart.
	const steps = sinkQueue + 20
	run := func(t *testing.T, log *strings.Builder, sinks ...Sink) time.Duration {
		o := options(newFake(), func(n int, now time.Time, in engine.Input) engine.Ready {
			r := engine.Ready{Records: []event.Event{{Seq: uint64(n + 1), Kind: event.Waiting}}, WakeAt: now.Add(time.Millisecond)}
			if n == steps-1 {
				r.Done = done.Done
			}
			return r
		})
		o.Sinks, o.Log = sinks, slog.New(slog.NewTextHandler(log, nil))
		began := time.Now()
		mustRun(t, o)
		return time.Since(began)
	}
	whole := func(t *testing.T, got []uint64, n int) {
		t.Helper()
		if len(got) != n {
			t.Errorf("%d events, want %d", len(got), n)
		}
		for i, seq := range got {
			if seq != uint64(i+1) {
				t.Fatalf("event %d in place %d", seq, i+1)
			}
		}
	}
	t.Run("a slow one gets everything in order", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var got []uint64
			var log strings.Builder
			run(t, &log, sinkFunc(func(e []event.Event) {
				got = append(got, seqs(e)...)
				time.Sleep(4 * time.Millisecond)
			}))
			whole(t, got, steps)
		})
	})
	t.Run("a stuck one holds up the rotation for a bounded time and is then left out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var stuck, other []uint64
			var log strings.Builder
			took := run(t, &log,
				sinkFunc(func(e []event.Event) { <-release; stuck = append(stuck, seqs(e)...) }),
				sinkFunc(func(e []event.Event) { other = append(other, seqs(e)...) }))
			if most := 2*sinkPatience + steps*time.Millisecond; took > most {
				t.Errorf("took %v, want at most %v", took, most)
			}
			whole(t, other, steps)
			if strings.Count(log.String(), "sink does not take its events") != 1 {
				t.Errorf("log: %s", log.String())
			}
			close(release)
			synctest.Wait()
			whole(t, stuck, sinkQueue+1) // no gap
		})
	})
	t.Run("one that is too slow uses its patience up once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var got []uint64
			var log strings.Builder
			took := run(t, &log, sinkFunc(func(e []event.Event) {
				got = append(got, seqs(e)...)
				time.Sleep(time.Second)
			}))
			if most := 2*sinkPatience + steps*time.Millisecond; took > most {
				t.Errorf("took %v, want at most %v", took, most)
			}
			time.Sleep(time.Hour)
			if len(got) >= steps {
				t.Error("it got everything")
			}
			whole(t, got, len(got))
		})
	})
	t.Run("one that panics ends alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var other []uint64
			var log strings.Builder
			took := run(t, &log, sinkFunc(func([]event.Event) { panic("sink") }),
				sinkFunc(func(e []event.Event) { other = append(other, seqs(e)...) }))
			whole(t, other, steps)
			if took > steps*time.Millisecond {
				t.Errorf("took %v", took)
			}
			if !strings.Contains(log.String(), "panic in a sink") {
				t.Errorf("log: %s", log.String())
			}
		})
	})
}
