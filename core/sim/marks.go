package sim

import (
	"strings"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// marks are those that people, too, set on a node for others: whether the
// cluster autoscaler may remove it, and whether load balancers leave it out.
func (n *node) marks() string {
	var marks []string
	if v, ok := n.Annotations[model.AnnotationScaleDownDisabled]; ok {
		marks = append(marks, "scale-down-disabled="+v)
	}
	if v, ok := n.Labels[model.LabelExcludeFromLoadBalancers]; ok {
		marks = append(marks, "excluded="+v)
	}
	return strings.Join(marks, " ")
}

// kept tells whether the cluster autoscaler leaves the node alone.
func (n *node) kept() bool {
	return n != nil && n.Annotations[model.AnnotationScaleDownDisabled] == "true"
}

// markFor has a person set marks of a node: they are to stay so.
func (w *World) markFor(n *node, autoscaler, balancers string) {
	n.Annotations = merged(n.Annotations, map[string]*string{model.AnnotationScaleDownDisabled: &autoscaler})
	n.Labels = merged(n.Labels, map[string]*string{model.LabelExcludeFromLoadBalancers: &balancers})
	n.theirs = n.marks()
}

// excluded judges an eviction: the node's load balancers must have been told by
// the cordon's patch, which an earlier run may take back late.
func (c *checker) excluded(e engine.Effect) {
	n := c.w.nodes[e.Node]
	if n == nil || !c.spec.Drain.ExcludeFromLoadBalancers || c.late[e.Node] {
		return
	}
	_, ok := n.Labels[model.LabelExcludeFromLoadBalancers]
	c.hold(Excluded, ok, "pod %s is evicted, and load balancers send to its node %s still", e.Pod, e.Node)
}

// lateMarks takes note of a patch of an earlier run that lands in this one, or
// after it: LoseLease is harsher than the lock, which waits for such calls. One
// of this run that follows makes up for it.
func (c *checker) lateMarks(k *call) {
	p := k.Patch
	if p.Shield == nil && p.Exclude == nil {
		return
	}
	c.late[k.Node] = !c.intended[k.ID]
}
