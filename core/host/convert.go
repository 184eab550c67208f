package host

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Conversions from the wire to the core's model. The core must not act on what
// it does not understand: an enum value that is not known is an error.

var (
	roles = map[proto.Role]model.Role{
		proto.Role_ROLE_BASTION:       model.RoleBastion,
		proto.Role_ROLE_CONTROL_PLANE: model.RoleControlPlane,
		proto.Role_ROLE_API_SERVER:    model.RoleAPIServer,
		proto.Role_ROLE_NODE:          model.RoleNode,
	}
	refills = map[proto.Refill]model.Refill{
		proto.Refill_REFILL_NOBODY:    model.RefillNobody,
		proto.Refill_REFILL_GROUP:     model.RefillGroup,
		proto.Refill_REFILL_DRIVER:    model.RefillDriver,
		proto.Refill_REFILL_SCHEDULER: model.RefillScheduler,
	}
	drains = map[proto.Drains]model.Drains{
		proto.Drains_DRAINS_CORE:     model.DrainsCore,
		proto.Drains_DRAINS_PROVIDER: model.DrainsProvider,
		proto.Drains_DRAINS_BOTH:     model.DrainsBoth,
	}
	instanceStates = map[proto.InstanceState]model.InstanceState{
		proto.InstanceState_INSTANCE_STATE_PENDING:     model.InstancePending,
		proto.InstanceState_INSTANCE_STATE_IN_SERVICE:  model.InstanceInService,
		proto.InstanceState_INSTANCE_STATE_TERMINATING: model.InstanceTerminating,
		proto.InstanceState_INSTANCE_STATE_DETACHED:    model.InstanceDetached,
		proto.InstanceState_INSTANCE_STATE_STANDBY:     model.InstanceStandby,
	}
	rollStates = map[proto.RollState]model.RollState{
		proto.RollState_ROLL_STATE_RUNNING:   model.RollRunning,
		proto.RollState_ROLL_STATE_SUCCEEDED: model.RollSucceeded,
		proto.RollState_ROLL_STATE_FAILED:    model.RollFailed,
		proto.RollState_ROLL_STATE_CANCELLED: model.RollCancelled,
	}
	severities = map[proto.Severity]model.Severity{
		proto.Severity_SEVERITY_INFO:    model.SeverityInfo,
		proto.Severity_SEVERITY_WARNING: model.SeverityWarning,
		proto.Severity_SEVERITY_ERROR:   model.SeverityError,
	}
	retries = map[proto.Retry]model.Retry{
		proto.Retry_RETRY_NEVER: model.RetryNever,
		proto.Retry_RETRY_LATER: model.RetryLater,
	}
	verbNames = map[proto.Verb]string{
		proto.Verb_VERB_PREPARE:   "prepare",
		proto.Verb_VERB_SET_SURGE: "set-surge",
		proto.Verb_VERB_TERMINATE: "terminate",
		proto.Verb_VERB_QUIESCE:   "quiesce",
		proto.Verb_VERB_REIMAGE:   "reimage",
		proto.Verb_VERB_ROLL:      "roll",
		proto.Verb_VERB_STAGE:     "stage",
		proto.Verb_VERB_CANCEL:    "cancel",
		proto.Verb_VERB_ACCESS:    "access",
	}
)

func verbName(v proto.Verb) (string, bool) {
	name, ok := verbNames[v]
	return name, ok
}

// known looks an enum value up.
func known[W interface {
	comparable
	fmt.Stringer
}, M any](what string, table map[W]M, v W) (M, error) {
	m, ok := table[v]
	if !ok {
		return m, fmt.Errorf("%s %v is not one that this rotatord knows", what, v)
	}
	return m, nil
}

// count checks a number of instances on its way out.
func count(n int) (int32, error) {
	if n < 0 || n > math.MaxInt32 {
		return 0, fmt.Errorf("%d is not a number of instances", n)
	}
	return int32(n), nil
}

func diagnosticsFromProto(list []*proto.Diagnostic) ([]model.Diagnostic, error) {
	var out []model.Diagnostic
	for _, d := range list {
		severity, err := known("severity", severities, d.GetSeverity())
		if err != nil {
			return nil, fmt.Errorf("diagnostic %q: %w", d.GetSummary(), err)
		}
		retry, err := known("retry", retries, d.GetRetry())
		if err != nil {
			return nil, fmt.Errorf("diagnostic %q: %w", d.GetSummary(), err)
		}
		if d.GetCode() == "" {
			return nil, fmt.Errorf("diagnostic %q has no code", d.GetSummary())
		}
		out = append(out, model.Diagnostic{
			Severity: severity, Code: d.GetCode(), Summary: d.GetSummary(), Detail: d.GetDetail(),
			Object: d.GetObject(), Retry: retry,
		})
	}
	return out, nil
}

// snapshotBuilder puts the pages of a snapshot together and checks the whole.
type snapshotBuilder struct {
	verbs       []string
	snapshot    engine.Snapshot
	diagnostics []model.Diagnostic
	groups      map[string]bool // ids
	names       map[string]bool
	instances   map[string]bool
}

func newSnapshotBuilder(verbs []string) *snapshotBuilder {
	return &snapshotBuilder{verbs: verbs, groups: map[string]bool{}, names: map[string]bool{}, instances: map[string]bool{}}
}

func (b *snapshotBuilder) add(p *proto.SnapshotPage) error {
	for _, g := range p.GetGroups() {
		group, err := groupFromProto(g, b.verbs)
		if err != nil {
			return fmt.Errorf("group %q: %w", g.GetId(), err)
		}
		if b.groups[group.ID] || b.names[group.Name] {
			return fmt.Errorf("group %s (%s) is in it twice", group.ID, group.Name)
		}
		b.groups[group.ID], b.names[group.Name] = true, true
		b.snapshot.Groups = append(b.snapshot.Groups, group)
	}
	for _, i := range p.GetInstances() {
		instance, err := instanceFromProto(i)
		if err != nil {
			return fmt.Errorf("instance %q: %w", i.GetId(), err)
		}
		if b.instances[instance.ID] {
			return fmt.Errorf("instance %s is in it twice", instance.ID)
		}
		b.instances[instance.ID] = true
		b.snapshot.Instances = append(b.snapshot.Instances, instance)
	}
	diagnostics, err := diagnosticsFromProto(p.GetDiagnostics())
	if err != nil {
		return err
	}
	b.diagnostics = append(b.diagnostics, diagnostics...)
	if n := len(b.snapshot.Groups) + len(b.snapshot.Instances) + len(b.diagnostics); n > maxItems {
		return fmt.Errorf("it has more than %d items", maxItems)
	}
	return nil
}

// finish checks what only the whole can show.
func (b *snapshotBuilder) finish(end *proto.SnapshotEnd) error {
	if g, i := len(b.snapshot.Groups), len(b.snapshot.Instances); int(end.GetGroups()) != g || int(end.GetInstances()) != i {
		return fmt.Errorf("its end marker counts %d groups and %d instances, it has %d and %d", end.GetGroups(), end.GetInstances(), g, i)
	}
	if _, err := timeFromProto("observed_at", end.GetObservedAt()); err != nil {
		return err
	}
	if end.GetObservedAt() == nil {
		return errors.New("its end marker does not say when the provider was asked")
	}
	for _, i := range b.snapshot.Instances {
		if !b.groups[i.GroupID] {
			return fmt.Errorf("instance %s belongs to group %q, which is not in it", i.ID, i.GroupID)
		}
	}
	return nil
}

func groupFromProto(g *proto.NodeGroup, verbs []string) (model.NodeGroup, error) {
	out := model.NodeGroup{
		ID: g.GetId(), Name: g.GetName(), Desired: int(g.GetDesired()), Min: int(g.GetMin()), Max: int(g.GetMax()),
		Surge: int(g.GetSurge()), Revision: g.GetRevision(), HeldBy: g.GetHeldBy(),
	}
	if out.ID == "" || out.Name == "" {
		return out, fmt.Errorf("it lacks an id or a name (name %q)", out.Name)
	}
	if out.Desired < 0 || out.Min < 0 || out.Max < 0 || out.Surge < 0 || out.Surge > out.Desired {
		return out, fmt.Errorf("desired %d, min %d, max %d, surge %d cannot be", out.Desired, out.Min, out.Max, out.Surge)
	}
	var err error
	if out.Role, err = known("role", roles, g.GetRole()); err != nil {
		return out, err
	}
	if out.Traits, err = traitsFromProto(g.GetTraits(), verbs); err != nil {
		return out, err
	}
	if d := g.GetDefaults(); d != nil {
		out.Defaults = model.Defaults{MaxSurge: d.GetMaxSurge(), MaxUnavailable: d.GetMaxUnavailable(), Disabled: d.GetDisabled(), Source: d.GetSource()}
	}
	if out.Roll, err = rollFromProto(g.GetRoll()); err != nil {
		return out, err
	}
	if out.LostLabels, err = lostLabelsFromProto(g.GetLostLabels()); err != nil {
		return out, err
	}
	out.Diagnostics, err = diagnosticsFromProto(g.GetDiagnostics())
	return out, err
}

func lostLabelsFromProto(list []string) ([]model.LostLabel, error) {
	if n := len(list); n > model.MaxLostLabels {
		return nil, fmt.Errorf("it has %d lost labels, and may have %d", n, model.MaxLostLabels)
	}
	var out []model.LostLabel
	for _, s := range list {
		if err := sdk.CheckLostLabel(s); err != nil {
			return nil, err
		}
		out = append(out, model.ParseLostLabel(s))
	}
	return out, nil
}

func rollFromProto(r *proto.RollStatus) (model.Roll, error) {
	if r == nil {
		return model.Roll{}, nil
	}
	out := model.Roll{ID: r.GetId(), Op: r.GetOpId(), Phase: r.GetPhase()}
	if out.ID == "" {
		return out, errors.New("its roll has no id")
	}
	var err error
	if out.State, err = known("roll state", rollStates, r.GetState()); err != nil {
		return out, err
	}
	if out.Since, err = timeFromProto("since", r.GetSince()); err != nil {
		return out, err
	}
	if out.Ended, err = timeFromProto("ended", r.GetEnded()); err != nil {
		return out, err
	}
	out.Diagnostics, err = diagnosticsFromProto(r.GetDiagnostics())
	return out, err
}

func traitsFromProto(t *proto.Traits, verbs []string) (model.Traits, error) {
	out := model.Traits{
		TerminateKeep:   t.GetTerminateKeep(),
		TerminateShrink: t.GetTerminateShrink(),
		Prepare:         t.GetPrepare(),
		Quiesce:         t.GetQuiesce(),
		Reimage:         t.GetReimage(),
		Roll:            t.GetRoll(),
		Stage:           t.GetStage(),
		MaxSurge:        int(t.GetMaxSurge()),
		KeepsNodeName:   t.GetKeepsNodeName(),
		RollPausable:    t.GetRollPausable(),
		RollCancellable: t.GetRollCancellable(),
		SurgeDetaches:   t.GetSurgeDetaches(),
		StageTogether:   t.GetStageTogether(),
	}
	var err error
	if out.Refill, err = known("refill", refills, t.GetRefill()); err != nil {
		return out, err
	}
	if out.Drains, err = known("drains", drains, t.GetDrains()); err != nil {
		return out, err
	}
	if out.MaxSurge < 0 {
		return out, fmt.Errorf("max surge %d is negative", out.MaxSurge)
	}
	for _, need := range []struct {
		trait bool
		verb  proto.Verb
	}{
		{out.TerminateKeep || out.TerminateShrink, proto.Verb_VERB_TERMINATE},
		{out.Prepare, proto.Verb_VERB_PREPARE},
		{out.MaxSurge > 0 || out.SurgeDetaches, proto.Verb_VERB_SET_SURGE},
		{out.Quiesce, proto.Verb_VERB_QUIESCE},
		{out.Reimage, proto.Verb_VERB_REIMAGE},
		{out.Roll || out.RollPausable || out.RollCancellable, proto.Verb_VERB_ROLL},
		{out.Stage || out.StageTogether, proto.Verb_VERB_STAGE},
		{out.RollCancellable, proto.Verb_VERB_CANCEL},
	} {
		if need.trait && !slices.Contains(verbs, verbNames[need.verb]) {
			return out, fmt.Errorf("its traits need the verb %s, which the driver does not offer", verbNames[need.verb])
		}
	}
	return out, nil
}

func instanceFromProto(i *proto.Instance) (model.Instance, error) {
	out := model.Instance{
		ID: i.GetId(), GroupID: i.GetGroupId(), ProviderID: i.GetProviderId(), Zone: i.GetZone(), Revision: i.GetRevision(),
	}
	if out.ID == "" {
		return out, fmt.Errorf("it has no id (group %s)", out.GroupID)
	}
	var err error
	if out.State, err = known("state", instanceStates, i.GetState()); err != nil {
		return out, err
	}
	if out.LaunchedAt, err = timeFromProto("launched_at", i.GetLaunchedAt()); err != nil {
		return out, err
	}
	for _, r := range i.GetReasons() {
		if r.GetCode() == "" {
			return out, fmt.Errorf("reason %q has no code", r.GetMessage())
		}
		out.Reasons = append(out.Reasons, model.Reason{Code: r.GetCode(), Message: r.GetMessage()})
	}
	if w := i.GetWork(); w != nil {
		out.Work = model.Work{Verb: w.GetVerb(), Phase: w.GetPhase()}
		if out.Work.Since, err = timeFromProto("work since", w.GetSince()); err != nil {
			return out, err
		}
	}
	return out, nil
}

// timeFromProto returns the zero time for one that is missing.
func timeFromProto(what string, t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", what, err)
	}
	return t.AsTime(), nil
}
