package eks

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// instancesPerCall is AWS's limit on the values of one filter.
const instancesPerCall = 200

// stateOf maps a lifecycle state of Auto Scaling; Unspecified: one that this
// driver does not know, or of an instance that is gone or in a warm pool.
func stateOf(s asgtypes.LifecycleState) sdk.InstanceState {
	switch s {
	case asgtypes.LifecycleStatePending, asgtypes.LifecycleStatePendingWait, asgtypes.LifecycleStatePendingProceed:
		return sdk.InstancePending
	case asgtypes.LifecycleStateInService,
		asgtypes.LifecycleStateReplacingRootVolume, asgtypes.LifecycleStateReplacingRootVolumeWait,
		asgtypes.LifecycleStateReplacingRootVolumeProceed, asgtypes.LifecycleStateRootVolumeReplaced:
		return sdk.InstanceInService
	case asgtypes.LifecycleStateTerminating, asgtypes.LifecycleStateTerminatingWait,
		asgtypes.LifecycleStateTerminatingProceed, asgtypes.LifecycleStateTerminatingRetained:
		return sdk.InstanceTerminating
	case asgtypes.LifecycleStateDetaching, asgtypes.LifecycleStateDetached:
		return sdk.InstanceDetached
	case asgtypes.LifecycleStateEnteringStandby, asgtypes.LifecycleStateStandby, asgtypes.LifecycleStateQuarantined:
		return sdk.InstanceStandby
	}
	return sdk.InstanceStateUnspecified
}

// leftOut tells that an instance is gone, or waits in a warm pool as no node.
func leftOut(s asgtypes.LifecycleState) bool {
	return s == asgtypes.LifecycleStateTerminated || strings.HasPrefix(string(s), "Warmed:")
}

// facts of an instance that never change, from EC2.
type facts struct {
	image    string
	launched time.Time
}

// describeInstances reads facts of many instances, 200 a call. Instances that
// EC2 does not show (yet, or any more) are left out: a filter, unlike a list of
// ids, does not make the whole call fail for one that is unknown.
func describeInstances(ctx context.Context, client *ec2.Client, ids []string, each func(ec2types.Instance)) error {
	for chunk := range slices.Chunk(ids, instancesPerCall) {
		in := &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: chunk}}}
		for page := 0; ; page++ {
			if page == maxPages {
				return sdk.Errorf(codes.ResourceExhausted, "ec2:DescribeInstances: more than %d pages for %d instances", maxPages, len(chunk))
			}
			out, err := client.DescribeInstances(ctx, in)
			if err != nil {
				return err
			}
			for _, r := range out.Reservations {
				for _, i := range r.Instances {
					each(i)
				}
			}
			if aws.ToString(out.NextToken) == "" {
				break
			}
			in.NextToken = out.NextToken
		}
	}
	return nil
}

// ended tells whether EC2 has ended an instance or is about to. An instance
// that EC2 no longer shows has ended.
func ended(ctx context.Context, client *ec2.Client, id string) (bool, error) {
	running := false
	err := describeInstances(ctx, client, []string{id}, func(i ec2types.Instance) {
		if i.State != nil && i.State.Name != ec2types.InstanceStateNameShuttingDown && i.State.Name != ec2types.InstanceStateNameTerminated {
			running = true
		}
	})
	return !running, err
}

func madeOf(i *asgtypes.Instance) made {
	m := made{
		launchConfig: aws.ToString(i.LaunchConfigurationName),
		instanceType: aws.ToString(i.InstanceType),
		image:        aws.ToString(i.ImageId), // AWS fills it only where an image was overridden
	}
	if lt := i.LaunchTemplate; lt != nil {
		m.id, m.name, m.version = aws.ToString(lt.LaunchTemplateId), aws.ToString(lt.LaunchTemplateName), aws.ToString(lt.Version)
	}
	return m
}

func providerID(i *asgtypes.Instance) string {
	return "aws:///" + aws.ToString(i.AvailabilityZone) + "/" + aws.ToString(i.InstanceId)
}
