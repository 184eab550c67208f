package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/event"
)

// Store keeps the journals of many rotations. Implementations are safe for
// concurrent use.
type Store interface {
	// Open takes the journal of a rotation for writing, and makes it where it is
	// missing. Whoever had it open before cannot write to it from then on: its
	// Append answers ErrTakenOver. ErrInUse says that somebody else keeps it,
	// a *CorruptError that it is damaged.
	Open(ctx context.Context, rotation string) (Log, error)
	// List names the journals, the newest by its last change first.
	List(ctx context.Context) ([]Entry, error)
	// Read returns a rotation's events, oldest first, and takes nothing. A
	// rotation without a journal is ErrNoRotation.
	Read(ctx context.Context, rotation string) ([]event.Event, error)
	// Prune removes the journals beyond the newest keep, never that of open.
	Prune(ctx context.Context, keep int, open string) error
}

// Log is one rotation's journal, open for writing by one process.
type Log interface {
	// Append returns nil once all the events are durable. They are one group: a
	// later reader finds all of them or none. Sequence numbers must rise.
	//
	// After an error for which Transient is true it is not known whether they
	// are durable: the caller may call Append with the same events again, which
	// finds out, and with no others. Any other error ends the log.
	Append(ctx context.Context, events []event.Event) error
	// Past returns the events that were there when the log was opened.
	Past() []event.Event
	// Close gives the log back. Later Appends fail.
	Close(ctx context.Context) error
}

// Unfinished is the status of a rotation that was cut off or still runs.
const Unfinished = "unfinished"

// Entry is one rotation of a store.
type Entry struct {
	Rotation string `json:"rotation"`
	// Cluster is the cluster's name at the provider; empty: not recorded.
	Cluster string `json:"cluster,omitempty"`
	// Spec is the fingerprint of what was asked for; empty: not recorded.
	Spec     string    `json:"spec,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Modified time.Time `json:"modified"`
	// Status is Unfinished, or the code that the rotation finished with.
	Status string `json:"status"`
	Events int    `json:"events"`
	// Size is what the store keeps for it, in bytes.
	Size int64 `json:"size"`
	// Where a person finds it: a file, or an object of the cluster.
	Where string `json:"where"`
	// Problem says why the journal cannot be read; empty: it can.
	Problem string `json:"problem,omitempty"`
}

// take notes what a listing says about a rotation from its events.
func (e *Entry) take(events []event.Event) {
	for _, ev := range events {
		e.Events++
		if e.Started.IsZero() {
			e.Started = ev.Time
		}
		switch ev.Kind {
		case event.RotationStarted, event.ReleaseStaging:
			e.Status = Unfinished
			e.Cluster, e.Spec = cmp.Or(ev.Data["cluster"], e.Cluster), cmp.Or(ev.Data["spec"], e.Spec)
		case event.RotationFinished:
			e.Status = ev.Code
		default: // no other kind begins or ends a rotation
		}
	}
	e.Status = cmp.Or(e.Status, Unfinished)
}

func newestFirst(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(b.Modified.Compare(a.Modified), cmp.Compare(a.Rotation, b.Rotation))
	})
}

var (
	// ErrInUse says that another process writes the journal.
	ErrInUse = errors.New("another process writes this journal")
	// ErrTakenOver says that somebody else has taken the journal: stop.
	ErrTakenOver = errors.New("another rotatord has taken this journal over")
	// ErrNoRotation says that the store has no journal of that rotation.
	ErrNoRotation = errors.New("no journal of this rotation")
)

// TransientError is an error that may pass by itself: the network, a server
// that restarts or is overloaded.
type TransientError struct{ Err error }

func (e *TransientError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *TransientError) Unwrap() error { return e.Err }

// Transient is true. Callers that do not import this package ask for it.
func (e *TransientError) Transient() bool { return true }

// Transient tells whether the same call may succeed later.
func Transient(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Transient() bool
	}](err)
	return ok && t.Transient()
}

// CorruptError says that a committed part of a journal is damaged or missing.
// The rotation must not be resumed from it.
type CorruptError struct {
	// Path of the file, or the name of the object.
	Path string
	// Line of the file, from 1; 0: not a file.
	Line   int
	Reason string
}

func (e *CorruptError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("journal: %s: %s; restore it from a backup, or delete the rotation's journal: "+
			"a new run takes the facts from the cluster and the provider", e.Path, e.Reason)
	}
	return fmt.Sprintf("journal %s: line %d of a committed part is damaged (%s); "+
		"restore the file from a backup, or move it away and start a new rotation: it takes the facts from the cluster and the provider",
		e.Path, e.Line, e.Reason)
}

// idPattern keeps an id a plain file name on every system.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// checkID refuses an id that cannot name a journal.
func checkID(rotation string) error {
	if !idPattern.MatchString(rotation) {
		return fmt.Errorf("rotation id %q: only letters, digits, dot, underscore and dash are allowed, at most 128, and a letter or digit first", rotation)
	}
	return nil
}
