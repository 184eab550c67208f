//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// moving is what moves only with care: a Deployment of one replica whose budget
// wants it Ready at every moment, one of two replicas whose budget wants both,
// and a StatefulSet whose pods have a volume each, in the one zone that there is.
const moving = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: one, namespace: shop, labels: {team: a}}
spec:
  replicas: 1
  selector: {matchLabels: {app: one}}
  template:
    metadata: {labels: {app: one}}
    spec: {containers: [{name: c, image: none, resources: {requests: {cpu: 10m}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: one, namespace: shop}
spec: {minAvailable: 1, selector: {matchLabels: {app: one}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: two, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: two}}
  template:
    metadata: {labels: {app: two}}
    spec: {containers: [{name: c, image: none, resources: {requests: {cpu: 10m}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: two, namespace: shop}
spec: {minAvailable: 2, selector: {matchLabels: {app: two}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: c, image: none, resources: {requests: {cpu: 10m}}, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Gi}}}
`

// volume is a PersistentVolume of the sandbox's CSI driver, made for one claim.
const volume = `---
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-db-%[1]d}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  persistentVolumeReclaimPolicy: Retain
  claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: shop, name: data-db-%[1]d}
  csi: {driver: disk.csi.sandbox.rotatord.github.io, volumeHandle: vol-%[1]d}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: topology.kubernetes.io/zone, operator: In, values: [%[2]sa]}]}]}
`

// withCare starts a sandbox with those workloads, for one test.
func withCare(t *testing.T, region string) *Sandbox {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "workload.yaml")
	yaml := moving + fmt.Sprintf(volume, 0, region) + fmt.Sprintf(volume, 1, region)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--nodes", "3", "--groups", "1", "--zones", "1", "--seed", "11", "--workload", file,
		"--volume-attach-delay", "300ms", "--volume-detach-delay", "3s"}, delays...)
	s, err := startSandbox(filepath.Join(dir, "sandbox"), "e2e-move", region, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func deployments(t *testing.T, s *Sandbox) map[string]*appsv1.Deployment {
	t.Helper()
	list, err := s.Kube(t).AppsV1().Deployments("shop").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*appsv1.Deployment)
	for i := range list.Items {
		out[list.Items[i].Name] = &list.Items[i]
	}
	return out
}

// mustBeOwn fails the test unless every Deployment has its own number of replicas
// and no label or annotation of ours, nor its ReplicaSets.
func mustBeOwn(t *testing.T, s *Sandbox) {
	t.Helper()
	for name, want := range map[string]int32{"one": 1, "two": 2} {
		if d := deployments(t, s)[name]; *d.Spec.Replicas != want || ours(d.Labels) || ours(d.Annotations) {
			t.Errorf("Deployment %s: %d replicas, want %d; labels %v, annotations %v", name, *d.Spec.Replicas, want, d.Labels, d.Annotations)
		}
	}
	sets, err := s.Kube(t).AppsV1().ReplicaSets("shop").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range sets.Items {
		if ours(r.Labels) || ours(r.Annotations) {
			t.Errorf("ReplicaSet %s: labels %v, annotations %v", r.Name, r.Labels, r.Annotations)
		}
	}
}

func ours(m map[string]string) bool {
	for k := range m {
		if strings.HasPrefix(k, ourPrefix) {
			return true
		}
	}
	return false
}

// Deployments of one replica, and budgets that allow nothing, with the real
// controllers: the observer sees a Ready pod at every moment. Volumes are
// detached before their instances end.
func TestMovesWithCare(t *testing.T) {
	s := withCare(t, "eu-west-1")
	group := groupName(s, 1)
	rotate := func(t *testing.T, flags ...string) *Rotatord {
		t.Helper()
		s.MustSettle(t)
		before := s.State(t)
		s.PublishImage(t, group)
		r := s.rotatord(t)
		r.Run(t, "run", append([]string{"--group", group}, flags...)...).MustExit(t, exitDone)
		after := s.State(t)
		after.MustBeTidy(t, before)
		after.MustHaveReplaced(t, before, group)
		s.MustSettle(t)
		mustBeOwn(t, s)
		return r
	}
	t.Run("refused with evict", func(t *testing.T) {
		before := s.State(t)
		s.PublishImage(t, group)
		s.rotatord(t).Run(t, "plan", "--group", group).MustExit(t, exitRefused, "budget-never-allows", "shop/one", "shop/two", "drain.singleReplica")
		s.State(t).MustEqual(t, before)
	})
	t.Run("by restart", func(t *testing.T) {
		r := rotate(t, "--single-replica", "restart")
		s.MustHaveKeptBudgets(t)
		if n := len(r.Events(t, "workload-moved")); n < 2 {
			t.Errorf("%d events say that a workload was moved, want one for each Deployment at least", n)
		}
		if deployments(t, s)["one"].Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] == "" {
			t.Error("Deployment one was not restarted")
		}
		mustHaveWaited(t, r)
	})
	t.Run("by an extra replica", func(t *testing.T) {
		restarted := deployments(t, s)["one"].Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"]
		r := rotate(t, "--single-replica", "surge", "--max-surge", "2", "--canary=false")
		s.MustHaveKeptBudgets(t)
		if got := deployments(t, s)["one"].Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"]; got != restarted {
			t.Errorf("Deployment one was restarted at %s, and a replica was asked for", got)
		}
		mustHaveWaited(t, r)
	})
	t.Run("killed with an extra replica", func(t *testing.T) {
		before := s.State(t)
		s.PublishImage(t, group)
		r := s.rotatord(t)
		flags := []string{"--group", group, "--single-replica", "surge", "--lock-duration", "3s"}
		p := r.Start(t, "run", flags...)
		p.Await("workload-moving")
		surged := func() bool { return ours(deployments(t, s)["one"].Labels) || ours(deployments(t, s)["two"].Labels) }
		for !surged() { // the rotation ends, or has one
			select {
			case <-p.done:
				t.Fatalf("no Deployment had an extra replica:\n%s", p.Wait().Text())
			default:
			}
		}
		p.Signal(syscall.SIGKILL)
		p.Wait()
		// Without the journal: the label says it. The extra instance that goes back
		// has pods by now that only move with care.
		s.rotatord(t).Run(t, "abort", "--single-replica", "surge").MustExit(t, exitDone, "put back")
		mustBeOwn(t, s)
		s.State(t).MustBeTidy(t, before)
		r.Run(t, "run", flags...).MustExit(t, exitDone)
		mustBeOwn(t, s)
		s.MustHaveKeptBudgets(t)
		s.State(t).MustHaveReplaced(t, before, group)
	})
	t.Run("a volume that takes too long", func(t *testing.T) {
		r := rotate(t, "--single-replica", "restart", "--volume-detach-timeout", "500ms")
		late := 0
		for _, e := range r.Events(t, "node-blocked") {
			if e.Code == "volumes-timeout" && strings.Contains(e.Message, "pv-db-") {
				late++
			}
		}
		if late == 0 {
			t.Error("no event names a volume that was attached still")
		}
		if v := s.Verify(t); len(v.EndedAttached) == 0 {
			t.Error("the observer saw no instance end with a volume attached, and it had to: it is blind")
		}
	})
}

// mustHaveWaited fails the test unless a drained node waited for a volume, which
// was then gone: the observer judges that.
func mustHaveWaited(t *testing.T, r *Rotatord) {
	t.Helper()
	for _, e := range r.Events(t, "node-blocked") {
		if e.Code == "volumes" && strings.Contains(e.Message, "of claim shop/data-db-") {
			return
		}
	}
	t.Error("no event says that a node waited for a volume")
}
