package eks

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// holder names the rotation that holds the node group; empty: none.
func (m *managed) holder() (string, error) {
	value, ok := m.Tags[tagPrepared]
	if !ok {
		return "", nil
	}
	r := read(value)
	rotation := r.word("rotation")
	if err := r.done(); err != nil {
		return "", fmt.Errorf("tag %s: %w", tagPrepared, err)
	}
	return rotation, nil
}

// openNodegroup gives a group that EKS rolls what EKS says of its node group now.
// Errors and operations are those of open.
func openNodegroup(ctx context.Context, c *clients, cfg Config, g *group, rotation string) (*sdk.Operation, error) {
	n, err := describeNodegroup(ctx, c.eks, g.tags[tagCluster], g.nodegroup())
	switch {
	case err != nil:
		return failed(diagnose("eks:DescribeNodegroup", g.nodegroup(), err)), nil
	case n == nil:
		return nil, sdk.Errorf(codes.NotFound, "node group %s of cluster %s does not exist: somebody deleted it", g.nodegroup(), g.tags[tagCluster])
	}
	g.node = newManaged(n, cfg.ManagedNodeGroups)
	holder, err := g.node.holder()
	if err == nil {
		err = g.node.unreadable
	}
	switch {
	case err != nil:
		return failed(unreadableNodegroup(g.node, err)), nil
	case holder != "" && holder != rotation:
		return nil, heldBy(g.nodegroup(), holder)
	}
	return nil, nil
}

// wayDiagnostic says that the configured way does not allow a call.
func wayDiagnostic(g *group, way Way) sdk.Diagnostic {
	detail := "Set managedNodeGroups in the driver's configuration: self to replace instances one by one, delegated for EKS to roll the node group."
	return finding(sdk.SeverityError, "way-mismatch", g.name, detail, "node group %s is rotated the way %q, which does not allow this", g.nodegroup(), way)
}

func unreadableNodegroup(m *managed, err error) sdk.Diagnostic {
	return finding(sdk.SeverityError, "record-unreadable", m.name,
		"A newer rotator wrote it, or somebody changed it. Use that version, or remove the tag once the node group is as it is to be.",
		"node group %s has a record of a rotation that cannot be read: %v", m.name, err)
}

// prepareNodegroup is Prepare for a group that EKS rolls: it takes note of who
// holds it. Nothing is suspended, because EKS' updates rely on AZRebalance.
func (d *Driver) prepareNodegroup(ctx context.Context, c *clients, cfg Config, g *group, r sdk.GroupRequest) (*sdk.Operation, error) {
	op, err := openNodegroup(ctx, c, cfg, g, r.RotationID)
	if op != nil || err != nil {
		return op, err
	}
	m := g.node
	if diags := slices.DeleteFunc(append(m.obstacles(), m.health()...), func(d sdk.Diagnostic) bool { return !isError(d) }); len(diags) > 0 {
		return failed(diags...), nil
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	if _, held := m.Tags[tagPrepared]; held {
		return &sdk.Operation{State: sdk.OperationDone}, nil
	}
	var f fields
	f.add("rotation", r.RotationID)
	if diag := d.tagNodegroup(ctx, c, m, map[string]string{tagPrepared: f.b.String()}); diag != nil {
		return failed(*diag), nil
	}
	return &sdk.Operation{State: sdk.OperationDone}, nil
}

// restoreNodegroup is Restore for a group that EKS rolls: it puts the update
// configuration back, then lets go of the node group. While EKS is rolling,
// nothing of it can be changed: the records then stay for the next rotation.
func (d *Driver) restoreNodegroup(ctx context.Context, c *clients, cfg Config, g *group, r sdk.GroupRequest) (*sdk.Operation, error) {
	op, err := openNodegroup(ctx, c, cfg, g, r.RotationID)
	if op != nil || err != nil {
		return op, err
	}
	m := g.node
	rec, err := parseUpdateRecord(m.Tags)
	switch {
	case err != nil:
		return failed(unreadableNodegroup(m, err)), nil
	case r.DryRun:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	drop := []string{tagPrepared}
	var diags []sdk.Diagnostic
	rolling := d.busy(ctx, c, m)
	if !rolling {
		drop = append(drop, tagRoll)
	}
	changed := rec != nil && rec.Own != rec.Set && updateConfigOf(m.Nodegroup) == rec.Set // else somebody changed it meanwhile: theirs stays
	switch {
	case changed && rolling:
		diags = append(diags, finding(sdk.SeverityWarning, "update-config-kept", m.name,
			"EKS changes nothing else while it rolls. The next rotation of the node group puts it back.",
			"node group %s keeps the update configuration of the rotation", m.name))
	case changed:
		if diag := d.setUpdateConfig(ctx, c, m, rec.Own, r.ID); diag != nil {
			return failed(*diag), nil
		}
		drop = append(drop, tagUpdateConfig)
	case rec != nil:
		drop = append(drop, tagUpdateConfig)
	}
	if diag := d.untagNodegroup(ctx, c, m, drop); diag != nil {
		return failed(append(diags, *diag)...), nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
}

// busy tells whether EKS is at work on the node group, and will be for longer
// than a change of its configuration takes.
func (d *Driver) busy(ctx context.Context, c *clients, m *managed) bool {
	if !m.updating() {
		return false
	}
	u, err := d.view.updates.find(ctx, c.eks, m, inFlight)
	return err != nil || u != nil || d.settle(ctx, c, m) != nil
}

// setUpdateConfig changes the update configuration. The token makes a repeat of
// the same operation the same change.
func (d *Driver) setUpdateConfig(ctx context.Context, c *clients, m *managed, to updateConfig, op string) *sdk.Diagnostic {
	defer d.view.nodegroupChanged(m.name)
	_, err := c.eks.UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{
		ClusterName: m.ClusterName, NodegroupName: m.NodegroupName, UpdateConfig: to.request(),
		ClientRequestToken: aws.String(token(fmt.Sprintf("%s/%d-%d-%s", op, to.Nodes, to.Percent, to.Strategy))),
	})
	if err != nil {
		diag := diagnose("eks:UpdateNodegroupConfig", m.name, err)
		return &diag
	}
	return nil
}

// tagNodegroup puts tags on a node group, all or none. They reach neither its
// Auto Scaling group nor its instances.
func (d *Driver) tagNodegroup(ctx context.Context, c *clients, m *managed, tags map[string]string) *sdk.Diagnostic {
	defer d.view.nodegroupChanged(m.name)
	if _, err := c.eks.TagResource(ctx, &eks.TagResourceInput{ResourceArn: m.NodegroupArn, Tags: tags}); err != nil {
		diag := diagnose("eks:TagResource", m.name, err)
		return &diag
	}
	if m.Tags == nil {
		m.Tags = map[string]string{}
	}
	maps.Copy(m.Tags, tags)
	return nil
}

// untagNodegroup removes those of the tags that the node group has.
func (d *Driver) untagNodegroup(ctx context.Context, c *clients, m *managed, keys []string) *sdk.Diagnostic {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { _, ok := m.Tags[k]; return !ok })
	if len(keys) == 0 {
		return nil
	}
	defer d.view.nodegroupChanged(m.name)
	if _, err := c.eks.UntagResource(ctx, &eks.UntagResourceInput{ResourceArn: m.NodegroupArn, TagKeys: keys}); err != nil {
		diag := diagnose("eks:UntagResource", m.name, err)
		return &diag
	}
	return nil
}

// obstacles are states of a node group in which EKS does not roll it.
func (m *managed) obstacles() []sdk.Diagnostic {
	switch m.Status {
	case ekstypes.NodegroupStatusCreating, ekstypes.NodegroupStatusDeleting, ekstypes.NodegroupStatusCreateFailed, ekstypes.NodegroupStatusDeleteFailed:
		return []sdk.Diagnostic{finding(sdk.SeverityError, "nodegroup-status", m.name,
			"EKS changes only node groups that are ACTIVE or DEGRADED. Wait, or leave it out of the rotation.", "node group %s is %s", m.name, m.Status)}
	case ekstypes.NodegroupStatusUpdating:
		if m.Way == WaySelf {
			return []sdk.Diagnostic{finding(sdk.SeverityError, "nodegroup-updating", m.name,
				"Let EKS finish: it replaces the instances of this node group itself.", "node group %s is being updated by EKS", m.name)}
		}
	case ekstypes.NodegroupStatusActive, ekstypes.NodegroupStatusDegraded:
	}
	return nil
}
