// Package example is a driver for the make-believe provider in ./cloud. It is
// small, and it keeps every rule of the driver protocol: a place to start from
// when writing a driver of one's own.
package example

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/plugins/example/cloud"
)

// Version of this driver.
const Version = "0.1.0"

// Tags on groups. The provider holds all state: a driver may be killed at any
// moment.
const (
	tagHeldBy    = "rotator/held-by"   // id of the rotation
	tagRebalance = "rotator/rebalance" // the setting before Prepare
	tagSurge     = "rotator/surge"     // a surgeRecord
)

const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["file"],
  "properties": {
    "file": {"type": "string", "description": "the file that holds the cloud"},
    "password": {"type": "string", "description": "of the cloud"}
  }
}`

// Driver implements the driver and the verbs that it offers: the rest answers
// UNIMPLEMENTED by itself.
type Driver struct {
	mu    sync.Mutex
	cloud cloud.Client
}

var (
	_ sdk.Driver     = (*Driver)(nil)
	_ sdk.Preparer   = (*Driver)(nil)
	_ sdk.Surger     = (*Driver)(nil)
	_ sdk.Terminator = (*Driver)(nil)
	_ sdk.Stager     = (*Driver)(nil)
	_ sdk.Roller     = (*Driver)(nil)
)

// Info describes the driver.
func (d *Driver) Info() sdk.Info {
	return sdk.Info{Name: "example", Version: Version, ConfigSchema: []byte(schema)}
}

// Configure checks that the cloud can be reached with the configuration.
func (d *Driver) Configure(_ context.Context, raw []byte, validateOnly bool) ([]sdk.Diagnostic, error) {
	var config struct {
		File     string `json:"file"`
		Password string `json:"password"`
	}
	refuse := func(code, summary, detail string) ([]sdk.Diagnostic, error) {
		return []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: code, Summary: summary, Detail: detail, Object: "file"}}, nil
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return refuse("config-invalid", "the configuration cannot be read", err.Error())
	}
	if config.File == "" {
		return refuse("config-file-missing", "file is not set", "name the file that holds the cloud")
	}
	client := cloud.Client{File: config.File, Password: config.Password}
	if _, err := client.Describe(); errors.Is(err, cloud.ErrDenied) {
		return refuse("cloud-denied", "the cloud refuses the password", "correct password")
	} else if err != nil {
		return refuse("config-file-unusable", fmt.Sprintf("file %s cannot be used", config.File), err.Error())
	}
	if !validateOnly {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cloud = client
	}
	return nil, nil
}

func (d *Driver) client() cloud.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cloud
}

// Observe asks the cloud every time: one describe answers everything, so there
// is nothing to gain from memory.
func (d *Driver) Observe(_ context.Context, scope sdk.Scope, _ time.Duration) (*sdk.Snapshot, error) {
	now := time.Now()
	state, err := d.client().Describe()
	if err != nil {
		return nil, wire(err)
	}
	if state.Cluster != scope.Cluster {
		return nil, sdk.Errorf(codes.NotFound, "cluster %s does not exist", scope.Cluster)
	}
	s := &sdk.Snapshot{ObservedAt: now}
	for _, g := range state.Groups {
		if len(scope.Groups) > 0 && !slices.Contains(scope.Groups, g.ID) {
			continue
		}
		surge, err := surgeOf(g)
		if err != nil {
			return nil, err
		}
		s.Groups = append(s.Groups, sdk.NodeGroup{
			ID: g.ID, Name: g.Name, Role: sdk.RoleNode, Desired: g.Desired, Min: g.Min, Max: g.Max, Surge: surge,
			Revision: strconv.Itoa(g.Template), HeldBy: g.Tags[tagHeldBy],
			Traits: traits(g, surge), Roll: rollStatus(g),
		})
		for _, i := range g.Instances {
			s.Instances = append(s.Instances, instance(g, i, state, now))
		}
	}
	return s, nil
}

func instance(g cloud.Group, i cloud.Instance, s cloud.State, now time.Time) sdk.Instance {
	out := sdk.Instance{
		ID: i.ID, GroupID: g.ID, ProviderID: "example:///" + i.Zone + "/" + i.ID, Zone: i.Zone,
		State: sdk.InstancePending, Revision: strconv.Itoa(i.Template), LaunchedAt: i.Launched,
	}
	if i.InService(s.BootDelay, now) {
		out.State = sdk.InstanceInService
	}
	if !i.Terminated.IsZero() {
		out.State = sdk.InstanceTerminating
		out.Work = &sdk.Work{Verb: "terminate", Phase: "stopping", Since: i.Terminated}
	}
	if i.Template != g.Template {
		out.Reasons = []sdk.Reason{{Code: "revision", Message: fmt.Sprintf("template version %d, wanted %d", i.Template, g.Template)}}
	}
	return out
}

// Prepare records the earlier setting, THEN changes it.
func (d *Driver) Prepare(_ context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	g, err := d.group(r.GroupID)
	if err != nil {
		return nil, err
	}
	holder := g.Tags[tagHeldBy]
	if holder != "" && holder != r.RotationID {
		return nil, sdk.Errorf(codes.Aborted, "group %s is held by rotation %s", g.Name, holder)
	}
	if r.DryRun {
		return done(), nil
	}
	if holder == "" { // a record that is there is never overwritten
		if err := d.client().Tag(g.ID, map[string]string{
			tagHeldBy: r.RotationID, tagRebalance: strconv.FormatBool(g.Rebalance),
		}); err != nil {
			return nil, wire(err)
		}
	}
	return done(), wire(d.client().SetRebalance(g.ID, false))
}

// Restore puts the earlier setting back, THEN removes the record.
func (d *Driver) Restore(_ context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	g, err := d.group(r.GroupID)
	if err != nil {
		return nil, err
	}
	switch holder := g.Tags[tagHeldBy]; {
	case holder == "":
		return done(), nil
	case holder != r.RotationID:
		return nil, sdk.Errorf(codes.Aborted, "group %s is held by rotation %s", g.Name, holder)
	case r.DryRun:
		return done(), nil
	}
	if err := d.client().SetRebalance(g.ID, g.Tags[tagRebalance] == "true"); err != nil {
		return nil, wire(err)
	}
	return done(), wire(d.client().Tag(g.ID, map[string]string{tagHeldBy: "", tagRebalance: "", tagSurge: ""}))
}

// surgeRecord is written before each change of the desired capacity: what it
// changes from and to, and how much of each is surge.
type surgeRecord struct {
	From, FromSurge int
	To, ToSurge     int
}

// surgeOf says how much of the desired capacity is surge. A capacity that is
// neither what the record changes from nor to is somebody else's change: the
// surge is still in it, and what they changed belongs to the group.
func surgeOf(g cloud.Group) (int, error) {
	raw := g.Tags[tagSurge]
	if raw == "" {
		return 0, nil
	}
	var r surgeRecord
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return 0, sdk.Errorf(codes.FailedPrecondition, "group %s: tag %s cannot be read: %v; remove it once the group has its own size", g.Name, tagSurge, err)
	}
	if g.Desired == r.From && r.From != r.To {
		return min(r.FromSurge, g.Desired), nil // the change was recorded and not made
	}
	return min(r.ToSurge, g.Desired), nil
}

func (d *Driver) record(g cloud.Group, r surgeRecord) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return wire(d.client().Tag(g.ID, map[string]string{tagSurge: string(raw)}))
}

// SetSurge raises the desired capacity to the group's own size plus surge. It
// never lowers it.
func (d *Driver) SetSurge(_ context.Context, r sdk.SetSurgeRequest) (*sdk.Operation, error) {
	g, err := d.group(r.GroupID)
	if err != nil {
		return nil, err
	}
	surge, err := surgeOf(g)
	if err != nil {
		return nil, err
	}
	target := g.Desired - surge + r.Surge
	if target <= g.Desired {
		return done(), nil
	}
	if target > g.Max {
		return failed(sdk.Diagnostic{
			Severity: sdk.SeverityError, Code: "max-size", Object: g.ID,
			Summary: fmt.Sprintf("group %s cannot grow to %d", g.Name, target),
			Detail:  fmt.Sprintf("its maximum is %d; raise it or lower maxSurge", g.Max),
		}), nil
	}
	if r.DryRun {
		return done(), nil
	}
	if err := d.record(g, surgeRecord{From: g.Desired, FromSurge: surge, To: target, ToSurge: r.Surge}); err != nil {
		return nil, err
	}
	return running("launching"), wire(d.client().SetDesired(g.ID, target))
}

// Terminate ends an instance; shrinking rides on it.
func (d *Driver) Terminate(_ context.Context, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	g, err := d.group(r.GroupID)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(g.Instances, func(i cloud.Instance) bool { return i.ID == r.InstanceID })
	if i < 0 { // gone, and with it its capacity
		return &sdk.TerminateResult{Instance: *done(), Capacity: *done()}, nil
	}
	result := &sdk.TerminateResult{Instance: *running("stopping"), Capacity: *done()}
	if r.DryRun || !g.Instances[i].Terminated.IsZero() {
		return result, nil
	}
	shrink := r.Capacity == sdk.ShrinkCapacity
	if shrink {
		surge, err := surgeOf(g)
		if err != nil {
			return nil, err
		}
		if err := d.record(g, surgeRecord{From: g.Desired, FromSurge: surge, To: g.Desired - 1, ToSurge: r.Surge}); err != nil {
			return nil, err
		}
	}
	if err := d.client().Terminate(g.ID, r.InstanceID, shrink); err != nil && !errors.Is(err, cloud.ErrNotFound) {
		return nil, wire(err)
	}
	return result, nil
}

func (d *Driver) group(id string) (cloud.Group, error) {
	state, err := d.client().Describe()
	if err != nil {
		return cloud.Group{}, wire(err)
	}
	for _, g := range state.Groups {
		if g.ID == id {
			return g, nil
		}
	}
	return cloud.Group{}, sdk.Errorf(codes.NotFound, "group %s does not exist", id)
}

func done() *sdk.Operation { return &sdk.Operation{State: sdk.OperationDone} }

func running(phase string) *sdk.Operation {
	return &sdk.Operation{State: sdk.OperationRunning, Phase: phase}
}

func failed(why ...sdk.Diagnostic) *sdk.Operation {
	return &sdk.Operation{State: sdk.OperationFailed, Diagnostics: why}
}

// wire gives the cloud's errors the status codes of the protocol.
func wire(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cloud.ErrNotFound):
		return sdk.Errorf(codes.NotFound, "%v", err)
	case errors.Is(err, cloud.ErrDenied):
		return sdk.Errorf(codes.PermissionDenied, "%v", err)
	}
	return sdk.Errorf(codes.Unavailable, "%v", err)
}
