package example_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/conformance"
	"github.com/rotatord/rotator/plugins/example"
	"github.com/rotatord/rotator/plugins/example/cloud"
)

// newCloud sets up a cloud whose machines take so long, and returns the
// driver's configuration for it.
func newCloud(delay time.Duration) func(*testing.T) string {
	return func(t *testing.T) string {
		file := filepath.Join(t.TempDir(), "cloud.json")
		if err := cloud.Create(file, cloud.State{
			Cluster: "prod", BootDelay: delay, StopDelay: delay,
			Groups: []cloud.Group{
				{ID: "g-1", Name: "workers", Max: 5, Desired: 3, Template: 1, Rebalance: true},
				{ID: "g-3", Name: "rolled", Max: 2, Desired: 2, Template: 1, Rolls: true},
				{ID: "g-2", Name: "batch", Max: 2, Desired: 1, Template: 1},
			},
		}); err != nil {
			t.Fatal(err)
		}
		for _, g := range []string{"g-1", "g-3"} {
			if err := (cloud.Client{File: file}).SetTemplate(g, 2); err != nil {
				t.Fatal(err)
			}
		}
		config, err := json.Marshal(map[string]string{"file": file})
		if err != nil {
			t.Fatal(err)
		}
		return string(config)
	}
}

// In memory and in virtual time: a machine takes five minutes, the test
// milliseconds.
func TestConformance(t *testing.T) {
	for name, group := range map[string]string{"replaced one by one": "g-1", "rolled by the cloud": "g-3"} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, conformance.Config{
				New:     func() sdk.Driver { return &example.Driver{} },
				Config:  newCloud(5 * time.Minute),
				Cluster: "prod",
				Group:   group,
				Timeout: time.Hour,
				Virtual: true,
			})
		})
	}
}

// The executable, as rotatord would run it.
func TestConformanceOfExecutable(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "rotatord-driver-example")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "./rotatord-driver-example")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	conformance.Run(t, conformance.Config{
		Command: []string{bin},
		Config:  newCloud(200 * time.Millisecond),
		Cluster: "prod",
		Group:   "g-1",
	})
}
