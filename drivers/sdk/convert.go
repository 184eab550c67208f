package sdk

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Conversions from the SDK's types to the wire's. A value that the protocol
// does not know, the zero value of a required enum among them, is an error: a
// bug of the driver, which must not become a default at the host.

func roleToProto(r Role) (proto.Role, error) {
	switch r {
	case RoleBastion:
		return proto.Role_ROLE_BASTION, nil
	case RoleControlPlane:
		return proto.Role_ROLE_CONTROL_PLANE, nil
	case RoleAPIServer:
		return proto.Role_ROLE_API_SERVER, nil
	case RoleNode:
		return proto.Role_ROLE_NODE, nil
	case RoleUnspecified:
	}
	return 0, fmt.Errorf("role %d is not one of the protocol's", r)
}

func refillToProto(r Refill) (proto.Refill, error) {
	switch r {
	case RefillNobody:
		return proto.Refill_REFILL_NOBODY, nil
	case RefillGroup:
		return proto.Refill_REFILL_GROUP, nil
	case RefillDriver:
		return proto.Refill_REFILL_DRIVER, nil
	case RefillScheduler:
		return proto.Refill_REFILL_SCHEDULER, nil
	}
	return 0, fmt.Errorf("refill %d is not one of the protocol's", r)
}

func drainsToProto(d Drains) (proto.Drains, error) {
	switch d {
	case DrainsCore:
		return proto.Drains_DRAINS_CORE, nil
	case DrainsProvider:
		return proto.Drains_DRAINS_PROVIDER, nil
	case DrainsBoth:
		return proto.Drains_DRAINS_BOTH, nil
	}
	return 0, fmt.Errorf("drains %d is not one of the protocol's", d)
}

func instanceStateToProto(s InstanceState) (proto.InstanceState, error) {
	switch s {
	case InstancePending:
		return proto.InstanceState_INSTANCE_STATE_PENDING, nil
	case InstanceInService:
		return proto.InstanceState_INSTANCE_STATE_IN_SERVICE, nil
	case InstanceTerminating:
		return proto.InstanceState_INSTANCE_STATE_TERMINATING, nil
	case InstanceDetached:
		return proto.InstanceState_INSTANCE_STATE_DETACHED, nil
	case InstanceStandby:
		return proto.InstanceState_INSTANCE_STATE_STANDBY, nil
	case InstanceStateUnspecified:
	}
	return 0, fmt.Errorf("state %d is not one of the protocol's", s)
}

func severityToProto(s Severity) (proto.Severity, error) {
	switch s {
	case SeverityInfo:
		return proto.Severity_SEVERITY_INFO, nil
	case SeverityWarning:
		return proto.Severity_SEVERITY_WARNING, nil
	case SeverityError:
		return proto.Severity_SEVERITY_ERROR, nil
	case SeverityUnspecified:
	}
	return 0, fmt.Errorf("severity %d is not one of the protocol's", s)
}

func retryToProto(r Retry) (proto.Retry, error) {
	switch r {
	case RetryNever:
		return proto.Retry_RETRY_NEVER, nil
	case RetryLater:
		return proto.Retry_RETRY_LATER, nil
	}
	return 0, fmt.Errorf("retry %d is not one of the protocol's", r)
}

func rollStateToProto(s RollState) (proto.RollState, error) {
	switch s {
	case RollRunning:
		return proto.RollState_ROLL_STATE_RUNNING, nil
	case RollSucceeded:
		return proto.RollState_ROLL_STATE_SUCCEEDED, nil
	case RollFailed:
		return proto.RollState_ROLL_STATE_FAILED, nil
	case RollCancelled:
		return proto.RollState_ROLL_STATE_CANCELLED, nil
	case RollStateUnspecified:
	}
	return 0, fmt.Errorf("roll state %d is not one of the protocol's", s)
}

func releaseOrderToProto(o ReleaseOrder) (proto.ReleaseOrder, error) {
	switch o {
	case ReleaseSame:
		return proto.ReleaseOrder_RELEASE_ORDER_SAME, nil
	case ReleaseNewer:
		return proto.ReleaseOrder_RELEASE_ORDER_NEWER, nil
	case ReleaseOlder:
		return proto.ReleaseOrder_RELEASE_ORDER_OLDER, nil
	case ReleaseUnknown:
		return proto.ReleaseOrder_RELEASE_ORDER_UNKNOWN, nil
	case ReleaseOrderUnspecified:
	}
	return 0, fmt.Errorf("order %d is not one of the protocol's", o)
}

func operationStateToProto(s OperationState) (proto.OperationState, error) {
	switch s {
	case OperationRunning:
		return proto.OperationState_OPERATION_STATE_RUNNING, nil
	case OperationDone:
		return proto.OperationState_OPERATION_STATE_DONE, nil
	case OperationFailed:
		return proto.OperationState_OPERATION_STATE_FAILED, nil
	case OperationStateUnspecified:
	}
	return 0, fmt.Errorf("operation state %d is not one of the protocol's", s)
}

func capacityFromProto(c proto.Capacity) (Capacity, error) {
	switch c {
	case proto.Capacity_CAPACITY_KEEP:
		return KeepCapacity, nil
	case proto.Capacity_CAPACITY_SHRINK:
		return ShrinkCapacity, nil
	case proto.Capacity_CAPACITY_UNSPECIFIED:
	}
	return CapacityUnspecified, fmt.Errorf("capacity %v is not one that this driver knows", c)
}

// count checks a number of instances.
func count(what string, n int) (int32, error) {
	if n < 0 || n > math.MaxInt32 {
		return 0, fmt.Errorf("%s %d is not a number of instances", what, n)
	}
	return int32(n), nil
}

// stamp leaves a zero time out.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func diagnosticsToProto(list []Diagnostic) ([]*proto.Diagnostic, error) {
	var out []*proto.Diagnostic
	for _, d := range list {
		severity, err := severityToProto(d.Severity)
		if err != nil {
			return nil, fmt.Errorf("diagnostic %q: %w", d.Summary, err)
		}
		retry, err := retryToProto(d.Retry)
		if err != nil {
			return nil, fmt.Errorf("diagnostic %q: %w", d.Summary, err)
		}
		if d.Code == "" {
			return nil, fmt.Errorf("diagnostic %q has no code", d.Summary)
		}
		out = append(out, &proto.Diagnostic{
			Severity: severity, Code: d.Code, Summary: d.Summary, Detail: d.Detail, Object: d.Object, Retry: retry,
		})
	}
	return out, nil
}

func operationToProto(op Operation) (*proto.Operation, error) {
	state, err := operationStateToProto(op.State)
	if err != nil {
		return nil, err
	}
	diagnostics, err := diagnosticsToProto(op.Diagnostics)
	if err != nil {
		return nil, err
	}
	if op.State == OperationFailed && !hasError(op.Diagnostics) {
		return nil, fmt.Errorf("a failed operation has no diagnostic of severity error that says why")
	}
	return &proto.Operation{State: state, Phase: op.Phase, Diagnostics: diagnostics}, nil
}

func hasError(list []Diagnostic) bool {
	for _, d := range list {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}

func groupToProto(g NodeGroup) (*proto.NodeGroup, error) {
	role, err := roleToProto(g.Role)
	if err != nil {
		return nil, err
	}
	out := &proto.NodeGroup{Id: g.ID, Name: g.Name, Role: role, Revision: g.Revision, HeldBy: g.HeldBy}
	for _, c := range []struct {
		what string
		n    int
		to   *int32
	}{
		{"desired", g.Desired, &out.Desired}, {"min", g.Min, &out.Min}, {"max", g.Max, &out.Max}, {"surge", g.Surge, &out.Surge},
	} {
		if *c.to, err = count(c.what, c.n); err != nil {
			return nil, err
		}
	}
	if g.Surge > g.Desired {
		return nil, fmt.Errorf("surge %d is more than desired %d", g.Surge, g.Desired)
	}
	if out.Traits, err = traitsToProto(g.Traits); err != nil {
		return nil, err
	}
	if d := g.Defaults; d != (Defaults{}) {
		if d.Source == "" {
			return nil, fmt.Errorf("its defaults do not say where they come from")
		}
		out.Defaults = &proto.Defaults{MaxSurge: d.MaxSurge, MaxUnavailable: d.MaxUnavailable, Disabled: d.Disabled, Source: d.Source}
	}
	if out.Roll, err = rollToProto(g.Roll); err != nil {
		return nil, err
	}
	if out.LostLabels, err = lostLabelsToProto(g.LostLabels); err != nil {
		return nil, err
	}
	out.Diagnostics, err = diagnosticsToProto(g.Diagnostics)
	return out, err
}

func traitsToProto(t Traits) (*proto.Traits, error) {
	refill, err := refillToProto(t.Refill)
	if err != nil {
		return nil, err
	}
	drains, err := drainsToProto(t.Drains)
	if err != nil {
		return nil, err
	}
	surge, err := count("max surge", t.MaxSurge)
	if err != nil {
		return nil, err
	}
	return &proto.Traits{
		TerminateKeep:   t.TerminateKeep,
		TerminateShrink: t.TerminateShrink,
		Prepare:         t.Prepare,
		Quiesce:         t.Quiesce,
		Reimage:         t.Reimage,
		Roll:            t.Roll,
		Stage:           t.Stage,
		MaxSurge:        surge,
		Refill:          refill,
		Drains:          drains,
		KeepsNodeName:   t.KeepsNodeName,
		RollPausable:    t.RollPausable,
		RollCancellable: t.RollCancellable,
		SurgeDetaches:   t.SurgeDetaches,
		StageTogether:   t.StageTogether,
	}, nil
}

func instanceToProto(i Instance) (*proto.Instance, error) {
	state, err := instanceStateToProto(i.State)
	if err != nil {
		return nil, err
	}
	out := &proto.Instance{
		Id: i.ID, GroupId: i.GroupID, ProviderId: i.ProviderID, Zone: i.Zone, State: state,
		Revision: i.Revision, LaunchedAt: stamp(i.LaunchedAt),
	}
	for _, r := range i.Reasons {
		if r.Code == "" {
			return nil, fmt.Errorf("reason %q has no code", r.Message)
		}
		out.Reasons = append(out.Reasons, &proto.Reason{Code: r.Code, Message: r.Message})
	}
	if w := i.Work; w != nil {
		out.Work = &proto.Work{Verb: w.Verb, Phase: w.Phase, Since: stamp(w.Since)}
	}
	return out, nil
}
