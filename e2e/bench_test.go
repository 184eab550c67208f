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
var hundred = lazily("bench", "eu-central-1", "--nodes", "100", "--groups", "1", "--zones", "3", "--pods", "1000", "--seed", "1",
	"--boot-delay", "2s", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms")

// figures are printed as a table at the end of `make bench`.
var figures []string

func figure(name, value, goal string) {
	figures = append(figures, fmt.Sprintf("%-44s %14s   %s", name, value, goal))
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

// BenchmarkRotation rotates the 100 nodes once and counts what that costs at
// the provider.
func BenchmarkRotation(b *testing.B) {
	s := hundred(b)
	group := groupName(s, 1)
	n := len(s.State(b).Groups[group].Instances)
	for b.Loop() {
		s.PublishImage(b, group)
		s.Stats(b, true)
		r := s.rotatord(b)
		p := r.Start(b, "run", "--max-surge", "10%")
		p.timer.Reset(15 * time.Minute)
		res := p.Wait().MustExit(b, exitDone)
		st := s.Stats(b, false)
		v := s.MustHaveKeptBudgets(b)
		calls := float64(st.Total) / float64(n)
		b.ReportMetric(calls, "cloud-calls/node")
		figure(fmt.Sprintf("rotation of %d nodes, surge 10 %%: time", n), res.Took.Round(time.Second).String(), "boot 2 s")
		figure("rotation: cloud calls for each node", fmt.Sprintf("%.2f", calls), "goal: at most 3")
		figure("rotation: of these, calls that change", fmt.Sprintf("%.2f", float64(st.Changing)/float64(n)), "")
		figure("rotation: moves of each pod", fmt.Sprintf("%.2f", v.MovesPerPod), "goal: at most 1.02")
		figure("rotation: peak memory of rotatord", fmt.Sprintf("%d MiB", res.MaxRSS/1024), "")
		for _, e := range v.Evictions {
			if strings.HasPrefix(e.User, "rotator") {
				figure("rotation: evictions allowed / refused", fmt.Sprintf("%d / %d", e.Allowed, e.Refused), "")
			}
		}
		for _, c := range st.Calls {
			figure("  "+c.Service+" "+c.Action, fmt.Sprint(c.Calls), "")
		}
	}
}

func printFigures() {
	if len(figures) == 0 {
		return
	}
	fmt.Fprintf(os.Stdout, "\n%s\n", strings.Join(figures, "\n"))
}
