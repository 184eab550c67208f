package example

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/plugins/example/cloud"
)

// Roll has the cloud replace the outdated instances of a group. The cloud keeps
// the operation's id as the token of its roll: the same call is the same roll.
func (d *Driver) Roll(_ context.Context, r sdk.RollRequest) (*sdk.Operation, error) {
	g, err := d.group(r.GroupID)
	if err != nil {
		return nil, err
	}
	holder := g.Tags[tagHeldBy]
	switch {
	case holder != "" && holder != r.RotationID:
		return nil, sdk.Errorf(codes.Aborted, "group %s is held by rotation %s", g.Name, holder)
	case !g.Rolls:
		return failed(sdk.Diagnostic{Severity: sdk.SeverityError, Code: "cannot-roll", Object: g.ID,
			Summary: fmt.Sprintf("the cloud does not roll group %s", g.Name), Detail: "replace its instances one by one"}), nil
	case g.Roll != nil && g.Roll.Running() && g.Roll.Token != r.ID:
		return attach(g), nil
	case r.DryRun:
		return done(), nil
	}
	roll, err := d.client().Roll(g.ID, r.ID)
	if err != nil {
		return nil, wire(err)
	}
	if !roll.Running() {
		return done(), nil
	}
	return running("rolling"), nil
}

// attach answers for a group that is being rolled for somebody else.
func attach(g cloud.Group) *sdk.Operation {
	if g.Roll.Template != g.Template {
		return failed(sdk.Diagnostic{Severity: sdk.SeverityError, Code: "roll-foreign-revision", Object: g.ID, Retry: sdk.RetryLater,
			Summary: fmt.Sprintf("group %s is being rolled to template version %d", g.Name, g.Roll.Template), Detail: "wait until that has ended"})
	}
	op := running("rolling")
	op.Diagnostics = []sdk.Diagnostic{{Severity: sdk.SeverityWarning, Code: "roll-foreign", Object: g.ID,
		Summary: fmt.Sprintf("somebody else has begun to roll group %s", g.Name), Detail: "its end is waited for"}}
	return op
}

// rollStatus is how the latest roll of a group stands; nil: there was none.
func rollStatus(g cloud.Group) *sdk.RollStatus {
	r := g.Roll
	if r == nil {
		return nil
	}
	s := &sdk.RollStatus{ID: fmt.Sprintf("%s-roll-%d", g.ID, r.Number), OpID: r.Token, State: sdk.RollRunning, Phase: "replacing one instance after the other", Since: r.Began}
	if !r.Running() {
		s.State, s.Phase, s.Ended = sdk.RollSucceeded, "", r.Ended
	}
	return s
}

// traits of a group that the cloud rolls, and of all others.
func traits(g cloud.Group, surge int) sdk.Traits {
	if g.Rolls {
		return sdk.Traits{Roll: true, Drains: sdk.DrainsProvider, Prepare: true, Stage: true}
	}
	return sdk.Traits{
		TerminateKeep: true, TerminateShrink: true, Prepare: true, Stage: true, Refill: sdk.RefillGroup,
		MaxSurge: max(g.Max-(g.Desired-surge), 0),
	}
}
