package eks

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/internal/loadbalancer"
	"github.com/rotatord/rotator/drivers/sdk"
)

// Quiesce implements sdk.Quiescer: it deregisters the instance from those of its
// group's target groups that it is in.
func (d *Driver) Quiesce(ctx context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	_, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
	switch {
	case op != nil || err != nil:
		return op, err
	case g.member(r.InstanceID) == nil:
		return nil, sdk.Errorf(codes.NotFound, "instance %s is not in group %s: it has ended, or somebody detached it", r.InstanceID, r.GroupID)
	case g.going(r.InstanceID):
		return &sdk.Operation{State: sdk.OperationDone, Phase: "already terminating"}, nil
	}
	done, failure := d.balancers(c).Quiesce(ctx, r, g.TargetGroupARNs)
	if failure != nil {
		return failed(diagnose(failure.Action, failure.Object, failure.Err)), nil
	}
	return done, nil
}

// Unquiesce implements sdk.Quiescer: it registers the instance again where the
// record says that a rotation took it out.
func (d *Driver) Unquiesce(ctx context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	_, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
	switch {
	case status.Code(err) == codes.NotFound:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "the group is gone"}, nil
	case op != nil || err != nil:
		return op, err
	case g.going(r.InstanceID):
		return &sdk.Operation{State: sdk.OperationDone, Phase: "gone, or on its way"}, nil
	case r.DryRun:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	diags, diag := d.rebalance(ctx, c, g, r.InstanceID)
	if diag != nil {
		return failed(*diag), nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
}

// balancers acts on load balancers.
func (d *Driver) balancers(c *clients) *loadbalancer.Client {
	return &loadbalancer.Client{EC2: c.ec2, TargetGroups: loadbalancer.TargetGroups{API: c.elb}, Memory: &d.view.balancers, Changed: d.view.changed}
}

// behind is the group as its load balancers see it.
func (g *group) behind() loadbalancer.Group {
	return loadbalancer.Group{Name: g.name, Called: g.name, Balancers: g.TargetGroupARNs, Ending: g.going}
}

// rebalance puts back what the records on the group's instances say: of one of
// them, or of all where only is empty.
func (d *Driver) rebalance(ctx context.Context, c *clients, g *group, only string) ([]sdk.Diagnostic, *sdk.Diagnostic) {
	diags, failure := d.balancers(c).Restore(ctx, g.behind(), only)
	if failure != nil {
		diag := diagnose(failure.Action, failure.Object, failure.Err)
		return diags, &diag
	}
	return diags, nil
}

// quiescing reads which instances of the groups are on their way out of which
// target groups. Groups that no rotation holds are not asked about.
func (d *Driver) quiescing(ctx context.Context, c *clients, groups []*group) (map[string][]string, error) {
	var held []loadbalancer.Group
	for _, g := range groups {
		if g.prepared != nil {
			held = append(held, g.behind())
		}
	}
	from, failure := d.balancers(c).Leaving(ctx, held)
	if failure != nil {
		return nil, statusOf(failure.Action, failure.Object, failure.Err)
	}
	return from, nil
}
