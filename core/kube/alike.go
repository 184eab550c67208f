package kube

import (
	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/rotatord/rotator/core/model"
)

// The pods of one template differ in their names, in their nodes, and in when they
// became Ready. In a list, what they are alike in is decoded and trimmed once, for
// the first of them; of the others only the rest is read. A message is cut twice for
// that: into what is compared, and never decoded, and into what is the pod's own.
// TestPodsAlike holds both to what is read.

// maxAlike bounds the templates that are remembered: some 4 MiB. Beyond, it starts
// anew. An API server lists by namespace and name, so that pods of one template
// follow each other.
const maxAlike = 1 << 12

var (
	// cutAlike leaves what (*sharer).alike reads: all but name, uid, resourceVersion,
	// generation, creationTimestamp, node, names of volumes (of which each has one that is
	// drawn by lot, for its token), conditions, startTime, and annotations that nobody reads
	// (network plugins write each pod's address into some).
	cutAlike = cutPod.but(inside{
		1: cutMeta.but(inside{12: cutting(nil).onlyOf(podAnnotations...)}, 1, 5, 6, 7, 8),
		2: cutPodSpec.but(inside{1: cutVolume.but(nil, 1)}, 10),
		3: cutPodStatus.but(nil, 2, 7),
	})
	// cutOwn leaves what (*sharer).own reads: name, uid, node, two conditions.
	cutOwn = keeping(inside{
		1: keeping(inside{1: nil, 5: nil}),
		2: keeping(inside{10: nil}),
		3: keeping(inside{2: cutCondition.but(nil, 7).onlyOf(string(corev1.PodReady), string(corev1.PodScheduled))}),
	})
)

// alikes reads the pods of one list, for one goroutine.
type alikes struct {
	s     *sharer
	known map[string]alike // by what cutAlike leaves

	// Made once, and used for each pod.
	key, own   []byte
	read       corev1.Pod
	conditions []corev1.PodCondition
}

// alike is a pod as it is but for its own.
type alike struct {
	pod       model.Pod
	restarted bool
}

var _ twins[model.Pod] = (*alikes)(nil)

// twin implements twins. Without a key the message cannot be read, which the decoder
// explains better.
func (a *alikes) twin(message []byte) (*trimmed[model.Pod], []byte) {
	var ok bool
	if a.key, ok = cutAlike.prune(a.key[:0], message); !ok {
		return nil, nil
	}
	known, ok := a.known[string(a.key)]
	if !ok {
		return nil, a.key
	}
	if a.own, ok = cutOwn.prune(a.own[:0], message); !ok {
		return nil, nil
	}
	a.read = corev1.Pod{Status: corev1.PodStatus{Conditions: a.conditions[:0]}}
	if a.read.Unmarshal(a.own) != nil {
		return nil, nil
	}
	a.conditions = a.read.Status.Conditions
	p := new(model.Pod)
	*p = known.pod
	a.s.own(p, &a.read, known.restarted)
	return &trimmed[model.Pod]{name: p.Name, namespace: p.Namespace, uid: p.UID, value: p}, nil
}

// remember implements twins. What depends on times and names is not shared: a
// pod's end, annotations with a time, claims.
func (a *alikes) remember(key []byte, o apiruntime.Object, p *model.Pod) {
	if p.Detail != nil || len(p.Claims) > 0 {
		return
	}
	if a.known == nil || len(a.known) >= maxAlike {
		a.known = make(map[string]alike)
	}
	a.known[string(key)] = alike{pod: *p, restarted: restarted(o.(*corev1.Pod))}
}
