package core

import (
	"context"
	"errors"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// connectKube connects to the API server in the way that the spec names. Where
// that is the driver's, the driver is launched. Errors are *kube.Error, and those
// of openProvider.
func (r *Rotator) connectKube(ctx context.Context, o kube.Options) (*kube.Cluster, error) {
	k := r.opts.Spec.Kube
	o.Kubeconfig, o.Context, o.Log = k.Kubeconfig, k.Context, r.opts.Log
	if k.Access != plan.AccessDriver {
		c, err := kube.Connect(ctx, o)
		var ke *kube.Error
		none := errors.As(err, &ke) && ke.Code == kube.CodeKubeconfigMissing && k.Kubeconfig == ""
		if !none || k.Access == plan.AccessKubeconfig || !r.hasDriver() {
			return c, err
		}
		found, derr := r.connectByDriver(ctx, o)
		if code(derr) == engine.ErrUnsupported {
			return nil, err // the driver has no way of its own: that there is no kubeconfig says more
		}
		return found, derr
	}
	return r.connectByDriver(ctx, o)
}

// hasDriver tells whether there is a driver to ask.
func (r *Rotator) hasDriver() bool {
	return r.opts.Provider != nil || r.opts.Spec.Cluster != "" && (r.opts.Spec.Driver.Name != "" || r.opts.Spec.Driver.Path != "")
}

func (r *Rotator) connectByDriver(ctx context.Context, o kube.Options) (*kube.Cluster, error) {
	if !r.hasDriver() {
		return nil, &kube.Error{Code: kube.CodeKubeconfigMissing, Message: "the way to the API server is to be the driver's, and no cluster and driver are named",
			Fix: "name them with --cluster and --driver, or a kubeconfig with --kubeconfig and --access kubeconfig"}
	}
	if err := r.openProvider(ctx); err != nil {
		return nil, err
	}
	a, ok := r.provider.(runtime.Accessor)
	if !ok {
		return nil, &engine.Error{Code: engine.ErrUnsupported, Message: "the provider's port is the embedder's own and knows no way to the API server"}
	}
	o.Access = func(ctx context.Context) (model.Access, error) { return a.Access(ctx) }
	return kube.Connect(ctx, o)
}
