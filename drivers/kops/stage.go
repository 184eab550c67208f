package kops

import (
	"context"
	"errors"
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

// codeNotApplied says that kops would apply more than images.
const codeNotApplied = "cluster-not-applied"

// Stage implements sdk.Stager: it sets the image of an instance group in the
// state store, and applies that as `kops update cluster --yes` does.
//
// kops applies all that is specified for a cluster, and takes as long for the
// image of one group as for those of all. So calls for one cluster are served
// together (see stages). A dry run comes first, and the launch templates of the
// calls' groups are all that may change. After a crash the state store may name
// images that were not applied; the same calls go on from there. No state is
// kept that is not in the state store or in the launch templates, whose versions
// stay, so that the way back is to stage the earlier image.
func (d *Driver) Stage(ctx context.Context, r sdk.StageRequest) (*sdk.StageResult, error) {
	if _, _, err := d.configured(); err != nil {
		return nil, err
	}
	cluster, group, err := splitGroupID(r.GroupID)
	if err != nil {
		return nil, err
	}
	c := newStageCall(ctx, group, r)
	first, err := d.stages.queue(cluster, c)
	if err != nil {
		return nil, err
	}
	if first {
		go d.runStages(context.WithoutCancel(ctx), cluster)
	}
	return c.wait(ctx)
}

// stageAll answers calls, with one update for all of them. An error is the
// answer of those that it leaves without.
func (d *Driver) stageAll(ctx context.Context, cluster string, calls []*stageCall) error {
	if !slices.ContainsFunc(calls, func(c *stageCall) bool { return !c.isAnswered() }) {
		return nil
	}
	u, err := d.openUpdate(ctx, cluster)
	if err != nil {
		return err
	}
	if err := u.resolve(ctx, calls); err != nil || len(u.staged) == 0 {
		return err
	}
	diff, err := u.difference(ctx)
	if err != nil || len(u.staged) == 0 {
		return err
	}
	if calls[0].r.DryRun {
		for _, g := range u.staged {
			g.done(sdk.Operation{
				State: sdk.OperationDone, Phase: "dry run: nothing was changed",
				Diagnostics: []sdk.Diagnostic{finding(sdk.SeverityInfo, "dry-run", g.ig.Name, clip(diff.report), "kops update cluster would change:")},
			})
		}
		return nil
	}
	// A rotation that took a group meanwhile has suspended what this would resume.
	if err := u.mayStage(ctx); err != nil {
		return err
	}
	defer d.view.changed()
	defer d.view.forgetSpec(cluster)
	u.specify(ctx)
	return u.apply(ctx)
}

// update is one `kops update cluster` for the calls that are served together.
type update struct {
	inventory
	d      *Driver
	store  *store
	found  *images
	staged []*staging // in the order of the calls; what is answered is taken out
}

// staging is one instance group and the calls for it, which want the same.
type staging struct {
	calls    []*stageCall
	ig       *kopsapi.InstanceGroup
	template string // name of the group's launch template
	applied  string // id of the image that the group launches from
	// current is that image; nil: it is gone.
	current, target *image
}

// openUpdate reads what all calls for a cluster are decided by.
func (d *Driver) openUpdate(ctx context.Context, cluster string) (*update, error) {
	_, s, err := d.configured()
	if err != nil {
		return nil, err
	}
	u := &update{d: d, store: s}
	if u.spec, err = d.spec(ctx, s, cluster, 0); err != nil {
		return nil, err
	}
	if u.cloud, err = d.cloud(ctx, u.cluster); err != nil {
		return nil, err
	}
	if u.aws() == nil {
		return u, nil // no group has the trait: resolve says so of each
	}
	if err := u.mayStage(ctx); err != nil {
		return nil, err
	}
	u.found = d.images(u.aws())
	return u, d.readTemplates(ctx, &u.inventory)
}

// mayStage refuses a cluster of which nothing can be staged.
func (u *update) mayStage(ctx context.Context) error {
	blocked, err := u.d.stageBlocked(ctx, u.spec)
	if err == nil && len(blocked) > 0 {
		err = refuseStage(blocked...)
	}
	return err
}

// resolve finds what each call is about, and answers those that are refused and
// those whose goal is reached.
func (u *update) resolve(ctx context.Context, calls []*stageCall) error {
	if u.found != nil {
		var ids []string
		for _, c := range calls {
			if t, ok := u.templates[c.group]; ok {
				ids = append(ids, t.image)
			}
		}
		if err := u.found.readIDs(ctx, ids); err != nil {
			return err
		}
	}
	for _, c := range calls {
		if c.isAnswered() {
			continue
		}
		if i := slices.IndexFunc(u.staged, func(g *staging) bool { return g.ig.Name == c.group }); i >= 0 {
			u.staged[i].calls = append(u.staged[i].calls, c)
			continue
		}
		g, err := u.stagingOf(ctx, c)
		switch {
		case err != nil:
			c.answer(nil, err)
		case g.reached():
			g.done(sdk.Operation{State: sdk.OperationDone})
		default:
			u.staged = append(u.staged, g)
		}
	}
	return nil
}

// stagingOf is what a call is about. An error is its answer.
func (u *update) stagingOf(ctx context.Context, c *stageCall) (*staging, error) {
	g := &staging{calls: []*stageCall{c}}
	if g.ig = u.group(c.group); g.ig == nil {
		return nil, sdk.Errorf(codes.NotFound, "cluster %s has no instance group %s in its state store", u.cluster.Name, c.group)
	}
	if u.aws() == nil || !traitsOf(u.cluster.GetCloudProvider(), g.ig, 1).Stage {
		return nil, sdk.Errorf(codes.FailedPrecondition, "instance group %s cannot be staged: use kops edit instancegroup and kops update cluster", c.group)
	}
	applied, ok := u.templates[c.group]
	if !ok {
		return nil, refuseStage(finding(sdk.SeverityError, "group-not-applied", c.group, "Run kops update cluster --yes first.",
			"instance group %s of cluster %s has no launch template in the cloud", c.group, u.cluster.Name))
	}
	g.applied, g.template = applied.image, aws.ToString(templateOf(asgOf(u.groups[c.group])).LaunchTemplateName)
	g.current = u.found.byID[g.applied]
	var diag *sdk.Diagnostic
	if g.target, diag = u.found.target(ctx, u.spec, g.ig, g.current, c.r.Release); diag != nil {
		return nil, refuseStage(*diag)
	}
	if diag := u.found.misfit(ctx, g.ig, g.target); diag != nil {
		return nil, refuseStage(*diag)
	}
	if orderOf(g.applied, g.current, g.target) == sdk.ReleaseOlder && !c.r.AllowDowngrade {
		return nil, refuseStage(finding(sdk.SeverityError, "release-older", c.group, "Allow the downgrade if it is meant.",
			"image %s (%s) is older than %s (%s), from which instance group %s is launched", g.target.id, g.target.name, g.current.id, g.current.name, c.group))
	}
	return g, nil
}

// reached tells whether the group launches from the target, and its
// specification says so.
func (g *staging) reached() bool {
	return g.applied == g.target.id && g.ig.Spec.Image == g.target.spelled
}

// change is what kops calls a change of the group's launch template.
func (g *staging) change() string { return "modify LaunchTemplate/" + g.template }

// done answers that the target is staged, or would be.
func (g *staging) done(op sdk.Operation) {
	out := &sdk.StageResult{Operation: op, Previous: sdk.Release{ID: g.applied}, Staged: g.target.release()}
	if g.current != nil {
		out.Previous = g.current.release()
	}
	g.answer(out, nil)
}

func (g *staging) answer(result *sdk.StageResult, err error) {
	for _, c := range g.calls {
		c.answer(result, err)
	}
}

// keep asks of each group whether it goes on; an error is its answer, and it is
// taken out.
func (u *update) keep(ask func(*staging) error) {
	var kept []*staging
	for _, g := range u.staged {
		if err := ask(g); err != nil {
			g.answer(nil, err)
			continue
		}
		kept = append(kept, g)
	}
	u.staged = kept
}

// difference is what `kops update cluster` would change with the targets set.
// Groups whose target changes more than their launch template are answered and
// taken out; an error is for all.
func (u *update) difference(ctx context.Context) (*difference, error) {
	diff, err := u.dryRun(ctx, u.staged...)
	if err != nil || u.onlyImages(diff) {
		return diff, err
	}
	// Either the specification differs elsewhere, or an image brings it with it (the
	// name of its root device). A dry run with the images as they are tells.
	before, err := u.dryRun(ctx)
	if err != nil {
		return nil, err
	}
	if more := before.beyond(); len(more) > 0 {
		return nil, refuseStage(finding(sdk.SeverityError, codeNotApplied, u.cluster.Name,
			"kops applies everything that is specified, and this is more than an image. Look at it, and run kops update cluster --yes first:\n"+clip(before.report),
			"cluster %s has changes that were not applied: %s", u.cluster.Name, some(more)))
	}
	if len(u.staged) > 1 {
		// Which image it is, each alone tells.
		n := len(u.staged)
		u.keep(func(g *staging) error {
			if err != nil {
				return err
			}
			var alone *difference
			if alone, err = u.dryRun(ctx, g); err != nil {
				return err
			}
			return u.changesMore(alone, g)
		})
		if err != nil || len(u.staged) == 0 {
			return nil, err
		}
		if len(u.staged) < n {
			if diff, err = u.dryRun(ctx, u.staged...); err != nil {
				return nil, err
			}
		}
	}
	u.keep(func(g *staging) error { return u.changesMore(diff, g, u.staged...) })
	return diff, nil
}

// onlyImages tells whether a difference is the images of the launch templates
// that get another one, and nothing else.
func (u *update) onlyImages(diff *difference) bool {
	n := 0
	for _, g := range u.staged {
		switch {
		case diff.has(g.change(), "ImageID"):
			n++
		case g.applied != g.target.id: // else it is another spelling of the same image
			return false
		}
	}
	return n == len(diff.changes)
}

// changesMore refuses a group when a difference is more than the launch
// templates of the group and of the others; nil: it is not.
func (u *update) changesMore(diff *difference, g *staging, others ...*staging) error {
	templates := []string{g.change()}
	for _, o := range others {
		templates = append(templates, o.change())
	}
	more := diff.beyond(templates...)
	if len(more) == 0 {
		return nil
	}
	return refuseStage(finding(sdk.SeverityError, "image-changes-more", g.ig.Name,
		"Set the image with kops edit instancegroup, look at kops update cluster, and apply it with --yes:\n"+clip(diff.report),
		"image %s for instance group %s changes more than the launch template of the group: %s", g.target.id, g.ig.Name, some(more)))
}

// dryRun is the difference with the targets of some groups; the others of the
// update keep the image that they have.
func (u *update) dryRun(ctx context.Context, with ...*staging) (*difference, error) {
	images := map[string]string{}
	for _, g := range u.staged {
		images[g.ig.Name] = g.applied
	}
	for _, g := range with {
		images[g.ig.Name] = g.target.spelled
	}
	const what = "kops update cluster (dry run)"
	diff, err := call(ctx, &u.d.calls, what, func() (*difference, error) {
		return u.d.update(u.store, context.WithoutCancel(ctx), u.spec, u.cloud, images, false)
	})
	return diff, u.failed(what, err)
}

// failed makes a refusal of an error of the library, and leaves one that is a
// status, as of a deadline.
func (u *update) failed(what string, err error) error {
	if err == nil || isStatus(err) {
		return err
	}
	diag := diagnose(what, u.cluster.Name, err)
	if diag.Code == "cloud-failed" {
		// Most of what it says is about the specification, or about files that it did
		// not get.
		diag.Code, diag.Detail = "kops-update-failed", "kops update cluster must work with the same settings."
	}
	return refuseStage(diag)
}

// specify writes the targets to the state store, but for groups that somebody
// has changed since they were read.
func (u *update) specify(ctx context.Context) {
	u.keep(func(g *staging) error {
		if g.ig.Spec.Image == g.target.spelled {
			return nil
		}
		changed, err := call(ctx, &u.d.calls, "writing the state store", func() (bool, error) {
			ctx := context.WithoutCancel(ctx)
			client := u.store.client.InstanceGroupsFor(u.cluster)
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
			return err
		case err != nil:
			return refuseStage(diagnose("writing the state store", g.ig.Name, err))
		case changed:
			return sdk.Errorf(codes.Unavailable, "instance group %s was changed in the state store at this moment: look again", g.ig.Name)
		}
		return nil
	})
}

// apply runs `kops update cluster --yes`, and looks whether the groups launch
// from their targets now.
func (u *update) apply(ctx context.Context) error {
	if len(u.staged) == 0 {
		return nil
	}
	images := map[string]string{}
	for _, g := range u.staged {
		images[g.ig.Name] = g.target.spelled
	}
	const what = "kops update cluster --yes"
	_, err := call(ctx, &u.d.calls, what, func() (*difference, error) {
		return u.d.update(u.store, context.WithoutCancel(ctx), u.spec, u.cloud, images, true)
	})
	if err != nil {
		err = u.failed(what, err)
		if refused := (*stageRefusal)(nil); errors.As(err, &refused) {
			refused.diags[0].Detail += " The state store has the images already: the same command goes on with them."
		}
		return err
	}
	if err := u.d.readTemplates(ctx, &u.inventory); err != nil {
		return err
	}
	u.keep(func(g *staging) error {
		if now := u.templates[g.ig.Name].image; now != g.target.id {
			return refuseStage(finding(sdk.SeverityError, "image-not-applied", g.ig.Name, "Run kops update cluster, and look at what it says.",
				"kops update cluster has ended, and instance group %s launches from image %s, not from %s", g.ig.Name, now, g.target.id))
		}
		g.done(sdk.Operation{State: sdk.OperationDone})
		return nil
	})
	return nil
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
