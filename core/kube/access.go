package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"

	"github.com/rotatord/rotator/core/model"
)

const (
	// accessTimeout bounds one answer of the source.
	accessTimeout = 30 * time.Second
	// accessMargin is how long before their end credentials are renewed: longer than
	// a call may take to be sent. Of short ones it is a quarter of their life.
	accessMargin = time.Minute
	// accessPause is the least time between two answers that are asked for, so that
	// an API server that refuses all credentials does not make us ask at each call.
	accessPause = 2 * time.Second
)

// accessSource answers how the API server is reached, each time with credentials that
// are good for a while. Its errors hold no credential.
type accessSource func(ctx context.Context) (model.Access, error)

// credentials keeps those of a source fresh. Safe for concurrent use.
type credentials struct {
	ask accessSource
	log *slog.Logger
	now func() time.Time
	// renewed is called, where set, after other credentials have come.
	renewed func()

	// lock guards what follows. It is a channel, because a caller gives up waiting
	// for it when its own context ends.
	lock    chan struct{}
	current model.Access
	asked   time.Time
	pair    *tls.Certificate
}

// newCredentials asks for the first ones.
func newCredentials(ctx context.Context, ask accessSource, log *slog.Logger, now func() time.Time) (*credentials, error) {
	c := &credentials{ask: ask, log: log, now: now, lock: make(chan struct{}, 1)}
	if err := c.renew(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// get returns credentials that are good now. With refused, those that the API
// server did not accept, it asks for others. An error says that there are none.
func (c *credentials) get(ctx context.Context, refused string) (model.Access, *tls.Certificate, error) {
	select {
	case c.lock <- struct{}{}:
		defer func() { <-c.lock }()
	case <-ctx.Done():
		return model.Access{}, nil, ctx.Err()
	}
	now := c.now()
	if !c.due(now) && (refused == "" || refused != c.current.Token) || now.Sub(c.asked) < accessPause && !c.over(now) {
		return c.current, c.pair, nil
	}
	if err := c.renew(ctx); err != nil {
		if c.over(c.now()) {
			return model.Access{}, nil, fmt.Errorf("the credentials of the API server have ended, and there are no others: %w", err)
		}
		c.log.WarnContext(ctx, "the credentials of the API server cannot be renewed: they are still good for a while", "until", c.current.ExpiresAt, "error", err)
	}
	return c.current, c.pair, nil
}

// due tells whether the credentials are to be renewed, over whether they have
// ended.
func (c *credentials) due(now time.Time) bool {
	end := c.current.ExpiresAt
	return !end.IsZero() && !now.Before(end.Add(-min(accessMargin, end.Sub(c.asked)/4)))
}

func (c *credentials) over(now time.Time) bool {
	return !c.current.ExpiresAt.IsZero() && !now.Before(c.current.ExpiresAt)
}

// renew asks the source. The caller holds the lock.
func (c *credentials) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	asked := c.now()
	a, err := c.ask(ctx)
	if err != nil {
		c.asked = asked // while those that there are hold, a source that fails is not asked at each call either
		return err
	}
	pair := &tls.Certificate{}
	if len(a.ClientCertificate) > 0 {
		p, err := tls.X509KeyPair(a.ClientCertificate, a.ClientKey)
		if err != nil {
			return fmt.Errorf("its client certificate cannot be used: %w", err)
		}
		pair = &p
	}
	c.current, c.pair, c.asked = a, pair, asked
	if c.renewed != nil && len(a.ClientCertificate) > 0 {
		c.renewed()
	}
	return nil
}

// bearer adds the token to each request, and sends it once more with another one
// where the API server does not accept it: its end may come earlier than said.
type bearer struct {
	next        http.RoundTripper
	credentials *credentials
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	a, _, err := b.credentials.get(r.Context(), "")
	if err != nil {
		return nil, err
	}
	answer, err := b.next.RoundTrip(withToken(r, a.Token))
	if err != nil || answer.StatusCode != http.StatusUnauthorized || a.Token == "" {
		return answer, err
	}
	other, _, err := b.credentials.get(r.Context(), a.Token)
	if err != nil || other.Token == a.Token {
		return answer, nil //nolint:nilerr // that it was refused says more
	}
	again := withToken(r, other.Token)
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return answer, nil
		}
		if again.Body, err = r.GetBody(); err != nil {
			return answer, nil //nolint:nilerr // as above
		}
	}
	_ = answer.Body.Close() // of an answer that nobody reads
	return b.next.RoundTrip(again)
}

func withToken(r *http.Request, token string) *http.Request {
	r = r.Clone(r.Context())
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// accessConfig makes the configuration of a client whose address and credentials
// come from a source. Errors are *Error.
func accessConfig(ctx context.Context, ask accessSource, log *slog.Logger, now func() time.Time) (*rest.Config, error) {
	unusable := func(err error) error {
		return fault(CodeAccess, err, "see what it names; or name a kubeconfig with --kubeconfig and --access kubeconfig",
			"the driver's way to the API server cannot be used: %v", err)
	}
	creds, err := newCredentials(ctx, ask, log, now)
	if err != nil {
		return nil, unusable(err)
	}
	a := creds.current
	u, err := url.Parse(a.Endpoint)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, unusable(errors.New("its address is not one that begins with https://: credentials are sent encrypted only"))
	}
	roots := (*x509.CertPool)(nil) // the system's
	if len(a.CA) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(a.CA) {
			return nil, unusable(errors.New("its certificate authority holds no certificate in PEM"))
		}
	}
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext)
	transport := utilnet.SetTransportDefaults(&http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 25, // as client-go's own
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: a.ServerName,
			GetClientCertificate: func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				_, pair, err := creds.get(i.Context(), "")
				return pair, err
			}},
	})
	// A connection keeps the certificate that it began with. The idle ones leave the
	// pool first: the request that had the credentials renewed would else take one
	// that is closed at this moment, and fail.
	creds.renewed = func() {
		transport.CloseIdleConnections()
		dialer.CloseAll()
	}
	return &rest.Config{Host: a.Endpoint, Transport: &bearer{next: transport, credentials: creds}}, nil
}
