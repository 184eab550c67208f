package runtime

import (
	"context"

	"github.com/rotatord/rotator/core/model"
)

// Stager is a Provider that knows releases. A driver may lack that: its answer is
// an *engine.Error of code ErrUnsupported.
type Stager interface {
	// Releases compares groups, by id, with a release; no group: all that can be
	// staged. It changes nothing. The diagnostics are about the whole.
	Releases(ctx context.Context, groups []string, release string) ([]model.GroupRelease, []model.Diagnostic, error)
	// Stage makes a release a group's desired revision and replaces nothing. The
	// same call again is idempotent; done is false while the provider works on it.
	// Errors are *engine.Error.
	Stage(ctx context.Context, rotation string, r StageRequest) (previous, staged model.Release, done bool, err error)
}

// StageRequest asks for one group.
type StageRequest struct {
	Op             string // its id, in the journal before the call
	GroupID        string
	Release        string
	AllowDowngrade bool
	DryRun         bool
}

// Accessor is a Provider that knows how its cluster is reached.
type Accessor interface {
	// Access answers with credentials that are good for a while. Errors are
	// *engine.Error; of code ErrUnsupported where the driver cannot tell.
	Access(ctx context.Context) (model.Access, error)
}
