package aws

import (
	"maps"
	"slices"
	"strings"
	"time"
)

func (c *Cloud) createLaunchConfiguration(in *LaunchConfiguration) error {
	switch {
	case in.LaunchConfigurationName == "":
		return validationError("1 validation error detected: Value null at 'launchConfigurationName' failed to satisfy constraint: Member must not be null")
	case c.launchConfigs[in.LaunchConfigurationName] != nil:
		return failf("AlreadyExists", "Launch Configuration by this name already exists - A launch configuration already exists with the name %s", in.LaunchConfigurationName)
	case in.ImageID == "" || in.InstanceType == "":
		return validationError("Valid requests must contain either the InstanceID parameter or both the ImageId and InstanceType parameters.")
	case c.images[in.ImageID] == nil:
		return validationError("AMI %s is invalid: The image id '[%s]' does not exist", in.ImageID, in.ImageID)
	}
	lc := *in
	lc.CreatedTime = c.now()
	lc.LaunchConfigurationARN = c.arn("autoscaling", "launchConfiguration:"+c.newUUID()+":launchConfigurationName/"+lc.LaunchConfigurationName)
	if lc.SecurityGroups == nil {
		lc.SecurityGroups = []string{}
	}
	c.launchConfigs[lc.LaunchConfigurationName] = &lc
	return nil
}

// CreateLaunchConfiguration adds a launch configuration for groups that launch from one.
func (c *Cloud) CreateLaunchConfiguration(name, imageID, instanceType string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.createLaunchConfiguration(&LaunchConfiguration{LaunchConfigurationName: name, ImageID: imageID, InstanceType: instanceType})
}

type describeConfigsInput struct {
	LaunchConfigurationNames []string
	MaxRecords               *int32
	NextToken                string
}

type describeConfigsOutput struct {
	LaunchConfigurations []LaunchConfiguration
	NextToken            string
}

func (c *Cloud) describeLaunchConfigurations(in *describeConfigsInput) (*describeConfigsOutput, error) {
	size, err := recordLimit(in.MaxRecords, 50)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range slices.Sorted(maps.Keys(c.launchConfigs)) {
		if len(in.LaunchConfigurationNames) == 0 || slices.Contains(in.LaunchConfigurationNames, n) {
			names = append(names, n)
		}
	}
	items, next, ok := page("launch configurations", names, strings.Clone, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	out := &describeConfigsOutput{LaunchConfigurations: []LaunchConfiguration{}, NextToken: next}
	for _, n := range items {
		out.LaunchConfigurations = append(out.LaunchConfigurations, *c.launchConfigs[n])
	}
	return out, nil
}

type deleteConfigInput struct {
	LaunchConfigurationName string
}

func (c *Cloud) deleteLaunchConfiguration(in *deleteConfigInput) error {
	if c.launchConfigs[in.LaunchConfigurationName] == nil {
		return validationError("Launch configuration name not found - Launch configuration %s not found", in.LaunchConfigurationName)
	}
	for _, g := range c.groupOrder {
		if g.source.launchConfig == in.LaunchConfigurationName {
			return failf("ResourceInUse", "Cannot delete launch configuration %s because it is attached to AutoScalingGroup %s", in.LaunchConfigurationName, g.name)
		}
	}
	delete(c.launchConfigs, in.LaunchConfigurationName)
	return nil
}

// InstanceRefresh is what DescribeInstanceRefreshes shows. Refreshes are seeded; they replace nothing here.
type InstanceRefresh struct {
	InstanceRefreshID    string `x:"InstanceRefreshId"`
	AutoScalingGroupName string
	Status               string
	StartTime            time.Time
	EndTime              time.Time
	PercentageComplete   int32
	InstancesToUpdate    int32
}

type describeRefreshesInput struct {
	AutoScalingGroupName string
	InstanceRefreshIDs   []string `q:"InstanceRefreshIds"`
	MaxRecords           *int32
	NextToken            string
}

type describeRefreshesOutput struct {
	InstanceRefreshes []InstanceRefresh
	NextToken         string
}

// describeInstanceRefreshes shows the newest first.
func (c *Cloud) describeInstanceRefreshes(in *describeRefreshesInput) (*describeRefreshesOutput, error) {
	size, err := recordLimit(in.MaxRecords, 50)
	if err != nil {
		return nil, err
	}
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	type numbered struct {
		key string
		*InstanceRefresh
	}
	var list []numbered
	for i, r := range slices.Backward(g.refreshes) {
		if len(in.InstanceRefreshIDs) == 0 || slices.Contains(in.InstanceRefreshIDs, r.InstanceRefreshID) {
			list = append(list, numbered{key: string(rune('a' + len(g.refreshes) - i)), InstanceRefresh: r})
		}
	}
	items, next, ok := page("refreshes", list, func(n numbered) string { return n.key }, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	out := &describeRefreshesOutput{InstanceRefreshes: []InstanceRefresh{}, NextToken: next}
	for _, r := range items {
		out.InstanceRefreshes = append(out.InstanceRefreshes, *r.InstanceRefresh)
	}
	return out, nil
}
