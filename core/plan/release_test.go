package plan_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// A group that is to get another release: what is refused, what is warned of, and
// which of its nodes will be outdated.
func TestReleaseToStage(t *testing.T) {
	target := &model.Release{ID: "ami-2", Name: "image-2"}
	current := model.Release{ID: "ami-1"}
	problem := model.Diagnostic{Severity: model.SeverityError, Code: "other-architecture", Summary: "arm64 on amd64"}
	tests := map[string]struct {
		release *model.GroupRelease // nil: the driver does not list the group
		change  func(*stock)
		spec    func(*plan.Spec)
		past    plan.Memory
		refused []string
		warned  []string
		staged  bool
		nodes   map[string]string // instance to the code of its first reason
	}{
		"newer": {release: &model.GroupRelease{Target: target, Order: model.ReleaseNewer}, staged: true,
			nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"an instance runs it already": {release: &model.GroupRelease{Target: target, Order: model.ReleaseNewer}, staged: true,
			change: func(s *stock) { s.Instances[2].Revision = "ami-2" }, nodes: map[string]string{"i-1": "revision", "i-2": "release"}},
		"the same": {release: &model.GroupRelease{Target: target, Order: model.ReleaseSame}, nodes: map[string]string{"i-1": "revision"}},
		"staged by an earlier run": {release: &model.GroupRelease{Target: target, Order: model.ReleaseNewer}, past: plan.Memory{Staged: map[string]bool{"web": true}},
			nodes: map[string]string{"i-1": "revision"}},
		"older": {release: &model.GroupRelease{Target: target, Order: model.ReleaseOlder}, staged: true, refused: []string{"release-older"},
			nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"older, allowed": {release: &model.GroupRelease{Target: target, Order: model.ReleaseOlder}, staged: true,
			spec: func(s *plan.Spec) { s.AllowDowngrade = true }, nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"not comparable": {release: &model.GroupRelease{Target: target, Order: model.ReleaseUnknown}, staged: true, warned: []string{"release-unordered"},
			nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"not to be had": {release: &model.GroupRelease{Diagnostics: []model.Diagnostic{problem}}, refused: []string{"other-architecture"},
			nodes: map[string]string{"i-1": "revision"}},
		"Stage would refuse it": {release: &model.GroupRelease{Target: target, Order: model.ReleaseNewer, Diagnostics: []model.Diagnostic{problem}}, staged: true,
			refused: []string{"other-architecture"}, nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"Stage would refuse it, and it is older": {release: &model.GroupRelease{Target: target, Order: model.ReleaseOlder, Diagnostics: []model.Diagnostic{problem}}, staged: true,
			refused: []string{"other-architecture"}, nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"held": {release: &model.GroupRelease{Target: target, Order: model.ReleaseNewer}, staged: true, refused: []string{"release-held"},
			change: func(s *stock) { s.Groups[0].HeldBy = "r-9" }, nodes: map[string]string{"i-1": "revision", "i-2": "release", "i-3": "release"}},
		"held, and has it": {release: &model.GroupRelease{Target: target, Order: model.ReleaseSame},
			change: func(s *stock) { s.Groups[0].HeldBy = "r-9" }, nodes: map[string]string{"i-1": "revision"}},
		"the driver cannot":       {refused: []string{"cannot-stage"}, nodes: map[string]string{"i-1": "revision"}},
		"no release is asked for": {spec: func(s *plan.Spec) { s.Release = "" }, nodes: map[string]string{"i-1": "revision"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := three(1)
			if tt.change != nil {
				tt.change(s)
			}
			if tt.release != nil {
				r := *tt.release
				r.GroupID, r.Group, r.Current = "id-web", "web", current
				s.Releases = []model.GroupRelease{r}
			}
			spec := plan.Spec{Cluster: "prod", Release: "latest", Strategy: plan.Strategy{Mode: plan.ModeRolling, MaxSurge: "1"}}
			if tt.spec != nil {
				tt.spec(&spec)
			}
			p, err := plan.Resume(spec, s.Inventory, now, tt.past)
			if err != nil {
				t.Fatal(err)
			}
			codes := func(list []plan.Finding) (out []string) {
				for _, f := range list {
					if f.Code != "capacity-unknown" {
						out = append(out, f.Code)
					}
				}
				slices.Sort(out)
				return out
			}
			if d := cmp.Diff(tt.refused, codes(p.Refusals)); d != "" {
				t.Errorf("refusals %s", d)
			}
			for _, w := range tt.warned {
				if !slices.Contains(codes(p.Warnings), w) {
					t.Errorf("warnings %v, want %s", codes(p.Warnings), w)
				}
			}
			if (p.Stagings() == 1) != tt.staged {
				t.Errorf("%d groups get another release", p.Stagings())
			}
			got := map[string]string{}
			for _, n := range p.Groups[0].Nodes {
				got[n.Instance] = n.Reasons[0].Code
			}
			if d := cmp.Diff(tt.nodes, got); d != "" {
				t.Errorf("nodes %s", d)
			}
		})
	}
}
