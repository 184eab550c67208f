package stack

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
)

const (
	// ImageParameter is the SSM parameter that names the current machine image.
	ImageParameter = "/sandbox/eks/ami/recommended/image_id"
	instanceType   = "m5.xlarge"
)

// mixedTypes have the same size, so that it does not matter to the pods which of
// them a machine is.
var mixedTypes = []string{"m5.xlarge", "m6i.xlarge", "m6a.xlarge"}

func zones(region string, n int) []string {
	names := make([]string, 0, n)
	for i := range n {
		names = append(names, region+string(rune('a'+i)))
	}
	return names
}

// groupsProvider is a cluster of groups NAME-workers-1 and so on, which nothing
// but their tags holds together.
type groupsProvider struct{ opts Options }

func (p *groupsProvider) profile(m aws.Machine) (cloudnode.Profile, bool) { return eksProfile(m) }

func (p *groupsProvider) nodes() int { return p.opts.Nodes }

// seed makes the account's first image and the groups, the cluster's own and a
// foreign one.
func (p *groupsProvider) seed(cloud *aws.Cloud) error {
	o := p.opts
	if _, err := seedEKS(cloud, o.Cluster); err != nil {
		return err
	}
	image := cloud.CreateImage(aws.ImageSpec{Name: "sandbox-node-1.37-v1"})
	cloud.PutParameter(ImageParameter, image)
	var targets []string
	if o.TargetGroup {
		arn, err := cloud.CreateTargetGroup(aws.TargetGroupSpec{Name: o.Cluster + "-web", DeregistrationDelay: o.DeregistrationDelay,
			Tags: map[string]string{cloudnode.ClusterTag(o.Cluster): "owned"}})
		if err != nil {
			return fmt.Errorf("target group: %w", err)
		}
		targets = []string{arn}
	}
	for i := range o.Groups {
		if err := addGroup(cloud, o.Cluster, i+1, shareOf(o.Nodes, o.Groups, i), image, o.MixedInstances, targets); err != nil {
			return err
		}
	}
	// A cluster whose name begins with ours, in the same account: whoever finds
	// groups by a part of the name touches what is not theirs.
	return addGroup(cloud, o.Cluster+"-2", 1, 1, image, false, nil)
}

func addGroup(cloud *aws.Cloud, cluster string, number, size int, image string, mixed bool, targets []string) error {
	name := fmt.Sprintf("%s-workers-%d", cluster, number)
	kind := instanceType
	if _, err := cloud.CreateLaunchTemplate(name, aws.LaunchTemplateData{ImageID: &image, InstanceType: &kind}); err != nil {
		return fmt.Errorf("launch template %s: %w", name, err)
	}
	spec := aws.GroupSpec{
		Name: name, LaunchTemplate: name, LaunchVersion: "$Latest",
		// No room above the desired capacity: a surge has to make it, and to
		// give it back.
		Min: 0, Max: size, Desired: size, TargetGroups: targets,
	}
	if mixed {
		spec.InstanceTypes = mixedTypes
	}
	tags := map[string]string{cloudnode.ClusterTag(cluster): "owned", "Name": name}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		spec.Tags = append(spec.Tags, aws.GroupTag{ResourceID: name, ResourceType: "auto-scaling-group", Key: key, Value: tags[key], PropagateAtLaunch: true})
	}
	if err := cloud.CreateAutoScalingGroup(spec); err != nil {
		return fmt.Errorf("group %s: %w", name, err)
	}
	return nil
}
