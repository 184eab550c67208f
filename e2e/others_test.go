//go:build e2e

package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Nodes that are no group's are named and left alone, also in the middle of a
// rotation of all groups: one without a provider id, which cannot be joined to an
// instance, and one that Karpenter launched.
func TestNodesOfOthers(t *testing.T) {
	s := scrap(t)
	group := groupName(s, 2)
	const stranger = "stranger"
	nodes := s.Kube(t).CoreV1().Nodes()
	if _, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: stranger}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	karpenters, end := s.launchAsKarpenter(t, group)
	before := s.State(t)
	s.PublishImage(t, group)
	p := s.rotatord(t).Start(t, "run")
	p.Await("node-draining")
	meanwhile := s.State(t)
	p.Wait().MustExit(t, exitDone, stranger, "providerID", "1 node(s) are Karpenter's and are left alone: "+karpenters)
	after := s.State(t)
	after.MustHaveReplaced(t, before, group)
	for _, name := range []string{stranger, karpenters} {
		for when, st := range map[string]State{"meanwhile": meanwhile, "afterwards": after} {
			if d := cmp.Diff(before.Nodes[name], st.Nodes[name]); d != "" {
				t.Errorf("node %s was touched (-before +%s):\n%s", name, when, d)
			}
		}
	}
	if err := nodes.Delete(t.Context(), stranger, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	end()
}

// launchAsKarpenter adds an instance as Karpenter does, without an Auto Scaling
// group, from what the group's instances are made from. It returns the name of its
// Ready node, and what ends it.
func (s *Sandbox) launchAsKarpenter(t *testing.T, group string) (node string, end func()) {
	t.Helper()
	c := ec2.New(ec2.Options{Region: s.Region, BaseEndpoint: aws.String(s.Getenv("AWS_ENDPOINT_URL")),
		Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", "")})
	like, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: s.State(t).Groups[group].Instances[:1]})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.RunInstances(t.Context(), &ec2.RunInstancesInput{MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		ImageId: like.Reservations[0].Instances[0].ImageId, InstanceType: like.Reservations[0].Instances[0].InstanceType,
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
			{Key: aws.String("kubernetes.io/cluster/" + s.Name), Value: aws.String("owned")}, {Key: aws.String("karpenter.sh/nodepool"), Value: aws.String("default")}}}}})
	if err != nil {
		t.Fatal(err)
	}
	id := aws.ToString(out.Instances[0].InstanceId)
	// There is none where the instance has not joined, or is gone.
	find := func() *corev1.Node {
		list, err := s.Kube(t).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(list.Items, func(n corev1.Node) bool { return instanceOf(n.Spec.ProviderID) == id }); i >= 0 {
			return &list.Items[i]
		}
		return nil
	}
	await := func(what string, holds func(*corev1.Node) bool) *corev1.Node {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
			n := find()
			if holds(n) {
				return n
			}
			if time.Now().After(deadline) {
				t.Fatalf("instance %s: waited 30 s for %s", id, what)
			}
		}
	}
	node = await("its node to be Ready", func(n *corev1.Node) bool {
		return n != nil && slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}).Name
	s.markNode(t, node, `{"metadata":{"labels":{"karpenter.sh/nodepool":"default"}}}`)
	return node, func() {
		t.Helper()
		if _, err := c.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
			t.Fatal(err)
		}
		await("its node to go", func(n *corev1.Node) bool { return n == nil })
	}
}
