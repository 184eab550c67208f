package drain_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func pod(change func(*model.Pod)) *model.Pod {
	p := &model.Pod{PodKey: model.PodKey{Namespace: "default", Name: "web-1"}, Phase: "Running", Ready: true,
		Owner: model.WorkloadKey{Kind: "ReplicaSet", Namespace: "default", Name: "web"}}
	if change != nil {
		change(p)
	}
	return p
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*model.Pod)
		want   drain.Action
		why    string
	}{
		{"an ordinary pod", nil, drain.Evict, ""},
		{"one that is pending", func(p *model.Pod) { p.Phase, p.Ready = "Pending", false }, drain.Evict, ""},
		{"one that is not Ready", func(p *model.Pod) { p.Ready = false }, drain.Evict, ""},
		{"one with emptyDir", func(p *model.Pod) { p.EmptyDir = true }, drain.Evict, ""},
		{"an unmanaged one", func(p *model.Pod) { p.Owner = model.WorkloadKey{} }, drain.Evict, ""},
		{"one of a Job", func(p *model.Pod) { p.Owner.Kind = "Job" }, drain.Evict, ""},
		{"one that is ending", func(p *model.Pod) { p.Terminating = true }, drain.Wait, drain.WaitEnding},
		{"a static pod's mirror", func(p *model.Pod) { p.Mirror = true }, drain.Leave, drain.LeaveMirror},
		{"a mirror that is ending", func(p *model.Pod) { p.Mirror, p.Terminating = true, true }, drain.Leave, drain.LeaveMirror},
		{"one of a DaemonSet", func(p *model.Pod) { p.Owner.Kind = "DaemonSet" }, drain.Leave, drain.LeaveDaemonSet},
		{"one of a DaemonSet that is ending", func(p *model.Pod) { p.Owner.Kind, p.Terminating = "DaemonSet", true }, drain.Leave, drain.LeaveDaemonSet},
		{"one that succeeded", func(p *model.Pod) { p.Phase = "Succeeded" }, drain.Leave, drain.LeaveFinished},
		{"one that failed", func(p *model.Pod) { p.Phase = "Failed" }, drain.Leave, drain.LeaveFinished},
		{"one that failed and is ending", func(p *model.Pod) { p.Phase, p.Terminating = "Failed", true }, drain.Leave, drain.LeaveFinished},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p drain.Policy
			if got := p.Decide(pod(tc.change), drain.Circumstances{Now: now}); got.Action != tc.want || got.Why != tc.why {
				t.Errorf("got %v %q, want %v %q", got.Action, got.Why, tc.want, tc.why)
			}
		})
	}
}

func TestSort(t *testing.T) {
	var policy drain.Policy
	named := func(ns, name string, priority int32) drain.Candidate {
		p := pod(func(p *model.Pod) { p.PodKey, p.Priority = model.PodKey{Namespace: ns, Name: name}, priority })
		return drain.Candidate{Pod: p, Decision: policy.Decide(p, drain.Circumstances{})}
	}
	want := []drain.Candidate{
		named("z", "batch", -10),
		named("a", "web-1", 0), named("a", "web-2", 0), named("b", "web-1", 0),
		named("a", "db", 1000),
		named("kube-system", "dns", drain.SystemCritical), named("kube-system", "etcd", drain.SystemCritical+1000),
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		got := slices.Clone(want)
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		drain.Sort(got)
		if !slices.Equal(got, want) {
			for _, c := range got {
				t.Log(c.Pod.PodKey, c.Pod.Priority)
			}
			t.Fatal("another order")
		}
	}
	for i, tier := range []int{0, 0, 0, 0, 0, drain.TierCritical, drain.TierCritical} {
		if got := want[i].Place.Tier; got != tier {
			t.Errorf("tier of %s is %d, want %d", want[i].Pod.PodKey, got, tier)
		}
	}
}

func TestUnmanaged(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*model.Pod)
		want   bool
	}{
		{"one with a controller", nil, false},
		{"one without", func(p *model.Pod) { p.Owner = model.WorkloadKey{} }, true},
		{"a mirror", func(p *model.Pod) { p.Owner, p.Mirror = model.WorkloadKey{}, true }, false},
		{"one that has ended", func(p *model.Pod) { p.Owner, p.Phase = model.WorkloadKey{}, "Succeeded" }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := drain.Unmanaged(pod(tc.change)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// TestPermits follows the API server's eviction handler, case by case.
func TestPermits(t *testing.T) {
	notReady := func(p *model.Pod) { p.Ready = false }
	for _, tc := range []struct {
		name       string
		change     func(*model.Pod)
		budget     model.Budget
		allowed    int
		ok, spends bool
	}{
		{"one is allowed", nil, model.Budget{Observed: true}, 1, true, true},
		{"none is allowed", nil, model.Budget{Observed: true}, 0, false, true},
		{"fewer than none", nil, model.Budget{Observed: true}, -1, false, true},
		{"the controller has not seen the budget", nil, model.Budget{}, 1, false, false},
		{"a pending pod", func(p *model.Pod) { p.Phase, p.Ready = "Pending", false }, model.Budget{}, 0, true, false},
		{"not Ready, enough others are", notReady, model.Budget{Observed: true, CurrentHealthy: 2, DesiredHealthy: 2}, 0, true, false},
		{"not Ready, too few others are", notReady, model.Budget{Observed: true, CurrentHealthy: 1, DesiredHealthy: 2}, 0, false, true},
		{"not Ready, none wanted", notReady, model.Budget{Observed: true}, 0, false, true},
		{"not Ready, none wanted, one allowed", notReady, model.Budget{Observed: true}, 1, true, true},
		{"not Ready, AlwaysAllow", notReady, model.Budget{Observed: true, CurrentHealthy: 0, DesiredHealthy: 2, AlwaysEvictUnhealthy: true}, 0, true, false},
		{"Ready, AlwaysAllow does not matter", nil, model.Budget{Observed: true, AlwaysEvictUnhealthy: true}, 0, false, true},
		{"Ready, enough others do not matter", nil, model.Budget{Observed: true, CurrentHealthy: 3, DesiredHealthy: 2}, 0, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if ok, spends := drain.Permits(&tc.budget, pod(tc.change), tc.allowed); ok != tc.ok || spends != tc.spends {
				t.Errorf("got %v, spends %v; want %v, spends %v", ok, spends, tc.ok, tc.spends)
			}
		})
	}
}

func TestNeverAllows(t *testing.T) {
	for _, tc := range []struct {
		name   string
		budget model.Budget
		want   bool
	}{
		{"all must be healthy", model.Budget{Observed: true, Expected: 3, DesiredHealthy: 3}, true},
		{"more than there are", model.Budget{Observed: true, Expected: 1, DesiredHealthy: 2}, true},
		{"one may be missing", model.Budget{Observed: true, Expected: 3, DesiredHealthy: 2}, false},
		{"none may be evicted now, but later", model.Budget{Observed: true, Expected: 3, DesiredHealthy: 2, CurrentHealthy: 2}, false},
		{"no pods", model.Budget{Observed: true, DesiredHealthy: 1}, false},
		{"not seen yet", model.Budget{Expected: 3, DesiredHealthy: 3}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := drain.NeverAllows(&tc.budget); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
