package core

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// latest is the release that is meant where none is named.
const latest = "latest"

// Releases compares the selected groups with a release.
type Releases struct {
	Release string // as asked for
	Groups  []model.GroupRelease
	// Diagnostics are the driver's findings about the whole.
	Diagnostics []model.Diagnostic
}

// CheckReleases compares the groups that o.Spec selects with o.Spec.Release; an
// empty one is the latest. Only the driver is asked, and nothing is changed.
// Errors are *host.Error, *engine.Error and *plan.SelectionError.
func CheckReleases(ctx context.Context, o Options) (*Releases, error) {
	r := &Rotator{opts: o}
	defer r.Close()
	if err := r.openProvider(ctx); err != nil {
		return nil, err
	}
	return r.releases(ctx, nil)
}

// releases asks the driver about groups, by id, and keeps those that are
// selected; none: all.
func (r *Rotator) releases(ctx context.Context, groups []string) (*Releases, error) {
	if r.opts.Spec.Release == "" {
		r.opts.Spec.Release = latest
	}
	s, err := r.stager()
	if err != nil {
		return nil, err
	}
	out := &Releases{Release: r.opts.Spec.Release}
	list, diagnostics, err := s.Releases(ctx, groups, out.Release)
	if err != nil {
		return nil, releaseError(err)
	}
	out.Diagnostics = diagnostics
	if len(groups) > 0 { // a driver may answer more than it was asked for
		out.Groups = slices.DeleteFunc(list, func(g model.GroupRelease) bool { return !slices.Contains(groups, g.GroupID) })
		return out, nil
	}
	out.Groups, err = plan.SelectReleases(r.opts.Spec, list)
	return out, err
}

func (r *Rotator) stager() (runtime.Stager, error) {
	if s, ok := r.provider.(runtime.Stager); ok {
		return s, nil
	}
	return nil, releaseError(&engine.Error{Code: engine.ErrUnsupported, Message: "the provider's port is the embedder's own and stages no releases"})
}

// releaseError says what to do where a driver knows no releases.
func releaseError(err error) error {
	var e *engine.Error
	if errors.As(err, &e) && e.Code == engine.ErrUnsupported {
		return &engine.Error{Code: e.Code, Message: e.Message + ": this driver knows no releases; change the groups' image by the means that made them, and rotate without a release"}
	}
	return err
}

// compareReleases asks for the releases of groups that the rotation has yet to
// stage, where it is asked to stage one.
func (r *Rotator) compareReleases(ctx context.Context, groups []model.NodeGroup) error {
	r.inventory.Releases = nil
	if r.opts.Spec.Release == "" {
		return nil
	}
	var ids []string
	for _, g := range groups {
		if g.Traits.Stage && !r.past.memory.Staged[g.Name] {
			ids = append(ids, g.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	s, err := r.stager()
	if err != nil {
		return err
	}
	list, diagnostics, err := s.Releases(ctx, ids, r.opts.Spec.Release)
	if err != nil {
		return fmt.Errorf("comparing the groups with release %s: %w", r.opts.Spec.Release, releaseError(err))
	}
	r.inventory.Releases = list
	r.diagnostics = append(slices.Clip(r.diagnostics), diagnostics...)
	return nil
}
