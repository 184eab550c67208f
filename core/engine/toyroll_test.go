package engine_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// roll begins a roll of a group by the toy provider, which does nothing by
// itself: scripts say what it does.
func (t *toy) roll(g *toyGroup, op string) {
	g.rolls++
	g.Roll = model.Roll{ID: fmt.Sprintf("roll-%d", g.rolls), Op: op, State: model.RollRunning, Phase: "adding nodes", Since: t.now}
}

// rollCommand is "roll GROUP WHAT...":
//
//	begins              somebody else has the provider roll the group
//	says TEXT           its phase
//	adds                it launches a node beyond the group's size
//	cordons i-1         it makes a node unschedulable
//	evicts web-1        it asks for an eviction
//	takes i-1           the pods of a node move to a new one, and it ends
//	takes-old i-1       the same, and the new one is outdated
//	succeeds, fails TEXT, cancelled TEXT
func (s *script) rollCommand(name, what string, args []string) {
	t, g := s.toy, s.toy.groups[name]
	text := strings.Join(args, " ")
	switch what {
	case "begins":
		t.roll(g, "")
	case "says":
		g.Roll.Phase = text
	case "undated":
		g.Roll.Since = time.Time{}
	case "adds":
		g.Desired++
		in := t.launch(g, false)
		fmt.Fprintf(&s.out, "%s (launched %s in %s)\n", t.now.Sub(epoch), in.ID, in.Zone)
		t.join(in.ID)
		t.fill()
	case "cordons":
		t.changeNode(nodeName(args[0]), func(n *model.Node) { n.Unschedulable = true })
	case "evicts":
		for _, p := range t.sortedPods() {
			if p.Name != args[0] {
				continue
			}
			if err := t.evict(engine.Effect{Verb: engine.VerbEvict, Pod: engine.PodRef{PodKey: p.PodKey, UID: p.UID}}); err != nil {
				fmt.Fprintf(&s.out, "%s (refused: %s)\n", t.now.Sub(epoch), err.Message)
			}
		}
	case "takes", "takes-old":
		in := t.launch(g, what == "takes-old")
		t.join(in.ID)
		fmt.Fprintf(&s.out, "%s (launched %s in %s)\n", t.now.Sub(epoch), in.ID, in.Zone)
		t.changeNode(nodeName(args[0]), func(n *model.Node) { n.Unschedulable = true })
		for _, p := range t.sortedPods() {
			if p.Node == nodeName(args[0]) {
				t.removePod(p)
			}
		}
		t.fill()
		if t.instances[args[0]].State = model.InstanceTerminating; !t.slowEnd {
			t.end(args[0])
		}
	case "succeeds", "fails", "cancelled":
		g.Roll.State, g.Roll.Ended = map[string]model.RollState{"succeeds": model.RollSucceeded, "fails": model.RollFailed, "cancelled": model.RollCancelled}[what], t.now
		if g.Roll.Phase = ""; text != "" {
			g.Roll.Diagnostics = []model.Diagnostic{{Severity: model.SeverityError, Code: "roll", Summary: text}}
		}
	default:
		s.t.Fatalf("roll: unknown word %q", what)
	}
}
