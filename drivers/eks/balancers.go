package eks

import (
	"context"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// balancers remembers which target groups may have targets that drain, so that a
// look asks about no other: one call for each that has, whatever its size. It is
// a cache: a new life of the driver asks about all target groups once.
type balancers struct {
	mu sync.Mutex
	// quiet target groups had no target that drains when they were last asked, and
	// nothing was deregistered since.
	quiet map[string]bool
	// leaving are the instances, by target group, that were deregistered and that
	// AWS may show as before for a moment.
	leaving map[string]map[string]bool
	// asked counts the deregistrations of each: an answer from before one is old.
	asked map[string]int
}

// leave takes note that an instance is about to be deregistered.
func (b *balancers) leave(arn, instance string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leaving == nil {
		b.leaving, b.asked = map[string]map[string]bool{}, map[string]int{}
	}
	if b.leaving[arn] == nil {
		b.leaving[arn] = map[string]bool{}
	}
	b.leaving[arn][instance] = true
	b.asked[arn]++
	delete(b.quiet, arn)
}

// back takes note that an instance is registered again.
func (b *balancers) back(arn, instance string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.leaving[arn], instance)
}

// reset forgets everything.
func (b *balancers) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.quiet, b.leaving, b.asked = nil, nil, nil
}

// due tells whether a target group has to be asked, and how many deregistrations
// there have been.
func (b *balancers) due(arn string) (bool, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.quiet[arn], b.asked[arn]
}

// learn takes an answer: the states of all targets of a target group. It returns
// the instances that are on their way out.
func (b *balancers) learn(arn string, states map[string]elbtypes.TargetHealthStateEnum, asked int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.leaving[arn] {
		if _, listed := states[id]; !listed && asked == b.asked[arn] {
			delete(b.leaving[arn], id)
		}
	}
	var out []string
	for id, state := range states {
		if state == elbtypes.TargetHealthStateEnumDraining || b.leaving[arn][id] {
			out = append(out, id)
		}
	}
	if len(out) == 0 && len(b.leaving[arn]) == 0 {
		if b.quiet == nil {
			b.quiet = map[string]bool{}
		}
		b.quiet[arn] = true
	}
	return out
}

// quiescing reads which instances of the groups are on their way out of which
// target groups. Groups that no rotation holds are not asked about.
func (d *Driver) quiescing(ctx context.Context, c *clients, groups []*group) (map[string][]string, error) {
	from := map[string][]string{}
	seen := map[string]bool{} // several groups may share a target group
	for _, g := range groups {
		if g.prepared == nil {
			continue
		}
		for _, arn := range g.TargetGroupARNs {
			due, asked := d.view.balancers.due(arn)
			if !due || seen[arn] {
				continue
			}
			seen[arn] = true
			out, err := c.elb.DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: &arn})
			if errCode(err) == "TargetGroupNotFound" {
				continue // nobody is sent there any more
			}
			if err != nil {
				return nil, statusOf("elasticloadbalancing:DescribeTargetHealth", targetGroupName(arn), err)
			}
			states := make(map[string]elbtypes.TargetHealthStateEnum, len(out.TargetHealthDescriptions))
			for _, h := range out.TargetHealthDescriptions {
				if h.Target != nil && h.TargetHealth != nil {
					states[aws.ToString(h.Target.Id)] = h.TargetHealth.State
				}
			}
			for _, id := range d.view.balancers.learn(arn, states, asked) {
				from[id] = append(from[id], arn)
			}
		}
	}
	for _, arns := range from {
		slices.Sort(arns)
	}
	return from, nil
}

// showQuiescing adds to the instances what is in flight at the load balancers.
func showQuiescing(list []sdk.Instance, from map[string][]string) {
	for i := range list {
		if arns := from[list[i].ID]; len(arns) > 0 && list[i].Work == nil {
			list[i].Work = &sdk.Work{Verb: "quiesce", Phase: drainingPhase(arns)}
		}
	}
}
