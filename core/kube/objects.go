package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/rotatord/rotator/core/journal"
)

const (
	// stateTimeout bounds one call of the journal or the lock. The API server
	// answers in milliseconds; beyond this its answer is given up and looked for.
	stateTimeout = 10 * time.Second
	// pageSize of lists: journals have chunks of up to 640 KiB.
	pageSize = 100
)

// Objects keeps the journal's objects as ConfigMaps of one namespace, which it
// makes where it is missing and that is allowed. Calls are made once: what may
// pass by itself is a *journal.TransientError.
//
// The default namespace is not kube-system on purpose: the permission to write
// ConfigMaps there is, on EKS, the permission to change aws-auth, and with it
// to become the cluster's administrator.
type Objects struct {
	cluster   *Cluster
	namespace string
}

var _ journal.Objects = (*Objects)(nil)

// Objects is the port of the journal in this cluster.
func (c *Cluster) Objects(namespace string) *Objects {
	return &Objects{cluster: c, namespace: namespace}
}

// Where implements journal.Objects.
func (o *Objects) Where() string { return "namespace " + o.namespace }

// Get implements journal.Objects.
func (o *Objects) Get(ctx context.Context, name string) (journal.Object, error) {
	ctx, cancel := o.cluster.call(ctx, stateTimeout)
	defer cancel()
	var m corev1.ConfigMap
	err := o.cluster.records.Get().Namespace(o.namespace).Resource("configmaps").Name(name).MaxRetries(0).Do(ctx).Into(&m)
	if err != nil {
		return journal.Object{}, o.explain("get", name, err)
	}
	return fromConfigMap(&m), nil
}

// Create implements journal.Objects.
func (o *Objects) Create(ctx context.Context, obj journal.Object) (string, error) {
	create := func() (*corev1.ConfigMap, error) {
		ctx, cancel := o.cluster.call(ctx, stateTimeout)
		defer cancel()
		var m corev1.ConfigMap
		err := o.cluster.records.Post().Namespace(o.namespace).Resource("configmaps").
			Param("fieldManager", fieldManager).Body(o.toConfigMap(obj)).MaxRetries(0).Do(ctx).Into(&m)
		return &m, err
	}
	m, err := create()
	if apierrors.IsNotFound(err) { // only the namespace can be what was not found
		if err := o.cluster.makeNamespace(ctx, o.namespace); err != nil {
			return "", err
		}
		m, err = create()
	}
	if err != nil {
		return "", o.explain("create", obj.Name, err)
	}
	return m.ResourceVersion, nil
}

// Update implements journal.Objects.
func (o *Objects) Update(ctx context.Context, obj journal.Object) (string, error) {
	ctx, cancel := o.cluster.call(ctx, stateTimeout)
	defer cancel()
	var m corev1.ConfigMap
	err := o.cluster.records.Put().Namespace(o.namespace).Resource("configmaps").Name(obj.Name).
		Param("fieldManager", fieldManager).Body(o.toConfigMap(obj)).MaxRetries(0).Do(ctx).Into(&m)
	if err != nil {
		return "", o.explain("update", obj.Name, err)
	}
	return m.ResourceVersion, nil
}

// List implements journal.Objects.
func (o *Objects) List(ctx context.Context, with map[string]string) ([]journal.Object, error) {
	var list []journal.Object
	next := ""
	for {
		page, err := o.page(ctx, with, next)
		if err != nil {
			return nil, o.explain("list", "", err)
		}
		for i := range page.Items {
			list = append(list, fromConfigMap(&page.Items[i]))
		}
		if next = page.Continue; next == "" {
			return list, nil
		}
	}
}

func (o *Objects) page(ctx context.Context, with map[string]string, next string) (*corev1.ConfigMapList, error) {
	ctx, cancel := o.cluster.call(ctx, stateTimeout)
	defer cancel()
	var page corev1.ConfigMapList
	err := o.cluster.records.Get().Namespace(o.namespace).Resource("configmaps").
		Param("labelSelector", labels.SelectorFromSet(with).String()).
		Param("limit", fmt.Sprint(pageSize)).Param("continue", next).MaxRetries(0).Do(ctx).Into(&page)
	return &page, err
}

// Delete implements journal.Objects.
func (o *Objects) Delete(ctx context.Context, with map[string]string) error {
	if len(with) == 0 {
		return errors.New("delete ConfigMaps without a label: that would be all of the namespace")
	}
	ctx, cancel := o.cluster.call(ctx, stateTimeout)
	defer cancel()
	err := o.cluster.records.Delete().Namespace(o.namespace).Resource("configmaps").
		Param("labelSelector", labels.SelectorFromSet(with).String()).
		Body(&metav1.DeleteOptions{}).MaxRetries(0).Do(ctx).Error()
	if err != nil {
		return o.explain("deletecollection", "", err)
	}
	return nil
}

func (o *Objects) toConfigMap(obj journal.Object) *corev1.ConfigMap {
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: obj.Name, Labels: obj.Labels, ResourceVersion: obj.Version},
		BinaryData: obj.Data,
	}
	if obj.Immutable {
		m.Immutable = &obj.Immutable
	}
	return m
}

func fromConfigMap(m *corev1.ConfigMap) journal.Object {
	return journal.Object{Name: m.Name, Labels: m.Labels, Data: m.BinaryData, Version: m.ResourceVersion,
		Immutable: m.Immutable != nil && *m.Immutable}
}

// explain turns an error of the API into one of journal.Objects.
func (o *Objects) explain(verb, name string, err error) error {
	what := "ConfigMap " + o.namespace + "/" + name
	if name == "" {
		what = "ConfigMaps of namespace " + o.namespace
	}
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w", what, journal.ErrNoObject)
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return fmt.Errorf("%s: %w", what, journal.ErrConflict)
	case apierrors.IsForbidden(err):
		return forbiddenState(o.namespace, verb+" configmaps", err)
	case mayPass(err):
		return &journal.TransientError{Err: fmt.Errorf("%s %s: %w", verb, what, err)}
	}
	return fmt.Errorf("%s %s: %w", verb, what, err)
}

// mayPass tells whether the same call may succeed later. After such an error
// it is not known whether the call took effect.
func mayPass(err error) bool {
	switch n := code(err); {
	case n == 0:
		return true // no answer: the network, a deadline, a server that goes down
	case n == http.StatusUnauthorized, n == http.StatusRequestTimeout, n == http.StatusTooManyRequests:
		return true // credentials are fetched anew for the next call
	default:
		return n >= 500
	}
}

// makeNamespace makes the namespace of the journal and the lock.
func (c *Cluster) makeNamespace(ctx context.Context, name string) error {
	ctx, cancel := c.call(ctx, stateTimeout)
	defer cancel()
	err := c.records.Post().Resource("namespaces").Param("fieldManager", fieldManager).
		Body(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}).MaxRetries(0).Do(ctx).Error()
	switch {
	case err == nil, apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsForbidden(err):
		return fault(CodeForbidden, err, "make it once: `kubectl create namespace "+name+"`; or name another with --journal-namespace, the same for everybody who rotates this cluster",
			"namespace %s, where the journal and the lock are kept, does not exist, and rotator's user may not create it", name)
	case mayPass(err):
		return &journal.TransientError{Err: fmt.Errorf("create namespace %s: %w", name, err)}
	}
	return fmt.Errorf("create namespace %s: %w", name, err)
}

// forbiddenState is the error of a permission that the journal or the lock
// needs.
func forbiddenState(namespace, permission string, err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return fault(CodeForbidden, err, "wait until it is gone, and run again",
			"namespace %s, where the journal and the lock are kept, is being deleted", namespace)
	}
	return fault(CodeForbidden, err,
		"grant rotator's user a Role in that namespace with get, list, create, update and deletecollection on configmaps, and get, create and update on leases.coordination.k8s.io; deploy/kubernetes/rbac.yaml has it",
		"the permission to %s in namespace %s is missing: %v", permission, namespace, err)
}
