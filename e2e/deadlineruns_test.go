//go:build e2e

package e2e

import (
	"syscall"
	"testing"
	"time"
)

// A drain's deadline counts over the runs of a rotation: what a run that was killed
// has used of it, by its journal, the next one does not have.
func TestDeadlineOverRuns(t *testing.T) {
	s := pods(t)
	c := newPodCase(t, s, "runs")
	defer c.end()
	closedBudget(c)
	c.open()
	group := groupName(s, 1)
	s.PublishImage(t, group)
	r := s.rotatord(t)
	const deadline = 2 * time.Minute
	flags := []string{"--group", group, "--drain-deadline", deadline.String(), "--order-node", c.node}

	p := r.Start(t, "run", flags...)
	began := p.Await("node-draining")
	used := p.Await("still-draining").Time.Sub(began.Time)
	p.Signal(syscall.SIGKILL)
	p.Wait()
	if used < 20*time.Second || used > deadline-45*time.Second {
		t.Fatalf("the first run is known to have used %s: too little, or too much, to tell what the second has", used)
	}

	r.Run(t, "run", flags...).MustExit(t, exitStopped, "node "+c.node, "was not drained within 2m0s (", "before it was cut short)", "budget "+c.namespace+"/shop")
	again, end := r.Events(t, "node-draining"), r.Events(t, "node-quarantined")
	if len(again) == 0 || len(end) != 1 || again[0].Node != c.node || end[0].Node != c.node {
		t.Fatalf("drained are %+v, given up %+v, want node %s first", again, end, c.node)
	}
	if took, most := end[0].Time.Sub(again[0].Time), deadline-used+5*time.Second; took > most || took < most-10*time.Second {
		t.Errorf("the second run drains for %s, and the first has used %s of %s", took, used, deadline)
	}
	if left := c.readyOn("web", c.node); len(left) != 2 {
		t.Errorf("of two pods under a budget that allows nothing, %d are left", len(left))
	}
	if d := s.State(t).Nodes[c.node]; d.Unschedulable || len(d.Taints) > 0 || len(d.Marks) > 0 {
		t.Errorf("node %s was not given back: cordon %t, taints %v, marks %v", c.node, d.Unschedulable, d.Taints, d.Marks)
	}
	s.MustHaveKeptBudgets(t)
}
