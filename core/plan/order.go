package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// aged is an old node with what orders it.
type aged struct {
	Node
	launched time.Time
	node     *model.Node // nil: it never joined
}

// rank gives the nodes of one group their ranks: those that strategy.orderNodes
// names in its order, then the others by strategy.order. Those that an earlier
// run could not replace go last.
func (b *builder) rank(old []aged) {
	named := make(map[string]int)
	for i, name := range b.spec.Strategy.OrderNodes {
		named[name] = i + 1
	}
	rule := b.ruleRanks(old)
	for i := range old {
		n := &old[i]
		first, ok := named[n.Instance]
		if !ok {
			first, ok = named[n.Node.Node]
		}
		switch {
		case b.past.Quarantined[n.Instance]:
			n.Rank = math.MaxInt32
		case ok:
			n.Rank = first
		case len(named) > 0:
			n.Rank = len(b.spec.Strategy.OrderNodes) + 1 + rule[i]
		default:
			n.Rank = rule[i]
		}
	}
}

// ruleRanks are the ranks by strategy.order alone. By age all have the same:
// the order of the list is enough, and leaves the choice to budgets.
func (b *builder) ruleRanks(old []aged) []int {
	ranks := make([]int, len(old))
	switch key, byLabel := strings.CutPrefix(string(b.spec.Strategy.Order), orderLabel); {
	case byLabel:
		var values []string
		for _, n := range old {
			if v, ok := n.label(key); ok {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		values = slices.Compact(values)
		for i, n := range old {
			ranks[i] = len(values)
			if v, ok := n.label(key); ok {
				ranks[i], _ = slices.BinarySearch(values, v)
			}
		}
	case b.spec.Strategy.Order == OrderEmptiest:
		for i, n := range old {
			ranks[i] = n.Pods
		}
	}
	return ranks
}

func (n aged) label(key string) (string, bool) {
	if n.node == nil {
		return "", false
	}
	v, ok := n.node.Labels[key]
	return v, ok
}

// overall resolves the budgets over all groups and for each zone, by the nodes
// of the groups that are rotated.
func (b *builder) overall() {
	st, total, zones := b.spec.Strategy, 0, make(map[string]int)
	for _, g := range b.plan.Groups {
		if len(g.Nodes) == 0 {
			continue
		}
		total += g.Size
		for _, in := range b.instances[g.ID] {
			if in.State != model.InstanceTerminating {
				zones[in.Zone]++
			}
		}
	}
	// A percentage that rounds down to none would keep the rotation from starting.
	resolve := func(amount, name string, size int) int {
		n, err := Resolve(amount, size, false)
		if err != nil {
			b.refuse(Finding{Code: "bad-budget", Object: name, Message: err.Error(), Fix: "correct " + name})
		}
		if n == 0 && strings.HasSuffix(strings.TrimSpace(amount), "%") && strings.TrimSpace(amount) != "0%" {
			n = 1
		}
		return n
	}
	b.plan.MaxInFlight = resolve(st.MaxInFlight, "strategy.maxInFlight", total)
	for zone, size := range zones {
		if n := resolve(st.MaxUnavailablePerZone, "strategy.maxUnavailablePerZone", size); n > 0 {
			if b.plan.ZoneRoom == nil {
				b.plan.ZoneRoom = make(map[string]int)
			}
			b.plan.ZoneRoom[zone] = n
		}
	}
	b.checkOrder()
}

// checkOrder warns of names in strategy.orderNodes that are none of the nodes to
// be replaced: in a rotation that goes on, some have been.
func (b *builder) checkOrder() {
	known := make(map[string]bool)
	for _, g := range b.plan.Groups {
		for _, n := range g.Nodes {
			known[n.Instance], known[n.Node] = true, true
		}
	}
	var unknown []string
	for _, name := range b.spec.Strategy.OrderNodes {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.SortFunc(unknown, cmp.Compare[string])
		b.warn(Finding{Code: "order-unknown", Object: unknown[0],
			Message: fmt.Sprintf("%d name(s) in strategy.orderNodes are none of the nodes to be replaced: %s", len(unknown), list(unknown)),
			Fix:     "nothing, if they have been replaced; else give names as kubectl get nodes prints them"})
	}
}
