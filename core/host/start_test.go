package host

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A driver that we end because it does not get ready in time has not ended by itself.
func TestStartErrorOfWhatWeEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		kill   bool
		want   string
	}{
		"it takes too long":   {"exec sleep 60", true, "did not start: no line in time"},
		"it ends by itself":   {"exit 3", false, "ended before it was ready: it ended with exit status 3"},
		"it is ended by some": {"kill -9 $$", false, "ended before it was ready: it ended with signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rotatord-driver-test")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tc.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			exe, err := newExecutable(file, path, false, nil, masker{})
			if err != nil {
				t.Fatal(err)
			}
			if err := exe.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, exe.Stderr()) }() // as go-plugin does
			if tc.kill {
				if err := exe.Kill(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			<-exe.exited
			got := startError(Candidate{Name: "test", Path: path}, exe, errors.New("no line in time")).Error()
			if !strings.Contains(got, tc.want) || !strings.Contains(got, "run it by hand") {
				t.Errorf("%q lacks %q, or what to do", got, tc.want)
			}
		})
	}
}
