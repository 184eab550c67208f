package eks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// maxNodegroupName is EKS' limit on the name of a node group.
	maxNodegroupName = 63
	// maxStem leaves room for -g999.
	maxStem = maxNodegroupName - 5
)

// twins are a managed node group (blue) and the one that takes its place
// (green), as they were read. They are shown as one group, with blue's id.
type twins struct {
	blue *group // with its node group
	rec  *twinRecord
	// node is green's node group; nil: it does not exist. Green is its Auto Scaling
	// group; nil: EKS has made none yet.
	node  *managed
	green *group
}

// greenWants is how many instances green is to have by its own settings.
func (t *twins) greenWants() int {
	switch {
	case t.green != nil:
		return t.green.desired
	case t.node != nil && t.node.ScalingConfig != nil:
		return int(aws.ToInt32(t.node.ScalingConfig.DesiredSize))
	}
	return 0
}

func (t *twins) total() int { return t.blue.desired + t.greenWants() }

// owner is the group that the instance is a member of; nil: of none.
func (t *twins) owner(id string) *group {
	for _, g := range []*group{t.blue, t.green} {
		if g != nil && g.member(id) != nil {
			return g
		}
	}
	return nil
}

func (t *twins) going(id string) bool {
	g := t.owner(id)
	return g == nil || g.going(id)
}

// standing is the record by what is wanted now, with nothing pending.
func (t *twins) standing() *twinRecord { return t.rec.settled(t.total(), t.going) }

// lives tells whether an instance of the group runs or boots.
func (g *group) lives() bool {
	return slices.ContainsFunc(g.Instances, func(i asgtypes.Instance) bool { return !g.going(aws.ToString(i.InstanceId)) })
}

// openTwins reads what takes the place of blue. An operation ends the call.
func (d *Driver) openTwins(ctx context.Context, c *clients, cfg Config, blue *group) (*twins, *sdk.Operation) {
	if blue.twin == nil {
		return nil, failed(finding(sdk.SeverityError, "not-prepared", blue.name, "Prepare comes first: it records what the group was.",
			"node group %s has no record of a second one that takes its place", blue.nodegroup()))
	}
	t := &twins{blue: blue, rec: blue.twin}
	cluster := blue.tags[tagCluster]
	list, err := describeNodegroups(ctx, c.eks, cluster, []string{blue.nodegroup(), t.rec.Green})
	if err != nil {
		return nil, failed(diagnose("eks:DescribeNodegroup", blue.nodegroup(), err))
	}
	if list[0] == nil {
		return nil, failed(finding(sdk.SeverityError, "nodegroup-gone", blue.nodegroup(), "Somebody deleted it.", "node group %s does not exist any more", blue.nodegroup()))
	}
	blue.node = newManaged(list[0], cfg.ManagedNodeGroups)
	if list[1] == nil {
		return t, nil
	}
	t.node = newManaged(list[1], cfg.ManagedNodeGroups)
	if names := t.node.groups(); len(names) == 1 {
		if t.green, err = readGroup(ctx, c.asg, names[0]); err != nil {
			return nil, failed(diagnose("autoscaling:DescribeAutoScalingGroups", names[0], err))
		}
	}
	return t, nil
}

// fill makes green have what it is to have: it is created if it is missing and
// needed, or asked for, and made larger if it is too small. It is never made
// smaller: AWS would pick the victim.
func (d *Driver) fill(ctx context.Context, c *clients, t *twins, create bool) *sdk.Operation {
	want := max(0, t.rec.Base+t.rec.Surge-t.blue.desired)
	switch {
	case t.node == nil && want == 0 && !create:
		return nil
	case t.node == nil:
		return d.createGreen(ctx, c, t, want)
	case t.node.Status == ekstypes.NodegroupStatusCreateFailed || t.node.Status == ekstypes.NodegroupStatusDeleting || t.node.Status == ekstypes.NodegroupStatusDeleteFailed:
		return failed(append(t.node.obstacles(), t.node.health()...)...)
	case t.greenWants() >= want:
		return nil
	case t.green == nil:
		return failed(creating(t.node))
	case want > t.green.max:
		return failed(finding(sdk.SeverityError, "surge-beyond-max", t.node.name, "Give the rotation less surge, or raise that maximum: aws eks update-nodegroup-config --scaling-config.",
			"node group %s needs a maximum size of %d, and it is %d", t.node.name, want, t.green.max))
	}
	defer d.view.changed()
	_, err := c.asg.SetDesiredCapacity(ctx, &autoscaling.SetDesiredCapacityInput{
		AutoScalingGroupName: &t.green.name, DesiredCapacity: aws.Int32(int32(want)), HonorCooldown: aws.Bool(false),
	}, carefully)
	if err != nil {
		return failed(diagnose("autoscaling:SetDesiredCapacity", t.green.name, err))
	}
	t.green.desired = want
	return nil
}

// creating is the answer while EKS has not made green's Auto Scaling group.
func creating(m *managed) sdk.Diagnostic {
	diag := finding(sdk.SeverityError, "nodegroup-creating", m.name, "EKS makes its Auto Scaling group first; the call will be tried again.",
		"node group %s is being created", m.name)
	diag.Retry = sdk.RetryLater
	return diag
}

// createGreen makes the node group that takes blue's place, from the same
// description with the wanted revision. It begins without a minimum, and with
// room for as much surge as blue may have instances.
func (d *Driver) createGreen(ctx context.Context, c *clients, t *twins, size int) *sdk.Operation {
	m := t.blue.node
	if err := d.wantNow(ctx, c, m); err != nil {
		return failed(diagnose("eks:DescribeCluster", m.name, err))
	}
	in := m.describe()
	in.NodegroupName = &t.rec.Green
	in.ClientRequestToken = aws.String(token(aws.ToString(m.NodegroupArn) + " " + t.rec.Green + " " + strconv.Itoa(t.rec.At)))
	in.Tags[tagTwinOf] = m.name
	in.ScalingConfig = &ekstypes.NodegroupScalingConfig{
		MinSize: aws.Int32(0), MaxSize: aws.Int32(int32(max(1, t.rec.Max+t.rec.Base, size))), DesiredSize: aws.Int32(int32(size)),
	}
	defer d.nodegroupsChanged(t.rec.Green)
	out, err := c.eks.CreateNodegroup(ctx, in)
	if err != nil {
		return failed(diagnose("eks:CreateNodegroup", t.rec.Green, err))
	}
	t.node = &managed{Nodegroup: out.Nodegroup, name: t.rec.Green, NodeGroupWay: m.NodeGroupWay}
	if names := t.node.groups(); len(names) == 1 {
		if t.green, err = readGroup(ctx, c.asg, names[0]); err != nil {
			return failed(diagnose("autoscaling:DescribeAutoScalingGroups", names[0], err))
		}
	}
	return nil
}

// describe is the request for a node group like this one, at the wanted
// revision, without name, token and sizes.
func (m *managed) describe() *eks.CreateNodegroupInput {
	in := &eks.CreateNodegroupInput{
		ClusterName: m.ClusterName, NodeRole: m.NodeRole, Subnets: m.Subnets, CapacityType: m.CapacityType, DiskSize: m.DiskSize,
		InstanceTypes: m.InstanceTypes, Labels: m.Labels, Taints: m.Taints, UpdateConfig: m.UpdateConfig, RemoteAccess: m.RemoteAccess,
		NodeRepairConfig: m.NodeRepairConfig, Tags: map[string]string{},
	}
	for k, v := range m.Tags {
		if k == tagRelease || !strings.HasPrefix(k, tagPrefix) && !strings.HasPrefix(k, "aws:") {
			in.Tags[k] = v
		}
	}
	if t := m.LaunchTemplate; t != nil {
		in.LaunchTemplate = &ekstypes.LaunchTemplateSpecification{Id: t.Id, Version: aws.String(strconv.FormatInt(m.wanted.template, 10))}
		if t.Id == nil {
			in.LaunchTemplate.Name = t.Name
		}
	}
	if m.custom() {
		return in // the template names the image
	}
	in.AmiType, in.Version, in.ReleaseVersion = m.AmiType, m.Version, m.ReleaseVersion
	if m.wanted.release != "" {
		in.Version, in.ReleaseVersion = aws.String(m.wanted.kubernetes), aws.String(m.wanted.release)
	}
	return in
}

// nodegroupsChanged tells that a node group has come or is going.
func (d *Driver) nodegroupsChanged(name string) {
	d.view.nodegroupChanged(name)
	d.view.looking.Lock()
	defer d.view.looking.Unlock()
	d.view.nodegroups.names.at = time.Time{}
}

// surgeTwins is SetSurge for blue and green: the record, then what it says.
func (d *Driver) surgeTwins(ctx context.Context, c *clients, cfg Config, blue *group, r sdk.SetSurgeRequest) *sdk.Operation {
	t, op := d.openTwins(ctx, c, cfg, blue)
	if op != nil {
		return op
	}
	now := t.standing()
	if r.Surge < now.Surge {
		return failed(finding(sdk.SeverityError, "surge-lowered", blue.name,
			"AWS would pick the victim. End an instance with the capacity instead (Terminate, shrink).",
			"group %s has a surge of %d, and %d was asked for", blue.name, now.Surge, r.Surge))
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}
	}
	now.Surge = r.Surge
	if diag := d.writeTwin(ctx, c, t, now); diag != nil {
		return failed(*diag)
	}
	before := t.greenWants()
	if op := d.fill(ctx, c, t, false); op != nil {
		return op
	}
	if t.greenWants() == before {
		return &sdk.Operation{State: sdk.OperationDone}
	}
	return &sdk.Operation{State: sdk.OperationRunning, Phase: fmt.Sprintf("node group %s: %d to %d instances", t.rec.Green, before, t.greenWants())}
}

// writeTwin writes the record, if it says something else than now.
func (d *Driver) writeTwin(ctx context.Context, c *clients, t *twins, rec *twinRecord) *sdk.Diagnostic {
	if *rec == *t.rec {
		return nil
	}
	defer d.view.changed()
	if diag := writeTags(ctx, c, t.blue.name, map[string]string{tagTwin: rec.String()}); diag != nil {
		return diag
	}
	t.rec = rec
	return nil
}

// endTwin is Terminate for an instance of blue or green; nil: the group is not
// rotated this way. KEEP of an instance of blue ends it with its place, and then
// gives green another. A repeat finds it out of service, and completes that.
func (d *Driver) endTwin(ctx context.Context, c *clients, cfg Config, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	if !cfg.ManagedNodeGroups.blueGreen() {
		return nil, nil
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	blue, op, err := find(ctx, c, r.GroupID, r.RotationID)
	switch {
	case err != nil:
		return nil, err
	case op != nil:
		return &sdk.TerminateResult{Instance: *op, Capacity: *op}, nil
	case blue.nodegroup() == "" || blue.way(cfg) != WayBlueGreen:
		return nil, nil
	}
	if op, err = blue.ours(cfg, r.RotationID); err != nil {
		return nil, err
	}
	var t *twins
	if op == nil {
		t, op = d.openTwins(ctx, c, cfg, blue)
	}
	if op != nil {
		return &sdk.TerminateResult{Instance: *op, Capacity: *op}, nil
	}
	owner := t.owner(r.InstanceID)
	switch {
	case owner == nil:
		if res := d.notMember(ctx, c, r); res.Instance.State == sdk.OperationFailed {
			return res, nil
		}
		return d.completeTwin(ctx, c, t, r, "already gone"), nil
	case owner.going(r.InstanceID):
		return d.completeTwin(ctx, c, t, r, "already terminating"), nil
	case r.DryRun:
		return gone("dry run: nothing was changed"), nil
	}
	if diag := d.writeTwin(ctx, c, t, t.standing()); diag != nil {
		return refused(*diag), nil
	}
	shrink := r.Capacity == sdk.ShrinkCapacity
	moves := owner == blue && !shrink
	if op := d.fill(ctx, c, t, moves); op != nil { // what an earlier call left undone
		return refused(op.Diagnostics...), nil
	}
	switch {
	case moves && t.green == nil:
		return refused(creating(t.node)), nil
	case (moves || shrink) && owner.desired <= owner.min:
		return refused(finding(sdk.SeverityError, "below-min-size", owner.name, "Somebody raised the minimum during the rotation. Set it to 0 again: aws eks update-nodegroup-config --scaling-config.",
			"instance %s cannot be ended with its place: group %s has a desired capacity of %d and a minimum of %d", r.InstanceID, owner.name, owner.desired, owner.min)), nil
	}
	if shrink {
		if diag := d.writeTwin(ctx, c, t, t.rec.shrunk(r.InstanceID, t.total())); diag != nil {
			return refused(*diag), nil
		}
	}
	defer d.view.changed()
	_, err = c.asg.TerminateInstanceInAutoScalingGroup(ctx, &autoscaling.TerminateInstanceInAutoScalingGroupInput{
		InstanceId: &r.InstanceID, ShouldDecrementDesiredCapacity: aws.Bool(moves || shrink),
	}, carefully)
	if err != nil {
		// Whether it happened is not known. The same call finds out.
		return refused(diagnose("autoscaling:TerminateInstanceInAutoScalingGroup", r.InstanceID, err)), nil
	}
	res := &sdk.TerminateResult{
		Instance: sdk.Operation{State: sdk.OperationRunning, Phase: "terminating"},
		Capacity: sdk.Operation{State: sdk.OperationDone, Phase: "node group " + t.rec.Green + " launches a replacement"},
	}
	if moves || shrink {
		owner.desired--
	}
	if shrink {
		res.Capacity.Phase = fmt.Sprintf("surge %d to %d", t.rec.WasSurge, t.rec.Surge)
		n := *t.rec
		n.Shrink, n.WasBase, n.WasSurge, n.From = "", 0, 0, 0
		if diag := d.writeTwin(ctx, c, t, &n); diag != nil {
			res.Capacity = *failed(*diag)
		}
		return res, nil
	}
	if op := d.fill(ctx, c, t, false); op != nil {
		res.Capacity = *op
	}
	return res, nil
}

// completeTwin answers for an instance that needs no more, and does what an
// earlier call for it may have left undone.
func (d *Driver) completeTwin(ctx context.Context, c *clients, t *twins, r sdk.TerminateRequest, phase string) *sdk.TerminateResult {
	res := gone(phase)
	if r.DryRun {
		return res
	}
	if diag := d.writeTwin(ctx, c, t, t.standing()); diag != nil {
		res.Capacity = *failed(*diag)
	} else if op := d.fill(ctx, c, t, false); op != nil {
		res.Capacity = *op
	}
	return res
}

// greenSuffix ends the name of a node group that took another's place.
var greenSuffix = regexp.MustCompile(`-g[0-9]+$`)

// stem is what the names of a node group and of those that take its place have in
// common: the first one's name. Of a long one it is the beginning and a digest, so
// that two that begin alike have different ones.
func stem(nodegroup string) string {
	s := greenSuffix.ReplaceAllString(nodegroup, "")
	if len(s) <= maxStem {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	digest := "-" + hex.EncodeToString(sum[:4])
	return s[:maxStem-len(digest)] + digest
}

// greenName finds a name that no node group has: NAME-g2, NAME-g3 and so on.
func greenName(blue string, taken []string) string {
	base := stem(blue)
	for n := 2; ; n++ {
		if name := base + "-g" + strconv.Itoa(n); !slices.Contains(taken, name) {
			return name
		}
	}
}

// shownGroup is a group as Observe shows it.
type shownGroup struct {
	group     sdk.NodeGroup
	instances []sdk.Instance
}

// fold adds green to blue.
func (s *shownGroup) fold(t *twins, shown map[string]*shownGroup) {
	rec, n := t.standing(), &s.group
	n.Surge, n.Desired = rec.Surge, max(t.total(), rec.Base+rec.Surge)
	n.Min, n.Max = rec.Min, max(rec.Max+rec.Base, n.Desired)
	n.Traits.MaxSurge = min(maxSurge, rec.Max)
	if t.green == nil || shown[t.green.name] == nil {
		return
	}
	green := shown[t.green.name]
	for _, d := range green.group.Diagnostics {
		// While it is being created it is as it should be.
		if d.Code != "nodegroup-status" || t.node.Status == ekstypes.NodegroupStatusCreateFailed {
			n.Diagnostics = append(n.Diagnostics, d)
		}
	}
	for _, i := range green.instances {
		i.GroupID = n.ID
		s.instances = append(s.instances, i)
	}
	slices.SortFunc(s.instances, func(a, b sdk.Instance) int { return strings.Compare(a.ID, b.ID) })
}

// callAs gives a group that took another's place in this life the id of that one.
func (s *shownGroup) callAs(successor map[string]string) {
	for blue, green := range successor {
		if green != s.group.ID {
			continue
		}
		s.group.ID = blue
		for i := range s.instances {
			s.instances[i].GroupID = blue
		}
		return
	}
}

// withTwins adds to the names of groups those that belong to them.
func withTwins(names []string, pairs map[string]*twins, successor map[string]string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		if green, ok := successor[name]; ok {
			out = append(out, green)
			continue
		}
		out = append(out, name)
		if t := pairs[name]; t != nil && t.green != nil {
			out = append(out, t.green.name)
		}
	}
	return out
}

// pairUp finds the twins among groups that were read. A blue whose place has been
// taken is left out: to the end of the life that did so, green has its id.
func (d *Driver) pairUp(cfg Config, all []*group) (list []*group, pairs map[string]*twins, greens map[string]bool) {
	pairs, greens = map[string]*twins{}, map[string]bool{}
	finished := d.view.successors()
	over := func(g *group) bool {
		_, ours := finished[g.name]
		return ours || g.twin != nil && g.node != nil && g.node.Status == ekstypes.NodegroupStatusDeleting
	}
	byNode := map[string]*group{}
	for _, g := range all {
		if g.node != nil {
			byNode[g.node.name] = g
		}
	}
	for _, g := range all {
		if g.node == nil || g.twin == nil || g.node.Way != WayBlueGreen || over(g) {
			continue
		}
		t := &twins{blue: g, rec: g.twin}
		if green := byNode[g.twin.Green]; green != nil {
			t.green, t.node = green, green.node
			green.node.green = true
			greens[green.name] = true
		}
		pairs[g.name] = t
	}
	return slices.DeleteFunc(slices.Clone(all), over), pairs, greens
}

// succeeds remembers, for this life, that a node group has taken the place of
// another: who rotates the group by its id finds it until the end.
func (v *view) succeeds(blue, green string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.successor == nil {
		v.successor = map[string]string{}
	}
	v.successor[blue] = green
}

// successors are, by Auto Scaling group, those that took its place in this life.
func (v *view) successors() map[string]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.successor)
}
