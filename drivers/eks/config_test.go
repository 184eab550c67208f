package eks

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigSchema(t *testing.T) {
	var schema struct {
		AdditionalProperties *bool
		Properties           map[string]struct{ Type, Description string }
	}
	if err := json.Unmarshal([]byte(configSchema), &schema); err != nil {
		t.Fatal(err)
	}
	if schema.AdditionalProperties == nil || *schema.AdditionalProperties {
		t.Error("the schema lets unknown keys pass")
	}
	var want, got []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		want = append(want, name)
	}
	for k, v := range schema.Properties {
		got = append(got, k)
		if v.Type == "" || v.Description == "" {
			t.Errorf("property %s: %+v", k, v)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("properties (-config +schema):\n%s", diff)
	}
}

func TestParseConfig(t *testing.T) {
	cases := []struct {
		raw  string
		want Config
		bad  string // part of the diagnostic; empty: accepted
	}{
		{raw: ""},
		{raw: "{}"},
		{raw: `{"region":"eu-central-1","profile":"p","endpoint":"http://127.0.0.1:1","tag":"team=blue"}`, want: Config{Region: "eu-central-1", Profile: "p", Endpoint: "http://127.0.0.1:1", Tag: "team=blue"}},
		{raw: `{"regoin":"x"}`, bad: `unknown field "regoin"`},
		{raw: `{"region":1}`, bad: "number"},
		{raw: `{} {}`, bad: "after the JSON object"},
		{raw: `[]`, bad: "array"},
		{raw: `{"endpoint":"127.0.0.1:4566"}`, bad: "no URL"},
		{raw: `{"endpoint":"file:///etc"}`, bad: "no URL"},
		{raw: `{"tag":"=owned"}`, bad: "no key"},
	}
	for _, c := range cases {
		t.Run(c.raw, func(t *testing.T) {
			got, diags := parseConfig([]byte(c.raw))
			if c.bad != "" {
				if len(diags) != 1 || diags[0].Code != "config-invalid" || !strings.Contains(diags[0].Summary, c.bad) {
					t.Errorf("diagnostics %+v, want one with %q", diags, c.bad)
				}
				return
			}
			if len(diags) > 0 || !cmp.Equal(got, c.want) {
				t.Errorf("%+v %+v, want %+v", got, diags, c.want)
			}
		})
	}
}

func TestGroupTag(t *testing.T) {
	cases := []struct {
		config string
		tags   map[string]string
		want   bool
	}{
		{"", map[string]string{"kubernetes.io/cluster/prod": "owned"}, true},
		{"", map[string]string{"kubernetes.io/cluster/prod": "shared"}, true},
		{"", map[string]string{"kubernetes.io/cluster/prod": ""}, false},
		{"", map[string]string{"kubernetes.io/cluster/prod-2": "owned"}, false},
		{"", map[string]string{"kubernetes.io/cluster/pro": "owned"}, false},
		{"", map[string]string{"KubernetesCluster": "prod"}, false},
		{"team=blue", map[string]string{"team": "blue"}, true},
		{"team=blue", map[string]string{"team": "blue2"}, false},
		{"team", map[string]string{"team": ""}, true},
		{"a=b=c", map[string]string{"a": "b=c"}, true},
	}
	for _, c := range cases {
		g := &group{tags: c.tags}
		if got := g.marked(Config{Tag: c.config}.tagFor("prod")); got != c.want {
			t.Errorf("tag %q on %v: %v", c.config, c.tags, got)
		}
	}
}
