package eks

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
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
		{
			raw: `{"managedNodeGroups":{"way":"self","groups":{"gpu":{"way":"delegated","strategy":"MINIMAL","force":true}}},"releases":{"a":"ssm:/p"}}`,
			want: Config{
				ManagedNodeGroups: ManagedNodeGroups{
					NodeGroupWay: NodeGroupWay{Way: WaySelf},
					Groups:       map[string]NodeGroupWay{"gpu": {Way: WayDelegated, Strategy: "MINIMAL", Force: aws.Bool(true)}},
				},
				Releases: map[string]string{"a": "ssm:/p"},
			},
		},
		{raw: `{"managedNodeGroups":{"way":"blue"}}`, bad: `managedNodeGroups.way "blue"`},
		{raw: `{"managedNodeGroups":{"groups":{"a":{"way":"blue"}}}}`, bad: `managedNodeGroups.groups.a.way "blue"`},
		{raw: `{"managedNodeGroups":{"strategy":"minimal"}}`, bad: `managedNodeGroups.strategy "minimal"`},
		{raw: `{"managedNodeGroups":{"wy":"self"}}`, bad: `unknown field "wy"`},
		{raw: `{"releases":{"a":"/p"}}`, bad: `releases.a: "/p"`},
		{raw: `{"releases":{"a":"ssm:"}}`, bad: `releases.a: "ssm:"`},
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

func TestWays(t *testing.T) {
	m := ManagedNodeGroups{NodeGroupWay: NodeGroupWay{Way: WaySkip, Strategy: "MINIMAL", Force: aws.Bool(true)}, Groups: map[string]NodeGroupWay{
		"gpu": {Way: WaySelf, Force: aws.Bool(false)}, "web": {Strategy: "DEFAULT"},
	}}
	long := strings.Repeat("n", 62)
	m.Groups[long+"a"], m.Groups[long+"b"] = NodeGroupWay{Way: WayBlueGreen}, NodeGroupWay{Way: WaySelf}
	blueGreen := NodeGroupWay{Way: WayBlueGreen, Strategy: "MINIMAL", Force: aws.Bool(true)}
	for name, want := range map[string]NodeGroupWay{
		"web-g2":                 {Way: WaySkip, Strategy: "DEFAULT", Force: aws.Bool(true)},
		long + "a":               blueGreen,
		greenName(long+"a", nil): blueGreen,
		greenName(greenName(long+"a", nil), []string{greenName(long+"a", nil)}): blueGreen,
		greenName(long+"b", nil): {Way: WaySelf, Strategy: "MINIMAL", Force: aws.Bool(true)},
		greenName(long+"c", nil): {Way: WaySkip, Strategy: "MINIMAL", Force: aws.Bool(true)},
		"gpu":                    {Way: WaySelf, Strategy: "MINIMAL", Force: aws.Bool(false)},
		"web":                    {Way: WaySkip, Strategy: "DEFAULT", Force: aws.Bool(true)},
		"other":                  {Way: WaySkip, Strategy: "MINIMAL", Force: aws.Bool(true)},
	} {
		if diff := cmp.Diff(want, m.of(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for n := range 64 {
		if name := greenName(strings.Repeat("n", n), nil); len(name) > 63 {
			t.Errorf("%s has %d characters, and EKS takes 63", name, len(name))
		}
	}
	if w := (ManagedNodeGroups{}).of("a"); w.Way != WayDelegated || w.forced() {
		t.Errorf("by default: %+v", w)
	}
	if m.none() || !(ManagedNodeGroups{NodeGroupWay: NodeGroupWay{Way: WaySkip}}).none() || (ManagedNodeGroups{}).none() {
		t.Error("whether any node group is rotated")
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
