package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/rotatord/rotator/core/fleet"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/window"
)

const fleetHeader = "apiVersion: rotatord.github.io/v1alpha1\nkind: Fleet\n"

func TestParseFleet(t *testing.T) {
	got, err := ParseFleet("fleet.yaml", []byte(fleetHeader+`
name: production
atOnce: 3
onFailure: finish-wave
maxFailed: 2
window: {start: 0 22 * * *, duration: 4h, timeZone: Europe/Berlin, wait: true}
waves:
  - name: canary
    bake: 30m
    clusters:
      - {name: staging, config: staging.yaml}
  - name: eu
    atOnce: 2
    clusters:
      - name: eu-1
        config: rotation.yaml
        set: {cluster: eu-1, kubernetes.context: eu-1-admin, strategy.maxSurge: 25%, strategy.groupsAtOnce: 2}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Fleet{
		Window: plan.Window{Start: "0 22 * * *", Duration: 4 * time.Hour, TimeZone: "Europe/Berlin", Wait: true},
		Fleet: fleet.Fleet{Name: "production", AtOnce: 3, OnFailure: fleet.FailureFinishWave, MaxFailed: 2, Waves: []fleet.Wave{
			{Name: "canary", Bake: 30 * time.Minute, Clusters: []fleet.Cluster{{Name: "staging", Config: "staging.yaml"}}},
			{Name: "eu", AtOnce: 2, Clusters: []fleet.Cluster{{Name: "eu-1", Config: "rotation.yaml",
				Set: map[string]string{"cluster": "eu-1", "kubernetes.context": "eu-1-admin", "strategy.maxSurge": "25%", "strategy.groupsAtOnce": "2"}}}},
		}},
	}
	isSet := cmp.Comparer(func(a, b *window.Window) bool { return (a == nil) == (b == nil) })
	want.Fleet.Window = &window.Window{}
	if diff := cmp.Diff(want, got, isSet); diff != "" {
		t.Errorf("fleet (-want +got):\n%s", diff)
	}
	one, err := ParseFleet("f", []byte(fleetHeader+"waves: [{name: all, clusters: [{name: a, config: a.yaml}]}]\n"))
	if err != nil || one.AtOnce != 1 || one.OnFailure != fleet.FailureStop || one.Fleet.Window != nil {
		t.Errorf("defaults: %+v, %v", one, err)
	}
}

func TestParseFleetRefuses(t *testing.T) {
	const waves = "waves: [{name: all, clusters: [{name: a, config: a.yaml}]}]\n"
	for name, tt := range map[string]struct{ file, want string }{
		"empty":               {"", "fleet.yaml: the file is empty: docs/fleet.md has an example"},
		"a rotation":          {"apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\n", "fleet.yaml:2:7: kind: this is a rotation file, of one cluster: give it with --config"},
		"a kind of nobody's":  {"apiVersion: rotatord.github.io/v1alpha1\nkind: Flotte\n" + waves, `fleet.yaml:2:7: kind: "Flotte" is not known: write Fleet`},
		"no waves":            {fleetHeader + "name: x\n", "waves: is missing: a fleet has clusters in waves"},
		"an empty wave":       {fleetHeader + "waves: [{name: a}]\n", "fleet.yaml:3:9: waves[0].clusters: is empty"},
		"a wave without name": {fleetHeader + "waves: [{clusters: [{name: a, config: a.yaml}]}]\n", "waves[0].name: is missing"},
		"an unknown key":      {fleetHeader + "atonce: 2\n" + waves, "fleet.yaml:3:1: atonce: unknown key; did you mean atOnce?"},
		"a key twice":         {fleetHeader + "name: a\nname: b\n" + waves, "fleet.yaml:4:1: name: is given twice: the first is in line 3"},
		"at once 0":           {fleetHeader + "atOnce: 0\n" + waves, "fleet.yaml:3:9: atOnce: 0 is out of range: 1 to 1000 is allowed"},
		"a word for a number": {fleetHeader + "atOnce: many\n" + waves, `fleet.yaml:3:9: atOnce: "many" is not a whole number`},
		"a rule":              {fleetHeader + "onFailure: pray\n" + waves, `fleet.yaml:3:12: onFailure: "pray" is unknown: stop, finish-wave or continue is allowed`},
		"a bake of no unit":   {fleetHeader + "waves: [{name: a, bake: 30, clusters: [{name: a, config: a.yaml}]}]\n", "waves[0].bake: 30 has no unit"},
		"a negative bake":     {fleetHeader + "waves: [{name: a, bake: -1m, clusters: [{name: a, config: a.yaml}]}]\n", "waves[0].bake: -1m0s is out of range"},
		"a name for a path":   {fleetHeader + "waves: [{name: a, clusters: [{name: ../a, config: a.yaml}]}]\n", `waves[0].clusters[0].name: "../a" is no name`},
		"no rotation file":    {fleetHeader + "waves: [{name: a, clusters: [{name: a}]}]\n", "waves[0].clusters[0].config: is missing"},
		"a cluster twice":     {fleetHeader + "waves: [{name: x, clusters: [{name: a, config: a.yaml}]}, {name: y, clusters: [{name: a, config: a.yaml}]}]\n", "cluster a is in wave x and in wave y"},
		"a wave twice":        {fleetHeader + "waves: [{name: x, clusters: [{name: a, config: a.yaml}]}, {name: x, clusters: [{name: b, config: a.yaml}]}]\n", "two waves are called x"},
		"an unknown override": {fleetHeader + "waves: [{name: a, clusters: [{name: a, config: a.yaml, set: {strategy.maxSurg: 1}}]}]\n", "unknown key; did you mean strategy.maxSurge?"},
		"a list to override":  {fleetHeader + "waves: [{name: a, clusters: [{name: a, config: a.yaml, set: {select.groups: x}}]}]\n", "is a list: write it into the rotation file"},
		"a window that never": {fleetHeader + "window: {start: 0 0 30 2 *}\n" + waves, "never comes: there is no such day"},
		"waves as a mapping":  {fleetHeader + "waves: {a: 1}\n", "waves: a mapping, where a list is needed"},
		"a cluster as a word": {fleetHeader + "waves: [{name: a, clusters: [prod]}]\n", `waves[0].clusters[0]: "prod", where a mapping with config, name or set is needed`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseFleet("fleet.yaml", []byte(tt.file))
			var ce *Error
			if !errors.As(err, &ce) {
				t.Fatalf("%v is not an *Error", err)
			}
			var all []string
			for _, p := range ce.Problems {
				all = append(all, p.String())
			}
			if text := strings.Join(all, "\n"); !strings.Contains(text, tt.want) {
				t.Errorf("problems do not say %q:\n%s", tt.want, text)
			}
		})
	}
}

// A fleet file where a rotation file is expected gets one line, not one for each key.
func TestParseOfAFleetFile(t *testing.T) {
	_, err := Parse("f.yaml", []byte(fleetHeader+"name: x\nwaves: []\n"))
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != 1 || ce.Problems[0].String() != "f.yaml:2:7: kind: this is a fleet file: give it with --fleet" {
		t.Errorf("%v", err)
	}
}

func TestLoadFleetReadsTheRotationFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.yaml", header+"driver: {name: eks}\nselect: {groups: [a]}\n")
	bad := write("bad.yaml", header+"cluster: x\ndriver: {name: eks}\nstrategy: {maxSurge: 200%}\n")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse([]string{"--group=b", "--group=c", "--driver-config", "region=eu", "--max-unavailable=1", "--report-dir=x", "--wait-for-window"}); err != nil {
		t.Fatal(err)
	}

	file := write("fleet.yaml", fleetHeader+"waves: [{name: all, clusters: [{name: a, config: "+good+", set: {cluster: one}}]}]\n")
	f, err := LoadFleet(file, flags)
	if err != nil {
		t.Fatal(err)
	}
	c := f.Waves[0].Clusters[0]
	want := []string{"--cluster=one", "--driver-config=region=eu", "--group=b", "--group=c", "--max-unavailable=1"}
	if diff := cmp.Diff(want, ClusterFlags(c, flags)); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	spec, err := LoadCluster(c, flags)
	if err != nil || spec.Cluster != "one" || spec.Strategy.MaxUnavailable != "1" || len(spec.Select.Groups) != 2 {
		t.Errorf("the cluster's spec: %+v, %v", spec, err)
	}

	// What is refused for one cluster is not lost on the way to many.
	empty := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(empty)
	if err := empty.Parse([]string{"--group="}); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFleet(file, empty); err == nil || !strings.Contains(err.Error(), "--group: select.groups: is empty") {
		t.Errorf("--group=: error is %v", err)
	}

	file = write("fleet.yaml", fleetHeader+"waves: [{name: all, clusters: [{name: a, config: "+good+"}, {name: b, config: "+bad+"}, {name: c, config: "+dir+"/none.yaml}]}]\n")
	_, err = LoadFleet(file, nil)
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != 3 {
		t.Fatalf("mistakes in three rotation files: %v", err)
	}
	for i, want := range []string{"cluster: is missing", `bad.yaml:5:22: strategy.maxSurge: "200%"`, "none.yaml: the rotation file cannot be read"} {
		if got := ce.Problems[i].String(); !strings.Contains(got, want) || !strings.Contains(got, "(cluster "+string("abc"[i])+" of ") {
			t.Errorf("problem %d is %q, want %q", i, got, want)
		}
	}
}
