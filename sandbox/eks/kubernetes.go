// Package eks is what EKS does in the API server of a sandbox's cluster: it looks at nodes, cordons them and evicts their
// pods, by the same API as everybody and under a name of its own.
package eks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/aws"
)

// Kubernetes implements aws.Kubernetes.
type Kubernetes struct {
	client kubernetes.Interface
}

var _ aws.Kubernetes = (*Kubernetes)(nil)

// NewKubernetes acts by a client.
func NewKubernetes(client kubernetes.Interface) *Kubernetes { return &Kubernetes{client: client} }

// Nodes implements aws.Kubernetes.
func (k *Kubernetes) Nodes(ctx context.Context) (map[string]aws.Node, error) {
	// From the API server's cache: what is a moment old is seen a moment later.
	list, err := k.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	nodes := make(map[string]aws.Node, len(list.Items))
	for i := range list.Items {
		n := &list.Items[i]
		nodes[path.Base(n.Spec.ProviderID)] = aws.Node{Name: n.Name, Ready: ready(n), Unschedulable: n.Spec.Unschedulable}
	}
	return nodes, nil
}

// ready says that a node is Ready and open for pods, a cordon aside.
func ready(n *corev1.Node) bool {
	if slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key != corev1.TaintNodeUnschedulable &&
			(strings.HasPrefix(t.Key, "node.kubernetes.io/") || strings.HasPrefix(t.Key, "node.cloudprovider.kubernetes.io/"))
	}) {
		return false
	}
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// SetUnschedulable implements aws.Kubernetes.
func (k *Kubernetes) SetUnschedulable(ctx context.Context, node string, on bool) error {
	var label any // null removes it
	if on {
		label = "true"
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": map[string]any{corev1.LabelNodeExcludeBalancers: label}},
		"spec":     map[string]any{"unschedulable": on},
	})
	if err != nil {
		return err
	}
	_, err = k.client.CoreV1().Nodes().Patch(ctx, node, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("make node %s unschedulable: %w", node, err)
	}
	return nil
}

// Evict implements aws.Kubernetes.
func (k *Kubernetes) Evict(ctx context.Context, node string) (left []string, err error) {
	pods, err := k.client.CoreV1().Pods(corev1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods of node %s: %w", node, err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if !drains(p) {
			continue
		}
		why := "it is ending"
		if p.DeletionTimestamp == nil {
			err := k.evict(ctx, p)
			switch {
			case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
				continue // it is gone, or another pod of that name is there
			case err != nil:
				why = err.Error()
			}
		}
		left = append(left, p.Namespace+"/"+p.Name+": "+why)
	}
	slices.SortFunc(left, cmp.Compare[string])
	return left, nil
}

// evict asks once: without MaxRetries client-go itself repeats a call that was refused with Retry-After.
func (k *Kubernetes) evict(ctx context.Context, p *corev1.Pod) error {
	return k.client.CoreV1().RESTClient().Post().MaxRetries(0).
		Namespace(p.Namespace).Resource("pods").Name(p.Name).SubResource("eviction").
		Body(&policyv1.Eviction{
			TypeMeta:      metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "Eviction"},
			ObjectMeta:    metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}},
		}).Do(ctx).Error()
}

// drains says whether a drain evicts a pod.
func drains(p *corev1.Pod) bool {
	_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
	owner := metav1.GetControllerOf(p)
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	return !mirror && !ended && (owner == nil || owner.Kind != "DaemonSet")
}
