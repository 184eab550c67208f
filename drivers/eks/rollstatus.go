package eks

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

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
	// An update in flight goes before one that has ended. One search serves for both:
	// each has a bound.
	lost := m.record != nil && m.record.Update == ""
	if m.updating() && (u == nil || over(u)) || lost {
		now, err := d.view.updates.find(ctx, c.eks, m, func(u *ekstypes.Update) bool {
			return m.updating() && inFlight(u) || lost && m.record.began(u)
		})
		if err != nil {
			return err
		}
		if now != nil {
			u = now
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
