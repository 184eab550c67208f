package runtime

import (
	"context"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// Provider is the port to the driver. Implementations give every call a
// deadline, restart a crashed driver, and classify errors.
type Provider interface {
	// Observe returns a whole snapshot no older than maxAge.
	Observe(ctx context.Context, maxAge time.Duration) (*engine.Snapshot, []model.Diagnostic, error)
	// Do performs an effect of the provider other than an Observe. A nil error
	// means that the goal is reached or accepted. Errors are *engine.Error.
	Do(ctx context.Context, rotation string, e engine.Effect) error
}

// Cluster is the port to Kubernetes.
type Cluster interface {
	// Start lists and watches; it returns once the caches hold a whole list.
	// Changes then arrive at Changes. It ends with ctx.
	Start(ctx context.Context) error
	// Inventory returns the cluster's half of an inventory: nodes, pods,
	// workloads and budgets. Valid after Start.
	Inventory() model.Inventory
	// Changes delivers deltas since Inventory, coalesced (at most one value
	// every 100 ms, at once when nothing was pending); only the delta fields of
	// Input are set. The channel is never closed.
	Changes() <-chan engine.Input
	// PatchNode, PatchWorkload, Evict and DeletePod perform effects. Errors are *engine.Error.
	PatchNode(ctx context.Context, node string, p engine.NodePatch) error
	PatchWorkload(ctx context.Context, k model.WorkloadKey, p engine.WorkloadPatch) error
	Evict(ctx context.Context, pod engine.PodRef, grace *int64) error
	DeletePod(ctx context.Context, pod engine.PodRef, grace *int64) error
	// DeleteNode deletes one life of a Node object. That it is gone already, or
	// another has its name, is success.
	DeleteNode(ctx context.Context, node, uid string) error
	// CheckAPI asks the API server whether it is ready (/readyz): nil, or an
	// *engine.Error with what it says is not. It changes nothing.
	CheckAPI(ctx context.Context) error
}

// Lock is what makes this rotation the only one of its cluster. It may be lost
// at any time: the network, a machine that slept.
type Lock interface {
	// Fence rises with each acquisition.
	Fence() int64
	// Valid is until when nobody else can have the lock, as far as is known now;
	// renewals move it. The zero time: it is not valid any more.
	Valid() time.Time
	// Lost is closed when the lock is lost, for good; Err says why then.
	Lost() <-chan struct{}
	Err() error
}

// Journal keeps events. Append returns once they are durable: all of them, or
// none. An error with a method Transient that answers true leaves open whether
// they are; the same events may then be appended again, and no others.
type Journal interface {
	Append(ctx context.Context, events []event.Event) error
}

// Sink receives every event after it is durable: progress lines, reports.
// Publish must not block for long and must not fail.
type Sink interface {
	Publish(events []event.Event)
}

// Recaller is a Sink that wants to know what the earlier runs of a resumed
// rotation did. Recall gets their durable events, in order, once, before the
// first Publish; it must not block for long.
type Recaller interface {
	Sink
	Recall(past []event.Event)
}
