package eks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// The second way to surge: old instances are marked with a tag and taken out of
// their group, which launches others in their place. They run on until they are
// drained and ended, and how many there are is the surge. Desired capacity and
// the maximum stay as they are, which groups need that may not grow.
//
// The tag on each instance is the record, and is written BEFORE it is detached:
// one that was detached and is not marked would belong to nobody. An instance
// that is marked and still in the group is an ordinary member.

const (
	// tagDetached names the group that an instance was taken out of.
	tagDetached = tagPrefix + "detached-from"
	// detachPerCall is AWS's limit on DetachInstances.
	detachPerCall = 20
)

// outsider is an instance that was taken out of its group.
type outsider struct {
	id, zone, image string
	launched        time.Time
	ending          bool
}

// readOutsiders finds the instances that were taken out of groups, by group, in
// one call for 200 groups.
func readOutsiders(ctx context.Context, client *ec2.Client, names []string) (map[string][]outsider, error) {
	found := map[string][]outsider{}
	for chunk := range slices.Chunk(names, instancesPerCall) {
		in := &ec2.DescribeInstancesInput{MaxResults: aws.Int32(1000), Filters: []ec2types.Filter{
			{Name: aws.String("tag:" + tagDetached), Values: chunk},
			{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "shutting-down", "stopping", "stopped"}},
		}}
		for page := 0; ; page++ {
			if page == maxPages {
				return nil, sdk.Errorf(codes.ResourceExhausted, "ec2:DescribeInstances: more than %d pages of instances with the tag %s", maxPages, tagDetached)
			}
			out, err := client.DescribeInstances(ctx, in)
			if err != nil {
				return nil, err
			}
			for _, r := range out.Reservations {
				for i := range r.Instances {
					name, o := outsiderOf(&r.Instances[i])
					found[name] = append(found[name], o)
				}
			}
			if aws.ToString(out.NextToken) == "" {
				break
			}
			in.NextToken = out.NextToken
		}
	}
	return found, nil
}

func outsiderOf(i *ec2types.Instance) (group string, o outsider) {
	o = outsider{id: aws.ToString(i.InstanceId), image: aws.ToString(i.ImageId), launched: aws.ToTime(i.LaunchTime),
		ending: i.State != nil && i.State.Name == ec2types.InstanceStateNameShuttingDown}
	if i.Placement != nil {
		o.zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == tagDetached {
			group = aws.ToString(t.Value)
		}
	}
	return group, o
}

// findOutsiders completes groups with what was taken out of them, and decides
// which surge by detaching.
func findOutsiders(ctx context.Context, c *clients, cfg Config, groups []*group) error {
	if cfg.Surge != SurgeDetach {
		return nil
	}
	var names []string
	for _, g := range groups {
		if g.nodegroup() == "" {
			names = append(names, g.name)
		}
	}
	found, err := readOutsiders(ctx, c.ec2, names)
	if err != nil {
		return statusOf("ec2:DescribeInstances", "the tag "+tagDetached, err)
	}
	for _, g := range groups {
		if g.nodegroup() != "" {
			continue // its instances are EKS' to count
		}
		for _, o := range found[g.name] {
			if m := g.member(o.id); m == nil || stateOf(m.LifecycleState) == sdk.InstanceDetached {
				g.outside = append(g.outside, o)
			}
		}
		slices.SortFunc(g.outside, func(a, b outsider) int { return cmp.Compare(a.id, b.id) })
		// What an earlier run began in the other way is finished in it, and AWS takes
		// a detached instance out of its load balancers before its replacement is Ready.
		g.detaches = len(g.outside) > 0 || g.standing().Surge == 0 && !g.balanced()
	}
	return nil
}

// balanced tells whether instances of the group serve load balancers.
func (g *group) balanced() bool {
	return len(g.TargetGroupARNs)+len(g.LoadBalancerNames)+len(g.TrafficSources) > 0
}

// extra is how many instances the group has beside its own, by detaching.
func (g *group) extra() int {
	n := 0
	for _, o := range g.outside {
		if !o.ending {
			n++
		}
	}
	return n
}

func (g *group) outsider(id string) *outsider {
	for i := range g.outside {
		if g.outside[i].id == id {
			return &g.outside[i]
		}
	}
	return nil
}

// showOutsiders tells of a group that surges by detaching: its sizes with what
// is out of it, and these instances.
func showOutsiders(g *group, n *sdk.NodeGroup, list []sdk.Instance) []sdk.Instance {
	if !g.detaches {
		return list
	}
	n.Surge = g.extra()
	n.Desired += n.Surge
	n.Max = max(n.Max, n.Desired)
	n.Traits.SurgeDetaches, n.Traits.MaxSurge = true, min(maxSurge, len(g.Instances)+n.Surge)
	list = slices.DeleteFunc(list, func(i sdk.Instance) bool { return g.outsider(i.ID) != nil })
	for _, o := range g.outside {
		i := sdk.Instance{ID: o.id, GroupID: g.name, ProviderID: "aws:///" + o.zone + "/" + o.id, Zone: o.zone, State: sdk.InstanceDetached,
			LaunchedAt: o.launched, Reasons: []sdk.Reason{{Code: "detached", Message: "detached by a rotation, and still running"}}}
		if o.ending {
			i.State, i.Reasons, i.Work = sdk.InstanceTerminating, nil, &sdk.Work{Verb: "terminate", Phase: "terminating"}
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b sdk.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// detach raises the surge of a group to r.Surge by taking instances out of it.
// After a crash between any two calls the same call finds what is missing.
func (d *Driver) detach(ctx context.Context, c *clients, g *group, r sdk.SetSurgeRequest) (*sdk.Operation, error) {
	now := g.extra()
	if r.Surge < now {
		return failed(finding(sdk.SeverityError, "surge-lowered", g.name,
			"A detached instance is not attached again: drain it and end it (Terminate, shrink).",
			"group %s has %d detached instances, and a surge of %d was asked for", g.name, now, r.Surge)), nil
	}
	if r.Surge == now {
		return &sdk.Operation{State: sdk.OperationDone}, nil
	}
	chosen := g.toDetach(r.Going, r.Surge-now)
	if len(chosen) < r.Surge-now {
		diag := finding(sdk.SeverityError, "too-few-instances", g.name, "Instances that boot or end cannot be detached. It is tried again.",
			"group %s has %d instances in service that can be detached, and %d are to be", g.name, len(chosen), r.Surge-now)
		diag.Retry = sdk.RetryLater
		return failed(diag), nil
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	defer d.view.changed()
	for ids := range slices.Chunk(chosen, detachPerCall) {
		_, err := c.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []ec2types.Tag{{Key: aws.String(tagDetached), Value: &g.name}}})
		if err != nil {
			return failed(diagnose("ec2:CreateTags", g.name, err)), nil
		}
		_, err = c.asg.DetachInstances(ctx, &autoscaling.DetachInstancesInput{
			AutoScalingGroupName: &g.name, InstanceIds: ids, ShouldDecrementDesiredCapacity: aws.Bool(false),
		}, carefully)
		if err != nil {
			diag := diagnose("autoscaling:DetachInstances", g.name, err)
			if errCode(err) == "ValidationError" {
				diag.Retry = sdk.RetryLater // one of them left service since it was read
			}
			return failed(diag), nil
		}
	}
	return &sdk.Operation{State: sdk.OperationRunning, Phase: fmt.Sprintf("%d instance(s) detached, the group launches others", len(chosen))}, nil
}

// unmark takes the mark from members of the group: they were to be detached, and
// the call that would have done it was refused or never made. Whoever detaches one
// of them later, for another reason, would see it ended by a rotation.
func unmark(ctx context.Context, c *clients, cfg Config, g *group) *sdk.Diagnostic {
	if cfg.Surge != SurgeDetach || g.nodegroup() != "" {
		return nil
	}
	found, err := readOutsiders(ctx, c.ec2, []string{g.name})
	if err != nil {
		diag := diagnose("ec2:DescribeInstances", g.name, err)
		return &diag
	}
	var ids []string
	for _, o := range found[g.name] {
		if m := g.member(o.id); m != nil && stateOf(m.LifecycleState) != sdk.InstanceDetached && !o.ending {
			ids = append(ids, o.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err = c.ec2.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: ids, Tags: []ec2types.Tag{{Key: aws.String(tagDetached)}}})
	if err != nil {
		diag := diagnose("ec2:DeleteTags", g.name, err)
		return &diag
	}
	return nil
}

// toDetach picks n instances in service: those that are about to go, in their
// order, then others by id.
func (g *group) toDetach(going []string, n int) []string {
	var chosen []string
	take := func(id string) {
		m := g.member(id)
		if len(chosen) < n && m != nil && m.LifecycleState == asgtypes.LifecycleStateInService && !slices.Contains(chosen, id) {
			chosen = append(chosen, id)
		}
	}
	for _, id := range going {
		take(id)
	}
	var ids []string
	for i := range g.Instances {
		ids = append(ids, aws.ToString(g.Instances[i].InstanceId))
	}
	slices.Sort(ids)
	for _, id := range ids {
		take(id)
	}
	return chosen
}

// endOutsider ends an instance that was taken out of its group, whose place has
// been filled since; nil: it is none, or the group does not surge so. SHRINK is
// for such instances only: what the group counts, it launches again.
func (d *Driver) endOutsider(ctx context.Context, c *clients, cfg Config, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	if cfg.Surge != SurgeDetach {
		return nil, nil
	}
	known := d.view.isOutside(r.InstanceID)
	if !known && r.Capacity == sdk.KeepCapacity && d.view.groupOf(r.InstanceID) == r.GroupID && !r.DryRun {
		return nil, nil // the group ends it, and answers otherwise if it is not its own
	}
	if !known || r.DryRun {
		g, op, err := d.open(ctx, c, r.GroupID, r.RotationID)
		switch {
		case err != nil:
			return nil, err
		case op != nil:
			return &sdk.TerminateResult{Instance: *op, Capacity: *op}, nil
		}
		if err := findOutsiders(ctx, c, cfg, []*group{g}); err != nil {
			return nil, err
		}
		switch o := g.outsider(r.InstanceID); {
		case o != nil && (o.ending || r.DryRun):
			return gone("already terminating"), nil
		case o != nil:
		case r.Capacity == sdk.ShrinkCapacity && g.detaches && g.member(r.InstanceID) != nil && !g.going(r.InstanceID):
			return refused(finding(sdk.SeverityError, "instance-not-detached", r.InstanceID,
				"The group surges by detaching: only a detached instance is one too many.",
				"instance %s is counted by its group %s, and its place is not taken", r.InstanceID, g.name)), nil
		default:
			return nil, nil
		}
	}
	defer d.view.changed()
	_, err := c.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{r.InstanceID}})
	if err != nil {
		if over, eerr := ended(ctx, c.ec2, r.InstanceID); eerr == nil && over {
			return gone("already gone"), nil
		}
		return refused(diagnose("ec2:TerminateInstances", r.InstanceID, err)), nil
	}
	return &sdk.TerminateResult{
		Instance: sdk.Operation{State: sdk.OperationRunning, Phase: "terminating"},
		Capacity: sdk.Operation{State: sdk.OperationDone, Phase: "its group has had the replacement since it was detached"},
	}, nil
}
