package kube

import (
	"maps"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotatord/rotator/core/model"
)

const kindDeployment = "Deployment"

// restartedAt is the pod template's annotation that kubectl rollout restart sets.
const restartedAt = "kubectl.kubernetes.io/restartedAt"

func (s *sharer) deployment(d *appsv1.Deployment) *model.Deployment {
	want, st := replicas(d.Spec.Replicas), d.Status
	out := &model.Deployment{
		WorkloadKey: model.WorkloadKey{Kind: kindDeployment, Namespace: s.text(d.Namespace), Name: d.Name},
		UID:         string(d.UID),
		Replicas:    int(want),
		Ready:       int(st.ReadyReplicas),
		Paused:      d.Spec.Paused,
		RolledOut: st.ObservedGeneration >= d.Generation && st.UpdatedReplicas == want && st.Replicas == want &&
			st.AvailableReplicas == want,
		RestartedAt: strings.Clone(d.Spec.Template.Annotations[restartedAt]),
	}
	out.Template = s.template(d.Namespace, &d.Spec.Template.Spec)
	out.MaxSurge, out.MaxUnavailable = fenceposts(&d.Spec.Strategy, int(want))
	for k, v := range d.Labels {
		if strings.HasPrefix(k, model.Prefix) {
			if out.Labels == nil {
				out.Labels = map[string]string{}
			}
			out.Labels[s.text(k)] = s.text(v)
		}
	}
	return out
}

// fenceposts resolves a rolling update's bounds as the Deployment controller
// does (pkg/controller/deployment/util, ResolveFenceposts): the surge rounds up,
// unavailability down, and where both come to 0 one pod may be unavailable.
func fenceposts(s *appsv1.DeploymentStrategy, want int) (surge, unavailable int) {
	if s.Type == appsv1.RecreateDeploymentStrategyType {
		return 0, want
	}
	// The API server's defaults, which it has filled in.
	a, b := intstr.FromString("25%"), intstr.FromString("25%")
	if u := s.RollingUpdate; u != nil {
		if u.MaxSurge != nil {
			a = *u.MaxSurge
		}
		if u.MaxUnavailable != nil {
			b = *u.MaxUnavailable
		}
	}
	surge, errA := intstr.GetScaledValueFromIntOrPercent(&a, want, true)
	unavailable, errB := intstr.GetScaledValueFromIntOrPercent(&b, want, false)
	if errA != nil || errB != nil {
		return 0, want // the API server refuses such a strategy: nothing can be said of it
	}
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func sameDeployment(a, b *model.Deployment) bool {
	return a.Replicas == b.Replicas && a.Ready == b.Ready && a.MaxSurge == b.MaxSurge && a.MaxUnavailable == b.MaxUnavailable &&
		a.Paused == b.Paused && a.RolledOut == b.RolledOut && a.RestartedAt == b.RestartedAt && maps.Equal(a.Labels, b.Labels) && a.Template == b.Template
}

func (s *sharer) autoscaler(h *autoscalingv1.HorizontalPodAutoscaler) *model.Autoscaler {
	ref := h.Spec.ScaleTargetRef
	return &model.Autoscaler{AutoscalerKey: model.AutoscalerKey{Namespace: s.text(h.Namespace), Name: h.Name}, UID: string(h.UID),
		Target: model.WorkloadKey{Kind: s.text(ref.Kind), Namespace: s.text(h.Namespace), Name: ref.Name}}
}

func sameAutoscaler(a, b *model.Autoscaler) bool { return *a == *b }
