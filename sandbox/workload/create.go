// Package workload fills a cluster: with the manifests of a file, or with a demo
// made by seed and size.
package workload

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// namespaceTimeout bounds the wait for a new namespace's service account.
const namespaceTimeout = 30 * time.Second

// Create makes the objects in the given order, and nothing else: a namespace
// that they need must be among them or exist. It fails at the first object that
// the API server refuses, with those before it made.
func Create(ctx context.Context, config *rest.Config, objects []runtime.Object) error {
	// The dynamic client speaks JSON only.
	config = rest.CopyConfig(config)
	config.ContentConfig = rest.ContentConfig{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("workload: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("workload: %w", err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	for _, o := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return fmt.Errorf("workload: %w", err)
		}
		u := &unstructured.Unstructured{Object: content}
		if err := create(ctx, dyn, mapper, u); err != nil {
			return fmt.Errorf("workload: creating %s %s: %w", u.GetKind(), qualified(u), err)
		}
		if u.GetKind() == "Namespace" {
			if err := awaitServiceAccount(ctx, client, u.GetName()); err != nil {
				return err
			}
		}
	}
	return nil
}

func create(ctx context.Context, dyn dynamic.Interface, mapper meta.RESTMapper, u *unstructured.Unstructured) error {
	kind := u.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		_, err = dyn.Resource(mapping.Resource).Create(ctx, u, options)
		return err
	}
	namespace := u.GetNamespace()
	if namespace == "" {
		namespace = corev1.NamespaceDefault
	}
	_, err = dyn.Resource(mapping.Resource).Namespace(namespace).Create(ctx, u, options)
	return err
}

// awaitServiceAccount waits until pods can be made in a new namespace. Without
// it the workload controllers meet refusals and back off for seconds.
func awaitServiceAccount(ctx context.Context, client kubernetes.Interface, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, namespaceTimeout)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("workload: service account of namespace %s: %w", namespace, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("workload: namespace %s has no service account: %w", namespace, ctx.Err())
		case <-ticker.C:
		}
	}
}

func qualified(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetName()
	}
	return u.GetNamespace() + "/" + u.GetName()
}
