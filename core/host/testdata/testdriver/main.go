// Testdriver is a driver that misbehaves on request: the host's tests launch
// it. TEST_MODE chooses how it starts, its configuration how it answers.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/rpc"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

func main() {
	if path := os.Getenv("TEST_ALIVE"); path != "" {
		// Held open until the process ends, however it does: the reader of the
		// named pipe sees its end of file then.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			panic(err)
		}
		alive = f
	}
	switch mode := os.Getenv("TEST_MODE"); mode {
	case "":
		sdk.Serve(&driver{log: sdk.NewLogger()})
	case "die":
		fmt.Fprintln(os.Stderr, "reading /etc/example.conf")
		fmt.Fprintln(os.Stderr, "fatal: line 3: no such zone; password is "+os.Getenv("TEST_PASSWORD"))
		os.Exit(3)
	case "endless":
		for line := strings.Repeat("x", 1000); ; {
			if _, err := fmt.Print(line); err != nil {
				os.Exit(1)
			}
		}
	case "garbage":
		fmt.Println("Usage: something else")
	case "version":
		serve(2, &rpcPlugin{})
	case "netrpc":
		serve(1, netPlugin{})
	case "other-service":
		serve(1, &rpcPlugin{})
	default:
		serve(1, &rpcPlugin{s: raw{mode: mode}})
	}
}

var alive *os.File

func serve(version int, p plugin.Plugin) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{version: {sdk.PluginName: p}},
		GRPCServer:       plugin.DefaultGRPCServer,
	})
}

// driver is a good driver, but for what its configuration asks for.
type driver struct {
	log    hclog.Logger
	config struct {
		Instances int
		Token     string
		LogToken  bool
		Observe   string // what happens during Observe: hang, crash, stop, slow
		Refuse    string // code of the diagnostic that Configure answers
	}
}

func (d *driver) Info() sdk.Info {
	return sdk.Info{Name: "test", Version: fmt.Sprintf("1.0.0+pid.%d", os.Getpid()), ConfigSchema: []byte(`{}`)}
}

func (d *driver) Configure(_ context.Context, raw []byte, _ bool) ([]sdk.Diagnostic, error) {
	if err := json.Unmarshal(raw, &d.config); err != nil {
		return nil, err
	}
	if d.config.LogToken {
		d.log.Info("configured", "token", d.config.Token)
		d.log.Debug("too detailed for the host")
	}
	switch d.config.Refuse {
	case "unreachable":
		return []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: d.config.Refuse, Summary: "the cloud does not answer", Retry: sdk.RetryLater}}, nil
	case "":
		return []sdk.Diagnostic{{Severity: sdk.SeverityWarning, Code: "old", Summary: "field zone is deprecated"}}, nil
	case "status":
		return nil, sdk.Errorf(codes.Unauthenticated, "the session has expired")
	}
	return []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: d.config.Refuse, Summary: "field region is wrong", Detail: "it is one of a, b"}}, nil
}

func (d *driver) Observe(context.Context, sdk.Scope, time.Duration) (*sdk.Snapshot, error) {
	if alive != nil {
		fmt.Fprintln(alive, "observing")
	}
	switch d.config.Observe {
	case "hang":
		select {}
	case "crash":
		panic("out of cheese")
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {} // the signal may take a moment
	case "slow":
		time.Sleep(300 * time.Millisecond)
	}
	s := &sdk.Snapshot{ObservedAt: time.Now()}
	for _, e := range os.Environ() {
		s.Diagnostics = append(s.Diagnostics, sdk.Diagnostic{Severity: sdk.SeverityInfo, Code: "env", Summary: e})
	}
	s.Diagnostics = append(s.Diagnostics, sdk.Diagnostic{Severity: sdk.SeverityInfo, Code: "pid", Summary: fmt.Sprint(os.Getpid())})
	s.Groups = []sdk.NodeGroup{{ID: "g", Name: "g", Role: sdk.RoleNode, Desired: d.config.Instances, Max: d.config.Instances,
		Traits: sdk.Traits{TerminateKeep: true, Refill: sdk.RefillGroup}}}
	for i := range d.config.Instances {
		s.Instances = append(s.Instances, sdk.Instance{
			ID: fmt.Sprintf("i-%017d", i), GroupID: "g", ProviderID: fmt.Sprintf("aws:///eu-central-1a/i-%017d", i),
			Zone: "eu-central-1a", State: sdk.InstanceInService, Revision: "lt-0123456789abcdef0:17", LaunchedAt: time.Now(),
			Reasons: []sdk.Reason{{Code: "revision", Message: strings.Repeat("launch template version 17, wanted 18 ", 10)}},
		})
	}
	return s, nil
}

// Access answers a token, once the cluster is called prod.
func (d *driver) Access(_ context.Context, cluster string) (*sdk.Access, error) {
	if cluster != "prod" {
		return nil, sdk.Errorf(codes.NotFound, "cluster %s does not exist", cluster)
	}
	return &sdk.Access{Endpoint: "https://api.prod", CA: []byte("ca"), Token: "k8s-aws-v1.secret", ExpiresAt: time.Unix(1000, 0)}, nil
}

// Terminate fails as the instance's name says.
func (d *driver) Terminate(_ context.Context, r sdk.TerminateRequest) (*sdk.TerminateResult, error) {
	ok := sdk.Operation{State: sdk.OperationDone}
	fail := func(retries ...sdk.Retry) sdk.Operation {
		op := sdk.Operation{State: sdk.OperationFailed}
		for _, retry := range retries {
			op.Diagnostics = append(op.Diagnostics, sdk.Diagnostic{
				Severity: sdk.SeverityError, Code: "x", Summary: "it is protected", Detail: "remove the protection", Retry: retry})
		}
		return op
	}
	switch what, _ := strings.CutPrefix(r.InstanceID, "fail-"); what {
	case "later":
		return &sdk.TerminateResult{Instance: fail(sdk.RetryLater), Capacity: ok}, nil
	case "never":
		return &sdk.TerminateResult{Instance: fail(sdk.RetryLater, sdk.RetryNever), Capacity: ok}, nil
	case "capacity":
		return &sdk.TerminateResult{Instance: ok, Capacity: fail(sdk.RetryNever)}, nil
	}
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(`"` + r.InstanceID + `"`)); err == nil {
		return nil, sdk.Errorf(code, "instance says %s", r.InstanceID)
	}
	return &sdk.TerminateResult{Instance: sdk.Operation{State: sdk.OperationRunning}, Capacity: ok}, nil
}

// raw is a driver that the SDK would not let through.
type raw struct {
	proto.UnimplementedDriverServer
	mode string
}

func (r raw) Info(context.Context, *proto.InfoRequest) (*proto.InfoResponse, error) {
	switch r.mode {
	case "unknown-verb":
		return &proto.InfoResponse{Name: "test", Verbs: []proto.Verb{99}}, nil
	case "other-name":
		return &proto.InfoResponse{Name: "kops"}, nil
	}
	return &proto.InfoResponse{Name: "test"}, nil
}

func (r raw) Configure(context.Context, *proto.ConfigureRequest) (*proto.ConfigureResponse, error) {
	if r.mode == "unknown-severity" {
		return &proto.ConfigureResponse{Diagnostics: []*proto.Diagnostic{{Code: "x", Severity: 99}}}, nil
	}
	return &proto.ConfigureResponse{}, nil
}

func (r raw) Observe(_ *proto.ObserveRequest, s grpc.ServerStreamingServer[proto.ObserveResponse]) error {
	group := &proto.NodeGroup{Id: "g", Name: "g", Role: proto.Role_ROLE_NODE}
	instance := &proto.Instance{Id: "i", GroupId: "g", State: proto.InstanceState_INSTANCE_STATE_IN_SERVICE}
	end := &proto.SnapshotEnd{Groups: 1, Instances: 1, ObservedAt: timestamppb.Now()}
	switch r.mode {
	case "unknown-role":
		group.Role = 99
	case "no-role":
		group.Role = 0
	case "unknown-state":
		instance.State = 99
	case "unknown-refill":
		group.Traits = &proto.Traits{Refill: 99}
	case "lying-traits":
		group.Traits = &proto.Traits{MaxSurge: 1}
	case "wrong-count":
		end.Instances = 2
	case "stranger":
		instance.GroupId = "h"
	case "no-time":
		end.ObservedAt = nil
	case "negative":
		group.Desired = -1
	case "lost-labels":
		group.LostLabels = []string{"example.com/pool=web", "tier"}
	case "lost-label-without-key":
		group.LostLabels = []string{"=web"}
	case "too-many-lost-labels":
		group.LostLabels = make([]string, 101)
	case "roll-without-id":
		group.Roll = &proto.RollStatus{State: proto.RollState_ROLL_STATE_RUNNING}
	case "roll-unknown":
		group.Roll = &proto.RollStatus{Id: "u-1", State: 99}
	case "roll-timeless":
		group.Roll = &proto.RollStatus{Id: "u-1", State: proto.RollState_ROLL_STATE_RUNNING, Since: &timestamppb.Timestamp{Nanos: -1}}
	}
	page := &proto.SnapshotPage{Groups: []*proto.NodeGroup{group}, Instances: []*proto.Instance{instance}}
	if r.mode == "twice" {
		page.Instances = append(page.Instances, instance)
		end.Instances = 2
	}
	if err := s.Send(&proto.ObserveResponse{Payload: &proto.ObserveResponse_Page{Page: page}}); err != nil {
		return err
	}
	if r.mode == "no-end" {
		return nil
	}
	if r.mode == "no-payload" {
		return s.Send(&proto.ObserveResponse{})
	}
	if err := s.Send(&proto.ObserveResponse{Payload: &proto.ObserveResponse_End{End: end}}); err != nil {
		return err
	}
	if r.mode == "after-end" {
		return s.Send(&proto.ObserveResponse{Payload: &proto.ObserveResponse_Page{Page: &proto.SnapshotPage{}}})
	}
	return nil
}

func (r raw) Releases(context.Context, *proto.ReleasesRequest) (*proto.ReleasesResponse, error) {
	g := &proto.GroupRelease{GroupId: "g", GroupName: "g", Current: &proto.Release{Id: "1"}, Target: &proto.Release{Id: "2"}, Order: proto.ReleaseOrder_RELEASE_ORDER_NEWER}
	out := &proto.ReleasesResponse{Groups: []*proto.GroupRelease{g}}
	switch r.mode {
	case "release-nameless":
		g.GroupName = ""
	case "release-without-current":
		g.Current = nil
	case "release-without-target":
		g.Target = nil
	case "release-order":
		g.Order = 99
	case "release-twice":
		out.Groups = append(out.Groups, g)
	case "release-timeless":
		g.Target.Created = &timestamppb.Timestamp{Nanos: -1}
	}
	return out, nil
}

func (r raw) Stage(context.Context, *proto.StageRequest) (*proto.StageResponse, error) {
	out := &proto.StageResponse{Operation: &proto.Operation{State: proto.OperationState_OPERATION_STATE_DONE}, Previous: &proto.Release{Id: "1"}, Staged: &proto.Release{Id: "2"}}
	switch r.mode {
	case "stage-unknown-state":
		out.Operation.State = 99
	case "stage-without-operation":
		out.Operation = nil
	case "stage-without-previous":
		out.Previous = nil
	case "stage-without-staged":
		out.Staged = nil
	}
	return out, nil
}

func (r raw) Access(context.Context, *proto.AccessRequest) (*proto.AccessResponse, error) {
	out := &proto.AccessResponse{Endpoint: "https://api", Token: "secret"}
	switch r.mode {
	case "access-nowhere":
		out.Endpoint = ""
	case "access-without-credentials":
		out.Token, out.ClientCertificate = "", []byte("half")
	case "access-timeless":
		out.ExpiresAt = &timestamppb.Timestamp{Nanos: -1}
	}
	return out, nil
}

type rpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	s proto.DriverServer
}

func (p *rpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.s != nil {
		proto.RegisterDriverServer(s, p.s)
	}
	return nil
}

func (p *rpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// netPlugin serves net/rpc, as old plugins of other programs do.
type netPlugin struct{}

func (netPlugin) Server(*plugin.MuxBroker) (any, error)              { return struct{}{}, nil }
func (netPlugin) Client(*plugin.MuxBroker, *rpc.Client) (any, error) { return nil, nil }
