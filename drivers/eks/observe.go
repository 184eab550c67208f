package eks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/internal/loadbalancer"
	"github.com/rotatord/rotator/drivers/sdk"
)

// How long an Observe that accepts old answers may rely on what changes rarely.
// With these, a look at a cluster at rest is one call. A max age of 0 asks for
// all but the hooks again.
const (
	revisionAge = time.Minute
	refreshAge  = 5 * time.Minute
	hooksAge    = 10 * time.Minute
	// launchTimesEvery spaces the calls that only find launch times: nothing
	// waits for them.
	launchTimesEvery = time.Minute
)

// view is what the driver remembers of its looks: a cache, no state.
type view struct {
	looking sync.Mutex // held through an Observe; guards all down to the blank line
	last    *look
	// templates, known, refreshes and hooks answer what a look at the groups
	// leaves open, without asking again.
	templates     templateCache
	known         map[string]facts // by instance
	factsAt       time.Time
	refreshes     map[string]timed[bool] // by group: an instance refresh is active
	hooks         map[string]timed[[]string]
	seenInstances map[string]bool

	nodegroups nodegroups
	// userTemplates are those of managed node groups, which templates remembers too.
	userTemplates []templateRef
	images        imageCache
	launching     map[string]templateRef // by managed group: what it launched from

	balancers loadbalancer.Memory // guards itself
	updates   updateCache         // guards itself

	mu      sync.Mutex
	members map[string]string // instance to group, by the latest look; those that Terminate may end
	outside map[string]bool   // of these, those that were taken out of their group
	changes int               // grows with each change: a look before it is old
	// touched are the node groups that this driver has changed since the last look.
	touched map[string]bool
	// successor is, by Auto Scaling group, the one that took its place.
	successor map[string]string
}

// look is one look at all groups of a cluster.
type look struct {
	cluster  string
	groups   []string // of the scope, sorted; empty: all
	snapshot *sdk.Snapshot
	changes  int
}

type timed[T any] struct {
	value T
	at    time.Time
}

func (v *view) reset() {
	v.looking.Lock()
	defer v.looking.Unlock()
	v.last, v.templates, v.known, v.factsAt, v.refreshes, v.hooks, v.seenInstances = nil, templateCache{}, nil, time.Time{}, nil, nil, nil
	v.nodegroups, v.images, v.launching, v.userTemplates = nodegroups{}, imageCache{}, nil, nil
	v.balancers.Reset()
	v.updates.reset()
	v.mu.Lock()
	v.members, v.touched, v.outside, v.successor = nil, nil, nil, nil
	v.mu.Unlock()
}

// changed makes every look so far too old to answer from.
func (v *view) changed() {
	v.mu.Lock()
	v.changes++
	v.mu.Unlock()
}

// nodegroupChanged is changed, of one node group: what EKS said of it is old too.
func (v *view) nodegroupChanged(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
	if v.touched == nil {
		v.touched = map[string]bool{}
	}
	v.touched[name] = true
}

// takeChangedNodegroups returns the node groups that were changed since it was
// last called.
func (v *view) takeChangedNodegroups() map[string]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	touched := v.touched
	v.touched = nil
	if touched == nil {
		touched = map[string]bool{}
	}
	return touched
}

// groupOf returns the group of an instance by the latest look; empty: unknown.
func (v *view) groupOf(instance string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.members[instance]
}

// isOutside tells whether the latest look saw an instance out of its group.
func (v *view) isOutside(instance string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.outside[instance]
}

func (v *view) changesSoFar() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changes
}

// Observe implements sdk.Driver. A look at a cluster at rest is one call for up
// to 100 groups of any size.
func (d *Driver) Observe(ctx context.Context, scope sdk.Scope, maxAge time.Duration) (*sdk.Snapshot, error) {
	cfg, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	if scope.Cluster == "" {
		return nil, sdk.Errorf(codes.InvalidArgument, "observe: the scope names no cluster")
	}
	names := slices.Sorted(slices.Values(scope.Groups))
	v := &d.view
	v.looking.Lock()
	defer v.looking.Unlock()
	if l := v.last; l != nil && maxAge > 0 && l.cluster == scope.Cluster && slices.Equal(l.groups, names) &&
		l.changes == v.changesSoFar() && d.now().Sub(l.snapshot.ObservedAt) <= maxAge {
		return l.snapshot, nil
	}
	l := &look{cluster: scope.Cluster, groups: names, changes: v.changesSoFar()}
	if l.snapshot, err = d.look(ctx, c, cfg, scope.Cluster, names, maxAge); err != nil {
		return nil, err
	}
	v.last = l
	ends := map[string]bool{}
	for _, g := range l.snapshot.Groups {
		ends[g.ID] = g.Traits.TerminateKeep
	}
	members, outside := make(map[string]string, len(l.snapshot.Instances)), map[string]bool{}
	for _, i := range l.snapshot.Instances {
		if ends[i.GroupID] {
			members[i.ID] = i.GroupID
			if i.State == sdk.InstanceDetached && cfg.Surge == SurgeDetach {
				outside[i.ID] = true
			}
		}
	}
	v.mu.Lock()
	v.members, v.outside = members, outside
	v.mu.Unlock()
	return l.snapshot, nil
}

// look asks AWS. Names limit the groups; none: all that carry the tag, and those
// of the cluster's managed node groups.
func (d *Driver) look(ctx context.Context, c *clients, cfg Config, cluster string, names []string, maxAge time.Duration) (*sdk.Snapshot, error) {
	at := d.now()
	tag := cfg.tagFor(cluster)
	all, err := describeGroups(ctx, c.asg, tag)
	if err != nil {
		return nil, err
	}
	s := &sdk.Snapshot{ObservedAt: at}
	if all, err = d.join(ctx, c, s, cfg, cluster, all, at, maxAge); err != nil {
		return nil, err
	}
	all, pairs, greens := d.pairUp(cfg, all)
	successor := d.view.successors()
	groups := choose(s, cfg, all, withTwins(names, pairs, successor), tag)
	if err := d.judgeNodegroups(ctx, c, cluster, groups, at, maxAge); err != nil {
		return nil, err
	}
	launches, err := d.resolve(ctx, c, groups, at, maxAge)
	if err != nil {
		return nil, err
	}
	if err := d.learn(ctx, c, groups, launches, at); err != nil {
		return nil, err
	}
	if err := d.learnImages(ctx, c, groups); err != nil {
		return nil, err
	}
	if err := d.findRefreshes(ctx, c, groups, at, maxAge); err != nil {
		return nil, err
	}
	if err := findOutsiders(ctx, c, cfg, groups); err != nil {
		return nil, err
	}
	leaving, err := d.quiescing(ctx, c, groups)
	if err != nil {
		return nil, err
	}
	shown := make(map[string]*shownGroup, len(groups))
	for _, g := range groups {
		hooks, err := d.hookNames(ctx, c, g, at)
		if err != nil {
			return nil, err
		}
		n := d.nodeGroup(g, launches[g.name])
		list := d.instances(g, &n, launches[g.name], hooks)
		list = showOutsiders(g, &n, list)
		loadbalancer.Show(list, leaving)
		if g.node != nil {
			d.showNodegroup(&n, list, g)
		}
		shown[g.name] = &shownGroup{n, list}
	}
	for _, g := range groups {
		if greens[g.name] {
			continue
		}
		one := shown[g.name]
		if t := pairs[g.name]; t != nil {
			one.fold(t, shown)
		}
		one.callAs(successor)
		s.Instances = append(s.Instances, one.instances...)
		s.Groups = append(s.Groups, one.group)
	}
	d.remember(groups)
	nameApart(s.Groups)
	return s, nil
}

// choose leaves out what is not rotated, and says so.
func choose(s *sdk.Snapshot, cfg Config, all []*group, names []string, tag groupTag) []*group {
	var groups []*group
	found := map[string]bool{}
	for _, g := range all {
		if len(names) > 0 && !slices.Contains(names, g.name) {
			continue
		}
		found[g.name] = true
		if why := left(g, cfg); why != "" {
			s.Diagnostics = append(s.Diagnostics, finding(sdk.SeverityWarning, "managed-node-group", g.name, why,
				"group %s is skipped: it belongs to the managed node group %s", g.name, g.nodegroup()))
			continue
		}
		groups = append(groups, g)
	}
	for _, n := range names {
		if !found[n] {
			s.Diagnostics = append(s.Diagnostics, finding(sdk.SeverityWarning, "group-not-found", n,
				"Check its name, the region and the cluster's name; or somebody deleted it.",
				"no Auto Scaling group %s carries the tag %s", n, tag))
		}
	}
	if len(all) == 0 && len(names) == 0 {
		s.Diagnostics = append(s.Diagnostics, finding(sdk.SeverityWarning, "no-groups", tag.key,
			"Check the cluster's name, the region and the credentials' account. Self-managed groups must carry this tag.",
			"there is no managed node group, and no Auto Scaling group carries the tag %s", tag))
	}
	return groups
}

// launch is what a group launches from, resolved.
type launch struct {
	launchSource
	managed bool // of a managed node group
	wanted  wanted
	missing *missing // what it launches from does not exist
}

// fixed is what a group of a managed node group launches from: a numbered
// version of EKS' own template, of which nothing more needs to be known.
func (l *launch) fixed(r templateRef) (offer, bool) {
	n, err := strconv.ParseInt(r.version, 10, 64)
	if !l.managed || err != nil {
		return offer{}, false
	}
	return offer{id: r.id, name: r.name, version: n}, true
}

// resolve finds out what each group launches from now.
func (d *Driver) resolve(ctx context.Context, c *clients, groups []*group, at time.Time, maxAge time.Duration) (map[string]*launch, error) {
	launches := make(map[string]*launch, len(groups))
	for _, g := range groups {
		launches[g.name] = &launch{launchSource: sourceOf(g.AutoScalingGroup), managed: g.node != nil}
	}
	age := revisionAge
	if maxAge == 0 {
		age = 0
	}
	if err := d.resolveAll(ctx, c, launches, at, age); err != nil || age == 0 {
		return launches, err
	}
	// An instance that launched since the last look may be newer than what is
	// remembered. Ask again before calling a replacement outdated.
	for _, g := range groups {
		l := launches[g.name]
		if l.missing != nil {
			continue
		}
		for i := range g.Instances {
			if !d.view.seenInstances[aws.ToString(g.Instances[i].InstanceId)] && len(l.wanted.judge(madeOf(&g.Instances[i]))) > 0 {
				return launches, d.resolveAll(ctx, c, launches, at, 0)
			}
		}
	}
	return launches, nil
}

func (d *Driver) resolveAll(ctx context.Context, c *clients, launches map[string]*launch, at time.Time, age time.Duration) error {
	var refs []templateRef
	for _, name := range slices.Sorted(maps.Keys(launches)) {
		for _, r := range launches[name].refs {
			if _, fixed := launches[name].fixed(r.templateRef); !fixed && !slices.Contains(refs, r.templateRef) {
				refs = append(refs, r.templateRef)
			}
		}
	}
	offers, gone, err := d.view.templates.resolve(ctx, c, refs, at, age)
	if err != nil {
		return err
	}
	d.view.templates.forget(append(refs, d.view.userTemplates...))
	for _, l := range launches {
		l.missing = nil
		l.wanted = wanted{launchConfig: l.launchConfig, types: l.types}
		for _, r := range l.refs {
			if m := gone[r.templateRef]; m != nil {
				l.missing = m
			}
			o := offers[r.templateRef]
			if f, fixed := l.fixed(r.templateRef); fixed {
				o = f
			}
			if r.image != "" {
				o.image = r.image
			}
			l.wanted.offers = append(l.wanted.offers, o)
		}
		if len(l.refs) == 0 && l.launchConfig == "" {
			l.missing = &missing{"launch-template-missing", "it names neither a launch template nor a launch configuration"}
		}
	}
	return nil
}

// learn reads images and launch times from EC2. Images are needed at once where
// a group compares by them, launch times can wait for the next batch.
func (d *Driver) learn(ctx context.Context, c *clients, groups []*group, launches map[string]*launch, at time.Time) error {
	v := &d.view
	var unknown []string
	needed := at.Sub(v.factsAt) >= launchTimesEvery
	for _, g := range groups {
		byImage := launches[g.name].wanted.byImage() || g.node.byImage()
		for i := range g.Instances {
			inst := &g.Instances[i]
			if _, ok := v.known[aws.ToString(inst.InstanceId)]; ok || leftOut(inst.LifecycleState) {
				continue
			}
			unknown = append(unknown, aws.ToString(inst.InstanceId))
			needed = needed || byImage && stateOf(inst.LifecycleState) == sdk.InstanceInService
		}
	}
	if !needed || len(unknown) == 0 {
		return nil
	}
	if v.known == nil {
		v.known = map[string]facts{}
	}
	err := describeInstances(ctx, c.ec2, unknown, func(i ec2types.Instance) {
		v.known[aws.ToString(i.InstanceId)] = facts{image: aws.ToString(i.ImageId), launched: aws.ToTime(i.LaunchTime)}
	})
	if err != nil {
		return statusOf("ec2:DescribeInstances", fmt.Sprintf("%d instances", len(unknown)), err)
	}
	v.factsAt = at
	return nil
}

// remember forgets what is no longer there.
func (d *Driver) remember(groups []*group) {
	v := &d.view
	v.seenInstances = map[string]bool{}
	names := map[string]bool{}
	for _, g := range groups {
		names[g.name] = true
		for i := range g.Instances {
			v.seenInstances[aws.ToString(g.Instances[i].InstanceId)] = true
		}
	}
	maps.DeleteFunc(v.known, func(id string, _ facts) bool { return !v.seenInstances[id] })
	maps.DeleteFunc(v.refreshes, func(name string, _ timed[bool]) bool { return !names[name] })
	maps.DeleteFunc(v.hooks, func(name string, _ timed[[]string]) bool { return !names[name] })
}

func (d *Driver) nodeGroup(g *group, l *launch) sdk.NodeGroup {
	n := sdk.NodeGroup{
		ID: g.name, Name: g.name, Role: sdk.RoleNode,
		Desired: g.desired, Min: g.min, Max: g.max,
		Surge:    g.standing().Surge,
		Revision: l.wanted.String(),
		Traits: sdk.Traits{
			TerminateKeep: true, TerminateShrink: true, Prepare: true,
			Quiesce:  len(g.TargetGroupARNs) > 0,
			Stage:    len(l.refs) == 1 && l.refs[0].image == "",
			MaxSurge: maxSurge, Refill: sdk.RefillGroup, Drains: sdk.DrainsCore,
		},
	}
	if g.prepared != nil {
		n.HeldBy = g.prepared.Rotation
	}
	if g.unreadable != nil {
		n.Diagnostics = append(n.Diagnostics, g.unreadableDiagnostic())
	}
	if l.missing != nil {
		n.Revision = ""
		n.Diagnostics = append(n.Diagnostics, finding(sdk.SeverityError, l.missing.code, g.name,
			"The group cannot launch a replacement, so that nothing of it may be ended. Point it to a launch template that exists.",
			"group %s: %s", g.name, l.missing.what))
	}
	if l.weighted {
		n.Diagnostics = append(n.Diagnostics, finding(sdk.SeverityError, "weighted-capacity-unsupported", g.name,
			"One more instance is not one more unit of capacity there. Rotate it with an instance refresh.",
			"group %s counts its capacity in units other than instances", g.name))
	}
	n.Diagnostics = append(n.Diagnostics, obstacles(g)...)
	if d.view.refreshes[g.name].value {
		n.Diagnostics = append(n.Diagnostics, refreshDiagnostic(g.name))
	}
	return n
}

// obstacles are settings of a group that make a rotation of it wrong.
func obstacles(g *group) []sdk.Diagnostic {
	var found []sdk.Diagnostic
	add := func(sev sdk.Severity, code, detail, summary string) {
		found = append(found, finding(sev, code, g.name, detail, "group %s %s", g.name, summary))
	}
	if g.WarmPoolConfiguration != nil {
		add(sdk.SeverityError, "warm-pool-unsupported", "Its replacements would come from the pool, made from an older revision. Delete the warm pool for the time of the rotation.", "has a warm pool")
	}
	if aws.ToString(g.Status) != "" {
		add(sdk.SeverityError, "group-deleting", "Leave it out of the rotation.", "is being deleted")
	}
	for _, p := range []string{"Launch", "Terminate"} {
		if g.suspended(p) {
			add(sdk.SeverityError, "process-suspended", "Somebody suspended it, and so no instance can be replaced. Resume it, or leave the group out.", "has its process "+p+" suspended")
		}
	}
	if o := g.Operator; o != nil {
		add(sdk.SeverityError, "group-operated", "Only that service may change the group.", "is operated by "+aws.ToString(o.Principal))
	}
	return found
}

// instances lists the instances of a group. It may add a diagnostic to n.
func (d *Driver) instances(g *group, n *sdk.NodeGroup, l *launch, hooks []string) []sdk.Instance {
	var list []sdk.Instance
	byImage := l.wanted.byImage()
	for i := range g.Instances {
		inst := &g.Instances[i]
		if leftOut(inst.LifecycleState) {
			continue
		}
		m := madeOf(inst)
		known, ok := d.view.known[aws.ToString(inst.InstanceId)]
		state := stateOf(inst.LifecycleState)
		switch {
		case state == sdk.InstanceStateUnspecified:
			n.Diagnostics = append(n.Diagnostics, finding(sdk.SeverityError, "lifecycle-state-unknown", aws.ToString(inst.InstanceId),
				"Use a newer rotator.", "instance %s of group %s is in the lifecycle state %q, which this driver does not know", aws.ToString(inst.InstanceId), g.name, inst.LifecycleState))
			state = sdk.InstanceStandby
		case byImage && m.image == "" && ok:
			m.image = known.image
		case byImage && m.image == "" && state == sdk.InstanceInService:
			// EC2 does not show it yet: it does not count before it is known to be
			// what the group wants.
			state = sdk.InstancePending
		}
		if !byImage {
			m.image = ""
		}
		si := sdk.Instance{
			ID: aws.ToString(inst.InstanceId), GroupID: g.name, ProviderID: providerID(inst),
			Zone: aws.ToString(inst.AvailabilityZone), State: state,
			Revision: m.String(), LaunchedAt: known.launched,
			Work: workOf(inst, hooks),
		}
		if l.missing == nil {
			si.Reasons = l.wanted.judge(m)
		}
		list = append(list, si)
	}
	slices.SortFunc(list, func(a, b sdk.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// workOf tells what is in flight for an instance.
func workOf(i *asgtypes.Instance, hooks []string) *sdk.Work {
	if stateOf(i.LifecycleState) != sdk.InstanceTerminating {
		return nil
	}
	w := &sdk.Work{Verb: "terminate", Phase: "terminating"}
	if i.LifecycleState == asgtypes.LifecycleStateTerminatingWait {
		w.Phase = "waiting for its termination lifecycle hook"
		if len(hooks) > 0 {
			w.Phase = "waiting for lifecycle hook " + joinAnd(hooks)
		}
	}
	return w
}
