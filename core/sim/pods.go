package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// workload is a controller of pods: it makes those that are missing.
type workload struct {
	model.Workload
	index      int    // among the world's
	app        string // the label of its pods, and what budgets select
	zone       string // where alone its pods may be; empty: anywhere
	request    int    // of one pod
	priority   int32
	stop       time.Duration // how long a pod takes to end, at most
	start      time.Duration // how long it takes to become Ready, at most
	volumes    bool          // each of its pods has a volume of its own
	static     bool          // its pods are static ones of the control plane
	deployment *deployment   // that owns it; nil: none
	traits     *model.PodTraits
	broken     int       // that many of its pods never become Ready
	budgets    []*budget // that select its pods
	pods       []*pod    // all that exist
	active     int       // those that are not terminating
	healthy    int       // those that are Ready; setReady and removePod keep it

	hold                     time.Duration // its pods ask not to be disrupted for so long
	toleratesCordon, skipped bool
	left                     *pod // of an ordered one: which we have made leave last

	lost time.Duration // when a Ready pod last went without an eviction

	barred bool // its pods are refused, as without a ServiceAccount

	fillDue, countDue bool
}

// scales tells whether the disruption controller finds how many pods it wants:
// pods without a controller count for none.
func (wl *workload) scales() bool {
	return wl.Kind == "ReplicaSet" || wl.Kind == "StatefulSet" || wl.Kind == ""
}

// find answers the workload of a label.
func (w *World) workload(app string) *workload {
	for _, wl := range w.workloads {
		if wl.app == app {
			return wl
		}
	}
	return nil
}

// fill lets a controller notice that pods are missing.
func (w *World) fill(wl *workload) {
	if wl.fillDue || wl.barred || wl.Kind == "DaemonSet" || wl.active >= wl.wants() {
		return
	}
	wl.fillDue = true
	d := w.dice("fill", wl.app, w.now.String())
	w.after(w.span(&d, w.pace.Control, 20*time.Millisecond, 800*time.Millisecond), func() {
		wl.fillDue = false
		if wl.Kind == "StatefulSet" {
			for i := range wl.Desired { // one name, one pod: the old one must be gone
				name := fmt.Sprintf("%s-%d", wl.app, i)
				if w.pods[model.PodKey{Namespace: wl.Namespace, Name: name}] == nil {
					w.newPod(wl, name, nil)
				}
			}
			return
		}
		for wl.active < wl.wants() {
			w.newPod(wl, fmt.Sprintf("%s-%d", wl.app, w.made+1), nil)
		}
	})
}

// daemonDue lets a node have a DaemonSet's pod after a while, where it gets one.
func (w *World) daemonDue(wl *workload, n *node, in time.Duration) {
	if !wl.runsOn(n) {
		return
	}
	wl.Desired++
	if in == 0 {
		w.daemon(wl, n)
		return
	}
	w.recount(wl)
	w.after(in, func() { w.daemon(wl, n) })
}

// runsOn tells whether a DaemonSet has a pod on the node.
func (wl *workload) runsOn(n *node) bool {
	return !wl.static || n.inst.g.Role == model.RoleControlPlane
}

// daemon starts a DaemonSet's pod on a node, unless there is one.
func (w *World) daemon(wl *workload, n *node) {
	if w.nodes[n.Name] != n || slices.ContainsFunc(n.pods, func(p *pod) bool { return p.workload == wl && p.counted }) {
		return
	}
	if wl.static {
		w.newPod(wl, wl.app+"-"+n.Name, n)
		return
	}
	w.newPod(wl, fmt.Sprintf("%s-%d", wl.app, w.made+1), n)
}

// newPod makes a pod; on a node where one is given, else for the scheduler.
func (w *World) newPod(wl *workload, name string, n *node) *pod {
	w.made++
	if wl.traits == nil {
		wl.traits = traitsOf(wl)
	}
	p := &pod{workload: wl, request: wl.request, made: w.now, counted: true, Pod: model.Pod{Traits: wl.traits,
		PodKey: model.PodKey{Namespace: wl.Namespace, Name: name}, UID: fmt.Sprintf("pod-%d", w.made), Owner: wl.WorkloadKey, Phase: "Pending",
		Priority: wl.priority, Labels: map[string]string{"app": wl.app}, GracePeriodSeconds: 30, ToleratesCordon: wl.toleratesCordon}}
	if wl.volumes {
		p.Claims = []string{claimOf(name)}
	}
	if wl.static {
		p.Mirror, p.Owner = true, model.WorkloadKey{}
	}
	if wl.hold > 0 {
		p.Detail = &model.PodDetail{DoNotDisrupt: "karpenter.sh/do-not-disrupt: " + wl.hold.String(), DoNotDisruptUntil: w.time().Add(wl.hold)}
	}
	w.pods[p.PodKey] = p
	wl.pods = append(wl.pods, p)
	wl.active++
	if n != nil {
		w.bind(p, n)
		return p
	}
	w.pending = append(w.pending, p)
	w.tellPod(p, false)
	w.touched(p)
	w.schedule()
	return p
}

// bind puts a pod on a node, whose kubelet starts it.
func (w *World) bind(p *pod, n *node) {
	p.on, p.Node = n, n.Name
	n.pods = append(n.pods, p)
	n.used += p.request
	n.hosts[p.workload.index]++
	w.attach(p, n)
	w.tellPod(p, false)
	w.touched(p)
	d := w.dice("start", p.UID)
	takes := w.span(&d, p.workload.start, 500*time.Millisecond, p.workload.start)
	if !w.healed && w.faults.strikes(w, SlowPods, p.UID) {
		takes += d.between(2*time.Minute, 12*time.Minute)
	}
	w.after(takes/2, func() {
		if w.pods[p.PodKey] == p && !n.dead && p.Phase == "Pending" && !p.Terminating {
			p.Phase = "Running"
			w.podChanged(p)
		}
	})
	w.after(takes, func() { w.podReady(p) })
}

func (w *World) podReady(p *pod) {
	if w.pods[p.PodKey] != p || p.on.dead || p.Terminating || p.Ready || p.Finished() {
		return
	}
	if w.elsewhere(p) {
		w.after(2*time.Second, func() { w.podReady(p) })
		return
	}
	if wl := p.workload; wl.broken > 0 {
		unready := 0
		for _, o := range wl.pods {
			if o.counted && !o.Ready && o.Phase == "Running" && o != p {
				unready++
			}
		}
		if unready < wl.broken {
			return
		}
	}
	p.Phase = "Running"
	p.setReady(true)
	w.podChanged(p)
}

// setReady is the only place that changes whether a pod is Ready.
func (p *pod) setReady(ready bool) {
	if p.Ready == ready {
		return
	}
	if p.Ready = ready; ready {
		p.workload.healthy++
	} else {
		p.workload.healthy--
	}
}

// podChanged tells everybody about a pod.
func (w *World) podChanged(p *pod) {
	w.tellPod(p, false)
	w.touched(p)
}

// touched lets a pod's controllers look again.
func (w *World) touched(p *pod) {
	w.recount(p.workload)
	w.fill(p.workload)
	w.reconcileDeployment(p.workload.deployment)
	w.disruption(p)
}

// terminate begins a pod's end.
func (w *World) terminatePod(p *pod, grace *int64) {
	if p.Terminating {
		return
	}
	if p.on == nil || p.Finished() {
		w.removePod(p)
		return
	}
	p.Terminating = true
	p.setReady(false)
	w.uncount(p)
	seconds := p.GracePeriodSeconds
	if grace != nil {
		seconds = *grace
	}
	detail := p.Details()
	detail.EndsBy = w.time().Add(time.Duration(seconds) * time.Second)
	p.Detail = &detail
	w.podChanged(p)
	d := w.dice("stop", p.UID)
	w.after(min(w.span(&d, p.workload.stop, 100*time.Millisecond, p.workload.stop), time.Duration(seconds)*time.Second), func() {
		if w.pods[p.PodKey] == p && !p.on.dead {
			w.removePod(p) // on a dead node it hangs until the node goes
		}
	})
}

func (w *World) uncount(p *pod) {
	if p.counted {
		p.workload.active--
	}
	p.counted = false
}

// removePod deletes a pod at once.
func (w *World) removePod(p *pod) {
	if w.pods[p.PodKey] != p {
		return
	}
	delete(w.pods, p.PodKey)
	if p.Ready { // its last state stays as it was
		p.workload.lost = w.now
		p.workload.healthy--
	}
	w.uncount(p)
	if p.on != nil {
		p.on.used -= p.request
		p.on.hosts[p.workload.index]--
		remove(&p.on.pods, p)
		w.detach(p)
	} else {
		remove(&w.pending, p)
	}
	wl := p.workload
	remove(&wl.pods, p)
	w.tellPod(p, true)
	w.touched(p)
	w.schedule()
	if wl.Kind == "DaemonSet" && p.on != nil && w.nodes[p.on.Name] == p.on {
		n := p.on
		w.after(time.Second, func() { w.daemon(wl, n) })
	}
}

// remove takes v out of s, keeping the order of the others.
func remove[T comparable](s *[]T, v T) {
	if i := slices.Index(*s, v); i >= 0 {
		*s = slices.Delete(*s, i, i+1)
	}
}

// recount lets a controller write its status.
func (w *World) recount(wl *workload) {
	if wl.countDue {
		return
	}
	wl.countDue = true
	d := w.dice("recount", wl.app, w.now.String())
	w.after(w.span(&d, w.pace.Control, 50*time.Millisecond, 600*time.Millisecond), func() {
		wl.countDue = false
		if wl.healthy != wl.Ready || wl.Kind == "DaemonSet" {
			wl.Ready = wl.healthy
			w.tellWorkload(wl)
		}
	})
}
