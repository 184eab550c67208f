package sdk

import (
	"context"
	"sync"

	"google.golang.org/grpc/status"
)

// oneAtATime lets calls for one group's capacity wait for each other. Groups
// bound its size.
type oneAtATime struct {
	mu     sync.Mutex
	groups map[string]chan struct{}
}

// begin waits for the group's turn, or for ctx. The caller must call done.
func (o *oneAtATime) begin(ctx context.Context, group string) (done func(), err error) {
	o.mu.Lock()
	turn := o.groups[group]
	if turn == nil {
		if o.groups == nil {
			o.groups = make(map[string]chan struct{})
		}
		turn = make(chan struct{}, 1)
		o.groups[group] = turn
	}
	o.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, status.FromContextError(context.Cause(ctx)).Err()
	}
}
