package kube

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
)

// leaseName is the Lease that is the lock. It is the same for every cluster
// name, group and driver: an API server belongs to one cluster, and one
// rotation of it runs at a time, `rotatord drain` included, which knows no
// cluster's name.
const leaseName = "rotator"

// Annotations of the Lease.
const (
	annotationFence    = model.Prefix + "fencing-number"
	annotationRotation = model.Prefix + "rotation"
	annotationProcess  = model.Prefix + "process"
	// annotationAbort holds the fencing number of the holder that is asked to
	// take everything back and to end.
	annotationAbort = model.Prefix + "abort"
)

const (
	// renewals in one duration: two may fail before the lock is lost.
	renewals = 3
	// marginOf the duration is kept: so long before the Lease may be taken by
	// another, the holder counts it as lost.
	marginOf = 10
	// leaseRetry between tries of a renewal that failed; less for short leases.
	leaseRetry = time.Second
	// lookEvery is how often somebody else's Lease is looked at; more often for
	// short ones.
	lookEvery = 2 * time.Second
	// acquireTries bounds how often Acquire starts again because others were
	// quicker or the API server did not answer.
	acquireTries = 10
	// deadWait is how long a lock is left whose holder ran on this machine and
	// is known to have ended: its driver ends with it, and calls that it had sent
	// have landed by then or are harmless.
	deadWait = 2 * time.Second
	// releaseTimeout bounds the giving back; a lock that is not given back
	// expires.
	releaseTimeout = 5 * time.Second
)

// LeaseOptions of the lock.
type LeaseOptions struct {
	// Namespace of the Lease. Required, and the same for all who rotate the
	// cluster.
	Namespace string
	// Duration for which the lock holds without being renewed, rounded up to
	// seconds. Required.
	Duration time.Duration
	// CallDeadline is the longest deadline of a call that is made under the lock.
	// Who takes a lock over waits that much longer.
	CallDeadline time.Duration
	// TakeOver takes the lock from a holder that lives: it is taken at once, which
	// the holder sees at its next renewal, and Acquire returns when whatever the
	// holder had under way must have ended.
	TakeOver bool
	// Rotation to show beside the holder; SetRotation changes it.
	Rotation string
	Log      *slog.Logger // default: none; what it waits for is a warning
}

// Lease is the lock, held. It renews itself until it is released or lost. It is
// safe for concurrent use.
type Lease struct {
	api      leaseAPI
	o        LeaseOptions
	identity string
	fence    int64
	now      func() time.Time // for tests

	kick    chan struct{} // asks for a renewal at once
	stop    context.CancelFunc
	stopped chan struct{} // closed when nothing renews any more
	lost    chan struct{}
	aborted chan struct{}

	mu       sync.Mutex
	record   *coordinationv1.Lease
	sent     time.Time // when the last renewal that succeeded was sent
	rotation string
	err      error
}

var _ runtime.Lock = (*Lease)(nil)

// Acquire takes the lock. It is free, or its holder has shown no sign of life
// for its duration and CallDeadline, as seen from here: clocks of two machines
// are never compared. A holder that shows one is a *HeldError.
func (c *Cluster) Acquire(ctx context.Context, o LeaseOptions) (*Lease, error) {
	return acquire(ctx, &leaseClient{c, o.Namespace}, o, time.Now)
}

func acquire(ctx context.Context, api leaseAPI, o LeaseOptions, now func() time.Time) (*Lease, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Duration = (o.Duration + time.Second - 1).Truncate(time.Second)
	if o.Duration < time.Second {
		return nil, errors.New("the lock's duration is missing")
	}
	l := &Lease{api: api, o: o, identity: newIdentity(), rotation: o.Rotation, now: now,
		kick: make(chan struct{}, 1), stopped: make(chan struct{}), lost: make(chan struct{}), aborted: make(chan struct{})}
	var (
		look  watch
		fails int
	)
	for {
		wait, err := l.try(ctx, &look)
		switch {
		case err == nil && wait == 0:
			renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
			l.stop = stop
			go l.renew(renewing)
			if err := l.settle(ctx, look.from); err != nil {
				return nil, err
			}
			return l, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("waiting for the lock: %w", ctx.Err())
		case err == nil:
			fails = 0
		case !again(err):
			return nil, err
		default:
			if fails++; fails >= acquireTries {
				return nil, leaseError(o.Namespace, "take", err)
			}
			wait = leaseRetry
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, fmt.Errorf("waiting for the lock: %w", err)
		}
	}
}

// watch is what was seen of somebody else's lock.
type watch struct {
	holder Holder // the first one seen
	since  time.Time
	from   *Holder // from whom the lock was taken by force
}

// try looks at the Lease and takes it if it may. Otherwise it answers how long
// to wait before the next look.
func (l *Lease) try(ctx context.Context, look *watch) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	now, err := l.api.get(ctx)
	if apierrors.IsNotFound(err) {
		return 0, l.take(ctx, nil)
	}
	if err != nil {
		return 0, finalLeaseError(l.o.Namespace, "get", err)
	}
	h := holderOf(now)
	switch {
	case h.Identity == "", h.Identity == l.identity: // or ours already, and the answer was lost
		return 0, l.take(ctx, now)
	case l.o.TakeOver:
		l.o.Log.Warn("taking the lock from its holder", "holder", h.Identity, "rotation", h.Rotation, "since", h.Since)
		look.from = &h
		return 0, l.take(ctx, now)
	case look.holder.Identity == "":
		look.holder, look.since = h, l.now()
		l.o.Log.Warn("the lock has a holder: waiting for a sign of life, or for the lock to expire",
			"holder", h.Identity, "rotation", h.Rotation, "at-most", l.patience(h))
	case look.holder.Identity != h.Identity, !look.holder.Renewed.Equal(h.Renewed), look.holder.Fence != h.Fence:
		return 0, &HeldError{Holder: h, Where: l.where(), Wait: h.Duration + l.o.CallDeadline}
	}
	left := look.since.Add(l.patience(h)).Sub(l.now())
	if left <= 0 {
		l.o.Log.Warn("taking over a lock that has expired", "holder", h.Identity, "rotation", h.Rotation)
		return 0, l.take(ctx, now)
	}
	return min(left, lookEvery, max(h.Duration/renewals/2, 10*time.Millisecond)), nil
}

// patience is how long a holder may show no sign of life.
func (l *Lease) patience(h Holder) time.Duration {
	whole := h.Duration + l.o.CallDeadline
	if processEnded(h.process) {
		return min(whole, deadWait)
	}
	return whole
}

// settle waits until what the former holder had under way has ended.
func (l *Lease) settle(ctx context.Context, from *Holder) error {
	if from == nil {
		return nil
	}
	wait := from.Duration + l.o.CallDeadline
	l.o.Log.Warn("the lock is taken: waiting until what its former holder had under way has ended", "seconds", wait.Seconds())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-l.lost:
		return l.Err()
	case <-ctx.Done():
		l.Release(context.WithoutCancel(ctx))
		return fmt.Errorf("waiting for the lock: %w", ctx.Err())
	}
}

// take writes ourselves as the holder, over old or anew.
func (l *Lease) take(ctx context.Context, old *coordinationv1.Lease) error {
	now := l.now()
	var (
		next *coordinationv1.Lease
		err  error
	)
	if old == nil {
		next = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.o.Namespace, Name: leaseName}}
	} else {
		next = old.DeepCopy()
	}
	if holderOf(next).Identity != l.identity {
		transitions := int32(0)
		if old != nil && next.Spec.LeaseTransitions != nil {
			transitions = *next.Spec.LeaseTransitions + 1
		}
		next.Spec.LeaseTransitions = &transitions
		delete(next.Annotations, annotationAbort) // it was for another
		next.Spec.AcquireTime = &metav1.MicroTime{Time: now}
		// A Lease that is new, because somebody deleted the old one, must not begin
		// below the numbers that journals carry: it begins at the time in seconds,
		// which no count of acquisitions overtakes.
		if l.fence = holderOf(next).Fence + 1; l.fence <= 1 {
			l.fence = now.Unix()
		}
	} else {
		l.fence = holderOf(next).Fence
	}
	l.fill(next, now)
	if old == nil {
		next, err = l.api.create(ctx, next)
	} else {
		next, err = l.api.update(ctx, next)
	}
	if err != nil {
		return finalLeaseError(l.o.Namespace, "update", err)
	}
	l.record, l.sent = next, now
	return nil
}

// fill sets what every write of ours says.
func (l *Lease) fill(r *coordinationv1.Lease, now time.Time) {
	seconds := int32(l.o.Duration / time.Second)
	r.Spec.HolderIdentity = &l.identity
	r.Spec.LeaseDurationSeconds = &seconds
	r.Spec.RenewTime = &metav1.MicroTime{Time: now}
	a := maps.Clone(r.Annotations)
	if a == nil {
		a = map[string]string{}
	}
	a[annotationFence] = strconv.FormatInt(l.fence, 10)
	a[annotationProcess] = thisProcess()
	delete(a, annotationRotation)
	if l.rotation != "" {
		a[annotationRotation] = l.rotation
	}
	r.Annotations = a
}

// Fence implements runtime.Lock.
func (l *Lease) Fence() int64 { return l.fence }

// Identity is who we are in the Lease.
func (l *Lease) Identity() string { return l.identity }

// Valid implements runtime.Lock. It is the zero time once the lock is lost, and
// after a machine has slept for longer than the lock holds: the clock that
// deadlines go by stands still meanwhile, the one on the wall does not.
func (l *Lease) Valid() time.Time {
	select {
	case <-l.lost:
		return time.Time{}
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	until := l.until()
	if !l.now().Round(0).Before(until.Round(0)) {
		return time.Time{}
	}
	return until
}

// until is when the lock ends if it is not renewed, less the margin. Counted
// from when the renewal was SENT: the API server may have taken it at once and
// answered late.
func (l *Lease) until() time.Time {
	return l.sent.Add(l.o.Duration - l.o.Duration/marginOf)
}

// Lost implements runtime.Lock.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err implements runtime.Lock.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// SetRotation shows the rotation beside the holder, from the next renewal on,
// which it asks for at once.
func (l *Lease) SetRotation(id string) {
	l.mu.Lock()
	l.rotation = id
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Release gives the lock back, so that the next one need not wait. What fails
// is left to expire.
func (l *Lease) Release(ctx context.Context) {
	l.stop()
	<-l.stopped
	l.mu.Lock()
	defer l.mu.Unlock()
	// One that was lost is left to expire even if it is still ours: who comes next
	// waits for what we had under way.
	if l.err != nil || l.record == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	next := l.record.DeepCopy()
	nobody := ""
	next.Spec.HolderIdentity = &nobody
	delete(next.Annotations, annotationProcess)
	if _, err := l.api.update(ctx, next); err != nil {
		l.o.Log.Warn("the lock could not be given back; it expires by itself", "error", err)
	}
	l.record = nil
}

// renew keeps the lock until ctx ends or it is lost.
func (l *Lease) renew(ctx context.Context) {
	defer close(l.stopped)
	var last error
	next := l.sent.Add(l.o.Duration / renewals)
	for {
		end := l.until()
		if !l.now().Before(end) || !l.now().Round(0).Before(end.Round(0)) {
			if last == nil {
				last = errors.New("this process or its machine stood still")
			}
			l.lose(fmt.Errorf("it could not be renewed in time: %w", last))
			return
		}
		timer := time.NewTimer(min(next.Sub(l.now()), end.Sub(l.now())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-l.kick:
			timer.Stop()
		case <-timer.C:
		}
		if !l.now().Before(end) {
			continue
		}
		retry := min(leaseRetry, l.o.Duration/marginOf)
		taken, err := l.once(ctx, min(stateTimeout, l.o.Duration/renewals, end.Sub(l.now())))
		switch {
		case ctx.Err() != nil:
			return
		case taken:
			l.lose(err)
			return
		case err != nil:
			last = err
			l.o.Log.Warn("the lock could not be renewed; trying again", "error", err, "valid-for", max(0, end.Sub(l.now())).Round(time.Millisecond))
			next = l.now().Add(retry)
		default:
			last = nil
			next = l.sent.Add(l.o.Duration / renewals)
		}
	}
}

// once renews once. taken says that the lock is another's, and err why.
func (l *Lease) once(ctx context.Context, timeout time.Duration) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l.mu.Lock()
	next := l.record.DeepCopy()
	sent := l.now()
	l.fill(next, sent)
	l.mu.Unlock()
	got, err := l.api.update(ctx, next)
	if apierrors.IsConflict(err) {
		// Somebody wrote it: another holder, a person's annotation, or we ourselves
		// with an answer that was lost.
		if got, err = l.api.get(ctx); err == nil {
			if h := holderOf(got); h.Identity != l.identity || h.Fence != l.fence {
				who := cmp.Or(h.Identity, "nobody: its holder was removed")
				return true, fmt.Errorf("it was taken over by %s", who)
			}
			next = got.DeepCopy()
			sent = l.now()
			l.mu.Lock()
			l.fill(next, sent)
			l.mu.Unlock()
			got, err = l.api.update(ctx, next)
		}
	}
	if apierrors.IsNotFound(err) {
		return true, fmt.Errorf("the Lease %s/%s was deleted", l.o.Namespace, leaseName)
	}
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	l.record, l.sent = got, sent
	l.mu.Unlock()
	if got.Annotations[annotationAbort] == strconv.FormatInt(l.fence, 10) {
		l.askedToAbort()
	}
	return false, nil
}

// askedToAbort is called by the one goroutine that renews.
func (l *Lease) askedToAbort() {
	select {
	case <-l.aborted:
	default:
		close(l.aborted)
	}
}

// Aborted is closed once somebody has asked this holder, by AskAbort, to take
// everything back and to end. It is seen at the next renewal.
func (l *Lease) Aborted() <-chan struct{} { return l.aborted }

func (l *Lease) lose(err error) {
	l.mu.Lock()
	l.err = fmt.Errorf("the lock (%s) was lost: %w", l.where(), err)
	l.mu.Unlock()
	close(l.lost)
}

func (l *Lease) where() string { return "Lease " + l.o.Namespace + "/" + leaseName }

// newIdentity tells this acquisition from all others.
func newIdentity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return fmt.Sprintf("%s/%d/%s", host, os.Getpid(), hex.EncodeToString(b))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
