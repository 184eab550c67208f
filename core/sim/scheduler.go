package sim

import (
	"slices"
	"sort"
	"time"
)

// schedule lets the scheduler look at what is pending.
func (w *World) schedule() {
	if w.schedulerDue || len(w.pending) == 0 {
		return
	}
	w.schedulerDue = true
	d := w.dice("schedule", w.now.String())
	w.after(w.span(&d, w.pace.Control, 5*time.Millisecond, 200*time.Millisecond), func() {
		w.schedulerDue = false
		waiting := slices.Clone(w.pending)
		slices.SortStableFunc(waiting, func(a, b *pod) int { return int(b.Priority) - int(a.Priority) })
		bound := false
		for _, p := range waiting {
			if n := w.place(p); n != nil {
				p.on = n
				w.bind(p, n)
				bound = true
			}
		}
		if bound {
			w.pending = slices.DeleteFunc(w.pending, func(p *pod) bool { return p.on != nil })
		}
		w.provision()
	})
}

// enough is how many nodes that would do the scheduler scores: those numbers are
// kube-scheduler's.
func enough(nodes int) int {
	const least = 100
	return max(least, nodes*max(50-nodes/125, 5)/100)
}

// candidate is a node that takes pods, room aside.
type candidate struct {
	*node
	at     int // in nodeList
	repels int // taints that say PreferNoSchedule
}

// candidates are the nodes that take a pod, room aside, in the order of nodeList.
// In a rotation most nodes are cordoned, and each pod would ask all of them: the
// answer is kept until a node changes, but for the few pods that cordons do not
// keep away.
func (w *World) candidates(p *pod) []candidate {
	if p.ToleratesCordon {
		return w.taking(nil, true)
	}
	if w.nodesChanged {
		w.takers, w.nodesChanged = w.taking(w.takers[:0], false), false
	}
	return w.takers
}

func (w *World) taking(list []candidate, cordoned bool) []candidate {
nodes:
	for at, n := range w.nodeList {
		if !n.Ready || n.Unschedulable && !cordoned {
			continue
		}
		c := candidate{node: n, at: at}
		for _, t := range n.Taints {
			switch t.Effect {
			case "NoSchedule", "NoExecute":
				continue nodes
			case "PreferNoSchedule":
				c.repels++
			}
		}
		list = append(list, c)
	}
	return list
}

// place picks a node for a pod: one that is Ready and schedulable, tolerates
// it and has room; of those the best by taints (PreferNoSchedule), by few pods
// of the same workload, by room. It looks round from where it ended last.
func (w *World) place(p *pod) *node {
	var best *node
	bestScore, found := 0, 0
	scale, equals, d := 10, 0, dice{}
	if w.scatter {
		scale, d = 100, w.dice("place", p.UID)
	}
	most, list := enough(len(w.nodeList)), w.candidates(p)
	begin := sort.Search(len(list), func(i int) bool { return list[i].at >= w.schedulerAt })
	for i := range list {
		n := list[(begin+i)%len(list)]
		room := n.inst.g.room
		if n.used+p.request > room || p.workload.zone != "" && p.workload.zone != n.Zone {
			continue
		}
		score := scale*(room-n.used)/room - 100*scale*n.repels
		if best == nil || score >= bestScore { // pods of the same workload can only take from it
			score -= 5 * scale * n.hosts[p.workload.index]
			switch {
			case best == nil || score > bestScore:
				best, bestScore, equals = n.node, score, 1
			case w.scatter && score == bestScore:
				if equals++; d.n(equals) == 0 {
					best = n.node
				}
			}
		}
		if found++; found >= most {
			w.schedulerAt = (n.at + 1) % len(w.nodeList)
			break
		}
	}
	return best
}
