//go:build e2e

package e2e

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
)

const kopsWorkers = "nodes-1.kops.example.com" // an Auto Scaling group of kopsCluster

// The whole cluster, control plane included: each machine once, one of the
// control plane at a time and out of the API server's load balancer before its
// drain, and kops finds nothing left to do. What a killed rotation took out of
// the load balancer is put back by an abort.
func TestKopsClusterRotated(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t)
	before := s.State(t)
	serving := before.controlPlane()
	s.mustServe(t, "before", serving)
	s.CLI(t, "publish-image")
	s.Stats(t, true)
	killed := s.kopsRotatord(t)
	killed.Base = killed.Base[:len(killed.Base)-len(kopsRoles)]
	p := killed.Start(t, "run", slices.Concat(kopsRoles, []string{"--group", "control-plane-eu-central-1a"})...)
	p.Await("node-draining")
	s.awaitTargets(t, "the drain that is killed", func(v Verdict) bool { return len(v.targetsIn("draining")) > 0 })
	p.Signal(syscall.SIGKILL)
	p.Wait()
	killed.Run(t, "abort").MustExit(t, exitDone, "put back")
	s.mustServe(t, "after the kill and the abort", serving)

	r := s.kopsRotatord(t)
	r.Run(t, "run").MustExit(t, exitDone, "8 node(s) replaced")
	events := r.Events(t, "node-draining", "node-quiesced", "replacement-ready")
	s.mustBeUpToDate(t, r)
	s.MustSettle(t)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, slices.DeleteFunc(slices.Sorted(maps.Keys(before.Groups)), func(g string) bool {
		return !strings.HasSuffix(g, ".kops.example.com")
	})...)
	s.MustHaveKeptBudgets(t)
	st := s.Stats(t, false)
	if st.Terminated != 8 || st.Launched != 8 {
		t.Errorf("%d machines launched and %d terminated, want 8 of each", st.Launched, st.Terminated)
	}
	s.mustServe(t, "after", after.controlPlane())
	var asked []string
	for _, c := range st.Calls {
		if c.Service == "elasticloadbalancing" {
			asked = append(asked, c.Action)
		}
	}
	if want := []string{"DeregisterTargets", "DescribeTargetHealth", "RegisterTargets"}; !slices.Equal(asked, want) {
		t.Errorf("load balancers were asked to %s, want %s", asked, want)
	}
	drains, quiesced, away := 0, 0, ""
	for _, e := range events {
		switch group := e.Group; {
		case !strings.HasPrefix(group, "control-plane"):
		case e.Kind == "replacement-ready" && group == away:
			away = ""
		case e.Kind == "node-quiesced":
			quiesced++
		case e.Kind == "node-draining":
			if away != "" {
				t.Errorf("group %s goes while group %s has no replacement yet", group, away)
			}
			drains, away = drains+1, group
		}
	}
	if drains != 3 || quiesced != 3 {
		t.Errorf("%d machines of the control plane were drained, and %d left the load balancer before, want 3 of each", drains, quiesced)
	}
}

// controlPlane lists the instances of a kops cluster's control plane, sorted.
func (st State) controlPlane() (ids []string) {
	for name, g := range st.Groups {
		if strings.HasPrefix(name, "control-plane-") {
			ids = append(ids, g.Instances...)
		}
	}
	slices.Sort(ids)
	return ids
}

// A rotation that was killed half way is finished by kops.
func TestKopsFinishesWhatRotatordBegan(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t)
	before := s.State(t)
	s.PublishImage(t, kopsWorkers)
	r := s.kopsRotatord(t)
	p := r.Start(t, "run")
	p.Await("node-drained")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	s.kops(t, append([]string{"rolling-update", "cluster", "--yes"}, kopsIntervals...)...)
	if out := s.kops(t, "rolling-update", "cluster"); !strings.Contains(out, "No rolling-update required") {
		t.Errorf("kops still finds something to do:\n%s", out)
	}
	// What a killed rotation holds is put back by the next run.
	r.Run(t, "run").MustExit(t, exitDone)
	s.mustBeUpToDate(t, r)
	s.MustSettle(t)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, kopsWorkers)
	s.MustHaveKeptBudgets(t)
}

// A kops that was killed half way leaves an instance detached. rotatord drains
// and ends it, and all that was outdated, each once.
func TestRotatordFinishesWhatKopsBegan(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t)
	before := s.State(t)
	s.PublishImage(t, kopsWorkers)
	s.Stats(t, true)
	cmd := exec.Command(executable("kops"), append([]string{"rolling-update", "cluster", "--yes"}, kopsIntervals...)...)
	cmd.Env = append(cleanEnviron(), append(slices.Clone(s.environ), "HOME="+t.TempDir())...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start kops: %v; `make kops-command` builds it", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for detached := false; !detached; {
		select {
		case err := <-ended:
			t.Fatalf("kops ended before it had detached anything: %v", err)
		case <-tick.C:
		}
		for _, c := range s.Stats(t, false).Calls {
			detached = detached || c.Action == "DetachInstances"
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	r := s.kopsRotatord(t)
	r.Run(t, "run").MustExit(t, exitDone)
	s.mustBeUpToDate(t, r)
	s.MustSettle(t)
	after := s.State(t)
	after.MustBeTidy(t, before)
	after.MustHaveReplaced(t, before, kopsWorkers)
	s.MustHaveKeptBudgets(t)
	var gone []string
	for _, e := range s.Stats(t, false).Terminations {
		gone = append(gone, e.Instance)
	}
	slices.Sort(gone)
	if want := before.Groups[kopsWorkers].Instances; !slices.Equal(gone, want) {
		t.Errorf("instances %v ended, want %v", gone, want)
	}
}

// A group takes from its warm pool first, where instances of the old revision
// wait: they are ended before the first node is replaced.
func TestKopsWarmPool(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t)
	cloud := s.AutoScaling()
	if _, err := cloud.PutWarmPool(t.Context(), &autoscaling.PutWarmPoolInput{AutoScalingGroupName: aws.String(kopsWorkers), MinSize: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if _, err := cloud.DeleteWarmPool(context.Background(), &autoscaling.DeleteWarmPoolInput{AutoScalingGroupName: aws.String(kopsWorkers), ForceDelete: aws.Bool(true)}); err != nil {
			t.Error(err)
		}
	})
	warm := func() map[string]string { // instances that wait stopped, with their version
		out, err := cloud.DescribeWarmPool(t.Context(), &autoscaling.DescribeWarmPoolInput{AutoScalingGroupName: aws.String(kopsWorkers)})
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, i := range out.Instances {
			if i.LifecycleState == "Warmed:Stopped" {
				m[aws.ToString(i.InstanceId)] = aws.ToString(i.LaunchTemplate.Version)
			}
		}
		return m
	}
	eventually(t, "an instance to wait in the warm pool", func() bool { return len(warm()) == 1 })
	old := warm()
	before := s.State(t)
	s.PublishImage(t, kopsWorkers)
	r := s.kopsRotatord(t)
	r.Run(t, "run").MustExit(t, exitDone, "2 node(s) replaced")
	s.mustBeUpToDate(t, r)
	s.MustSettle(t)
	s.State(t).MustHaveReplaced(t, before, kopsWorkers)
	s.MustHaveKeptBudgets(t)
	eventually(t, "the warm pool to fill again", func() bool { return len(warm()) == 1 })
	for id, version := range warm() {
		if was, same := old[id]; same {
			t.Errorf("%s with version %s is still in the warm pool (version %s before)", id, version, was)
		}
	}
}
