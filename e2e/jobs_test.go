//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
)

// The manifests of deploy/kubernetes are accepted by an API server as they are,
// without an unknown field, and so are the pods of their Jobs, in a namespace that
// enforces the restricted Pod Security Standard. Nothing else is kept.
func TestManifestsDryRun(t *testing.T) {
	s := plain(t)
	c := s.Kube(t)
	m := readManifest(t, deployed("rbac.yaml"))
	m.apply(t, c) // what the others are for: a namespace and an account
	config, err := clientcmd.BuildConfigFromFlags("", s.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"rbac.yaml", "job.yaml", "cronjob.yaml", "fleet.yaml"} {
		for _, doc := range documents(t, deployed(file)) {
			var obj unstructured.Unstructured
			if err := yaml.Unmarshal(doc, &obj.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			plural, _ := meta.UnsafeGuessKindToResource(obj.GroupVersionKind())
			// As `kubectl apply --server-side --dry-run=server --validate=strict`.
			_, err := client.Resource(plural).Namespace(obj.GetNamespace()).Patch(t.Context(), obj.GetName(), types.ApplyPatchType, doc,
				metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "e2e", Force: new(true), FieldValidation: metav1.FieldValidationStrict})
			if err != nil {
				t.Errorf("%s: %s %s: %v", file, obj.GetKind(), obj.GetName(), err)
			}
		}
	}

	// Under another name, because rotatord makes the namespace itself where it is missing.
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "e2e-restricted", Labels: m.namespace.Labels}}
	if namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Fatalf("the namespace enforces nothing: labels %v", namespace.Labels)
	}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := m.account.DeepCopy()
	account.Namespace = namespace.Name
	if _, err := c.CoreV1().ServiceAccounts(namespace.Name).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"job.yaml", "cronjob.yaml", "fleet.yaml"} {
		template := readJob(t, deployed(file)).spec.Template
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "rotation", Labels: template.Labels}, Spec: template.Spec}
		if _, err := c.CoreV1().Pods(namespace.Name).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			t.Errorf("%s: a pod of its Job: %v", file, err)
		}
	}
}

// The rotation files in the manifests are valid as they are, and the CronJob begins
// when the window of its rotation opens.
func TestManifestsConfig(t *testing.T) {
	r := &Rotatord{Dir: t.TempDir(), Env: cleanEnviron()}
	for name, text := range readJob(t, deployed("fleet.yaml")).config.Data {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.Exec(t, "config", "validate", "--fleet", "fleet.yaml").MustExit(t, exitDone)
	for _, file := range []string{"job.yaml", "cronjob.yaml"} {
		j := readJob(t, deployed(file))
		path := filepath.Join(r.Dir, file)
		if err := os.WriteFile(path, []byte(j.config.Data["rotation.yaml"]), 0o600); err != nil {
			t.Fatal(err)
		}
		r.Exec(t, "config", "validate", path).MustExit(t, exitDone)
		if j.cron == nil {
			continue
		}
		var rotation struct {
			Window struct{ Start, TimeZone string }
		}
		if err := yaml.Unmarshal([]byte(j.config.Data["rotation.yaml"]), &rotation); err != nil {
			t.Fatal(err)
		}
		if w := rotation.Window; w.Start != j.cron.Schedule || j.cron.TimeZone == nil || w.TimeZone != *j.cron.TimeZone {
			t.Errorf("%s: the CronJob begins at %q, the window of its rotation is %+v", file, j.cron.Schedule, w)
		}
	}
}

// What the Job's pod would do, with its exact command and under exactly the rights
// of its account: rotate, end resumable when it is told to go, and go on in the
// next pod, which finds nothing of the first but what is in the cluster.
func TestJobRotates(t *testing.T) {
	s := plain(t)
	group := groupName(s, 3)
	m := readManifest(t, deployed("rbac.yaml"))
	m.apply(t, s.Kube(t))
	j := readJob(t, deployed("job.yaml"))
	if j.spec.Template.Spec.ServiceAccountName != m.account.Name || j.namespace != m.account.Namespace {
		t.Fatalf("the Job's account is %s/%s, rbac.yaml's is %s/%s", j.namespace, j.spec.Template.Spec.ServiceAccountName, m.account.Namespace, m.account.Name)
	}
	awaitAllowed(t, s.Kube(t), m)
	// What a user fills in: the cluster, and here what "latest" is.
	j.fill(t, "my-cluster", s.Name)
	j.fill(t, "name: eks", fmt.Sprintf("name: eks\n  config: {releases: {%s: \"ssm:%s\"}}\nselect: {groups: [%s]}", group, publishRelease(t, s), group))
	kubeconfig := m.kubeconfig(t, s)
	before := s.State(t)
	s.Verify(t)

	first := j.pod(t, s, kubeconfig)
	p := first.start(t)
	p.Await("node-replaced")
	p.Signal(syscall.SIGTERM)
	asked := time.Now()
	res := p.Wait().MustExit(t, exitStopped)
	if took, grace := time.Since(asked), time.Duration(*j.spec.Template.Spec.TerminationGracePeriodSeconds)*time.Second; took > grace {
		t.Errorf("told to stop, it took %s; after %s it is killed", took.Round(time.Second), grace)
	}
	if a := j.onExit(int32(res.Code)); a != "" {
		t.Errorf("the Job does not try again after exit code %d: %s", res.Code, a)
	}
	for _, code := range []int32{exitUsage, exitRefused, exitGate} {
		if a := j.onExit(code); a != batchv1.PodFailurePolicyActionFailJob {
			t.Errorf("the Job tries again after exit code %d, which a person must look at", code)
		}
	}
	first.mustBeClean()

	second := j.pod(t, s, kubeconfig)
	if res := second.start(t).Wait().MustExit(t, exitDone); strings.Contains(strings.ToLower(res.Text()), "forbidden") {
		t.Errorf("something was forbidden on the way:\n%s", res.Text())
	}
	second.mustBeClean()
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
	s.MustHaveKeptBudgets(t)
}

// The Jobs of a fleet have a pod for each of its clusters, and each pod's exact
// command rotates its own: here all clusters are one, so that the first pod finds
// something to do and the others find it done.
func TestFleetJobsRotate(t *testing.T) {
	s := plain(t)
	group := groupName(s, 3)
	parameter := publishRelease(t, s)
	before := s.State(t)
	j := readJob(t, deployed("fleet.yaml"))
	var fleet struct {
		Waves []struct {
			Name     string
			Clusters []struct{ Name string }
		}
	}
	if err := yaml.Unmarshal([]byte(j.config.Data["fleet.yaml"]), &fleet); err != nil {
		t.Fatal(err)
	}
	if len(fleet.Waves) != len(j.all) {
		t.Fatalf("%d waves, %d Jobs", len(fleet.Waves), len(j.all))
	}
	j.fill(t, "name: eks", fmt.Sprintf("name: eks\n  config: {releases: {%s: \"ssm:%s\"}}\nselect: {groups: [%s]}\nlock: {duration: 3s}", group, parameter, group))
	for _, c := range []string{"staging", "eu-1", "eu-2"} {
		j.config.Data["fleet.yaml"] = strings.Replace(j.config.Data["fleet.yaml"], "cluster: "+c, "cluster: "+s.Name, 1)
	}
	replaced := 3
	for i, wave := range fleet.Waves {
		j.spec = j.all[i].Spec
		if suspended := j.spec.Suspend != nil && *j.spec.Suspend; suspended != (i > 0) || int(*j.spec.Completions) != len(wave.Clusters) {
			t.Errorf("the Job of wave %s has %d pods and is suspended: %t", wave.Name, *j.spec.Completions, suspended)
		}
		for index, c := range wave.Clusters {
			pod := j.pod(t, s, s.Getenv("KUBECONFIG"))
			for n, a := range pod.args {
				pod.args[n] = strings.ReplaceAll(a, "$(JOB_COMPLETION_INDEX)", fmt.Sprint(index))
			}
			pod.r.Dir = filepath.Join(pod.root, j.spec.Template.Spec.Containers[0].WorkingDir)
			pod.start(t).Wait().MustExit(t, exitDone, fmt.Sprintf("%s: ended with exit code 0, %d node(s) replaced", c.Name, replaced))
			if _, err := os.Stat(filepath.Join(pod.root, "report", c.Name, "summary.json")); err != nil {
				t.Error(err)
			}
			replaced = 0
		}
	}
	for _, code := range []int32{exitUsage, exitRefused, exitGate} {
		if a := j.onExit(code); a != batchv1.PodFailurePolicyActionFailIndex {
			t.Errorf("the Job tries again after exit code %d, which a person must look at", code)
		}
	}
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, group)
}

// deployed is the path of a shipped manifest.
func deployed(file string) string { return filepath.Join("..", "deploy", "kubernetes", file) }

// shippedJob is what a file with a Job or a CronJob comes to.
type shippedJob struct {
	namespace string
	config    *corev1.ConfigMap
	spec      batchv1.JobSpec
	cron      *batchv1.CronJobSpec // nil: a Job
	all       []*batchv1.Job       // of the file; spec is the last's
}

func readJob(t *testing.T, path string) *shippedJob {
	t.Helper()
	j := &shippedJob{}
	for _, doc := range documents(t, path) {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", path, err, doc)
		}
		switch o := obj.(type) {
		case *corev1.ConfigMap:
			j.config = o
		case *batchv1.Job:
			j.namespace, j.spec = o.Namespace, o.Spec
			j.all = append(j.all, o)
		case *batchv1.CronJob:
			j.namespace, j.spec, j.cron = o.Namespace, o.Spec.JobTemplate.Spec, &o.Spec
		default:
			t.Fatalf("%s: a %T is not expected", path, obj)
		}
	}
	if j.config == nil || len(j.spec.Template.Spec.Containers) != 1 || j.config.Namespace != j.namespace {
		t.Fatalf("%s: want a ConfigMap and a Job with one container in one namespace", path)
	}
	return j
}

// fill replaces words of the rotation file.
func (j *shippedJob) fill(t *testing.T, from, to string) {
	t.Helper()
	text := j.config.Data["rotation.yaml"]
	if strings.Count(text, from) != 1 {
		t.Fatalf("the rotation file holds %q other than once:\n%s", from, text)
	}
	j.config.Data["rotation.yaml"] = strings.Replace(text, from, to, 1)
}

// onExit is what the Job does when its container ends with the code; empty: it
// tries again.
func (j *shippedJob) onExit(code int32) batchv1.PodFailurePolicyAction {
	for _, r := range j.spec.PodFailurePolicy.Rules {
		on := r.OnExitCodes
		if on == nil || on.ContainerName != nil && *on.ContainerName != j.spec.Template.Spec.Containers[0].Name {
			continue
		}
		if slices.Contains(on.Values, code) == (on.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
			return r.Action
		}
	}
	return ""
}

// jobPod is the Job's container as a process: a folder stands for its root.
type jobPod struct {
	t      *testing.T
	root   string
	mounts []string // what is mounted, as paths in the pod
	r      *Rotatord
	args   []string
}

// pod makes the folders that are mounted, and fills those of ConfigMaps.
func (j *shippedJob) pod(t *testing.T, s *Sandbox, kubeconfig string) *jobPod {
	t.Helper()
	p := &jobPod{t: t, root: t.TempDir()}
	container := j.spec.Template.Spec.Containers[0]
	if !slices.Equal(container.Command, []string{"rotatord"}) || len(container.Env) > 0 {
		t.Fatalf("the container runs %q with %v", container.Command, container.Env)
	}
	for _, mount := range container.VolumeMounts {
		dir := filepath.Join(p.root, mount.MountPath)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p.mounts = append(p.mounts, mount.MountPath)
		for _, v := range j.spec.Template.Spec.Volumes {
			if v.Name != mount.Name || v.ConfigMap == nil {
				continue
			}
			if v.ConfigMap.Name != j.config.Name {
				t.Fatalf("volume %s is of ConfigMap %s, the file has %s", v.Name, v.ConfigMap.Name, j.config.Name)
			}
			for name, text := range j.config.Data {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, a := range container.Args {
		if slices.ContainsFunc(p.mounts, func(m string) bool { return a == m || strings.HasPrefix(a, m+"/") }) {
			a = filepath.Join(p.root, a)
		}
		p.args = append(p.args, a)
	}
	p.r = (&Rotatord{Dir: p.root, Env: append(cleanEnviron(), s.environ...)}).With(
		"KUBECONFIG="+kubeconfig, "TMPDIR="+filepath.Join(p.root, "tmp"), "HOME=/nonexistent",
		"PATH="+filepath.Dir(executable("rotatord"))) // and nothing else: the image has no shell
	return p
}

func (p *jobPod) start(t *testing.T) *Process {
	t.Helper()
	return p.r.start(t, p.args)
}

// mustBeClean fails the test when anything was written where the pod has no volume
// that can be written, or when a report is missing.
func (p *jobPod) mustBeClean() {
	p.t.Helper()
	err := filepath.WalkDir(p.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch name := strings.TrimPrefix(path, p.root); {
		case name == "/etc/rotator/rotation.yaml", strings.HasPrefix(name, "/report/"), strings.HasPrefix(name, "/tmp/"):
		default:
			p.t.Errorf("%s was written, where the pod's file system is read-only", name)
		}
		return nil
	})
	if err != nil {
		p.t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(p.root, "report", "summary.json")); err != nil {
		p.t.Errorf("no report: %v", err)
	}
	if _, err := os.Stat("/nonexistent"); err == nil {
		p.t.Error("a home folder was made")
	}
}

// awaitAllowed waits until the API server knows what the account may.
func awaitAllowed(t *testing.T, c kubernetes.Interface, m *manifest) {
	t.Helper()
	user := "system:serviceaccount:" + m.account.Namespace + ":" + m.account.Name
	for _, r := range append(slices.Clone(m.cluster.Rules), m.role.Rules...) {
		for _, resource := range r.Resources {
			for _, v := range r.Verbs {
				eventually(t, "the API server to know of the permission to "+v+" "+resource, func() bool {
					return may(t, c, user, m.account.Namespace, r.APIGroups[0], resource, v)
				})
			}
		}
	}
}
