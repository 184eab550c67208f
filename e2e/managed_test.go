//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eksManaged and eksOthers: two managed node groups of EKS each, and a group of
// workers; EKS works so fast that its drain of 15 minutes takes 10 s.
var (
	managedBox = slices.Concat(delays, []string{"--provider", "eks-managed", "--nodes", "9", "--groups", "2", "--zones", "2", "--pods", "24", "--eks-speedup", "90"})
	eksManaged = lazily("e2e-managed", "eu-west-2", slices.Concat(managedBox, []string{"--seed", "12"})...)
	eksOthers  = lazily("e2e-others", "ca-central-1", slices.Concat(managedBox, []string{"--seed", "14"})...)
)

// nodegroup is what a rotation must leave of a managed node group as it was.
type nodegroup struct {
	Update, Scaling  []int // updateConfig: nodes, percent; scalingConfig: min, max, desired
	Strategy         ekstypes.NodegroupUpdateStrategies
	Labels           map[string]string
	NodeLabels       map[string]string
	Taints           []string
	Suspended, Marks []string // processes of its Auto Scaling group; tags of rotator's on that and on itself
}

// describe reads a managed node group from EKS, and tells whether EKS is at rest.
func (s *Sandbox) describe(tb testing.TB, name string) (n nodegroup, atRest bool) {
	tb.Helper()
	client := eks.New(eks.Options{Region: s.Region, BaseEndpoint: aws.String(s.Getenv("AWS_ENDPOINT_URL")),
		Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", "")})
	out, err := client.DescribeNodegroup(context.Background(), &eks.DescribeNodegroupInput{ClusterName: &s.Name, NodegroupName: &name})
	if err != nil {
		tb.Fatal(err)
	}
	g := out.Nodegroup
	n = nodegroup{Labels: g.Labels, NodeLabels: nodeLabels(tb, s, name), Strategy: cmp.Or(g.UpdateConfig.UpdateStrategy, ekstypes.NodegroupUpdateStrategiesDefault)}
	for _, v := range []*int32{g.UpdateConfig.MaxUnavailable, g.UpdateConfig.MaxUnavailablePercentage} {
		n.Update = append(n.Update, int(aws.ToInt32(v)))
	}
	for _, v := range []*int32{g.ScalingConfig.MinSize, g.ScalingConfig.MaxSize, g.ScalingConfig.DesiredSize} {
		n.Scaling = append(n.Scaling, int(aws.ToInt32(v)))
	}
	for _, t := range g.Taints {
		n.Taints = append(n.Taints, aws.ToString(t.Key)+"="+aws.ToString(t.Value)+":"+string(t.Effect))
	}
	asg := s.look(tb).Groups[aws.ToString(g.Resources.AutoScalingGroups[0].Name)]
	n.Suspended, n.Marks = asg.Suspended, asg.Tags
	for k, v := range g.Tags {
		n.Marks = append(n.Marks, k+"="+v)
	}
	n.Marks = slices.DeleteFunc(n.Marks, func(t string) bool { return !strings.HasPrefix(t, ourPrefix) })
	return n, g.Status == ekstypes.NodegroupStatusActive
}

// managedImages are the images of a managed node group's nodes, by node.
func managedImages(tb testing.TB, s *Sandbox, nodegroup string) map[string]string {
	tb.Helper()
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{LabelSelector: "eks.amazonaws.com/nodegroup=" + nodegroup})
	if err != nil {
		tb.Fatal(err)
	}
	images := make(map[string]string)
	for _, n := range nodes.Items {
		images[n.Name] = n.Labels["eks.amazonaws.com/nodegroup-image"]
		if n.Spec.Unschedulable {
			tb.Errorf("node %s is left cordoned", n.Name)
		}
	}
	return images
}

// blockNode puts a pod on a node of the group that its budget does not let go: of
// two replicas, one of which has no place. It answers the pod's name.
func blockNode(t *testing.T, s *Sandbox, group string) string {
	t.Helper()
	ctx, kube := t.Context(), s.Kube(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "stuck"}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) { // it stays after a test
		must(err)
	}
	t.Cleanup(func() { unblock(t, s) })
	labels := map[string]string{"app": "stuck"}
	var nodes []string
	for name := range managedImages(t, s, group) {
		nodes = append(nodes, name)
	}
	two, one := int32(2), intstr.FromInt32(1)
	c := &podCase{tb: t, s: s, kube: kube, namespace: "stuck"}
	c.await("a service account", func() bool {
		_, err := kube.CoreV1().ServiceAccounts("stuck").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	_, err = kube.AppsV1().Deployments("stuck").Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "stuck"}, Spec: appsv1.DeploymentSpec{
		Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers:   []corev1.Container{{Name: "app", Image: "app"}},
			NodeSelector: map[string]string{corev1.LabelHostname: slices.Min(nodes)},
			Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
				{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: labels}}}}},
		}}}}, metav1.CreateOptions{})
	must(err)
	_, err = kube.PolicyV1().PodDisruptionBudgets("stuck").Create(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "stuck"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}}}, metav1.CreateOptions{})
	must(err)
	name := ""
	c.await("one of two pods, and its budget", func() bool {
		list, err := kube.CoreV1().Pods("stuck").List(ctx, metav1.ListOptions{})
		must(err)
		for _, p := range list.Items {
			if p.Status.Phase == corev1.PodRunning {
				name = p.Name
			}
		}
		b, err := kube.PolicyV1().PodDisruptionBudgets("stuck").Get(ctx, "stuck", metav1.GetOptions{})
		must(err)
		return name != "" && len(list.Items) == 2 && b.Status.CurrentHealthy == 1 && b.Status.ExpectedPods == 2
	})
	return "stuck/" + name
}

// unblock takes away what blockNode made.
func unblock(t *testing.T, s *Sandbox) {
	t.Helper()
	kube := s.Kube(t)
	now := int64(0)
	for _, err := range []error{
		kube.PolicyV1().PodDisruptionBudgets("stuck").DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{}),
		kube.AppsV1().Deployments("stuck").DeleteCollection(context.Background(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	c := &podCase{tb: t, s: s, kube: kube, namespace: "stuck"}
	c.await("the end of the pods", func() bool {
		list, err := kube.CoreV1().Pods("stuck").List(context.Background(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 0
	})
}

var successors = regexp.MustCompile(`-g[0-9]+$`)

// successorOf names the node group that took the place of another: an earlier one
// that was undone may have had the first of its names still.
func successorOf(tb testing.TB, s *Sandbox, nodegroup string) string {
	tb.Helper()
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range nodes.Items {
		name := n.Labels["eks.amazonaws.com/nodegroup"]
		if name != nodegroup && strings.HasPrefix(name, successors.ReplaceAllString(nodegroup, "")+"-g") {
			return name
		}
	}
	tb.Fatalf("no node group took the place of %s", nodegroup)
	return ""
}

// nodeLabels are the labels of one node of a node group, without those of the node
// and of the release.
func nodeLabels(tb testing.TB, s *Sandbox, nodegroup string) map[string]string {
	tb.Helper()
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{LabelSelector: "eks.amazonaws.com/nodegroup=" + nodegroup})
	if err != nil || len(nodes.Items) == 0 {
		tb.Fatalf("no node of %s: %v", nodegroup, err)
	}
	out := map[string]string{}
	for k, v := range nodes.Items[0].Labels {
		if k != corev1.LabelHostname && !strings.HasPrefix(k, "eks.amazonaws.com/") && !strings.HasPrefix(k, "topology.") {
			out[k] = v
		}
	}
	return out
}
