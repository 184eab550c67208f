package contract

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/sim"
)

// Random is a small namespace by a seed: apps of all kinds with pods in all
// states, budgets over some of them, or over none.
func Random(seed uint64) sim.Scene {
	r := rand.New(rand.NewPCG(seed, 0))
	var s sim.Scene
	for i := range 1 + r.IntN(4) {
		a := sim.App{Name: fmt.Sprintf("a%d", i), Kind: "ReplicaSet"}
		count := r.IntN(6)
		switch r.IntN(10) {
		case 0, 1:
			a.Kind = "StatefulSet"
		case 2, 3:
			a.Kind = ""
		case 4:
			a.Kind = "ConfigMap" // it has no scale
		case 5:
			a.Barred, count = 1+r.IntN(4), 0
		}
		if a.Kind == "" || a.Kind == "ConfigMap" {
			count = max(count, 1) // they are nothing but their pods
		}
		for range count {
			state := ready
			switch r.IntN(10) {
			case 0, 1:
				state = unready
			case 2:
				state = pending
			case 3:
				if a.Kind == "" { // controllers make others for these
					state = finished
				}
			}
			a.Pods = append(a.Pods, state)
		}
		s.Apps = append(s.Apps, a)
	}
	for i := range 1 + r.IntN(3) {
		b := sim.BudgetShape{Name: fmt.Sprintf("b%d", i), AlwaysEvictUnhealthy: r.IntN(3) == 0}
		for _, a := range s.Apps {
			if r.IntN(2) == 0 {
				b.Workloads = append(b.Workloads, a.Name)
			}
		}
		value := fmt.Sprint(r.IntN(5))
		if r.IntN(2) == 0 {
			value = fmt.Sprintf("%d%%", r.IntN(101))
		}
		if r.IntN(2) == 0 {
			b.MinAvailable = value
		} else {
			b.MaxUnavailable = value
		}
		s.Budgets = append(s.Budgets, b)
	}
	return s
}

// stale are the budgets that share pods with another. The disruption controller
// looks at only one of a pod's budgets when the pod changes, whichever it finds
// first, so that nobody can tell what the status of the others is.
func stale(s sim.Scene) map[string]bool {
	out := map[string]bool{}
	for _, a := range s.Apps {
		if over := guards(s, a.Name); len(over) > 1 && len(a.Pods) > 0 {
			for _, b := range over {
				out[b] = true
			}
		}
	}
	return out
}

// guards are the budgets over an app.
func guards(s sim.Scene, app string) (over []string) {
	for _, b := range s.Budgets {
		if slices.Contains(b.Workloads, app) {
			over = append(over, b.Name)
		}
	}
	return over
}

// told are the statuses of a scene's budgets; once something was done, of those
// that are not stale.
func told(t testing.TB, st Stage, s sim.Scene, round int) string {
	t.Helper()
	all := statuses(t, st)
	if round == 0 {
		return all
	}
	old := stale(s)
	return strings.Join(slices.DeleteFunc(strings.Split(all, "\n"), func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return old[name]
	}), "\n")
}

// rounds of acts on each random scene.
const rounds = 3

// Score is what became of one random scene: the statuses of its budgets at first
// and after each act, and each act with its answer.
type Score struct {
	Statuses [rounds + 1]string
	Answers  [rounds]string
}

// chosen is the act of a seed's round: on which pod, and what. Empty: the scene
// has no pods.
func chosen(seed uint64, round int, st Stage, s sim.Scene) (what string, app string, ref engine.PodRef) {
	r := rand.New(rand.NewPCG(seed, uint64(1+round)))
	var all []engine.PodRef
	var apps []string
	old := stale(s)
	for _, a := range s.Apps {
		if over := guards(s, a.Name); len(over) == 1 && old[over[0]] {
			continue // what is answered hangs on a status that nobody can tell
		}
		for _, p := range st.Pods(a.Name) {
			all, apps = append(all, p), append(apps, a.Name)
		}
	}
	if len(all) == 0 {
		return "", "", engine.PodRef{}
	}
	i := r.IntN(len(all))
	what = []string{"evict", "evict", "evict", "evict", "delete", "unready"}[r.IntN(6)]
	return what, apps[i], all[i]
}

// play does one round and says what was done and answered.
func play(t testing.TB, seed uint64, round int, st Stage, s sim.Scene) string {
	t.Helper()
	what, app, ref := chosen(seed, round, st, s)
	if what == "" {
		return "nothing"
	}
	p := find(st.Look(t), ref.PodKey)
	if p == nil || what == "unready" && (p.Phase != ready.Phase || p.Terminating) {
		return "nothing: it is gone, or never was Ready"
	}
	return fmt.Sprintf("%s a pod of %s: %s", what, app, do(t, st, what, ref))
}

// Simulated is the score of a seed in the simulator.
func Simulated(t *testing.T, seed uint64) (sc Score) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		scene := Random(seed)
		st := (&Simulator{}).Set(t, scene)
		const settle = 20 * time.Second // of virtual time, in which all controllers have looked
		time.Sleep(settle)
		sc.Statuses[0] = told(t, st, scene, 0)
		for i := range rounds {
			sc.Answers[i] = play(t, seed, i, st, scene)
			time.Sleep(settle)
			sc.Statuses[i+1] = told(t, st, scene, i+1)
		}
	})
	return sc
}

// atOnce bounds how many scenes are set at the same time.
const atOnce = 8

// Budgets plays random scenes in a real world and compares all that can be seen
// with the simulator. It returns how many statuses and answers it has compared.
func Budgets(t *testing.T, w World, from, to uint64) (compared int) {
	t.Helper()
	type game struct {
		seed  uint64
		scene sim.Scene
		stage Stage
		want  Score
		over  bool // they disagreed: what follows says nothing
	}
	var games []*game
	for seed := from; seed < to; seed++ {
		games = append(games, &game{seed: seed, scene: Random(seed), want: Simulated(t, seed)})
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, g := range games {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			g.stage = w.Set(t, g.scene)
		})
	}
	wg.Wait()
	agree := func(round int) {
		left := games
		eventually(t, "budgets", func() string {
			var still []*game
			var complaints []string
			for _, g := range left {
				if got := told(t, g.stage, g.scene, round); !g.over && got != g.want.Statuses[round] {
					still = append(still, g)
					complaints = append(complaints, fmt.Sprintf("seed %d, round %d, %+v, after %q:\n%s\nthe simulator has\n%s", g.seed, round, g.scene,
						g.want.Answers[:round], got, g.want.Statuses[round]))
				}
			}
			left = still
			return strings.Join(complaints, "\n")
		})
		for _, g := range games {
			if lines := g.want.Statuses[round]; !g.over && lines != "" {
				compared += 1 + strings.Count(lines, "\n")
			}
		}
		for _, g := range left {
			g.over = true
		}
	}
	agree(0)
	for i := range rounds {
		for _, g := range games {
			if g.over {
				continue
			}
			compared++
			if got := play(t, g.seed, i, g.stage, g.scene); got != g.want.Answers[i] {
				t.Errorf("seed %d, round %d, %+v, after %q, %s: %s, the simulator answers %s", g.seed, i+1, g.scene, g.want.Answers[:i],
					g.want.Statuses[i], got, g.want.Answers[i])
				g.over = true
			}
		}
		agree(i + 1)
	}
	return compared
}
