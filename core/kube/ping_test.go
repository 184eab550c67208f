package kube

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// What stands where an API server should: each is told for what it is at once, and
// none is read without end.
func TestConnectToWhatIsNoAPIServer(t *testing.T) {
	bare(t)
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	endless := func(status int) (answer http.HandlerFunc, sent *atomic.Int64) {
		sent = &atomic.Int64{}
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			for chunk := strings.Repeat("{", 64<<10); ; sent.Add(64 << 10) {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
				if sent.Load() > 64<<20 {
					t.Error("it was read to the end")
					return
				}
			}
		}, sent
	}
	endlessOK, _ := endless(200)
	endlessError, _ := endless(500)
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   []string
	}{
		"a page to sign in": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html><body>Sign in</body></html>") },
			[]string{"what answers at http://", "is no Kubernetes API server", `"<html><body>Sign in`, "a page to sign in"}},
		"another service": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"version":"1"}`) }, []string{"is no Kubernetes API server"}},
		"nothing":         {func(http.ResponseWriter, *http.Request) {}, []string{"is no Kubernetes API server", `""`}},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/login", http.StatusFound)
		}, []string{"is no Kubernetes API server", "redirects to " + other.URL + "/login"}},
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no upstream", http.StatusServiceUnavailable)
		}, []string{"answers with an error", "health"}},
		"an answer":          {endlessOK, []string{"is no Kubernetes API server"}},
		"an error, endless":  {endlessError, []string{"answers with an error"}},
		"a connection's end": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []string{"does not answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.answer)
			defer server.Close()
			_, err := Connect(t.Context(), Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": server.URL}, "token: of-ours")})
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeUnreachable || e.Fix == "" {
				t.Fatalf("got %v, want an *Error with code %s", err, CodeUnreachable)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "of-ours") {
				t.Errorf("the message holds too much: %.3000s", err)
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d calls went where a redirect sent them", n)
	}
}
