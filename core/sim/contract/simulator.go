package contract

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
	"github.com/rotatord/rotator/core/sim"
)

// Simulator is the World of package sim. Its scenes live in a
// testing/synctest bubble.
type Simulator struct{}

var _ World = (*Simulator)(nil)

// In implements World.
func (*Simulator) In(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// Set implements World.
func (*Simulator) Set(t testing.TB, s sim.Scene) Stage {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l := sim.NewScene(s)
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	st := &simulated{Live: l, pods: map[string][]engine.PodRef{}}
	uid := map[model.PodKey]string{}
	for _, p := range l.Look().Pods {
		uid[p.PodKey] = p.UID
	}
	for _, a := range s.Apps {
		for i := range a.Pods {
			key := model.PodKey{Namespace: "default", Name: fmt.Sprintf("%s-%d", a.Name, i)}
			st.pods[a.Name] = append(st.pods[a.Name], engine.PodRef{PodKey: key, UID: uid[key]})
		}
	}
	return st
}

type simulated struct {
	*sim.Live
	pods map[string][]engine.PodRef
}

func (s *simulated) Cluster() runtime.Cluster            { return s.Live }
func (s *simulated) Look(testing.TB) model.Inventory     { return s.Live.Look() }
func (s *simulated) Pods(app string) []engine.PodRef     { return s.pods[app] }
func (s *simulated) Remake(_ testing.TB, p model.PodKey) { s.Live.Remake(p) }
func (s *simulated) Report(_ testing.TB, p model.PodKey, state sim.PodState) {
	s.Live.Report(p, state)
}

func (s *simulated) Person(t testing.TB, add model.Taint) {
	t.Helper()
	n := s.Live.Look().Nodes[0]
	if err := s.PatchNode(t.Context(), n.Name, engine.NodePatch{UID: n.UID, AddTaint: &add}); err != nil {
		t.Fatal(err)
	}
}
