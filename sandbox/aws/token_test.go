package aws

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// presign signs a GetCallerIdentity in its URL as tools that make tokens do, with the cluster's name in a signed header.
func (a *account) presign(cfg sdk.Config, cluster string) string {
	a.t.Helper()
	out, err := sts.NewPresignClient(sts.NewFromConfig(cfg)).PresignGetCallerIdentity(a.ctx(), &sts.GetCallerIdentityInput{}, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, sts.WithAPIOptions(
			smithyhttp.AddHeaderValue("X-Amz-Expires", "60"), smithyhttp.AddHeaderValue(clusterHeader, cluster)))
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return out.URL
}

func token(rawURL string) string {
	return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(rawURL))
}

func TestVerifyClusterToken(t *testing.T) {
	// The SDK signs with the wall clock.
	a := newAccount(t, func(c *Config) { c.Clock = time.Now })
	host := strings.TrimPrefix(a.URL, "http://")
	good := a.presign(a.config(AccessKeyID, ""), "prod")
	change := func(old, replacement string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s holds no %s", good, old)
		}
		return token(strings.Replace(good, old, replacement, 1))
	}
	elsewhere := a.config(AccessKeyID, "")
	elsewhere.BaseEndpoint = sdk.String("http://127.0.0.1:1")
	aws := a.config(AccessKeyID, "")
	aws.BaseEndpoint = nil
	wrong := a.config(AccessKeyID, "")
	wrong.Credentials = credentials.NewStaticCredentialsProvider(AccessKeyID, "guessed", "")
	for _, tc := range []struct {
		name, token string
		arn         string
		err         string
	}{
		{name: "good", token: token(good), arn: "arn:aws:iam::123456789012:user/sandbox"},
		{name: "for STS at AWS", token: token(a.presign(aws, "prod")), arn: "arn:aws:iam::123456789012:user/sandbox"},
		// Whoever knows a secret is somebody; whether that user may enter is another matter.
		{name: "of another user", token: token(a.presign(a.config(DeniedAccessKeyID, ""), "prod")), arn: "arn:aws:iam::123456789012:user/denied"},
		{name: "for another cluster", token: token(a.presign(a.config(AccessKeyID, ""), "prod-2")), err: "does not match"},
		{name: "signed with another secret", token: token(a.presign(wrong, "prod")), err: "does not match"},
		{name: "for another host", token: token(a.presign(elsewhere, "prod")), err: "not STS"},
		{name: "for another action", token: change("Action=GetCallerIdentity", "Action=GetSessionToken"), err: "GetCallerIdentity"},
		{name: "with a header that is not signed", token: change("%3Bx-k8s-aws-id", ""), err: "is not signed"},
		{name: "with another parameter", token: change("Version=", "Role=x&Version="), err: "parameter Role"},
		{name: "with a parameter twice", token: change("Version=", "Action=x&Version="), err: "parameter Action"},
		{name: "with another path", token: change("/?", "/x?"), err: "path"},
		{name: "too old", token: change("X-Amz-Date=2", "X-Amz-Date=1"), err: "expired"},
		{name: "no prefix", token: "abc", err: "does not begin"},
		{name: "no base64", token: tokenPrefix + "?", err: "not base64"},
		{name: "too long", token: tokenPrefix + strings.Repeat("a", 5000), err: "longer"},
		{name: "no signature", token: token("http://" + host + "/?Action=GetCallerIdentity&X-Amz-SignedHeaders=x-k8s-aws-id"), err: "not signed for STS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			arn, err := a.VerifyClusterToken(tc.token, "prod", host)
			if arn != tc.arn || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q, %v; want %q, %q", arn, err, tc.arn, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "Signature=") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// A presigned request is an ordinary one to whoever sends it with the headers that it signs.
func TestPresignedRequest(t *testing.T) {
	a := newAccount(t, func(c *Config) { c.Clock = time.Now })
	u := a.presign(a.config(AccessKeyID, ""), "prod")
	for _, tc := range []struct {
		name, url, header string
		status            int
	}{
		{"as signed", u, "prod", http.StatusOK},
		{"with another header", u, "prod-2", http.StatusForbidden},
		{"with a parameter changed", strings.Replace(u, "Expires=60", "Expires=61", 1), "prod", http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(clusterHeader, tc.header)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tc.status {
				t.Errorf("status %s, want %d", resp.Status, tc.status)
			}
		})
	}
}
