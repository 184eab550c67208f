package sdk

import (
	"context"
	"fmt"
	"time"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// RollRequest asks the provider to roll a whole group itself.
type RollRequest struct {
	Op
	GroupID string
	// MaxUnavailable is how many instances may be missing at once; 0: the group's
	// own setting.
	MaxUnavailable int
	// Force goes past PodDisruptionBudgets, where the provider can.
	Force bool
}

// RollState is where a roll by the provider stands.
type RollState int

// States of a roll.
const (
	RollStateUnspecified RollState = iota
	RollRunning
	RollSucceeded
	RollFailed
	RollCancelled
)

// RollStatus is a roll of a group by its provider.
type RollStatus struct {
	ID string // the provider's own
	// OpID is of the Roll that began it; empty: unknown, or somebody else's.
	OpID  string
	State RollState
	Phase string // for a person
	Since time.Time
	Ended time.Time // zero: it has not, or unknown
	// Diagnostics say what holds it up or why it failed: which pod, which budget.
	Diagnostics []Diagnostic
}

func (s *server) Roll(ctx context.Context, r *proto.RollRequest) (*proto.RollResponse, error) {
	op, err := operate[Roller](s, "Roll", r, func(d Roller, op Op) (*Operation, error) {
		return d.Roll(ctx, RollRequest{Op: op, GroupID: r.GetGroupId(), MaxUnavailable: int(r.GetMaxUnavailable()), Force: r.GetForce()})
	})
	return &proto.RollResponse{Operation: op}, err
}

func rollToProto(r *RollStatus) (*proto.RollStatus, error) {
	if r == nil {
		return nil, nil
	}
	if r.ID == "" {
		return nil, fmt.Errorf("its roll has no id")
	}
	state, err := rollStateToProto(r.State)
	if err != nil {
		return nil, fmt.Errorf("roll %s: %w", r.ID, err)
	}
	diagnostics, err := diagnosticsToProto(r.Diagnostics)
	if err != nil {
		return nil, fmt.Errorf("roll %s: %w", r.ID, err)
	}
	return &proto.RollStatus{Id: r.ID, OpId: r.OpID, State: state, Phase: r.Phase, Since: stamp(r.Since), Ended: stamp(r.Ended), Diagnostics: diagnostics}, nil
}
