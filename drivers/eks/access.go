package eks

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

const (
	// tokenPrefix begins a bearer token of EKS; the rest is a presigned request.
	tokenPrefix = "k8s-aws-v1."
	// clusterHeader is signed into the request, so that a token for one cluster is
	// worth nothing at another.
	clusterHeader = "x-k8s-aws-id"
	// presignedFor is how long the request itself can be sent, in seconds: EKS takes
	// at most 15 minutes, and what its own tools ask for is 60.
	presignedFor = "60"
	// tokenLife is how long EKS takes a token: 15 minutes from its signature, less
	// one for clocks that differ.
	tokenLife = 14 * time.Minute
)

// Access implements sdk.Accessor: the cluster's endpoint and certificate
// authority, and a token that is an STS GetCallerIdentity, presigned with the
// driver's own credentials. Nothing of it is kept or logged.
func (d *Driver) Access(ctx context.Context, cluster string) (*sdk.Access, error) {
	_, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	out, err := c.eks.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &cluster})
	switch {
	case notFound(err):
		return nil, sdk.Errorf(codes.NotFound, "EKS knows no cluster %s here: check its name, the region and the credentials' account", cluster)
	case err != nil:
		return nil, statusOf("eks:DescribeCluster", cluster, err)
	}
	if out.Cluster.Endpoint == nil || out.Cluster.CertificateAuthority == nil {
		status := out.Cluster.Status
		if status != ekstypes.ClusterStatusCreating {
			return nil, sdk.Errorf(codes.FailedPrecondition, "cluster %s is %s and has no endpoint", cluster, status)
		}
		return nil, sdk.Errorf(codes.Unavailable, "cluster %s is being created and has no endpoint yet", cluster)
	}
	ca, err := base64.StdEncoding.DecodeString(aws.ToString(out.Cluster.CertificateAuthority.Data))
	if err != nil {
		return nil, sdk.Errorf(codes.Internal, "the certificate authority of cluster %s is no base64: %v", cluster, err)
	}
	credentials, err := c.credentials.Retrieve(ctx)
	if err != nil {
		return nil, sdk.Errorf(codes.Unauthenticated, "aws-credentials-missing: no AWS credentials were found: %v", err)
	}
	signed, err := sts.NewPresignClient(c.sts).PresignGetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, sts.WithAPIOptions(
			smithyhttp.SetHeaderValue(clusterHeader, cluster),
			// The signer moves this header into the query.
			smithyhttp.SetHeaderValue("X-Amz-Expires", presignedFor),
		))
	})
	if err != nil {
		return nil, statusOf("sts:GetCallerIdentity", cluster, err)
	}
	expires := time.Now().Add(tokenLife) // the signature's clock is the SDK's
	if credentials.CanExpire && credentials.Expires.Before(expires) {
		expires = credentials.Expires
	}
	return &sdk.Access{
		Endpoint: aws.ToString(out.Cluster.Endpoint), CA: ca,
		Token: tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(signed.URL)), ExpiresAt: expires,
	}, nil
}
