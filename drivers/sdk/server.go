package sdk

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Register serves d on s. Serve does it for a plugin; tests may do it on a
// gRPC server of their own, as the conformance suite does.
func Register(s grpc.ServiceRegistrar, d Driver) {
	proto.RegisterDriverServer(s, &server{d: d, ops: newLedger(maxOps)})
}

// server is the protocol's side of a driver: it checks requests, converts, and
// offers what the driver implements. The embedded type answers UNIMPLEMENTED
// to methods of later versions.
type server struct {
	proto.UnimplementedDriverServer

	d          Driver
	ops        *ledger
	configured atomic.Bool
	// resizing: changes of one group's capacity are absolute numbers.
	resizing oneAtATime
}

func (s *server) Info(context.Context, *proto.InfoRequest) (*proto.InfoResponse, error) {
	i := s.d.Info()
	return &proto.InfoResponse{Name: i.Name, Version: i.Version, ConfigSchema: i.ConfigSchema, Verbs: verbs(s.d)}, nil
}

func (s *server) Configure(ctx context.Context, r *proto.ConfigureRequest) (*proto.ConfigureResponse, error) {
	raw := r.GetConfig()
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	diagnostics, err := s.d.Configure(ctx, raw, r.GetValidateOnly())
	if err != nil {
		return nil, wireError(err)
	}
	out, err := diagnosticsToProto(diagnostics)
	if err != nil {
		return nil, Errorf(codes.Internal, "configure: %v", err)
	}
	if !r.GetValidateOnly() && !hasError(diagnostics) {
		s.configured.Store(true)
	}
	return &proto.ConfigureResponse{Diagnostics: out}, nil
}

func (s *server) Observe(r *proto.ObserveRequest, stream grpc.ServerStreamingServer[proto.ObserveResponse]) error {
	if err := s.ready(); err != nil {
		return err
	}
	if r.GetScope().GetCluster() == "" {
		return Errorf(codes.InvalidArgument, "observe: scope.cluster is empty")
	}
	var maxAge time.Duration
	if r.GetMaxAge() != nil {
		if err := r.GetMaxAge().CheckValid(); err != nil || r.GetMaxAge().AsDuration() < 0 {
			return Errorf(codes.InvalidArgument, "observe: max_age %v is not an age", r.GetMaxAge())
		}
		maxAge = r.GetMaxAge().AsDuration()
	}
	snapshot, err := s.d.Observe(stream.Context(), Scope{Cluster: r.GetScope().GetCluster(), Groups: r.GetScope().GetGroups()}, maxAge)
	if err != nil {
		return wireError(err)
	}
	messages, err := pages(s.d, snapshot)
	if err != nil {
		return Errorf(codes.Internal, "observe: %v: this is a bug of the driver", err)
	}
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			return err // the stream is broken; there is nobody to tell
		}
	}
	return nil
}

func (s *server) Prepare(ctx context.Context, r *proto.PrepareRequest) (*proto.PrepareResponse, error) {
	op, err := operate[Preparer](s, "Prepare", r, func(d Preparer, op Op) (*Operation, error) {
		return d.Prepare(ctx, GroupRequest{Op: op, GroupID: r.GetGroupId()})
	})
	return &proto.PrepareResponse{Operation: op}, err
}

func (s *server) Restore(ctx context.Context, r *proto.RestoreRequest) (*proto.RestoreResponse, error) {
	op, err := operate[Preparer](s, "Restore", r, func(d Preparer, op Op) (*Operation, error) {
		return d.Restore(ctx, GroupRequest{Op: op, GroupID: r.GetGroupId()})
	})
	return &proto.RestoreResponse{Operation: op}, err
}

func (s *server) SetSurge(ctx context.Context, r *proto.SetSurgeRequest) (*proto.SetSurgeResponse, error) {
	op, err := operate[Surger](s, "SetSurge", r, func(d Surger, op Op) (*Operation, error) {
		done, err := s.resizing.begin(ctx, r.GetGroupId())
		if err != nil {
			return nil, err
		}
		defer done()
		return d.SetSurge(ctx, SetSurgeRequest{Op: op, GroupID: r.GetGroupId(), Surge: int(r.GetSurge()), Going: r.GetGoing()})
	})
	return &proto.SetSurgeResponse{Operation: op}, err
}

func (s *server) Terminate(ctx context.Context, r *proto.TerminateRequest) (*proto.TerminateResponse, error) {
	d, op, err := begin[Terminator](s, "Terminate", r)
	if err != nil {
		return nil, err
	}
	capacity, err := capacityFromProto(r.GetCapacity())
	if err != nil { // begin has checked it
		return nil, Errorf(codes.InvalidArgument, "Terminate: %v", err)
	}
	if capacity == ShrinkCapacity {
		done, err := s.resizing.begin(ctx, r.GetGroupId())
		if err != nil {
			return nil, err
		}
		defer done()
	}
	result, err := d.Terminate(ctx, TerminateRequest{
		Op: op, GroupID: r.GetGroupId(), InstanceID: r.GetInstanceId(), Capacity: capacity, Surge: int(r.GetSurge()),
	})
	if err != nil {
		return nil, wireError(err)
	}
	if result == nil {
		return nil, Errorf(codes.Internal, "Terminate: the driver answered no result and no error: this is a bug of the driver")
	}
	instance, err := operationToProto(result.Instance)
	if err != nil {
		return nil, Errorf(codes.Internal, "Terminate: the instance's outcome: %v: this is a bug of the driver", err)
	}
	size, err := operationToProto(result.Capacity)
	if err != nil {
		return nil, Errorf(codes.Internal, "Terminate: the capacity's outcome: %v: this is a bug of the driver", err)
	}
	return &proto.TerminateResponse{Instance: instance, Capacity: size}, nil
}

func (s *server) Quiesce(ctx context.Context, r *proto.QuiesceRequest) (*proto.QuiesceResponse, error) {
	op, err := operate[Quiescer](s, "Quiesce", r, func(d Quiescer, op Op) (*Operation, error) {
		return d.Quiesce(ctx, InstanceRequest{Op: op, GroupID: r.GetGroupId(), InstanceID: r.GetInstanceId()})
	})
	return &proto.QuiesceResponse{Operation: op}, err
}

func (s *server) Unquiesce(ctx context.Context, r *proto.UnquiesceRequest) (*proto.UnquiesceResponse, error) {
	op, err := operate[Quiescer](s, "Unquiesce", r, func(d Quiescer, op Op) (*Operation, error) {
		return d.Unquiesce(ctx, InstanceRequest{Op: op, GroupID: r.GetGroupId(), InstanceID: r.GetInstanceId()})
	})
	return &proto.UnquiesceResponse{Operation: op}, err
}

func (s *server) Reimage(ctx context.Context, r *proto.ReimageRequest) (*proto.ReimageResponse, error) {
	op, err := operate[Reimager](s, "Reimage", r, func(d Reimager, op Op) (*Operation, error) {
		return d.Reimage(ctx, InstanceRequest{Op: op, GroupID: r.GetGroupId(), InstanceID: r.GetInstanceId()})
	})
	return &proto.ReimageResponse{Operation: op}, err
}

func (s *server) Cancel(ctx context.Context, r *proto.CancelRequest) (*proto.CancelResponse, error) {
	op, err := operate[Canceller](s, "Cancel", r, func(d Canceller, op Op) (*Operation, error) {
		return d.Cancel(ctx, CancelRequest{Op: op, GroupID: r.GetGroupId(), TargetID: r.GetTargetId()})
	})
	return &proto.CancelResponse{Operation: op}, err
}

func notOffered(d Driver, method string) error {
	return Errorf(codes.Unimplemented, "%s is not offered by driver %s", method, d.Info().Name)
}

// ready refuses work before Configure has succeeded.
func (s *server) ready() error {
	if !s.configured.Load() {
		return Errorf(codes.FailedPrecondition, "the driver is not configured: call Configure first")
	}
	return nil
}

// changing is what the requests of all changing calls have in common.
type changing interface {
	protobuf.Message
	GetOp() *proto.Op
	GetGroupId() string
}

// begin does what all changing calls begin with: is the verb offered, is the
// driver configured, is the request complete, is its id used for one goal only.
// In this order: a verb that is not offered says so whatever the request holds.
func begin[V any](s *server, method string, r changing) (V, Op, error) {
	d, ok := s.d.(V)
	if !ok {
		return d, Op{}, notOffered(s.d, method)
	}
	if err := s.ready(); err != nil {
		return d, Op{}, err
	}
	if err := complete(method, r); err != nil {
		return d, Op{}, err
	}
	op := Op{ID: r.GetOp().GetId(), RotationID: r.GetOp().GetRotationId(), DryRun: r.GetOp().GetDryRun()}
	if !op.DryRun {
		if err := s.ops.check(op.ID, method, r); err != nil {
			return d, Op{}, err
		}
	}
	return d, op, nil
}

// complete refuses a request that lacks what it needs. Which fields a request
// has is read from its accessors.
func complete(method string, r changing) error {
	type text struct{ name, value string }
	texts := []text{
		{"op.id", r.GetOp().GetId()},
		{"op.rotation_id", r.GetOp().GetRotationId()},
		{"group_id", r.GetGroupId()},
	}
	if i, ok := r.(interface{ GetInstanceId() string }); ok {
		texts = append(texts, text{"instance_id", i.GetInstanceId()})
	}
	if i, ok := r.(interface{ GetTargetId() string }); ok {
		texts = append(texts, text{"target_id", i.GetTargetId()})
	}
	if i, ok := r.(interface{ GetRelease() string }); ok {
		texts = append(texts, text{"release", i.GetRelease()})
	}
	for _, f := range texts {
		if f.value == "" {
			return Errorf(codes.InvalidArgument, "%s: %s is empty", method, f.name)
		}
	}
	if i, ok := r.(interface{ GetSurge() int32 }); ok && i.GetSurge() < 0 {
		return Errorf(codes.InvalidArgument, "%s: surge %d is negative", method, i.GetSurge())
	}
	if i, ok := r.(interface{ GetMaxUnavailable() int32 }); ok && i.GetMaxUnavailable() < 0 {
		return Errorf(codes.InvalidArgument, "%s: max_unavailable %d is negative", method, i.GetMaxUnavailable())
	}
	if i, ok := r.(interface{ GetCapacity() proto.Capacity }); ok {
		if _, err := capacityFromProto(i.GetCapacity()); err != nil {
			return Errorf(codes.InvalidArgument, "%s: %v", method, err)
		}
	}
	return nil
}

// operate runs a changing call that answers one operation.
func operate[V any](s *server, method string, r changing, call func(V, Op) (*Operation, error)) (*proto.Operation, error) {
	d, op, err := begin[V](s, method, r)
	if err != nil {
		return nil, err
	}
	result, err := call(d, op)
	if err != nil {
		return nil, wireError(err)
	}
	if result == nil {
		return nil, Errorf(codes.Internal, "%s: the driver answered no operation and no error: this is a bug of the driver", method)
	}
	out, err := operationToProto(*result)
	if err != nil {
		return nil, Errorf(codes.Internal, "%s: %v: this is a bug of the driver", method, err)
	}
	return out, nil
}
