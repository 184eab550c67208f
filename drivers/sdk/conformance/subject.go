package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// subject is one driver over one provider, in one test.
type subject struct {
	*testing.T
	c      Config
	config string
	ops    int

	driver proto.DriverClient // of the current life
	end    func()             // ends it as kill -9 does
}

// newSubject sets a provider up and starts a driver, not yet configured.
func newSubject(t *testing.T, c Config) *subject {
	s := &subject{T: t, c: c, config: c.Config(t)}
	s.start()
	t.Cleanup(func() { s.end() })
	return s
}

// start begins a life of the driver.
func (s *subject) start() {
	s.Helper()
	var err error
	if s.c.New != nil {
		s.driver, s.end, err = startInMemory(s.c.New())
	} else {
		s.driver, s.end, err = startCommand(s.c.Command, s.c.Env)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// restart ends the driver as kill -9 does, and starts and configures another.
func (s *subject) restart() {
	s.Helper()
	s.end()
	s.start()
	s.configure()
}

func startInMemory(d sdk.Driver) (proto.DriverClient, func(), error) {
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(sdk.ServerOptions()...)
	sdk.Register(server, d)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // ends by Stop
	conn, err := grpc.NewClient("passthrough:///driver",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return proto.NewDriverClient(conn), func() {
		_ = conn.Close() // fails only for one that is closed
		server.Stop()
		serving.Wait()
	}, nil
}

func startCommand(command, env []string) (proto.DriverClient, func(), error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: &clientPlugin{}}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
	})
	raw, err := func() (any, error) {
		c, err := client.Client()
		if err != nil {
			return nil, err
		}
		return c.Dispense(sdk.PluginName)
	}()
	if err != nil {
		client.Kill()
		return nil, nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return proto.NewDriverClient(raw.(*grpc.ClientConn)), func() {
		_ = cmd.Process.Kill() // SIGKILL; fails only for one that has ended
		client.Kill()
	}, nil
}

type clientPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (*clientPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the suite serves no drivers")
}

func (*clientPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// configure configures the current life.
func (s *subject) configure() {
	s.Helper()
	r, err := s.driver.Configure(s.Context(), &proto.ConfigureRequest{Config: []byte(s.config)})
	if err != nil {
		s.Fatalf("Configure: %v", err)
	}
	for _, d := range r.GetDiagnostics() {
		if d.GetSeverity() == proto.Severity_SEVERITY_ERROR {
			s.Fatalf("Configure refuses the configuration: %s: %s", d.GetSummary(), d.GetDetail())
		}
	}
}

// op returns a new operation of a rotation.
func (s *subject) op(rotation string) *proto.Op {
	s.ops++
	return &proto.Op{Id: fmt.Sprintf("%s-op-%d", rotation, s.ops), RotationId: rotation}
}

// snapshot is what Observe answered.
type snapshot struct {
	groups      map[string]*proto.NodeGroup
	instances   map[string]*proto.Instance
	diagnostics []*proto.Diagnostic
}

// observe asks the provider now. It fails the test for a snapshot that is not
// whole.
func (s *subject) observe(groups ...string) snapshot {
	s.Helper()
	out, err := s.tryObserve(groups...)
	if err != nil {
		s.Fatalf("Observe: %v", err)
	}
	return out
}

func (s *subject) tryObserve(groups ...string) (snapshot, error) {
	out := snapshot{groups: map[string]*proto.NodeGroup{}, instances: map[string]*proto.Instance{}}
	stream, err := s.driver.Observe(s.Context(), &proto.ObserveRequest{
		Scope: &proto.Scope{Cluster: s.c.Cluster, Groups: groups}, MaxAge: durationpb.New(0),
	})
	if err != nil {
		return out, err
	}
	var end *proto.SnapshotEnd
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			if end == nil {
				return out, errors.New("the stream ends without the end marker")
			}
			if int(end.GetGroups()) != len(out.groups) || int(end.GetInstances()) != len(out.instances) {
				return out, fmt.Errorf("the end marker counts %d groups and %d instances, the pages hold %d and %d",
					end.GetGroups(), end.GetInstances(), len(out.groups), len(out.instances))
			}
			return out, end.GetObservedAt().CheckValid()
		case err != nil:
			return out, err
		case end != nil:
			return out, errors.New("the stream goes on after the end marker")
		}
		if m.GetEnd() != nil {
			end = m.GetEnd()
			continue
		}
		for _, g := range m.GetPage().GetGroups() {
			if out.groups[g.GetId()] != nil {
				return out, fmt.Errorf("group %s is in the snapshot twice", g.GetId())
			}
			out.groups[g.GetId()] = g
		}
		for _, i := range m.GetPage().GetInstances() {
			if out.instances[i.GetId()] != nil {
				return out, fmt.Errorf("instance %s is in the snapshot twice", i.GetId())
			}
			out.instances[i.GetId()] = i
		}
		out.diagnostics = append(out.diagnostics, m.GetPage().GetDiagnostics()...)
	}
}

// group returns the group that the tests may change, as it is now.
func (s *subject) group() *proto.NodeGroup {
	s.Helper()
	g := s.observe().groups[s.c.Group]
	if g == nil {
		s.Fatalf("group %s is not in the snapshot", s.c.Group)
	}
	return g
}

// inService returns the ids of the group's instances in service, sorted.
func (s *subject) inService(o snapshot) []string {
	var ids []string
	for id, i := range o.instances {
		if i.GetGroupId() == s.c.Group && i.GetState() == proto.InstanceState_INSTANCE_STATE_IN_SERVICE {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// victim returns an instance in service.
func (s *subject) victim() string {
	s.Helper()
	var ids []string
	s.eventually("an instance of the group is in service", func(o snapshot) bool {
		ids = s.inService(o)
		return len(ids) > 0
	})
	return ids[0]
}

// eventually observes until a condition holds.
func (s *subject) eventually(what string, holds func(snapshot) bool) {
	s.Helper()
	deadline := time.Now().Add(s.c.Timeout)
	for !holds(s.observe()) {
		if time.Now().After(deadline) {
			s.Fatalf("not within %v: %s", s.c.Timeout, what)
		}
		time.Sleep(s.c.Timeout / looks)
	}
}

// accepted fails the test unless a call's operations are running or done.
func (s *subject) accepted(what string, err error, ops ...*proto.Operation) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
	for _, op := range ops {
		switch op.GetState() {
		case proto.OperationState_OPERATION_STATE_DONE, proto.OperationState_OPERATION_STATE_RUNNING:
		case proto.OperationState_OPERATION_STATE_FAILED, proto.OperationState_OPERATION_STATE_UNSPECIFIED:
			fallthrough
		default:
			s.Fatalf("%s: the operation is %v: %v", what, op.GetState(), op.GetDiagnostics())
		}
	}
}

// refused fails the test unless err has the code.
func (s *subject) refused(what string, err error, want codes.Code) {
	s.Helper()
	if got := status.Code(err); got != want {
		s.Errorf("%s: answered %v (%v), want %v", what, got, err, want)
	}
}

// needs skips a test whose trait the group does not have.
func (s *subject) needs(what string, trait bool) {
	s.Helper()
	if !trait {
		s.Skipf("group %s does not offer %s", s.c.Group, what)
	}
}
