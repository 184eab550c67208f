package eks

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/rotatord/rotator/drivers/sdk"
)

// left says why a group is not rotated; empty: it is.
func left(g *group, cfg Config) string {
	switch {
	case g.nodegroup() == "" && g.node == nil:
		return ""
	case cfg.ManagedNodeGroups.of(g.nodegroup()).Way == WaySkip:
		return "The driver's configuration says so: managedNodeGroups, way skip."
	case g.node == nil:
		return "EKS does not list it among the cluster's node groups: it is of another cluster, or being deleted."
	}
	return ""
}

// byImage tells whether the images of a managed group's instances matter. It may
// be called on nil: a self-managed group.
func (m *managed) byImage() bool {
	return m != nil && m.Way.renews() && m.wanted.release != ""
}

// judgeNodegroups works out what the managed groups are to be made from, and how
// their rolls stand.
func (d *Driver) judgeNodegroups(ctx context.Context, c *clients, cluster string, groups []*group, at time.Time, maxAge time.Duration) error {
	var list []*managed
	var refs []templateRef
	for _, g := range groups {
		if g.node == nil {
			continue
		}
		list = append(list, g.node)
		if ref, ok := g.node.userTemplate(); ok {
			refs = append(refs, ref)
		}
	}
	d.view.userTemplates = refs
	if len(list) == 0 {
		return nil
	}
	controlPlane, err := d.controlPlane(ctx, c, cluster, at, maxAge)
	if err != nil {
		return err
	}
	params, err := d.recommended(ctx, c, list, controlPlane, at, maxAge)
	if err != nil {
		return err
	}
	age := revisionAge
	if maxAge == 0 {
		age = 0
	}
	templates := &d.view.templates
	templates.init()
	if err := templates.readNumbers(ctx, c.ec2, refs, at, age); err != nil {
		return err
	}
	for _, m := range list {
		var latest int64
		if ref, ok := m.userTemplate(); ok {
			latest = templates.numbers[ref.key()].latest
		}
		m.want(controlPlane, params, latest)
		if err := d.showRoll(ctx, c, m); err != nil {
			return err
		}
	}
	return nil
}

// learnImages reads the names of the images that tell a release. An image that
// is the wanted one needs no name.
func (d *Driver) learnImages(ctx context.Context, c *clients, groups []*group) error {
	var ids []string
	keep := map[string]bool{}
	for _, g := range groups {
		if !g.node.byImage() {
			continue
		}
		for i := range g.Instances {
			image := d.view.known[aws.ToString(g.Instances[i].InstanceId)].image
			keep[image] = true
			if image != g.node.wanted.image {
				ids = append(ids, image)
			}
		}
	}
	d.view.images.forget(keep)
	return d.view.images.read(ctx, c.ec2, ids)
}

// showNodegroup adds to a group what its node group means: the traits of its
// way, what EKS says is wrong with it, and why its instances are outdated. N and
// list are as they would be without EKS.
func (d *Driver) showNodegroup(n *sdk.NodeGroup, list []sdk.Instance, g *group) {
	m := g.node
	n.Name = m.name
	n.Diagnostics = append(n.Diagnostics, m.diagnostics...)
	n.Diagnostics = append(n.Diagnostics, m.health()...)
	n.Diagnostics = append(n.Diagnostics, m.obstacles()...)
	n.Roll = m.roll
	holder, err := m.holder()
	if err == nil {
		err = m.unreadable
	}
	if err != nil {
		n.Diagnostics = append(n.Diagnostics, unreadableNodegroup(m, err))
	}
	if m.Way.rolls() {
		n.HeldBy = holder
		n.Defaults = updateConfigOf(m.Nodegroup).defaults(n.Desired - n.Surge)
		n.Traits = sdk.Traits{Prepare: true, Roll: true, Stage: !m.custom() || m.LaunchTemplate != nil, Refill: sdk.RefillGroup, Drains: sdk.DrainsProvider}
		if m.Way == WayAssisted {
			n.Traits.Drains = sdk.DrainsBoth
		}
		if w := m.wanted.String(); w != "" {
			n.Revision = w
		}
		if g.suspended(azRebalance) {
			n.Diagnostics = append(n.Diagnostics, finding(sdk.SeverityWarning, "az-rebalance-suspended", m.name,
				"EKS counts on it: resume it, or an update may end with no new node in a zone, and fail.",
				"the group of node group %s has its process AZRebalance suspended", m.name))
		}
	} else if m.Way == WayBlueGreen {
		n.Traits.Stage = !m.custom() || m.LaunchTemplate != nil
		n.Traits.MaxSurge = min(maxSurge, n.Max)
		n.Roll = nil
		if w := m.wanted.String(); w != "" {
			n.Revision = w
		}
	} else {
		n.Traits.Stage = false
		// EKS keeps the sizes: surge stays within the group's maximum.
		n.Traits.MaxSurge = max(0, min(maxSurge, n.Max-(n.Desired-n.Surge)))
	}
	behind := 0
	for i := range list {
		if d.judgeInstance(&list[i], g) {
			behind++
		}
	}
	n.LostLabels = d.lostLabels(m, list)
	if behind > 0 && !m.Way.renews() {
		n.Diagnostics = append(n.Diagnostics, finding(sdk.SeverityWarning, "release-behind", m.name,
			"Only EKS can give a managed node group a new release. Set its way to delegated for that.",
			"node group %s is behind %s, and its way, %s, does not change that", m.name, m.wanted, m.Way))
	}
	progress(n.Roll, list)
}

// judgeInstance completes an instance of a managed group. It tells whether the
// instance is behind in a way that only EKS can change.
func (d *Driver) judgeInstance(i *sdk.Instance, g *group) (behind bool) {
	m := g.node
	inst := madeOf(g.member(i.ID))
	known := d.view.known[i.ID]
	at := m.standing(known.image, d.view.images.known[known.image].name)
	why := m.behind(inst, at)
	if m.green {
		why = nil
	}
	if !m.Way.rolls() {
		// EKS would not replace it for that: it rolls what is of another revision.
		if issue, found := m.unhealthy(i.ID); found {
			i.Reasons = append(i.Reasons, sdk.Reason{Code: reasonHealth, Message: "EKS reports " + issue})
		}
	}
	if !m.Way.renews() {
		return len(why) > 0
	}
	i.Reasons = append(i.Reasons, why...)
	if m.byImage() && known.image == "" && i.State == sdk.InstanceInService {
		i.State = sdk.InstancePending // until EC2 shows it, it is not known to be current
	}
	if at.label != "" {
		i.Revision = at.label
	}
	if len(i.Reasons) == 0 && m.wanted.String() != "" {
		i.Revision = m.wanted.String()
	}
	return len(why) > 0
}

// nameApart calls groups by their ids where two have one name: a managed node
// group and a self-managed group may be called the same.
func nameApart(groups []sdk.NodeGroup) {
	taken := map[string]int{}
	for _, g := range groups {
		taken[g.Name]++
	}
	for i := range groups {
		if taken[groups[i].Name] > 1 {
			groups[i].Name = groups[i].ID
		}
	}
}

// atRest refuses a group whose instances EKS is replacing itself.
func atRest(ctx context.Context, c *clients, cfg Config, g *group) *sdk.Operation {
	if g.nodegroup() == "" {
		return nil
	}
	n, err := describeNodegroup(ctx, c.eks, g.tags[tagCluster], g.nodegroup())
	switch {
	case err != nil:
		return failed(diagnose("eks:DescribeNodegroup", g.nodegroup(), err))
	case n == nil:
		return failed(finding(sdk.SeverityError, "nodegroup-gone", g.nodegroup(), "Somebody deleted it.", "node group %s does not exist any more", g.nodegroup()))
	}
	if diags := newManaged(n, cfg.ManagedNodeGroups).obstacles(); len(diags) > 0 {
		return failed(diags...)
	}
	return nil
}
