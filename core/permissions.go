package core

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/plan"
)

// lookForPermissions finds out what rotator's user may not do and a rotation by
// this spec would. A plan only warns of it: who looks at plans need not be who
// carries them out. Run refuses, before it touches anything.
func (r *Rotator) lookForPermissions(ctx context.Context) {
	r.ask(ctx, needs(r.opts.Spec).Permissions())
}

// lookForDeletions does the same for what only the groups show: that nodes are
// to be deleted, because replacements come up under their names.
func (r *Rotator) lookForDeletions(ctx context.Context) {
	if r.deletions || r.plan == nil || !slices.ContainsFunc(r.plan.Groups, func(g plan.Group) bool { return g.Traits.KeepsNodeName && len(g.Nodes) > 0 }) {
		return
	}
	r.deletions = true
	r.ask(ctx, []kube.Permission{{Verb: "delete", Resource: "nodes"}})
}

func (r *Rotator) ask(ctx context.Context, list []kube.Permission) {
	c, ok := r.cluster.(*kube.Cluster)
	if !ok {
		return
	}
	missing, err := c.Missing(ctx, list)
	if err != nil {
		r.opts.Log.Warn("cannot tell which permissions are missing: that would show where they are needed", "error", err)
		return
	}
	if len(missing) == 0 {
		return
	}
	names := make([]string, 0, len(missing))
	for _, p := range missing {
		names = append(names, p.String())
	}
	r.lacking = append(r.lacking, plan.Finding{Code: "permission-missing", Object: names[0],
		Message: "a rotation is not possible: rotator's user may not " + strings.Join(names, ", "),
		Fix:     "grant it to the user of this kubeconfig: deploy/kubernetes/rbac.yaml has all that a rotation needs, and no more; `kubectl auth can-i` makes the same check"})
}

// needs are those of a rotation by this spec.
func needs(s plan.Spec) kube.Needs {
	return kube.Needs{
		Volumes: watchesVolumes(s), Autoscalers: moves(s), MoveWorkloads: moves(s),
		DeletePods: s.Drain.OnDeadline == plan.DeadlineForce,
		Namespace:  cmp.Or(s.Journal.Namespace, defaultNamespace),
		Journal:    s.Journal.Store == plan.StoreCluster || s.Journal.Store == "" && s.Journal.Dir == "",
	}
}
