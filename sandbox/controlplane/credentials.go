package controlplane

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// credentials are what the API server and its clients share. They are made anew
// at each start and are worth nothing after its end.
type credentials struct {
	dir    string
	server string // https://127.0.0.1:PORT
	front  string // the same, or where UserAdmin reaches it
	caPEM  []byte
	caKey  []byte // PEM; in no file of this package
	name   string // of the cluster in the kubeconfigs
	tokens map[User]string
	// webhook is the file by which the API server finds its token webhook; "":
	// it has none.
	webhook string
}

func (c *credentials) file(name string) string { return filepath.Join(c.dir, name) }

// kubeconfig is the plain name for people's own, and one with a suffix for each
// other user.
func (c *credentials) kubeconfig(u User) string {
	if u == UserAdmin {
		return c.file("kubeconfig")
	}
	return c.file("kubeconfig-" + strings.TrimPrefix(string(u), "system:"))
}

// writeCredentials makes a certificate authority, a serving certificate for
// loopback, a key for service accounts, and a static token and a kubeconfig for
// each user. The keys are ECDSA: making one takes a millisecond, where RSA takes
// up to a second.
func writeCredentials(dir string, port int, opts Options) (*credentials, error) {
	c := &credentials{dir: dir, server: fmt.Sprintf("https://127.0.0.1:%d", port), tokens: map[User]string{}, name: cmp.Or(opts.Name, "sandbox")}
	c.front = c.server
	if opts.Front != "" {
		c.front = "https://" + opts.Front
	}
	if err := c.writeCertificates(opts.ServerNames); err != nil {
		return nil, fmt.Errorf("certificates of the control plane: %w", err)
	}
	var lines strings.Builder
	for _, u := range users {
		c.tokens[u.name] = rand.Text()
		fmt.Fprintf(&lines, "%s,%s,%s,%q\n", c.tokens[u.name], u.name, u.name, u.group)
		if err := c.writeKubeconfig(u.name); err != nil {
			return nil, fmt.Errorf("kubeconfig of %s: %w", u.name, err)
		}
	}
	if err := os.WriteFile(c.file("tokens.csv"), []byte(lines.String()), 0o600); err != nil {
		return nil, fmt.Errorf("tokens of the control plane: %w", err)
	}
	if opts.TokenWebhook != "" {
		c.webhook = c.file("token-webhook")
		config := clientcmdapi.NewConfig()
		config.Clusters["webhook"] = &clientcmdapi.Cluster{Server: opts.TokenWebhook}
		config.Contexts["webhook"] = &clientcmdapi.Context{Cluster: "webhook"}
		config.CurrentContext = "webhook"
		if err := clientcmd.WriteToFile(*config, c.webhook); err != nil {
			return nil, fmt.Errorf("token webhook of the control plane: %w", err)
		}
	}
	return c, nil
}

func (c *credentials) writeKubeconfig(u User) error {
	config := clientcmdapi.NewConfig()
	server := c.server
	if u == UserAdmin {
		server = c.front
	}
	config.Clusters[c.name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: c.caPEM}
	config.AuthInfos[string(u)] = &clientcmdapi.AuthInfo{Token: c.tokens[u]}
	config.Contexts[c.name] = &clientcmdapi.Context{Cluster: c.name, AuthInfo: string(u)}
	config.CurrentContext = c.name
	return clientcmd.WriteToFile(*config, c.kubeconfig(u))
}

func (c *credentials) writeCertificates(serverNames []string) error {
	caKey, err := newKey()
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, // as kops makes one: it would replace another
	}
	if c.caPEM, err = signCertificate(ca, ca, caKey, caKey); err != nil {
		return err
	}
	if c.caKey, err = encodeKey(caKey); err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	cert, err := signCertificate(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(172, 20, 0, 1)},
		DNSNames:    append([]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}, serverNames...),
	}, ca, key, caKey)
	if err != nil {
		return err
	}
	saKey, err := newKey()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"ca.crt": c.caPEM, "apiserver.crt": cert} {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return err
		}
	}
	for name, key := range map[string]*ecdsa.PrivateKey{"apiserver.key": key, "sa.key": saKey} {
		encoded, err := encodeKey(key)
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.file(name), encoded, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func signCertificate(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
