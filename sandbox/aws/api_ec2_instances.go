package aws

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

func ec2Actions() map[string]action {
	return map[string]action{
		"DescribeInstances":              xmlAction(serviceEC2, "DescribeInstances", (*Cloud).describeInstances),
		"RunInstances":                   xmlAction(serviceEC2, "RunInstances", (*Cloud).runInstances),
		"TerminateInstances":             xmlAction(serviceEC2, "TerminateInstances", (*Cloud).terminateInstances),
		"CreateTags":                     xmlAction(serviceEC2, "CreateTags", (*Cloud).createTags),
		"DeleteTags":                     xmlAction(serviceEC2, "DeleteTags", (*Cloud).deleteTags),
		"DescribeTags":                   xmlAction(serviceEC2, "DescribeTags", (*Cloud).describeTags),
		"DescribeImages":                 xmlAction(serviceEC2, "DescribeImages", (*Cloud).describeImages),
		"CreateLaunchTemplate":           xmlAction(serviceEC2, "CreateLaunchTemplate", (*Cloud).createLaunchTemplate),
		"CreateLaunchTemplateVersion":    xmlAction(serviceEC2, "CreateLaunchTemplateVersion", (*Cloud).createLaunchTemplateVersion),
		"DescribeLaunchTemplates":        xmlAction(serviceEC2, "DescribeLaunchTemplates", (*Cloud).describeLaunchTemplates),
		"DescribeLaunchTemplateVersions": xmlAction(serviceEC2, "DescribeLaunchTemplateVersions", (*Cloud).describeLaunchTemplateVersions),
		"ModifyLaunchTemplate":           xmlAction(serviceEC2, "ModifyLaunchTemplate", (*Cloud).modifyLaunchTemplate),
		"DescribeVpcs":                   xmlAction(serviceEC2, "DescribeVpcs", (*Cloud).describeVpcs),
		"DescribeVpcAttribute":           xmlAction(serviceEC2, "DescribeVpcAttribute", (*Cloud).describeVpcAttribute),
		"DescribeSubnets":                xmlAction(serviceEC2, "DescribeSubnets", (*Cloud).describeSubnets),
		"DescribeInternetGateways":       xmlAction(serviceEC2, "DescribeInternetGateways", (*Cloud).describeInternetGateways),
		"DescribeInstanceTypes":          xmlAction(serviceEC2, "DescribeInstanceTypes", (*Cloud).describeInstanceTypes),
		"CreateVolume":                   xmlAction(serviceEC2, "CreateVolume", (*Cloud).createVolume),
		"DescribeVolumes":                xmlAction(serviceEC2, "DescribeVolumes", (*Cloud).describeVolumes),
		"CreateSecurityGroup":            xmlAction(serviceEC2, "CreateSecurityGroup", (*Cloud).createSecurityGroup),
		"DescribeSecurityGroups":         xmlAction(serviceEC2, "DescribeSecurityGroups", (*Cloud).describeSecurityGroups),
		"DescribeSecurityGroupRules":     xmlAction(serviceEC2, "DescribeSecurityGroupRules", (*Cloud).describeSecurityGroupRules),
		"AuthorizeSecurityGroupIngress":  xmlAction(serviceEC2, "AuthorizeSecurityGroupIngress", (*Cloud).authorizeIngress),
		"AuthorizeSecurityGroupEgress":   xmlAction(serviceEC2, "AuthorizeSecurityGroupEgress", (*Cloud).authorizeEgress),
		"RevokeSecurityGroupIngress":     xmlAction(serviceEC2, "RevokeSecurityGroupIngress", (*Cloud).revokeIngress),
		"RevokeSecurityGroupEgress":      xmlAction(serviceEC2, "RevokeSecurityGroupEgress", (*Cloud).revokeEgress),
		"DescribeRegions":                xmlAction(serviceEC2, "DescribeRegions", (*Cloud).describeRegions),
		"DescribeAvailabilityZones":      xmlAction(serviceEC2, "DescribeAvailabilityZones", (*Cloud).describeAvailabilityZones),
	}
}

// errDryRun is EC2's answer to a DryRun request that would have succeeded.
var errDryRun = &Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: 412}

var errNextToken = failf("InvalidNextToken", "The specified NextToken is not valid.")

type describeInstancesInput struct {
	InstanceIDs []string `q:"InstanceId"`
	Filters     []Filter `q:"Filter"`
	MaxResults  *int
	NextToken   string
	DryRun      bool
}

type describeInstancesOutput struct {
	Reservations []reservation `x:"reservationSet"`
	NextToken    string        `x:"nextToken"`
}

type reservation struct {
	ReservationID string        `x:"reservationId"`
	OwnerID       string        `x:"ownerId"`
	Groups        []struct{}    `x:"groupSet"`
	Instances     []ec2Instance `x:"instancesSet"`
}

type ec2State struct {
	Code int
	Name string
}

type ec2Placement struct {
	AvailabilityZone string
	GroupName        *string
	Tenancy          string
}

type ec2Monitoring struct{ State string }

type stateReason struct{ Code, Message string }

type ec2Instance struct {
	InstanceID            string   `x:"instanceId"`
	ImageID               string   `x:"imageId"`
	State                 ec2State `x:"instanceState"`
	PrivateDNSName        *string  `x:"privateDnsName"`
	DNSName               *string  `x:"dnsName"`
	Reason                *string
	KeyName               string
	AmiLaunchIndex        int
	InstanceType          string
	LaunchTime            time.Time
	Placement             ec2Placement
	Monitoring            ec2Monitoring
	SubnetID              string `x:"subnetId"`
	VpcID                 string `x:"vpcId"`
	PrivateIPAddress      string `x:"privateIpAddress"`
	SourceDestCheck       *bool
	StateReason           *stateReason
	Architecture          string
	RootDeviceType        string
	RootDeviceName        string
	VirtualizationType    string
	ClientToken           *string
	Tags                  []Tag `x:"tagSet"`
	Hypervisor            string
	EbsOptimized          bool
	EnaSupport            bool
	InstanceLifecycle     string
	SpotInstanceRequestID string                 `x:"spotInstanceRequestId"`
	PrivateDNSNameOptions *PrivateDNSNameOptions `x:"privateDnsNameOptions"`
	IamInstanceProfile    *ec2InstanceProfile
	BlockDevices          []struct{}           `x:"blockDeviceMapping"`
	SecurityGroups        []ec2SecurityGroupID `x:"groupSet"`
}

type ec2InstanceProfile struct{ Arn, ID string }

type ec2SecurityGroupID struct {
	GroupID   string `x:"groupId"`
	GroupName string
}

func (c *Cloud) ec2Instance(i *instance) ec2Instance {
	out := ec2Instance{
		InstanceID: i.id, ImageID: i.imageID, State: ec2State{i.state.code, i.state.name}, DNSName: ptr(""), Reason: &i.reason,
		KeyName: deref(i.data.KeyName), AmiLaunchIndex: i.launchIndex, InstanceType: i.instanceType, LaunchTime: i.launchTime,
		Placement: ec2Placement{AvailabilityZone: i.zone, GroupName: ptr(""), Tenancy: "default"}, Monitoring: ec2Monitoring{State: "disabled"},
		Architecture: "x86_64", RootDeviceType: "ebs", RootDeviceName: "/dev/xvda", VirtualizationType: "hvm", ClientToken: &i.clientToken,
		Tags: tagList(i.tags), Hypervisor: "xen", EnaSupport: true, EbsOptimized: deref(i.data.EbsOptimized),
		PrivateDNSName: ptr(""), BlockDevices: []struct{}{}, SecurityGroups: []ec2SecurityGroupID{},
	}
	if img := c.images[i.imageID]; img != nil {
		out.Architecture = img.architecture
	}
	if deref(i.data.Monitoring).Enabled != nil && *i.data.Monitoring.Enabled {
		out.Monitoring.State = "enabled"
	}
	if i.spot {
		out.InstanceLifecycle, out.SpotInstanceRequestID = "spot", "sir-"+i.id[len(i.id)-8:]
	}
	// A terminated instance has lost its network interface and with it addresses, names and security groups.
	if i.state != stateTerminated {
		out.PrivateDNSName, out.PrivateIPAddress = &i.privateDNSName, i.privateIP
		out.SubnetID, out.VpcID, out.SourceDestCheck = c.SubnetID(i.zone), c.VPCID(), ptr(true)
		hostnames := "ip-name"
		if c.cfg.ResourceNames {
			hostnames = "resource-name"
		}
		out.PrivateDNSNameOptions = &PrivateDNSNameOptions{HostnameType: &hostnames, EnableResourceNameDNSARecord: ptr(c.cfg.ResourceNames), EnableResourceNameDNSAAAARecord: ptr(false)}
		for _, id := range i.data.SecurityGroupIDs {
			out.SecurityGroups = append(out.SecurityGroups, ec2SecurityGroupID{GroupID: id, GroupName: id})
		}
	}
	if i.gone() {
		out.StateReason = &stateReason{Code: "Client.UserInitiatedShutdown", Message: "Client.UserInitiatedShutdown: User initiated shutdown"}
	}
	if p := i.data.IamInstanceProfile; p != nil {
		out.IamInstanceProfile = &ec2InstanceProfile{Arn: cmp.Or(deref(p.Arn), "arn:aws:iam::"+c.cfg.AccountID+":instance-profile/"+deref(p.Name)), ID: "AIPASANDBOX"}
	}
	return out
}

func tagList(m map[string]string) []Tag {
	out := make([]Tag, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Tag{Key: k, Value: m[k]})
	}
	return out
}

// instanceFilters are the filters of DescribeInstances that read something the simulation has.
func (c *Cloud) instanceFilters() fields[*instance] {
	one := func(f func(*instance) string) func(*instance) []string {
		return func(i *instance) []string {
			if v := f(i); v != "" {
				return []string{v}
			}
			return nil
		}
	}
	ifThere := func(f func(*instance) string) func(*instance) []string { // what a terminated instance has lost
		return func(i *instance) []string {
			if i.state == stateTerminated {
				return nil
			}
			return []string{f(i)}
		}
	}
	return fields[*instance]{
		"instance-id":         one(func(i *instance) string { return i.id }),
		"instance-state-name": one(func(i *instance) string { return i.state.name }),
		"instance-state-code": one(func(i *instance) string { return strconv.Itoa(i.state.code) }),
		"instance-type":       one(func(i *instance) string { return i.instanceType }),
		"image-id":            one(func(i *instance) string { return i.imageID }),
		"availability-zone":   one(func(i *instance) string { return i.zone }),
		"reservation-id":      one(func(i *instance) string { return i.reservation }),
		"owner-id":            one(func(*instance) string { return c.cfg.AccountID }),
		"client-token":        one(func(i *instance) string { return i.clientToken }),
		"key-name":            one(func(i *instance) string { return deref(i.data.KeyName) }),
		"launch-time":         one(func(i *instance) string { return i.launchTime.UTC().Format("2006-01-02T15:04:05.000Z") }),
		"subnet-id":           ifThere(func(i *instance) string { return c.SubnetID(i.zone) }),
		"vpc-id":              ifThere(func(*instance) string { return c.VPCID() }),
		"private-dns-name":    ifThere(func(i *instance) string { return i.privateDNSName }),
		"private-ip-address":  ifThere(func(i *instance) string { return i.privateIP }),
		"instance-lifecycle": one(func(i *instance) string {
			if i.spot {
				return "spot"
			}
			return ""
		}),
		"iam-instance-profile.name": one(func(i *instance) string { return deref(deref(i.data.IamInstanceProfile).Name) }),
		"instance.group-id":         func(i *instance) []string { return i.data.SecurityGroupIDs },
	}
}

func (c *Cloud) describeInstances(in *describeInstancesInput) (*describeInstancesOutput, error) {
	size := 0
	if in.MaxResults != nil {
		if len(in.InstanceIDs) > 0 {
			return nil, failf("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
		}
		if *in.MaxResults < 5 || *in.MaxResults > 1000 {
			return nil, failf("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", *in.MaxResults)
		}
		size = *in.MaxResults
	}
	match, err := matchEC2(in.Filters, c.instanceFilters(), func(i *instance) map[string]string { return i.tags })
	if err != nil {
		return nil, err
	}
	all := c.order
	if len(in.InstanceIDs) > 0 {
		if all, err = c.findInstances(in.InstanceIDs); err != nil {
			return nil, err
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	var matching []*instance
	for _, i := range all {
		if match(i) {
			matching = append(matching, i)
		}
	}
	items, next, ok := page("instances", matching, func(i *instance) string { return fmt.Sprintf("%016x", i.seq) }, in.NextToken, size)
	if !ok {
		return nil, errNextToken
	}
	out := &describeInstancesOutput{Reservations: []reservation{}, NextToken: next}
	for _, i := range items {
		n := len(out.Reservations)
		if n == 0 || out.Reservations[n-1].ReservationID != i.reservation {
			out.Reservations = append(out.Reservations, reservation{ReservationID: i.reservation, OwnerID: c.cfg.AccountID, Groups: []struct{}{}})
			n++
		}
		out.Reservations[n-1].Instances = append(out.Reservations[n-1].Instances, c.ec2Instance(i))
	}
	return out, nil
}

var instanceIDPattern = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// findInstances looks ids up, each once and in order of launch, or answers EC2's errors for what is malformed or unknown.
func (c *Cloud) findInstances(ids []string) ([]*instance, error) {
	var out []*instance
	var missing []string
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if !instanceIDPattern.MatchString(id) {
			return nil, failf("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", id)
		}
		if i := c.instances[id]; i != nil {
			out = append(out, i)
		} else {
			missing = append(missing, id)
		}
	}
	switch len(missing) {
	case 0:
	case 1:
		return nil, failf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", missing[0])
	default:
		return nil, failf("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(missing, ", "))
	}
	slices.SortFunc(out, func(a, b *instance) int { return cmp.Compare(a.seq, b.seq) })
	return out, nil
}

type terminateInstancesInput struct {
	InstanceIDs []string `q:"InstanceId"`
	DryRun      bool
}

type terminateInstancesOutput struct {
	Instances []stateChange `x:"instancesSet"`
}

type stateChange struct {
	InstanceID string   `x:"instanceId"`
	Current    ec2State `x:"currentState"`
	Previous   ec2State `x:"previousState"`
}

// terminateInstances ends all of the instances or, when one of the ids is wrong or protected, none: "If you specify
// multiple instances and the request fails … none of the instances are terminated".
func (c *Cloud) terminateInstances(in *terminateInstancesInput) (*terminateInstancesOutput, error) {
	if len(in.InstanceIDs) == 0 {
		return nil, failf("MissingParameter", "The request must contain the parameter InstanceId")
	}
	list, err := c.findInstances(in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.terminationProtected && !i.gone() {
			return nil, failf("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.id)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	out := &terminateInstancesOutput{}
	now := c.now()
	for _, i := range list {
		before := i.state
		c.terminateInstance(i, byTerminate, "User initiated ("+now.UTC().Format("2006-01-02 15:04:05 GMT")+")", now)
		out.Instances = append(out.Instances, stateChange{InstanceID: i.id, Current: ec2State{i.state.code, i.state.name}, Previous: ec2State{before.code, before.name}})
	}
	return out, nil
}
