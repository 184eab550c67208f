package core_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rotatord/rotator"

// A layer says what the files of one folder, tests aside, may import beside
// the standard library. .golangci.yml says the same to the linter; this test
// holds it where only `go test` runs.
type layer struct {
	dir string
	// own lists packages of this module, relative to its root. An entry that
	// ends in /... includes what is below it.
	own []string
	// third says whether modules of others are allowed, and which: prefixes of
	// import paths; nil: none.
	third []string
}

// From the bottom up. A folder that is not listed and holds Go files fails the
// test: a new package takes its place in the order on purpose.
var layers = []layer{
	{dir: "core/model"},
	{dir: "core/bound"},
	{dir: "core/lookahead"},
	{dir: "core/window", third: []string{"github.com/robfig/cron/v3"}},
	{dir: "core/fleet", own: []string{"core/window"}},
	{dir: "core/event", own: []string{"core/model"}},
	{dir: "core/drain", own: []string{"core/model", "core/event"}},
	{dir: "core/gate", own: []string{"core/model", "core/event"}},
	{dir: "core/fit", own: []string{"core/model"}},
	{dir: "core/estimate", own: []string{"core/model", "core/bound"}},
	{dir: "core/plan", own: []string{"core/model", "core/event", "core/drain", "core/fit", "core/estimate"}},
	{dir: "core/engine", own: []string{"core/model", "core/event", "core/plan", "core/drain", "core/gate", "core/fit", "core/lookahead"}},
	{dir: "core/journal", own: []string{"core/model", "core/event"}},
	{dir: "core/report", own: []string{"core/model", "core/event"}},
	{dir: "core/config", own: []string{"core/model", "core/window", "core/fleet", "core/drain", "core/plan"},
		third: []string{"github.com/spf13/", "go.yaml.in/yaml/"}},
	{dir: "core/runtime", own: []string{"core/model", "core/event", "core/plan", "core/engine"}},
	{dir: "core/sim", own: []string{"core/model", "core/bound", "core/event", "core/plan", "core/drain", "core/gate", "core/engine", "core/runtime"}},
	{dir: "core/sim/contract", own: []string{"core/model", "core/engine", "core/runtime", "core/journal", "core/sim"},
		third: []string{"github.com/google/go-cmp/"}},
	{dir: "core/kube", own: []string{"core/model", "core/event", "core/plan", "core/engine", "core/runtime", "core/journal"},
		third: []string{"k8s.io/", "sigs.k8s.io/", "github.com/go-logr/logr", "google.golang.org/protobuf/encoding/protowire"}},
	{dir: "core/host", own: []string{"core/model", "core/event", "core/plan", "core/engine", "core/runtime", "drivers/sdk/..."},
		third: []string{"github.com/hashicorp/", "google.golang.org/"}},
	{dir: "core", own: []string{"core/model", "core/bound", "core/window", "core/event", "core/plan", "core/drain", "core/gate", "core/engine",
		"core/journal", "core/runtime", "core/kube", "core/host"},
		third: []string{"github.com/hashicorp/go-hclog"}},
	{dir: "drivers/sdk", own: []string{"drivers/sdk/..."},
		third: []string{"github.com/hashicorp/", "google.golang.org/"}},
	{dir: "drivers/internal/loadbalancer", own: []string{"drivers/sdk"}, third: []string{"github.com/aws/"}},
	{dir: "drivers/eks", own: []string{"drivers/sdk/...", "drivers/internal/...", "drivers/eks/..."},
		third: []string{"github.com/aws/", "github.com/hashicorp/go-hclog", "google.golang.org/grpc/"}},
	{dir: "cmd/rotatord", own: []string{"core", "core/...", "cmd/rotatord/..."},
		third: []string{"github.com/spf13/", "github.com/hashicorp/go-hclog", "go.yaml.in/yaml/"}},
}

func TestImportsGoOneWay(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || otherModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		l, ok := layerOf(rel)
		if !ok {
			t.Errorf("%s is in no layer: add its folder to layers, and to .golangci.yml", rel)
			return nil
		}
		seen[l.dir] = true
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !l.allows(imp) {
				t.Errorf("%s imports %s, which layer %s may not", rel, imp, l.dir)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// A walk that found nothing would pass without having looked.
	for _, dir := range []string{"core/model", "core/engine", "core/kube", "drivers/sdk"} {
		if !seen[dir] {
			t.Errorf("no Go file seen in %s", dir)
		}
	}
}

func TestLayerRules(t *testing.T) {
	tests := map[string]struct {
		file, imp string
		want      bool
	}{
		"the standard library":              {"core/model/a.go", "time", true},
		"down":                              {"core/engine/a.go", module + "/core/model", true},
		"up":                                {"core/model/a.go", module + "/core/engine", false},
		"sideways":                          {"core/drain/a.go", module + "/core/gate", false},
		"engine may not know client-go":     {"core/engine/a.go", "k8s.io/api/core/v1", false},
		"kube may":                          {"core/kube/a.go", "k8s.io/api/core/v1", true},
		"sdk may not know the core":         {"drivers/sdk/serve/a.go", module + "/core/model", false},
		"a driver may not know the core":    {"drivers/eks/a.go", module + "/core/model", false},
		"a driver may use the sdk":          {"drivers/eks/a.go", module + "/drivers/sdk", true},
		"the core may not know a driver":    {"core/core.go", module + "/drivers/eks", false},
		"host may use the protocol":         {"core/host/a.go", module + "/drivers/sdk/proto/v1", true},
		"only the command reads files":      {"core/core.go", module + "/core/config", false},
		"a name that only begins the same":  {"core/engine/a.go", module + "/core/modelling", false},
		"the command may not know a driver": {"cmd/rotatord/a.go", module + "/drivers/eks", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, ok := layerOf(tc.file)
			if !ok {
				t.Fatalf("%s is in no layer", tc.file)
			}
			if got := l.allows(tc.imp); got != tc.want {
				t.Errorf("layer %s allows %s: %t, want %t", l.dir, tc.imp, got, tc.want)
			}
		})
	}
}

// layerOf finds the longest folder that holds the file. core itself holds
// only its own files, not those of folders below it.
func layerOf(file string) (layer, bool) {
	best, found := layer{}, false
	for _, l := range layers {
		below := strings.HasPrefix(file, l.dir+"/")
		if l.dir == "core" {
			below = filepath.ToSlash(filepath.Dir(file)) == "core"
		}
		if below && len(l.dir) > len(best.dir) {
			best, found = l, true
		}
	}
	return best, found
}

func (l layer) allows(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		return true // the standard library
	}
	if rel, ok := strings.CutPrefix(imp, module+"/"); ok {
		return slices.ContainsFunc(l.own, func(p string) bool {
			if base, deep := strings.CutSuffix(p, "/..."); deep {
				return rel == base || strings.HasPrefix(rel, base+"/")
			}
			return rel == p
		}) || rel == l.dir
	}
	return slices.ContainsFunc(l.third, func(p string) bool { return strings.HasPrefix(imp, p) })
}

// otherModule tells whether a folder is a module of its own.
func otherModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
