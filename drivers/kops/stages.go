package kops

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// stageGather is how long a call of Stage waits for others to be served with:
	// those that a host sends at once come within milliseconds, and an update takes
	// seconds.
	stageGather = 200 * time.Millisecond
	// stageWithin bounds one serving, which an update of a cluster with hundreds of
	// groups does not need.
	stageWithin = 15 * time.Minute
	// maxStageCalls bounds the calls for one cluster that wait: more than a cluster
	// has instance groups.
	maxStageCalls = 1000
)

// stages are the calls of Stage that wait, by cluster, in the order in which
// they came. Those of a cluster are served together, one serving after the
// other, by a goroutine that lives as long as there are any. What a caller asked
// for is done also when the caller leaves after its serving has begun; it comes
// back and finds it done.
type stages struct {
	mu      sync.Mutex
	waiting map[string][]*stageCall // a key for each cluster that is being served
}

// stageCall is one call of Stage.
type stageCall struct {
	group string // of the instance group
	r     sdk.StageRequest
	left  <-chan struct{} // closed when its caller has left
	done  chan struct{}   // closed when it is answered

	result *sdk.StageResult
	err    error
}

func newStageCall(ctx context.Context, group string, r sdk.StageRequest) *stageCall {
	return &stageCall{group: group, r: r, left: ctx.Done(), done: make(chan struct{})}
}

// queue has a call wait to be served; first: nobody serves its cluster yet, and
// the caller sees to it.
func (s *stages) queue(cluster string, c *stageCall) (first bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, served := s.waiting[cluster]
	if len(list) >= maxStageCalls {
		return false, sdk.Errorf(codes.ResourceExhausted, "%d calls of Stage for cluster %s wait already", maxStageCalls, cluster)
	}
	if s.waiting == nil {
		s.waiting = map[string][]*stageCall{}
	}
	s.waiting[cluster] = append(list, c)
	return !served, nil
}

// wait returns the answer, or ends with its caller's ctx.
func (c *stageCall) wait(ctx context.Context) (*sdk.StageResult, error) {
	select {
	case <-c.done:
		return c.result, c.err
	case <-ctx.Done():
		return nil, sdk.Errorf(status.FromContextError(ctx.Err()).Code(), "staging instance group %s goes on if it has begun: the call is to be sent again", c.group)
	}
}

// take takes the calls out that can be served with those given: for each group
// the first that waits, of the same kind (a dry run or not), and others only if
// they are the same. Calls whose callers have left are dropped.
func (s *stages) take(cluster string, with []*stageCall) []*stageCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken, rest := slices.Clone(with), []*stageCall(nil)
	for _, c := range s.waiting[cluster] {
		switch {
		case c.isLeft():
		case slices.ContainsFunc(taken, c.excludes), slices.ContainsFunc(rest, c.excludes):
			rest = append(rest, c)
		default:
			taken = append(taken, c)
		}
	}
	s.waiting[cluster] = rest
	return taken[len(with):]
}

// ended tells that no call of the cluster waits; the next one begins anew.
func (s *stages) ended(cluster string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting[cluster]) > 0 {
		return false
	}
	delete(s.waiting, cluster)
	return true
}

// excludes tells whether two calls cannot be served together.
func (c *stageCall) excludes(other *stageCall) bool {
	return c.r.DryRun != other.r.DryRun ||
		c.group == other.group && (c.r.Release != other.r.Release || c.r.AllowDowngrade != other.r.AllowDowngrade)
}

func (c *stageCall) isLeft() bool     { return isClosed(c.left) }
func (c *stageCall) isAnswered() bool { return isClosed(c.done) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// answer ends a call, once: what comes after the first answer is dropped. Only
// the goroutine that serves its cluster calls it.
func (c *stageCall) answer(result *sdk.StageResult, err error) {
	if c.isAnswered() {
		return
	}
	if refused := (*stageRefusal)(nil); errors.As(err, &refused) {
		result, err = &sdk.StageResult{Operation: *failed(refused.diags...)}, nil
	}
	c.result, c.err = result, err
	close(c.done)
}

// stageRefusal says why a release is not staged.
type stageRefusal struct{ diags []sdk.Diagnostic }

func (e *stageRefusal) Error() string { return e.diags[0].Code + ": " + e.diags[0].Summary }

func refuseStage(diags ...sdk.Diagnostic) error { return &stageRefusal{diags} }

// runStages serves the calls of a cluster until none waits.
func (d *Driver) runStages(ctx context.Context, cluster string) {
	for {
		d.serveStages(ctx, cluster)
		if d.stages.ended(cluster) {
			return
		}
	}
}

// serveStages answers the calls that wait now, all or some of them. Before it
// refuses a cluster because it is not applied, it begins anew with the calls
// that came meanwhile: after a crash it may be their images that are not.
func (d *Driver) serveStages(ctx context.Context, cluster string) {
	ctx, cancel := context.WithTimeout(ctx, stageWithin)
	defer cancel()
	unlock, err := d.changing.lock(ctx, cluster) // one goes on at a time that applies the cluster
	if err == nil {
		defer unlock()
		gather := time.NewTimer(stageGather)
		defer gather.Stop()
		<-gather.C
	}
	calls := d.stages.take(cluster, nil)
	for err == nil {
		_, err = guard(func() (struct{}, error) { return struct{}{}, d.stageAll(ctx, cluster, calls) })
		if refused := (*stageRefusal)(nil); !errors.As(err, &refused) || refused.diags[0].Code != codeNotApplied {
			break
		}
		late := d.stages.take(cluster, calls)
		if len(late) == 0 {
			break
		}
		calls, err = append(calls, late...), nil
	}
	for _, c := range calls {
		c.answer(nil, err)
	}
}
