//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchDelays are those of the clusters of 30 and 100 nodes.
var benchDelays = []string{"--zones", "3", "--seed", "1", "--boot-delay", "2s", "--pod-start-delay", "500ms", "--pod-stop-delay", "200ms"}

// thirtyNodes is the same cluster as hundred, and smaller.
var thirtyNodes = lazily("bench30", "eu-central-1", append(benchDelays, "--nodes", "30", "--groups", "1", "--pods", "300")...)

// BenchmarkRotation30 is BenchmarkRotation on 30 nodes.
func BenchmarkRotation30(b *testing.B) { benchmarkRotation(b, thirtyNodes(b), "10%") }

// BenchmarkSideBySide rotates the cluster on which other tools were measured: 12
// nodes with 8 pods each, nearly all under budgets that allow one at a time, 20 s
// to boot, 3 to 8 s for a pod to start.
func BenchmarkSideBySide(b *testing.B) {
	path := filepath.Join(workDir, "side-by-side.yaml")
	if err := os.WriteFile(path, []byte(sideBySide()), 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := startSandbox(filepath.Join(workDir, "bench-side"), "bench-side", "eu-central-1", "--nodes", "12", "--groups", "1", "--zones", "3",
		"--boot-delay", "20s", "--pod-stop-delay", "500ms", "--workload", path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Stop)
	for _, surge := range []string{"4", "2"} {
		b.Run("surge="+surge, func(b *testing.B) { benchmarkRotation(b, s, surge) })
	}
}

// sideBySide is 22 Deployments of four pods under budgets of one, and one of
// eight pods without a budget.
func sideBySide() string {
	var y strings.Builder
	for i := range 23 {
		replicas, starts := 4, 3+i%6
		if i == 22 {
			replicas = 8
		}
		name := fmt.Sprintf("w%02d", i)
		fmt.Fprintf(&y, `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: default}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}, annotations: {sandbox.rotatord.github.io/start-delay: %[3]ds}}
    spec:
      containers: [{name: c, image: c, resources: {requests: {cpu: 300m, memory: 256Mi}}}]
`, name, replicas, starts)
		if replicas == 4 {
			fmt.Fprintf(&y, `---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: %[1]s, namespace: default}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: %[1]s}}}
`, name)
		}
	}
	return y.String()
}

// benchmarkRotation replaces all nodes of the sandbox's first group, in real
// time, and counts what that takes of the cluster and of the provider.
func benchmarkRotation(b *testing.B, s *Sandbox, surge string) {
	group := groupName(s, 1)
	n := len(s.State(b).Groups[group].Instances)
	name := fmt.Sprintf("%d nodes, surge %s: ", n, surge)
	for b.Loop() {
		s.PublishImage(b, group)
		s.MustSettle(b)
		plan := s.rotatord(b).Run(b, "plan", "--max-surge", surge, "--output", "json").MustExit(b, exitDone)
		bound := time.Duration(decode[struct {
			Estimate struct {
				LowerBoundSeconds float64 `json:"lowerBoundSeconds"`
			} `json:"estimate"`
		}](b, []byte(plan.Stdout)).Estimate.LowerBoundSeconds * float64(time.Second))
		s.CLI(b, "verify", "--reset")
		s.Stats(b, true)
		from := s.auditSize(b)
		r := s.rotatord(b)
		if i := slices.Index(r.Base, "--journal-dir"); i >= 0 { // the journal in the cluster, as by default
			r.Base = append(r.Base[:i:i], r.Base[i+2:]...)
		}
		p := r.Start(b, "run", "--max-surge", surge)
		p.timer.Reset(15 * time.Minute)
		res := p.Wait().MustExit(b, exitDone)
		st, v := s.Stats(b, false), s.MustHaveKeptBudgets(b)
		perNode := func(count int) string { return fmt.Sprintf("%.2f", float64(count)/float64(n)) }

		b.ReportMetric(res.Took.Seconds(), "s/rotation")
		b.ReportMetric(float64(st.Total)/float64(n), "cloud-calls/node")
		figure(name+"time", res.Took.Round(100*time.Millisecond).String(),
			fmt.Sprintf("lower bound %s, ratio %.2f", bound.Round(100*time.Millisecond), res.Took.Seconds()/bound.Seconds()))
		figure(name+"cloud calls for each node", perNode(st.Total), fmt.Sprintf("%s of them change something", perNode(st.Changing)))
		figure(name+"moves of each pod", fmt.Sprintf("%.3f", v.MovesPerPod), "goal: at most 1.02")
		for _, e := range v.Evictions {
			if e.User == "rotator-admin" {
				figure(name+"evictions allowed / refused / other", fmt.Sprintf("%d / %d / %d", e.Allowed, e.Refused, e.Other), "")
			}
		}
		calls, journal := s.apiCalls(b, from)
		total := 0
		for _, k := range sortedKeys(calls) {
			figure(name+"API calls, "+k, fmt.Sprint(calls[k]), perNode(calls[k])+" for each node")
			total += calls[k]
		}
		b.ReportMetric(float64(total)/float64(n), "api-calls/node")
		figure(name+"API calls for each node", perNode(total), "")
		figure(name+"journal writes, share of the time", fmt.Sprintf("%.2f %%", 100*journal.Seconds()/res.Took.Seconds()),
			"goal: under 1 %, by the API server's own clock")
	}
}

func (s *Sandbox) auditLog() string { return filepath.Join(s.Dir, "audit.log") }

func (s *Sandbox) auditSize(tb testing.TB) int64 {
	tb.Helper()
	info, err := os.Stat(s.auditLog())
	if err != nil {
		tb.Fatal(err)
	}
	return info.Size()
}

// apiCalls counts rotatord's own calls to the API server, by verb and resource,
// from an offset of the audit log on, and how long the API server took for the
// writes of the journal.
func (s *Sandbox) apiCalls(tb testing.TB, from int64) (counts map[string]int, journal time.Duration) {
	tb.Helper()
	f, err := os.Open(s.auditLog())
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		tb.Fatal(err)
	}
	counts = map[string]int{}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // the end, or a line that is being written
		}
		var e struct {
			Verb, UserAgent string
			ObjectRef       struct{ Resource, Subresource string }

			RequestReceivedTimestamp, StageTimestamp time.Time
		}
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			tb.Fatalf("%s: %v", s.auditLog(), err)
		}
		if !strings.HasPrefix(e.UserAgent, "rotator (") {
			continue // the tests' own
		}
		k := e.Verb + " " + e.ObjectRef.Resource
		if e.Verb == "list" || e.Verb == "watch" {
			k = e.Verb // of each kind once, however many nodes there are
		}
		if e.ObjectRef.Subresource != "" {
			k += "/" + e.ObjectRef.Subresource
		}
		counts[strings.TrimSpace(k)]++
		if k == "create configmaps" || k == "update configmaps" {
			journal += e.StageTimestamp.Sub(e.RequestReceivedTimestamp)
		}
	}
	return counts, journal
}
