package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// Groups that their provider rolls (plan.Group.Roll): one call begins it, the
// looks at the provider show how it goes, and the core judges the end. A roll
// cannot be stopped, unless the traits say so: a rotation that ends before it
// leaves it, and the group as it is held, to a later run, which attaches.

const (
	// rollShows is how long a roll that was accepted may not be shown: a provider's
	// lists are behind its answers by seconds.
	rollShows = 5 * time.Minute
	// rollSettles is how long instances may be shown as outdated after the provider
	// has said that its roll has succeeded.
	rollSettles = 2 * time.Minute
	// rollTold bounds how often how a roll goes is recorded: with the pause between
	// two looks it is known after 10 s.
	rollTold = 5 * time.Second
	// rollFresh is how old what is said to be waited for may be without a word about
	// its age.
	rollFresh = rollTold + observeRolling
	// rollTimeout is the code of a roll that has taken too long, and goes on.
	rollTimeout = "roll-timeout"
)

// rolling is the state of a group's roll by its provider.
type rolling struct {
	op       string    // our call; empty: it has not been made
	accepted bool      // the provider rolls, or was found to
	since    time.Time // when that was
	step     int       // answers that were asked for before this Step do not show it
	before   string    // the provider's id of a roll that had ended before
	id       string    // the provider's id of ours; empty: not seen yet
	seen     time.Time // when it was last shown
	size     int       // the group's own, when it began
	touched  []model.WorkloadKey

	text              string // how it goes, as was last told
	saidAt, changedAt time.Time

	over      bool      // it has ended, in whatever way
	overAt    time.Time //
	failed    string    // why the group was given up; empty: it was not
	healthyAt time.Time // when all gates passed; zero: not yet

	cancelling bool

	unseen int // where both drain: nodes that the provider may be draining, and we are not
}

// active tells whether the provider rolls the group for us, or may.
func (r *rolling) active() bool { return r.op != "" && !r.over }

// rolls tells whether any group is rolled by its provider just now.
func (e *Engine) rolls() bool {
	return slices.ContainsFunc(e.groups, func(g *group) bool { return g.Roll != nil && g.phase == groupActive && g.roll.op != "" })
}

// stepRoll is the life of a group that its provider rolls, between Prepare and
// Restore.
func (e *Engine) stepRoll(g *group) {
	r := &g.roll
	if r.op == "" && !e.beginRoll(g) {
		return
	}
	if g.Roll.Abandon {
		e.abandonRoll(g)
		return
	}
	e.endDrains(g)
	if e.stop == nil && !r.over {
		e.watchRoll(g)
	}
	switch {
	case e.stop != nil || g.phase != groupActive:
	case r.over:
		e.judgeRoll(g)
	case r.id != "" && g.Roll.Assisted:
		e.drainAhead(g)
	}
}

// beginRoll asks for the roll, or attaches to one that an earlier run of the
// rotation has begun. False: it must not begin yet.
func (e *Engine) beginRoll(g *group) bool {
	r, shown := &g.roll, e.w.groups[g.ID].Roll
	r.size, r.touched = g.base, e.ownersOn(g)
	asked := e.mem.rolls[g.Name]
	known := shown.Op != "" && shown.Op == asked.op
	if known || len(g.Nodes) == 0 && shown.Op != "" {
		r.op, r.accepted, r.since = shown.Op, true, e.now
		if known {
			r.since = e.past(asked.at)
		}
		return true
	}
	if len(g.Nodes) == 0 { // it has ended meanwhile
		g.phase = groupRestoring
		return false
	}
	if e.shut {
		if g.unreplaced() == 0 && shown.State != model.RollRunning { // others have ended its instances
			g.phase = groupRestoring
		}
		return false
	}
	if !e.validates(g) {
		return false
	}
	if shown.State != model.RollRunning {
		r.before = shown.ID
	}
	r.op = e.addOp(&op{purpose: forRoll, group: g, Effect: Effect{Verb: VerbRoll, MaxUnavailable: g.Roll.MaxUnavailable}}).ID
	return true
}

// rollAccepted: the provider rolls the group. Looks show how it goes.
func (e *Engine) rollAccepted(g *group) {
	g.roll.accepted, g.roll.since, g.roll.step = true, e.now, e.step
	g.lastProgress = e.now
	e.obs.ask()
}

// ownRoll finds the roll that we asked for, or attached to; false: the provider
// does not show it (yet).
func (e *Engine) ownRoll(g *group) (model.Roll, bool) {
	r, shown := &g.roll, e.w.groups[g.ID].Roll
	if shown.State == model.RollNone || !r.accepted || e.obs.answeredStep < r.step {
		return shown, false
	}
	return shown, shown.Op == r.op || shown.ID != r.before
}

// watchRoll takes note of how the roll goes.
func (e *Engine) watchRoll(g *group) {
	r := &g.roll
	if !r.accepted {
		return
	}
	shown, ok := e.ownRoll(g)
	if !ok {
		last := r.since
		if r.seen.After(last) {
			last = r.seen
		}
		switch {
		case e.obs.answeredStep < r.step:
		case len(e.outdatedIn(g)) == 0 && shown.State != model.RollRunning:
			e.rollOver(g, "nothing", "the provider has nothing left to roll: nothing of the group is outdated")
		case e.after(last, rollShows):
			e.rollFailed(g, "roll-not-shown", fmt.Sprintf("group %s: its provider has accepted the roll, and has not shown it for %s", g.Name, e.now.Sub(last).Truncate(time.Second)))
		}
		return
	}
	r.seen = e.now
	if r.id != shown.ID { // or, where ours was ended and another begun, that one
		r.id, r.changedAt = shown.ID, e.now
		code, text := "", fmt.Sprintf("the provider rolls the group (%s)", shown.ID)
		switch {
		case shown.Op == "":
			code, text = "foreign", text+", which somebody else has begun: it is waited for"
		case shown.Op != r.op:
			code, text = "earlier", text+", which an earlier rotation has begun: it is waited for"
		}
		e.record(event.Event{Kind: event.GroupRolling, Group: g.Name, Op: shown.Op, Code: code, Message: text, Data: map[string]string{"roll": shown.ID}})
	}
	switch shown.State {
	case model.RollRunning:
		e.tellRoll(g, shown)
		began := r.since
		if !shown.Since.IsZero() {
			began = shown.Since
		}
		timeout := e.cfg.Spec.Strategy.RollTimeout
		if timeout <= 0 {
			timeout = plan.DefaultRollTimeout
		}
		if e.after(began, timeout) {
			e.rollFailed(g, rollTimeout, fmt.Sprintf("group %s was not rolled within %s (%s): %s", g.Name, timeout, shown.ID, e.rollTrouble(g, shown)))
		}
	case model.RollSucceeded:
		e.rollOver(g, string(shown.State), fmt.Sprintf("the provider has rolled the group (%s)", shown.ID))
	case model.RollFailed, model.RollCancelled:
		e.rollFailed(g, "roll-"+string(shown.State), fmt.Sprintf("group %s: the provider's roll %s was not completed (%s): %s", g.Name, shown.ID, shown.State, e.rollTrouble(g, shown)))
	case model.RollNone:
	}
}

// rollText is what the provider says of a roll: its phase, then its findings.
func rollText(r model.Roll) string {
	var parts []string
	if r.Phase != "" {
		parts = append(parts, r.Phase)
	}
	for _, d := range r.Diagnostics {
		s := d.Summary
		if d.Detail != "" {
			s += ": " + d.Detail
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "the provider does not say more"
	}
	return strings.Join(parts, "; ")
}

// rollTrouble is what is known of a roll that failed: the provider's words, and
// which pods and budgets are in its way.
func (e *Engine) rollTrouble(g *group, shown model.Roll) string {
	text := rollText(shown)
	if held := e.heldUp(g, shown); held != "" {
		text += "; " + held
	}
	return text
}

// rollSays is how a roll in flight goes: the provider's words, and which pods and
// budgets are in its way. Empty: nothing is known but that it runs.
func (e *Engine) rollSays(g *group, shown model.Roll) string {
	var parts []string
	if shown.Phase != "" || len(shown.Diagnostics) > 0 {
		parts = append(parts, rollText(shown))
	}
	if held := e.heldUp(g, shown); held != "" {
		parts = append(parts, held)
	}
	return strings.Join(parts, "; ")
}

// tellRoll records how a roll goes when that has changed.
func (e *Engine) tellRoll(g *group, shown model.Roll) {
	r := &g.roll
	if !r.saidAt.IsZero() && !e.after(r.saidAt, rollTold) {
		return
	}
	r.saidAt = e.now
	text := e.rollSays(g, shown)
	if text == r.text {
		return
	}
	if r.text, r.changedAt = text, e.now; text != "" {
		e.record(event.Event{Kind: event.GroupRolling, Group: g.Name, Op: shown.Op, Code: "progress", Message: text, Data: map[string]string{"roll": shown.ID}})
	}
}

// rollOver takes note that the roll has ended as it should.
func (e *Engine) rollOver(g *group, state, text string) {
	r := &g.roll
	r.over, r.overAt = true, e.now
	g.lastProgress = e.now
	e.record(event.Event{Kind: event.GroupRolled, Group: g.Name, Code: state, Message: text, Data: map[string]string{"roll": r.id}})
	e.releaseAhead(g)
}

// rollFailed gives the group up, and applies the policy to the others.
func (e *Engine) rollFailed(g *group, code, msg string) {
	r := &g.roll
	r.failed = msg
	goesOn := code == rollTimeout
	if r.over, r.overAt = !goesOn, e.now; r.over && r.accepted {
		e.record(event.Event{Kind: event.GroupRolled, Group: g.Name, Code: code, Message: msg, Data: map[string]string{"roll": r.id}})
	}
	if e.stop != nil {
		return
	}
	switch e.cfg.Spec.Strategy.OnFailure {
	case plan.FailureContinue:
		e.record(event.Event{Kind: event.GroupHalted, Group: g.Name, Code: code, Message: msg})
		e.releaseAhead(g)
		g.phase = groupRestoring
		if goesOn { // and what was prepared for it stays so
			r.failed += "; it goes on by itself"
			g.phase = groupFinished
		}
	case plan.FailurePause, plan.FailureAbort, "":
		e.halt(g, StatusStopped, code, msg)
	}
}

// judgeRoll sees that a roll has done what it should: nothing is outdated, the
// new nodes are Ready and initialized, the workloads healthy.
func (e *Engine) judgeRoll(g *group) {
	r := &g.roll
	if left := e.outdatedIn(g); len(left) > 0 {
		if e.after(r.overAt, rollSettles) {
			e.rollFailed(g, "roll-incomplete", fmt.Sprintf("group %s: the provider says that it has rolled the group, and %d instance(s) are outdated, still or again: %s",
				g.Name, len(left), first(left)))
		}
		return
	}
	if g.census.old[memberTerminating] > 0 {
		return
	}
	e.checkReplacements(g)
	if e.stop != nil || !e.rolledNodesUp(g) || !e.rolledWorkloadsHealthy(g) {
		return
	}
	if r.healthyAt.IsZero() {
		r.healthyAt = e.now
	}
	if c := e.cfg.Spec.Strategy.Canary; c.Enabled && !e.after(r.healthyAt, c.Bake) {
		return
	}
	g.phase = groupRestoring
}

// rolledNodesUp tells whether all nodes of a group that was rolled are up. A
// node that was given up, or one that the provider owes, fails the gate.
func (e *Engine) rolledNodesUp(g *group) bool {
	bad := g.census.in[memberBad] > 0
	if !bad && e.arrived(g) {
		return true
	}
	since := g.lastProgress
	if !bad && !e.after(since, e.cfg.Spec.Gates.NodeReady.Timeout) {
		return false
	}
	why := fmt.Sprintf("group %s was rolled, and has %d of %d instances", g.Name, e.live(g), g.base)
	if late := e.notReady(g); late != "" {
		why += "; not Ready: " + late
	}
	for _, m := range g.members {
		if m.phase == memberBad {
			why = m.trouble
		}
	}
	e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Code: "node-ready", Message: why})
	e.halt(g, StatusGateFailed, "node-ready", why)
	return false
}

// rolledWorkloadsHealthy tells whether the workloads that had pods on the group's
// nodes, before or after, are as healthy as they were.
func (e *Engine) rolledWorkloadsHealthy(g *group) bool {
	r, timeout := &g.roll, e.cfg.Spec.Gates.Workloads.Timeout
	if !e.cfg.Spec.Gates.Workloads.Enabled {
		return true
	}
	touched := e.rolledWorkloads(g)
	if gate.Recovered(touched, e.healthy, e.workload) {
		return true
	}
	since := r.overAt
	if !r.healthyAt.IsZero() { // it was healthy, and is not any more: while it baked
		since = r.healthyAt
	}
	if !e.after(since, timeout+e.bake(r)) {
		return false
	}
	msg := fmt.Sprintf("after the roll of group %s, not healthy within %s: %s", g.Name, timeout, gate.Workloads(touched, e.healthy, e.workload).Evidence)
	e.record(event.Event{Kind: event.GateFailed, Group: g.Name, Code: "workloads", Message: msg})
	e.halt(g, StatusGateFailed, "workloads", msg)
	return false
}

// rolledWorkloads are those that had pods on the group's nodes, before or after its roll.
func (e *Engine) rolledWorkloads(g *group) []model.WorkloadKey {
	touched := e.ownersOn(g)
	for _, k := range g.roll.touched {
		if !slices.Contains(touched, k) {
			touched = append(touched, k)
		}
	}
	return touched
}

// bake is what is left out of the workloads' time while they bake.
func (e *Engine) bake(r *rolling) time.Duration {
	if r.healthyAt.IsZero() || !e.cfg.Spec.Strategy.Canary.Enabled {
		return 0
	}
	return e.cfg.Spec.Strategy.Canary.Bake
}

// ownersOn are the controllers of the pods on the group's nodes that a drain moves.
func (e *Engine) ownersOn(g *group) []model.WorkloadKey {
	var owners []model.WorkloadKey
	seen := make(map[model.WorkloadKey]bool)
	for _, m := range g.members {
		for _, p := range m.at.list {
			if p.Owner != (model.WorkloadKey{}) && !seen[p.Owner] && e.decidePod(m, p).Action != drain.Leave {
				seen[p.Owner] = true
				owners = append(owners, p.Owner)
			}
		}
	}
	return owners
}

// outdatedIn names the instances of a group that are to be replaced, but for
// those that end.
func (e *Engine) outdatedIn(g *group) []string {
	var left []string
	for _, m := range g.members {
		if m.phase != memberGone && m.phase != memberTerminating && m.inst.Outdated() {
			left = append(left, m.label()+" ("+m.inst.Reasons[0].Message+")")
		}
	}
	return left
}

// takeRolled takes note of an instance that the provider ends in its roll; false:
// it is none.
func (e *Engine) takeRolled(g *group, m *member) bool {
	if g.Roll == nil || g.roll.op == "" {
		return false
	}
	e.dropCordon(m)
	e.dropDrain(m)
	m.become(memberTerminating)
	return true
}

// waitsForRoll says what a group that is rolled waits for; progress: also how the
// roll goes, which GroupRolling says to the journal.
func (e *Engine) waitsForRoll(g *group, progress bool) string {
	r := &g.roll
	var parts []string
	switch {
	case r.op == "" && g.heldBack != "":
		return "the roll waits: " + g.heldBack
	case !r.accepted || r.over && g.phase != groupActive:
		return ""
	case !r.over && r.id == "":
		return "waiting for the provider to show its roll"
	case !r.over && progress:
		parts = append(parts, fmt.Sprintf("waiting for the provider's roll %s", r.id)+e.rollNow(g))
	}
	var empty []string
	for _, m := range g.census.busy {
		if m.phase == memberDrainedOnly {
			empty = append(empty, m.label())
		}
	}
	if len(empty) > 0 {
		parts = append(parts, "emptied, and not yet ended by the provider: "+first(empty))
	}
	if !r.over && g.heldBack != "" {
		parts = append(parts, "no other node is emptied ahead: "+g.heldBack)
	}
	if r.over {
		if left := e.outdatedIn(g); len(left) > 0 {
			parts = append(parts, "outdated still: "+first(left))
		}
		if missing := g.base - e.live(g); missing > 0 {
			parts = append(parts, "waiting for "+notLaunched(missing))
		}
		if e.cfg.Spec.Gates.Workloads.Enabled {
			if bad := gate.Workloads(e.rolledWorkloads(g), e.healthy, e.workload); !bad.OK {
				parts = append(parts, "waiting for workloads: "+bad.Evidence)
			}
		}
		if c := e.cfg.Spec.Strategy.Canary; !r.healthyAt.IsZero() && c.Enabled && c.Bake > 0 {
			parts = append(parts, fmt.Sprintf("waiting for the bake time of %s", c.Bake))
		}
	}
	return strings.Join(parts, "; ")
}

// rollNow is how a roll goes by the latest look at the provider, and the age of
// that where it is not from just now.
func (e *Engine) rollNow(g *group) string {
	r, text := &g.roll, g.roll.text
	shown, ok := e.ownRoll(g)
	if ok {
		text = e.rollSays(g, shown)
	}
	s := ""
	if text != "" {
		s = ": " + text
	}
	if still := e.now.Sub(r.changedAt).Truncate(time.Minute); text == r.text && still >= 10*time.Minute {
		s += fmt.Sprintf("; nothing new for %s", still)
	}
	switch age := e.now.Sub(e.obs.shownAt); {
	case !ok:
		s += fmt.Sprintf("; the provider has not shown it for %s", e.now.Sub(r.seen).Truncate(time.Second))
	case age > rollFresh:
		s += fmt.Sprintf("; as of %s ago, when the provider last answered", age.Truncate(time.Second))
	}
	return s
}

// leaveRoll tells whether a group may be put back as it was: its roll has ended,
// or was never begun. One that cannot be cancelled, or where time is short, is left
// to the provider.
func (e *Engine) leaveRoll(g *group) bool {
	r := &g.roll
	if !r.active() {
		return true
	}
	if slices.ContainsFunc(e.ops, func(o *op) bool { return o.group == g && o.purpose == forRoll }) {
		return false // its answer tells whether there is a roll
	}
	if !r.accepted {
		return true
	}
	if shown, ok := e.ownRoll(g); ok && shown.State != model.RollRunning {
		r.over, r.overAt = true, e.now
		e.record(event.Event{Kind: event.GroupRolled, Group: g.Name, Code: string(shown.State), Message: rollText(shown), Data: map[string]string{"roll": r.id}})
		return true
	}
	if e.stop.undo && !e.stop.signal && e.cancelRoll(g) {
		return false
	}
	e.rollGoesOn(g)
	return false
}

// rollGoesOn ends a group whose provider is not done with it.
func (e *Engine) rollGoesOn(g *group) {
	name := "the provider's roll"
	if g.roll.id != "" {
		name += " " + g.roll.id
	}
	g.trouble = fmt.Sprintf("%s of group %s goes on by itself: it cannot be stopped", name, g.Name)
	if g.Traits.RollCancellable {
		g.trouble = fmt.Sprintf("%s of group %s goes on by itself: rotatord abort cancels it", name, g.Name)
	}
	g.phase = groupFinished
}

// cancelRoll has the provider stop its roll, once; false: that cannot be, or was
// refused.
func (e *Engine) cancelRoll(g *group) bool {
	r := &g.roll
	if !g.Traits.RollCancellable || e.w.groups[g.ID].Roll.Op == "" {
		return false // somebody else's is not ours to cancel
	}
	if !r.cancelling {
		r.cancelling = true
		e.addOp(&op{purpose: forCancel, group: g, Effect: Effect{Verb: VerbCancel, Target: e.w.groups[g.ID].Roll.Op}})
	}
	return true
}

// abandonRoll ends a roll that nobody goes on with.
func (e *Engine) abandonRoll(g *group) {
	shown, ok := e.ownRoll(g)
	switch {
	case ok && shown.State != model.RollRunning:
		e.rollOver(g, string(shown.State), rollText(shown))
		g.phase = groupRestoring
	case !e.cancelRoll(g):
		g.roll.id = shown.ID
		e.rollGoesOn(g)
	}
}
