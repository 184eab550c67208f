package aws

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

func autoScalingActions() map[string]action {
	return map[string]action{
		"CreateAutoScalingGroup":              plainAction((*Cloud).createAutoScalingGroup),
		"UpdateAutoScalingGroup":              plainAction((*Cloud).updateAutoScalingGroup),
		"DeleteAutoScalingGroup":              plainAction((*Cloud).deleteAutoScalingGroup),
		"EnableMetricsCollection":             plainAction((*Cloud).enableMetricsCollection),
		"DescribeAutoScalingGroups":           asAction("DescribeAutoScalingGroups", (*Cloud).describeAutoScalingGroups),
		"DescribeAutoScalingInstances":        asAction("DescribeAutoScalingInstances", (*Cloud).describeAutoScalingInstances),
		"SetDesiredCapacity":                  plainAction((*Cloud).setDesiredCapacity),
		"TerminateInstanceInAutoScalingGroup": asAction("TerminateInstanceInAutoScalingGroup", (*Cloud).terminateInstanceInGroup),
		"DetachInstances":                     asAction("DetachInstances", (*Cloud).detachInstances),
		"AttachInstances":                     plainAction((*Cloud).attachInstances),
		"EnterStandby":                        asAction("EnterStandby", (*Cloud).enterStandby),
		"ExitStandby":                         asAction("ExitStandby", (*Cloud).exitStandby),
		"SetInstanceProtection":               asAction("SetInstanceProtection", (*Cloud).setInstanceProtection),
		"SetInstanceHealth":                   plainAction((*Cloud).setInstanceHealth),
		"SuspendProcesses":                    plainAction((*Cloud).suspendProcesses),
		"ResumeProcesses":                     plainAction((*Cloud).resumeProcesses),
		"DescribeScalingActivities":           asAction("DescribeScalingActivities", (*Cloud).describeScalingActivities),
		"CreateOrUpdateTags":                  plainAction((*Cloud).createOrUpdateTags),
		"DeleteTags":                          plainAction((*Cloud).deleteGroupTags),
		"DescribeTags":                        asAction("DescribeTags", (*Cloud).describeGroupTags),
		"PutLifecycleHook":                    asAction("PutLifecycleHook", (*Cloud).putLifecycleHook),
		"DeleteLifecycleHook":                 asAction("DeleteLifecycleHook", (*Cloud).deleteLifecycleHook),
		"DescribeLifecycleHooks":              asAction("DescribeLifecycleHooks", (*Cloud).describeLifecycleHooks),
		"CompleteLifecycleAction":             asAction("CompleteLifecycleAction", (*Cloud).completeLifecycleAction),
		"RecordLifecycleActionHeartbeat":      asAction("RecordLifecycleActionHeartbeat", (*Cloud).recordLifecycleActionHeartbeat),
		"CreateLaunchConfiguration":           plainAction((*Cloud).createLaunchConfiguration),
		"DescribeLaunchConfigurations":        asAction("DescribeLaunchConfigurations", (*Cloud).describeLaunchConfigurations),
		"DeleteLaunchConfiguration":           plainAction((*Cloud).deleteLaunchConfiguration),
		"DescribeInstanceRefreshes":           asAction("DescribeInstanceRefreshes", (*Cloud).describeInstanceRefreshes),
		"AttachLoadBalancerTargetGroups":      asAction("AttachLoadBalancerTargetGroups", (*Cloud).attachTargets),
		"DetachLoadBalancerTargetGroups":      asAction("DetachLoadBalancerTargetGroups", (*Cloud).detachTargets),
		"DescribeLoadBalancerTargetGroups":    asAction("DescribeLoadBalancerTargetGroups", (*Cloud).describeGroupTargets),
		"DescribeWarmPool":                    asAction("DescribeWarmPool", (*Cloud).describeWarmPool),
		"PutWarmPool":                         asAction("PutWarmPool", (*Cloud).putWarmPool),
		"DeleteWarmPool":                      asAction("DeleteWarmPool", (*Cloud).deleteWarmPool),
	}
}

func asAction[In, Out any](name string, f func(*Cloud, *In) (*Out, error)) action {
	return xmlAction(serviceAutoScaling, name, f)
}

// asFilter is a filter as Auto Scaling takes it.
type asFilter struct {
	Name   string
	Values []string
}

var errASNextToken = failf("InvalidNextToken", "The token is invalid. It may have expired or belong to another action.")

// recordLimit checks MaxRecords: 1 to 100; most actions give 50 without it, some 100.
func recordLimit(n *int32, def int) (int, error) {
	if n == nil {
		return def, nil
	}
	if *n < 1 || *n > 100 {
		return 0, validationError("1 validation error detected: Value '%d' at 'maxRecords' failed to satisfy constraint: Member must have value between 1 and 100", *n)
	}
	return int(*n), nil
}

type createGroupInput struct {
	AutoScalingGroupName             string
	LaunchConfigurationName          string
	LaunchTemplate                   *LaunchTemplateSpecification
	MixedInstancesPolicy             *MixedInstancesPolicy
	MinSize, MaxSize                 *int32
	DesiredCapacity                  *int32
	DefaultCooldown                  *int32
	AvailabilityZones                []string
	VPCZoneIdentifier                *string
	HealthCheckType                  string
	HealthCheckGracePeriod           *int32
	PlacementGroup                   string
	TerminationPolicies              []string
	NewInstancesProtectedFromScaleIn *bool
	CapacityRebalance                *bool
	Hooks                            []LifecycleHook `q:"LifecycleHookSpecificationList"`
	TargetGroupARNs                  []string
	Tags                             []GroupTag
	ServiceLinkedRoleARN             string
	MaxInstanceLifetime              *int32
	Context                          string
	DesiredCapacityType              string
	DefaultInstanceWarmup            *int32
}

func (c *Cloud) createAutoScalingGroup(in *createGroupInput) error {
	_, err := c.createGroup(in)
	return err
}

func (c *Cloud) createGroup(in *createGroupInput) (*group, error) {
	switch {
	case in.AutoScalingGroupName == "" || strings.Contains(in.AutoScalingGroupName, ":"):
		return nil, validationError("The group name must not be empty and must not contain a colon: %q", in.AutoScalingGroupName)
	case in.MinSize == nil || in.MaxSize == nil:
		return nil, validationError("2 validation errors detected: MinSize and MaxSize must not be null")
	case c.groups[in.AutoScalingGroupName] != nil:
		return nil, failf("AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name %s already exists", in.AutoScalingGroupName)
	}
	g := &group{
		name: in.AutoScalingGroupName, created: c.now(), suspended: map[string]string{}, cooldown: 300, healthCheckType: "EC2",
		policies: []string{policyDefault}, backoff: map[string]time.Time{},
	}
	g.arn = c.arn("autoscaling", "autoScalingGroup:"+c.newUUID()+":autoScalingGroupName/"+g.name)
	for _, t := range in.Tags {
		if err := checkGroupTag(t, g.name); err != nil {
			return nil, err
		}
		g.setTag(t)
	}
	if len(g.tags) > maxTags {
		return nil, failf("LimitExceeded", "The group would have %d tags; at most %d are allowed", len(g.tags), maxTags)
	}
	desired := in.DesiredCapacity
	if desired == nil {
		desired = in.MinSize
	}
	// The group is made by the same rules by which it is updated.
	err := c.applyUpdate(g, &updateGroupInput{
		LaunchConfigurationName: in.LaunchConfigurationName, LaunchTemplate: in.LaunchTemplate, MixedInstancesPolicy: in.MixedInstancesPolicy,
		MinSize: in.MinSize, MaxSize: in.MaxSize, DesiredCapacity: desired, DefaultCooldown: in.DefaultCooldown,
		AvailabilityZones: in.AvailabilityZones, VPCZoneIdentifier: in.VPCZoneIdentifier, HealthCheckType: in.HealthCheckType,
		HealthCheckGracePeriod: in.HealthCheckGracePeriod, PlacementGroup: in.PlacementGroup, TerminationPolicies: in.TerminationPolicies,
		NewInstancesProtectedFromScaleIn: in.NewInstancesProtectedFromScaleIn, CapacityRebalance: in.CapacityRebalance,
		ServiceLinkedRoleARN: in.ServiceLinkedRoleARN, MaxInstanceLifetime: in.MaxInstanceLifetime, Context: in.Context,
		DesiredCapacityType: in.DesiredCapacityType, DefaultInstanceWarmup: in.DefaultInstanceWarmup,
	})
	if err != nil {
		return nil, err
	}
	g.why = "At " + stamp(g.created) + " a user request created an AutoScalingGroup changing the desired capacity from 0 to " + itoa(g.desired) + ".  "
	for _, h := range in.Hooks {
		if err := g.putHook(h); err != nil {
			return nil, err
		}
	}
	if err := c.attachTo(g, in.TargetGroupARNs); err != nil {
		return nil, err
	}
	c.groups[g.name] = g
	i, _ := slices.BinarySearchFunc(c.groupOrder, g.name, func(a *group, name string) int { return cmp.Compare(a.name, name) })
	c.groupOrder = slices.Insert(c.groupOrder, i, g)
	return g, nil
}

type updateGroupInput struct {
	AutoScalingGroupName             string
	LaunchConfigurationName          string
	LaunchTemplate                   *LaunchTemplateSpecification
	MixedInstancesPolicy             *MixedInstancesPolicy
	MinSize, MaxSize                 *int32
	DesiredCapacity                  *int32
	DefaultCooldown                  *int32
	AvailabilityZones                []string
	VPCZoneIdentifier                *string
	HealthCheckType                  string
	HealthCheckGracePeriod           *int32
	PlacementGroup                   string
	TerminationPolicies              []string
	NewInstancesProtectedFromScaleIn *bool
	CapacityRebalance                *bool
	ServiceLinkedRoleARN             string
	MaxInstanceLifetime              *int32
	Context                          string
	DesiredCapacityType              string
	DefaultInstanceWarmup            *int32
}

func (c *Cloud) updateAutoScalingGroup(in *updateGroupInput) error {
	g, err := c.changeableGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if err := c.groupMayLaunch(in); err != nil {
		return err
	}
	// On a copy, so that a refused update changes nothing; what applyUpdate replaces it replaces whole.
	next := *g
	if err := c.applyUpdate(&next, in); err != nil {
		return err
	}
	*g = next
	return nil
}

// applyUpdate changes a group as the request says, or fails; on failure g may be half changed.
func (c *Cloud) applyUpdate(g *group, in *updateGroupInput) error {
	if err := c.applySizes(g, in); err != nil {
		return err
	}
	if err := c.applySource(g, in); err != nil {
		return err
	}
	if err := c.applyZones(g, in); err != nil {
		return err
	}
	if in.TerminationPolicies != nil {
		if err := checkPolicies(in.TerminationPolicies); err != nil {
			return err
		}
		g.policies = slices.Clone(in.TerminationPolicies)
		if len(g.policies) == 0 {
			g.policies = []string{policyDefault}
		}
	}
	if in.NewInstancesProtectedFromScaleIn != nil {
		g.protectNew = *in.NewInstancesProtectedFromScaleIn
	}
	if in.DefaultCooldown != nil {
		g.cooldown = *in.DefaultCooldown
	}
	if in.HealthCheckGracePeriod != nil {
		g.healthGrace = *in.HealthCheckGracePeriod
	}
	g.healthCheckType = cmp.Or(in.HealthCheckType, g.healthCheckType)
	s := &g.settings
	s.PlacementGroup = cmp.Or(in.PlacementGroup, s.PlacementGroup)
	s.ServiceLinkedRoleARN = cmp.Or(in.ServiceLinkedRoleARN, s.ServiceLinkedRoleARN, "arn:aws:iam::"+c.cfg.AccountID+":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling")
	s.MaxInstanceLifetime = cmp.Or(in.MaxInstanceLifetime, s.MaxInstanceLifetime)
	s.CapacityRebalance = cmp.Or(in.CapacityRebalance, s.CapacityRebalance)
	s.Context = cmp.Or(in.Context, s.Context)
	s.DesiredCapacityType = cmp.Or(in.DesiredCapacityType, s.DesiredCapacityType)
	s.DefaultInstanceWarmup = cmp.Or(in.DefaultInstanceWarmup, s.DefaultInstanceWarmup)
	return nil
}

// applySizes checks min <= desired <= max. Without a desired capacity in the request the group's own is moved into the
// new bounds, as UpdateAutoScalingGroup documents for MinSize and MaxSize.
func (c *Cloud) applySizes(g *group, in *updateGroupInput) error {
	low, high, desired := g.min, g.max, g.desired
	if in.MinSize != nil {
		low = int(*in.MinSize)
	}
	if in.MaxSize != nil {
		high = int(*in.MaxSize)
	}
	if low < 0 {
		return validationError("Min bound, %d, must be greater than or equal to 0", low)
	}
	if low > high {
		return validationError("Max bound, %d, must be greater than or equal to min bound, %d", high, low)
	}
	if in.DesiredCapacity == nil {
		desired = max(low, min(high, desired))
	} else {
		desired = int(*in.DesiredCapacity)
		if desired < low || desired > high {
			return validationError("Desired capacity:%d must be between the specified min size:%d and max size:%d", desired, low, high)
		}
	}
	now := c.now()
	if desired != g.desired {
		g.why = "At " + stamp(now) + " a user request update of AutoScalingGroup constraints to min: " + itoa(low) + ", max: " + itoa(high) + ", desired: " + itoa(desired) +
			" changing the desired capacity from " + itoa(g.desired) + " to " + itoa(desired) + ".  "
	}
	g.min, g.max, g.desired = low, high, desired
	return nil
}

// applySource replaces what the group launches from. A launch configuration, a launch template and a mixed instances
// policy exclude each other.
func (c *Cloud) applySource(g *group, in *updateGroupInput) error {
	given := 0
	if in.LaunchConfigurationName != "" {
		given++
		if c.launchConfigs[in.LaunchConfigurationName] == nil {
			return validationError("Launch configuration name not found - Launch configuration %s not found", in.LaunchConfigurationName)
		}
		g.source = source{launchConfig: in.LaunchConfigurationName}
	}
	if in.LaunchTemplate != nil {
		given++
		spec, err := c.completeSpec(in.LaunchTemplate)
		if err != nil {
			return err
		}
		g.source = source{template: spec}
	}
	if in.MixedInstancesPolicy != nil {
		given++
		p, err := c.completePolicy(in.MixedInstancesPolicy, g.source.mixed)
		if err != nil {
			return err
		}
		g.source = source{mixed: p}
	}
	if given > 1 || g.source == (source{}) {
		return validationError("Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
	}
	return nil
}

// completeSpec checks that the template and the version exist and fills in what was not named: Auto Scaling shows both
// id and name, and the version as given, "$Default" without one.
func (c *Cloud) completeSpec(in *LaunchTemplateSpecification) (*LaunchTemplateSpecification, error) {
	t, err := c.findTemplate(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, validationError("You must use a valid fully-formed launch template. %s", asError(serviceEC2, "", err).Message)
	}
	out := &LaunchTemplateSpecification{LaunchTemplateID: t.id, LaunchTemplateName: t.name, Version: cmp.Or(in.Version, "$Default")}
	if _, err := t.versionNamed(out.Version); err != nil {
		return nil, validationError("You must use a valid fully-formed launch template. %s", asError(serviceEC2, "", err).Message)
	}
	return out, nil
}

// completePolicy checks a policy. An update that leaves parts out keeps them from the policy that the group has.
func (c *Cloud) completePolicy(in, old *MixedInstancesPolicy) (*MixedInstancesPolicy, error) {
	out := &MixedInstancesPolicy{LaunchTemplate: &MixedLaunchTemplate{}}
	if old != nil {
		*out.LaunchTemplate, out.InstancesDistribution = *old.LaunchTemplate, old.InstancesDistribution
	}
	if in.LaunchTemplate != nil {
		if in.LaunchTemplate.LaunchTemplateSpecification != nil {
			spec, err := c.completeSpec(in.LaunchTemplate.LaunchTemplateSpecification)
			if err != nil {
				return nil, err
			}
			out.LaunchTemplate.LaunchTemplateSpecification = spec
		}
		if in.LaunchTemplate.Overrides != nil {
			overrides, err := c.completeOverrides(in.LaunchTemplate.Overrides)
			if err != nil {
				return nil, err
			}
			out.LaunchTemplate.Overrides = overrides
		}
	}
	if out.LaunchTemplate.LaunchTemplateSpecification == nil {
		return nil, validationError("The MixedInstancesPolicy must name a launch template.")
	}
	if in.InstancesDistribution != nil {
		out.InstancesDistribution = in.InstancesDistribution
	}
	// Auto Scaling shows its defaults for what was not given.
	d := InstancesDistribution{}
	if out.InstancesDistribution != nil {
		d = *out.InstancesDistribution
	}
	d.OnDemandAllocationStrategy = cmp.Or(d.OnDemandAllocationStrategy, "prioritized")
	d.SpotAllocationStrategy = cmp.Or(d.SpotAllocationStrategy, "lowest-price")
	d.OnDemandBaseCapacity = cmp.Or(d.OnDemandBaseCapacity, ptr(int32(0)))
	d.OnDemandPercentageAboveBaseCapacity = cmp.Or(d.OnDemandPercentageAboveBaseCapacity, ptr(int32(100)))
	if p := *d.OnDemandPercentageAboveBaseCapacity; p < 0 || p > 100 {
		return nil, validationError("The OnDemandPercentageAboveBaseCapacity %d must be between 0 and 100", p)
	}
	out.InstancesDistribution = &d
	return out, nil
}

func (c *Cloud) completeOverrides(in []LaunchTemplateOverride) ([]LaunchTemplateOverride, error) {
	out := make([]LaunchTemplateOverride, 0, len(in))
	for _, o := range in {
		if o.WeightedCapacity != "" && o.WeightedCapacity != "1" {
			return nil, validationError("the simulated AWS counts every instance as one: WeightedCapacity %s of %s is not supported", o.WeightedCapacity, o.InstanceType)
		}
		if o.LaunchTemplateSpecification != nil {
			spec, err := c.completeSpec(o.LaunchTemplateSpecification)
			if err != nil {
				return nil, err
			}
			o.LaunchTemplateSpecification = spec
		}
		out = append(out, o)
	}
	return out, nil
}

// applyZones takes zones, subnets or both; subnets decide which zones the group uses.
func (c *Cloud) applyZones(g *group, in *updateGroupInput) error {
	if in.VPCZoneIdentifier != nil && *in.VPCZoneIdentifier != "" {
		var zones []string
		for id := range strings.SplitSeq(*in.VPCZoneIdentifier, ",") {
			z, ok := c.zoneOfSubnet(strings.TrimSpace(id))
			if !ok {
				return validationError("The subnet ID '%s' does not exist", strings.TrimSpace(id))
			}
			zones = append(zones, z)
		}
		if in.AvailabilityZones != nil && !slices.Equal(slices.Sorted(slices.Values(in.AvailabilityZones)), slices.Sorted(slices.Values(zones))) {
			return validationError("The availability zones of the specified subnets and the Auto Scaling group do not match")
		}
		g.subnets, g.zones = *in.VPCZoneIdentifier, zones
	} else if in.AvailabilityZones != nil {
		for _, z := range in.AvailabilityZones {
			if c.zoneIndex(z) < 0 {
				return validationError("Invalid availability zones: [%s]", z)
			}
		}
		g.subnets, g.zones = "", slices.Clone(in.AvailabilityZones)
	}
	if len(g.zones) == 0 {
		return validationError("At least one Availability Zone or VPC Subnet is required.")
	}
	g.zones = slices.Compact(slices.Sorted(slices.Values(g.zones)))
	return nil
}

type deleteGroupInput struct {
	AutoScalingGroupName string
	ForceDelete          bool
}

// deleteAutoScalingGroup removes an empty group at once; with ForceDelete its instances go first, without hooks.
func (c *Cloud) deleteAutoScalingGroup(in *deleteGroupInput) error {
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if g.warmPool != nil {
		if !in.ForceDelete {
			return failf("ResourceInUse", "You cannot delete an AutoScalingGroup while there is a warm pool still in the group.")
		}
		if _, err := c.deleteWarmPool(&deleteWarmPoolInput{AutoScalingGroupName: g.name, ForceDelete: true}); err != nil {
			return err
		}
	}
	if len(g.members) == 0 {
		c.removeGroup(g)
		return nil
	}
	if !in.ForceDelete {
		if g.inProgress() != nil {
			return failf("ScalingActivityInProgress", "You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.")
		}
		return failf("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
	}
	g.deleting, g.hooks = true, nil
	g.min, g.max, g.desired = 0, 0, 0
	now := c.now()
	for _, m := range g.members {
		if !m.terminating() {
			c.beginTerminate(g, m, byDeleteGroup, "At "+stamp(now)+" an instance was taken out of service in response to a user request force deleting the group.", now)
		}
	}
	return nil
}

type describeGroupsInput struct {
	AutoScalingGroupNames []string
	Filters               []asFilter
	MaxRecords            *int32
	NextToken             string
	IncludeInstances      *bool
}

type describeGroupsOutput struct {
	AutoScalingGroups []asGroup
	NextToken         string
}

type asGroup struct {
	AutoScalingGroupName             string
	AutoScalingGroupARN              string
	LaunchConfigurationName          string
	LaunchTemplate                   *LaunchTemplateSpecification
	MixedInstancesPolicy             *MixedInstancesPolicy
	MinSize, MaxSize                 int
	DesiredCapacity                  int
	DefaultCooldown                  int32
	AvailabilityZones                []string
	LoadBalancerNames                []string
	TargetGroupARNs                  []string
	HealthCheckType                  string
	HealthCheckGracePeriod           int32
	Instances                        []asInstance
	CreatedTime                      time.Time
	SuspendedProcesses               []suspendedProcess
	PlacementGroup                   string
	VPCZoneIdentifier                string
	EnabledMetrics                   []enabledMetric
	Status                           string
	Tags                             []GroupTag
	TerminationPolicies              []string
	NewInstancesProtectedFromScaleIn bool
	ServiceLinkedRoleARN             string
	MaxInstanceLifetime              *int32
	CapacityRebalance                *bool
	WarmPoolConfiguration            *WarmPoolConfiguration
	WarmPoolSize                     *int32
	Context                          string
	DesiredCapacityType              string
	DefaultInstanceWarmup            *int32
	TrafficSources                   []trafficSource
}

type enabledMetric struct{ Metric, Granularity string }

// metricGranularity is the only one that there is.
const metricGranularity = "1Minute"

func shownMetrics(metrics []string) []enabledMetric {
	out := []enabledMetric{}
	for _, m := range metrics {
		out = append(out, enabledMetric{Metric: m, Granularity: metricGranularity})
	}
	return out
}

// groupMetrics are the metrics of a group without a warm pool.
var groupMetrics = []string{
	"GroupAndWarmPoolDesiredCapacity", "GroupAndWarmPoolTotalCapacity", "GroupDesiredCapacity", "GroupInServiceCapacity", "GroupInServiceInstances",
	"GroupMaxSize", "GroupMinSize", "GroupPendingCapacity", "GroupPendingInstances", "GroupStandbyCapacity", "GroupStandbyInstances",
	"GroupTerminatingCapacity", "GroupTerminatingInstances", "GroupTotalCapacity", "GroupTotalInstances",
}

type enableMetricsInput struct {
	AutoScalingGroupName string
	Granularity          string
	Metrics              []string
}

// enableMetricsCollection remembers which metrics are asked for; nothing collects them. None named means all.
func (c *Cloud) enableMetricsCollection(in *enableMetricsInput) error {
	g, err := c.findGroup(in.AutoScalingGroupName)
	if err != nil {
		return err
	}
	if in.Granularity != metricGranularity {
		return validationError("Granularity must be %s", metricGranularity)
	}
	metrics := in.Metrics
	if len(metrics) == 0 {
		metrics = groupMetrics
	}
	for _, m := range metrics {
		if !slices.Contains(groupMetrics, m) {
			return validationError("Metric %s is not a valid metric", m)
		}
	}
	metrics = append(slices.Clone(g.metrics), metrics...)
	slices.Sort(metrics)
	g.metrics = slices.Compact(metrics)
	return nil
}

type suspendedProcess struct {
	ProcessName      string
	SuspensionReason string
}

type asInstance struct {
	InstanceID              string `x:"InstanceId"`
	InstanceType            string
	AutoScalingGroupName    string // only in DescribeAutoScalingInstances
	AvailabilityZone        string
	LifecycleState          string
	HealthStatus            string
	LaunchConfigurationName string
	LaunchTemplate          *LaunchTemplateSpecification
	ProtectedFromScaleIn    bool
	WeightedCapacity        string
}

// asInstance shows a member. The launch template's version is the number that it was launched from, whatever the group
// names by now.
func (m *member) asInstance() asInstance {
	out := asInstance{
		InstanceID: m.inst.id, InstanceType: m.inst.instanceType, AvailabilityZone: m.inst.zone, LifecycleState: m.state,
		HealthStatus: "Healthy", LaunchConfigurationName: m.inst.launchConfig, ProtectedFromScaleIn: m.protected,
	}
	if !m.healthy {
		out.HealthStatus = "Unhealthy"
	}
	if v := m.inst.version; v != nil {
		out.LaunchTemplate = &LaunchTemplateSpecification{LaunchTemplateID: v.template.id, LaunchTemplateName: v.template.name, Version: v.String()}
	}
	if m.override != nil {
		out.WeightedCapacity = m.override.WeightedCapacity
	}
	return out
}

func (g *group) show(instances bool) asGroup {
	out := asGroup{
		AutoScalingGroupName: g.name, AutoScalingGroupARN: g.arn, LaunchConfigurationName: g.source.launchConfig, LaunchTemplate: g.source.template,
		MixedInstancesPolicy: g.source.mixed, MinSize: g.min, MaxSize: g.max, DesiredCapacity: g.desired, DefaultCooldown: g.cooldown,
		AvailabilityZones: g.zones, LoadBalancerNames: []string{}, TargetGroupARNs: append([]string{}, g.targetGroups...), HealthCheckType: g.healthCheckType,
		HealthCheckGracePeriod: g.healthGrace, Instances: []asInstance{}, CreatedTime: g.created, SuspendedProcesses: []suspendedProcess{},
		PlacementGroup: g.settings.PlacementGroup, VPCZoneIdentifier: g.subnets, EnabledMetrics: shownMetrics(g.metrics), Tags: append([]GroupTag{}, g.tags...),
		TerminationPolicies: g.policies, NewInstancesProtectedFromScaleIn: g.protectNew, ServiceLinkedRoleARN: g.settings.ServiceLinkedRoleARN,
		MaxInstanceLifetime: g.settings.MaxInstanceLifetime, CapacityRebalance: g.settings.CapacityRebalance, Context: g.settings.Context,
		DesiredCapacityType: g.settings.DesiredCapacityType, DefaultInstanceWarmup: g.settings.DefaultInstanceWarmup, TrafficSources: g.trafficSources(),
		WarmPoolConfiguration: g.warmPool,
	}
	if g.warmPool != nil {
		out.WarmPoolSize = ptr(int32(len(g.warm)))
	}
	if g.deleting {
		out.Status = "Delete in progress"
	}
	for _, p := range processes {
		if why, ok := g.suspended[p]; ok {
			out.SuspendedProcesses = append(out.SuspendedProcesses, suspendedProcess{ProcessName: p, SuspensionReason: why})
		}
	}
	if instances {
		for _, m := range g.members {
			out.Instances = append(out.Instances, m.asInstance())
		}
	}
	return out
}

// describeAutoScalingGroups leaves unknown names out of its answer, as Auto Scaling does; nothing is an error there.
func (c *Cloud) describeAutoScalingGroups(in *describeGroupsInput) (*describeGroupsOutput, error) {
	size, err := recordLimit(in.MaxRecords, 50)
	if err != nil {
		return nil, err
	}
	for _, f := range in.Filters {
		if f.Name != "tag-key" && f.Name != "tag-value" && !strings.HasPrefix(f.Name, "tag:") {
			return nil, validationError("Filter type %s is not correct. Allowed Filter types are: tag-key, tag-value, tag:<key>", f.Name)
		}
	}
	var list []*group
	for _, g := range c.groupOrder {
		if (len(in.AutoScalingGroupNames) == 0 || slices.Contains(in.AutoScalingGroupNames, g.name)) && g.matches(in.Filters) {
			list = append(list, g)
		}
	}
	items, next, ok := page("groups", list, func(g *group) string { return g.name }, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	out := &describeGroupsOutput{AutoScalingGroups: []asGroup{}, NextToken: next}
	for _, g := range items {
		out.AutoScalingGroups = append(out.AutoScalingGroups, g.show(in.IncludeInstances == nil || *in.IncludeInstances))
	}
	return out, nil
}

// matches applies tag filters: values are exact here, Auto Scaling knows no wildcards.
func (g *group) matches(filters []asFilter) bool {
	for _, f := range filters {
		key, byKey := strings.CutPrefix(f.Name, "tag:")
		if !slices.ContainsFunc(g.tags, func(t GroupTag) bool {
			switch {
			case byKey:
				return t.Key == key && slices.Contains(f.Values, t.Value)
			case f.Name == "tag-key":
				return slices.Contains(f.Values, t.Key)
			}
			return slices.Contains(f.Values, t.Value)
		}) {
			return false
		}
	}
	return true
}

type describeASInstancesInput struct {
	InstanceIDs []string `q:"InstanceIds"`
	MaxRecords  *int32
	NextToken   string
}

type describeASInstancesOutput struct {
	AutoScalingInstances []asInstance
	NextToken            string
}

func (c *Cloud) describeAutoScalingInstances(in *describeASInstancesInput) (*describeASInstancesOutput, error) {
	// This action's own bound is 50.
	size := 50
	if in.MaxRecords != nil {
		if *in.MaxRecords < 1 || *in.MaxRecords > 50 {
			return nil, validationError("1 validation error detected: Value '%d' at 'maxRecords' failed to satisfy constraint: Member must have value less than or equal to 50", *in.MaxRecords)
		}
		size = int(*in.MaxRecords)
	}
	wanted := map[string]bool{}
	for _, id := range in.InstanceIDs {
		wanted[id] = true
	}
	var list []asInstance
	for _, g := range c.groupOrder {
		for _, m := range slices.Concat(g.members, g.warm) {
			if len(wanted) == 0 || wanted[m.inst.id] {
				i := m.asInstance()
				i.AutoScalingGroupName = g.name
				list = append(list, i)
			}
		}
	}
	slices.SortFunc(list, func(a, b asInstance) int { return cmp.Compare(a.InstanceID, b.InstanceID) })
	items, next, ok := page("group instances", list, func(i asInstance) string { return i.InstanceID }, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	return &describeASInstancesOutput{AutoScalingInstances: append([]asInstance{}, items...), NextToken: next}, nil
}
