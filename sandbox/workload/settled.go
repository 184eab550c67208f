package workload

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/kubelet"
)

// Unsettled names what is not yet as it should be in the whole cluster, the
// first that it finds: a workload without all its pods, a pod that is not Ready,
// a budget that its controller has not judged or that is not met. It returns ""
// when all is settled. Workloads and pods that are annotated never to get Ready
// are left out, with the budgets over them.
func Unsettled(ctx context.Context, client kubernetes.Interface) (string, error) {
	for _, look := range []func(context.Context, kubernetes.Interface) (string, error){
		deployments, statefulSets, daemonSets, pods, budgets,
	} {
		if what, err := look(ctx, client); what != "" || err != nil {
			return what, err
		}
	}
	return "", nil
}

func deployments(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range list.Items {
		s := d.Status
		if !kubelet.NeverReady(&d.Spec.Template) && (s.ObservedGeneration < d.Generation || s.ReadyReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas) {
			return fmt.Sprintf("deployment %s/%s: %d of %d pods Ready", d.Namespace, d.Name, s.ReadyReplicas, *d.Spec.Replicas), nil
		}
	}
	return "", nil
}

func statefulSets(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.AppsV1().StatefulSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range list.Items {
		s := d.Status
		if !kubelet.NeverReady(&d.Spec.Template) && (s.ObservedGeneration < d.Generation || s.ReadyReplicas != *d.Spec.Replicas) {
			return fmt.Sprintf("stateful set %s/%s: %d of %d pods Ready", d.Namespace, d.Name, s.ReadyReplicas, *d.Spec.Replicas), nil
		}
	}
	return "", nil
}

func daemonSets(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, d := range list.Items {
		s := d.Status
		if !kubelet.NeverReady(&d.Spec.Template) && (s.ObservedGeneration < d.Generation || s.NumberReady != s.DesiredNumberScheduled) {
			return fmt.Sprintf("daemon set %s/%s: %d of %d pods Ready", d.Namespace, d.Name, s.NumberReady, s.DesiredNumberScheduled), nil
		}
	}
	return "", nil
}

func pods(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, p := range list.Items {
		if kubelet.NeverReady(&p) || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		ready := false
		for _, c := range p.Status.Conditions {
			ready = ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}
		if !ready {
			return fmt.Sprintf("pod %s/%s: %s, not Ready", p.Namespace, p.Name, p.Status.Phase), nil
		}
	}
	return "", nil
}

func budgets(ctx context.Context, client kubernetes.Interface) (string, error) {
	list, err := client.PolicyV1().PodDisruptionBudgets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, b := range list.Items {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			return "", fmt.Errorf("budget %s/%s: %w", b.Namespace, b.Name, err)
		}
		covered, err := client.CoreV1().Pods(b.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
		if err != nil {
			return "", err
		}
		hopeless := false
		for _, p := range covered.Items {
			hopeless = hopeless || kubelet.NeverReady(&p)
		}
		if hopeless {
			continue
		}
		s := b.Status
		if s.ObservedGeneration < b.Generation || s.CurrentHealthy < s.DesiredHealthy {
			return fmt.Sprintf("budget %s/%s: %d healthy of %d desired", b.Namespace, b.Name, s.CurrentHealthy, s.DesiredHealthy), nil
		}
	}
	return "", nil
}
