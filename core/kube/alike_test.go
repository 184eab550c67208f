package kube

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/rotatord/rotator/core/model"
)

// change gives one field another value, somewhere in v.
func (s sampler) change(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if f := v.Field(s.IntN(max(v.NumField(), 1))); f.CanSet() && s.IntN(20) > 0 {
			s.change(f)
			return
		}
	case reflect.Pointer:
		if !v.IsNil() && s.IntN(8) > 0 {
			s.change(v.Elem())
			return
		}
	case reflect.Slice:
		if v.Len() > 0 && s.IntN(8) > 0 {
			s.change(v.Index(s.IntN(v.Len())))
			return
		}
	}
	if v.CanSet() {
		v.SetZero()
		s.fill(v, 8)
	}
}

// podReader reads pods as a list does.
func podReader(s *sharer) (*items[model.PodKey, model.Pod], *trimmedList) {
	r := &resource[model.PodKey, model.Pod]{trim: func(o apiruntime.Object) *model.Pod { return s.pod(o.(*corev1.Pod)) }}
	to := &trimmedList{}
	return &items[model.PodKey, model.Pod]{r: r, to: to, example: &corev1.Pod{}, twins: &alikes{s: s}}, to
}

// TestPodsAlike holds what is compared of pods, and what is read of each, to what is
// read of them: of pods that differ in anything the same is kept as if each were read by
// itself.
func TestPodsAlike(t *testing.T) {
	s := sampler{rand.New(rand.NewPCG(3, 4))}
	shared := newSharer()
	in, out := podReader(shared)
	pods, twins := 0, 0
	for range 500 {
		var first corev1.Pod
		s.fill(reflect.ValueOf(&first.ObjectMeta).Elem(), 0)
		s.fill(reflect.ValueOf(&first.Spec).Elem(), 0)
		s.fill(reflect.ValueOf(&first.Status).Elem(), 0)
		first.DeletionTimestamp, first.Finalizers, first.Spec.Volumes = nil, nil, nil // those are not shared
		first.Annotations = map[string]string{"cni/address": "10.0.0.1"}
		if s.IntN(8) == 0 {
			s.fill(reflect.ValueOf(&first.Annotations).Elem(), 0)
		}
		if s.IntN(4) == 0 {
			s.fill(reflect.ValueOf(&first.Spec.Volumes).Elem(), 0)
		}
		for i := range 8 {
			p := first.DeepCopy()
			p.Name, p.UID, p.ResourceVersion, p.Spec.NodeName = fmt.Sprint("pod-", i), "uid", fmt.Sprint(i), fmt.Sprint("node-", i)
			s.fill(reflect.ValueOf(&p.Status.Conditions).Elem(), 0)
			s.fill(reflect.ValueOf(&p.Status.StartTime).Elem(), 0)
			s.fill(reflect.ValueOf(&p.CreationTimestamp).Elem(), 0)
			for j := range p.Spec.Volumes {
				p.Spec.Volumes[j].Name = fmt.Sprint("volume-", i)
			}
			if s.IntN(3) == 0 {
				s.change(reflect.ValueOf(p).Elem().Field(1 + s.IntN(3)))
			}
			message := marshal(t, p)
			var whole corev1.Pod
			if err := whole.Unmarshal(message); err != nil {
				t.Fatal(err)
			}
			if twin, _ := in.twins.twin(message); twin != nil {
				twins++
			}
			pods++
			if err := in.message(cutPod, message); err != nil {
				t.Fatal(err)
			}
			want, got := shared.pod(&whole), out.Items[len(out.Items)-1].(*trimmed[model.Pod])
			if diff := cmp.Diff(want, got.value, trimsAlike); diff != "" {
				t.Fatalf("in a list (+) pod %d reads otherwise than by itself (-):\n%s", pods, diff)
			}
			if got.name != p.Name || got.namespace != p.Namespace || got.uid != string(p.UID) {
				t.Fatalf("%+v is the key of %+v", got, p.ObjectMeta)
			}
		}
	}
	t.Logf("%d of %d pods are like one before", twins, pods)
	if twins < pods/2 {
		t.Error("the pods differ too much to try anything")
	}
}

// TestPodsOfATemplateAreAlike is about what keeps pods of one template apart on a real
// cluster, and must not.
func TestPodsOfATemplateAreAlike(t *testing.T) {
	templated := func(i int) *corev1.Pod {
		p := newPod("ns", fmt.Sprint("web-", i), fmt.Sprint("u", i))
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web", Controller: ptr(true)}}
		p.ResourceVersion, p.Generation = fmt.Sprint(100+i), int64(i)
		p.CreationTimestamp = metav1.Unix(int64(1e9+i), 0)
		p.Annotations = map[string]string{"cni.projectcalico.org/podIP": fmt.Sprint("10.0.0.", i), "checksum/config": "abc"}
		p.Spec.NodeName = fmt.Sprint("n", i)
		p.Spec.Volumes = []corev1.Volume{{Name: fmt.Sprint("kube-api-access-", i), VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}}}
		p.Spec.Containers = []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: p.Spec.Volumes[0].Name}}}}
		start := metav1.Unix(int64(1e9+i), 0)
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprint("10.0.0.", i), HostIP: fmt.Sprint("10.1.0.", i), StartTime: &start,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: start},
				{Type: "example.com/gate", Status: corev1.ConditionTrue, Message: fmt.Sprint(i)}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", ContainerID: fmt.Sprint("containerd://", i)}}}
		return p
	}
	a := &alikes{s: newSharer()}
	first := templated(1)
	_, key := a.twin(marshal(t, first))
	a.remember(key, first, a.s.pod(first))
	got, _ := a.twin(marshal(t, templated(2)))
	if got == nil {
		t.Fatal("it is not like the first")
	}
	if diff := cmp.Diff(a.s.pod(templated(2)), got.value); diff != "" {
		t.Error(diff)
	}
	for what, change := range map[string]func(*corev1.Pod){
		"namespace":      func(p *corev1.Pod) { p.Namespace = "other" },
		"volume":         func(p *corev1.Pod) { p.Spec.Volumes[0].EmptyDir = &corev1.EmptyDirVolumeSource{} },
		"label":          func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} },
		"owner":          func(p *corev1.Pod) { p.OwnerReferences = nil },
		"request":        func(p *corev1.Pod) { p.Spec.Overhead = corev1.ResourceList{"cpu": quantity.MustParse("1")} },
		"terminating":    func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} },
		"phase":          func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"restarts":       func(p *corev1.Pod) { p.Status.ContainerStatuses[0].RestartCount = 1 },
		"do-not-disrupt": func(p *corev1.Pod) { p.Annotations[annotationDoNotDisrupt] = "true" },
	} {
		p := templated(3)
		change(p)
		if got, key := a.twin(marshal(t, p)); got != nil || len(key) == 0 {
			t.Errorf("with another %s it is taken for like the first", what)
		}
	}
	// Until when it is held counts from its own start, which is not compared.
	held := templated(4)
	held.Annotations[annotationDoNotDisrupt] = "10m"
	_, key = a.twin(marshal(t, held))
	if a.remember(key, held, a.s.pod(held)); a.known[string(key)].pod.Namespace != "" {
		t.Error("a pod that is held for a time is remembered")
	}
	for _, message := range []string{"\xff", "\x0a\xff"} {
		if got, key := a.twin([]byte(message)); got != nil || key != nil {
			t.Errorf("%q is a pod", message)
		}
	}
}

// TestAlikesAreBounded has a list of pods of which each has labels of its own.
func TestAlikesAreBounded(t *testing.T) {
	a := &alikes{s: newSharer()}
	for i := range 2*maxAlike + 10 {
		p := newPod("ns", "db", "u")
		p.Labels = map[string]string{"statefulset.kubernetes.io/pod-name": strings.Repeat("x", i%7) + fmt.Sprint(i)}
		_, key := a.twin(marshal(t, p))
		a.remember(key, p, a.s.pod(p))
		if len(a.known) > maxAlike {
			t.Fatalf("%d are remembered", len(a.known))
		}
	}
	if len(a.known) != 10 {
		t.Errorf("%d are remembered at the end", len(a.known))
	}
}
