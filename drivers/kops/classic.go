package kops

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"

	"github.com/rotatord/rotator/drivers/internal/loadbalancer"
)

// classicAPI are the calls for classic load balancers.
type classicAPI interface {
	DescribeInstanceHealth(context.Context, *elb.DescribeInstanceHealthInput, ...func(*elb.Options)) (*elb.DescribeInstanceHealthOutput, error)
	RegisterInstancesWithLoadBalancer(context.Context, *elb.RegisterInstancesWithLoadBalancerInput, ...func(*elb.Options)) (*elb.RegisterInstancesWithLoadBalancerOutput, error)
	DeregisterInstancesFromLoadBalancer(context.Context, *elb.DeregisterInstancesFromLoadBalancerInput, ...func(*elb.Options)) (*elb.DeregisterInstancesFromLoadBalancerOutput, error)
}

var _ classicAPI = (*elb.Client)(nil)

// classic are the load balancers of the first kind: kops' own for the API server
// of older clusters, and externalLoadBalancers[].loadBalancerName.
type classic struct{ api classicAPI }

var _ loadbalancer.Kind = classic{}

// What a classic load balancer says of an instance that is not in it, or not for
// long. Its API has no other word for them: the state of an instance that is
// leaving is InService, as that of one that serves. The texts are those that the
// API's reference lists (InstanceState.Description), and kops 1.36 makes do with
// the state.
const (
	classicOut     = "not currently registered"
	classicLeaving = "deregistration currently in progress"
)

// healthPerCall bounds how many instances are asked about at once.
const healthPerCall = 100

// State implements loadbalancer.Kind.
func (c classic) State(ctx context.Context, name, instance string) (loadbalancer.State, *loadbalancer.Failure) {
	states, failure := c.States(ctx, name, []string{instance})
	return states[instance], failure
}

// States implements loadbalancer.Kind. An instance that was deregistered is shown
// only to those who name it.
func (c classic) States(ctx context.Context, name string, members []string) (map[string]loadbalancer.State, *loadbalancer.Failure) {
	states := map[string]loadbalancer.State{}
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(members))), healthPerCall) {
		if failure := c.health(ctx, name, chunk, states); failure != nil {
			return nil, failure
		}
	}
	return states, nil
}

// health adds the states of some instances. The call is for all of them or none:
// where one has ended meanwhile they are asked about one by one.
func (c classic) health(ctx context.Context, name string, ids []string, states map[string]loadbalancer.State) *loadbalancer.Failure {
	out, err := c.api.DescribeInstanceHealth(ctx, &elb.DescribeInstanceHealthInput{LoadBalancerName: &name, Instances: instances(ids...)})
	switch {
	case isGone(err), isEnded(err) && len(ids) == 1:
		return nil
	case isEnded(err):
		for _, id := range ids {
			if failure := c.health(ctx, name, []string{id}, states); failure != nil {
				return failure
			}
		}
		return nil
	case err != nil:
		return &loadbalancer.Failure{Action: "elasticloadbalancing:DescribeInstanceHealth", Object: name, Err: err}
	}
	for _, s := range out.InstanceStates {
		switch says := aws.ToString(s.Description); {
		case strings.Contains(says, classicOut):
		case strings.Contains(says, classicLeaving):
			states[aws.ToString(s.InstanceId)] = loadbalancer.Leaving
		default:
			states[aws.ToString(s.InstanceId)] = loadbalancer.In
		}
	}
	return nil
}

// Deregister implements loadbalancer.Kind.
func (c classic) Deregister(ctx context.Context, name, instance string) *loadbalancer.Failure {
	_, err := c.api.DeregisterInstancesFromLoadBalancer(ctx, &elb.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: &name, Instances: instances(instance)})
	if err != nil && !isGone(err) && !isEnded(err) {
		return &loadbalancer.Failure{Action: "elasticloadbalancing:DeregisterInstancesFromLoadBalancer", Object: name, Err: err}
	}
	return nil
}

// Register implements loadbalancer.Kind.
func (c classic) Register(ctx context.Context, name, instance string) *loadbalancer.Failure {
	_, err := c.api.RegisterInstancesWithLoadBalancer(ctx, &elb.RegisterInstancesWithLoadBalancerInput{LoadBalancerName: &name, Instances: instances(instance)})
	if err != nil {
		return &loadbalancer.Failure{Action: "elasticloadbalancing:RegisterInstancesWithLoadBalancer", Object: name, Err: err}
	}
	return nil
}

// isGone tells that a load balancer does not exist.
func isGone(err error) bool {
	gone := (*elbtypes.AccessPointNotFoundException)(nil)
	return errors.As(err, &gone)
}

// isEnded tells that an instance of a call does not exist any more.
func isEnded(err error) bool {
	ended := (*elbtypes.InvalidEndPointException)(nil)
	return errors.As(err, &ended)
}

func instances(ids ...string) []elbtypes.Instance {
	list := make([]elbtypes.Instance, 0, len(ids))
	for _, id := range ids {
		list = append(list, elbtypes.Instance{InstanceId: &id})
	}
	return list
}
