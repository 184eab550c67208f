package kube

import (
	"log/slog"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rotatord/rotator/core/runtime"
)

// Cluster is a connection to one API server. Connect makes it. It is safe for
// concurrent use.
type Cluster struct {
	server string
	log    *slog.Logger
	helper *clientcmdapi.ExecConfig // the kubeconfig's credential helper; may be nil
	// byDriver: address and credentials are the driver's, and no kubeconfig is read.
	byDriver bool

	core, apps, policy *rest.RESTClient
	storage, scaling   *rest.RESTClient
	access             *rest.RESTClient // what may we do
	records, leases    *rest.RESTClient // of the journal and the lock

	volumes, autoscaling bool // what is watched beside the rest
	clock                *clock

	*feed
}

var _ runtime.Cluster = (*Cluster)(nil)

// Server is the API server's address.
func (c *Cluster) Server() string { return c.server }
