// Package kops rotates the nodes of a cluster that kops made, control plane
// included. It implements the driver interfaces of drivers/sdk on the kops
// library: the state store is read by kops' own client, and kops' own cloud
// code finds the instances and says which of them are outdated.
//
// The driver is crash-only. Which instances are surge is in the tag that kops
// itself puts on an instance that it detaches, so that either tool goes on with
// what the other left. Which rotation holds a group, and what it changed, is in
// the state store (see holdRecord), where `kops update cluster` does not look.
//
// Instance groups go by their own names: NodeGroup.ID is an instance group's
// name, not that of the cloud's group behind it.
package kops
