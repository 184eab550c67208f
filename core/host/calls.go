package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Observe returns a whole snapshot no older than maxAge, and the driver's
// diagnostics about the scope. Errors are *engine.Error.
func (d *Driver) Observe(ctx context.Context, maxAge time.Duration) (*engine.Snapshot, []model.Diagnostic, error) {
	var snapshot *engine.Snapshot
	var diagnostics []model.Diagnostic
	err := d.sup.call(ctx, "Observe", func(ctx context.Context, c proto.DriverClient) error {
		stream, err := c.Observe(ctx, &proto.ObserveRequest{
			Scope:  &proto.Scope{Cluster: d.sup.o.Cluster, Groups: d.sup.o.Groups},
			MaxAge: durationpb.New(maxAge),
		})
		if err != nil {
			return err
		}
		snapshot, diagnostics, err = receive(stream, d.sup.verbs)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return snapshot, diagnostics, nil
}

// Do performs an effect of the provider other than an Observe; nil means that its
// goal is reached or accepted. Errors are *engine.Error.
func (d *Driver) Do(ctx context.Context, rotation string, e engine.Effect) error {
	op := &proto.Op{Id: e.ID, RotationId: rotation}
	what := fmt.Sprintf("%s of group %s", e.Verb, e.GroupID)
	var call func(context.Context, proto.DriverClient) error
	switch e.Verb {
	case engine.VerbPrepare:
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Prepare(ctx, &proto.PrepareRequest{Op: op, GroupId: e.GroupID})
			return outcome(err, r.GetOperation())
		}
	case engine.VerbRestore:
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Restore(ctx, &proto.RestoreRequest{Op: op, GroupId: e.GroupID})
			return outcome(err, r.GetOperation())
		}
	case engine.VerbSetSurge:
		surge, err := count(e.Surge)
		if err != nil {
			return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("%s: %v", what, err)}
		}
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.SetSurge(ctx, &proto.SetSurgeRequest{Op: op, GroupId: e.GroupID, Surge: surge, Going: e.Going})
			return outcome(err, r.GetOperation())
		}
	case engine.VerbTerminate:
		what = fmt.Sprintf("%s of instance %s (group %s)", e.Verb, e.InstanceID, e.GroupID)
		surge, err := count(e.Surge)
		if err != nil {
			return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("%s: %v", what, err)}
		}
		capacity := proto.Capacity_CAPACITY_KEEP
		if e.Shrink {
			capacity = proto.Capacity_CAPACITY_SHRINK
		} else {
			surge = 0 // means something with SHRINK only
		}
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Terminate(ctx, &proto.TerminateRequest{
				Op: op, GroupId: e.GroupID, InstanceId: e.InstanceID, Capacity: capacity, Surge: surge,
			})
			return outcome(err, r.GetInstance(), r.GetCapacity())
		}
	case engine.VerbQuiesce:
		what = fmt.Sprintf("%s of instance %s (group %s)", e.Verb, e.InstanceID, e.GroupID)
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Quiesce(ctx, &proto.QuiesceRequest{Op: op, GroupId: e.GroupID, InstanceId: e.InstanceID})
			return outcome(err, r.GetOperation())
		}
	case engine.VerbUnquiesce:
		what = fmt.Sprintf("%s of instance %s (group %s)", e.Verb, e.InstanceID, e.GroupID)
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Unquiesce(ctx, &proto.UnquiesceRequest{Op: op, GroupId: e.GroupID, InstanceId: e.InstanceID})
			return outcome(err, r.GetOperation())
		}
	case engine.VerbRoll:
		most, err := count(e.MaxUnavailable)
		if err != nil {
			return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("%s: %v", what, err)}
		}
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Roll(ctx, &proto.RollRequest{Op: op, GroupId: e.GroupID, MaxUnavailable: most})
			return outcome(err, r.GetOperation())
		}
	case engine.VerbCancel:
		call = func(ctx context.Context, c proto.DriverClient) error {
			r, err := c.Cancel(ctx, &proto.CancelRequest{Op: op, GroupId: e.GroupID, TargetId: e.Target})
			return outcome(err, r.GetOperation())
		}
	default:
		return &engine.Error{Code: engine.ErrUnsupported, Message: fmt.Sprintf("%s is not a driver's verb", e.Verb)}
	}
	return d.sup.call(ctx, what, call)
}

// call runs one call against the current life of the driver, within its
// deadline, and classifies its error. One call is one try: the engine sends the
// same effect again.
func (s *supervisor) call(ctx context.Context, what string, call func(context.Context, proto.DriverClient) error) error {
	within, cancel := context.WithTimeout(ctx, s.o.CallTimeout)
	defer cancel()
	p, err := s.current(within)
	if err != nil {
		return err
	}
	err = call(within, p.driver)
	if err == nil {
		return nil
	}
	var e *engine.Error
	if errors.As(err, &e) { // a failed operation
		return &engine.Error{Code: e.Code, Message: fmt.Sprintf("driver %s: %s: %s", s.c.Name, what, s.mask.mask(e.Message))}
	}
	code := status.Code(err)
	switch {
	case code == codes.Unavailable && p.died():
		return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("driver %s: %s: the driver crashed in mid-call (%s)", s.c.Name, what, p.exe.end())}
	case code == codes.DeadlineExceeded && ctx.Err() == nil && p.hung(ctx):
		return &engine.Error{Code: engine.ErrTransient, Message: fmt.Sprintf("driver %s: %s: no answer within %v, and none to a health check: the driver hangs and was killed", s.c.Name, what, s.o.CallTimeout)}
	}
	return &engine.Error{Code: errorCode(code), Message: fmt.Sprintf("driver %s: %s: %s", s.c.Name, what, s.text(err))}
}

// errorCode says what the engine may do about a status of a driver.
func errorCode(c codes.Code) engine.ErrorCode {
	switch c {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled:
		return engine.ErrTransient
	case codes.Aborted:
		return engine.ErrHeld
	case codes.Unimplemented:
		return engine.ErrUnsupported
	case codes.NotFound:
		return engine.ErrNotFound
	}
	return engine.ErrPermanent
}

// outcome turns the operations of an answer into an error: nil when all are
// done or accepted.
func outcome(err error, ops ...*proto.Operation) error {
	if err != nil {
		return err
	}
	for _, op := range ops {
		switch op.GetState() {
		case proto.OperationState_OPERATION_STATE_RUNNING, proto.OperationState_OPERATION_STATE_DONE:
			continue
		case proto.OperationState_OPERATION_STATE_FAILED:
			return failedOperation(op)
		case proto.OperationState_OPERATION_STATE_UNSPECIFIED:
		}
		return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("the driver answered operation state %v, which this rotatord does not know", op.GetState())}
	}
	return nil
}

// failedOperation is transient when every error among the diagnostics is.
func failedOperation(op *proto.Operation) error {
	diagnostics, err := diagnosticsFromProto(op.GetDiagnostics())
	if err != nil {
		return &engine.Error{Code: engine.ErrPermanent, Message: err.Error()}
	}
	code := engine.ErrTransient
	var texts []string
	for _, d := range diagnostics {
		if d.Severity != model.SeverityError {
			continue
		}
		if d.Retry != model.RetryLater {
			code = engine.ErrPermanent
		}
		text := d.Summary
		if d.Detail != "" {
			text += ": " + d.Detail
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return &engine.Error{Code: engine.ErrPermanent, Message: "the operation failed and the driver does not say why"}
	}
	return &engine.Error{Code: code, Message: strings.Join(texts, "; ")}
}

// maxItems bounds a snapshot: far beyond any cluster, and short of what would
// use up the host's memory.
const maxItems = 1 << 20

// receive reads a snapshot to its end marker.
func receive(stream interface {
	Recv() (*proto.ObserveResponse, error)
}, verbs []string) (*engine.Snapshot, []model.Diagnostic, error) {
	broken := func(format string, args ...any) error {
		return &engine.Error{Code: engine.ErrPermanent, Message: "the snapshot breaks the protocol: " + fmt.Sprintf(format, args...) + ": this is a bug of the driver"}
	}
	b := newSnapshotBuilder(verbs)
	var end *proto.SnapshotEnd
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && end == nil:
			return nil, nil, broken("it ended without the end marker, after %d groups and %d instances", len(b.snapshot.Groups), len(b.snapshot.Instances))
		case errors.Is(err, io.EOF):
			if err := b.finish(end); err != nil {
				return nil, nil, broken("%v", err)
			}
			return &b.snapshot, b.diagnostics, nil
		case err != nil:
			return nil, nil, err
		case end != nil:
			return nil, nil, broken("it goes on after its end marker")
		}
		switch payload := m.GetPayload().(type) {
		case *proto.ObserveResponse_Page:
			if err := b.add(payload.Page); err != nil {
				return nil, nil, broken("%v", err)
			}
		case *proto.ObserveResponse_End:
			end = payload.End
		default:
			return nil, nil, broken("it holds a message that this rotatord does not know")
		}
	}
}
