package kops

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"google.golang.org/grpc/codes"
	"k8s.io/kops/pkg/cloudinstances"

	"github.com/rotatord/rotator/drivers/sdk"
)

// maxSurge bounds the surge of one group: a slip of the keyboard must not take
// a whole group apart.
const maxSurge = 1000

// SetSurge implements sdk.Surger by detaching instances, as kops does: the
// group launches others in their place, and those detached run on until they
// are drained and ended (Terminate, SHRINK). The tag on each of them is the
// record; how many there are is the surge. After a crash between any two
// calls the same call finds what is missing.
func (d *Driver) SetSurge(ctx context.Context, r sdk.SetSurgeRequest) (*sdk.Operation, error) {
	if _, _, err := d.configured(); err != nil {
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
	g, op, err := d.open(ctx, r.GroupID, r.RotationID, false)
	if op != nil || err != nil {
		return op, err
	}
	if err := g.read(ctx); err != nil {
		return nil, err
	}
	now := detached(g.group)
	if r.Surge < now {
		return failed(finding(sdk.SeverityError, "surge-lowered", g.name,
			"A detached instance is not attached again: drain it and end it (Terminate, shrink).",
			"instance group %s has %d detached instances, and a surge of %d was asked for", g.name, now, r.Surge)), nil
	}
	if r.Surge == now {
		return &sdk.Operation{State: sdk.OperationDone}, nil
	}
	traits := traitsOf(g.cluster.GetCloudProvider(), g.group.InstanceGroup, len(g.group.Ready)+len(g.group.NeedUpdate))
	asg := asgOf(g.group)
	if traits.MaxSurge == 0 || asg == nil || g.aws() == nil {
		return nil, sdk.Errorf(codes.FailedPrecondition, "instance group %s cannot surge on %s", g.name, g.cluster.GetCloudProvider())
	}
	cfg, _, err := d.configured()
	if err != nil {
		return nil, err
	}
	if behindLoadBalancer(asg) && !cfg.DetachBehindLoadBalancers {
		return nil, sdk.Errorf(codes.FailedPrecondition, "instance group %s is behind a load balancer, which a detached instance leaves before its replacement is Ready: allow it with driver.config.detachBehindLoadBalancers", g.name)
	}
	chosen := g.chooseGoing(r.Going, r.Surge-now)
	if len(chosen) < r.Surge-now {
		diag := finding(sdk.SeverityError, "too-few-instances", g.name,
			"Instances that boot or end cannot be detached. It is tried again.",
			"instance group %s has %d instances in service that can be detached, and %d are to be", g.name, len(chosen), r.Surge-now)
		diag.Retry = sdk.RetryLater
		return failed(diag), nil
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	defer d.view.changed()
	if err := awsDetach(ctx, g.aws(), aws.ToString(asg.AutoScalingGroupName), chosen); err != nil {
		return failed(diagnose("autoscaling:DetachInstances", g.name, err)), nil
	}
	return &sdk.Operation{State: sdk.OperationRunning, Phase: fmt.Sprintf("%d instance(s) detached, the group launches others", len(chosen))}, nil
}

// chooseGoing picks n instances to detach: those that are about to go, in the
// order given; then others, outdated ones first. Only what is in service can be
// detached.
func (g *target) chooseGoing(going []string, n int) []string {
	asg := asgOf(g.group)
	var chosen []string
	take := func(id string) {
		m := memberOf(asg, id)
		if len(chosen) < n && m != nil && awsState(m.LifecycleState) == sdk.InstanceInService && !slices.Contains(chosen, id) {
			chosen = append(chosen, id)
		}
	}
	for _, id := range going {
		take(id)
	}
	for _, list := range [][]*cloudinstances.CloudInstance{g.group.NeedUpdate, g.group.Ready} {
		var ids []string
		for _, i := range list {
			ids = append(ids, i.ID)
		}
		slices.Sort(ids)
		for _, id := range ids {
			take(id)
		}
	}
	return chosen
}
