package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

const nodePath = "/api/v1/nodes/n1"

func workedNode() *corev1.Node {
	n := newNode("n1", "u1")
	n.Labels = map[string]string{"theirs": "kept"}
	n.Annotations = map[string]string{"other.io/a": "kept", model.AnnotationRotation: "r0"}
	n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "gpu", Effect: corev1.TaintEffectNoExecute, TimeAdded: ptr(metav1.Unix(1e9, 0))}}
	return n
}

func TestPatchNode(t *testing.T) {
	ours := corev1.Taint{Key: model.TaintOutdated, Value: "r1", Effect: corev1.TaintEffectPreferNoSchedule}
	taint := &model.Taint{Key: ours.Key, Value: ours.Value, Effect: string(ours.Effect)}
	cases := map[string]struct {
		before func(*corev1.Node) // nil: as workedNode
		patch  engine.NodePatch
		after  func(*corev1.Node) // from before; nil: nothing changes and nothing is written
	}{
		"nothing asked":      {},
		"cordon":             {patch: engine.NodePatch{Unschedulable: ptr(true)}, after: func(n *corev1.Node) { n.Spec.Unschedulable = true }},
		"cordoned already":   {before: func(n *corev1.Node) { n.Spec.Unschedulable = true }, patch: engine.NodePatch{Unschedulable: ptr(true)}},
		"uncordon":           {before: func(n *corev1.Node) { n.Spec.Unschedulable = true }, patch: engine.NodePatch{Unschedulable: ptr(false)}, after: func(n *corev1.Node) { n.Spec.Unschedulable = false }},
		"uncordoned already": {patch: engine.NodePatch{Unschedulable: ptr(false)}},
		"add a taint":        {patch: engine.NodePatch{AddTaint: taint}, after: func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, ours) }},
		"tainted already":    {before: func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, ours) }, patch: engine.NodePatch{AddTaint: taint}},
		"taint of another value": {
			before: func(n *corev1.Node) {
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: ours.Key, Value: "r0", Effect: ours.Effect})
			},
			patch: engine.NodePatch{AddTaint: taint}, after: func(n *corev1.Node) { n.Spec.Taints[1] = ours }},
		"taint of another effect is another taint": {
			before: func(n *corev1.Node) {
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: ours.Key, Value: "r1", Effect: corev1.TaintEffectNoSchedule})
			},
			patch: engine.NodePatch{AddTaint: taint}, after: func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, ours) }},
		"remove a taint": {before: func(n *corev1.Node) { n.Spec.Taints = append([]corev1.Taint{ours}, n.Spec.Taints...) },
			patch: engine.NodePatch{RemoveTaint: ours.Key}, after: func(n *corev1.Node) { n.Spec.Taints = n.Spec.Taints[1:] }},
		"remove the last taint": {before: func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{ours} },
			patch: engine.NodePatch{RemoveTaint: ours.Key}, after: func(n *corev1.Node) { n.Spec.Taints = nil }},
		"no such taint": {patch: engine.NodePatch{RemoveTaint: ours.Key}},
		"set annotations": {patch: engine.NodePatch{SetAnnotations: map[string]string{model.AnnotationRotation: "r1", model.AnnotationCordoned: "true"}},
			after: func(n *corev1.Node) {
				n.Annotations[model.AnnotationRotation], n.Annotations[model.AnnotationCordoned] = "r1", "true"
			}},
		"annotations set already": {patch: engine.NodePatch{SetAnnotations: map[string]string{model.AnnotationRotation: "r0"}}},
		"drop annotations": {patch: engine.NodePatch{DropAnnotations: []string{model.AnnotationRotation, model.AnnotationCordoned}},
			after: func(n *corev1.Node) { delete(n.Annotations, model.AnnotationRotation) }},
		"no such annotation": {patch: engine.NodePatch{DropAnnotations: []string{model.AnnotationCordoned}}},
		"shield, exclude": {patch: engine.NodePatch{Shield: ptr(true), Exclude: ptr(true)}, after: func(n *corev1.Node) {
			n.Annotations[model.AnnotationScaleDownDisabled], n.Annotations[model.AnnotationShielded] = "true", model.Absent
			n.Annotations[model.AnnotationExcluded] = "true"
			n.Labels[model.LabelExcludeFromLoadBalancers] = "true"
		}},
		"unshield, include": {
			before: func(n *corev1.Node) {
				n.Annotations[model.AnnotationScaleDownDisabled], n.Annotations[model.AnnotationShielded] = "true", "false"
				n.Annotations[model.AnnotationExcluded] = "true"
				n.Labels[model.LabelExcludeFromLoadBalancers] = "true"
			},
			patch: engine.NodePatch{Shield: ptr(false), Exclude: ptr(false)}, after: func(n *corev1.Node) {
				n.Annotations[model.AnnotationScaleDownDisabled] = "false"
				delete(n.Annotations, model.AnnotationShielded)
				delete(n.Annotations, model.AnnotationExcluded)
				delete(n.Labels, model.LabelExcludeFromLoadBalancers)
			}},
		"all at once": {patch: engine.NodePatch{UID: "u1", AddTaint: taint, RemoveTaint: "dedicated", Unschedulable: ptr(true), DropAnnotations: []string{model.AnnotationRotation}},
			after: func(n *corev1.Node) {
				n.Spec.Taints, n.Spec.Unschedulable = []corev1.Taint{ours}, true
				delete(n.Annotations, model.AnnotationRotation)
			}},
	}
	for name, c := range cases {
		for _, watched := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, watched %t", name, watched), func(t *testing.T) {
				api := newFakeAPI(t)
				n := workedNode()
				if c.before != nil {
					c.before(n)
				}
				api.put(n)
				want, writes, reads := n.DeepCopy(), 0, 2 // the second time there is nothing left to do
				if c.after != nil {
					c.after(want)
					writes = 1
				}
				cluster := api.cluster()
				if watched {
					if err := cluster.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					cluster.Inventory()
					reads -= writes // what the watch has told is enough to write
				}
				for i := range 2 {
					if err := cluster.PatchNode(t.Context(), "n1", c.patch); err != nil {
						t.Fatal(err)
					}
					if watched && writes > 0 && i == 0 {
						seen(t, cluster, func(in engine.Input) bool { return len(in.Nodes) > 0 })
					}
				}
				got := api.node("n1")
				if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(want.Annotations, got.Annotations); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
					t.Error(diff)
				}
				if n := api.count("PATCH", nodePath); n != writes {
					t.Errorf("%d writes, want %d", n, writes)
				}
				if n := api.count("GET", nodePath); n != reads {
					t.Errorf("%d reads, want %d", n, reads)
				}
			})
		}
	}
}

// TestPatchOfWhatTheWatchTold: what is kept of a node makes the same patch as the
// node.
func TestPatchOfWhatTheWatchTold(t *testing.T) {
	s := sampler{rand.New(rand.NewPCG(3, 4))}
	shared, differ := newSharer(), 0
	for range 500 {
		n := workedNode()
		for _, part := range []any{&n.Labels, &n.Annotations, &n.Spec} {
			s.fill(reflect.ValueOf(part).Elem(), 0)
		}
		n.ResourceVersion = s.word()
		p := engine.NodePatch{RemoveTaint: s.word(), Unschedulable: ptr(true), DropAnnotations: []string{model.AnnotationCordoned}, Shield: ptr(s.IntN(2) == 0), Exclude: ptr(s.IntN(2) == 0)}
		want, err := mergePatch(n, p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mergePatch(shared.node(n).object(), p)
		if err != nil || string(want) != string(got) {
			t.Fatalf("%s, %v, want %s", got, err, want)
		}
		if strings.Contains(string(want), model.AnnotationScaleDownDisabled) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("no node was shielded")
	}
}

// Somebody else writes the node between what we know of it and our write: their
// change stays, and ours is made on top of it.
func TestPatchNodeKeepsWhatOthersChange(t *testing.T) {
	for _, watched := range []bool{false, true} {
		api := newFakeAPI(t)
		api.put(workedNode())
		others := 0
		api.answer = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method == "PATCH" && others < patchTries-1 {
				others++
				n := api.node("n1").DeepCopy()
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "theirs", Value: strings.Repeat("x", others)})
				api.put(n)
			}
			return false
		}
		cluster := api.cluster()
		if watched {
			if err := cluster.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		err := cluster.PatchNode(t.Context(), "n1", engine.NodePatch{AddTaint: &model.Taint{Key: "ours", Effect: "NoSchedule"}})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, taint := range api.node("n1").Spec.Taints {
			keys = append(keys, taint.Key)
		}
		if diff := cmp.Diff([]string{"dedicated", "theirs", "theirs", "theirs", "theirs", "ours"}, keys); diff != "" {
			t.Errorf("watched %t: %s", watched, diff)
		}
	}
}

func TestPatchNodeErrors(t *testing.T) {
	always := func(s metav1.Status, method string) func(http.ResponseWriter, *http.Request, []byte) bool {
		return func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if r.Method == method {
				refuse(w, s)
			}
			return r.Method == method
		}
	}
	cordon := engine.NodePatch{UID: "u1", Unschedulable: ptr(true)}
	for name, c := range map[string]struct {
		node   string
		patch  engine.NodePatch
		answer func(http.ResponseWriter, *http.Request, []byte) bool
		code   engine.ErrorCode
		text   string
		writes int
	}{
		"gone":           {"n9", cordon, nil, engine.ErrNotFound, "node n9", 0},
		"another life":   {"n1", engine.NodePatch{UID: "u0", Unschedulable: ptr(true)}, nil, engine.ErrConflict, "node n1 was deleted and made again", 0},
		"not ours":       {"n1", engine.NodePatch{SetAnnotations: map[string]string{"other.io/a": "x"}}, nil, engine.ErrPermanent, "other.io/a", 0},
		"not ours (2)":   {"n1", engine.NodePatch{DropAnnotations: []string{"other.io/a"}}, nil, engine.ErrPermanent, "other.io/a", 0},
		"may not read":   {"n1", cordon, always(metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no"}, "GET"), engine.ErrPermanent, "permission to get nodes is missing", 0},
		"may not write":  {"n1", cordon, always(metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no"}, "PATCH"), engine.ErrPermanent, "permission to patch nodes is missing", 1},
		"never in peace": {"n1", cordon, always(metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict, Message: "modified"}, "PATCH"), engine.ErrTransient, "5 tries", 5},
		"server error":   {"n1", cordon, always(metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable, Message: "etcd is away"}, "PATCH"), engine.ErrTransient, "etcd is away", 1},
		"refused":        {"n1", cordon, always(metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "bad taint"}, "PATCH"), engine.ErrPermanent, "bad taint", 1},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			api.put(workedNode())
			api.answer = c.answer
			err := api.cluster().PatchNode(t.Context(), c.node, c.patch)
			check(t, err, c.code, c.text)
			if n := api.count("PATCH", nodePath); n != c.writes {
				t.Errorf("%d writes, want %d", n, c.writes)
			}
		})
	}
}

func check(t *testing.T, err error, code engine.ErrorCode, text string) *engine.Error {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an engine.Error", err)
	}
	if e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %s: %s, want %s: ... %s ...", e.Code, e.Message, code, text)
	}
	return e
}

var web = engine.PodRef{PodKey: model.PodKey{Namespace: "ns", Name: "web-1"}, UID: "up"}

const evictionPath = "/api/v1/namespaces/ns/pods/web-1/eviction"

func budgetRefusal(retry int32) metav1.Status {
	return metav1.Status{Code: 429, Reason: metav1.StatusReasonTooManyRequests, Message: "Cannot evict pod as it would violate the pod's disruption budget.",
		Details: &metav1.StatusDetails{RetryAfterSeconds: retry, Causes: []metav1.StatusCause{
			{Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget web needs 2 healthy pods and has 2 currently"}}}}
}

func TestEvict(t *testing.T) {
	several := metav1.Status{Code: 500, Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}
	for name, c := range map[string]struct {
		answer metav1.Status // Code 201: success
		pod    *corev1.Pod   // that a GET finds
		code   engine.ErrorCode
		text   string
		retry  time.Duration
	}{
		"accepted":             {answer: metav1.Status{Code: 201}},
		"gone":                 {answer: metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound, Message: "not found"}, code: engine.ErrNotFound, text: "ns/web-1"},
		"another life":         {answer: metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict, Message: "x"}, pod: newPod("ns", "web-1", "up2"), code: engine.ErrConflict, text: "another has its name"},
		"conflict, then gone":  {answer: metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict, Message: "x"}, code: engine.ErrNotFound},
		"written meanwhile":    {answer: metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict, Message: "x"}, pod: newPod("ns", "web-1", "up"), code: engine.ErrTransient},
		"budget":               {answer: budgetRefusal(0), code: engine.ErrBlocked, text: "eviction of pod ns/web-1: The disruption budget web needs 2 healthy pods and has 2 currently"},
		"budget, with a delay": {answer: budgetRefusal(10), code: engine.ErrBlocked, text: "web needs 2", retry: 10 * time.Second},
		"busy server":          {answer: metav1.Status{Code: 429, Reason: metav1.StatusReasonTooManyRequests, Message: "too many", Details: &metav1.StatusDetails{RetryAfterSeconds: 1}}, code: engine.ErrTransient, text: "busy", retry: time.Second},
		"several budgets":      {answer: several, code: engine.ErrMultiBudget, text: "several budgets"},
		"server error":         {answer: metav1.Status{Code: 500, Reason: metav1.StatusReasonInternalError, Message: "webhook failed"}, code: engine.ErrTransient, text: "webhook failed"},
		"server timeout": {answer: metav1.Status{Code: 504, Reason: metav1.StatusReasonTimeout, Message: "conflicts", Details: &metav1.StatusDetails{RetryAfterSeconds: 10}},
			code: engine.ErrTransient, retry: 10 * time.Second},
		"may not":      {answer: metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "user x"}, code: engine.ErrPermanent, text: "permission to create pods/eviction in namespace ns"},
		"unauthorized": {answer: metav1.Status{Code: 401, Reason: metav1.StatusReasonUnauthorized, Message: "token"}, code: engine.ErrTransient, text: "token"},
		"a webhook": {answer: metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: `admission webhook "guard.example.com" denied the request: a backup runs`},
			code: engine.ErrDenied, text: "a backup runs"},
		"a webhook with a code of its own": {answer: metav1.Status{Code: 400, Message: `admission webhook "guard.example.com" denied the request without explanation`},
			code: engine.ErrDenied, text: "guard.example.com"},
		"a policy": {answer: metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "pods \"web\" is forbidden: ValidatingAdmissionPolicy 'guard' with binding 'all' denied request: no"},
			code: engine.ErrDenied, text: "ValidatingAdmissionPolicy 'guard'"},
		"bad request": {answer: metav1.Status{Code: 400, Reason: metav1.StatusReasonBadRequest, Message: "what"}, code: engine.ErrPermanent, text: "what"},
		"namespace ends": {answer: metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}}}, code: engine.ErrTransient, text: "namespace is being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			if c.pod != nil {
				api.put(c.pod)
			}
			api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != "POST" || r.URL.Path != evictionPath {
					return false
				}
				if c.answer.Code == 201 {
					respond(w, 201, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
					return true
				}
				refuse(w, c.answer)
				return true
			}
			err := api.cluster().Evict(t.Context(), web, ptr(int64(7)))
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if e := check(t, err, c.code, c.text); e.RetryAfter != c.retry {
				t.Errorf("retry after %v, want %v", e.RetryAfter, c.retry)
			}
			if n := api.count("POST", evictionPath); n != 1 {
				t.Errorf("%d requests, want one: retrying is the engine's", n)
			}
		})
	}
}

func TestEvictStatesLifeAndGrace(t *testing.T) {
	for name, c := range map[string]struct {
		pod   engine.PodRef
		grace *int64
	}{
		"its own grace":   {web, nil},
		"a given grace":   {web, ptr(int64(0))},
		"without the UID": {engine.PodRef{PodKey: web.PodKey}, ptr(int64(5))},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				respond(w, 200, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
				return true
			}
			cluster := api.cluster()
			if err := cluster.Evict(t.Context(), c.pod, c.grace); err != nil {
				t.Fatal(err)
			}
			req := api.last("POST")
			obj, gvk, err := codecs.UniversalDeserializer().Decode(req.body, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if gvk.GroupVersion().String() != "policy/v1" || req.contentType != "application/vnd.kubernetes.protobuf" {
				t.Errorf("%v as %s", gvk, req.contentType)
			}
			e := obj.(*policyv1.Eviction)
			want := &metav1.DeleteOptions{GracePeriodSeconds: c.grace}
			if c.pod.UID != "" {
				want.Preconditions = metav1.NewUIDPreconditions(c.pod.UID)
			}
			if diff := cmp.Diff(want, e.DeleteOptions); diff != "" || e.Name != "web-1" || e.Namespace != "ns" {
				t.Errorf("%s %s/%s", diff, e.Namespace, e.Name)
			}

			if err := cluster.DeletePod(t.Context(), c.pod, c.grace); err != nil {
				t.Fatal(err)
			}
			req = api.last("DELETE")
			obj, _, err = codecs.UniversalDeserializer().Decode(req.body, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := obj.(*metav1.DeleteOptions)
			got.TypeMeta = metav1.TypeMeta{}
			if diff := cmp.Diff(want, got); diff != "" || req.path != "/api/v1/namespaces/ns/pods/web-1" {
				t.Errorf("%s %s", req.path, diff)
			}
		})
	}
}

func TestDeletePodErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status metav1.Status
		pod    *corev1.Pod
		code   engine.ErrorCode
		text   string
	}{
		"gone":         {metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound}, nil, engine.ErrNotFound, ""},
		"another life": {metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict}, newPod("ns", "web-1", "up2"), engine.ErrConflict, "another has its name"},
		"may not":      {metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden}, nil, engine.ErrPermanent, "permission to delete pods in namespace ns"},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			if c.pod != nil {
				api.put(c.pod)
			}
			api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method == "DELETE" {
					refuse(w, c.status)
				}
				return r.Method == "DELETE"
			}
			check(t, api.cluster().DeletePod(t.Context(), web, nil), c.code, c.text)
		})
	}
}

// Where the watch knows the budgets, the message names them, whatever the API
// server's words are.
func TestEvictNamesTheBudgets(t *testing.T) {
	api := newFakeAPI(t)
	pod := newPod("ns", "web-1", "up")
	pod.Labels = map[string]string{"app": "web"}
	api.put(pod)
	for name, app := range map[string]string{"b": "web", "a": "web", "other": "db"} {
		api.put(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
			Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}})
	}
	api.put(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "c"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{}}})
	cluster := api.started()
	api.mu.Lock()
	api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method == "POST" {
			refuse(w, metav1.Status{Code: 500, Message: "in other words"})
		}
		return r.Method == "POST"
	}
	api.mu.Unlock()
	check(t, cluster.Evict(t.Context(), web, nil), engine.ErrMultiBudget, "the budgets a, b select it")
}

func TestNoServerIsTransient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	c, err := newCluster(&rest.Config{Host: "http://" + addr}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	check(t, c.Evict(t.Context(), web, nil), engine.ErrTransient, "eviction of pod ns/web-1")
	check(t, c.DeletePod(t.Context(), web, nil), engine.ErrTransient, "deletion of pod ns/web-1")
	check(t, c.PatchNode(t.Context(), "n1", engine.NodePatch{Unschedulable: ptr(true)}), engine.ErrTransient, "node n1")
}

// A merge patch must say "taints": null, not leave it out, to end the last one.
func TestMergePatchOfTheLastTaint(t *testing.T) {
	n := workedNode()
	n.ResourceVersion = "5"
	raw, err := mergePatch(n, engine.NodePatch{RemoveTaint: "dedicated"})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"metadata": map[string]any{"resourceVersion": "5"}, "spec": map[string]any{"taints": nil}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Error(diff)
	}
}
