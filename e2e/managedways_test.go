//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// way is one of the four ways to rotate a managed node group, with what is
// particular to it in the scenarios that all of them go through.
type way struct {
	name string

	// flags are those of each run; why are those by which nodes are to be replaced,
	// where it is not for a new release.
	flags, why []string
	plan       []string // what the plan says
	// evicts: rotatord drains. ends: it has instances ended.
	evicts, ends bool
	// successor: another node group takes its place.
	successor bool

	middle  string   // an event in the middle
	resumed []string // what the run after a kill there says
	stuck   []string // what a drain that gets no further is called
	// halfway: others were replaced by then.
	halfway bool

	stopArgs, stopped []string // how it is run to be stopped, and what it says then
	stopAt            string   // the event at which it is
	// goesOn: the abort can stop nothing; EKS completes the update, after which an
	// abort puts back what is left. Else nodes are as they were when it was stopped.
	goesOn  bool
	aborted []string // what the abort says
}

var ways = []way{
	{
		name: "delegated", flags: []string{"--max-unavailable", "2"},
		plan:   []string{"the provider rolls it: replace 3 nodes", "it takes the nodes in an order of its own"},
		middle: "group-rolling", resumed: []string{"the provider rolls the group"}, stuck: []string{"PodEvictionFailure"}, halfway: true,
		stopAt: "group-rolling", stopped: []string{"goes on by itself"}, goesOn: true, aborted: []string{"goes on by itself: it cannot be stopped"},
	},
	{
		name: "self", flags: []string{"--max-surge", "0", "--max-unavailable", "1", "--capacity-check", "warn"},
		why: []string{"--force"}, evicts: true, ends: true,
		plan:   []string{"replace 3 nodes"},
		middle: "node-drained", resumed: []string{"node(s) replaced"},
		stopAt: "node-drained", stopped: []string{"stopped by a signal"},
	},
	{
		name: "assisted", flags: []string{"--max-unavailable", "2"}, evicts: true,
		plan:   []string{"the provider rolls it: replace 3 nodes", "experimental"},
		middle: "group-rolling", resumed: []string{"the provider rolls the group"}, stuck: []string{"PodEvictionFailure"}, halfway: true,
		stopAt: "group-rolling", stopped: []string{"goes on by itself"}, goesOn: true, aborted: []string{"goes on by itself: it cannot be stopped"},
	},
	{
		name:  "blue-green",
		flags: []string{"--max-surge", "1", "--capacity-check", "warn"}, evicts: true, ends: true, successor: true,
		plan:   []string{"replace 3 nodes"},
		middle: "node-drained", resumed: []string{"node(s) replaced"},
		stopArgs: []string{"--max-unavailable", "0", "--canary-bake", "5m"},
		stopAt:   "replacement-ready", stopped: []string{"stopped by a signal"}, aborted: []string{"put back"},
	},
}

// rotated is one scenario of one way.
type rotated struct {
	way
	*testing.T
	s     *Sandbox
	r     *Rotatord
	group string   // the node group as it is called now
	about []string // which file and which group

	nodes map[string]string // before
	was   nodegroup
}

// Every way to rotate a managed node group goes through the same scenarios, and
// each of these ends with the same checks. Two ways share a sandbox, in which each
// has a node group; the two sandboxes are used side by side, because rotations
// mostly wait.
func TestManagedWays(t *testing.T) {
	for i, box := range []func(testing.TB) *Sandbox{eksManaged, eksOthers} {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			for n, w := range ways[2*i : 2*i+2] {
				s := box(t)
				group := fmt.Sprintf("%s-managed-%d", s.Name, n+1)
				for _, sc := range []struct {
					name string
					play func(*rotated)
				}{
					{"plain", (*rotated).plain},
					{"killed", (*rotated).killed},
					{"stuck at a budget", (*rotated).stuckAtBudget},
					{"stopped and aborted", (*rotated).stoppedAndAborted},
				} {
					t.Run(w.name+"/"+sc.name, func(t *testing.T) {
						c := newRotated(t, s, w, group)
						sc.play(c)
						c.finish()
						group = c.group
					})
				}
			}
		})
	}
}

// withWay returns the flags that set the way of managed node groups.
func (r *Rotatord) withWay(tb testing.TB, way string) []string {
	tb.Helper()
	file := filepath.Join(r.Dir, "rotation.yaml")
	text := "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ndriver: {config: {managedNodeGroups: {way: " + way + "}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return []string{"--config", file}
}

func newRotated(t *testing.T, s *Sandbox, w way, group string) *rotated {
	t.Helper()
	c := &rotated{way: w, T: t, s: s, r: s.rotatord(t), group: group, nodes: managedImages(t, s, group)}
	c.about = append(c.r.withWay(t, w.name), "--group", group)
	c.was, _ = s.describe(t, group)
	if len(w.why) == 0 {
		s.CLI(t, "publish-release")
	}
	s.Stats(t, true)
	return c
}

// args of a run.
func (c *rotated) args(more ...string) []string {
	return slices.Concat(c.about, c.flags, c.why, more)
}

func (c *rotated) plain() {
	c.r.Run(c, "plan", c.args()...).MustExit(c, exitDone, c.plan...)
	c.r.Run(c, "run", c.args()...).MustExit(c, exitDone, "3 node(s) replaced")
	drained, touched := c.r.Events(c, "node-drained"), c.r.Events(c, "node-draining", "pod-evicted")
	switch {
	case !c.evicts && len(touched) > 0:
		c.Errorf("%d nodes or pods were drained by rotatord", len(touched))
	case c.evicts && len(drained) == 0:
		c.Error("rotatord drained no node")
	}
	for _, e := range drained {
		if _, old := c.nodes[e.Node]; !old {
			c.Errorf("node %s was drained, and is not an old one", e.Node)
		}
	}
	c.Logf("rotatord drained %d of %d nodes", len(drained), len(c.nodes))
}

// A killed rotatord leaves a provider's roll at work; the same command again goes
// on, with the same roll.
func (c *rotated) killed() {
	p := c.r.Start(c, "run", c.args()...)
	p.Await(c.middle)
	p.Signal(syscall.SIGKILL)
	p.Wait()
	c.r.Run(c, "run", c.args()...).MustExit(c, exitDone, c.resumed...)
	for _, call := range c.s.Stats(c, false).Calls {
		if call.Action == "UpdateNodegroupVersion" && call.Calls != 1 {
			c.Errorf("%d calls of %s: the second run must attach", call.Calls, call.Action)
		}
	}
}

// A budget that allows nothing ends the rotation, which names the pod and the
// budget and leaves every node open; once it does, the same command completes.
func (c *rotated) stuckAtBudget() {
	pod := blockNode(c.T, c.s, c.group)
	args := c.args("--drain-deadline", "6s")
	words := append([]string{"pod " + pod, "stuck/stuck", "run the same command again to go on"}, c.stuck...)
	c.r.Run(c, "run", args...).MustExit(c, exitStopped, words...)
	c.r.Exec(c, "status", "--journal-dir", filepath.Join(c.r.Dir, "journal")).MustExit(c, exitDone, append([]string{pod}, c.stuck...)...)
	c.mustBeUnmarked(noCordons)
	if c.halfway && !slices.ContainsFunc(sortedKeys(c.nodesNow()), func(name string) bool { _, was := c.nodes[name]; return !was }) {
		c.Error("no node was replaced before it failed")
	}
	unblock(c.T, c.s)
	c.r.Run(c, "run", args...).MustExit(c, exitDone)
}

// A signal leaves what the next run, or an abort, finds; after the abort a run
// completes what is left to do.
func (c *rotated) stoppedAndAborted() {
	p := c.r.Start(c, "run", c.args(c.stopArgs...)...)
	p.Await(c.stopAt)
	p.Signal(syscall.SIGTERM)
	p.Wait().MustExit(c, exitStopped, c.stopped...)
	if c.goesOn {
		c.r.Run(c, "abort", c.about[:2]...).MustExit(c, exitStopped, c.aborted...)
		c.mustBeUnmarked(cordonsOfEKS)
		c.await("the end of EKS' update", func() bool { _, atRest := c.s.describe(c, c.group); return atRest })
		c.r.Run(c, "abort", c.about[:2]...).MustExit(c, exitDone, "put back")
	} else {
		c.r.Run(c, "abort", c.about[:2]...).MustExit(c, exitDone, c.aborted...)
	}
	c.mustBeTidy()
	c.await("as many nodes as before", func() bool { return len(c.nodesNow()) == len(c.nodes) })
	c.r.Run(c, "run", c.args()...).MustExit(c, exitDone)
}

// finish holds what every scenario ends with.
func (c *rotated) finish() {
	if c.successor {
		if left := c.nodesNow(); len(left) > 0 {
			c.Errorf("nodes of %s are there still: %v", c.group, left)
		}
		c.group = successorOf(c, c.s, c.group)
		c.about[3] = c.group
	}
	now := c.nodesNow()
	if len(now) != len(c.nodes) {
		c.Errorf("node group %s had %d nodes and has %d", c.group, len(c.nodes), len(now))
	}
	for name, image := range now {
		if _, was := c.nodes[name]; was {
			c.Errorf("node %s is there still, with image %s", name, image)
		}
	}
	c.mustBeTidy()
	for _, call := range c.s.Stats(c, false).Calls {
		if strings.HasPrefix(call.Action, "Terminate") && !c.ends {
			c.Errorf("%d calls of %s", call.Calls, call.Action)
		}
	}
	c.s.MustHaveKeptBudgets(c)
	c.r.Run(c, "run", slices.Concat(c.about, c.flags)...).MustExit(c, exitDone, "nothing")
}

func (c *rotated) await(what string, holds func() bool) {
	c.Helper()
	(&podCase{tb: c, s: c.s, namespace: c.group}).await(what, holds)
}

func (c *rotated) nodesNow() map[string]string { return managedImages(c, c.s, c.group) }

// mustBeTidy fails the test unless the node group's own settings are as they were,
// and nothing of rotator's is left.
func (c *rotated) mustBeTidy() {
	c.Helper()
	now, _ := c.s.describe(c, c.group)
	if diff := cmp.Diff(c.was, now); diff != "" {
		c.Errorf("node group %s (-before +after):\n%s", c.group, diff)
	}
	c.mustBeUnmarked(noCordons)
}

// Which cordons there may be.
const (
	noCordons    = false
	cordonsOfEKS = true // it is at work
)

// mustBeUnmarked fails the test unless no node has a mark of rotator's, and none a
// cordon but those that EKS may have set.
func (c *rotated) mustBeUnmarked(cordons bool) {
	c.Helper()
	for name, n := range c.s.State(c).Nodes {
		ours := slices.DeleteFunc(n.Marks, func(m string) bool { return cordons && !strings.HasPrefix(m, ourPrefix) })
		if !cordons && n.Unschedulable || slices.Contains(n.Taints, ourPrefix+"outdated:PreferNoSchedule") || len(ours) > 0 {
			c.Errorf("node %s is left with cordon %t, taints %v, marks %v", name, n.Unschedulable, n.Taints, ours)
		}
	}
}
