package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

const (
	// callTimeout bounds one effect, its retries and the wait for the client's
	// rate limit included.
	callTimeout = 30 * time.Second
	// patchTries bounds how often a patch is made anew because somebody else
	// changed the node meanwhile: kubelets and controllers write a node a few
	// times a minute.
	patchTries = 5
	// patchPause between the tries, doubled each time, with as much jitter, so
	// that two writers do not meet again.
	patchPause = 20 * time.Millisecond

	fieldManager = "rotator" // who we are in an object's managedFields
)

// PatchNode brings the node to the goal. It writes only what differs, under the
// resourceVersion of what it knows of the node: by the watch first, and where that
// is behind, or sees nothing to do, by reading it. What others change meanwhile is
// kept. A node that is there already is not written. The error of a node that is
// gone is ErrNotFound, of another life of it ErrConflict.
func (c *Cluster) PatchNode(ctx context.Context, node string, p engine.NodePatch) error {
	ctx, cancel := c.call(ctx, callTimeout)
	defer cancel()
	if err := ourAnnotations(node, p); err != nil {
		return err
	}
	what := "node " + node
	if done := c.patchWatched(ctx, node, p); done {
		return nil
	}
	pause := patchPause
	for try := 1; ; try++ {
		var n corev1.Node
		if err := c.core.Get().Resource("nodes").Name(node).Do(ctx).Into(&n); err != nil {
			return classify(err, what, "get nodes")
		}
		if p.UID != "" && string(n.UID) != p.UID {
			return &engine.Error{Code: engine.ErrConflict,
				Message: fmt.Sprintf("%s was deleted and made again: it has uid %s, not %s", what, n.UID, p.UID)}
		}
		body, err := mergePatch(&n, p)
		if err != nil {
			return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("%s: %v", what, err)}
		}
		if body == nil {
			return nil
		}
		err = c.patchNode(ctx, node, body)
		switch {
		case err == nil:
			return nil
		case apierrors.IsConflict(err) && try < patchTries:
		case apierrors.IsConflict(err):
			return &engine.Error{Code: engine.ErrTransient,
				Message: fmt.Sprintf("%s was changed by somebody else during each of %d tries", what, patchTries)}
		default:
			return classify(err, what, "patch nodes")
		}
		timer := time.NewTimer(pause + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return classify(ctx.Err(), what, "patch nodes")
		}
		pause *= 2
	}
}

// patchWatched tries to bring the node to the goal from what the watch has told,
// which saves the read. False: it is to be read, whatever the reason: the watch
// may be behind, and only the API server knows why it refused.
func (c *Cluster) patchWatched(ctx context.Context, name string, p engine.NodePatch) bool {
	n := c.feed.node(name)
	if n == nil || n.version == "" || p.UID != "" && n.UID != p.UID {
		return false
	}
	body, err := mergePatch(n.object(), p)
	if err != nil || body == nil {
		return false
	}
	return c.patchNode(ctx, name, body) == nil
}

func (c *Cluster) patchNode(ctx context.Context, name string, body []byte) error {
	return c.core.Patch(types.MergePatchType).Resource("nodes").Name(name).
		Param("fieldManager", fieldManager).Body(body).Do(ctx).Error()
}

// ourAnnotations refuses to touch what is not ours.
func ourAnnotations(node string, p engine.NodePatch) error {
	keys := p.DropAnnotations
	for k := range p.SetAnnotations {
		keys = append(keys[:len(keys):len(keys)], k)
	}
	for _, k := range keys {
		if !strings.HasPrefix(k, model.Prefix) {
			return &engine.Error{Code: engine.ErrPermanent,
				Message: fmt.Sprintf("node %s: annotation %q is not under %s and is left alone", node, k, model.Prefix)}
		}
	}
	return nil
}

// mergePatch is the JSON merge patch that brings the node to the goal; nil: it
// is there. A merge patch replaces the list of taints as a whole, which is safe
// under the resourceVersion that the list was read with. A typed update would
// instead drop every field that this program's version of the API lacks.
func mergePatch(n *corev1.Node, p engine.NodePatch) ([]byte, error) {
	spec := map[string]any{}
	if taints, changed := goalTaints(n.Spec.Taints, p); changed {
		spec["taints"] = taints
	}
	if p.Unschedulable != nil && *p.Unschedulable != n.Spec.Unschedulable {
		spec["unschedulable"] = *p.Unschedulable
	}
	labels, annotations := p.Metadata(n.Labels, n.Annotations)
	if len(spec) == 0 && len(labels) == 0 && len(annotations) == 0 {
		return nil, nil
	}
	metadata := map[string]any{"resourceVersion": n.ResourceVersion}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	patch := map[string]any{"metadata": metadata}
	if len(spec) > 0 {
		patch["spec"] = spec
	}
	return json.Marshal(patch)
}

// goalTaints returns the taints that the node is to have, and whether that is a
// change. Key and effect together name a taint.
func goalTaints(have []corev1.Taint, p engine.NodePatch) ([]corev1.Taint, bool) {
	var out []corev1.Taint
	changed, found := false, false
	for _, t := range have {
		if p.RemoveTaint != "" && t.Key == p.RemoveTaint {
			changed = true
			continue
		}
		if a := p.AddTaint; a != nil && t.Key == a.Key && string(t.Effect) == a.Effect {
			found = true
			if t.Value != a.Value {
				t.Value, changed = a.Value, true
			}
		}
		out = append(out, t)
	}
	if a := p.AddTaint; a != nil && !found {
		out = append(out, corev1.Taint{Key: a.Key, Value: a.Value, Effect: corev1.TaintEffect(a.Effect)})
		changed = true
	}
	return out, changed
}

// Evict asks the API server to evict this life of the pod: PodDisruptionBudgets
// decide. It asks once: when to ask again is the engine's. ErrBlocked says that
// a budget forbids it now, ErrDenied that an admission webhook does, ErrMultiBudget that several budgets select the pod,
// which the API never allows, ErrNotFound and ErrConflict that this life of the
// pod has ended.
func (c *Cluster) Evict(ctx context.Context, pod engine.PodRef, grace *int64) error {
	ctx, cancel := c.call(ctx, callTimeout)
	defer cancel()
	// MaxRetries(0): client-go would itself wait and ask again after a 429.
	err := c.policy.Post().AbsPath("/api/v1").Namespace(pod.Namespace).
		Resource("pods").Name(pod.Name).SubResource("eviction").
		Body(&policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
			DeleteOptions: deleteOptions(pod, grace),
		}).
		MaxRetries(0).Do(ctx).Error()
	what := "eviction of pod " + pod.String()
	switch {
	case err == nil:
		return nil
	case apierrors.IsTooManyRequests(err):
		return blocked(err, what)
	case apierrors.IsConflict(err):
		return c.explainConflict(ctx, err, pod, what)
	case denied(err):
		return &engine.Error{Code: engine.ErrDenied, Message: fmt.Sprintf("%s: %v", what, err), RetryAfter: retryAfter(err)}
	case code(err) == http.StatusInternalServerError:
		if names := c.severalBudgets(err, pod); names != "" {
			return &engine.Error{Code: engine.ErrMultiBudget,
				Message: fmt.Sprintf("%s: %s select it, and the eviction API serves no pod with more than one; leave one of them", what, names)}
		}
	}
	return classify(err, what, "create pods/eviction in namespace "+pod.Namespace)
}

// denied tells whether an admission webhook or policy refuses a request, which
// it may do for now, whatever code it chose for that. The API gives no reason
// for it; the words are those of apiserver's webhook and validating admission
// policy errors (ToStatusErr, and "ValidatingAdmissionPolicy ... denied request").
func denied(err error) bool {
	if code(err) == 0 {
		return false // it did not come from the API server
	}
	text := err.Error()
	return strings.Contains(text, "admission webhook ") && strings.Contains(text, "denied the request") ||
		strings.Contains(text, "ValidatingAdmissionPolicy ") && strings.Contains(text, "denied request")
}

// DeletePod deletes this life of the pod, whatever budgets say. Errors are as
// those of Evict, without the budgets.
func (c *Cluster) DeletePod(ctx context.Context, pod engine.PodRef, grace *int64) error {
	ctx, cancel := c.call(ctx, callTimeout)
	defer cancel()
	err := c.core.Delete().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		Body(deleteOptions(pod, grace)).Do(ctx).Error()
	what := "deletion of pod " + pod.String()
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err):
		return c.explainConflict(ctx, err, pod, what)
	case denied(err):
		return &engine.Error{Code: engine.ErrDenied, Message: fmt.Sprintf("%s: %v", what, err), RetryAfter: retryAfter(err)}
	}
	return classify(err, what, "delete pods in namespace "+pod.Namespace)
}

func deleteOptions(pod engine.PodRef, grace *int64) *metav1.DeleteOptions {
	o := &metav1.DeleteOptions{GracePeriodSeconds: grace}
	if pod.UID != "" {
		o.Preconditions = metav1.NewUIDPreconditions(pod.UID)
	}
	return o
}

// blocked tells a budget's refusal from an API server that is busy: both are a
// 429, and only the first has the cause.
func blocked(err error, what string) *engine.Error {
	e := &engine.Error{Code: engine.ErrTransient, RetryAfter: retryAfter(err),
		Message: fmt.Sprintf("%s: the API server is busy: %v", what, err)}
	if cause, ok := apierrors.StatusCause(err, policyv1.DisruptionBudgetCause); ok {
		e.Code = engine.ErrBlocked
		e.Message = fmt.Sprintf("%s: %s", what, cause.Message)
	}
	return e
}

// explainConflict tells a failed UID precondition from a pod that was written
// at the same moment: both are a 409, and only its text differs.
func (c *Cluster) explainConflict(ctx context.Context, err error, pod engine.PodRef, what string) error {
	var now corev1.Pod
	if err := c.core.Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).Do(ctx).Into(&now); err != nil {
		return classify(err, what, "get pods in namespace "+pod.Namespace)
	}
	if pod.UID != "" && string(now.UID) != pod.UID {
		return &engine.Error{Code: engine.ErrConflict, Message: fmt.Sprintf("%s: that pod is gone, and another has its name", what)}
	}
	return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s: %v", what, err)}
}

// severalBudgets names the budgets that select the pod, if the error is the one
// for that. The API gives it no reason code; what we see of the budgets decides,
// or, where that lags, the text, which has been the same since Kubernetes 1.5.
func (c *Cluster) severalBudgets(err error, pod engine.PodRef) string {
	if names := c.selecting(pod.PodKey); len(names) > 1 {
		return "the budgets " + strings.Join(names, ", ")
	}
	if strings.Contains(err.Error(), "more than one PodDisruptionBudget") {
		return "several budgets"
	}
	return ""
}

// classify turns an error of the API or of the network into the engine's. nil
// stays nil. permission is the one that the call needs.
func classify(err error, what, permission string) error {
	if err == nil {
		return nil
	}
	e := &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("%s: %v", what, err), RetryAfter: retryAfter(err)}
	switch n := code(err); {
	case apierrors.IsNotFound(err):
		e.Code = engine.ErrNotFound
	case apierrors.IsConflict(err):
		e.Code = engine.ErrConflict
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// Forbidden by its code, but the pod ends with its namespace.
		e.Message = fmt.Sprintf("%s: its namespace is being deleted", what)
	case apierrors.IsForbidden(err):
		e.Code = engine.ErrPermanent
		e.Message = fmt.Sprintf("%s: the permission to %s is missing, grant it to rotator's user: %v", what, permission, err)
	case n == http.StatusUnauthorized, n == http.StatusRequestTimeout, n == http.StatusTooManyRequests:
		// Credentials are fetched anew for the next call where a helper makes them.
	case n >= 400 && n < 500:
		e.Code = engine.ErrPermanent
	}
	return e
}

// code is the HTTP status that the API server answered; 0: it did not answer.
func code(err error) int {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return int(status.Status().Code)
	}
	return 0
}

func retryAfter(err error) time.Duration {
	seconds, ok := apierrors.SuggestsClientDelay(err)
	if !ok {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
