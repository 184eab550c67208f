package aws

import (
	"cmp"
	"maps"
	"reflect"
	"strings"
	"time"
)

// runTokenLife is how long a client token of RunInstances answers with the same instances: EC2 keeps one "at least 24
// hours" while the instances exist, and about an hour after their end; no sandbox lives longer.
const runTokenLife = 24 * time.Hour

// runToken is what an earlier RunInstances with a client token asked for and got.
type runToken struct {
	request     runInstancesInput
	reservation string
	at          time.Time
}

type runInstancesInput struct {
	MinCount              int
	MaxCount              int
	ImageID               *string `q:"ImageId"`
	InstanceType          *string
	KeyName               *string
	UserData              *string
	SubnetID              string `q:"SubnetId"`
	ClientToken           string
	DryRun                bool
	EbsOptimized          *bool
	DisableAPITermination *bool              `q:"DisableApiTermination"`
	SecurityGroupIDs      []string           `q:"SecurityGroupId"`
	TagSpecifications     []TagSpecification `q:"TagSpecification"`
	Placement             *runPlacement
	IamInstanceProfile    *InstanceProfile
	BlockDeviceMappings   []BlockDeviceMapping   `q:"BlockDeviceMapping"`
	NetworkInterfaces     []NetworkInterfaceSpec `q:"NetworkInterface"`
	MetadataOptions       *MetadataOptions
	Monitoring            *Monitoring
	LaunchTemplate        *LaunchTemplateSpecification
}

type runPlacement struct {
	AvailabilityZone string
}

type runInstancesOutput struct {
	ReservationID string        `x:"reservationId"`
	OwnerID       string        `x:"ownerId"`
	Groups        []struct{}    `x:"groupSet"`
	Instances     []ec2Instance `x:"instancesSet"`
}

// runInstances launches MaxCount instances, or none: the simulated zones have room for all or, by a fault, for none.
// With a client token it is idempotent: the same request again answers the same instances, another one is refused.
func (c *Cloud) runInstances(in *runInstancesInput) (*runInstancesOutput, error) {
	if in.MinCount < 1 || in.MaxCount < in.MinCount {
		return nil, failf("InvalidParameterValue", "Invalid values for MinCount (%d) and MaxCount (%d): expected 1 <= MinCount <= MaxCount", in.MinCount, in.MaxCount)
	}
	if in.MaxCount > 1000 {
		return nil, failf("InstanceLimitExceeded", "You have requested more instances (%d) than your current instance limit of 1000 allows", in.MaxCount)
	}
	if in.ClientToken != "" {
		if old, ok := c.runTokens[in.ClientToken]; ok {
			if !reflect.DeepEqual(old.request, *in) {
				return nil, failf("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
			}
			return c.reservationAnswer(old.reservation), nil
		}
	}
	l, err := c.planRun(in)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	l.reservation = c.newID("r")
	now := c.now()
	for n := range in.MaxCount {
		one := l
		one.index, one.tags = n, maps.Clone(l.tags)
		if _, err := c.launchInstance(one, now); err != nil {
			if n < in.MinCount { // what was started goes again: the call is all or nothing up to MinCount
				for _, i := range c.order[len(c.order)-n:] {
					c.terminateInstance(i, byFailedLaunch, "Server.InsufficientInstanceCapacity", now)
				}
				return nil, err
			}
			break
		}
	}
	if in.ClientToken != "" {
		c.runTokens[in.ClientToken] = runToken{request: *in, reservation: l.reservation, at: now}
	}
	return c.reservationAnswer(l.reservation), nil
}

// planRun resolves a request: the launch template's data, with the request's own parameters laid over it.
func (c *Cloud) planRun(in *runInstancesInput) (launch, error) {
	var r resolved
	var err error
	own := LaunchTemplateData{
		ImageID: in.ImageID, InstanceType: in.InstanceType, KeyName: in.KeyName, UserData: in.UserData, EbsOptimized: in.EbsOptimized,
		DisableAPITermination: in.DisableAPITermination, IamInstanceProfile: in.IamInstanceProfile, SecurityGroupIDs: in.SecurityGroupIDs,
		BlockDeviceMappings: in.BlockDeviceMappings, NetworkInterfaces: in.NetworkInterfaces, MetadataOptions: in.MetadataOptions, Monitoring: in.Monitoring,
	}
	if in.LaunchTemplate != nil {
		t, err := c.findTemplate(in.LaunchTemplate.LaunchTemplateID, in.LaunchTemplate.LaunchTemplateName)
		if err != nil {
			return launch{}, err
		}
		if r.version, err = t.versionNamed(in.LaunchTemplate.Version); err != nil {
			return launch{}, err
		}
		r.data = r.version.data
	}
	r.data = mergeData(r.data, own)
	if deref(r.data.ImageID) == "" {
		return launch{}, failf("MissingParameter", "The request must contain the parameter ImageId")
	}
	if r.imageID, err = c.resolveImage(*r.data.ImageID); err != nil {
		return launch{}, err
	}
	zone, err := c.runZone(in, r.data)
	if err != nil {
		return launch{}, err
	}
	tags := map[string]string{}
	for _, s := range in.TagSpecifications {
		if s.ResourceType == "instance" {
			for _, t := range s.Tags {
				if err := checkTagKey(t.Key); err != nil {
					return launch{}, err
				}
				tags[t.Key] = t.Value
			}
		}
	}
	// m1.small is EC2's documented default type.
	return launch{resolved: r, zone: zone, instanceType: cmp.Or(deref(r.data.InstanceType), "m1.small"), clientToken: in.ClientToken, tags: launchTags(r, tags)}, nil
}

// runZone is the zone of the subnet, of the placement, or one that EC2 chooses.
func (c *Cloud) runZone(in *runInstancesInput, data LaunchTemplateData) (string, error) {
	subnet := in.SubnetID
	for _, n := range data.NetworkInterfaces {
		subnet = cmp.Or(subnet, deref(n.SubnetID))
	}
	if subnet != "" {
		zone, ok := c.zoneOfSubnet(subnet)
		if !ok {
			return "", failf("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", subnet)
		}
		return zone, nil
	}
	zone := deref(in.Placement).AvailabilityZone
	if zone == "" && data.Placement != nil {
		zone = deref(data.Placement.AvailabilityZone)
	}
	if zone == "" {
		return c.cfg.Zones[c.rng.IntN(len(c.cfg.Zones))], nil
	}
	if c.zoneIndex(zone) < 0 {
		return "", failf("InvalidParameterValue", "Invalid availability zone: [%s]", zone)
	}
	return zone, nil
}

func (c *Cloud) reservationAnswer(id string) *runInstancesOutput {
	out := &runInstancesOutput{ReservationID: id, OwnerID: c.cfg.AccountID, Groups: []struct{}{}, Instances: []ec2Instance{}}
	for _, i := range c.order {
		if i.reservation == id {
			out.Instances = append(out.Instances, c.ec2Instance(i))
		}
	}
	return out
}

func checkTagKey(key string) error {
	switch {
	case strings.HasPrefix(strings.ToLower(key), "aws:"):
		return failf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
	case key == "" || len(key) > 128*4:
		return failf("InvalidParameterValue", "Tag key '%s' has an invalid length: expected 1 to 128 characters", key)
	}
	return nil
}
