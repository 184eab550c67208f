package aws

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/google/go-cmp/cmp"
)

// Run is the one place with a real clock: it must let time pass, call the hooks without locks, and end with its context.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	running := make(chan Machine, 3)
	var c *Cloud
	c = New(Config{PendingDelay: time.Millisecond, ReconcileInterval: time.Millisecond, Hooks: Hooks{
		Running: func(m Machine) { // hooks may ask the cloud
			again, ok := c.Machine(m.ID)
			if !ok || again.State != "running" {
				t.Errorf("in the hook: %+v %v", again, ok)
			}
			running <- m
		},
	}})
	image := c.CreateImage(ImageSpec{Name: "n"})
	if _, err := c.CreateLaunchTemplate("nodes", LaunchTemplateData{ImageID: &image, InstanceType: ptr("m5.large")}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateAutoScalingGroup(GroupSpec{Name: "g", LaunchTemplate: "nodes", Max: 3, Desired: 3}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		m := <-running
		if m.Group != "g" || m.BootDelay != 2*time.Second || !strings.HasSuffix(m.PrivateDNSName, ".eu-central-1.compute.internal") || m.Region != "eu-central-1" {
			t.Errorf("%+v", m)
		}
	}
	cancel()
	wg.Wait()
}

// The same seed and the same calls make the same world: ids, zones and victims.
func TestDeterminedBySeed(t *testing.T) {
	world := func(seed uint64) (out []string) {
		a := newAccount(t, func(c *Config) { c.Seed = seed })
		a.seed()
		a.seedGroup(GroupSpec{Name: "g", Max: 20, Desired: 12})
		a.must(a.setDesired("g", 5))
		a.pass(3 * time.Second)
		for _, m := range a.Machines() {
			out = append(out, fmt.Sprint(m.ID, m.Zone, m.State, m.PrivateIP))
		}
		return out
	}
	if d := cmp.Diff(world(1), world(1)); d != "" {
		t.Error(d)
	}
	if cmp.Equal(world(1), world(2)) {
		t.Error("another seed made the same world")
	}
}

func TestDeadInstancesAreForgotten(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 3, Desired: 3})
	for range 3 {
		_, err := a.terminate(a.group("g").settled()[0], false)
		a.must(err)
		a.pass(2 * time.Second)
	}
	if n := len(a.Machines()); n != 6 {
		t.Fatalf("%d machines, want 3 and 3 terminated ones", n)
	}
	a.jump(2 * time.Hour)
	if n := len(a.Machines()); n != 3 || len(a.instances) != 3 || len(a.dead) != 0 {
		t.Errorf("%d machines, %d instances, %d dead", n, len(a.instances), len(a.dead))
	}
}

// One round of a scale-in is bounded, whatever is asked for; the rounds after it finish the work.
func TestScaleInIsBoundedByRound(t *testing.T) {
	a := newAccount(t)
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 250, Desired: 250})
	a.must(a.setDesired("g", 0))
	a.pass(200 * time.Millisecond) // one reconcile interval
	if n := len(a.group("g").settled()); n != 250-maxVictims {
		t.Errorf("%d left after a round, want %d", n, 250-maxVictims)
	}
	a.pass(2 * time.Second)
	if n := len(a.group("g").Instances); n != 0 {
		t.Errorf("%d left at the end", n)
	}
}

// large makes an account with a group of n instances.
func large(b *testing.B, n int) (*Cloud, func() time.Time) {
	b.Helper()
	at := start
	c := New(Config{Clock: func() time.Time { return at }, RateLimits: map[string]RateLimit{"ec2:read": {}, "autoscaling:read": {}}})
	image := c.CreateImage(ImageSpec{Name: "n"})
	if _, err := c.CreateLaunchTemplate("nodes", LaunchTemplateData{ImageID: &image, InstanceType: ptr("m5.large")}); err != nil {
		b.Fatal(err)
	}
	if err := c.CreateAutoScalingGroup(GroupSpec{Name: "g", LaunchTemplate: "nodes", Max: n, Desired: n}); err != nil {
		b.Fatal(err)
	}
	step := func() time.Time { at = at.Add(time.Second); return at }
	for range 4 {
		c.Tick(step())
	}
	return c, step
}

func BenchmarkTick1000(b *testing.B) {
	c, step := large(b, 1000)
	for b.Loop() {
		c.Tick(step())
	}
}

// BenchmarkScale1000 launches and takes away a thousand instances.
func BenchmarkScale1000(b *testing.B) {
	c, step := large(b, 1000)
	for b.Loop() {
		for _, n := range []int32{0, 1000} {
			c.mu.Lock()
			err := c.setDesiredCapacity(&setDesiredInput{AutoScalingGroupName: "g", DesiredCapacity: sdk.Int32(n)})
			c.mu.Unlock()
			if err != nil {
				b.Fatal(err)
			}
			for c.Groups()[0].Desired != len(c.Groups()[0].Instances) {
				c.Tick(step())
			}
		}
	}
}

func benchmarkCall(b *testing.B, service, body string) {
	c, _ := large(b, 1000)
	h := c.Handler()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", bytes.NewBufferString(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=sandbox/20260301/eu-central-1/"+service+"/aws4_request, x")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkDescribeInstances1000(b *testing.B) {
	benchmarkCall(b, "ec2", "Action=DescribeInstances&Version=2016-11-15&MaxResults=1000")
}

func BenchmarkDescribeGroup1000(b *testing.B) {
	benchmarkCall(b, "autoscaling", "Action=DescribeAutoScalingGroups&Version=2011-01-01")
}

// Calls, ticks and hooks at the same time: run with -race.
func TestConcurrentUse(t *testing.T) {
	a := newAccount(t, func(c *Config) {
		c.RateLimits["autoscaling:read"], c.RateLimits["autoscaling:write"] = RateLimit{}, RateLimit{}
	})
	a.seed()
	a.seedGroup(GroupSpec{Name: "g", Max: 20, Desired: 10})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := a.AS.DescribeAutoScalingGroups(a.ctx(), &autoscaling.DescribeAutoScalingGroupsInput{}); err != nil {
					t.Error(err)
				}
				if err := a.setDesired("g", int32(5+(n+i)%10)); err != nil {
					t.Error(err)
				}
				a.Machines()
				a.Groups()
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			a.pass(100 * time.Millisecond)
		}
	})
	wg.Wait()
	a.must(a.setDesired("g", 6))
	a.pass(5 * time.Second)
	if g := a.group("g"); len(g.settled()) != 6 || len(g.Instances) != 6 {
		t.Errorf("%v", states(g))
	}
}
