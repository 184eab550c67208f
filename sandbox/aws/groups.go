package aws

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The processes of a group that can be suspended ("Suspend and resume Amazon EC2 Auto Scaling processes"). Those of
// alarms, schedules, load balancers and instance refreshes are kept and shown; there is nothing here that they would do.
const (
	processLaunch            = "Launch"
	processTerminate         = "Terminate"
	processHealthCheck       = "HealthCheck"
	processReplaceUnhealthy  = "ReplaceUnhealthy"
	processAZRebalance       = "AZRebalance"
	processAddToLoadBalancer = "AddToLoadBalancer"
)

var processes = []string{
	processLaunch, processTerminate, processAddToLoadBalancer, "AlarmNotification", processAZRebalance, processHealthCheck,
	"InstanceRefresh", processReplaceUnhealthy, "ScheduledActions",
}

// group is an Auto Scaling group.
type group struct {
	name, arn         string
	source            source
	min, max, desired int
	zones             []string
	subnets           string // VPCZoneIdentifier as given
	cooldown          int32
	healthCheckType   string
	healthGrace       int32
	created           time.Time
	suspended         map[string]string // process -> reason
	tags              []GroupTag        // by key
	policies          []string
	protectNew        bool
	settings          groupSettings
	hooks             []*LifecycleHook // by name
	members           []*member        // in the order of their launch, terminating ones included
	activities        []*Activity      // oldest first
	refreshes         []*InstanceRefresh
	warmPool          *WarmPoolConfiguration
	warm              []*member // of the warm pool, in the order of their launch; none is in members
	targetGroups      []string  // ARNs, sorted
	metrics           []string  // that are collected, sorted
	deleting          bool

	// why is the cause of the last change of the desired capacity, which the activities that follow cite.
	why string
	// coolUntil is when the cooldown of the last scaling activity ends.
	coolUntil time.Time
	// backoff is until when a zone is left alone after a launch there failed.
	backoff map[string]time.Time
}

// groupSettings are kept and shown; they change nothing in the sandbox.
type groupSettings struct {
	PlacementGroup        string
	ServiceLinkedRoleARN  string
	MaxInstanceLifetime   *int32
	CapacityRebalance     *bool
	Context               string
	DesiredCapacityType   string
	DefaultInstanceWarmup *int32
}

// source is what a group launches from: exactly one of the three.
type source struct {
	template     *LaunchTemplateSpecification
	mixed        *MixedInstancesPolicy
	launchConfig string
}

// templateSpec is the group's own template, also that of a mixed instances policy; nil with a launch configuration.
func (s source) templateSpec() *LaunchTemplateSpecification {
	if s.mixed != nil {
		return s.mixed.LaunchTemplate.LaunchTemplateSpecification
	}
	return s.template
}

func (g *group) isSuspended(process string) bool {
	_, ok := g.suspended[process]
	return ok
}

// member is an instance as its group sees it.
type member struct {
	inst      *instance
	state     string // lifecycle state
	healthy   bool
	protected bool
	override  *LaunchTemplateOverride // of a mixed instances policy, nil without
	wait      *hookWait               // set while the state is one of :Wait
	balanced  []string                // ARNs of the target groups that it was registered in
	passed    []string                // hooks of this transition that are done
	activity  *Activity               // of the transition at work
}

// terminating says that the member is on its way out and does not count toward the group's capacity.
func (m *member) terminating() bool { return strings.HasPrefix(m.state, "Terminat") }

// fillsCapacity says that the member counts toward the group's desired capacity, and so can be chosen to shrink it. One
// that terminates, is detached or stands by does not, and Auto Scaling checks its health no more.
func (m *member) fillsCapacity() bool {
	switch m.state {
	case lifecycleDetaching, lifecycleDetached, lifecycleEnteringStandby, lifecycleStandby:
		return false
	}
	return !m.terminating()
}

// MixedInstancesPolicy is a group's choice of instance types and purchase options.
type MixedInstancesPolicy struct {
	LaunchTemplate        *MixedLaunchTemplate
	InstancesDistribution *InstancesDistribution
}

// MixedLaunchTemplate is the template of a mixed instances policy with what overrides it.
type MixedLaunchTemplate struct {
	LaunchTemplateSpecification *LaunchTemplateSpecification
	Overrides                   []LaunchTemplateOverride
}

// LaunchTemplateOverride is one choice of a mixed instances policy. Weights other than 1 are refused.
type LaunchTemplateOverride struct {
	InstanceType                string
	WeightedCapacity            string
	LaunchTemplateSpecification *LaunchTemplateSpecification
}

// InstancesDistribution says how on-demand and spot instances are mixed and types chosen.
type InstancesDistribution struct {
	OnDemandAllocationStrategy          string
	OnDemandBaseCapacity                *int32
	OnDemandPercentageAboveBaseCapacity *int32
	SpotAllocationStrategy              string
	SpotInstancePools                   *int32
	SpotMaxPrice                        string
}

// GroupTag is a tag of a group; PropagateAtLaunch puts it on new instances too.
type GroupTag struct {
	ResourceID        string `q:"ResourceId" x:"ResourceId"`
	ResourceType      string
	Key               string
	Value             string
	PropagateAtLaunch bool
}

// GroupSpec is an Auto Scaling group to be. One of LaunchTemplate and LaunchConfiguration is required.
type GroupSpec struct {
	Name string
	// LaunchTemplate is the name of a template, LaunchVersion a number, $Latest or $Default ("" is $Default).
	LaunchTemplate, LaunchVersion string
	LaunchConfiguration           string
	// InstanceTypes makes a mixed instances policy of the template: the types in this order.
	InstanceTypes []string
	Distribution  *InstancesDistribution
	// Min, Max and Desired are the sizes; 0 <= Min <= Desired <= Max.
	Min, Max, Desired int
	// Zones default to all of the account.
	Zones []string
	// Tags are put on the group; those with PropagateAtLaunch on its instances as well. ResourceID is ignored.
	Tags                []GroupTag
	TerminationPolicies []string
	SuspendedProcesses  []string
	ProtectNewInstances bool
	Hooks               []LifecycleHook
	// TargetGroups are ARNs: the group's instances are registered there once they are in service.
	TargetGroups []string
}

// CreateAutoScalingGroup makes a group. Its instances are launched by the ticks that follow.
func (c *Cloud) CreateAutoScalingGroup(s GroupSpec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	zones := s.Zones
	if len(zones) == 0 {
		zones = c.cfg.Zones
	}
	in := &createGroupInput{
		AutoScalingGroupName: s.Name, LaunchConfigurationName: s.LaunchConfiguration,
		MinSize: ptr(int32(s.Min)), MaxSize: ptr(int32(s.Max)), DesiredCapacity: ptr(int32(s.Desired)),
		Tags: s.Tags, TerminationPolicies: s.TerminationPolicies, NewInstancesProtectedFromScaleIn: ptr(s.ProtectNewInstances),
		Hooks: s.Hooks, TargetGroupARNs: s.TargetGroups,
	}
	var subnets []string
	for _, z := range zones {
		if c.zoneIndex(z) < 0 {
			return validationError("Invalid availability zones: [%s]", z)
		}
		subnets = append(subnets, c.SubnetID(z))
	}
	in.VPCZoneIdentifier = ptr(strings.Join(subnets, ","))
	if s.LaunchTemplate != "" {
		spec := &LaunchTemplateSpecification{LaunchTemplateName: s.LaunchTemplate, Version: s.LaunchVersion}
		if len(s.InstanceTypes) == 0 {
			in.LaunchTemplate = spec
		} else {
			in.MixedInstancesPolicy = &MixedInstancesPolicy{LaunchTemplate: &MixedLaunchTemplate{LaunchTemplateSpecification: spec}, InstancesDistribution: s.Distribution}
			for _, t := range s.InstanceTypes {
				in.MixedInstancesPolicy.LaunchTemplate.Overrides = append(in.MixedInstancesPolicy.LaunchTemplate.Overrides, LaunchTemplateOverride{InstanceType: t})
			}
		}
	}
	g, err := c.createGroup(in)
	if err != nil {
		return err
	}
	return g.suspend(s.SuspendedProcesses, c.now())
}

// findGroup looks a group up, or answers as Auto Scaling does for an unknown name.
func (c *Cloud) findGroup(name string) (*group, error) {
	g := c.groups[name]
	if g == nil {
		return nil, validationError("AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
	}
	return g, nil
}

// changeableGroup is findGroup for calls that change it: a group that is being deleted takes none.
func (c *Cloud) changeableGroup(name string) (*group, error) {
	g, err := c.findGroup(name)
	if err == nil && g.deleting {
		return nil, validationError("The AutoScaling group may not be modified while it is pending delete")
	}
	return g, err
}

// findMember looks an instance up in whatever group it is.
func (c *Cloud) findMember(id string) (*group, *member, error) {
	if i := c.instances[id]; i != nil && i.group != "" {
		if g := c.groups[i.group]; g != nil {
			if n := slices.IndexFunc(g.members, func(m *member) bool { return m.inst == i }); n >= 0 {
				return g, g.members[n], nil
			}
		}
	}
	return nil, nil, validationError("Instance Id not found - No managed instance found for instance ID: %s", id)
}

// setDesired changes the desired capacity and remembers why, for the activities that follow.
func (g *group) setDesired(n int, now time.Time) {
	if n == g.desired {
		return
	}
	g.why = "At " + stamp(now) + " a user request explicitly set group desired capacity changing the desired capacity from " +
		itoa(g.desired) + " to " + itoa(n) + ".  "
	g.desired = n
}

// suspend suspends processes, all of them or, when one has a name that is none, none. A process that is suspended
// already keeps its reason.
func (g *group) suspend(names []string, now time.Time) error {
	for _, p := range names {
		if !slices.Contains(processes, p) {
			return validationError("Invalid process name %s: choose from %s", p, strings.Join(processes, ", "))
		}
	}
	for _, p := range names {
		if !g.isSuspended(p) {
			g.suspended[p] = "User suspended at " + stamp(now)
		}
	}
	return nil
}

// setTag adds a tag or replaces the one with its key.
func (g *group) setTag(t GroupTag) {
	t.ResourceID, t.ResourceType = g.name, "auto-scaling-group"
	i, found := slices.BinarySearchFunc(g.tags, t.Key, func(a GroupTag, key string) int { return cmp.Compare(a.Key, key) })
	if found {
		g.tags[i] = t
		return
	}
	g.tags = slices.Insert(g.tags, i, t)
}
