package kops

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	for _, tc := range []struct {
		name, raw string
		want      Config
		code      string // of the refusal; empty: accepted
	}{
		{name: "nothing", raw: ""},
		{name: "an empty object", raw: "{}"},
		{name: "all keys", raw: `{"state":"s3://bucket","detachBehindLoadBalancers":true}`, want: Config{State: "s3://bucket", DetachBehindLoadBalancers: true}},
		{name: "an unknown key", raw: `{"stat":"s3://bucket"}`, code: "config-invalid"},
		{name: "text after the object", raw: `{} {}`, code: "config-invalid"},
		{name: "no scheme", raw: `{"state":"bucket"}`, code: "state-store-invalid"},
		{name: "another scheme", raw: `{"state":"https://bucket"}`, code: "state-store-invalid"},
		{name: "a scheme alone", raw: `{"state":"s3://"}`, code: "state-store-invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, diags := parseConfig([]byte(tc.raw))
			code := ""
			if len(diags) > 0 {
				code = diags[0].Code
			}
			if code != tc.code || code == "" && got != tc.want {
				t.Errorf("%+v, refused with %q; want %+v, %q", got, code, tc.want, tc.code)
			}
		})
	}
}

// The state store is found as kops finds it, the rotation file first.
func TestStateStore(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(c Config, want, code string) {
		t.Helper()
		got, diag := c.stateStore()
		gotCode := ""
		if diag != nil {
			got, gotCode = "", diag.Code
		}
		if got != want || gotCode != code {
			t.Errorf("%q, refused with %q; want %q, %q", got, gotCode, want, code)
		}
	}
	t.Setenv("KOPS_STATE_STORE", "")
	check(Config{}, "", "state-store-unknown")
	write(".kops/config", "kops_state_store: gs://of-the-folder\n")
	check(Config{}, "gs://of-the-folder", "")
	write(".kops.yaml", "Kops_State_Store: s3://of-the-file/\n")
	check(Config{}, "s3://of-the-file", "")
	t.Setenv("KOPS_STATE_STORE", "s3://of-the-variable/")
	check(Config{}, "s3://of-the-variable", "")
	check(Config{State: "s3://of-the-rotation"}, "s3://of-the-rotation", "")
	t.Setenv("KOPS_STATE_STORE", "")
	write(".kops.yaml", "\t: no YAML")
	check(Config{}, "", "kops-config-unreadable")
}

func TestSchemaHasTheKeysOfConfig(t *testing.T) {
	var schema struct {
		Properties map[string]any `json:"properties"`
	}
	if err := json.Unmarshal([]byte(configSchema), &schema); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for f := range reflect.TypeFor[Config]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		keys = append(keys, key)
		if schema.Properties[key] == nil {
			t.Errorf("the schema lacks %s", key)
		}
	}
	for key := range schema.Properties {
		if !slices.Contains(keys, key) {
			t.Errorf("the schema has %s, which is no key", key)
		}
	}
}
