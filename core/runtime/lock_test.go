package runtime

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// fakeLock is valid until a moment that a test moves.
type fakeLock struct {
	mu    sync.Mutex
	until time.Time
	lost  chan struct{}
}

func newLock(valid time.Duration) *fakeLock {
	return &fakeLock{until: time.Now().Add(valid), lost: make(chan struct{})}
}

func (l *fakeLock) Fence() int64          { return 1 }
func (l *fakeLock) Lost() <-chan struct{} { return l.lost }
func (l *fakeLock) Err() error            { return errors.New("taken over by other/1") }

func (l *fakeLock) Valid() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

func (l *fakeLock) set(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

func TestEffectsEndBeforeTheLockDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, lock := newFake(), newLock(20*time.Second)
		began := time.Now()
		var deadlines sync.Map
		note := func(ctx context.Context, name string) {
			d, _ := ctx.Deadline()
			deadlines.Store(name, d.Sub(began))
		}
		f.do = func(ctx context.Context, e engine.Effect) error { note(ctx, e.ID); return nil }
		f.patch = func(ctx context.Context, node string, _ engine.NodePatch) error { note(ctx, node); return nil }
		f.evict = func(ctx context.Context, p engine.PodRef, _ *int64) error { note(ctx, p.Name); return nil }
		f.observe = func(ctx context.Context) (*engine.Snapshot, []model.Diagnostic, error) {
			note(ctx, "observe")
			return &engine.Snapshot{}, nil, nil
		}
		got := 0
		o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
			if n == 0 {
				return engine.Ready{Effects: []engine.Effect{
					op("terminate", engine.VerbTerminate), op("look", engine.VerbObserve), evict("pod"),
					{ID: "patch", Verb: engine.VerbPatchNode, Node: "node", Patch: &engine.NodePatch{}}}}
			}
			if got += len(in.Outcomes); got < 4 {
				return engine.Ready{}
			}
			return done
		})
		o.Lock = lock
		o.ProviderTimeout = 10 * time.Minute
		mustRun(t, o)
		// What only reads may run on while the lock is renewed.
		for name, want := range map[string]time.Duration{"terminate": 20 * time.Second, "node": 20 * time.Second, "pod": 20 * time.Second, "observe": 10 * time.Minute} {
			if d, _ := deadlines.Load(name); d != want {
				t.Errorf("%s has %v, want %v", name, d, want)
			}
		}
	})
}

func TestNoEffectStartsWithoutAValidLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, lock := newFake(), newLock(time.Minute)
		f.do = func(context.Context, engine.Effect) error { t.Error("a call was made"); return nil }
		f.evict = func(context.Context, engine.PodRef, *int64) error { t.Error("an eviction was made"); return nil }
		lock.set(time.Time{}) // the machine slept; nobody has noticed yet
		got := 0
		o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
			if n == 0 {
				return engine.Ready{Effects: []engine.Effect{op("t", engine.VerbTerminate), evict("p")}}
			}
			for _, out := range in.Outcomes {
				got++
				if out.Err == nil || out.Err.Code != engine.ErrTransient || !strings.Contains(out.Err.Message, "lock") {
					t.Errorf("outcome %+v", out.Err)
				}
			}
			if got < 2 {
				return engine.Ready{}
			}
			return done
		})
		o.Lock = lock
		mustRun(t, o)
	})
}

func TestLostLockEndsTheRun(t *testing.T) {
	tests := map[string]struct {
		inFlight bool // an effect that heeds its context
		stuck    bool // one that does not
		want     time.Duration
	}{
		"while waiting":                          {want: 0},
		"what is in flight is cut off at once":   {inFlight: true, want: 0},
		"what heeds nothing is waited for a bit": {stuck: true, want: grace + cancelled},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, lock := newFake(), newLock(time.Hour)
				var cut atomic.Bool
				release := make(chan struct{})
				f.do = func(ctx context.Context, e engine.Effect) error {
					if tc.stuck {
						<-release
						return nil
					}
					<-ctx.Done()
					cut.Store(true)
					return ctx.Err()
				}
				o := options(f, func(n int, _ time.Time, _ engine.Input) engine.Ready {
					if n > 0 {
						t.Error("a Step after the lock was lost")
					}
					if tc.inFlight || tc.stuck {
						return engine.Ready{Effects: []engine.Effect{op("t", engine.VerbTerminate)}}
					}
					return engine.Ready{}
				})
				o.Lock = lock
				began := time.Now()
				time.AfterFunc(time.Minute, func() { close(lock.lost) })
				res, err := Run(t.Context(), o)
				if res != nil || !errors.Is(err, ErrLockLost) || !strings.Contains(err.Error(), "other/1") {
					t.Errorf("got %+v, %v", res, err)
				}
				if took := time.Since(began) - time.Minute; took != tc.want {
					t.Errorf("returned %v after the loss, want %v", took, tc.want)
				}
				if cut.Load() != tc.inFlight {
					t.Errorf("cut off: %v", cut.Load())
				}
				close(release)
			})
		})
	}
}

func TestLockThatIsLostAlreadyStartsNothing(t *testing.T) {
	lock := newLock(time.Hour)
	close(lock.lost)
	o := options(newFake(), func(int, time.Time, engine.Input) engine.Ready {
		t.Error("a Step without a lock")
		return done
	})
	o.Lock = lock
	if _, err := Run(t.Context(), o); !errors.Is(err, ErrLockLost) {
		t.Error(err)
	}
}

type passing struct{ error }

func (passing) Transient() bool { return true }

func TestJournalThatCannotBeWrittenForAWhile(t *testing.T) {
	down := passing{errors.New("connection refused")}
	tests := map[string]struct {
		lock     bool
		back     time.Duration // when the journal can be written again; 0: never
		lose     time.Duration // when the lock is lost; 0: never
		stop     time.Duration // when a stop is asked for; 0: never
		cancel   time.Duration // when the context ends; 0: never
		wantErr  error
		min, max time.Duration
	}{
		"it comes back":                         {lock: true, back: 20 * time.Second, min: 20 * time.Second, max: 20*time.Second + journalPauseMost},
		"it comes back late, and the lock held": {lock: true, back: 2 * journalPatience, min: 2 * journalPatience, max: 2*journalPatience + journalPauseMost},
		"the lock is lost first":                {lock: true, lose: 25 * time.Second, wantErr: ErrLockLost, min: 25 * time.Second, max: 25 * time.Second},
		"without a lock it waits bounded":       {wantErr: ErrJournal, min: journalPatience, max: journalPatience + journalPauseMost},
		"a stop shortens the wait":              {lock: true, stop: 10 * time.Second, wantErr: ErrJournal, min: 10*time.Second + grace, max: 10*time.Second + grace + journalPauseMost},
		"the context ends":                      {lock: true, cancel: 10 * time.Second, wantErr: context.Canceled, min: 10 * time.Second, max: 10 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				began := time.Now()
				var first []uint64
				f.append = func(_ context.Context, events []event.Event) error {
					if first == nil {
						first = seqs(events)
					} else if seqs(events)[0] != first[0] {
						t.Errorf("then %v, want the same events again", seqs(events))
					}
					if tc.back > 0 && time.Since(began) >= tc.back {
						return nil
					}
					return down
				}
				ran := false
				f.do = func(context.Context, engine.Effect) error {
					if tc.back == 0 || time.Since(began) < tc.back {
						t.Error("an effect ran without its record")
					}
					ran = true
					return nil
				}
				o := options(f, func(n int, _ time.Time, in engine.Input) engine.Ready {
					if n > 0 {
						return done
					}
					return engine.Ready{Records: []event.Event{intent(1)}, Effects: []engine.Effect{op("t", engine.VerbTerminate)}}
				})
				if tc.lock {
					lock := newLock(time.Hour)
					o.Lock = lock
					if tc.lose > 0 {
						time.AfterFunc(tc.lose, func() { close(lock.lost) })
					}
				}
				if tc.stop > 0 {
					stop := make(chan struct{})
					o.Stop = stop
					time.AfterFunc(tc.stop, func() { close(stop) })
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.cancel > 0 {
					time.AfterFunc(tc.cancel, cancel)
				}
				_, err := Run(ctx, o)
				took := time.Since(began)
				if !errors.Is(err, tc.wantErr) || (tc.wantErr == nil) != ran {
					t.Errorf("got %v, want %v; the effect ran: %t", err, tc.wantErr, ran)
				}
				if took < tc.min || took > tc.max {
					t.Errorf("ended after %v, want %v to %v", took, tc.min, tc.max)
				}
			})
		})
	}
}
