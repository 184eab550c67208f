package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// toyDeployment is a Deployment with one ReplicaSet of the same name.
type toyDeployment struct {
	model.Deployment
	stuck bool           // its rollouts never complete
	old   map[string]int // pods, by UID, that a rollout has to replace
}

func deploymentKey(name string) model.WorkloadKey {
	return model.WorkloadKey{Kind: "Deployment", Namespace: "default", Name: name}
}

// addDeployment makes the Deployment of a ReplicaSet that there is already.
func (t *toy) addDeployment(rs model.WorkloadKey, how string) {
	w := t.workloads[rs]
	d := &toyDeployment{Deployment: model.Deployment{WorkloadKey: deploymentKey(rs.Name), UID: "deployment-" + rs.Name, Replicas: w.Desired, MaxSurge: 1}}
	switch how {
	case "Recreate":
		d.MaxSurge, d.MaxUnavailable = 0, w.Desired
	case "surged": // an earlier run did
		d.Labels = map[string]string{model.LabelSurgedFrom: strconv.Itoa(d.Replicas - 1), model.LabelRotation: "r0"}
	case "stuck":
		d.stuck = true
	case "autoscaled":
		t.deltas.more.Autoscalers = append(t.deltas.more.Autoscalers, model.Autoscaler{
			AutoscalerKey: model.AutoscalerKey{Namespace: "default", Name: rs.Name}, Target: d.WorkloadKey})
	}
	w.Owner = d.WorkloadKey
	t.deltas.workload(*w)
	t.deployments[d.WorkloadKey] = d
}

// scale is a change of replicas, by whomever.
func (t *toy) scale(d *toyDeployment, replicas int) {
	d.Replicas = replicas
	for _, w := range t.workloads {
		if w.Owner == d.WorkloadKey {
			w.Desired = replicas
			t.deltas.workload(*w)
		}
	}
	t.count()
}

// patchWorkload does what the cluster port does.
func (t *toy) patchWorkload(k model.WorkloadKey, p *engine.WorkloadPatch) *engine.Error {
	d := t.deployments[k]
	if d == nil {
		return &engine.Error{Code: engine.ErrNotFound, Message: k.String() + " not found"}
	}
	d.Labels = maps.Clone(d.Labels)
	switch from, surged := d.Labels[model.LabelSurgedFrom]; {
	case p.Restart != "":
		d.RestartedAt, d.old = p.Restart, map[string]int{}
		for _, pod := range t.pods {
			if pod.Owner.Name == k.Name {
				d.old[pod.UID]++
			}
		}
	case p.Surge && !surged && d.Replicas != p.Replicas:
		return &engine.Error{Code: engine.ErrConflict, Message: fmt.Sprintf("%s has %d replicas, not %d: somebody scaled it", k, d.Replicas, p.Replicas)}
	case p.Surge && !surged:
		d.Labels = map[string]string{model.LabelSurgedFrom: strconv.Itoa(d.Replicas), model.LabelRotation: p.Rotation}
		t.scale(d, d.Replicas+1)
	case p.GiveBack && surged:
		clear(d.Labels)
		if before := number(from); d.Replicas == before+1 {
			t.scale(d, before)
		}
	}
	t.count()
	return nil
}

// progress lets the controllers of Deployments do one thing each: start what is
// missing, end what is too many, replace what a rollout has made old. It tells
// whether they had anything to do.
func (t *toy) progress() bool {
	if t.noProgress {
		return false
	}
	did := false
	for _, k := range slices.SortedFunc(maps.Keys(t.deployments), func(a, b model.WorkloadKey) int { return strings.Compare(a.Name, b.Name) }) {
		d := t.deployments[k]
		rs := model.WorkloadKey{Kind: "ReplicaSet", Namespace: k.Namespace, Name: k.Name}
		var live []*model.Pod
		on := make(map[string]int)
		for _, p := range t.pods {
			on[p.Node]++
			if p.Owner == rs && !p.Terminating {
				live = append(live, p)
			}
		}
		// The order in which a ReplicaSet gives pods up: the youngest first. A rollout
		// gives up the old ones.
		slices.SortFunc(live, func(a, b *model.Pod) int {
			return (d.old[a.UID]-d.old[b.UID])*10_000 + number(a.UID[1:]) - number(b.UID[1:])
		})
		rolling := slices.ContainsFunc(live, func(p *model.Pod) bool { return d.old[p.UID] > 0 })
		node := t.schedule(on, false, model.LostLabel{})
		ready := 0
		for _, p := range live {
			ready += map[bool]int{true: 1}[p.Ready]
		}
		switch {
		case rolling && len(live) > d.Replicas && ready <= d.Replicas: // maxUnavailable 0
			continue
		case len(live) > d.Replicas:
			p := *live[len(live)-1]
			p.Terminating, p.Ready = true, false
			t.setPod(&p)
		case node != "" && (len(live) < d.Replicas || rolling && !d.stuck):
			t.startPod(rs, node)
		default:
			continue
		}
		did = true
	}
	t.count()
	return did
}

// countDeployments does what the Deployment controller does with its status.
func (t *toy) countDeployments() {
	for k, d := range t.deployments {
		now := d.Deployment
		now.Ready = t.workloads[model.WorkloadKey{Kind: "ReplicaSet", Namespace: k.Namespace, Name: k.Name}].Ready
		now.RolledOut = now.Ready == now.Replicas && !slices.ContainsFunc(t.sortedPods(), func(p *model.Pod) bool { return d.old[p.UID] > 0 && !p.Terminating })
		if now.Ready != d.Ready || now.RolledOut != d.RolledOut || now.RestartedAt != t.told[k].RestartedAt ||
			now.Replicas != t.told[k].Replicas || !maps.Equal(now.Labels, t.told[k].Labels) {
			t.deltas.more.Deployments = append(t.deltas.more.Deployments, now)
			d.Deployment, t.told[k] = now, now
		}
	}
}

// deploymentsText is what there is of them, for a script.
func (t *toy) deploymentsText() string {
	var b strings.Builder
	for _, k := range slices.SortedFunc(maps.Keys(t.deployments), func(a, b model.WorkloadKey) int { return strings.Compare(a.Name, b.Name) }) {
		d := t.deployments[k]
		fmt.Fprintf(&b, "%s replicas=%d ready=%d restarted=%v labels=%d\n", d.WorkloadKey, d.Replicas, d.Ready, d.RestartedAt != "", len(d.Labels))
	}
	return b.String()
}
