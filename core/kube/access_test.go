package kube

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotatord/rotator/core/model"
)

// guarded is an API server behind TLS that accepts one token, or any certificate
// that its authority signed, and a source of both.
type guarded struct {
	*testing.T
	*fakeAPI
	server *httptest.Server

	mu      sync.Mutex
	now     time.Time
	life    time.Duration // of a token; 0: it never ends
	token   string        // that is accepted
	given   int           // how often the source was asked
	fail    error         // of the source
	deny    bool          // accepts nobody
	refused int           // calls that were not accepted
	peers   []string      // common names of client certificates
	pair    func() (cert, key []byte)
}

func newGuarded(t *testing.T) *guarded {
	g := &guarded{T: t, fakeAPI: newFakeAPI(t), now: time.Unix(1_000_000, 0), life: 15 * time.Minute}
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		ok := r.Header.Get("Authorization") == "Bearer "+g.token && g.token != ""
		if len(r.TLS.PeerCertificates) > 0 {
			g.peers = append(g.peers, r.TLS.PeerCertificates[0].Subject.CommonName)
			ok = true
		}
		if ok = ok && !g.deny; !ok {
			g.refused++
		}
		g.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		g.fakeAPI.ServeHTTP(w, r)
	}))
	g.server.EnableHTTP2 = true
	g.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	g.server.StartTLS()
	t.Cleanup(g.server.Close)
	return g
}

func (g *guarded) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

// pass lets time go by.
func (g *guarded) pass(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

// set changes what the server and the source do.
func (g *guarded) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

func (g *guarded) ask(context.Context) (model.Access, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return model.Access{}, g.fail
	}
	g.given++
	a := model.Access{Endpoint: g.server.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.server.Certificate().Raw})}
	if g.pair != nil {
		a.ClientCertificate, a.ClientKey = g.pair()
	} else {
		g.token = fmt.Sprintf("secret-%d", g.given)
		a.Token = g.token
	}
	if g.life > 0 {
		a.ExpiresAt = g.now.Add(g.life)
	}
	return a, nil
}

func (g *guarded) connect(log *slog.Logger) *Cluster {
	g.Helper()
	cfg, err := accessConfig(g.Context(), g.ask, log, g.clock)
	if err != nil {
		g.Fatal(err)
	}
	c, err := newCluster(cfg, "", log)
	if err != nil {
		g.Fatal(err)
	}
	c.byDriver = true
	return c
}

func TestAccessIsRenewed(t *testing.T) {
	g := newGuarded(t)
	var text bytes.Buffer
	c := g.connect(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ping := func() error { return c.ping(t.Context()) }
	for range 3 {
		if err := ping(); err != nil {
			t.Fatal(err)
		}
	}
	if g.given != 1 {
		t.Errorf("the source was asked %d times for the first calls", g.given)
	}
	// A rotation of four hours outlives its tokens, and is never refused.
	for range 4 * 60 {
		g.pass(time.Minute)
		if err := ping(); err != nil {
			t.Fatal(err)
		}
	}
	if g.refused != 0 || g.given < 16 || g.given > 20 {
		t.Errorf("%d calls refused, the source asked %d times in four hours of tokens for 15 minutes", g.refused, g.given)
	}
	// A token that is revoked before its end costs one refused call, which nobody sees.
	g.pass(10 * time.Second)
	g.set(func() { g.token = "another" })
	if err := ping(); err != nil || g.refused != 1 {
		t.Errorf("%v, %d refused, after the token was revoked", err, g.refused)
	}
	// A source that fails for a while is not felt as long as the token is good.
	given := g.given
	g.set(func() { g.fail = errors.New("throttled") })
	g.pass(14*time.Minute + 30*time.Second)
	if err := ping(); err != nil || g.given != given {
		t.Errorf("%v with a token that is good for half a minute more", err)
	}
	g.pass(time.Minute)
	if err := ping(); err == nil || !strings.Contains(err.Error(), "throttled") {
		t.Errorf("%v once the token has ended", err)
	}
	g.set(func() { g.fail = nil })
	g.pass(3 * time.Second)
	if err := ping(); err != nil {
		t.Errorf("%v once the source answers again", err)
	}
	if !strings.Contains(text.String(), "still good for a while") || strings.Contains(text.String(), "secret-") {
		t.Errorf("the log is\n%s", text.String())
	}
}

// A call with a body is sent again as it was.
func TestAccessRefusedCallIsSentAgainWithItsBody(t *testing.T) {
	g := newGuarded(t)
	c := g.connect(slog.New(slog.DiscardHandler))
	g.pass(10 * time.Second)
	g.set(func() { g.token = "another" })
	const body = `{"metadata":{"labels":{"a":"b"}}}`
	_ = c.core.Patch("application/merge-patch+json").AbsPath("/api/v1/nodes/none").Body([]byte(body)).Do(t.Context()).Error() // the node does not exist
	if g.refused != 1 || len(g.requests) != 1 || string(g.requests[0].body) != body {
		t.Errorf("%d refused, then %+v", g.refused, g.requests)
	}
}

// One that refuses everything does not make us ask the source at each call.
func TestAccessRefusedForGood(t *testing.T) {
	g := newGuarded(t)
	c := g.connect(slog.New(slog.DiscardHandler))
	g.pass(10 * time.Second)
	g.deny = true
	for range 50 {
		var e *Error
		if err := c.ping(t.Context()); !errors.As(err, &e) || e.Code != CodeUnauthorized || !strings.Contains(e.Fix, "access entry") {
			t.Fatalf("answered %v", err)
		}
	}
	if g.given != 2 {
		t.Errorf("the source was asked %d times: once at first, once more when its answer was refused", g.given)
	}
}

func TestAccessByCertificate(t *testing.T) {
	g := newGuarded(t)
	n := 0
	g.pair = func() ([]byte, []byte) { n++; return newPair(t, fmt.Sprintf("client-%d", n)) }
	c := g.connect(slog.New(slog.DiscardHandler))
	for range 3 {
		if err := c.ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.pass(20 * time.Minute)
	}
	if got := strings.Join(g.peers, " "); got != "client-1 client-2 client-3" {
		t.Errorf("the API server saw %s", got)
	}
}

func newPair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func TestAccessUnusable(t *testing.T) {
	ca := func(a *model.Access) { a.CA = []byte("no PEM") }
	for name, tt := range map[string]struct {
		change func(*model.Access)
		err    error
		want   string
	}{
		"the source fails":    {err: errors.New("not offered"), want: "not offered"},
		"no encryption":       {change: func(a *model.Access) { a.Endpoint = strings.Replace(a.Endpoint, "https", "http", 1) }, want: "https://"},
		"no authority":        {change: ca, want: "holds no certificate"},
		"a broken key":        {change: func(a *model.Access) { a.ClientCertificate, a.ClientKey = []byte("x"), []byte("y") }, want: "client certificate cannot be used"},
		"another's authority": {change: func(a *model.Access) { a.CA, _ = newPair(t, "other") }, want: "not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t)
			_, err := Connect(t.Context(), Options{Access: func(ctx context.Context) (model.Access, error) {
				a, _ := g.ask(ctx) // never fails here
				if tt.change != nil {
					tt.change(&a)
				}
				return a, tt.err
			}})
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Message, tt.want) || strings.Contains(e.Error(), "secret-") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
