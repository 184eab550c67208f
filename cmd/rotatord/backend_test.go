package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/runtime"
)

// executable writes a script under the name of a driver, with exactly this mode.
func executable(t *testing.T, dir, name string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, "rotatord-driver-"+name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho no license >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask has a say in WriteFile
		t.Fatal(err)
	}
	return path
}

// real runs the command with its real backend.
func real(t *testing.T, args ...string) outcome {
	t.Helper()
	var stdout, stderr buffer
	a := &app{stdout: &stdout, stderr: &stderr, backend: coreBackend{}, exit: func(int) { t.Error("the process was ended") }}
	code := a.run(t.Context(), args)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestDriversListOfRealFiles(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	t.Setenv("PATH", "/nonexistent")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_DATA_HOME", "")
	good := executable(t, first, "good", 0o755)
	bad := executable(t, first, "bad", 0o777)
	hidden := executable(t, second, "good", 0o755)
	if err := os.WriteFile(filepath.Join(first, "something-else"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	got := real(t, "drivers", "list", "--plugin-dir", first, "--plugin-dir", second)
	if got.code != 0 || got.stderr != "" {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	status := map[string]string{}
	table, reasons, _ := strings.Cut(got.stdout, "\n\n")
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) == 4 {
			status[f[3]] = f[1]
		}
	}
	for path, want := range map[string]string{good: "ok", bad: "rejected", hidden: "hidden"} {
		if status[path] != want {
			t.Errorf("%s is %q, want %s:\n%s", path, status[path], want, got.stdout)
		}
	}
	if !strings.Contains(reasons, bad) || !strings.Contains(reasons, "fix: chmod") || !strings.Contains(reasons, hidden) || strings.Contains(got.stdout, "something-else") {
		t.Errorf("stdout:\n%s", got.stdout)
	}
}

func TestDriversInfoOfFilesThatAreNoDrivers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", "/nonexistent")
	executable(t, dir, "dies", 0o755)
	executable(t, dir, "open", 0o777)
	for name, want := range map[string]string{"dies": "no license", "open": "can write to it", "nosuch": "rotatord-driver-nosuch"} {
		got := real(t, "drivers", "info", name, "--plugin-dir", dir)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || strings.Count(got.stderr, "error: ") != 1 {
			t.Errorf("drivers info %s: exit code %d, stderr:\n%s\nwant one error with %q", name, got.code, got.stderr, want)
		}
	}
}

func TestNoKubeconfig(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "kubeconfig")
	got := real(t, "plan", "--cluster", "c", "--driver", "nosuch", "--kubeconfig", missing)
	if got.code != exitUsage || !strings.Contains(got.stderr, missing) || !strings.Contains(got.stderr, "\nfix: ") {
		t.Errorf("exit code %d, stderr:\n%s", got.code, got.stderr)
	}
}

func TestExplain(t *testing.T) {
	tests := []struct {
		err  error
		code int
	}{
		{&host.Error{Code: host.CodeMissing, Message: "m"}, exitUsage},
		{&host.Error{Code: host.CodeConfig, Message: "m"}, exitUsage},
		{&host.Error{Code: host.CodeUnavailable, Message: "m"}, exitFailed},
		{&host.Error{Code: host.CodeDenied, Message: "m"}, exitFailed},
		{&host.Error{Code: host.CodeLost, Message: "m"}, exitFailed},
		{&kube.Error{Code: kube.CodeContextUnknown, Message: "m"}, exitUsage},
		{&kube.Error{Code: kube.CodeUnreachable, Message: "m"}, exitFailed},
		{&core.RefusedError{Plan: refusedPlan()}, exitRefused},
		{journal.ErrInUse, exitLocked},
		// core wraps whatever the journal's opening answers.
		{fmt.Errorf("%w: %w", runtime.ErrJournal, journal.ErrInUse), exitLocked},
		{runtime.ErrJournal, exitStopped},
	}
	for _, tt := range tests {
		f := coreBackend{}.Explain(fmt.Errorf("opening: %w", tt.err))
		if f == nil || f.code != tt.code || f.message == "" {
			t.Errorf("%T %v is explained as %+v, want code %d", tt.err, tt.err, f, tt.code)
		}
	}
	if f := (coreBackend{}).Explain(errors.New("else")); f != nil {
		t.Errorf("an error of somebody else is explained as %+v", f)
	}
}
