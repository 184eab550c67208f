// Package controlplane runs a real Kubernetes control plane inside this
// process: etcd, kube-apiserver, kube-controller-manager and kube-scheduler,
// each the upstream code. It listens on loopback only, and everything is gone
// when it stops.
package controlplane
