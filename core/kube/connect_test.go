package kube

import (
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfig writes a file with a context for each server.
func kubeconfig(t *testing.T, current string, servers map[string]string, user string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Config\ncurrent-context: %q\nusers:\n- name: u\n  user: {%s}\nclusters:\n", current, user)
	for name, url := range servers {
		fmt.Fprintf(&b, "- name: %s\n  cluster: {server: %q}\n", name, url)
	}
	b.WriteString("contexts:\n")
	for name := range servers {
		fmt.Fprintf(&b, "- name: %s\n  context: {cluster: %s, user: u}\n", name, name)
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bare leaves nothing of the machine's own for Connect to find.
func bare(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	home := t.TempDir()
	t.Setenv("HOME", home)
	// client-go reads HOME once, when the program starts.
	before := clientcmd.RecommendedHomeFile
	clientcmd.RecommendedHomeFile = filepath.Join(home, ".kube", "config")
	t.Cleanup(func() { clientcmd.RecommendedHomeFile = before })
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
}

func TestConnect(t *testing.T) {
	bare(t)
	a, b := newFakeAPI(t), newFakeAPI(t)
	path := kubeconfig(t, "a", map[string]string{"a": a.url, "b": b.url}, "token: t")
	other := kubeconfig(t, "", map[string]string{"c": a.url}, "")

	c, err := Connect(t.Context(), Options{Kubeconfig: path, UserAgent: "rotator/1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server() != a.url {
		t.Errorf("server %s, want %s", c.Server(), a.url)
	}
	req := a.last("GET")
	if !strings.HasPrefix(req.agent, "rotator/1.2.3 (") || !strings.HasPrefix(req.accept, "application/vnd.kubernetes.protobuf,") {
		t.Errorf("%+v", req)
	}

	if c, err = Connect(t.Context(), Options{Kubeconfig: path, Context: "b"}); err != nil || c.Server() != b.url {
		t.Errorf("other context: %v", err)
	}
	// The first file that names a current context decides; a missing one is skipped.
	t.Setenv("KUBECONFIG", strings.Join([]string{filepath.Join(t.TempDir(), "none"), other, path}, string(filepath.ListSeparator)))
	if c, err = Connect(t.Context(), Options{}); err != nil || c.Server() != a.url {
		t.Errorf("KUBECONFIG: %v", err)
	}
	if c, err = Connect(t.Context(), Options{Context: "b"}); err != nil || c.Server() != b.url {
		t.Errorf("KUBECONFIG with a context: %v", err)
	}
}

func TestConnectFindsTheHomeConfig(t *testing.T) {
	bare(t)
	api := newFakeAPI(t)
	raw, err := os.ReadFile(kubeconfig(t, "a", map[string]string{"a": api.url}, ""))
	if err != nil {
		t.Fatal(err)
	}
	path := clientcmd.RecommendedHomeFile
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Connect(t.Context(), Options{}); err != nil || c.Server() != api.url {
		t.Error(err)
	}
}

func TestConnectErrors(t *testing.T) {
	bare(t)
	api := newFakeAPI(t)
	closed := newFakeAPI(t)
	refusing := newFakeAPI(t)
	refusing.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		refuse(w, metav1.Status{Code: 401, Reason: metav1.StatusReasonUnauthorized, Message: "Unauthorized"})
		return true
	}
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs the handshake that fails
	untrusted.StartTLS()
	defer untrusted.Close()
	closed.url = "http://127.0.0.1:1" // tcpmux: nothing listens there
	secure := strings.Replace(api.url, "http:", "https:", 1)
	both := kubeconfig(t, "prod", map[string]string{"prod": api.url, "stage": api.url}, "")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{no: [yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "none")
	helper := "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: rotator-no-such-helper}"
	for name, c := range map[string]struct {
		options Options
		code    Code
		want    []string
	}{
		"no kubeconfig anywhere":       {Options{}, CodeKubeconfigMissing, []string{".kube/config", "--kubeconfig"}},
		"no context without a config":  {Options{Context: "prod"}, CodeContextUnknown, []string{`"prod"`, "none"}},
		"no such file":                 {Options{Kubeconfig: missing}, CodeKubeconfigMissing, []string{missing}},
		"not YAML":                     {Options{Kubeconfig: broken}, CodeKubeconfigInvalid, []string{broken}},
		"unknown context":              {Options{Kubeconfig: both, Context: "prd"}, CodeContextUnknown, []string{`"prd"`, "prod, stage", both}},
		"unknown current context":      {Options{Kubeconfig: kubeconfig(t, "old", map[string]string{"new": api.url}, "")}, CodeContextUnknown, []string{`"old"`, "new"}},
		"an explicit file without any": {Options{Kubeconfig: kubeconfig(t, "", nil, "")}, CodeKubeconfigInvalid, nil},
		"a certificate that is none":   {Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": secure}, "client-certificate-data: eA==, client-key-data: eA==")}, CodeKubeconfigInvalid, nil},
		"nothing listens":              {Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": closed.url}, "")}, CodeUnreachable, []string{closed.url, "refused"}},
		"credentials refused":          {Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": refusing.url}, "token: old")}, CodeUnauthorized, []string{refusing.url}},
		"a certificate of nobody":      {Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": untrusted.URL}, "")}, CodeUnreachable, []string{"is not trusted", untrusted.URL}},
		"credential helper missing":    {Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": secure}, helper)}, CodeUnauthorized, []string{"rotator-no-such-helper"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Connect(t.Context(), c.options)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Code != c.code || e.Fix == "" {
				t.Errorf("got %s: %v, want %s", e.Code, err, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestForbiddenVersionIsNoFailure(t *testing.T) {
	bare(t)
	api := newFakeAPI(t)
	api.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		refuse(w, metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "no"})
		return true
	}
	if _, err := Connect(t.Context(), Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": api.url}, "")}); err != nil {
		t.Error(err)
	}
}

func TestClockSkewIsTold(t *testing.T) {
	bare(t)
	for name, tc := range map[string]struct {
		off  time.Duration
		want string
	}{
		"right":        {0, ""},
		"a bit behind": {-5 * time.Second, ""},
		"behind":       {-time.Minute, "behind this machine's"},
		"ahead":        {time.Hour, "ahead of this machine's"},
	} {
		t.Run(name, func(t *testing.T) {
			api := newFakeAPI(t)
			api.answer = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				w.Header().Set("Date", time.Now().Add(tc.off).UTC().Format(http.TimeFormat))
				io.WriteString(w, `{"gitVersion":"v1.37.2"}`)
				return true
			}
			var log strings.Builder
			_, err := Connect(t.Context(), Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": api.url}, ""),
				Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if got := log.String(); (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
				t.Errorf("the log has %q, want %q", got, tc.want)
			}
		})
	}
}

// In a pod without a kubeconfig its service account is taken. client-go knows one
// path for that: where these tests run in a pod that has one, it is used and the
// API server does not answer.
func TestConnectInAPod(t *testing.T) {
	bare(t)
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	code, message := CodeKubeconfigMissing, "this pod's service account cannot be used"
	if _, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/token"); err == nil {
		code, message = CodeUnreachable, "the API server https://127.0.0.1:1 does not answer"
	}
	var e *Error
	if _, err := Connect(t.Context(), Options{}); !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("error %v, want %s", err, code)
	}
}
