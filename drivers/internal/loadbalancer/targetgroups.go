package loadbalancer

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// ELBv2 are the calls for target groups.
type ELBv2 interface {
	DescribeTargetHealth(context.Context, *elasticloadbalancingv2.DescribeTargetHealthInput, ...func(*elasticloadbalancingv2.Options)) (*elasticloadbalancingv2.DescribeTargetHealthOutput, error)
	RegisterTargets(context.Context, *elasticloadbalancingv2.RegisterTargetsInput, ...func(*elasticloadbalancingv2.Options)) (*elasticloadbalancingv2.RegisterTargetsOutput, error)
	DeregisterTargets(context.Context, *elasticloadbalancingv2.DeregisterTargetsInput, ...func(*elasticloadbalancingv2.Options)) (*elasticloadbalancingv2.DeregisterTargetsOutput, error)
}

// TargetGroups are those of Application, Network and Gateway Load Balancers.
type TargetGroups struct{ API ELBv2 }

var _ Kind = TargetGroups{}

// State implements Kind, at the port of the target group: where Auto Scaling
// registers an instance.
func (t TargetGroups) State(ctx context.Context, arn, instance string) (State, *Failure) {
	states, failure := t.health(ctx, arn, targets(instance))
	return states[instance], failure
}

// States implements Kind, at all ports.
func (t TargetGroups) States(ctx context.Context, arn string, _ []string) (map[string]State, *Failure) {
	return t.health(ctx, arn, nil)
}

func (t TargetGroups) health(ctx context.Context, arn string, of []elbtypes.TargetDescription) (map[string]State, *Failure) {
	out, err := t.API.DescribeTargetHealth(ctx, &elasticloadbalancingv2.DescribeTargetHealthInput{TargetGroupArn: &arn, Targets: of})
	if isGone(err) {
		return nil, nil // nobody is sent there any more
	}
	if err != nil {
		return nil, &Failure{"elasticloadbalancing:DescribeTargetHealth", Name(arn), err}
	}
	states := make(map[string]State, len(out.TargetHealthDescriptions))
	for _, h := range out.TargetHealthDescriptions {
		if h.Target == nil || h.TargetHealth == nil {
			continue
		}
		state := In
		switch h.TargetHealth.State {
		case elbtypes.TargetHealthStateEnumUnused:
			continue
		case elbtypes.TargetHealthStateEnumDraining:
			state = Leaving
		}
		// At several ports: what ends last is waited for.
		id := aws.ToString(h.Target.Id)
		if was, known := states[id]; !known || state == Leaving && was == In {
			states[id] = state
		}
	}
	return states, nil
}

// Deregister implements Kind.
func (t TargetGroups) Deregister(ctx context.Context, arn, instance string) *Failure {
	_, err := t.API.DeregisterTargets(ctx, &elasticloadbalancingv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: targets(instance)})
	if err != nil && !isGone(err) {
		return &Failure{"elasticloadbalancing:DeregisterTargets", Name(arn), err}
	}
	return nil
}

// Register implements Kind.
func (t TargetGroups) Register(ctx context.Context, arn, instance string) *Failure {
	_, err := t.API.RegisterTargets(ctx, &elasticloadbalancingv2.RegisterTargetsInput{TargetGroupArn: &arn, Targets: targets(instance)})
	if err != nil {
		return &Failure{"elasticloadbalancing:RegisterTargets", Name(arn), err}
	}
	return nil
}

// isGone tells that a target group does not exist.
func isGone(err error) bool {
	gone := (*elbtypes.TargetGroupNotFoundException)(nil)
	return errors.As(err, &gone)
}

func targets(instance string) []elbtypes.TargetDescription {
	return []elbtypes.TargetDescription{{Id: &instance}}
}
