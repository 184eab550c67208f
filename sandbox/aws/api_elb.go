package aws

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

func elbActions() map[string]action {
	return map[string]action{
		"CreateTargetGroup":             elbAction("CreateTargetGroup", (*Cloud).createTargetGroup),
		"DeleteTargetGroup":             elbAction("DeleteTargetGroup", (*Cloud).deleteTargetGroup),
		"DescribeTargetGroups":          elbAction("DescribeTargetGroups", (*Cloud).describeTargetGroups),
		"DescribeTargetGroupAttributes": elbAction("DescribeTargetGroupAttributes", (*Cloud).describeTargetGroupAttributes),
		"ModifyTargetGroupAttributes":   elbAction("ModifyTargetGroupAttributes", (*Cloud).modifyTargetGroupAttributes),
		"DescribeTargetHealth":          elbAction("DescribeTargetHealth", (*Cloud).describeTargetHealth),
		"RegisterTargets":               elbAction("RegisterTargets", (*Cloud).registerTargets),
		"DeregisterTargets":             elbAction("DeregisterTargets", (*Cloud).deregisterTargets),
		"AddTags":                       elbAction("AddTags", (*Cloud).addELBTags),
		"DescribeTags":                  elbAction("DescribeTags", (*Cloud).describeELBTags),
	}
}

func elbAction[In, Out any](name string, f func(*Cloud, *In) (*Out, error)) action {
	return xmlAction(serviceELB, name, f)
}

// findTargetGroup looks a target group up by its ARN.
func (c *Cloud) findTargetGroup(arn string) (*targetGroup, error) {
	if arn == "" {
		return nil, validationError("A target group ARN must be specified")
	}
	tg := c.targetGroups[arn]
	if tg == nil {
		return nil, failf("TargetGroupNotFound", "One or more target groups not found: %s", arn)
	}
	tg.settle(c.now())
	return tg, nil
}

type elbTag struct{ Key, Value string }

type elbTarget struct {
	ID   string `q:"Id" x:"Id"`
	Port *int32
}

type createTargetGroupInput struct {
	Name       string
	Protocol   string
	Port       *int32
	VpcID      string `q:"VpcId"`
	TargetType string
	Tags       []elbTag
}

type elbTargetGroups struct {
	TargetGroups []elbTargetGroup
	NextMarker   string
}

type elbTargetGroup struct {
	TargetGroupArn             string
	TargetGroupName            string
	Protocol                   string
	Port                       int32
	VpcID                      string `x:"VpcId"`
	HealthCheckProtocol        string
	HealthCheckPort            string
	HealthCheckEnabled         bool
	HealthCheckIntervalSeconds int32
	HealthCheckTimeoutSeconds  int32
	HealthyThresholdCount      int32
	UnhealthyThresholdCount    int32
	HealthCheckPath            string
	LoadBalancerArns           []string
	TargetType                 string
	ProtocolVersion            string
	IPAddressType              string `x:"IpAddressType"`
}

func (c *Cloud) shownTargetGroup(tg *targetGroup) elbTargetGroup {
	return elbTargetGroup{
		TargetGroupArn: tg.arn, TargetGroupName: tg.name, Protocol: tg.protocol, Port: tg.port, VpcID: c.VPCID(),
		HealthCheckProtocol: tg.protocol, HealthCheckPort: "traffic-port", HealthCheckEnabled: true, HealthCheckIntervalSeconds: 30,
		HealthCheckTimeoutSeconds: 5, HealthyThresholdCount: 5, UnhealthyThresholdCount: 2, HealthCheckPath: "/",
		LoadBalancerArns: []string{}, TargetType: "instance", ProtocolVersion: "HTTP1", IPAddressType: "ipv4",
	}
}

// createTargetGroup makes one of instances for HTTP or HTTPS; what else there is, is not simulated.
func (c *Cloud) createTargetGroup(in *createTargetGroupInput) (*elbTargetGroups, error) {
	switch {
	case in.Protocol != "HTTP" && in.Protocol != "HTTPS":
		return nil, validationError("the simulated AWS has target groups for HTTP and HTTPS only, not '%s'", in.Protocol)
	case cmp.Or(in.TargetType, "instance") != "instance":
		return nil, validationError("the simulated AWS has target groups of instances only, not of '%s'", in.TargetType)
	case in.Port == nil || in.VpcID == "":
		return nil, validationError("A port and a VPC ID must be specified")
	}
	tg, err := c.newTargetGroup(in.Name, in.Protocol, *in.Port)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Tags {
		tg.tags[t.Key] = t.Value
	}
	return &elbTargetGroups{TargetGroups: []elbTargetGroup{c.shownTargetGroup(tg)}}, nil
}

type targetGroupInput struct {
	TargetGroupArn string
}

// deleteTargetGroup ends one that is there; without one it is success, as in AWS.
func (c *Cloud) deleteTargetGroup(in *targetGroupInput) (*struct{}, error) {
	for _, g := range c.groupOrder {
		if slices.Contains(g.targetGroups, in.TargetGroupArn) {
			return nil, failf("ResourceInUse", "Target group '%s' is currently in use by Auto Scaling group %s", in.TargetGroupArn, g.name)
		}
	}
	delete(c.targetGroups, in.TargetGroupArn)
	c.targetOrder = slices.DeleteFunc(c.targetOrder, func(tg *targetGroup) bool { return tg.arn == in.TargetGroupArn })
	return &struct{}{}, nil
}

type describeTargetGroupsInput struct {
	TargetGroupArns []string
	Names           []string
	Marker          string
	PageSize        *int32
}

// maxELBPage is the largest page of Elastic Load Balancing, and the default.
const maxELBPage = 400

func (c *Cloud) describeTargetGroups(in *describeTargetGroupsInput) (*elbTargetGroups, error) {
	size := cmp.Or(deref(in.PageSize), maxELBPage)
	if size < 1 || size > maxELBPage {
		return nil, validationError("PageSize %d must be from 1 to %d", size, maxELBPage)
	}
	var list []*targetGroup
	for _, tg := range c.targetOrder {
		if (len(in.TargetGroupArns) == 0 || slices.Contains(in.TargetGroupArns, tg.arn)) && (len(in.Names) == 0 || slices.Contains(in.Names, tg.name)) {
			list = append(list, tg)
		}
	}
	if n := max(len(in.TargetGroupArns), len(in.Names)); n > len(list) {
		return nil, failf("TargetGroupNotFound", "One or more target groups not found")
	}
	items, next, ok := page("target groups", list, func(tg *targetGroup) string { return tg.arn }, in.Marker, int(size))
	if !ok {
		return nil, validationError("The marker is not valid")
	}
	out := &elbTargetGroups{TargetGroups: []elbTargetGroup{}, NextMarker: next}
	for _, tg := range items {
		out.TargetGroups = append(out.TargetGroups, c.shownTargetGroup(tg))
	}
	return out, nil
}

type elbAttributes struct {
	Attributes []elbTag
}

func (c *Cloud) describeTargetGroupAttributes(in *targetGroupInput) (*elbAttributes, error) {
	tg, err := c.findTargetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	return &elbAttributes{Attributes: sortedTags(tg.attributes)}, nil
}

func sortedTags(m map[string]string) []elbTag {
	out := []elbTag{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, elbTag{k, m[k]})
	}
	return out
}

type modifyAttributesInput struct {
	TargetGroupArn string
	Attributes     []elbTag
}

func (c *Cloud) modifyTargetGroupAttributes(in *modifyAttributesInput) (*elbAttributes, error) {
	tg, err := c.findTargetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	before := maps.Clone(tg.attributes)
	for _, a := range in.Attributes {
		if err := tg.set(a.Key, a.Value); err != nil {
			tg.attributes = before
			return nil, err
		}
	}
	return &elbAttributes{Attributes: sortedTags(tg.attributes)}, nil
}

type targetsInput struct {
	TargetGroupArn string
	Targets        []elbTarget
}

type elbHealth struct {
	TargetHealthDescriptions []elbHealthDescription
}

type elbHealthDescription struct {
	Target          elbTarget
	HealthCheckPort string
	TargetHealth    elbTargetHealth
}

type elbTargetHealth struct {
	State       string
	Reason      string
	Description string
}

// describeTargetHealth answers for all targets that are registered or draining, or for those that are named; a named one
// that is not registered is unused.
func (c *Cloud) describeTargetHealth(in *targetsInput) (*elbHealth, error) {
	tg, err := c.findTargetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	out := &elbHealth{TargetHealthDescriptions: []elbHealthDescription{}}
	show := func(t *target) {
		d := elbHealthDescription{Target: elbTarget{ID: t.id, Port: &t.port}, HealthCheckPort: itoa(int(t.port)),
			TargetHealth: elbTargetHealth{State: tg.state(t, c.cfg.TargetDelay, c.now())}}
		switch d.TargetHealth.State {
		case targetInitial:
			d.TargetHealth.Reason, d.TargetHealth.Description = "Elb.RegistrationInProgress", "Target registration is in progress"
		case targetDraining:
			d.TargetHealth.Reason, d.TargetHealth.Description = "Target.DeregistrationInProgress", "Target deregistration is in progress"
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, d)
	}
	if len(in.Targets) == 0 {
		for _, t := range tg.targets {
			show(t)
		}
		return out, nil
	}
	for _, want := range in.Targets {
		port := cmp.Or(deref(want.Port), tg.port)
		if t := tg.find(want.ID, port); t != nil {
			show(t)
			continue
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, elbHealthDescription{
			Target: elbTarget{ID: want.ID, Port: &port}, HealthCheckPort: itoa(int(port)),
			TargetHealth: elbTargetHealth{State: targetUnused, Reason: "Target.NotRegistered", Description: "Target is not registered to the target group"},
		})
	}
	return out, nil
}

func (c *Cloud) registerTargets(in *targetsInput) (*struct{}, error) {
	tg, err := c.targetsOfRequest(in)
	if err != nil {
		return nil, err
	}
	var bad []string
	for _, t := range in.Targets {
		if i := c.instances[t.ID]; i == nil || i.state != stateRunning {
			bad = append(bad, "'"+t.ID+"'")
		}
	}
	if len(bad) > 0 {
		return nil, failf("InvalidTarget", "The following targets are not in a running state and cannot be registered: %s", strings.Join(bad, ", "))
	}
	for _, t := range in.Targets {
		tg.register(t.ID, deref(t.Port), c.now())
	}
	return &struct{}{}, nil
}

func (c *Cloud) deregisterTargets(in *targetsInput) (*struct{}, error) {
	tg, err := c.targetsOfRequest(in)
	if err != nil {
		return nil, err
	}
	for _, t := range in.Targets {
		tg.deregister(t.ID, deref(t.Port), c.now())
	}
	return &struct{}{}, nil
}

func (c *Cloud) targetsOfRequest(in *targetsInput) (*targetGroup, error) {
	if len(in.Targets) == 0 {
		return nil, validationError("At least one target must be specified")
	}
	return c.findTargetGroup(in.TargetGroupArn)
}

type addELBTagsInput struct {
	ResourceArns []string
	Tags         []elbTag
}

func (c *Cloud) addELBTags(in *addELBTagsInput) (*struct{}, error) {
	for _, arn := range in.ResourceArns {
		if _, err := c.findTargetGroup(arn); err != nil {
			return nil, err
		}
	}
	for _, arn := range in.ResourceArns {
		for _, t := range in.Tags {
			c.targetGroups[arn].tags[t.Key] = t.Value
		}
	}
	return &struct{}{}, nil
}

type describeELBTagsInput struct {
	ResourceArns []string
}

type elbTagDescriptions struct {
	TagDescriptions []elbTagDescription
}

type elbTagDescription struct {
	ResourceArn string
	Tags        []elbTag
}

// describeELBTags answers for at most 20 resources, as AWS does.
func (c *Cloud) describeELBTags(in *describeELBTagsInput) (*elbTagDescriptions, error) {
	if len(in.ResourceArns) == 0 || len(in.ResourceArns) > 20 {
		return nil, validationError("From 1 to 20 resource ARNs must be specified, not %d", len(in.ResourceArns))
	}
	out := &elbTagDescriptions{}
	for _, arn := range in.ResourceArns {
		tg, err := c.findTargetGroup(arn)
		if err != nil {
			return nil, err
		}
		out.TagDescriptions = append(out.TagDescriptions, elbTagDescription{ResourceArn: arn, Tags: sortedTags(tg.tags)})
	}
	return out, nil
}
