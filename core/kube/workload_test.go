package kube

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

var webDeployment = model.WorkloadKey{Kind: "Deployment", Namespace: "ns", Name: "web"}

func newDeployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "u1", Labels: map[string]string{"team": "a"}},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"other": "kept"}}}},
	}
}

func surged(replicas int32, from string) *appsv1.Deployment {
	d := newDeployment(replicas)
	d.Labels[model.LabelSurgedFrom], d.Labels[model.LabelRotation] = from, "r1"
	return d
}

func TestPatchWorkload(t *testing.T) {
	restarted := newDeployment(1)
	restarted.Spec.Template.Annotations[restartedAt] = "2026-01-01T00:00:00Z"
	other := newDeployment(1)
	other.UID = "u2"
	restart := engine.WorkloadPatch{UID: "u1", Restart: "2026-01-01T00:00:00Z"}
	surge := engine.WorkloadPatch{UID: "u1", Surge: true, Replicas: 1, Rotation: "r1"}
	giveBack := engine.WorkloadPatch{UID: "u1", GiveBack: true}
	for name, tt := range map[string]struct {
		before *appsv1.Deployment // nil: there is none
		patch  engine.WorkloadPatch
		after  *appsv1.Deployment // nil: nothing is written
		code   engine.ErrorCode
	}{
		"restart":                           {before: newDeployment(1), patch: restart, after: restarted},
		"restarted already":                 {before: restarted, patch: restart},
		"surge":                             {before: newDeployment(1), patch: surge, after: surged(2, "1")},
		"surged already":                    {before: surged(2, "1"), patch: surge},
		"surged, and scaled by somebody":    {before: surged(5, "1"), patch: surge},
		"scaled by somebody before":         {before: newDeployment(3), patch: surge, code: engine.ErrConflict},
		"given back":                        {before: surged(2, "1"), patch: giveBack, after: newDeployment(1)},
		"given back already":                {before: newDeployment(1), patch: giveBack},
		"somebody scaled up meanwhile":      {before: surged(5, "1"), patch: giveBack, after: newDeployment(5)},
		"somebody scaled back meanwhile":    {before: surged(1, "1"), patch: giveBack, after: newDeployment(1)},
		"somebody edited the label":         {before: surged(2, "one"), patch: giveBack, after: newDeployment(2)},
		"another life":                      {before: other, patch: surge, code: engine.ErrConflict},
		"another life has nothing to give":  {before: other, patch: giveBack},
		"one that is gone":                  {patch: restart, code: engine.ErrNotFound},
		"one that is gone has nothing left": {patch: giveBack},
		"no goal":                           {before: newDeployment(1), patch: engine.WorkloadPatch{UID: "u1"}, code: engine.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			if tt.before != nil {
				api.put(tt.before)
			}
			err := api.cluster().PatchWorkload(t.Context(), webDeployment, tt.patch)
			var known *engine.Error
			if errors.As(err, &known); err != nil != (tt.code != "") || known != nil && known.Code != tt.code {
				t.Fatalf("error %v, want %q", err, tt.code)
			}
			want, writes := tt.after, 1
			if want == nil {
				want, writes = tt.before, 0
			}
			if n := api.count("PATCH", "/apis/apps/v1/namespaces/ns/deployments/web"); n != writes {
				t.Errorf("%d writes, want %d", n, writes)
			}
			if want == nil {
				return
			}
			got := api.live["/apis/apps/v1/deployments"]["ns/web"].(*appsv1.Deployment)
			if d := cmp.Diff(want.Spec, got.Spec); d != "" {
				t.Errorf("spec (-want +got):\n%s", d)
			}
			if d := cmp.Diff(want.Labels, got.Labels); d != "" {
				t.Errorf("labels (-want +got):\n%s", d)
			}
		})
	}
}

// Somebody scales between our read and our write: the write does not happen,
// and the second look sees what they did.
func TestPatchWorkloadMeetsAnother(t *testing.T) {
	api := newFakeAPI(t)
	api.put(newDeployment(1))
	raced := false
	api.answer = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method == "PATCH" && !raced {
			raced = true
			api.put(newDeployment(4))
		}
		return false
	}
	err := api.cluster().PatchWorkload(t.Context(), webDeployment, engine.WorkloadPatch{UID: "u1", Surge: true, Replicas: 1, Rotation: "r1"})
	var known *engine.Error
	if !errors.As(err, &known) || known.Code != engine.ErrConflict {
		t.Errorf("error %v, want a conflict", err)
	}
	if got := api.live["/apis/apps/v1/deployments"]["ns/web"].(*appsv1.Deployment); *got.Spec.Replicas != 4 || len(got.Labels) != 1 {
		t.Errorf("replicas %d, labels %v: what somebody else set was overwritten", *got.Spec.Replicas, got.Labels)
	}
}

func TestPatchWorkloadOfAnotherKind(t *testing.T) {
	err := newFakeAPI(t).cluster().PatchWorkload(t.Context(), model.WorkloadKey{Kind: "StatefulSet", Namespace: "ns", Name: "db"}, engine.WorkloadPatch{Restart: "x"})
	var known *engine.Error
	if !errors.As(err, &known) || known.Code != engine.ErrUnsupported {
		t.Errorf("error %v, want unsupported", err)
	}
}

func TestDeployment(t *testing.T) {
	status := func(generation, updated, all, available int32) appsv1.DeploymentStatus {
		return appsv1.DeploymentStatus{ObservedGeneration: int64(generation), UpdatedReplicas: updated, Replicas: all, AvailableReplicas: available, ReadyReplicas: available}
	}
	rolling := func(surge, unavailable string) appsv1.DeploymentStrategy {
		a, b := intstr.Parse(surge), intstr.Parse(unavailable)
		return appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &a, MaxUnavailable: &b}}
	}
	for name, tt := range map[string]struct {
		replicas           int32
		strategy           appsv1.DeploymentStrategy
		status             appsv1.DeploymentStatus
		surge, unavailable int
		rolledOut          bool
	}{
		"one replica and the defaults":   {1, appsv1.DeploymentStrategy{}, status(7, 1, 1, 1), 1, 0, true},
		"four replicas":                  {4, rolling("25%", "25%"), status(7, 4, 4, 4), 1, 1, true},
		"both come to nothing":           {3, rolling("0", "10%"), status(7, 3, 3, 3), 0, 1, true},
		"recreate":                       {2, appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, status(7, 2, 2, 2), 0, 2, true},
		"an earlier generation":          {1, rolling("1", "0"), status(6, 1, 1, 1), 1, 0, false},
		"an old pod is there still":      {1, rolling("1", "0"), status(7, 1, 2, 2), 1, 0, false},
		"the new one is not available":   {1, rolling("1", "0"), status(7, 1, 1, 0), 1, 0, false},
		"the new one is not made so far": {1, rolling("1", "0"), status(7, 0, 1, 1), 1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeployment(tt.replicas)
			d.Generation, d.Spec.Strategy, d.Status = 7, tt.strategy, tt.status
			got := newSharer().deployment(d)
			if got.MaxSurge != tt.surge || got.MaxUnavailable != tt.unavailable || got.RolledOut != tt.rolledOut {
				t.Errorf("surge %d, unavailable %d, rolled out %v; want %d, %d, %v", got.MaxSurge, got.MaxUnavailable, got.RolledOut, tt.surge, tt.unavailable, tt.rolledOut)
			}
		})
	}
}

// Volumes and autoscalers are watched where that is asked for, and come as
// deltas as all else.
func TestWatchesMore(t *testing.T) {
	api := newFakeAPI(t)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data-db-0", UID: "c"},
		Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1", AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}}
	volume := "pv-1"
	attachment := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "csi-1", UID: "a"},
		Spec: storagev1.VolumeAttachmentSpec{NodeName: "n1", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume}}}
	inline := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "csi-2", UID: "b"}, Spec: storagev1.VolumeAttachmentSpec{NodeName: "n1"}}
	pod := newPod("ns", "db-0", "p")
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-db-0"}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
	}
	api.put(claim, attachment, inline, pod, newDeployment(1), &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "h"},
		Spec:       autoscalingv1.HorizontalPodAutoscalerSpec{ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{Kind: "Deployment", Name: "web"}}})
	c := api.cluster()
	c.volumes, c.autoscaling = true, true
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	inv := c.Inventory()
	if d := cmp.Diff([]model.Attachment{{Name: "csi-1", UID: "a", Node: "n1", Volume: "pv-1"}}, inv.Attachments); d != "" {
		t.Errorf("attachments (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]model.Claim{{ClaimKey: model.ClaimKey{Namespace: "ns", Name: "data-db-0"}, UID: "c", Volume: "pv-1"}}, inv.Claims); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]model.Autoscaler{{AutoscalerKey: model.AutoscalerKey{Namespace: "ns", Name: "web"}, UID: "h", Target: webDeployment}}, inv.Autoscalers); d != "" {
		t.Errorf("autoscalers (-want +got):\n%s", d)
	}
	if len(inv.Deployments) != 1 || inv.Deployments[0].Replicas != 1 {
		t.Errorf("deployments %+v", inv.Deployments)
	}
	if d := cmp.Diff([]string{"data-db-0", "db-0-scratch"}, inv.Pods[0].Claims); d != "" {
		t.Errorf("claims of the pod (-want +got):\n%s", d)
	}
	attached := attachment.DeepCopy()
	attached.Status.Attached = true
	api.put(attached, surged(2, "1"))
	api.remove(claim)
	var all engine.Input
	for len(all.Attachments) == 0 || len(all.Deployments) == 0 || len(all.ClaimsGone) == 0 {
		in := <-c.Changes()
		all.Attachments = append(all.Attachments, in.Attachments...)
		all.Deployments = append(all.Deployments, in.Deployments...)
		all.ClaimsGone = append(all.ClaimsGone, in.ClaimsGone...)
	}
	if !all.Attachments[0].Attached || !all.Deployments[0].Surged() || all.ClaimsGone[0].Name != "data-db-0" {
		t.Errorf("changes %+v", all)
	}
}

// An API server without VolumeAttachments has none; one that denies them is
// another matter.
func TestWatchesWithoutAttachments(t *testing.T) {
	for name, tt := range map[string]struct {
		status metav1.Status
		code   Code
	}{
		"not served": {metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound, Message: "the server could not find the requested resource"}, ""},
		"denied":     {metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no"}, CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.URL.Path != "/apis/storage.k8s.io/v1/volumeattachments" {
					return false
				}
				refuse(w, tt.status)
				return true
			}
			c := api.cluster()
			c.volumes = true
			err := c.Start(t.Context())
			var known *Error
			if errors.As(err, &known); err != nil != (tt.code != "") || known != nil && known.Code != tt.code {
				t.Errorf("error %v, want %q", err, tt.code)
			}
		})
	}
}
