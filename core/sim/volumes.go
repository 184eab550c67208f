package sim

import (
	"slices"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// attachment is a volume that is attached to a node.
type attachment struct {
	model.Attachment
	claim model.ClaimKey
	made  time.Duration
	left  time.Duration // when the pod that needed it went; 0: it is there
}

// claimOf names the claim of a pod, as a StatefulSet's template does.
func claimOf(pod string) string { return "data-" + pod }

// volumeOf names the volume of a claim. All are bound.
func volumeOf(claim string) string { return "pv-" + claim }

// persistent is what there is of volumes. Claims outlive their pods.
func (w *World) persistent(inv *model.Inventory) {
	for _, a := range w.attachments {
		inv.Attachments = append(inv.Attachments, a.Attachment)
	}
	for _, p := range inv.Pods {
		for _, name := range p.Claims {
			inv.Claims = append(inv.Claims, claim(model.ClaimKey{Namespace: p.Namespace, Name: name}))
		}
	}
}

func claim(k model.ClaimKey) model.Claim {
	return model.Claim{ClaimKey: k, UID: "claim-" + k.Name, Volume: volumeOf(k.Name)}
}

// attach lets the attach-detach controller give a bound pod its volume.
func (w *World) attach(p *pod, n *node) {
	for _, name := range p.Claims {
		k := model.ClaimKey{Namespace: p.Namespace, Name: name}
		w.visible(w.feed.claims.push(w.now+w.lag("c"), k, claim(k), false))
		i := slices.IndexFunc(w.attachments, func(a *attachment) bool { return a.claim == k && a.Node == n.Name })
		if i >= 0 {
			w.attachments[i].left = 0 // it came back before the detach
			continue
		}
		id := "csi-" + name + "-" + n.Name
		a := &attachment{claim: k, made: w.now, Attachment: model.Attachment{Name: id, UID: id, Node: n.Name, Volume: volumeOf(name), Attached: true}}
		w.attachments = append(w.attachments, a)
		w.tellAttachment(a, false)
	}
}

// detach begins the detach of what a pod that is gone has used.
func (w *World) detach(p *pod) {
	for _, a := range w.attachments {
		if a.Node != p.Node || !slices.Contains(p.Claims, a.claim.Name) || a.claim.Namespace != p.Namespace {
			continue
		}
		a.left = max(w.now, 1)
		d := w.dice("detach", p.UID)
		takes := d.between(500*time.Millisecond, 20*time.Second)
		if !w.healed && w.faults.strikes(w, SlowDetach, p.UID) {
			takes = d.between(3*time.Minute, 3*time.Hour)
		}
		left := a.left
		w.after(takes, func() {
			if a.left == left {
				w.dropAttachment(a)
			}
		})
	}
}

// forceDetach takes a node's volumes off it: its instance is gone.
func (w *World) forceDetach(n *node) {
	for _, a := range slices.Clone(w.attachments) {
		if a.Node == n.Name {
			a.left = max(w.now, 1)
			w.after(5*time.Second, func() { w.dropAttachment(a) })
		}
	}
}

func (w *World) dropAttachment(a *attachment) {
	if slices.Contains(w.attachments, a) {
		remove(&w.attachments, a)
		w.tellAttachment(a, true)
	}
}

// elsewhere tells whether a pod's volume is attached to another node: the pod
// cannot start before it is detached there.
func (w *World) elsewhere(p *pod) bool {
	return len(p.Claims) > 0 && slices.ContainsFunc(w.attachments, func(a *attachment) bool {
		return a.claim.Namespace == p.Namespace && a.claim.Name == p.Claims[0] && a.Node != p.Node
	})
}

func (w *World) tellAttachment(a *attachment, gone bool) {
	w.visible(w.feed.attachments.push(w.now+w.lag("a"), a.Name, a.Attachment, gone))
}

// isDetached judges by what is. The watch may not have shown yet what has just
// been attached.
func (c *checker) isDetached(e engine.Effect) {
	timeout := c.spec.Drain.VolumeDetachTimeout
	in := c.w.instances[e.InstanceID]
	if timeout <= 0 || in == nil || in.node == nil || c.w.nodes[in.node.Name] != in.node {
		return
	}
	for _, a := range c.w.attachments {
		if a.Node == in.node.Name && a.left > 0 && c.w.now-a.made > 2*time.Second {
			c.hold(Volumes, c.w.now-a.left >= timeout, "instance %s is ended with volume %s attached, whose pod left %s ago", in.ID, a.Volume, c.w.now-a.left)
		}
	}
}
