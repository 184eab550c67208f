// Package kubelet plays the kubelet of every node of a cluster, without any
// container: it posts each node's status and renews its lease, runs the pods
// bound to it from Pending to Running and Ready, completes those that may
// complete, and ends those that are being deleted.
package kubelet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Options tune a Simulator. The zero value is the fastest possible cluster:
// every delay zero.
type Options struct {
	StartDelay time.Duration // a pod, from bound to Running and Ready
	StopDelay  time.Duration // a pod, from asked to end to gone; its grace period cuts it short
	RunDelay   time.Duration // a pod that may complete, from Running to Succeeded
	ReadyDelay time.Duration // a node, from registered to Ready
	// LeaseInterval is how often each node's lease is renewed; 0 means 10 s, as
	// kubelets do.
	LeaseInterval time.Duration
	// Workers is how many objects are handled at once; 0 means 16.
	Workers int
}

// A Simulator plays the kubelets of all nodes.
type Simulator struct {
	client  kubernetes.Interface
	opts    Options
	nodes   corelisters.NodeLister
	pods    corelisters.PodLister
	volumes volumes
	queue   workqueue.TypedRateLimitingInterface[key]
	bound   sync.Map // types.UID of a pod -> time.Time when it was first seen here
	ending  sync.Map // types.UID of a pod -> time.Time when it was first seen being deleted
	stopped sync.Map // providerID -> struct{}: machines that were shut down
	silent  sync.Map // providerID -> struct{}: machines that run, with a kubelet that hangs
	lastIP  atomic.Uint32
}

// key names an object; a node has no namespace.
type key struct{ namespace, name string }

// New makes a Simulator that acts through client; Run starts it.
func New(client kubernetes.Interface, opts Options) *Simulator {
	if opts.Workers == 0 {
		opts.Workers = 16
	}
	if opts.LeaseInterval == 0 {
		opts.LeaseInterval = 10 * time.Second
	}
	return &Simulator{client: client, opts: opts, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[key](20*time.Millisecond, 5*time.Second))}
}

// StopMachine ends the kubelet of the machine with this provider id for good:
// its lease runs out, its pods are neither started nor ended any more. Machines
// are known by provider id because a later one may get the same node name.
func (s *Simulator) StopMachine(providerID string) { s.stopped.Store(providerID, struct{}{}) }

func (s *Simulator) alive(n *corev1.Node) bool {
	_, stopped := s.stopped.Load(n.Spec.ProviderID)
	_, silent := s.silent.Load(n.Spec.ProviderID)
	return !stopped && !silent || n.Spec.ProviderID == ""
}

// Silence lets a node's kubelet fall silent while its machine runs on, as when
// it hangs: its lease runs out, and its pods are neither started nor ended. It
// returns the machine's provider id, for Wake.
func (s *Simulator) Silence(ctx context.Context, node string) (providerID string, err error) {
	n, err := s.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("kubelet of node %q: %w", node, err)
	}
	if n.Spec.ProviderID == "" {
		return "", fmt.Errorf("node %q has no provider id: no machine runs its kubelet", node)
	}
	s.silent.Store(n.Spec.ProviderID, struct{}{})
	return n.Spec.ProviderID, nil
}

// Wake ends what Silence did, however often that was called.
func (s *Simulator) Wake(ctx context.Context, node, providerID string) error {
	s.silent.Delete(providerID)
	// What happened meanwhile was not acted on, and will not be told again.
	s.queue.Add(key{name: node})
	pods, err := s.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return fmt.Errorf("pods of node %q: %w", node, err)
	}
	for i := range pods.Items {
		s.queue.Add(key{pods.Items[i].Namespace, pods.Items[i].Name})
	}
	return nil
}

// Run plays the kubelets until ctx is done.
func (s *Simulator) Run(ctx context.Context) error {
	nodes := informers.NewSharedInformerFactory(s.client, 0)
	pods := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithTweakListOptions(
		func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermNotEqualSelector("spec.nodeName", "").String()
		}))
	claims, volumeInformer := nodes.Core().V1().PersistentVolumeClaims(), nodes.Core().V1().PersistentVolumes()
	s.volumes.claims, s.volumes.volumes = claims.Lister(), volumeInformer.Lister()
	claimsInformer, volumesInformer := claims.Informer(), volumeInformer.Informer()
	s.nodes, s.pods = nodes.Core().V1().Nodes().Lister(), pods.Core().V1().Pods().Lister()
	nodeInformer, podInformer := nodes.Core().V1().Nodes().Informer(), pods.Core().V1().Pods().Informer()
	enqueue := func(o any) {
		if m, ok := o.(metav1.Object); ok {
			s.queue.Add(key{m.GetNamespace(), m.GetName()})
		}
		if p, ok := o.(*corev1.Pod); ok && hasClaims(p) {
			s.volumes.used.Store(true)
			s.queue.Add(key{name: p.Spec.NodeName}) // reports which volumes are in use
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, o any) { enqueue(o) },
		DeleteFunc: func(o any) {
			if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = t.Obj
			}
			if p, ok := o.(*corev1.Pod); ok {
				s.bound.Delete(p.UID)
				s.ending.Delete(p.UID)
				if hasClaims(p) {
					s.queue.Add(key{name: p.Spec.NodeName})
				}
			}
		},
	}
	for _, i := range []cache.SharedIndexInformer{nodeInformer, podInformer} {
		if _, err := i.AddEventHandler(handler); err != nil {
			return err
		}
	}
	nodes.Start(ctx.Done())
	pods.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), nodeInformer.HasSynced, podInformer.HasSynced, claimsInformer.HasSynced, volumesInformer.HasSynced) {
		return ctx.Err()
	}
	var wg sync.WaitGroup
	for range s.opts.Workers {
		wg.Go(func() { s.work(ctx) })
	}
	wg.Go(func() { s.renewLeases(ctx) })
	<-ctx.Done()
	s.queue.ShutDown()
	wg.Wait()
	nodes.Shutdown()
	pods.Shutdown()
	return nil
}

func (s *Simulator) work(ctx context.Context) {
	for {
		k, quit := s.queue.Get()
		if quit {
			return
		}
		again, err := s.sync(ctx, k)
		switch {
		case err != nil && !apierrors.IsNotFound(err):
			s.queue.AddRateLimited(k)
		case again > 0:
			s.queue.Forget(k)
			s.queue.AddAfter(k, again)
		default:
			s.queue.Forget(k)
		}
		s.queue.Done(k)
	}
}

// sync brings one object a step further and returns how long to wait before it
// is looked at again; 0 means until it changes.
func (s *Simulator) sync(ctx context.Context, k key) (again time.Duration, err error) {
	if k.namespace == "" {
		n, err := s.nodes.Get(k.name)
		if err != nil || !s.alive(n) {
			return 0, err
		}
		return s.syncNode(ctx, n)
	}
	p, err := s.pods.Pods(k.namespace).Get(k.name)
	if err != nil {
		return 0, err
	}
	n, err := s.nodes.Get(p.Spec.NodeName)
	if apierrors.IsNotFound(err) && time.Since(p.CreationTimestamp.Time) < time.Minute {
		// The two informers are not in step: a pod may be seen before its node.
		return 100 * time.Millisecond, nil
	}
	if err != nil || !s.alive(n) {
		return 0, err // no kubelet: the pod garbage collector's work
	}
	if p.DeletionTimestamp != nil {
		return s.stopPod(ctx, p)
	}
	switch p.Status.Phase {
	case corev1.PodPending, "":
		return s.startPod(ctx, p, n)
	case corev1.PodRunning:
		if calledNotReady(p) {
			return 0, s.patchStatus(ctx, p, readyAgain())
		}
		return s.completePod(ctx, p)
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown:
	}
	return 0, nil
}

// firstSeen returns when a pod was first seen in the state that times keeps.
func firstSeen(times *sync.Map, uid types.UID) time.Time {
	t, _ := times.LoadOrStore(uid, time.Now())
	return t.(time.Time)
}
