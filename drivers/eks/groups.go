package eks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// groupsPerPage is AWS's largest page of groups.
	groupsPerPage = 100
	// maxPages bounds every paged describe: AWS allows 500 groups a region by
	// default, and a token that never ends must not hang a rotation.
	maxPages = 200
	// maxSurge bounds the surge of one group. AWS has no such limit: it is there
	// so that a slip of the keyboard does not launch a data centre.
	maxSurge = 1000
	// tagManaged is on the groups behind managed node groups.
	tagManaged = "eks:nodegroup-name"
)

// group is an Auto Scaling group as it was read, with our records.
type group struct {
	*asgtypes.AutoScalingGroup
	name              string
	tags              map[string]string
	desired, min, max int
	prepared          *prepareRecord // nil: nobody holds the group
	surge             *surgeRecord   // nil: no surge
	twin              *twinRecord    // nil: no second node group takes its place
	// unreadable tells which record cannot be read. What it says is then unknown,
	// so that nothing may be changed.
	unreadable error
	// node is what EKS says of the node group that the group is of; nil: it is of
	// none, or EKS was not asked.
	node *managed
	// outside was taken out of the group, which surges so where detaches is set.
	outside  []outsider
	detaches bool
}

func newGroup(g *asgtypes.AutoScalingGroup) *group {
	n := &group{
		AutoScalingGroup: g,
		name:             aws.ToString(g.AutoScalingGroupName),
		tags:             make(map[string]string, len(g.Tags)),
		desired:          int(aws.ToInt32(g.DesiredCapacity)),
		min:              int(aws.ToInt32(g.MinSize)),
		max:              int(aws.ToInt32(g.MaxSize)),
	}
	for _, t := range g.Tags {
		n.tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	var err error
	n.prepared, n.unreadable = parsePrepareRecord(n.tags)
	if value, ok := n.tags[tagSurge]; ok {
		if n.surge, err = parseSurgeRecord(value); err != nil && n.unreadable == nil {
			n.unreadable = fmt.Errorf("tag %s: %w", tagSurge, err)
		}
	}
	if n.twin, err = parseTwinRecord(n.tags); err != nil && n.unreadable == nil {
		n.unreadable = err
	}
	return n
}

// nodegroup names the managed node group that the group is of; empty: none.
func (g *group) nodegroup() string { return g.tags[tagManaged] }

// marked tells whether the group carries the tag, key and value exactly.
func (g *group) marked(t groupTag) bool {
	v, ok := g.tags[t.key]
	return ok && (len(t.values) == 0 || slices.Contains(t.values, v))
}

// standing is what the group's surge record means now.
func (g *group) standing() standing { return g.surge.stand(g.desired, g.going) }

// member returns an instance of the group; nil: it is in no group like this.
func (g *group) member(id string) *asgtypes.Instance {
	for i := range g.Instances {
		if aws.ToString(g.Instances[i].InstanceId) == id {
			return &g.Instances[i]
		}
	}
	return nil
}

// going tells that an instance is no longer in service in the group, nor on its
// way there.
func (g *group) going(id string) bool {
	i := g.member(id)
	return i == nil || stateOf(i.LifecycleState) == sdk.InstanceTerminating || i.LifecycleState == asgtypes.LifecycleStateTerminated
}

func (g *group) suspended(process string) bool {
	return slices.ContainsFunc(g.SuspendedProcesses, func(p asgtypes.SuspendedProcess) bool { return aws.ToString(p.ProcessName) == process })
}

// checkHolder answers ABORTED when another rotation than this holds the group.
func (g *group) checkHolder(rotation string) error {
	if g.prepared == nil || g.prepared.Rotation == rotation {
		return nil
	}
	return heldBy(g.name, g.prepared.Rotation)
}

func heldBy(group, rotation string) error {
	return sdk.Errorf(codes.Aborted, "group %s is held by rotation %s: let it finish, or resume or abort it; if it is gone for good, remove the tag %s from the group", group, rotation, tagPrepared)
}

// unreadableDiagnostic explains a record that somebody edited.
func (g *group) unreadableDiagnostic() sdk.Diagnostic {
	return finding(sdk.SeverityError, "record-unreadable", g.name,
		fmt.Sprintf("%v. A later rotator wrote it, or somebody edited it. Use that rotator, or put the group's settings right by hand and remove its tags %s*.", g.unreadable, tagPrefix),
		"a record of a rotation on group %s cannot be read", g.name)
}

// describeGroups reads all groups that carry the tag, a hundred a call.
func describeGroups(ctx context.Context, client *autoscaling.Client, tag groupTag) ([]*group, error) {
	in := &autoscaling.DescribeAutoScalingGroupsInput{
		MaxRecords: aws.Int32(groupsPerPage),
		Filters:    []asgtypes.Filter{{Name: aws.String("tag-key"), Values: []string{tag.key}}},
	}
	var groups []*group
	for range maxPages {
		out, err := client.DescribeAutoScalingGroups(ctx, in)
		if err != nil {
			return nil, statusOf("autoscaling:DescribeAutoScalingGroups", "tag "+tag.String(), err)
		}
		for i := range out.AutoScalingGroups {
			if g := newGroup(&out.AutoScalingGroups[i]); g.marked(tag) {
				groups = append(groups, g)
			}
		}
		if aws.ToString(out.NextToken) == "" {
			slices.SortFunc(groups, func(a, b *group) int { return strings.Compare(a.name, b.name) })
			return groups, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, sdk.Errorf(codes.ResourceExhausted, "autoscaling:DescribeAutoScalingGroups: more than %d pages of groups carry the tag %s", maxPages, tag)
}

// readGroup reads one group now. A group that does not exist is nil.
func readGroup(ctx context.Context, client *autoscaling.Client, name string) (*group, error) {
	out, err := client.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}})
	if err != nil {
		return nil, err
	}
	for i := range out.AutoScalingGroups {
		if g := newGroup(&out.AutoScalingGroups[i]); g.name == name {
			return g, nil
		}
	}
	return nil, nil
}

// find reads a group for a change. A group that does not exist is NOT_FOUND. A
// non-nil operation ends the call: the group cannot be read.
func find(ctx context.Context, c *clients, name, rotation string) (*group, *sdk.Operation, error) {
	if !rotationID.MatchString(rotation) {
		return nil, nil, sdk.Errorf(codes.InvalidArgument, "rotation id %q: give 1 to 64 of the characters A-Z a-z 0-9 . _ : / @ + -", rotation)
	}
	g, err := readGroup(ctx, c.asg, name)
	switch {
	case err != nil:
		return nil, failed(diagnose("autoscaling:DescribeAutoScalingGroups", name, err)), nil
	case g == nil:
		return nil, nil, sdk.Errorf(codes.NotFound, "Auto Scaling group %s does not exist: somebody deleted it, or it is of another region or account", name)
	}
	return g, nil, nil
}

// open is find for a group whose instances the core replaces. One that another
// rotation holds is ABORTED. The operation also tells that the group is not ours
// to change, or has a record that cannot be read.
func (d *Driver) open(ctx context.Context, c *clients, name, rotation string) (*group, *sdk.Operation, error) {
	cfg, _, err := d.configured()
	if err != nil {
		return nil, nil, err
	}
	g, op, err := find(ctx, c, name, rotation)
	if op != nil || err != nil {
		return nil, op, err
	}
	if op, err := g.ours(cfg, rotation); op != nil || err != nil {
		return nil, op, err
	}
	return g, nil, nil
}

// ours refuses a group whose instances the core does not replace, or that
// another rotation holds.
func (g *group) ours(cfg Config, rotation string) (*sdk.Operation, error) {
	switch {
	case g.nodegroup() != "" && g.way(cfg) != WaySelf && g.way(cfg) != WayBlueGreen:
		return failed(wayDiagnostic(g, g.way(cfg))), nil
	case g.unreadable != nil:
		return failed(g.unreadableDiagnostic()), nil //nolint:nilerr // the diagnostic tells the error
	}
	return nil, g.checkHolder(rotation)
}

// way is how the managed node group that the group is of is rotated.
func (g *group) way(cfg Config) Way { return cfg.ManagedNodeGroups.of(g.nodegroup()).Way }

// rolled tells whether EKS replaces the group's instances.
func (g *group) rolled(cfg Config) bool { return g.nodegroup() != "" && g.way(cfg).rolls() }

// stages tells whether a release can be given to the group. A managed node group
// gets it from EKS alone.
func (g *group) stages(cfg Config) bool {
	if g.nodegroup() != "" {
		return g.way(cfg).renews()
	}
	s := sourceOf(g.AutoScalingGroup)
	return len(s.refs) == 1 && s.refs[0].image == ""
}

// writeTags puts tags on a group, all or none. They do not reach instances.
func writeTags(ctx context.Context, c *clients, name string, tags map[string]string) *sdk.Diagnostic {
	_, err := c.asg.CreateOrUpdateTags(ctx, &autoscaling.CreateOrUpdateTagsInput{Tags: tagList(name, tags)})
	if err != nil {
		diag := diagnose("autoscaling:CreateOrUpdateTags", name, err)
		return &diag
	}
	return nil
}

// dropTags removes tags from a group; one that is not there is no error.
func dropTags(ctx context.Context, c *clients, name string, tags map[string]string) *sdk.Diagnostic {
	if len(tags) == 0 {
		return nil
	}
	_, err := c.asg.DeleteTags(ctx, &autoscaling.DeleteTagsInput{Tags: tagList(name, tags)})
	if err != nil {
		diag := diagnose("autoscaling:DeleteTags", name, err)
		return &diag
	}
	return nil
}

func tagList(name string, tags map[string]string) []asgtypes.Tag {
	list := make([]asgtypes.Tag, 0, len(tags))
	for k, v := range tags {
		list = append(list, asgtypes.Tag{
			ResourceId: aws.String(name), ResourceType: aws.String("auto-scaling-group"),
			Key: aws.String(k), Value: aws.String(v), PropagateAtLaunch: aws.Bool(false),
		})
	}
	slices.SortFunc(list, func(a, b asgtypes.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return list
}
