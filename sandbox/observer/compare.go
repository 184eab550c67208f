package observer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rotatord/rotator/sandbox/aws"
)

// NotReplaced compares the cluster before a rotation with after, and names all
// that a complete rotation leaves otherwise: every node is another machine,
// there are as many, all are Ready, no cordon or taint is new, every group is as
// it was but for its instances, and every pod is Ready. Only groups that carry
// clusterTag count as the cluster's; the others must keep their instances.
func NotReplaced(before, after *Verdict, clusterTag string) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	if len(before.Nodes) != len(after.Nodes) {
		say("there are %d nodes, before there were %d", len(after.Nodes), len(before.Nodes))
	}
	old := map[string]bool{}
	taints := map[string]bool{} // those that nodes had before are nobody's doing here
	for _, n := range before.Nodes {
		old[n.ProviderID] = true
		for _, t := range n.Taints {
			taints[t] = true
		}
	}
	for _, n := range after.Nodes {
		if old[n.ProviderID] {
			say("node %s is still the same machine %s", n.Name, n.ProviderID)
		}
		if !n.Ready {
			say("node %s is not Ready", n.Name)
		}
		if n.Unschedulable {
			say("node %s is cordoned", n.Name)
		}
		for _, t := range n.Taints {
			if !taints[t] {
				say("node %s carries the taint %s, which no node had before", n.Name, t)
			}
		}
	}
	for _, p := range after.Pods.NotReady {
		say("pod %s, not Ready", p)
	}

	had, has := serving(before.Targets), serving(after.Targets)
	for _, name := range slices.Sorted(maps.Keys(had)) {
		if had[name] != has[name] {
			say("target group %s has %d targets, before it had %d", name, has[name], had[name])
		}
	}

	now := map[string]aws.GroupState{}
	for _, g := range after.Groups {
		now[g.Name] = g
	}
	for _, was := range before.Groups {
		is, ok := now[was.Name]
		if !ok {
			say("group %s is gone", was.Name)
			continue
		}
		wrong = append(wrong, groupChanges(was, is)...)
		if _, ours := was.Tags[clusterTag]; !ours && !slices.Equal(instanceIDs(was), instanceIDs(is)) {
			say("group %s is another cluster's, and its instances were replaced", was.Name)
		}
	}
	return wrong
}

func groupChanges(was, is aws.GroupState) []string {
	var wrong []string
	check := func(what string, before, now any, same bool) {
		if !same {
			wrong = append(wrong, fmt.Sprintf("group %s: %s is %v, before it was %v", is.Name, what, now, before))
		}
	}
	check("min size", was.Min, is.Min, was.Min == is.Min)
	check("max size", was.Max, is.Max, was.Max == is.Max)
	check("desired capacity", was.Desired, is.Desired, was.Desired == is.Desired)
	check("number of instances", len(was.Instances), len(is.Instances), len(was.Instances) == len(is.Instances))
	check("list of suspended processes", was.Suspended, is.Suspended, slices.Equal(was.Suspended, is.Suspended))
	check("protection of new instances", was.ProtectsNew, is.ProtectsNew, was.ProtectsNew == is.ProtectsNew)
	before, now := settings(was), settings(is)
	check("map of tags", before, now, maps.Equal(before, now))
	protected := func(g aws.GroupState) (n int) {
		for _, i := range g.Instances {
			if i.Protected {
				n++
			}
		}
		return n
	}
	check("number of instances protected from scale-in", protected(was), protected(is), protected(was) == protected(is))
	return wrong
}

// stagedTag is the one tag that stays: the release that the group was given and
// the one it had, for `rotatord release rollback`.
const stagedTag = "rotatord.github.io/staged"

// settings are the tags that a rotation leaves as they were.
func settings(g aws.GroupState) map[string]string {
	tags := maps.Clone(g.Tags)
	delete(tags, stagedTag)
	return tags
}

func instanceIDs(g aws.GroupState) []string {
	ids := make([]string, 0, len(g.Instances))
	for _, i := range g.Instances {
		ids = append(ids, i.ID)
	}
	slices.Sort(ids)
	return ids
}

// serving counts the targets of each target group that are sent to, or will be in a moment.
func serving(targets []aws.TargetState) map[string]int {
	n := map[string]int{}
	for _, t := range targets {
		if t.State != "draining" {
			n[t.Group]++
		}
	}
	return n
}
