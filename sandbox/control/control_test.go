package control

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorder is a Backend that writes down what it was asked and answers err.
type recorder struct {
	got []any
	err error
}

func (r *recorder) note(what ...any) error {
	r.got = append(r.got, what...)
	return r.err
}

func (r *recorder) AddFault(f Fault) (Fault, error) {
	err := r.note("add", f)
	f.ID = "fault-1"
	return f, err
}
func (r *recorder) Faults() []Fault                                    { return []Fault{{ID: "fault-1", Kind: Throttle, Struck: 3}} }
func (r *recorder) ClearFaults(id string) error                        { return r.note("clear", id) }
func (r *recorder) Stats(reset bool) Stats                             { _ = r.note("stats", reset); return Stats{Total: 7} }
func (r *recorder) SeedInstanceRefresh(q InstanceRefreshRequest) error { return r.note("refresh", q) }
func (r *recorder) SeedWarmPool(q WarmPoolRequest) error               { return r.note("pool", q) }
func (r *recorder) PublishImage(_ context.Context, q PublishImageRequest) (PublishedImage, error) {
	return PublishedImage{ImageID: "ami-1"}, r.note("publish", q)
}

func (r *recorder) PublishRelease(q PublishReleaseRequest) ([]PublishedRelease, error) {
	return []PublishedRelease{{Version: "1.37.2-20261120"}}, r.note("release", q)
}

func serving(t *testing.T, b Backend) *Client {
	t.Helper()
	srv := httptest.NewServer(http.StripPrefix("/_sandbox", NewHandler(b)))
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL + "/_sandbox/")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientReachesBackend(t *testing.T) {
	slow := Fault{Kind: SlowBoot, Group: "g", Count: 2, Share: 0.5, Delay: Duration(90 * time.Second)}
	withID := slow
	withID.ID = "fault-1"
	for _, tc := range []struct {
		name string
		call func(context.Context, *Client) (any, error)
		want any   // the answer
		got  []any // what reached the backend
	}{
		{"add a fault", func(ctx context.Context, c *Client) (any, error) { return c.AddFault(ctx, slow) }, withID, []any{"add", slow}},
		{"list faults", func(ctx context.Context, c *Client) (any, error) { return c.Faults(ctx) }, []Fault{{ID: "fault-1", Kind: Throttle, Struck: 3}}, nil},
		{"clear one", func(ctx context.Context, c *Client) (any, error) { return nil, c.ClearFaults(ctx, "fault-1") }, nil, []any{"clear", "fault-1"}},
		{"clear all", func(ctx context.Context, c *Client) (any, error) { return nil, c.ClearFaults(ctx, "") }, nil, []any{"clear", ""}},
		{"stats", func(ctx context.Context, c *Client) (any, error) { return c.Stats(ctx, false) }, Stats{Total: 7}, []any{"stats", false}},
		{"stats with reset", func(ctx context.Context, c *Client) (any, error) { return c.Stats(ctx, true) }, Stats{Total: 7}, []any{"stats", true}},
		{"publish", func(ctx context.Context, c *Client) (any, error) {
			return c.PublishImage(ctx, PublishImageRequest{Group: "g"})
		}, PublishedImage{ImageID: "ami-1"}, []any{"publish", PublishImageRequest{Group: "g"}}},
		{"release", func(ctx context.Context, c *Client) (any, error) {
			return c.PublishRelease(ctx, PublishReleaseRequest{AMIType: "a"})
		}, []PublishedRelease{{Version: "1.37.2-20261120"}}, []any{"release", PublishReleaseRequest{AMIType: "a"}}},
		{"refresh", func(ctx context.Context, c *Client) (any, error) {
			return nil, c.SeedInstanceRefresh(ctx, InstanceRefreshRequest{Group: "g"})
		}, nil, []any{"refresh", InstanceRefreshRequest{Group: "g"}}},
		{"warm pool", func(ctx context.Context, c *Client) (any, error) {
			return nil, c.SeedWarmPool(ctx, WarmPoolRequest{Group: "g", MinSize: 2})
		}, nil, []any{"pool", WarmPoolRequest{Group: "g", MinSize: 2}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &recorder{}
			out, err := tc.call(t.Context(), serving(t, b))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, out); d != "" {
				t.Errorf("answer: %s", d)
			}
			if d := cmp.Diff(tc.got, b.got); d != "" {
				t.Errorf("backend: %s", d)
			}
		})
	}
}

func TestBackendErrorsReachTheCaller(t *testing.T) {
	c := serving(t, &recorder{err: errors.New(`there is no Auto Scaling group "x"`)})
	for name, err := range map[string]error{
		"clear":   c.ClearFaults(t.Context(), "f"),
		"refresh": c.SeedInstanceRefresh(t.Context(), InstanceRefreshRequest{}),
		"pool":    c.SeedWarmPool(t.Context(), WarmPoolRequest{}),
	} {
		if err == nil || err.Error() != `there is no Auto Scaling group "x"` {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHandlerRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"an unknown key", "POST", "/faults", `{"kind":"throttle","shar":0.5}`, 400, `unknown field \"shar\"`},
		{"no JSON", "POST", "/images", `{`, 400, "read the body of POST /images"},
		{"a bad duration", "POST", "/faults", `{"kind":"slow-boot","delay":"long"}`, 400, "invalid duration"},
		{"too much", "POST", "/images", `{"group":"` + strings.Repeat("x", maxBody) + `"}`, 400, "too large"},
		{"an unknown path", "GET", "/nodes", "", 404, "no GET /nodes"},
		{"the wrong method", "PUT", "/faults", "", 404, "no PUT /faults"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &recorder{}
			w := httptest.NewRecorder()
			NewHandler(b).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body)))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) || len(b.got) != 0 {
				t.Errorf("%d %s (backend %v), want %d with %q", w.Code, w.Body, b.got, tc.status, tc.want)
			}
		})
	}
}

func TestClientWithoutASandbox(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8080", "ftp://x/", "://"} {
		if _, err := NewClient(bad); err == nil || !strings.Contains(err.Error(), "SANDBOX_URL") {
			t.Errorf("address %q: %v", bad, err)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	c, err := NewClient(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Faults(t.Context()); err == nil || !strings.Contains(err.Error(), "is this the sandbox's address?") {
		t.Errorf("another server: %v", err)
	}
	srv.Close()
	if _, err := c.Faults(t.Context()); err == nil || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("no server: %v", err)
	}
}
