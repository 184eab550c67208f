package aws

import "context"

// Kubernetes is what EKS does in the API server of a cluster to manage its node groups. Each method is one attempt that
// is bounded by its context and may fail; EKS comes back to it.
type Kubernetes interface {
	// Nodes are the nodes of the cluster by the id of their instance.
	Nodes(ctx context.Context) (map[string]Node, error)
	// SetUnschedulable cordons a node and excludes it from external load balancers (the label
	// node.kubernetes.io/exclude-from-external-load-balancers), or undoes both. A node that is gone is no error.
	SetUnschedulable(ctx context.Context, node string, on bool) error
	// Evict asks for the eviction of every pod of the node that a drain evicts: not those of DaemonSets, static or ended
	// ones. It answers the pods that are still there, NAMESPACE/NAME with what keeps each, sorted; none: drained.
	Evict(ctx context.Context, node string) (left []string, err error)
}

// Node is what EKS wants to know of a node.
type Node struct {
	Name string
	// Ready says that the node is Ready and open for pods, a cordon aside.
	Ready         bool
	Unschedulable bool
}
