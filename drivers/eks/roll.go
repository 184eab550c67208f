package eks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// maxUnavailableNodes is EKS' limit on the nodes that an update takes at once.
	maxUnavailableNodes = 100
	// A change of the update configuration takes EKS some seconds, in which it
	// begins no update: Roll waits for so long, and then asks to be called again.
	settleEvery = 2 * time.Second
	settleTries = 20
	// maxOpID leaves room in a tag for the rest of the record.
	maxOpID = 100
	// maxToken is the shortest of AWS's limits on a token that makes a request
	// idempotent.
	maxToken = 64
)

// token is what makes AWS take a repeated request for the same one: the
// operation's id, or a digest of one that is too long.
func token(op string) string {
	if len(op) <= maxToken {
		return op
	}
	sum := sha256.Sum256([]byte(op))
	return hex.EncodeToString(sum[:])
}

// Roll implements sdk.Roller with UpdateNodegroupVersion. In this order: find
// out whether EKS is rolling the group already, set the update configuration
// for the time of the rotation (record first), write a record with all that the
// update says, begin it with the operation's id as its token, and add its id to
// the record. A repeat continues wherever that stopped, with the same target.
func (d *Driver) Roll(ctx context.Context, r sdk.RollRequest) (*sdk.Operation, error) {
	cfg, c, err := d.configured()
	switch {
	case err != nil:
		return nil, err
	case r.MaxUnavailable < 0:
		return nil, sdk.Errorf(codes.InvalidArgument, "roll %s: max unavailable is %d", r.GroupID, r.MaxUnavailable)
	case len(r.ID) > maxOpID || strings.ContainsAny(r.ID, " \t\n"):
		return nil, sdk.Errorf(codes.InvalidArgument, "operation id %q: give at most %d characters without spaces", r.ID, maxOpID)
	}
	unlock, err := d.changing.lock(ctx, r.GroupID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, op, err := find(ctx, c, r.GroupID, r.RotationID)
	switch {
	case op != nil || err != nil:
		return op, err
	case g.nodegroup() == "":
		return failed(finding(sdk.SeverityError, "group-self-managed", g.name,
			"Its instances are replaced one by one.", "group %s is of no managed node group, and so EKS cannot roll it", g.name)), nil
	case !g.rolled(cfg):
		return failed(wayDiagnostic(g, g.way(cfg))), nil
	}
	if op, err := openNodegroup(ctx, c, cfg, g, r.RotationID); op != nil || err != nil {
		return op, err
	}
	m := g.node
	if diags := m.obstacles(); len(diags) > 0 {
		return failed(diags...), nil
	}
	if rec := m.record; rec != nil && rec.Op == r.ID {
		if rec.Update == "" {
			return d.begin(ctx, c, m, rec, r.DryRun)
		}
		u, err := d.view.updates.read(ctx, c.eks, m, rec.Update)
		if err != nil {
			return nil, err
		}
		if u != nil {
			return answer(m.status(u)), nil
		}
		// EKS has forgotten it: see whether there is anything left to do.
	}
	if err := d.wantNow(ctx, c, m); err != nil {
		return nil, err
	}
	rec, op := m.plan(g, r)
	if op != nil {
		return op, nil
	}
	if m.updating() {
		u, err := d.view.updates.find(ctx, c.eks, m, inFlight)
		if err != nil {
			return nil, err
		}
		if u != nil {
			return m.attach(rec, u), nil
		}
	}
	if op := m.idle(g, rec); op != nil {
		return op, nil
	}
	if r.DryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	if op := d.configure(ctx, c, m, r); op != nil {
		return op, nil
	}
	rec.At = d.now().Truncate(time.Second)
	if diag := d.tagNodegroup(ctx, c, m, map[string]string{tagRoll: rec.String()}); diag != nil {
		return failed(*diag), nil
	}
	return d.begin(ctx, c, m, rec, false)
}

// wantNow works out what the node group is to be made from, from what AWS says
// at this moment.
func (d *Driver) wantNow(ctx context.Context, c *clients, m *managed) error {
	out, err := c.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: m.ClusterName})
	if err != nil {
		return statusOf("eks:DescribeCluster", aws.ToString(m.ClusterName), err)
	}
	version := aws.ToString(out.Cluster.Version)
	var names []string
	if t, ok := amiTypes[m.AmiType]; ok {
		k := m.kubernetesWanted(version)
		names = []string{t.releaseParameter(k), t.imageParameter(k)}
		if p := m.pinnedImageParameter(version); p != "" {
			names = append(names, p)
		}
	}
	params, err := readParameters(ctx, c.ssm, names)
	if err != nil {
		return err
	}
	var latest int64
	if ref, ok := m.userTemplate(); ok {
		var t templateCache
		t.init()
		if err := t.readNumbers(ctx, c.ec2, []templateRef{ref}, d.now(), 0); err != nil {
			return err
		}
		latest = t.numbers[ref.key()].latest
	}
	m.want(version, params, latest)
	return nil
}

// userTemplate is the user's launch template that the node group was made from,
// at its newest version.
func (m *managed) userTemplate() (templateRef, bool) {
	if m.LaunchTemplate == nil {
		return templateRef{}, false
	}
	return templateRef{id: aws.ToString(m.LaunchTemplate.Id), name: aws.ToString(m.LaunchTemplate.Name), version: "$Latest"}, true
}

// plan is the update that makes the node group what it is to be; an operation
// ends the call, because EKS would refuse it.
func (m *managed) plan(g *group, r sdk.RollRequest) (*rollRecord, *sdk.Operation) {
	rec := &rollRecord{Op: r.ID, Force: r.Force || m.forced()}
	rec.From = int64(part([]string{g.template().version}, 0))
	if m.wanted.template > m.templateVersion() {
		rec.Template = m.wanted.template
	}
	if m.custom() {
		return rec, nil
	}
	rec.Version, rec.Release = m.wanted.kubernetes, m.wanted.release
	if rec.Release == "" {
		rec.Version = aws.ToString(m.Version)
		if rec.Template == 0 {
			return nil, failed(append(m.diagnostics, finding(sdk.SeverityError, "release-unknown", m.name,
				"Name one: rotatord release apply --release VERSION.", "node group %s cannot be rolled: which release it is to have is not known", m.name))...)
		}
	}
	running := m.running()
	if order, ok := m.wantedRelease().compare(running.release); ok && order < 0 {
		return nil, failed(finding(sdk.SeverityError, "release-downgrade", m.name,
			"Create a new node group with that release, and move the pods there; or remove the pin: the tag "+tagRelease+".",
			"node group %s has release %s, and EKS does not roll a node group back to %s", m.name, running.label, rec.Release))
	}
	return rec, nil
}

// running is the release that EKS says the node group has.
func (m *managed) running() stands {
	r, _ := amiTypes[m.AmiType].family.parse(aws.ToString(m.ReleaseVersion))
	if r.kubernetes == "" {
		r.kubernetes = aws.ToString(m.Version)
	}
	return stands{r, aws.ToString(m.ReleaseVersion)}
}

// idle answers for a node group that EKS would find up to date.
func (m *managed) idle(g *group, rec *rollRecord) *sdk.Operation {
	if rec.Template != 0 || rec.Release != "" && (rec.Release != aws.ToString(m.ReleaseVersion) || rec.Version != aws.ToString(m.Version)) {
		return nil
	}
	for i := range g.Instances {
		inst := &g.Instances[i]
		n, err := strconv.ParseInt(madeOf(inst).version, 10, 64)
		if stateOf(inst.LifecycleState) == sdk.InstanceInService && err == nil && n < rec.From {
			return failed(finding(sdk.SeverityError, "nodegroup-half-updated", m.name,
				"EKS has nothing to update. Set the way of this node group to self, and run again: rotator then replaces these instances.",
				"node group %s is at %s, and instance %s is older: an update stopped half way", m.name, m.wanted, aws.ToString(inst.InstanceId)))
		}
	}
	return &sdk.Operation{State: sdk.OperationDone, Phase: "already at " + m.wanted.String()}
}

// attach answers for a node group that somebody else is rolling.
func (m *managed) attach(rec *rollRecord, u *ekstypes.Update) *sdk.Operation {
	if !rec.goesTo(u) {
		diag := finding(sdk.SeverityError, "roll-foreign-revision", m.name,
			"Let it finish; then the node group is rolled again, if need be.",
			"EKS is rolling node group %s%s (update %s), and it is to have %s", m.name, to(u), aws.ToString(u.Id), m.wanted)
		diag.Retry = sdk.RetryLater
		return failed(diag)
	}
	op := answer(m.status(u))
	op.Diagnostics = append(op.Diagnostics, finding(sdk.SeverityWarning, "roll-foreign", m.name,
		"It is watched. Its settings (nodes at once, force) are those of whoever began it.",
		"somebody else is rolling node group %s%s already: update %s", m.name, to(u), aws.ToString(u.Id)))
	return op
}

// answer is a roll's status as the outcome of the call that asked for it.
func answer(s *sdk.RollStatus) *sdk.Operation {
	op := &sdk.Operation{State: sdk.OperationRunning, Phase: s.Phase, Diagnostics: s.Diagnostics}
	switch s.State {
	case sdk.RollSucceeded:
		op.State, op.Phase = sdk.OperationDone, "EKS has rolled the node group"
	case sdk.RollFailed, sdk.RollCancelled:
		op.State, op.Phase = sdk.OperationFailed, ""
		if s.State == sdk.RollCancelled {
			op.Diagnostics = append(op.Diagnostics, finding(sdk.SeverityError, "update-cancelled", s.ID, "Run again to begin a new one.", "update %s was cancelled", s.ID))
		}
	case sdk.RollRunning, sdk.RollStateUnspecified:
	}
	return op
}

// configure sets the update configuration that the rotation asks for, and waits
// until EKS can begin an update. An operation ends the call.
func (d *Driver) configure(ctx context.Context, c *clients, m *managed, r sdk.RollRequest) *sdk.Operation {
	if op := d.settle(ctx, c, m); op != nil {
		return op
	}
	own := updateConfigOf(m.Nodegroup)
	set := own
	if r.MaxUnavailable > 0 {
		set.Nodes, set.Percent = int32(min(r.MaxUnavailable, maxUnavailableNodes)), 0
	}
	if m.Strategy != "" {
		set.Strategy = m.Strategy
	}
	if set == own {
		return nil
	}
	before, err := parseUpdateRecord(m.Tags)
	if err != nil {
		diag := unreadableNodegroup(m, err)
		return failed(diag)
	}
	// A record that was left behind says what the node group's own is, unless
	// somebody has changed it since.
	if before != nil && before.Set == own {
		own = before.Own
	}
	rec := &updateRecord{Own: own, Set: set}
	if diag := d.tagNodegroup(ctx, c, m, map[string]string{tagUpdateConfig: rec.String()}); diag != nil {
		return failed(*diag)
	}
	if diag := d.setUpdateConfig(ctx, c, m, set, r.ID); diag != nil {
		return failed(*diag)
	}
	m.Status = ekstypes.NodegroupStatusUpdating
	return d.settle(ctx, c, m)
}

// settle waits for a change of the configuration to end.
func (d *Driver) settle(ctx context.Context, c *clients, m *managed) *sdk.Operation {
	for try := 0; m.updating(); try++ {
		if try == settleTries {
			diag := finding(sdk.SeverityError, "nodegroup-updating", m.name,
				"EKS begins no update while it makes another change; it will be tried again.", "node group %s is still being changed", m.name)
			diag.Retry = sdk.RetryLater
			return failed(diag)
		}
		if try > 0 {
			if err := d.pause(ctx, settleEvery); err != nil {
				return failed(diagnose("eks:DescribeNodegroup", m.name, err))
			}
		}
		n, err := describeNodegroup(ctx, c.eks, aws.ToString(m.ClusterName), m.name)
		switch {
		case err != nil:
			return failed(diagnose("eks:DescribeNodegroup", m.name, err))
		case n == nil:
			return failed(finding(sdk.SeverityError, "nodegroup-gone", m.name, "Somebody deleted it.", "node group %s does not exist any more", m.name))
		}
		m.Nodegroup = n
	}
	return nil
}

// begin makes the call that the record announces. The token makes a repeat of
// it the same update.
func (d *Driver) begin(ctx context.Context, c *clients, m *managed, rec *rollRecord, dryRun bool) (*sdk.Operation, error) {
	if dryRun {
		return &sdk.Operation{State: sdk.OperationDone, Phase: "dry run: nothing was changed"}, nil
	}
	defer d.view.changed()
	in := &eks.UpdateNodegroupVersionInput{
		ClusterName: m.ClusterName, NodegroupName: m.NodegroupName, Force: rec.Force, ClientRequestToken: aws.String(token(rec.Op)),
	}
	if rec.Release != "" {
		in.Version, in.ReleaseVersion = aws.String(rec.Version), aws.String(rec.Release)
	}
	if rec.Template != 0 {
		in.LaunchTemplate = &ekstypes.LaunchTemplateSpecification{Id: m.LaunchTemplate.Id, Version: aws.String(strconv.FormatInt(rec.Template, 10))}
	}
	out, err := c.eks.UpdateNodegroupVersion(ctx, in)
	if err != nil {
		diag := diagnose("eks:UpdateNodegroupVersion", m.name, err)
		var busy *ekstypes.ResourceInUseException
		if errors.As(err, &busy) {
			// Somebody was faster. The same call again finds their update, once the
			// record no longer announces one of ours.
			if diag := d.untagNodegroup(ctx, c, m, []string{tagRoll}); diag != nil {
				return failed(*diag), nil
			}
			diag.Retry = sdk.RetryLater
		}
		return failed(diag), nil
	}
	rec.Update = aws.ToString(out.Update.Id)
	if diag := d.tagNodegroup(ctx, c, m, map[string]string{tagRoll: rec.String()}); diag != nil {
		// The update is under way; the same call again closes the record.
		return failed(*diag), nil
	}
	m.record = rec
	return answer(m.status(out.Update)), nil
}
