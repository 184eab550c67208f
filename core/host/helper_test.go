package host_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rotatord/rotator/core/host"
)

// envHelper makes the test binary a host of its own, so that a test can kill
// the host: its value is the path of the driver.
const envHelper = "ROTATOR_HOST_TEST_HELPER"

// helperMain launches the driver, says so, and waits to be killed.
func helperMain() {
	_, err := host.Launch(context.Background(), host.Options{
		Name: "test", Path: os.Getenv(envHelper), Cluster: "prod", Env: []string{"TEST_*"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("launched")
	select {}
}

// alive is a named pipe that a test driver holds open for writing as long as it
// lives, and into which it writes a line when it begins to observe.
type alive struct {
	path string
	file *os.File
	in   *bufio.Reader
}

func newAlive(t *testing.T) *alive {
	t.Helper()
	a := &alive{path: filepath.Join(t.TempDir(), "alive")}
	if err := syscall.Mkfifo(a.path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Not blocking, so that opening does not wait for the driver; reads wait all
	// the same, in Go's poller, and see the end once the last writer is gone.
	f, err := os.OpenFile(a.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	a.file, a.in = f, bufio.NewReader(f)
	return a
}

// observing waits until the driver begins to observe.
func (a *alive) observing(t *testing.T) {
	t.Helper()
	if line, err := a.in.ReadString('\n'); err != nil || line != "observing\n" {
		t.Fatalf("the driver said %q, %v", line, err)
	}
}

// dead waits until no driver holds the pipe open any more.
func (a *alive) dead(t *testing.T) {
	t.Helper()
	if line, err := a.in.ReadString('\n'); err == nil {
		t.Fatalf("the driver said %q, want its end", line)
	}
}
