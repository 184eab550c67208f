package kubelet

import (
	"context"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

const (
	leaseDuration = 40 * time.Second // a kubelet's default
	leaseWorkers  = 8                // leases renewed at once
	leaseTimeout  = 10 * time.Second // of one renewal, as in a kubelet: one that hangs must not hold up the others
)

// renewLeases keeps the lease of every living node fresh. One pass renews all:
// the controllers look at each lease's age, not at when in the interval it came.
func (s *Simulator) renewLeases(ctx context.Context) {
	leases := &leases{sim: s, held: map[types.UID]*coordinationv1.Lease{}}
	// New nodes are looked for more often than leases are due, so that a node
	// that was just registered does not wait a whole interval for its first.
	ticker := time.NewTicker(s.opts.LeaseInterval / 10)
	defer ticker.Stop()
	for {
		leases.renew(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

type leases struct {
	sim  *Simulator
	mu   sync.Mutex
	held map[types.UID]*coordinationv1.Lease // by the node's UID, as last written
}

func (l *leases) renew(ctx context.Context) {
	nodes, err := l.sim.nodes.List(labels.Everything())
	if err != nil {
		return // a lister reads memory and never fails
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, leaseWorkers)
	current := make(map[types.UID]bool, len(nodes))
	for _, n := range nodes {
		current[n.UID] = true
		if !l.sim.alive(n) || !l.due(n.UID) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
			defer cancel()
			// What fails is tried again at the next tick, as a kubelet would.
			if lease, err := l.write(ctx, n); err == nil {
				l.mu.Lock()
				l.held[n.UID] = lease
				l.mu.Unlock()
			}
		})
	}
	wg.Wait()
	for uid := range l.held {
		if !current[uid] {
			delete(l.held, uid)
		}
	}
}

func (l *leases) due(node types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lease, ok := l.held[node]
	return !ok || time.Since(lease.Spec.RenewTime.Time) >= l.sim.opts.LeaseInterval
}

func (l *leases) write(ctx context.Context, n *corev1.Node) (*coordinationv1.Lease, error) {
	client := l.sim.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	l.mu.Lock()
	lease, ok := l.held[n.UID]
	l.mu.Unlock()
	if ok {
		lease = lease.DeepCopy()
		lease.Spec.RenewTime = &now
		written, err := client.Update(ctx, lease, metav1.UpdateOptions{})
		if !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return written, err
		}
	}
	seconds := int32(leaseDuration / time.Second)
	fresh := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID},
		}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	written, err := client.Create(ctx, fresh, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return written, err
	}
	// An earlier node of this name left its lease: take it over.
	left, err := client.Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	fresh.ResourceVersion = left.ResourceVersion
	return client.Update(ctx, fresh, metav1.UpdateOptions{})
}
