package ekstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

func TestConfigure(t *testing.T) {
	cases := []struct {
		name   string
		env    map[string]string
		config string // ENDPOINT stands for the simulated AWS
		code   string // of the only diagnostic; empty: accepted
		in     string // of its text
	}{
		{name: "region and endpoint", config: `{"region":"eu-central-1","endpoint":"ENDPOINT"}`},
		{name: "all from the environment", env: map[string]string{"AWS_REGION": region, "AWS_ENDPOINT_URL": "ENDPOINT"}, config: `{}`},
		{name: "no configuration at all", env: map[string]string{"AWS_REGION": region, "AWS_ENDPOINT_URL": "ENDPOINT"}},
		{name: "no region", config: `{"endpoint":"ENDPOINT"}`, code: "aws-region-missing", in: "AWS_REGION"},
		{name: "no credentials", env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, config: `{"region":"eu-central-1","endpoint":"ENDPOINT"}`, code: "aws-credentials-missing", in: "AWS_ACCESS_KEY_ID"},
		{name: "unknown credentials", env: map[string]string{"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, config: `{"region":"eu-central-1","endpoint":"ENDPOINT"}`, code: "aws-credentials-refused", in: "sts:GetCallerIdentity"},
		{name: "a profile that does not exist", config: `{"region":"eu-central-1","endpoint":"ENDPOINT","profile":"nope"}`, code: "aws-profile-missing", in: "nope"},
		{name: "nobody answers", config: `{"region":"eu-central-1","endpoint":"http://127.0.0.1:1"}`, code: "aws-unreachable", in: "sts:GetCallerIdentity"},
		{name: "an unknown key", config: `{"regoin":"eu-central-1"}`, code: "config-invalid", in: `unknown field "regoin"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			for k, v := range c.env {
				t.Setenv(k, strings.ReplaceAll(v, "ENDPOINT", w.url))
			}
			d := eks.New()
			diags, err := d.Configure(t.Context(), []byte(strings.ReplaceAll(c.config, "ENDPOINT", w.url)), false)
			if err != nil {
				t.Fatal(err)
			}
			if c.code == "" {
				if len(diags) > 0 {
					t.Fatalf("diagnostics %+v", diags)
				}
				if diff := cmp.Diff(map[string]int{"sts:GetCallerIdentity": 1}, w.calls()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				return
			}
			if len(diags) != 1 || diags[0].Code != c.code || diags[0].Severity != sdk.SeverityError || !strings.Contains(diags[0].Summary+" "+diags[0].Detail, c.in) {
				t.Fatalf("diagnostics %+v, want one %s naming %s", diags, c.code, c.in)
			}
			if strings.Contains(diags[0].Summary+diags[0].Detail, aws.SecretAccessKey+"\"") {
				t.Error("the diagnostic shows a secret")
			}
			if _, err := d.Observe(t.Context(), sdk.Scope{Cluster: cluster}, 0); status.Code(err) != codes.FailedPrecondition {
				t.Errorf("a look without a configuration: %v", err)
			}
		})
	}
}

// TestDenied: credentials that are known and may do nothing are found out by
// the first look, which names the action.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	w.seed(1)
	t.Setenv("AWS_ACCESS_KEY_ID", aws.DeniedAccessKeyID)
	_, err := w.driver().Observe(t.Context(), sdk.Scope{Cluster: cluster}, 0)
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "autoscaling:DescribeAutoScalingGroups") {
		t.Errorf("error %v", err)
	}
}

// TestValidateOnly checks the schema, keeps nothing and calls nobody.
func TestValidateOnly(t *testing.T) {
	w := newWorld(t)
	d := eks.New()
	diags, err := d.Configure(t.Context(), w.config(nil), true)
	if err != nil || len(diags) > 0 || total(w.calls()) > 0 {
		t.Errorf("%v %+v, or it called somebody", err, diags)
	}
	if _, err := d.Observe(t.Context(), sdk.Scope{Cluster: cluster}, 0); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("it was kept: %v", err)
	}
	if diags, _ := d.Configure(t.Context(), []byte(`{"region":1}`), true); len(diags) != 1 || diags[0].Code != "config-invalid" {
		t.Errorf("diagnostics %+v", diags)
	}
}

// TestProfile: the profile's region and credentials are used.
func TestProfile(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.check(os.WriteFile(filepath.Join(dir, "config"), []byte("[profile blue]\nregion = "+region+"\naws_access_key_id = "+aws.AccessKeyID+"\naws_secret_access_key = "+aws.SecretAccessKey+"\n"), 0o600))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	d := eks.New()
	diags, err := d.Configure(t.Context(), []byte(`{"profile":"blue","endpoint":"`+w.url+`"}`), false)
	if err != nil || len(diags) > 0 {
		t.Errorf("%v %+v", err, diags)
	}
}
