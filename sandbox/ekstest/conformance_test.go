package ekstest

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/conformance"
	"github.com/rotatord/rotator/sandbox/aws"
)

// liveAccount is a simulated account in real time, with a group of three
// outdated instances. It returns the driver's configuration.
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
	c := aws.New(aws.Config{
		Region: region, Seed: 7, PendingDelay: 20 * time.Millisecond,
		ShutdownDelay: 50 * time.Millisecond, ReconcileInterval: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	srv := httptest.NewServer(c.Handler())
	t.Cleanup(func() {
		srv.Close()
		cancel()
		<-done
	})
	image, next := c.CreateImage(aws.ImageSpec{Name: "node-1"}), c.CreateImage(aws.ImageSpec{Name: "node-2"})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.CreateLaunchTemplate("nodes", aws.LaunchTemplateData{ImageID: &image, InstanceType: ptr("m5.large")})
	check(err)
	var arns []string
	if targets != nil {
		arns = targets(c)
	}
	check(c.CreateAutoScalingGroup(aws.GroupSpec{TargetGroups: arns, Name: groupA, LaunchTemplate: "nodes", LaunchVersion: "$Latest", Min: 1, Max: 4, Desired: 3, Tags: clusterTag(cluster, "owned")}))
	for up := 0; up < 3; time.Sleep(5 * time.Millisecond) { // nothing tells when a group is up
		up = len(members(c.Groups()[0], "InService"))
		if t.Context().Err() != nil {
			t.Fatal("the group does not come up")
		}
	}
	_, err = c.CreateLaunchTemplateVersion("nodes", "$Latest", aws.LaunchTemplateData{ImageID: &next})
	check(err)
	raw, err := json.Marshal(map[string]string{"region": region, "endpoint": srv.URL})
	check(err)
	return string(raw)
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
