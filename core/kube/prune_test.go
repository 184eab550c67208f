package kube

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// sampler fills objects of the API at random, every field of them, with words
// that mean something somewhere.
type sampler struct{ *rand.Rand }

var words = []string{"Ready", "PodScheduled", "True", "False", "Unknown", "Running", "Always", "Exists", "Equal", "In", "NotIn", "NoSchedule", "PreferNoSchedule",
	"OrderedReady", "Parallel", "Recreate", "RollingUpdate", "ReadWriteMany", "true", "false", "10m", "app", "web", "metadata.name", "TCP", "cpu", "memory", "nvidia.com/gpu",
	corev1.LabelTopologyZone, zoneLabelBeta, corev1.TaintNodeUnschedulable, corev1.MirrorPodAnnotationKey, annotationDoNotDisrupt, annotationSafeToEvict,
	model.AnnotationCordoned, model.AnnotationKopsNeedsUpdate, model.LabelSurgedFrom, restartedAt, policyv1.DisruptionAllowedCondition, policyv1.SyncFailedReason}

func (s sampler) word() string { return words[s.IntN(len(words))] }

func (s sampler) fill(v reflect.Value, depth int) {
	if s.IntN(8) == 0 || depth > 12 {
		return // left empty
	}
	switch v.Addr().Interface().(type) {
	case *quantity.Quantity:
		v.Set(reflect.ValueOf(*quantity.NewMilliQuantity(s.Int64N(1e6), quantity.DecimalSI)))
		return
	case *metav1.Time:
		v.Set(reflect.ValueOf(metav1.Unix(1e9+s.Int64N(600), 0))) // within a plausible start
		return
	case *corev1.PodConditionType:
		v.SetString([]string{"Ready", "PodScheduled"}[s.IntN(2)])
		return
	case *corev1.ConditionStatus:
		v.SetString([]string{"True", "True", "False"}[s.IntN(3)])
		return
	case *metav1.FieldsV1:
		v.Set(reflect.ValueOf(*metav1.NewFieldsV1(`{"f:spec":{}}`)))
		return
	case *intstr.IntOrString:
		v.Set(reflect.ValueOf([]intstr.IntOrString{intstr.FromInt32(s.Int32N(9)), intstr.FromString("30%")}[s.IntN(2)]))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				s.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		s.fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+s.IntN(2), 2))
		for i := range v.Len() {
			s.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 1 + s.IntN(3) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.SetString(s.word())
			s.fill(value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		v.SetString(s.word())
	case reflect.Bool:
		v.SetBool(s.IntN(2) == 0)
	case reflect.Int32, reflect.Int64:
		v.SetInt(s.Int64N(5))
	case reflect.Uint8:
		v.SetUint(s.Uint64N(256))
	}
}

// reads are what is read of objects, by kind: by the watches, and by what patches
// them.
var reads = []struct {
	example wireObject
	trim    func(*sharer, apiruntime.Object) any
}{
	{&corev1.Pod{}, func(s *sharer, o apiruntime.Object) any { return s.pod(o.(*corev1.Pod)) }},
	{&corev1.Node{}, func(s *sharer, o apiruntime.Object) any {
		patch, err := mergePatch(o.(*corev1.Node), engine.NodePatch{Shield: ptr(true), Exclude: ptr(true), RemoveTaint: "web", Unschedulable: ptr(true), DropAnnotations: []string{model.AnnotationCordoned}})
		return []any{s.node(o.(*corev1.Node)), string(patch), err}
	}},
	{&corev1.PersistentVolumeClaim{}, func(s *sharer, o apiruntime.Object) any { return s.claim(o.(*corev1.PersistentVolumeClaim)) }},
	{&appsv1.ReplicaSet{}, func(s *sharer, o apiruntime.Object) any { return s.replicaSet(o.(*appsv1.ReplicaSet)) }},
	{&appsv1.StatefulSet{}, func(s *sharer, o apiruntime.Object) any { return s.statefulSet(o.(*appsv1.StatefulSet)) }},
	{&appsv1.DaemonSet{}, func(s *sharer, o apiruntime.Object) any { return s.daemonSet(o.(*appsv1.DaemonSet)) }},
	{&appsv1.Deployment{}, func(s *sharer, o apiruntime.Object) any {
		restart, _ := workloadPatch(o.(*appsv1.Deployment), engine.WorkloadPatch{Restart: "10m"})
		back, _ := workloadPatch(o.(*appsv1.Deployment), engine.WorkloadPatch{GiveBack: true})
		return []any{s.deployment(o.(*appsv1.Deployment)), string(restart), string(back)}
	}},
	{&policyv1.PodDisruptionBudget{}, func(s *sharer, o apiruntime.Object) any { return s.budget(o.(*policyv1.PodDisruptionBudget)) }},
	{&storagev1.VolumeAttachment{}, func(s *sharer, o apiruntime.Object) any { return s.attachment(o.(*storagev1.VolumeAttachment)) }},
}

// trimsAlike compares what was kept. Functions are made of the texts beside them.
var trimsAlike = cmp.Options{cmp.AllowUnexported(budget{}, node{}), cmp.Comparer(func(a, b func(map[string]string) bool) bool { return (a == nil) == (b == nil) }),
	cmp.Comparer(func(a, b func(string, map[string]string) bool) bool { return (a == nil) == (b == nil) })}

func kindOf(t *testing.T, o apiruntime.Object) schema.GroupVersionKind {
	t.Helper()
	kinds, _, err := scheme.ObjectKinds(o)
	if err != nil {
		t.Fatal(err)
	}
	return kinds[0]
}

// enveloped is a message as the API server sends it.
func enveloped(t *testing.T, kind schema.GroupVersionKind, raw []byte) []byte {
	t.Helper()
	version, name := kind.ToAPIVersionAndKind()
	out, err := (&apiruntime.Unknown{TypeMeta: apiruntime.TypeMeta{APIVersion: version, Kind: name}, Raw: raw}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(magic), out...)
}

func marshal(t *testing.T, o any) []byte {
	t.Helper()
	raw, err := o.(interface{ Marshal() ([]byte, error) }).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestPruned holds the tables to what is read: of objects with anything in any
// field the same is kept whether they were cut before or not.
func TestPruned(t *testing.T) {
	plain, cutting := codecs.WithoutConversion(), pruning{codecs.WithoutConversion()}
	decode := func(n apiruntime.NegotiatedSerializer, message []byte) apiruntime.Object {
		t.Helper()
		info, ok := apiruntime.SerializerInfoForMediaType(n.SupportedMediaTypes(), apiruntime.ContentTypeProtobuf)
		if !ok {
			t.Fatal("no protobuf")
		}
		o, _, err := info.Serializer.Decode(message, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if len(reads) != len(cuts) {
		t.Errorf("%d kinds are read here, and %d are cut", len(reads), len(cuts))
	}
	s := sampler{rand.New(rand.NewPCG(1, 2))}
	for _, r := range reads {
		kind := kindOf(t, r.example)
		var whole, kept int
		shared := newSharer()
		for range 300 {
			o := r.example.DeepCopyObject().(wireObject)
			for i := range reflect.ValueOf(o).Elem().NumField() {
				if f := reflect.ValueOf(o).Elem().Field(i); f.Type() != reflect.TypeFor[metav1.TypeMeta]() {
					s.fill(f, 0)
				}
			}
			if m := o.(metav1.Object); m.GetAnnotations() != nil && s.IntN(2) == 0 {
				m.GetAnnotations()[annotationDoNotDisrupt] = "10m" // since the pod's start
			}
			message := enveloped(t, kind, marshal(t, o))
			pruned, ok := prune(message)
			if !ok {
				t.Fatalf("%s is not cut", kind)
			}
			whole, kept = whole+len(message), kept+len(pruned)
			want, got := r.trim(shared, decode(plain, message)), r.trim(shared, decode(cutting, message))
			if diff := cmp.Diff(want, got, trimsAlike); diff != "" {
				t.Fatalf("%s: cut (+) it reads otherwise than whole (-):\n%s\n%v", kind, diff, o)
			}
		}
		if kept >= whole {
			t.Errorf("%s: %d bytes are left of %d", kind, kept, whole)
		}
		t.Logf("%s: %d %% are left", kind.Kind, 100*kept/whole)
	}
}

// TestPruneKeepsWhatItDoesNotKnow covers fields of newer versions, lengths that
// take fewer bytes than before, and what is no message.
func TestPruneKeepsWhatItDoesNotKnow(t *testing.T) {
	c := cutting(inside{3: cutting(nil, 1)}, 2)
	var in, want []byte
	field := func(to []byte, n protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), value)
	}
	long := bytes.Repeat([]byte("x"), 300)
	in = field(in, 2, long)
	in = field(in, 3, field(field(nil, 1, long), 2, []byte("stays")))
	in = protowire.AppendVarint(protowire.AppendTag(in, 3, protowire.VarintType), 7)
	in = field(in, 900, []byte("of the future"))
	want = field(want, 3, field(nil, 2, []byte("stays")))
	want = protowire.AppendVarint(protowire.AppendTag(want, 3, protowire.VarintType), 7)
	want = field(want, 900, []byte("of the future"))
	got, ok := c.prune([]byte("before"), in)
	if !ok || !bytes.Equal(got, append([]byte("before"), want...)) {
		t.Errorf("%q, want %q", got, want)
	}
	for i := range len(in) {
		if got, ok := c.prune(nil, in[:i]); ok && len(got) > len(want) {
			t.Errorf("cut off after %d bytes: %q", i, got)
		}
	}
	for _, message := range []string{"", "k8s\x00", `{"kind":"Pod"}`, "k8s\x00\xff\xff\xff", string(enveloped(t, schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, in))} {
		if got, ok := prune([]byte(message)); ok {
			t.Errorf("%q is cut to %q", message, got)
		}
	}
}

// podPage is a page of a list of pods as the API server sends it.
func podPage(t *testing.T, m metav1.ListMeta, pods ...corev1.Pod) []byte {
	t.Helper()
	return enveloped(t, schema.GroupVersionKind{Version: "v1", Kind: "PodList"}, marshal(t, &corev1.PodList{ListMeta: m, Items: pods}))
}

func TestReadPage(t *testing.T) {
	pods := []corev1.Pod{*newPod("ns", "a", "ua"), *newPod("ns", "b", "ub"), {}}
	for i := range 20 {
		pods = append(pods, *newPod("ns", fmt.Sprint("p", i), "u"))
	}
	message := podPage(t, metav1.ListMeta{ResourceVersion: "7", Continue: "more"}, pods...)
	read := func(in io.Reader) (metav1.ListMeta, []string, error) {
		var m metav1.ListMeta
		var names []string
		err := readPage(in, func(began metav1.ListMeta) { m = began },
			func(_ *cut, message []byte) error {
				var p corev1.Pod
				err := p.Unmarshal(message)
				names = append(names, p.Name)
				return err
			}, nil)
		return m, names, err
	}
	for name, in := range map[string]io.Reader{"at once": bytes.NewReader(message), "byte by byte": iotest.OneByteReader(bytes.NewReader(message))} {
		m, names, err := read(in)
		if err != nil || m.ResourceVersion != "7" || m.Continue != "more" || len(names) != len(pods) || names[0] != "a" || names[1] != "b" || names[2] != "" {
			t.Errorf("%s: %v %v %v", name, m, names, err)
		}
	}
	for i := range len(message) {
		// What follows the list in its envelope is empty.
		if _, names, err := read(bytes.NewReader(message[:i])); err == nil && len(names) < len(pods) {
			t.Fatalf("cut off after %d of %d bytes it is a list of %d", i, len(message), len(names))
		}
	}
	broken := errors.New("reset by peer")
	if _, _, err := read(io.MultiReader(bytes.NewReader(message[:len(message)/2]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a connection that breaks: %v", err)
	}
	stop := errors.New("stop")
	if err := readPage(bytes.NewReader(message), func(metav1.ListMeta) {}, func(*cut, []byte) error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("a reader that stops: %v", err)
	}
	huge := binary.AppendUvarint(append(slices.Clone(magic), 0x0a), 1<<40)
	if _, _, err := read(bytes.NewReader(huge)); err == nil || !strings.Contains(err.Error(), "the most") {
		t.Errorf("a message of a terabyte: %v", err)
	}
}

// TestListsInProtobuf lists over the wire. A page that was cut off is never taken
// for the whole: the list begins anew.
func TestListsInProtobuf(t *testing.T) {
	api := newFakeAPI(t)
	fill(api)
	cutOff := 1
	api.answer = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		q := r.URL.Query()
		if r.URL.Path != "/api/v1/pods" || q.Get("watch") != "" {
			return false
		}
		m := metav1.ListMeta{ResourceVersion: "100", Continue: "second"}
		pods := []corev1.Pod{*newPod("ns", "p0", "u0"), *newPod("ns", "p1", "u1")}
		if q.Get("continue") == "second" {
			m.Continue, pods = "", []corev1.Pod{*newPod("ns", "p2", "u2"), *newPod("ns", "p3", "u3")}
		}
		page := podPage(t, m, pods...)
		w.Header().Set("Content-Type", apiruntime.ContentTypeProtobuf)
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		if m.Continue == "" && cutOff > 0 {
			cutOff--
			page = page[:len(page)*3/4] // its first pod is there
		}
		_, _ = w.Write(page)
		return true
	}
	var names []string
	for _, p := range api.started().Inventory().Pods {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"p0", "p1", "p2", "p3"}, names); diff != "" {
		t.Error(diff)
	}
	if cutOff > 0 {
		t.Error("nothing was cut off")
	}
}
