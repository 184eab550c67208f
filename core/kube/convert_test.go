package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotatord/rotator/core/model"
)

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ptr[T any](v T) *T { return &v }

func TestNodeIsTrimmed(t *testing.T) {
	in := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "u1", CreationTimestamp: metav1.NewTime(created.In(time.FixedZone("CET", 3600))),
			Labels:      map[string]string{corev1.LabelTopologyZone: "eu-1a", zoneLabelBeta: "old", "team": "x"},
			Annotations: map[string]string{model.AnnotationCordoned: "true", "other.io/x": "y", "rotatord.github.io": "near"}},
		Spec: corev1.NodeSpec{ProviderID: "aws:///eu-1a/i-1", Unschedulable: true,
			Taints: []corev1.Taint{{Key: "a", Value: "b", Effect: corev1.TaintEffectNoExecute, TimeAdded: ptr(metav1.Now())}, {Key: "c", Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
	want := &model.Node{
		Name: "n1", UID: "u1", ProviderID: "aws:///eu-1a/i-1", Zone: "eu-1a", Ready: true, Unschedulable: true,
		Taints: []model.Taint{{Key: "a", Value: "b", Effect: "NoExecute"}, {Key: "c", Effect: "NoSchedule"}},
		Labels: in.Labels, Annotations: map[string]string{model.AnnotationCordoned: "true"}, CreatedAt: created,
	}
	if diff := cmp.Diff(want, &newSharer().node(in).Node); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		edit  func(*corev1.Node)
		check func(*model.Node) bool
	}{
		"Ready unknown is not Ready": {func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionUnknown }, func(n *model.Node) bool { return !n.Ready && n.Unreachable }},
		"not Ready, and says so":     {func(n *corev1.Node) { n.Status.Conditions[1].Status = corev1.ConditionFalse }, func(n *model.Node) bool { return !n.Ready && !n.Unreachable }},
		"no condition: not Ready":    {func(n *corev1.Node) { n.Status.Conditions = nil }, func(n *model.Node) bool { return !n.Ready }},
		"the old zone label":         {func(n *corev1.Node) { delete(n.Labels, corev1.LabelTopologyZone) }, func(n *model.Node) bool { return n.Zone == "old" }},
		"no zone":                    {func(n *corev1.Node) { n.Labels = nil }, func(n *model.Node) bool { return n.Zone == "" && n.Labels == nil }},
	} {
		n := in.DeepCopy()
		c.edit(n)
		if got := &newSharer().node(n).Node; !c.check(got) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestPodIsTrimmed(t *testing.T) {
	in := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-1", UID: "u1", Labels: map[string]string{"app": "web"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Thing", Name: "watcher"}, {Kind: "ReplicaSet", Name: "web", Controller: ptr(true)}}},
		Spec: corev1.PodSpec{NodeName: "n1", Priority: ptr(int32(7)), TerminationGracePeriodSeconds: ptr(int64(90)),
			Volumes: []corev1.Volume{{Name: "t"}, {Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}, {Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	want := &model.Pod{
		PodKey: model.PodKey{Namespace: "ns", Name: "web-1"}, UID: "u1", Node: "n1",
		Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "ns", Name: "web"},
		Phase: "Running", Ready: true, Priority: 7, Labels: map[string]string{"app": "web"}, GracePeriodSeconds: 90, EmptyDir: true,
		Traits: &model.PodTraits{Requests: model.Resources{Pods: 1}},
	}
	if diff := cmp.Diff(want, newSharer().pod(in)); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		edit  func(*corev1.Pod)
		check func(*model.Pod) bool
	}{
		"terminating is not Ready":      {func(p *corev1.Pod) { p.DeletionTimestamp = ptr(metav1.Now()) }, func(p *model.Pod) bool { return p.Terminating && !p.Ready }},
		"unmanaged":                     {func(p *corev1.Pod) { p.OwnerReferences = p.OwnerReferences[:1] }, func(p *model.Pod) bool { return p.Owner == model.WorkloadKey{} }},
		"a static pod's mirror":         {func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }, func(p *model.Pod) bool { return p.Mirror }},
		"no grace period, no priority":  {func(p *corev1.Pod) { p.Spec = corev1.PodSpec{} }, func(p *model.Pod) bool { return p.GracePeriodSeconds == 30 && p.Priority == 0 && !p.EmptyDir }},
		"a grace period of zero counts": {func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr(int64(0)) }, func(p *model.Pod) bool { return p.GracePeriodSeconds == 0 }},
		"finished":                      {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, func(p *model.Pod) bool { return p.Finished() }},
		"terminating, held by finalizers": {func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = ptr(metav1.NewTime(created)), []string{"a/b", "c/d"}
		},
			func(p *model.Pod) bool { return *p.Detail == model.PodDetail{EndsBy: created, Finalizers: "a/b,c/d"} }},
		"not to be disrupted":        {annotated("karpenter.sh/do-not-disrupt", "true"), asksFor("karpenter.sh/do-not-disrupt: true", time.Time{})},
		"the annotation, unset":      {annotated("karpenter.sh/do-not-disrupt", "false"), asksFor("", time.Time{})},
		"not to be disrupted yet":    {annotated("karpenter.sh/do-not-disrupt", "1h30m"), asksFor("karpenter.sh/do-not-disrupt: 1h30m", created.Add(90*time.Minute))},
		"not for a negative time":    {annotated("karpenter.sh/do-not-disrupt", "-1h"), asksFor("", time.Time{})},
		"not safe to evict":          {annotated("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), asksFor("cluster-autoscaler.kubernetes.io/safe-to-evict: false", time.Time{})},
		"safe to evict":              {annotated("cluster-autoscaler.kubernetes.io/safe-to-evict", "true"), asksFor("", time.Time{})},
		"tolerates everything":       {tolerating(corev1.Toleration{Operator: corev1.TolerationOpExists}), cordons(true)},
		"tolerates the cordon":       {tolerating(corev1.Toleration{Key: "node.kubernetes.io/unschedulable", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}), cordons(true)},
		"tolerates its value":        {tolerating(corev1.Toleration{Key: "node.kubernetes.io/unschedulable"}), cordons(true)},
		"tolerates another value":    {tolerating(corev1.Toleration{Key: "node.kubernetes.io/unschedulable", Value: "x"}), cordons(false)},
		"tolerates another taint":    {tolerating(corev1.Toleration{Key: "node.kubernetes.io/not-ready", Operator: corev1.TolerationOpExists}), cordons(false)},
		"tolerates all of NoExecute": {tolerating(corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}), cordons(false)},
	} {
		p := in.DeepCopy()
		p.Status.StartTime = ptr(metav1.NewTime(created))
		c.edit(p)
		s := newSharer()
		got := s.pod(p)
		if !c.check(got) {
			t.Errorf("%s: %+v", name, got)
		}
		if !samePod(got, s.pod(p)) {
			t.Errorf("%s: two looks at it differ", name)
		}
	}
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{key: value} }
}

func asksFor(what string, until time.Time) func(*model.Pod) bool {
	return func(p *model.Pod) bool {
		return p.Details() == model.PodDetail{DoNotDisrupt: what, DoNotDisruptUntil: until} && (what != "" || p.Detail == nil)
	}
}

func tolerating(t corev1.Toleration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{t} }
}

func cordons(want bool) func(*model.Pod) bool {
	return func(p *model.Pod) bool { return p.ToleratesCordon == want }
}

func TestWorkloads(t *testing.T) {
	s := newSharer()
	meta := func(generation int64) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "ns", Name: "w", UID: "u", Generation: generation}
	}
	rs := func(want *int32, ready int32, generation, observed int64) *model.Workload {
		return s.replicaSet(&appsv1.ReplicaSet{ObjectMeta: meta(generation), Spec: appsv1.ReplicaSetSpec{Replicas: want},
			Status: appsv1.ReplicaSetStatus{ReadyReplicas: ready, ObservedGeneration: observed}})
	}
	sts := func(want *int32, ready int32, generation, observed int64) *model.Workload {
		return s.statefulSet(&appsv1.StatefulSet{ObjectMeta: meta(generation), Spec: appsv1.StatefulSetSpec{Replicas: want},
			Status: appsv1.StatefulSetStatus{ReadyReplicas: ready, ObservedGeneration: observed}})
	}
	ds := func(want, ready int32, generation, observed int64) *model.Workload {
		return s.daemonSet(&appsv1.DaemonSet{ObjectMeta: meta(generation),
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: want, NumberReady: ready, ObservedGeneration: observed}})
	}
	workload := func(kind string, desired, ready int) *model.Workload {
		return &model.Workload{Ordered: kind == "StatefulSet", WorkloadKey: model.WorkloadKey{Kind: kind, Namespace: "ns", Name: "w"}, UID: "u", Desired: desired, Ready: ready}
	}
	for name, c := range map[string]struct{ got, want *model.Workload }{
		"ReplicaSet":                  {rs(ptr(int32(3)), 2, 4, 4), workload("ReplicaSet", 3, 2)},
		"ReplicaSet without replicas": {rs(nil, 1, 1, 1), workload("ReplicaSet", 1, 1)},
		"ReplicaSet of history":       {rs(ptr(int32(0)), 0, 1, 1), nil},
		"ReplicaSet not observed":     {rs(ptr(int32(3)), 5, 4, 3), workload("ReplicaSet", 3, 0)},
		"StatefulSet":                 {sts(ptr(int32(3)), 3, 1, 1), workload("StatefulSet", 3, 3)},
		"StatefulSet scaled to zero":  {sts(ptr(int32(0)), 0, 1, 1), workload("StatefulSet", 0, 0)},
		"StatefulSet not observed":    {sts(ptr(int32(3)), 3, 2, 1), workload("StatefulSet", 3, 0)},
		"StatefulSet that is parallel": {s.statefulSet(&appsv1.StatefulSet{ObjectMeta: meta(1), Spec: appsv1.StatefulSetSpec{PodManagementPolicy: appsv1.ParallelPodManagement}}),
			&model.Workload{WorkloadKey: model.WorkloadKey{Kind: "StatefulSet", Namespace: "ns", Name: "w"}, UID: "u", Desired: 1}},
		"DaemonSet":                      {ds(5, 4, 2, 2), workload("DaemonSet", 5, 4)},
		"DaemonSet not observed":         {ds(5, 5, 3, 2), workload("DaemonSet", 5, 0)},
		"observed ahead is observed too": {ds(5, 5, 1, 2), workload("DaemonSet", 5, 5)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestBudget(t *testing.T) {
	in := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b", UID: "u", Generation: 2},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr(intstr.FromInt32(2)),
			UnhealthyPodEvictionPolicy: ptr(policyv1.AlwaysAllow), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status: policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, DisruptionsAllowed: 1, CurrentHealthy: 3, DesiredHealthy: 2, ExpectedPods: 4,
			DisruptedPods: map[string]metav1.Time{"web-2": {}, "web-1": {}}},
	}
	want := model.Budget{BudgetKey: model.BudgetKey{Namespace: "ns", Name: "b"}, UID: "u",
		Allowed: 1, CurrentHealthy: 3, DesiredHealthy: 2, Expected: 4, Observed: true, AlwaysEvictUnhealthy: true,
		Charged: []string{"web-1", "web-2"}, Counted: []string{"web-1", "web-2"}, Limit: "minAvailable 2", Selector: "selects app=web"}
	got := newSharer().budget(in)
	if diff := cmp.Diff(want, got.Budget, cmpopts.IgnoreFields(model.Budget{}, "Matches")); diff != "" {
		t.Error(diff)
	}
	stale := in.DeepCopy()
	stale.Generation = 3
	stale.Spec.UnhealthyPodEvictionPolicy = ptr(policyv1.IfHealthyBudget)
	if b := newSharer().budget(stale); b.Observed || b.AlwaysEvictUnhealthy {
		t.Errorf("%+v", b)
	}
	charged := in.DeepCopy()
	delete(charged.Status.DisruptedPods, "web-1")
	if sameBudget(got, newSharer().budget(charged)) {
		t.Error("a budget that is no longer charged is taken for the same")
	}
	broken := in.DeepCopy()
	broken.Status.Conditions = []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason, Message: "things do not implement the scale subresource"}}
	broken.Spec.MinAvailable, broken.Spec.MaxUnavailable = nil, ptr(intstr.FromString("10%"))
	if b := newSharer().budget(broken); b.Problem != "things do not implement the scale subresource" || b.Limit != "maxUnavailable 10%" || sameBudget(got, b) {
		t.Errorf("a budget that cannot be counted: %+v", b)
	}
	if !sameBudget(got, newSharer().budget(in)) || sameBudget(got, newSharer().budget(stale)) {
		t.Error("sameBudget is wrong")
	}

	web, other := map[string]string{"app": "web", "x": "y"}, map[string]string{"app": "db"}
	for name, c := range map[string]struct {
		selector              *metav1.LabelSelector
		web, other, unlabeled bool
	}{
		"labels":     {&metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, true, false, false},
		"expression": {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"web"}}}}, false, true, true},
		"empty":      {&metav1.LabelSelector{}, true, true, true},
		"none":       {nil, false, false, false},
		"invalid":    {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Like"}}}, false, false, false},
	} {
		b := in.DeepCopy()
		b.Spec.Selector = c.selector
		m := newSharer().budget(b).Matches
		if m(web) != c.web || m(other) != c.other || m(nil) != c.unlabeled {
			t.Errorf("%s: %v %v %v, want %v %v %v", name, m(web), m(other), m(nil), c.web, c.other, c.unlabeled)
		}
	}
	// The three selectors that select nothing or everything differ for sameBudget.
	seen := map[string]bool{}
	for _, s := range []*metav1.LabelSelector{nil, {}, {MatchLabels: map[string]string{"a": "b"}}} {
		b := in.DeepCopy()
		b.Spec.Selector = s
		seen[newSharer().budget(b).selector] = true
	}
	if len(seen) != 3 {
		t.Errorf("%v", seen)
	}
}

// Every field that a value has must count as a difference: else a change of it
// would never be delivered.
func TestSameSeesEveryField(t *testing.T) {
	n := node{Node: model.Node{Name: "n", UID: "u"}}
	for name, edit := range map[string]func(*node){
		"ProviderID":    func(n *node) { n.ProviderID = "x" },
		"Zone":          func(n *node) { n.Zone = "x" },
		"Ready":         func(n *node) { n.Ready = true },
		"Unreachable":   func(n *node) { n.Unreachable = true },
		"Unschedulable": func(n *node) { n.Unschedulable = true },
		"Taints":        func(n *node) { n.Taints = []model.Taint{{Key: "x"}} },
		"Labels":        func(n *node) { n.Labels = map[string]string{"x": "y"} },
		"Annotations":   func(n *node) { n.Annotations = map[string]string{"x": "y"} },
		"Allocatable":   func(n *node) { n.Allocatable.Extended = map[string]int64{"x": 1} },
	} {
		other := n
		edit(&other)
		if sameNode(&n, &other) || !sameNode(&n, ptr(n)) {
			t.Errorf("node: %s", name)
		}
	}
	p := model.Pod{UID: "u"}
	for name, edit := range map[string]func(*model.Pod){
		"Node":               func(p *model.Pod) { p.Node = "x" },
		"Owner":              func(p *model.Pod) { p.Owner.Name = "x" },
		"Phase":              func(p *model.Pod) { p.Phase = "x" },
		"Ready":              func(p *model.Pod) { p.Ready = true },
		"Terminating":        func(p *model.Pod) { p.Terminating = true },
		"Mirror":             func(p *model.Pod) { p.Mirror = true },
		"Priority":           func(p *model.Pod) { p.Priority = 1 },
		"Labels":             func(p *model.Pod) { p.Labels = map[string]string{"x": "y"} },
		"GracePeriodSeconds": func(p *model.Pod) { p.GracePeriodSeconds = 1 },
		"ToleratesCordon":    func(p *model.Pod) { p.ToleratesCordon = true },
		"Detail":             func(p *model.Pod) { p.Detail = &model.PodDetail{Finalizers: "x"} },
		"EmptyDir":           func(p *model.Pod) { p.EmptyDir = true },
		"Traits":             func(p *model.Pod) { p.Traits = &model.PodTraits{} },
	} {
		other := p
		edit(&other)
		if samePod(&p, &other) || !samePod(&p, ptr(p)) {
			t.Errorf("pod: %s", name)
		}
	}
	other := &model.PodTraits{}
	if sameWorkload(&model.Workload{}, &model.Workload{Template: other}) || sameDeployment(&model.Deployment{}, &model.Deployment{Template: other}) {
		t.Error("template of a workload")
	}
	b := budget{selector: "x"}
	for name, edit := range map[string]func(*budget){
		"selector":             func(b *budget) { b.selector = "y" },
		"Allowed":              func(b *budget) { b.Allowed = 1 },
		"CurrentHealthy":       func(b *budget) { b.CurrentHealthy = 1 },
		"DesiredHealthy":       func(b *budget) { b.DesiredHealthy = 1 },
		"Expected":             func(b *budget) { b.Expected = 1 },
		"Observed":             func(b *budget) { b.Observed = true },
		"AlwaysEvictUnhealthy": func(b *budget) { b.AlwaysEvictUnhealthy = true },
	} {
		other := b
		edit(&other)
		if sameBudget(&b, &other) || !sameBudget(&b, ptr(b)) {
			t.Errorf("budget: %s", name)
		}
	}
}

func TestPodsOfOneOwnerShareTheirLabels(t *testing.T) {
	s := newSharer()
	pod := func(owner, app string) *model.Pod {
		return s.pod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Labels: map[string]string{"app": app},
			OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: owner, Controller: ptr(true)}}}})
	}
	a, b, c := pod("web", "web"), pod("web", "web"), pod("web", "other")
	a.Labels["probe"] = "x" // seen through b only if the set is one
	if b.Labels["probe"] != "x" || c.Labels["probe"] == "x" || c.Labels["app"] != "other" {
		t.Errorf("%v %v %v", a.Labels, b.Labels, c.Labels)
	}
}
