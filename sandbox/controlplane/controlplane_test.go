package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// The control plane itself is tested in package stack, where it has nodes and
// workloads; a process can start only one.

func TestCredentialsFitTogether(t *testing.T) {
	c, err := writeCredentials(t.TempDir(), 12345, Options{Front: "127.0.0.1:54321"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(c.file("apiserver.crt"), c.file("apiserver.key"))
	if err != nil {
		t.Fatalf("serving certificate and key: %v", err)
	}
	tokens, err := os.ReadFile(c.file("tokens.csv"))
	if err != nil {
		t.Fatal(err)
	}
	files, seen := map[string]User{}, map[string]User{}
	for _, u := range users {
		path := c.kubeconfig(u.name)
		if other, taken := files[path]; taken {
			t.Errorf("%s and %s share the kubeconfig %s", u.name, other, path)
		}
		files[path] = u.name
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			t.Fatalf("kubeconfig of %s: %v", u.name, err)
		}
		server := "https://127.0.0.1:12345"
		if u.name == UserAdmin {
			server = "https://127.0.0.1:54321" // the way that faults cut; never that of the components
		}
		if config.Host != server {
			t.Errorf("server of %s = %s, want %s", u.name, config.Host, server)
		}
		if other, taken := seen[config.BearerToken]; taken || config.BearerToken == "" {
			t.Errorf("%s has no token of its own (%q): %s", u.name, config.BearerToken, other)
		}
		seen[config.BearerToken] = u.name
		if want := config.BearerToken + "," + string(u.name) + ","; !strings.Contains(string(tokens), want) {
			t.Errorf("tokens.csv has no line for %s", u.name)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(config.CAData) {
			t.Fatalf("kubeconfig of %s holds no authority", u.name)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "127.0.0.1"}); err != nil {
			t.Errorf("serving certificate for %s: %v", u.name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("kubeconfig of %s: mode %v (%v), want 0600", u.name, info.Mode(), err)
		}
	}
	if filepath.Base(c.kubeconfig(UserAdmin)) != "kubeconfig" {
		t.Errorf("the admin's kubeconfig is %s, want the plain name", c.kubeconfig(UserAdmin))
	}
}

func TestFolderIsClaimed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	release, err := claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"mine"}, leftovers...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := claim(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second claim: %v, want a refusal", err)
	}
	if _, err := os.Stat(filepath.Join(dir, leftovers[0])); err != nil {
		t.Errorf("the refused claim removed %s of the running one: %v", leftovers[0], err)
	}
	release()
	release, err = claim(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	defer release()
	for _, name := range leftovers {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s of the earlier run is still there (%v)", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
		t.Errorf("a file that is not the control plane's was removed: %v", err)
	}
}

func TestPortIsHeld(t *testing.T) {
	l, port, err := listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, err := listen(port); err == nil {
		t.Errorf("port %d was opened twice", port)
	}
}
