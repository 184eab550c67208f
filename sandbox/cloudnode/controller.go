// Package cloudnode stands between the simulated cloud and the cluster: it plays
// the first minute of a machine's life as its kubelet and the cloud controller
// do (register, initialise), and the last (the kubelet stops, the Node is
// removed, its orphaned pods are collected).
package cloudnode

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/aws"
)

// Kubelets is the part of the kubelet simulator that is needed here.
type Kubelets interface {
	// StopMachine ends the kubelet of the machine with this provider id.
	StopMachine(providerID string)
}

// Clients are one for each part that is played, so that the audit log names it.
type Clients struct {
	Kubelet         kubernetes.Interface // registers nodes
	CloudController kubernetes.Interface // initialises and removes them
	PodGC           kubernetes.Interface // removes the pods of nodes that are gone
}

// A Controller turns machines into nodes and back. Its Hooks may be called
// before Run: what they start waits for it, while the machines boot.
type Controller struct {
	cluster string
	profile func(aws.Machine) (p Profile, joins bool)

	// Set by Run before it closes started.
	ctx      context.Context
	clients  Clients
	kubelets Kubelets
	started  chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex
	ended bool                          // Run is over: nothing starts any more
	boots map[string]context.CancelFunc // by machine id: stops its boot
}

// New makes a Controller for the machines that carry the tag ClusterTag(cluster);
// any other machine is another cluster's and joins no node here. The profile, for
// instance Plain, says as what a machine joins, and may say that it does not.
func New(cluster string, profile func(aws.Machine) (p Profile, joins bool)) *Controller {
	return &Controller{cluster: cluster, profile: profile, started: make(chan struct{}), boots: map[string]context.CancelFunc{}}
}

// ClusterTag is the tag that says which cluster a machine or a group belongs to.
func ClusterTag(cluster string) string { return "kubernetes.io/cluster/" + cluster }

// Hooks are what the simulated cloud calls. None of them blocks.
func (c *Controller) Hooks() aws.Hooks {
	return aws.Hooks{Running: c.running, Stopping: c.stopping, Terminated: c.terminated}
}

// Run lets machines become nodes and back until ctx is done. It is called once.
func (c *Controller) Run(ctx context.Context, clients Clients, kubelets Kubelets) error {
	c.ctx, c.clients, c.kubelets = ctx, clients, kubelets
	close(c.started)
	<-ctx.Done()
	c.mu.Lock()
	c.ended = true
	for _, stop := range c.boots {
		stop()
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// running begins a machine's boot.
func (c *Controller) running(m aws.Machine) {
	if _, ours := m.Tags[ClusterTag(c.cluster)]; !ours || m.NeverJoins {
		return
	}
	profile, joins := c.profile(m)
	if !joins {
		return
	}
	booted := time.Now().Add(m.BootDelay)
	ctx, stop := context.WithCancel(context.Background())
	c.mu.Lock()
	c.boots[m.ID] = stop
	c.mu.Unlock()
	c.goAfterStart(ctx, func() {
		defer stop()
		if !sleep(ctx, time.Until(booted)) {
			return
		}
		if retry(ctx, func() error { return register(ctx, c.clients.Kubelet, m, profile.Taints) }) &&
			retry(ctx, func() error { return initialize(ctx, c.clients.CloudController, m, profile.Labels) }) {
			retry(ctx, func() error { return runStaticPods(ctx, c.clients.Kubelet, m, profile.StaticPods) })
		}
	})
}

// stopping ends the machine's kubelet, in whatever state its boot is.
func (c *Controller) stopping(m aws.Machine) {
	c.mu.Lock()
	if stop := c.boots[m.ID]; stop != nil {
		stop()
	}
	delete(c.boots, m.ID)
	c.mu.Unlock()
	c.goAfterStart(context.Background(), func() { c.kubelets.StopMachine(ProviderID(m)) })
}

// terminated removes the machine's Node, as a cloud controller does once the
// cloud no longer knows the machine, and then its pods.
//
// The pod garbage collector of the control plane would remove them too, but it
// looks every 20 s and waits another 40 s for the node to come back. A sandbox's
// machines boot in seconds, not minutes: a minute of orphans would be out of all
// proportion, so the same deletion is made here at once.
func (c *Controller) terminated(m aws.Machine) {
	c.goAfterStart(context.Background(), func() {
		gone := false
		if !retry(c.ctx, func() (err error) {
			gone, err = removeNode(c.ctx, c.clients.CloudController, m)
			return err
		}) || !gone {
			return
		}
		// Twice: the scheduler may have bound a pod while the node was removed.
		for _, wait := range []time.Duration{0, time.Second} {
			if !sleep(c.ctx, wait) {
				return
			}
			retry(c.ctx, func() error { return removeOrphans(c.ctx, c.clients.PodGC, m.PrivateDNSName) })
		}
	})
}

// goAfterStart runs f once Run has begun, and not at all when ctx ends first.
func (c *Controller) goAfterStart(ctx context.Context, f func()) {
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-c.started:
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ended {
			c.wg.Go(f)
		}
	}()
}

const (
	retryInterval = 200 * time.Millisecond
	retryLimit    = 150 // with the interval: half a minute, and the API server is on this machine
)

// retry repeats f while it fails and reports whether it succeeded in the end.
func retry(ctx context.Context, f func() error) bool {
	for range retryLimit {
		err := f()
		if err == nil {
			return true
		}
		if apierrors.IsInvalid(err) || !sleep(ctx, retryInterval) {
			return false
		}
	}
	return false
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
