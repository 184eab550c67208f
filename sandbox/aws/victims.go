package aws

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The termination policies that are simulated ("Configure termination policies for Amazon EC2 Auto Scaling").
const (
	policyDefault             = "Default"
	policyOldestInstance      = "OldestInstance"
	policyNewestInstance      = "NewestInstance"
	policyOldestTemplate      = "OldestLaunchTemplate"
	policyOldestConfiguration = "OldestLaunchConfiguration"
	policyClosestToNextHour   = "ClosestToNextInstanceHour"
	policyAllocationStrategy  = "AllocationStrategy"
	lambdaPolicyPrefix        = "arn:aws:lambda:"
)

var policyNames = []string{
	policyDefault, policyOldestInstance, policyNewestInstance, policyOldestTemplate, policyOldestConfiguration,
	policyClosestToNextHour, policyAllocationStrategy,
}

func checkPolicies(names []string) error {
	for _, p := range names {
		if strings.HasPrefix(p, lambdaPolicyPrefix) {
			return validationError("the simulated AWS does not run Lambda functions as termination policies: %s", p)
		}
		if !slices.Contains(policyNames, p) {
			return validationError("Invalid termination policy: %s: choose from %s", p, strings.Join(policyNames, ", "))
		}
	}
	return nil
}

// victim chooses the instance that a scale-in takes, as Auto Scaling does on its own: nobody can tell it which. First
// the zone: "balances instances across Availability Zones first, regardless of which termination policy is used", the
// zone with the most instances of which one at least is not protected. Then the group's policies in order, each
// narrowing what the one before left, and chance among equals. nil when every instance is protected.
func (c *Cloud) victim(g *group, perZone map[string]int, now time.Time) *member {
	var candidates []*member
	most := 0
	for _, m := range g.members {
		if !m.fillsCapacity() || m.protected {
			continue
		}
		switch n := perZone[m.inst.zone]; {
		case n > most:
			candidates, most = []*member{m}, n
		case n == most:
			candidates = append(candidates, m)
		}
	}
	for _, p := range g.policies {
		candidates = narrow(g, candidates, p, now)
	}
	// Every list of policies ends, in effect, with the default one's last rule: one of those that are left, at random.
	if len(candidates) == 0 {
		return nil
	}
	return candidates[c.rng.IntN(len(candidates))]
}

// narrow keeps the members that a policy would take first.
func narrow(g *group, in []*member, policy string, now time.Time) []*member {
	if len(in) < 2 {
		return in
	}
	switch policy {
	case policyOldestInstance:
		return least(in, func(m *member) int64 { return m.inst.launchTime.UnixNano() })
	case policyNewestInstance:
		return least(in, func(m *member) int64 { return -m.inst.launchTime.UnixNano() })
	case policyOldestConfiguration:
		return oldestConfiguration(g, in)
	case policyOldestTemplate:
		return oldestTemplate(g, in)
	case policyClosestToNextHour:
		return closestToHour(in, now)
	case policyAllocationStrategy:
		return in // prices do not move here: every instance is as well aligned as another
	}
	// Default: launch configurations before templates, the oldest of them, then the end of the paid hour.
	configured := slices.DeleteFunc(slices.Clone(in), func(m *member) bool { return m.inst.launchConfig == "" })
	if len(configured) > 0 {
		in = oldestConfiguration(g, configured)
	} else {
		in = oldestTemplate(g, in)
	}
	return closestToHour(in, now)
}

// oldestConfiguration prefers instances of launch configurations that the group no longer uses.
func oldestConfiguration(g *group, in []*member) []*member {
	return least(in, func(m *member) int64 {
		if m.inst.launchConfig == g.source.launchConfig {
			return 1
		}
		return 0
	})
}

// oldestTemplate prefers instances of templates that the group no longer uses, then the oldest version: "instances that
// use the noncurrent launch template are terminated first, followed by … the oldest version of the current one".
func oldestTemplate(g *group, in []*member) []*member {
	current := ""
	if spec := g.source.templateSpec(); spec != nil {
		current = spec.LaunchTemplateID
	}
	in = least(in, func(m *member) int64 {
		if m.inst.version != nil && m.inst.version.template.id == current {
			return 1
		}
		return 0
	})
	return least(in, func(m *member) int64 { return m.inst.versionNumber() })
}

// closestToHour prefers instances whose current hour since launch ends first.
func closestToHour(in []*member, now time.Time) []*member {
	return least(in, func(m *member) int64 { return int64(time.Hour - now.Sub(m.inst.launchTime)%time.Hour) })
}

// least keeps the members with the smallest key.
func least(in []*member, key func(*member) int64) []*member {
	low := key(slices.MinFunc(in, func(a, b *member) int { return cmp.Compare(key(a), key(b)) }))
	return slices.DeleteFunc(slices.Clone(in), func(m *member) bool { return key(m) != low })
}
