package kube

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotatord/rotator/core/model"
)

// The Go types of the API give each object its own copies of its strings and
// maps. Trimmed values share what is equal: most of a large cluster's pods
// differ in little but their names.

// maxShared bounds the strings and label sets that a sharer remembers; beyond
// it, it starts anew, and shares a little less.
const maxShared = 1 << 16

// sharer makes equal strings and label sets one. Each reflector has its own,
// since it is not safe for concurrent use.
type sharer struct {
	strings map[string]string
	labels  map[model.WorkloadKey]map[string]string // the last set of an owner's pods

	interned interner
	clock    *clock // nil: the API server's clock is taken for ours
}

func newSharer() *sharer {
	return &sharer{strings: map[string]string{}, labels: map[model.WorkloadKey]map[string]string{}}
}

func (s *sharer) text(v string) string {
	if known, ok := s.strings[v]; ok {
		return known
	}
	if len(s.strings) >= maxShared {
		clear(s.strings)
	}
	v = strings.Clone(v)
	s.strings[v] = v
	return v
}

func (s *sharer) set(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[s.text(k)] = s.text(v)
	}
	return out
}

// podLabels shares the set between the pods of one owner, which a ReplicaSet's
// or DaemonSet's all have in common.
func (s *sharer) podLabels(owner model.WorkloadKey, m map[string]string) map[string]string {
	if known := s.labels[owner]; len(m) > 0 && maps.Equal(known, m) {
		return known
	}
	m = s.set(m)
	if len(s.labels) >= maxShared {
		clear(s.labels)
	}
	s.labels[owner] = m
	return m
}

const zoneLabelBeta = "failure-domain.beta.kubernetes.io/zone" // before Kubernetes 1.17

// node is a model.Node, and what a patch of it depends on besides.
type node struct {
	model.Node
	version           string // resourceVersion
	taints            []corev1.Taint
	scaleDownDisabled *string // the annotation's value; nil: it is not there
}

// object is the node as far as mergePatch reads it.
func (n *node) object() *corev1.Node {
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: types.UID(n.UID), ResourceVersion: n.version, Labels: n.Labels, Annotations: n.Annotations},
		Spec: corev1.NodeSpec{Taints: n.taints, Unschedulable: n.Unschedulable}}
	if v := n.scaleDownDisabled; v != nil {
		o.Annotations = maps.Clone(n.Annotations)
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations[model.AnnotationScaleDownDisabled] = *v
	}
	return o
}

func (s *sharer) node(n *corev1.Node) *node {
	zone := n.Labels[corev1.LabelTopologyZone]
	if zone == "" {
		zone = n.Labels[zoneLabelBeta]
	}
	out := &node{version: n.ResourceVersion, taints: n.Spec.Taints, Node: model.Node{
		Name:          n.Name,
		UID:           string(n.UID),
		ProviderID:    n.Spec.ProviderID,
		Zone:          s.text(zone),
		Unschedulable: n.Spec.Unschedulable,
		Labels:        s.set(n.Labels),
		CreatedAt:     n.CreationTimestamp.UTC(),
		Allocatable:   s.allocatable(n.Status.Allocatable),
	}}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if out.Ready = c.Status == corev1.ConditionTrue; out.Ready {
				out.ReadySince = c.LastTransitionTime.UTC()
			}
			out.Unreachable = c.Status == corev1.ConditionUnknown
		}
	}
	for _, t := range n.Spec.Taints {
		out.Taints = append(out.Taints, model.Taint{Key: s.text(t.Key), Value: s.text(t.Value), Effect: s.text(string(t.Effect))})
	}
	for k, v := range n.Annotations {
		if strings.HasPrefix(k, model.Prefix) || k == model.AnnotationKopsNeedsUpdate {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[s.text(k)] = s.text(v)
		}
		if k == model.AnnotationScaleDownDisabled {
			out.scaleDownDisabled = &v
		}
	}
	return out
}

func sameNode(a, b *node) bool {
	return a.ProviderID == b.ProviderID && a.Zone == b.Zone && a.Ready == b.Ready && a.Unreachable == b.Unreachable && a.Unschedulable == b.Unschedulable &&
		slices.Equal(a.Taints, b.Taints) && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) &&
		sameResources(a.Allocatable, b.Allocatable)
}

func sameResources(a, b model.Resources) bool {
	return a.MilliCPU == b.MilliCPU && a.Memory == b.Memory && a.EphemeralStorage == b.EphemeralStorage && a.Pods == b.Pods &&
		maps.Equal(a.Extended, b.Extended)
}

// defaultGrace is what the API server sets where a pod states nothing.
const defaultGrace = 30

func (s *sharer) pod(p *corev1.Pod) *model.Pod {
	out := s.alike(p)
	s.own(out, p, restarted(p))
	return out
}

// own sets what no pod has in common with others of its template. Of p it reads only
// what cutOwn leaves.
func (s *sharer) own(out *model.Pod, p *corev1.Pod, restarted bool) {
	out.Name, out.UID, out.Node = p.Name, string(p.UID), s.text(p.Spec.NodeName)
	out.Ready, out.StartTook = false, 0
	var scheduled, ready time.Time
	for i := range p.Status.Conditions {
		c := &p.Status.Conditions[i]
		switch {
		case c.Type == corev1.PodReady:
			if out.Ready = c.Status == corev1.ConditionTrue && !out.Terminating; out.Ready {
				ready = c.LastTransitionTime.Time
			}
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue:
			scheduled = c.LastTransitionTime.Time
		}
	}
	if out.Ready && !restarted { // after a restart the condition tells of that one
		out.StartTook = model.StartTook(scheduled, ready)
	}
}

// alike makes the pod but for what is its own. It reads what cutAlike leaves; what
// else it reads must show in what it makes as (*alikes).remember asks.
func (s *sharer) alike(p *corev1.Pod) *model.Pod {
	out := &model.Pod{
		PodKey:             model.PodKey{Namespace: s.text(p.Namespace)},
		Phase:              s.text(string(p.Status.Phase)),
		Terminating:        p.DeletionTimestamp != nil,
		GracePeriodSeconds: defaultGrace,
	}
	if owner := metav1.GetControllerOfNoCopy(p); owner != nil {
		out.Owner = model.WorkloadKey{Kind: s.text(owner.Kind), Namespace: out.Namespace, Name: s.text(owner.Name)}
	}
	out.Labels = s.podLabels(out.Owner, p.Labels)
	out.Traits = s.traits(p)
	_, out.Mirror = p.Annotations[corev1.MirrorPodAnnotationKey]
	if p.Spec.Priority != nil {
		out.Priority = *p.Spec.Priority
	}
	if p.Spec.TerminationGracePeriodSeconds != nil {
		out.GracePeriodSeconds = *p.Spec.TerminationGracePeriodSeconds
	}
	out.EmptyDir = slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.EmptyDir != nil })
	out.Claims = claims(p)
	out.ToleratesCordon = slices.ContainsFunc(p.Spec.Tolerations, toleratesCordon)
	out.Detail = s.podDetail(p)
	return out
}

func restarted(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.RestartCount > 0 })
}

// toleratesCordon follows the scheduler's rules for the taint of a cordoned node.
func toleratesCordon(t corev1.Toleration) bool {
	if t.Effect != "" && t.Effect != corev1.TaintEffectNoSchedule {
		return false
	}
	switch t.Operator {
	case corev1.TolerationOpExists:
		return t.Key == "" || t.Key == corev1.TaintNodeUnschedulable
	case corev1.TolerationOpEqual, "": // the taint has no value
		return t.Key == corev1.TaintNodeUnschedulable && t.Value == ""
	default: // Lt and Gt compare numbers, and the taint has none
		return false
	}
}

// Annotations with which a pod asks not to be evicted.
const (
	// annotationDoNotDisrupt of Karpenter: "true", or for how long since its start.
	annotationDoNotDisrupt = "karpenter.sh/do-not-disrupt"
	// annotationSafeToEvict of the cluster autoscaler: "false".
	annotationSafeToEvict = "cluster-autoscaler.kubernetes.io/safe-to-evict"
)

// podAnnotations are all annotations of pods that are read. Pods that differ in
// others may be alike.
var podAnnotations = []string{corev1.MirrorPodAnnotationKey, annotationDoNotDisrupt, annotationSafeToEvict}

// podDetail returns nil for the many pods that have nothing of it.
func (s *sharer) podDetail(p *corev1.Pod) *model.PodDetail {
	var d model.PodDetail
	if p.DeletionTimestamp != nil {
		d.EndsBy = s.clock.ours(p.DeletionTimestamp.Time)
	}
	d.Finalizers = s.text(strings.Join(p.Finalizers, ","))
	hold, safe := p.Annotations[annotationDoNotDisrupt], p.Annotations[annotationSafeToEvict]
	lasts, err := time.ParseDuration(hold)
	switch {
	case hold == "true":
		d.DoNotDisrupt = s.text(annotationDoNotDisrupt + ": " + hold)
	case safe == "false":
		d.DoNotDisrupt = s.text(annotationSafeToEvict + ": " + safe)
	case err == nil && lasts > 0:
		began := p.CreationTimestamp
		if p.Status.StartTime != nil {
			began = *p.Status.StartTime
		}
		d.DoNotDisrupt = s.text(annotationDoNotDisrupt + ": " + hold)
		d.DoNotDisruptUntil = s.clock.ours(began.Add(lasts))
	}
	if d == (model.PodDetail{}) {
		return nil
	}
	return &d
}

// samePod leaves out StartTook, which changes with Ready alone. Traits are
// shared, so that equal ones are one.
func samePod(a, b *model.Pod) bool {
	return a.Node == b.Node && a.Owner == b.Owner && a.Phase == b.Phase && a.Ready == b.Ready && a.Terminating == b.Terminating &&
		a.Mirror == b.Mirror && a.Priority == b.Priority && a.GracePeriodSeconds == b.GracePeriodSeconds && a.EmptyDir == b.EmptyDir &&
		a.ToleratesCordon == b.ToleratesCordon && a.Details() == b.Details() &&
		maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Claims, b.Claims) && a.Traits == b.Traits
}

// Kinds of workloads that are watched. Jobs are not: a job's pods end by
// themselves, and say nothing about health.
const (
	kindReplicaSet  = "ReplicaSet"
	kindStatefulSet = "StatefulSet"
	kindDaemonSet   = "DaemonSet"
)

// replicaSet returns nil for one that wants no pods: a Deployment keeps ten of
// those for its history, and they say nothing.
func (s *sharer) replicaSet(r *appsv1.ReplicaSet) *model.Workload {
	desired := replicas(r.Spec.Replicas)
	if desired == 0 {
		return nil
	}
	return s.workload(kindReplicaSet, &r.ObjectMeta, desired, r.Status.ReadyReplicas, r.Status.ObservedGeneration)
}

func (s *sharer) statefulSet(r *appsv1.StatefulSet) *model.Workload {
	w := s.workload(kindStatefulSet, &r.ObjectMeta, replicas(r.Spec.Replicas), r.Status.ReadyReplicas, r.Status.ObservedGeneration)
	w.Ordered = r.Spec.PodManagementPolicy != appsv1.ParallelPodManagement // OrderedReady is the default
	w.Template = s.template(r.Namespace, &r.Spec.Template.Spec)
	return w
}

func (s *sharer) daemonSet(r *appsv1.DaemonSet) *model.Workload {
	w := s.workload(kindDaemonSet, &r.ObjectMeta, r.Status.DesiredNumberScheduled, r.Status.NumberReady, r.Status.ObservedGeneration)
	w.Template = s.template(r.Namespace, &r.Spec.Template.Spec)
	return w
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1 // the API's default
	}
	return *n
}

func (s *sharer) workload(kind string, m *metav1.ObjectMeta, desired, ready int32, observed int64) *model.Workload {
	if observed < m.Generation {
		ready = 0 // counted for an earlier spec, whose pods may be the wrong ones
	}
	out := &model.Workload{
		WorkloadKey: model.WorkloadKey{Kind: kind, Namespace: s.text(m.Namespace), Name: m.Name},
		UID:         string(m.UID),
		Desired:     int(desired),
		Ready:       int(ready),
	}
	if owner := metav1.GetControllerOfNoCopy(m); owner != nil {
		out.Owner = model.WorkloadKey{Kind: s.text(owner.Kind), Namespace: out.Namespace, Name: s.text(owner.Name)}
	}
	return out
}

func sameWorkload(a, b *model.Workload) bool {
	return a.Desired == b.Desired && a.Ready == b.Ready && a.Owner == b.Owner && a.Ordered == b.Ordered && a.Template == b.Template
}

// budget is a model.Budget with its selector in a form that can be compared.
type budget struct {
	model.Budget
	selector string
}

func (s *sharer) budget(b *policyv1.PodDisruptionBudget) *budget {
	// As policy/v1 has it: an empty selector selects every pod of the namespace,
	// none selects nothing. One that cannot be parsed protects nothing either:
	// the API server's eviction ignores such a budget.
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		selector = labels.Nothing()
	}
	text := "nothing"
	if err == nil && b.Spec.Selector != nil {
		text = "selects " + selector.String()
	}
	st := b.Status
	charged := slices.Sorted(maps.Keys(st.DisruptedPods))
	return &budget{
		selector: text,
		Budget: model.Budget{
			BudgetKey:            model.BudgetKey{Namespace: s.text(b.Namespace), Name: b.Name},
			UID:                  string(b.UID),
			Selector:             text,
			Matches:              func(set map[string]string) bool { return selector.Matches(labels.Set(set)) },
			Allowed:              int(st.DisruptionsAllowed),
			CurrentHealthy:       int(st.CurrentHealthy),
			DesiredHealthy:       int(st.DesiredHealthy),
			Expected:             int(st.ExpectedPods),
			Observed:             st.ObservedGeneration >= b.Generation,
			Charged:              charged,
			Counted:              charged,
			Scales:               b.Spec.MinAvailable == nil || b.Spec.MinAvailable.Type == intstr.String,
			Limit:                s.limit(b),
			Problem:              s.problem(b),
			AlwaysEvictUnhealthy: b.Spec.UnhealthyPodEvictionPolicy != nil && *b.Spec.UnhealthyPodEvictionPolicy == policyv1.AlwaysAllow,
		},
	}
}

// limit is what the budget asks for, as it is written.
func (s *sharer) limit(b *policyv1.PodDisruptionBudget) string {
	switch {
	case b.Spec.MinAvailable != nil:
		return s.text("minAvailable " + b.Spec.MinAvailable.String())
	case b.Spec.MaxUnavailable != nil:
		return s.text("maxUnavailable " + b.Spec.MaxUnavailable.String())
	}
	return ""
}

// problem is why the disruption controller cannot count: it then sets the
// allowed disruptions to 0, and says so in a condition.
func (s *sharer) problem(b *policyv1.PodDisruptionBudget) string {
	for _, c := range b.Status.Conditions {
		if c.Type == policyv1.DisruptionAllowedCondition && c.Status == metav1.ConditionFalse && c.Reason == policyv1.SyncFailedReason {
			return s.text(cmp.Or(c.Message, c.Reason))
		}
	}
	return ""
}

func sameBudget(a, b *budget) bool {
	return a.selector == b.selector && a.Limit == b.Limit && a.Problem == b.Problem && a.Allowed == b.Allowed && a.CurrentHealthy == b.CurrentHealthy &&
		a.DesiredHealthy == b.DesiredHealthy && a.Expected == b.Expected && a.Observed == b.Observed &&
		a.Scales == b.Scales && a.AlwaysEvictUnhealthy == b.AlwaysEvictUnhealthy && slices.Equal(a.Charged, b.Charged)
}
