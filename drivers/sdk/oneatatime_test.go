package sdk

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// slow takes a minute for each change of a group's capacity.
type slow struct{}

func (slow) Info() Info { return Info{Name: "slow", Version: "0.0.0"} }
func (slow) Configure(context.Context, []byte, bool) ([]Diagnostic, error) {
	return nil, nil
}
func (slow) Observe(context.Context, Scope, time.Duration) (*Snapshot, error) { return nil, nil }
func (slow) Terminate(context.Context, TerminateRequest) (*TerminateResult, error) {
	time.Sleep(time.Minute)
	done := Operation{State: OperationDone}
	return &TerminateResult{Instance: done, Capacity: done}, nil
}
func (slow) SetSurge(context.Context, SetSurgeRequest) (*Operation, error) {
	time.Sleep(time.Minute)
	return &Operation{State: OperationDone}, nil
}

// What changes one group's capacity takes turns; nothing else waits for it.
func TestCapacityOneAtATime(t *testing.T) {
	type call func(context.Context, *server, string) error
	terminate := func(group string, capacity proto.Capacity) call {
		return func(ctx context.Context, s *server, id string) error {
			_, err := s.Terminate(ctx, &proto.TerminateRequest{Op: &proto.Op{Id: id, RotationId: "r"}, GroupId: group, InstanceId: "i" + id, Capacity: capacity})
			return err
		}
	}
	shrink, keep := terminate("g", proto.Capacity_CAPACITY_SHRINK), terminate("g", proto.Capacity_CAPACITY_KEEP)
	surge := func(ctx context.Context, s *server, id string) error {
		_, err := s.SetSurge(ctx, &proto.SetSurgeRequest{Op: &proto.Op{Id: id, RotationId: "r"}, GroupId: "g", Surge: 1})
		return err
	}
	for name, c := range map[string]struct {
		calls []call
		takes time.Duration
	}{
		"three that shrink":           {[]call{shrink, shrink, shrink}, 3 * time.Minute},
		"one that shrinks, one raise": {[]call{shrink, surge}, 2 * time.Minute},
		"capacity kept":               {[]call{keep, keep, shrink}, time.Minute},
		"another group":               {[]call{shrink, terminate("h", proto.Capacity_CAPACITY_SHRINK)}, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{d: slow{}, ops: newLedger(maxOps)}
			s.configured.Store(true)
			began := time.Now()
			var all sync.WaitGroup
			for i, call := range c.calls {
				all.Go(func() {
					if err := call(t.Context(), s, string(rune('a'+i))); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			all.Wait()
			if took := time.Since(began); took != c.takes {
				t.Errorf("%s: all took %s, want %s", name, took, c.takes)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &server{d: slow{}, ops: newLedger(maxOps)}
		s.configured.Store(true)
		go func() { _ = shrink(t.Context(), s, "a") }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := shrink(ctx, s, "b"); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("a call whose deadline passes while it waits: %v", err)
		}
		time.Sleep(time.Minute)
	})
}
