package eks

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// blueAtRest is atRest for a node group that a second one takes the place of: it
// waits for a change of its configuration, which is likely its own.
func (d *Driver) blueAtRest(ctx context.Context, c *clients, cfg Config, g *group) *sdk.Operation {
	n, err := describeNodegroup(ctx, c.eks, g.tags[tagCluster], g.nodegroup())
	switch {
	case err != nil:
		return failed(diagnose("eks:DescribeNodegroup", g.nodegroup(), err))
	case n == nil:
		return failed(finding(sdk.SeverityError, "nodegroup-gone", g.nodegroup(), "Somebody deleted it.", "node group %s does not exist any more", g.nodegroup()))
	}
	g.node = newManaged(n, cfg.ManagedNodeGroups)
	if op := d.settle(ctx, c, g.node); op != nil {
		return op
	}
	if diags := g.node.obstacles(); len(diags) > 0 {
		return failed(diags...)
	}
	return nil
}

// prepareTwins records what blue is, and takes its minimum away: its instances
// end one by one. With a record, it completes what the record says.
func (d *Driver) prepareTwins(ctx context.Context, c *clients, cfg Config, g *group) *sdk.Operation {
	if g.twin == nil {
		taken, err := listNodegroups(ctx, c.eks, g.tags[tagCluster])
		if err != nil {
			return failed(diagnose("eks:ListNodegroups", g.tags[tagCluster], err))
		}
		g.twin = &twinRecord{Green: greenName(g.nodegroup(), taken), At: int(d.now().Unix()), Min: g.min, Max: g.max, Base: g.desired}
		if diag := writeTags(ctx, c, g.name, map[string]string{tagTwin: g.twin.String()}); diag != nil {
			return failed(*diag)
		}
	}
	t, op := d.openTwins(ctx, c, cfg, g)
	if op != nil {
		return op
	}
	if op := d.resize(ctx, c, g, 0, g.max); op != nil {
		return op
	}
	if diag := d.writeTwin(ctx, c, t, t.standing()); diag != nil {
		return failed(*diag)
	}
	if op := d.fill(ctx, c, t, false); op != nil {
		return op
	}
	return &sdk.Operation{State: sdk.OperationDone}
}

// resize sets the limits of a node group through EKS, which keeps them, and
// waits until they are in force. The desired size is left out, so that EKS keeps
// what it is by then: one that an autoscaler has raised meanwhile would be lowered,
// and AWS would pick the victim.
func (d *Driver) resize(ctx context.Context, c *clients, g *group, low, high int) *sdk.Operation {
	if g.min == low && g.max == high {
		return nil
	}
	if op := d.settle(ctx, c, g.node); op != nil {
		return op
	}
	defer d.view.nodegroupChanged(g.node.name)
	_, err := c.eks.UpdateNodegroupConfig(ctx, &eks.UpdateNodegroupConfigInput{
		ClusterName: g.node.ClusterName, NodegroupName: g.node.NodegroupName,
		ScalingConfig: &ekstypes.NodegroupScalingConfig{MinSize: aws.Int32(int32(low)), MaxSize: aws.Int32(int32(high))},
	})
	if err != nil {
		return failed(diagnose("eks:UpdateNodegroupConfig", g.node.name, err))
	}
	g.min, g.max, g.node.Status = low, high, ekstypes.NodegroupStatusUpdating
	return d.settle(ctx, c, g.node)
}

// restoreTwins ends what Prepare began. When green has taken blue's place, it
// gets blue's sizes, and blue is deleted, or kept at zero. When blue is whole,
// green is deleted, and blue gets its minimum back. In between both stay, and so
// does the record: the next rotation goes on. Over tells that the record is to
// go; an operation ends the call.
func (d *Driver) restoreTwins(ctx context.Context, c *clients, cfg Config, g *group) (over bool, diags []sdk.Diagnostic, op *sdk.Operation) {
	if g.twin == nil {
		return false, nil, nil
	}
	t, op := d.openTwins(ctx, c, cfg, g)
	switch {
	case op != nil:
		return false, nil, op
	case g.node.Status == ekstypes.NodegroupStatusDeleting:
		return false, nil, nil
	}
	now := t.standing()
	switch {
	case g.desired >= now.Base && t.greenWants() == 0:
		if t.node != nil {
			if op := d.deleteNodegroup(ctx, c, t.node); op != nil {
				return false, nil, op
			}
		}
		return true, nil, d.resize(ctx, c, g, now.Min, now.Max)
	case g.desired == 0 && !g.lives() && now.Surge == 0 && t.green != nil:
		return d.finishTwins(ctx, c, t, now)
	}
	if diag := d.writeTwin(ctx, c, t, now); diag != nil {
		return false, nil, failed(*diag)
	}
	return false, []sdk.Diagnostic{finding(sdk.SeverityWarning, "blue-green-unfinished", g.node.name,
		"Both stay as they are. Run the rotation again to go on.",
		"node group %s has %d instances and %s, which takes its place, has %d", g.node.name, g.desired, t.rec.Green, t.greenWants())}, nil
}

// finishTwins gives green the place of blue.
func (d *Driver) finishTwins(ctx context.Context, c *clients, t *twins, now *twinRecord) (over bool, diags []sdk.Diagnostic, op *sdk.Operation) {
	if t.node.Status == ekstypes.NodegroupStatusCreating {
		return false, nil, failed(creating(t.node))
	}
	t.green.node = t.node
	if op := d.resize(ctx, c, t.green, min(now.Min, t.green.desired), max(now.Max, t.green.desired)); op != nil {
		return false, nil, op
	}
	if diag := d.untagNodegroup(ctx, c, t.node, []string{tagTwinOf}); diag != nil {
		return false, nil, failed(*diag)
	}
	d.view.succeeds(t.blue.name, t.green.name)
	if bg := t.blue.node.BlueGreen; bg != nil && bg.KeepOld {
		return true, []sdk.Diagnostic{finding(sdk.SeverityInfo, "nodegroup-kept", t.blue.node.name, "Delete it when it is not needed any more: aws eks delete-nodegroup.",
			"node group %s is kept, with no instance", t.blue.node.name)}, nil
	}
	if op := d.deleteNodegroup(ctx, c, t.blue.node); op != nil {
		return false, nil, op
	}
	// Its group goes with it, and the record with the group.
	return false, []sdk.Diagnostic{finding(sdk.SeverityInfo, "nodegroup-replaced", t.blue.node.name, "",
		"node group %s has taken the place of %s, which EKS deletes", t.node.name, t.blue.node.name)}, nil
}

// deleteNodegroup deletes a node group without instances; one that is gone, or on
// its way, is no error.
func (d *Driver) deleteNodegroup(ctx context.Context, c *clients, m *managed) *sdk.Operation {
	if m.Status == ekstypes.NodegroupStatusDeleting {
		return nil
	}
	if m.Status == ekstypes.NodegroupStatusCreating {
		return failed(creating(m))
	}
	if op := d.settle(ctx, c, m); op != nil {
		return op
	}
	defer d.nodegroupsChanged(m.name)
	_, err := c.eks.DeleteNodegroup(ctx, &eks.DeleteNodegroupInput{ClusterName: m.ClusterName, NodegroupName: m.NodegroupName})
	if err != nil && !notFound(err) {
		return failed(diagnose("eks:DeleteNodegroup", m.name, err))
	}
	return nil
}
