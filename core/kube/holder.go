package kube

import (
	"context"
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Holder is who holds the lock.
type Holder struct {
	// Identity is host/pid/chance.
	Identity string
	Rotation string // empty: not known yet
	// Since and Renewed are by the holder's clock.
	Since, Renewed time.Time
	Duration       time.Duration
	Fence          int64

	process string
}

// HeldError says that another process holds the lock.
type HeldError struct {
	Holder Holder
	Where  string
	// Wait is how long a takeover takes.
	Wait time.Duration
}

func (e *HeldError) Error() string {
	rotation := ""
	if e.Holder.Rotation != "" {
		rotation = " with rotation " + e.Holder.Rotation
	}
	return fmt.Sprintf("the lock (%s) is held by %s%s since %s, renewed %s",
		e.Where, e.Holder.Identity, rotation, e.Holder.Since.UTC().Format(time.RFC3339), e.Holder.Renewed.UTC().Format(time.RFC3339))
}

// Holder tells who holds the lock; nil: nobody.
func (c *Cluster) Holder(ctx context.Context, namespace string) (*Holder, error) {
	l, err := (&leaseClient{c, namespace}).get(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, leaseError(namespace, "get", err)
	case holderOf(l).Identity == "":
		return nil, nil
	}
	h := holderOf(l)
	return &h, nil
}

func holderOf(l *coordinationv1.Lease) Holder {
	h := Holder{Rotation: l.Annotations[annotationRotation], process: l.Annotations[annotationProcess]}
	if l.Spec.HolderIdentity != nil {
		h.Identity = *l.Spec.HolderIdentity
	}
	if l.Spec.AcquireTime != nil {
		h.Since = l.Spec.AcquireTime.Time
	}
	if l.Spec.RenewTime != nil {
		h.Renewed = l.Spec.RenewTime.Time
	}
	if l.Spec.LeaseDurationSeconds != nil {
		h.Duration = time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
	}
	// A number that a person broke is 0: the next one is made from the time.
	h.Fence, _ = strconv.ParseInt(l.Annotations[annotationFence], 10, 64)
	return h
}

// AskAbort asks whoever holds the lock to take everything back and to end, and
// returns the holder; nil: nobody holds it. Asking again changes nothing.
func (c *Cluster) AskAbort(ctx context.Context, namespace string) (*Holder, error) {
	return askAbort(ctx, &leaseClient{c, namespace}, namespace)
}

func askAbort(ctx context.Context, api leaseAPI, namespace string) (*Holder, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	for range acquireTries {
		l, err := api.get(ctx)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, leaseError(namespace, "get", err)
		}
		h := holderOf(l)
		number := strconv.FormatInt(h.Fence, 10)
		switch {
		case h.Identity == "":
			return nil, nil
		case l.Annotations[annotationAbort] == number:
			return &h, nil
		}
		next := l.DeepCopy()
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, annotationAbort, number)
		_, err = api.update(ctx, next)
		if apierrors.IsConflict(err) {
			continue // the holder renewed meanwhile
		}
		if err != nil {
			return nil, leaseError(namespace, "update", err)
		}
		return &h, nil
	}
	return nil, fmt.Errorf("asking the holder of the lock to abort: the Lease %s/%s changed %d times meanwhile; try again", namespace, leaseName, acquireTries)
}
