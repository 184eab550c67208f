// Package workload fills a cluster: with the manifests of a file, or with a demo
// made by seed and size.
package workload

import (
	"cmp"
	"context"
	"fmt"
	"sync"
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

// creators is how many objects are created at once: what keeps two cores busy.
const creators = 8

// Create makes the objects, and nothing else: a namespace that they need must be
// among them or exist. Namespaced objects that follow each other are made at
// once, in no order; any other object is made alone, after those before it. Create
// stops at the first object that the API server refuses, with others made.
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

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	slots := make(chan struct{}, creators)
	for _, o := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return fmt.Errorf("workload: %w", err)
		}
		u := &unstructured.Unstructured{Object: content}
		mapping, err := mapper.RESTMapping(u.GroupVersionKind().GroupKind(), u.GroupVersionKind().Version)
		if err != nil {
			return fmt.Errorf("workload: %s %s: %w", u.GetKind(), qualified(u), err)
		}
		slots <- struct{}{}
		work := func() {
			defer func() { <-slots }()
			if err := create(ctx, client, dyn, mapping, u); err != nil {
				cancel(fmt.Errorf("workload: creating %s %s: %w", u.GetKind(), qualified(u), err))
			}
		}
		if mapping.Scope.Name() == meta.RESTScopeNameRoot {
			group.Wait()
			work()
		} else {
			group.Go(work)
		}
	}
	group.Wait()
	return context.Cause(ctx)
}

func create(ctx context.Context, client kubernetes.Interface, dyn dynamic.Interface, mapping *meta.RESTMapping, u *unstructured.Unstructured) error {
	options := metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	resource := dynamic.ResourceInterface(dyn.Resource(mapping.Resource))
	if mapping.Scope.Name() != meta.RESTScopeNameRoot {
		resource = dyn.Resource(mapping.Resource).Namespace(cmp.Or(u.GetNamespace(), corev1.NamespaceDefault))
	}
	if _, err := resource.Create(ctx, u, options); err != nil {
		return err
	}
	if u.GetKind() == "Namespace" {
		return awaitServiceAccount(ctx, client, u.GetName())
	}
	return nil
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
			return fmt.Errorf("its service account: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it has no service account: %w", ctx.Err())
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
