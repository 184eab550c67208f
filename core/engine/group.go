package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

type groupPhase int

const (
	groupWaiting    groupPhase = iota
	groupActive                // old instances go, new ones come
	groupGivingBack            // surge that no old instance will take with it is taken back
	groupRestoring
	groupFinished
)

// group is one node group's part of the rotation.
type group struct {
	plan.Group
	phase   groupPhase
	members []*member // the instances that there are, in the order of the plan, then of their launch
	places  int       // members that there ever were
	census  census
	planned map[string]int // instance id -> its place in Nodes
	base    int            // the group's own size, as the last snapshot shows it
	surge   int            // extra instances in force, as the provider confirmed

	roll rolling // where Group.Roll is set

	preparing, prepared bool
	surging             bool // a SetSurge is on its way
	restoring, restored bool

	canaryAt     time.Time     // when the canary was through; zero: not yet
	wave         []*member     // batch mode: the nodes of this wave
	waveEnded    time.Time     // when it was first seen to be over; zero: it is not
	starvedSince time.Time     // since when nothing but missing nodes holds it up; zero: it is not so
	heldSince    time.Time     // since when surge could not be given back for want of usable nodes
	slowestBoot  time.Duration // of a replacement, since it was first seen
	longestBoot  time.Duration // of a replacement, since its launch
	vacant       []time.Time   // when instances were ended whose replacements have not shown, oldest first
	resizedStep  int           // the Step in which the last change of its capacity was answered
	waves        int
	weighedStep  int // the last Step in which all members were weighed
	lastDrainEnd time.Time
	lastProgress time.Time
	daemonSets   []model.WorkloadKey // expected on every node of the group
	components   []string            // static pods that are
	invalidSince time.Time           // since when kops' validation fails; zero: it does not
	early        bool                // it has begun while others end: it drains nothing yet
	told         toldGroup           // what the journal was told that it waits for
	heldBack     string              // why its next node may not begin, where it is none of its own that does not let it
	// replaced and fallen are what is asked of members that were dropped: how many
	// old ones, and which replacements that had been no good. firstThrough: one of
	// the former was ended by us.
	replaced      int
	fallen        []*member
	firstThrough  bool
	untainted     []*member // old members that may need the taint
	startupTaints []string
	cloudOnly     bool
	fenced        bool // its old nodes that wait were cordoned up front
	giveBackStuck bool
	// asked is the surge of a call that was given up without an answer: it may be there,
	// until a look at the provider shows what is. 0: there was none.
	asked   int
	room    room
	trouble string // why something was left behind; for the summary
}

func newGroup(p plan.Group, spec plan.Spec) *group {
	g := &group{Group: p, startupTaints: spec.Gates.NodeReady.StartupTaints, cloudOnly: spec.CloudOnly, base: p.Size, prepared: p.HeldBy != "" || p.LeftSurge > 0 && p.Traits.Prepare, planned: make(map[string]int, len(p.Nodes))}
	for i, n := range p.Nodes {
		g.planned[n.Instance] = i
	}
	return g
}

func (e *Engine) stepGroups() {
	active, unfinished := 0, false
	for _, g := range e.groups {
		if g.phase != groupFinished {
			unfinished = true
			active += bit(g.takesPlace())
		}
	}
	if !unfinished {
		e.conclude()
		return
	}
	atOnce := max(e.cfg.Spec.Strategy.GroupsAtOnce, 1)
	begun := 0
	for i, g := range e.groups {
		if g.phase == groupWaiting {
			// A role waits for the roles before it: the control plane goes first.
			blocked := slices.ContainsFunc(e.groups[:i], func(o *group) bool { return o.Role != g.Role && o.phase != groupFinished })
			// After the window's end, only one that has nothing left but what is to be put back.
			if active >= atOnce || blocked || e.shut && g.unreplaced() > 0 {
				continue
			}
			if e.startGroup(g); g.phase == groupFinished {
				continue // it has nothing to do, and takes no place from the next
			}
			active++
		}
		g.early = begun >= atOnce
		took := g.takesPlace()
		e.stepGroup(g)
		if e.stop != nil {
			return
		}
		begun += bit(g.phase != groupFinished)
		if took && !g.takesPlace() {
			active--
		}
	}
	if e.phase == phaseRunning && !slices.ContainsFunc(e.groups, func(g *group) bool { return g.phase != groupFinished }) {
		e.conclude()
	}
}

// unreplaced is how many old instances have not been begun, or were set aside.
func (g *group) unreplaced() int {
	return g.census.old[memberWaiting] + g.census.old[memberQuarantined]
}

// takesPlace tells whether the group counts as one that is rotated. Once it only
// waits for instances to end and for pods to be healthy the next may boot its
// surge, and drains nothing before this one has finished. The control plane's
// groups have no surge to boot.
func (g *group) takesPlace() bool {
	old := &g.census.old
	if g.Roll != nil {
		return g.phase != groupWaiting && g.phase != groupFinished
	}
	switch g.phase {
	case groupWaiting, groupFinished:
		return false
	case groupActive:
		return g.guarded() || !g.begun() || g.surging ||
			old[memberWaiting]+old[memberCordoning]+old[memberDraining]+old[memberQuarantined] > 0
	case groupGivingBack, groupRestoring:
	}
	return g.guarded() || g.phase == groupGivingBack
}

func (e *Engine) startGroup(g *group) {
	g.phase, g.lastProgress = groupActive, e.now
	if len(g.Nodes) == 0 && (g.Roll == nil || !g.Roll.Ours) {
		// Nothing to replace; what an earlier run left behind is put back.
		g.phase = groupGivingBack
		if g.surge == 0 && !g.prepared {
			g.phase = groupFinished
			return
		}
	}
	g.daemonSets = e.expectedDaemonSets(g)
	e.learnControlPlane(g)
	g.canaryAt = e.mem.canary[g.Name]
	g.lastDrainEnd = e.past(e.mem.drained[g.Name])
	e.recordPlanned(g)
	text := fmt.Sprintf("%d of %d node(s) to replace, surge %d, unavailable %d", len(g.Nodes), g.base, g.Surge, g.Unavailable)
	if g.Roll != nil {
		text = fmt.Sprintf("%d of %d node(s) to be rolled by the provider", len(g.Nodes), g.base)
	}
	e.record(event.Event{Kind: event.GroupStarted, Group: g.Name, Message: text,
		Data: map[string]string{"base": fmt.Sprint(g.base), "surge": fmt.Sprint(g.Surge), "unavailable": fmt.Sprint(g.Unavailable),
			"nodes": fmt.Sprint(len(g.Nodes))}})
	if len(g.Nodes) > 0 && g.Traits.Prepare && !e.cfg.DrainOnly {
		g.preparing = true
		e.addOp(&op{Effect: Effect{Verb: VerbPrepare}, purpose: forPrepare, group: g})
	}
}

func (e *Engine) stepGroup(g *group) {
	switch g.phase {
	case groupActive:
		if g.preparing {
			return
		}
		if g.Roll != nil {
			if e.stepRoll(g); g.phase == groupRestoring {
				e.stepGroup(g)
			}
			return
		}
		e.wantSurge(g)
		e.checkReplacements(g)
		e.callOff(g)
		e.endDrains(g)
		if e.stop != nil {
			return
		}
		if e.through(g) && !e.retryLast(g) {
			g.phase, g.heldBack = groupGivingBack, ""
			e.stepGroup(g)
			return
		}
		if !e.admit(g) {
			g.starvedSince = time.Time{}
			return
		}
		if g.starvedSince.IsZero() {
			g.starvedSince = e.now
		}
		e.checkStuck(g)
	case groupGivingBack:
		e.checkReplacements(g)
		e.callOff(g)
		e.endDrains(g)
		if e.stop == nil && e.giveBack(g) {
			g.phase = groupRestoring
			e.stepGroup(g)
		}
	case groupRestoring:
		if !e.restore(g) || !e.verified(g) || e.stop != nil || !e.validates(g) {
			return
		}
		g.phase, g.told.text = groupFinished, "" // GroupFinished says to the journal that it waits for nothing
		replaced, quarantined := g.replaced+g.census.old[memberGone], g.census.in[memberQuarantined]+g.census.in[memberBad]
		e.record(event.Event{Kind: event.GroupFinished, Group: g.Name,
			Message: fmt.Sprintf("%d node(s) replaced", replaced),
			Data:    map[string]string{"replaced": fmt.Sprint(replaced), "quarantined": fmt.Sprint(quarantined)}})
	case groupWaiting, groupFinished:
	}
}

// wantSurge asks for the extra instances once. A surge that an earlier run
// left is in force already and is used.
func (e *Engine) wantSurge(g *group) {
	want := min(g.Surge, g.census.old[memberWaiting])
	if e.shut || g.surging || g.surge >= want || g.waves > 0 || g.begun() || e.cfg.DrainOnly {
		return
	}
	g.surging = true
	e.addOp(&op{Effect: Effect{Verb: VerbSetSurge, Surge: want, Going: g.going(want)}, purpose: forSurge, group: g})
}

// begun tells whether we have begun to replace an old instance: from then on
// the surge only shrinks. What others ended does not count.
func (g *group) begun() bool { return g.census.started > 0 }

// through tells whether no old instance is left to replace.
func (e *Engine) through(g *group) bool {
	old := &g.census.old
	return !g.surging && old[memberWaiting]+old[memberCordoning]+old[memberDraining]+old[memberTerminating] == 0 && e.arrived(g)
}

// arrived tells whether every replacement has come up or been given up.
func (e *Engine) arrived(g *group) bool {
	if e.cfg.DrainOnly {
		return true
	}
	return e.live(g) >= g.base+g.surge && (g.census.in[memberBooting] == 0 ||
		!slices.ContainsFunc(g.census.busy, func(m *member) bool { return m.ours && m.phase == memberBooting }))
}

// restore puts the group's own settings back.
func (e *Engine) restore(g *group) bool {
	if g.preparing {
		return false // it may take effect yet, and is put back then
	}
	if slices.ContainsFunc(e.ops, func(o *op) bool { return o.group == g && o.balances() }) {
		return false // one that takes an instance out of its load balancers must not come after
	}
	if !g.prepared || g.restored || e.cfg.DrainOnly {
		return true
	}
	if !g.restoring {
		g.restoring = true
		e.addOp(&op{Effect: Effect{Verb: VerbRestore}, purpose: forRestore, group: g})
	}
	return false
}

// expectedDaemonSets are those with a Ready pod on every Ready old node of the
// group: a new node must have them too.
func (e *Engine) expectedDaemonSets(g *group) []model.WorkloadKey {
	counts := make(map[model.WorkloadKey]int)
	nodes := 0
	for _, m := range g.members {
		n := e.w.nodes[m.node]
		if !m.old || n == nil || !n.Ready {
			continue
		}
		nodes++
		for _, p := range m.at.list {
			if p.Owner.Kind == "DaemonSet" && p.Ready {
				counts[p.Owner]++
			}
		}
	}
	var out []model.WorkloadKey
	for k, c := range counts {
		if c == nodes {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b model.WorkloadKey) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// conclude begins the end: all groups have ended by themselves.
func (e *Engine) conclude() {
	e.phase = phaseTidying
	e.findMarks()
	e.unquiesceAll()
	replaced, left, bad, failed := 0, 0, 0, 0
	var trouble, kept, goesOn []string
	for _, g := range e.groups {
		replaced += g.replaced
		if g.roll.failed != "" {
			failed++
			trouble = append(trouble, g.roll.failed)
		}
		for _, m := range g.fallen {
			bad++
			trouble = append(trouble, m.trouble)
		}
		for _, m := range g.members {
			switch {
			case g.roll.failed != "" && m.old && m.phase != memberGone:
				left++
			case m.phase == memberQuarantined:
				left++
				trouble = append(trouble, m.trouble)
			case m.wasBad:
				bad++
				trouble = append(trouble, m.trouble)
			case m.old:
				replaced++
			}
		}
		switch {
		case g.trouble == "":
		case g.Roll != nil: // it was abandoned, and could not be cancelled
			goesOn = append(goesOn, g.trouble)
		default:
			kept = append(kept, g.trouble)
			e.finish.Status = StatusFailed
		}
	}
	verb := "replaced"
	if e.cfg.DrainOnly {
		verb = "drained"
	}
	msg := fmt.Sprintf("%d node(s) %s", replaced, verb)
	if e.cfg.Plan.Nodes() == 0 {
		msg = "everything was put back"
	}
	switch {
	case e.finish.Status == StatusFailed:
	case len(goesOn) > 0:
		e.finish.Status = StatusStopped
		msg = "what can be put back now was; " + strings.Join(goesOn, "; ") + "; abort again once it has ended, to put back the settings of the rotation"
	case left+failed > 0:
		e.finish.Status = StatusStopped
		msg += fmt.Sprintf(", %d not: %s; run again to retry", left, first(trouble))
	case bad > 0:
		e.finish.Status = StatusGateFailed
		msg += fmt.Sprintf("; %d replacement(s) failed: %s", bad, first(trouble))
	default:
		e.finish.Status = StatusDone
	}
	if e.finish.Status == StatusFailed {
		msg += "; " + strings.Join(slices.Concat(kept, goesOn, trouble), "; ")
	}
	e.finish.Message = msg
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	if len(s) == 1 {
		return s[0]
	}
	return fmt.Sprintf("%s (and %d more)", s[0], len(s)-1)
}
