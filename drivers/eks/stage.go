package eks

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// tagStaged is on the group, or on its node group: the latest Stage.
const tagStaged = tagPrefix + "staged"

// stageRecord is the tag rotatord.github.io/staged. It is written BEFORE the
// change, so that a repeat of the operation makes the same change, whatever is
// recommended by then, and can say what was before:
//
//	op=r-1-00001 from=ami-1 to=ami-2 version=3
type stageRecord struct {
	Op       string
	From, To string // images, or releases of EKS
	Version  int64  // of the launch template that the new one is made from; 0: none
}

func (r *stageRecord) String() string {
	var f fields
	f.add("op", r.Op)
	f.add("from", r.From)
	f.add("to", r.To)
	f.addInt("version", int(r.Version))
	return f.b.String()
}

func parseStageRecord(tags map[string]string) (*stageRecord, error) {
	value, ok := tags[tagStaged]
	if !ok {
		return nil, nil
	}
	r := read(value)
	rec := &stageRecord{Op: r.word("op"), From: r.word("from"), To: r.word("to"), Version: int64(r.number("version"))}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("tag %s: %w", tagStaged, err)
	}
	return rec, nil
}

// Stage implements sdk.Stager. Where the launch template names the image, a new
// version of it is made from the one in use, and the group pointed there if it
// does not follow the newest. A managed node group with EKS' own images is
// pinned to the release by a tag: nothing can change what it is made from
// without EKS rolling it, and Roll then rolls it there.
func (d *Driver) Stage(ctx context.Context, r sdk.StageRequest) (*sdk.StageResult, error) {
	cfg, c, err := d.configured()
	switch {
	case err != nil:
		return nil, err
	case len(r.ID) > maxOpID || strings.ContainsAny(r.ID, " \t\n"):
		return nil, sdk.Errorf(codes.InvalidArgument, "operation id %q: give at most %d characters without spaces", r.ID, maxOpID)
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := find(ctx, c, r.GroupID, r.RotationID)
	if op != nil || err != nil {
		return stageFailed(op), err
	}
	if op, err := d.stageTarget(ctx, c, cfg, g, r.RotationID); op != nil || err != nil {
		return stageFailed(op), err
	}
	rec, err := parseStageRecord(g.stageTags())
	if err != nil {
		return stageFailed(failed(finding(sdk.SeverityError, "record-unreadable", g.name, "A newer rotator wrote it, or somebody changed it. Remove the tag "+tagStaged+".",
			"group %s has a record of a staged release that cannot be read: %v", g.name, err))), nil
	}
	if rec != nil && rec.Op != r.ID {
		rec = nil
	}
	release := r.Release
	if rec != nil {
		release = rec.To // what this very operation meant when it began
	}
	l, err := d.compareOne(ctx, c, cfg, g, release)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		if diags := l.errorsOf(); len(diags) > 0 || l.Target == nil {
			return stageFailed(failed(l.Diagnostics...)), nil
		}
		if l.Order == sdk.ReleaseOlder && !r.AllowDowngrade {
			return stageFailed(failed(*refuse("release-downgrade", g.name, "Allow it, if that is what you want: --allow-downgrade.",
				"release %s is older than %s, which group %s has", describe(*l.Target), describe(l.Current), l.GroupName))), nil
		}
	}
	if l.Target == nil {
		return stageFailed(failed(l.Diagnostics...)), nil
	}
	res := &sdk.StageResult{Operation: sdk.Operation{State: sdk.OperationDone, Diagnostics: l.Diagnostics}, Previous: l.Current, Staged: *l.Target}
	if rec != nil {
		res.Previous = d.releaseCalled(l, rec.From)
	}
	switch {
	case l.Order == sdk.ReleaseSame:
		res.Phase = "already " + describe(*l.Target)
		return res, nil
	case r.DryRun:
		if diag := mayStage(ctx, c, l); diag != nil {
			return stageFailed(failed(*diag)), nil
		}
		res.Phase = "dry run: nothing was changed"
		return res, nil
	}
	if rec == nil {
		rec = &stageRecord{Op: r.ID, From: l.Current.ID, To: l.Target.ID, Version: l.version}
	}
	var diag *sdk.Diagnostic
	if l.managed() {
		diag = d.tagNodegroup(ctx, c, g.node, map[string]string{tagRelease: rec.To, tagStaged: rec.String()})
		res.Phase = "pinned to " + describe(*l.Target)
	} else {
		defer d.view.changed()
		diag = d.stageImage(ctx, c, l, rec)
		res.Phase = "launches from " + describe(*l.Target)
	}
	if diag != nil {
		return stageFailed(failed(*diag)), nil
	}
	return res, nil
}

func stageFailed(op *sdk.Operation) *sdk.StageResult {
	if op == nil {
		return nil
	}
	return &sdk.StageResult{Operation: *op}
}

// describe names a release for a person.
func describe(r sdk.Release) string {
	if r.Name == "" || r.Name == r.ID {
		return r.ID
	}
	return r.ID + " (" + r.Name + ")"
}

// releaseCalled is a release that a record names.
func (d *Driver) releaseCalled(l *comparison, id string) sdk.Release {
	if l.managed() {
		return releaseOf(amiTypes[l.g.node.AmiType], id, "", imageFacts{})
	}
	d.view.looking.Lock()
	defer d.view.looking.Unlock()
	f := d.view.images.known[id]
	f.id = id
	return f.release()
}

// stageTarget refuses a group that another rotation holds, and reads its node
// group.
func (d *Driver) stageTarget(ctx context.Context, c *clients, cfg Config, g *group, rotation string) (*sdk.Operation, error) {
	if g.nodegroup() == "" {
		return g.ours(cfg, rotation)
	}
	if !g.stages(cfg) {
		return failed(wayDiagnostic(g, g.way(cfg))), nil
	}
	if err := g.checkHolder(rotation); err != nil {
		return nil, err
	}
	return openNodegroup(ctx, c, cfg, g, rotation)
}

// stageTags are the tags that hold the record: the node group's where EKS
// chooses the image, since its Auto Scaling group is EKS'.
func (g *group) stageTags() map[string]string {
	if g.node != nil {
		return g.node.Tags
	}
	return g.tags
}

// compareOne is compare for one group.
func (d *Driver) compareOne(ctx context.Context, c *clients, cfg Config, g *group, release string) (*comparison, error) {
	v := &d.view
	v.looking.Lock()
	defer v.looking.Unlock()
	cluster := g.cluster()
	if v.nodegroups.cluster != cluster {
		v.nodegroups = nodegroups{cluster: cluster}
	}
	list, err := d.compare(ctx, c, cfg, cluster, []*group{g}, release, d.now())
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// cluster is the name of the cluster that the group's tags tell; empty: none, or
// more than one.
func (g *group) cluster() string {
	if name := g.tags[tagCluster]; name != "" {
		return name
	}
	found := ""
	for key := range g.tags {
		if name, ok := strings.CutPrefix(key, "kubernetes.io/cluster/"); ok {
			if found != "" {
				return ""
			}
			found = name
		}
	}
	return found
}

// stageImage makes a version of the template with the new image, and points the
// group there. In this order: the record, the version (the operation's id is its
// token, so that a repeat makes no second one), the group.
func (d *Driver) stageImage(ctx context.Context, c *clients, l *comparison, rec *stageRecord) *sdk.Diagnostic {
	var diag *sdk.Diagnostic
	if l.g.node != nil {
		diag = d.tagNodegroup(ctx, c, l.g.node, map[string]string{tagStaged: rec.String()})
	} else {
		diag = writeTags(ctx, c, l.g.name, map[string]string{tagStaged: rec.String()})
	}
	if diag != nil {
		return diag
	}
	in := l.templateVersion(rec.Version, rec.To)
	in.ClientToken = aws.String(token(rec.Op))
	out, err := c.ec2.CreateLaunchTemplateVersion(ctx, in)
	switch {
	case strings.HasSuffix(errCode(err), "VersionLimitExceeded"):
		return refuse("launch-template-full", l.template.key(),
			"Delete old ones: aws ec2 delete-launch-template-versions --launch-template-id "+cmp.Or(l.template.id, "ID")+" --versions N…",
			"launch template %s, of group %s, has as many versions as it may have", l.template.key(), l.GroupName)
	case err != nil:
		diag := diagnose("ec2:CreateLaunchTemplateVersion", l.template.key(), err)
		return &diag
	}
	if l.g.node != nil {
		return nil // Roll takes the newest version
	}
	return d.pointTo(ctx, c, l, strconv.FormatInt(aws.ToInt64(out.LaunchTemplateVersion.VersionNumber), 10))
}

// templateVersion is the request for a version of the template, made from
// another with the image alone changed, without token.
func (l *comparison) templateVersion(source int64, image string) *ec2.CreateLaunchTemplateVersionInput {
	in := &ec2.CreateLaunchTemplateVersionInput{
		SourceVersion: aws.String(strconv.FormatInt(source, 10)), VersionDescription: aws.String("rotator: " + image),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image},
	}
	if l.template.id != "" {
		in.LaunchTemplateId = &l.template.id
	} else {
		in.LaunchTemplateName = &l.template.name
	}
	return in
}

// mayStage asks EC2 whether the caller may make the version that Stage would
// make. For the pin of a managed node group there is nobody to ask.
func mayStage(ctx context.Context, c *clients, l *comparison) *sdk.Diagnostic {
	if l.managed() {
		return nil
	}
	in := l.templateVersion(l.version, l.Target.ID)
	in.DryRun = aws.Bool(true)
	_, err := c.ec2.CreateLaunchTemplateVersion(ctx, in)
	if err == nil || errCode(err) == "DryRunOperation" { // EC2's word for yes
		return nil
	}
	diag := diagnose("ec2:CreateLaunchTemplateVersion", l.template.key(), err)
	return &diag
}

// pointTo makes the group launch from a version of its template.
func (d *Driver) pointTo(ctx context.Context, c *clients, l *comparison, version string) *sdk.Diagnostic {
	switch l.template.version {
	case "$Latest":
		return nil
	case "$Default":
		in := &ec2.ModifyLaunchTemplateInput{DefaultVersion: &version}
		if l.template.id != "" {
			in.LaunchTemplateId = &l.template.id
		} else {
			in.LaunchTemplateName = &l.template.name
		}
		if _, err := c.ec2.ModifyLaunchTemplate(ctx, in); err != nil {
			diag := diagnose("ec2:ModifyLaunchTemplate", l.template.key(), err)
			return &diag
		}
		return nil
	}
	in := &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: &l.g.name}
	if p := l.g.MixedInstancesPolicy; p != nil {
		policy, lt := *p, *p.LaunchTemplate
		lt.LaunchTemplateSpecification = atVersion(lt.LaunchTemplateSpecification, version)
		policy.LaunchTemplate = &lt
		in.MixedInstancesPolicy = &policy
	} else {
		in.LaunchTemplate = atVersion(l.g.LaunchTemplate, version)
	}
	if _, err := c.asg.UpdateAutoScalingGroup(ctx, in); err != nil {
		diag := diagnose("autoscaling:UpdateAutoScalingGroup", l.g.name, err)
		return &diag
	}
	return nil
}

// atVersion is a template at another version. AWS refuses an id and a name at once.
func atVersion(s *asgtypes.LaunchTemplateSpecification, version string) *asgtypes.LaunchTemplateSpecification {
	out := &asgtypes.LaunchTemplateSpecification{Version: &version}
	if s.LaunchTemplateId != nil {
		out.LaunchTemplateId = s.LaunchTemplateId
	} else {
		out.LaunchTemplateName = s.LaunchTemplateName
	}
	return out
}
