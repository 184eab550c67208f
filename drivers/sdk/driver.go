// Package sdk is what the author of a driver imports. A driver implements
// Driver and at least one verb that replaces (Terminator, Reimager or Roller);
// Serve runs it as a plugin of rotatord. What is not implemented is not
// offered: Serve finds the verbs by type assertion.
//
// The contract of every changing call (the conformance suite tests it):
//
//   - Calls state goals. The same call again, before or after a restart of the
//     driver, continues where it left off. A goal already reached is success.
//   - A driver keeps nothing that the provider does not hold: it may be killed
//     at any moment, and Observe of its next life shows all work in flight.
//   - Calls return as soon as the provider has accepted the change. They do not
//     wait for it to finish: Observe shows progress.
//   - With DryRun everything is checked and nothing changed.
//   - A returned error is a protocol fault or an unforeseen failure (it becomes
//     a gRPC status: return one made by Errorf to choose the code); what a
//     person should read goes into the operation's diagnostics.
package sdk

import (
	"context"
	"time"
)

// Driver is required.
type Driver interface {
	// Info never fails and needs no configuration.
	Info() Info
	// Configure checks raw (JSON, by Info's schema) and, unless validateOnly,
	// keeps it in memory. It never changes anything at the provider. Errors among
	// the diagnostics mean that it was refused.
	Configure(ctx context.Context, raw []byte, validateOnly bool) ([]Diagnostic, error)
	// Observe returns everything in scope, or an error: half a list would read
	// as vanished nodes. maxAge 0 asks the provider now; otherwise an answer up
	// to maxAge old may come from memory. Describes are batched and paged:
	// never one call an instance.
	Observe(ctx context.Context, scope Scope, maxAge time.Duration) (*Snapshot, error)
}

// Terminator ends instances. Idempotent: an instance already gone, or already
// on its way, is success; before a shrink is repeated an instance that is no
// longer in service counts as done, so that capacity is not taken twice.
//
// Calls that keep the capacity come concurrently; those that shrink a group come
// one at a time, as those of SetSurge do, in any order.
type Terminator interface {
	Terminate(ctx context.Context, r TerminateRequest) (*TerminateResult, error)
}

// Surger adds instances beyond a group's own size. Absolute and idempotent.
// Before each change the driver records at the provider what it changes from
// and to; a value that is neither is somebody else's change and becomes the
// new base.
type Surger interface {
	SetSurge(ctx context.Context, r SetSurgeRequest) (*Operation, error)
}

// Preparer takes a group for a rotation. Prepare records the earlier settings
// at the provider, then suspends what would interfere; a record that it finds
// is never overwritten; a group held by another rotation answers ABORTED and
// names the holder. Restore puts everything back, then removes the record;
// without a record it is success.
type Preparer interface {
	Prepare(ctx context.Context, r GroupRequest) (*Operation, error)
	Restore(ctx context.Context, r GroupRequest) (*Operation, error)
}

// Quiescer takes an instance out of its load balancers before the drain, and
// back in. Quiesce records at the provider what it is about to take out, then
// does; it answers OperationRunning while connections may go on, and until they
// have ended Observe shows Work with the verb "quiesce" on the instance: the
// drain waits for that. Unquiesce puts back what the record says, and nothing
// else, then removes the record; without a record it is success, and so it is
// for an instance that is gone or on its way. Restore does the same for all
// instances of its group that stay: whoever asked for Quiesce may have died.
type Quiescer interface {
	Quiesce(ctx context.Context, r InstanceRequest) (*Operation, error)
	Unquiesce(ctx context.Context, r InstanceRequest) (*Operation, error)
}

// Reimager gives the same node the group's desired revision, in place.
type Reimager interface {
	Reimage(ctx context.Context, r InstanceRequest) (*Operation, error)
}

// Roller lets the provider replace all instances of a group by the group's
// desired revision, while the core watches NodeGroup.Roll of Observe. The reasons
// of such a group's instances are those that a roll puts an end to, and no others.
// A group that somebody else is rolling to the same revision is attached to
// (OperationRunning, with a warning of code roll-foreign); to another revision,
// that is a failure with RetryLater.
type Roller interface {
	Roll(ctx context.Context, r RollRequest) (*Operation, error)
}

// Stager makes an image or release a group's desired revision, and replaces
// nothing. Releases changes nothing: it compares the groups in scope that can be
// staged (the trait Stage) with a release, in batched and paged describes.
type Stager interface {
	Releases(ctx context.Context, s Scope, release string) (*Releases, error)
	Stage(ctx context.Context, r StageRequest) (*StageResult, error)
}

// Accessor answers how the cluster's API server is reached, with the driver's
// own credentials. It changes nothing, and writes nothing of its answer to a log.
type Accessor interface {
	Access(ctx context.Context, cluster string) (*Access, error)
}

// Canceller stops work in flight.
type Canceller interface {
	Cancel(ctx context.Context, r CancelRequest) (*Operation, error)
}
