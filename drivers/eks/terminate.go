package eks

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Terminate implements sdk.Terminator with TerminateInstanceInAutoScalingGroup.
// Lifecycle hooks of the group run as for any scale-in; Observe shows an
// instance that waits for one.
func (d *Driver) Terminate(ctx context.Context, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	cfg, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	if r.GroupID == "" || r.InstanceID == "" {
		return nil, sdk.Errorf(codes.InvalidArgument, "terminate: name a group and an instance")
	}
	if r.Capacity == sdk.KeepCapacity || r.Capacity == sdk.ShrinkCapacity {
		if res, err := d.endTwin(ctx, c, cfg, r); res != nil || err != nil {
			return res, err
		}
		if res, err := d.endOutsider(ctx, c, cfg, r); res != nil || err != nil {
			return res, err
		}
	}
	switch r.Capacity {
	case sdk.KeepCapacity:
		return d.terminateKeep(ctx, c, r)
	case sdk.ShrinkCapacity:
		return d.terminateShrink(ctx, c, r)
	default:
		return nil, sdk.Errorf(codes.InvalidArgument, "terminate %s: say whether the capacity is kept or shrinks", r.InstanceID)
	}
}

// gone is the answer for an instance that needs no more: a goal reached.
func gone(phase string, diags ...sdk.Diagnostic) *sdk.TerminateResult {
	return &sdk.TerminateResult{
		Instance: sdk.Operation{State: sdk.OperationDone, Phase: phase},
		Capacity: sdk.Operation{State: sdk.OperationDone, Diagnostics: diags},
	}
}

// refused is the answer when nothing was ended and no capacity taken.
func refused(diags ...sdk.Diagnostic) *sdk.TerminateResult {
	return &sdk.TerminateResult{Instance: *failed(diags...), Capacity: *failed(diags...)}
}

// terminateKeep is one call in the steady state. An instance that is not known
// to be of the group is looked up first, so that no other is ever ended.
func (d *Driver) terminateKeep(ctx context.Context, c *clients, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	if r.DryRun || d.view.groupOf(r.InstanceID) != r.GroupID {
		if res, _, err := d.lookUp(ctx, c, r); res != nil || err != nil {
			return res, err
		}
	}
	if r.DryRun {
		return gone("dry run: nothing was changed"), nil
	}
	defer d.view.changed()
	_, err := c.asg.TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{
		InstanceId: &r.InstanceID, ShouldDecrementDesiredCapacity: aws.Bool(false),
	})
	if err == nil {
		return &sdk.TerminateResult{
			Instance: sdk.Operation{State: sdk.OperationRunning, Phase: "terminating"},
			Capacity: sdk.Operation{State: sdk.OperationDone, Phase: "the group launches a replacement"},
		}, nil
	}
	if classify(err).code == "aws-refused" {
		// AWS's code is the same for an instance that is gone, one that is already
		// on its way, and others: the group tells.
		if res, _, lerr := d.lookUp(ctx, c, r); res != nil || lerr != nil {
			return res, lerr
		}
	}
	return &sdk.TerminateResult{
		Instance: *failed(diagnose("autoscaling:TerminateInstanceInAutoScalingGroup", r.InstanceID, err)),
		Capacity: sdk.Operation{State: sdk.OperationDone, Phase: "unchanged"},
	}, nil
}

// lookUp reads the group. A result ends the call: the instance is gone, on its
// way, or not of the group. Else the group is returned, with the instance in it.
func (d *Driver) lookUp(ctx context.Context, c *clients, r sdk.TerminateRequest) (*sdk.TerminateResult, *group, error) {
	g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
	switch {
	case status.Code(err) == codes.NotFound:
		// A group is deleted with its instances, or after they were detached.
		return d.notMember(ctx, c, r), nil, nil
	case err != nil:
		return nil, nil, err
	case op != nil:
		return &sdk.TerminateResult{Instance: *op, Capacity: *op}, nil, nil
	}
	i := g.member(r.InstanceID)
	if i == nil {
		return d.notMember(ctx, c, r), g, nil
	}
	if g.going(r.InstanceID) {
		return gone("already terminating"), g, nil
	}
	return nil, g, nil
}

// notMember answers for an instance that is not in the group: it has ended, or
// somebody detached it and it runs on, which must not be taken for its end.
func (d *Driver) notMember(ctx context.Context, c *clients, r sdk.TerminateRequest) *sdk.TerminateResult {
	ended, err := ended(ctx, c.ec2, r.InstanceID)
	switch {
	case err != nil:
		return refused(diagnose("ec2:DescribeInstances", r.InstanceID, err))
	case ended:
		return gone("already gone")
	}
	return &sdk.TerminateResult{
		Instance: *failed(finding(sdk.SeverityError, "instance-detached", r.InstanceID,
			"Somebody detached it, or it is of another group. Its node is drained: end the instance by hand, or attach it again.",
			"instance %s runs, and is not in group %s", r.InstanceID, r.GroupID)),
		Capacity: sdk.Operation{State: sdk.OperationDone, Phase: "unchanged"},
	}
}

// terminateShrink ends an instance and takes its place in one call of AWS. In
// this order: read the group, write a record that names the instance, end it,
// mark the record as applied. A repeat finds the instance out of service and
// takes nothing again.
func (d *Driver) terminateShrink(ctx context.Context, c *clients, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	res, g, err := d.lookUp(ctx, c, r)
	if err != nil || g == nil {
		return res, err
	}
	now := g.standing()
	if res != nil {
		return d.settleShrink(ctx, c, r, g, now, res), nil
	}
	if i := g.member(r.InstanceID); stateOf(i.LifecycleState) != sdk.InstanceInService && stateOf(i.LifecycleState) != sdk.InstancePending {
		return refused(finding(sdk.SeverityError, "instance-not-in-service", r.InstanceID,
			"Its place in the group's desired capacity is taken already. Put it back in service, or end it by hand.",
			"instance %s of group %s is %s", r.InstanceID, g.name, i.LifecycleState)), nil
	}
	if g.desired-1 < g.min {
		return refused(finding(sdk.SeverityError, "below-min-size", g.name,
			"AWS refuses a desired capacity below the minimum. Lower the group's minimum size, or end the instance with its capacity kept.",
			"instance %s cannot be ended with its capacity: group %s has a desired capacity of %d and a minimum of %d", r.InstanceID, g.name, g.desired, g.min)), nil
	}
	var diags []sdk.Diagnostic
	if now.Rebased {
		diags = append(diags, rebasedDiagnostic(g, now))
	}
	rec := g.surge.shrunk(r.RotationID, r.InstanceID, now, g.desired)
	if r.DryRun {
		return gone("dry run: nothing was changed", diags...), nil
	}
	defer d.view.changed()
	if diag := writeSurge(ctx, c, g, rec); diag != nil {
		return refused(*diag), nil
	}
	_, err = c.asg.TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{
		InstanceId: &r.InstanceID, ShouldDecrementDesiredCapacity: aws.Bool(true),
	}, carefully)
	if err != nil {
		// Whether it happened is not known. The same call finds out.
		return refused(diagnose("autoscaling:TerminateInstanceInAutoScalingGroup", r.InstanceID, err)), nil
	}
	rec.Applied = true
	res = &sdk.TerminateResult{
		Instance: sdk.Operation{State: sdk.OperationRunning, Phase: "terminating"},
		Capacity: sdk.Operation{State: sdk.OperationDone, Phase: fmt.Sprintf("desired capacity %d to %d", rec.From, rec.To), Diagnostics: diags},
	}
	if diag := writeSurge(ctx, c, g, rec); diag != nil {
		// The instance is going; the same call again closes the record.
		res.Capacity = *failed(*diag)
	}
	return res, nil
}

// settleShrink closes the record of a shrink whose instance is out of service.
func (d *Driver) settleShrink(ctx context.Context, c *clients, r sdk.TerminateRequest, g *group, now standing, res *sdk.TerminateResult) *sdk.TerminateResult {
	if g.surge == nil || g.surge.Shrink != r.InstanceID || now.Settled {
		return res
	}
	switch {
	case now.KeptByShrink:
		res.Capacity.Diagnostics = append(res.Capacity.Diagnostics, finding(sdk.SeverityWarning, "capacity-kept", g.name,
			"The group replaces it. The surge is as before: another instance can be ended with its capacity.",
			"instance %s ended before it was asked to, and the desired capacity of group %s is still %d", r.InstanceID, g.name, g.desired))
	case now.Rebased:
		res.Capacity.Diagnostics = append(res.Capacity.Diagnostics, rebasedDiagnostic(g, now))
	}
	if r.DryRun {
		return res
	}
	defer d.view.changed()
	if diag := writeSurge(ctx, c, g, g.surge.settled(g.desired, now)); diag != nil {
		res.Capacity = *failed(*diag)
	}
	return res
}
