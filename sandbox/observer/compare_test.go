package observer

import (
	"strings"
	"testing"

	"github.com/rotatord/rotator/sandbox/aws"
)

const clusterTag = "kubernetes.io/cluster/demo"

// clusterOf is a verdict on a cluster of two nodes and a foreign group.
func clusterOf(generation string) *Verdict {
	return &Verdict{
		Nodes: []NodeState{
			{Name: "a", ProviderID: "aws:///z/i-a" + generation, Ready: true},
			{Name: "b", ProviderID: "aws:///z/i-b" + generation, Ready: true, Taints: []string{"team=blue:NoSchedule"}},
		},
		Targets: []aws.TargetState{{Group: "web", Instance: "i-a" + generation, State: "healthy"}, {Group: "web", Instance: "i-b" + generation, State: "initial"}},
		Groups: []aws.GroupState{
			{
				Name: "workers", Min: 1, Max: 2, Desired: 2, Tags: map[string]string{clusterTag: "owned"}, Suspended: []string{"ReplaceUnhealthy"},
				Instances: []aws.MemberState{{ID: "i-a" + generation}, {ID: "i-b" + generation}},
			},
			{
				Name: "foreign", Max: 1, Desired: 1, Tags: map[string]string{clusterTag + "-2": "owned"},
				Instances: []aws.MemberState{{ID: "i-f"}},
			},
		},
	}
}

func TestNotReplaced(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Verdict)
		want   string // part of the only complaint; "" for none
	}{
		{name: "complete", change: func(*Verdict) {}},
		{name: "a machine stays", change: func(v *Verdict) { v.Nodes[0].ProviderID = "aws:///z/i-a1" }, want: "node a is still the same machine"},
		{name: "a node is missing", change: func(v *Verdict) { v.Nodes = v.Nodes[:1] }, want: "there are 1 nodes"},
		{name: "a node is not Ready", change: func(v *Verdict) { v.Nodes[1].Ready = false }, want: "node b is not Ready"},
		{name: "a cordon stays", change: func(v *Verdict) { v.Nodes[1].Unschedulable = true }, want: "node b is cordoned"},
		{name: "a taint stays", change: func(v *Verdict) { v.Nodes[0].Taints = []string{"rotator/outdated:PreferNoSchedule"} }, want: "carries the taint rotator/outdated"},
		{name: "a pod is not Ready", change: func(v *Verdict) { v.Pods.NotReady = []string{"shop/x: Pending"} }, want: "pod shop/x: Pending"},
		{name: "surge stays", change: func(v *Verdict) { v.Groups[0].Desired = 3 }, want: "desired capacity is 3, before it was 2"},
		{name: "max size stays", change: func(v *Verdict) { v.Groups[0].Max = 3 }, want: "max size is 3"},
		{name: "min size changed", change: func(v *Verdict) { v.Groups[0].Min = 0 }, want: "min size is 0"},
		{name: "a process stays suspended", change: func(v *Verdict) { v.Groups[0].Suspended = []string{"AZRebalance", "ReplaceUnhealthy"} }, want: "suspended processes"},
		{name: "a person's suspension was lifted", change: func(v *Verdict) { v.Groups[0].Suspended = nil }, want: "suspended processes"},
		{name: "new instances stay protected", change: func(v *Verdict) { v.Groups[0].ProtectsNew = true }, want: "protection of new instances"},
		{name: "an instance stays protected", change: func(v *Verdict) { v.Groups[0].Instances[0].Protected = true }, want: "protected from scale-in"},
		{name: "an instance too many", change: func(v *Verdict) {
			v.Groups[0].Instances = append(v.Groups[0].Instances, aws.MemberState{ID: "i-c"})
		}, want: "number of instances is 3"},
		{name: "a record stays in the tags", change: func(v *Verdict) {
			v.Groups[0].Tags = map[string]string{clusterTag: "owned", "rotator/record": "x"}
		}, want: "map of tags"},
		{name: "a release was staged", change: func(v *Verdict) {
			v.Groups[0].Tags = map[string]string{clusterTag: "owned", "rotatord.github.io/staged": "op=x from=ami-1 to=ami-2"}
		}},
		{name: "a group is gone", change: func(v *Verdict) { v.Groups = v.Groups[1:] }, want: "group workers is gone"},
		{name: "an instance is left out of a load balancer", change: func(v *Verdict) { v.Targets[1].State = "draining" }, want: "target group web has 1 targets, before it had 2"},
		{name: "the foreign group was rotated", change: func(v *Verdict) { v.Groups[1].Instances[0].ID = "i-g" }, want: "group foreign is another cluster's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := clusterOf("2")
			c.change(after)
			got := NotReplaced(clusterOf("1"), after, clusterTag)
			if c.want == "" {
				if len(got) != 0 {
					t.Errorf("complaints = %q, want none", got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("complaints = %q, want one with %q", got, c.want)
			}
		})
	}
}
