// Package model holds the plain values that the core reasons about: node
// groups and instances as a driver reports them, nodes, pods, workloads and
// PodDisruptionBudgets as the cluster reports them.
//
// Values here know no cloud, no client and no clock. They are trimmed to what
// decisions need, so that an inventory of 5,000 nodes and 150,000 pods fits in
// memory; they are compared by value and never changed in place once shared.
package model

// Inventory is one consistent look at a cluster and at its provider.
type Inventory struct {
	Groups    []NodeGroup
	Instances []Instance
	Nodes     []Node
	Pods      []Pod
	Workloads []Workload
	Budgets   []Budget
	// Deployments own the ReplicaSets among Workloads; Autoscalers their counts.
	Deployments []Deployment
	Autoscalers []Autoscaler
	// Attachments and Claims are those of persistent volumes.
	Attachments []Attachment
	Claims      []Claim
	// Releases compare the groups with the release that the rotation is asked to
	// stage; none: it stages nothing.
	Releases []GroupRelease
}
