package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// watcher is a driver without a verb: it answers what the test sets.
type watcher struct {
	diagnostics []sdk.Diagnostic
	snapshot    *sdk.Snapshot
	err         error
	maxAge      time.Duration
	scope       sdk.Scope
	raw         string
}

func (d *watcher) Info() sdk.Info { return sdk.Info{Name: "fake", Version: "1.2.3"} }

func (d *watcher) Configure(_ context.Context, raw []byte, _ bool) ([]sdk.Diagnostic, error) {
	d.raw = string(raw)
	return d.diagnostics, d.err
}

func (d *watcher) Observe(_ context.Context, s sdk.Scope, maxAge time.Duration) (*sdk.Snapshot, error) {
	d.scope, d.maxAge = s, maxAge
	return d.snapshot, d.err
}

// full is a driver with all verbs: it records requests and answers one operation.
type full struct {
	watcher
	requests []any
	op       *sdk.Operation
	result   *sdk.TerminateResult
	releases *sdk.Releases
	access   *sdk.Access
}

func (d *full) take(r any) (*sdk.Operation, error) {
	d.requests = append(d.requests, r)
	return d.op, d.err
}

func (d *full) Terminate(_ context.Context, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	d.requests = append(d.requests, r)
	return d.result, d.err
}
func (d *full) SetSurge(_ context.Context, r sdk.SetSurgeRequest) (*sdk.Operation, error) {
	return d.take(r)
}
func (d *full) Prepare(_ context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	return d.take(r)
}
func (d *full) Restore(_ context.Context, r sdk.GroupRequest) (*sdk.Operation, error) {
	return d.take(r)
}
func (d *full) Quiesce(_ context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	return d.take(r)
}
func (d *full) Unquiesce(_ context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	return d.take(r)
}
func (d *full) Reimage(_ context.Context, r sdk.InstanceRequest) (*sdk.Operation, error) {
	return d.take(r)
}
func (d *full) Roll(_ context.Context, r sdk.RollRequest) (*sdk.Operation, error) { return d.take(r) }
func (d *full) Stage(_ context.Context, r sdk.StageRequest) (*sdk.StageResult, error) {
	op, err := d.take(r)
	if op == nil {
		return nil, err
	}
	return &sdk.StageResult{Operation: *op, Previous: sdk.Release{ID: "ami-1"}, Staged: sdk.Release{ID: "ami-2", Name: "two"}}, err
}
func (d *full) Releases(_ context.Context, s sdk.Scope, release string) (*sdk.Releases, error) {
	d.requests = append(d.requests, s, release)
	return d.releases, d.err
}
func (d *full) Access(_ context.Context, cluster string) (*sdk.Access, error) {
	d.requests = append(d.requests, cluster)
	return d.access, d.err
}
func (d *full) Cancel(_ context.Context, r sdk.CancelRequest) (*sdk.Operation, error) {
	return d.take(r)
}

func newFull() *full {
	done := sdk.Operation{State: sdk.OperationDone}
	return &full{op: &done, result: &sdk.TerminateResult{Instance: done, Capacity: done}}
}

// serve serves a driver over in-memory gRPC.
func serve(t *testing.T, d sdk.Driver) proto.DriverClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(sdk.ServerOptions()...)
	sdk.Register(server, d)
	go func() { _ = server.Serve(listener) }() // ends by Stop
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///driver", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return proto.NewDriverClient(conn)
}

func configured(t *testing.T, d sdk.Driver) proto.DriverClient {
	t.Helper()
	c := serve(t, d)
	if _, err := c.Configure(t.Context(), &proto.ConfigureRequest{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// calls sends one request of each changing method.
var calls = []struct {
	name string
	want any
	send func(context.Context, proto.DriverClient, *proto.Op, string) error
}{
	{"Prepare", sdk.GroupRequest{Op: op, GroupID: "g"}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Prepare(ctx, &proto.PrepareRequest{Op: op, GroupId: g})
		return err
	}},
	{"Restore", sdk.GroupRequest{Op: op, GroupID: "g"}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Restore(ctx, &proto.RestoreRequest{Op: op, GroupId: g})
		return err
	}},
	{"SetSurge", sdk.SetSurgeRequest{Op: op, GroupID: "g", Surge: 2, Going: []string{"i-1", "i-2"}}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.SetSurge(ctx, &proto.SetSurgeRequest{Op: op, GroupId: g, Surge: 2, Going: []string{"i-1", "i-2"}})
		return err
	}},
	{"Terminate", sdk.TerminateRequest{Op: op, GroupID: "g", InstanceID: "i-1", Capacity: sdk.ShrinkCapacity, Surge: 1}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Terminate(ctx, &proto.TerminateRequest{Op: op, GroupId: g, InstanceId: "i-1", Capacity: proto.Capacity_CAPACITY_SHRINK, Surge: 1})
		return err
	}},
	{"Quiesce", sdk.InstanceRequest{Op: op, GroupID: "g", InstanceID: "i-1"}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Quiesce(ctx, &proto.QuiesceRequest{Op: op, GroupId: g, InstanceId: "i-1"})
		return err
	}},
	{"Unquiesce", sdk.InstanceRequest{Op: op, GroupID: "g", InstanceID: "i-1"}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Unquiesce(ctx, &proto.UnquiesceRequest{Op: op, GroupId: g, InstanceId: "i-1"})
		return err
	}},
	{"Reimage", sdk.InstanceRequest{Op: op, GroupID: "g", InstanceID: "i-1"}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Reimage(ctx, &proto.ReimageRequest{Op: op, GroupId: g, InstanceId: "i-1"})
		return err
	}},
	{"Roll", sdk.RollRequest{Op: op, GroupID: "g", MaxUnavailable: 3, Force: true}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Roll(ctx, &proto.RollRequest{Op: op, GroupId: g, MaxUnavailable: 3, Force: true})
		return err
	}},
	{"Stage", sdk.StageRequest{Op: op, GroupID: "g", Release: "latest", AllowDowngrade: true}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Stage(ctx, &proto.StageRequest{Op: op, GroupId: g, Release: "latest", AllowDowngrade: true})
		return err
	}},
	{"Cancel", sdk.CancelRequest{Op: op, GroupID: "g", TargetID: "o-0"}, func(ctx context.Context, c proto.DriverClient, op *proto.Op, g string) error {
		_, err := c.Cancel(ctx, &proto.CancelRequest{Op: op, GroupId: g, TargetId: "o-0"})
		return err
	}},
}

var op = sdk.Op{ID: "o-1", RotationID: "r-1"}

func TestChangingCalls(t *testing.T) {
	for _, tt := range calls {
		t.Run(tt.name, func(t *testing.T) {
			wireOp := &proto.Op{Id: op.ID, RotationId: op.RotationID}
			none := &watcher{}
			wantCode(t, "not offered", tt.send(t.Context(), serve(t, none), nil, ""), codes.Unimplemented)

			d := newFull()
			c := serve(t, d)
			wantCode(t, "not configured", tt.send(t.Context(), c, wireOp, "g"), codes.FailedPrecondition)
			c = configured(t, d)
			wantCode(t, "no op", tt.send(t.Context(), c, nil, "g"), codes.InvalidArgument)
			wantCode(t, "no op.id", tt.send(t.Context(), c, &proto.Op{RotationId: "r"}, "g"), codes.InvalidArgument)
			wantCode(t, "no op.rotation_id", tt.send(t.Context(), c, &proto.Op{Id: "o"}, "g"), codes.InvalidArgument)
			wantCode(t, "no group", tt.send(t.Context(), c, wireOp, ""), codes.InvalidArgument)
			if len(d.requests) != 0 {
				t.Fatalf("the driver was called with %v", d.requests)
			}

			dry := &proto.Op{Id: op.ID, RotationId: op.RotationID, DryRun: true}
			wantCode(t, "dry run", tt.send(t.Context(), c, dry, "h"), codes.OK)
			wantCode(t, "call", tt.send(t.Context(), c, wireOp, "g"), codes.OK)
			wantCode(t, "the same again", tt.send(t.Context(), c, wireOp, "g"), codes.OK)
			wantCode(t, "another body", tt.send(t.Context(), c, wireOp, "h"), codes.AlreadyExists)
			if len(d.requests) != 3 {
				t.Fatalf("the driver was called %d times, want 3", len(d.requests))
			}
			if diff := cmp.Diff(tt.want, d.requests[1]); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if !strings.Contains(fmt.Sprintf("%+v", d.requests[0]), "DryRun:true") {
				t.Errorf("the dry run reached the driver as %+v", d.requests[0])
			}

			d.op, d.result = nil, nil
			wantCode(t, "no answer", tt.send(t.Context(), c, wireOp, "g"), codes.Internal)
			d.op, d.result = &sdk.Operation{}, &sdk.TerminateResult{Instance: sdk.Operation{State: sdk.OperationDone}}
			wantCode(t, "an operation without a state", tt.send(t.Context(), c, wireOp, "g"), codes.Internal)
			silent := sdk.Operation{State: sdk.OperationFailed}
			d.op, d.result = &silent, &sdk.TerminateResult{Instance: silent, Capacity: silent}
			wantCode(t, "a failure without a reason", tt.send(t.Context(), c, wireOp, "g"), codes.Internal)
		})
	}
}

func TestOneIDForTwoMethods(t *testing.T) {
	c := configured(t, newFull())
	o := &proto.Op{Id: "o", RotationId: "r"}
	_, err := c.Prepare(t.Context(), &proto.PrepareRequest{Op: o, GroupId: "g"})
	wantCode(t, "Prepare", err, codes.OK)
	_, err = c.Restore(t.Context(), &proto.RestoreRequest{Op: o, GroupId: "g"})
	wantCode(t, "Restore with the id of Prepare", err, codes.AlreadyExists)
}

func TestInvalidRequests(t *testing.T) {
	d := newFull()
	c := configured(t, d)
	o := &proto.Op{Id: "o", RotationId: "r"}
	for name, send := range map[string]func() error{
		"negative surge": func() error {
			_, err := c.SetSurge(t.Context(), &proto.SetSurgeRequest{Op: o, GroupId: "g", Surge: -1})
			return err
		},
		"no capacity": func() error {
			_, err := c.Terminate(t.Context(), &proto.TerminateRequest{Op: o, GroupId: "g", InstanceId: "i"})
			return err
		},
		"unknown capacity": func() error {
			_, err := c.Terminate(t.Context(), &proto.TerminateRequest{Op: o, GroupId: "g", InstanceId: "i", Capacity: 99})
			return err
		},
		"no instance": func() error {
			_, err := c.Terminate(t.Context(), &proto.TerminateRequest{Op: o, GroupId: "g", Capacity: proto.Capacity_CAPACITY_KEEP})
			return err
		},
		"negative max_unavailable": func() error {
			_, err := c.Roll(t.Context(), &proto.RollRequest{Op: o, GroupId: "g", MaxUnavailable: -1})
			return err
		},
		"no release": func() error {
			_, err := c.Stage(t.Context(), &proto.StageRequest{Op: o, GroupId: "g"})
			return err
		},
		"no target": func() error {
			_, err := c.Cancel(t.Context(), &proto.CancelRequest{Op: o, GroupId: "g"})
			return err
		},
		"no cluster": func() error {
			_, err := observe(t, c, &proto.ObserveRequest{})
			return err
		},
		"negative age": func() error {
			_, err := observe(t, c, &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}, MaxAge: durationpb.New(-1)})
			return err
		},
	} {
		wantCode(t, name, send(), codes.InvalidArgument)
	}
	if len(d.requests) != 0 {
		t.Errorf("the driver was called with %v", d.requests)
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		code codes.Code
		text string
	}{
		"Errorf":          {sdk.Errorf(codes.Aborted, "held by %s", "r-2"), codes.Aborted, "held by r-2"},
		"Errorf, wrapped": {fmt.Errorf("group g: %w", sdk.Errorf(codes.NotFound, "gone")), codes.NotFound, "group g: rpc error: code = NotFound desc = gone"},
		"deadline":        {fmt.Errorf("describe: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "describe: context deadline exceeded"},
		"cancelled":       {context.Canceled, codes.Canceled, "context canceled"},
		"any other":       {errors.New("boom"), codes.Unknown, "boom"},
		"OK as an error":  {fakeOK{}, codes.Internal, "it says OK"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newFull()
			c := configured(t, d)
			d.err = tt.err
			for what, err := range map[string]error{
				"Terminate": calls[3].send(t.Context(), c, &proto.Op{Id: "o", RotationId: "r"}, "g"),
				"Prepare":   calls[0].send(t.Context(), c, &proto.Op{Id: "p", RotationId: "r"}, "g"),
				"Observe": func() error {
					_, err := observe(t, c, &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}})
					return err
				}(),
				"Configure": func() error { _, err := c.Configure(t.Context(), &proto.ConfigureRequest{}); return err }(),
			} {
				if s := status.Convert(err); s.Code() != tt.code || s.Message() != tt.text {
					t.Errorf("%s: %v %q, want %v %q", what, s.Code(), s.Message(), tt.code, tt.text)
				}
			}
		})
	}
}

type fakeOK struct{}

func (fakeOK) Error() string              { return "it says OK" }
func (fakeOK) GRPCStatus() *status.Status { return status.New(codes.OK, "") }

func TestConfigure(t *testing.T) {
	d := &watcher{snapshot: &sdk.Snapshot{ObservedAt: time.Now()}}
	c := serve(t, d)
	look := func() error {
		_, err := observe(t, c, &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}})
		return err
	}
	d.diagnostics = []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: "bad", Summary: "field x"}}
	if r, err := c.Configure(t.Context(), &proto.ConfigureRequest{}); err != nil || len(r.GetDiagnostics()) != 1 {
		t.Errorf("a refused configuration: %v, %v", r, err)
	}
	if d.raw != "{}" {
		t.Errorf("an empty configuration reached the driver as %q", d.raw)
	}
	wantCode(t, "observe after a refusal", look(), codes.FailedPrecondition)

	d.diagnostics = []sdk.Diagnostic{{Severity: sdk.SeverityWarning, Code: "old", Summary: "field y"}}
	_, err := c.Configure(t.Context(), &proto.ConfigureRequest{ValidateOnly: true})
	wantCode(t, "validate only", err, codes.OK)
	wantCode(t, "observe after validate only", look(), codes.FailedPrecondition)
	_, err = c.Configure(t.Context(), &proto.ConfigureRequest{})
	wantCode(t, "configure", err, codes.OK)
	wantCode(t, "observe", look(), codes.OK)

	for _, bad := range []sdk.Diagnostic{{Code: "no-severity"}, {Severity: sdk.SeverityError}, {Severity: sdk.SeverityInfo, Code: "x", Retry: 99}} {
		d.diagnostics = []sdk.Diagnostic{bad}
		_, err := c.Configure(t.Context(), &proto.ConfigureRequest{})
		wantCode(t, fmt.Sprintf("diagnostic %+v", bad), err, codes.Internal)
	}
}

func TestInfoListsVerbs(t *testing.T) {
	r, err := serve(t, &watcher{}).Info(t.Context(), &proto.InfoRequest{})
	if err != nil || r.GetName() != "fake" || r.GetVersion() != "1.2.3" || len(r.GetVerbs()) != 0 {
		t.Errorf("info of a driver without verbs: %v, %v", r, err)
	}
	r, err = serve(t, newFull()).Info(t.Context(), &proto.InfoRequest{})
	if err != nil || len(r.GetVerbs()) != len(proto.Verb_name)-1 {
		t.Errorf("info of a driver with all verbs: %v, %v", r, err)
	}
}

// observe reads a stream to its end.
func observe(t *testing.T, c proto.DriverClient, r *proto.ObserveRequest) ([]*proto.ObserveResponse, error) {
	t.Helper()
	stream, err := c.Observe(t.Context(), r)
	if err != nil {
		return nil, err
	}
	var out []*proto.ObserveResponse
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
}

var all = sdk.Traits{
	TerminateKeep: true, TerminateShrink: true, Prepare: true, Quiesce: true, Reimage: true, Roll: true, Stage: true,
	MaxSurge: 3, Refill: sdk.RefillDriver, Drains: sdk.DrainsBoth, KeepsNodeName: true, RollPausable: true, RollCancellable: true,
	SurgeDetaches: true, StageTogether: true,
}

func TestTraitsCannotLie(t *testing.T) {
	snapshot := &sdk.Snapshot{ObservedAt: time.Now(), Groups: []sdk.NodeGroup{{ID: "g", Name: "g", Role: sdk.RoleNode, Traits: all}}}
	rest := &proto.Traits{Refill: proto.Refill_REFILL_DRIVER, Drains: proto.Drains_DRAINS_BOTH, KeepsNodeName: true}
	everything := &proto.Traits{
		TerminateKeep: true, TerminateShrink: true, Prepare: true, Quiesce: true, Reimage: true, Roll: true, Stage: true, MaxSurge: 3,
		Refill: proto.Refill_REFILL_DRIVER, Drains: proto.Drains_DRAINS_BOTH, KeepsNodeName: true, RollPausable: true, RollCancellable: true,
		SurgeDetaches: true, StageTogether: true,
	}
	w, f := &watcher{snapshot: snapshot}, newFull()
	f.snapshot = snapshot
	for name, tt := range map[string]struct {
		d    sdk.Driver
		want *proto.Traits
	}{"without verbs": {w, rest}, "with all verbs": {f, everything}} {
		got, err := observe(t, configured(t, tt.d), &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got[0].GetPage().GetGroups()[0].GetTraits(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: traits (-want +got):\n%s", name, diff)
		}
	}
}

func TestSnapshotInPages(t *testing.T) {
	d := &watcher{snapshot: &sdk.Snapshot{
		ObservedAt: time.Unix(1000, 0), Groups: []sdk.NodeGroup{{ID: "g", Name: "g", Role: sdk.RoleNode, Desired: 2500}},
		Diagnostics: []sdk.Diagnostic{{Severity: sdk.SeverityInfo, Code: "skipped", Summary: "group h"}},
	}}
	for i := range 2500 {
		d.snapshot.Instances = append(d.snapshot.Instances, sdk.Instance{ID: fmt.Sprint(i), GroupID: "g", State: sdk.InstanceInService})
	}
	c := configured(t, d)
	got, err := observe(t, c, &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c", Groups: []string{"g"}}, MaxAge: durationpb.New(3 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if d.maxAge != 3*time.Second || d.scope.Cluster != "c" || len(d.scope.Groups) != 1 {
		t.Errorf("the driver was asked for %+v, %v", d.scope, d.maxAge)
	}
	if len(got) != 4 { // 1 + 2500 + 1 items in pages of 1000, and the end
		t.Fatalf("%d messages, want 4", len(got))
	}
	instances, diagnostics := 0, 0
	for i, m := range got {
		if (m.GetEnd() != nil) != (i == 3) {
			t.Errorf("message %d is %T", i, m.GetPayload())
		}
		instances += len(m.GetPage().GetInstances())
		diagnostics += len(m.GetPage().GetDiagnostics())
	}
	end := got[3].GetEnd()
	if instances != 2500 || diagnostics != 1 || end.GetInstances() != 2500 || end.GetGroups() != 1 || end.GetObservedAt().GetSeconds() != 1000 {
		t.Errorf("%d instances and %d diagnostics, end marker %v", instances, diagnostics, end)
	}
}

func TestSnapshotsThatAreRefused(t *testing.T) {
	group := sdk.NodeGroup{ID: "g", Name: "g", Role: sdk.RoleNode, Desired: 1}
	instance := sdk.Instance{ID: "i", GroupID: "g", State: sdk.InstancePending}
	for name, tt := range map[string]struct {
		change func(s *sdk.Snapshot)
		want   string
	}{
		"no time":       {func(s *sdk.Snapshot) { s.ObservedAt = time.Time{} }, "does not say when"},
		"no group id":   {func(s *sdk.Snapshot) { s.Groups[0].ID = "" }, "lacks an id"},
		"no group name": {func(s *sdk.Snapshot) { s.Groups[0].Name = "" }, "lacks an id or a name"},
		"group twice":   {func(s *sdk.Snapshot) { s.Groups = append(s.Groups, group) }, "group g is in the snapshot twice"},
		"name twice": {func(s *sdk.Snapshot) {
			s.Groups = append(s.Groups, sdk.NodeGroup{ID: "h", Name: "g", Role: sdk.RoleNode})
		}, "two groups are called g"},
		"no role":        {func(s *sdk.Snapshot) { s.Groups[0].Role = 0 }, "role 0"},
		"unknown refill": {func(s *sdk.Snapshot) { s.Groups[0].Traits.Refill = 99 }, "refill 99"},
		"unknown drains": {func(s *sdk.Snapshot) { s.Groups[0].Traits.Drains = 99 }, "drains 99"},
		"negative size":  {func(s *sdk.Snapshot) { s.Groups[0].Desired = -1 }, "desired -1"},
		"too much surge": {func(s *sdk.Snapshot) { s.Groups[0].Surge = 2 }, "surge 2 is more than desired 1"},
		"no label":       {func(s *sdk.Snapshot) { s.Groups[0].LostLabels = []string{"a b=c"} }, `"a b" is no key`},
		"no prefix":      {func(s *sdk.Snapshot) { s.Groups[0].LostLabels = []string{"/b=c"} }, `"/b" is no key`},
		"no value":       {func(s *sdk.Snapshot) { s.Groups[0].LostLabels = []string{"example.com/a=b=c"} }, `"b=c" is no value`},
		"label twice":    {func(s *sdk.Snapshot) { s.Groups[0].LostLabels = []string{"a=b", "a", "a"} }, `"a" is listed twice`},
		"many labels":    {func(s *sdk.Snapshot) { s.Groups[0].LostLabels = make([]string, sdk.MaxLostLabels+1) }, "it has 101 lost labels"},
		"no instance id": {func(s *sdk.Snapshot) { s.Instances[0].ID = "" }, "has no id"},
		"instance twice": {func(s *sdk.Snapshot) { s.Instances = append(s.Instances, instance) }, "instance i is in the snapshot twice"},
		"stranger":       {func(s *sdk.Snapshot) { s.Instances[0].GroupID = "h" }, `belongs to group "h"`},
		"no state":       {func(s *sdk.Snapshot) { s.Instances[0].State = 0 }, "state 0"},
		"no reason code": {func(s *sdk.Snapshot) { s.Instances[0].Reasons = []sdk.Reason{{Message: "old"}} }, `reason "old" has no code`},
		"bad diagnostic": {func(s *sdk.Snapshot) { s.Diagnostics = []sdk.Diagnostic{{Summary: "x"}} }, "severity 0"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &watcher{snapshot: &sdk.Snapshot{ObservedAt: time.Now(), Groups: []sdk.NodeGroup{group}, Instances: []sdk.Instance{instance}}}
			c := configured(t, d)
			request := &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}}
			if _, err := observe(t, c, request); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(d.snapshot)
			_, err := observe(t, c, request)
			wantCode(t, "observe", err, codes.Internal)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error does not say %q: %v", tt.want, err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		_, err := observe(t, configured(t, &watcher{}), &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}})
		wantCode(t, "observe", err, codes.Internal)
	})
}

func TestAboutCredentials(t *testing.T) {
	for code, want := range map[string]bool{
		"aws-credentials-missing": true, "credentials": true, "cloud-denied": true, "aws-region-missing": false, "undenied": false, "": false,
	} {
		if sdk.AboutCredentials(code) != want {
			t.Errorf("AboutCredentials(%q) is not %v", code, want)
		}
	}
}
