// Package contract states what rotator relies on of a cluster: how evictions
// are answered, what budgets allow, how nodes are changed and objects are kept.
// The same suite runs against the simulator, in virtual time, and against a real
// API server with its controllers, so that what the simulator promises is true.
package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
	"github.com/rotatord/rotator/core/sim"
)

// World makes scenes.
type World interface {
	// In runs a part of the suite, without subtests, where time passes as it does
	// in this world.
	In(t *testing.T, f func(t *testing.T))
	// Set makes a scene in a namespace of its own. It returns once all pods are as
	// the scene has them; budgets follow by themselves.
	Set(t testing.TB, s sim.Scene) Stage
}

// Stage is a scene that was set.
type Stage interface {
	// Cluster is the port through which rotator acts.
	Cluster() runtime.Cluster
	// Look is what is in the scene's namespace now, and its node.
	Look(t testing.TB) model.Inventory
	// Pods are those of an app as they were set, in the scene's order.
	Pods(app string) []engine.PodRef
	// Report lets the kubelet say something else of a pod.
	Report(t testing.TB, pod model.PodKey, s sim.PodState)
	// Remake ends a pod that no controller made at once, and makes another of the
	// same name.
	Remake(t testing.TB, pod model.PodKey)
	// Person has somebody else change the scene's node: a taint that is not ours.
	Person(t testing.TB, add model.Taint)
}

// Run checks all of a world but its budgets by chance, which Budgets does.
func Run(t *testing.T, w World) {
	t.Run("evictions", func(t *testing.T) { evictions(t, w) })
	t.Run("nodes", func(t *testing.T) { nodes(t, w) })
}

// Status is that of a budget, as the engine reads it.
type Status struct {
	Allowed, Healthy, Desired, Expected int
	// Charged are evictions that were allowed and that no pod shows yet.
	Charged int
	// New: the disruption controller could not say anything of it so far.
	New bool
}

func (s Status) String() string {
	if s.New {
		return fmt.Sprintf("not observed, %d allowed", s.Allowed)
	}
	text := fmt.Sprintf("%d allowed, %d healthy of %d needed, %d expected", s.Allowed, s.Healthy, s.Desired, s.Expected)
	if s.Charged > 0 {
		text += fmt.Sprintf(", %d charged", s.Charged)
	}
	return text
}

// statuses of all budgets of a scene, one a line, by name.
func statuses(t testing.TB, st Stage) string {
	t.Helper()
	var lines []string
	for _, b := range st.Look(t).Budgets {
		lines = append(lines, fmt.Sprintf("%s: %s", b.Name, Status{b.Allowed, b.CurrentHealthy, b.DesiredHealthy, b.Expected, len(b.Charged), !b.Observed}))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

const (
	// within bounds the wait for what controllers do by themselves.
	within = time.Minute
	// lookEvery is how often it is looked at meanwhile.
	lookEvery = 100 * time.Millisecond
)

// eventually waits until f finds nothing to complain about.
func eventually(t testing.TB, what string, f func() string) bool {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		complaint := f()
		if complaint == "" {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Errorf("%s, after %s: %s", what, within, complaint)
			return false
		}
	}
}

// code of an answer; "ok" without an error.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	var e *engine.Error
	if !errors.As(err, &e) {
		t.Errorf("%v is no *engine.Error", err)
		return "unknown"
	}
	if e.Message == "" {
		t.Errorf("error %s says nothing", e.Code)
	}
	return string(e.Code)
}

// find answers a pod as it is now.
func find(inv model.Inventory, key model.PodKey) *model.Pod {
	for i := range inv.Pods {
		if inv.Pods[i].PodKey == key {
			return &inv.Pods[i]
		}
	}
	return nil
}
