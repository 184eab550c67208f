package engine

import "github.com/rotatord/rotator/core/model"

// Groups whose replacements come up under the names of what they replace (kops
// on Google Cloud and Scaleway). A kubelet that finds a Node object of its name
// takes it over, cordon and all. So the object is deleted first, within the op
// that ends the instance: both are sent again together, and the deletion is of
// one life of the node, so that it never hits the replacement's.
//
// From then on the provider alone says when the old machine is gone: that its
// node is not there says nothing.

// forgetNode answers the life of a member's node that goes before its instance;
// nil: the cloud's controller deletes the node, as everywhere else.
func (e *Engine) forgetNode(g *group, m *member) *model.Node {
	if !g.Traits.KeepsNodeName || g.nodeless() || e.cfg.DrainOnly {
		return nil
	}
	n := e.w.nodes[m.node]
	if n == nil {
		return nil
	}
	if e.departed == nil {
		e.departed = make(map[string]bool)
	}
	e.departed[n.UID] = true
	return n
}

// nodeFor finds the node that has a provider id. One that was deleted does not
// count: a watch may be late, and the replacement have the same provider id.
func (e *Engine) nodeFor(providerID string) (name string, joined bool) {
	name, joined = e.w.nodeOf[providerID]
	if n := e.w.nodes[name]; joined && n != nil && e.departed[n.UID] {
		return "", false
	}
	return name, joined
}
