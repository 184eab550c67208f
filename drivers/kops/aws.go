package kops

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// tagDetached is how kops marks an instance that it detaches; its value is the
	// name of the Auto Scaling group. The library does not export it.
	tagDetached = "kops.k8s.io/detached-from-asg"
	// detachPerCall is AWS's limit on DetachInstances.
	detachPerCall = 20
	// terminatePerCall is far below AWS's limit on TerminateInstances: a call is
	// for all of them or none.
	terminatePerCall = 100
	// templatesPerCall is below AWS's limit on DescribeLaunchTemplates by id.
	templatesPerCall = 200
	azRebalance      = "AZRebalance"
	// maxPages bounds a paged describe: a thousand instances a page.
	maxPages = 100
)

// facts of an instance that kops' own snapshot leaves out.
type facts struct {
	zone     string
	launched time.Time
	state    ec2types.InstanceStateName
	group    string // the instance group that its tag names
	detached string // the Auto Scaling group that it was detached from
}

// awsFacts reads the facts of all instances of a cluster.
func awsFacts(ctx context.Context, cloud awsup.AWSCloud, cluster string) (map[string]facts, error) {
	in := &ec2.DescribeInstancesInput{
		MaxResults: aws.Int32(1000),
		Filters: []ec2types.Filter{
			awsup.NewEC2Filter("tag:"+awsup.TagClusterName, cluster),
			awsup.NewEC2Filter("instance-state-name", "pending", "running", "shutting-down", "stopping", "stopped"),
		},
	}
	out := map[string]facts{}
	for range maxPages {
		page, err := cloud.EC2().DescribeInstances(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				f := facts{launched: aws.ToTime(i.LaunchTime)}
				if i.Placement != nil {
					f.zone = aws.ToString(i.Placement.AvailabilityZone)
				}
				if i.State != nil {
					f.state = i.State.Name
				}
				for _, t := range i.Tags {
					switch aws.ToString(t.Key) {
					case tagDetached:
						f.detached = aws.ToString(t.Value)
					case "kops.k8s.io/instancegroup":
						f.group = aws.ToString(t.Value)
					}
				}
				out[aws.ToString(i.InstanceId)] = f
			}
		}
		if aws.ToString(page.NextToken) == "" {
			return out, nil
		}
		in.NextToken = page.NextToken
	}
	return nil, sdk.Errorf(codes.ResourceExhausted, "ec2:DescribeInstances: more than %d pages for cluster %s", maxPages, cluster)
}

// awsState maps a lifecycle state of Auto Scaling; unspecified: gone, in a warm
// pool, or one that this driver does not know.
func awsState(s asgtypes.LifecycleState) sdk.InstanceState {
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

// awsProviderID is what the node of an instance has as spec.providerID.
func awsProviderID(zone, id string) string { return "aws:///" + zone + "/" + id }

// awsMadeOf says what an instance was launched from, for a person.
func awsMadeOf(i *asgtypes.Instance) string {
	if name := aws.ToString(i.LaunchConfigurationName); name != "" {
		return name
	}
	return templateText(i.LaunchTemplate)
}

// templateOf is the launch template that a group launches from; nil: none.
func templateOf(g *asgtypes.AutoScalingGroup) *asgtypes.LaunchTemplateSpecification {
	if g.LaunchTemplate != nil {
		return g.LaunchTemplate
	}
	if p := g.MixedInstancesPolicy; p != nil && p.LaunchTemplate != nil {
		return p.LaunchTemplate.LaunchTemplateSpecification
	}
	return nil
}

// moving tells whether a template's version is one that others move: kops
// follows $Latest. None at all means $Default.
func moving(t *asgtypes.LaunchTemplateSpecification) bool {
	v := aws.ToString(t.Version)
	return v == "" || v == "$Latest" || v == "$Default"
}

// awsVersions finds what $Latest and $Default mean now, of all groups' templates
// in as few calls as there are hundreds of them. It answers by template id and
// version as the group names it.
func awsVersions(ctx context.Context, cloud awsup.AWSCloud, groups map[string]*cloudinstances.CloudInstanceGroup) (map[string]string, error) {
	var ids []string
	for _, g := range groups {
		if asg := asgOf(g); asg != nil {
			if t := templateOf(asg); t != nil && moving(t) && !slices.Contains(ids, aws.ToString(t.LaunchTemplateId)) {
				ids = append(ids, aws.ToString(t.LaunchTemplateId))
			}
		}
	}
	slices.Sort(ids)
	versions := map[string]string{}
	for chunk := range slices.Chunk(ids, templatesPerCall) {
		out, err := cloud.EC2().DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: chunk})
		if err != nil {
			return nil, err
		}
		for _, t := range out.LaunchTemplates {
			id := aws.ToString(t.LaunchTemplateId)
			versions[id+":$Latest"] = strconv.FormatInt(aws.ToInt64(t.LatestVersionNumber), 10)
			versions[id+":$Default"] = strconv.FormatInt(aws.ToInt64(t.DefaultVersionNumber), 10)
			versions[id+":"] = versions[id+":$Default"]
		}
	}
	return versions, nil
}

// awsRevision says what a group launches from, for a person: a template's name
// and the version that is meant now.
func awsRevision(g *asgtypes.AutoScalingGroup, versions map[string]string) string {
	if name := aws.ToString(g.LaunchConfigurationName); name != "" {
		return name
	}
	t := templateOf(g)
	if t == nil {
		return ""
	}
	resolved := *t
	if v := versions[aws.ToString(t.LaunchTemplateId)+":"+aws.ToString(t.Version)]; v != "" {
		resolved.Version = &v
	}
	return templateText(&resolved)
}

func templateText(t *asgtypes.LaunchTemplateSpecification) string {
	if t == nil {
		return ""
	}
	name := aws.ToString(t.LaunchTemplateName)
	if name == "" {
		name = aws.ToString(t.LaunchTemplateId)
	}
	if v := aws.ToString(t.Version); v != "" {
		return name + ":" + v
	}
	return name
}

// asgOf is the Auto Scaling group behind an instance group; nil: there is none.
func asgOf(g *cloudinstances.CloudInstanceGroup) *asgtypes.AutoScalingGroup {
	asg, _ := g.Raw.(*asgtypes.AutoScalingGroup)
	return asg
}

func memberOf(g *asgtypes.AutoScalingGroup, id string) *asgtypes.Instance {
	for i := range g.Instances {
		if aws.ToString(g.Instances[i].InstanceId) == id {
			return &g.Instances[i]
		}
	}
	return nil
}

func suspended(g *asgtypes.AutoScalingGroup, process string) bool {
	return slices.ContainsFunc(g.SuspendedProcesses, func(p asgtypes.SuspendedProcess) bool { return aws.ToString(p.ProcessName) == process })
}

// behindLoadBalancer tells whether instances of the group serve a load
// balancer, which they leave when they are detached.
func behindLoadBalancer(g *asgtypes.AutoScalingGroup) bool {
	return len(g.TargetGroupARNs)+len(g.LoadBalancerNames)+len(g.TrafficSources) > 0
}

// warm tells that an instance waits in a warm pool, as no node.
func warm(s asgtypes.LifecycleState) bool { return strings.HasPrefix(string(s), "Warmed") }

// awsDetach marks instances as kops does and then takes them out of their group,
// which launches others in their place. The tag comes first: an instance that
// was detached and is not marked would belong to nobody.
func awsDetach(ctx context.Context, cloud awsup.AWSCloud, asg string, ids []string) error {
	for chunk := range slices.Chunk(ids, detachPerCall) {
		_, err := cloud.EC2().CreateTags(ctx, &ec2.CreateTagsInput{
			Resources: chunk,
			Tags:      []ec2types.Tag{{Key: aws.String(tagDetached), Value: aws.String(asg)}},
		})
		if err != nil {
			return err
		}
		_, err = cloud.Autoscaling().DetachInstances(ctx, &autoscaling.DetachInstancesInput{
			AutoScalingGroupName: &asg, InstanceIds: chunk, ShouldDecrementDesiredCapacity: aws.Bool(false),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// awsTerminate ends instances that no group counts. One that is gone is no
// error; AWS then refuses the call for the others too, which go one by one.
func awsTerminate(ctx context.Context, cloud awsup.AWSCloud, ids []string) error {
	for chunk := range slices.Chunk(ids, terminatePerCall) {
		_, err := cloud.EC2().TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: chunk})
		switch {
		case err == nil:
		case awsup.AWSErrorCode(err) != "InvalidInstanceID.NotFound":
			return err
		case len(chunk) > 1:
			for _, id := range chunk {
				if err := awsTerminate(ctx, cloud, []string{id}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// awsReplace ends an instance of a group, which launches another at once. kops
// itself ends the instance behind the group's back, and a replacement comes
// only after the group's next health check.
func awsReplace(ctx context.Context, cloud awsup.AWSCloud, id string) error {
	_, err := cloud.Autoscaling().TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{
		InstanceId: &id, ShouldDecrementDesiredCapacity: aws.Bool(false),
	})
	return err
}

// awsEnded tells whether EC2 has ended an instance or is about to. One that EC2
// no longer shows has ended.
func awsEnded(ctx context.Context, cloud awsup.AWSCloud, id string) (bool, error) {
	out, err := cloud.EC2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{awsup.NewEC2Filter("instance-id", id)},
	})
	if err != nil {
		return false, err
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if i.State != nil && i.State.Name != ec2types.InstanceStateNameShuttingDown && i.State.Name != ec2types.InstanceStateNameTerminated {
				return false, nil
			}
		}
	}
	return true, nil
}
