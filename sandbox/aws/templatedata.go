package aws

import "reflect"

// LaunchTemplateData is what a launch template version holds: the part of EC2's structure that groups of Kubernetes
// nodes use. A field outside it is refused by name (see package wire), never dropped. Treat it as immutable.
type LaunchTemplateData struct {
	ImageID               *string `q:"ImageId" x:"imageId"`
	InstanceType          *string
	KeyName               *string
	UserData              *string
	EbsOptimized          *bool
	DisableAPITermination *bool   `q:"DisableApiTermination" x:"disableApiTermination"`
	DisableAPIStop        *bool   `q:"DisableApiStop" x:"disableApiStop"`
	ShutdownBehavior      *string `q:"InstanceInitiatedShutdownBehavior" x:"instanceInitiatedShutdownBehavior"`
	IamInstanceProfile    *InstanceProfile
	BlockDeviceMappings   []BlockDeviceMapping   `q:"BlockDeviceMapping" x:"blockDeviceMappingSet"`
	NetworkInterfaces     []NetworkInterfaceSpec `q:"NetworkInterface" x:"networkInterfaceSet"`
	SecurityGroupIDs      []string               `q:"SecurityGroupId" x:"securityGroupIdSet"`
	SecurityGroups        []string               `q:"SecurityGroup" x:"securityGroupSet"`
	TagSpecifications     []TagSpecification     `q:"TagSpecification" x:"tagSpecificationSet"`
	Monitoring            *Monitoring
	Placement             *PlacementSpec
	InstanceMarketOptions *MarketOptions
	CreditSpecification   *CreditSpecification
	MetadataOptions       *MetadataOptions
	PrivateDNSNameOptions *PrivateDNSNameOptions `q:"PrivateDnsNameOptions" x:"privateDnsNameOptions"`
	CPUOptions            *CPUOptions            `q:"CpuOptions" x:"cpuOptions"`
	EnclaveOptions        *EnclaveOptions
	HibernationOptions    *HibernationOptions
	CapacityReservation   *CapacityReservationSpec `q:"CapacityReservationSpecification" x:"capacityReservationSpecification"`
}

// InstanceProfile names an IAM instance profile.
type InstanceProfile struct {
	Arn  *string
	Name *string
}

// BlockDeviceMapping is a volume that a launch creates.
type BlockDeviceMapping struct {
	DeviceName  *string
	VirtualName *string
	Ebs         *Ebs
	NoDevice    *string
}

// Ebs describes a new EBS volume.
type Ebs struct {
	Encrypted           *bool
	DeleteOnTermination *bool
	Iops                *int32
	KmsKeyID            *string `q:"KmsKeyId" x:"kmsKeyId"`
	SnapshotID          *string `q:"SnapshotId" x:"snapshotId"`
	VolumeSize          *int32
	VolumeType          *string
	Throughput          *int32
}

// NetworkInterfaceSpec is a network interface that a launch creates.
type NetworkInterfaceSpec struct {
	AssociatePublicIPAddress       *bool `q:"AssociatePublicIpAddress" x:"associatePublicIpAddress"`
	DeleteOnTermination            *bool
	Description                    *string
	DeviceIndex                    *int32
	Groups                         []string `q:"SecurityGroupId" x:"groupSet" item:"groupId"`
	InterfaceType                  *string
	Ipv6AddressCount               *int32
	NetworkInterfaceID             *string `q:"NetworkInterfaceId" x:"networkInterfaceId"`
	PrivateIPAddress               *string `q:"PrivateIpAddress" x:"privateIpAddress"`
	SecondaryPrivateIPAddressCount *int32  `q:"SecondaryPrivateIpAddressCount" x:"secondaryPrivateIpAddressCount"`
	SubnetID                       *string `q:"SubnetId" x:"subnetId"`
	NetworkCardIndex               *int32
}

// TagSpecification is the tags of one kind of resource that a call creates.
type TagSpecification struct {
	ResourceType string
	Tags         []Tag `q:"Tag" x:"tagSet"`
}

// Tag is an EC2 tag.
type Tag struct {
	Key   string
	Value string
}

// Monitoring says whether CloudWatch watches in detail.
type Monitoring struct{ Enabled *bool }

// PlacementSpec is where a launch template puts instances.
type PlacementSpec struct {
	AvailabilityZone     *string
	Affinity             *string
	GroupName            *string
	HostID               *string `q:"HostId" x:"hostId"`
	Tenancy              *string
	SpreadDomain         *string
	HostResourceGroupArn *string
	PartitionNumber      *int32
	GroupID              *string `q:"GroupId" x:"groupId"`
}

// MarketOptions ask for spot instances.
type MarketOptions struct {
	MarketType  *string
	SpotOptions *SpotOptions
}

// SpotOptions are the terms of spot instances.
type SpotOptions struct {
	MaxPrice                     *string
	SpotInstanceType             *string
	InstanceInterruptionBehavior *string
}

// CreditSpecification is the CPU credit option of burstable types.
type CreditSpecification struct {
	CPUCredits *string `q:"CpuCredits" x:"cpuCredits"`
}

// MetadataOptions are the options of the instance metadata service.
type MetadataOptions struct {
	HTTPTokens              *string `q:"HttpTokens" x:"httpTokens"`
	HTTPPutResponseHopLimit *int32  `q:"HttpPutResponseHopLimit" x:"httpPutResponseHopLimit"`
	HTTPEndpoint            *string `q:"HttpEndpoint" x:"httpEndpoint"`
	HTTPProtocolIpv6        *string `q:"HttpProtocolIpv6" x:"httpProtocolIpv6"`
	InstanceMetadataTags    *string
}

// PrivateDNSNameOptions choose the hostname type.
type PrivateDNSNameOptions struct {
	HostnameType                    *string
	EnableResourceNameDNSARecord    *bool `q:"EnableResourceNameDnsARecord" x:"enableResourceNameDnsARecord"`
	EnableResourceNameDNSAAAARecord *bool `q:"EnableResourceNameDnsAAAARecord" x:"enableResourceNameDnsAAAARecord"`
}

// CPUOptions choose cores and threads.
type CPUOptions struct {
	CoreCount      *int32
	ThreadsPerCore *int32
}

// EnclaveOptions switch Nitro Enclaves.
type EnclaveOptions struct{ Enabled *bool }

// HibernationOptions switch hibernation.
type HibernationOptions struct{ Configured *bool }

// CapacityReservationSpec says which capacity reservations a launch may use.
type CapacityReservationSpec struct {
	CapacityReservationPreference *string
}

// mergeData lays the fields that are set in top over those of base: what CreateLaunchTemplateVersion does with its
// source version ("The new version inherits the same launch parameters as the source version, except for parameters
// that you specify"). Lists and structures are replaced whole.
func mergeData(base, top LaunchTemplateData) LaunchTemplateData {
	out := reflect.ValueOf(&base).Elem()
	in := reflect.ValueOf(top)
	for i := range in.NumField() {
		if !in.Field(i).IsNil() { // every field is a pointer or a slice
			out.Field(i).Set(in.Field(i))
		}
	}
	return base
}
