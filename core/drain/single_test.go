package drain_test

import (
	"strings"
	"testing"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

func TestSingleNeeded(t *testing.T) {
	all := &model.Budget{Observed: true, Expected: 3, DesiredHealthy: 3}
	for _, tc := range []struct {
		name      string
		replicas  int
		rolledOut bool
		budget    *model.Budget
		want      bool
	}{
		{"one replica", 1, true, nil, true},
		{"two", 2, true, nil, false},
		{"a budget that allows one", 3, true, &model.Budget{Observed: true, Expected: 3, DesiredHealthy: 2}, false},
		{"a budget that allows none", 3, true, all, true},
		{"the same in a rollout, with one more", 3, false, &model.Budget{Observed: true, Expected: 4, DesiredHealthy: 3}, true},
		{"a rollout under a budget that allows one", 3, false, &model.Budget{Observed: true, Expected: 4, DesiredHealthy: 2}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := drain.Single{Deployment: &model.Deployment{Replicas: tc.replicas, RolledOut: tc.rolledOut}, Budget: tc.budget}
			if got := s.Needed(); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestSingleWay(t *testing.T) {
	never := &model.Budget{Observed: true, Expected: 1, DesiredHealthy: 1}
	for _, tc := range []struct {
		name       string
		want       drain.Way // asked for
		deployment model.Deployment
		change     func(*drain.Single)
		way        drain.Way
		why        string
	}{
		{"evicted", drain.ByEviction, model.Deployment{MaxSurge: 1}, nil, drain.ByEviction, ""},
		{"restarted", drain.ByRestart, model.Deployment{MaxSurge: 1}, nil, drain.ByRestart, ""},
		{"restarted under an autoscaler", drain.ByRestart, model.Deployment{MaxSurge: 1}, func(s *drain.Single) { s.Autoscaler = "ns/a" }, drain.ByRestart, ""},
		{"paused", drain.ByRestart, model.Deployment{MaxSurge: 1, Paused: true}, nil, drain.ByEviction, "paused"},
		{"paused, and scaled", drain.BySurge, model.Deployment{Paused: true}, nil, drain.BySurge, ""},
		{"pods go first", drain.ByRestart, model.Deployment{MaxSurge: 1, MaxUnavailable: 1}, nil, drain.ByEviction, "takes 1 pod(s) away"},
		{"no surge", drain.ByRestart, model.Deployment{}, nil, drain.ByEviction, "no surge"},
		{"a volume of one node", drain.ByRestart, model.Deployment{MaxSurge: 1}, func(s *drain.Single) { s.Exclusive = "data" }, drain.ByEviction, "claim data"},
		{"scaled by an autoscaler", drain.BySurge, model.Deployment{}, func(s *drain.Single) { s.Autoscaler = "ns/a" }, drain.ByEviction, "ns/a sets its replicas"},
		{"a budget that one more opens", drain.BySurge, model.Deployment{}, func(s *drain.Single) { s.Budget = never }, drain.BySurge, ""},
		{"a budget that grows with it", drain.BySurge, model.Deployment{}, func(s *drain.Single) {
			s.Budget = &model.Budget{Observed: true, Expected: 1, DesiredHealthy: 1, Scales: true}
		}, drain.ByEviction, "would want a replica more"},
		{"a budget that wants more than one more", drain.BySurge, model.Deployment{}, func(s *drain.Single) {
			s.Budget = &model.Budget{Observed: true, Expected: 1, DesiredHealthy: 2}
		}, drain.ByEviction, "would want a replica more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := drain.Single{Deployment: &tc.deployment}
			if tc.change != nil {
				tc.change(&s)
			}
			if way, why := s.Way(tc.want); way != tc.way || !strings.Contains(why, tc.why) || (why == "") != (tc.why == "") {
				t.Errorf("got %s, %q; want %s, %q", way, why, tc.way, tc.why)
			}
		})
	}
}
