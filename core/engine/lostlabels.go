package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/fit"
	"github.com/rotatord/rotator/core/model"
)

// homesHold is how long an answer about where pods can be is taken for: it costs a
// look at all nodes, and what makes it another is mostly a person.
const homesHold = 5 * time.Second

// homes is the last answer about which pods new nodes have no place for.
type homes struct {
	*fit.Homes
	at time.Time // zero: never asked
}

// homeless says which labels keep a pod from all nodes that there will be, once
// the node that it is on has been replaced; none: it finds a place, as far as
// labels go. The plan is refused for such pods: these came later, or were there
// when a rotation went on. Evicted, they would stay Pending.
func (e *Engine) homeless(m *member, p *model.Pod) []model.LostLabel {
	if !m.old || e.cfg.DrainOnly || len(m.g.LostLabels) == 0 ||
		p.Mirror || p.Owner.Kind == "DaemonSet" || drain.Unmanaged(p) {
		return nil
	}
	if h := &e.homes; h.at.IsZero() || e.now.Sub(h.at) >= homesHold || !h.Knows(m.node) {
		*h = homes{e.newHomes(), e.now}
	}
	found := e.homes.Homeless(p)
	if found.Yes() {
		e.wake(e.homes.at.Add(homesHold))
	}
	return found.Labels
}

func (e *Engine) newHomes() *fit.Homes {
	return fit.NewHomes(slices.Collect(maps.Values(e.w.nodes)), func(n *model.Node) []model.LostLabel {
		// One that somebody else ends is no home either, nor is one that an earlier run had ended.
		if m := e.memberOn(n.Name); m != nil && (m.old || m.phase == memberTerminating || m.phase == memberGone) {
			return m.g.LostLabels
		}
		return nil
	})
}

// whyHomeless says for a person what keeps a pod on its node.
func (e *Engine) whyHomeless(m *member, p *model.Pod) string {
	var names []string
	for _, l := range e.homeless(m, p) {
		names = append(names, l.String())
	}
	return fmt.Sprintf("pod %s can be on no other node than those with the label %s, which the new nodes of group %s do not have: have it select a label that they carry too",
		p.PodKey, strings.Join(names, ", "), m.g.Name)
}
