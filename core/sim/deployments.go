package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
)

// deployment owns a workload: it scales it, and replaces its pods when it is
// restarted. One ReplicaSet stands for all that it ever had.
type deployment struct {
	model.Deployment
	wl *workload
	// own is how many replicas people want; changed when they last said so.
	own     int
	changed time.Duration
	old     map[string]bool // pods, by UID, that a rollout replaces
	dueAt   time.Duration
}

// addDeployment puts a Deployment over a workload.
func (w *World) addDeployment(wl *workload) {
	d := &deployment{wl: wl, own: wl.Desired, changed: -time.Hour, Deployment: model.Deployment{
		WorkloadKey: model.WorkloadKey{Kind: "Deployment", Namespace: wl.Namespace, Name: wl.Name}, UID: "deployment-" + wl.Name,
		Replicas: wl.Desired, MaxSurge: 1}}
	wl.Owner, wl.deployment = d.WorkloadKey, d
	w.deployments = append(w.deployments, d)
}

func (w *World) tellDeployment(d *deployment) {
	w.visible(w.feed.deployments.push(w.now+w.lag("d"), d.WorkloadKey, d.shown(), false))
}

// shown is a value that does not change any more.
func (d *deployment) shown() model.Deployment {
	out := d.Deployment
	out.Labels = maps.Clone(out.Labels)
	return out
}

// rolling tells whether a rollout has old pods to replace still.
func (d *deployment) rolling() bool {
	return len(d.old) > 0 && slices.ContainsFunc(d.wl.pods, func(p *pod) bool { return d.old[p.UID] && p.counted })
}

// wants is how many pods the controller of a workload wants now: a rollout has
// one more until it is through.
func (wl *workload) wants() int {
	if wl.deployment != nil && wl.deployment.rolling() {
		return wl.Desired + 1
	}
	return wl.Desired
}

// reconcileDeployment lets the Deployment's controllers look, a little later: a
// pod too many goes, one of a rollout's old ones once enough others are Ready,
// and the status is written.
func (w *World) reconcileDeployment(d *deployment) {
	if d == nil || d.dueAt > w.now {
		return
	}
	dice := w.dice("deployment", d.Name, w.now.String())
	takes := dice.between(20*time.Millisecond, 600*time.Millisecond)
	d.dueAt = w.now + takes
	w.after(takes, func() {
		wl := d.wl
		ready := wl.healthy
		var live, old []*pod
		for _, p := range wl.pods {
			if p.counted {
				live = append(live, p)
				if d.old[p.UID] {
					old = append(old, p)
				}
			}
		}
		switch {
		case len(old) > 0:
			// maxUnavailable 0: an old pod goes when as many as wanted are Ready without it.
			slices.SortStableFunc(old, readyLast)
			if p := old[0]; !p.Ready || ready > wl.Desired {
				w.terminatePod(p, nil)
			}
		case len(live) > wl.Desired:
			d.old = nil
			// Those that are not scheduled go first, then those that are not Ready, then
			// the youngest, as a ReplicaSet's controller ranks them.
			slices.Reverse(live)
			slices.SortStableFunc(live, readyLast)
			w.terminatePod(live[0], nil)
		default:
			d.old = nil
		}
		out := len(live) == wl.Desired && ready == wl.Desired && len(d.old) == 0
		if out != d.RolledOut || ready != d.Ready {
			d.RolledOut, d.Ready = out, ready
			w.tellDeployment(d)
		}
		w.fill(wl)
	})
}

// readyLast orders pods by how dear they are to their controller.
func readyLast(a, b *pod) int {
	rank := func(p *pod) int {
		switch {
		case p.on == nil:
			return 0
		case !p.Ready:
			return 1
		}
		return 2
	}
	return rank(a) - rank(b)
}

// scale sets the replicas of a Deployment, and with them its ReplicaSet's.
func (w *World) scale(d *deployment, replicas int) {
	d.Replicas, d.wl.Desired, d.RolledOut = replicas, replicas, false
	w.tellDeployment(d)
	w.tellWorkload(d.wl)
	w.reconcileDeployment(d)
	for _, b := range d.wl.budgets {
		w.review(b)
	}
}

// patchWorkload brings a Deployment to a goal, as the cluster port does.
func (w *World) patchWorkload(k model.WorkloadKey, p *engine.WorkloadPatch) *engine.Error {
	i := slices.IndexFunc(w.deployments, func(d *deployment) bool { return d.WorkloadKey == k })
	if i < 0 {
		return notFound(k.Kind, k.Namespace+"/"+k.Name)
	}
	d := w.deployments[i]
	from, surged := d.Labels[model.LabelSurgedFrom]
	switch {
	case p.Restart != "" && d.RestartedAt != p.Restart:
		d.RestartedAt, d.RolledOut, d.old = p.Restart, false, make(map[string]bool)
		for _, o := range d.wl.pods {
			d.old[o.UID] = true
		}
		w.tellDeployment(d)
		w.reconcileDeployment(d)
	case p.Surge && !surged && d.Replicas != p.Replicas:
		return &engine.Error{Code: engine.ErrConflict, Message: fmt.Sprintf("%s has %d replicas, not %d: somebody scaled it", k, d.Replicas, p.Replicas)}
	case p.Surge && !surged:
		d.Labels = map[string]string{model.LabelSurgedFrom: strconv.Itoa(d.Replicas), model.LabelRotation: p.Rotation}
		w.scale(d, d.Replicas+1)
	case p.GiveBack && surged:
		d.Labels = nil
		if before, err := strconv.Atoi(from); err == nil && d.Replicas == before+1 {
			w.scale(d, before)
			return nil
		}
		w.tellDeployment(d)
	}
	return nil
}

// rescale has somebody scale a Deployment up, to a number that an extra replica
// of ours cannot be taken for.
func (w *World) rescale(d *deployment, by int) {
	d.own, d.changed = d.Replicas+by, w.now
	w.says("somebody scales %s to %d", d.WorkloadKey, d.own)
	w.scale(d, d.own)
}

// moves tells whether the spec asks for moves without downtime.
func (c *checker) moves() bool {
	return c.spec.Drain.SingleReplica == plan.SingleRestart || c.spec.Drain.SingleReplica == plan.SingleSurge
}

// alone judges an eviction by what is: the one replica of a Deployment does not
// go before another pod is Ready. Pods that were lost just now the engine could
// not know of, and with force a drain's deadline overrules.
func (c *checker) alone(p *pod, decided time.Duration) {
	d := p.workload.deployment
	if d == nil || d.own != 1 || !c.moves() || c.spec.Drain.OnDeadline == plan.DeadlineForce || len(p.Claims) > 0 {
		return
	}
	others := p.workload.healthy - 1
	since := decided - 3*time.Second
	recently := p.workload.lost > since || d.changed > since
	c.hold(Single, others > 0 || recently, "pod %s is evicted, and %s has no other that is Ready", p.PodKey, d.WorkloadKey)
}

// returned judges Deployments at the end: none keeps a replica of ours.
func (c *checker) returned() {
	for _, d := range c.w.deployments {
		c.hold(Single, !d.Surged(), "%s keeps our label, with %d replicas", d.WorkloadKey, d.Replicas)
		c.hold(Single, d.Replicas == d.own, "%s has %d replicas, and people want %d", d.WorkloadKey, d.Replicas, d.own)
	}
}
