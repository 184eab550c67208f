package aws

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// tagsFor picks the tags of one kind of resource out of a request.
func tagsFor(kind string, list []TagSpecification) (map[string]string, error) {
	tags := map[string]string{}
	for _, s := range list {
		if s.ResourceType != kind {
			return nil, failf("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", s.ResourceType)
		}
		for _, t := range s.Tags {
			if err := checkTagKey(t.Key); err != nil {
				return nil, err
			}
			tags[t.Key] = t.Value
		}
	}
	return tags, nil
}

type describeVpcsInput struct {
	VpcIDs     []string `q:"VpcId"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeVpcsOutput struct {
	Vpcs []ec2Vpc `x:"vpcSet"`
}

type ec2Vpc struct {
	VpcID           string `x:"vpcId"`
	OwnerID         string `x:"ownerId"`
	State           string
	CidrBlock       string
	DhcpOptionsID   string        `x:"dhcpOptionsId"`
	InstanceTenancy string        `x:"instanceTenancy"`
	Associations    []ec2VpcBlock `x:"cidrBlockAssociationSet"`
	IsDefault       bool          `x:"isDefault"`
	Tags            []Tag         `x:"tagSet"`
}

type ec2VpcBlock struct {
	AssociationID string `x:"associationId"`
	CidrBlock     string
	State         ec2VpcBlockState `x:"cidrBlockState"`
}

type ec2VpcBlockState struct{ State string }

// vpcCIDR is the address block of the account's VPC.
const vpcCIDR = "10.0.0.0/16"

// describeVpcs knows the account's one VPC.
func (c *Cloud) describeVpcs(in *describeVpcsInput) (*describeVpcsOutput, error) {
	match, err := matchEC2(in.Filters, fields[*vpc]{
		"vpc-id":     func(*vpc) []string { return []string{c.VPCID()} },
		"cidr":       func(*vpc) []string { return []string{vpcCIDR} },
		"state":      func(*vpc) []string { return []string{"available"} },
		"is-default": func(*vpc) []string { return []string{"false"} },
	}, func(v *vpc) map[string]string { return v.tags })
	if err != nil {
		return nil, err
	}
	for _, id := range in.VpcIDs {
		if id != c.VPCID() {
			return nil, failf("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	out := &describeVpcsOutput{Vpcs: []ec2Vpc{}}
	if match(c.vpc) {
		out.Vpcs = append(out.Vpcs, ec2Vpc{
			VpcID: c.VPCID(), OwnerID: c.cfg.AccountID, State: "available", CidrBlock: vpcCIDR, DhcpOptionsID: "dopt-" + strings.TrimPrefix(c.VPCID(), "vpc-"),
			InstanceTenancy: "default", Tags: tagList(c.vpc.tags),
			Associations: []ec2VpcBlock{{AssociationID: "vpc-cidr-assoc-" + strings.TrimPrefix(c.VPCID(), "vpc-"), CidrBlock: vpcCIDR, State: ec2VpcBlockState{"associated"}}},
		})
	}
	return out, nil
}

type vpcAttributeInput struct {
	VpcID     string `q:"VpcId"`
	Attribute string
	DryRun    bool
}

type vpcAttributeOutput struct {
	VpcID              string   `x:"vpcId"`
	EnableDNSSupport   *ec2Bool `x:"enableDnsSupport"`
	EnableDNSHostnames *ec2Bool `x:"enableDnsHostnames"`
}

type ec2Bool struct{ Value bool }

// describeVpcAttribute says that the VPC resolves names and gives names to instances.
func (c *Cloud) describeVpcAttribute(in *vpcAttributeInput) (*vpcAttributeOutput, error) {
	if in.VpcID != c.VPCID() {
		return nil, failf("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", in.VpcID)
	}
	out := &vpcAttributeOutput{VpcID: in.VpcID}
	switch in.Attribute {
	case "enableDnsSupport":
		out.EnableDNSSupport = &ec2Bool{true}
	case "enableDnsHostnames":
		out.EnableDNSHostnames = &ec2Bool{true}
	default:
		return nil, failf("InvalidParameterValue", "Value (%s) for parameter attribute is invalid.", in.Attribute)
	}
	if in.DryRun {
		return nil, errDryRun
	}
	return out, nil
}

type describeSubnetsInput struct {
	SubnetIDs  []string `q:"SubnetId"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeSubnetsOutput struct {
	Subnets []ec2Subnet `x:"subnetSet"`
}

type ec2Subnet struct {
	SubnetID            string `x:"subnetId"`
	SubnetArn           string
	State               string
	VpcID               string `x:"vpcId"`
	OwnerID             string `x:"ownerId"`
	CidrBlock           string
	AvailableAddresses  int `x:"availableIpAddressCount"`
	AvailabilityZone    string
	DefaultForAz        bool
	MapPublicIPOnLaunch bool           `x:"mapPublicIpOnLaunch"`
	AssignIpv6          bool           `x:"assignIpv6AddressOnCreation"`
	EnableDNS64         bool           `x:"enableDns64"`
	Ipv6Native          bool           `x:"ipv6Native"`
	NameOptions         ec2SubnetNames `x:"privateDnsNameOptionsOnLaunch"`
	Tags                []Tag          `x:"tagSet"`
}

type ec2SubnetNames struct {
	HostnameType string
	A            bool `x:"enableResourceNameDnsARecord"`
	AAAA         bool `x:"enableResourceNameDnsAAAARecord"`
}

func (c *Cloud) describeSubnets(in *describeSubnetsInput) (*describeSubnetsOutput, error) {
	match, err := matchEC2(in.Filters, fields[*subnet]{
		"subnet-id":         func(s *subnet) []string { return []string{s.id} },
		"vpc-id":            func(*subnet) []string { return []string{c.VPCID()} },
		"availability-zone": func(s *subnet) []string { return []string{s.zone} },
		"cidr-block":        func(s *subnet) []string { return []string{s.cidr} },
		"state":             func(*subnet) []string { return []string{"available"} },
	}, func(s *subnet) map[string]string { return s.tags })
	if err != nil {
		return nil, err
	}
	for _, id := range in.SubnetIDs {
		if _, ok := c.zoneOfSubnet(id); !ok {
			return nil, failf("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	names := ec2SubnetNames{HostnameType: "ip-name"}
	if c.cfg.ResourceNames {
		names.HostnameType = "resource-name"
	}
	out := &describeSubnetsOutput{Subnets: []ec2Subnet{}}
	for _, s := range c.vpc.subnets {
		if match(s) && (len(in.SubnetIDs) == 0 || slices.Contains(in.SubnetIDs, s.id)) {
			out.Subnets = append(out.Subnets, ec2Subnet{
				SubnetID: s.id, SubnetArn: c.arn("ec2", "subnet/"+s.id), State: "available", VpcID: c.VPCID(), OwnerID: c.cfg.AccountID, CidrBlock: s.cidr,
				AvailableAddresses: 8187, AvailabilityZone: s.zone, NameOptions: names, Tags: tagList(s.tags),
			})
		}
	}
	return out, nil
}

type describeGatewaysInput struct {
	GatewayIDs []string `q:"InternetGatewayId"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeGatewaysOutput struct {
	Gateways []ec2Gateway `x:"internetGatewaySet"`
}

type ec2Gateway struct {
	GatewayID   string          `x:"internetGatewayId"`
	OwnerID     string          `x:"ownerId"`
	Attachments []ec2Attachment `x:"attachmentSet"`
	Tags        []Tag           `x:"tagSet"`
}

type ec2Attachment struct {
	VpcID string `x:"vpcId"`
	State string
}

// describeInternetGateways knows the one of the account's VPC.
func (c *Cloud) describeInternetGateways(in *describeGatewaysInput) (*describeGatewaysOutput, error) {
	id := "igw-" + strings.TrimPrefix(c.VPCID(), "vpc-")
	match, err := matchEC2(in.Filters, fields[*vpc]{
		"internet-gateway-id": func(*vpc) []string { return []string{id} },
		"attachment.vpc-id":   func(*vpc) []string { return []string{c.VPCID()} },
		"attachment.state":    func(*vpc) []string { return []string{"available"} },
	}, func(*vpc) map[string]string { return nil })
	if err != nil {
		return nil, err
	}
	for _, of := range in.GatewayIDs {
		if of != id {
			return nil, failf("InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist", of)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	out := &describeGatewaysOutput{Gateways: []ec2Gateway{}}
	if match(c.vpc) {
		out.Gateways = append(out.Gateways, ec2Gateway{
			GatewayID: id, OwnerID: c.cfg.AccountID, Attachments: []ec2Attachment{{VpcID: c.VPCID(), State: "available"}}, Tags: []Tag{},
		})
	}
	return out, nil
}

type createVolumeInput struct {
	AvailabilityZone  string
	Encrypted         bool
	Iops              *int32
	KmsKeyID          string `q:"KmsKeyId"`
	Size              int32
	VolumeType        string
	Throughput        *int32
	TagSpecifications []TagSpecification `q:"TagSpecification"`
	ClientToken       string
	DryRun            bool
}

type ec2Volume struct {
	VolumeID         string `x:"volumeId"`
	Size             int32
	AvailabilityZone string
	State            string `x:"status"`
	CreateTime       time.Time
	Attachments      []struct{} `x:"attachmentSet"`
	Tags             []Tag      `x:"tagSet"`
	VolumeType       string
	Iops             *int32
	Throughput       *int32
	Encrypted        bool
	MultiAttach      bool `x:"multiAttachEnabled"`
}

func shownVolume(v *volume) ec2Volume {
	return ec2Volume{
		VolumeID: v.id, Size: v.size, AvailabilityZone: v.zone, State: "available", CreateTime: v.created, Attachments: []struct{}{}, Tags: tagList(v.tags),
		VolumeType: v.kind, Iops: v.iops, Throughput: v.throughput, Encrypted: v.encrypted,
	}
}

func (c *Cloud) createVolume(in *createVolumeInput) (*ec2Volume, error) {
	if c.zoneIndex(in.AvailabilityZone) < 0 {
		return nil, failf("InvalidZone.NotFound", "The zone '%s' does not exist.", in.AvailabilityZone)
	}
	if in.Size < 1 {
		return nil, failf("MissingParameter", "The request must contain the parameter size/snapshot")
	}
	tags, err := tagsFor("volume", in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	v := &volume{
		id: c.newID("vol"), zone: in.AvailabilityZone, kind: in.VolumeType, size: in.Size, iops: in.Iops, throughput: in.Throughput,
		encrypted: in.Encrypted, created: c.now(), tags: tags,
	}
	c.volumes = append(c.volumes, v)
	shown := shownVolume(v)
	return &shown, nil
}

type describeVolumesInput struct {
	VolumeIDs  []string `q:"VolumeId"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeVolumesOutput struct {
	Volumes   []ec2Volume `x:"volumeSet"`
	NextToken string      `x:"nextToken"`
}

func (c *Cloud) describeVolumes(in *describeVolumesInput) (*describeVolumesOutput, error) {
	match, err := matchEC2(in.Filters, fields[*volume]{
		"volume-id":         func(v *volume) []string { return []string{v.id} },
		"availability-zone": func(v *volume) []string { return []string{v.zone} },
		"status":            func(*volume) []string { return []string{"available"} },
	}, func(v *volume) map[string]string { return v.tags })
	if err != nil {
		return nil, err
	}
	for _, id := range in.VolumeIDs {
		if !slices.ContainsFunc(c.volumes, func(v *volume) bool { return v.id == id }) {
			return nil, failf("InvalidVolume.NotFound", "The volume '%s' does not exist.", id)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	var list []*volume
	for _, v := range c.volumes {
		if match(v) && (len(in.VolumeIDs) == 0 || slices.Contains(in.VolumeIDs, v.id)) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b *volume) int { return strings.Compare(a.id, b.id) })
	items, next, ok := page("volumes", list, func(v *volume) string { return v.id }, in.NextToken, deref(in.MaxResults))
	if !ok {
		return nil, errNextToken
	}
	out := &describeVolumesOutput{Volumes: []ec2Volume{}, NextToken: next}
	for _, v := range items {
		out.Volumes = append(out.Volumes, shownVolume(v))
	}
	return out, nil
}

type describeTypesInput struct {
	InstanceTypes []string `q:"InstanceType"`
	Filters       []Filter `q:"Filter"`
	MaxResults    *int
	NextToken     string
	DryRun        bool
}

type describeTypesOutput struct {
	InstanceTypes []ec2InstanceType `x:"instanceTypeSet"`
}

type ec2InstanceType struct {
	InstanceType   string
	CurrentGen     bool `x:"currentGeneration"`
	BareMetal      bool
	Hypervisor     string
	Processor      ec2Processor `x:"processorInfo"`
	VCPU           ec2VCPU      `x:"vCpuInfo"`
	Memory         ec2Memory    `x:"memoryInfo"`
	StorageSupport bool         `x:"instanceStorageSupported"`
	Network        ec2Network   `x:"networkInfo"`
}

type ec2Processor struct {
	Architectures []string `x:"supportedArchitectures"`
}

type ec2VCPU struct {
	Default int32 `x:"defaultVCpus"`
}

type ec2Memory struct {
	SizeInMiB int64 `x:"sizeInMiB"`
}

type ec2Network struct {
	MaxInterfaces    int32 `x:"maximumNetworkInterfaces"`
	AddressesPerCard int32 `x:"ipv4AddressesPerInterface"`
	Ipv6             bool  `x:"ipv6Supported"`
}

// machineTypes are the instance types whose description the account knows, with what EC2's documentation says of them.
var machineTypes = map[string]struct {
	arch             string
	cpus             int32
	memory           int64 // MiB
	cards, addresses int32
}{
	"t3.medium":  {"x86_64", 2, 4096, 3, 6},
	"m5.large":   {"x86_64", 2, 8192, 3, 10},
	"m5.xlarge":  {"x86_64", 4, 16384, 4, 15},
	"m6g.large":  {"arm64", 2, 8192, 3, 10},
	"m6g.xlarge": {"arm64", 4, 16384, 4, 15},
}

func (c *Cloud) describeInstanceTypes(in *describeTypesInput) (*describeTypesOutput, error) {
	match, err := matchEC2(in.Filters, fields[string]{
		"instance-type":                         func(n string) []string { return []string{n} },
		"processor-info.supported-architecture": func(n string) []string { return []string{machineTypes[n].arch} },
	}, nil)
	if err != nil {
		return nil, err
	}
	for _, n := range in.InstanceTypes {
		if _, ok := machineTypes[n]; !ok {
			return nil, failf("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", n)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	out := &describeTypesOutput{InstanceTypes: []ec2InstanceType{}}
	for _, n := range slices.Sorted(maps.Keys(machineTypes)) {
		t := machineTypes[n]
		if !match(n) || len(in.InstanceTypes) > 0 && !slices.Contains(in.InstanceTypes, n) {
			continue
		}
		out.InstanceTypes = append(out.InstanceTypes, ec2InstanceType{
			InstanceType: n, CurrentGen: true, Hypervisor: "nitro", Processor: ec2Processor{[]string{t.arch}}, VCPU: ec2VCPU{t.cpus}, Memory: ec2Memory{t.memory},
			Network: ec2Network{MaxInterfaces: t.cards, AddressesPerCard: t.addresses, Ipv6: true},
		})
	}
	return out, nil
}
