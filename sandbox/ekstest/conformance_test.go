package ekstest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/conformance"
	"github.com/rotatord/rotator/sandbox/aws"
)

// speedup is how much faster than at AWS the EKS of live accounts works.
const speedup = 1000

// live is a simulated account in real time, for drivers that run as at a user's.
type live struct {
	*aws.Cloud
	t     *testing.T
	ahead atomic.Int64 // nanoseconds that its clock is ahead of this machine's
}

func newLive(t *testing.T) *live {
	l := &live{t: t}
	l.Cloud = aws.New(aws.Config{
		Region: region, Seed: 7, PendingDelay: 20 * time.Millisecond, ShutdownDelay: 50 * time.Millisecond,
		ReconcileInterval: 20 * time.Millisecond, EKSSpeedup: speedup, Clock: l.now,
	})
	return l
}

func (l *live) now() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) }

func (l *live) check(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) tick(ctx context.Context) {
	l.Tick(l.now())
	l.TickEKS(ctx, l.now())
}

// settle passes over the time that what was made needs to come up, before serve.
func (l *live) settle(what string, up func() bool) {
	l.t.Helper()
	for range 1000 {
		if up() {
			return
		}
		l.ahead.Add(int64(20 * time.Millisecond))
		l.tick(l.t.Context())
	}
	l.t.Fatalf("%s does not come up", what)
}

// serve lets time pass until the test ends, and returns the configuration of a driver: more, and where the account is.
func (l *live) serve(more map[string]any) string {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var passing sync.WaitGroup
	passing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				l.tick(ctx)
			}
		}
	})
	srv := httptest.NewServer(l.Handler())
	l.t.Cleanup(func() {
		srv.Close()
		cancel()
		passing.Wait()
	})
	config := map[string]any{"region": region, "endpoint": srv.URL}
	maps.Copy(config, more)
	raw, err := json.Marshal(config)
	l.check(err)
	return string(raw)
}

// liveAccount has a group of three outdated instances behind a target group. It
// returns the driver's configuration.
func liveAccount(t *testing.T) string {
	t.Helper()
	return account(t, func(c *aws.Cloud) []string {
		arn, err := c.CreateTargetGroup(aws.TargetGroupSpec{Name: "web", DeregistrationDelay: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return []string{arn}
	})
}

// account is a liveAccount whose group is behind the target groups that targets
// makes; nil: none.
func account(t *testing.T, targets func(*aws.Cloud) []string) string {
	t.Helper()
	l := newLive(t)
	image, next := l.CreateImage(aws.ImageSpec{Name: "node-1"}), l.CreateImage(aws.ImageSpec{Name: "node-2"})
	_, err := l.CreateLaunchTemplate("nodes", aws.LaunchTemplateData{ImageID: &image, InstanceType: ptr("m5.large")})
	l.check(err)
	var arns []string
	if targets != nil {
		arns = targets(l.Cloud)
	}
	l.check(l.CreateAutoScalingGroup(aws.GroupSpec{TargetGroups: arns, Name: groupA, LaunchTemplate: "nodes", LaunchVersion: "$Latest", Min: 1, Max: 4, Desired: 3, Tags: clusterTag(cluster, "owned")}))
	l.settle("the group", func() bool { return len(members(l.Groups()[0], "InService")) == 3 })
	_, err = l.CreateLaunchTemplateVersion("nodes", "$Latest", aws.LaunchTemplateData{ImageID: &next})
	l.check(err)
	return l.serve(nil)
}

func TestConformance(t *testing.T) {
	credentials(t)
	conformance.Run(t, conformance.Config{
		New: func() sdk.Driver { return eks.New() }, Config: liveAccount, Cluster: cluster, Group: groupA, Timeout: 30 * time.Second,
	})
}

// TestConformanceOfExecutable is the same with the plugin as rotatord runs it.
func TestConformanceOfExecutable(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "rotatord-driver-eks")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "github.com/rotatord/rotator/drivers/eks/rotatord-driver-eks")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the driver: %v\n%s", err, out)
	}
	conformance.Run(t, conformance.Config{
		Command: []string{bin},
		Env: []string{
			"AWS_ACCESS_KEY_ID=" + aws.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + aws.SecretAccessKey, "AWS_EC2_METADATA_DISABLED=true",
			"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		},
		Config: liveAccount, Cluster: cluster, Group: groupA, Timeout: 30 * time.Second,
	})
}
