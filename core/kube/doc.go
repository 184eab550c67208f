// Package kube is the port to Kubernetes. It watches nodes, pods, workloads
// and PodDisruptionBudgets, trims each object to the model's value as it comes
// off the wire, and delivers what changed; and it performs the changes that the
// engine asks for, each stated as a goal.
//
// It keeps one copy of the trimmed values and no copy of the API's objects, so
// that a cluster of 5,000 nodes and 150,000 pods fits beside everything else.
// It decides nothing.
package kube
