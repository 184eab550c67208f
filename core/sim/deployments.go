package sim

import (
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// patchWorkload brings a Deployment to a goal, as the cluster port does.
func (w *World) patchWorkload(k model.WorkloadKey, _ *engine.WorkloadPatch) *engine.Error {
	return notFound(k.Kind, k.Namespace+"/"+k.Name)
}
