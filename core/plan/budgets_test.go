package plan_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// The rotation file is asked first, then the group, then rotator itself; the
// plan says when it was the group.
func TestBudgetsOfTheGroup(t *testing.T) {
	own := model.Defaults{MaxSurge: "2", MaxUnavailable: "1", Source: "rollingUpdate of instance group web"}
	for _, tc := range []struct {
		name               string
		defaults           model.Defaults
		surge, unavailable string
		want               [2]int
		from               [2]string
	}{
		{name: "nobody says anything", want: [2]int{1, 0}},
		{name: "the group", defaults: own, want: [2]int{2, 1}, from: [2]string{own.Source, own.Source}},
		{name: "the file", defaults: own, surge: "3", unavailable: "0", want: [2]int{3, 0}},
		{name: "each its part", defaults: own, surge: "3", want: [2]int{3, 1}, from: [2]string{"", own.Source}},
		{name: "half a default", defaults: model.Defaults{MaxUnavailable: "2", Source: "x"}, want: [2]int{1, 2}, from: [2]string{"", "x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &stock{}
			s.group("web", model.RoleNode, 6).Defaults = tc.defaults
			for i := range 6 {
				s.instance("web", fmt.Sprintf("i-%02d", i), 1, "revision")
			}
			p := build(t, spec(func(s *plan.Spec) { s.Strategy.MaxSurge, s.Strategy.MaxUnavailable = tc.surge, tc.unavailable }), s.Inventory)
			g := p.Groups[0]
			if diff := cmp.Diff(tc.want, [2]int{g.Surge, g.Unavailable}); diff != "" {
				t.Errorf("surge and unavailable (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.from, [2]string{g.SurgeFrom, g.UnavailableFrom}); diff != "" {
				t.Errorf("their sources (-want +got):\n%s", diff)
			}
		})
	}
}

// A group that does not want to be rotated is left alone, with a warning, until
// the file names it.
func TestDisabledGroup(t *testing.T) {
	for _, tc := range []struct {
		name   string
		groups []string
		nodes  int
		warned string
	}{
		{name: "not named", warned: "group-disabled"},
		{name: "a pattern does not name it", groups: []string{"we*"}, warned: "group-disabled"},
		{name: "named", groups: []string{"web"}, nodes: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &stock{}
			s.group("web", model.RoleNode, 1).Defaults = model.Defaults{Disabled: true, Source: "drainAndTerminate: false"}
			s.instance("web", "i-1", 1, "revision")
			p := build(t, spec(func(s *plan.Spec) { s.Select.Groups = tc.groups }), s.Inventory)
			if p.Nodes() != tc.nodes || codes(p.Warnings) != tc.warned || len(p.Refusals) != 0 {
				t.Errorf("%d nodes, warned %q, refused %q; want %d, %q, none", p.Nodes(), codes(p.Warnings), codes(p.Refusals), tc.nodes, tc.warned)
			}
		})
	}
}
