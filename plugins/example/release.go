package example

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/plugins/example/cloud"
)

// Releases of this cloud are versions of its templates: "7" is one, "latest" the
// newest for which an image was published.

// Releases compares the groups with a release. One describe answers for all.
func (d *Driver) Releases(_ context.Context, scope sdk.Scope, release string) (*sdk.Releases, error) {
	state, err := d.client().Describe()
	if err != nil {
		return nil, wire(err)
	}
	if state.Cluster != scope.Cluster {
		return nil, sdk.Errorf(codes.NotFound, "cluster %s does not exist", scope.Cluster)
	}
	out := &sdk.Releases{}
	for _, g := range state.Groups {
		if len(scope.Groups) == 0 || slices.Contains(scope.Groups, g.ID) {
			out.Groups = append(out.Groups, compare(state, g, release))
		}
	}
	return out, nil
}

func compare(state cloud.State, g cloud.Group, release string) sdk.GroupRelease {
	out := sdk.GroupRelease{GroupID: g.ID, GroupName: g.Name, Role: sdk.RoleNode, Current: describe(state, g.Template)}
	version, why := resolve(state, g, release)
	if why != nil {
		out.Diagnostics = []sdk.Diagnostic{*why}
		return out
	}
	target := describe(state, version)
	out.Target = &target
	switch cmp.Compare(version, g.Template) {
	case 0:
		out.Order = sdk.ReleaseSame
	case 1:
		out.Order = sdk.ReleaseNewer
	default:
		out.Order = sdk.ReleaseOlder
	}
	return out
}

// resolve turns a release into the version of a template, or says why it cannot.
func resolve(state cloud.State, g cloud.Group, release string) (int, *sdk.Diagnostic) {
	published := func(i cloud.Image) bool { return strconv.Itoa(i.Template) == release }
	switch {
	case release == "latest":
		newest := g.Template
		for _, i := range state.Images {
			newest = max(newest, i.Template)
		}
		return newest, nil
	case release == strconv.Itoa(g.Template):
		return g.Template, nil
	case slices.ContainsFunc(state.Images, published):
		version, _ := strconv.Atoi(release) // it is one: published compared it with one
		return version, nil
	}
	return 0, &sdk.Diagnostic{Severity: sdk.SeverityError, Code: "release-unknown", Object: g.ID,
		Summary: fmt.Sprintf("group %s: there is no release %q", g.Name, release), Detail: "give latest, or the version of a template for which an image was published"}
}

func describe(state cloud.State, version int) sdk.Release {
	out := sdk.Release{ID: strconv.Itoa(version)}
	for _, i := range state.Images {
		if i.Template == version {
			out.Name, out.Created = i.Name, i.Published
		}
	}
	return out
}

// Stage makes a release the group's template: instances launched from now on run
// it, those that are there stay. A rotation that holds the group has the last
// word about what it is rotated to.
func (d *Driver) Stage(_ context.Context, r sdk.StageRequest) (*sdk.StageResult, error) {
	state, err := d.client().Describe()
	if err != nil {
		return nil, wire(err)
	}
	i := slices.IndexFunc(state.Groups, func(g cloud.Group) bool { return g.ID == r.GroupID })
	if i < 0 {
		return nil, sdk.Errorf(codes.NotFound, "group %s does not exist", r.GroupID)
	}
	g := state.Groups[i]
	if holder := g.Tags[tagHeldBy]; holder != "" {
		return nil, sdk.Errorf(codes.Aborted, "group %s is held by rotation %s", g.Name, holder)
	}
	version, why := resolve(state, g, r.Release)
	if why == nil && version < g.Template && !r.AllowDowngrade {
		why = &sdk.Diagnostic{Severity: sdk.SeverityError, Code: "release-older", Object: g.ID,
			Summary: fmt.Sprintf("group %s: release %d is older than its own, %d", g.Name, version, g.Template), Detail: "allow a downgrade if it is meant"}
	}
	if why != nil {
		return &sdk.StageResult{Operation: *failed(*why)}, nil
	}
	out := &sdk.StageResult{Operation: *done(), Previous: describe(state, g.Template), Staged: describe(state, version)}
	if r.DryRun || version == g.Template {
		return out, nil
	}
	return out, wire(d.client().SetTemplate(g.ID, version))
}
