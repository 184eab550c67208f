// Package eks rotates the nodes of an EKS cluster: its managed node groups, and
// its self-managed Auto Scaling groups, found by the tag
// kubernetes.io/cluster/NAME. It implements the driver interfaces of drivers/sdk
// on aws-sdk-go-v2.
//
// The driver is crash-only. What it must remember about a group is in tags on
// that group or on its node group (see prepareRecord, surgeRecord, rollRecord,
// updateRecord and stageRecord), written BEFORE the change that they describe; everything in
// memory is a cache that a restart may lose.
package eks

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Version of the driver, semantic.
const Version = "0.1.0"

// Driver implements sdk.Driver, sdk.Terminator, sdk.Surger, sdk.Preparer,
// sdk.Quiescer, sdk.Roller, sdk.Stager and sdk.Accessor.
// It is safe for concurrent use. Make it with New.
type Driver struct {
	now   func() time.Time
	pause func(context.Context, time.Duration) error

	mu      sync.Mutex // guards what follows up to the blank line
	cfg     Config
	clients *clients // nil until Configure

	// changing serialises what reads a group and then changes it: without it
	// two shrinks of one group would write over each other's record.
	changing keyedMutex
	view     view
}

// clients of one configuration.
type clients struct {
	asg *autoscaling.Client
	ec2 *ec2.Client
	eks *eks.Client
	ssm *ssm.Client
	sts *sts.Client
	elb *elasticloadbalancingv2.Client
	// credentials are what all of them sign with.
	credentials aws.CredentialsProvider
}

var (
	_ sdk.Driver     = (*Driver)(nil)
	_ sdk.Terminator = (*Driver)(nil)
	_ sdk.Surger     = (*Driver)(nil)
	_ sdk.Preparer   = (*Driver)(nil)
	_ sdk.Quiescer   = (*Driver)(nil)
	_ sdk.Roller     = (*Driver)(nil)
	_ sdk.Accessor   = (*Driver)(nil)
	_ sdk.Stager     = (*Driver)(nil)
)

// Option changes a driver that New makes.
type Option func(*Driver)

// WithClock gives the driver another clock than time.Now, for its caches and
// for Snapshot.ObservedAt. The clocks of the SDK and of contexts stay.
func WithClock(now func() time.Time) Option { return func(d *Driver) { d.now = now } }

// WithPause gives the driver another way to wait for AWS than a timer.
func WithPause(pause func(context.Context, time.Duration) error) Option {
	return func(d *Driver) { d.pause = pause }
}

// wait is the pause of drivers that were given no other.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// New returns a driver that has not been configured. It makes no call.
func New(opts ...Option) *Driver {
	d := &Driver{now: time.Now, pause: wait}
	for _, o := range opts {
		o(d)
	}
	return d
}

// Info implements sdk.Driver.
func (d *Driver) Info() sdk.Info {
	return sdk.Info{Name: "eks", Version: Version, ConfigSchema: []byte(configSchema)}
}

// configured returns the configuration and the clients of it.
func (d *Driver) configured() (Config, *clients, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clients == nil {
		return Config{}, nil, sdk.Errorf(codes.FailedPrecondition, "the eks driver has no configuration: call Configure first")
	}
	return d.cfg, d.clients, nil
}

// keyedMutex is a mutex for each key. Keys are names of groups: their number
// bounds its size.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
}

// lock waits for the key's mutex, or for ctx.
func (k *keyedMutex) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]chan struct{}{}
	}
	c := k.locks[key]
	if c == nil {
		c = make(chan struct{}, 1)
		k.locks[key] = c
	}
	k.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, status.FromContextError(context.Cause(ctx)).Err()
	}
}
