package eks

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// SetSurge implements sdk.Surger by desired capacity, which it only ever
// raises, or by detaching (detach.go). In this order: read the group, write the record, raise the maximum
// if it must be, raise desired capacity, mark the record as applied. After a
// crash between any two of them, the same call finds out what happened.
func (d *Driver) SetSurge(ctx context.Context, r sdk.SetSurgeRequest) (*sdk.Operation, error) {
	cfg, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	if r.Surge < 0 || r.Surge > maxSurge {
		return nil, sdk.Errorf(codes.InvalidArgument, "set surge of %s to %d: give 0 to %d instances", r.GroupID, r.Surge, maxSurge)
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
	if op != nil || err != nil {
		return op, err
	}
	if g.nodegroup() != "" && g.way(cfg) == WayBlueGreen {
		return d.surgeTwins(ctx, c, cfg, g, r), nil
	}
	if err := findOutsiders(ctx, c, cfg, []*group{g}); err != nil {
		return nil, err
	}
	if g.detaches {
		return d.detach(ctx, c, g, r)
	}
	now := g.standing()
	var diags []sdk.Diagnostic
	if now.Rebased {
		diags = append(diags, rebasedDiagnostic(g, now))
	}
	if r.Surge < now.Surge {
		diags = append(diags, finding(sdk.SeverityError, "surge-lowered", g.name,
			"Desired capacity is never lowered by setting it: AWS would pick the victim. End an instance with the capacity instead (Terminate, shrink).",
			"group %s has a surge of %d, and %d was asked for", g.name, now.Surge, r.Surge))
		return failed(diags...), nil
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed", Diagnostics: diags}, nil
	}
	defer d.view.changed()
	if r.Surge == now.Surge {
		if !now.Settled {
			if diag := writeSurge(ctx, c, g, g.surge.settled(g.desired, now)); diag != nil {
				return failed(append(diags, *diag)...), nil
			}
		}
		return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
	}
	rec := g.surge.raised(r.RotationID, now, r.Surge, g.desired, g.max)
	if g.nodegroup() != "" && rec.To > g.max {
		diags = append(diags, finding(sdk.SeverityError, "surge-beyond-max", g.name,
			"The sizes of a managed node group are EKS' own. Raise its maximum: aws eks update-nodegroup-config --scaling-config.",
			"a surge of %d for node group %s needs a maximum size of %d, and it is %d", r.Surge, g.nodegroup(), rec.To, g.max))
		return failed(diags...), nil
	}
	if diag := raise(ctx, c, g, rec); diag != nil {
		return failed(append(diags, *diag)...), nil
	}
	return &sdk.Operation{
		State:       sdk.OperationRunning,
		Phase:       fmt.Sprintf("desired capacity %d to %d", rec.From, rec.To),
		Diagnostics: diags,
	}, nil
}

// raise performs a raise: record first.
func raise(ctx context.Context, c *clients, g *group, rec *surgeRecord) *sdk.Diagnostic {
	if diag := writeSurge(ctx, c, g, rec); diag != nil {
		return diag
	}
	if rec.To > g.max {
		if diag := setMax(ctx, c, g, rec.To); diag != nil {
			return diag
		}
	}
	_, err := c.asg.SetDesiredCapacity(ctx, &autoscaling.SetDesiredCapacityInput{
		AutoScalingGroupName: &g.name, DesiredCapacity: aws.Int32(int32(rec.To)), HonorCooldown: aws.Bool(false),
	}, carefully)
	if err != nil {
		diag := diagnose("autoscaling:SetDesiredCapacity", g.name, err)
		return &diag
	}
	rec.Applied = true
	return writeSurge(ctx, c, g, rec)
}

func setMax(ctx context.Context, c *clients, g *group, size int) *sdk.Diagnostic {
	_, err := c.asg.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: &g.name, MaxSize: aws.Int32(int32(size)),
	}, carefully)
	if err != nil {
		diag := diagnose("autoscaling:UpdateAutoScalingGroup", g.name, err)
		return &diag
	}
	return nil
}

func writeSurge(ctx context.Context, c *clients, g *group, rec *surgeRecord) *sdk.Diagnostic {
	return writeTags(ctx, c, g.name, map[string]string{tagSurge: rec.String()})
}

func rebasedDiagnostic(g *group, s standing) sdk.Diagnostic {
	return finding(sdk.SeverityInfo, "capacity-rebased", g.name,
		"It is kept, and counts as the group's own from now on.",
		"somebody else set the desired capacity of group %s to %d: its own size is now %d, with a surge of %d", g.name, g.desired, g.desired-s.Surge, s.Surge)
}
