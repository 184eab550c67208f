package aws

import (
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func tagged(kind types.ResourceType, name string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: kind, Tags: []types.Tag{{Key: sdk.String("Name"), Value: &name}}}}
}

func named(name string) []types.Filter {
	return []types.Filter{{Name: sdk.String("tag:Name"), Values: []string{name}}}
}

// What `kops update cluster` looks at in a network that it shares.
func TestNetwork(t *testing.T) {
	a := newAccount(t)
	vpcID := a.VPCID()
	vpcs := must[*ec2.DescribeVpcsOutput](t)(a.EC2.DescribeVpcs(a.ctx(), &ec2.DescribeVpcsInput{VpcIds: []string{vpcID}}))
	if len(vpcs.Vpcs) != 1 || *vpcs.Vpcs[0].CidrBlock != "10.0.0.0/16" {
		t.Errorf("VPCs %+v", vpcs.Vpcs)
	}
	_, err := a.EC2.DescribeVpcs(a.ctx(), &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-1"}})
	refused(t, err, "InvalidVpcID.NotFound", "vpc-1")
	names := must[*ec2.DescribeVpcAttributeOutput](t)(a.EC2.DescribeVpcAttribute(a.ctx(), &ec2.DescribeVpcAttributeInput{VpcId: &vpcID, Attribute: types.VpcAttributeNameEnableDnsHostnames}))
	if names.EnableDnsHostnames == nil || !*names.EnableDnsHostnames.Value || names.EnableDnsSupport != nil {
		t.Errorf("attribute %+v", names)
	}
	gateways := must[*ec2.DescribeInternetGatewaysOutput](t)(a.EC2.DescribeInternetGateways(a.ctx(), &ec2.DescribeInternetGatewaysInput{
		Filters: []types.Filter{{Name: sdk.String("attachment.vpc-id"), Values: []string{vpcID}}},
	}))
	if len(gateways.InternetGateways) != 1 {
		t.Errorf("gateways %+v", gateways.InternetGateways)
	}
	subnet := a.SubnetID("eu-central-1b")
	if _, err := a.EC2.CreateTags(a.ctx(), &ec2.CreateTagsInput{Resources: []string{subnet}, Tags: []types.Tag{{Key: sdk.String("Name"), Value: sdk.String("b")}}}); err != nil {
		t.Fatal(err)
	}
	subnets := must[*ec2.DescribeSubnetsOutput](t)(a.EC2.DescribeSubnets(a.ctx(), &ec2.DescribeSubnetsInput{Filters: named("b")}))
	if len(subnets.Subnets) != 1 || *subnets.Subnets[0].SubnetId != subnet || *subnets.Subnets[0].CidrBlock != "10.0.32.0/19" {
		t.Errorf("subnets %+v", subnets.Subnets)
	}
	types1 := must[*ec2.DescribeInstanceTypesOutput](t)(a.EC2.DescribeInstanceTypes(a.ctx(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"m6g.large"}}))
	if len(types1.InstanceTypes) != 1 || types1.InstanceTypes[0].ProcessorInfo.SupportedArchitectures[0] != types.ArchitectureTypeArm64 {
		t.Errorf("instance types %+v", types1.InstanceTypes)
	}
	_, err = a.EC2.DescribeInstanceTypes(a.ctx(), &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"m0.nano"}})
	refused(t, err, "InvalidInstanceType", "m0.nano")
}

func TestVolumes(t *testing.T) {
	a := newAccount(t)
	v := must[*ec2.CreateVolumeOutput](t)(a.EC2.CreateVolume(a.ctx(), &ec2.CreateVolumeInput{
		AvailabilityZone: sdk.String("eu-central-1a"), Size: sdk.Int32(20), VolumeType: types.VolumeTypeGp3, Encrypted: sdk.Bool(true), Iops: sdk.Int32(3000),
		TagSpecifications: tagged(types.ResourceTypeVolume, "etcd"),
	}))
	found := must[*ec2.DescribeVolumesOutput](t)(a.EC2.DescribeVolumes(a.ctx(), &ec2.DescribeVolumesInput{Filters: named("etcd")}))
	if len(found.Volumes) != 1 || *found.Volumes[0].VolumeId != *v.VolumeId || *found.Volumes[0].Size != 20 {
		t.Errorf("volumes %+v", found.Volumes)
	}
	_, err := a.EC2.CreateVolume(a.ctx(), &ec2.CreateVolumeInput{AvailabilityZone: sdk.String("eu-central-9z"), Size: sdk.Int32(1)})
	refused(t, err, "InvalidZone.NotFound", "eu-central-9z")
}

func TestSecurityGroups(t *testing.T) {
	a := newAccount(t)
	vpcID := a.VPCID()
	create := func(name string) string {
		t.Helper()
		return *must[*ec2.CreateSecurityGroupOutput](t)(a.EC2.CreateSecurityGroup(a.ctx(), &ec2.CreateSecurityGroupInput{
			GroupName: &name, Description: sdk.String("for a test"), VpcId: &vpcID, TagSpecifications: tagged(types.ResourceTypeSecurityGroup, name),
		})).GroupId
	}
	nodes, masters := create("nodes"), create("masters")
	_, err := a.EC2.CreateSecurityGroup(a.ctx(), &ec2.CreateSecurityGroupInput{GroupName: sdk.String("nodes"), Description: sdk.String("x"), VpcId: &vpcID})
	refused(t, err, "InvalidGroup.Duplicate", "nodes")

	https := []types.IpPermission{{IpProtocol: sdk.String("tcp"), FromPort: sdk.Int32(443), ToPort: sdk.Int32(443), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &nodes}}}}
	all := []types.IpPermission{{IpProtocol: sdk.String("-1"), Ipv6Ranges: []types.Ipv6Range{{CidrIpv6: sdk.String("::/0")}}}}
	in := must[*ec2.AuthorizeSecurityGroupIngressOutput](t)(a.EC2.AuthorizeSecurityGroupIngress(a.ctx(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: &masters, IpPermissions: https, TagSpecifications: tagged(types.ResourceTypeSecurityGroupRule, "https"),
	}))
	must[*ec2.AuthorizeSecurityGroupEgressOutput](t)(a.EC2.AuthorizeSecurityGroupEgress(a.ctx(), &ec2.AuthorizeSecurityGroupEgressInput{GroupId: &masters, IpPermissions: all}))
	_, err = a.EC2.AuthorizeSecurityGroupIngress(a.ctx(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &masters, IpPermissions: https})
	refused(t, err, "InvalidPermission.Duplicate", masters)

	rules := func() (ids []string) {
		t.Helper()
		out := must[*ec2.DescribeSecurityGroupRulesOutput](t)(a.EC2.DescribeSecurityGroupRules(a.ctx(), &ec2.DescribeSecurityGroupRulesInput{
			Filters: []types.Filter{{Name: sdk.String("group-id"), Values: []string{masters}}},
		}))
		for _, r := range out.SecurityGroupRules {
			ids = append(ids, *r.SecurityGroupRuleId)
		}
		return ids
	}
	if got := rules(); len(got) != 3 || !slices.Contains(got, *in.SecurityGroupRules[0].SecurityGroupRuleId) { // EC2's own lets all out
		t.Errorf("rules %v", got)
	}
	groups := must[*ec2.DescribeSecurityGroupsOutput](t)(a.EC2.DescribeSecurityGroups(a.ctx(), &ec2.DescribeSecurityGroupsInput{Filters: named("masters")}))
	if len(groups.SecurityGroups) != 1 || len(groups.SecurityGroups[0].IpPermissions) != 1 || *groups.SecurityGroups[0].IpPermissions[0].UserIdGroupPairs[0].GroupId != nodes {
		t.Errorf("groups %+v", groups.SecurityGroups)
	}
	must[*ec2.RevokeSecurityGroupIngressOutput](t)(a.EC2.RevokeSecurityGroupIngress(a.ctx(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &masters, IpPermissions: https}))
	must[*ec2.RevokeSecurityGroupEgressOutput](t)(a.EC2.RevokeSecurityGroupEgress(a.ctx(), &ec2.RevokeSecurityGroupEgressInput{GroupId: &masters, IpPermissions: all}))
	if got := rules(); len(got) != 1 {
		t.Errorf("rules after all were revoked: %v", got)
	}
	_, err = a.EC2.RevokeSecurityGroupIngress(a.ctx(), &ec2.RevokeSecurityGroupIngressInput{GroupId: &masters, IpPermissions: https})
	refused(t, err, "InvalidPermission.NotFound", "rule")
	tags := must[*ec2.DescribeTagsOutput](t)(a.EC2.DescribeTags(a.ctx(), &ec2.DescribeTagsInput{Filters: []types.Filter{{Name: sdk.String("resource-type"), Values: []string{"security-group"}}}}))
	if len(tags.Tags) != 2 {
		t.Errorf("tags %+v", tags.Tags)
	}
}

func TestGroupMetrics(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 1})
	for range 2 { // it adds what is not there yet
		if _, err := a.AS.EnableMetricsCollection(a.ctx(), &autoscaling.EnableMetricsCollectionInput{AutoScalingGroupName: sdk.String("g"), Granularity: sdk.String("1Minute"), Metrics: []string{"GroupMinSize"}}); err != nil {
			t.Fatal(err)
		}
	}
	out := must[*autoscaling.DescribeAutoScalingGroupsOutput](t)(a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{}))
	if m := out.AutoScalingGroups[0].EnabledMetrics; len(m) != 1 || *m[0].Metric != "GroupMinSize" || *m[0].Granularity != "1Minute" {
		t.Errorf("metrics %+v", m)
	}
	_, err := a.AS.EnableMetricsCollection(a.ctx(), &autoscaling.EnableMetricsCollectionInput{AutoScalingGroupName: sdk.String("g"), Granularity: sdk.String("1Minute"), Metrics: []string{"Nothing"}})
	refused(t, err, "ValidationError", "Nothing")
}
