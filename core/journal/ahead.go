package journal

import (
	"context"
	"fmt"

	"github.com/rotatord/rotator/core/event"
)

// Ahead writes every event to a local folder before it goes to the store. It is
// for stores that the rotation itself may make unreachable: the API server whose
// machines are rotated. What the folder holds and the store does not, because
// the store went away in between, is handed on when the journal is opened again.
type Ahead struct {
	Store Store
	Local Folder
}

var _ Store = Ahead{}

// Open implements Store.
func (a Ahead) Open(ctx context.Context, rotation string) (Log, error) {
	local, err := a.Local.Open(ctx, rotation)
	if err != nil {
		return nil, err
	}
	main, err := a.Store.Open(ctx, rotation)
	if err != nil {
		_ = local.Close(ctx) // nothing was written
		return nil, err
	}
	l := &aheadLog{main: main, local: local, past: main.Past()}
	if diverged(main.Past(), local.Past()) {
		// Another machine went on with the rotation: the copy here is of no use.
		if err = local.Close(ctx); err == nil {
			err = a.Local.remove(rotation)
		}
		if err == nil {
			l.local, err = a.Local.Open(ctx, rotation)
		}
	}
	if err == nil {
		err = l.reconcile(ctx)
	}
	if err != nil {
		_ = l.Close(ctx) // the first error says more
		return nil, fmt.Errorf("bring the copy of the journal of %s up to date: %w", rotation, err)
	}
	return l, nil
}

// diverged tells whether the copy holds an event that the store does not, at a
// place that the store has.
func diverged(main, local []event.Event) bool {
	at := map[uint64]event.Event{}
	for _, e := range main {
		at[e.Seq] = e
	}
	last := lastSeq(main, nil)
	for _, e := range local {
		m, ok := at[e.Seq]
		if e.Seq <= last && (!ok || !m.Time.Equal(e.Time) || m.Kind != e.Kind || m.Op != e.Op) {
			return true
		}
	}
	return false
}

// List implements Store: the copies are not listed.
func (a Ahead) List(ctx context.Context) ([]Entry, error) { return a.Store.List(ctx) }

// Read implements Store.
func (a Ahead) Read(ctx context.Context, rotation string) ([]event.Event, error) {
	return a.Store.Read(ctx, rotation)
}

// Prune implements Store.
func (a Ahead) Prune(ctx context.Context, keep int, open string) error {
	if err := a.Local.Prune(ctx, keep, open); err != nil {
		return err
	}
	return a.Store.Prune(ctx, keep, open)
}

type aheadLog struct {
	main, local Log
	past        []event.Event
	copied      uint64 // sequence number of the last event of the copy
}

// reconcile makes both hold the same. The store decides where they differ: it
// is what other machines see. What only the copy has follows the store's last.
func (l *aheadLog) reconcile(ctx context.Context) error {
	main, local := lastSeq(l.past, nil), lastSeq(l.local.Past(), nil)
	var ahead, behind []event.Event
	for _, e := range l.local.Past() {
		if e.Seq > main {
			ahead = append(ahead, e)
		}
	}
	for _, e := range l.past {
		if e.Seq > local {
			behind = append(behind, e)
		}
	}
	l.copied = max(main, local)
	if len(behind) > 0 {
		return l.local.Append(ctx, behind)
	}
	if len(ahead) > 0 {
		if err := l.main.Append(ctx, ahead); err != nil {
			return err
		}
		l.past = append(l.past[:len(l.past):len(l.past)], ahead...)
	}
	return nil
}

// Append implements Log. The copy is written once, however often the store is
// tried.
func (l *aheadLog) Append(ctx context.Context, events []event.Event) error {
	if last := lastSeq(events, nil); last > l.copied {
		if err := l.local.Append(ctx, events); err != nil {
			return err
		}
		l.copied = last
	}
	return l.main.Append(ctx, events)
}

// Past implements Log.
func (l *aheadLog) Past() []event.Event { return l.past }

// Close implements Log.
func (l *aheadLog) Close(ctx context.Context) error {
	err := l.main.Close(ctx)
	if lerr := l.local.Close(ctx); err == nil {
		err = lerr
	}
	return err
}
