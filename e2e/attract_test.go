//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// thirty is a cluster that kube-scheduler looks at as a whole: below 100 nodes
// it scores them all.
var thirty = lazily("attract", "eu-central-1", "--nodes", "30", "--groups", "1", "--zones", "3", "--pods", "300", "--seed", "3",
	"--boot-delay", "2s", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms")

// BenchmarkAttract counts, with the real scheduler, how often a pod moves where
// the old nodes are only tainted and where they are cordoned up front: the
// figures that the default of strategy.attract goes by.
func BenchmarkAttract(b *testing.B) {
	s := thirty(b)
	for _, attract := range []string{"taint", "cordon"} {
		for _, surge := range []string{"1", "10%"} {
			b.Run(attract+"/"+surge, func(b *testing.B) {
				for b.Loop() {
					s.MustSettle(b)
					s.PublishImage(b, groupName(s, 1))
					before := s.Verify(b).MovesPerPod // since the sandbox began
					r := s.rotatord(b)
					p := r.Start(b, "run", "--max-surge", surge, "--attract", attract)
					p.timer.Reset(15 * time.Minute)
					res := p.Wait().MustExit(b, exitDone)
					moves := s.MustHaveKeptBudgets(b).MovesPerPod - before
					b.ReportMetric(moves, "moves/pod")
					figure(fmt.Sprintf("30 nodes, surge %s, attract %s: moves of each pod", surge, attract), fmt.Sprintf("%.3f", moves), "")
					figure(fmt.Sprintf("30 nodes, surge %s, attract %s: time", surge, attract), res.Took.Round(time.Second).String(), "boot 2 s")
				}
			})
		}
	}
}
