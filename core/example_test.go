package core_test

import (
	"context"
	"fmt"
	"log"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/config"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/runtime"
)

// progress is a sink: it hears of every event once the journal has it.
type progress struct{}

func (progress) Publish(events []event.Event) {
	for _, e := range events {
		if e.Kind == event.NodeReplaced {
			log.Printf("group %s: node %s is replaced", e.Group, e.Node)
		}
	}
}

// A provisioner that has made a new image the groups' own, and wants every node
// to run it before it goes on.
func ExampleOpen() {
	rotate := func(ctx context.Context, cluster, kubeconfig string) error {
		spec := config.Default()
		spec.Cluster = cluster
		spec.Driver.Name = "eks"
		spec.Driver.Config = map[string]any{"region": "eu-central-1"}
		spec.Kube.Kubeconfig = kubeconfig
		spec.Strategy.MaxSurge = "25%"
		if err := config.Validate(spec); err != nil {
			return err
		}

		r, err := core.Open(ctx, core.Options{Spec: spec, Sinks: []runtime.Sink{progress{}}})
		if err != nil {
			return err
		}
		defer r.Close()
		p, err := r.Plan()
		if err != nil {
			return err
		}
		for _, f := range p.Refusals {
			return fmt.Errorf("cluster %s: %s", cluster, f.Message)
		}
		result, err := r.Run(ctx)
		if err != nil {
			return err
		}
		if result.Status != engine.StatusDone {
			return fmt.Errorf("cluster %s: the rotation ended %s: %s", cluster, result.Status, result.Message)
		}
		return nil
	}
	_ = rotate
}
