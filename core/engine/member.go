package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

type memberPhase int

const (
	memberWaiting     memberPhase = iota // old: its turn has not come
	memberCordoning                      // old, or a new one that is given back
	memberDraining                       //
	memberTerminating                    // the provider was told to end it
	memberGone                           //
	memberQuarantined                    // old: could not be replaced, stays
	memberDrainedOnly                    // drained, and to be left so
	memberBooting                        // new: not Ready yet
	memberReady                          // new: Ready and initialized
	memberBad                            // new: never joined, never Ready, or outdated
)

// memberPhases is how many there are.
const memberPhases = int(memberBad) + 1

// member is one instance of a group.
type member struct {
	g       *group
	place   int      // in the order of the group's members
	counted standing // what the group's census holds of it
	zone    *zoneCensus
	// loads are its pods under budgets as of the versions, and as what they count.
	loads                       []load
	settle                      time.Duration // how long the slowest of its pods took to start
	weighedAs                   turn
	bid                         bid // of the last pick
	podsVersion, budgetsVersion uint64
	inst                        model.Instance
	node                        string    // its node's name; empty: not joined
	at                          *nodePods // that node's pods
	// n is the node as it is, nil where there is none; join keeps it current.
	n *model.Node
	// seenStep is the Step of the last snapshot that had it, joinedAs the version of
	// its node's pods when it was last joined, plus one.
	seenStep int
	joinedAs uint64
	old      bool // the plan replaces it
	ours     bool // it came up during the rotation
	rank     int  // in the plan: lower ones go first
	phase    memberPhase

	// shielded: new, and the cluster autoscaler was asked to leave it alone.
	shielded bool
	// quiesced: it was taken out of its load balancers, or may have been, and is to
	// be put back where it stays.
	quiesced bool
	leaving  bool // given back: drained, then terminated with shrink
	drain    drainState
	verify   verification

	firstSeen time.Time
	booted    bool      // new: it has been Ready
	startedAt time.Time // of cordon, for durations
	endedAt   time.Time // when we had it ended
	closedAt  time.Time // since when its node is seen to be cordoned; zero: it is not
	taken     bool      // the provider seems to drain it, where both do
	ahead     bool      // old: we cordoned it up front, whatever the node shows as yet
	fenceSeen bool      // old, and waits: it has shown our cordon up front
	ending    bool      // the provider has accepted to end it
	wasBad    bool
	flapped   bool // a replacement that was Ready and is not any more
	retryable bool // quarantined for a reason that may pass
	retried   bool
	trouble   string
}

// label names the member for a person.
func (m *member) label() string {
	if m.node != "" {
		return fmt.Sprintf("node %s (%s)", m.node, m.inst.ID)
	}
	return "instance " + m.inst.ID
}

// memberOn finds the member whose node it is; nil: none.
func (e *Engine) memberOn(node string) *member {
	if n := e.w.nodes[node]; n != nil && n.ProviderID != "" {
		if m := e.byProvider[n.ProviderID]; m != nil {
			return m
		}
	}
	return e.byInst[node] // where a drain has no driver, the node stands for its instance
}

// takeSnapshot learns what the provider has.
func (e *Engine) takeSnapshot(s *Snapshot) {
	first := !e.started
	e.obs.last, e.obs.shownAt, e.obs.answeredStep = e.now, e.now, e.obs.askedStep
	e.homes = homes{} // the labels that are lost may be others
	e.w.groups = make(map[string]model.NodeGroup, len(s.Groups))
	for _, g := range s.Groups {
		e.w.groups[g.ID] = g
	}
	byGroup := make(map[string][]*model.Instance)
	for i := range s.Instances {
		in := &s.Instances[i]
		byGroup[in.GroupID] = append(byGroup[in.GroupID], in)
	}
	for _, g := range e.groups {
		if g.phase == groupFinished || e.cfg.DrainOnly && !first {
			continue
		}
		pg, ok := e.w.groups[g.ID]
		if !ok {
			e.groupGone(g)
			continue
		}
		g.LostLabels = pg.LostLabels // a release that was staged since the plan has others
		e.takeSize(g, pg, first)
		e.takeInstances(g, byGroup[g.ID], first)
	}
}

// groupGone ends a group that somebody deleted: nothing of it can be put back.
func (e *Engine) groupGone(g *group) {
	e.halt(g, StatusStopped, "group-gone", fmt.Sprintf("group %s no longer exists at the provider: somebody deleted it", g.Name))
	for _, m := range g.members {
		m.leaving = false
		m.become(memberGone)
	}
	g.phase, g.surge, g.prepared = groupFinished, 0, false
}

// takeSize sees what others did to the group's capacity.
func (e *Engine) takeSize(g *group, pg model.NodeGroup, first bool) {
	if first {
		g.base, g.surge = pg.Desired-pg.Surge, pg.Surge
		return
	}
	if g.Traits.Refill == model.RefillScheduler {
		// It keeps no size: a provisioner launches what pending pods need, and no more.
		g.base, g.surge = pg.Desired-pg.Surge, pg.Surge
		return
	}
	// A change of our own may be half visible: while it is on its way, and in an
	// answer that was asked for before it ended.
	if g.resizedStep > e.obs.askedStep || slices.ContainsFunc(e.ops, func(o *op) bool { return o.group == g && o.capacity() }) {
		return
	}
	// The record at the provider counts: where somebody else ended the instance
	// that we were about to, its capacity is still there to be given back.
	g.surge, g.asked = pg.Surge, 0
	if base := pg.Desired - pg.Surge; g.Roll != nil {
		g.base = base // the provider adds and takes instances as it rolls
	} else if base != g.base {
		e.record(event.Event{Kind: event.GroupResized, Group: g.Name,
			Message: fmt.Sprintf("somebody else changed the size of group %s from %d to %d; the rotation goes on with it", g.Name, g.base, base),
			Data:    map[string]string{"from": fmt.Sprint(g.base), "to": fmt.Sprint(base)}})
		g.base = base
	}
}

func (e *Engine) takeInstances(g *group, now []*model.Instance, first bool) {
	for _, in := range now {
		m := e.byInst[in.ID]
		if m == nil {
			e.adopt(g, *in, first).seenStep = e.step
			continue
		}
		if m.g == g {
			m.seenStep = e.step
		}
		wasOutdated := m.inst.Outdated()
		m.inst = *in
		m.recount()
		e.byProvider[in.ProviderID] = m
		switch {
		case in.State == model.InstanceTerminating && m.phase != memberTerminating && m.phase != memberGone:
			// Somebody else ends it: an autoscaler, a health check, a person.
			if !e.takeRolled(g, m) {
				e.endedByOthers(g, m)
			}
		case g.Roll != nil:
		case m.ours && in.Outdated() && !wasOutdated && (m.phase == memberBooting || m.phase == memberReady):
			e.outdatedReplacement(g, m)
		}
	}
	if first {
		g.rearrange(func(a, b *member) int {
			return cmp.Or(cmp.Compare(g.order(a), g.order(b)), cmp.Compare(a.inst.ID, b.inst.ID))
		})
	}
	for _, m := range g.members {
		if m.seenStep != e.step && m.phase != memberGone {
			e.gone(g, m)
		}
	}
}

// order is a member's place in the plan; -1: the plan leaves it.
func (g *group) order(m *member) int {
	if i, ok := g.planned[m.inst.ID]; ok {
		return i
	}
	return -1
}

// adopt makes a member of an instance that was not known.
func (e *Engine) adopt(g *group, in model.Instance, first bool) *member {
	// What an earlier run of the rotation launched is ours as well.
	_, joined := e.w.nodeOf[in.ProviderID]
	m := &member{inst: in, ours: !first || !joined && !in.Outdated() && !e.cfg.DrainOnly, firstSeen: e.now}
	if i, ok := g.planned[in.ID]; ok {
		m.old, m.node, m.rank = true, g.Nodes[i].Node, g.Nodes[i].Rank
	}
	if e.cfg.DrainOnly {
		m.node = in.ID // the node stands for its instance
	}
	switch {
	case in.State == model.InstanceTerminating:
		m.phase = memberTerminating
	case m.old:
		m.phase = memberWaiting
	default:
		m.phase = memberBooting
	}
	if first && m.phase == memberBooting {
		m.firstSeen = e.bootsSince(m)
	}
	e.byInst[in.ID] = m
	e.byProvider[in.ProviderID] = m
	g.enlist(m)
	if m.old && !first {
		g.untainted = append(g.untainted, m)
	}
	e.bind(m, m.node)
	if m.ours && m.phase == memberBooting && !first {
		g.lastProgress = e.now
		g.vacant = g.vacant[min(len(g.vacant), 1):]
		e.record(event.Event{Kind: event.ReplacementLaunched, Group: g.Name, Instance: in.ID,
			Message: fmt.Sprintf("instance %s launched in %s", in.ID, in.Zone), Data: map[string]string{"zone": in.Zone}})
		if in.Outdated() && g.Roll == nil {
			e.outdatedReplacement(g, m)
		}
	}
	return m
}

// outdatedReplacement halts: every further replacement would be outdated too.
func (e *Engine) outdatedReplacement(g *group, m *member) {
	m.wasBad = true
	m.become(memberBad)
	m.trouble = fmt.Sprintf("replacement %s of group %s is itself outdated: %s", m.inst.ID, g.Name, m.inst.Reasons[0].Message)
	e.record(event.Event{Kind: event.ReplacementBad, Group: g.Name, Instance: m.inst.ID, Code: "outdated", Message: m.trouble})
	e.halt(g, StatusStopped, "outdated-replacement", m.trouble+"; correct the group's template first")
}

// endedByOthers takes note of an instance that somebody else terminates.
func (e *Engine) endedByOthers(g *group, m *member) {
	e.dropDrain(m)
	m.become(memberTerminating)
	m.trouble = fmt.Sprintf("%s is being terminated by somebody else", m.label())
}

// gone takes note that an instance no longer exists.
func (e *Engine) gone(g *group, m *member) {
	e.dropDrain(m)
	m.quiesced = false
	delete(e.marked, m.node)
	if m.old {
		ev := event.Event{Kind: event.NodeReplaced, Group: g.Name, Instance: m.inst.ID, Node: m.node}
		switch {
		case g.Roll != nil && g.roll.op != "":
			ev.Code = "rolled"
		case !m.startedAt.IsZero():
			ev.Data = map[string]string{"seconds": seconds(e.now.Sub(m.startedAt))}
		default:
			ev.Code, ev.Message = "by-others", fmt.Sprintf("%s was ended by somebody else", m.label())
		}
		e.record(ev)
	}
	m.become(memberGone)
	e.unbind(m)
	g.lastProgress = e.now
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }

// join binds nodes to members, and sees which are Ready. It looks at those whose
// node has changed, and of those that boot at those on whose node a pod has: they
// wait for pods as well. After a look at the provider it goes through all of them.
func (e *Engine) join(in *Input) {
	e.strangers(in.Nodes)
	var look []*member
	for i := range in.Nodes {
		look = append(look, e.byNode[in.Nodes[i].Name]...)
		if m := e.byProvider[in.Nodes[i].ProviderID]; m != nil {
			look = append(look, m)
		}
	}
	for _, name := range in.NodesGone {
		look = append(look, e.byNode[name]...)
	}
	slices.SortFunc(look, func(a, b *member) int { return cmp.Compare(a.place, b.place) })
	for _, g := range e.groups {
		switch {
		case g.phase == groupFinished:
		case in.Snapshot != nil:
			for _, m := range g.members {
				if m.phase != memberGone {
					e.joinMember(g, m)
				}
			}
		default:
			e.joinSome(g, look)
		}
	}
}

// joinSome goes through the members that boot and whose pods have changed, and
// those of look that are the group's, in the order of the group's members.
func (e *Engine) joinSome(g *group, look []*member) {
	var due []*member
	for _, m := range look {
		if m.g == g {
			due = append(due, m)
		}
	}
	changed := len(due)
	if g.census.in[memberBooting]+g.census.in[memberBad] > 0 {
		for _, m := range g.census.busy {
			if (m.phase == memberBooting || m.phase == memberBad) && m.joinedAs != m.at.version+1 {
				due = append(due, m)
			}
		}
	}
	if changed > 0 && changed < len(due) {
		slices.SortFunc(due, func(a, b *member) int { return cmp.Compare(a.place, b.place) })
	}
	for _, m := range slices.Compact(due) {
		if m.phase != memberGone {
			e.joinMember(g, m)
		}
	}
}

// bind takes note of which node is the member's.
func (e *Engine) bind(m *member, node string) {
	if m.node != "" {
		e.unbind(m)
	}
	m.node, m.at = node, e.w.podsAt(node)
	if node != "" {
		e.byNode[node] = append(e.byNode[node], m)
	}
}

// unbind forgets it: the node is of no interest to the member any more.
func (e *Engine) unbind(m *member) {
	of := slices.DeleteFunc(e.byNode[m.node], func(o *member) bool { return o == m })
	if e.byNode[m.node] = of; len(of) == 0 {
		delete(e.byNode, m.node)
	}
}

func (e *Engine) joinMember(g *group, m *member) {
	name, joined := e.nodeFor(m.inst.ProviderID)
	if joined && name != m.node {
		e.bind(m, name)
	}
	m.n = e.w.nodes[m.node]
	if m.n == nil || !m.n.Unschedulable {
		m.closedAt = time.Time{}
	} else if m.closedAt.IsZero() {
		m.closedAt = e.now
	}
	m.recount()
	if e.started { // before, not all that it leads to is done
		m.joinedAs = m.at.version + 1
	}
	if joined {
		e.shieldNew(g, m)
	}
	switch m.phase {
	case memberTerminating:
		// The cloud controller removes the node once the instance is gone.
		if m.node != "" && !joined && !g.Traits.KeepsNodeName {
			e.gone(g, m)
		}
	case memberBooting, memberBad:
		// What was there before counts as it is: the plan may leave outdated nodes.
		up := g.nodeless() || m.n != nil && m.n.Ready // asked in every Step: no words about it
		if !up || m.ours && m.inst.Outdated() || !e.initialized(g, m).OK {
			return
		}
		m.wasBad, m.flapped = false, false
		m.become(memberReady)
		g.lastProgress = e.now
		if m.ours && !m.booted { // one that comes back is no replacement more
			m.booted = true
			if g.guarded() {
				e.cp.cameUp = e.now
			}
			g.longestBoot = max(g.longestBoot, e.now.Sub(m.launched()))
			g.slowestBoot = max(g.slowestBoot, e.now.Sub(m.firstSeen))
			e.record(event.Event{Kind: event.ReplacementReady, Group: g.Name, Instance: m.inst.ID, Node: m.node,
				Message: m.readyText(),
				Data:    map[string]string{"boot-seconds": seconds(e.now.Sub(m.launched()))}})
		}
	case memberReady:
		// A node that stops being Ready no longer counts, and has as long as a new one.
		if n := e.w.nodes[m.node]; !g.nodeless() && (n == nil || !n.Ready) || g.nodeless() && !m.serving() {
			m.firstSeen, m.flapped = e.now, m.ours
			m.become(memberBooting)
		}
	case memberCordoning, memberDraining:
		e.watchCordon(g, m)
	case memberWaiting:
		e.watchFence(g, m)
	case memberGone, memberQuarantined, memberDrainedOnly:
	}
}

// watchCordon sees that a person takes a node back that is being drained: it is
// left alone then.
func (e *Engine) watchCordon(g *group, m *member) {
	n := e.w.nodes[m.node]
	switch {
	case n == nil:
	case n.Unschedulable && !cordonedAhead(n):
		m.drain.cordonSeen = true
	case m.drain.cordonSeen:
		// A cordon that is still on its way would undo what the person did, and is
		// taken off again.
		e.dropCordon(m)
		m.drain.cordonedByUs = e.patching[m.node] > 0
		e.quarantine(g, m, "uncordoned", fmt.Sprintf("somebody uncordoned %s while it was drained: it is left alone", m.label()))
	}
}

// dropCordon calls off a cordon that waits to be tried again.
func (e *Engine) dropCordon(m *member) {
	e.ops = slices.DeleteFunc(e.ops, func(o *op) bool {
		if o.purpose != forCordon || o.member != m || o.inFlight {
			return false
		}
		e.forget(o)
		if o.attempts > 0 {
			ev := o.event(event.OpFailed)
			ev.Code, ev.Message = "superseded", fmt.Sprintf("somebody uncordoned node %s meanwhile", o.Node)
			e.record(ev)
		}
		return true
	})
}

func (e *Engine) initialized(g *group, m *member) gate.Verdict {
	if g.nodeless() {
		return gate.Verdict{OK: m.serving(), Evidence: fmt.Sprintf("instance %s is %s", m.inst.ID, m.inst.State)}
	}
	n := e.w.nodes[m.node]
	if n == nil {
		return gate.Verdict{Evidence: fmt.Sprintf("instance %s has not joined", m.inst.ID)}
	}
	v := gate.NodeReady(n, m.at.list, g.daemonSets, e.cfg.Spec.Gates.NodeReady.StartupTaints)
	if v.OK && len(g.components) > 0 {
		v = gate.StaticPods(n, m.at.list, g.components)
	}
	return v
}

// launched is when the instance came to be, as well as is known.
func (m *member) launched() time.Time {
	if m.inst.LaunchedAt.IsZero() {
		return m.firstSeen
	}
	return m.inst.LaunchedAt
}

// leastSeen is what an instance gets at the least that was there before the run: a
// node may be about to join, and the provider's clock may be another.
const leastSeen = 2 * time.Minute

// bootsSince is since when an instance has been booting that was there before the
// run: it boots whether one looks on or not, so that each run does not give it the
// whole time again.
func (e *Engine) bootsSince(m *member) time.Time {
	earliest := e.now.Add(min(leastSeen-e.cfg.Spec.Gates.NodeReady.Timeout, 0))
	if since := m.launched(); since.After(earliest) {
		return e.past(since)
	}
	return earliest
}

// checkReplacements gives up new instances that did not become Ready in time.
func (e *Engine) checkReplacements(g *group) {
	timeout := e.cfg.Spec.Gates.NodeReady.Timeout
	for _, m := range g.census.busy {
		if !m.ours || m.phase != memberBooting || !e.after(m.firstSeen, timeout) {
			continue
		}
		v := e.initialized(g, m)
		m.wasBad = true
		m.become(memberBad)
		code := "never-ready"
		if e.w.nodes[m.node] == nil {
			code = "never-joined"
		}
		m.trouble = fmt.Sprintf("%s of group %s was not Ready within %s: %s", m.label(), g.Name, timeout, v.Evidence)
		if m.flapped {
			m.trouble = fmt.Sprintf("%s of group %s was Ready, and has not been for %s: %s", m.label(), g.Name, timeout, v.Evidence)
		}
		e.record(event.Event{Kind: event.ReplacementBad, Group: g.Name, Instance: m.inst.ID, Node: m.node, Code: code, Message: m.trouble})
		if g.guarded() {
			// Every further one would cost etcd a member.
			e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Node: m.node, Code: "control-plane", Message: m.trouble})
			e.halt(g, StatusGateFailed, "control-plane", m.trouble)
			return
		}
		if m.flapped {
			// It was Ready and is no good: the next ones may be the same.
			e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Node: m.node, Code: "node-ready", Message: m.trouble})
			e.halt(g, StatusGateFailed, "replacement-failed", m.trouble)
			return
		}
	}
}
