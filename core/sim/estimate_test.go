package sim

import (
	"testing"
)

// What a plan says that a rotation takes is what it takes, to 15 %: on the clusters of
// the family, whose nodes and pods have a history. The largest are left to
// core/sim/shapes.
func TestEstimateAgainstRotation(t *testing.T) {
	for _, c := range Family() {
		nodes := 0
		for _, g := range c.Shape.Groups {
			nodes += g.Size
		}
		if nodes > 500 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			r := Run(Options{Seed: 1, Shape: c.Shape})
			off := r.Estimated.Seconds()/r.Took.Seconds() - 1
			if off < -0.15 || off > 0.15 {
				t.Errorf("the plan says %s, and it takes %s: off by %+.0f %%", r.Estimated, r.Took, 100*off)
			}
			t.Logf("estimated %s, took %s: %+.0f %%", r.Estimated, r.Took, 100*off)
		})
	}
}
