package aws

import (
	"slices"
	"strings"
)

type createSecurityGroupInput struct {
	GroupName         string
	GroupDescription  string
	VpcID             string             `q:"VpcId"`
	TagSpecifications []TagSpecification `q:"TagSpecification"`
	DryRun            bool
}

type createSecurityGroupOutput struct {
	GroupID string `x:"groupId"`
	Tags    []Tag  `x:"tagSet"`
}

func (c *Cloud) createSecurityGroup(in *createSecurityGroupInput) (*createSecurityGroupOutput, error) {
	switch {
	case in.GroupName == "" || in.GroupDescription == "":
		return nil, failf("MissingParameter", "The request must contain the parameters GroupName and GroupDescription")
	case in.VpcID != c.VPCID():
		return nil, failf("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", in.VpcID)
	case slices.ContainsFunc(c.securityGroups, func(g *securityGroup) bool { return g.name == in.GroupName }):
		return nil, failf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.GroupName, in.VpcID)
	}
	tags, err := tagsFor("security-group", in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	g := c.newSecurityGroup(in.GroupName, in.GroupDescription, tags)
	return &createSecurityGroupOutput{GroupID: g.id, Tags: tagList(g.tags)}, nil
}

type ipPermission struct {
	IPProtocol    string `q:"IpProtocol" x:"ipProtocol"`
	FromPort      *int32
	ToPort        *int32
	IPRanges      []ipRange     `q:"IpRanges" x:"ipRanges"`
	IPv6Ranges    []ipv6Range   `q:"Ipv6Ranges" x:"ipv6Ranges"`
	PrefixListIDs []prefixList  `q:"PrefixListIds" x:"prefixListIds"`
	Groups        []groupSource `q:"Groups" x:"groups"`
}

type ipRange struct {
	CidrIP      string `q:"CidrIp" x:"cidrIp"`
	Description *string
}

type ipv6Range struct {
	CidrIPv6    string `q:"CidrIpv6" x:"cidrIpv6"`
	Description *string
}

type prefixList struct {
	PrefixListID string `q:"PrefixListId" x:"prefixListId"`
	Description  *string
}

type groupSource struct {
	GroupID     string  `q:"GroupId" x:"groupId"`
	UserID      *string `q:"UserId" x:"userId"`
	Description *string
}

// rulesOf makes rules of permissions: one for each source.
func (c *Cloud) rulesOf(permissions []ipPermission, egress bool) ([]*securityRule, error) {
	if len(permissions) == 0 {
		return nil, failf("MissingParameter", "The request must contain the parameter ipPermissions")
	}
	var rules []*securityRule
	for _, p := range permissions {
		if p.IPProtocol == "" {
			return nil, failf("MissingParameter", "The request must contain the parameter ipProtocol")
		}
		protocol := p.IPProtocol
		if name, ok := map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}[protocol]; ok {
			protocol = name
		}
		base := securityRule{egress: egress, protocol: protocol, from: p.FromPort, to: p.ToPort}
		before := len(rules)
		add := func(set func(*securityRule)) {
			r := base
			set(&r)
			rules = append(rules, &r)
		}
		for _, s := range p.IPRanges {
			add(func(r *securityRule) { r.cidr = s.CidrIP })
		}
		for _, s := range p.IPv6Ranges {
			add(func(r *securityRule) { r.cidr6 = s.CidrIPv6 })
		}
		for _, s := range p.PrefixListIDs {
			add(func(r *securityRule) { r.prefixList = s.PrefixListID })
		}
		for _, s := range p.Groups {
			if _, err := c.findSecurityGroup(s.GroupID); err != nil {
				return nil, err
			}
			add(func(r *securityRule) { r.group = s.GroupID })
		}
		if len(rules) == before {
			return nil, failf("InvalidParameterValue", "A rule needs one source: a CIDR block, a prefix list or a security group.")
		}
	}
	return rules, nil
}

type authorizeInput struct {
	GroupID           string             `q:"GroupId"`
	IPPermissions     []ipPermission     `q:"IpPermissions"`
	TagSpecifications []TagSpecification `q:"TagSpecification"`
	DryRun            bool
}

type authorizeOutput struct {
	Return bool
	Rules  []ec2SecurityRule `x:"securityGroupRuleSet"`
}

type ec2SecurityRule struct {
	ID           string `x:"securityGroupRuleId"`
	GroupID      string `x:"groupId"`
	GroupOwnerID string `x:"groupOwnerId"`
	IsEgress     bool
	IPProtocol   string          `x:"ipProtocol"`
	FromPort     int32           `x:"fromPort"`
	ToPort       int32           `x:"toPort"`
	CidrIPv4     *string         `x:"cidrIpv4"`
	CidrIPv6     *string         `x:"cidrIpv6"`
	PrefixListID *string         `x:"prefixListId"`
	Referenced   *ec2GroupOfRule `x:"referencedGroupInfo"`
	Tags         []Tag           `x:"tagSet"`
}

type ec2GroupOfRule struct {
	GroupID string `x:"groupId"`
	UserID  string `x:"userId"`
}

// shownRule shows a rule; ports that a protocol has not are -1.
func (c *Cloud) shownRule(g *securityGroup, r *securityRule) ec2SecurityRule {
	out := ec2SecurityRule{
		ID: r.id, GroupID: g.id, GroupOwnerID: c.cfg.AccountID, IsEgress: r.egress, IPProtocol: r.protocol, FromPort: -1, ToPort: -1, Tags: tagList(r.tags),
	}
	if r.from != nil {
		out.FromPort = *r.from
	}
	if r.to != nil {
		out.ToPort = *r.to
	}
	switch {
	case r.cidr != "":
		out.CidrIPv4 = &r.cidr
	case r.cidr6 != "":
		out.CidrIPv6 = &r.cidr6
	case r.prefixList != "":
		out.PrefixListID = &r.prefixList
	case r.group != "":
		out.Referenced = &ec2GroupOfRule{GroupID: r.group, UserID: c.cfg.AccountID}
	}
	return out
}

func (c *Cloud) authorizeIngress(in *authorizeInput) (*authorizeOutput, error) {
	return c.authorize(in, false)
}
func (c *Cloud) authorizeEgress(in *authorizeInput) (*authorizeOutput, error) {
	return c.authorize(in, true)
}

// authorize adds all rules or, when there is one of them already, none.
func (c *Cloud) authorize(in *authorizeInput, egress bool) (*authorizeOutput, error) {
	g, err := c.findSecurityGroup(in.GroupID)
	if err != nil {
		return nil, err
	}
	rules, err := c.rulesOf(in.IPPermissions, egress)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor("security-group-rule", in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if slices.ContainsFunc(g.rules, r.same) {
			return nil, failf("InvalidPermission.Duplicate", "the specified rule already exists in security group %s", g.id)
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	out := &authorizeOutput{Return: true, Rules: []ec2SecurityRule{}}
	for _, r := range rules {
		r.id, r.tags = c.newID("sgr"), map[string]string{}
		for k, v := range tags {
			r.tags[k] = v
		}
		g.rules = append(g.rules, r)
		out.Rules = append(out.Rules, c.shownRule(g, r))
	}
	return out, nil
}

type revokeInput struct {
	GroupID       string         `q:"GroupId"`
	IPPermissions []ipPermission `q:"IpPermissions"`
	RuleIDs       []string       `q:"SecurityGroupRuleId"`
	DryRun        bool
}

func (c *Cloud) revokeIngress(in *revokeInput) (*returned, error) { return c.revoke(in, false) }
func (c *Cloud) revokeEgress(in *revokeInput) (*returned, error)  { return c.revoke(in, true) }

// revoke removes rules, named by id or by what they allow.
func (c *Cloud) revoke(in *revokeInput, egress bool) (*returned, error) {
	g, err := c.findSecurityGroup(in.GroupID)
	if err != nil {
		return nil, err
	}
	var gone []*securityRule
	for _, id := range in.RuleIDs {
		i := slices.IndexFunc(g.rules, func(r *securityRule) bool { return r.id == id && r.egress == egress })
		if i < 0 {
			return nil, failf("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
		}
		gone = append(gone, g.rules[i])
	}
	if len(in.RuleIDs) == 0 {
		rules, err := c.rulesOf(in.IPPermissions, egress)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			i := slices.IndexFunc(g.rules, r.same)
			if i < 0 {
				return nil, failf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
			gone = append(gone, g.rules[i])
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	g.rules = slices.DeleteFunc(g.rules, func(r *securityRule) bool { return slices.Contains(gone, r) })
	return &returned{Return: true}, nil
}

type describeSecurityGroupsInput struct {
	GroupIDs   []string `q:"GroupId"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeSecurityGroupsOutput struct {
	Groups    []ec2SecurityGroup `x:"securityGroupInfo"`
	NextToken string             `x:"nextToken"`
}

type ec2SecurityGroup struct {
	GroupID     string         `x:"groupId"`
	GroupName   string         `x:"groupName"`
	Description string         `x:"groupDescription"`
	OwnerID     string         `x:"ownerId"`
	VpcID       string         `x:"vpcId"`
	Ingress     []ipPermission `x:"ipPermissions"`
	Egress      []ipPermission `x:"ipPermissionsEgress"`
	Tags        []Tag          `x:"tagSet"`
}

// permissions shows rules the older way, one permission for each.
func (c *Cloud) permissions(g *securityGroup, egress bool) []ipPermission {
	out := []ipPermission{}
	for _, r := range g.rules {
		if r.egress != egress {
			continue
		}
		p := ipPermission{IPProtocol: r.protocol, FromPort: r.from, ToPort: r.to, IPRanges: []ipRange{}, IPv6Ranges: []ipv6Range{}, PrefixListIDs: []prefixList{}, Groups: []groupSource{}}
		switch {
		case r.cidr != "":
			p.IPRanges = []ipRange{{CidrIP: r.cidr}}
		case r.cidr6 != "":
			p.IPv6Ranges = []ipv6Range{{CidrIPv6: r.cidr6}}
		case r.prefixList != "":
			p.PrefixListIDs = []prefixList{{PrefixListID: r.prefixList}}
		case r.group != "":
			p.Groups = []groupSource{{GroupID: r.group, UserID: &c.cfg.AccountID}}
		}
		out = append(out, p)
	}
	return out
}

func (c *Cloud) describeSecurityGroups(in *describeSecurityGroupsInput) (*describeSecurityGroupsOutput, error) {
	match, err := matchEC2(in.Filters, fields[*securityGroup]{
		"group-id":   func(g *securityGroup) []string { return []string{g.id} },
		"group-name": func(g *securityGroup) []string { return []string{g.name} },
		"vpc-id":     func(*securityGroup) []string { return []string{c.VPCID()} },
	}, func(g *securityGroup) map[string]string { return g.tags })
	if err != nil {
		return nil, err
	}
	for _, id := range in.GroupIDs {
		if _, err := c.findSecurityGroup(id); err != nil {
			return nil, err
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	var list []*securityGroup
	for _, g := range c.securityGroups {
		if match(g) && (len(in.GroupIDs) == 0 || slices.Contains(in.GroupIDs, g.id)) {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *securityGroup) int { return strings.Compare(a.id, b.id) })
	items, next, ok := page("security-groups", list, func(g *securityGroup) string { return g.id }, in.NextToken, deref(in.MaxResults))
	if !ok {
		return nil, errNextToken
	}
	out := &describeSecurityGroupsOutput{Groups: []ec2SecurityGroup{}, NextToken: next}
	for _, g := range items {
		out.Groups = append(out.Groups, ec2SecurityGroup{
			GroupID: g.id, GroupName: g.name, Description: g.description, OwnerID: c.cfg.AccountID, VpcID: c.VPCID(), Tags: tagList(g.tags),
			Ingress: c.permissions(g, false), Egress: c.permissions(g, true),
		})
	}
	return out, nil
}

type describeRulesInput struct {
	RuleIDs    []string `q:"SecurityGroupRuleId"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeRulesOutput struct {
	Rules     []ec2SecurityRule `x:"securityGroupRuleSet"`
	NextToken string            `x:"nextToken"`
}

func (c *Cloud) describeSecurityGroupRules(in *describeRulesInput) (*describeRulesOutput, error) {
	type ruleOf struct {
		*securityRule
		of *securityGroup
	}
	match, err := matchEC2(in.Filters, fields[ruleOf]{
		"group-id":               func(r ruleOf) []string { return []string{r.of.id} },
		"security-group-rule-id": func(r ruleOf) []string { return []string{r.id} },
	}, func(r ruleOf) map[string]string { return r.tags })
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	var list []ruleOf
	for _, g := range c.securityGroups {
		for _, r := range g.rules {
			if one := (ruleOf{r, g}); match(one) && (len(in.RuleIDs) == 0 || slices.Contains(in.RuleIDs, r.id)) {
				list = append(list, one)
			}
		}
	}
	slices.SortFunc(list, func(a, b ruleOf) int { return strings.Compare(a.id, b.id) })
	items, next, ok := page("security-group-rules", list, func(r ruleOf) string { return r.id }, in.NextToken, deref(in.MaxResults))
	if !ok {
		return nil, errNextToken
	}
	out := &describeRulesOutput{Rules: []ec2SecurityRule{}, NextToken: next}
	for _, r := range items {
		out.Rules = append(out.Rules, c.shownRule(r.of, r.securityRule))
	}
	return out, nil
}
