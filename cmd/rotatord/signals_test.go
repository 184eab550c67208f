package main

import (
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rotatord/rotator/core/engine"
)

func TestStopSignals(t *testing.T) {
	c := stopSignals()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	names := map[os.Signal]string{os.Interrupt: "SIGINT", syscall.SIGTERM: "SIGTERM", syscall.SIGHUP: "SIGHUP"}
	if signal.Ignored(syscall.SIGHUP) {
		delete(names, syscall.SIGHUP) // nohup runs the tests: it never comes
	}
	for s, want := range names {
		if err := self.Signal(s); err != nil {
			t.Fatal(err)
		}
		if got := <-c; got != s || signalName(got) != want {
			t.Errorf("%v came as %v (%s)", s, got, signalName(got))
		}
	}
}

// A rotation does not end because nobody reads what it says: it is run by a child
// whose stderr is closed in the middle.
func TestOutlivesItsReaders(t *testing.T) {
	const marker = "TEST_OUTLIVES"
	if file := os.Getenv(marker); file != "" {
		f := doneRun()
		f.running = func(request) {
			_, _ = os.Stderr.WriteString("it runs\n")
			_, _ = io.Copy(io.Discard, os.Stdin) // until stderr has no reader
			for range 3 {
				_, _ = os.Stderr.WriteString("who hears?\n")
			}
			f.result = &engine.Result{Status: engine.StatusDone, Message: "done"}
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				panic(err)
			}
		}
		a := &app{stdout: io.Discard, stderr: os.Stderr, backend: f, exit: os.Exit, outlive: outliveReaders}
		os.Exit(a.run(t.Context(), with("run")))
	}
	file := filepath.Join(t.TempDir(), "ended")
	cmd := exec.Command(os.Args[0], "-test.run=^TestOutlivesItsReaders$")
	cmd.Env = append(os.Environ(), marker+"="+file)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for b := make([]byte, 1); !strings.Contains(said.String(), "it runs"); said.Write(b) {
		if _, err := stderr.Read(b); err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
	}
	_ = stderr.Close()
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the rotation: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
