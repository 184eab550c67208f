package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotatord/rotator/core/model"
)

func list(cpu, memory string, more ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for name, v := range map[corev1.ResourceName]string{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory} {
		if v != "" {
			l[name] = quantity.MustParse(v)
		}
	}
	for i := 0; i < len(more); i += 2 {
		l[corev1.ResourceName(more[i])] = quantity.MustParse(more[i+1])
	}
	return l
}

func asks(l corev1.ResourceList) corev1.Container {
	return corev1.Container{Resources: corev1.ResourceRequirements{Requests: l}}
}

func TestPodRequests(t *testing.T) {
	sidecar := asks(list("50m", "20Mi"))
	sidecar.RestartPolicy = ptr(corev1.ContainerRestartPolicyAlways)
	const mi = 1 << 20
	for _, tc := range []struct {
		name string
		spec corev1.PodSpec
		want model.Resources
	}{
		{"none", corev1.PodSpec{Containers: []corev1.Container{{}}}, model.Resources{}},
		{"containers add up", corev1.PodSpec{Containers: []corev1.Container{asks(list("100m", "10Mi")), asks(list("1.5", "1Gi", "nvidia.com/gpu", "2"))}},
			model.Resources{MilliCPU: 1600, Memory: 1034 * mi, Extended: map[string]int64{"nvidia.com/gpu": 2}}},
		{"a larger init container counts, one at a time", corev1.PodSpec{Containers: []corev1.Container{asks(list("100m", "10Mi"))},
			InitContainers: []corev1.Container{asks(list("300m", "5Mi")), asks(list("200m", "40Mi"))}},
			model.Resources{MilliCPU: 300, Memory: 40 * mi}},
		{"a sidecar runs beside the containers and the init containers after it", corev1.PodSpec{Containers: []corev1.Container{asks(list("100m", "10Mi"))},
			InitContainers: []corev1.Container{asks(list("160m", "25Mi")), sidecar, asks(list("120m", "15Mi"))}},
			model.Resources{MilliCPU: 170, Memory: 35 * mi}},
		{"overhead", corev1.PodSpec{Containers: []corev1.Container{asks(list("100m", ""))}, Overhead: list("10m", "5Mi")},
			model.Resources{MilliCPU: 110, Memory: 5 * mi}},
		{"requests of the pod as a whole replace its containers'", corev1.PodSpec{Containers: []corev1.Container{asks(list("100m", "10Mi"))},
			Resources: &corev1.ResourceRequirements{Requests: list("2", "")}}, model.Resources{MilliCPU: 2000, Memory: 10 * mi}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.Pods = 1
			if diff := cmp.Diff(tc.want, podRequests(&tc.spec)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What differs must not share, and what is equal must: the key and the traits
// are made by different code.
func TestTraitsAreSharedWhereTheyAreEqual(t *testing.T) {
	base := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: corev1.PodSpec{Containers: []corev1.Container{asks(list("1", "1Gi"))}}}
	}
	in := func(values ...string) *corev1.NodeSelector {
		return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: values}}}}}
	}
	anti := func(app string) []corev1.PodAffinityTerm {
		return []corev1.PodAffinityTerm{{TopologyKey: "host", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}}
	}
	// term changes the term of an anti-affinity.
	term := func(change func(*corev1.PodAffinityTerm)) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			terms := anti("x")
			change(&terms[0])
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}}
		}
	}
	edits := map[string]func(*corev1.Pod){
		"nothing":       func(*corev1.Pod) {},
		"requests":      func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = list("2", "1Gi") },
		"extended":      func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = list("1", "1Gi", "gpu", "1") },
		"node selector": func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "b"} },
		"toleration":    func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "a", Value: "b"}} },
		"toleration of the operator": func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: "a", Operator: corev1.TolerationOpExists, Value: "b"}}
		},
		"node affinity": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: in("a")}}
		},
		"node affinity to another zone": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: in("b")}}
		},
		"preferred node affinity": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
				{Weight: 1, Preference: in("a").NodeSelectorTerms[0]}}}}
		},
		"preferred node affinity to another zone": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
				{Weight: 1, Preference: in("b").NodeSelectorTerms[0]}}}}
		},
		"affinity": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: anti("x")}}
		},
		"anti-affinity": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: anti("x")}}
		},
		"anti-affinity to others": func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: anti("y")}}
		},
		"anti-affinity in another namespace": func(p *corev1.Pod) {
			p.Namespace = "other"
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: anti("x")}}
		},
		"anti-affinity to none":                   term(func(t *corev1.PodAffinityTerm) { t.LabelSelector = nil }),
		"anti-affinity to all":                    term(func(t *corev1.PodAffinityTerm) { t.LabelSelector = &metav1.LabelSelector{} }),
		"anti-affinity in all namespaces":         term(func(t *corev1.PodAffinityTerm) { t.NamespaceSelector = &metav1.LabelSelector{} }),
		"anti-affinity in namespaces with labels": term(func(t *corev1.PodAffinityTerm) { t.NamespaceSelector = t.LabelSelector }),
		"anti-affinity in two namespaces":         term(func(t *corev1.PodAffinityTerm) { t.Namespaces = []string{"a", "b"} }),
		"anti-affinity in one namespace":          term(func(t *corev1.PodAffinityTerm) { t.Namespaces = []string{"ab"} }),
		"anti-affinity by zone":                   term(func(t *corev1.PodAffinityTerm) { t.TopologyKey = "zone" }),
		"anti-affinity by a label's value":        term(func(t *corev1.PodAffinityTerm) { t.MatchLabelKeys = []string{"version"} }),
		"anti-affinity but for a label's value":   term(func(t *corev1.PodAffinityTerm) { t.MismatchLabelKeys = []string{"version"} }),
		"anti-affinity to two labels":             term(func(t *corev1.PodAffinityTerm) { t.LabelSelector.MatchLabels["tier"] = "y" }),
		"anti-affinity by an expression": term(func(t *corev1.PodAffinityTerm) {
			t.LabelSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"x", "y"}}}
		}),
		"anti-affinity by another expression": term(func(t *corev1.PodAffinityTerm) {
			t.LabelSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x", "y"}}}
		}),
		"host port": func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80}} },
		"volume": func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}}}
		},
	}
	s := newSharer()
	owner := map[*model.PodTraits]string{}
	for name, edit := range edits {
		a, b := base(), base()
		edit(a)
		edit(b)
		if s.traits(a) != s.traits(b) {
			t.Errorf("%s: not shared", name)
		}
		if other, taken := owner[s.traits(a)]; taken {
			t.Errorf("%s: shared with %s", name, other)
		}
		owner[s.traits(a)] = name
	}
}

// TestTemplates: of a workload's template only what says where its pods may be is kept, and nothing where it says
// nothing.
func TestTemplates(t *testing.T) {
	pinned := corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeSelector: map[string]string{"pool": "a"}, Tolerations: []corev1.Toleration{{Key: "x"}},
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: "In", Values: []string{"a"}}}}}}}}}}
	s := newSharer()
	for kind, of := range map[string]func(corev1.PodTemplateSpec) *model.PodTraits{
		"StatefulSet": func(p corev1.PodTemplateSpec) *model.PodTraits {
			return s.statefulSet(&appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: p}}).Template
		},
		"DaemonSet": func(p corev1.PodTemplateSpec) *model.PodTraits {
			return s.daemonSet(&appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: p}}).Template
		},
		"Deployment": func(p corev1.PodTemplateSpec) *model.PodTraits {
			return s.deployment(&appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: p}}).Template
		},
	} {
		if got := of(corev1.PodTemplateSpec{Spec: corev1.PodSpec{Tolerations: pinned.Spec.Tolerations}}); got != nil {
			t.Errorf("%s that may be anywhere: %+v", kind, got)
		}
		got := of(pinned)
		if got == nil || got.NodeSelector["pool"] != "a" || len(got.Tolerations) != 1 || len(got.NodeAffinity) != 1 || !got.NodeAffinity[0].Matches("n", map[string]string{"zone": "a"}) {
			t.Errorf("%s: %+v", kind, got)
		}
		if again := of(*pinned.DeepCopy()); again != got {
			t.Errorf("%s: equal templates do not share their traits", kind)
		}
	}
}

func TestTermsOfNodeAffinity(t *testing.T) {
	expr := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: op, Values: values}
	}
	for _, tc := range []struct {
		name string
		term corev1.NodeSelectorTerm
		want bool
	}{
		{"empty matches nothing", corev1.NodeSelectorTerm{}, false},
		{"in", corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{expr("zone", "In", "a", "b")}}, true},
		{"all must hold", corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{expr("zone", "In", "a"), expr("gpu", "Exists")}}, false},
		{"more than", corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{expr("cores", "Gt", "7")}}, true},
		{"by name", corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{expr("metadata.name", "In", "n1")}}, true},
		{"by another name", corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{expr("metadata.name", "In", "n2")}}, false},
		{"of an unknown operator", corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{expr("zone", "Like", "a")}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := nodeTerm(&tc.term).Matches("n1", map[string]string{"zone": "a", "cores": "8"}); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestHowLongAPodTookToStart(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	pod := func(scheduled, ready time.Time, restarts int32) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{RestartCount: restarts}}, Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(ready)},
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(scheduled)}}}}
	}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want time.Duration
	}{
		{"as the conditions say", pod(at, at.Add(7*time.Second), 0), 7 * time.Second},
		{"within a second", pod(at, at, 0), 500 * time.Millisecond},
		{"a restart is another story", pod(at, at.Add(time.Hour), 1), 0},
		{"not known", &corev1.Pod{}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := newSharer().pod(tc.pod).StartTook; got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}
