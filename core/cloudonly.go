package core

import (
	"context"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
)

// noCluster stands in where there is no API server to talk to: a rotation by the
// provider alone (plan.Spec.CloudOnly). It shows nothing and can do nothing.
type noCluster struct{ changes chan engine.Input }

var _ runtime.Cluster = noCluster{}

func (noCluster) Start(context.Context) error    { return nil }
func (noCluster) Inventory() model.Inventory     { return model.Inventory{} }
func (c noCluster) Changes() <-chan engine.Input { return c.changes }
func (noCluster) CheckAPI(context.Context) error { return errNoCluster }
func (noCluster) PatchNode(context.Context, string, engine.NodePatch) error {
	return errNoCluster
}
func (noCluster) PatchWorkload(context.Context, model.WorkloadKey, engine.WorkloadPatch) error {
	return errNoCluster
}
func (noCluster) Evict(context.Context, engine.PodRef, *int64) error     { return errNoCluster }
func (noCluster) DeletePod(context.Context, engine.PodRef, *int64) error { return errNoCluster }
func (noCluster) DeleteNode(context.Context, string, string) error       { return errNoCluster }

var errNoCluster = &engine.Error{Code: engine.ErrUnsupported,
	Message: "the rotation was asked to do without the cluster's API server (cloudOnly)"}
