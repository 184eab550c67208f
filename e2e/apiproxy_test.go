//go:build e2e

package e2e

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// apiProxy stands between rotatord and a sandbox's API server.
type apiProxy struct {
	// evict sees each eviction on its way, with the pod's name; pass hands it to the
	// API server. Nil: all are passed.
	evict func(w http.ResponseWriter, r *http.Request, pod string, pass http.Handler)
	// answer changes what the API server answers. Nil: nothing.
	answer func(*http.Response) error
	// json asks the API server for JSON where rotatord would take protobuf.
	json bool
}

// rotatord returns the command set up for the sandbox, behind the proxy.
func (p apiProxy) rotatord(tb testing.TB, s *Sandbox) *Rotatord {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Getenv("KUBECONFIG"))
	must(err)
	server, err := url.Parse(cfg.Host)
	must(err)
	transport, err := rest.TransportFor(cfg)
	must(err)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			if p.json {
				r.Out.Header.Set("Accept", "application/json")
				r.Out.Header.Del("Accept-Encoding")
			}
		},
		Transport:      transport,
		FlushInterval:  -1, // watches
		ModifyResponse: p.answer,
		ErrorLog:       log.New(io.Discard, "", 0), // rotatord reports what it does not get, and ends its watches as it likes
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pod, what := path.Split(r.URL.Path); what == "eviction" && r.Method == http.MethodPost && p.evict != nil {
			p.evict(w, r, path.Base(pod), proxy)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = proxy.ErrorLog
	srv.StartTLS()
	tb.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	file := filepath.Join(tb.TempDir(), "kubeconfig")
	must(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"proxy": {Server: srv.URL,
			CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"proxy": {}}, // it has the credentials
		Contexts:       map[string]*clientcmdapi.Context{"proxy": {Cluster: "proxy", AuthInfo: "proxy"}},
		CurrentContext: "proxy",
	}, file))
	return s.rotatord(tb).With("KUBECONFIG=" + file)
}
