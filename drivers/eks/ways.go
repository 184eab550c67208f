package eks

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// Way is how a managed node group is rotated.
type Way string

// The ways. Nothing can change what a managed node group is made from without
// EKS rolling it, so a new release needs a way in which EKS rolls.
const (
	// WayDelegated: EKS rolls the node group and drains its nodes.
	WayDelegated Way = "delegated"
	// WayAssisted is delegated, while the core drains old nodes ahead of EKS.
	WayAssisted Way = "assisted"
	// WaySelf: the core replaces instances of the node group's Auto Scaling group,
	// for every reason but a new release.
	WaySelf Way = "self"
	// WayBlueGreen: a second node group with the new release takes its place; the
	// core drains the old nodes.
	WayBlueGreen Way = "blue-green"
	// WaySkip: the node group is left out.
	WaySkip Way = "skip"
)

// rolls tells whether EKS replaces the instances.
func (w Way) rolls() bool { return w == WayDelegated || w == WayAssisted }

// renews tells whether the way can give a node group a new release.
func (w Way) renews() bool { return w.rolls() || w == WayBlueGreen }

// ManagedNodeGroups says how managed node groups are rotated: all of them, and
// what differs for some.
type ManagedNodeGroups struct {
	NodeGroupWay
	Groups map[string]NodeGroupWay `json:"groups,omitempty"` // by name of the node group
}

// NodeGroupWay says how one node group is rotated. The zero value is EKS' own
// way: delegated, with the node group's own update strategy, within budgets.
type NodeGroupWay struct {
	Way      Way                                `json:"way,omitempty"`
	Strategy ekstypes.NodegroupUpdateStrategies `json:"strategy,omitempty"` // empty: the node group's own
	// Force: EKS ends nodes whose pods it cannot evict. Nil: not said.
	Force *bool `json:"force,omitempty"`
	// BlueGreen is for the way of that name. Nil: not said.
	BlueGreen *BlueGreen `json:"blueGreen,omitempty"`
}

// BlueGreen says how a second node group takes the place of one.
type BlueGreen struct {
	// KeepOld leaves the old node group, with no instance.
	KeepOld bool `json:"keepOld,omitempty"`
}

// of returns what holds for one node group, with the way filled in.
func (m ManagedNodeGroups) of(nodegroup string) NodeGroupWay {
	own, ok := m.Groups[nodegroup]
	if !ok {
		own = m.Groups[m.first(nodegroup)]
	}
	w := NodeGroupWay{
		Way:       cmp.Or(own.Way, m.Way, WayDelegated),
		Strategy:  cmp.Or(own.Strategy, m.Strategy),
		Force:     cmp.Or(own.Force, m.Force),
		BlueGreen: cmp.Or(own.BlueGreen, m.BlueGreen),
	}
	return w
}

// first is the name, among those that have settings of their own, of the node group
// whose place one has taken, be it at several removes.
func (m ManagedNodeGroups) first(nodegroup string) string {
	s := stem(nodegroup)
	for name := range m.Groups {
		if len(name) > maxStem && stem(name) == s { // the digest makes it the only one
			return name
		}
	}
	return s
}

// forced tells whether EKS is to go past budgets.
func (w NodeGroupWay) forced() bool { return w.Force != nil && *w.Force }

// blueGreen tells whether any node group may be replaced by another.
func (m ManagedNodeGroups) blueGreen() bool {
	for _, g := range m.Groups {
		if g.Way == WayBlueGreen {
			return true
		}
	}
	return m.Way == WayBlueGreen
}

// none tells that no managed node group is rotated, so that EKS need not be
// asked for them.
func (m ManagedNodeGroups) none() bool {
	for _, g := range m.Groups {
		if g.Way != "" && g.Way != WaySkip {
			return false
		}
	}
	return m.Way == WaySkip
}

// check finds what is wrong; an empty summary: nothing.
func (m ManagedNodeGroups) check() (summary, detail string) {
	if summary, detail := m.NodeGroupWay.check("managedNodeGroups"); summary != "" {
		return summary, detail
	}
	for _, name := range slices.Sorted(maps.Keys(m.Groups)) {
		if summary, detail := m.Groups[name].check("managedNodeGroups.groups." + name); summary != "" {
			return summary, detail
		}
	}
	return "", ""
}

func (w NodeGroupWay) check(path string) (summary, detail string) {
	switch w.Way {
	case "", WayDelegated, WayAssisted, WaySelf, WayBlueGreen, WaySkip:
	default:
		return fmt.Sprintf("%s.way %q is none that the eks driver knows", path, w.Way), "Choose delegated, assisted, self, blue-green or skip."
	}
	if s := w.Strategy; s != "" && !slices.Contains(s.Values(), s) {
		return fmt.Sprintf("%s.strategy %q is none that EKS knows", path, s), "Choose DEFAULT or MINIMAL."
	}
	return "", ""
}
