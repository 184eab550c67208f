package kops

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kops/pkg/cloudinstances"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Prepare implements sdk.Preparer. In this order: write the record, suspend
// AZRebalance, end the outdated instances of the warm pool (replacements would
// come from it). `kops update cluster` in mid-run resumes the process and
// leaves the record: the rotation goes on, and Restore still knows what was.
func (d *Driver) Prepare(ctx context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	unlock, err := d.turn(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, r.GroupID, r.RotationID, true)
	if op != nil || err != nil {
		return op, err
	}
	if err := g.read(ctx); err != nil {
		return nil, err
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	defer d.view.changed()
	asg, cloud := asgOf(g.group), g.aws()
	rebalances := asg != nil && cloud != nil && !suspended(asg, azRebalance)
	if g.hold == nil {
		rec := &holdRecord{Version: holdVersion, Rotation: r.RotationID, Group: g.name, At: d.now().UTC(), ResumeAZRebalance: rebalances}
		_, err := call(ctx, &d.calls, "writing the state store", func() (struct{}, error) {
			return struct{}{}, g.createHold(context.WithoutCancel(ctx), rec)
		})
		if errors.Is(err, fs.ErrExist) {
			return nil, sdk.Errorf(codes.Unavailable, "another rotation took group %s at this moment: look again", g.name)
		}
		if err != nil {
			return failed(diagnose("writing "+g.holdPath(g.name).Path(), g.name, err)), nil
		}
		g.hold = rec
	}
	// Where `kops update cluster` has resumed it meanwhile it is suspended again;
	// where somebody else had suspended it before, there is nothing to do.
	if rebalances && g.hold.ResumeAZRebalance {
		_, err := cloud.Autoscaling().SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{
			AutoScalingGroupName: asg.AutoScalingGroupName, ScalingProcesses: []string{azRebalance},
		})
		if err != nil {
			return failed(diagnose("autoscaling:SuspendProcesses", g.name, err)), nil
		}
	}
	if old := outdatedWarm(g.group); len(old) > 0 && cloud != nil {
		if err := awsTerminate(ctx, cloud, old); err != nil {
			return failed(diagnose("ec2:TerminateInstances", g.name, err)), nil
		}
	}
	if diag := d.complete(ctx, g); diag != nil {
		return failed(*diag), nil
	}
	return &sdk.Operation{State: sdk.OperationDone}, nil
}

// outdatedWarm lists the outdated instances of a group's warm pool.
func outdatedWarm(g *cloudinstances.CloudInstanceGroup) []string {
	var ids []string
	for _, i := range g.NeedUpdate {
		if i.State == cloudinstances.WarmPool {
			ids = append(ids, i.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// Restore implements sdk.Preparer: it puts back what the record says, and then
// removes the record. What somebody changed meanwhile is left as it is.
func (d *Driver) Restore(ctx context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	unlock, err := d.turn(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, r.GroupID, r.RotationID, false)
	if op != nil || err != nil {
		return op, err
	}
	if g.hold == nil || r.DryRun {
		if err := g.read(ctx); err != nil { // a group that does not exist is said to be none
			return nil, err
		}
		return &sdk.Operation{State: sdk.OperationDone}, nil
	}
	defer d.view.changed()
	var diags []sdk.Diagnostic
	switch err := g.read(ctx); {
	case status.Code(err) == codes.NotFound:
		diags = append(diags, finding(sdk.SeverityWarning, "group-gone", g.name, "Its settings went with it.", "instance group %s has nothing in the cloud any more", g.name))
	case err != nil:
		return nil, err
	default:
		if diag := d.complete(ctx, g); diag != nil {
			return failed(*diag), nil
		}
		back, diag, err := d.rebalance(ctx, g, "")
		switch {
		case err != nil:
			return nil, err
		case diag != nil:
			return failed(*diag), nil
		}
		diags = append(diags, back...)
		asg, cloud := asgOf(g.group), g.aws()
		if g.hold.ResumeAZRebalance && asg != nil && cloud != nil && suspended(asg, azRebalance) {
			_, err := cloud.Autoscaling().ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{
				AutoScalingGroupName: asg.AutoScalingGroupName, ScalingProcesses: []string{azRebalance},
			})
			if err != nil {
				return failed(diagnose("autoscaling:ResumeProcesses", g.name, err)), nil
			}
		}
	}
	_, err = call(ctx, &d.calls, "writing the state store", func() (struct{}, error) {
		return struct{}{}, g.dropHold(context.WithoutCancel(ctx), g.name)
	})
	if err != nil {
		return failed(diagnose("removing "+g.holdPath(g.name).Path(), g.name, err)), nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
}
