package kops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	compute "google.golang.org/api/compute/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	kopsbase "k8s.io/kops"
	mockgce "k8s.io/kops/cloudmock/gce"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/do"
	"k8s.io/kops/upup/pkg/fi/cloudup/hetzner"
	"k8s.io/kops/upup/pkg/fi/cloudup/scaleway"

	"github.com/rotatord/rotator/drivers/sdk"
)

// rack plays the APIs of clouds that have machines and no groups, as far as
// kops' own code asks them. Its machines are all of the instance group web.
type rack struct {
	mu       sync.Mutex
	machines []int
	last     int
	applied  int
	fails    error // what applying answers
}

func (r *rack) add() {
	r.last++
	r.machines = append(r.machines, r.last)
}

// ids as the cloud shows them: numbers, or what looks like a UUID.
func uuid(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

func number(id string) int {
	n, _ := strconv.Atoi(id[strings.LastIndex(id, "-")+1:])
	return n
}

func (r *rack) apply(context.Context, *store, *spec, fi.Cloud) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied++
	if r.fails != nil {
		return r.fails
	}
	for len(r.machines) < 2 {
		r.add()
	}
	return nil
}

func (r *rack) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer := func(key string, v any) {
		_ = json.NewEncoder(w).Encode(map[string]any{key: v, "total_count": len(r.machines)})
	}
	hetznerServer := func(n int) any {
		return map[string]any{"id": n, "name": fmt.Sprint("web-", n), "status": "off", "labels": map[string]string{
			"kops.k8s.io/cluster": "k.example.com", "kops.k8s.io/instance-group": "web", "kops.k8s.io/needs-update": ""}}
	}
	droplet := func(n int) any {
		return map[string]any{"id": n, "name": fmt.Sprint("web-", n), "status": "off", "tags": []string{"KubernetesCluster:k-example-com", "kops-instancegroup:web"}}
	}
	scwServer := func(n int) any {
		return map[string]any{"id": uuid(n), "name": fmt.Sprint("web-", n), "state": "stopped", "zone": "fr-par-1",
			"tags": []string{"noprefix=kops.k8s.io/cluster=k.example.com", "noprefix=kops.k8s.io/instance-group=web", "noprefix=kops.k8s.io/needs-update"}}
	}
	all := func(f func(int) any) (list []any) {
		for _, n := range r.machines {
			list = append(list, f(n))
		}
		return list
	}
	parts := strings.Split(strings.Trim(q.URL.Path, "/"), "/")
	host, last := q.Host, parts[len(parts)-1]
	id := number(last)
	if last == "action" || last == "actions" || last == "shutdown" {
		id = number(parts[slices.IndexFunc(parts, func(p string) bool { return p == "servers" || p == "droplets" })+1])
	}
	switch one := slices.Contains(r.machines, id); {
	case last == "ips":
		answer("ips", []any{map[string]any{"address": "10.0.0.1/24"}})
	case last == "servers" && strings.Contains(host, "hetzner"):
		answer("servers", all(hetznerServer))
	case last == "servers":
		answer("servers", all(scwServer))
	case last == "droplets":
		answer("droplets", all(droplet))
	case !one:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"type":"not_found","message":"not found","error":{"code":"not_found","message":"not found"}}`))
	case q.Method == http.MethodDelete, last == "action":
		r.machines = slices.DeleteFunc(r.machines, func(n int) bool { return n == id })
		answer("task", map[string]any{"id": uuid(99), "status": "success"})
	case q.Method == http.MethodPost:
		answer("action", map[string]any{"id": 1, "status": "success"})
	case strings.Contains(host, "hetzner"):
		answer("server", hetznerServer(id))
	case parts[len(parts)-2] == "droplets":
		answer("droplet", droplet(id))
	default:
		answer("server", scwServer(id))
	}
}

// play has every request of kops' clients reach the handler. They speak to
// fixed names over TLS, through the transport that they find.
func play(t *testing.T, h http.Handler) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	before := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = before })
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	http.DefaultTransport = &http.Transport{DialContext: dial, DialTLSContext: dial}
}

// driverOn returns a driver over a cloud, and a state store with one instance
// group of two, web.
func driverOn(t *testing.T, provider, version string, cloud fi.Cloud, apply func(context.Context, *store, *spec, fi.Cloud) error) *Driver {
	t.Helper()
	base := t.TempDir()
	files := map[string]string{
		"config":            "apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nmetadata:\n  name: k.example.com\nspec:\n  cloudProvider: " + provider + "\n  project: p1\n",
		"instancegroup/web": "apiVersion: kops.k8s.io/v1alpha2\nkind: InstanceGroup\nmetadata:\n  name: web\nspec:\n  role: Node\n  minSize: 2\n  maxSize: 2\n",
	}
	if version != "" {
		files["kops-version.txt"] = version
	}
	for name, text := range files {
		path := filepath.Join(base, "k.example.com", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := New(WithCloud(func(*kopsapi.Cluster) (fi.Cloud, error) { return cloud, nil }))
	d.update = func(s *store, ctx context.Context, sp *spec, cloud fi.Cloud, _ map[string]string, _ bool) (*difference, error) {
		return &difference{}, apply(ctx, s, sp, cloud)
	}
	if diags, err := d.Configure(t.Context(), []byte(`{"state":"file://`+base+`"}`), false); err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	return d
}

func observe(t *testing.T, d *Driver) *sdk.Snapshot {
	t.Helper()
	s, err := d.Observe(t.Context(), sdk.Scope{Cluster: "k.example.com"}, 0)
	if err != nil || len(s.Groups) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	return s
}

func providerIDs(s *sdk.Snapshot) (list []string) {
	for _, i := range s.Instances {
		list = append(list, i.ProviderID)
	}
	slices.Sort(list)
	return list
}

// The row of the table for clouds without groups, by the library's own code:
// deleting ends the machine, nothing comes back by itself, and the driver applies
// the cluster, once, also after it was cut off in between.
func TestRefillByApplying(t *testing.T) {
	for name, value := range map[string]string{"HCLOUD_TOKEN": "x", "DIGITALOCEAN_ACCESS_TOKEN": "x", "SCW_PROFILE": "REDACTED"} {
		t.Setenv(name, value)
	}
	for _, tc := range []struct {
		provider string
		cloud    func() (fi.Cloud, error)
		id       func(int) string
		joins    func(int) string
	}{
		{"hetzner", func() (fi.Cloud, error) { return hetzner.NewHetznerCloud("fsn1") }, strconv.Itoa,
			func(n int) string { return fmt.Sprint("hcloud://", n) }},
		{"digitalocean", func() (fi.Cloud, error) { return do.NewDOCloud("fra1") }, strconv.Itoa,
			func(n int) string { return fmt.Sprint("digitalocean://", n) }},
		{"scaleway", func() (fi.Cloud, error) {
			return scaleway.NewScwCloud(map[string]string{"region": "fr-par", "zone": "fr-par-1"})
		}, uuid, func(n int) string { return "scaleway://instance/fr-par-1/" + uuid(n) }},
	} {
		t.Run(tc.provider, func(t *testing.T) {
			r := &rack{}
			r.add()
			r.add()
			play(t, r)
			cloud, err := tc.cloud()
			if err != nil {
				t.Fatal(err)
			}
			d := driverOn(t, tc.provider, kopsbase.Version, cloud, r.apply)
			s := observe(t, d)
			if diff := cmp.Diff([]string{tc.joins(1), tc.joins(2)}, providerIDs(s)); diff != "" {
				t.Errorf("provider ids (-want +got):\n%s", diff)
			}
			if g := s.Groups[0]; g.Desired != 2 || g.Traits.Refill != sdk.RefillDriver || !g.Traits.TerminateKeep {
				t.Errorf("group %+v", g)
			}
			end := func(n int) *sdk.TerminateResult {
				t.Helper()
				res, err := d.Terminate(t.Context(), sdk.TerminateRequest{Op: sdk.Op{ID: "1", RotationID: "r-1"},
					GroupID: "k.example.com/web", InstanceID: tc.id(n), Capacity: sdk.KeepCapacity})
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			have := func(machines []int, applied int, when string) {
				t.Helper()
				if !slices.Equal(r.machines, machines) || r.applied != applied {
					t.Errorf("%s: machines %v, applied %d times; want %v, %d", when, r.machines, r.applied, machines, applied)
				}
			}
			r.fails = errors.New("quota")
			if res := end(1); res.Instance.State != sdk.OperationFailed {
				t.Errorf("a cluster that cannot be applied: %+v", res)
			}
			have([]int{2}, 1, "the cluster cannot be applied")
			if s := observe(t, d); len(s.Instances) != 1 || s.Groups[0].Desired != 2 {
				t.Errorf("in between: %d machines of %d", len(s.Instances), s.Groups[0].Desired)
			}
			r.fails = nil
			for range 2 { // what is done already is success, and applies nothing
				if res := end(1); res.Instance.State != sdk.OperationDone || res.Capacity.State != sdk.OperationDone {
					t.Errorf("the same call again: %+v", res)
				}
				have([]int{2, 3}, 2, "the same call again")
			}
			// A run that was cut off and is not resumed where it stood.
			r.machines = []int{3}
			if op, err := d.Prepare(t.Context(), sdk.GroupRequest{Op: sdk.Op{ID: "2", RotationID: "r-1"}, GroupID: "k.example.com/web"}); err != nil || op.State != sdk.OperationDone {
				t.Errorf("Prepare: %+v, %v", op, err)
			}
			have([]int{3, 4}, 3, "Prepare of a group that lacks a machine")
			// The last machine of a group: it is still there, and refilled.
			r.machines = nil
			if s := observe(t, d); s.Groups[0].Desired != 2 || len(s.Instances) != 0 {
				t.Errorf("a group without machines: %+v", s.Groups[0])
			}
			if op, err := d.Restore(t.Context(), sdk.GroupRequest{Op: sdk.Op{ID: "3", RotationID: "r-1"}, GroupID: "k.example.com/web"}); err != nil || op.State != sdk.OperationDone {
				t.Errorf("Restore: %+v, %v", op, err)
			}
			have([]int{5, 6}, 4, "Restore of a group that lacks all")
			if res, err := d.Terminate(t.Context(), sdk.TerminateRequest{Op: sdk.Op{ID: "4", RotationID: "r-1"},
				GroupID: "k.example.com/web", InstanceID: tc.id(5), Capacity: sdk.ShrinkCapacity}); err != nil || res.Instance.State != sdk.OperationFailed {
				t.Errorf("SHRINK: %+v, %v", res, err)
			}
			have([]int{5, 6}, 4, "SHRINK is refused")
		})
	}
}

// The library would upgrade a cluster of another minor version: then nothing is
// offered, and the group says why.
func TestMayApply(t *testing.T) {
	for _, tc := range []struct{ version, code string }{
		{kopsbase.Version, "applies-cluster"}, {"1.33.1", "kops-version-differs"}, {"1.99.0", "kops-version-differs"}, {"1.36.99", "kops-version-differs"}, {"", "cluster-not-applied"},
	} {
		t.Run(tc.version, func(t *testing.T) {
			t.Setenv("HCLOUD_TOKEN", "x")
			r := &rack{}
			r.add()
			play(t, r)
			cloud, err := hetzner.NewHetznerCloud("fsn1")
			if err != nil {
				t.Fatal(err)
			}
			d := driverOn(t, "hetzner", tc.version, cloud, r.apply)
			g := observe(t, d).Groups[0]
			if !slices.ContainsFunc(g.Diagnostics, func(d sdk.Diagnostic) bool { return d.Code == tc.code }) {
				t.Errorf("it says %+v, want %s", g.Diagnostics, tc.code)
			}
			may := tc.code == "applies-cluster"
			if g.Traits.TerminateKeep != may {
				t.Errorf("to end an instance is offered: %v", g.Traits.TerminateKeep)
			}
			res, err := d.Terminate(t.Context(), sdk.TerminateRequest{Op: sdk.Op{ID: "1", RotationID: "r-1"},
				GroupID: "k.example.com/web", InstanceID: "1", Capacity: sdk.KeepCapacity})
			if err != nil || (res.Instance.State == sdk.OperationFailed) == may {
				t.Errorf("%+v, %v", res, err)
			}
			if (r.applied > 0) != may || slices.Contains(r.machines, 1) == may {
				t.Errorf("applied %d times, machines %v", r.applied, r.machines)
			}
		})
	}
}

// googleCloud is kops' mock with a group that makes machines anew under their
// names, as Google's do: the mock's own DeleteInstance does nothing.
type googleCloud struct {
	*mockgce.MockGCECloud
	made uint64
}

const googleZone = "europe-west1-b"

func (g *googleCloud) GetCloudGroups(_ *kopsapi.Cluster, igs []*kopsapi.InstanceGroup, _ bool, _ []corev1.Node) (map[string]*cloudinstances.CloudInstanceGroup, error) {
	list, err := g.Compute().Instances().List(context.Background(), g.Project(), googleZone)
	if err != nil {
		return nil, err
	}
	group := &cloudinstances.CloudInstanceGroup{HumanName: "b-web", InstanceGroup: igs[0], TargetSize: 1, MinSize: 1, MaxSize: 1}
	for _, i := range list {
		if i.Status != "GONE" {
			group.NeedUpdate = append(group.NeedUpdate, &cloudinstances.CloudInstance{
				ID: "https://www.googleapis.com/compute/v1/projects/p1/zones/" + googleZone + "/instances/" + i.Name, CloudInstanceGroup: group})
		}
	}
	return map[string]*cloudinstances.CloudInstanceGroup{"b-web": group}, nil
}

func (g *googleCloud) DeleteInstance(*cloudinstances.CloudInstance) error {
	g.made++
	_, err := g.Compute().Instances().Insert(g.Project(), googleZone, &compute.Instance{
		Name: "b-web-x1", Id: g.made, Status: "RUNNING", CreationTimestamp: "2026-01-01T00:00:00Z"})
	return err
}

// Google makes a machine anew under its name: each life of it is another
// instance, of the same node, and one that is gone is not made anew again.
func TestGoogleKeepsNames(t *testing.T) {
	cloud := &googleCloud{MockGCECloud: mockgce.InstallMockGCECloud("europe-west1", "p1")}
	if err := cloud.DeleteInstance(nil); err != nil {
		t.Fatal(err)
	}
	d := driverOn(t, "gce", kopsbase.Version, cloud, nil)
	see := func(id string) sdk.NodeGroup {
		t.Helper()
		s := observe(t, d)
		if len(s.Instances) != 1 {
			t.Fatalf("%+v", s.Instances)
		}
		i := s.Instances[0]
		if i.ID != id || i.ProviderID != "gce://p1/"+googleZone+"/b-web-x1" || i.Zone != googleZone || i.LaunchedAt.IsZero() {
			t.Errorf("%+v, want the id %s", i, id)
		}
		return s.Groups[0]
	}
	if g := see(googleZone + "/b-web-x1/1"); !g.Traits.KeepsNodeName || g.Traits.Quiesce || g.Traits.Refill != sdk.RefillGroup || g.Desired != 1 {
		t.Errorf("%+v", g)
	}
	if op, err := d.Quiesce(t.Context(), sdk.InstanceRequest{Op: sdk.Op{ID: "1", RotationID: "r-1"},
		GroupID: "k.example.com/b-web", InstanceID: googleZone + "/b-web-x1/1"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Quiesce, which is not offered: %+v, %v", op, err)
	}
	for range 2 {
		res, err := d.Terminate(t.Context(), sdk.TerminateRequest{Op: sdk.Op{ID: "1", RotationID: "r-1"},
			GroupID: "k.example.com/b-web", InstanceID: googleZone + "/b-web-x1/1", Capacity: sdk.KeepCapacity})
		if err != nil || res.Instance.State == sdk.OperationFailed {
			t.Fatalf("%+v, %v", res, err)
		}
		see(googleZone + "/b-web-x1/2")
	}
}

// Names of machines that are no machines' of a zone are not taken for such.
func TestGoogleNames(t *testing.T) {
	for _, tc := range []struct {
		id   string
		want []string
	}{
		{"https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/n", []string{"p", "z", "n"}},
		{"https://www.googleapis.com/compute/v1/projects/p/global/instances/n", nil},
		{"n", nil},
	} {
		project, zone, name, ok := gceName(tc.id)
		if ok != (tc.want != nil) || ok && !slices.Equal([]string{project, zone, name}, tc.want) {
			t.Errorf("%s is taken for %s, %s, %s, %v", tc.id, project, zone, name, ok)
		}
	}
}

// Azure's machines are joined by their scale set and number, which kops has in
// one name.
func TestAzureProviderID(t *testing.T) {
	cluster := &kopsapi.Cluster{}
	cluster.Spec.CloudProvider.Azure = &kopsapi.AzureSpec{SubscriptionID: "s1", ResourceGroupName: "RG-1"}
	got := otherMachine(cluster, nil, &cloudinstances.CloudInstance{ID: "web.k.example.com_12"}).provider
	want := "azure:///subscriptions/s1/resourceGroups/rg-1/providers/Microsoft.Compute/virtualMachineScaleSets/web.k.example.com/virtualMachines/12"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
