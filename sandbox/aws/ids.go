package aws

import (
	"fmt"
	"slices"
)

// newID makes a resource id of AWS's long form: prefix, dash, seventeen hexadecimal digits of which the first is 0.
func (c *Cloud) newID(prefix string) string {
	return fmt.Sprintf("%s-0%016x", prefix, c.ids.Uint64())
}

// newUUID makes the ids of activities, lifecycle tokens and fleets. Random bits only, no version: AWS's are opaque too.
func (c *Cloud) newUUID() string {
	a, b := c.ids.Uint64(), c.ids.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffff_ffff_ffff)
}

// zoneIndex is a zone's place in the region, -1 for one that does not exist.
func (c *Cloud) zoneIndex(zone string) int { return slices.Index(c.cfg.Zones, zone) }

// SubnetID is the id of the one subnet that the account has in a zone; "" for a zone that does not exist.
func (c *Cloud) SubnetID(zone string) string {
	i := c.zoneIndex(zone)
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("subnet-0%016x", c.cfg.Seed<<8|uint64(i+1))
}

// zoneOfSubnet is the inverse of SubnetID.
func (c *Cloud) zoneOfSubnet(id string) (string, bool) {
	for _, z := range c.cfg.Zones {
		if c.SubnetID(z) == id {
			return z, true
		}
	}
	return "", false
}

// VPCID is the id of the account's one VPC.
func (c *Cloud) VPCID() string { return fmt.Sprintf("vpc-0%016x", c.cfg.Seed<<8) }

// nextAddress hands out the addresses of a zone's /19 in turn; the first four belong to AWS, as in every VPC subnet.
// After 8,000 launches in a zone the addresses come round again, long after their first holders went.
func (c *Cloud) nextAddress(zone string) string {
	const usable = 8192 - 8
	n := c.hosts[zone]%usable + 4
	c.hosts[zone]++
	return fmt.Sprintf("10.0.%d.%d", c.zoneIndex(zone)*32+n/256, n%256)
}

// privateDNSName follows EC2's hostname types: by address (ip-10-0-0-4) or by resource (the instance id), in the domain
// ec2.internal only in us-east-1, REGION.compute.internal elsewhere.
func (c *Cloud) privateDNSName(id, ip string) string {
	host := id
	if !c.cfg.ResourceNames {
		b := []byte("ip-" + ip)
		for i := range b {
			if b[i] == '.' {
				b[i] = '-'
			}
		}
		host = string(b)
	}
	if c.cfg.Region == "us-east-1" {
		return host + ".ec2.internal"
	}
	return host + "." + c.cfg.Region + ".compute.internal"
}
