package cloudnode

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/kubelet"
)

// uninitialized is the taint with which a kubelet with --cloud-provider=external
// registers; the cloud controller removes it.
const uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"

// ProviderID is how nodes name their machine.
func ProviderID(m aws.Machine) string { return "aws:///" + m.Zone + "/" + m.ID }

// register creates the Node as a kubelet on EKS does: with its provider id and
// not yet initialised. The API server itself adds the not-ready taint. A node of
// that name that another machine left is removed first.
func register(ctx context.Context, client kubernetes.Interface, m aws.Machine, taints []corev1.Taint) error {
	capacity, allocatable := Capacity(m.InstanceType)
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: m.PrivateDNSName,
			Labels: map[string]string{
				corev1.LabelHostname:   m.PrivateDNSName,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: architecture(m),
			},
		},
		Spec: corev1.NodeSpec{
			ProviderID: ProviderID(m),
			Taints:     append([]corev1.Taint{{Key: uninitialized, Value: "true", Effect: corev1.TaintEffectNoSchedule}}, taints...),
		},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: allocatable,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: m.PrivateIP},
				{Type: corev1.NodeHostName, Address: m.PrivateDNSName},
			},
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: "linux", Architecture: architecture(m), KubeletVersion: "v" + cmp.Or(m.Kubernetes, aws.KubernetesVersion),
				OSImage: "Simulated Linux (" + m.ImageID + ")", KernelVersion: "6.12.0", ContainerRuntimeVersion: "simulated://1.0",
				MachineID: m.ID, SystemUUID: m.ID, BootID: m.ID,
			},
		},
	}
	// As kubelets do: the attach-detach controller looks after this node's volumes.
	n.Annotations = map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
	if m.NeverReady {
		n.Annotations[kubelet.AnnotationNeverReady] = "true"
	}
	_, err := client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if there.Spec.ProviderID == n.Spec.ProviderID {
		return nil // an earlier attempt whose answer was lost
	}
	return errors.Join(fmt.Errorf("node %s belongs to %s", n.Name, there.Spec.ProviderID),
		client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &there.UID}}))
}

// architecture is the machine's as Kubernetes spells it.
func architecture(m aws.Machine) string {
	if m.Architecture == "arm64" {
		return "arm64"
	}
	return "amd64"
}

// initialize does the cloud controller's part: the labels and addresses that
// only the cloud knows, and then the node is open for pods. The labels that the
// provisioner's controller adds come with them.
func initialize(ctx context.Context, client kubernetes.Interface, m aws.Machine, own map[string]string) error {
	n, err := client.CoreV1().Nodes().Get(ctx, m.PrivateDNSName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	taints := []corev1.Taint{}
	for _, t := range n.Spec.Taints {
		if t.Key != uninitialized {
			taints = append(taints, t)
		}
	}
	labels := map[string]string{
		corev1.LabelTopologyZone:       m.Zone,
		corev1.LabelTopologyRegion:     m.Region,
		corev1.LabelInstanceTypeStable: m.InstanceType,
	}
	maps.Copy(labels, own)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": n.ResourceVersion, // the list of taints is replaced as a whole
			"labels":          labels,
		},
		"spec": map[string]any{"taints": taints},
	})
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	patch, err = json.Marshal(map[string]any{"status": map[string]any{"addresses": []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: m.PrivateIP},
		{Type: corev1.NodeHostName, Address: m.PrivateDNSName},
		{Type: corev1.NodeInternalDNS, Address: m.PrivateDNSName},
	}}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// removeNode deletes the machine's Node. It reports false when there was none,
// or when another machine has registered under that name since.
func removeNode(ctx context.Context, client kubernetes.Interface, m aws.Machine) (removed bool, err error) {
	n, err := client.CoreV1().Nodes().Get(ctx, m.PrivateDNSName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil || n.Spec.ProviderID != ProviderID(m) {
		return false, err
	}
	err = client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &n.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	return true, nil
}

// removeOrphans deletes the pods of a node that is gone, without any grace: no
// kubelet is there that could give it.
func removeOrphans(ctx context.Context, client kubernetes.Interface, node string) error {
	if _, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err // nil: the name is in use again, and its pods may be the new machine's
	}
	pods, err := client.CoreV1().Pods(corev1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
	})
	if err != nil {
		return err
	}
	zero := int64(0)
	for _, p := range pods.Items {
		err := client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.UID},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}
