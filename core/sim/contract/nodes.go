package contract

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/sim"
)

// nodes are changed by goals, which keep what others wrote, under the UID of
// the life of the node that is meant.
func nodes(t *testing.T, w World) { w.In(t, func(t *testing.T) { nodesIn(t, w) }) }

func nodesIn(t *testing.T, w World) {
	yes, no := true, false
	ours := &model.Taint{Key: model.TaintOutdated, Value: "r1", Effect: "PreferNoSchedule"}
	again := &model.Taint{Key: model.TaintOutdated, Value: "r2", Effect: "PreferNoSchedule"}
	hard := &model.Taint{Key: model.TaintOutdated, Value: "r1", Effect: "NoSchedule"}
	mark, note := model.AnnotationRotation, model.AnnotationCordoned
	foreign := model.Taint{Key: "example.com/kept", Value: "x", Effect: "NoSchedule"}

	st := w.Set(t, sim.Scene{})
	node := st.Look(t).Nodes[0]
	patch := func(p engine.NodePatch) string { return code(t, st.Cluster().PatchNode(t.Context(), node.Name, p)) }
	state := func() string {
		n := st.Look(t).Nodes[0]
		var taints []string
		for _, x := range n.Taints {
			if strings.HasPrefix(x.Key, model.Prefix) || x.Key == foreign.Key {
				taints = append(taints, fmt.Sprintf("%s=%s:%s", x.Key[strings.Index(x.Key, "/")+1:], x.Value, x.Effect))
			}
		}
		slices.Sort(taints)
		return fmt.Sprintf("cordoned %t, taints %v, marks %q %q", n.Unschedulable, taints, n.Annotations[mark], n.Annotations[note])
	}
	mustBe := func(what, want string) {
		t.Helper()
		eventually(t, what, func() string {
			if got := state(); got != want {
				return got + "\nwant " + want
			}
			return ""
		})
	}
	st.Person(t, foreign)
	outdated := model.TaintOutdated[len(model.Prefix):]
	for _, tc := range []struct {
		name  string
		patch engine.NodePatch
		want  string // the answer
		after string // the node
	}{
		{"another life of the node", engine.NodePatch{UID: "00000000-0000-0000-0000-000000000000", Unschedulable: &yes}, "conflict",
			"cordoned false, taints [kept=x:NoSchedule], marks \"\" \"\""},
		{"taint and mark", engine.NodePatch{UID: node.UID, AddTaint: ours, SetAnnotations: map[string]string{mark: "r1"}}, "ok",
			"cordoned false, taints [kept=x:NoSchedule " + outdated + "=r1:PreferNoSchedule], marks \"r1\" \"\""},
		{"the same goal again", engine.NodePatch{UID: node.UID, AddTaint: ours, SetAnnotations: map[string]string{mark: "r1"}}, "ok",
			"cordoned false, taints [kept=x:NoSchedule " + outdated + "=r1:PreferNoSchedule], marks \"r1\" \"\""},
		{"a taint's value, which its key and effect name", engine.NodePatch{UID: node.UID, AddTaint: again}, "ok",
			"cordoned false, taints [kept=x:NoSchedule " + outdated + "=r2:PreferNoSchedule], marks \"r1\" \"\""},
		{"the same key with another effect is another taint", engine.NodePatch{UID: node.UID, AddTaint: hard}, "ok",
			"cordoned false, taints [kept=x:NoSchedule " + outdated + "=r1:NoSchedule " + outdated + "=r2:PreferNoSchedule], marks \"r1\" \"\""},
		{"cordon, without a UID", engine.NodePatch{Unschedulable: &yes, SetAnnotations: map[string]string{note: "true"}}, "ok",
			"cordoned true, taints [kept=x:NoSchedule " + outdated + "=r1:NoSchedule " + outdated + "=r2:PreferNoSchedule], marks \"r1\" \"true\""},
		{"all back", engine.NodePatch{UID: node.UID, RemoveTaint: model.TaintOutdated, Unschedulable: &no, DropAnnotations: []string{mark, note}}, "ok",
			"cordoned false, taints [kept=x:NoSchedule], marks \"\" \"\""},
		{"all back once more", engine.NodePatch{UID: node.UID, RemoveTaint: model.TaintOutdated, Unschedulable: &no, DropAnnotations: []string{mark, note}}, "ok",
			"cordoned false, taints [kept=x:NoSchedule], marks \"\" \"\""},
	} {
		if got := patch(tc.patch); got != tc.want {
			t.Fatalf("%s: answer %s, want %s", tc.name, got, tc.want)
		}
		mustBe(tc.name, tc.after)
	}
	if got := code(t, st.Cluster().PatchNode(t.Context(), "none", engine.NodePatch{Unschedulable: &yes})); got != "not-found" {
		t.Errorf("a node that does not exist: answer %s, want not-found", got)
	}
	// Several writers at the same moment: all goals are reached, whoever is first.
	goals := []engine.NodePatch{
		{UID: node.UID, AddTaint: ours}, {UID: node.UID, AddTaint: hard}, {UID: node.UID, Unschedulable: &yes}, {UID: node.UID, SetAnnotations: map[string]string{mark: "r9"}},
	}
	answers := make([]string, len(goals))
	var wg sync.WaitGroup
	for i, g := range goals {
		wg.Go(func() { answers[i] = patch(g) })
	}
	wg.Wait()
	if slices.ContainsFunc(answers, func(a string) bool { return a != "ok" }) {
		t.Errorf("several at once: answers %v, want ok", answers)
	}
	mustBe("several at once", "cordoned true, taints [kept=x:NoSchedule "+outdated+"=r1:NoSchedule "+outdated+"=r1:PreferNoSchedule], marks \"r9\" \"\"")
	if got := patch(engine.NodePatch{UID: node.UID, RemoveTaint: model.TaintOutdated, Unschedulable: &no, DropAnnotations: []string{mark}}); got != "ok" {
		t.Errorf("all back: %s", got)
	}
}
