package kube

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/rotatord/rotator/core/model"
)

// attachment returns nil for one without a PersistentVolume: a pod's inline
// volume, which in-tree drivers of old attach and nothing else names.
func (s *sharer) attachment(a *storagev1.VolumeAttachment) *model.Attachment {
	if a.Spec.Source.PersistentVolumeName == nil {
		return nil
	}
	return &model.Attachment{
		Name: a.Name, UID: string(a.UID), Node: s.text(a.Spec.NodeName),
		Volume: *a.Spec.Source.PersistentVolumeName, Attached: a.Status.Attached,
	}
}

func sameAttachment(a, b *model.Attachment) bool { return *a == *b }

func (s *sharer) claim(c *corev1.PersistentVolumeClaim) *model.Claim {
	return &model.Claim{
		ClaimKey: model.ClaimKey{Namespace: s.text(c.Namespace), Name: c.Name}, UID: string(c.UID), Volume: c.Spec.VolumeName,
		Shared: slices.ContainsFunc(c.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
			return m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany
		}),
	}
}

func sameClaim(a, b *model.Claim) bool { return *a == *b }

// claims are the names of the claims that a pod uses. The claim of an ephemeral
// volume is named after the pod and the volume.
func claims(p *corev1.Pod) []string {
	var out []string
	for _, v := range p.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			out = append(out, strings.Clone(v.PersistentVolumeClaim.ClaimName))
		case v.Ephemeral != nil:
			out = append(out, p.Name+"-"+v.Name)
		}
	}
	return out
}
