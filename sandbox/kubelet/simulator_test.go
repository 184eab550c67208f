package kubelet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

// lab is a simulator in virtual time over a client without a control plane.
type lab struct {
	t      *testing.T
	client *fake.Clientset
	sim    *Simulator
}

// inLab runs f with a simulator and one node, "n", whose machine is "m".
func inLab(t *testing.T, opts Options, f func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, client: fake.NewClientset()}
		l.sim = New(l.client, opts)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.sim.Run(ctx) }()
		l.node("n", nil)
		f(l)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// after lets time pass and everything that is due happen.
func (l *lab) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (l *lab) node(name string, annotations map[string]string) {
	l.t.Helper()
	_, err := l.client.CoreV1().Nodes().Create(l.t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Annotations: annotations, CreationTimestamp: metav1.Now()},
		Spec:       corev1.NodeSpec{ProviderID: "m"},
	}, metav1.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) nodeReady(name string) corev1.ConditionStatus {
	l.t.Helper()
	n, err := l.client.CoreV1().Nodes().Get(l.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	return condition(n, corev1.NodeReady).Status
}

func (l *lab) pod(name string, restart corev1.RestartPolicy, annotations map[string]string) {
	l.t.Helper()
	_, err := l.client.CoreV1().Pods("ns").Create(l.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Annotations: annotations, CreationTimestamp: metav1.Now()},
		Spec:       corev1.PodSpec{NodeName: "n", RestartPolicy: restart, Containers: []corev1.Container{{Name: "c"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}, metav1.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
}

// state is a pod's phase and whether it is Ready, or "gone".
func (l *lab) state(name string) string {
	l.t.Helper()
	p, err := l.client.CoreV1().Pods("ns").Get(l.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "gone"
	}
	if err != nil {
		l.t.Fatal(err)
	}
	s := string(p.Status.Phase)
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			s += " Ready"
		}
	}
	return s
}

// end marks a pod as the API server does when it is deleted or evicted. The
// fake client would remove it at once.
func (l *lab) end(name string, grace int64) {
	l.t.Helper()
	p, err := l.client.CoreV1().Pods("ns").Get(l.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	at := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second).Truncate(time.Second))
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &grace
	if _, err := l.client.CoreV1().Pods("ns").Update(l.t.Context(), p, metav1.UpdateOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) want(name, state string) {
	l.t.Helper()
	if got := l.state(name); got != state {
		l.t.Errorf("pod %s is %q, want %q", name, got, state)
	}
}

const moment = 50 * time.Millisecond

func TestPodStartsAndEnds(t *testing.T) {
	inLab(t, Options{StartDelay: time.Second, StopDelay: 3 * time.Second}, func(l *lab) {
		l.after(moment)
		l.pod("web", corev1.RestartPolicyAlways, nil)
		l.after(time.Second - moment)
		l.want("web", "Pending")
		l.after(2 * moment)
		l.want("web", "Running Ready")

		l.after(moment) // not on a whole second: deletionTimestamp would lose it
		l.end("web", 30)
		l.after(3*time.Second - moment)
		l.want("web", "Running Ready")
		l.after(2 * moment)
		l.want("web", "gone")
	})
}

func TestAnnotationsOverrideOptions(t *testing.T) {
	inLab(t, Options{StartDelay: time.Second, StopDelay: time.Second}, func(l *lab) {
		l.after(moment)
		l.pod("slow", corev1.RestartPolicyAlways, map[string]string{AnnotationStartDelay: "5s", AnnotationStopDelay: "7s"})
		l.pod("odd", corev1.RestartPolicyAlways, map[string]string{AnnotationStartDelay: "soon"})
		l.after(time.Second + moment)
		l.want("slow", "Pending")
		l.want("odd", "Running Ready")
		l.after(4 * time.Second)
		l.want("slow", "Running Ready")
		l.end("slow", 30)
		l.after(7*time.Second - moment)
		l.want("slow", "Running Ready")
		l.after(2 * moment)
		l.want("slow", "gone")
	})
}

func TestGracePeriodCutsTheStopShort(t *testing.T) {
	inLab(t, Options{StopDelay: time.Minute}, func(l *lab) {
		l.after(moment)
		l.pod("web", corev1.RestartPolicyAlways, nil)
		l.after(moment)
		l.end("web", 2)
		l.after(2*time.Second - moment)
		l.want("web", "Running Ready")
		l.after(2 * moment)
		l.want("web", "gone")
	})
}

func TestPodThatNeverGetsReady(t *testing.T) {
	inLab(t, Options{}, func(l *lab) {
		l.after(moment)
		l.pod("web", corev1.RestartPolicyAlways, map[string]string{AnnotationNeverReady: "true"})
		l.after(10 * time.Minute)
		l.want("web", "Running")
	})
}

// The node lifecycle controller calls the pods of a silent node not Ready; a
// living kubelet contradicts.
func TestPodThatOthersCallNotReady(t *testing.T) {
	inLab(t, Options{}, func(l *lab) {
		l.after(moment)
		l.pod("web", corev1.RestartPolicyAlways, nil)
		l.after(moment)
		l.want("web", "Running Ready")
		p, err := l.client.CoreV1().Pods("ns").Get(l.t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			l.t.Fatal(err)
		}
		for i := range p.Status.Conditions {
			if p.Status.Conditions[i].Type == corev1.PodReady {
				p.Status.Conditions[i].Status = corev1.ConditionFalse
			}
		}
		if _, err := l.client.CoreV1().Pods("ns").UpdateStatus(l.t.Context(), p, metav1.UpdateOptions{}); err != nil {
			l.t.Fatal(err)
		}
		l.want("web", "Running")
		l.after(moment)
		l.want("web", "Running Ready")
	})
}

func TestPodCompletes(t *testing.T) {
	inLab(t, Options{StartDelay: time.Second, RunDelay: 10 * time.Second}, func(l *lab) {
		l.after(moment)
		l.pod("job", corev1.RestartPolicyNever, nil)
		l.pod("short", corev1.RestartPolicyOnFailure, map[string]string{AnnotationRunDelay: "1s"})
		l.pod("web", corev1.RestartPolicyAlways, nil)
		l.after(1900 * time.Millisecond)
		l.want("job", "Running Ready")
		l.want("short", "Running Ready")
		l.after(1200 * time.Millisecond) // startTime has whole seconds on the wire
		l.want("short", "Succeeded")
		l.after(9 * time.Second)
		l.want("job", "Succeeded")
		l.after(10 * time.Minute)
		l.want("web", "Running Ready")
	})
}

func TestUnfinishedJobPodFailsWhenEnded(t *testing.T) {
	inLab(t, Options{RunDelay: time.Hour}, func(l *lab) {
		l.after(moment)
		l.pod("job", corev1.RestartPolicyNever, nil)
		l.after(moment)
		failed := false
		// The Job controller counts the outcome: it must be there before the pod goes.
		w, err := l.client.CoreV1().Pods("ns").Watch(l.t.Context(), metav1.ListOptions{})
		if err != nil {
			l.t.Fatal(err)
		}
		go func() {
			for e := range w.ResultChan() {
				if p, ok := e.Object.(*corev1.Pod); ok && p.Status.Phase == corev1.PodFailed {
					failed = true
				}
			}
		}()
		l.end("job", 30)
		l.after(time.Second)
		l.want("job", "gone")
		if !failed {
			l.t.Error("the pod went without having failed")
		}
		w.Stop()
	})
}

func TestNodeGetsReady(t *testing.T) {
	inLab(t, Options{ReadyDelay: 5 * time.Second}, func(l *lab) {
		l.node("quick", map[string]string{AnnotationReadyDelay: "1s"})
		l.node("broken", map[string]string{AnnotationNeverReady: "true"})
		l.after(2 * time.Second)
		if got := l.nodeReady("quick"); got != corev1.ConditionTrue {
			l.t.Errorf("quick: Ready = %s after its own delay, want True", got)
		}
		if got := l.nodeReady("n"); got == corev1.ConditionTrue {
			l.t.Error("n: Ready before its delay")
		}
		l.after(10 * time.Minute)
		if got := l.nodeReady("n"); got != corev1.ConditionTrue {
			l.t.Errorf("n: Ready = %s, want True", got)
		}
		if got := l.nodeReady("broken"); got != corev1.ConditionFalse {
			l.t.Errorf("broken: Ready = %s, want False", got)
		}
	})
}

// The node lifecycle controller may call a node dead that is not: its kubelet
// says so.
func TestNodeContradictsItsDeath(t *testing.T) {
	inLab(t, Options{}, func(l *lab) {
		l.after(moment)
		n, err := l.client.CoreV1().Nodes().Get(l.t.Context(), "n", metav1.GetOptions{})
		if err != nil {
			l.t.Fatal(err)
		}
		for i := range n.Status.Conditions {
			n.Status.Conditions[i].Status = corev1.ConditionUnknown
		}
		if _, err := l.client.CoreV1().Nodes().UpdateStatus(l.t.Context(), n, metav1.UpdateOptions{}); err != nil {
			l.t.Fatal(err)
		}
		l.after(moment)
		if got := l.nodeReady("n"); got != corev1.ConditionTrue {
			l.t.Errorf("Ready = %s, want True", got)
		}
	})
}

func TestLeases(t *testing.T) {
	inLab(t, Options{}, func(l *lab) {
		age := func() time.Duration {
			l.t.Helper()
			lease, err := l.client.CoordinationV1().Leases("kube-node-lease").Get(l.t.Context(), "n", metav1.GetOptions{})
			if err != nil {
				l.t.Fatal(err)
			}
			return time.Since(lease.Spec.RenewTime.Time)
		}
		l.after(2 * time.Second)
		for range 10 {
			l.after(7 * time.Second)
			if got := age(); got > 11*time.Second {
				l.t.Fatalf("lease is %v old, want at most the interval of 10s", got)
			}
		}
		l.sim.StopMachine("m")
		l.after(time.Minute)
		if got := age(); got < 49*time.Second {
			l.t.Errorf("lease is %v old a minute after the machine stopped", got)
		}
	})
}

func TestStoppedMachineDoesNothing(t *testing.T) {
	inLab(t, Options{StartDelay: time.Second}, func(l *lab) {
		l.after(moment)
		l.pod("running", corev1.RestartPolicyAlways, nil)
		l.after(2 * time.Second)
		l.pod("starting", corev1.RestartPolicyAlways, nil)
		l.sim.StopMachine("m")
		l.end("running", 1)
		l.after(10 * time.Minute)
		l.want("starting", "Pending")
		l.want("running", "Running Ready") // it ends with its Node, by the pod collector
	})
}

// A silent kubelet does nothing, and once it wakes it does what it missed.
func TestSilence(t *testing.T) {
	inLab(t, Options{StartDelay: time.Second}, func(l *lab) {
		l.after(moment)
		l.pod("running", corev1.RestartPolicyAlways, nil)
		l.after(2 * time.Second)
		id, err := l.sim.Silence(l.t.Context(), "n")
		if err != nil || id != "m" {
			l.t.Fatalf("Silence = %q, %v, want the machine m", id, err)
		}
		renewed := func() time.Time {
			lease, err := l.client.CoordinationV1().Leases("kube-node-lease").Get(l.t.Context(), "n", metav1.GetOptions{})
			if err != nil {
				l.t.Fatal(err)
			}
			return lease.Spec.RenewTime.Time
		}
		before := renewed()
		l.pod("starting", corev1.RestartPolicyAlways, nil)
		l.end("running", 1)
		l.after(10 * time.Minute)
		l.want("starting", "Pending")
		l.want("running", "Running Ready")
		if !renewed().Equal(before) {
			l.t.Error("the lease was renewed")
		}
		if err := l.sim.Wake(l.t.Context(), "n", id); err != nil {
			l.t.Fatal(err)
		}
		l.after(5 * time.Second)
		l.want("starting", "Running Ready")
		l.want("running", "gone")
		if renewed().Equal(before) {
			l.t.Error("the lease was not renewed again")
		}
		if _, err := l.sim.Silence(l.t.Context(), "nobody"); err == nil {
			l.t.Error("a node that does not exist fell silent")
		}
	})
}
