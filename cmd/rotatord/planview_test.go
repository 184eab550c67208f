package main

import (
	"testing"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// "never joined" is said only of what should have joined, and was looked for.
func TestNodeless(t *testing.T) {
	for _, tc := range []struct {
		name      string
		cloudOnly bool
		role      model.Role
		want      string
	}{
		{"a node", false, model.RoleNode, "(never joined)"},
		{"without the API server", true, model.RoleNode, "(unknown)"},
		{"a bastion", false, model.RoleBastion, "-"},
		{"a bastion without it", true, model.RoleBastion, "-"},
	} {
		if got := nodeless(&plan.Plan{CloudOnly: tc.cloudOnly}, plan.Group{Role: tc.role}); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
