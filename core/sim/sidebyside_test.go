package sim

import (
	"testing"
	"time"

	"github.com/rotatord/rotator/core/engine"
)

// TestSideBySide holds the time of the cluster on which other tools were measured too,
// over many placements of its pods: with four extra nodes on average 88 s, 1.16 of its
// lower bound of 76 s, and with two 155 s.
func TestSideBySide(t *testing.T) {
	for surge, goal := range map[string]time.Duration{"4": 88 * time.Second, "2": 155 * time.Second} {
		t.Run("surge="+surge, func(t *testing.T) {
			const placements = 40
			var sum, least, most time.Duration
			for seed := range uint64(placements) {
				r := Run(Options{Seed: seed, Shape: SideBySide(surge)})
				if r.Status != engine.StatusDone || len(r.Broken) > 0 {
					t.Fatal(seed, r.Status, r.Message, r.Broken)
				}
				sum, most = sum+r.Took, max(most, r.Took)
				if least == 0 || r.Took < least {
					least = r.Took
				}
			}
			if mean := sum / placements; mean > goal {
				t.Errorf("%s on average, and the goal is %s", mean, goal)
			}
			t.Logf("%s on average, %s to %s", sum/placements, least, most)
		})
	}
}
