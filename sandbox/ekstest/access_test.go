package ekstest

import (
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/sandbox/aws"
)

// connected serves an account with one cluster that has an endpoint.
func connected(t *testing.T) (*aws.Cloud, *httptest.Server) {
	t.Helper()
	w := aws.New(aws.Config{Region: region}) // in real time, as signatures are
	for _, err := range []error{
		w.CreateCluster(aws.ClusterSpec{Name: cluster, Version: "1.37"}),
		w.ConnectCluster(cluster, "https://127.0.0.1:6443", []byte("-----BEGIN CERTIFICATE-----\n"), nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	srv := httptest.NewServer(w.Handler())
	t.Cleanup(srv.Close)
	return w, srv
}

// TestAccess: the token is what the cluster's authenticator takes, and good for that cluster alone.
func TestAccess(t *testing.T) {
	credentials(t)
	w, srv := connected(t)
	d := eks.New()
	if diags, err := d.Configure(t.Context(), []byte(`{"region":"`+region+`","endpoint":"`+srv.URL+`"}`), false); err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	a := must(d.Access(t.Context(), cluster))(t)
	if a.Endpoint != "https://127.0.0.1:6443" || !strings.HasPrefix(string(a.CA), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("endpoint %s, CA %q", a.Endpoint, a.CA)
	}
	// As EKS has it: 15 minutes, of which the driver leaves one.
	if left := time.Until(a.ExpiresAt); left < 13*time.Minute || left > 14*time.Minute {
		t.Errorf("expires in %v", left)
	}
	endpoint, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	arn, err := w.VerifyClusterToken(a.Token, cluster, endpoint.Host)
	if err != nil || arn != w.Administrator() {
		t.Errorf("identity %q, %v", arn, err)
	}
	if arn, err := w.VerifyClusterToken(a.Token, "other", endpoint.Host); err == nil {
		t.Errorf("another cluster takes the token for %s", arn)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.Token, "k8s-aws-v1."))
	if err != nil || !strings.Contains(string(raw), "X-Amz-Expires=60") {
		t.Errorf("token of %s, %v", raw, err)
	}
	if s := fmt.Sprintf("%v %+v", a, *a); strings.Contains(s, "k8s-aws") {
		t.Errorf("formatted, it shows the token: %s", s)
	}
	if _, err := d.Access(t.Context(), "nope"); status.Code(err) != codes.NotFound {
		t.Errorf("a cluster that does not exist: %v", err)
	}
}
