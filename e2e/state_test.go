//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// ourPrefix starts every taint, annotation, label and tag of rotator's.
const ourPrefix = "rotatord.github.io/"

// Kube is a client of the sandbox's control plane, with the same identity that
// rotatord has.
func (s *Sandbox) Kube(tb testing.TB) kubernetes.Interface {
	tb.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Getenv("KUBECONFIG"))
	if err != nil {
		tb.Fatal(err)
	}
	cfg.UserAgent = "rotator-e2e"
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// AutoScaling is a client of the simulated AWS: what a person or another tool
// would use beside rotatord.
func (s *Sandbox) AutoScaling() *autoscaling.Client {
	return autoscaling.New(autoscaling.Options{
		Region:       s.Region,
		BaseEndpoint: aws.String(s.Getenv("AWS_ENDPOINT_URL")),
		Credentials:  credentials.NewStaticCredentialsProvider("sandbox", "sandbox", ""),
	})
}

// LoadBalancers is such a client, of target groups.
func (s *Sandbox) LoadBalancers() *elbv2.Client {
	return elbv2.New(elbv2.Options{
		Region:       s.Region,
		BaseEndpoint: aws.String(s.Getenv("AWS_ENDPOINT_URL")),
		Credentials:  credentials.NewStaticCredentialsProvider("sandbox", "sandbox", ""),
	})
}

// State is what a rotation must leave as it was, and what it must change.
type State struct {
	Groups map[string]GroupState
	Nodes  map[string]NodeState // by name
}

// GroupState is an Auto Scaling group.
type GroupState struct {
	Desired, Min, Max int32
	Suspended         []string // processes
	Tags              []string // key=value, sorted
	Protected         bool     // new instances protected from scale-in
	Instances         []string // sorted; those that are ending left out
}

// NodeState is a node, as far as rotatord could leave traces.
type NodeState struct {
	ProviderID    string
	Unschedulable bool
	Taints        []string // key:effect, those of rotator's and of cordoning
	// Marks are annotations and labels under rotator's prefix, and key=value of those
	// that it sets for others: the cluster autoscaler and load balancers.
	Marks []string
}

// State reads both worlds. An instance that has just ended leaves its node
// behind for a moment, until the cloud controller removes it: State waits for
// that, within bounds.
func (s *Sandbox) State(tb testing.TB) State {
	tb.Helper()
	const within = 5 * time.Second
	deadline := time.Now().Add(within)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		st := s.look(tb)
		if !st.leftNodes() || time.Now().After(deadline) {
			return st
		}
		<-tick.C
	}
}

// leftNodes tells whether there is a node whose instance no group has.
func (st State) leftNodes() bool {
	live := map[string]bool{"": true} // a node without a provider id has none
	for _, g := range st.Groups {
		for _, in := range g.Instances {
			live[in] = true
		}
	}
	for _, n := range st.Nodes {
		if !live[instanceOf(n.ProviderID)] {
			return true
		}
	}
	return false
}

// look reads both worlds as they are at this moment.
func (s *Sandbox) look(tb testing.TB) State {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	st := State{Groups: map[string]GroupState{}, Nodes: map[string]NodeState{}}
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(s.AutoScaling(), &autoscaling.DescribeAutoScalingGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			tb.Fatal(err)
		}
		for _, g := range page.AutoScalingGroups {
			gs := GroupState{Desired: aws.ToInt32(g.DesiredCapacity), Min: aws.ToInt32(g.MinSize), Max: aws.ToInt32(g.MaxSize),
				Protected: aws.ToBool(g.NewInstancesProtectedFromScaleIn)}
			for _, p := range g.SuspendedProcesses {
				gs.Suspended = append(gs.Suspended, aws.ToString(p.ProcessName))
			}
			for _, t := range g.Tags {
				if aws.ToString(t.Key) == "rotatord.github.io/staged" {
					continue // what it had before its release: it stays for a rollback
				}
				gs.Tags = append(gs.Tags, aws.ToString(t.Key)+"="+aws.ToString(t.Value))
			}
			for _, in := range g.Instances {
				// One that is on its way out no longer fills the group's capacity.
				if strings.HasPrefix(string(in.LifecycleState), "Terminat") {
					continue
				}
				gs.Instances = append(gs.Instances, aws.ToString(in.InstanceId))
			}
			slices.Sort(gs.Suspended)
			slices.Sort(gs.Tags)
			slices.Sort(gs.Instances)
			st.Groups[aws.ToString(g.AutoScalingGroupName)] = gs
		}
	}
	nodes, err := s.Kube(tb).CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range nodes.Items {
		ns := NodeState{ProviderID: n.Spec.ProviderID, Unschedulable: n.Spec.Unschedulable}
		for _, t := range n.Spec.Taints {
			ns.Taints = append(ns.Taints, t.Key+":"+string(t.Effect))
		}
		for _, m := range []map[string]string{n.Annotations, n.Labels} {
			for k, v := range m {
				switch {
				case strings.HasPrefix(k, ourPrefix):
					ns.Marks = append(ns.Marks, k)
				case k == scaleDownDisabled, k == excluded:
					ns.Marks = append(ns.Marks, k+"="+v)
				}
			}
		}
		slices.Sort(ns.Taints)
		slices.Sort(ns.Marks)
		st.Nodes[n.Name] = ns
	}
	return st
}

// NodesOf returns the names of the nodes that the group's instances joined as.
func (st State) NodesOf(group string) []string {
	var out []string
	for name, n := range st.Nodes {
		if slices.Contains(st.Groups[group].Instances, instanceOf(n.ProviderID)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func instanceOf(providerID string) string {
	return providerID[strings.LastIndex(providerID, "/")+1:]
}

// MustEqual fails the test unless nothing at all changed.
func (st State) MustEqual(tb testing.TB, before State) {
	tb.Helper()
	if d := cmp.Diff(before, st); d != "" {
		tb.Errorf("something changed (-before +after):\n%s", d)
	}
}

// MustBeTidy fails the test unless the groups' settings are as they were
// before, and no node carries a trace of a rotation.
func (st State) MustBeTidy(tb testing.TB, before State) {
	tb.Helper()
	for _, name := range sortedKeys(before.Groups) {
		was, is := before.Groups[name], st.Groups[name]
		if len(is.Instances) != len(was.Instances) {
			tb.Errorf("group %s has %d instances, had %d", name, len(is.Instances), len(was.Instances))
		}
		was.Instances, is.Instances = nil, nil
		if d := cmp.Diff(was, is); d != "" {
			tb.Errorf("settings of group %s changed (-before +after):\n%s", name, d)
		}
	}
	if len(st.Nodes) != len(before.Nodes) {
		tb.Errorf("the cluster has %d nodes, had %d", len(st.Nodes), len(before.Nodes))
	}
	for _, name := range sortedKeys(st.Nodes) {
		n := st.Nodes[name]
		if was, known := before.Nodes[name]; known {
			if d := cmp.Diff(was, n); d != "" {
				tb.Errorf("node %s, which stayed, changed (-before +after):\n%s", name, d)
			}
			continue
		}
		// What machines of its kind come with, as those of a control plane do.
		usual := slices.ContainsFunc(sortedKeys(before.Nodes), func(o string) bool {
			was := before.Nodes[o]
			was.ProviderID = n.ProviderID
			return cmp.Equal(was, n)
		})
		if !usual && (n.Unschedulable || len(n.Taints) > 0 || len(n.Marks) > 0) {
			tb.Errorf("node %s is left with cordon %t, taints %v, marks %v", name, n.Unschedulable, n.Taints, n.Marks)
		}
	}
}

// MustHaveReplaced fails the test unless every instance of the groups is
// another one than before, and instances of other groups are the same.
func (st State) MustHaveReplaced(tb testing.TB, before State, groups ...string) {
	tb.Helper()
	for _, name := range sortedKeys(before.Groups) {
		was, is := before.Groups[name].Instances, st.Groups[name].Instances
		if !slices.Contains(groups, name) {
			if d := cmp.Diff(was, is); d != "" {
				tb.Errorf("group %s was not selected, and its instances changed (-before +after):\n%s", name, d)
			}
			continue
		}
		for _, id := range was {
			if slices.Contains(is, id) {
				tb.Errorf("instance %s of group %s was not replaced", id, name)
			}
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// MustSettle waits until every pod is Ready and no node or instance is on its
// way, as the sandbox's observer sees it, and fails the test when that takes
// too long. Evicted pods need a moment to be Ready elsewhere.
func (s *Sandbox) MustSettle(tb testing.TB) Verdict {
	tb.Helper()
	const within = 30 * time.Second
	deadline := time.Now().Add(within)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		v := s.Verify(tb)
		settled := v.Pods.Ready == v.Pods.Total
		for _, n := range v.Nodes {
			settled = settled && n.Ready
		}
		if settled {
			return v
		}
		if time.Now().After(deadline) {
			tb.Errorf("not settled within %s: pods %d of %d Ready, not Ready: %v, nodes %+v", within, v.Pods.Ready, v.Pods.Total, v.Pods.NotReady, v.Nodes)
			return v
		}
		<-tick.C
	}
}

func groupName(s *Sandbox, n int) string { return fmt.Sprintf("%s-workers-%d", s.Name, n) }
