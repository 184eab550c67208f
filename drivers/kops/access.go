package kops

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"k8s.io/kops/pkg/kubeconfig"
	"k8s.io/kops/upup/pkg/fi"

	"github.com/rotatord/rotator/drivers/sdk"
)

// accessLifetime is how long a certificate that Access makes is good for. It
// cannot be revoked, and who needs longer asks again: kops' own are good for 18
// hours.
const accessLifetime = time.Hour

// Access implements sdk.Accessor as `kops export kubeconfig --admin` does: it
// signs a client certificate of a cluster administrator (system:masters) with
// the certificate authority of the state store, where this user may read its
// key. Nothing is written; each call makes another certificate.
func (d *Driver) Access(ctx context.Context, cluster string) (*sdk.Access, error) {
	_, s, err := d.configured()
	if err != nil {
		return nil, err
	}
	sp, err := d.spec(ctx, s, cluster, specAge)
	if err != nil {
		return nil, err
	}
	var cloud fi.Cloud
	if sp.cluster.Spec.API.LoadBalancer != nil { // whose address the cloud knows
		if cloud, err = d.cloud(ctx, sp.cluster); err != nil {
			return nil, err
		}
	}
	const instead = "Let this user read the private keys of the state store (pki/private), or name a kubeconfig (--kubeconfig)."
	b, err := call(ctx, &d.calls, "making a certificate", func() (*kubeconfig.KubeconfigBuilder, error) {
		keys, err := s.client.KeyStore(sp.cluster)
		if err != nil {
			return nil, err
		}
		return kubeconfig.BuildKubecfg(context.WithoutCancel(ctx), sp.cluster, keys, nil, cloud, kubeconfig.CreateKubecfgOptions{Admin: accessLifetime}, s.url)
	})
	if err != nil {
		return nil, sdk.Errorf(codes.FailedPrecondition, "access-unavailable: the state store %s does not give access to the API server of cluster %s: %s. %s", s.url, cluster, cause(err), instead)
	}
	a := &sdk.Access{Endpoint: b.Server, CA: b.CACerts, ServerName: b.TLSServerName, ClientCertificate: b.ClientCert, ClientKey: b.ClientKey}
	if len(a.CA) == 0 {
		a.ServerName = "" // the load balancer has a certificate of its own, for its own name
	}
	cert, err := firstCertificate(a.ClientCertificate)
	if err != nil {
		return nil, sdk.Errorf(codes.Internal, "the certificate made for cluster %s cannot be read: %v", cluster, err)
	}
	a.ExpiresAt = cert.NotAfter
	return a, nil
}

func firstCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
