package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rotatord/rotator/core/model"
)

// Selected returns the groups that the spec selects, in the order in which they
// are visited. The only error is a *SelectionError.
func Selected(spec Spec, groups []model.NodeGroup) ([]model.NodeGroup, error) {
	return selectGroups(spec.Cluster, spec.Select, groups)
}

// SelectReleases keeps those of the groups that the spec selects, in the same
// order. The only error is a *SelectionError.
func SelectReleases(spec Spec, all []model.GroupRelease) ([]model.GroupRelease, error) {
	groups := make([]model.NodeGroup, 0, len(all))
	for _, r := range all {
		groups = append(groups, model.NodeGroup{ID: r.GroupID, Name: r.Group, Role: r.Role})
	}
	chosen, err := Selected(spec, groups)
	if err != nil {
		return nil, err
	}
	out := make([]model.GroupRelease, 0, len(chosen))
	for _, g := range chosen {
		i := slices.IndexFunc(all, func(r model.GroupRelease) bool { return r.GroupID == g.ID })
		out = append(out, all[i])
	}
	return out, nil
}

// CheckRelease says why a group must not be given its target: its own
// diagnostics, or a downgrade that nobody allowed. heldBy is the rotation that
// works on the group; empty: none. No finding: it may.
func CheckRelease(r *model.GroupRelease, heldBy string, allowDowngrade bool) []Finding {
	var list []Finding
	for _, d := range r.Diagnostics {
		if d.Severity == model.SeverityError {
			list = append(list, Finding{Code: d.Code, Object: r.Group, Message: d.Summary, Fix: d.Detail})
		}
	}
	if len(list) > 0 || r.Target == nil || r.Order == model.ReleaseSame {
		return list
	}
	if r.Order == model.ReleaseOlder && !allowDowngrade {
		list = append(list, Finding{Code: "release-older", Object: r.Group,
			Message: fmt.Sprintf("group %s: release %s is older than its own, %s", r.Group, r.Target, r.Current),
			Fix:     "if it is meant, allow it with --allow-downgrade"})
	}
	if heldBy != "" {
		list = append(list, Finding{Code: "release-held", Object: r.Group,
			Message: fmt.Sprintf("group %s is held by rotation %s, which goes on to the release that the group has: %s", r.Group, heldBy, r.Current),
			Fix:     "let it end (`rotatord resume` without --release), or take it back (`rotatord abort`), then stage the release"})
	}
	return list
}

// staging decides whether the group gets another release; nil: it keeps its own.
func (b *builder) staging(g model.NodeGroup) *Staging {
	if b.spec.Release == "" || b.past.Staged[g.Name] || b.disabled(g) {
		return nil
	}
	i := slices.IndexFunc(b.inv.Releases, func(r model.GroupRelease) bool { return r.GroupID == g.ID })
	if i < 0 {
		b.refuse(Finding{Code: "cannot-stage", Object: g.Name,
			Message: fmt.Sprintf("the driver cannot give group %s another release", g.Name),
			Fix:     "leave the group out with select.excludeGroups, or change its image by the means that made it and rotate without --release"})
		return nil
	}
	r := &b.inv.Releases[i]
	b.plan.Refusals = append(b.plan.Refusals, CheckRelease(r, g.HeldBy, b.spec.AllowDowngrade)...)
	for _, d := range r.Diagnostics {
		if d.Severity != model.SeverityError {
			b.warn(Finding{Code: d.Code, Object: g.Name, Message: d.Summary, Fix: d.Detail})
		}
	}
	if r.Target == nil || r.Order == model.ReleaseSame {
		return nil
	}
	if r.Order == model.ReleaseUnknown {
		b.warn(Finding{Code: "release-unordered", Object: g.Name,
			Message: fmt.Sprintf("group %s: whether release %s is newer than %s cannot be told", g.Name, r.Target, r.Current),
			Fix:     "nothing, if it is the one that you mean"})
	}
	return &Staging{From: r.Current, To: *r.Target, Order: r.Order}
}

// outdates says why an instance that is current will not be once s is staged.
func (s *Staging) outdates(in model.Instance) []model.Reason {
	if s == nil || in.Revision == s.To.ID {
		return nil
	}
	return []model.Reason{{Code: "release", Message: fmt.Sprintf("outdated once its group has release %s", cmp.Or(s.To.Name, s.To.ID))}}
}
