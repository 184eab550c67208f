package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// abortLook is how often Abort looks whether the rotation that it asked to end
// has ended. The Lease is renewed no more often than every few seconds.
const abortLook = 2 * time.Second

// Abort takes back what a rotation of the cluster changed and has not finished:
// surge, provider settings, taints and cordons. Cordons that a person set stay.
// A rotation that still runs is asked to do so itself, and Abort waits for it;
// for one whose process is gone Abort does it. With nothing to take back it
// returns StatusDone. Errors are those of Open and Run; ctx bounds the waiting.
// It can be called again at any time.
func Abort(ctx context.Context, o Options) (*engine.Result, error) {
	o.Spec.Release = "" // nothing is begun
	r, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		res, err := r.locked(ctx, func(lock runtime.Lock) (*engine.Result, error) { return r.undo(ctx, lock) })
		var held *kube.HeldError
		if !errors.As(err, &held) {
			return res, err
		}
		if err := r.askHolder(ctx); err != nil {
			return nil, err
		}
	}
}

// askHolder asks the running rotation to take everything back, and waits a
// while.
func (r *Rotator) askHolder(ctx context.Context) error {
	c, ok := r.cluster.(*kube.Cluster)
	if !ok {
		return errors.New("the lock is the embedder's own, and so is asking its holder to abort")
	}
	h, err := c.AskAbort(ctx, leaseOptions(r.opts).Namespace)
	if err != nil {
		return err
	}
	if h != nil {
		r.opts.Log.Info("asked the running rotation to take everything back", "holder", h.Identity, "rotation", h.Rotation)
	}
	timer := time.NewTimer(abortLook)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.opts.Stop: // nil without one: never
		return errors.New("stopped by a signal; the running rotation was asked to take everything back and goes on with that")
	case <-ctx.Done():
		return fmt.Errorf("waiting for the running rotation to take everything back: %w", ctx.Err())
	}
}

func (r *Rotator) undo(ctx context.Context, lock runtime.Lock) (*engine.Result, error) {
	if err := r.observe(ctx); err != nil {
		return nil, err
	}
	p := plan.Undo(r.opts.Spec, r.inventory)
	if len(p.Refusals) > 0 {
		return nil, &RefusedError{Plan: p}
	}
	if !p.Leftovers() {
		return &engine.Result{Status: engine.StatusDone, Message: "nothing to take back: no rotation left anything behind"}, nil
	}
	r.undoing = true
	return r.run(ctx, p, lock, false)
}
