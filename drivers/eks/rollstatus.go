package eks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// updatesLooked bounds how many updates of a node group are described in the
// search for one. EKS lists ids alone, in no order that it documents.
const updatesLooked = 200

// showRoll reads how the latest roll of the node group stands: the one of our
// record, or one that somebody else began and that has not ended. A node group
// at rest without a record is not asked about.
func (d *Driver) showRoll(ctx context.Context, c *clients, m *managed) error {
	if m.record == nil && !m.updating() {
		return nil
	}
	var u *ekstypes.Update
	var err error
	if m.record != nil && m.record.Update != "" {
		if u, err = d.view.updates.read(ctx, c.eks, m, m.record.Update); err != nil {
			return err
		}
	}
	// An update in flight goes before one that has ended.
	if m.updating() && (u == nil || over(u)) {
		now, err := d.findUpdate(ctx, c, m, inFlight)
		if err != nil {
			return err
		}
		if now != nil {
			u = now
		}
	}
	if u == nil && m.record != nil && m.record.Update == "" {
		if u, err = d.findUpdate(ctx, c, m, m.record.began); err != nil {
			return err
		}
	}
	if u != nil {
		m.roll = m.status(u)
	}
	return nil
}

func over(u *ekstypes.Update) bool { return u.Status != ekstypes.UpdateStatusInProgress }

func inFlight(u *ekstypes.Update) bool { return isRoll(u) && !over(u) }

// isRoll tells an update that replaces nodes from one of the configuration.
func isRoll(u *ekstypes.Update) bool {
	return u.Type == ekstypes.UpdateTypeVersionUpdate || u.Type == ekstypes.UpdateTypeVersionRollback
}

// began tells whether an update is the one that the record announces. EKS does
// not show the token that an update was begun with.
func (r *rollRecord) began(u *ekstypes.Update) bool {
	return isRoll(u) && !aws.ToTime(u.CreatedAt).Before(r.At) && r.goesTo(u)
}

// goesTo tells whether an update leads to what the record says.
func (r *rollRecord) goesTo(u *ekstypes.Update) bool {
	for kind, want := range map[ekstypes.UpdateParamType]string{
		ekstypes.UpdateParamTypeVersion:        r.Version,
		ekstypes.UpdateParamTypeReleaseVersion: r.Release,
	} {
		if got := param(u, kind); want != "" && got != "" && got != want {
			return false
		}
	}
	got := param(u, ekstypes.UpdateParamTypeLaunchTemplateVersion)
	return r.Template == 0 || got == "" || got == strconv.FormatInt(r.Template, 10)
}

func param(u *ekstypes.Update, kind ekstypes.UpdateParamType) string {
	for _, p := range u.Params {
		if p.Type == kind {
			return aws.ToString(p.Value)
		}
	}
	return ""
}

// status is an update as the host sees it.
func (m *managed) status(u *ekstypes.Update) *sdk.RollStatus {
	s := &sdk.RollStatus{ID: aws.ToString(u.Id), Since: aws.ToTime(u.CreatedAt)}
	if r := m.record; r != nil && (r.Update == s.ID || r.Update == "" && r.began(u)) {
		s.OpID = r.Op
	}
	switch u.Status {
	case ekstypes.UpdateStatusSuccessful:
		s.State = sdk.RollSucceeded
	case ekstypes.UpdateStatusFailed:
		s.State = sdk.RollFailed
	case ekstypes.UpdateStatusCancelled:
		s.State = sdk.RollCancelled
	case ekstypes.UpdateStatusInProgress:
		s.State, s.Phase = sdk.RollRunning, "EKS rolls the node group"+to(u)
	default:
		s.State, s.Phase = sdk.RollRunning, fmt.Sprintf("EKS says %s, which this driver does not know", u.Status)
	}
	severity := sdk.SeverityWarning
	if s.State == sdk.RollFailed {
		severity = sdk.SeverityError
	}
	for _, e := range u.Errors {
		s.Diagnostics = append(s.Diagnostics, translate(severity, m.name, string(e.ErrorCode), aws.ToString(e.ErrorMessage), e.ResourceIds))
	}
	if s.State == sdk.RollFailed && len(s.Diagnostics) == 0 {
		s.Diagnostics = append(s.Diagnostics, finding(sdk.SeverityError, "update-failed", m.name,
			"See the node group's updates and health issues in the EKS console.", "update %s of node group %s failed, and EKS does not say why", s.ID, m.name))
	}
	return s
}

// to says what an update leads to.
func to(u *ekstypes.Update) string {
	var what []string
	if r := cmp.Or(param(u, ekstypes.UpdateParamTypeReleaseVersion), param(u, ekstypes.UpdateParamTypeVersion)); r != "" {
		what = append(what, "release "+r)
	}
	if v := param(u, ekstypes.UpdateParamTypeLaunchTemplateVersion); v != "" {
		what = append(what, "launch template version "+v)
	}
	if len(what) == 0 {
		return ""
	}
	return " to " + strings.Join(what, ", ")
}

// progress adds to a roll in flight how far it is, by what its instances are.
func progress(s *sdk.RollStatus, instances []sdk.Instance) {
	if s == nil || s.State != sdk.RollRunning {
		return
	}
	current := 0
	for _, i := range instances {
		if len(i.Reasons) == 0 && i.State == sdk.InstanceInService {
			current++
		}
	}
	s.Phase += fmt.Sprintf(": %d of %d instances current", current, len(instances))
}

// updateCache remembers updates that have ended: they do not change any more.
type updateCache struct {
	mu   sync.Mutex
	over map[string]ekstypes.Update // by id
}

// reset forgets everything.
func (k *updateCache) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = nil
}

// read reads an update of a node group; nil: EKS does not know it (any more).
func (k *updateCache) read(ctx context.Context, client *eks.Client, m *managed, id string) (*ekstypes.Update, error) {
	k.mu.Lock()
	known, ok := k.over[id]
	k.mu.Unlock()
	if ok {
		return &known, nil
	}
	out, err := client.DescribeUpdate(ctx, &eks.DescribeUpdateInput{Name: m.ClusterName, NodegroupName: m.NodegroupName, UpdateId: &id})
	if notFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, statusOf("eks:DescribeUpdate", m.name, err)
	}
	if over(out.Update) {
		k.mu.Lock()
		if k.over == nil {
			k.over = map[string]ekstypes.Update{}
		}
		k.over[id] = *out.Update
		k.mu.Unlock()
	}
	return out.Update, nil
}

// findUpdate returns the newest update of a node group that fits.
func (d *Driver) findUpdate(ctx context.Context, c *clients, m *managed, fits func(*ekstypes.Update) bool) (*ekstypes.Update, error) {
	ids, err := listUpdates(ctx, c.eks, m)
	if err != nil {
		return nil, err
	}
	var newest *ekstypes.Update
	for _, id := range ids {
		u, err := d.view.updates.read(ctx, c.eks, m, id)
		if err != nil {
			return nil, err
		}
		if u != nil && fits(u) && (newest == nil || aws.ToTime(newest.CreatedAt).Before(aws.ToTime(u.CreatedAt))) {
			newest = u
		}
	}
	return newest, nil
}

func listUpdates(ctx context.Context, client *eks.Client, m *managed) ([]string, error) {
	in := &eks.ListUpdatesInput{Name: m.ClusterName, NodegroupName: m.NodegroupName}
	var ids []string
	for range maxPages {
		out, err := client.ListUpdates(ctx, in)
		if err != nil {
			return nil, statusOf("eks:ListUpdates", m.name, err)
		}
		ids = append(ids, out.UpdateIds...)
		if aws.ToString(out.NextToken) == "" || len(ids) >= updatesLooked {
			break
		}
		in.NextToken = out.NextToken
	}
	return slices.Clip(ids[:min(len(ids), updatesLooked)]), nil
}
