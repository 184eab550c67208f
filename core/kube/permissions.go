package kube

import (
	"cmp"
	"context"
	"slices"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// Permission is something that rotator's user must be allowed to do.
type Permission struct {
	Verb, Group, Resource, Subresource string
	Namespace                          string // empty: in all of them
}

// String is the permission as one would ask `kubectl auth can-i` for it:
// "create pods/eviction".
func (p Permission) String() string {
	s := p.Verb + " " + qualified(p.Resource, p.Group)
	if p.Subresource != "" {
		s += "/" + p.Subresource
	}
	if p.Namespace != "" {
		s += " in namespace " + p.Namespace
	}
	return s
}

// Needs says which permissions a rotation needs. The zero value: those that
// every rotation does.
type Needs struct {
	Volumes, Autoscalers bool // as in Options
	MoveWorkloads        bool // restarts Deployments, or gives them a replica more
	DeletePods           bool // where a drain may delete what cannot be evicted
	DeleteNodes          bool // where replacements come up under the names of nodes
	Namespace            string
	Journal              bool // it is in Namespace, where the lock is in any case
}

// Permissions are all that a rotation with these needs makes use of, and no
// others. A namespace that is missing is made, which takes one more; it is not
// among them, since it is enough to make it once by hand.
func (n Needs) Permissions() []Permission {
	var list []Permission
	add := func(namespace, group, resource, subresource string, verbs ...string) {
		for _, v := range verbs {
			list = append(list, Permission{Verb: v, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace})
		}
	}
	add("", "", "nodes", "", "get", "list", "watch", "patch")
	add("", "", "pods", "", "get", "list", "watch")
	add("", "", "pods", "eviction", "create")
	add("", "apps", "replicasets", "", "list", "watch")
	add("", "apps", "statefulsets", "", "list", "watch")
	add("", "apps", "daemonsets", "", "list", "watch")
	add("", "apps", "deployments", "", "list", "watch")
	add("", "policy", "poddisruptionbudgets", "", "list", "watch")
	if n.Volumes {
		add("", "", "persistentvolumeclaims", "", "list", "watch")
		add("", "storage.k8s.io", "volumeattachments", "", "list", "watch")
	}
	if n.Autoscalers {
		add("", "autoscaling", "horizontalpodautoscalers", "", "list", "watch")
	}
	if n.MoveWorkloads {
		add("", "apps", "deployments", "", "get", "patch")
	}
	if n.DeleteNodes {
		add("", "", "nodes", "", "delete")
	}
	if n.DeletePods {
		add("", "", "pods", "", "delete")
	}
	add(n.Namespace, "coordination.k8s.io", "leases", "", "get", "create", "update")
	if n.Journal {
		add(n.Namespace, "", "configmaps", "", "get", "list", "create", "update", "deletecollection")
	}
	return list
}

// reviewsAtOnce bounds how many permissions are asked about at the same time.
const reviewsAtOnce = 8

// Missing asks the API server which of the permissions this user lacks, in the
// order given. It asks about each (SelfSubjectAccessReview): the list of all
// rules that the API server could give leaves out what webhooks decide, as on
// EKS. An error says that it is not known; the permission then shows where it is
// needed.
func (c *Cluster) Missing(ctx context.Context, list []Permission) ([]Permission, error) {
	ctx, cancel := c.call(ctx, callTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		refused = map[Permission]bool{}
		failed  error
		wg      sync.WaitGroup
	)
	slots := make(chan struct{}, reviewsAtOnce)
	for _, p := range list {
		slots <- struct{}{} // each call ends within callTimeout
		wg.Go(func() {
			defer func() { <-slots }()
			allowed, err := c.may(ctx, p)
			mu.Lock()
			defer mu.Unlock()
			failed = cmp.Or(failed, err)
			if err == nil && !allowed {
				refused[p] = true
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, classify(failed, "asking which permissions rotator's user has", "create selfsubjectaccessreviews.authorization.k8s.io")
	}
	return slices.DeleteFunc(slices.Clone(list), func(p Permission) bool { return !refused[p] }), nil
}

func (c *Cluster) may(ctx context.Context, p Permission) (bool, error) {
	review := authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: p.Namespace, Verb: p.Verb, Group: p.Group,
			Resource: p.Resource, Subresource: p.Subresource}}}
	var answer authorizationv1.SelfSubjectAccessReview
	err := c.access.Post().Resource("selfsubjectaccessreviews").Body(&review).Do(ctx).Into(&answer)
	return answer.Status.Allowed, err
}
