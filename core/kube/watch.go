package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/rotatord/rotator/core/model"
)

// syncTimeout bounds the first lists: 150,000 pods take some seconds.
const syncTimeout = 2 * time.Minute

// maxRelistPause between tries to reach an API server that is away.
const maxRelistPause = 5 * time.Second

// resource keeps one table up to date with one resource of the API. It is the
// store of a reflector.
type resource[K comparable, V any] struct {
	name  string // plural, as in a path and in RBAC
	group string // API group, as in RBAC
	feed  *feed
	table *table[K, V]
	// trim returns the model's value of an object of the API, or nil for one that
	// does not count. Its strings are shared, so it is called by one goroutine.
	trim   func(apiruntime.Object) *V
	shared *sharer
	key    func(namespace, name string) K
	// twins reads the objects of one list that are alike; nil: each is read by itself.
	// What it makes is used by the goroutine that trims.
	twins func() twins[V]

	// optional: an API server that does not serve it has none of it.
	optional bool

	once   sync.Once
	synced chan struct{} // closed with the first whole list

	mu      sync.Mutex
	lastErr error // of the last list; nil after a good one
}

// trimmed is an object on its way from a page of a list to the table. A whole
// list of the API's own objects would be ten times as large.
type trimmed[V any] struct {
	name, namespace string
	uid             string
	value           *V // nil: does not count
}

// convert accepts an object of the API, or one that a list has trimmed.
func (r *resource[K, V]) convert(obj any) (*trimmed[V], error) {
	if t, ok := obj.(*trimmed[V]); ok {
		return t, nil
	}
	o, ok := obj.(apiruntime.Object)
	if !ok {
		return nil, fmt.Errorf("%s: unexpected %T", r.name, obj)
	}
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("%s: %T has no metadata", r.name, obj)
	}
	return &trimmed[V]{name: m.GetName(), namespace: m.GetNamespace(), uid: string(m.GetUID()), value: r.trim(o)}, nil
}

// Add is Update: what is known decides, not what the event is called.
func (r *resource[K, V]) Add(obj any) error { return r.Update(obj) }

// Update takes an object's new state. One that no longer counts is gone.
func (r *resource[K, V]) Update(obj any) error { return r.apply(obj, false) }

// Delete takes an object's last state.
func (r *resource[K, V]) Delete(obj any) error { return r.apply(obj, true) }

func (r *resource[K, V]) apply(obj any, deleted bool) error {
	t, err := r.convert(obj)
	if err != nil {
		return err
	}
	k := r.key(t.namespace, t.name)
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	var dirty bool
	if deleted || t.value == nil {
		dirty = r.table.remove(k, t.uid)
	} else {
		dirty = r.table.put(k, t.value)
	}
	if dirty {
		r.feed.touch()
	}
	if r.table.hurried() {
		r.feed.hurry()
	}
	return nil
}

// Replace takes a whole list: the first, or one after the watch was lost.
func (r *resource[K, V]) Replace(list []any, _ string) error {
	items := make(map[K]*V, len(list))
	for _, obj := range list {
		t, err := r.convert(obj)
		if err != nil {
			return err
		}
		if t.value != nil {
			items[r.key(t.namespace, t.name)] = t.value
		}
	}
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	if r.table.replace(items) {
		r.feed.touch()
	}
	r.once.Do(func() { close(r.synced) })
	return nil
}

// Resync does nothing: there is no second reader to tell again.
func (r *resource[K, V]) Resync() error { return nil }

var _ cache.ReflectorStore = (*resource[string, node])(nil)

// failed keeps the outcome of the last list, for Start.
func (r *resource[K, V]) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
	if r.optional && apierrors.IsNotFound(err) {
		r.once.Do(func() { close(r.synced) })
	}
}

// state tells whether the first whole list is there, and how the last one went.
func (r *resource[K, V]) state() (synced bool, name, group string, err error) {
	select {
	case <-r.synced:
		return true, r.name, r.group, nil
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return false, r.name, r.group, r.lastErr
}

// run lists, page by page, and watches until ctx ends. After a lost connection
// it goes on where it was; after a long one it lists again, and the table finds
// the differences.
// wake is called after each try to list.
func (r *resource[K, V]) run(ctx context.Context, client *rest.RESTClient, example apiruntime.Object, wake func()) {
	lw := cache.NewListWatchFromClient(client, r.name, metav1.NamespaceAll, fields.Everything())
	lw.ListWithContextFunc = func(ctx context.Context, _ metav1.ListOptions) (apiruntime.Object, error) {
		list, err := r.list(ctx, client, example)
		r.failed(err)
		if err != nil {
			wake()
			return nil, err
		}
		return list, nil
	}
	cache.NewReflectorWithOptions(pages{lw}, example, r, cache.ReflectorOptions{
		Name: "rotator-" + r.name,
		// client-go's default goes up to a minute, for thousands of kubelets that
		// come back at once. We are one, and a drain waits for us.
		Backoff: &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5, Cap: maxRelistPause},
	}).RunWithContext(ctx)
}

// watching is a resource of any type.
type watching interface {
	run(ctx context.Context, client *rest.RESTClient, example apiruntime.Object, wake func())
	state() (synced bool, name, group string, err error)
	done() <-chan struct{}
}

func (r *resource[K, V]) done() <-chan struct{} { return r.synced }

func newResource[K comparable, V any](f *feed, t *table[K, V], name, group string, key func(namespace, name string) K, trim func(*sharer, apiruntime.Object) *V) *resource[K, V] {
	s := newSharer()
	s.clock = f.clock
	return &resource[K, V]{
		name: name, group: group, feed: f, table: t, key: key,
		shared: s,
		trim:   func(o apiruntime.Object) *V { return trim(s, o) },
		synced: make(chan struct{}),
	}
}

// Start lists and watches everything, and returns once the first lists are
// whole. The watches end with ctx. A missing permission is an *Error at once;
// what may pass is tried again for two minutes. It may be called once.
func (c *Cluster) Start(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	ctx = c.logged(ctx)
	workload := func(kind string) func(namespace, name string) model.WorkloadKey {
		return func(namespace, name string) model.WorkloadKey {
			return model.WorkloadKey{Kind: kind, Namespace: namespace, Name: name}
		}
	}
	f := c.feed
	type source struct {
		watching
		client  *rest.RESTClient
		example apiruntime.Object
	}
	pods := newResource(f, f.pods, "pods", "", func(namespace, name string) model.PodKey { return model.PodKey{Namespace: namespace, Name: name} },
		func(s *sharer, o apiruntime.Object) *model.Pod { return s.pod(o.(*corev1.Pod)) })
	pods.twins = func() twins[model.Pod] { return &alikes{s: pods.shared} }
	sources := []source{
		{newResource(f, f.nodes, "nodes", "", func(_, name string) string { return name },
			func(s *sharer, o apiruntime.Object) *node { return s.node(o.(*corev1.Node)) }), c.core, &corev1.Node{}},
		{pods, c.core, &corev1.Pod{}},
		{newResource(f, f.replicaSets, "replicasets", "apps", workload(kindReplicaSet),
			func(s *sharer, o apiruntime.Object) *model.Workload { return s.replicaSet(o.(*appsv1.ReplicaSet)) }), c.apps, &appsv1.ReplicaSet{}},
		{newResource(f, f.statefulSets, "statefulsets", "apps", workload(kindStatefulSet),
			func(s *sharer, o apiruntime.Object) *model.Workload { return s.statefulSet(o.(*appsv1.StatefulSet)) }), c.apps, &appsv1.StatefulSet{}},
		{newResource(f, f.daemonSets, "daemonsets", "apps", workload(kindDaemonSet),
			func(s *sharer, o apiruntime.Object) *model.Workload { return s.daemonSet(o.(*appsv1.DaemonSet)) }), c.apps, &appsv1.DaemonSet{}},
		{newResource(f, f.budgets, "poddisruptionbudgets", "policy", func(namespace, name string) model.BudgetKey { return model.BudgetKey{Namespace: namespace, Name: name} },
			func(s *sharer, o apiruntime.Object) *budget { return s.budget(o.(*policyv1.PodDisruptionBudget)) }), c.policy, &policyv1.PodDisruptionBudget{}},
	}
	sources = append(sources, source{newResource(f, f.deployments, "deployments", "apps", workload(kindDeployment),
		func(s *sharer, o apiruntime.Object) *model.Deployment { return s.deployment(o.(*appsv1.Deployment)) }), c.apps, &appsv1.Deployment{}})
	if c.autoscaling {
		r := newResource(f, f.autoscalers, "horizontalpodautoscalers", "autoscaling",
			func(namespace, name string) model.AutoscalerKey {
				return model.AutoscalerKey{Namespace: namespace, Name: name}
			},
			func(s *sharer, o apiruntime.Object) *model.Autoscaler {
				return s.autoscaler(o.(*autoscalingv1.HorizontalPodAutoscaler))
			})
		sources = append(sources, source{r, c.scaling, &autoscalingv1.HorizontalPodAutoscaler{}})
	}
	if c.volumes {
		claims := newResource(f, f.claims, "persistentvolumeclaims", "",
			func(namespace, name string) model.ClaimKey {
				return model.ClaimKey{Namespace: namespace, Name: name}
			},
			func(s *sharer, o apiruntime.Object) *model.Claim { return s.claim(o.(*corev1.PersistentVolumeClaim)) })
		attachments := newResource(f, f.attachments, "volumeattachments", "storage.k8s.io", func(_, name string) string { return name },
			func(s *sharer, o apiruntime.Object) *model.Attachment {
				return s.attachment(o.(*storagev1.VolumeAttachment))
			})
		attachments.optional = true
		sources = append(sources, source{claims, c.core, &corev1.PersistentVolumeClaim{}}, source{attachments, c.storage, &storagev1.VolumeAttachment{}})
	}
	failure := make(chan struct{}, 1)
	wake := func() {
		select {
		case failure <- struct{}{}:
		default:
		}
	}
	for _, s := range sources {
		go s.run(ctx, s.client, s.example, wake)
	}
	go f.run(ctx)

	timeout := time.NewTimer(syncTimeout)
	defer timeout.Stop()
	for _, s := range sources {
		for synced := false; !synced; {
			select {
			case <-s.done():
				synced = true
			case <-failure:
				for _, s := range sources {
					if err := c.fatal(s.watching); err != nil {
						return err
					}
				}
			case <-timeout.C:
				_, name, _, err := s.state()
				return fault(CodeUnreachable, err, "look at the API server's load and logs, and try again",
					"the API server %s has not listed all %s within %v (last error: %v)", c.server, name, syncTimeout, err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// fatal tells whether a list failed in a way that only a person can mend.
func (c *Cluster) fatal(w watching) error {
	_, name, group, err := w.state()
	switch {
	case apierrors.IsUnauthorized(err):
		return c.unauthorized(err)
	case apierrors.IsForbidden(err):
		return fault(CodeForbidden, err, "grant it to this user by a ClusterRole, in all namespaces; deploy/kubernetes/rbac.yaml has all that is needed",
			"the permission to list and watch %s is missing: %v", qualified(name, group), err)
	}
	return nil
}

// qualified is a resource as RBAC and kubectl write it.
func qualified(name, group string) string {
	if group == "" {
		return name
	}
	return name + "." + group
}
