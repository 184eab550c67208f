package kops

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"google.golang.org/grpc/codes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kopsapi "k8s.io/kops/pkg/apis/kops"

	"github.com/rotatord/rotator/drivers/sdk"
)

// maxReport bounds what of the report of a dry run goes into a diagnostic, in
// bytes: a diff of the user data of all groups is long.
const maxReport = 8 << 10

// Stage implements sdk.Stager: it sets the image of an instance group in the
// state store, and applies that as `kops update cluster --yes` does.
//
// kops applies everything that is specified. So a dry run comes first, and what
// it shows beside the image of this group is refused: the launch template of
// the group is all that may change. After a crash the state store may name an
// image that was not applied; the same call goes on from there. No state is
// kept that is not in the state store or in the launch template, whose versions
// stay, so that the way back is to stage the earlier image.
func (d *Driver) Stage(ctx context.Context, r sdk.StageRequest) (*sdk.StageResult, error) {
	if _, _, err := d.configured(); err != nil {
		return nil, err
	}
	cluster, _, err := splitGroupID(r.GroupID)
	if err != nil {
		return nil, err
	}
	// Of the cluster, not of the group: everything is applied.
	unlock, err := d.changing.lock(ctx, cluster)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, failure, err := d.openStage(ctx, r)
	if failure != nil || err != nil {
		return failure, err
	}
	if g.reached() {
		return g.done(sdk.Operation{State: sdk.OperationDone}), nil
	}
	diff, diag, err := g.difference(ctx)
	switch {
	case err != nil:
		return nil, err
	case diag != nil:
		return notStaged(*diag), nil
	case r.DryRun:
		return g.done(sdk.Operation{
			State: sdk.OperationDone, Phase: "dry run: nothing was changed",
			Diagnostics: []sdk.Diagnostic{finding(sdk.SeverityInfo, "dry-run", g.ig.Name, clip(diff.report), "kops update cluster would change:")},
		}), nil
	}
	defer d.view.changed()
	defer d.view.forgetSpec(cluster)
	if diag, err := g.specify(ctx); diag != nil || err != nil {
		return notStagedBy(diag), err
	}
	if diag, err := g.apply(ctx); diag != nil || err != nil {
		return notStagedBy(diag), err
	}
	return g.done(sdk.Operation{State: sdk.OperationDone}), nil
}

// staging is one call of Stage.
type staging struct {
	inventory
	d        *Driver
	store    *store
	ig       *kopsapi.InstanceGroup
	template string // name of the group's launch template
	applied  string // id of the image that the group launches from
	// current is that image; nil: it is gone.
	current, target *image
	found           *images
}

// openStage reads all that Stage decides by. A result ends the call.
func (d *Driver) openStage(ctx context.Context, r sdk.StageRequest) (*staging, *sdk.StageResult, error) {
	_, s, err := d.configured()
	if err != nil {
		return nil, nil, err
	}
	cluster, name, err := splitGroupID(r.GroupID)
	if err != nil {
		return nil, nil, err
	}
	g := &staging{d: d, store: s}
	if g.spec, err = d.spec(ctx, s, cluster, 0); err != nil {
		return nil, nil, err
	}
	if g.ig = g.spec.group(name); g.ig == nil {
		return nil, nil, sdk.Errorf(codes.NotFound, "cluster %s has no instance group %s in its state store", cluster, name)
	}
	if !traitsOf(g.cluster.GetCloudProvider(), g.ig, 1).Stage {
		return nil, nil, sdk.Errorf(codes.FailedPrecondition, "instance group %s cannot be staged: use kops edit instancegroup and kops update cluster", name)
	}
	if g.cloud, err = d.cloud(ctx, g.cluster); err != nil {
		return nil, nil, err
	}
	blocked, err := d.stageBlocked(ctx, g.spec)
	if err != nil {
		return nil, nil, err
	}
	if len(blocked) > 0 {
		return nil, notStaged(blocked...), nil
	}
	if err := d.readTemplates(ctx, &g.inventory); err != nil {
		return nil, nil, err
	}
	applied, ok := g.templates[name]
	if !ok {
		return nil, notStaged(finding(sdk.SeverityError, "group-not-applied", name, "Run kops update cluster --yes first.",
			"instance group %s of cluster %s has no launch template in the cloud", name, cluster)), nil
	}
	g.applied, g.template = applied.image, aws.ToString(templateOf(asgOf(g.groups[name])).LaunchTemplateName)
	g.found = d.images(g.aws())
	if err := g.found.readIDs(ctx, []string{g.applied}); err != nil {
		return nil, nil, err
	}
	g.current = g.found.byID[g.applied]
	var diag *sdk.Diagnostic
	if g.target, diag = g.found.target(ctx, g.spec, g.ig, g.current, r.Release); diag != nil {
		return nil, notStaged(*diag), nil
	}
	if diag := g.found.misfit(ctx, g.ig, g.target); diag != nil {
		return nil, notStaged(*diag), nil
	}
	if orderOf(g.applied, g.current, g.target) == sdk.ReleaseOlder && !r.AllowDowngrade {
		return nil, notStaged(finding(sdk.SeverityError, "release-older", name, "Allow the downgrade if it is meant.",
			"image %s (%s) is older than %s (%s), from which instance group %s is launched", g.target.id, g.target.name, g.current.id, g.current.name, name)), nil
	}
	return g, nil, nil
}

// reached tells whether the group launches from the target, and its
// specification says so.
func (g *staging) reached() bool {
	return g.applied == g.target.id && g.ig.Spec.Image == g.target.spelled
}

// done is the answer when the target is staged, or would be.
func (g *staging) done(op sdk.Operation) *sdk.StageResult {
	out := &sdk.StageResult{Operation: op, Previous: sdk.Release{ID: g.applied}, Staged: g.target.release()}
	if g.current != nil {
		out.Previous = g.current.release()
	}
	return out
}

func notStaged(diags ...sdk.Diagnostic) *sdk.StageResult {
	return &sdk.StageResult{Operation: *failed(diags...)}
}

func notStagedBy(diag *sdk.Diagnostic) *sdk.StageResult {
	if diag == nil {
		return nil
	}
	return notStaged(*diag)
}

// difference is what `kops update cluster` would change with the target set. A
// diagnostic says that it is more than the group's image.
func (g *staging) difference(ctx context.Context) (*difference, *sdk.Diagnostic, error) {
	only := "modify LaunchTemplate/" + g.template
	diff, diag, err := g.dryRun(ctx, g.target.spelled)
	switch {
	case diag != nil || err != nil:
		return nil, diag, err
	case len(diff.changes) == 0 && g.applied == g.target.id, diff.is(only, "ImageID"):
		return diff, nil, nil // the first: another spelling of the same image
	}
	// Either the specification differs elsewhere, or the image brings it with it
	// (the name of its root device). A dry run with the image as it is tells.
	before, diag, err := g.dryRun(ctx, g.applied)
	if diag != nil || err != nil {
		return nil, diag, err
	}
	if len(before.changes) > 0 {
		var list []string
		for _, c := range before.changes {
			list = append(list, c.what)
		}
		diag := finding(sdk.SeverityError, "cluster-not-applied", g.cluster.Name,
			"kops applies everything that is specified, and this is more than an image. Look at it, and run kops update cluster --yes first:\n"+clip(before.report),
			"cluster %s has changes that were not applied: %s", g.cluster.Name, some(list))
		return nil, &diag, nil
	}
	if more := diff.beyond(only); len(more) > 0 {
		diag := finding(sdk.SeverityError, "image-changes-more", g.ig.Name,
			"Set the image with kops edit instancegroup, look at kops update cluster, and apply it with --yes:\n"+clip(diff.report),
			"image %s for instance group %s changes more than the launch template of the group: %s", g.target.id, g.ig.Name, some(more))
		return nil, &diag, nil
	}
	return diff, nil, nil
}

func (g *staging) dryRun(ctx context.Context, image string) (*difference, *sdk.Diagnostic, error) {
	diff, err := call(ctx, &g.d.calls, "kops update cluster (dry run)", func() (*difference, error) {
		return g.store.update(context.WithoutCancel(ctx), g.spec, g.cloud, map[string]string{g.ig.Name: image}, false)
	})
	if err != nil {
		diag, err := g.updateFailed("kops update cluster (dry run)", err)
		return nil, diag, err
	}
	return diff, nil, nil
}

// updateFailed makes a diagnostic of an error of the library, and leaves one
// that is a status, as of a deadline.
func (g *staging) updateFailed(what string, err error) (*sdk.Diagnostic, error) {
	if isStatus(err) {
		return nil, err
	}
	diag := diagnose(what, g.cluster.Name, err)
	if diag.Code == "cloud-failed" {
		// Most of what it says is about the specification, or about files that it did
		// not get.
		diag.Code, diag.Detail = "kops-update-failed", "kops update cluster must work with the same settings."
	}
	return &diag, nil
}

// specify writes the target to the state store, unless somebody changed the
// instance group since it was read.
func (g *staging) specify(ctx context.Context) (*sdk.Diagnostic, error) {
	if g.ig.Spec.Image == g.target.spelled {
		return nil, nil
	}
	changed, err := call(ctx, &g.d.calls, "writing the state store", func() (bool, error) {
		ctx := context.WithoutCancel(ctx)
		client := g.store.client.InstanceGroupsFor(g.cluster)
		now, err := client.Get(ctx, g.ig.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if !reflect.DeepEqual(now.Spec, g.ig.Spec) {
			return true, nil
		}
		now.Spec.Image = g.target.spelled
		_, err = client.Update(ctx, now, metav1.UpdateOptions{})
		return false, err
	})
	switch {
	case err != nil && isStatus(err):
		return nil, err
	case err != nil:
		diag := diagnose("writing the state store", g.ig.Name, err)
		return &diag, nil
	case changed:
		return nil, sdk.Errorf(codes.Aborted, "instance group %s was changed in the state store at this moment: look again", g.ig.Name)
	}
	return nil, nil
}

// apply runs `kops update cluster --yes`, and looks whether the group launches
// from the target now. What ran into the deadline goes on by itself, and the
// same call waits for its end.
func (g *staging) apply(ctx context.Context) (*sdk.Diagnostic, error) {
	// A rotation that took a group meanwhile has suspended what this would resume.
	blocked, err := g.d.stageBlocked(ctx, g.spec)
	if err != nil {
		return nil, err
	}
	if len(blocked) > 0 {
		return &blocked[0], nil
	}
	_, err = call(ctx, &g.d.calls, "kops update cluster --yes", func() (*difference, error) {
		return g.store.update(context.WithoutCancel(ctx), g.spec, g.cloud, map[string]string{g.ig.Name: g.target.spelled}, true)
	})
	if err != nil {
		return g.updateFailed("kops update cluster --yes", err)
	}
	if err := g.d.readTemplates(ctx, &g.inventory); err != nil {
		return nil, err
	}
	if now := g.templates[g.ig.Name].image; now != g.target.id {
		diag := finding(sdk.SeverityError, "image-not-applied", g.ig.Name, "Run kops update cluster, and look at what it says.",
			"kops update cluster has ended, and instance group %s launches from image %s, not from %s", g.ig.Name, now, g.target.id)
		return &diag, nil
	}
	return nil, nil
}

// some lists a few of many.
func some(list []string) string {
	const few = 5
	if len(list) <= few {
		return strings.Join(list, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(slices.Clone(list[:few]), "; "), len(list)-few)
}

// clip bounds a report.
func clip(report string) string {
	if len(report) <= maxReport {
		return report
	}
	cut := strings.LastIndexByte(report[:maxReport], '\n')
	return fmt.Sprintf("%s\n(%d bytes more: kops update cluster shows all)", report[:max(cut, 0)], len(report)-max(cut, 0))
}
