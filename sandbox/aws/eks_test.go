package aws

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
)

// fakeCluster is the cluster of an account without an API server. Machines become Ready nodes when they run; pods are
// what a test puts there: NAME -> why it cannot be evicted, "" for one that leaves when asked.
type fakeCluster struct {
	mu    sync.Mutex
	nodes map[string]*fakeNode // by instance
	down  bool
	log   []string
}

type fakeNode struct {
	Node
	pods map[string]string
}

func (f *fakeCluster) hooks() Hooks {
	return Hooks{
		Running: func(m Machine) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !m.NeverJoins {
				f.nodes[m.ID] = &fakeNode{Node: Node{Name: "node-" + m.ID, Ready: !m.NeverReady}, pods: map[string]string{}}
			}
		},
		Terminated: func(m Machine) {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.nodes, m.ID)
		},
	}
}

func (f *fakeCluster) Nodes(context.Context) (map[string]Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errors.New("connection refused")
	}
	out := map[string]Node{}
	for id, n := range f.nodes {
		out[id] = n.Node
	}
	return out, nil
}

func (f *fakeCluster) node(name string) *fakeNode {
	for _, n := range f.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (f *fakeCluster) SetUnschedulable(_ context.Context, node string, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.node(node); n != nil {
		n.Unschedulable = on
	}
	return nil
}

func (f *fakeCluster) Evict(_ context.Context, node string) (left []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(node)
	if n == nil {
		return nil, nil
	}
	f.log = append(f.log, "evict "+node)
	for pod, why := range n.pods {
		if why == "" {
			delete(n.pods, pod)
		} else {
			left = append(left, pod+": "+why)
		}
	}
	return left, nil
}

// block puts a pod on a node of the instance that no eviction gets away.
func (f *fakeCluster) block(id, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[id].pods["default/web"] = why
}

// cordoned lists the instances whose nodes are unschedulable.
func (f *fakeCluster) cordoned() (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		if f.nodes[id].Unschedulable {
			ids = append(ids, id)
		}
	}
	return ids
}

const testCluster = "prod"

// newEKS is an account with the cluster "prod", a first release, and the node group "apps" of n nodes, ACTIVE.
func newEKS(t *testing.T, n int, change ...func(*Config)) (*account, *fakeCluster) {
	t.Helper()
	f := &fakeCluster{nodes: map[string]*fakeNode{}}
	unlimited := map[string]RateLimit{"eks:read": {}, "eks:write": {}}
	a := newAccount(t, append([]func(*Config){func(c *Config) { c.Hooks = f.hooks(); maps.Copy(c.RateLimits, unlimited) }}, change...)...)
	if err := a.CreateCluster(ClusterSpec{Name: testCluster, Version: "1.37"}); err != nil {
		t.Fatal(err)
	}
	a.release("")
	if err := a.ConnectCluster(testCluster, "https://127.0.0.1:6443", []byte("PEM"), f); err != nil {
		t.Fatal(err)
	}
	if err := a.CreateNodegroup(NodegroupSpec{Cluster: testCluster, Name: "apps", Max: n, Desired: n, InstanceTypes: []string{"m5.large"}}); err != nil {
		t.Fatal(err)
	}
	a.pass(5 * time.Second)
	if g := a.nodegroup("apps"); g.Status != types.NodegroupStatusActive {
		t.Fatalf("the node group is %s %+v", g.Status, g.Health)
	}
	return a, f
}

// release publishes a release of the AMI type, "" for all, and answers that of AL2023_x86_64_STANDARD, or the first.
func (a *account) release(amiType string) Release {
	a.t.Helper()
	list, err := a.AddReleases(ReleaseSpec{AMIType: amiType, Kubernetes: "1.37.2"})
	if err != nil {
		a.t.Fatal(err)
	}
	return list[0]
}

func (a *account) nodegroup(name string) *types.Nodegroup {
	a.t.Helper()
	out, err := a.EKS.DescribeNodegroup(a.ctx(), &eks.DescribeNodegroupInput{ClusterName: ptr(testCluster), NodegroupName: &name})
	if err != nil {
		a.t.Fatal(err)
	}
	return out.Nodegroup
}

// members are the instances of a node group's Auto Scaling group.
func (a *account) nodegroupASG(name string) GroupState {
	a.t.Helper()
	return a.group(*a.nodegroup(name).Resources.AutoScalingGroups[0].Name)
}

// wantError checks code and status of an error, which the SDK must have told apart.
func wantError(t *testing.T, err error, code string, status int) {
	t.Helper()
	var api smithy.APIError
	var resp *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &resp) || api.ErrorCode() != code || resp.HTTPStatusCode() != status {
		t.Errorf("error %v, want %s with status %d", err, code, status)
	}
}

func TestDescribeCluster(t *testing.T) {
	a, _ := newEKS(t, 1)
	out, err := a.EKS.DescribeCluster(a.ctx(), &eks.DescribeClusterInput{Name: ptr(testCluster)})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Cluster
	if ca, err := base64.StdEncoding.DecodeString(*c.CertificateAuthority.Data); err != nil || string(ca) != "PEM" {
		t.Errorf("CA %q, %v", ca, err)
	}
	if *c.Endpoint != "https://127.0.0.1:6443" || *c.Version != "1.37" || c.Status != types.ClusterStatusActive || !c.CreatedAt.Equal(start) {
		t.Errorf("cluster %+v", c)
	}
	list, err := a.EKS.ListClusters(a.ctx(), &eks.ListClustersInput{})
	if err != nil || !slices.Equal(list.Clusters, []string{testCluster}) {
		t.Errorf("clusters %v, %v", list, err)
	}
	_, err = a.EKS.DescribeCluster(a.ctx(), &eks.DescribeClusterInput{Name: ptr("other")})
	wantError(t, err, "ResourceNotFoundException", http.StatusNotFound)
	var known *types.ResourceNotFoundException
	if !errors.As(err, &known) || !strings.Contains(*known.Message, "No cluster found for name: other") {
		t.Errorf("error %v", err)
	}
}

func TestClusterIsCreatingUntilConnected(t *testing.T) {
	a := newAccount(t)
	if err := a.CreateCluster(ClusterSpec{Name: "new", Version: "1.37"}); err != nil {
		t.Fatal(err)
	}
	out, err := a.EKS.DescribeCluster(a.ctx(), &eks.DescribeClusterInput{Name: ptr("new")})
	if err != nil || out.Cluster.Status != types.ClusterStatusCreating || out.Cluster.Endpoint != nil {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestDescribeNodegroup(t *testing.T) {
	a, _ := newEKS(t, 3)
	g := a.nodegroup("apps")
	asg := a.nodegroupASG("apps")
	image := a.parameter("/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/x86_64/standard/recommended/image_id")
	if !strings.HasPrefix(asg.Name, "eks-apps-") || asg.Desired != 3 || len(asg.Instances) != 3 {
		t.Errorf("Auto Scaling group %+v", asg)
	}
	for k, v := range map[string]string{
		"eks:cluster-name": "prod", "eks:nodegroup-name": "apps", "k8s.io/cluster-autoscaler/enabled": "true",
		"k8s.io/cluster-autoscaler/prod": "owned", "kubernetes.io/cluster/prod": "owned",
	} {
		if asg.Tags[k] != v {
			t.Errorf("tag %s of the Auto Scaling group is %q, want %q", k, asg.Tags[k], v)
		}
	}
	if *g.ReleaseVersion != a.parameter("/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/x86_64/standard/recommended/release_version") ||
		*g.Version != "1.37" || g.AmiType != types.AMITypesAl2023X8664Standard || g.CapacityType != types.CapacityTypesOnDemand ||
		*g.ScalingConfig.DesiredSize != 3 || *g.UpdateConfig.MaxUnavailable != 1 || len(g.Subnets) != 3 || g.LaunchTemplate != nil {
		t.Errorf("node group %+v", g)
	}
	for _, m := range a.Machines() {
		want := map[string]string{labelNodegroup: "apps", labelNodegroupImage: image, labelCapacityType: "ON_DEMAND"}
		if d := cmp.Diff(want, m.Labels); d != "" || m.Kubernetes != "1.37.2" || m.Tags["eks:nodegroup-name"] != "apps" {
			t.Errorf("machine %+v: labels %s", m, d)
		}
	}
	shown, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{asg.Name}})
	if err != nil {
		t.Fatal(err)
	}
	s := shown.AutoScalingGroups[0]
	if spec := s.MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification; *spec.Version != "1" || !strings.HasPrefix(*spec.LaunchTemplateName, "eks-") {
		t.Errorf("launch template %s version %s", *spec.LaunchTemplateName, *spec.Version)
	}
	if d := cmp.Diff([]string{"AllocationStrategy", "OldestLaunchTemplate", "OldestInstance"}, s.TerminationPolicies); d != "" {
		t.Error(d)
	}
	_, err = a.EKS.DescribeNodegroup(a.ctx(), &eks.DescribeNodegroupInput{ClusterName: ptr(testCluster), NodegroupName: ptr("nobody")})
	wantError(t, err, "ResourceNotFoundException", http.StatusNotFound)
}

func (a *account) parameter(name string) string {
	a.t.Helper()
	out, err := a.SSM.GetParameter(a.ctx(), &ssm.GetParameterInput{Name: &name})
	if err != nil {
		a.t.Fatal(err)
	}
	return *out.Parameter.Value
}

func TestListNodegroupsPages(t *testing.T) {
	a, _ := newEKS(t, 1)
	for _, name := range []string{"b", "a"} {
		if err := a.CreateNodegroup(NodegroupSpec{Cluster: testCluster, Name: name, Max: 1}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	p := eks.NewListNodegroupsPaginator(a.EKS, &eks.ListNodegroupsInput{ClusterName: ptr(testCluster), MaxResults: ptr(int32(2))})
	pages := 0
	for ; p.HasMorePages(); pages++ {
		out, err := p.NextPage(a.ctx())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, out.Nodegroups...)
	}
	if !slices.Equal(got, []string{"a", "apps", "b"}) || pages != 2 {
		t.Errorf("%v in %d pages", got, pages)
	}
	_, err := a.EKS.ListNodegroups(a.ctx(), &eks.ListNodegroupsInput{ClusterName: ptr(testCluster), MaxResults: ptr(int32(101))})
	wantError(t, err, "InvalidParameterException", http.StatusBadRequest)
}

func TestReleasesInParameterStore(t *testing.T) {
	a, _ := newEKS(t, 1)
	const folder = "/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/arm64/standard"
	before := a.parameter(folder + "/recommended/release_version")
	next := a.release("AL2023_ARM_64_STANDARD")
	if a.parameter(folder+"/recommended/release_version") == before || a.parameter(folder+"/recommended/image_id") != next.ImageID {
		t.Errorf("the recommended release is still %s, want %s", before, next.Version)
	}
	if got := a.parameter(folder + "/" + next.ImageName + "/release_version"); got != next.Version {
		t.Errorf("the release's own parameter says %s, want %s", got, next.Version)
	}
	if !strings.HasPrefix(next.Version, "1.37.2-2026") || !strings.HasPrefix(next.ImageName, "amazon-eks-node-al2023-arm64-standard-1.37-v2026") {
		t.Errorf("release %+v", next)
	}
	names := []string{folder + "/recommended/image_id", "/aws/service/bottlerocket/aws-k8s-1.37/x86_64/latest/image_version", "/no/such"}
	out, err := a.SSM.GetParameters(a.ctx(), &ssm.GetParametersInput{Names: names})
	if err != nil || len(out.Parameters) != 2 || !slices.Equal(out.InvalidParameters, []string{"/no/such"}) {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = a.SSM.GetParameters(a.ctx(), &ssm.GetParametersInput{Names: slices.Repeat(names, 4)})
	wantError(t, err, "ValidationException", http.StatusBadRequest)

	var found []string
	p := ssm.NewGetParametersByPathPaginator(a.SSM, &ssm.GetParametersByPathInput{Path: ptr(folder), Recursive: ptr(true), MaxResults: ptr(int32(3))})
	for p.HasMorePages() {
		page, err := p.NextPage(a.ctx())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Parameters {
			found = append(found, strings.TrimPrefix(*v.Name, folder+"/"))
		}
	}
	if len(found) != 10 || !slices.Contains(found, "recommended") || !slices.IsSorted(found) { // three of each of two releases, three recommended and their JSON
		t.Errorf("parameters below %s: %v", folder, found)
	}
	flat, err := a.SSM.GetParametersByPath(a.ctx(), &ssm.GetParametersByPathInput{Path: ptr(folder)})
	if err != nil || len(flat.Parameters) != 1 {
		t.Errorf("without recursion %+v, %v", flat, err)
	}
}
