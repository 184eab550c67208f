package engine

import "github.com/rotatord/rotator/core/model"

// Metadata is what the patch's goals make of a node's labels and annotations:
// what to set, and by nil what to remove. Nothing in it is as it is already.
//
// A mark that others may set too has an annotation of ours beside it, set and
// removed in the same write, which MUST be made under the resourceVersion that
// labels and annotations were read with: so that a rotation takes back what it
// set, and nothing else. With our annotation there, a mark that differs from
// what we set was changed by somebody since, and stays.
func (p *NodePatch) Metadata(labels, annotations map[string]string) (setLabels, setAnnotations map[string]*string) {
	setLabels, setAnnotations = make(map[string]*string), make(map[string]*string)
	set := func(k, v string) {
		if old, ok := annotations[k]; !ok || old != v {
			setAnnotations[k] = &v
		}
	}
	drop := func(k string) {
		if _, ok := annotations[k]; ok {
			setAnnotations[k] = nil
		}
	}
	for k, v := range p.SetAnnotations {
		set(k, v)
	}
	for _, k := range p.DropAnnotations {
		drop(k)
	}
	const on = "true"
	if p.Shield != nil {
		was, had := annotations[model.AnnotationScaleDownDisabled]
		before, ours := annotations[model.AnnotationShielded]
		switch {
		case *p.Shield && !ours && was != on:
			if !had {
				was = model.Absent
			}
			set(model.AnnotationShielded, was)
			set(model.AnnotationScaleDownDisabled, on)
		case !*p.Shield && ours:
			drop(model.AnnotationShielded)
			if was != on {
				break // somebody changed it
			}
			if before == model.Absent {
				drop(model.AnnotationScaleDownDisabled)
			} else {
				set(model.AnnotationScaleDownDisabled, before)
			}
		}
	}
	if p.Exclude != nil {
		now, has := labels[model.LabelExcludeFromLoadBalancers]
		_, ours := annotations[model.AnnotationExcluded]
		switch {
		case *p.Exclude && !ours && !has:
			v := on
			set(model.AnnotationExcluded, on)
			setLabels[model.LabelExcludeFromLoadBalancers] = &v
		case !*p.Exclude && ours:
			drop(model.AnnotationExcluded)
			if has && now == on {
				setLabels[model.LabelExcludeFromLoadBalancers] = nil
			}
		}
	}
	return setLabels, setAnnotations
}

// goal is a pointer to a goal of a patch.
func goal(b bool) *bool { return &b }

// shieldNew keeps the cluster autoscaler from a new node as soon as it has
// joined: it is empty, and the group has more nodes than its pods need.
func (e *Engine) shieldNew(g *group, m *member) {
	if !e.cfg.Spec.Strategy.AutoscalerShield || g.Roll != nil || !m.ours || m.shielded || m.n == nil || m.phase == memberTerminating ||
		e.phase != phaseRunning || !e.started || e.cfg.DrainOnly {
		return
	}
	m.shielded = true
	e.marked[m.node] = true
	e.addOp(&op{purpose: forTaint, group: g, member: m, Effect: Effect{Verb: VerbPatchNode, Node: m.node,
		Patch: &NodePatch{UID: m.n.UID, Shield: goal(true)}}})
}

// shield is the goal for nodes that the cluster autoscaler must leave alone;
// nil: nobody asked for that.
func (e *Engine) shield() *bool {
	if !e.cfg.Spec.Strategy.AutoscalerShield {
		return nil
	}
	return goal(true)
}

// excludes tells whether a node leaves the load balancers before its drain. A
// node that is only drained keeps its cordon for good, and nobody would take the
// label off again.
func (e *Engine) excludes() bool {
	return e.cfg.Spec.Drain.ExcludeFromLoadBalancers && !e.cfg.DrainOnly
}

// takeBack adds to a patch the end of the marks that the node has of ours, or
// may have: what was asked for may not show yet.
func (e *Engine) takeBack(p *NodePatch, n *model.Node) {
	if e.cfg.Spec.Strategy.AutoscalerShield || n.Annotations[model.AnnotationShielded] != "" {
		p.Shield = goal(false)
	}
	e.takeBackExclusion(p, n)
}

func (e *Engine) takeBackExclusion(p *NodePatch, n *model.Node) {
	if e.excludes() || n.Annotations[model.AnnotationExcluded] != "" {
		p.Exclude = goal(false)
	}
}

// undoes tells whether a patch takes back what keeps a node from serving.
func (p *NodePatch) undoes() bool {
	return p.Unschedulable != nil && !*p.Unschedulable || p.Exclude != nil && !*p.Exclude
}

// onlyShielded tells whether the node carries no mark of ours but the shield.
func onlyShielded(n *model.Node) bool {
	if n == nil || n.Annotations[model.AnnotationShielded] == "" {
		return false
	}
	bare := *n
	bare.Annotations = map[string]string{}
	for k, v := range n.Annotations {
		if k != model.AnnotationShielded {
			bare.Annotations[k] = v
		}
	}
	return !bare.Marked()
}
