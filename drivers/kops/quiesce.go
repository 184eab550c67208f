package kops

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"

	"github.com/rotatord/rotator/drivers/internal/loadbalancer"
	"github.com/rotatord/rotator/drivers/sdk"
)

// Before its drain an instance leaves the load balancers that its Auto Scaling
// group is attached to, as in kops' own rolling update: those of the API server,
// and what spec.externalLoadBalancers names. On other clouds kops' code
// deregisters nothing that this driver could wait for and take back.

// balancersOf are the load balancers that a group is attached to: ARNs of target
// groups, and names of classic load balancers.
func balancersOf(asg *asgtypes.AutoScalingGroup) []string {
	return slices.Concat(asg.TargetGroupARNs, asg.LoadBalancerNames)
}

// quiesces tells whether instances of a group leave load balancers before their
// drain. The only machine that serves the API does not, as for kops: nothing
// could drain it afterwards.
func (inv *inventory) quiesces(ig *kopsapi.InstanceGroup, asg *asgtypes.AutoScalingGroup) bool {
	if asg == nil || len(balancersOf(asg)) == 0 || traitsOf(inv.cluster.GetCloudProvider(), ig, 1).Refill != sdk.RefillGroup {
		return false
	}
	return !servesAPI(ig) || inv.apiServers() > 1
}

func servesAPI(ig *kopsapi.InstanceGroup) bool {
	return ig.Spec.Role == kopsapi.InstanceGroupRoleControlPlane || ig.Spec.Role == kopsapi.InstanceGroupRoleAPIServer
}

// apiServers is how many machines serve the API, by the specification.
func (s *spec) apiServers() int {
	n := 0
	for _, ig := range s.groups {
		if !servesAPI(ig) {
			continue
		}
		if size := ig.Spec.MinSize; size != nil {
			n += int(fi.ValueOf(size))
		} else {
			n++ // kops' default
		}
	}
	return n
}

// balancers acts on load balancers.
func (d *Driver) balancers(cloud awsup.AWSCloud) (*loadbalancer.Client, error) {
	// kops' interfaces lack the calls that put back what was taken out; its clients
	// have them.
	v2, ok := cloud.ELBV2().(loadbalancer.ELBv2)
	if !ok {
		return nil, sdk.Errorf(codes.Internal, "the kops library's client of target groups is a %T, which cannot register targets", cloud.ELBV2())
	}
	v1, ok := cloud.ELB().(classicAPI)
	if !ok {
		return nil, sdk.Errorf(codes.Internal, "the kops library's client of classic load balancers is a %T, which cannot register instances", cloud.ELB())
	}
	return &loadbalancer.Client{
		EC2: cloud.EC2(), TargetGroups: loadbalancer.TargetGroups{API: v2}, Classic: classic{v1}, Memory: &d.view.balancers, Changed: d.view.changed,
	}, nil
}

// behind is a group as its load balancers see it.
func (inv *inventory) behind(name string) loadbalancer.Group {
	g := inv.groups[name]
	asg := asgOf(g)
	b := loadbalancer.Group{Name: aws.ToString(asg.AutoScalingGroupName), Called: name, Balancers: balancersOf(asg)}
	stays := map[string]bool{}
	for _, i := range slices.Concat(g.NeedUpdate, g.Ready) {
		b.Members = append(b.Members, i.ID)
		m := memberOf(asg, i.ID)
		stays[i.ID] = m != nil && !outside(g, i) && awsState(m.LifecycleState) != sdk.InstanceTerminating
	}
	b.Ending = func(id string) bool { return !stays[id] }
	return b
}

// openBalanced opens a group of which an instance leaves load balancers, or comes
// back to them.
func (d *Driver) openBalanced(ctx context.Context, r sdk.InstanceRequest) (*target, *sdk.Operation, error) {
	g, op, err := d.open(ctx, r.GroupID, r.RotationID, false)
	if op != nil || err != nil {
		return nil, op, err
	}
	if err := g.read(ctx); err != nil {
		return nil, nil, err
	}
	if g.aws() == nil || asgOf(g.group) == nil {
		return nil, nil, sdk.Errorf(codes.FailedPrecondition, "group %s has no Auto Scaling group, and so no load balancers that its instances could leave", g.name)
	}
	return g, nil, nil
}

// Quiesce implements sdk.Quiescer: it deregisters the instance from those of its
// group's load balancers that it is in. One that was detached is out of them at
// AWS' own hands, and its connections are waited for.
func (d *Driver) Quiesce(ctx context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	unlock, err := d.turn(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.openBalanced(ctx, r)
	switch {
	case op != nil || err != nil:
		return op, err
	case servesAPI(g.group.InstanceGroup) && g.apiServers() <= 1:
		return nil, sdk.Errorf(codes.FailedPrecondition, "instance %s of group %s is the only one that serves the API: out of its load balancers nothing could drain it", r.InstanceID, r.GroupID)
	case g.terminating(r.InstanceID):
		return &sdk.Operation{State: sdk.OperationDone, Phase: "already terminating"}, nil
	case g.member(r.InstanceID) == nil:
		return nil, sdk.Errorf(codes.NotFound, "instance %s is not in group %s: it has ended, or somebody detached it", r.InstanceID, r.GroupID)
	}
	client, err := d.balancers(g.aws())
	if err != nil {
		return nil, err
	}
	done, failure := client.Quiesce(ctx, r, balancersOf(asgOf(g.group)))
	if failure != nil {
		return failed(diagnose(failure.Action, failure.Object, failure.Err)), nil
	}
	return done, nil
}

// Unquiesce implements sdk.Quiescer: it registers the instance again where the
// record says that a rotation took it out, also where Quiesce is not offered any
// more.
func (d *Driver) Unquiesce(ctx context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	unlock, err := d.turn(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := d.openBalanced(ctx, r)
	switch {
	case status.Code(err) == codes.NotFound:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "the group is gone"}, nil
	case op != nil || err != nil:
		return op, err
	case g.member(r.InstanceID) == nil:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "gone, or on its way"}, nil
	case r.DryRun:
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	diags, diag, err := d.rebalance(ctx, g, r.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case diag != nil:
		return failed(*diag), nil
	}
	return &sdk.Operation{State: sdk.OperationDone, Diagnostics: diags}, nil
}

// rebalance puts back what the records on the group's instances say: of one of
// them, or of all where only is empty.
func (d *Driver) rebalance(ctx context.Context, g *target, only string) ([]sdk.Diagnostic, *sdk.Diagnostic, error) {
	if asg := asgOf(g.group); g.aws() == nil || asg == nil || len(balancersOf(asg)) == 0 {
		return nil, nil, nil
	}
	client, err := d.balancers(g.aws())
	if err != nil {
		return nil, nil, err
	}
	diags, failure := client.Restore(ctx, g.behind(g.name), only)
	if failure != nil {
		diag := diagnose(failure.Action, failure.Object, failure.Err)
		return diags, &diag, nil
	}
	return diags, nil, nil
}

// showQuiescing adds to the instances which of them are on their way out of which
// load balancers. Groups that no rotation holds are not asked about.
func (d *Driver) showQuiescing(ctx context.Context, inv *inventory, s *sdk.Snapshot) error {
	var held []loadbalancer.Group
	for _, g := range s.Groups {
		if g.HeldBy != "" && g.Traits.Quiesce {
			held = append(held, inv.behind(g.Name))
		}
	}
	if len(held) == 0 {
		return nil
	}
	client, err := d.balancers(inv.aws())
	if err != nil {
		return err
	}
	from, failure := client.Leaving(ctx, held)
	if failure != nil {
		return statusOf(failure.Action, failure.Object, failure.Err)
	}
	loadbalancer.Show(s.Instances, from)
	return nil
}
