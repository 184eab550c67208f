package plan

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/model"
)

// SelectionError says that the selection names something that does not exist,
// or matches nothing at all.
type SelectionError struct {
	Message string
	Fix     string
}

func (e *SelectionError) Error() string { return e.Message }

// roleOrder is the order in which roles are visited.
var roleOrder = []model.Role{model.RoleBastion, model.RoleControlPlane, model.RoleAPIServer, model.RoleNode}

// selectGroups returns the groups of the selection in the order in which they
// are visited: by role, then by name.
func selectGroups(cluster string, sel Select, all []model.NodeGroup) ([]model.NodeGroup, error) {
	if len(all) == 0 {
		return nil, &SelectionError{Message: fmt.Sprintf("the driver found no node group of cluster %s", cluster),
			Fix: "check the cluster's name, the driver's account and region, and how its groups are marked"}
	}
	roles := sel.Roles
	if len(roles) == 0 {
		roles = []string{string(model.RoleNode)}
	}
	var chosen []model.NodeGroup
	for _, g := range all {
		if matches(sel.ExcludeGroups, g.Name) || len(sel.Groups) > 0 && !matches(sel.Groups, g.Name) {
			continue
		}
		if slices.Contains(roles, string(g.Role)) {
			chosen = append(chosen, g)
		}
	}
	for _, pattern := range sel.Groups {
		if !slices.ContainsFunc(all, func(g model.NodeGroup) bool { return matches([]string{pattern}, g.Name) }) {
			return nil, &SelectionError{Message: fmt.Sprintf("no node group is named %q", pattern), Fix: "choose among: " + names(all)}
		}
	}
	if len(chosen) == 0 {
		return nil, &SelectionError{
			Message: fmt.Sprintf("the selection matches none of the %d node group(s) of cluster %s (roles %s)", len(all), cluster, strings.Join(roles, ", ")),
			Fix:     "check select.groups, select.excludeGroups and select.roles; the driver found: " + names(all)}
	}
	slices.SortFunc(chosen, func(a, b model.NodeGroup) int {
		return cmp.Or(cmp.Compare(slices.Index(roleOrder, a.Role), slices.Index(roleOrder, b.Role)), cmp.Compare(a.Name, b.Name))
	})
	return chosen, nil
}

// matches tells whether one of the patterns is the name or matches it. A
// malformed pattern matches nothing: config refuses it earlier.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return p == name || err == nil && ok
	})
}

func names(groups []model.NodeGroup) string {
	var s []string
	for _, g := range groups {
		s = append(s, g.Name)
	}
	slices.Sort(s)
	const most = 20
	if more := len(s) - most; more > 0 {
		s = append(s[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(s, ", ")
}

// checkNodesSelected refuses names in select.nodes that nothing bears, and
// those of nodes outside the selected groups: nothing would be done about them.
func (b *builder) checkNodesSelected(groups []model.NodeGroup) error {
	selected := make(map[string]bool)
	for _, g := range groups {
		for _, in := range b.instances[g.ID] {
			selected[in.ID] = true
			if n := b.nodeOf[in.ProviderID]; n != nil {
				selected[n.Name] = true
			}
		}
	}
	for _, want := range b.spec.Select.Nodes {
		if selected[want] {
			continue
		}
		known := slices.ContainsFunc(b.inv.Nodes, func(n model.Node) bool { return n.Name == want }) ||
			slices.ContainsFunc(b.inv.Instances, func(i model.Instance) bool { return i.ID == want })
		if known {
			return &SelectionError{Message: fmt.Sprintf("%q is in none of the selected node groups", want),
				Fix: "check select.groups, select.excludeGroups and select.roles; a node without spec.providerID is in no group"}
		}
		return &SelectionError{Message: fmt.Sprintf("no node or instance is named %q", want),
			Fix: "give names as kubectl get nodes prints them, or the provider's instance ids"}
	}
	return nil
}
