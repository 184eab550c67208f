package kops

import (
	"context"
	"slices"
	"strings"

	"github.com/blang/semver/v4"
	kopsbase "k8s.io/kops"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Releases implements sdk.Stager. A group's current release is the image that
// it launches from now, which is not the specification's where that was not
// applied. Beside what Observe asks for it is one call for each launch template
// that was not read yet, one for all images, and one for each name of an image.
func (d *Driver) Releases(ctx context.Context, scope sdk.Scope, release string) (*sdk.Releases, error) {
	_, s, err := d.configured()
	if err != nil {
		return nil, err
	}
	inv := &inventory{}
	if inv.spec, err = d.spec(ctx, s, scope.Cluster, 0); err != nil {
		return nil, err
	}
	if inv.cloud, err = d.cloud(ctx, inv.cluster); err != nil {
		return nil, err
	}
	out := &sdk.Releases{}
	if inv.aws() == nil {
		return out, nil // no group has the trait
	}
	if err := d.readTemplates(ctx, inv); err != nil {
		return nil, err
	}
	blocked, err := d.stageBlocked(ctx, inv.spec)
	if err != nil {
		return nil, err
	}
	found := d.images(inv.aws())
	var ids []string
	for _, t := range inv.templates {
		ids = append(ids, t.image)
	}
	if err := found.readIDs(ctx, ids); err != nil {
		return nil, err
	}
	for _, ig := range inv.spec.groups {
		id := groupID(scope.Cluster, ig.Name)
		applied, ok := inv.templates[ig.Name]
		if !ok || !traitsOf(inv.cluster.GetCloudProvider(), ig, 1).Stage || len(scope.Groups) > 0 && !slices.Contains(scope.Groups, id) {
			continue
		}
		g := sdk.GroupRelease{GroupID: id, GroupName: ig.Name, Role: roleOf(ig.Spec.Role), Current: sdk.Release{ID: applied.image}, Diagnostics: slices.Clone(blocked)}
		current := found.byID[applied.image]
		if current != nil {
			g.Current = current.release()
		}
		target, diag := found.target(ctx, inv.spec, ig, current, release)
		if diag != nil {
			g.Diagnostics = append(g.Diagnostics, *diag)
			out.Groups = append(out.Groups, g)
			continue
		}
		r := target.release()
		g.Target, g.Order = &r, orderOf(applied.image, current, target)
		if diag := found.misfit(ctx, ig, target); diag != nil {
			g.Diagnostics = append(g.Diagnostics, *diag)
		}
		out.Groups = append(out.Groups, g)
	}
	return out, nil
}

// readTemplates reads the cloud's groups and what they launch from.
func (d *Driver) readTemplates(ctx context.Context, inv *inventory) error {
	var err error
	inv.groups, err = call(ctx, &d.calls, "looking at the cloud", func() (map[string]*cloudinstances.CloudInstanceGroup, error) {
		return inv.cloud.GetCloudGroups(inv.cluster, inv.spec.groups, false, nil)
	})
	if err != nil {
		return statusOf("looking at the groups", "cluster "+inv.cluster.Name, err)
	}
	if inv.versions, err = awsVersions(ctx, inv.aws(), inv.groups); err != nil {
		return statusOf("ec2:DescribeLaunchTemplates", "cluster "+inv.cluster.Name, err)
	}
	inv.templates, err = d.templates(ctx, inv.aws(), inv.groups, inv.versions)
	return err
}

// orderOf compares images by when they were made.
func orderOf(applied string, current, target *image) sdk.ReleaseOrder {
	switch {
	case target.id == applied:
		return sdk.ReleaseSame
	case current == nil || current.created.IsZero() || target.created.IsZero():
		return sdk.ReleaseUnknown
	case target.created.Before(current.created):
		return sdk.ReleaseOlder
	}
	return sdk.ReleaseNewer
}

// misfit says that an image does not run on an instance group's machines; nil:
// it does.
func (m *images) misfit(ctx context.Context, ig *kopsapi.InstanceGroup, target *image) *sdk.Diagnostic {
	arch, err := m.arch(ctx, ig.Spec.MachineType)
	if err != nil {
		diag := diagnose("ec2:DescribeInstanceTypes", ig.Spec.MachineType, err)
		return &diag
	}
	if target.fits(arch) {
		return nil
	}
	diag := finding(sdk.SeverityError, "architecture-differs", ig.Name, "Name an image of the machines' architecture.",
		"image %s (%s) is for %s, and the machines of instance group %s (%s) are %s", target.id, target.name, target.arch, ig.Name, ig.Spec.MachineType, arch)
	return &diag
}

// stageBlocked says why nothing of a cluster can be staged; empty: it can.
func (d *Driver) stageBlocked(ctx context.Context, sp *spec) ([]sdk.Diagnostic, error) {
	var list []sdk.Diagnostic
	cluster := sp.cluster.Name
	add := func(code, detail, summary string, args ...any) {
		list = append(list, finding(sdk.SeverityError, code, cluster, detail, summary, args...))
	}
	if t := sp.cluster.Spec.Target; t != nil && t.Terraform != nil {
		add("cluster-of-terraform", "Set the images with kops edit instancegroup, then kops update cluster --target=terraform and terraform apply.",
			"cluster %s targets Terraform, whose state would not know of what is applied directly", cluster)
	}
	switch minor := minorOf(sp.version); {
	case sp.version == "":
		add("cluster-not-applied", "Run kops update cluster --yes first.", "the state store does not say which kops has applied cluster %s", cluster)
	case minor != minorOf(kopsbase.Version):
		add("kops-version-differs", "Use the release of rotator that is made for that kops, or upgrade the cluster with kops first: applying it with another minor version upgrades more than an image.",
			"cluster %s was last applied by kops %s, and this driver is made for kops %s", cluster, sp.version, kopsbase.Version)
	}
	holds, bad, err := d.holdsOf(ctx, sp)
	if err != nil {
		return nil, err
	}
	var holders []string
	for group, hold := range holds {
		holders = append(holders, group+" by rotation "+hold.Rotation)
	}
	for group, err := range bad {
		list = append(list, unreadableDiagnostic(group, sp.holdPath(group), err))
	}
	if len(holders) > 0 {
		slices.Sort(holders)
		diag := finding(sdk.SeverityError, "cluster-held", cluster,
			"To apply an image resumes what rotations have suspended. Let them finish, or resume or abort them.",
			"instance groups of cluster %s are held: %s", cluster, strings.Join(holders, ", "))
		diag.Retry = sdk.RetryLater
		list = append(list, diag)
	}
	return list, nil
}

// minorOf is the minor version of a version, as 1.36; what is none is itself.
func minorOf(version string) string {
	v, err := semver.ParseTolerant(version)
	if err != nil {
		return version
	}
	return semver.Version{Major: v.Major, Minor: v.Minor}.String()
}
