//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// hundred is the cluster of the figures: 100 nodes and 1,000 pods.
var hundred = lazily("bench", "eu-central-1", append(benchDelays, "--nodes", "100", "--groups", "1", "--pods", "1000")...)

// figures are printed as a table at the end of `make bench`.
var figures []string

func figure(name, value, goal string) {
	figures = append(figures, fmt.Sprintf("%-58s %14s   %s", name, value, goal))
}

// BenchmarkPlan measures `rotatord plan` as a process: start of the driver,
// whole lists of the cluster and of the provider, and the plan.
func BenchmarkPlan(b *testing.B) {
	s := hundred(b)
	s.PublishImage(b, groupName(s, 1))
	r := s.rotatord(b)
	var took, fastest time.Duration
	var rss int64
	runs := 0
	for b.Loop() {
		res := r.Run(b, "plan").MustExit(b, exitDone)
		took += res.Took
		if runs == 0 || res.Took < fastest {
			fastest = res.Took
		}
		rss = max(rss, res.MaxRSS)
		runs++
	}
	mean := took / time.Duration(runs)
	b.ReportMetric(float64(rss)/1024, "MiB-peak")
	figure("plan, 100 nodes and 1,000 pods: mean time", mean.Round(time.Millisecond).String(), "goal: under 1 s")
	figure("plan: fastest of "+fmt.Sprint(runs), fastest.Round(time.Millisecond).String(), "")
	figure("plan: peak memory of rotatord", fmt.Sprintf("%d MiB", rss/1024), "goal: under 100 MiB")
}

// BenchmarkRotation rotates the 100 nodes once and counts what that costs.
func BenchmarkRotation(b *testing.B) { benchmarkRotation(b, hundred(b), "10%") }

func printFigures() {
	if len(figures) == 0 {
		return
	}
	fmt.Fprintf(os.Stdout, "\n%s\n", strings.Join(figures, "\n"))
}
