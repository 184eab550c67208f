package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/host"
)

// folders is a set of places to find drivers in, none of them the machine's.
type folders struct {
	t                     *testing.T
	plugins, data, onPath string
	o                     host.Options
}

func newFolders(t *testing.T) *folders {
	t.Helper()
	root := t.TempDir()
	f := &folders{t: t, plugins: filepath.Join(root, "plugins"), data: filepath.Join(root, "data", "rotator", "drivers"), onPath: filepath.Join(root, "bin")}
	for _, d := range []string{f.plugins, f.data, f.onPath} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("XDG_DATA_HOME", filepath.Join(root, "data"))
	t.Setenv("PATH", f.onPath)
	f.o = host.Options{PluginDirs: []string{f.plugins}}
	return f
}

// add writes a driver's executable with a mode, and returns its path.
func (f *folders) add(dir, name string, mode os.FileMode) string {
	f.t.Helper()
	path := filepath.Join(dir, "rotatord-driver-"+name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		f.t.Fatal(err)
	}
	f.chmod(path, mode)
	return path
}

func (f *folders) chmod(path string, mode os.FileMode) {
	f.t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		f.t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name   string
		driver string
		setup  func(f *folders) (want string)
		source string
		code   host.Code
		text   string
	}{
		{name: "explicit path before all", driver: "x", source: "path", setup: func(f *folders) string {
			f.add(f.plugins, "x", 0o755)
			f.o.Path = f.add(f.t.TempDir(), "x", 0o755)
			return f.o.Path
		}},
		{name: "explicit path with another file name", driver: "x", source: "path", setup: func(f *folders) string {
			f.o.Path = f.add(f.t.TempDir(), "y", 0o755)
			return f.o.Path
		}},
		{name: "plugin dir before user data", driver: "x", source: "plugin-dir", setup: func(f *folders) string {
			f.add(f.data, "x", 0o755)
			return f.add(f.plugins, "x", 0o755)
		}},
		{name: "user data before PATH", driver: "x", source: "user data", setup: func(f *folders) string {
			f.add(f.onPath, "x", 0o755)
			return f.add(f.data, "x", 0o755)
		}},
		{name: "home where XDG_DATA_HOME is unset", driver: "x", source: "user data", setup: func(f *folders) string {
			home := f.t.TempDir()
			f.t.Setenv("XDG_DATA_HOME", "")
			f.t.Setenv("HOME", home)
			dir := filepath.Join(home, ".local", "share", "rotator", "drivers")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				f.t.Fatal(err)
			}
			return f.add(dir, "x", 0o755)
		}},
		{name: "PATH", driver: "x-2", source: "PATH", setup: func(f *folders) string { return f.add(f.onPath, "x-2", 0o755) }},
		{name: "a link", driver: "x", source: "plugin-dir", setup: func(f *folders) string {
			link := filepath.Join(f.plugins, "rotatord-driver-x")
			if err := os.Symlink(f.add(f.data, "y", 0o755), link); err != nil {
				f.t.Fatal(err)
			}
			return link
		}},
		{name: "not there", driver: "x", code: host.CodeMissing, text: "--plugin-dir", setup: func(f *folders) string { return "" }},
		{name: "explicit path not there", driver: "x", code: host.CodeMissing, text: "does not exist", setup: func(f *folders) string {
			f.add(f.plugins, "x", 0o755)
			f.o.Path = filepath.Join(f.plugins, "nothing")
			return f.o.Path
		}},
		{name: "a name that is a path", driver: "../x", code: host.CodeMissing, text: "cannot be the name", setup: func(f *folders) string { return "" }},
		{name: "no name", driver: "", code: host.CodeMissing, text: "cannot be the name", setup: func(f *folders) string { return "" }},
		{name: "the working directory is not on PATH", driver: "x", code: host.CodeMissing, setup: func(f *folders) string {
			dir := f.t.TempDir()
			f.add(dir, "x", 0o755)
			f.t.Chdir(dir)
			f.t.Setenv("PATH", ":.:"+f.onPath)
			return ""
		}},
		{name: "group-writable", driver: "x", code: host.CodeRejected, text: "chmod go-w ", setup: func(f *folders) string { return f.add(f.plugins, "x", 0o775) }},
		{name: "world-writable", driver: "x", code: host.CodeRejected, text: "chmod go-w ", setup: func(f *folders) string { return f.add(f.plugins, "x", 0o757) }},
		{name: "a refused one hides a good one", driver: "x", code: host.CodeRejected, setup: func(f *folders) string {
			f.add(f.onPath, "x", 0o755)
			return f.add(f.plugins, "x", 0o775)
		}},
		{name: "not executable", driver: "x", code: host.CodeRejected, text: "chmod +x", setup: func(f *folders) string { return f.add(f.plugins, "x", 0o644) }},
		{name: "world-writable folder", driver: "x", code: host.CodeRejected, text: "chmod o-w ", setup: func(f *folders) string {
			f.chmod(f.plugins, 0o777)
			return f.add(f.plugins, "x", 0o755)
		}},
		{name: "sticky folder, own file", driver: "x", source: "plugin-dir", setup: func(f *folders) string {
			f.chmod(f.plugins, 0o777|os.ModeSticky)
			return f.add(f.plugins, "x", 0o755)
		}},
		{name: "a link in a world-writable folder", driver: "x", code: host.CodeRejected, text: "everybody can write to it", setup: func(f *folders) string {
			link := filepath.Join(f.plugins, "rotatord-driver-x")
			if err := os.Symlink(f.add(f.data, "y", 0o755), link); err != nil {
				f.t.Fatal(err)
			}
			f.chmod(f.plugins, 0o777)
			return link
		}},
		{name: "a link to a world-writable folder", driver: "x", code: host.CodeRejected, text: "everybody can write to it", setup: func(f *folders) string {
			link := filepath.Join(f.plugins, "rotatord-driver-x")
			if err := os.Symlink(f.add(f.data, "y", 0o755), link); err != nil {
				f.t.Fatal(err)
			}
			f.chmod(f.data, 0o777)
			return link
		}},
		{name: "right sha256", driver: "x", source: "plugin-dir", setup: func(f *folders) string {
			f.o.SHA256 = strings.ToUpper(sum(f.t, f.add(f.plugins, "x", 0o755)))
			return filepath.Join(f.plugins, "rotatord-driver-x")
		}},
		{name: "wrong sha256", driver: "x", code: host.CodeRejected, text: "its sha256 is", setup: func(f *folders) string {
			f.o.SHA256 = strings.Repeat("0", 64)
			return f.add(f.plugins, "x", 0o755)
		}},
		{name: "no sha256 at all", driver: "x", code: host.CodeRejected, text: "64 hex digits", setup: func(f *folders) string {
			f.o.SHA256 = "latest"
			return f.add(f.plugins, "x", 0o755)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolders(t)
			want := tt.setup(f)
			c, err := host.Find(tt.driver, f.o)
			if hostCode(err) != tt.code {
				t.Fatalf("error is %v (%s), want code %q", err, hostCode(err), tt.code)
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("the error does not say %q: %v", tt.text, err)
			}
			if c.Path != want || (err == nil && (c.Source != tt.source || c.Name != tt.driver)) {
				t.Errorf("found %+v, want %s from %q", c, want, tt.source)
			}
		})
	}
}

func sum(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(raw)
	return hex.EncodeToString(h[:])
}

func TestList(t *testing.T) {
	f := newFolders(t)
	good := f.add(f.plugins, "a", 0o755)
	f.add(f.plugins, "loose", 0o777)
	f.add(f.plugins, "UPPER", 0o755)
	f.add(f.onPath, "a", 0o755)
	f.add(f.onPath, "b", 0o755)
	if err := os.Mkdir(filepath.Join(f.onPath, "rotatord-driver-folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	type line struct {
		Name, Source, ShadowedBy string
		Code                     host.Code
	}
	var got []line
	for _, c := range host.List(f.o) {
		got = append(got, line{c.Name, c.Source, c.ShadowedBy, hostCode(c.Err)})
	}
	want := []line{
		{"a", "plugin-dir", "", ""},
		{"loose", "plugin-dir", "", host.CodeRejected},
		{"a", "PATH", good, ""},
		{"b", "PATH", "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

// A driver with a sha256 runs, and one that was replaced meanwhile is not
// started again.
func TestLaunchPinned(t *testing.T) {
	o := testOptions(t, map[string]any{"instances": 1, "observe": "crash"})
	raw, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	o.Path = filepath.Join(t.TempDir(), "rotatord-driver-test")
	if err := os.WriteFile(o.Path, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(o.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	o.SHA256 = sum(t, o.Path)
	d := launch(t, o)
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Path, append(raw, "changed"...), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Observe(t.Context(), 0); err == nil {
		t.Fatal("the driver did not crash")
	}
	_, _, err = d.Observe(t.Context(), 0)
	if err == nil || !strings.Contains(err.Error(), "restart: driver "+o.Path+" is refused: its sha256 is") {
		t.Errorf("after the file was replaced: %v", err)
	}
}
