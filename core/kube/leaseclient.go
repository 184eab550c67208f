package kube

import (
	"context"
	"errors"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// leaseAPI is what the lock needs of the API server. Errors are the API's.
type leaseAPI interface {
	get(ctx context.Context) (*coordinationv1.Lease, error)
	create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error)
	update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error)
}

// leaseClient is the API over HTTP.
type leaseClient struct {
	c         *Cluster
	namespace string
}

func (a *leaseClient) get(ctx context.Context) (*coordinationv1.Lease, error) {
	ctx, cancel := a.c.call(ctx, stateTimeout)
	defer cancel()
	var l coordinationv1.Lease
	err := a.c.leases.Get().Namespace(a.namespace).Resource("leases").Name(leaseName).MaxRetries(0).Do(ctx).Into(&l)
	return &l, err
}

func (a *leaseClient) create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	create := func() (*coordinationv1.Lease, error) {
		ctx, cancel := a.c.call(ctx, stateTimeout)
		defer cancel()
		var got coordinationv1.Lease
		err := a.c.leases.Post().Namespace(a.namespace).Resource("leases").
			Param("fieldManager", fieldManager).Body(l).MaxRetries(0).Do(ctx).Into(&got)
		return &got, err
	}
	got, err := create()
	if apierrors.IsNotFound(err) { // only the namespace can be what was not found
		if err := a.c.makeNamespace(ctx, a.namespace); err != nil {
			return nil, err
		}
		return create()
	}
	return got, err
}

func (a *leaseClient) update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	ctx, cancel := a.c.call(ctx, stateTimeout)
	defer cancel()
	var got coordinationv1.Lease
	err := a.c.leases.Put().Namespace(a.namespace).Resource("leases").Name(leaseName).
		Param("fieldManager", fieldManager).Body(l).MaxRetries(0).Do(ctx).Into(&got)
	return &got, err
}

// again tells whether Acquire looks anew: somebody else was quicker, or the API
// server did not answer.
func again(err error) bool {
	if _, ours := errors.AsType[*Error](err); ours {
		return false
	}
	if _, held := errors.AsType[*HeldError](err); held {
		return false
	}
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || mayPass(err)
}

// finalLeaseError leaves what Acquire tries again as it is.
func finalLeaseError(namespace, verb string, err error) error {
	if again(err) {
		return err
	}
	return leaseError(namespace, verb, err)
}

func leaseError(namespace, verb string, err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if apierrors.IsForbidden(err) {
		return forbiddenState(namespace, verb+" leases.coordination.k8s.io", err)
	}
	return fmt.Errorf("the lock, Lease %s/%s: %s: %w", namespace, leaseName, verb, err)
}
