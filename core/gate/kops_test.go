package gate_test

import (
	"testing"

	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

func TestKopsValidate(t *testing.T) {
	worker := &model.Node{Name: "w", Ready: true}
	master := &model.Node{Name: "m", Ready: true, Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}}
	whole := []*model.Pod{static("kube-apiserver", "m", true), static("kube-controller-manager", "m", true), static("kube-scheduler", "m", true)}
	pod := func(name, node, phase string, ready bool) *model.Pod {
		return &model.Pod{PodKey: model.PodKey{Namespace: "kube-system", Name: name}, Node: node, Phase: phase, Ready: ready}
	}
	for _, tc := range []struct {
		name     string
		nodes    []*model.Node
		on       []*model.Pod // of the control-plane node
		critical []*model.Pod
		want     string
	}{
		{"valid", []*model.Node{worker, master}, whole, []*model.Pod{pod("dns", "w", "Running", true)}, ""},
		{"node not Ready", []*model.Node{{Name: "x"}}, nil, nil, "node x is not Ready"},
		{"no network", []*model.Node{{Name: "x", Ready: true, Taints: []model.Taint{{Key: "node.kubernetes.io/network-unavailable"}}}}, nil, nil, "node x has no network"},
		{"no scheduler", []*model.Node{master}, whole[:2], nil, "node m: static pod kube-system/kube-scheduler is not there yet"},
		{"API server not Ready", []*model.Node{master}, append([]*model.Pod{static("kube-apiserver", "m", false)}, whole[1:]...), nil, "node m: static pod kube-system/kube-apiserver-m is not Ready"},
		{"critical pod without a node", []*model.Node{worker}, nil, []*model.Pod{pod("dns", "", "Pending", false)}, "pod kube-system/dns, which is system-critical, is Pending"},
		{"critical pod not Ready", []*model.Node{worker}, nil, []*model.Pod{pod("dns", "w", "Running", false)}, "pod kube-system/dns, which is system-critical, is not Ready"},
		{"a critical pod elsewhere is none of ours", []*model.Node{worker}, nil, []*model.Pod{pod("dns", "other", "Running", false)}, ""},
		{"one that ended or ends", []*model.Node{worker}, nil, []*model.Pod{pod("job", "w", "Succeeded", false),
			{PodKey: model.PodKey{Name: "x"}, Node: "w", Phase: "Running", Terminating: true}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if v := gate.KopsValidate(tc.nodes, func(string) []*model.Pod { return tc.on }, tc.critical); v.Evidence != tc.want || v.OK != (tc.want == "") {
				t.Errorf("OK %v, %q; want %q", v.OK, v.Evidence, tc.want)
			}
		})
	}
}
