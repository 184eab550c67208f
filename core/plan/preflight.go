package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rotatord/rotator/core/drain"
	"github.com/rotatord/rotator/core/model"
)

// checkIdentity refuses to work on a cluster that is not the provider's: the
// instances in service must be the cluster's nodes, by provider id. A
// kubeconfig of another cluster fails here, before anything is touched.
func (b *builder) checkIdentity(groups []model.NodeGroup) {
	inService, joined, booting := 0, 0, 0
	for _, g := range groups {
		if g.Role == model.RoleBastion {
			continue // never nodes
		}
		for _, in := range b.instances[g.ID] {
			if in.State != model.InstanceInService {
				continue
			}
			inService++
			switch {
			case b.nodeOf[in.ProviderID] != nil:
				joined++
			case !in.LaunchedAt.IsZero() && b.now.Sub(in.LaunchedAt) < b.spec.Gates.NodeReady.Timeout:
				booting++
			}
		}
	}
	var nameless []string
	for _, n := range b.inv.Nodes {
		if n.ProviderID == "" {
			nameless = append(nameless, n.Name)
		}
	}
	slices.Sort(nameless)
	if len(nameless) > 0 {
		b.warn(Finding{Code: "no-provider-id", Object: nameless[0],
			Message: fmt.Sprintf("%d node(s) have no spec.providerID and cannot be joined to an instance: %s", len(nameless), list(nameless)),
			Fix:     "find out why the cloud controller did not set it; these nodes are left alone"})
	}
	// Half: broken nodes do not make a cluster foreign. Nor do those that may still
	// be booting: a provider that rolls a group may bring up several times what the
	// group has. Where nothing has joined at all, they are no excuse.
	if inService > 0 && (joined == 0 || joined*2 < inService-booting) {
		b.refuse(Finding{Code: "other-cluster", Object: b.spec.Cluster,
			Message: fmt.Sprintf("of %d instances in service of cluster %s only %d are nodes of the cluster that the kubeconfig points at", inService, b.spec.Cluster, joined),
			Fix:     "point --kubeconfig and --context at the same cluster as --cluster; if they are the same, find out why its instances did not join"})
	}
}

// checkGroup refuses what the driver reports as an error, and what the traits
// do not offer.
func (b *builder) checkGroup(g model.NodeGroup) {
	b.checkDiagnostics(g)
	if !g.Traits.TerminateKeep || g.Traits.Refill == model.RefillNobody || g.Traits.Drains != model.DrainsCore {
		b.refuse(Finding{Code: "cannot-replace", Object: g.Name,
			Message: fmt.Sprintf("the driver offers no way to replace instances of group %s that this version can use", g.Name),
			Fix:     "leave the group out with select.excludeGroups"})
	}
	if b.spec.CloudOnly && g.Traits.Refill == model.RefillScheduler {
		b.refuse(Finding{Code: "cannot-replace", Object: g.Name,
			Message: fmt.Sprintf("instances of group %s are replaced when pods are pending, and without the API server nothing shows pods", g.Name),
			Fix:     "rotate this group with the API server reachable, or leave it out with select.excludeGroups"})
	}
}

func (b *builder) checkDiagnostics(g model.NodeGroup) {
	for _, d := range g.Diagnostics {
		f := Finding{Code: d.Code, Object: g.Name, Message: d.Summary, Fix: d.Detail}
		switch d.Severity {
		case model.SeverityError:
			b.refuse(f)
		case model.SeverityWarning, model.SeverityInfo:
			b.warn(f)
		}
	}
}

// warnCurrent passes on what the driver warns of a group of which nothing is
// outdated: that may be why, as where a change is specified and was not applied.
func (b *builder) warnCurrent(g model.NodeGroup) {
	for _, d := range g.Diagnostics {
		if d.Severity == model.SeverityWarning {
			b.warn(Finding{Code: d.Code, Object: g.Name, Message: d.Summary, Fix: d.Detail})
		}
	}
}

// checkShrink refuses a surge that could not be taken back.
func (b *builder) checkShrink(g Group) {
	if g.Surge > 0 && !g.Traits.TerminateShrink {
		b.refuse(Finding{Code: "cannot-shrink", Object: g.Name,
			Message: fmt.Sprintf("the driver can add instances to group %s and cannot take them back", g.Name),
			Fix:     "set strategy.maxSurge to 0"})
	}
}

// noteCloudOnly says what a rotation without the API server does not do.
func (b *builder) noteCloudOnly() {
	b.warn(Finding{Code: "cloud-only", Object: b.spec.Cluster,
		Message: fmt.Sprintf("cluster %s is rotated without its API server: pods are not drained, nodes and workloads are not looked at, and nothing tells whether the instances are those of the cluster that you mean", b.spec.Cluster),
		Fix:     "leave cloudOnly (--cloudonly) out unless the API server cannot be reached; the groups' hold at the provider is the only lock"})
}

// checkHold refuses a group that cannot be held where nothing else locks.
func (b *builder) checkHold(g model.NodeGroup) {
	if b.spec.CloudOnly && !g.Traits.Prepare {
		b.refuse(Finding{Code: "cannot-hold", Object: g.Name,
			Message: fmt.Sprintf("the driver cannot mark group %s as held by a rotation, and without the API server there is no other lock", g.Name),
			Fix:     "rotate this group with the API server reachable"})
	}
}

// controlPlaneLock is the shortest lock for a rotation of the machines that the
// API server runs on: HTTP/2 needs up to 45 s to notice a connection that is
// dead, and the lock must outlive that more than once.
const controlPlaneLock = 120 * time.Second

// checkControlPlane refuses a lock that the end of an API server would cost the
// rotation.
func (b *builder) checkControlPlane(g model.NodeGroup) {
	if g.Role != model.RoleControlPlane {
		return
	}
	if size := b.controlPlaneSize(); size == 1 && !b.spec.Strategy.AllowSingleControlPlane {
		b.refuse(Finding{Code: "single-control-plane", Object: g.Name,
			Message: fmt.Sprintf("group %s is the whole control plane, with one machine: the API is away until its replacement is up", g.Name),
			Fix:     "set strategy.allowSingleControlPlane (--allow-single-control-plane) if etcd's data is on a volume that the replacement takes over"})
	}
	if b.spec.CloudOnly {
		if b.spec.Strategy.Waits.BetweenDrains == 0 && b.controlPlaneSize() > 1 {
			b.refuse(Finding{Code: "no-pause", Object: g.Name,
				Message: fmt.Sprintf("group %s runs etcd, and without the API server nothing tells when a replacement has joined it: the next machine would go at once", g.Name),
				Fix:     "set strategy.waits.betweenDrains (--wait-between-drains) to what a machine of the control plane needs to boot and to join, such as 5m"})
		}
		return // neither the lock nor the journal is in the cluster
	}
	if b.spec.Lock.Duration < controlPlaneLock {
		b.refuse(Finding{Code: "lock-too-short", Object: g.Name,
			Message: fmt.Sprintf("group %s runs the API server, which keeps the rotation's lock, and a lock of %s does not outlive the end of one", g.Name, b.spec.Lock.Duration),
			Fix:     fmt.Sprintf("set lock.duration (--lock-duration) to %s or more", controlPlaneLock)})
	}
	if b.spec.Journal.Store != StoreFolder && b.spec.Journal.Dir == "" {
		b.warn(Finding{Code: "no-local-journal", Object: g.Name,
			Message: fmt.Sprintf("group %s runs the API server, which keeps the journal: while it is away nothing new starts", g.Name),
			Fix:     "set journal.store to cluster and journal.dir to a folder: a copy is then written there first"})
	}
}

// controlPlaneSize is how many machines the control plane is to have, over all
// groups of the provider.
func (b *builder) controlPlaneSize() int {
	n := 0
	for _, g := range b.inv.Groups {
		if g.Role == model.RoleControlPlane {
			n += g.Desired - g.Surge
		}
	}
	return n
}

// checkHolds refuses groups that different unfinished rotations hold: only one
// can be taken up at a time.
func (b *builder) checkHolds() {
	holder := ""
	for _, g := range b.plan.Groups {
		if g.HeldBy == "" {
			continue
		}
		if holder == "" {
			holder = g.HeldBy
		}
		if g.HeldBy != holder {
			b.refuse(Finding{Code: "held", Object: g.Name,
				Message: fmt.Sprintf("group %s is held by rotation %s, and other selected groups by %s", g.Name, g.HeldBy, holder),
				Fix:     "finish one rotation at a time: select its groups with select.groups"})
		}
	}
}

// checkPods finds what would stop a drain, before a node is touched.
func (b *builder) checkPods() {
	var unmanaged, multiple []string
	never := make(map[model.BudgetKey][]string)
	singles := newSingles(b.spec, &b.inv)
	for _, g := range b.plan.Groups {
		for _, n := range g.Nodes {
			for _, p := range b.podsOn[n.Node] {
				if b.decide(p).Action != drain.Evict {
					continue
				}
				if drain.Unmanaged(p) {
					unmanaged = append(unmanaged, p.String())
				}
				var over []string
				var one *model.Budget
				for _, bud := range b.budgetsOf(p) {
					over, one = append(over, bud.Name), bud
				}
				moved := singles.look(p, one, g.Roll == nil || g.Roll.Assisted)
				if one != nil && len(over) == 1 && !moved && drain.NeverAllows(one) {
					never[one.BudgetKey] = append(never[one.BudgetKey], p.String())
				}
				if len(over) > 1 {
					slices.Sort(over)
					multiple = append(multiple, p.String()+" ("+strings.Join(over, ", ")+")")
				}
			}
		}
	}
	if len(unmanaged) > 0 && b.spec.Drain.UnmanagedPods != UnmanagedEvict {
		slices.Sort(unmanaged)
		b.refuse(Finding{Code: "unmanaged-pods", Object: unmanaged[0],
			Message: fmt.Sprintf("%d pod(s) have no controller and would be lost: %s", len(unmanaged), list(unmanaged)),
			Fix:     "delete them, or allow it with drain.unmanagedPods: evict"})
	}
	if len(multiple) > 0 {
		slices.Sort(multiple)
		b.refuse(Finding{Code: "several-budgets", Object: multiple[0],
			Message: fmt.Sprintf("%d pod(s) are selected by several PodDisruptionBudgets, and the eviction API refuses such pods: %s", len(multiple), list(multiple)),
			Fix:     "make the budgets' selectors disjoint"})
	}
	for i := range b.inv.Budgets {
		bud := &b.inv.Budgets[i]
		if pods := never[bud.BudgetKey]; len(pods) > 0 {
			slices.Sort(pods)
			b.refuse(Finding{Code: "budget-never-allows", Object: bud.BudgetKey.String(),
				Message: fmt.Sprintf("PodDisruptionBudget %s%s wants %d of %d pods healthy and can never allow an eviction; it protects %s",
					bud.BudgetKey, limit(bud), bud.DesiredHealthy, bud.Expected, list(pods)) + singles.why(bud.BudgetKey),
				Fix: "add a replica or relax the budget for the time of the rotation, or have its Deployment moved with drain.singleReplica: restart or surge"})
		}
	}
	if d := b.spec.Drain; d.OnDeadline == DeadlineForce && d.DeletePodsDespiteBudgets {
		b.warn(Finding{Code: "despite-budgets", Object: "drain.deletePodsDespiteBudgets",
			Message: fmt.Sprintf("PodDisruptionBudgets may be VIOLATED: on a node that is not drained within drain.deadline (%s), pods are deleted although a budget forbids it", d.Deadline),
			Fix:     "leave drain.deletePodsDespiteBudgets out unless that is what you want"})
	}
	b.checkSingles(singles)
	slices.SortStableFunc(b.plan.Refusals, func(x, y Finding) int { return strings.Compare(x.Code+x.Object, y.Code+y.Object) })
}

// list names the first few and counts the rest.
func list(s []string) string {
	const most = 5
	if more := len(s) - most; more > 0 {
		return strings.Join(s[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(s, ", ")
}
