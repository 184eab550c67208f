package eks

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/rotatord/rotator/sandbox/aws"
)

// What a good token is, package aws tests, and package stack that the API server takes one.
func TestAuthenticatorRefuses(t *testing.T) {
	a := &Authenticator{Cloud: aws.New(aws.Config{}), Cluster: "prod", Host: "127.0.0.1:1"}
	for name, tc := range map[string]struct {
		body   string
		status int
		err    string // of the review
	}{
		"a token of another kind": {body: `{"spec":{"token":"eyJhbGciOi.x.y"}}`, status: http.StatusOK, err: "does not begin with k8s-aws-v1."},
		"no token":                {body: `{}`, status: http.StatusOK, err: "does not begin with k8s-aws-v1."},
		"no review":               {body: `x`, status: http.StatusBadRequest},
		"a review without end":    {body: `{"spec":{"token":"` + strings.Repeat("x", 100<<10) + `"}}`, status: http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			a.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tc.body)))
			if w.Code != tc.status {
				t.Fatalf("status %d, want %d", w.Code, tc.status)
			}
			if tc.status != http.StatusOK {
				return
			}
			var out authenticationv1.TokenReview
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
			if out.Kind != "TokenReview" || out.Status.Authenticated || !strings.Contains(out.Status.Error, tc.err) {
				t.Errorf("%+v, want it refused with %q", out, tc.err)
			}
		})
	}
}
