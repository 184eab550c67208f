package engine

import (
	"fmt"

	"github.com/rotatord/rotator/core/model"
)

// Bastions (kops) are machines of the cluster that never join it: there is
// nothing to drain, and the provider alone says when one serves. Where a rotation
// does without the API server, the same holds for all machines.

// nodeless tells whether the group's machines are no nodes, as far as can be
// seen.
func (g *group) nodeless() bool { return g.Role == model.RoleBastion || g.cloudOnly }

// serving tells whether a machine that is no node is up, as the provider sees it.
func (m *member) serving() bool {
	return m.inst.State == model.InstanceInService || m.inst.State == model.InstanceDetached
}

// readyText says that a replacement is up.
func (m *member) readyText() string {
	if m.g.nodeless() {
		return fmt.Sprintf("instance %s is in service", m.inst.ID)
	}
	return fmt.Sprintf("node %s is Ready", m.node)
}
