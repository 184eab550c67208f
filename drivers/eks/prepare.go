package eks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

// azRebalance is the only process that a rotation suspends: it would end
// instances, drained or not, to even out the zones. The others stay as they
// are, because processes have no direction: without Launch there are no
// replacements, and without ReplaceUnhealthy a broken one stays.
const azRebalance = "AZRebalance"

// protectPerCall is AWS's limit on the instances of one SetInstanceProtection.
const protectPerCall = 50

// Prepare implements sdk.Preparer: it records the group's settings, then
// suspends AZRebalance and has new instances protected from scale-in. With a
// record of the same rotation it re-asserts both, and records nothing anew.
func (d *Driver) Prepare(ctx context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	cfg, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := find(ctx, c, r.GroupID, r.RotationID)
	switch {
	case op != nil || err != nil:
		return op, err
	case g.rolled(cfg):
		return d.prepareNodegroup(ctx, c, cfg, g, r)
	}
	if op, err := g.ours(cfg, r.RotationID); op != nil || err != nil {
		return op, err
	}
	twins := g.nodegroup() != "" && g.way(cfg) == WayBlueGreen
	if twins {
		op = d.blueAtRest(ctx, c, cfg, g)
	} else {
		op = atRest(ctx, c, cfg, g)
	}
	if op != nil {
		return op, nil
	}
	if diags := obstacles(g); slices.ContainsFunc(diags, isError) {
		return failed(diags...), nil
	}
	active, err := refreshing(ctx, c, g.name)
	switch {
	case err != nil:
		return failed(diagnose("autoscaling:DescribeInstanceRefreshes", g.name, err)), nil
	case active:
		return failed(refreshDiagnostic(g.name)), nil
	}
	rec := g.prepared
	if rec == nil {
		if rec, op = recordFor(g, r.RotationID); op != nil {
			return op, nil
		}
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	defer d.view.changed()
	// The record comes BEFORE what it describes: a crash in between leaves a
	// record of settings that still are as it says.
	if g.prepared == nil {
		if diag := writeTags(ctx, c, g.name, rec.tags()); diag != nil {
			return failed(*diag), nil
		}
	}
	if !g.suspended(azRebalance) {
		_, err := c.asg.SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: &g.name, ScalingProcesses: []string{azRebalance}})
		if err != nil {
			return failed(diagnose("autoscaling:SuspendProcesses", g.name, err)), nil
		}
	}
	if !aws.ToBool(g.NewInstancesProtectedFromScaleIn) {
		if diag := protectNew(ctx, c, g, true); diag != nil {
			return failed(*diag), nil
		}
	}
	if twins {
		return d.prepareTwins(ctx, c, cfg, g), nil
	}
	return &sdk.Operation{State: sdk.OperationDone}, nil
}

func isError(d sdk.Diagnostic) bool { return d.Severity == sdk.SeverityError }

// recordFor records what the group is like.
func recordFor(g *group, rotation string) (*prepareRecord, *sdk.Operation) {
	rec := &prepareRecord{Rotation: rotation, Suspended: g.suspended(azRebalance), Protect: aws.ToBool(g.NewInstancesProtectedFromScaleIn)}
	if rec.Protect {
		return rec, nil
	}
	for i := range g.Instances {
		if aws.ToBool(g.Instances[i].ProtectedFromScaleIn) {
			rec.Protected = append(rec.Protected, aws.ToString(g.Instances[i].InstanceId))
		}
	}
	slices.Sort(rec.Protected)
	if len(rec.Protected) > maxProtected {
		return nil, failed(finding(sdk.SeverityError, "too-many-protected", g.name,
			"So many do not fit the group's tags, and could not be told afterwards from those of the rotation. Set the group's own scale-in protection, or take it from some instances.",
			"group %s has %d instances that are protected from scale-in one by one, and at most %d can be recorded", g.name, len(rec.Protected), maxProtected))
	}
	return rec, nil
}

func protectNew(ctx context.Context, c *clients, g *group, protect bool) *sdk.Diagnostic {
	_, err := c.asg.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: &g.name, NewInstancesProtectedFromScaleIn: &protect,
	})
	if err != nil {
		diag := diagnose("autoscaling:UpdateAutoScalingGroup", g.name, err)
		return &diag
	}
	return nil
}

// Restore implements sdk.Preparer: it puts back what the record says, and then
// removes the record. A setting that somebody changed meanwhile is left as it
// is. With surge outstanding, its record and the raised maximum stay.
func (d *Driver) Restore(ctx context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	cfg, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := find(ctx, c, r.GroupID, r.RotationID)
	switch {
	case status.Code(err) == codes.NotFound:
		return &sdk.Operation{State: sdk.OperationDone, Diagnostics: []sdk.Diagnostic{finding(sdk.SeverityWarning, "group-gone", r.GroupID,
			"Its settings went with it.", "Auto Scaling group %s does not exist any more", r.GroupID)}}, nil
	case err != nil:
		return nil, err
	case op != nil:
		return op, nil
	case g.rolled(cfg):
		return d.restoreNodegroup(ctx, c, cfg, g, r)
	}
	if op, err := g.ours(cfg, r.RotationID); op != nil || err != nil {
		return op, err
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	defer d.view.changed()
	if diag := restoreSettings(ctx, c, g); diag != nil {
		return failed(*diag), nil
	}
	if diag := unmark(ctx, c, cfg, g); diag != nil {
		return failed(*diag), nil
	}
	back, diag := d.rebalance(ctx, c, g, "")
	if diag != nil {
		return failed(*diag), nil
	}
	drop, diags, diag := restoreCapacity(ctx, c, g)
	if diag != nil {
		return failed(*diag), nil
	}
	diags = append(back, diags...)
	if g.nodegroup() != "" && g.way(cfg) == WayBlueGreen {
		over, more, op := d.restoreTwins(ctx, c, cfg, g)
		diags = append(diags, more...)
		switch {
		case op != nil:
			return op, nil
		case over:
			drop[tagTwin] = ""
		}
	}
	for k, v := range g.tags {
		if k == tagPrepared || strings.HasPrefix(k, tagProtected) {
			drop[k] = v
		}
	}
	if diag := dropTags(ctx, c, g.name, drop); diag != nil {
		return failed(append(diags, *diag)...), nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
}

// restoreSettings puts back what Prepare changed.
func restoreSettings(ctx context.Context, c *clients, g *group) *sdk.Diagnostic {
	if g.prepared == nil {
		return nil
	}
	if !g.prepared.Suspended && g.suspended(azRebalance) {
		_, err := c.asg.ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: &g.name, ScalingProcesses: []string{azRebalance}})
		if err != nil {
			diag := diagnose("autoscaling:ResumeProcesses", g.name, err)
			return &diag
		}
	}
	if g.prepared.Protect {
		return nil
	}
	if aws.ToBool(g.NewInstancesProtectedFromScaleIn) {
		if diag := protectNew(ctx, c, g, false); diag != nil {
			return diag
		}
	}
	return unprotect(ctx, c, g)
}

// unprotect takes the protection from what was launched during the rotation:
// all but the instances that the record lists.
func unprotect(ctx context.Context, c *clients, before *group) *sdk.Diagnostic {
	// Read again: an instance may have launched until a moment ago.
	g, err := readGroup(ctx, c.asg, before.name)
	if err != nil {
		diag := diagnose("autoscaling:DescribeAutoScalingGroups", before.name, err)
		return &diag
	}
	if g == nil {
		return nil // deleted meanwhile
	}
	ready, pending := protected(g, before.prepared.Protected)
	for ids := range slices.Chunk(ready, protectPerCall) {
		_, err := c.asg.SetInstanceProtection(ctx, &autoscaling.SetInstanceProtectionInput{
			AutoScalingGroupName: &g.name, InstanceIds: ids, ProtectedFromScaleIn: aws.Bool(false),
		})
		if err != nil {
			diag := diagnose("autoscaling:SetInstanceProtection", g.name, err)
			if errCode(err) == "ValidationError" {
				// One of them left service since it was read: the same call again
				// leaves it out.
				diag.Retry = sdk.RetryLater
			}
			return &diag
		}
	}
	if len(pending) > 0 {
		diag := finding(sdk.SeverityError, "instances-pending", g.name,
			"AWS changes the protection only of instances in service; it will be tried again.",
			"group %s: the scale-in protection of %s cannot be removed yet", g.name, strings.Join(pending, ", "))
		diag.Retry = sdk.RetryLater
		return &diag
	}
	return nil
}

// protected lists the instances that are protected from scale-in, but those to
// keep: the ones whose protection can be changed now, and those still pending.
func protected(g *group, keep []string) (ready, pending []string) {
	for i := range g.Instances {
		inst := &g.Instances[i]
		id := aws.ToString(inst.InstanceId)
		if !aws.ToBool(inst.ProtectedFromScaleIn) || slices.Contains(keep, id) {
			continue
		}
		switch {
		case inst.LifecycleState == asgtypes.LifecycleStateInService,
			inst.LifecycleState == asgtypes.LifecycleStateStandby,
			inst.LifecycleState == asgtypes.LifecycleStateEnteringStandby:
			ready = append(ready, id)
		case stateOf(inst.LifecycleState) == sdk.InstancePending:
			pending = append(pending, id)
		}
	}
	return ready, pending
}

// restoreCapacity puts the maximum size back and answers which tags to remove.
func restoreCapacity(ctx context.Context, c *clients, g *group) (drop map[string]string, diags []sdk.Diagnostic, diag *sdk.Diagnostic) {
	drop = map[string]string{}
	if g.surge == nil {
		return drop, nil, nil
	}
	if s := g.standing(); s.Surge > 0 {
		detail := "Run the rotation again to take it back, or end so many instances with their capacity and remove the tag " + tagSurge + "."
		if g.surge.Max != nil {
			detail = fmt.Sprintf("Its maximum size stays at %d (it was %d). ", g.max, g.surge.Max.Own) + detail
		}
		return drop, []sdk.Diagnostic{finding(sdk.SeverityWarning, "surge-outstanding", g.name, detail,
			"group %s keeps a surge of %d", g.name, s.Surge)}, nil
	}
	drop[tagSurge] = g.surge.String()
	m := g.surge.Max
	if m == nil || !m.ours(g.max) || g.max == m.Own {
		return drop, nil, nil
	}
	size := max(m.Own, g.desired)
	if size > m.Own {
		diags = append(diags, finding(sdk.SeverityWarning, "max-size-kept", g.name,
			"Somebody raised the desired capacity meanwhile. Set the maximum size that it is to have.",
			"group %s keeps a maximum size of %d: %d, as it was, is below its desired capacity", g.name, size, m.Own))
	}
	if size != g.max {
		if diag := setMax(ctx, c, g, size); diag != nil {
			return nil, nil, diag
		}
	}
	return drop, diags, nil
}
