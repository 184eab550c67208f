package ekstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awscreds "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rotatord/rotator/drivers/eks"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/sandbox/aws"
)

// TestCredentialChain: each way in which the SDK's own chain finds credentials is enough for the driver, and for its way
// to the API server: the token is of the role, not of whoever assumed it.
func TestCredentialChain(t *testing.T) {
	w, srv := connected(t)
	endpoint, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, arrange := range map[string]func(t *testing.T) (config string){
		"a profile that assumes a role": func(t *testing.T) string {
			t.Setenv("AWS_CONFIG_FILE", write(t, "[profile base]\naws_access_key_id = "+aws.AccessKeyID+"\naws_secret_access_key = "+aws.SecretAccessKey+
				"\n[profile job]\nrole_arn = "+w.RoleARN()+"\nsource_profile = base\nregion = "+region+"\n"))
			return `{"profile":"job"}`
		},
		// IAM roles for service accounts, and the OIDC tokens of a CI job.
		"a web identity": func(t *testing.T) string {
			t.Setenv("AWS_ROLE_ARN", w.RoleARN())
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write(t, "a.b.c"))
			t.Setenv("AWS_REGION", region)
			return `{}`
		},
		"EKS Pod Identity": func(t *testing.T) string {
			agent := httptest.NewServer(podIdentityAgent(t, w, srv.URL))
			t.Cleanup(agent.Close)
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL+"/v1/credentials")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write(t, "a.b.c"))
			t.Setenv("AWS_REGION", region)
			return `{}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			credentials(t)
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			config := arrange(t)
			t.Setenv("AWS_ENDPOINT_URL", srv.URL)
			t.Setenv("AWS_ENDPOINT_URL_STS", srv.URL) // the SDK's own calls for credentials heed this one alone
			d := eks.New()
			if diags, err := d.Configure(t.Context(), []byte(config), false); err != nil || len(diags) > 0 {
				t.Fatal(err, diags)
			}
			if _, err := d.Releases(t.Context(), sdk.Scope{Cluster: cluster}, "latest"); err != nil {
				t.Error(err)
			}
			a := must(d.Access(t.Context(), cluster))(t)
			arn, err := w.VerifyClusterToken(a.Token, cluster, endpoint.Host)
			if err != nil || arn != w.RoleARN() {
				t.Errorf("the token is of %q, want %q: %v", arn, w.RoleARN(), err)
			}
			if left := time.Until(a.ExpiresAt); left <= 0 || left > 14*time.Minute {
				t.Errorf("expires in %v", left)
			}
		})
	}
}

// podIdentityAgent answers as the agent on a node does: for the token of a pod, credentials of its role.
func podIdentityAgent(t *testing.T, w *aws.Cloud, stsURL string) http.Handler {
	client := sts.NewFromConfig(awssdk.Config{
		Region: region, BaseEndpoint: &stsURL, Credentials: awscreds.NewStaticCredentialsProvider(aws.AccessKeyID, aws.SecretAccessKey, ""),
	})
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "a.b.c" || r.URL.Path != "/v1/credentials" {
			http.Error(rw, `{"message":"no"}`, http.StatusForbidden)
			return
		}
		out, err := client.AssumeRole(r.Context(), &sts.AssumeRoleInput{RoleArn: ptr(w.RoleARN()), RoleSessionName: ptr("eks-pod")})
		if err != nil {
			t.Error(err)
			http.Error(rw, "{}", http.StatusInternalServerError)
			return
		}
		c := out.Credentials
		_ = json.NewEncoder(rw).Encode(map[string]any{ // the client notices
			"AccessKeyId": c.AccessKeyId, "SecretAccessKey": c.SecretAccessKey, "Token": c.SessionToken, "Expiration": c.Expiration, "AccountId": "123456789012",
		})
	})
}
