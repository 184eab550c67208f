package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A credential helper that does not end holds no call beyond its deadline.
func TestHelperThatHangs(t *testing.T) {
	bare(t)
	const helper = "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, 'exec sleep 5']}"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := Connect(ctx, Options{Kubeconfig: kubeconfig(t, "a", map[string]string{"a": "https://127.0.0.1:1"}, helper)})
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeUnreachable || !strings.Contains(e.Message, "the credential helper sh of the kubeconfig included") {
		t.Errorf("got %v", err)
	}
}

// An answer that comes after the call's end is closed, and one in time is passed on.
func TestPunctual(t *testing.T) {
	release := make(chan struct{})
	closed := make(chan struct{})
	late := roundTrip(func(*http.Request) (*http.Response, error) {
		<-release
		return &http.Response{StatusCode: 200, Body: closes{closed}}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	//nolint:bodyclose // the case is that there is none
	if _, err := (punctual{late}).RoundTrip(httptest.NewRequestWithContext(ctx, "GET", "/", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	close(release)
	<-closed
	closed = make(chan struct{})
	answer, err := (punctual{late}).RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v, %v", answer, err)
	}
	select {
	case <-closed:
		t.Error("it was closed before its reader did")
	default:
	}
	_ = answer.Body.Close()
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type closes struct{ closed chan struct{} }

func (closes) Read([]byte) (int, error) { return 0, io.EOF }
func (c closes) Close() error           { close(c.closed); return nil }
