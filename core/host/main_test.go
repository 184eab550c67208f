package host_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Executables that the tests launch, each built once, when it is first needed.
var (
	exampleDriver = build("rotatord-driver-example", "../../plugins/example", "./rotatord-driver-example")
	testDriver    = build("rotatord-driver-test", ".", "./testdata/testdriver")
)

var binDir string

func TestMain(m *testing.M) {
	if os.Getenv(envHelper) != "" {
		helperMain()
		return
	}
	dir, err := os.MkdirTemp("", "host-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(name, dir, pkg string) func(testing.TB) string {
	var once sync.Once
	var path string
	var failure error
	return func(t testing.TB) string {
		t.Helper()
		once.Do(func() {
			path = filepath.Join(binDir, name)
			cmd := exec.Command("go", "build", "-trimpath", "-o", path, pkg)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				failure = fmt.Errorf("build %s: %w\n%s", pkg, err, out)
				return
			}
			failure = os.Chmod(path, 0o755) // whatever the umask is
		})
		if failure != nil {
			t.Fatal(failure)
		}
		return path
	}
}

// newCloud writes a cloud for the example driver and returns its file. It is
// written as text: a driver's module is nothing that the core may import.
func newCloud(t testing.TB, desired int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cloud.json")
	old := time.Now().Add(-time.Hour)
	var instances []map[string]any
	for i := range desired {
		instances = append(instances, map[string]any{
			"id": fmt.Sprintf("m-%06d", i+1), "zone": "a", "template": 1, "launched": old,
		})
	}
	writeJSON(t, file, map[string]any{
		"cluster": "prod", "password": "open sesame", "lastID": desired,
		"bootDelay": 0, "stopDelay": time.Hour,
		"groups": []any{map[string]any{
			"id": "g1", "name": "workers", "min": 0, "max": desired + 5, "desired": desired,
			"template": 2, "rebalance": true, "instances": instances,
		}},
	})
	return file
}

func writeJSON(t testing.TB, file string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
