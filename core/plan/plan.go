package plan

import (
	"github.com/rotatord/rotator/core/estimate"
	"github.com/rotatord/rotator/core/model"
)

// Plan is what a rotation would do, or why it must not.
type Plan struct {
	Cluster string `json:"cluster"`
	Mode    Mode   `json:"mode"`
	// CloudOnly: the API server was not asked, so that nothing is known of nodes.
	CloudOnly bool `json:"cloudOnly,omitempty"`
	// MarkedNodes counts nodes that carry rotator's taints or annotations.
	MarkedNodes int `json:"markedNodes,omitempty"`
	// SurgedWorkloads counts Deployments that an earlier run left with an extra
	// replica.
	SurgedWorkloads int `json:"surgedWorkloads,omitempty"`
	// Singles are the workloads that an eviction would take down, or that their
	// budgets never let go, by name.
	Singles []Single `json:"singleReplicas,omitempty"`
	// MaxInFlight is how many nodes may be being replaced at once over all groups;
	// 0: no bound. ZoneRoom is the same for each zone; nil: no bound.
	MaxInFlight int            `json:"maxInFlight,omitempty"`
	ZoneRoom    map[string]int `json:"zoneRoom,omitempty"`
	// Groups in the order in which they are visited.
	Groups []Group `json:"groups"`
	// Warnings do not stop the rotation; a person should read them.
	Warnings []Finding `json:"warnings,omitempty"`
	// Notes are worth knowing, and ask for nothing.
	Notes []Finding `json:"notes,omitempty"`
	// Refusals stop it before anything is touched.
	Refusals []Finding `json:"refusals,omitempty"`
	// Estimate of the time that it takes; nil: there is nothing to do.
	Estimate *estimate.Estimate `json:"estimate,omitempty"`
}

// Group is one node group's part of a plan.
type Group struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"`
	Role     model.Role `json:"role"`
	Revision string     `json:"revision"`
	// Size is the group's own size: desired capacity without a rotation's surge.
	Size int `json:"size"`
	// Surge is how many extra instances there are while the group is rotated;
	// Unavailable how many of Size may be missing meanwhile.
	Surge       int `json:"surge"`
	Unavailable int `json:"unavailable"`
	// SurgeFrom and UnavailableFrom say where the two come from; empty: from the
	// rotation file, or rotator's own default.
	SurgeFrom       string `json:"surgeFrom,omitempty"`
	UnavailableFrom string `json:"unavailableFrom,omitempty"`
	// Nodes to replace, in the order of preference.
	Nodes []Node `json:"nodes"`
	// Roll is set where the provider replaces the group's nodes by itself; nil: the
	// core does, node by node.
	Roll *Roll `json:"roll,omitempty"`
	// HeldBy is the rotation that prepared the group and did not restore it, and
	// LeftSurge its surge: what an earlier run left behind.
	HeldBy    string `json:"heldBy,omitempty"`
	LeftSurge int    `json:"leftSurge,omitempty"`
	// Staging is the release that becomes the group's desired revision before its
	// nodes are replaced; nil: it keeps the one that it has.
	Staging *Staging `json:"staging,omitempty"`
	// Current counts the instances that need nothing.
	Current int          `json:"current"`
	Traits  model.Traits `json:"-"`
	// LostLabels are labels of its nodes that new ones do not carry.
	LostLabels []model.LostLabel `json:"-"`
}

// Staging gives a group another release.
type Staging struct {
	From  model.Release      `json:"from"`
	To    model.Release      `json:"to"`
	Order model.ReleaseOrder `json:"order"`
}

// Node is one old instance that the plan replaces.
type Node struct {
	Instance string         `json:"instance"`
	Node     string         `json:"node"` // empty: the instance never joined
	Zone     string         `json:"zone"`
	Reasons  []model.Reason `json:"reasons"`
	Pods     int            `json:"pods"` // pods that will be evicted
	// Rank by strategy.order: nodes of a lower rank go first, whatever else would
	// have them wait; between nodes of one rank budgets and zones decide.
	Rank int `json:"rank,omitempty"`
}

// Finding is something that a person should know before the start.
type Finding struct {
	Code    string `json:"code"` // stable, lower case with dashes
	Object  string `json:"object"`
	Message string `json:"message"` // names the object and the cause
	Fix     string `json:"fix"`     // what to do about it
}

// Leftovers tells whether an earlier run left something to put back.
func (p *Plan) Leftovers() bool {
	for _, g := range p.Groups {
		if g.HeldBy != "" || g.LeftSurge > 0 || g.Roll != nil && g.Roll.Ours {
			return true
		}
	}
	return p.MarkedNodes > 0 || p.SurgedWorkloads > 0
}

// Stagings counts the groups that get another release.
func (p *Plan) Stagings() int {
	n := 0
	for _, g := range p.Groups {
		if g.Staging != nil {
			n++
		}
	}
	return n
}

// Nodes counts the nodes that the plan replaces.
func (p *Plan) Nodes() int {
	n := 0
	for _, g := range p.Groups {
		n += len(g.Nodes)
	}
	return n
}
