package kubelet

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// volumes are what a kubelet knows of its pods' persistent volumes.
type volumes struct {
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	used    atomic.Bool // a pod with claims was seen: before, there is nothing to report
}

// of returns the CSI volumes of a pod, by the name that node statuses give them.
// ok is false while one of its claims is not bound.
func (v *volumes) of(p *corev1.Pod) (names []corev1.UniqueVolumeName, ok bool) {
	for _, use := range p.Spec.Volumes {
		if use.PersistentVolumeClaim == nil {
			continue
		}
		claim, err := v.claims.PersistentVolumeClaims(p.Namespace).Get(use.PersistentVolumeClaim.ClaimName)
		if err != nil || claim.Spec.VolumeName == "" {
			return nil, false
		}
		volume, err := v.volumes.Get(claim.Spec.VolumeName)
		if err != nil {
			return nil, false
		}
		if s := volume.Spec.CSI; s != nil {
			names = append(names, corev1.UniqueVolumeName("kubernetes.io/csi/"+s.Driver+"^"+s.VolumeHandle))
		}
	}
	return names, true
}

func hasClaims(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.PersistentVolumeClaim != nil })
}

// mounted tells whether a pod's volumes are attached to its node and are
// reported in use, which a kubelet does before it mounts them: the attach-detach
// controller detaches nothing that is.
func (s *Simulator) mounted(p *corev1.Pod, n *corev1.Node) bool {
	names, ok := s.volumes.of(p)
	for _, name := range names {
		attached := slices.ContainsFunc(n.Status.VolumesAttached, func(a corev1.AttachedVolume) bool { return a.Name == name })
		ok = ok && attached && slices.Contains(n.Status.VolumesInUse, name)
	}
	return ok
}

// reportVolumes writes which volumes the node's pods use. A pod uses its own
// until it is gone.
func (s *Simulator) reportVolumes(ctx context.Context, n *corev1.Node) error {
	if !s.volumes.used.Load() {
		return nil
	}
	pods, err := s.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	inUse := []corev1.UniqueVolumeName{}
	for _, p := range pods {
		if p.Spec.NodeName != n.Name || !hasClaims(p) || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		names, _ := s.volumes.of(p)
		inUse = append(inUse, names...)
	}
	slices.Sort(inUse)
	inUse = slices.Compact(inUse)
	was := slices.Clone(n.Status.VolumesInUse)
	slices.Sort(was)
	if slices.Equal(was, inUse) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"volumesInUse": inUse}})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
