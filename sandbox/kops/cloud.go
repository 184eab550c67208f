package kops

import (
	"fmt"

	"github.com/rotatord/rotator/sandbox/aws"
)

// Seed makes the launch templates and the groups of the cluster in the account, as `kops update cluster --yes` leaves
// them: the group follows $Latest, so that a new version of the template is what makes instances need an update.
func (c *Cluster) Seed(cloud *aws.Cloud, image string) error {
	c.Network, c.Subnets = cloud.VPCID(), map[string]string{}
	for _, z := range c.Zones {
		c.Subnets[z] = cloud.SubnetID(z)
	}
	for _, g := range c.Groups {
		name, tags := c.AutoScalingGroup(g), tagList(c.tags(g))
		if _, err := cloud.CreateLaunchTemplate(name, launchData(g, image, tags), tags...); err != nil {
			return fmt.Errorf("launch template %s: %w", name, err)
		}
		spec := aws.GroupSpec{Name: name, LaunchTemplate: name, LaunchVersion: "$Latest", Min: g.Size, Max: g.Size, Desired: g.Size, Zones: g.Zones}
		if g.TargetGroup != "" {
			spec.TargetGroups = []string{g.TargetGroup}
		}
		for _, t := range tags {
			spec.Tags = append(spec.Tags, aws.GroupTag{Key: t.Key, Value: t.Value, PropagateAtLaunch: true})
		}
		if err := cloud.CreateAutoScalingGroup(spec); err != nil {
			return fmt.Errorf("group %s: %w", name, err)
		}
	}
	return nil
}

// launchData is what kops' launch templates hold, user data and security groups aside.
func launchData(g InstanceGroup, image string, tags []aws.Tag) aws.LaunchTemplateData {
	size := int32(128)
	if g.Role == RoleControlPlane {
		size = 64
	} else if g.Role == RoleBastion {
		size = 32
	}
	return aws.LaunchTemplateData{
		ImageID: &image, InstanceType: &g.MachineType, Monitoring: &aws.Monitoring{Enabled: new(bool)},
		BlockDeviceMappings: []aws.BlockDeviceMapping{{DeviceName: ptr("/dev/xvda"), Ebs: &aws.Ebs{
			DeleteOnTermination: ptr(true), Encrypted: ptr(true), Iops: ptr(int32(3000)), Throughput: ptr(int32(125)), VolumeSize: &size, VolumeType: ptr("gp3"),
		}}},
		MetadataOptions: &aws.MetadataOptions{
			HTTPEndpoint: ptr("enabled"), HTTPProtocolIpv6: ptr("disabled"), HTTPPutResponseHopLimit: ptr(int32(1)), HTTPTokens: ptr("required"),
		},
		TagSpecifications: launchTags(tags),
	}
}

func ptr[T any](v T) *T { return &v }
