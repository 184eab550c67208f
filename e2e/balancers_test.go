//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What rotator sets on nodes for others.
const (
	scaleDownDisabled = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
	excluded          = "node.kubernetes.io/exclude-from-external-load-balancers"
)

// targetsIn lists the instances whose targets are in a state, sorted.
func (v Verdict) targetsIn(state string) []string {
	var ids []string
	for _, t := range v.Targets {
		if t.State == state {
			ids = append(ids, t.Instance)
		}
	}
	slices.Sort(ids)
	return ids
}

// awaitTargets waits until the targets are as wanted, within bounds.
func (s *Sandbox) awaitTargets(tb testing.TB, what string, ok func(Verdict) bool) Verdict {
	tb.Helper()
	const within = time.Minute
	deadline := time.Now().Add(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		v := s.Verify(tb)
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %s; the targets are %v", what, within, v.Targets)
		}
		<-tick.C
	}
}

// mustServe waits until exactly the instances are healthy targets.
func (s *Sandbox) mustServe(tb testing.TB, what string, instances []string) {
	tb.Helper()
	s.awaitTargets(tb, what, func(v Verdict) bool {
		return len(v.Targets) == len(instances) && slices.Equal(v.targetsIn("healthy"), instances)
	})
}

// Behind a load balancer with a deregistration delay, each instance leaves its
// target group before its pods leave, and none is ended before its connections
// have. What is called off, by an abort or after a kill, is put back; marks that
// people set on nodes stay theirs.
func TestLoadBalancers(t *testing.T) {
	s := balanced(t)
	group := groupName(s, 1)
	instances := s.State(t).Groups[group].Instances
	s.mustServe(t, "before", instances)
	nodes := s.State(t).NodesOf(group)
	s.markNode(t, nodes[0], fmt.Sprintf(`{"metadata":{"annotations":{%q:"true"}}}`, scaleDownDisabled))
	s.markNode(t, nodes[1], fmt.Sprintf(`{"metadata":{"labels":{%q:"by-hand"}}}`, excluded))
	before := s.State(t)
	s.PublishImage(t, group)
	r := s.rotatord(t)
	leaves := func(v Verdict) bool { return len(v.targetsIn("draining")) > 0 }

	p := r.Start(t, "run", "--group", group, "--lock-duration", "3s")
	p.Await("node-draining")
	draining := s.awaitTargets(t, "the first drain", leaves).targetsIn("draining")
	s.mustBeMarked(t, draining, group)
	s.rotatord(t).Run(t, "abort").MustExit(t, exitDone)
	p.Wait().MustExit(t, exitStopped, "aborted")
	s.mustServe(t, "after the abort", instances)
	s.State(t).MustBeTidy(t, before)

	p = r.Start(t, "run", "--group", group, "--lock-duration", "3s")
	p.Await("node-draining")
	s.awaitTargets(t, "the drain that is killed", leaves)
	p.Signal(syscall.SIGKILL)
	p.Wait()
	r.Run(t, "abort").MustExit(t, exitDone, "put back")
	s.mustServe(t, "after the kill and the abort", instances)
	s.State(t).MustBeTidy(t, before)

	s.Stats(t, true)
	r = s.rotatord(t)
	r.Run(t, "run", "--group", group, "--max-surge", "2", "--canary=false").MustExit(t, exitDone)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.mustServe(t, "after the rotation", after.Groups[group].Instances)
	if v := s.MustHaveKeptBudgets(t); len(v.EndedInService) > 0 {
		t.Errorf("instances were ended while load balancers used them: %s", v.EndedInService)
	}
	if n := len(r.Events(t, "node-quiesced")); n < len(instances) {
		t.Errorf("%d events say that an instance has left its load balancers, want %d", n, len(instances))
	}
}

// markNode patches a node as a person would.
func (s *Sandbox) markNode(tb testing.TB, node, patch string) {
	tb.Helper()
	if _, err := s.Kube(tb).CoreV1().Nodes().Patch(tb.Context(), node, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// mustBeMarked looks at the group's nodes while instances leave: those are told to
// load balancers, and the autoscaler may remove none, neither an old one that waits
// nor a new one that is empty.
func (s *Sandbox) mustBeMarked(tb testing.TB, leaving []string, group string) {
	tb.Helper()
	st := s.State(tb)
	has := func(n NodeState, mark string) bool {
		return slices.ContainsFunc(n.Marks, func(m string) bool { return strings.HasPrefix(m, mark) })
	}
	for _, name := range st.NodesOf(group) {
		n := st.Nodes[name]
		if !has(n, scaleDownDisabled+"=true") {
			tb.Errorf("node %s is not kept from the autoscaler: %v", name, n.Marks)
		}
		if slices.Contains(leaving, instanceOf(n.ProviderID)) && (!n.Unschedulable || !has(n, excluded)) {
			tb.Errorf("node %s leaves its target group and is cordoned %t, marked %v", name, n.Unschedulable, n.Marks)
		}
	}
	if size := len(st.NodesOf(group)); size != int(st.Groups[group].Desired) {
		tb.Errorf("of %d instances %d are nodes: no new one was looked at", st.Groups[group].Desired, size)
	}
}
