package engine

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// Pods of a StatefulSet with podManagementPolicy OrderedReady (the default) leave
// as its controller would stop them: one at a time, the highest ordinal first, the
// next once the former is Ready again. Its software was written for that, budget
// or not. A pod that is not Ready does not hold back the others, nor is it held back.

// ordered tells whether the order of the pod's StatefulSet concerns it.
func (e *Engine) ordered(p *model.Pod) bool {
	return e.policy.StatefulSets != drain.StatefulSetsParallel && p.Ready && p.Owner.Kind == "StatefulSet" && e.w.workloads[p.Owner].Ordered
}

// nextOrdered finds whose turn it is in each ordered StatefulSet with pods due
// on the nodes being drained.
func (e *Engine) nextOrdered(nodes []*leaving) {
	e.turn = nil
	for _, l := range nodes {
		for i := range l.due {
			c := &l.due[i]
			if !c.state.pending() || !e.ordered(c.Pod) || c.state.failures > 0 {
				continue
			}
			if e.turn == nil {
				e.turn = make(map[model.WorkloadKey]*model.Pod)
			}
			if t := e.turn[c.Pod.Owner]; t == nil || ordinal(c.Pod.Name) > ordinal(t.Name) {
				e.turn[c.Pod.Owner] = c.Pod
			}
		}
	}
}

// outOfTurn says why a pod must let another of its StatefulSet go first; empty:
// it need not.
func (e *Engine) outOfTurn(p *model.Pod) string {
	if !e.ordered(p) {
		return ""
	}
	wl := e.w.workloads[p.Owner]
	const what = "pod %s waits for its turn: pods of %s leave one at a time (podManagementPolicy OrderedReady), and "
	if f, ok := e.former[p.Owner]; ok {
		now := e.w.pods[f.PodKey]
		switch {
		case f.UID == p.UID, ordinal(f.Name) >= wl.Desired, now != nil && now.UID != f.UID && now.Ready:
			delete(e.former, p.Owner)
		default:
			return fmt.Sprintf(what+"%s is not Ready again", p.PodKey, p.Owner, f.Name)
		}
	}
	if t := e.turn[p.Owner]; t != nil && ordinal(t.Name) > ordinal(p.Name) {
		return fmt.Sprintf(what+"%s goes first", p.PodKey, p.Owner, t.Name)
	}
	// Its own count is behind, but knows of those that left otherwise.
	if e.healthy[p.Owner] && wl.Ready < wl.Desired {
		return fmt.Sprintf(what+"%d of %d are Ready", p.PodKey, p.Owner, wl.Ready, wl.Desired)
	}
	return ""
}

// left takes note of an eviction.
func (e *Engine) left(p *model.Pod) {
	if e.ordered(p) {
		e.former[p.Owner] = PodRef{PodKey: p.PodKey, UID: p.UID}
	}
}

// ordinal is the number at the end of a StatefulSet's pod's name; -1: none.
func ordinal(name string) int {
	n, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	if err != nil {
		return -1
	}
	return n
}
