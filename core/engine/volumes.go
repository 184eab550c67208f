package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/model"
)

// persistent is what is known of persistent volumes.
type persistent struct {
	claims      map[model.ClaimKey]*model.Claim
	claimOf     map[string]model.ClaimKey // volume -> the claim that it is bound to
	attachments map[string]*model.Attachment
	attachedTo  map[string]map[string]*model.Attachment // by node, by name
}

func newPersistent() persistent {
	return persistent{claims: make(map[model.ClaimKey]*model.Claim), claimOf: make(map[string]model.ClaimKey),
		attachments: make(map[string]*model.Attachment), attachedTo: make(map[string]map[string]*model.Attachment)}
}

func (v *persistent) apply(in *Input) {
	for _, name := range in.AttachmentsGone {
		v.dropAttachment(name)
	}
	for _, k := range in.ClaimsGone {
		v.dropClaim(k)
	}
	for _, c := range in.Claims {
		v.dropClaim(c.ClaimKey)
		v.claims[c.ClaimKey] = &c
		if c.Volume != "" {
			v.claimOf[c.Volume] = c.ClaimKey
		}
	}
	for _, a := range in.Attachments {
		v.dropAttachment(a.Name)
		v.attachments[a.Name] = &a
		on := v.attachedTo[a.Node]
		if on == nil {
			on = make(map[string]*model.Attachment)
			v.attachedTo[a.Node] = on
		}
		on[a.Name] = &a
	}
}

func (v *persistent) dropAttachment(name string) {
	if a := v.attachments[name]; a != nil {
		delete(v.attachments, name)
		delete(v.attachedTo[a.Node], name)
		if len(v.attachedTo[a.Node]) == 0 {
			delete(v.attachedTo, a.Node)
		}
	}
}

func (v *persistent) dropClaim(k model.ClaimKey) {
	if c := v.claims[k]; c != nil {
		delete(v.claims, k)
		if v.claimOf[c.Volume] == k {
			delete(v.claimOf, c.Volume)
		}
	}
}

// attached returns what is attached to a node for pods that have left it, by
// volume. What pods use that stay until the instance goes (those of DaemonSets,
// static ones) is not waited for: it would never go.
func (e *Engine) attached(m *member) []*model.Attachment {
	w := e.w
	on := w.attachedTo[m.node]
	if len(on) == 0 {
		return nil
	}
	stays := make(map[string]bool)
	for _, p := range m.at.list {
		if e.decidePod(m, p).Action != drain.Leave || p.Finished() {
			continue // a pod that has ended uses its volumes no more
		}
		for _, name := range p.Claims {
			if c := w.claims[model.ClaimKey{Namespace: p.Namespace, Name: name}]; c != nil {
				stays[c.Volume] = true
			}
		}
	}
	var out []*model.Attachment
	for _, a := range on {
		if !stays[a.Volume] {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *model.Attachment) int { return strings.Compare(a.Volume+a.Name, b.Volume+b.Name) })
	return out
}

// detached tells whether the volumes of the pods that left a drained node are
// detached, so that its instance may end: what is attached to an instance that
// ends is torn off, after minutes, and the pod that needs it waits elsewhere.
// After the timeout the rotation goes on all the same, and says so.
func (e *Engine) detached(g *group, m *member) bool {
	timeout := e.cfg.Spec.Drain.VolumeDetachTimeout
	if timeout <= 0 || e.cfg.DrainOnly || m.n == nil {
		return true
	}
	left := e.attached(m)
	if len(left) == 0 {
		return true
	}
	d := &m.drain
	if d.detaching.IsZero() {
		d.detaching, d.toldAt = e.now, e.now
		g.lastProgress = e.now
		e.record(event.Event{Kind: event.NodeBlocked, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: codeVolumes,
			Message: fmt.Sprintf("%s is empty and waits for %s to detach", m.label(), e.volumesText(left))})
	}
	if e.after(d.detaching, timeout) {
		e.record(event.Event{Kind: event.NodeBlocked, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: "volumes-timeout",
			Message: fmt.Sprintf("%s has %s attached still after %s: its instance ends all the same, which forces the detach",
				m.label(), e.volumesText(left), timeout)})
		return true
	}
	if e.after(d.toldAt, reportEvery) {
		d.toldAt = e.now
		e.wake(e.now.Add(reportEvery))
		e.record(event.Event{Kind: event.NodeBlocked, Group: g.Name, Node: m.node, Instance: m.inst.ID, Code: codeVolumes,
			Message: fmt.Sprintf("%s waits for %s to detach, for %s so far", m.label(), e.volumesText(left), e.now.Sub(d.detaching).Round(time.Second))})
	}
	return false
}

// volumesText names volumes that are attached still, and whose they are.
func (e *Engine) volumesText(left []*model.Attachment) string {
	names := make([]string, len(left))
	for i, a := range left {
		names[i] = "volume " + a.Volume
		if k, ok := e.w.claimOf[a.Volume]; ok {
			names[i] += " of claim " + k.String()
			if p := e.w.claimant(k); p != nil && p.Node != a.Node {
				names[i] += " (pod " + p.PodKey.String() + ")"
			}
		}
	}
	return first(names)
}

// claimant is a pod that uses a claim, wherever it is now, the first by name;
// nil: none does.
func (w *world) claimant(k model.ClaimKey) *model.Pod {
	var found *model.Pod
	for _, p := range w.pods {
		if p.Namespace == k.Namespace && slices.Contains(p.Claims, k.Name) && (found == nil || p.Name < found.Name) {
			found = p
		}
	}
	return found
}
