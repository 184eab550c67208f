package aws

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Both ways to a role give credentials with which everything works: STS, the other services, and tokens for clusters.
func TestRoles(t *testing.T) {
	a := newAccount(t, func(c *Config) { c.Clock = time.Now }) // the SDK looks at the wall clock
	if err := a.CreateCluster(ClusterSpec{Name: testCluster, Version: "1.37"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	anonymous := a.config("", "")
	anonymous.Credentials = sdk.AnonymousCredentials{}
	for name, provider := range map[string]sdk.CredentialsProvider{
		"AssumeRole":                stscreds.NewAssumeRoleProvider(a.STS, a.RoleARN(), func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "job-1" }),
		"AssumeRoleWithWebIdentity": stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(anonymous), a.RoleARN(), stscreds.IdentityTokenFile(file), func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "job-1" }),
	} {
		t.Run(name, func(t *testing.T) {
			cfg := a.config("", "")
			cfg.Credentials = sdk.NewCredentialsCache(provider)
			id, err := sts.NewFromConfig(cfg).GetCallerIdentity(a.ctx(), &sts.GetCallerIdentityInput{})
			if err != nil || *id.Arn != "arn:aws:sts::123456789012:assumed-role/rotator/job-1" {
				t.Errorf("identity %+v, %v", id, err)
			}
			if _, err := eks.NewFromConfig(cfg).ListClusters(a.ctx(), &eks.ListClustersInput{}); err != nil {
				t.Error(err)
			}
			arn, err := a.VerifyClusterToken(token(a.presign(cfg, testCluster)), testCluster, strings.TrimPrefix(a.URL, "http://"))
			if err != nil || arn != a.RoleARN() {
				t.Errorf("a token of the role is from %q, %v", arn, err)
			}
		})
	}
}

func TestRolesThatAreRefused(t *testing.T) {
	a := newAccount(t)
	assume := func(c *sts.Client, role, name string, seconds int32) error {
		_, err := c.AssumeRole(a.ctx(), &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: &name, DurationSeconds: &seconds})
		return err
	}
	wantError(t, assume(a.STS, "arn:aws:iam::123456789012:role/other", "job-1", 3600), "AccessDenied", http.StatusForbidden)
	wantError(t, assume(a.STS, a.RoleARN(), "j", 3600), "ValidationError", http.StatusBadRequest)
	wantError(t, assume(a.STS, a.RoleARN(), "job-1", 60), "ValidationError", http.StatusBadRequest)
	wantError(t, assume(sts.NewFromConfig(a.config(DeniedAccessKeyID, "")), a.RoleARN(), "job-1", 3600), "AccessDenied", http.StatusForbidden)
	_, err := a.STS.AssumeRoleWithWebIdentity(a.ctx(), &sts.AssumeRoleWithWebIdentityInput{RoleArn: ptr(a.RoleARN()), RoleSessionName: ptr("job-1"), WebIdentityToken: ptr("abcd")})
	wantError(t, err, "InvalidIdentityToken", http.StatusBadRequest)
}

// Temporary credentials need their token, and end.
func TestTemporaryCredentials(t *testing.T) {
	a := newAccount(t)
	out, err := a.STS.AssumeRole(a.ctx(), &sts.AssumeRoleInput{RoleArn: ptr(a.RoleARN()), RoleSessionName: ptr("job-1")})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Credentials
	if !c.Expiration.Equal(start.Add(time.Hour)) {
		t.Errorf("they end at %v", c.Expiration)
	}
	with := func(token string) sdk.Config {
		cfg := a.config("", "")
		cfg.Credentials = credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, token)
		return cfg
	}
	calls := func(cfg sdk.Config) (ofEC2, ofEKS, ofSSM error) {
		_, ofEC2 = ec2.NewFromConfig(cfg).DescribeImages(a.ctx(), &ec2.DescribeImagesInput{})
		_, ofEKS = eks.NewFromConfig(cfg).ListClusters(a.ctx(), &eks.ListClustersInput{})
		_, ofSSM = ssm.NewFromConfig(cfg).GetParametersByPath(a.ctx(), &ssm.GetParametersByPathInput{Path: ptr("/x")})
		return ofEC2, ofEKS, ofSSM
	}
	if x, y, z := calls(with(*c.SessionToken)); x != nil || y != nil || z != nil {
		t.Errorf("%v, %v, %v", x, y, z)
	}
	x, y, z := calls(with("another"))
	wantError(t, x, "AuthFailure", http.StatusUnauthorized)
	wantError(t, y, "UnrecognizedClientException", http.StatusForbidden)
	wantError(t, z, "UnrecognizedClientException", http.StatusBadRequest)
	a.jump(time.Hour)
	x, y, z = calls(with(*c.SessionToken))
	wantError(t, x, "RequestExpired", http.StatusBadRequest)
	wantError(t, y, "ExpiredTokenException", http.StatusForbidden)
	wantError(t, z, "ExpiredTokenException", http.StatusBadRequest)
}
