package kops

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"google.golang.org/grpc/codes"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"

	"github.com/rotatord/rotator/drivers/internal/loadbalancer"
	"github.com/rotatord/rotator/drivers/sdk"
)

// view is what the driver remembers of its looks: a cache, no state.
type view struct {
	looking sync.Mutex // held through an Observe; guards all down to the blank line
	last    *look

	balancers loadbalancer.Memory // guards itself

	mu      sync.Mutex
	specs   map[string]*spec  // by cluster
	members map[string]member // by instance, of the latest look
	changes int               // grows with each change: a look before it is old
	// templates are versions of launch templates, which never change, by
	// ID:VERSION. At most maxTemplates.
	templates map[string]template
}

// maxTemplates bounds the versions that are remembered: beyond it they are read
// again.
const maxTemplates = 1000

// look is one look at the groups of a cluster.
type look struct {
	scope    sdk.Scope // groups sorted
	snapshot *sdk.Snapshot
	changes  int
}

// member is where the latest look found an instance.
type member struct {
	group string // NodeGroup.ID
	state sdk.InstanceState
}

func (v *view) reset() {
	v.looking.Lock()
	defer v.looking.Unlock()
	v.last = nil
	v.balancers.Reset()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.specs, v.members, v.templates = nil, nil, nil
}

// changed makes every look so far too old to answer from.
func (v *view) changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes++
}

// forgetSpec makes the next call read a cluster's specification again.
func (v *view) forgetSpec(cluster string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.specs, cluster)
}

func (v *view) changesSoFar() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changes
}

func (v *view) memberOf(instance string) member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.members[instance]
}

func (v *view) template(key string) (template, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.templates[key]
	return t, ok
}

func (v *view) keepTemplate(key string, t template) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.templates == nil || len(v.templates) >= maxTemplates {
		v.templates = map[string]template{}
	}
	v.templates[key] = t
}

// groupID names a group to the host. It holds the cluster, so that a driver
// that was started again can act on it without having looked.
func groupID(cluster, group string) string { return cluster + "/" + group }

func splitGroupID(id string) (cluster, group string, err error) {
	i := strings.LastIndexByte(id, '/')
	if i <= 0 || i == len(id)-1 {
		return "", "", sdk.Errorf(codes.NotFound, "group %q is none of this driver's: its ids are CLUSTER/GROUP", id)
	}
	return id[:i], id[i+1:], nil
}

// spec answers with a cluster's specification, at most age old.
func (d *Driver) spec(ctx context.Context, s *store, cluster string, age time.Duration) (*spec, error) {
	v := &d.view
	v.mu.Lock()
	known := v.specs[cluster]
	v.mu.Unlock()
	if known != nil && age > 0 && d.now().Sub(known.at) <= age {
		return known, nil
	}
	at := d.now()
	read, err := s.load(ctx, cluster)
	if err != nil {
		return nil, err
	}
	read.at = at
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.specs == nil {
		v.specs = map[string]*spec{}
	}
	v.specs[cluster] = read
	return read, nil
}

// Observe implements sdk.Driver. kops' own code asks the cloud: on AWS two
// calls and two or three more for each instance group, of any size.
func (d *Driver) Observe(ctx context.Context, scope sdk.Scope, maxAge time.Duration) (*sdk.Snapshot, error) {
	_, s, err := d.configured()
	if err != nil {
		return nil, err
	}
	if scope.Cluster == "" {
		return nil, sdk.Errorf(codes.InvalidArgument, "observe: the scope names no cluster")
	}
	scope.Groups = slices.Sorted(slices.Values(scope.Groups))
	v := &d.view
	v.looking.Lock()
	defer v.looking.Unlock()
	if l := v.last; l != nil && maxAge > 0 && l.scope.Cluster == scope.Cluster && slices.Equal(l.scope.Groups, scope.Groups) &&
		l.changes == v.changesSoFar() && d.now().Sub(l.snapshot.ObservedAt) <= maxAge {
		return l.snapshot, nil
	}
	l := &look{scope: scope, changes: v.changesSoFar()}
	age := specAge
	if maxAge == 0 {
		age = 0
	}
	if l.snapshot, err = d.look(ctx, s, scope, age); err != nil {
		return nil, err
	}
	v.last = l
	members := make(map[string]member, len(l.snapshot.Instances))
	for _, i := range l.snapshot.Instances {
		members[i.ID] = member{group: i.GroupID, state: i.State}
	}
	v.mu.Lock()
	v.members = members
	v.mu.Unlock()
	return l.snapshot, nil
}

// inventory is what the state store and the cloud say about some groups.
type inventory struct {
	*spec
	cloud  fi.Cloud
	groups map[string]*cloudinstances.CloudInstanceGroup // by the name that the cloud's code gives them
	facts  map[string]facts                              // by instance; AWS only
	others map[string]machine                            // by the id that kops gives them; other clouds
	// versions are what $Latest and $Default of launch templates mean; AWS only.
	versions map[string]string
	// templates are what groups launch from; AWS only, and not for every call.
	templates map[string]template
	// unapplied is what the specification says otherwise, by group; AWS only, and
	// not for every call.
	unapplied map[string][]sdk.Diagnostic
	holds     map[string]*holdRecord // by group
	bad       map[string]error       // records that cannot be understood, by group
}

// aws is the cloud, if it is AWS; nil: another one.
func (inv *inventory) aws() awsup.AWSCloud {
	cloud, _ := inv.cloud.(awsup.AWSCloud)
	return cloud
}

// look asks the state store and the cloud.
func (d *Driver) look(ctx context.Context, s *store, scope sdk.Scope, age time.Duration) (*sdk.Snapshot, error) {
	out := &sdk.Snapshot{ObservedAt: d.now()}
	inv := &inventory{}
	var err error
	if inv.spec, err = d.spec(ctx, s, scope.Cluster, age); err != nil {
		return nil, err
	}
	if inv.cloud, err = d.cloud(ctx, inv.cluster); err != nil {
		return nil, err
	}
	if inv.groups, err = d.cloudGroups(ctx, inv, inv.within(scope)); err != nil {
		return nil, statusOf("looking at the groups", "cluster "+scope.Cluster, err)
	}
	if inv.others, err = d.machines(ctx, inv); err != nil {
		return nil, statusOf("looking at the machines", "cluster "+scope.Cluster, err)
	}
	if cloud := inv.aws(); cloud != nil {
		if inv.facts, err = awsFacts(ctx, cloud, scope.Cluster); err != nil {
			return nil, statusOf("ec2:DescribeInstances", "cluster "+scope.Cluster, err)
		}
		if inv.versions, err = awsVersions(ctx, cloud, inv.groups); err != nil {
			return nil, statusOf("ec2:DescribeLaunchTemplates", "cluster "+scope.Cluster, err)
		}
		if age == 0 { // names of images are looked up: for a plan, not for each look of a rotation
			if inv.unapplied, err = d.unapplied(ctx, inv); err != nil {
				return nil, err
			}
		}
	}
	if inv.holds, inv.bad, err = d.holdsOf(ctx, inv.spec); err != nil {
		return nil, err
	}
	cfg, _, err := d.configured()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(inv.groups)) {
		if len(scope.Groups) > 0 && !slices.Contains(scope.Groups, groupID(scope.Cluster, name)) {
			continue
		}
		n := inv.nodeGroup(cfg, name)
		out.Instances = append(out.Instances, inv.instances(name, &n)...)
		out.Groups = append(out.Groups, n)
	}
	if err := d.showQuiescing(ctx, inv, out); err != nil {
		return nil, err
	}
	out.Diagnostics = inv.findings(scope)
	return out, nil
}

// holdsOf reads the records of the rotations on a cluster's groups; apart from
// them those that cannot be understood.
func (d *Driver) holdsOf(ctx context.Context, sp *spec) (map[string]*holdRecord, map[string]error, error) {
	type records struct {
		holds map[string]*holdRecord
		bad   map[string]error
	}
	found, err := call(ctx, &d.calls, "reading the state store", func() (r records, err error) {
		r.holds, r.bad, err = sp.readHolds(context.WithoutCancel(ctx))
		return r, err
	})
	if err != nil {
		return nil, nil, statusOf("reading the records of rotations", sp.base.Path(), err)
	}
	return found.holds, found.bad, nil
}

// within are the instance groups of a scope: kops' code asks two or three things
// for each. All of them, where a name is the cloud's own (GCE).
func (inv *inventory) within(scope sdk.Scope) []*kopsapi.InstanceGroup {
	var igs []*kopsapi.InstanceGroup
	for _, id := range scope.Groups {
		_, name, _ := splitGroupID(id)
		ig := inv.spec.group(name)
		if ig == nil {
			return inv.spec.groups
		}
		igs = append(igs, ig)
	}
	if len(igs) == 0 {
		return inv.spec.groups
	}
	return igs
}

// findings are about the cluster: what is in the specification and not in the
// cloud, and the other way round.
func (inv *inventory) findings(scope sdk.Scope) []sdk.Diagnostic {
	var list []sdk.Diagnostic
	cluster := inv.cluster.Name
	backed := map[string]bool{}
	for name, g := range inv.groups {
		backed[g.InstanceGroup.Name] = len(g.Ready)+len(g.NeedUpdate) > 0 || g.Raw != nil || inv.holds[name] != nil
	}
	for _, ig := range inv.spec.groups {
		if len(scope.Groups) == 0 && !backed[ig.Name] {
			list = append(list, finding(sdk.SeverityWarning, "group-not-applied", ig.Name,
				"It was never applied, or its last instance is gone: kops update cluster --yes makes it.",
				"instance group %s of cluster %s is in the state store, and the cloud has nothing of it", ig.Name, cluster))
		}
	}
	for _, id := range scope.Groups {
		if _, name, err := splitGroupID(id); err != nil || inv.groups[name] == nil {
			list = append(list, finding(sdk.SeverityWarning, "group-not-found", id,
				"Check its name; or somebody deleted it.", "cluster %s has no group %s", cluster, id))
		}
	}
	strays := map[string]int{}
	for _, f := range inv.facts {
		if inv.spec.group(f.group) == nil && f.state != ec2types.InstanceStateNameShuttingDown {
			strays[f.group]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(strays)) {
		list = append(list, finding(sdk.SeverityWarning, "instances-without-group", name,
			"They are left alone. If their instance group was deleted from the state store, end them by hand.",
			"%d instance(s) carry the tag of cluster %s and belong to no instance group of it (their tag says %q)", strays[name], cluster, name))
	}
	if newerThanLibrary(inv.version) {
		list = append(list, finding(sdk.SeverityWarning, "kops-newer", cluster, "Use a newer rotator: this one may not know all that is specified.",
			"cluster %s was last applied by kops %s, which is newer than this driver's library", cluster, inv.version))
	}
	return list
}

// outside tells whether an instance was taken out of its group, or is on its
// way: AWS lists it for a while after it has begun to launch another.
func outside(g *cloudinstances.CloudInstanceGroup, i *cloudinstances.CloudInstance) bool {
	if i.Status == cloudinstances.CloudInstanceStatusDetached {
		return true
	}
	if asg := asgOf(g); asg != nil {
		m := memberOf(asg, i.ID)
		return m != nil && awsState(m.LifecycleState) == sdk.InstanceDetached
	}
	return false
}

// detached counts the instances that were taken out of a group and run on.
func detached(g *cloudinstances.CloudInstanceGroup) int {
	n := 0
	for _, i := range slices.Concat(g.NeedUpdate, g.Ready) {
		if outside(g, i) {
			n++
		}
	}
	return n
}

func (inv *inventory) nodeGroup(cfg Config, name string) sdk.NodeGroup {
	g := inv.groups[name]
	ig := g.InstanceGroup
	out := detached(g)
	n := sdk.NodeGroup{
		ID: groupID(inv.cluster.Name, name), Name: name, Role: roleOf(ig.Spec.Role),
		// A detached instance is one more than the cloud's group counts.
		Desired: g.TargetSize + out, Min: g.MinSize, Max: max(g.MaxSize, g.TargetSize+out), Surge: out,
		Traits: traitsOf(inv.cluster.GetCloudProvider(), ig, len(g.Ready)+len(g.NeedUpdate)),
	}
	add := func(sev sdk.Severity, code, detail, summary string, args ...any) {
		n.Diagnostics = append(n.Diagnostics, finding(sev, code, name, detail, summary, args...))
	}
	if hold := inv.holds[name]; hold != nil {
		n.HeldBy = hold.Rotation
	}
	if err := inv.bad[name]; err != nil {
		n.Diagnostics = append(n.Diagnostics, unreadableDiagnostic(name, inv.holdPath(name), err))
	}
	if n.Role == sdk.RoleUnspecified {
		n.Role = sdk.RoleNode
		add(sdk.SeverityError, "role-unknown", "Use a newer rotator.", "instance group %s has the role %s, which this driver does not know", name, ig.Spec.Role)
	}
	if ig.Spec.Manager == kopsapi.InstanceManagerKarpenter {
		// Karpenter keeps no number, and kops' code has none on their way out.
		n.Desired = len(g.Ready) + len(g.NeedUpdate)
		n.Max = max(n.Max, n.Desired)
	}
	if n.Traits.Refill == sdk.RefillDriver {
		if diag := inv.mayApply(); diag != nil {
			n.Traits = sdk.Traits{}
			n.Diagnostics = append(n.Diagnostics, *diag)
		} else {
			add(sdk.SeverityInfo, "applies-cluster",
				"Look at what kops update cluster prints before the rotation: whatever it lists is applied with the first replacement. kops rolling-update does the same on this cloud.",
				"a machine of instance group %s that is deleted comes back by applying the cluster, with all that its specification holds", name)
		}
	}
	if asg := asgOf(g); asg != nil {
		n.Revision = awsRevision(asg, inv.versions)
		n.Traits.Quiesce = inv.quiesces(ig, asg)
		for _, process := range []string{"Launch", "Terminate"} {
			if suspended(asg, process) {
				add(sdk.SeverityError, "process-suspended", "Somebody suspended it, and so no instance can be replaced. Resume it, or leave the group out.",
					"the Auto Scaling group of instance group %s has its process %s suspended", name, process)
			}
		}
		if n.Traits.MaxSurge > 0 && behindLoadBalancer(asg) && !cfg.DetachBehindLoadBalancers {
			n.Traits.MaxSurge, n.Traits.TerminateShrink = 0, out > 0
			add(sdk.SeverityInfo, "no-surge-behind-load-balancer",
				"AWS takes a detached instance out of its load balancers before its replacement is Ready. Rotate the group with strategy.maxUnavailable, or allow it with driver.config.detachBehindLoadBalancers: true.",
				"instance group %s is behind a load balancer and is not surged by detaching", name)
		}
		if ig.Spec.MinSize != nil && int(*ig.Spec.MinSize) != g.MinSize || ig.Spec.MaxSize != nil && int(*ig.Spec.MaxSize) != g.MaxSize {
			add(sdk.SeverityWarning, "group-not-applied", "Run kops update cluster --yes before the rotation: what is not applied is not rotated in.",
				"instance group %s is specified with %d to %d instances, and its Auto Scaling group has %d to %d", name,
				fi.ValueOf(ig.Spec.MinSize), fi.ValueOf(ig.Spec.MaxSize), g.MinSize, g.MaxSize)
		}
	}
	n.Diagnostics = append(n.Diagnostics, inv.unapplied[name]...)
	n.Defaults = defaultsOf(inv.cluster, ig, n.Traits, len(g.Ready)+len(g.NeedUpdate))
	return n
}

// instances lists the instances of a group, without those of its warm pool,
// which are no nodes.
func (inv *inventory) instances(name string, n *sdk.NodeGroup) []sdk.Instance {
	g := inv.groups[name]
	asg := asgOf(g)
	var list []sdk.Instance
	seen, outdatedWarm := map[string]bool{}, 0
	for _, i := range slices.Concat(g.NeedUpdate, g.Ready) {
		if i.State == cloudinstances.WarmPool {
			if i.Status == cloudinstances.CloudInstanceStatusNeedsUpdate {
				outdatedWarm++
			}
			continue
		}
		if _, known := inv.others[i.ID]; !known && inv.aws() == nil {
			continue // it went between two calls
		}
		seen[i.ID] = true
		si := sdk.Instance{ID: i.ID, GroupID: n.ID, State: sdk.InstanceInService, Revision: n.Revision}
		inv.place(&si, asg, i)
		if out := outside(g, i); (out || slices.Contains(g.NeedUpdate, i)) && si.State != sdk.InstanceTerminating {
			si.Reasons = []sdk.Reason{reasonOf(i, asg, n.Revision, out)}
		}
		list = append(list, si)
	}
	if asg != nil {
		list = append(list, inv.ending(n, asg, seen)...)
	}
	if outdatedWarm > 0 {
		n.Diagnostics = append(n.Diagnostics, finding(sdk.SeverityInfo, "warm-pool-outdated", name,
			"They are ended before the first node is replaced: a replacement from the pool would be outdated itself.",
			"%d instance(s) in the warm pool of instance group %s are outdated", outdatedWarm, name))
	}
	slices.SortFunc(list, func(a, b sdk.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// place fills in where an instance is and what it was made from.
func (inv *inventory) place(si *sdk.Instance, asg *asgtypes.AutoScalingGroup, i *cloudinstances.CloudInstance) {
	if inv.aws() == nil {
		m := inv.others[i.ID]
		si.ID, si.ProviderID, si.Zone, si.LaunchedAt = cmp.Or(m.id, i.ID), m.provider, m.zone, m.launched
		if m.state != sdk.InstanceStateUnspecified {
			si.State = m.state
		}
		if si.State == sdk.InstanceTerminating {
			si.Work = &sdk.Work{Verb: "terminate", Phase: "terminating"}
		}
		si.Revision = ""
		return
	}
	f := inv.facts[i.ID]
	si.Zone, si.LaunchedAt = f.zone, f.launched
	if f.state == ec2types.InstanceStateNamePending {
		si.State = sdk.InstancePending // of Karpenter: no group says so
	}
	if asg != nil {
		if m := memberOf(asg, i.ID); m != nil {
			si.Zone = aws.ToString(m.AvailabilityZone)
			si.Revision = awsMadeOf(m)
			if si.State = awsState(m.LifecycleState); si.State == sdk.InstanceStateUnspecified {
				si.State = sdk.InstanceStandby
			}
		} else {
			si.Revision = ""
		}
	}
	if i.Status == cloudinstances.CloudInstanceStatusDetached {
		si.State = sdk.InstanceDetached
	}
	if f.state == ec2types.InstanceStateNameShuttingDown {
		si.State = sdk.InstanceTerminating
	}
	if si.State == sdk.InstanceTerminating {
		si.Work = &sdk.Work{Verb: "terminate", Phase: "terminating"}
	}
	si.ProviderID = awsProviderID(si.Zone, i.ID)
}

// ending lists the instances on their way out, which kops' snapshot leaves out:
// those that the group is terminating, and detached ones that EC2 is.
func (inv *inventory) ending(n *sdk.NodeGroup, asg *asgtypes.AutoScalingGroup, seen map[string]bool) []sdk.Instance {
	var list []sdk.Instance
	add := func(id, zone, revision string) {
		list = append(list, sdk.Instance{
			ID: id, GroupID: n.ID, ProviderID: awsProviderID(zone, id), Zone: zone, State: sdk.InstanceTerminating, Revision: revision,
			LaunchedAt: inv.facts[id].launched, Work: &sdk.Work{Verb: "terminate", Phase: "terminating"},
		})
		seen[id] = true
	}
	for i := range asg.Instances {
		m := &asg.Instances[i]
		if id := aws.ToString(m.InstanceId); !seen[id] && awsState(m.LifecycleState) == sdk.InstanceTerminating && !warm(m.LifecycleState) {
			add(id, aws.ToString(m.AvailabilityZone), awsMadeOf(m))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(inv.facts)) {
		f := inv.facts[id]
		if !seen[id] && f.detached == aws.ToString(asg.AutoScalingGroupName) && f.state == ec2types.InstanceStateNameShuttingDown {
			add(id, f.zone, "")
		}
	}
	return list
}

// reasonOf says why kops calls an instance outdated.
func reasonOf(i *cloudinstances.CloudInstance, asg *asgtypes.AutoScalingGroup, wanted string, out bool) sdk.Reason {
	if out {
		return sdk.Reason{Code: "detached", Message: "detached by kops or by an earlier rotation, and still running"}
	}
	if asg != nil {
		if m := memberOf(asg, i.ID); m != nil {
			made := awsMadeOf(m)
			if made == "" {
				made = "an unknown launch template"
			}
			return sdk.Reason{Code: "revision", Message: fmt.Sprintf("launched from %s, wanted %s", made, wanted)}
		}
	}
	return sdk.Reason{Code: "revision", Message: "older than the instance group's specification, says kops"}
}
