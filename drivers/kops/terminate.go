package kops

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Terminate implements sdk.Terminator.
//
// KEEP ends an instance of a group, which brings another. SHRINK ends one that
// was detached from its group and whose replacement runs already: nothing else
// makes a group of kops smaller, because its capacity is the specification's.
func (d *Driver) Terminate(ctx context.Context, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	if _, _, err := d.configured(); err != nil {
		return nil, err
	}
	if r.GroupID == "" || r.InstanceID == "" {
		return nil, sdk.Errorf(codes.InvalidArgument, "terminate: name a group and an instance")
	}
	if r.Capacity != sdk.KeepCapacity && r.Capacity != sdk.ShrinkCapacity {
		return nil, sdk.Errorf(codes.InvalidArgument, "terminate %s: say whether the capacity is kept or shrinks", r.InstanceID)
	}
	g, op, err := d.open(ctx, r.GroupID, r.RotationID, false)
	switch {
	case err != nil:
		return nil, err
	case op != nil:
		return &sdk.TerminateResult{Instance: *op, Capacity: *op}, nil
	}
	if g.aws() != nil && !r.DryRun {
		if res := d.terminateKnown(ctx, g, r); res != nil {
			return res, nil
		}
	}
	if err := g.read(ctx); err != nil {
		return nil, err
	}
	i := g.member(r.InstanceID)
	if refillsByApplying(g.cluster.GetCloudProvider()) {
		if res := refuseCapacity(r, false); res != nil && i != nil {
			return res, nil
		}
		return d.endAndRefill(ctx, g, r, i), nil
	}
	if i == nil {
		return d.notMember(ctx, g, r), nil
	}
	isDetached := outside(g.group, i)
	if res := refuseCapacity(r, isDetached); res != nil {
		return res, nil
	}
	if r.DryRun {
		return gone("dry run: nothing was changed"), nil
	}
	defer d.view.changed()
	if g.aws() != nil && asgOf(g.group) != nil {
		return d.end(ctx, g.aws(), r, isDetached), nil
	}
	_, err = call(ctx, &d.calls, "deleting instance "+r.InstanceID, func() (struct{}, error) { return struct{}{}, g.cloud.DeleteInstance(i) })
	if err != nil {
		return notEnded(diagnose("deleting the instance", r.InstanceID, err)), nil
	}
	return going("the capacity is kept"), nil
}

// terminateKnown is one call in the steady state: the latest look knows where
// the instance is. Nil: it does not, or the call says otherwise.
func (d *Driver) terminateKnown(ctx context.Context, g *target, r sdk.TerminateRequest) *sdk.TerminateResult {
	m := d.view.memberOf(r.InstanceID)
	isDetached := m.state == sdk.InstanceDetached
	if m.group != r.GroupID || !isDetached && m.state != sdk.InstanceInService && m.state != sdk.InstancePending {
		return nil
	}
	if g.ig == nil || traitsOf(g.cluster.GetCloudProvider(), g.ig, 1).Refill != sdk.RefillGroup {
		return nil
	}
	if refuseCapacity(r, isDetached) != nil {
		return nil // look again before it is refused
	}
	defer d.view.changed()
	res := d.end(ctx, g.aws(), r, isDetached)
	if res.Instance.State == sdk.OperationFailed && res.Instance.Diagnostics[0].Code == "cloud-refused" {
		return nil // it may be gone, or detached meanwhile
	}
	return res
}

// end ends an instance on AWS.
func (d *Driver) end(ctx context.Context, cloud awsup.AWSCloud, r sdk.TerminateRequest, isDetached bool) *sdk.TerminateResult {
	if isDetached {
		if err := awsTerminate(ctx, cloud, []string{r.InstanceID}); err != nil {
			return notEnded(diagnose("ec2:TerminateInstances", r.InstanceID, err))
		}
		return going("its group has had the replacement since it was detached")
	}
	if err := awsReplace(ctx, cloud, r.InstanceID); err != nil {
		return notEnded(diagnose("autoscaling:TerminateInstanceInAutoScalingGroup", r.InstanceID, err))
	}
	return going("the group launches a replacement")
}

// refuseCapacity refuses to shrink a group by an instance that it counts; nil:
// nothing stands against it. To end a detached instance with its capacity kept
// is harmless: its group has kept the capacity already.
func refuseCapacity(r sdk.TerminateRequest, isDetached bool) *sdk.TerminateResult {
	if r.Capacity == sdk.KeepCapacity || isDetached {
		return nil
	}
	return refused(finding(sdk.SeverityError, "instance-not-detached", r.InstanceID,
		"The size of an instance group is its specification's. Only a detached instance is one too many.",
		"instance %s is counted by its group %s, which cannot be made smaller with it", r.InstanceID, r.GroupID))
}

// notMember answers for an instance that is not in the group: it has ended, is
// ending, or runs on and is none of kops' any more, which must not be taken for
// its end.
func (d *Driver) notMember(ctx context.Context, g *target, r sdk.TerminateRequest) *sdk.TerminateResult {
	cloud := g.aws()
	if cloud == nil {
		return gone("already gone")
	}
	ended, err := awsEnded(ctx, cloud, r.InstanceID)
	switch {
	case err != nil:
		return refused(diagnose("ec2:DescribeInstances", r.InstanceID, err))
	case ended || g.terminating(r.InstanceID):
		return gone("already gone or terminating")
	}
	return notEnded(finding(sdk.SeverityError, "instance-not-member", r.InstanceID,
		"Somebody detached it without kops' tag, or it is of another group. Its node is drained: end the instance by hand, or attach it again.",
		"instance %s runs, and is not in group %s", r.InstanceID, r.GroupID))
}

// gone is the answer for an instance that needs no more: a goal reached.
func gone(phase string) *sdk.TerminateResult {
	return &sdk.TerminateResult{
		Instance: sdk.Operation{State: sdk.OperationDone, Phase: phase},
		Capacity: sdk.Operation{State: sdk.OperationDone},
	}
}

// going is the answer for an instance that has been ended.
func going(capacity string) *sdk.TerminateResult {
	return &sdk.TerminateResult{
		Instance: sdk.Operation{State: sdk.OperationRunning, Phase: "terminating"},
		Capacity: sdk.Operation{State: sdk.OperationDone, Phase: capacity},
	}
}

// notEnded is the answer when an instance may run on.
func notEnded(diags ...sdk.Diagnostic) *sdk.TerminateResult {
	return &sdk.TerminateResult{Instance: *failed(diags...), Capacity: sdk.Operation{State: sdk.OperationDone, Phase: "unchanged"}}
}

// refused is the answer when nothing was ended and no capacity taken.
func refused(diags ...sdk.Diagnostic) *sdk.TerminateResult {
	return &sdk.TerminateResult{Instance: *failed(diags...), Capacity: *failed(diags...)}
}

// member returns an instance of the group that runs; nil: it has none like this.
func (g *target) member(id string) *cloudinstances.CloudInstance {
	for _, i := range slices.Concat(g.group.NeedUpdate, g.group.Ready) {
		if m := g.others[i.ID]; cmp.Or(m.id, i.ID) == id {
			if m.state == sdk.InstanceTerminating || g.terminating(id) {
				return nil
			}
			return i
		}
	}
	return nil
}

// terminating tells whether the cloud's group is ending an instance.
func (g *target) terminating(id string) bool {
	asg := asgOf(g.group)
	if asg == nil {
		return false
	}
	m := memberOf(asg, id)
	return m != nil && awsState(m.LifecycleState) == sdk.InstanceTerminating
}
