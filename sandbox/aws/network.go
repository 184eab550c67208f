package aws

import (
	"fmt"
	"slices"
	"time"
)

// vpc is the account's one VPC, and subnet one of its subnets, each in a zone: both are there from the beginning.
type vpc struct {
	tags    map[string]string
	subnets []*subnet // by zone
}

type subnet struct {
	id, zone string
	cidr     string
	tags     map[string]string
}

func (c *Cloud) newVPC() *vpc {
	v := &vpc{tags: map[string]string{}}
	for i, z := range c.cfg.Zones {
		v.subnets = append(v.subnets, &subnet{id: c.SubnetID(z), zone: z, cidr: fmt.Sprintf("10.0.%d.0/19", i*32), tags: map[string]string{}})
	}
	return v
}

// securityGroup is a security group of the VPC. Nothing here filters packets: the rules are kept for who describes them.
type securityGroup struct {
	id, name, description string
	tags                  map[string]string
	rules                 []*securityRule
}

// securityRule is one rule: a protocol, ports, and one source or target.
type securityRule struct {
	id       string
	egress   bool
	protocol string
	from, to *int32
	// One of these is set.
	cidr, cidr6, prefixList, group string
	tags                           map[string]string
}

// same says whether two rules allow the same.
func (r *securityRule) same(o *securityRule) bool {
	port := func(p *int32) int32 {
		if p == nil {
			return -1 // of a protocol without ports
		}
		return *p
	}
	return r.egress == o.egress && r.protocol == o.protocol && port(r.from) == port(o.from) && port(r.to) == port(o.to) &&
		r.cidr == o.cidr && r.cidr6 == o.cidr6 && r.prefixList == o.prefixList && r.group == o.group
}

// newSecurityGroup makes a security group that lets all out, as EC2 makes it.
func (c *Cloud) newSecurityGroup(name, description string, tags map[string]string) *securityGroup {
	g := &securityGroup{id: c.newID("sg"), name: name, description: description, tags: tags}
	g.rules = []*securityRule{{id: c.newID("sgr"), egress: true, protocol: "-1", cidr: "0.0.0.0/0", tags: map[string]string{}}}
	c.securityGroups = append(c.securityGroups, g)
	return g
}

func (c *Cloud) findSecurityGroup(id string) (*securityGroup, error) {
	i := slices.IndexFunc(c.securityGroups, func(g *securityGroup) bool { return g.id == id })
	if i < 0 {
		return nil, failf("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
	}
	return c.securityGroups[i], nil
}

// volume is an EBS volume that was made by itself, as kops makes those of etcd. Nothing attaches it.
type volume struct {
	id, zone, kind   string
	size             int32
	iops, throughput *int32
	encrypted        bool
	created          time.Time
	tags             map[string]string
}

// eachInVPC goes through what carries tags in the VPC, itself included, until yield says no.
func (c *Cloud) eachInVPC(yield func(id, kind string, tags map[string]string) bool) {
	if !yield(c.VPCID(), "vpc", c.vpc.tags) {
		return
	}
	for _, s := range c.vpc.subnets {
		if !yield(s.id, "subnet", s.tags) {
			return
		}
	}
	for _, g := range c.securityGroups {
		if !yield(g.id, "security-group", g.tags) {
			return
		}
		for _, r := range g.rules {
			if !yield(r.id, "security-group-rule", r.tags) {
				return
			}
		}
	}
	for _, v := range c.volumes {
		if !yield(v.id, "volume", v.tags) {
			return
		}
	}
}

// taggedInVPC finds the tags of something there; nil: there is nothing of this id.
func (c *Cloud) taggedInVPC(id string) (tags map[string]string, kind string) {
	c.eachInVPC(func(of, k string, t map[string]string) bool {
		if of == id {
			tags, kind = t, k
		}
		return tags == nil
	})
	return tags, kind
}
