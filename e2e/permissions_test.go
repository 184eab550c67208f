//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Under exactly the permissions of deploy/kubernetes/rbac.yaml a whole rotation
// works; without one of them it is refused before anything is touched.
func TestPermissions(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	m := readManifest(t, filepath.Join("..", "deploy", "kubernetes", "rbac.yaml"))
	m.apply(t, s.Kube(t))
	kubeconfig := m.kubeconfig(t, s)
	run := func(t *testing.T, command string) Result {
		r := s.rotatord(t).With("KUBECONFIG=" + kubeconfig)
		// The journal in the cluster, as by default.
		if i := slices.Index(r.Base, "--journal-dir"); i >= 0 {
			r.Base = slices.Delete(r.Base, i, i+2)
		}
		return r.Run(t, command, "--group", group)
	}
	s.PublishImage(t, group)
	before := s.State(t)
	for _, tc := range []struct {
		name     string
		resource string
		verbs    []string // that are taken away
		code     int
		words    []string
	}{
		{"evictions", "pods/eviction", []string{"create"}, exitRefused, []string{"may not create pods/eviction", "rbac.yaml"}},
		{"changes of nodes", "nodes", []string{"patch"}, exitRefused, []string{"may not patch nodes", "rbac.yaml"}},
		{"the lock", "leases", []string{"create", "update"}, exitRefused, []string{
			"create leases.coordination.k8s.io in namespace rotator-system", "update leases.coordination.k8s.io in namespace rotator-system", "rbac.yaml"}},
		{"the journal", "configmaps", []string{"get", "list", "create", "update", "deletecollection"}, exitRefused, []string{
			"create configmaps in namespace rotator-system", "update configmaps in namespace rotator-system", "rbac.yaml"}},
		{"looking at pods", "pods", []string{"list", "watch"}, exitFailed, []string{"list and watch pods", "rbac.yaml"}},
		{"the deletion of pods, which nobody asked for", "pods", []string{"delete"}, exitDone, nil},
	} {
		t.Run("without "+tc.name, func(t *testing.T) {
			m.grant(t, s.Kube(t), tc.resource, tc.verbs)
			defer m.grant(t, s.Kube(t), "", nil)
			if tc.code == exitDone { // the plan says that nothing is missing
				if res := run(t, "plan").MustExit(t, exitDone); strings.Contains(res.Text(), "may not") {
					t.Errorf("a permission that is not needed is missed:\n%s", res.Text())
				}
				return
			}
			s.Stats(t, true)
			run(t, "run").MustExit(t, tc.code, tc.words...)
			if got := s.Stats(t, false); got.Changing != 0 {
				t.Errorf("%d calls changed something at the provider: %+v", got.Changing, got.Calls)
			}
			s.State(t).MustEqual(t, before)
			if tc.code == exitRefused { // who may only look sees the plan, and what it takes
				run(t, "plan").MustExit(t, exitDone, tc.words...)
			}
		})
	}
	t.Run("with all of them", func(t *testing.T) {
		res := run(t, "run").MustExit(t, exitDone)
		if strings.Contains(strings.ToLower(res.Text()), "forbidden") {
			t.Errorf("something was forbidden on the way:\n%s", res.Text())
		}
		after := s.State(t)
		after.MustBeTidy(t, before)
		after.MustHaveReplaced(t, before, group)
		s.MustHaveKeptBudgets(t)
		run(t, "run").MustExit(t, exitDone, "nothing to do")
	})
}

// manifest is what the objects of a file come to.
type manifest struct {
	namespace *corev1.Namespace
	account   *corev1.ServiceAccount
	cluster   *rbacv1.ClusterRole
	role      *rbacv1.Role
	bindings  []apiruntime.Object
	// What grant took away last.
	lately string
	verbs  []string
}

func readManifest(t *testing.T, path string) *manifest {
	t.Helper()
	m := &manifest{}
	for _, doc := range documents(t, path) {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", path, err, doc)
		}
		switch o := obj.(type) {
		case *corev1.Namespace:
			m.namespace = o
		case *corev1.ServiceAccount:
			m.account = o
		case *rbacv1.ClusterRole:
			m.cluster = o
		case *rbacv1.Role:
			m.role = o
		case *rbacv1.ClusterRoleBinding, *rbacv1.RoleBinding:
			m.bindings = append(m.bindings, o)
		default:
			t.Fatalf("%s: a %T is not expected", path, obj)
		}
	}
	return m
}

// documents are the YAML documents of a file.
func documents(t *testing.T, path string) (docs [][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b))); ; {
		doc, err := d.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
}

// apply makes the objects until the test ends; another test's journal may have
// made the namespace, which stays.
func (m *manifest) apply(t *testing.T, c kubernetes.Interface) {
	t.Helper()
	ctx := t.Context()
	if _, err := c.CoreV1().Namespaces().Create(ctx, m.namespace, metav1.CreateOptions{}); err != nil && !strings.Contains(err.Error(), "already exists") {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, opts := context.Background(), metav1.DeleteOptions{}
		errs := []error{
			c.CoreV1().ServiceAccounts(m.account.Namespace).Delete(ctx, m.account.Name, opts),
			c.RbacV1().ClusterRoles().Delete(ctx, m.cluster.Name, opts),
			c.RbacV1().Roles(m.role.Namespace).Delete(ctx, m.role.Name, opts),
		}
		for _, b := range m.bindings {
			switch b := b.(type) {
			case *rbacv1.ClusterRoleBinding:
				errs = append(errs, c.RbacV1().ClusterRoleBindings().Delete(ctx, b.Name, opts))
			case *rbacv1.RoleBinding:
				errs = append(errs, c.RbacV1().RoleBindings(b.Namespace).Delete(ctx, b.Name, opts))
			}
		}
		if err := errors.Join(errs...); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	_, err := c.CoreV1().ServiceAccounts(m.account.Namespace).Create(ctx, m.account, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RbacV1().ClusterRoles().Create(ctx, m.cluster, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RbacV1().Roles(m.role.Namespace).Create(ctx, m.role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, b := range m.bindings {
		switch b := b.(type) {
		case *rbacv1.ClusterRoleBinding:
			_, err = c.RbacV1().ClusterRoleBindings().Create(ctx, b, metav1.CreateOptions{})
		case *rbacv1.RoleBinding:
			_, err = c.RbacV1().RoleBindings(b.Namespace).Create(ctx, b, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// grant gives what the manifest does, without some verbs of one resource, and
// waits until the API server answers by it.
func (m *manifest) grant(t *testing.T, c kubernetes.Interface, resource string, without []string) {
	t.Helper()
	less := func(rules []rbacv1.PolicyRule) (out []rbacv1.PolicyRule) {
		for _, r := range rules {
			if slices.Contains(r.Resources, resource) {
				r.Verbs = slices.DeleteFunc(slices.Clone(r.Verbs), func(v string) bool { return slices.Contains(without, v) })
			}
			if len(r.Verbs) > 0 {
				out = append(out, r)
			}
		}
		return out
	}
	cluster, role := m.cluster.DeepCopy(), m.role.DeepCopy()
	cluster.Rules, role.Rules = less(cluster.Rules), less(role.Rules)
	if _, err := c.RbacV1().ClusterRoles().Update(t.Context(), cluster, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RbacV1().Roles(role.Namespace).Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Without a resource, all is granted again: one that was taken away tells.
	user := "system:serviceaccount:" + m.account.Namespace + ":" + m.account.Name
	want := resource == ""
	if want {
		resource, without = m.lately, m.verbs
	}
	m.lately, m.verbs = resource, without
	for _, r := range append(slices.Clone(m.cluster.Rules), m.role.Rules...) {
		if !slices.Contains(r.Resources, resource) {
			continue
		}
		for _, v := range without {
			if slices.Contains(r.Verbs, v) {
				eventually(t, "the API server to know of the permission to "+v+" "+resource, func() bool {
					return may(t, c, user, m.account.Namespace, r.APIGroups[0], resource, v) == want
				})
			}
		}
	}
}

// may asks for another user.
func may(t *testing.T, c kubernetes.Interface, user, namespace, group, resource, verb string) bool {
	t.Helper()
	name, sub, _ := strings.Cut(resource, "/")
	answer, err := c.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: name, Subresource: sub}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// kubeconfig writes one for the manifest's service account.
func (m *manifest) kubeconfig(t *testing.T, s *Sandbox) string {
	t.Helper()
	token, err := s.Kube(t).CoreV1().ServiceAccounts(m.account.Namespace).CreateToken(t.Context(), m.account.Name,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.LoadFromFile(s.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.AuthInfos = map[string]*clientcmdapi.AuthInfo{"rotator": {Token: token.Status.Token}}
	cfg.Contexts[cfg.CurrentContext].AuthInfo = "rotator"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	return path
}
