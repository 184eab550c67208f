package kops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// authority makes a certificate authority and a server's certificate for a name.
func authority(t *testing.T, name string) (caCert, caKey []byte, server tls.Certificate) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	issue := func(serial int64, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: fmt.Sprint("c", serial)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			BasicConstraintsValid: true, IsCA: parent == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{name}}
		if parent == nil {
			parent, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
		must(err)
		c, err = x509.ParseCertificate(der)
		must(err)
		return c, key
	}
	ca, key := issue(1, nil, nil)
	serving, servingKey := issue(2, ca, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		tls.Certificate{Certificate: [][]byte{serving.Raw}, PrivateKey: servingKey}
}

// The certificate that is made opens a server that asks for one of the cluster's
// authority, as the API server does, and says who is there.
func TestAccess(t *testing.T) {
	const internal = "api.internal.k.example.com"
	caCert, caKey, serving := authority(t, internal)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caCert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.TLS.PeerCertificates[0].Subject
		fmt.Fprintf(w, "%s %v", s.CommonName, s.Organization)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{serving}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	server.StartTLS()
	defer server.Close()

	d := driverOn(t, "aws", "1.36.0", nil, nil)
	store := strings.TrimPrefix(d.cfg.State, "file://")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(store, "k.example.com", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keyset := func(key []byte) string {
		text := "apiVersion: kops.k8s.io/v1alpha2\nkind: Keyset\nmetadata:\n  name: kubernetes-ca\nspec:\n  type: Keypair\n  primaryId: \"1\"\n  keys:\n  - id: \"1\"\n    publicMaterial: " +
			base64.StdEncoding.EncodeToString(caCert) + "\n"
		if key != nil {
			text += "    privateMaterial: " + base64.StdEncoding.EncodeToString(key) + "\n"
		}
		return text
	}
	refused := func(when string) {
		t.Helper()
		d.view.reset()
		a, err := d.Access(t.Context(), "k.example.com")
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "access-unavailable") || !strings.Contains(err.Error(), "--kubeconfig") {
			t.Errorf("%s: %v, %v; want a refusal that names --kubeconfig", when, a, err)
		}
	}
	write("config", "apiVersion: kops.k8s.io/v1alpha2\nkind: Cluster\nmetadata:\n  name: k.example.com\nspec:\n  cloudProvider: aws\n  configBase: file://"+store+"/k.example.com\n  masterPublicName: "+server.Listener.Addr().String()+"\n")
	refused("no keys at all")
	write("pki/private/kubernetes-ca/keyset.yaml", keyset(nil))
	refused("no private key")
	write("pki/private/kubernetes-ca/keyset.yaml", keyset(caKey))
	d.view.reset()
	a, err := d.Access(t.Context(), "k.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if a.ServerName != internal || a.Endpoint != server.URL {
		t.Errorf("%s as %s, want %s as %s", a.Endpoint, a.ServerName, server.URL, internal)
	}
	if left := time.Until(a.ExpiresAt); left <= 0 || left > accessLifetime {
		t.Errorf("it expires in %s, want within %s", left, accessLifetime)
	}
	cert, err := tls.X509KeyPair(a.ClientCertificate, a.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CA)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, ServerName: a.ServerName},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}}
	res, err := client.Get(a.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.HasPrefix(string(body), "kubecfg") || !strings.HasSuffix(string(body), "[system:masters]") {
		t.Errorf("the server sees %q, %v", body, err)
	}
	if text := fmt.Sprintf("%v %+v", a, *a); strings.Contains(text, "PRIVATE") {
		t.Error("printing it shows its key")
	}
}
