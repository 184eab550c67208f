package kube

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/journal"
)

// stateAPI speaks as much of the API server's HTTP as the journal and the lock
// use: namespaces, and objects in them under a resourceVersion.
type stateAPI struct {
	t   *testing.T
	url string

	mu         sync.Mutex
	rv         int
	namespaces map[string]bool
	objects    map[string]apiruntime.Object // by path
	calls      []string
	// deny answers 403, status another code, where they are set and say so.
	deny   func(r *http.Request) bool
	status func(r *http.Request) int
	// drop makes the change and loses the answer.
	drop func(r *http.Request) bool
}

func newStateAPI(t *testing.T) *stateAPI {
	a := &stateAPI{t: t, namespaces: map[string]bool{}, objects: map[string]apiruntime.Object{}, rv: 100}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

func (a *stateAPI) cluster() *Cluster {
	c, err := newCluster(&rest.Config{Host: a.url}, "", slog.New(slog.DiscardHandler))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *stateAPI) refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	refuse(w, metav1.Status{Code: int32(code), Reason: reason, Message: string(reason)})
}

func (a *stateAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, r.Method+" "+r.URL.Path)
	if a.deny != nil && a.deny(r) {
		a.refuse(w, 403, metav1.StatusReasonForbidden)
		return
	}
	if a.status != nil {
		if n := a.status(r); n != 0 {
			a.refuse(w, n, metav1.StatusReasonInternalError)
			return
		}
	}
	if a.drop != nil && a.drop(r) {
		w = lostWriter{httptest.NewRecorder()}
		defer panic(http.ErrAbortHandler)
	}
	var obj apiruntime.Object
	if r.Method == "POST" || r.Method == "PUT" {
		var err error
		if obj, _, err = codecs.UniversalDeserializer().Decode(body, nil, nil); err != nil {
			a.t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
			return
		}
	}
	if r.URL.Path == "/api/v1/namespaces" {
		a.namespaces[obj.(metav1.Object).GetName()] = true
		respond(w, 201, obj)
		return
	}
	a.namespaced(w, r, obj)
}

type lostWriter struct{ *httptest.ResponseRecorder }

func (a *stateAPI) namespaced(w http.ResponseWriter, r *http.Request, obj apiruntime.Object) {
	path := r.URL.Path
	_, rest, _ := strings.Cut(path, "/namespaces/")
	namespace, _, _ := strings.Cut(rest, "/")
	old := a.objects[path]
	selected := func() []string {
		s, err := labels.Parse(r.URL.Query().Get("labelSelector"))
		if err != nil {
			a.t.Error(err)
		}
		var keys []string
		for _, k := range slices.Sorted(maps.Keys(a.objects)) {
			if strings.HasPrefix(k, path+"/") && s.Matches(labels.Set(a.objects[k].(metav1.Object).GetLabels())) {
				keys = append(keys, k)
			}
		}
		return keys
	}
	put := func(path string) {
		a.rv++
		a.objects[path] = stamped(obj, a.rv)
		respond(w, 200, a.objects[path])
	}
	switch r.Method {
	case "GET":
		switch {
		case strings.HasSuffix(path, "/configmaps"):
			list := &corev1.ConfigMapList{TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"}}
			keys := selected()
			from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
			limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
			for _, k := range keys[from:min(len(keys), from+limit)] {
				list.Items = append(list.Items, *a.objects[k].(*corev1.ConfigMap))
			}
			if from+limit < len(keys) {
				list.Continue = fmt.Sprint(from + limit)
			}
			respond(w, 200, list)
		case old == nil:
			a.refuse(w, 404, metav1.StatusReasonNotFound)
		default:
			respond(w, 200, old)
		}
	case "POST":
		path += "/" + obj.(metav1.Object).GetName()
		switch {
		case !a.namespaces[namespace]:
			a.refuse(w, 404, metav1.StatusReasonNotFound)
		case a.objects[path] != nil:
			a.refuse(w, 409, metav1.StatusReasonAlreadyExists)
		default:
			put(path)
		}
	case "PUT":
		switch {
		case old == nil:
			a.refuse(w, 404, metav1.StatusReasonNotFound)
		case old.(metav1.Object).GetResourceVersion() != obj.(metav1.Object).GetResourceVersion():
			a.refuse(w, 409, metav1.StatusReasonConflict)
		default:
			put(path)
		}
	case "DELETE":
		for _, k := range selected() {
			delete(a.objects, k)
		}
		respond(w, 200, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
	}
}

func someEvents(from, n uint64) []event.Event {
	var list []event.Event
	for seq := from; seq < from+n; seq++ {
		list = append(list, event.Event{Seq: seq, Time: time.Unix(int64(seq), 0).UTC(), Kind: event.OpIntended, Rotation: "r1",
			Op: fmt.Sprint("op-", seq), Message: strings.Repeat(fmt.Sprintf("%x", seq*2654435761), 40)})
	}
	return list
}

// The journal's own tests run over memory; this is the same over HTTP.
func TestJournalOverHTTP(t *testing.T) {
	api := newStateAPI(t)
	store := journal.Cluster{Objects: api.cluster().Objects("rotator-system"), Fence: 3, Writer: "here"}
	log, err := store.Open(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if !api.namespaces["rotator-system"] {
		t.Error("the namespace was not made")
	}
	var want []event.Event
	for seq := uint64(1); len(api.objects) < 4; seq += 40 { // three chunks
		if seq > 20_000 {
			t.Fatal("no chunk was written")
		}
		events := someEvents(seq, 40)
		if seq == 41 {
			dropped := false
			api.drop = func(r *http.Request) bool {
				drop := r.Method == "PUT" && !dropped
				dropped = dropped || drop
				return drop
			}
		}
		if err := log.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		want = append(want, events...)
	}
	got, err := store.Read(t.Context(), "r1")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for path, obj := range api.objects {
		m := obj.(*corev1.ConfigMap)
		if chunk := m.Labels[journal.LabelPart] == "chunk"; chunk != (m.Immutable != nil && *m.Immutable) {
			t.Errorf("%s: labels %v, immutable %v", path, m.Labels, m.Immutable)
		}
	}
	list, err := store.List(t.Context())
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Where, "namespace rotator-system") {
		t.Errorf("%+v, %v", list, err)
	}
	if err := store.Prune(t.Context(), 0, "r1"); err != nil || len(api.objects) != 4 {
		t.Errorf("pruning what is open: %d objects, %v", len(api.objects), err)
	}
	if err := store.Prune(t.Context(), 0, ""); err != nil || len(api.objects) != 0 {
		t.Errorf("pruning: %d objects are left, %v", len(api.objects), err)
	}
}

func TestObjectsInPages(t *testing.T) {
	api := newStateAPI(t)
	o := api.cluster().Objects("ns")
	for i := range 2*pageSize + 1 { // not by Create: so many would wait for our own rate limit
		m := o.toConfigMap(journal.Object{Name: fmt.Sprint("o-", i), Labels: map[string]string{"a": "b"}})
		api.objects["/api/v1/namespaces/ns/configmaps/"+m.Name] = stamped(m, 100)
	}
	list, err := o.List(t.Context(), map[string]string{"a": "b"})
	if err != nil || len(list) != 2*pageSize+1 {
		t.Errorf("%d objects, %v", len(list), err)
	}
	if list, err := o.List(t.Context(), map[string]string{"a": "c"}); err != nil || len(list) != 0 {
		t.Errorf("%d objects of another label, %v", len(list), err)
	}
	if err := o.Delete(t.Context(), nil); err == nil {
		t.Error("all ConfigMaps of the namespace would have been deleted")
	}
}

func TestObjectErrors(t *testing.T) {
	api := newStateAPI(t)
	o := api.cluster().Objects("ns")
	version, err := o.Create(t.Context(), journal.Object{Name: "a", Data: map[string][]byte{"k": {0, 255}}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.Get(t.Context(), "a")
	if err != nil || got.Version != version || !slices.Equal(got.Data["k"], []byte{0, 255}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := o.Create(t.Context(), journal.Object{Name: "a"}); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := o.Update(t.Context(), journal.Object{Name: "a", Version: "1"}); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("an old version: %v", err)
	}
	if _, err := o.Update(t.Context(), journal.Object{Name: "b", Version: "1"}); !errors.Is(err, journal.ErrNoObject) {
		t.Errorf("an object that is not there: %v", err)
	}
	if _, err := o.Get(t.Context(), "b"); !errors.Is(err, journal.ErrNoObject) {
		t.Errorf("an object that is not there: %v", err)
	}
	for code, transient := range map[int]bool{401: true, 408: true, 429: true, 500: true, 503: true, 504: true, 400: false, 413: false, 422: false} {
		api.status = func(*http.Request) int { return code }
		before := len(api.calls)
		_, err := o.Update(t.Context(), got)
		if err == nil || journal.Transient(err) != transient {
			t.Errorf("%d: %v", code, err)
		}
		if n := len(api.calls) - before; n != 1 {
			t.Errorf("%d: %d calls, want one", code, n)
		}
	}
	api.status = nil
	api.deny = func(*http.Request) bool { return true }
	_, err = o.Update(t.Context(), got)
	if known, ok := errors.AsType[*Error](err); !ok || known.Code != CodeForbidden || journal.Transient(err) || !strings.Contains(err.Error(), "update configmaps in namespace ns") {
		t.Errorf("denied: %v", err)
	}
	gone := api.cluster().Objects("ns")
	api.deny = nil
	api.drop = func(*http.Request) bool { return true }
	if _, err := gone.Update(t.Context(), got); !journal.Transient(err) {
		t.Errorf("an answer that is lost: %v", err)
	}
}
