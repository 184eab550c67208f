package eks

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// tagCluster is on the groups behind managed node groups, beside tagManaged.
	tagCluster = "eks:cluster-name"
	// nodegroupAge is how long an Observe that accepts old answers may rely on what
	// EKS said of node groups at rest. One that is rolling is asked for each time.
	nodegroupAge = 5 * time.Minute
	// describesAtOnce bounds the calls to EKS in flight: it describes one node
	// group a call.
	describesAtOnce = 10
	// groupsPerCall is AWS's limit on the names of one describe of groups.
	groupsPerCall = 50
)

// managed is what EKS says of the node group that a group is of.
type managed struct {
	*ekstypes.Nodegroup
	name string
	NodeGroupWay
	// green tells that it takes the place of another: what it was made from is
	// what the rotation wants, whatever is published meanwhile.
	green  bool
	wanted wanting
	record *rollRecord // the latest roll by a rotation; nil: none
	// unreadable tells that a record of ours cannot be read.
	unreadable error
	roll       *sdk.RollStatus
	// diagnostics about the node group, found while it was read.
	diagnostics []sdk.Diagnostic
}

func newManaged(n *ekstypes.Nodegroup, ways ManagedNodeGroups) *managed {
	m := &managed{Nodegroup: n, name: aws.ToString(n.NodegroupName)}
	m.NodeGroupWay = ways.of(m.name)
	m.record, m.unreadable = parseRollRecord(n.Tags)
	return m
}

// updating tells whether EKS changes the node group, whoever asked it to.
func (m *managed) updating() bool { return m.Status == ekstypes.NodegroupStatusUpdating }

// custom tells that the image is the user's own, named by the launch template.
func (m *managed) custom() bool { return m.AmiType == ekstypes.AMITypesCustom }

// groups names the node group's Auto Scaling groups.
func (m *managed) groups() []string {
	if m.Resources == nil {
		return nil
	}
	var names []string
	for _, g := range m.Resources.AutoScalingGroups {
		names = append(names, aws.ToString(g.Name))
	}
	return names
}

// templateVersion is the version of the user's launch template that the node
// group was last made from; 0: it has none.
func (m *managed) templateVersion() int64 {
	if m.LaunchTemplate == nil {
		return 0
	}
	return int64(part([]string{aws.ToString(m.LaunchTemplate.Version)}, 0))
}

// nodegroups remembers what EKS said. It is a cache: a new life asks again.
type nodegroups struct {
	cluster string
	unknown bool // EKS knows no such cluster
	names   timed[[]string]
	known   map[string]timed[*ekstypes.Nodegroup]
	version timed[string]            // of the control plane
	params  map[string]timed[string] // SSM parameters; empty: there is none
}

// readNodegroups reads the cluster's node groups: one list, and one describe for
// each that may have changed. Those in stale are asked for again. A cluster that
// EKS does not know has none, and the answer is not found.
func (d *Driver) readNodegroups(ctx context.Context, c *clients, cluster string, at time.Time, maxAge time.Duration, stale map[string]bool) (list []*ekstypes.Nodegroup, found bool, err error) {
	n := &d.view.nodegroups
	if n.cluster != cluster {
		*n = nodegroups{cluster: cluster}
	}
	// EKS has no describe of many: what it said of a node group at rest is kept
	// longer than what a single call would answer again.
	fresh := func(read time.Time) bool { return maxAge > 0 && !read.IsZero() && at.Sub(read) < nodegroupAge }
	if !fresh(n.names.at) {
		names, err := listNodegroups(ctx, c.eks, cluster)
		if err != nil && !notFound(err) {
			return nil, false, statusOf("eks:ListNodegroups", cluster, err)
		}
		n.names, n.unknown = timed[[]string]{names, at}, err != nil
	}
	if n.unknown {
		return nil, false, nil
	}
	var ask []string
	for _, name := range n.names.value {
		k, ok := n.known[name]
		// What is in transit is asked for each time; so is what may have changed.
		if !ok || !fresh(k.at) || stale[name] || k.value == nil || transient(k.value) {
			ask = append(ask, name)
		}
	}
	asked, err := describeNodegroups(ctx, c.eks, cluster, ask)
	if err != nil {
		return nil, false, err
	}
	if n.known == nil {
		n.known = map[string]timed[*ekstypes.Nodegroup]{}
	}
	for i, name := range ask {
		n.known[name] = timed[*ekstypes.Nodegroup]{asked[i], at}
	}
	maps.DeleteFunc(n.known, func(name string, _ timed[*ekstypes.Nodegroup]) bool { return !slices.Contains(n.names.value, name) })
	for _, name := range n.names.value {
		if g := n.known[name].value; g != nil {
			list = append(list, g)
		}
	}
	return list, true, nil
}

// transient tells that a node group's state will change by itself.
func transient(n *ekstypes.Nodegroup) bool {
	switch n.Status {
	case ekstypes.NodegroupStatusActive, ekstypes.NodegroupStatusCreateFailed, ekstypes.NodegroupStatusDeleteFailed:
		return false
	case ekstypes.NodegroupStatusCreating, ekstypes.NodegroupStatusUpdating, ekstypes.NodegroupStatusDeleting, ekstypes.NodegroupStatusDegraded:
	}
	return true
}

func listNodegroups(ctx context.Context, client *eks.Client, cluster string) ([]string, error) {
	in := &eks.ListNodegroupsInput{ClusterName: &cluster}
	var names []string
	for range maxPages {
		out, err := client.ListNodegroups(ctx, in)
		if err != nil {
			return nil, err
		}
		names = append(names, out.Nodegroups...)
		if aws.ToString(out.NextToken) == "" {
			slices.Sort(names)
			return names, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, sdk.Errorf(codes.ResourceExhausted, "eks:ListNodegroups: more than %d pages of node groups in cluster %s", maxPages, cluster)
}

// describeNodegroups reads node groups, in the order of their names. One that is
// gone is nil.
func describeNodegroups(ctx context.Context, client *eks.Client, cluster string, names []string) ([]*ekstypes.Nodegroup, error) {
	out := make([]*ekstypes.Nodegroup, len(names))
	errs := make([]error, len(names))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(describesAtOnce, len(names)) {
		workers.Go(func() {
			for i := range next {
				out[i], errs[i] = describeNodegroup(ctx, client, cluster, names[i])
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	workers.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, statusOf("eks:DescribeNodegroup", names[i], err)
		}
	}
	return out, nil
}

// describeNodegroup reads one node group now. One that does not exist is nil.
func describeNodegroup(ctx context.Context, client *eks.Client, cluster, name string) (*ekstypes.Nodegroup, error) {
	out, err := client.DescribeNodegroup(ctx, &eks.DescribeNodegroupInput{ClusterName: &cluster, NodegroupName: &name})
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return out.Nodegroup, nil
}

// notFound tells that EKS does not know what it was asked about.
func notFound(err error) bool {
	var nf *ekstypes.ResourceNotFoundException
	return errors.As(err, &nf)
}

// controlPlane reads the Kubernetes version of the cluster's control plane.
func (d *Driver) controlPlane(ctx context.Context, c *clients, cluster string, at time.Time, maxAge time.Duration) (string, error) {
	n := &d.view.nodegroups
	if n.version.value != "" && maxAge > 0 && at.Sub(n.version.at) < nodegroupAge {
		return n.version.value, nil
	}
	out, err := c.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	if err != nil {
		return "", statusOf("eks:DescribeCluster", cluster, err)
	}
	n.version = timed[string]{aws.ToString(out.Cluster.Version), at}
	return n.version.value, nil
}

// join gives each group what EKS says of its node group, and reads the groups
// that the tag did not find. What is in all but is of another cluster, or of no
// node group any more, stays without.
func (d *Driver) join(ctx context.Context, c *clients, s *sdk.Snapshot, cfg Config, cluster string, all []*group, at time.Time, maxAge time.Duration) ([]*group, error) {
	if cfg.ManagedNodeGroups.none() {
		return all, nil
	}
	list, found, err := d.readNodegroups(ctx, c, cluster, at, maxAge, d.staleNodegroups(all))
	switch {
	case err != nil:
		return nil, err
	case !found:
		s.Diagnostics = append(s.Diagnostics, finding(sdk.SeverityWarning, "cluster-not-found", cluster,
			"Check the cluster's name, the region and the credentials' account. Groups that carry its tag are found without EKS.",
			"EKS knows no cluster %s here: managed node groups are not looked for", cluster))
		return all, nil
	}
	byGroup := map[string]*managed{}
	for _, n := range list {
		m := newManaged(n, cfg.ManagedNodeGroups)
		names := m.groups()
		for _, name := range names {
			byGroup[name] = m
		}
		if len(names) != 1 && m.Way != WaySkip {
			s.Diagnostics = append(s.Diagnostics, finding(sdk.SeverityWarning, "nodegroup-without-group", m.name,
				"Wait until EKS has created it, or delete it.", "node group %s is skipped: it has %d Auto Scaling groups, and is %s", m.name, len(names), m.Status))
		}
	}
	for _, g := range all {
		g.node = byGroup[g.name]
		delete(byGroup, g.name)
	}
	var missing []string
	for name, m := range byGroup {
		if m.Way != WaySkip {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	more, err := readGroups(ctx, c.asg, missing)
	if err != nil {
		return nil, err
	}
	for _, g := range more {
		g.node = byGroup[g.name]
	}
	all = append(all, more...)
	slices.SortFunc(all, func(a, b *group) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// staleNodegroups are those whose group launches from something else than when
// EKS was asked: somebody has begun an update since, or one has ended; and those
// that this driver has changed.
func (d *Driver) staleNodegroups(all []*group) map[string]bool {
	stale := d.view.takeChangedNodegroups()
	if d.view.launching == nil {
		d.view.launching = map[string]templateRef{}
	}
	for _, g := range all {
		if g.nodegroup() == "" {
			continue
		}
		now := g.template()
		if d.view.launching[g.name] != now {
			stale[g.nodegroup()] = true
			d.view.launching[g.name] = now
		}
	}
	return stale
}

// template is the version of EKS' launch template that the group of a node group
// launches from. EKS makes one for all instance types.
func (g *group) template() templateRef {
	if refs := sourceOf(g.AutoScalingGroup).refs; len(refs) > 0 {
		return refs[0].templateRef
	}
	return templateRef{}
}

// readGroups reads groups by name, those that exist.
func readGroups(ctx context.Context, client *autoscaling.Client, names []string) ([]*group, error) {
	var groups []*group
	for chunk := range slices.Chunk(names, groupsPerCall) {
		out, err := client.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: chunk})
		if err != nil {
			return nil, statusOf("autoscaling:DescribeAutoScalingGroups", strings.Join(chunk, ","), err)
		}
		for i := range out.AutoScalingGroups {
			groups = append(groups, newGroup(&out.AutoScalingGroups[i]))
		}
	}
	return groups, nil
}
