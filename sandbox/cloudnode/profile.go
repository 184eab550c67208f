package cloudnode

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/aws"
)

// A Profile is what distinguishes a machine's node from others.
type Profile struct {
	// Labels are those that its provisioner's controller puts on the node, once it has registered.
	Labels map[string]string
	// Taints are those with which its kubelet registers.
	Taints []corev1.Taint
	// StaticPods are the components that its kubelet runs from manifests, by the value of their label k8s-app. The API
	// server shows them as mirror pods in kube-system.
	StaticPods []string
}

// Plain is the profile of a machine that is like any other: it joins as a worker.
func Plain(aws.Machine) (p Profile, joins bool) { return Profile{}, true }

// runStaticPods shows the node's static pods to the API server, as its kubelet does: pods that are bound to the node,
// belong to it and carry the annotation by which everybody knows that deleting them is pointless.
func runStaticPods(ctx context.Context, client kubernetes.Interface, m aws.Machine, apps []string) error {
	n, err := client.CoreV1().Nodes().Get(ctx, m.PrivateDNSName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, app := range apps {
		controller := true
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: metav1.NamespaceSystem, Name: app + "-" + n.Name, Labels: map[string]string{"k8s-app": app},
				Annotations: map[string]string{
					corev1.MirrorPodAnnotationKey: m.ID, "kubernetes.io/config.hash": m.ID, "kubernetes.io/config.source": "file",
				},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID, Controller: &controller}},
			},
			Spec: corev1.PodSpec{
				NodeName: n.Name, HostNetwork: true, PriorityClassName: "system-cluster-critical",
				Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
				Containers:  []corev1.Container{{Name: app, Image: "registry.k8s.io/" + app + ":v" + aws.KubernetesVersion}},
			},
		}
		if _, err := client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}
