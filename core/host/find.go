package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Candidate is an executable that carries a driver, or claims to.
type Candidate struct {
	Name string // as in --driver NAME
	Path string
	// Source says where it was found: "path", "plugin-dir", "beside rotatord",
	// "user data" or "PATH".
	Source string
	// ShadowedBy is the path of an earlier candidate of the same name; empty:
	// this is the one that Launch takes.
	ShadowedBy string
	// Err says why it is refused; nil: it may be launched. It is an *Error.
	Err error
}

// driverName keeps names from reaching out of the folders that are searched.
var driverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// place is a folder that may hold drivers.
type place struct{ dir, source string }

// Find returns the executable that Launch would run for a name. The first one
// in the order of search counts: one that is refused is an error of code
// driver-rejected, and not a reason to look further, because falling through
// would run another program than the one that a person put first.
//
// Order: o.Path, o.PluginDirs, the folder of the running executable,
// $XDG_DATA_HOME/rotator/drivers (~/.local/share where it is unset), PATH.
func Find(name string, o Options) (Candidate, error) {
	if o.Path != "" {
		path, err := filepath.Abs(o.Path)
		if err != nil {
			return Candidate{}, &Error{Code: CodeMissing, Message: fmt.Sprintf("driver path %s: %v", o.Path, err), Err: err}
		}
		if name == "" {
			name = strings.TrimPrefix(filepath.Base(path), sdk.ExecutablePrefix)
		}
		c := Candidate{Name: name, Path: path, Source: "path"}
		c.Err = verify(c.Path, o.SHA256)
		return c, c.Err
	}
	if !driverName.MatchString(name) {
		return Candidate{}, &Error{
			Code:    CodeMissing,
			Message: fmt.Sprintf("%q cannot be the name of a driver", name),
			Fix:     "names have lower case letters, digits and dashes, as in --driver eks",
		}
	}
	var looked []string
	for _, p := range places(o) {
		path := filepath.Join(p.dir, sdk.ExecutablePrefix+name)
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			looked = append(looked, p.dir)
			continue
		}
		c := Candidate{Name: name, Path: path, Source: p.source}
		c.Err = verify(c.Path, o.SHA256)
		return c, c.Err
	}
	return Candidate{}, &Error{
		Code:    CodeMissing,
		Message: fmt.Sprintf("driver %s: no executable %s%s in %s", name, sdk.ExecutablePrefix, name, strings.Join(looked, ", ")),
		Fix:     "install it in one of these folders, or name its folder with --plugin-dir",
	}
}

// List returns every executable that carries a driver, in the order of search:
// those that are refused with the reason, those that an earlier one of the same
// name hides with its path. o.Path and o.SHA256 are ignored: they are about one
// driver.
func List(o Options) []Candidate {
	var list []Candidate
	first := map[string]string{}
	for _, p := range places(o) {
		entries, err := os.ReadDir(p.dir)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) && p.source != "PATH" {
				list = append(list, Candidate{Path: p.dir, Source: p.source, Err: &Error{
					Code: CodeRejected, Message: fmt.Sprintf("folder %s cannot be read: %v", p.dir, err), Err: err}})
			}
			continue
		}
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), sdk.ExecutablePrefix)
			path := filepath.Join(p.dir, e.Name())
			if info, err := os.Stat(path); !ok || !driverName.MatchString(name) || err != nil || info.IsDir() {
				continue
			}
			c := Candidate{Name: name, Path: path, Source: p.source, ShadowedBy: first[name], Err: verify(path, "")}
			if first[name] == "" {
				first[name] = path
			}
			list = append(list, c)
		}
	}
	return list
}

// places lists the folders to search, each once, in order.
func places(o Options) []place {
	var list []place
	add := func(dir, source string) {
		if dir == "" { // in PATH an empty entry means the working directory: never
			return
		}
		abs, err := filepath.Abs(dir)
		if err != nil || slices.ContainsFunc(list, func(p place) bool { return p.dir == abs }) {
			return
		}
		list = append(list, place{abs, source})
	}
	for _, d := range o.PluginDirs {
		add(d, "plugin-dir")
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		add(filepath.Dir(exe), "beside rotatord")
	}
	if data := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(data) {
		add(filepath.Join(data, "rotator", "drivers"), "user data")
	} else if home, err := os.UserHomeDir(); err == nil {
		add(filepath.Join(home, ".local", "share", "rotator", "drivers"), "user data")
	}
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(d) { // a relative entry runs whatever the working directory holds
			add(d, "PATH")
		}
	}
	return list
}
