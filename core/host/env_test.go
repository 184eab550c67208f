package host

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	environ := []string{
		"PATH=/bin", "HOME=/root", "GITHUB_TOKEN=x", "AWS_REGION=eu-central-1", "KOPS_STATE_STORE=s3://x", "S3_ENDPOINT=y",
		"GOOGLE_APPLICATION_CREDENTIALS=/g", "MY_CLOUD_KEY=z", "https_proxy=http://p", "LC_ALL=C", "EMPTY=", "AWSOME=1",
	}
	for _, tt := range []struct {
		name, driver string
		extra        []string
		want         []string
	}{
		{"eks", "eks", nil, []string{"PATH=/bin", "HOME=/root", "AWS_REGION=eu-central-1", "https_proxy=http://p", "LC_ALL=C"}},
		{"kops", "kops", nil, []string{"PATH=/bin", "HOME=/root", "AWS_REGION=eu-central-1", "KOPS_STATE_STORE=s3://x", "S3_ENDPOINT=y", "GOOGLE_APPLICATION_CREDENTIALS=/g", "https_proxy=http://p", "LC_ALL=C"}},
		{"a third party's gets its own", "my-cloud", nil, []string{"PATH=/bin", "HOME=/root", "MY_CLOUD_KEY=z", "https_proxy=http://p", "LC_ALL=C"}},
		{"set and let through", "eks", []string{"EMPTY", "S3_*", "AWS_REGION=us-east-1", "NOT_THERE"},
			[]string{"PATH=/bin", "HOME=/root", "AWS_REGION=eu-central-1", "S3_ENDPOINT=y", "https_proxy=http://p", "LC_ALL=C", "EMPTY=", "AWS_REGION=us-east-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, environment(tt.driver, tt.extra, environ)); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMask(t *testing.T) {
	m := newMasker(secrets([]string{
		"AWS_SECRET_ACCESS_KEY=abc/def+ghi", "AWS_SESSION_TOKEN=abc/def+ghi-and-more", "AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/token",
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7", "HTTPS_PROXY=http://user:pr0xypass@proxy:3128", "MY_TOKEN=yes", "REGION=eu-central-1",
	}, map[string]any{
		"password": "line one\nline two", "auth": map[string]any{"api-key": "k-123456", "user": "jane.doe"},
		"tokens": []any{"first-token", "second-token"}, "secret": map[string]any{"name": "below-a-secret"},
	}))
	for in, want := range map[string]string{
		"key abc/def+ghi here":               "key [secret] here",
		"token abc/def+ghi-and-more":         "token [secret]",
		`{"@message":"line one\nline two"}`:  `{"@message":"[secret]"}`,
		"line one\nline two":                 "[secret]",
		"reads /var/run/token":               "reads /var/run/token",
		"as AKIAIOSFODNN7 in eu-central-1":   "as AKIAIOSFODNN7 in eu-central-1",
		"via http://user:pr0xypass@proxy":    "via http://user:[secret]@proxy",
		"yes, jane.doe":                      "yes, jane.doe",
		"k-123456 second-token":              "[secret] [secret]",
		"a value that lies below-a-secret's": "a value that lies [secret]'s",
	} {
		if got := m.mask(in); got != want {
			t.Errorf("mask(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestLineFilter(t *testing.T) {
	kept := &tail{}
	long := strings.Repeat("x", maxLine+10)
	in := "one hunter22\n\n" + long + "\n" + `{"@level":"info","@message":"told","@module":"m","zone":"a","n":2}` + "\n" +
		`{"@level":"debug","@message":"plugin address"}` + "\nlast without end"
	f := newLineFilter(io.NopCloser(strings.NewReader(in)), newMasker([]string{"hunter22"}), kept)
	got, err := io.ReadAll(bufio.NewReader(f))
	if want := strings.Replace(in, "hunter22", "[secret]", 1); err != nil || string(got) != want {
		t.Errorf("read %d bytes, %v; want %d", len(got), err, len(want))
	}
	want := []string{"one [secret]", strings.Repeat("x", tailWidth) + "…", "xxxxxxxxxx", `told n=2 zone="a"`, "last without end"}
	if diff := cmp.Diff(want, kept.last()); diff != "" {
		t.Errorf("tail (-want +got):\n%s", diff)
	}
	for range 2 * tailLines {
		kept.add("more")
	}
	if n := len(kept.last()); n != tailLines {
		t.Errorf("the tail keeps %d lines, want %d", n, tailLines)
	}
}

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		n      int
		chance float64
		want   time.Duration
	}{
		{1, 0, firstBackoff / 2},
		{1, 1, firstBackoff},
		{2, 1, 2 * firstBackoff},
		{4, 0.5, 6 * firstBackoff},
		{1000, 1, maxBackoff},
	} {
		if got := backoff(tt.n, tt.chance); got != tt.want {
			t.Errorf("backoff(%d, %v) is %v, want %v", tt.n, tt.chance, got, tt.want)
		}
	}
}
