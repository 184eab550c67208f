package core

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

const (
	defaultNamespace = "rotator-system"
	defaultLock      = 30 * time.Second
	defaultKeep      = 20
)

// past is the rotation that this run goes on with; zero: none.
type past struct {
	rotation string
	memory   engine.Memory
}

// cutOff tells whether it ended without a word: even with nothing left to do,
// its journal is to say so.
func (p past) cutOff() bool { return p.memory.LastSeq > 0 && p.memory.Ended == "" }

func freshID() string {
	b := make([]byte, 3)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return "r" + time.Now().UTC().Format("20060102-150405") + "-" + hex.EncodeToString(b)
}

// store is where the journals are, for reading (lock nil) or for writing.
func (r *Rotator) store(lock runtime.Lock) (journal.Store, error) {
	if r.opts.Journal != nil {
		return r.opts.Journal, nil
	}
	c, _ := r.cluster.(*kube.Cluster)
	return storeOf(r.opts.Spec.Journal, c, lock)
}

// storeOf is the store that the spec names. c may be nil: a cluster of the
// embedder's own.
func storeOf(j plan.Journal, c *kube.Cluster, lock runtime.Lock) (journal.Store, error) {
	kind := j.Store
	if kind == "" && (j.Dir != "" || c == nil) {
		kind = plan.StoreFolder
	}
	switch kind {
	case plan.StoreFolder:
		dir, err := folder(j.Dir)
		return journal.Folder{Path: dir}, err
	case "", plan.StoreCluster:
		if c == nil {
			return nil, errors.New("the journal cannot be kept in a cluster whose port is the embedder's: set Options.Journal, or the store folder")
		}
		s := journal.Cluster{Objects: c.Objects(cmp.Or(j.Namespace, defaultNamespace))}
		if lock != nil {
			s.Fence = lock.Fence()
		}
		if l, ok := lock.(*kube.Lease); ok {
			s.Writer = l.Identity()
		}
		if j.Dir != "" {
			return journal.Ahead{Store: s, Local: journal.Folder{Path: j.Dir}}, nil
		}
		return s, nil
	}
	return nil, fmt.Errorf("journal.store: %q is unknown", kind)
}

// folder is the folder of journals, by default one in the user's state folder.
func folder(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	if base := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "rotator", "journal"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("the journal's folder: %w; name one with journal.dir", err)
	}
	return filepath.Join(home, ".local", "state", "rotator", "journal"), nil
}

// openLog opens the rotation's journal for writing, and lets old ones go.
func (r *Rotator) openLog(ctx context.Context, id string, lock runtime.Lock) (journal.Log, error) {
	store, err := r.store(lock)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", runtime.ErrJournal, err)
	}
	log, err := store.Open(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", runtime.ErrJournal, err)
	}
	if l, ok := lock.(*kube.Lease); ok {
		l.SetRotation(id)
	}
	if err := store.Prune(ctx, cmp.Or(r.opts.Spec.Journal.Keep, defaultKeep), id); err != nil {
		r.opts.Log.Warn("old journals could not be removed", "error", err)
	}
	return log, nil
}

// locked does something under the lock, and gives it back.
func (r *Rotator) locked(ctx context.Context, do func(runtime.Lock) (*engine.Result, error)) (*engine.Result, error) {
	c, ok := r.cluster.(*kube.Cluster)
	if r.opts.Lock != nil || !ok {
		return do(r.opts.Lock)
	}
	waiting, stopped := context.WithCancel(ctx)
	defer stopped()
	go func() {
		select {
		case <-r.opts.Stop:
			stopped()
		case <-waiting.Done():
		}
	}()
	lease, err := c.Acquire(waiting, leaseOptions(r.opts))
	switch {
	case err != nil && ctx.Err() == nil && waiting.Err() != nil:
		return &engine.Result{Status: engine.StatusStopped, Message: "stopped by a signal while waiting for the lock: nothing was changed"}, nil
	case err != nil:
		return nil, err
	}
	defer lease.Release(context.WithoutCancel(ctx))
	return do(lease)
}

func leaseOptions(o Options) kube.LeaseOptions {
	s := o.Spec
	d := cmp.Or(s.Lock.Duration, defaultLock)
	return kube.LeaseOptions{
		Namespace: cmp.Or(s.Journal.Namespace, defaultNamespace),
		Duration:  d,
		// Every call that changes something has a deadline within the lock's
		// validity, so that this bounds the longest.
		CallDeadline: d,
		TakeOver:     s.Lock.TakeOver,
		Log:          o.Log,
	}
}

// State is what is known of the rotations of a cluster: who holds the lock, and
// the journals. It reads only.
type State struct {
	store     journal.Store
	cluster   *kube.Cluster // nil: the spec does without it
	namespace string
	close     func()
}

// OpenState connects to the cluster, unless the spec does without it, and finds
// the journals. A driver is launched only where the way to the cluster is the
// driver's. Errors are those of Open. Close must be called on success.
func OpenState(ctx context.Context, o Options) (*State, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Rotator{opts: o}
	var c *kube.Cluster
	var err error
	if !o.Spec.CloudOnly {
		if c, err = r.connectKube(ctx, kube.Options{}); err != nil {
			r.Close()
			return nil, err
		}
	}
	s := &State{close: r.Close, cluster: c, namespace: cmp.Or(o.Spec.Journal.Namespace, defaultNamespace), store: o.Journal}
	if s.store == nil {
		if s.store, err = storeOf(o.Spec.Journal, c, nil); err != nil {
			r.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close ends the driver, where there is one.
func (s *State) Close() { s.close() }

// Holder tells who holds the lock; nil: nobody, or there is none to look at.
func (s *State) Holder(ctx context.Context) (*kube.Holder, error) {
	if s.cluster == nil {
		return nil, nil
	}
	return s.cluster.Holder(ctx, s.namespace)
}

// Journals are all rotations, newest first. It is for reading.
func (s *State) Journals() journal.Store { return s.store }
