package plan

import (
	"fmt"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// Roll says how the provider replaces the nodes of a group by itself.
type Roll struct {
	// Assisted: the core empties nodes ahead of the provider, by its own rules, and
	// ends none.
	Assisted bool `json:"assisted"`
	// MaxUnavailable is what the provider is asked to keep to, in instances; 0: the
	// group's own setting.
	MaxUnavailable int `json:"maxUnavailable"`
	// Running is the provider's id of a roll that is in flight; empty: none. Ours:
	// a rotation of rotator's began it.
	Running string `json:"running,omitempty"`
	Ours    bool   `json:"ours,omitempty"`
	// Abandon: nobody goes on with the roll in flight. It is cancelled where it can
	// be, and left to the provider where not.
	Abandon bool `json:"-"`
	// Cannot says what such a roll cannot do; Ignored names settings of the rotation
	// file that have no effect on it.
	Cannot  []string `json:"cannot"`
	Ignored []string `json:"ignored,omitempty"`
}

// newRoll is what the traits say of a group's roll, and whether one is in flight.
func newRoll(g model.NodeGroup) *Roll {
	r := &Roll{Assisted: g.Traits.Drains == model.DrainsBoth, Cannot: []string{}}
	if g.Roll.State == model.RollRunning {
		r.Running, r.Ours = g.Roll.ID, g.Roll.Op != ""
	}
	return r
}

// roll plans a group that its provider rolls as a whole. Where nothing is to be
// replaced it only keeps what is in flight of ours.
func (b *builder) roll(g *Group, of model.NodeGroup) {
	r := newRoll(of)
	if len(g.Nodes) == 0 {
		if r.Ours {
			g.Roll = r
		}
		return
	}
	g.Roll = r
	b.checkDiagnostics(of)
	b.checkRollReasons(g)
	b.checkHold(of)
	if of.Role != model.RoleNode {
		b.refuse(Finding{Code: "cannot-replace", Object: g.Name,
			Message: fmt.Sprintf("group %s is rolled by its provider, which knows nothing of the needs of a group of role %s", g.Name, of.Role),
			Fix:     "leave the group out with select.excludeGroups"})
	}
	if want := b.spec.Select.Nodes; len(want) > 0 {
		b.refuse(Finding{Code: "cannot-choose-nodes", Object: g.Name,
			Message: fmt.Sprintf("group %s is rolled by its provider, all of it or nothing: single nodes cannot be chosen", g.Name),
			Fix:     "leave select.nodes (--node) out, or have the driver replace the group's instances itself"})
	}
	_, unavailable := b.budgets(of)
	n, err := Resolve(unavailable.value, g.Size, false)
	if err != nil {
		b.refuse(Finding{Code: "bad-budget", Object: g.Name, Fix: "correct strategy.maxUnavailable, or the group's own setting",
			Message: fmt.Sprintf("group %s: %s", g.Name, err)})
		return
	}
	// A provider cannot roll with none missing, and a percentage may round down to it.
	g.Unavailable, g.UnavailableFrom = max(min(n, g.Size), 1), unavailable.from
	if b.spec.Strategy.MaxUnavailable != "" && n > 0 {
		r.MaxUnavailable = g.Unavailable
	}
	if r.Running != "" && !r.Ours {
		b.warn(Finding{Code: "roll-foreign", Object: g.Name,
			Message: fmt.Sprintf("group %s is being rolled already (%s), and not by rotator", g.Name, r.Running),
			Fix:     "nothing, if it is to the same revision: the rotation waits for its end; to another one, wait until it has ended"})
	}
	r.Cannot, r.Ignored = b.cannot(r, g.Staging), b.ignored(r)
	if r.Assisted {
		b.warn(Finding{Code: "assisted-experimental", Object: g.Name,
			Message: fmt.Sprintf("group %s: emptying nodes ahead of the provider is experimental: both drain, and nothing tells which node the provider takes next", g.Name),
			Fix:     "nothing, or have the provider roll the group alone"})
	}
}

// checkRollReasons refuses instances that a roll would leave as they are: it
// replaces what is not of the group's revision, which only the driver can tell.
func (b *builder) checkRollReasons(g *Group) {
	own := map[string]bool{"age": true, "marked": true, "forced": true}
	var left []string
	kept := g.Nodes[:0]
	for _, n := range g.Nodes {
		rolls := false
		for _, r := range n.Reasons {
			rolls = rolls || !own[r.Code]
		}
		if rolls {
			kept = append(kept, n)
			continue
		}
		left = append(left, fmt.Sprintf("%s (%s)", n.label(), n.Reasons[0].Message))
	}
	if len(left) == 0 {
		return
	}
	f := Finding{Code: "roll-cannot-replace", Object: g.Name,
		Message: fmt.Sprintf("group %s is rolled by its provider, which replaces outdated nodes only; %d are of the group's revision: %s", g.Name, len(left), list(left)),
		Fix:     "have the driver replace the group's instances itself, or leave the group out with select.excludeGroups"}
	if len(kept) == 0 {
		b.refuse(f)
		return
	}
	g.Nodes, g.Current = kept, g.Current+len(left)
	f.Fix = "nothing, or replace them in a rotation in which the driver replaces the group's instances itself"
	b.warn(f)
}

func (n Node) label() string {
	if n.Node != "" {
		return n.Node
	}
	return n.Instance
}

// cannot says what a person gives up who lets the provider roll, to a release that
// is staged first where there is one.
func (b *builder) cannot(r *Roll, staging *Staging) []string {
	list := []string{
		"it takes the nodes in an order of its own",
		"there is no pause and no check between two nodes, and one that fails is not tried again by itself",
		"how long a drain may take is the provider's to say",
		"it goes on when rotatord ends",
	}
	if r.Assisted {
		list[2] = "the provider may take a node that the core has not emptied, and how long its drain may take is the provider's to say"
		if b.spec.Drain.SingleReplica.way() != drain.ByEviction {
			list = append(list, "drain.singleReplica holds for the nodes that the core empties: of one that the provider takes first, it evicts workloads of one replica, and waits for budgets that allow nothing")
		}
	}
	if staging != nil { // drivers say which labels are lost for the release that a group has
		list = append(list, "which labels nodes of another release lack is known once it is staged: pods that select one of these, such as that of the image, are found then")
	}
	return list
}

// ignored names the settings that have no effect on a provider's roll. Those
// whose default is in force are left out.
func (b *builder) ignored(r *Roll) []string {
	st, dr := b.spec.Strategy, b.spec.Drain
	var names []string
	add := func(name string, set bool) {
		if set {
			names = append(names, name)
		}
	}
	amount := func(s string) bool { return strings.Trim(s, "0% ") != "" }
	add("strategy.mode", st.Mode == ModeBatch)
	add("strategy.maxSurge", st.MaxSurge != "")
	add("strategy.maxUnavailable", st.MaxUnavailable != "" && r.MaxUnavailable == 0)
	add("strategy.maxInFlight", amount(st.MaxInFlight) && !r.Assisted)
	add("strategy.maxUnavailablePerZone", amount(st.MaxUnavailablePerZone) && !r.Assisted)
	add("strategy.zones", st.Zones != ZonesAny && st.Zones != "" && !r.Assisted)
	add("strategy.order", st.Order != OrderOldest && st.Order != "" && !r.Assisted)
	add("strategy.orderNodes", len(st.OrderNodes) > 0 && !r.Assisted)
	add("strategy.waits", st.Waits != Waits{})
	if r.Assisted {
		return names // drain rules hold for the nodes that the core empties
	}
	add("drain.retries", dr.Retries > 0)
	add("drain.onDeadline", dr.OnDeadline != DeadlineFail && dr.OnDeadline != "")
	add("drain.gracePeriod", dr.GracePeriod > 0)
	add("drain.singleReplica", dr.SingleReplica != SingleEvict && dr.SingleReplica != "")
	add("drain.rules", len(dr.Rules) > 0)
	add("drain.doNotDisrupt", dr.DoNotDisrupt == drain.DoNotDisruptWait)
	add("drain.daemonSets", dr.DaemonSets == drain.DaemonSetsLast)
	return names
}
