package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotatord/rotator/core/engine"
)

// DeleteNode deletes this life of a Node object, and no later one: a machine
// that comes up under the same name must not find it. A node that is gone, or
// whose name another life has, is success.
func (c *Cluster) DeleteNode(ctx context.Context, node, uid string) error {
	ctx, cancel := c.call(ctx, callTimeout)
	defer cancel()
	what := "node " + node
	if uid == "" {
		return &engine.Error{Code: engine.ErrPermanent, Message: what + " is deleted by its uid only, and none was given"}
	}
	err := c.core.Delete().Resource("nodes").Name(node).
		Body(&metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(uid)}).Do(ctx).Error()
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case !apierrors.IsConflict(err):
		return classify(err, what, "delete nodes")
	}
	// Another life of it, or a write at the same moment: only the node tells.
	var now corev1.Node
	switch got := c.core.Get().Resource("nodes").Name(node).Do(ctx).Into(&now); {
	case apierrors.IsNotFound(got), got == nil && string(now.UID) != uid:
		return nil
	case got != nil:
		return classify(got, what, "get nodes")
	}
	return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s: %v", what, err)}
}
