// Package aws is a simulated AWS account in one region: EC2, Auto Scaling, EKS, SSM and STS, spoken over their own wire
// protocols by unmodified clients (AWS_ENDPOINT_URL), with the behaviour behind them. Instances take time to start and
// to go, Auto Scaling groups reconcile toward their desired capacity on their own, and AWS's limits are AWS's.
//
// AWS's documentation is the law here. Where a rule is not obvious its source is named beside the code; what the
// simulation does not know it refuses, so that nobody tests against a silence.
//
// All state lies in [Cloud] behind one lock. Time passes only in [Cloud.Tick]; [Cloud.Run] calls it on the wall clock,
// tests call it with a time of their own.
package aws

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/rotatord/rotator/sandbox/control"
)

// Config of a simulated account. Everything has a useful default.
type Config struct {
	// Region is the account's only region; default eu-central-1.
	Region string
	// Zones are the availability zones, at most 8; default REGIONa, REGIONb, REGIONc.
	Zones []string
	// AccountID is the twelve-digit account number; default 000000000000 would be refused by some parsers, so 123456789012.
	AccountID string
	// Seed decides all chance: ids, victims among equals, the share of calls that a fault strikes.
	Seed uint64
	// PendingDelay is how long an instance stays pending; default 200ms.
	PendingDelay time.Duration
	// BootDelay is how long a running machine takes until its node is Ready; default 2s. The cloud only passes it on.
	BootDelay time.Duration
	// ShutdownDelay is how long an instance stays shutting-down; default 500ms.
	ShutdownDelay time.Duration
	// ReconcileInterval is how often groups are reconciled; default 200ms.
	ReconcileInterval time.Duration
	// LaunchBackoff is how long a group leaves a zone alone after a launch there failed; default 1s.
	LaunchBackoff time.Duration
	// TargetDelay is how long a registered target is initial before it is healthy; default 1s.
	TargetDelay time.Duration
	// TerminatedRetention is how long a terminated instance stays visible; default one hour, as EC2's documentation says.
	TerminatedRetention time.Duration
	// ResourceNames makes private DNS names from instance ids (i-0abc.eu-central-1.compute.internal) instead of addresses.
	ResourceNames bool
	// TemplateVersions is how many versions a launch template may have; default 10,000, EC2's quota.
	TemplateVersions int
	// EKSSpeedup is how many times faster than at AWS the phases of managed node groups pass here; default 60: a drain
	// may take 15 seconds instead of 15 minutes. Machines boot by BootDelay all the same.
	EKSSpeedup float64
	// RateLimits replaces single limits of [DefaultRateLimits]; the zero RateLimit lifts one.
	RateLimits map[string]RateLimit
	// Clock is what the time is; default time.Now. It must never run backwards.
	Clock func() time.Time
	Hooks Hooks
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if c.Region == "" {
		c.Region = "eu-central-1"
	}
	if len(c.Zones) == 0 {
		c.Zones = []string{c.Region + "a", c.Region + "b", c.Region + "c"}
	}
	if c.AccountID == "" {
		c.AccountID = "123456789012"
	}
	def(&c.PendingDelay, 200*time.Millisecond)
	def(&c.BootDelay, 2*time.Second)
	def(&c.ShutdownDelay, 500*time.Millisecond)
	def(&c.ReconcileInterval, 200*time.Millisecond)
	def(&c.LaunchBackoff, time.Second)
	def(&c.TerminatedRetention, time.Hour)
	def(&c.TargetDelay, time.Second)
	if c.TemplateVersions == 0 {
		c.TemplateVersions = 10_000
	}
	if c.EKSSpeedup == 0 {
		c.EKSSpeedup = 60
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c
}

// Cloud is the simulated account. Its methods may be called from any goroutine.
type Cloud struct {
	cfg    Config
	limits *limiter
	stats  *counters

	// tickMu keeps ticks, and with them the calls of the hooks, one after the other. It is taken before mu.
	tickMu sync.Mutex
	// eksMu keeps the rounds of EKS one after the other. It is taken before mu.
	eksMu sync.Mutex
	// mu guards everything below.
	mu  sync.Mutex
	rng *rand.Rand
	ids *rand.Rand

	images        map[string]*image
	imageOrder    []*image
	parameters    map[string]*parameter
	templates     map[string]*launchTemplate // by id
	templateNames map[string]*launchTemplate
	templateOrder []*launchTemplate
	launchConfigs map[string]*LaunchConfiguration
	// versionTokens are the client tokens of CreateLaunchTemplate and CreateLaunchTemplateVersion, one at most for
	// each version that exists.
	versionTokens map[string]*templateVersion

	instances map[string]*instance
	order     []*instance // by launch; terminated ones until they are forgotten
	moving    []*instance // pending or shutting-down
	dead      []*instance // terminated, by the time of their end
	nextSeq   int64
	hosts     map[string]int // next host number of each zone's subnet
	runTokens map[string]runToken

	groups        map[string]*group
	groupOrder    []*group // by name
	nextReconcile time.Time
	endedGroups   []*Activity // activities of deleted groups, bounded
	nextActivity  int64

	faults    []*fault
	nextFault int
	hookQueue []hookCall

	sessions     map[string]*session // of roles, by access key
	sessionOrder []string            // their keys, oldest first

	vpc            *vpc
	securityGroups []*securityGroup // by when they were made
	volumes        []*volume        // by when they were made
	roles          map[string]*role
	profiles       map[string]*instanceProfile

	clusters map[string]*cluster // of EKS, by name
	releases map[releaseKey][]*release

	targetGroups map[string]*targetGroup // by ARN
	targetOrder  []*targetGroup          // by ARN

	launched, terminated int64
	alive, mostAlive     int // machines that are pending or running, now and at most since the counters began
	terminations         []control.Termination
}

var _ control.Backend = (*Cloud)(nil)

// maxZones is how many subnets of 8,192 addresses 10.0.0.0/16 holds.
const maxZones = 8

// New returns an account without images, templates or groups. It panics with more than eight zones.
func New(cfg Config) *Cloud {
	cfg = cfg.withDefaults()
	if len(cfg.Zones) > maxZones {
		panic("aws.New: at most 8 availability zones")
	}
	c := &Cloud{
		cfg:           cfg,
		limits:        newLimiter(cfg.RateLimits),
		rng:           rand.New(rand.NewPCG(cfg.Seed, 1)),
		ids:           rand.New(rand.NewPCG(cfg.Seed, 2)),
		images:        map[string]*image{},
		parameters:    map[string]*parameter{},
		templates:     map[string]*launchTemplate{},
		templateNames: map[string]*launchTemplate{},
		launchConfigs: map[string]*LaunchConfiguration{},
		versionTokens: map[string]*templateVersion{},
		instances:     map[string]*instance{},
		hosts:         map[string]int{},
		runTokens:     map[string]runToken{},
		groups:        map[string]*group{},
		targetGroups:  map[string]*targetGroup{},
		sessions:      map[string]*session{},
		clusters:      map[string]*cluster{},
		releases:      map[releaseKey][]*release{},
	}
	c.vpc, c.roles, c.profiles = c.newVPC(), map[string]*role{}, map[string]*instanceProfile{}
	c.stats = newCounters(cfg.Clock())
	return c
}

// tickInterval is how often Run lets time pass: fine enough that delays of 100 ms are kept, and cheap, since a tick
// costs in proportion to what is moving.
const tickInterval = 25 * time.Millisecond

// eksInterval is how often EKS looks after node groups: it asks API servers for evictions each time.
const eksInterval = 500 * time.Millisecond

// Run lets time pass until ctx ends. It returns nil then; there is nothing else that could end it.
func (c *Cloud) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.runEKS(ctx) })
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.Tick(c.cfg.Clock())
		}
	}
}

// runEKS lets EKS work until ctx ends, beside the rest: a slow API server must not stop the time of the cloud.
func (c *Cloud) runEKS(ctx context.Context) {
	t := time.NewTicker(eksInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.TickEKS(ctx, c.cfg.Clock())
		}
	}
}

// Tick brings the world up to now: instances change state, groups are reconciled when their interval has passed, and
// the hooks of what happened run, outside the lock and before Tick returns. One tick makes one round: an instance that
// a group launches in this tick is running in a later one at the earliest.
func (c *Cloud) Tick(now time.Time) {
	c.tickMu.Lock()
	defer c.tickMu.Unlock()
	c.mu.Lock()
	c.advanceInstances(now)
	if !now.Before(c.nextReconcile) {
		c.nextReconcile = now.Add(c.cfg.ReconcileInterval)
		for _, g := range append([]*group(nil), c.groupOrder...) { // a group may end in its round
			c.reconcile(g, now)
		}
	}
	calls := c.hookQueue
	c.hookQueue = nil
	c.mu.Unlock()
	for _, call := range calls {
		call.run()
	}
}

// Control is the control endpoint of package control, for mounting at /_sandbox/ (it strips that prefix itself).
func (c *Cloud) Control() http.Handler {
	return http.StripPrefix("/_sandbox", control.NewHandler(c))
}

func (c *Cloud) now() time.Time { return c.cfg.Clock() }
