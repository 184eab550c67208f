package sim

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// TestRuntime has the concurrent runtime rotate worlds of the simulation.
func TestRuntime(t *testing.T) {
	done := 0
	for seed := uint64(1); seed <= 60; seed++ {
		o := Options{Seed: seed}
		if seed%2 == 0 {
			o.Rates = Rates{FailBefore: 0.1, Lost: 0.1, Late: 0.05, DriverDies: 0.2, Storm: 0.5, EndInstance: 0.3, Uncordon: 0.3}
		}
		synctest.Test(t, func(t *testing.T) {
			r := live(t, o)
			if r != nil && r.Status == engine.StatusDone {
				done++
			} else if r != nil && o.Rates == nil && RandomShape(seed).Stuck == "" {
				t.Errorf("seed %d: %s: %s", seed, r.Status, r.Message)
			}
		})
	}
	if done < 40 {
		t.Errorf("%d of 60 rotations were done", done)
	}
}

// live runs one rotation as core does.
func live(t *testing.T, o Options) *engine.Result {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := NewLive(o)
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	inv := l.Inventory()
	s, _, err := l.Observe(ctx, 0)
	if err != nil {
		return nil // a fault: the command would say so
	}
	inv.Groups, inv.Instances = s.Groups, s.Instances
	spec := RandomShape(o.Seed).Spec
	p, err := plan.Build(spec, inv, time.Now())
	if err != nil || len(p.Refusals) > 0 {
		t.Fatalf("seed %d: %v %v", o.Seed, err, p.Refusals)
	}
	first := engine.Cluster(&inv)
	first.Snapshot = s
	e := engine.New(engine.Config{Rotation: "r1", Plan: p, Spec: spec})
	r, err := runtime.Run(ctx, runtime.Options{Rotation: "r1", Engine: l.Watched(e, p, first), Provider: l, Cluster: l, Journal: l, Initial: first})
	if err != nil {
		t.Fatalf("seed %d: %v", o.Seed, err)
	}
	if l.check.checks[RecordFirst] == 0 || l.check.checks[Orderly] == 0 {
		t.Errorf("seed %d: nothing was checked: %v", o.Seed, l.check.checks)
	}
	for _, v := range l.Ended("r1", r) {
		t.Errorf("seed %d: %s", o.Seed, v)
	}
	return r
}
