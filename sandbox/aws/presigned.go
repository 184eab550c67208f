package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The query parameters of a request that is signed in its URL (SigV4, "Authenticating requests: query parameters").
const (
	amzAlgorithm     = "X-Amz-Algorithm"
	amzCredential    = "X-Amz-Credential"
	amzDate          = "X-Amz-Date"
	amzExpires       = "X-Amz-Expires"
	amzSignedHeaders = "X-Amz-SignedHeaders"
	amzSignature     = "X-Amz-Signature"
	amzSecurityToken = "X-Amz-Security-Token" //nolint:gosec // the name of a parameter
)

var amzParameters = []string{amzAlgorithm, amzCredential, amzDate, amzExpires, amzSignedHeaders, amzSignature, amzSecurityToken}

// presignedLife is how long a presigned request to STS is good for, whatever it says itself: 15 minutes.
const presignedLife = 15 * time.Minute

// presignedCaller reads who signed a request in its URL; nil for one that is not.
func presignedCaller(q url.Values) *caller {
	parts := strings.Split(q.Get(amzCredential), "/")
	if len(parts) != 5 || parts[4] != "aws4_request" || q.Get(amzAlgorithm) != "AWS4-HMAC-SHA256" {
		return nil
	}
	return &caller{key: parts[0], region: parts[2], service: parts[3], token: q.Get(amzSecurityToken)}
}

// verifyPresigned checks the signature of a request without a body that is signed in its URL, and its age. Unlike those
// in headers it is verified, because what is signed is what it proves: in a token for a cluster, the header that names
// the cluster.
func (c *Cloud) verifyPresigned(r *http.Request) error {
	q, now := r.URL.Query(), c.now()
	denied := func(code, format string, args ...any) error {
		return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusForbidden}
	}
	at, err := time.Parse("20060102T150405Z", q.Get(amzDate))
	if err != nil {
		return denied("IncompleteSignature", "%s must be a date like 20060102T150405Z", amzDate)
	}
	if now.After(at.Add(presignedLife)) || at.After(now.Add(presignedLife)) {
		return denied("SignatureDoesNotMatch", "Signature expired: %s is now %s", q.Get(amzDate), now.UTC().Format("20060102T150405Z"))
	}
	id, scope, _ := strings.Cut(q.Get(amzCredential), "/")
	signed := strings.Split(q.Get(amzSignedHeaders), ";")
	if !slices.Contains(signed, "host") {
		return denied("SignatureDoesNotMatch", "The header host must be signed")
	}
	var headers strings.Builder
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	given := q.Get(amzSignature)
	q.Del(amzSignature)
	body := sha256.Sum256(nil)
	canonical := sha256.Sum256([]byte(strings.Join([]string{
		r.Method, r.URL.EscapedPath(), strings.ReplaceAll(q.Encode(), "+", "%20"), headers.String(), strings.Join(signed, ";"), hex.EncodeToString(body[:]),
	}, "\n")))
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", q.Get(amzDate), scope, hex.EncodeToString(canonical[:])}, "\n")
	c.mu.Lock()
	key := []byte("AWS4" + c.secretOf(id))
	c.mu.Unlock()
	for part := range strings.SplitSeq(scope, "/") {
		key = sum(key, part)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(sum(key, toSign))), []byte(given)) {
		return denied("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text)) // a hash does not fail
	return h.Sum(nil)
}
