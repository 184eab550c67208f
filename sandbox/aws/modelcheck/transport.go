package modelcheck

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// Transport wraps a client's transport: each answer is checked against its model before the client sees it, and what is
// wrong fails the test.
func (k *Checker) Transport(t testing.TB, next http.RoundTripper) *Transport {
	return &Transport{checker: k, next: next, report: func(problem string) { t.Error(problem) }}
}

// Transport is an http.RoundTripper that checks.
type Transport struct {
	checker *Checker
	next    http.RoundTripper
	report  func(string)
	// Answers and Values count what was checked.
	Answers, Values atomic.Int64
}

var _ http.RoundTripper = (*Transport)(nil)

var scope = regexp.MustCompile(`Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request`)

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent []byte
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		sent = b
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	service, operation := t.checker.Named(r, sent)
	problems, values := t.checker.Body(service, operation, resp.StatusCode, resp.Header.Get("X-Amzn-Errortype"), body)
	t.Answers.Add(1)
	t.Values.Add(int64(values))
	for _, p := range problems {
		t.report(fmt.Sprintf("%s answer (HTTP %d): %s\n%s", service, resp.StatusCode, p, body))
	}
	return resp, nil
}

// Named reads service and operation from a request: by its parameters, or in REST-JSON by its method and path. The
// service of a request that nobody signed is told by the version of its API.
func (k *Checker) Named(r *http.Request, body []byte) (service, operation string) {
	if m := scope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		service = m[1]
	}
	if m := k.models[service]; m != nil && m.Metadata.Protocol == "rest-json" {
		return service, m.byPath(r)
	}
	if _, op, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		return service, op
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return service, ""
	}
	for name, m := range k.models { // no two versions are the same
		if service == "" && m.Metadata.APIVersion == form.Get("Version") {
			return name, form.Get("Action")
		}
	}
	return service, form.Get("Action")
}

// byPath finds the operation of a request of REST-JSON. Where two fit, as a name fits a placeholder, the one with fewer
// placeholders is meant.
func (m *Model) byPath(r *http.Request) string {
	given := strings.Split(r.URL.EscapedPath(), "/")
	best, fewest := "", len(given)+1
	for _, name := range slices.Sorted(maps.Keys(m.Operations)) {
		op := m.Operations[name]
		path, _, _ := strings.Cut(op.HTTP.RequestURI, "?")
		want := strings.Split(path, "/")
		if op.HTTP.Method != r.Method || len(want) != len(given) {
			continue
		}
		placeholders, fits := 0, true
		for i := range want {
			if strings.HasPrefix(want[i], "{") {
				placeholders++
			} else if want[i] != given[i] {
				fits = false
			}
		}
		if fits && placeholders < fewest {
			best, fewest = name, placeholders
		}
	}
	return best
}
