package aws

import "cmp"

// tagGroupName is the tag that Auto Scaling puts on its instances.
const tagGroupName = "aws:autoscaling:groupName"

// resolveSource says what a group would launch from now; a mixed group's overrides aside.
func (c *Cloud) resolveSource(s source) (resolved, error) {
	if s.launchConfig == "" {
		return c.resolveTemplate(*s.templateSpec())
	}
	lc := c.launchConfigs[s.launchConfig]
	if lc == nil {
		return resolved{}, validationError("Launch configuration name not found - Launch configuration %s not found", s.launchConfig)
	}
	imageID, err := c.resolveImage(lc.ImageID)
	if err != nil {
		return resolved{}, err
	}
	return resolved{launchConfig: lc.LaunchConfigurationName, imageID: imageID, data: LaunchTemplateData{
		ImageID: &lc.ImageID, InstanceType: &lc.InstanceType, KeyName: &lc.KeyName, UserData: &lc.UserData, SecurityGroupIDs: lc.SecurityGroups,
	}}, nil
}

// planLaunch decides what a group launches next in a zone: template version and image as they resolve at this moment,
// and for a mixed group the purchase option and the instance type.
func (c *Cloud) planLaunch(g *group, zone string) (launch, *LaunchTemplateOverride, error) {
	spot := false
	var override *LaunchTemplateOverride
	src := g.source
	if p := g.source.mixed; p != nil {
		spot = nextIsSpot(g)
		override = c.chooseOverride(p, spot)
		if override != nil && override.LaunchTemplateSpecification != nil {
			src = source{template: override.LaunchTemplateSpecification}
		}
	}
	r, err := c.resolveSource(src)
	if err != nil {
		return launch{}, nil, err
	}
	own := map[string]string{}
	for _, t := range g.tags {
		if t.PropagateAtLaunch {
			own[t.Key] = t.Value
		}
	}
	own[tagGroupName] = g.name
	if g.source.mixed != nil {
		own["aws:ec2:fleet-id"] = "fleet-" + c.newUUID() // mixed groups launch through an instant fleet each time
	}
	l := launch{resolved: r, zone: zone, group: g.name, spot: spot, tags: launchTags(r, own)}
	if override != nil {
		l.instanceType = override.InstanceType
	}
	if cmp.Or(l.instanceType, deref(r.data.InstanceType)) == "" {
		return launch{}, nil, validationError("You must use a valid fully-formed launch template. The request must contain the parameter InstanceType")
	}
	return l, override, nil
}

// nextIsSpot keeps a mixed group at its distribution: the on-demand base first, above it the given percentage of
// on-demand, rounded up in favour of on-demand as the guide says.
func nextIsSpot(g *group) bool {
	d := g.source.mixed.InstancesDistribution
	if d == nil || d.OnDemandPercentageAboveBaseCapacity == nil {
		return false // the default is 100 % on-demand
	}
	onDemand, total := 0, 0
	for _, m := range g.members {
		if m.fillsCapacity() {
			total++
			if !m.inst.spot {
				onDemand++
			}
		}
	}
	base := int(deref(d.OnDemandBaseCapacity))
	above := max(0, total+1-base)
	want := min(base, total+1) + (above*int(*d.OnDemandPercentageAboveBaseCapacity)+99)/100
	return onDemand >= want
}

// chooseOverride picks the instance type: for on-demand with the strategy "prioritized" (the default) the first in the
// list; "lowest-price" and all of spot's strategies depend on prices and free capacity, which here is chance by seed.
func (c *Cloud) chooseOverride(p *MixedInstancesPolicy, spot bool) *LaunchTemplateOverride {
	o := p.LaunchTemplate.Overrides
	if len(o) == 0 {
		return nil
	}
	strategy := ""
	if p.InstancesDistribution != nil {
		strategy = p.InstancesDistribution.OnDemandAllocationStrategy
	}
	if !spot && strategy != "lowest-price" {
		return &o[0]
	}
	return &o[c.rng.IntN(len(o))]
}
