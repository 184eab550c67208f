package config

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", name, d)
	}
}

func TestExampleIsValidAndHoldsTheDefaults(t *testing.T) {
	got, err := Parse("example", Example())
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Cluster, want.Driver.Name = "my-cluster", "eks"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the example's spec (-defaults +example):\n%s", d)
	}
	golden(t, "example.yaml", Example())
}

// What is commented out in the example is valid too once it is not.
func TestExampleUncommented(t *testing.T) {
	var out []string
	for line := range strings.Lines(string(Example())) {
		if i := strings.Index(line, "# "); i >= 0 && strings.TrimSpace(line[:i]) == "" {
			rest := line[i+2:]
			word, _, ok := strings.Cut(rest, ":")
			key := ok && !strings.Contains(strings.TrimSpace(word), " ")
			if key {
				out = append(out, line[:i]+rest)
			}
			continue
		}
		out = append(out, line)
	}
	s, err := Parse("example", []byte(strings.Join(out, "")))
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(out, ""))
	}
	if s.Driver.Config["region"] != "eu-west-1" || len(s.Select.Groups) != 1 || s.Report.Dir == "" {
		t.Errorf("the commented keys were not read: %+v", s)
	}
}

func TestSchema(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	// Every key of the example, and no other, stands in the schema.
	var doc map[string]any
	if err := yaml.Unmarshal(Example(), &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any, s map[string]any)
	walk = func(path string, v any, s map[string]any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		props, _ := s["properties"].(map[string]any)
		for k, e := range m {
			p, ok := props[k].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not in the schema", path, k)
				continue
			}
			walk(path+"."+k, e, p)
		}
	}
	walk("", doc, schema)
	golden(t, "schema.json", Schema())
}
