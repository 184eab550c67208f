package ekstest

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/conformance"
	"github.com/rotatord/rotator/sandbox/aws"
)

// managedAccount is a simulated account in real time, with a managed node group of three, one release behind. It returns
// the id of its group, which is the same each time, and the driver's configuration.
func managedAccount(t *testing.T, way string) (group, config string) {
	t.Helper()
	c := aws.New(aws.Config{
		Region: region, Seed: 7, PendingDelay: 20 * time.Millisecond, EKSSpeedup: 1000,
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
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.CreateCluster(aws.ClusterSpec{Name: cluster, Version: "1.37"}))
	check(c.ConnectCluster(cluster, "https://127.0.0.1:6443", []byte("PEM"), nil))
	publish := func() {
		_, err := c.AddReleases(aws.ReleaseSpec{Kubernetes: aws.KubernetesVersion})
		check(err)
	}
	publish()
	check(c.CreateNodegroup(aws.NodegroupSpec{Cluster: cluster, Name: system, Min: 1, Max: 5, Desired: 3}))
	for status := ""; status != "ACTIVE"; time.Sleep(5 * time.Millisecond) { // nothing tells when it is up
		status = c.Nodegroups(cluster)[0].Status
		if t.Context().Err() != nil {
			t.Fatal("the node group does not come up")
		}
	}
	publish()
	raw, err := json.Marshal(map[string]any{"region": region, "endpoint": srv.URL, "managedNodeGroups": map[string]string{"way": way}})
	check(err)
	return c.Nodegroups(cluster)[0].AutoScalingGroup, string(raw)
}

// TestConformanceOfManaged is TestConformance for a node group that EKS rolls, and for one whose instances the core replaces.
func TestConformanceOfManaged(t *testing.T) {
	for _, way := range []string{"delegated", "self"} {
		t.Run(way, func(t *testing.T) {
			credentials(t)
			group, _ := managedAccount(t, way)
			conformance.Run(t, conformance.Config{
				New: func() sdk.Driver { return eks.New() }, Cluster: cluster, Group: group, Timeout: 30 * time.Second,
				Config: func(t *testing.T) string { _, config := managedAccount(t, way); return config },
			})
		})
	}
}
