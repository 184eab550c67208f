package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// usable tells whether a member carries its share: its node is Ready and it is
// not about to go.
func (m *member) usable() bool {
	n := m.n
	if m.g.nodeless() {
		return m.serving() && (m.phase == memberReady && !m.leaving || m.phase == memberWaiting || m.phase == memberQuarantined)
	}
	switch m.phase {
	case memberReady:
		return !m.leaving && !cordonLeft(n)
	case memberWaiting, memberQuarantined:
		return n != nil && n.Ready && !cordonLeft(n)
	case memberBad:
		// One that is outdated itself carries pods all the same.
		return !m.leaving && m.inst.Outdated() && m.carries()
	case memberCordoning, memberDraining, memberTerminating, memberGone, memberDrainedOnly, memberBooting:
	}
	return false
}

// carries tells whether pods are sent to the member's node: it is Ready, and has none
// of the startup taints.
func (m *member) carries() bool {
	return m.n != nil && gate.NodeReady(m.n, nil, nil, m.g.startupTaints).OK
}

// cordonLeft tells whether an earlier run cordoned the node: it has no room for
// pods, though it is Ready.
func cordonLeft(n *model.Node) bool {
	return n != nil && n.Unschedulable && n.Annotations[model.AnnotationCordoned] == model.CordonedToDrain
}

// live counts the instances that the group has, dying ones aside.
func (e *Engine) live(g *group) int {
	return len(g.members) - g.census.in[memberGone] - g.census.in[memberTerminating]
}

// admit starts the drain of old nodes while the budgets allow: never more at
// once than surge and unavailable, and never so that fewer than the group's
// own size less unavailable are usable. A slot is held until the node's pods
// are healthy elsewhere.
//
// It tells whether the group starves: nothing keeps the next node back but
// nodes that are missing or not Ready.
func (e *Engine) admit(g *group) (starved bool) {
	pool, busy, limit := e.slots(g)
	usable := g.census.usable
	for busy < limit && g.census.old[memberWaiting] > 0 {
		if g.heldBack = e.noGlobalRoom(); g.heldBack != "" {
			return false
		}
		if usable <= g.base-g.Unavailable && e.allCount(g, pool) {
			return busy == 0 // whichever it is, one too many would be missing
		}
		m := e.pick(g, pool)
		if m == nil {
			if g.heldBack = e.holdBack(g); g.heldBack != "" {
				return false
			}
		}
		if m == nil {
			// In batch mode the wave may wait for what never comes.
			return busy == 0 && (e.pick(g, g.members) == nil || !e.arrived(g))
		}
		left := usable
		if m.usable() {
			left--
		}
		if left < g.base-g.Unavailable {
			return busy == 0
		}
		if !e.validates(g) {
			return false
		}
		if why := e.noRoom(m); why != "" {
			g.heldBack = why
			return busy == 0
		}
		// Last: it uses up the API server's word, which is then asked for anew.
		if why, late := e.mayLose(m); why != "" {
			g.heldBack = why
			return late && busy == 0
		}
		usable = left
		busy++
		e.startDrain(g, m)
	}
	return false
}

// slots says how many nodes of a group may be on their way at once, how many are,
// and which come into question; a limit of zero: none may begin now.
func (e *Engine) slots(g *group) (pool []*member, busy, limit int) {
	if slices.ContainsFunc(g.census.busy, func(m *member) bool { return m.flapped && m.phase == memberBooting }) {
		return nil, 0, 0 // new nodes may be no good: nothing more goes until that is known
	}
	g.heldBack = ""
	if g.early || e.shut {
		return nil, 0, 0
	}
	limit = max(g.Surge, min(g.surge, len(g.Nodes))) + g.Unavailable
	if pause := e.cfg.Spec.Strategy.Waits.BetweenDrains; pause > 0 {
		limit = 1
		if !g.lastDrainEnd.IsZero() && !e.after(g.lastDrainEnd, pause) {
			return nil, 0, 0
		}
	}
	canary := e.canary(g)
	if canary {
		limit = 1
	}
	pool = e.pool(g, canary)
	for _, m := range g.census.busy {
		busy += bit(m.phase == memberCordoning || m.phase == memberDraining || m.verify.open ||
			canary && m.old && m.phase == memberTerminating)
	}
	if canary && (!g.canaryAt.IsZero() || busy == 0 && g.canaryStarted()) {
		return nil, 0, 0 // it bakes, or its end is being verified
	}
	return pool, busy, limit
}

// allCount tells whether there are old nodes that wait, and all of them usable.
func (e *Engine) allCount(g *group, pool []*member) bool {
	if len(pool) == len(g.members) {
		return g.census.light == 0 && g.census.old[memberWaiting] > 0
	}
	waits := false
	for _, m := range pool {
		if m.old && m.phase == memberWaiting {
			if waits = true; !m.usable() {
				return false
			}
		}
	}
	return waits
}

// canary tells whether the group still goes one node at a time: until the
// first is drained, its pods are healthy elsewhere, the provider ends it, and it
// has baked. How long the instance takes to be gone says nothing of the others.
func (e *Engine) canary(g *group) bool {
	c := e.cfg.Spec.Strategy.Canary
	if !c.Enabled || len(g.Nodes) < 2 || e.cfg.DrainOnly {
		return false
	}
	if g.canaryAt.IsZero() {
		done := g.census.in[memberGone]+g.census.in[memberTerminating] > 0 && slices.ContainsFunc(g.members, func(m *member) bool {
			return m.old && (m.phase == memberGone || m.phase == memberTerminating && m.ending) && !m.verify.open && !m.startedAt.IsZero()
		})
		if !done && !g.firstThrough {
			return true
		}
		g.canaryAt = e.now
		e.record(event.Event{Kind: event.CanaryPassed, Group: g.Name, Message: "the first node is drained, its pods are healthy elsewhere, and its instance ends"})
	}
	return !e.after(g.canaryAt, c.Bake)
}

// canaryStarted tells whether a first node is on its way.
func (g *group) canaryStarted() bool {
	return slices.ContainsFunc(g.census.busy, func(m *member) bool {
		return m.old && !m.startedAt.IsZero() && m.phase != memberQuarantined && m.phase != memberGone && m.phase != memberWaiting
	})
}

// pool is where the next node is picked from: all that wait, or in batch mode
// those of the current wave.
func (e *Engine) pool(g *group, canary bool) []*member {
	if e.cfg.Plan.Mode != plan.ModeBatch || canary {
		return g.members
	}
	// One whose zone's turn has passed meanwhile leaves its place to others.
	zones := e.zones()
	if !slices.ContainsFunc(g.wave, func(m *member) bool { return m.phase == memberWaiting && zones.allows(m.inst.Zone) }) {
		if !e.waveOver(g) {
			return nil
		}
		e.nextWave(g)
	}
	return g.wave
}

// waveOver tells whether the wave has ended in every respect: its nodes gone,
// their pods healthy, the replacements up, and the pause over.
func (e *Engine) waveOver(g *group) bool {
	for _, m := range g.census.busy {
		if m.verify.open || m.old && (m.phase == memberCordoning || m.phase == memberDraining || m.phase == memberTerminating) {
			g.waveEnded = time.Time{}
			return false
		}
	}
	if g.surging || !e.arrived(g) {
		g.waveEnded = time.Time{}
		return false
	}
	if g.waves == 0 && g.canaryAt.IsZero() && g.lastDrainEnd.IsZero() {
		return true // nothing went before
	}
	if g.waveEnded.IsZero() {
		g.waveEnded = e.now
	}
	return e.after(g.waveEnded, e.cfg.Spec.Strategy.Waits.BetweenBatches)
}

func (e *Engine) nextWave(g *group) {
	size := e.cfg.Spec.Strategy.BatchSize
	if size <= 0 {
		size = max(g.Surge, g.surge) + g.Unavailable
	}
	g.wave, g.waveEnded = nil, time.Time{}
	for len(g.wave) < size {
		m := e.pick(g, without(g.members, g.wave))
		if m == nil {
			break
		}
		g.wave = append(g.wave, m)
	}
	if len(g.wave) > 0 {
		g.waves++
		e.record(event.Event{Kind: event.Waiting, Group: g.Name, Code: "wave",
			Message: fmt.Sprintf("batch %d: %d node(s)", g.waves, len(g.wave))})
	}
}

func without(all, some []*member) []*member {
	return slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return slices.Contains(some, m) })
}

// surplus says how many instances each zone must lose with the surge, so that
// the zones end even. A provider that finds them uneven once the group has its
// settings back evens them out by itself, and drains nothing when it does.
//
// What the provider still owes is expected in the emptiest zones. Bad
// instances do not count: they go in any case.
func (e *Engine) surplus(g *group) map[string]int {
	if g.Traits.SurgeDetaches {
		return nil // what goes with the surge is not in the group's zones
	}
	zones := make([]zoneCensus, len(g.census.zones))
	total, bad := 0, g.census.in[memberBad]
	for i, z := range g.census.zones {
		zones[i] = *z
		total += z.live
	}
	if g.slowestBoot > 0 {
		for _, m := range g.census.busy {
			if e.suspect(g, m) {
				i := slices.IndexFunc(zones, func(z zoneCensus) bool { return z.zone == m.inst.Zone })
				zones[i].live--
				total--
				bad++
			}
		}
	}
	if len(zones) == 0 {
		return nil
	}
	current := g.currentIn()
	out := make(map[string]int, len(zones))
	for ; total < g.base+g.surge-bad; total++ {
		emptiest := 0
		for i := range zones {
			if zones[i].live < zones[emptiest].live {
				emptiest = i
			}
		}
		zones[emptiest].live++
	}
	for range g.surge - bad {
		fullest := 0
		for i := range zones {
			z, f := &zones[i], &zones[fullest]
			if cmp.Or(cmp.Compare(z.live, f.live), cmp.Compare(z.old, f.old), cmp.Compare(current[z.zone], current[f.zone])) > 0 {
				fullest = i
			}
		}
		z := &zones[fullest]
		z.live--
		z.old--
		current[z.zone]--
		out[z.zone]++
	}
	return out
}

// currentIn counts the instances by zone that are not outdated, in a group with
// which nobody goes on: the surge is among them, and had better go than what was
// there before.
func (g *group) currentIn() map[string]int {
	n := make(map[string]int)
	if len(g.Nodes) > 0 {
		return n
	}
	for _, m := range g.members {
		n[m.inst.Zone] += bit(m.phase == memberReady && !m.inst.Outdated())
	}
	return n
}

// suspect tells whether a replacement takes so much longer than the others did
// that it had better not be counted on: an old node that took the surge with it
// would leave the last one without a replacement. If it comes up after all, the
// group has one too many and gives one back.
func (e *Engine) suspect(g *group, m *member) bool {
	return m.ours && m.phase == memberBooting && g.slowestBoot > 0 && e.now.Sub(m.firstSeen) > 2*g.slowestBoot
}

// noGlobalRoom tells why no further node may begin, as far as all groups together are
// concerned; empty: one may.
func (e *Engine) noGlobalRoom() string {
	most := e.cfg.Plan.MaxInFlight
	if most <= 0 {
		return ""
	}
	var under []string
	for _, g := range e.groups {
		for _, m := range g.census.busy {
			if m.underWay() {
				under = append(under, m.label())
			}
		}
	}
	if len(under) < most {
		return ""
	}
	return fmt.Sprintf("strategy.maxInFlight allows %d at once over all groups, and %s is under way", most, first(under))
}

// shrinks tells whether the group should get smaller with this instance: when
// the old ones that are left in its zone, this one included, are no more than
// what the zone must lose with the surge. As long as others are left, some of
// it stays for them: without any room none could go, or their pods would find none.
func (e *Engine) shrinks(g *group, m *member) bool {
	if g.Traits.SurgeDetaches {
		return g.outside(m)
	}
	if m.leaving {
		return true
	}
	left, others, bad := g.census.zone(m.inst.Zone).waiting, g.census.old[memberWaiting], 0
	if m.old && m.phase == memberWaiting {
		others--
	}
	for _, o := range g.census.busy {
		switch {
		case o.phase == memberBad || e.suspect(g, o):
			bad++
		case o.old && (o.phase == memberCordoning || o.phase == memberDraining || o.triedAgain()):
			left += bit(o.inst.Zone == m.inst.Zone)
			others += bit(o != m)
		}
	}
	if others > 0 && g.surge-1-bad < 1 {
		return false
	}
	return g.surge > 0 && left <= e.surplus(g)[m.inst.Zone]
}

// checkStuck ends a group that can go no further: nothing is under way, and
// what is missing did not come within the time that a replacement has.
func (e *Engine) checkStuck(g *group) {
	in := &g.census.in
	if g.surging || in[memberCordoning]+in[memberDraining]+in[memberTerminating] > 0 || slices.ContainsFunc(g.census.busy, func(m *member) bool {
		return m.ours && m.phase == memberBooting || m.verify.open
	}) {
		return
	}
	bad := in[memberBad]
	live := e.live(g)
	if bad == 0 || live < g.base+g.surge {
		since := g.lastProgress
		if g.starvedSince.After(since) {
			since = g.starvedSince
		}
		if !e.after(since, e.cfg.Spec.Gates.NodeReady.Timeout) {
			return
		}
	}
	var why string
	switch {
	case bad > 0:
		for _, m := range g.members {
			if m.phase == memberBad {
				why = m.trouble
			}
		}
	case live < g.base+g.surge:
		why = fmt.Sprintf("group %s has %d of %d instances: the provider did not launch the rest", g.Name, live, g.base+g.surge)
	case g.heldBack != "":
		why = fmt.Sprintf("group %s cannot go on: %s", g.Name, g.heldBack)
	default:
		why = fmt.Sprintf("group %s: %s", g.Name, e.tooFew(g))
	}
	e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Code: "node-ready", Message: why})
	e.halt(g, StatusGateFailed, "node-ready", why)
}

// tooFew says that the nodes of a group are as few as they may be.
func (e *Engine) tooFew(g *group) string {
	s := fmt.Sprintf("%d nodes are Ready, and none of them may be drained before there are %d", g.census.usable, g.base-g.Unavailable+1)
	if bad := e.notReady(g); bad != "" {
		s += "; not Ready: " + bad
	}
	return s
}

func (e *Engine) notReady(g *group) string {
	var s []string
	for _, m := range g.members {
		if n := e.w.nodes[m.node]; m.phase != memberGone && (g.nodeless() && !m.serving() || !g.nodeless() && (n == nil || !n.Ready)) {
			s = append(s, m.label())
		}
	}
	return first(s)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// markOutdated taints the nodes that will go, so that displaced pods prefer
// the others. It is done up front for all groups.
func (e *Engine) markOutdated() {
	if e.cfg.DrainOnly {
		return
	}
	for _, g := range e.groups {
		if g.Roll == nil && len(g.untainted) > 0 {
			g.untainted = slices.DeleteFunc(g.untainted, func(m *member) bool { return e.taint(g, m) })
		}
	}
}

// taint marks one outdated node; false: it is to be tried in a later Step.
func (e *Engine) taint(g *group, m *member) bool {
	n := e.w.nodes[m.node]
	if m.phase != memberWaiting || n == nil {
		return m.phase == memberGone
	}
	e.marked[m.node] = true
	e.addOp(&op{purpose: forTaint, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: n.Name, Patch: &NodePatch{
		UID:            n.UID,
		AddTaint:       &model.Taint{Key: model.TaintOutdated, Effect: "PreferNoSchedule"},
		SetAnnotations: map[string]string{model.AnnotationRotation: e.cfg.Rotation},
		Shield:         e.shield(),
	}}})
	return true
}

// unmark takes our marks off the nodes that still carry them (only those that
// keep returns false for, when given), and tells whether any is left to do.
func (e *Engine) unmark(keep func(node string) bool) bool {
	var due []string
	left := false
	for name := range e.marked {
		switch {
		case e.w.nodes[name] == nil:
			delete(e.marked, name)
		case keep != nil && keep(name):
		case e.patching[name] > 0:
			left = true
		default:
			due = append(due, name)
		}
	}
	slices.Sort(due)
	for _, name := range due {
		n := e.w.nodes[name]
		p := &NodePatch{UID: n.UID, RemoveTaint: model.TaintOutdated, DropAnnotations: []string{model.AnnotationRotation}}
		e.takeBack(p, n)
		// A cordon that a person set stays: only ours carries the annotation. The two
		// go together or not at all: this patch may land late, on a node that a later
		// run has cordoned.
		if m := e.memberOn(name); n.Annotations[model.AnnotationCordoned] != "" || m != nil && (m.ahead || m.drain.cordonedByUs) {
			schedulable := false
			p.Unschedulable = &schedulable
			p.DropAnnotations = append(p.DropAnnotations, model.AnnotationCordoned)
		}
		e.addOp(&op{purpose: forUnmark, Effect: Effect{Verb: VerbPatchNode, Node: name, Patch: p}})
	}
	return left || len(due) > 0
}
