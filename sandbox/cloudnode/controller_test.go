package cloudnode

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/kubelet"
)

// lab is a controller in virtual time over a client without a control plane.
type lab struct {
	*testing.T
	client  *fake.Clientset
	hooks   aws.Hooks
	as      Profile // how machines join; those tagged "apart" do not
	mu      sync.Mutex
	stopped []string
}

func (l *lab) profile(m aws.Machine) (Profile, bool) {
	_, apart := m.Tags["apart"]
	return l.as, !apart
}

func (l *lab) StopMachine(providerID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = append(l.stopped, providerID)
}

// inLab runs f; the controller itself runs from when f calls start.
func inLab(t *testing.T, f func(l *lab, start func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, client: fake.NewClientset()}
		c := New("demo", l.profile)
		l.hooks = c.Hooks()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		f(l, func() {
			go func() {
				done <- c.Run(ctx, Clients{Kubelet: l.client, CloudController: l.client, PodGC: l.client}, l)
			}()
			synctest.Wait()
		})
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func machine(id string) aws.Machine {
	return aws.Machine{
		ID: id, Zone: "eu-central-1a", Region: "eu-central-1", InstanceType: "m5.xlarge", ImageID: "ami-1",
		PrivateDNSName: "ip-10-0-0-4.eu-central-1.compute.internal", PrivateIP: "10.0.0.4",
		Tags: map[string]string{"kubernetes.io/cluster/demo": "owned"}, BootDelay: 2 * time.Second,
	}
}

func (l *lab) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (l *lab) nodes() map[string]corev1.Node {
	l.Helper()
	list, err := l.client.CoreV1().Nodes().List(l.Context(), metav1.ListOptions{})
	if err != nil {
		l.Fatal(err)
	}
	byProvider := map[string]corev1.Node{}
	for _, n := range list.Items {
		byProvider[n.Spec.ProviderID] = n
	}
	return byProvider
}

func (l *lab) wantNodes(ids ...string) {
	l.Helper()
	got := slices.Sorted(maps.Keys(l.nodes()))
	want := []string{}
	for _, id := range ids {
		want = append(want, "aws:///eu-central-1a/"+id)
	}
	if diff := cmp.Diff(want, append([]string{}, got...)); diff != "" {
		l.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func TestMachineJoins(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		start()
		var registered *corev1.Node
		l.client.PrependReactor("create", "nodes", func(a k8stesting.Action) (bool, runtime.Object, error) {
			registered = a.(k8stesting.CreateAction).GetObject().(*corev1.Node).DeepCopy()
			return false, nil, nil
		})
		l.hooks.Running(machine("i-1"))
		l.after(2*time.Second - time.Millisecond)
		l.wantNodes()
		l.after(time.Second)
		l.wantNodes("i-1")

		if taints := registered.Spec.Taints; len(taints) != 1 || taints[0].Key != uninitialized {
			t.Errorf("registered with taints %v, want the one that says it is not initialised", taints)
		}
		if _, labelled := registered.Labels[corev1.LabelTopologyZone]; labelled {
			t.Error("registered with the zone, which only the cloud controller knows")
		}
		n := l.nodes()["aws:///eu-central-1a/i-1"]
		if len(n.Spec.Taints) != 0 {
			t.Errorf("taints = %v once initialised, want none", n.Spec.Taints)
		}
		if got := n.Labels[corev1.LabelTopologyZone]; got != "eu-central-1a" {
			t.Errorf("zone = %q, want eu-central-1a", got)
		}
		addresses := map[corev1.NodeAddressType]string{}
		for _, a := range n.Status.Addresses {
			addresses[a.Type] = a.Address
		}
		if diff := cmp.Diff(map[corev1.NodeAddressType]string{
			corev1.NodeInternalIP: "10.0.0.4", corev1.NodeHostName: n.Name, corev1.NodeInternalDNS: n.Name,
		}, addresses); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
	})
}

func TestMachinesThatDoNotJoin(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		start()
		never := machine("i-never")
		never.NeverJoins = true
		foreign := machine("i-foreign")
		foreign.Tags = map[string]string{"kubernetes.io/cluster/demo-2": "owned"}
		stopped := machine("i-stopped")
		apart := machine("i-apart")
		apart.Tags["apart"] = ""
		for _, m := range []aws.Machine{never, foreign, stopped, apart} {
			l.hooks.Running(m)
		}
		l.after(time.Second)
		l.hooks.Stopping(stopped)
		l.after(time.Minute)
		l.wantNodes()
	})
}

func TestProfile(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		taint := corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}
		l.as = Profile{Labels: map[string]string{taint.Key: ""}, Taints: []corev1.Taint{taint}, StaticPods: []string{"etcd", "kube-apiserver"}}
		start()
		l.hooks.Running(machine("i-1"))
		l.after(time.Minute)
		n := l.nodes()["aws:///eu-central-1a/i-1"]
		if diff := cmp.Diff([]corev1.Taint{taint}, n.Spec.Taints); diff != "" {
			t.Errorf("taints (-want +got):\n%s", diff)
		}
		if _, ok := n.Labels[taint.Key]; !ok || n.Labels[corev1.LabelTopologyZone] == "" {
			t.Errorf("labels %v, want the profile's and the cloud's", n.Labels)
		}
		list, err := l.client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) != 2 {
			t.Fatalf("pods %+v, %v", list, err)
		}
		for i, app := range l.as.StaticPods {
			p := list.Items[i]
			_, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]
			owner := metav1.GetControllerOf(&p)
			if p.Name != app+"-"+n.Name || p.Spec.NodeName != n.Name || p.Labels["k8s-app"] != app || !mirror || owner == nil || owner.UID != n.UID {
				t.Errorf("static pod %s: %+v", app, p)
			}
		}
	})
}

func TestMachineThatNeverGetsReady(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		start()
		m := machine("i-1")
		m.NeverReady = true
		l.hooks.Running(m)
		l.after(time.Minute)
		n := l.nodes()["aws:///eu-central-1a/i-1"]
		if !kubelet.NeverReady(&n) {
			t.Errorf("annotations = %v, want the kubelet to be told", n.Annotations)
		}
	})
}

// Machines boot while the control plane starts: the time counts.
func TestBootBeginsBeforeRun(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		l.hooks.Running(machine("i-1"))
		gone := machine("i-gone")
		gone.PrivateDNSName = "other"
		l.hooks.Running(gone)
		l.hooks.Stopping(gone)
		l.hooks.Terminated(gone)
		l.after(time.Minute)
		l.wantNodes()
		start()
		l.after(time.Millisecond)
		l.wantNodes("i-1")
	})
}

func TestRegistrationIsRetried(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		start()
		failures := 3
		l.client.PrependReactor("create", "nodes", func(k8stesting.Action) (bool, runtime.Object, error) {
			failures--
			if failures >= 0 {
				return true, nil, apierrors.NewInternalError(context.DeadlineExceeded)
			}
			return false, nil, nil
		})
		l.hooks.Running(machine("i-1"))
		l.after(time.Minute)
		l.wantNodes("i-1")
	})
}

func TestMachineGoes(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		start()
		m := machine("i-1")
		l.hooks.Running(m)
		l.after(time.Minute)
		if _, err := l.client.CoreV1().Pods("ns").Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "agent"}, Spec: corev1.PodSpec{NodeName: m.PrivateDNSName},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		l.hooks.Stopping(m)
		l.after(time.Second)
		l.wantNodes("i-1") // the cloud still knows the machine
		if diff := cmp.Diff([]string{ProviderID(m)}, l.stopped); diff != "" {
			t.Errorf("stopped kubelets (-want +got):\n%s", diff)
		}
		l.hooks.Terminated(m)
		l.after(time.Second)
		l.wantNodes()
		if _, err := l.client.CoreV1().Pods("ns").Get(t.Context(), "agent", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("pod of the node that is gone: %v, want not found", err)
		}
	})
}

// A later machine may get the name of an earlier one. What becomes of the
// earlier must not touch the later's node.
func TestNameIsUsedAgain(t *testing.T) {
	inLab(t, func(l *lab, start func()) {
		start()
		l.hooks.Running(machine("i-1"))
		l.after(time.Minute)
		l.hooks.Running(machine("i-2"))
		l.after(time.Minute)
		l.wantNodes("i-2")
		l.hooks.Stopping(machine("i-1"))
		l.hooks.Terminated(machine("i-1"))
		l.after(time.Minute)
		l.wantNodes("i-2")
	})
}
