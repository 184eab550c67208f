package kops

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
)

var (
	created = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	zones   = []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"}
)

// authority makes a certificate authority with the serial number 7.
func authority(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func testCluster() *Cluster {
	return NewCluster("kops.example.com", "eu-central-1", zones, true, 5, 2, "m5.xlarge")
}

func TestNewCluster(t *testing.T) {
	c := testCluster()
	type row struct {
		Name, Group string
		Role        Role
		Size        int
	}
	var got []row
	for _, g := range c.Groups {
		got = append(got, row{g.Name, c.AutoScalingGroup(g), g.Role, g.Size})
	}
	// The names are those by which kops finds an instance group's Auto Scaling group.
	want := []row{
		{"bastions", "bastions.kops.example.com", RoleBastion, 1},
		{"control-plane-eu-central-1a", "control-plane-eu-central-1a.masters.kops.example.com", RoleControlPlane, 1},
		{"control-plane-eu-central-1b", "control-plane-eu-central-1b.masters.kops.example.com", RoleControlPlane, 1},
		{"control-plane-eu-central-1c", "control-plane-eu-central-1c.masters.kops.example.com", RoleControlPlane, 1},
		{"nodes-1", "nodes-1.kops.example.com", RoleNode, 3},
		{"nodes-2", "nodes-2.kops.example.com", RoleNode, 2},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("groups (-want +got):\n%s", d)
	}
	if n := c.Nodes(); n != 8 {
		t.Errorf("%d nodes, want 8: the bastion joins no cluster", n)
	}
}

func TestSeed(t *testing.T) {
	cloud := aws.New(aws.Config{Seed: 1, Zones: zones})
	c := testCluster()
	if err := c.Seed(cloud, cloud.CreateImage(aws.ImageSpec{Name: "node"})); err != nil {
		t.Fatal(err)
	}
	cloud.Tick(created)
	groups := cloud.Groups()
	i := slices.IndexFunc(groups, func(g aws.GroupState) bool {
		return g.Name == "control-plane-eu-central-1b.masters.kops.example.com"
	})
	if len(groups) != 6 || i < 0 {
		t.Fatalf("groups %+v", groups)
	}
	g := groups[i]
	// As kops' own expectation for its cluster "ha" (tests/integration/update_cluster/ha/kubernetes.tf).
	want := map[string]string{
		"KubernetesCluster": "kops.example.com", "Name": g.Name,
		"k8s.io/cluster-autoscaler/node-template/label/kops.k8s.io/kops-controller-pki":                         "",
		"k8s.io/cluster-autoscaler/node-template/label/node-role.kubernetes.io/control-plane":                   "",
		"k8s.io/cluster-autoscaler/node-template/label/node.kubernetes.io/exclude-from-external-load-balancers": "",
		"k8s.io/role/control-plane": "1", "k8s.io/role/master": "1", "kops.k8s.io/instancegroup": "control-plane-eu-central-1b",
		"kubernetes.io/cluster/kops.example.com": "owned",
	}
	if d := cmp.Diff(want, g.Tags); d != "" {
		t.Errorf("tags (-want +got):\n%s", d)
	}
	if g.Min != 1 || g.Max != 1 || g.Desired != 1 || g.ConfiguredVersion != "$Latest" || len(g.Instances) != 1 || g.Instances[0].Zone != zones[1] {
		t.Errorf("group %+v", g)
	}
	m, _ := cloud.Machine(g.Instances[0].ID)
	p, joins := Profile(m)
	wantProfile := cloudnode.Profile{
		Labels: map[string]string{
			"kops.k8s.io/kops-controller-pki": "", "node-role.kubernetes.io/control-plane": "", "node.kubernetes.io/exclude-from-external-load-balancers": "",
		},
		Taints:     []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}},
		StaticPods: []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd-manager-main", "etcd-manager-events"},
	}
	if d := cmp.Diff(wantProfile, p); !joins || d != "" {
		t.Errorf("profile, joins %v (-want +got):\n%s", joins, d)
	}
	for _, m := range cloud.Machines() {
		p, joins := Profile(m)
		switch role := m.Tags["k8s.io/role/node"] + m.Tags["k8s.io/role/bastion"]; {
		case m.Group == "bastions.kops.example.com" && joins:
			t.Errorf("the bastion joins as %+v", p)
		case m.Tags["k8s.io/role/node"] == "1":
			if d := cmp.Diff(cloudnode.Profile{Labels: map[string]string{"node-role.kubernetes.io/node": ""}}, p); d != "" || IsControlPlane(m) {
				t.Errorf("a worker (-want +got):\n%s", d)
			}
		case role == "" && !IsControlPlane(m):
			t.Errorf("%s of %s has no role", m.ID, m.Group)
		}
	}
}

func TestStore(t *testing.T) {
	dir := t.TempDir()
	c := testCluster()
	s, err := WriteStore(dir, c, "ami-1", Access{Address: "127.0.0.1:443", CACert: authority(t), CAKey: []byte("key")}, created)
	if err != nil {
		t.Fatal(err)
	}
	if want := "file://" + dir; s.URL() != want {
		t.Errorf("URL %s, want %s", s.URL(), want)
	}
	group := filepath.Join(dir, c.Name, "instancegroup", "nodes-1")
	// What a person adds to the specification outlives a new image.
	o := read(t, group)
	o["spec"].(object)["rollingUpdate"] = object{"maxSurge": 2.0}
	b, err := yaml.Marshal(o)
	if err == nil {
		err = os.WriteFile(group, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nodes-1.kops.example.com", "other-workers-1"} { // the latter is another cluster's
		if err := s.SetImage(name, "ami-2"); err != nil {
			t.Error(err)
		}
	}
	want := object{
		"apiVersion": "kops.k8s.io/v1alpha2", "kind": "InstanceGroup",
		"metadata": object{"name": "nodes-1", "creationTimestamp": "2026-03-01T12:00:00Z", "labels": object{"kops.k8s.io/cluster": c.Name}},
		"spec": object{
			"image": "ami-2", "machineType": "m5.xlarge", "minSize": 3.0, "maxSize": 3.0, "role": "Node",
			"subnets": []any{zones[0], zones[1], zones[2]}, "rollingUpdate": object{"maxSurge": 2.0},
		},
	}
	if d := cmp.Diff(want, read(t, group)); d != "" {
		t.Errorf("nodes-1 (-want +got):\n%s", d)
	}
	if image := read(t, filepath.Join(dir, c.Name, "instancegroup", "nodes-2"))["spec"].(object)["image"]; image != "ami-1" {
		t.Errorf("nodes-2 has image %v", image)
	}
	keys := read(t, filepath.Join(dir, c.Name, "pki", "private", "kubernetes-ca", "keyset.yaml"))["spec"].(object)
	if keys["primaryId"] != "7" || keys["keys"].([]any)[0].(object)["id"] != "7" {
		t.Errorf("keyset %v", keys)
	}
	spec := read(t, filepath.Join(dir, c.Name, "config"))["spec"].(object)
	if spec["masterPublicName"] != "127.0.0.1:443" || spec["configBase"] != s.URL()+"/"+c.Name {
		t.Errorf("cluster %v", spec)
	}
	if err := os.Remove(group); err != nil {
		t.Fatal(err)
	}
	if err := s.SetImage("nodes-1.kops.example.com", "ami-3"); err == nil {
		t.Error("the image of an instance group that is gone was set")
	}
}

func TestStoreNeedsAnAuthority(t *testing.T) {
	if _, err := WriteStore(t.TempDir(), testCluster(), "ami-1", Access{CACert: []byte("no PEM")}, created); err == nil {
		t.Error("a state store without a certificate authority")
	}
}

func read(t *testing.T, path string) object {
	t.Helper()
	b, err := os.ReadFile(path)
	o := object{}
	if err == nil {
		err = yaml.Unmarshal(b, &o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}
