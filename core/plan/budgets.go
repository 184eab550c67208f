package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// DefaultSurge and DefaultUnavailable are rotator's own budgets, where neither the rotation file nor the group says
// anything: one more instance, and none missing.
const (
	DefaultSurge       = "1"
	DefaultUnavailable = "0"
)

// setting is a value and who said it.
type setting struct {
	value string
	from  string // for a person; empty: the rotation file, or rotator itself
}

// budgets decides what holds for a group: the rotation file, then the group's
// own defaults, then rotator's.
func (b *builder) budgets(g model.NodeGroup) (surge, unavailable setting) {
	of := func(file, group, rotator string) setting {
		if file == "" && group != "" {
			return setting{group, g.Defaults.Source}
		}
		return setting{cmp.Or(file, rotator), ""}
	}
	st := b.spec.Strategy
	return of(st.MaxSurge, g.Defaults.MaxSurge, DefaultSurge), of(st.MaxUnavailable, g.Defaults.MaxUnavailable, DefaultUnavailable)
}

// disabled tells whether a group's own defaults keep it out: it is not to be
// rotated unless the rotation file names it.
func (b *builder) disabled(g model.NodeGroup) bool {
	return g.Defaults.Disabled && !slices.Contains(b.spec.Select.Groups, g.Name)
}

func (b *builder) warnDisabled(g model.NodeGroup, nodes int) {
	b.warn(Finding{Code: "group-disabled", Object: g.Name,
		Message: fmt.Sprintf("group %s is not to be rotated, says %s: its %d outdated node(s) stay", g.Name, g.Defaults.Source, nodes),
		Fix:     "name the group in select.groups to rotate it all the same"})
}
