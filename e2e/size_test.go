//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The largest cluster that Kubernetes supports.
const (
	largeNodes     = 5000
	largePods      = 150_000
	largeWorkloads = 1500
)

// large returns the command set up for a cluster of that size: an API server of
// which only the wire is real, and the example driver, whose cloud is a file.
func (a *largeAPI) rotatord(tb testing.TB) *Rotatord {
	tb.Helper()
	dir := tb.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"large","clusters":[{"name":"large","cluster":{"server":%q}}],`+
		`"users":[{"name":"me","user":{"token":"none"}}],"contexts":[{"name":"large","context":{"cluster":"large","user":"me"}}]}`, a.url)
	type instance struct {
		ID       string    `json:"id"`
		Zone     string    `json:"zone"`
		Template int       `json:"template"`
		Launched time.Time `json:"launched"`
	}
	var instances []instance
	for i := range a.nodes {
		instances = append(instances, instance{instanceID(i), zone(i + 1), 1, largeEpoch})
	}
	cloud, err := json.Marshal(map[string]any{"cluster": "large", "bootDelay": time.Minute, "lastID": a.nodes,
		"groups": []any{map[string]any{"id": "g-1", "name": "workers", "max": a.nodes + 500, "desired": a.nodes, "template": 2, "instances": instances}}})
	if err != nil {
		tb.Fatal(err)
	}
	for path, data := range map[string][]byte{kubeconfig: []byte(config), filepath.Join(dir, "cloud.json"): cloud} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return &Rotatord{Env: append(cleanEnviron(), "KUBECONFIG="+kubeconfig), Dir: dir,
		Base: []string{"--cluster", "large", "--driver", "example", "--driver-path", executable("rotatord-driver-example"),
			"--driver-config", "file=" + filepath.Join(dir, "cloud.json"),
			"--journal-store", "folder", "--journal-dir", filepath.Join(dir, "journal"), "--report-dir", filepath.Join(dir, "report")}}
}

// BenchmarkPlanLarge measures `rotatord plan` of 5,000 nodes and 150,000 pods
// as a process.
func BenchmarkPlanLarge(b *testing.B) {
	a := newLargeAPI(b, largeNodes, largePods, largeWorkloads)
	r := a.rotatord(b)
	var best, cpu time.Duration
	var rss int64
	runs := 0
	for b.Loop() {
		p := r.Start(b, "plan", "--max-surge", "5%")
		rss = max(rss, p.peakMemory(b))
		res := p.Wait().MustExit(b, exitDone)
		if !strings.Contains(res.Stdout, "replace 5000 nodes") || !strings.Contains(res.Stdout, "time:") {
			b.Fatalf("not the plan that was meant:\n%s", res.Stdout)
		}
		if best == 0 || res.Took < best {
			best = res.Took
		}
		cpu += res.CPU
		runs++
	}
	b.ReportMetric(float64(rss)/(1<<20), "MiB-peak")
	figure(fmt.Sprintf("plan, 5,000 nodes and 150,000 pods: fastest of %d", runs), best.Round(10*time.Millisecond).String(), "goal: under 5 s")
	figure("  CPU of rotatord, mean", (cpu / time.Duration(runs)).Round(10*time.Millisecond).String(), "")
	figure("  peak memory of rotatord", fmt.Sprintf("%d MiB", rss>>20), "goal: under 300 MiB")
}

// BenchmarkRunLarge measures a rotation of that size while nothing happens but
// the heartbeats of its nodes: its replacement never joins.
func BenchmarkRunLarge(b *testing.B) {
	a := newLargeAPI(b, largeNodes, largePods, largeWorkloads)
	a.beats = 20 // 5,000 kubelets report every five minutes, and pods change a little
	r := a.rotatord(b)
	const quiet = 30 * time.Second
	for b.Loop() {
		p := r.Start(b, "run", "--max-surge", "1", "--capacity-check", "warn", "--node-ready-timeout", "1h")
		p.timer.Reset(10 * time.Minute)
		p.Await("replacement-launched")
		a.quiet(10 * time.Second) // every old node is marked by then
		before := processCPU(b, p.cmd.Process.Pid)
		time.Sleep(quiet) // the measurement: nothing is waited for
		used := processCPU(b, p.cmd.Process.Pid) - before
		now, peak := processMemory(b, p.cmd.Process.Pid)
		figure("run, 5,000 nodes and 150,000 pods: memory now", fmt.Sprintf("%d MiB", now>>20), "goal: under 300 MiB")
		figure("  peak memory of rotatord", fmt.Sprintf("%d MiB", peak>>20), "")
		figure("  share of a core between events", fmt.Sprintf("%.1f %%", 100*used.Seconds()/quiet.Seconds()), "goal: under 5 %")
		p.cmd.Process.Kill()
		p.Wait()
	}
}

// quiet waits until no node has been written for so long.
func (a *largeAPI) quiet(d time.Duration) {
	for last := -1; ; time.Sleep(d) {
		a.mu.Lock()
		now := a.calls["PATCH nodes"]
		a.mu.Unlock()
		if now == last {
			return
		}
		last = now
	}
}

// processCPU is what a process has used, by /proc/PID/stat.
func processCPU(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

// peakMemory waits for the end of the process and returns its largest resident
// memory, in bytes. The kernel's own account (ru_maxrss) begins with that of
// the process that started it, which is this one, and larger.
func (p *Process) peakMemory(tb testing.TB) int64 {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-p.done:
			return last
		case <-tick.C:
			if _, peak := processMemory(tb, p.cmd.Process.Pid); peak > 0 {
				last = peak
			}
		}
	}
}

// processMemory is the resident memory of a process, now and at its peak, in
// bytes, by /proc/PID/status; 0: it has ended.
func processMemory(tb testing.TB, pid int) (now, peak int64) {
	tb.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(raw)) {
		var kib int64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			fmt.Sscanf(line, "VmRSS: %d kB", &kib)
			now = kib << 10
		case strings.HasPrefix(line, "VmHWM:"):
			fmt.Sscanf(line, "VmHWM: %d kB", &kib)
			peak = kib << 10
		}
	}
	return now, peak
}
