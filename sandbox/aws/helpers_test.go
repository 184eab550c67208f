package aws

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rotatord/rotator/sandbox/aws/modelcheck"
)

// account is a simulated account on loopback with real SDK clients and a clock that only the test moves. Every answer
// that passes through the clients is held against AWS's own models.
type account struct {
	*Cloud
	t   *testing.T
	URL string

	mu  sync.Mutex
	at  time.Time
	log []string // what the hooks were told: "running i-…"

	AS  *autoscaling.Client
	EC2 *ec2.Client
	SSM *ssm.Client
	STS *sts.Client
	ELB *elbv2.Client
	EKS *eks.Client
	IAM *iam.Client
}

// start is when tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newAccount(t *testing.T, change ...func(*Config)) *account {
	t.Helper()
	a := &account{t: t, at: start}
	// EC2 allows five RunInstances at once, which is less than these tests make in a moment that does not pass.
	cfg := Config{Seed: 7, Clock: a.clock, RateLimits: map[string]RateLimit{"ec2:RunInstances": {}}}
	note := func(what string) func(Machine) {
		return func(m Machine) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.log = append(a.log, what+" "+m.ID)
		}
	}
	cfg.Hooks = Hooks{Running: note("running"), Stopping: note("stopping"), Terminated: note("terminated")}
	for _, f := range change {
		f(&cfg)
	}
	a.Cloud = New(cfg)
	srv := httptest.NewServer(a.Handler())
	t.Cleanup(srv.Close)
	t.Cleanup(func() { provoked.note(a.Stats(false)) })
	a.URL = srv.URL
	c := a.config("sandbox", "")
	a.IAM = iam.NewFromConfig(c)
	a.ELB, a.EKS = elbv2.NewFromConfig(c), eks.NewFromConfig(c)
	a.AS, a.EC2, a.SSM, a.STS = autoscaling.NewFromConfig(c), ec2.NewFromConfig(c), ssm.NewFromConfig(c), sts.NewFromConfig(c)
	return a
}

// config is what an unmodified client gets from the environment: endpoint, region and credentials.
func (a *account) config(keyID, region string) sdk.Config {
	if region == "" {
		region = a.cfg.Region
	}
	checker := modelcheck.Load(a.t)
	return sdk.Config{
		Region:           region,
		BaseEndpoint:     &a.URL,
		Credentials:      credentials.NewStaticCredentialsProvider(keyID, "sandbox", ""),
		RetryMaxAttempts: 1,
		HTTPClient:       &http.Client{Transport: checker.Transport(a.t, http.DefaultTransport)},
	}
}

func (a *account) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

// pass lets time go by in steps of 100 ms, each with a tick.
func (a *account) pass(d time.Duration) {
	for end := a.clock().Add(d); a.clock().Before(end); {
		a.mu.Lock()
		a.at = a.at.Add(100 * time.Millisecond)
		now := a.at
		a.mu.Unlock()
		a.Tick(now)
		a.TickEKS(a.ctx(), now)
	}
}

// jump moves the clock at once, with one tick at its end.
func (a *account) jump(d time.Duration) {
	a.mu.Lock()
	a.at = a.at.Add(d)
	now := a.at
	a.mu.Unlock()
	a.Tick(now)
}

// seed makes an image, its parameter and the launch template "nodes".
func (a *account) seed() (image string) {
	a.t.Helper()
	image = a.CreateImage(ImageSpec{Name: "node-1"})
	a.PutParameter(ParameterRecommendedImage, image)
	if _, err := a.CreateLaunchTemplate("nodes", LaunchTemplateData{ImageID: &image, InstanceType: ptr("m5.large")}); err != nil {
		a.t.Fatal(err)
	}
	return image
}

// seedGroup makes a group of the template "nodes" and lets it settle.
func (a *account) seedGroup(s GroupSpec) {
	a.t.Helper()
	if s.LaunchTemplate == "" && s.LaunchConfiguration == "" {
		s.LaunchTemplate = "nodes"
	}
	if err := a.CreateAutoScalingGroup(s); err != nil {
		a.t.Fatal(err)
	}
	a.pass(2 * time.Second)
}

// group reads a group over the wire.
func (a *account) group(name string) GroupState {
	a.t.Helper()
	for _, g := range a.Groups() {
		if g.Name == name {
			return g
		}
	}
	a.t.Fatalf("no group %s", name)
	return GroupState{}
}

func (a *account) ctx() context.Context { return a.t.Context() }

// states counts a group's instances by lifecycle state.
func states(g GroupState) map[string]int {
	n := map[string]int{}
	for _, m := range g.Instances {
		n[m.State]++
	}
	return n
}

// zones counts a group's instances that are not on their way out, by zone.
func zones(g GroupState) map[string]int {
	n := map[string]int{}
	for _, m := range g.Instances {
		if m.State == "InService" || m.State == "Pending" {
			n[m.Zone]++
		}
	}
	return n
}
