package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// memoryLease is the API server's one Lease, in memory: HTTP cannot be waited
// for in virtual time.
type memoryLease struct {
	mu    sync.Mutex
	lease *coordinationv1.Lease
	rv    int
	// fail, where set, is asked before each call; lose after each change, whose
	// answer is lost then.
	fail, lose func(verb string) error
	slow       time.Duration // of each change
}

var leaseResource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

func (m *memoryLease) call(verb string, change func() error) error {
	m.mu.Lock()
	fail, lose, slow := m.fail, m.lose, m.slow
	m.mu.Unlock()
	if fail != nil {
		if err := fail(verb); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := change()
	m.mu.Unlock()
	if verb != "get" {
		time.Sleep(slow)
		if err == nil && lose != nil {
			return lose(verb)
		}
	}
	return err
}

func (m *memoryLease) get(context.Context) (l *coordinationv1.Lease, err error) {
	err = m.call("get", func() error {
		if m.lease == nil {
			return apierrors.NewNotFound(leaseResource, leaseName)
		}
		l = m.lease.DeepCopy()
		return nil
	})
	return l, err
}

func (m *memoryLease) put(l *coordinationv1.Lease) *coordinationv1.Lease {
	m.rv++
	m.lease = l.DeepCopy()
	m.lease.ResourceVersion = fmt.Sprint(m.rv)
	return m.lease.DeepCopy()
}

func (m *memoryLease) create(_ context.Context, l *coordinationv1.Lease) (got *coordinationv1.Lease, err error) {
	err = m.call("create", func() error {
		if m.lease != nil {
			return apierrors.NewAlreadyExists(leaseResource, leaseName)
		}
		got = m.put(l)
		return nil
	})
	return got, err
}

func (m *memoryLease) update(_ context.Context, l *coordinationv1.Lease) (got *coordinationv1.Lease, err error) {
	err = m.call("update", func() error {
		switch {
		case m.lease == nil:
			return apierrors.NewNotFound(leaseResource, leaseName)
		case m.lease.ResourceVersion != l.ResourceVersion:
			return apierrors.NewConflict(leaseResource, leaseName, errors.New("modified"))
		}
		got = m.put(l)
		return nil
	})
	return got, err
}

// edit changes the Lease as a person would.
func (m *memoryLease) edit(change func(l *coordinationv1.Lease)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lease.DeepCopy()
	change(l)
	m.put(l)
}

func (m *memoryLease) set(fail func(string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

func (m *memoryLease) holder() Holder {
	m.mu.Lock()
	defer m.mu.Unlock()
	return holderOf(m.lease)
}

var (
	options30 = LeaseOptions{Namespace: "rotator-system", Duration: 30 * time.Second, CallDeadline: 20 * time.Second}
	noAnswer  = errors.New("connection refused")
)

func down(string) error { return noAnswer }

// elsewhere makes the holder one of another machine: of those here it is known
// whether they live.
func elsewhere(l *coordinationv1.Lease) { delete(l.Annotations, annotationProcess) }

func hold(t *testing.T, m *memoryLease) *Lease {
	t.Helper()
	l, err := acquire(t.Context(), m, options30, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// die ends the holder without a word.
func die(l *Lease) {
	l.stop()
	<-l.stopped
}

func TestLeaseIsRenewedAndGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		began := time.Now()
		l := hold(t, m)
		if took := time.Since(began); took != 0 {
			t.Errorf("a free lock took %v", took)
		}
		if got, want := l.Valid().Sub(began), 27*time.Second; got != want {
			t.Errorf("valid for %v, want %v", got, want)
		}
		l.SetRotation("r1")
		time.Sleep(5 * time.Minute)
		select {
		case <-l.Lost():
			t.Fatal("it was lost: ", l.Err())
		default:
		}
		h := m.holder()
		if h.Identity != l.Identity() || h.Rotation != "r1" || h.Fence != l.Fence() || h.Since != began || h.Duration != 30*time.Second || time.Since(h.Renewed) > 10*time.Second {
			t.Errorf("holder %+v", h)
		}
		if n := m.rv; n < 30 || n > 33 {
			t.Errorf("%d writes in 5 minutes", n)
		}
		l.Release(t.Context())
		if m.holder().Identity != "" {
			t.Errorf("holder after the release: %+v", m.holder())
		}
		began = time.Now()
		next := hold(t, m)
		if took := time.Since(began); took != 0 || next.Fence() != l.Fence()+1 || *m.lease.Spec.LeaseTransitions != 1 {
			t.Errorf("the next one took %v, number %d after %d", took, next.Fence(), l.Fence())
		}
		if m.holder().Rotation != "" {
			t.Error("the rotation of the former holder is shown")
		}
		next.Release(t.Context())
	})
}

// Who is asked to abort sees it at the next renewal; the next holder is not
// asked, and asking nobody is no error.
func TestAskAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		if h, err := askAbort(t.Context(), m, "rotator-system"); h != nil || err != nil {
			t.Errorf("with no Lease: %+v, %v", h, err)
		}
		l := hold(t, m)
		for range 2 {
			h, err := askAbort(t.Context(), m, "rotator-system")
			if err != nil || h == nil || h.Identity != l.Identity() {
				t.Fatalf("asked %+v, %v", h, err)
			}
		}
		select {
		case <-l.Aborted():
			t.Error("seen before a renewal")
		default:
		}
		time.Sleep(11 * time.Second)
		select {
		case <-l.Aborted():
		default:
			t.Error("not seen after a renewal")
		}
		time.Sleep(time.Minute)
		select {
		case <-l.Lost():
			t.Error("lost: ", l.Err())
		default:
		}
		l.Release(t.Context())
		if h, err := askAbort(t.Context(), m, "rotator-system"); h != nil || err != nil {
			t.Errorf("with no holder: %+v, %v", h, err)
		}
		next := hold(t, m)
		time.Sleep(time.Minute)
		select {
		case <-next.Aborted():
			t.Error("the next holder was asked too")
		default:
		}
		next.Release(t.Context())
	})
}

func TestLeaseOfALivingHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		l := hold(t, m)
		l.SetRotation("r1")
		time.Sleep(3 * time.Second)
		began := time.Now()
		_, err := acquire(t.Context(), m, options30, time.Now)
		held, ok := errors.AsType[*HeldError](err)
		if !ok || held.Holder.Identity != l.Identity() || held.Holder.Rotation != "r1" || held.Wait != 50*time.Second {
			t.Fatalf("got %+v, %v", held, err)
		}
		for _, want := range []string{l.Identity(), "r1", "rotator-system/rotator", "since "} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("it took %v to see that the holder lives", took)
		}
		l.Release(t.Context())
	})
}

// A holder elsewhere that died: its whole duration and the longest deadline
// pass, by our clock, before it is taken over.
func TestLeaseOfADeadHolder(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(l *coordinationv1.Lease)
		want time.Duration
	}{
		"elsewhere":               {elsewhere, 50 * time.Second},
		"its clock is ahead":      {func(l *coordinationv1.Lease) { elsewhere(l); l.Spec.RenewTime.Time = l.Spec.RenewTime.Add(time.Hour) }, 50 * time.Second},
		"its clock is behind":     {func(l *coordinationv1.Lease) { elsewhere(l); l.Spec.RenewTime.Time = l.Spec.RenewTime.Add(-time.Hour) }, 50 * time.Second},
		"its lease is longer":     {func(l *coordinationv1.Lease) { elsewhere(l); *l.Spec.LeaseDurationSeconds = 120 }, 140 * time.Second},
		"here, and still running": {func(*coordinationv1.Lease) {}, 50 * time.Second},
		"its number was broken":   {func(l *coordinationv1.Lease) { elsewhere(l); l.Annotations[annotationFence] = "x" }, 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memoryLease{}
				old := hold(t, m)
				time.Sleep(7 * time.Second)
				die(old)
				m.edit(tc.edit)
				began := time.Now()
				l := hold(t, m)
				if took := time.Since(began); took != tc.want {
					t.Errorf("taken over after %v, want %v", took, tc.want)
				}
				if l.Fence() <= old.Fence() {
					t.Errorf("number %d after %d", l.Fence(), old.Fence())
				}
				l.Release(t.Context())
			})
		})
	}
}

func TestLeaseOfAProcessThatEndedHere(t *testing.T) {
	child := exec.Command("true")
	if err := child.Run(); err != nil {
		t.Skip(err)
	}
	ours := thisProcess()
	if ours == "" {
		t.Skip("this system does not tell processes apart")
	}
	if processEnded(ours) {
		t.Fatal("this process has ended")
	}
	f := strings.Fields(ours)
	pid := fmt.Sprint(child.Process.Pid)
	for name, tc := range map[string]struct {
		process string
		ended   bool
	}{
		"one that ended":            {f[0] + " " + f[1] + " " + pid + " 12345", true},
		"our id, another start":     {f[0] + " " + f[1] + " " + f[2] + " 1", true},
		"another boot":              {"00000000-0000-0000-0000-000000000000 " + f[1] + " " + pid + " 12345", false},
		"another container":         {f[0] + " pid:[1] " + pid + " 12345", false},
		"nothing is known":          {"", false},
		"what nobody of ours wrote": {"x y z", false},
	} {
		if got := processEnded(tc.process); got != tc.ended {
			t.Errorf("%s: ended %t, want %t", name, got, tc.ended)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		die(hold(t, m))
		m.edit(func(l *coordinationv1.Lease) {
			l.Annotations[annotationProcess] = f[0] + " " + f[1] + " " + pid + " 12345"
		})
		began := time.Now()
		l := hold(t, m)
		if took := time.Since(began); took != deadWait {
			t.Errorf("taken over after %v, want %v", took, deadWait)
		}
		l.Release(t.Context())
	})
}

// A zombie has ended, though its entry is still there.
func TestZombieHasEnded(t *testing.T) {
	ours := strings.Fields(thisProcess())
	if len(ours) == 0 {
		t.Skip("this system does not tell processes apart")
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Skip(err)
	}
	start := started(child.Process.Pid)
	name := fmt.Sprint(ours[0], " ", ours[1], " ", child.Process.Pid, " ", start)
	if start == "" || processEnded(name) {
		t.Errorf("%q has ended", name)
	}
	_ = child.Process.Kill()
	for end := time.Now().Add(10 * time.Second); !processEnded(name); {
		if time.Now().After(end) {
			t.Fatal("the process that was killed and not yet waited for has not ended")
		}
		time.Sleep(time.Millisecond)
	}
	_ = child.Wait()
}

func TestLeaseTakenByForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		old := hold(t, m)
		time.Sleep(15 * time.Second)
		o := options30
		o.TakeOver = true
		began := time.Now()
		l, err := acquire(t.Context(), m, o, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 50*time.Second {
			t.Errorf("began after %v, want 50s: what the other had under way", took)
		}
		select {
		case <-old.Lost():
			if !strings.Contains(old.Err().Error(), l.Identity()) {
				t.Errorf("lost because of %v", old.Err())
			}
		default:
			t.Error("the former holder has not seen it")
		}
		if !old.Valid().IsZero() || l.Valid().Before(time.Now()) {
			t.Errorf("valid: the old %v, the new %v", old.Valid(), l.Valid())
		}
		old.Release(t.Context()) // must not take the new one's lock away
		if m.holder().Identity != l.Identity() {
			t.Error("the former holder gave the new one's lock back")
		}
		l.Release(t.Context())
	})
}

func TestTwoTakeADeadHoldersLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		die(hold(t, m))
		m.edit(elsewhere)
		var wg sync.WaitGroup
		var mu sync.Mutex
		won, held := 0, 0
		for range 5 {
			wg.Go(func() {
				l, err := acquire(t.Context(), m, options30, time.Now)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
					t.Cleanup(func() { die(l) })
				} else if _, ok := errors.AsType[*HeldError](err); ok {
					held++
				} else {
					t.Error(err)
				}
				if err == nil {
					time.AfterFunc(5*time.Minute, func() { l.Release(context.Background()) })
				}
			})
		}
		wg.Wait()
		if won != 1 || held != 4 {
			t.Errorf("%d won, %d were told who holds it", won, held)
		}
		time.Sleep(10 * time.Minute)
	})
}

func TestLeaseIsLost(t *testing.T) {
	for name, tc := range map[string]struct {
		happens  func(m *memoryLease)
		at       time.Duration // after the acquisition
		min, max time.Duration // when it is lost
		why      string
	}{
		// Renewed at 0, 10, 20 s; the one of 30 s and those after fail: valid until
		// 20 + 27 s.
		"the API server does not answer": {func(m *memoryLease) { m.set(down) }, 25 * time.Second, 47 * time.Second, 47 * time.Second, "connection refused"},
		"another holder":                 {func(m *memoryLease) { m.edit(func(l *coordinationv1.Lease) { *l.Spec.HolderIdentity = "other/1/x" }) }, 25 * time.Second, 30 * time.Second, 30 * time.Second, "other/1/x"},
		"a person removed the holder":    {func(m *memoryLease) { m.edit(func(l *coordinationv1.Lease) { *l.Spec.HolderIdentity = "" }) }, 25 * time.Second, 30 * time.Second, 30 * time.Second, "nobody"},
		"another number":                 {func(m *memoryLease) { m.edit(func(l *coordinationv1.Lease) { l.Annotations[annotationFence] = "99" }) }, 25 * time.Second, 30 * time.Second, 30 * time.Second, "taken over"},
		"it was deleted": {func(m *memoryLease) {
			m.mu.Lock()
			m.lease = nil
			m.mu.Unlock()
		}, 25 * time.Second, 30 * time.Second, 30 * time.Second, "deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memoryLease{}
				l := hold(t, m)
				began := time.Now()
				time.Sleep(tc.at)
				tc.happens(m)
				select {
				case <-l.Lost():
				case <-time.After(10 * time.Minute):
					die(l)
					t.Fatal("it was not lost")
				}
				if at := time.Since(began); at < tc.min || at > tc.max {
					t.Errorf("lost after %v, want %v", at, tc.min)
				}
				if !strings.Contains(l.Err().Error(), tc.why) || !l.Valid().IsZero() {
					t.Errorf("lost because %v, valid until %v", l.Err(), l.Valid())
				}
				m.set(nil)
				before := m.rv
				l.Release(t.Context())
				if m.rv != before {
					t.Error("a lock that was lost was given back: the next holder would not wait for what is under way")
				}
			})
		})
	}
}

func TestLeaseSurvives(t *testing.T) {
	for name, happens := range map[string]func(m *memoryLease){
		"an API server that is away for 15 s": func(m *memoryLease) {
			m.set(down)
			time.AfterFunc(15*time.Second, func() { m.set(nil) })
		},
		"a person's annotation": func(m *memoryLease) { m.edit(func(l *coordinationv1.Lease) { l.Annotations["team"] = "a" }) },
		"answers that are lost": func(m *memoryLease) {
			n := 0
			m.mu.Lock()
			m.lose = func(string) error {
				if n++; n%2 == 1 {
					return noAnswer
				}
				return nil
			}
			m.mu.Unlock()
		},
		"an API server that is slow": func(m *memoryLease) {
			m.mu.Lock()
			m.slow = 8 * time.Second
			m.mu.Unlock()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memoryLease{}
				l := hold(t, m)
				time.Sleep(25 * time.Second)
				happens(m)
				for range 300 {
					time.Sleep(time.Second)
					select {
					case <-l.Lost():
						t.Fatal(l.Err())
					default:
					}
					if h := m.holder(); h.Identity != l.Identity() {
						t.Fatalf("holder %+v", h)
					}
				}
				if name == "a person's annotation" && m.lease.Annotations["team"] != "a" {
					t.Error("it was overwritten")
				}
				l.Release(t.Context())
			})
		})
	}
}

// Counted from when a renewal was sent: the API server may have taken it at
// once and answered 8 s later.
func TestValidityCountsFromTheSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{slow: 8 * time.Second}
		began := time.Now()
		l := hold(t, m)
		if got := l.Valid().Sub(began); got != 27*time.Second {
			t.Errorf("valid until %v after the sending, want 27s", got)
		}
		time.Sleep(5 * time.Minute)
		if got := l.Valid().Sub(m.holder().Renewed); got != 27*time.Second && got != 17*time.Second {
			// 17 s: the renewal that is on its way was taken, and its answer is not there yet.
			t.Errorf("after renewals: valid until %v after the last sending", got)
		}
		l.Release(t.Context())
	})
}

// A machine that sleeps: the clock of deadlines stands still, the wall's does
// not.
func TestMachineThatSlept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		var mu sync.Mutex
		var slept time.Duration
		clock := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Round(0).Add(slept)
		}
		l, err := acquire(t.Context(), m, options30, clock)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		slept = time.Hour
		mu.Unlock()
		if !l.Valid().IsZero() {
			t.Error("valid right after the sleep, before anything has noticed it")
		}
		select {
		case <-l.Lost():
		case <-time.After(10 * time.Minute):
			die(l)
			t.Fatal("it was not lost")
		}
		if !strings.Contains(l.Err().Error(), "stood still") {
			t.Error(l.Err())
		}
		l.Release(t.Context())
	})
}

func TestAcquireWhileTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		m.set(down)
		time.AfterFunc(5*time.Second, func() { m.set(nil) })
		l := hold(t, m)
		l.Release(t.Context())
		m.set(down)
		if _, err := acquire(t.Context(), m, options30, time.Now); !errors.Is(err, noAnswer) {
			t.Errorf("got %v", err)
		}
		// The answer to the acquisition is lost: it is found to be our own.
		m.set(nil)
		n := 0
		m.lose = func(string) error {
			if n++; n == 1 {
				return noAnswer
			}
			return nil
		}
		again := hold(t, m)
		if again.Fence() != l.Fence()+1 {
			t.Errorf("number %d after %d", again.Fence(), l.Fence())
		}
		again.Release(t.Context())
	})
}

func TestWaitForTheLockEndsWithTheContext(t *testing.T) {
	for _, force := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := &memoryLease{}
			die(hold(t, m))
			m.edit(elsewhere)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(15*time.Second, cancel)
			o := options30
			o.TakeOver = force
			if _, err := acquire(ctx, m, o, time.Now); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if force && m.holder().Identity != "" {
				t.Error("the lock that was taken was not given back")
			}
		})
	}
}

func TestLeaseThatWasDeletedBeginsAboveOldNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memoryLease{}
		l := hold(t, m)
		for range 3 {
			l.Release(t.Context())
			l = hold(t, m)
		}
		die(l)
		time.Sleep(time.Minute)
		m.lease = nil
		if next := hold(t, m); next.Fence() <= l.Fence() {
			t.Errorf("number %d after %d", next.Fence(), l.Fence())
		} else {
			next.Release(t.Context())
		}
	})
}

func TestLeaseOverHTTP(t *testing.T) {
	api := newStateAPI(t)
	c := api.cluster()
	if h, err := c.Holder(t.Context(), "rotator-system"); h != nil || err != nil {
		t.Errorf("holder of nothing: %+v, %v", h, err)
	}
	l, err := c.Acquire(t.Context(), options30)
	if err != nil {
		t.Fatal(err)
	}
	if !api.namespaces["rotator-system"] {
		t.Error("the namespace was not made")
	}
	l.SetRotation("r1")
	for end := time.Now().Add(10 * time.Second); ; {
		h, err := c.Holder(t.Context(), "rotator-system")
		if err != nil || h == nil || h.Identity != l.Identity() || h.Fence != l.Fence() {
			t.Fatalf("holder %+v, %v", h, err)
		}
		if h.Rotation == "r1" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the rotation is not shown")
		}
		time.Sleep(time.Millisecond)
	}
	l.Release(t.Context())
	if h, err := c.Holder(t.Context(), "rotator-system"); h != nil || err != nil {
		t.Errorf("holder after the release: %+v, %v", h, err)
	}
}

func TestLeaseWithoutPermission(t *testing.T) {
	for name, tc := range map[string]struct {
		deny func(r *http.Request) bool
		want []string
	}{
		"leases": {func(r *http.Request) bool { return strings.Contains(r.URL.Path, "leases") },
			[]string{"get leases.coordination.k8s.io in namespace rotator-system", "deletecollection on configmaps", "deploy/kubernetes/rbac.yaml"}},
		"the namespace is missing": {func(r *http.Request) bool { return r.URL.Path == "/api/v1/namespaces" },
			[]string{"does not exist", "kubectl create namespace rotator-system"}},
	} {
		t.Run(name, func(t *testing.T) {
			api := newStateAPI(t)
			api.deny = tc.deny
			_, err := api.cluster().Acquire(t.Context(), options30)
			known, ok := errors.AsType[*Error](err)
			if !ok || known.Code != CodeForbidden {
				t.Fatalf("got %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}
