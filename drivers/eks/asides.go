package eks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/smithy-go"

	"github.com/rotatord/rotator/drivers/sdk"
)

// What a describe of groups does not tell, and AWS answers for one group only:
// instance refreshes and lifecycle hooks. Both are asked for rarely.

// findRefreshes asks which groups are in an instance refresh.
func (d *Driver) findRefreshes(ctx context.Context, c *clients, groups []*group, at time.Time, maxAge time.Duration) error {
	v := &d.view
	if v.refreshes == nil {
		v.refreshes = map[string]timed[bool]{}
	}
	for _, g := range groups {
		if g.node != nil && g.node.Way.rolls() {
			continue // EKS says so, among the node group's health issues
		}
		if r, ok := v.refreshes[g.name]; ok && maxAge > 0 && at.Sub(r.at) < refreshAge {
			continue
		}
		active, err := refreshing(ctx, c, g.name)
		if err != nil && !vanished(ctx, c, g.name, err) {
			return statusOf("autoscaling:DescribeInstanceRefreshes", g.name, err)
		}
		v.refreshes[g.name] = timed[bool]{active, at}
	}
	return nil
}

// refreshing tells whether an instance refresh of the group is under way. The
// newest comes first, and there is at most one at a time.
func refreshing(ctx context.Context, c *clients, name string) (bool, error) {
	out, err := c.asg.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: &name, MaxRecords: aws.Int32(10)})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(out.InstanceRefreshes, func(r asgtypes.InstanceRefresh) bool {
		switch r.Status {
		case asgtypes.InstanceRefreshStatusPending, asgtypes.InstanceRefreshStatusInProgress, asgtypes.InstanceRefreshStatusCancelling,
			asgtypes.InstanceRefreshStatusRollbackInProgress, asgtypes.InstanceRefreshStatusBaking:
			return true
		}
		return false
	}), nil
}

func refreshDiagnostic(name string) sdk.Diagnostic {
	return finding(sdk.SeverityError, "instance-refresh-active", name,
		"It replaces instances without draining their nodes. Let it finish, or cancel it: aws autoscaling cancel-instance-refresh --auto-scaling-group-name "+name,
		"group %s is in an instance refresh", name)
}

// hookNames names the group's termination hooks, if an instance waits for one.
func (d *Driver) hookNames(ctx context.Context, c *clients, g *group, at time.Time) ([]string, error) {
	v := &d.view
	waits := slices.ContainsFunc(g.Instances, func(i asgtypes.Instance) bool {
		return i.LifecycleState == asgtypes.LifecycleStateTerminatingWait
	})
	if !waits {
		return nil, nil
	}
	if h, ok := v.hooks[g.name]; ok && at.Sub(h.at) < hooksAge {
		return h.value, nil
	}
	out, err := c.asg.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &g.name})
	if vanished(ctx, c, g.name, err) {
		return nil, nil
	}
	if err != nil {
		return nil, statusOf("autoscaling:DescribeLifecycleHooks", g.name, err)
	}
	var names []string
	for _, h := range out.LifecycleHooks {
		if aws.ToString(h.LifecycleTransition) == "autoscaling:EC2_INSTANCE_TERMINATING" {
			names = append(names, aws.ToString(h.LifecycleHookName))
		}
	}
	slices.Sort(names)
	if v.hooks == nil {
		v.hooks = map[string]timed[[]string]{}
	}
	v.hooks[g.name] = timed[[]string]{names, at}
	return names, nil
}

// vanished tells whether a describe failed because its group was deleted after
// the look had listed it: of that AWS speaks in prose only, so the group is asked
// for again. The next look does not show it.
func vanished(ctx context.Context, c *clients, name string, err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ValidationError" {
		return false
	}
	g, err := readGroup(ctx, c.asg, name)
	return err == nil && g == nil
}

// joinAnd lists names for a person: a, b and c.
func joinAnd(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
