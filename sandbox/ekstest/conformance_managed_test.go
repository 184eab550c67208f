package ekstest

import (
	"context"
	"testing"
	"time"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/conformance"
	"github.com/rotatord/rotator/sandbox/aws"
)

// managedAccount is a live account with a managed node group of three, one release behind. It returns the id of its
// group, which is the same each time, and the driver's configuration.
func managedAccount(t *testing.T, way string) (group, config string) {
	t.Helper()
	l := newLive(t)
	l.check(l.CreateCluster(aws.ClusterSpec{Name: cluster, Version: "1.37"}))
	l.check(l.ConnectCluster(cluster, "https://127.0.0.1:6443", []byte("PEM"), nil))
	publish := func() {
		_, err := l.AddReleases(aws.ReleaseSpec{Kubernetes: aws.KubernetesVersion})
		l.check(err)
	}
	publish()
	l.check(l.CreateNodegroup(aws.NodegroupSpec{Cluster: cluster, Name: system, Min: 1, Max: 5, Desired: 3}))
	l.settle("the node group", func() bool { return l.Nodegroups(cluster)[0].Status == "ACTIVE" })
	publish()
	return l.Nodegroups(cluster)[0].AutoScalingGroup, l.serve(map[string]any{"managedNodeGroups": map[string]string{"way": way}})
}

// hasten is a driver that waits for EKS as much shorter as EKS is faster.
func hasten() sdk.Driver {
	return eks.New(eks.WithPause(func(ctx context.Context, d time.Duration) error {
		select {
		case <-time.After(d / speedup):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}))
}

// TestConformanceOfManaged is TestConformance for a node group that EKS rolls, and for one whose instances the core replaces.
func TestConformanceOfManaged(t *testing.T) {
	for _, way := range []string{"delegated", "self"} {
		t.Run(way, func(t *testing.T) {
			credentials(t)
			group, _ := managedAccount(t, way)
			conformance.Run(t, conformance.Config{
				New: hasten, Cluster: cluster, Group: group, Timeout: 30 * time.Second,
				Config: func(t *testing.T) string { _, config := managedAccount(t, way); return config },
			})
		})
	}
}
