package aws

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// What EKS takes, before [Config.EKSSpeedup]. The drain, the wait after it and the drain before a deletion are the user
// guide's ("Understand each phase of node updates", "Delete a managed node group"); the others are about what users see.
const (
	eksDrainTimeout  = 15 * time.Minute
	eksDeleteTimeout = 5 * time.Minute
	eksCordonWait    = time.Minute
	eksSetupDelay    = time.Minute
	eksCreateDelay   = time.Minute
	eksJoinTimeout   = 20 * time.Minute
)

// eksTime is a time of EKS' as it passes here.
func (c *Cloud) eksTime(d time.Duration) time.Duration {
	return time.Duration(float64(d) / c.cfg.EKSSpeedup)
}

// The health issues that are simulated (NodegroupIssueCode).
const (
	issueVersionMismatch = "Ec2LaunchTemplateVersionMismatch"
	issueGroupNotFound   = "AutoScalingGroupNotFound"
	issueLaunchFailures  = "AsgInstanceLaunchFailures"
	issueNodeCreation    = "NodeCreationFailure"
	issuePodEviction     = "PodEvictionFailure" // of an update only
)

// eksKubernetesTimeout bounds each call to a cluster's API server: EKS comes back to what failed.
const eksKubernetesTimeout = 5 * time.Second

// kubeTask is one thing that EKS does in a cluster. Tasks are decided under the lock and done without it.
type kubeTask struct {
	node          string
	evict         bool // else: (un)cordon
	unschedulable bool
	// done is told, under the lock, which pods an eviction left; nil where nobody waits for it.
	done func(left []string)
}

// TickEKS lets EKS look after all node groups once: updates go on, what terminates is drained, health is judged. Unlike
// [Cloud.Tick] it calls API servers; [Cloud.Run] calls both, each on its own.
func (c *Cloud) TickEKS(ctx context.Context, now time.Time) {
	c.eksMu.Lock()
	defer c.eksMu.Unlock()
	c.mu.Lock()
	clusters := make([]*cluster, 0, len(c.clusters))
	for _, name := range slices.Sorted(maps.Keys(c.clusters)) {
		if cl := c.clusters[name]; len(cl.nodegroups) > 0 {
			clusters = append(clusters, cl)
		}
	}
	c.mu.Unlock()
	for _, cl := range clusters {
		c.tendCluster(ctx, cl, now)
	}
}

func (c *Cloud) tendCluster(ctx context.Context, cl *cluster, now time.Time) {
	c.mu.Lock()
	k, nodes := cl.kubernetes, map[string]Node(nil)
	if k == nil {
		nodes = c.assumedNodes(cl)
	}
	c.mu.Unlock()
	if k != nil {
		ctx, stop := context.WithTimeout(ctx, eksKubernetesTimeout)
		seen, err := k.Nodes(ctx)
		stop()
		if err != nil {
			return // the API server cannot be reached: nothing is known, and nothing is done
		}
		nodes = seen
	}
	c.mu.Lock()
	var tasks []kubeTask
	for _, n := range slices.Clone(cl.nodegroups) { // one may end in its round
		tasks = append(tasks, c.tend(n, nodes, now)...)
	}
	c.mu.Unlock()
	for _, t := range tasks {
		c.perform(ctx, k, t)
	}
}

// perform does one task. A failure is left alone: the next round decides it anew.
func (c *Cloud) perform(ctx context.Context, k Kubernetes, t kubeTask) {
	var left []string
	if k != nil {
		ctx, stop := context.WithTimeout(ctx, eksKubernetesTimeout)
		defer stop()
		var err error
		if t.evict {
			left, err = k.Evict(ctx, t.node)
		} else {
			err = k.SetUnschedulable(ctx, t.node, t.unschedulable)
		}
		if err != nil {
			return
		}
	}
	if t.done != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		t.done(left)
	}
}

// assumedNodes are those of a cluster that nobody connected: each instance in service counts as a Ready node.
func (c *Cloud) assumedNodes(cl *cluster) map[string]Node {
	nodes := map[string]Node{}
	for _, n := range cl.nodegroups {
		if g := c.groups[n.asg]; g != nil {
			for _, m := range g.members {
				if m.state == lifecycleInService && !m.inst.neverJoins {
					nodes[m.inst.id] = Node{Name: m.inst.privateDNSName, Ready: !m.inst.neverReady}
				}
			}
		}
	}
	return nodes
}

// tend is one round of EKS for a node group. Caller holds mu.
func (c *Cloud) tend(n *nodegroup, nodes map[string]Node, now time.Time) []kubeTask {
	g := c.groups[n.asg]
	if g == nil {
		c.tendWithoutGroup(n, now)
		return nil
	}
	tasks := c.drainTerminating(n, g, nodes, now)
	switch n.status {
	case nodegroupCreating:
		c.tendCreation(n, g, nodes, now)
	case nodegroupUpdating:
		tasks = append(tasks, c.tendUpdate(n, g, nodes, now)...)
	case nodegroupDeleting:
		if len(g.members) == 0 {
			c.removeGroup(g)
			c.forgetNodegroup(n)
		}
	case nodegroupActive, nodegroupDegraded:
		n.desired = g.desired
		c.judge(n, g, nodes, now)
	}
	return tasks
}

// tendWithoutGroup is for a node group whose Auto Scaling group somebody deleted.
func (c *Cloud) tendWithoutGroup(n *nodegroup, now time.Time) {
	switch n.status {
	case nodegroupDeleting:
		c.forgetNodegroup(n)
		return
	case nodegroupUpdating:
		c.endUpdate(n, updateFailed, now, eksUpdateError{Code: "Unknown", Message: "The Auto Scaling group " + n.asg + " was not found", ResourceIDs: []string{n.asg}})
	}
	n.issues = []eksIssue{{Code: issueGroupNotFound, ResourceIDs: []string{n.asg},
		Message: "We couldn't find the Auto Scaling group associated with the managed node group. You may be able to recreate an Auto Scaling group with the same settings to recover."}}
	n.enter(nodegroupDegraded, now)
}

func (c *Cloud) forgetNodegroup(n *nodegroup) {
	n.cluster.nodegroups = slices.DeleteFunc(n.cluster.nodegroups, func(o *nodegroup) bool { return o == n })
	if n.template != nil {
		delete(c.templates, n.template.id)
		delete(c.templateNames, n.template.name)
		c.templateOrder = slices.DeleteFunc(c.templateOrder, func(t *launchTemplate) bool { return t == n.template })
	}
}

// tendCreation waits until all nodes of a new group are Ready.
func (c *Cloud) tendCreation(n *nodegroup, g *group, nodes map[string]Node, now time.Time) {
	ready := 0
	for _, m := range g.members {
		if m.state == lifecycleInService && nodes[m.inst.id].Ready {
			ready++
		}
	}
	switch {
	case ready >= g.desired && !now.Before(n.since.Add(c.eksTime(eksCreateDelay))):
		n.enter(nodegroupActive, now)
	case !now.Before(n.since.Add(c.eksTime(eksJoinTimeout))):
		c.judge(n, g, nodes, now)
		if len(n.issues) == 0 {
			n.issues = []eksIssue{{Code: issueNodeCreation, Message: joinFailure, ResourceIDs: memberIDs(g, nodes)}}
		}
		n.enter(nodegroupCreateFailed, now)
	}
}

const joinFailure = "Instances failed to join the kubernetes cluster"

// memberIDs are the instances of a group without a Ready node.
func memberIDs(g *group, nodes map[string]Node) []string {
	out := []string{}
	for _, m := range g.members {
		if !nodes[m.inst.id].Ready {
			out = append(out, m.inst.id)
		}
	}
	return out
}

// drainTerminating empties the nodes of instances that terminate, whoever asked for it: EKS holds them by its lifecycle
// hook, evicts with respect for budgets, and lets them go after a while even when pods are left ("if the Pod eviction
// fails … EKS terminates the node anyway" for scale-in and rebalancing, says the user guide's "Managed node groups").
func (c *Cloud) drainTerminating(n *nodegroup, g *group, nodes map[string]Node, now time.Time) (tasks []kubeTask) {
	limit := c.eksTime(eksDrainTimeout)
	if n.status == nodegroupDeleting {
		limit = c.eksTime(eksDeleteTimeout)
	}
	held := map[string]bool{}
	for _, m := range g.members {
		w := m.wait
		if m.state != lifecycleTerminatingWait || w == nil || w.hook.LifecycleHookName != hookTerminate || w.complete != "" {
			continue
		}
		id := m.inst.id
		held[id] = true
		if _, begun := n.drains[id]; !begun {
			n.drains[id] = now
		}
		node, joined := nodes[id]
		if !joined || !now.Before(n.drains[id].Add(limit)) {
			w.complete = resultContinue
			continue
		}
		if !node.Unschedulable {
			tasks = append(tasks, kubeTask{node: node.Name, unschedulable: true})
		}
		tasks = append(tasks, kubeTask{node: node.Name, evict: true, done: func(left []string) {
			if len(left) == 0 && w.complete == "" {
				w.complete = resultContinue
			}
		}})
	}
	maps.DeleteFunc(n.drains, func(id string, _ time.Time) bool { return !held[id] })
	return tasks
}

// judge finds the health issues of a group that is not at work.
func (c *Cloud) judge(n *nodegroup, g *group, nodes map[string]Node, now time.Time) {
	var issues []eksIssue
	spec := g.source.templateSpec()
	if spec == nil || spec.LaunchTemplateID != n.template.id || spec.Version != itoa(int(n.current)) {
		issues = append(issues, eksIssue{Code: issueVersionMismatch, ResourceIDs: []string{n.template.id},
			Message: "The Amazon EC2 launch template version for your managed node group doesn't match the version that Amazon EKS created. You may be able to revert to the version that Amazon EKS created to recover."})
	}
	if a := lastLaunch(g); a != nil && a.StatusCode == activityFailed && g.capacity() < g.desired {
		issues = append(issues, eksIssue{Code: issueLaunchFailures, Message: "Could not launch On-Demand Instances. " + a.StatusMessage, ResourceIDs: []string{g.name}})
	}
	var late []string
	for _, m := range g.members {
		if m.state == lifecycleInService && !nodes[m.inst.id].Ready && !now.Before(m.inst.launchTime.Add(c.eksTime(eksJoinTimeout))) {
			if _, joined := nodes[m.inst.id]; !joined {
				late = append(late, m.inst.id)
			}
		}
	}
	if len(late) > 0 {
		issues = append(issues, eksIssue{Code: issueNodeCreation, Message: joinFailure, ResourceIDs: late})
	}
	slices.SortFunc(issues, func(a, b eksIssue) int { return cmp.Compare(a.Code, b.Code) })
	n.issues = issues
	switch {
	case n.status == nodegroupCreating:
	case len(issues) > 0:
		n.enter(nodegroupDegraded, now)
	default:
		n.enter(nodegroupActive, now)
	}
}

// lastLaunch is the newest activity of a group that was a launch.
func lastLaunch(g *group) *Activity {
	for _, a := range slices.Backward(g.activities) {
		if len(a.Description) > 0 && a.Description[0] == 'L' {
			return a
		}
	}
	return nil
}
