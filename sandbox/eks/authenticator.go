package eks

import (
	"encoding/json"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotatord/rotator/sandbox/aws"
)

// AccessEntry says as whom a principal of the account acts in the cluster.
type AccessEntry struct {
	User   string
	Groups []string
}

// Authenticator is the webhook by which the API server asks who a bearer token is, as EKS' own does for the tokens that
// `aws eks get-token` makes. It answers TokenReviews; a principal without an entry is nobody.
type Authenticator struct {
	Cloud   *aws.Cloud
	Cluster string
	// Host is the address under which clients reach STS here.
	Host string
	// Entries are the cluster's access entries, by the principal's ARN.
	Entries map[string]AccessEntry
}

var _ http.Handler = (*Authenticator)(nil)

// maxReview bounds a TokenReview; a token is at most 4 KiB.
const maxReview = 64 << 10

// ServeHTTP implements http.Handler.
func (a *Authenticator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReview)).Decode(&review); err != nil {
		http.Error(w, "not a TokenReview", http.StatusBadRequest)
		return
	}
	answer := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenReview"},
		Status:   a.review(review.Spec.Token),
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the API server may have gone; there is nobody to tell
}

func (a *Authenticator) review(token string) authenticationv1.TokenReviewStatus {
	arn, err := a.Cloud.VerifyClusterToken(token, a.Cluster, a.Host)
	if err != nil {
		return authenticationv1.TokenReviewStatus{Error: err.Error()}
	}
	entry, ok := a.Entries[arn]
	if !ok {
		return authenticationv1.TokenReviewStatus{Error: "there is no access entry for " + arn}
	}
	return authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
		Username: entry.User, UID: "aws-iam-authenticator:" + arn, Groups: entry.Groups,
		Extra: map[string]authenticationv1.ExtraValue{"arn": {arn}},
	}}
}
