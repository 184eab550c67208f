//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// largeAPI serves the wire of an API server for a cluster that is too large to
// run here: nodes, pods, their owners and budgets, made when they are asked for,
// in protobuf and in pages. It takes what a rotation writes of nodes and Leases,
// and sends the heartbeats of all nodes.
type largeAPI struct {
	nodes, pods, workloads int
	// beats is how many status updates of nodes, and of pods, are sent a second
	// once everything was listed.
	beats int

	url     string
	changes map[string]chan apiruntime.Object // by resource, to its watch

	mu     sync.Mutex
	rv     int
	taints map[string]*corev1.Node // nodes that were patched
	lease  *coordinationv1.Lease
	calls  map[string]int // by method and resource

	templates []*template // of pods, by workload
	order     []int       // of pods, in lists
}

const (
	protobufType = "application/vnd.kubernetes.protobuf"
	largeZones   = 3
)

func newLargeAPI(tb testing.TB, nodes, pods, workloads int) *largeAPI {
	a := &largeAPI{nodes: nodes, pods: pods, workloads: workloads, rv: 1000, taints: map[string]*corev1.Node{}, calls: map[string]int{},
		changes: map[string]chan apiruntime.Object{"nodes": make(chan apiruntime.Object, 1000), "pods": make(chan apiruntime.Object, 1000)}}
	a.order = a.podOrder()
	for w := range workloads {
		t, err := a.newTemplate(w)
		if err != nil {
			tb.Fatal(err)
		}
		a.templates = append(a.templates, t)
	}
	srv := httptest.NewServer(a)
	tb.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	a.url = srv.URL
	return a
}

// instanceID and providerID are those of the example driver's cloud.
func instanceID(i int) string { return fmt.Sprintf("m-%06d", i+1) }
func zone(i int) string       { return string(rune('a' + i%largeZones)) }

var largeEpoch = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// largeImages are on every node.
var largeImages = func() (list []corev1.ContainerImage) {
	for j := range 30 {
		list = append(list, corev1.ContainerImage{SizeBytes: 1 << 28, Names: []string{
			fmt.Sprintf("012345678901.dkr.ecr.eu-west-1.amazonaws.com/team/app-%d@sha256:%064d", j, j), fmt.Sprintf("012345678901.dkr.ecr.eu-west-1.amazonaws.com/team/app-%d:v1", j)}})
	}
	return list
}()

func (a *largeAPI) node(i int) *corev1.Node {
	name := fmt.Sprintf("ip-10-%03d-%03d-%03d.eu-west-1.compute.internal", i>>16, i>>8&255, i&255)
	offers := corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("15890m"), corev1.ResourceMemory: quantity.MustParse("58Gi"),
		corev1.ResourcePods: quantity.MustParse("110"), corev1.ResourceEphemeralStorage: quantity.MustParse("95Gi")}
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid('a', i)), CreationTimestamp: metav1.NewTime(largeEpoch.Add(50 * time.Second)),
			Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelTopologyZone: zone(i), corev1.LabelTopologyRegion: "eu-west-1",
				corev1.LabelArchStable: "amd64", corev1.LabelOSStable: "linux", corev1.LabelInstanceTypeStable: "m6i.4xlarge",
				"eks.amazonaws.com/nodegroup": "workers", "eks.amazonaws.com/nodegroup-image": "ami-0123456789abcdef0", "team": "platform"},
			Annotations:   map[string]string{"alpha.kubernetes.io/provided-node-ip": "10.0.0.1", "csi.volume.kubernetes.io/nodeid": `{"ebs.csi.aws.com":"i-0123456789abcdef0"}`},
			ManagedFields: managed(4)},
		Spec: corev1.NodeSpec{ProviderID: "example:///" + zone(i+1) + "/" + instanceID(i)},
		Status: corev1.NodeStatus{Capacity: offers, Allocatable: offers, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue,
			LastHeartbeatTime: metav1.NewTime(time.Now()), LastTransitionTime: metav1.NewTime(largeEpoch.Add(65 * time.Second)), Reason: "KubeletReady"}}},
	}
	n.Status.Images = largeImages
	if patched := a.taints[name]; patched != nil {
		n.Spec.Taints, n.Spec.Unschedulable, n.ResourceVersion = patched.Spec.Taints, patched.Spec.Unschedulable, patched.ResourceVersion
		for k, v := range patched.Annotations {
			n.Annotations[k] = v
		}
	}
	return n
}

func uid(kind rune, i int) string { return fmt.Sprintf("%c0000000-0000-4000-8000-%012d", kind, i) }

// managed is what field managers leave on an object.
func managed(n int) []metav1.ManagedFieldsEntry {
	raw := []byte(`{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{},"f:image":{},"f:resources":{".":{},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}}}}},"f:status":{"f:conditions":{"k:{\"type\":\"Ready\"}":{".":{},"f:status":{}}}}}`)
	var out []metav1.ManagedFieldsEntry
	for range n {
		out = append(out, metav1.ManagedFieldsEntry{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(string(raw))})
	}
	return out
}

func (a *largeAPI) owner(w int) (namespace, name string) {
	return fmt.Sprintf("team-%02d", w%50), fmt.Sprintf("service-%04d", w)
}

// pod i belongs to a workload, whose pods are on different nodes.
func (a *largeAPI) pod(i int) *corev1.Pod {
	w := i % a.workloads
	namespace, name := a.owner(w)
	replicaSet := fmt.Sprintf("%s-7d9f8c6b5", name)
	env := make([]corev1.EnvVar, 12)
	for j := range env {
		env[j] = corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", j), Value: fmt.Sprintf("https://service-%d.team.svc.cluster.local:8443/v1", j)}
	}
	ready := largeEpoch.Add(time.Duration(100+w%20) * time.Second)
	podName, id, node, token := a.podName(i)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: podName, UID: types.UID(id),
			CreationTimestamp: metav1.NewTime(largeEpoch.Add(100 * time.Second)), ManagedFields: managed(3), GenerateName: replicaSet + "-",
			Labels:      map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": namespace, "pod-template-hash": "7d9f8c6b5", "version": "v42"},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "checksum/config": strings.Repeat("0123456789abcdef", 4)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSet, UID: types.UID(uid('c', w)),
				Controller: new(true), BlockOwnerDeletion: new(true)}}},
		Spec: corev1.PodSpec{NodeName: node, ServiceAccountName: name, TerminationGracePeriodSeconds: new(int64(30)), Priority: new(int32(0)),
			Containers: []corev1.Container{{Name: "app", Image: "012345678901.dkr.ecr.eu-west-1.amazonaws.com/team/app:v42", Env: env,
				Resources:    corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("400m"), corev1.ResourceMemory: quantity.MustParse("1Gi")}},
				VolumeMounts: []corev1.VolumeMount{{Name: token, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}, {Name: "tmp", MountPath: "/tmp"}}}},
			Volumes: []corev1.Volume{largeToken(token), {Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Tolerations: []corev1.Toleration{{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))},
				{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.2.3", PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}}, HostIP: "10.0.0.1", HostIPs: []corev1.HostIP{{IP: "10.0.0.1"}},
			QOSClass: corev1.PodQOSBurstable, StartTime: new(metav1.NewTime(largeEpoch.Add(100 * time.Second))),
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(ready)},
				{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(largeEpoch.Add(100 * time.Second))},
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(ready)},
				{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(ready)},
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(largeEpoch.Add(100 * time.Second))}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Ready: true, Image: "012345678901.dkr.ecr.eu-west-1.amazonaws.com/team/app:v42",
				ContainerID: fmt.Sprintf("containerd://%064d", i)}}},
	}
	if w%3 == 0 { // a third keep their pods on different nodes
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": name}}}}}}
	}
	return p
}

// largeToken is the volume that the API server gives each pod, under a name of its own.
func largeToken(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: new(int32(0o644)), Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: new(int64(3607)), Path: "token"}},
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
	}}}}
}

func (a *largeAPI) nodeName(i int) string {
	i %= a.nodes
	return fmt.Sprintf("ip-10-%03d-%03d-%03d.eu-west-1.compute.internal", i>>16, i>>8&255, i&255)
}

// count and object are what a resource holds.
func (a *largeAPI) count(resource string) int {
	switch resource {
	case "nodes":
		return a.nodes
	case "pods":
		return a.pods
	case "replicasets", "poddisruptionbudgets":
		return a.workloads
	}
	return 0
}

func (a *largeAPI) object(resource string, i int) apiruntime.Object {
	namespace, name := a.owner(i)
	each := int32(a.pods / a.workloads)
	switch resource {
	case "nodes":
		a.mu.Lock()
		defer a.mu.Unlock()
		return stampLarge(a.node(i), "v1", "Node")
	case "pods":
		return stampLarge(a.pod(i), "v1", "Pod")
	case "replicasets":
		return stampLarge(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-7d9f8c6b5", UID: types.UID(uid('c', i)), ManagedFields: managed(2)},
			Spec: appsv1.ReplicaSetSpec{Replicas: &each}, Status: appsv1.ReplicaSetStatus{Replicas: each, ReadyReplicas: each}}, "apps/v1", "ReplicaSet")
	case "poddisruptionbudgets":
		return stampLarge(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid('d', i))},
			Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromString("10%")),
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": name}}},
			Status: policyv1.PodDisruptionBudgetStatus{ExpectedPods: each, CurrentHealthy: each, DesiredHealthy: each - each/10, DisruptionsAllowed: each / 10}},
			"policy/v1", "PodDisruptionBudget")
	}
	panic(resource)
}

func stampLarge(o interface {
	apiruntime.Object
	metav1.Object
}, version, kind string) apiruntime.Object {
	o.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(version, kind))
	if o.GetResourceVersion() == "" {
		o.SetResourceVersion("1000")
	}
	return o
}

// largeEmpty are the resources of which the cluster has none.
var largeEmpty = map[string][2]string{"statefulsets": {"StatefulSetList", "apps/v1"}, "daemonsets": {"DaemonSetList", "apps/v1"}, "deployments": {"DeploymentList", "apps/v1"},
	"persistentvolumeclaims": {"PersistentVolumeClaimList", "v1"}, "volumeattachments": {"VolumeAttachmentList", "storage.k8s.io/v1"},
	"horizontalpodautoscalers": {"HorizontalPodAutoscalerList", "autoscaling/v1"}}

var largeKinds = map[string][2]string{"nodes": {"v1", "Node"}, "pods": {"v1", "Pod"}, "replicasets": {"apps/v1", "ReplicaSet"},
	"poddisruptionbudgets": {"policy/v1", "PodDisruptionBudget"}}

var (
	// largeWire writes an object with its envelope, largeStream an event of a watch
	// without.
	largeScheme = apiruntime.NewScheme()
	largeWire   = protobuf.NewSerializer(largeScheme, largeScheme)
	largeStream = protobuf.NewRawSerializer(largeScheme, largeScheme)
)

func (a *largeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	resource, name := "", ""
	for i, p := range parts { // /api/v1/nodes/NAME, /apis/GROUP/VERSION/namespaces/NS/leases/NAME
		if _, known := largeKinds[p]; known || largeEmpty[p] != [2]string{} || p == "leases" || p == "configmaps" || p == "selfsubjectaccessreviews" {
			resource, name = p, strings.Join(parts[i+1:], "/")
		}
	}
	a.mu.Lock()
	a.calls[r.Method+" "+resource]++
	a.mu.Unlock()
	q := r.URL.Query()
	switch {
	case r.URL.Path == "/version":
		answerJSON(w, 200, map[string]string{"gitVersion": "v1.37.2"})
	case resource == "selfsubjectaccessreviews":
		answerJSON(w, 201, map[string]any{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": map[string]any{"allowed": true}})
	case resource == "leases":
		a.serveLease(w, r)
	case r.Method == http.MethodGet && q.Get("watch") != "":
		a.watch(w, r, resource)
	case r.Method == http.MethodGet && name == "" && resource != "configmaps" && resource != "":
		a.list(w, r, resource)
	case resource == "nodes":
		a.serveNode(w, r, name)
	default:
		answerJSON(w, 404, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound,
			Message: r.Method + " " + r.URL.Path})
	}
}

func answerJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}

// list answers a page, in JSON where nothing is in it and in protobuf else. As
// the API server's cache does, it ignores the limit of a list that asks for any
// version.
func (a *largeAPI) list(w http.ResponseWriter, r *http.Request, resource string) {
	q := r.URL.Query()
	n := a.count(resource)
	if n == 0 {
		kind := largeEmpty[resource]
		answerJSON(w, 200, map[string]any{"kind": kind[0], "apiVersion": kind[1], "metadata": map[string]string{"resourceVersion": "1000"}, "items": []any{}})
		return
	}
	from, _ := strconv.Atoi(q.Get("continue"))
	to := n
	meta := metav1.ListMeta{ResourceVersion: "1000"}
	if limit, _ := strconv.Atoi(q.Get("limit")); limit > 0 && q.Get("resourceVersion") != "0" && from+limit < n {
		to = from + limit
		meta.Continue = strconv.Itoa(to)
	}
	version, kind := largeKinds[resource][0], largeKinds[resource][1]
	w.Header().Set("Content-Type", protobufType)
	if resource == "pods" {
		a.podPage(w, meta, from, to)
		return
	}
	var list apiruntime.Object
	switch resource {
	case "nodes":
		l := &corev1.NodeList{ListMeta: meta}
		for i := from; i < to; i++ {
			l.Items = append(l.Items, *a.object(resource, i).(*corev1.Node))
		}
		list = l
	case "replicasets":
		l := &appsv1.ReplicaSetList{ListMeta: meta}
		for i := from; i < to; i++ {
			l.Items = append(l.Items, *a.object(resource, i).(*appsv1.ReplicaSet))
		}
		list = l
	case "poddisruptionbudgets":
		l := &policyv1.PodDisruptionBudgetList{ListMeta: meta}
		for i := from; i < to; i++ {
			l.Items = append(l.Items, *a.object(resource, i).(*policyv1.PodDisruptionBudget))
		}
		list = l
	}
	list.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(version, kind+"List"))
	largeWire.Encode(list, w)
}

// watch sends what changes, and heartbeats.
func (a *largeAPI) watch(w http.ResponseWriter, r *http.Request, resource string) {
	w.Header().Set("Content-Type", protobufType+";stream=watch")
	w.WriteHeader(200)
	flush := w.(http.Flusher).Flush
	frames := protobuf.LengthDelimitedFramer.NewFrameWriter(w)
	send := func(kind string, o apiruntime.Object) error {
		var raw strings.Builder
		if err := largeWire.Encode(o, &raw); err != nil {
			return err
		}
		return largeStream.Encode(&metav1.WatchEvent{Type: kind, Object: apiruntime.RawExtension{Raw: []byte(raw.String())}}, frames)
	}
	flush()
	changes := a.changes[resource]
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for at := 0; ; {
		select {
		case <-r.Context().Done():
			return
		case o := <-changes:
			if send("MODIFIED", o) != nil {
				return
			}
			flush()
		case <-beat.C:
			if n := a.count(resource); resource == "nodes" || resource == "pods" {
				for range a.beats {
					if send("MODIFIED", a.object(resource, at%n)) != nil {
						return
					}
					at += 37
				}
				flush()
			}
		}
	}
}

// podName is what tells pod i from others of its workload: name, UID, node, and the
// volume of its token. Each has one length for all.
func (a *largeAPI) podName(i int) (name, id, node, token string) {
	w := i % a.workloads
	_, owner := a.owner(w)
	return fmt.Sprintf("%s-7d9f8c6b5-%06d", owner, i), uid('b', i), a.nodeName((i / a.workloads * 131) + w), fmt.Sprintf("kube-api-access-%06d", i)
}

// serveNode answers a get, and takes a merge patch of taints, annotations and
// spec.unschedulable.
func (a *largeAPI) serveNode(w http.ResponseWriter, r *http.Request, name string) {
	var b, c, d int
	fmt.Sscanf(name, "ip-10-%03d-%03d-%03d.", &b, &c, &d)
	a.mu.Lock()
	n := a.node(b<<16 | c<<8 | d)
	if r.Method == http.MethodPatch {
		var patch struct {
			Metadata struct{ Annotations map[string]*string }
			Spec     struct {
				Taints        *[]corev1.Taint
				Unschedulable *bool
			}
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &patch); err != nil {
			a.mu.Unlock()
			answerJSON(w, 400, metav1.Status{Status: "Failure", Code: 400, Message: err.Error()})
			return
		}
		kept := &corev1.Node{Spec: corev1.NodeSpec{Taints: n.Spec.Taints, Unschedulable: n.Spec.Unschedulable}}
		kept.Annotations = map[string]string{}
		if old := a.taints[name]; old != nil {
			kept.Annotations = old.Annotations
		}
		for k, v := range patch.Metadata.Annotations {
			if delete(kept.Annotations, k); v != nil {
				kept.Annotations[k] = *v
			}
		}
		if patch.Spec.Taints != nil {
			kept.Spec.Taints = *patch.Spec.Taints
		}
		if patch.Spec.Unschedulable != nil {
			kept.Spec.Unschedulable = *patch.Spec.Unschedulable
		}
		a.rv++
		kept.ResourceVersion = strconv.Itoa(a.rv)
		a.taints[name] = kept
		n = a.node(b<<16 | c<<8 | d)
	}
	a.mu.Unlock()
	o := stampLarge(n, "v1", "Node")
	if r.Method == http.MethodPatch {
		a.changes["nodes"] <- o
	}
	w.Header().Set("Content-Type", protobufType)
	largeWire.Encode(o, w)
}

func (a *largeAPI) serveLease(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Method == http.MethodGet && a.lease == nil {
		answerJSON(w, 404, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound, Message: "no lease"})
		return
	}
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		l := &coordinationv1.Lease{}
		if _, _, err := largeWire.Decode(body, nil, l); err != nil {
			answerJSON(w, 400, metav1.Status{Status: "Failure", Code: 400, Message: err.Error()})
			return
		}
		a.rv++
		l.ResourceVersion, l.UID = strconv.Itoa(a.rv), "e0000000-0000-4000-8000-000000000000"
		a.lease = l
	}
	a.lease.GetObjectKind().SetGroupVersionKind(coordinationv1.SchemeGroupVersion.WithKind("Lease"))
	w.Header().Set("Content-Type", protobufType)
	largeWire.Encode(a.lease, w)
}

func init() {
	for _, add := range []func(*apiruntime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(largeScheme); err != nil {
			panic(err)
		}
	}
}
