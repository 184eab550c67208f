// Package csi plays a CSI driver without any disk: it registers itself and its
// nodes, and stands where an external-attacher would between Kubernetes'
// attach-detach controller, which is the real one, and the cloud.
package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Driver is the name that PersistentVolumes give as spec.csi.driver.
const Driver = "disk.csi.sandbox.rotatord.github.io"

// finalizer keeps a VolumeAttachment until its volume is detached, as the
// external-attacher's does.
const finalizer = "external-attacher/disk-csi-sandbox"

// Delays of the simulated cloud.
type Delays struct {
	Attach time.Duration // from the attachment's making to status.attached
	Detach time.Duration // from its deletion to its end
}

// A Simulator is the driver's controller and its part on each node.
type Simulator struct {
	client kubernetes.Interface
	delays Delays
	queue  workqueue.TypedRateLimitingInterface[string]

	nodes       cache.SharedIndexInformer
	attachments cache.SharedIndexInformer
	seen        sync.Map // UID and what for -> time.Time when it was first seen
}

// New makes a Simulator that acts through client; Run starts it.
func New(client kubernetes.Interface, delays Delays) *Simulator {
	return &Simulator{client: client, delays: delays, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 5*time.Second))}
}

// workers handle attachments and nodes at once.
const workers = 4

// Run plays the driver until ctx is done.
func (s *Simulator) Run(ctx context.Context) error {
	if err := s.register(ctx); err != nil {
		return err
	}
	f := informers.NewSharedInformerFactory(s.client, 0)
	s.nodes, s.attachments = f.Core().V1().Nodes().Informer(), f.Storage().V1().VolumeAttachments().Informer()
	for prefix, i := range map[string]cache.SharedIndexInformer{"node/": s.nodes, "attachment/": s.attachments} {
		add := func(o any) {
			if m, ok := o.(metav1.Object); ok {
				s.queue.Add(prefix + m.GetName())
			}
		}
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }}); err != nil {
			return err
		}
	}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { s.work(ctx) })
	}
	<-ctx.Done()
	s.queue.ShutDown()
	wg.Wait()
	f.Shutdown()
	return nil
}

// register tells the cluster that the driver's volumes need to be attached.
func (s *Simulator) register(ctx context.Context) error {
	attach, podInfo := true, false
	_, err := s.client.StorageV1().CSIDrivers().Create(ctx, &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: Driver},
		Spec:       storagev1.CSIDriverSpec{AttachRequired: &attach, PodInfoOnMount: &podInfo},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
		return fmt.Errorf("CSIDriver %s: %w", Driver, err)
	}
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
		default:
			s.queue.Forget(k)
			if again > 0 {
				s.queue.AddAfter(k, again)
			}
		}
		s.queue.Done(k)
	}
}

func (s *Simulator) sync(ctx context.Context, k string) (time.Duration, error) {
	kind, name := k[:4], k[5:]
	if kind == "node" {
		o, ok, err := s.nodes.GetStore().GetByKey(name)
		if !ok || err != nil {
			return 0, err
		}
		return 0, s.syncNode(ctx, o.(*corev1.Node))
	}
	o, ok, err := s.attachments.GetStore().GetByKey(k[len("attachment/"):])
	if !ok || err != nil {
		return 0, err
	}
	return s.syncAttachment(ctx, o.(*storagev1.VolumeAttachment))
}

// syncNode does the node driver registrar's part: without it the scheduler and
// the attach-detach controller take the node for one that has no such driver.
func (s *Simulator) syncNode(ctx context.Context, n *corev1.Node) error {
	if _, done := s.seen.Load(string(n.UID) + " registered"); done {
		return nil
	}
	_, err := s.client.StorageV1().CSINodes().Create(ctx, &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{
			Name: Driver, NodeID: n.Name, TopologyKeys: []string{corev1.LabelTopologyZone}}}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	s.seen.Store(string(n.UID)+" registered", time.Now())
	return nil
}

// syncAttachment brings one attachment a step further and returns how long to
// wait before it is looked at again.
func (s *Simulator) syncAttachment(ctx context.Context, a *storagev1.VolumeAttachment) (time.Duration, error) {
	if a.Spec.Attacher != Driver {
		return 0, nil
	}
	if a.DeletionTimestamp != nil {
		if !slices.Contains(a.Finalizers, finalizer) {
			return 0, nil
		}
		if wait := s.wait(a.UID, "detach", s.delays.Detach); wait > 0 {
			return wait, nil
		}
		return 0, s.patch(ctx, a, map[string]any{"metadata": map[string]any{"resourceVersion": a.ResourceVersion,
			"finalizers": slices.DeleteFunc(slices.Clone(a.Finalizers), func(f string) bool { return f == finalizer })}})
	}
	if !slices.Contains(a.Finalizers, finalizer) {
		return 0, s.patch(ctx, a, map[string]any{"metadata": map[string]any{"resourceVersion": a.ResourceVersion,
			"finalizers": append(slices.Clone(a.Finalizers), finalizer)}})
	}
	if a.Status.Attached {
		return 0, nil
	}
	if wait := s.wait(a.UID, "attach", s.delays.Attach); wait > 0 {
		return wait, nil
	}
	return 0, s.patch(ctx, a, map[string]any{"status": map[string]any{"attached": true}}, "status")
}

// wait is what is left of a delay that began when this was first asked.
func (s *Simulator) wait(uid types.UID, what string, delay time.Duration) time.Duration {
	began, _ := s.seen.LoadOrStore(string(uid)+" "+what, time.Now())
	return time.Until(began.(time.Time).Add(delay))
}

func (s *Simulator) patch(ctx context.Context, a *storagev1.VolumeAttachment, body any, subresources ...string) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = s.client.StorageV1().VolumeAttachments().Patch(ctx, a.Name, types.MergePatchType, b, metav1.PatchOptions{}, subresources...)
	return err
}
