package kops

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Version of the driver, semantic.
const Version = "0.1.0"

// Driver implements sdk.Driver, sdk.Terminator, sdk.Surger, sdk.Preparer,
// sdk.Quiescer, sdk.Stager and sdk.Accessor.
// It is safe for concurrent use. Make it with New.
type Driver struct {
	now func() time.Time
	// build makes kops' interface to a cluster's cloud: cloudup.BuildCloud.
	build func(*kopsapi.Cluster) (fi.Cloud, error)
	// update is (*store).update.
	update updater
	calls  callers
	jobs   jobs
	// stages are the calls of Stage that wait.
	stages stages

	mu     sync.Mutex // guards what follows up to the blank line
	cfg    Config
	store  *store              // nil until Configure
	clouds map[string]fi.Cloud // by cluster

	// changing serialises what reads a group and then changes it: two surges at
	// once would both detach.
	changing keyedMutex
	view     view
}

var (
	_ sdk.Driver     = (*Driver)(nil)
	_ sdk.Terminator = (*Driver)(nil)
	_ sdk.Surger     = (*Driver)(nil)
	_ sdk.Preparer   = (*Driver)(nil)
	_ sdk.Quiescer   = (*Driver)(nil)
	_ sdk.Stager     = (*Driver)(nil)
	_ sdk.Accessor   = (*Driver)(nil)
)

// Option changes a driver that New makes.
type Option func(*Driver)

// WithCloud gives the driver another cloud than kops' own code would build.
func WithCloud(build func(*kopsapi.Cluster) (fi.Cloud, error)) Option {
	return func(d *Driver) { d.build = build }
}

// New returns a driver that has not been configured. It makes no call.
func New(opts ...Option) *Driver {
	d := &Driver{now: time.Now, build: cloudup.BuildCloud, update: (*store).update}
	for _, o := range opts {
		o(d)
	}
	return d
}

// Info implements sdk.Driver.
func (d *Driver) Info() sdk.Info {
	return sdk.Info{Name: "kops", Version: Version, ConfigSchema: []byte(configSchema)}
}

// configured returns the configuration and the state store of it.
func (d *Driver) configured() (Config, *store, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return Config{}, nil, sdk.Errorf(codes.FailedPrecondition, "the kops driver has no configuration: call Configure first")
	}
	return d.cfg, d.store, nil
}

// turn waits until nobody else changes the group; unlock gives the turn back. A
// driver without a configuration changes nothing.
func (d *Driver) turn(ctx context.Context, groupID string) (unlock func(), err error) {
	if _, _, err := d.configured(); err != nil {
		return nil, err
	}
	return d.changing.lock(ctx, groupID)
}

// cloud returns kops' interface to the cluster's cloud. It is made once: that
// takes calls (regions, zones), and its clients keep connections.
func (d *Driver) cloud(ctx context.Context, cluster *kopsapi.Cluster) (fi.Cloud, error) {
	d.mu.Lock()
	cloud := d.clouds[cluster.Name]
	d.mu.Unlock()
	if cloud != nil {
		return cloud, nil
	}
	provider := string(cluster.GetCloudProvider())
	cloud, err := call(ctx, &d.calls, "connecting to "+provider, func() (fi.Cloud, error) { return d.build(cluster) })
	if err != nil {
		if status.Code(err) != codes.Unknown {
			return nil, err
		}
		c := classify(err)
		if c.code == "cloud-failed" {
			// What kops says when variables or files with credentials are missing is
			// prose, different for each cloud.
			c.hint = "Check that the credentials of " + provider + " are set as kops needs them, and that the cloud can be reached: kops validate cluster must work with the same."
		}
		return nil, sdk.Errorf(c.grpc, "%s: connecting to the cloud %s of cluster %s failed: %s. %s", c.code, provider, cluster.Name, cause(err), c.hint)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clouds == nil {
		d.clouds = map[string]fi.Cloud{}
	}
	d.clouds[cluster.Name] = cloud
	return cloud, nil
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
