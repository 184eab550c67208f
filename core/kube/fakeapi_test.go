package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// fakeAPI speaks as much of the API server's HTTP as this package uses: lists,
// watches (streamed lists included), node patches under a resourceVersion, and
// answers to evictions and deletions that a test has prepared.
type fakeAPI struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	rv       int
	live     map[string]map[string]apiruntime.Object // by list path, then namespace/name
	history  map[string][]change
	oldest   map[string]int // history before it was compacted away
	moved    chan struct{}  // closed and made anew when history changes
	requests []request
	// answer, where it is set and returns true, replaces the server's own.
	answer func(w http.ResponseWriter, r *http.Request, body []byte) bool
}

type change struct {
	rv   int
	kind string
	obj  apiruntime.Object
}

type request struct {
	method, path, agent, accept, contentType, query string
	body                                            []byte
}

func newFakeAPI(t *testing.T) *fakeAPI {
	f := &fakeAPI{t: t, live: map[string]map[string]apiruntime.Object{}, history: map[string][]change{},
		oldest: map[string]int{}, moved: make(chan struct{}), rv: 100}
	srv := httptest.NewServer(f)
	t.Cleanup(func() {
		srv.CloseClientConnections() // watches never end by themselves
		srv.Close()
	})
	f.url = srv.URL
	return f
}

// cluster is a connection to the fake, not started.
func (f *fakeAPI) cluster() *Cluster {
	c, err := newCluster(&rest.Config{Host: f.url}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fakeAPI) started() *Cluster {
	f.t.Helper()
	c := f.cluster()
	if err := c.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return c
}

func pathOf(obj apiruntime.Object) string {
	switch obj.(type) {
	case *corev1.Node:
		return "/api/v1/nodes"
	case *corev1.Pod:
		return "/api/v1/pods"
	case *appsv1.ReplicaSet:
		return "/apis/apps/v1/replicasets"
	case *appsv1.StatefulSet:
		return "/apis/apps/v1/statefulsets"
	case *appsv1.DaemonSet:
		return "/apis/apps/v1/daemonsets"
	case *appsv1.Deployment:
		return "/apis/apps/v1/deployments"
	case *autoscalingv1.HorizontalPodAutoscaler:
		return "/apis/autoscaling/v1/horizontalpodautoscalers"
	case *corev1.PersistentVolumeClaim:
		return "/api/v1/persistentvolumeclaims"
	case *storagev1.VolumeAttachment:
		return "/apis/storage.k8s.io/v1/volumeattachments"
	case *policyv1.PodDisruptionBudget:
		return "/apis/policy/v1/poddisruptionbudgets"
	}
	panic(fmt.Sprintf("%T", obj))
}

func keyOf(obj apiruntime.Object) string {
	m := obj.(metav1.Object)
	return m.GetNamespace() + "/" + m.GetName()
}

// stamped returns a copy with its kind and a resourceVersion.
func stamped(obj apiruntime.Object, rv int) apiruntime.Object {
	obj = obj.DeepCopyObject()
	kinds, _, err := scheme.ObjectKinds(obj)
	if err != nil {
		panic(err)
	}
	obj.GetObjectKind().SetGroupVersionKind(kinds[0])
	obj.(metav1.Object).SetResourceVersion(strconv.Itoa(rv))
	return obj
}

// put creates or changes objects.
func (f *fakeAPI) put(objs ...apiruntime.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, obj := range objs {
		f.store(obj)
	}
}

func (f *fakeAPI) store(obj apiruntime.Object) apiruntime.Object {
	path, kind := pathOf(obj), "MODIFIED"
	if f.live[path] == nil {
		f.live[path] = map[string]apiruntime.Object{}
	}
	if f.live[path][keyOf(obj)] == nil {
		kind = "ADDED"
	}
	f.rv++
	obj = stamped(obj, f.rv)
	f.live[path][keyOf(obj)] = obj
	f.record(path, kind, obj)
	return obj
}

func (f *fakeAPI) remove(objs ...apiruntime.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, obj := range objs {
		path := pathOf(obj)
		old := f.live[path][keyOf(obj)]
		delete(f.live[path], keyOf(obj))
		f.rv++
		f.record(path, "DELETED", stamped(old, f.rv))
	}
}

func (f *fakeAPI) record(path, kind string, obj apiruntime.Object) {
	f.history[path] = append(f.history[path], change{f.rv, kind, obj})
	close(f.moved)
	f.moved = make(chan struct{})
}

// outage changes objects while no watch sees it: all watches end with 410 Gone,
// and the history that would tell is compacted away.
func (f *fakeAPI) outage(change func()) {
	f.mu.Lock()
	for _, path := range slices.Collect(maps.Keys(f.live)) {
		f.oldest[path] = 1 << 30 // everything is too old for now
	}
	f.mu.Unlock()
	change()
	f.mu.Lock()
	defer f.mu.Unlock()
	for path := range f.oldest {
		f.history[path], f.oldest[path] = nil, f.rv
	}
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.requests = append(f.requests, request{r.Method, r.URL.Path, r.UserAgent(), r.Header.Get("Accept"), r.Header.Get("Content-Type"), r.URL.RawQuery, body})
	answer := f.answer
	f.mu.Unlock()
	if answer != nil && answer(w, r, body) {
		return
	}
	q := r.URL.Query()
	switch {
	case r.URL.Path == "/version":
		respond(w, 200, map[string]string{"gitVersion": "v1.37.2"})
	case r.Method == "GET" && q.Get("watch") != "":
		f.watch(w, r)
	case r.Method == "GET" && f.isList(r.URL.Path):
		f.list(w, r.URL.Path)
	case r.Method == "GET":
		f.get(w, r.URL.Path)
	case r.Method == "PATCH":
		f.patch(w, r.URL.Path, body)
	default:
		refuse(w, metav1.Status{Code: 405, Reason: metav1.StatusReasonMethodNotAllowed, Message: r.Method + " " + r.URL.Path})
	}
}

func (f *fakeAPI) isList(path string) bool {
	return strings.Count(strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/"), "/") == strings.Count(path, "/apis/")+1
}

func respond(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, s metav1.Status) {
	s.Kind, s.APIVersion, s.Status = "Status", "v1", metav1.StatusFailure
	if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	}
	respond(w, int(s.Code), s)
}

func (f *fakeAPI) list(w http.ResponseWriter, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds := map[string][2]string{
		"/api/v1/nodes": {"NodeList", "v1"}, "/api/v1/pods": {"PodList", "v1"},
		"/apis/apps/v1/replicasets":  {"ReplicaSetList", "apps/v1"},
		"/apis/apps/v1/statefulsets": {"StatefulSetList", "apps/v1"}, "/apis/apps/v1/daemonsets": {"DaemonSetList", "apps/v1"},
		"/apis/policy/v1/poddisruptionbudgets":          {"PodDisruptionBudgetList", "policy/v1"},
		"/apis/apps/v1/deployments":                     {"DeploymentList", "apps/v1"},
		"/api/v1/persistentvolumeclaims":                {"PersistentVolumeClaimList", "v1"},
		"/apis/autoscaling/v1/horizontalpodautoscalers": {"HorizontalPodAutoscalerList", "autoscaling/v1"},
		"/apis/storage.k8s.io/v1/volumeattachments":     {"VolumeAttachmentList", "storage.k8s.io/v1"},
	}
	respond(w, 200, map[string]any{
		"kind": kinds[path][0], "apiVersion": kinds[path][1],
		"metadata": map[string]string{"resourceVersion": strconv.Itoa(f.rv)},
		"items":    slices.Collect(maps.Values(f.live[path])),
	})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	path, q := r.URL.Path, r.URL.Query()
	stream := q.Get("sendInitialEvents") == "true"
	w.Header().Set("Content-Type", "application/json")
	send := func(kind string, obj any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": obj})
		w.(http.Flusher).Flush()
	}
	w.(http.Flusher).Flush()
	since, _ := strconv.Atoi(q.Get("resourceVersion"))
	if stream {
		f.mu.Lock()
		initial, now := slices.Collect(maps.Values(f.live[path])), f.rv
		f.mu.Unlock()
		for _, obj := range initial {
			send("ADDED", obj)
		}
		example := examples[path].DeepCopyObject()
		example.(metav1.Object).SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		send("BOOKMARK", stamped(example, now))
		since = now
	}
	for {
		f.mu.Lock()
		moved, tooOld := f.moved, since < f.oldest[path]
		var next []change
		for _, c := range f.history[path] {
			if c.rv > since {
				next = append(next, c)
			}
		}
		f.mu.Unlock()
		if tooOld {
			send("ERROR", metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure",
				Code: 410, Reason: metav1.StatusReasonExpired, Message: "too old resource version"})
			return
		}
		for _, c := range next {
			send(c.kind, c.obj)
			since = c.rv
		}
		select {
		case <-moved:
		case <-r.Context().Done():
			return
		}
	}
}

var examples = map[string]apiruntime.Object{
	"/api/v1/nodes": &corev1.Node{}, "/api/v1/pods": &corev1.Pod{},
	"/apis/apps/v1/replicasets": &appsv1.ReplicaSet{}, "/apis/apps/v1/statefulsets": &appsv1.StatefulSet{},
	"/apis/apps/v1/daemonsets":             &appsv1.DaemonSet{},
	"/apis/policy/v1/poddisruptionbudgets": &policyv1.PodDisruptionBudget{},
	"/apis/apps/v1/deployments":            &appsv1.Deployment{}, "/api/v1/persistentvolumeclaims": &corev1.PersistentVolumeClaim{},
	"/apis/autoscaling/v1/horizontalpodautoscalers": &autoscalingv1.HorizontalPodAutoscaler{},
	"/apis/storage.k8s.io/v1/volumeattachments":     &storagev1.VolumeAttachment{},
}

// find returns the object at /api/v1/nodes/NAME, /api/v1/namespaces/NS/pods/NAME
// or /apis/apps/v1/namespaces/NS/deployments/NAME.
func (f *fakeAPI) find(path string) apiruntime.Object {
	if rest, ok := strings.CutPrefix(path, "/apis/apps/v1/namespaces/"); ok {
		return f.live["/apis/apps/v1/deployments"][strings.Replace(rest, "/deployments/", "/", 1)]
	}
	parts := strings.Split(strings.TrimPrefix(path, "/api/v1/"), "/")
	if len(parts) == 2 {
		return f.live["/api/v1/nodes"]["/"+parts[1]]
	}
	return f.live["/api/v1/pods"][parts[1]+"/"+parts[3]]
}

func notFound(path string) metav1.Status {
	return metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound, Message: path + " not found"}
}

func (f *fakeAPI) get(w http.ResponseWriter, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	obj := f.find(path)
	if obj == nil {
		refuse(w, notFound(path))
		return
	}
	respond(w, 200, obj)
}

func (f *fakeAPI) patch(w http.ResponseWriter, path string, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	obj := f.find(path)
	if obj == nil {
		refuse(w, notFound(path))
		return
	}
	var patch map[string]any
	if err := json.Unmarshal(body, &patch); err != nil {
		f.t.Errorf("patch %s: %v", body, err)
	}
	meta, _ := patch["metadata"].(map[string]any)
	if rv, ok := meta["resourceVersion"]; ok && rv != obj.(metav1.Object).GetResourceVersion() {
		refuse(w, metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict, Message: "the object has been modified"})
		return
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		f.t.Error(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		f.t.Error(err)
	}
	merge(doc, patch)
	if raw, err = json.Marshal(doc); err != nil {
		f.t.Error(err)
	}
	next := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(apiruntime.Object)
	if err := json.Unmarshal(raw, next); err != nil {
		f.t.Error(err)
	}
	respond(w, 200, f.store(next))
}

// merge applies a JSON merge patch (RFC 7386).
func merge(doc, patch map[string]any) {
	for k, v := range patch {
		sub, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(doc, k)
		case isMap:
			if _, ok := doc[k].(map[string]any); !ok {
				doc[k] = map[string]any{}
			}
			merge(doc[k].(map[string]any), sub)
		default:
			doc[k] = v
		}
	}
}

// count returns how many requests of that method the path has had.
func (f *fakeAPI) count(method, path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if r.method == method && r.path == path {
			n++
		}
	}
	return n
}

func (f *fakeAPI) last(method string) request {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range slices.Backward(f.requests) {
		if r.method == method {
			return r
		}
	}
	f.t.Fatalf("no %s request", method)
	return request{}
}

func (f *fakeAPI) node(name string) *corev1.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live["/api/v1/nodes"]["/"+name].(*corev1.Node)
}

func newNode(name, uid string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)}}
}

func newPod(namespace, name, uid string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}}
}
