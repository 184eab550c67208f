package gate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

func TestNodeReady(t *testing.T) {
	cni := model.WorkloadKey{Kind: "DaemonSet", Namespace: "kube-system", Name: "cni"}
	agent := func(change func(*model.Pod)) []*model.Pod {
		p := &model.Pod{PodKey: model.PodKey{Namespace: "kube-system", Name: "cni-x"}, Owner: cni, Ready: true}
		if change != nil {
			change(p)
		}
		return []*model.Pod{p}
	}
	for _, tc := range []struct {
		name   string
		change func(*model.Node)
		pods   []*model.Pod
		expect []model.WorkloadKey
		extra  []string
		want   string // in the evidence; empty: OK
	}{
		{name: "Ready, nothing expected"},
		{name: "Ready, with what is expected", pods: agent(nil), expect: []model.WorkloadKey{cni}},
		{name: "not Ready", change: func(n *model.Node) { n.Ready = false }, want: "node n1 is not Ready"},
		{name: "a well-known startup taint", change: func(n *model.Node) {
			n.Taints = []model.Taint{{Key: "node.cloudprovider.kubernetes.io/uninitialized", Effect: "NoSchedule"}}
		}, want: "node.cloudprovider.kubernetes.io/uninitialized"},
		{name: "a startup taint of the cluster's own", extra: []string{"example.com/warming"}, change: func(n *model.Node) {
			n.Taints = []model.Taint{{Key: "example.com/warming"}}
		}, want: "example.com/warming"},
		{name: "a taint that is for good", change: func(n *model.Node) { n.Taints = []model.Taint{{Key: "dedicated"}} }},
		{name: "our own taint", change: func(n *model.Node) { n.Taints = []model.Taint{{Key: model.TaintOutdated}} }},
		{name: "a cordon is no startup", change: func(n *model.Node) { n.Unschedulable = true }},
		{name: "a DaemonSet pod is not Ready", pods: agent(func(p *model.Pod) { p.Ready = false }), want: "kube-system/cni-x is not Ready"},
		{name: "a DaemonSet pod is ending", pods: agent(func(p *model.Pod) { p.Ready, p.Terminating = false, true })},
		{name: "another pod is not Ready", pods: agent(func(p *model.Pod) { p.Ready, p.Owner.Kind = false, "ReplicaSet" })},
		{name: "a DaemonSet pod is missing", expect: []model.WorkloadKey{cni}, want: "no Ready pod of DaemonSet kube-system/cni"},
		{name: "the only one is ending", pods: agent(func(p *model.Pod) { p.Ready, p.Terminating = false, true }), expect: []model.WorkloadKey{cni},
			want: "no Ready pod of DaemonSet kube-system/cni"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := &model.Node{Name: "n1", Ready: true}
			if tc.change != nil {
				tc.change(n)
			}
			got := gate.NodeReady(n, tc.pods, tc.expect, tc.extra)
			if got.OK != (tc.want == "") || !strings.Contains(got.Evidence, tc.want) || got.OK && got.Evidence != "" {
				t.Errorf("got %+v, want evidence %q", got, tc.want)
			}
		})
	}
}

func TestWorkloads(t *testing.T) {
	key := func(name string) model.WorkloadKey {
		return model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: name}
	}
	var many []model.WorkloadKey
	for i := range 8 {
		many = append(many, key(fmt.Sprintf("w%d", 7-i)))
	}
	for _, tc := range []struct {
		name    string
		touched []model.WorkloadKey
		before  []string // healthy then
		now     map[string][2]int
		want    string
	}{
		{name: "nothing touched", now: map[string][2]int{"web": {1, 3}}},
		{name: "healthy", touched: many[7:], before: []string{"w0"}, now: map[string][2]int{"w0": {3, 3}}},
		{name: "more Ready than wanted", touched: many[7:], before: []string{"w0"}, now: map[string][2]int{"w0": {4, 3}}},
		{name: "not healthy any more", touched: many[7:], before: []string{"w0"}, now: map[string][2]int{"w0": {2, 3}},
			want: "ReplicaSet default/w0 has 2 of 3 pods Ready"},
		{name: "not healthy before either", touched: many[7:], now: map[string][2]int{"w0": {2, 3}}},
		{name: "deleted meanwhile", touched: many[7:], before: []string{"w0"}},
		{name: "scaled to nothing", touched: many[7:], before: []string{"w0"}, now: map[string][2]int{"w0": {0, 0}}},
		{name: "another one is not healthy", touched: many[7:], before: []string{"w0", "w1"}, now: map[string][2]int{"w0": {3, 3}, "w1": {0, 3}}},
		{name: "many, in order, the first five named", touched: many, before: []string{"w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"},
			now: map[string][2]int{"w0": {0, 1}, "w1": {0, 1}, "w2": {0, 1}, "w3": {0, 1}, "w4": {0, 1}, "w5": {0, 1}, "w6": {0, 1}, "w7": {1, 1}},
			want: "ReplicaSet default/w0 has 0 of 1 pods Ready; ReplicaSet default/w1 has 0 of 1 pods Ready; ReplicaSet default/w2 has 0 of 1 pods Ready; " +
				"ReplicaSet default/w3 has 0 of 1 pods Ready; ReplicaSet default/w4 has 0 of 1 pods Ready; and 2 more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := make(map[model.WorkloadKey]bool)
			for _, b := range tc.before {
				before[key(b)] = true
			}
			got := gate.Workloads(tc.touched, before, func(k model.WorkloadKey) (model.Workload, bool) {
				n, ok := tc.now[k.Name]
				return model.Workload{WorkloadKey: k, Ready: n[0], Desired: n[1]}, ok
			})
			if got.OK != (tc.want == "") || got.Evidence != tc.want {
				t.Errorf("got %+v, want %q", got, tc.want)
			}
		})
	}
}
