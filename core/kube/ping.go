package kube

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// maxVersion bounds the answer to /version, in bytes: an API server's has some 400.
	maxVersion = 64 << 10
	// maxErrorBody bounds what is read of an answer that is an error, in bytes. An API
	// server's are a few kilobytes; what comes after would be read into memory whole.
	maxErrorBody = 1 << 20
)

// errNoVersion: something answers, and it is no API server.
var errNoVersion = errors.New("no version of Kubernetes")

// ping asks for the server's version.
func (c *Cluster) ping(ctx context.Context) error {
	timeout := connectTimeout
	if c.helper != nil {
		timeout = helperTimeout
	}
	began := time.Now()
	ctx, cancel := c.call(ctx, timeout)
	defer cancel()
	err := c.version(ctx)
	var (
		certificate *tls.CertificateVerificationError
		redirect    *redirectError
		dial        *net.OpError
		status      apierrors.APIStatus
	)
	switch {
	case err == nil, apierrors.IsForbidden(err):
		return nil // reachable and known; what is missing shows where it is needed
	case apierrors.IsUnauthorized(err):
		return c.unauthorized(err)
	case errors.Is(err, errNoVersion), errors.As(err, &redirect):
		return fault(CodeUnreachable, err, "check the address, and whether a proxy or a page to sign in stands in its place; `kubectl version` makes the same call",
			"what answers at %s is no Kubernetes API server: %v", c.server, err)
	case errors.As(err, &certificate) && c.byDriver:
		return fault(CodeUnreachable, err, "find out what stands between this machine and the API server: a proxy that ends TLS must be trusted by the system",
			"the certificate of the API server %s is not trusted by the authority that the driver names: %v", c.server, err)
	case errors.As(err, &status) && ctx.Err() == nil:
		return fault(CodeUnreachable, err, "look at the API server's health, and at what stands before it, and try again",
			"the API server %s answers with an error: %.400s", c.server, err) // a page of a proxy may be long
	case c.byDriver:
		return fault(CodeUnreachable, err, "check that this machine can reach the address (a private endpoint needs the cluster's network or a VPN)",
			"the API server %s does not answer: %v", c.server, err)
	case errors.As(err, &certificate):
		return fault(CodeUnreachable, err, "check certificate-authority-data and the server's name in the kubeconfig, and any proxy in between",
			"the certificate of the API server %s is not trusted: %v", c.server, err)
	case c.helper != nil && errors.Is(err, context.DeadlineExceeded):
		return fault(CodeUnreachable, err, "run the helper by hand to see what it waits for, then check that this machine reaches the address",
			"the API server %s has not answered within %s, the credential helper %s of the kubeconfig included", c.server, time.Since(began).Round(time.Second), c.helper.Command)
	case c.helper != nil && !errors.As(err, &dial) && ctx.Err() == nil:
		return fault(CodeUnauthorized, err, "run it by hand to see why, and check that it is installed and signed in",
			"the credential helper %s of the kubeconfig failed: %v", c.helper.Command, err)
	}
	return fault(CodeUnreachable, err, "check the address in the kubeconfig, the network and any VPN; `kubectl version` makes the same call",
		"the API server %s does not answer: %v", c.server, err)
}

// version makes the call, and wants an API server's answer: a proxy's page to sign in
// comes with a status of 200 as well.
func (c *Cluster) version(ctx context.Context) error {
	body, err := c.core.Get().AbsPath("/version").MaxRetries(0).Stream(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxVersion))
	if err != nil {
		return err
	}
	var v struct{ GitVersion string }
	if json.Unmarshal(data, &v) != nil || v.GitVersion == "" {
		return fmt.Errorf("%w, /version answers %.60q", errNoVersion, data)
	}
	return nil
}

// redirectError is an answer that sends us elsewhere. An API server does not, and
// our credentials would go along.
type redirectError struct{ to string }

func (e *redirectError) Error() string { return "it redirects to " + e.to }

// stay is an http.Client's CheckRedirect that follows none.
func stay(r *http.Request, _ []*http.Request) error {
	return &redirectError{r.URL.Redacted()}
}

// shortErrors bounds the body of an answer that is an error.
type shortErrors struct{ next http.RoundTripper }

// RoundTrip passes the request on.
func (s shortErrors) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.next.RoundTrip(r)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxErrorBody), answer.Body}
	}
	return answer, err
}
