package gate_test

import (
	"slices"
	"testing"

	"github.com/rotatord/rotator/core/gate"
	"github.com/rotatord/rotator/core/model"
)

func static(component, node string, ready bool) *model.Pod {
	return &model.Pod{PodKey: model.PodKey{Namespace: "kube-system", Name: component + "-" + node}, Node: node, Mirror: true, Ready: ready}
}

func TestStaticPods(t *testing.T) {
	n := func(name string, ready bool) *model.Node { return &model.Node{Name: name, Ready: ready} }
	pods := map[string][]*model.Pod{
		"a": {static("kube-apiserver", "a", true), static("etcd-manager-main", "a", true), static("debug", "a", true)},
		"b": {static("kube-apiserver", "b", true), static("etcd-manager-main", "b", true), static("debug", "b", false)},
		"c": {static("kube-apiserver", "c", true), static("etcd-manager-main", "c", false)},
		"d": {static("kube-apiserver", "d", true), {PodKey: model.PodKey{Namespace: "kube-system", Name: "etcd-manager-main-d"}, Node: "d", Ready: true}},
	}
	on := func(node string) []*model.Pod { return pods[node] }
	components := gate.Components([]*model.Node{n("a", true), n("b", true)}, on)
	if want := []string{"kube-system/etcd-manager-main", "kube-system/kube-apiserver"}; !slices.Equal(components, want) {
		t.Fatalf("components %q, want %q: what is not Ready everywhere is not expected", components, want)
	}
	for _, tc := range []struct {
		name string
		node *model.Node
		want string
	}{
		{"whole", n("a", true), ""},
		{"node not Ready", n("a", false), "node a is not Ready"},
		{"pod not Ready", n("c", true), "node c: static pod kube-system/etcd-manager-main-c is not Ready"},
		{"an ordinary pod of the same name does not count", n("d", true), "node d: static pod kube-system/etcd-manager-main is not there yet"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if v := gate.StaticPods(tc.node, on(tc.node.Name), components); v.Evidence != tc.want || v.OK != (tc.want == "") {
				t.Errorf("OK %v, %q; want %q", v.OK, v.Evidence, tc.want)
			}
		})
	}
}

func TestIsControlPlane(t *testing.T) {
	for label, want := range map[string]bool{"node-role.kubernetes.io/control-plane": true, "node-role.kubernetes.io/master": true, "node-role.kubernetes.io/node": false} {
		if got := gate.IsControlPlane(&model.Node{Labels: map[string]string{label: ""}}); got != want {
			t.Errorf("label %s: %v, want %v", label, got, want)
		}
	}
}
