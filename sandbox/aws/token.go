package aws

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A token for an EKS cluster is a presigned request to STS for the caller's identity: whoever receives it sends it and
// learns from the answer who made it. The header that names the cluster is signed, so that a token for one cluster is
// none for another.
const (
	tokenPrefix   = "k8s-aws-v1."
	clusterHeader = "x-k8s-aws-id"
	maxTokenSize  = 4 << 10
)

// VerifyClusterToken answers the ARN of the principal who made a token for a cluster, a user or a role, by the rules of EKS' own
// authenticator: the request must go to STS (here: host, or STS' name at AWS), ask for nothing but the caller's identity,
// and have the cluster's name signed. The errors name the rule and never the token.
func (c *Cloud) VerifyClusterToken(token, cluster, host string) (arn string, err error) {
	encoded, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok {
		return "", fmt.Errorf("the token does not begin with %s", tokenPrefix)
	}
	if len(token) > maxTokenSize {
		return "", fmt.Errorf("the token is longer than %d bytes", maxTokenSize)
	}
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", errors.New("the token is not base64 (URL alphabet, no padding)")
	}
	u, err := url.Parse(string(raw))
	if err != nil {
		return "", errors.New("the token holds no URL")
	}
	q := u.Query()
	switch {
	case u.Host != host && (u.Scheme != "https" || u.Host != "sts."+c.cfg.Region+".amazonaws.com"):
		return "", fmt.Errorf("the token is for host %q, which is not STS", u.Host)
	case u.Path != "/":
		return "", fmt.Errorf("the token's URL has the path %q", u.Path)
	case q.Get("Action") != "GetCallerIdentity":
		return "", errors.New("the token's URL does not ask for GetCallerIdentity")
	case !slices.Contains(strings.Split(q.Get(amzSignedHeaders), ";"), clusterHeader):
		return "", fmt.Errorf("the header %s is not signed", clusterHeader)
	}
	for name, values := range q {
		if len(values) != 1 || name != "Action" && name != "Version" && !slices.Contains(amzParameters, name) {
			return "", fmt.Errorf("the token's URL has the parameter %s", name)
		}
	}
	who := presignedCaller(q)
	if who == nil || who.service != serviceSTS {
		return "", errors.New("the token's URL is not signed for STS")
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}
	r.Header.Set(clusterHeader, cluster)
	if err := c.verifyPresigned(r); err != nil {
		return "", fmt.Errorf("STS refuses the token for cluster %s: %w", cluster, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.authenticate(findService(who, "", ""), "GetCallerIdentity", who); err != nil {
		return "", err
	}
	return c.principalOf(who.key), nil
}

// Administrator is the ARN of the user of [AccessKeyID].
func (c *Cloud) Administrator() string { return c.userARN(AccessKeyID) }
