package host

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Between check and start somebody puts another file in the executable's place.
func TestPinnedExecutable(t *testing.T) {
	for _, tt := range []struct {
		pinned bool
		want   string
	}{{true, "checked"}, {false, "replaced"}} {
		path := filepath.Join(t.TempDir(), "rotatord-driver-x")
		write := func(text string) {
			_ = os.Remove(path)
			if err := os.WriteFile(path, []byte("#!/bin/sh\necho "+text+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		write("checked")
		f, err := openVerified(path, "")
		if err != nil {
			t.Fatal(err)
		}
		write("replaced")
		e, err := newExecutable(f, path, tt.pinned, os.Environ(), newMasker(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		out, err := io.ReadAll(e.Stdout())
		if err != nil || strings.TrimSpace(string(out)) != tt.want {
			t.Errorf("pinned %v: it printed %q, %v; want %q", tt.pinned, out, err, tt.want)
		}
		if err := e.Wait(t.Context()); err != nil {
			t.Errorf("pinned %v: %v", tt.pinned, err)
		}
	}
}
