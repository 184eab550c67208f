package observer

import (
	"context"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// sink is the store of a reflector: it hands each event on as it comes. An
// informer would not do, since its queue may join the events of one object and
// so change the order between objects, and the order decides who was healthy
// when.
type sink struct {
	set    func(metav1.Object)
	remove func(metav1.Object)

	mu     sync.Mutex
	known  map[types.UID]metav1.Object
	synced chan struct{} // closed after the first list
	once   sync.Once
}

func newSink(set, remove func(metav1.Object)) *sink {
	return &sink{set: set, remove: remove, known: map[types.UID]metav1.Object{}, synced: make(chan struct{})}
}

func (s *sink) Add(o any) error { return s.Update(o) }

func (s *sink) Update(o any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := o.(metav1.Object)
	s.known[m.GetUID()] = m
	s.set(m)
	return nil
}

func (s *sink) Delete(o any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := o.(metav1.Object)
	delete(s.known, m.GetUID())
	s.remove(m)
	return nil
}

// Replace comes at the start, and when a watch had to be begun anew.
func (s *sink) Replace(list []any, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := make(map[types.UID]metav1.Object, len(list))
	for _, o := range list {
		m := o.(metav1.Object)
		listed[m.GetUID()] = m
	}
	// Healthy pods first: otherwise a replacement that was Ready before its
	// predecessor went would look as if it came after.
	for _, pass := range []bool{true, false} {
		for _, m := range listed {
			if isHealthyPod(m) == pass {
				s.set(m)
			}
		}
	}
	for uid, m := range s.known {
		if listed[uid] == nil {
			s.remove(m)
		}
	}
	s.known = listed
	s.once.Do(func() { close(s.synced) })
	return nil
}

func isHealthyPod(o metav1.Object) bool {
	p, ok := o.(*corev1.Pod)
	return ok && p.DeletionTimestamp == nil && isReady(p)
}

func (s *sink) Resync() error { return nil }

// watch feeds the tracker until ctx is done. It closes synced once everything
// that there was has been seen.
func (t *tracker) watch(ctx context.Context, client kubernetes.Interface, synced chan<- struct{}) {
	setController := func(o metav1.Object) {
		if uid, c, ok := controllerOf(o); ok {
			t.setController(uid, c)
		}
	}
	removeController := func(o metav1.Object) { t.removeController(o.GetUID()) }
	apps, core, policy := client.AppsV1().RESTClient(), client.CoreV1().RESTClient(), client.PolicyV1().RESTClient()
	sources := []struct {
		resource string
		client   cache.Getter
		object   any
		sink     *sink
	}{
		{"deployments", apps, &appsv1.Deployment{}, newSink(setController, removeController)},
		{"replicasets", apps, &appsv1.ReplicaSet{}, newSink(setController, removeController)},
		{"statefulsets", apps, &appsv1.StatefulSet{}, newSink(setController, removeController)},
		{"replicationcontrollers", core, &corev1.ReplicationController{}, newSink(setController, removeController)},
		{"poddisruptionbudgets", policy, &policyv1.PodDisruptionBudget{}, newSink(
			func(o metav1.Object) { t.setBudget(o.(*policyv1.PodDisruptionBudget)) },
			func(o metav1.Object) { t.removeBudget(o.GetNamespace(), o.GetUID()) })},
		{"pods", core, &corev1.Pod{}, newSink(
			func(o metav1.Object) { t.setPod(o.(*corev1.Pod)) },
			func(o metav1.Object) { t.removePod(o.GetNamespace(), o.GetUID()) })},
	}
	var wg sync.WaitGroup
	for _, s := range sources {
		lw := cache.NewListWatchFromClient(s.client, s.resource, metav1.NamespaceAll, fields.Everything())
		r := cache.NewReflectorWithOptions(lw, s.object, s.sink, cache.ReflectorOptions{Name: "observer " + s.resource})
		wg.Go(func() { r.RunWithContext(ctx) })
	}
	for _, s := range sources {
		select {
		case <-s.sink.synced:
		case <-ctx.Done():
		}
	}
	close(synced)
	wg.Wait()
}
