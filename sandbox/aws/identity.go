package aws

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// caller is who a request says that it is from.
type caller struct {
	key, region, service string // of the credential scope
	token                string // of temporary credentials
}

// callerOf reads who signed a request, in a header or in the URL; nil for one that nobody signed.
func callerOf(r *http.Request, form url.Values) *caller {
	if m := credentialScope.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return &caller{key: m[1], region: m[2], service: m[3], token: r.Header.Get(amzSecurityToken)}
	}
	return presignedCaller(form)
}

// session is what AssumeRole gives: temporary credentials of a role.
type session struct {
	secret, token string
	role, name    string
	expires       time.Time
}

const (
	// RoleName is the account's one role. Whoever is allowed anything may assume it, and it is allowed everything.
	RoleName = "rotator"
	// maxSessions bounds what is remembered; the oldest are forgotten.
	maxSessions = 1000
	// sessionLife is how long credentials live when the call does not say; the other two are the limits of what it says.
	sessionLife, minSessionLife, maxSessionLife = time.Hour, 15 * time.Minute, 12 * time.Hour
)

// RoleARN is the ARN of the role of [RoleName].
func (c *Cloud) RoleARN() string { return "arn:aws:iam::" + c.cfg.AccountID + ":role/" + RoleName }

// secretOf is the secret of an access key.
func (c *Cloud) secretOf(key string) string {
	if s := c.sessions[key]; s != nil {
		return s.secret
	}
	return SecretAccessKey
}

// userARN is the ARN of the user whose access key that is.
func (c *Cloud) userARN(key string) string { return "arn:aws:iam::" + c.cfg.AccountID + ":user/" + key }

// callerIdentityOf is who a caller is to STS: a user, or a session of a role.
func (c *Cloud) callerIdentityOf(key string) (arn, id string) {
	if s := c.sessions[key]; s != nil {
		return "arn:aws:sts::" + c.cfg.AccountID + ":assumed-role/" + s.role + "/" + s.name, "AROASANDBOXSANDBOX123:" + s.name
	}
	return c.userARN(key), "AIDASANDBOXSANDBOX123"
}

// principalOf is who a caller is to the access entries of EKS: a user, or the role itself whatever the session's name.
func (c *Cloud) principalOf(key string) string {
	if c.sessions[key] != nil {
		return c.RoleARN()
	}
	return c.userARN(key)
}

// known checks a caller's credentials, as far as they can be without the signature. Caller holds mu.
func (c *Cloud) known(svc *service, who *caller) error {
	refused := func(query, json string, status int, message string) error {
		switch {
		case svc.routes != nil:
			return &Error{Code: json, Message: message, Status: http.StatusForbidden}
		case svc.json:
			return &Error{Code: json, Message: message}
		}
		return &Error{Code: query, Message: message, Status: status}
	}
	s := c.sessions[who.key]
	switch {
	case s == nil && (who.key == AccessKeyID || who.key == DeniedAccessKeyID):
		return nil
	case s != nil && who.token == s.token && c.now().Before(s.expires):
		return nil
	case s != nil && who.token == s.token && svc.name == serviceEC2:
		return refused("RequestExpired", "", http.StatusBadRequest, "Request has expired.")
	case s != nil && who.token == s.token:
		return refused("ExpiredToken", "ExpiredTokenException", http.StatusForbidden, "The security token included in the request is expired")
	case svc.name == serviceEC2:
		return refused("AuthFailure", "", http.StatusUnauthorized, "AWS was not able to validate the provided access credentials")
	}
	return refused("InvalidClientTokenId", "UnrecognizedClientException", http.StatusForbidden, "The security token included in the request is invalid.")
}

type assumeRoleInput struct {
	RoleArn         string
	RoleSessionName string
	DurationSeconds *int32
	ExternalID      string `q:"ExternalId"`
}

type assumeRoleOutput struct {
	Credentials     stsCredentials
	AssumedRoleUser assumedRoleUser
}

type stsCredentials struct {
	AccessKeyID     string `x:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
}

type assumedRoleUser struct {
	AssumedRoleID string `x:"AssumedRoleId"`
	Arn           string
}

func (c *Cloud) assumeRole(in *assumeRoleInput) (*assumeRoleOutput, error) {
	return c.newSession(in.RoleArn, in.RoleSessionName, in.DurationSeconds, "sts:AssumeRole")
}

type webIdentityInput struct {
	RoleArn          string
	RoleSessionName  string
	WebIdentityToken string
	ProviderID       string `q:"ProviderId"`
	DurationSeconds  *int32
}

type webIdentityOutput struct {
	Credentials                 stsCredentials
	AssumedRoleUser             assumedRoleUser
	SubjectFromWebIdentityToken string
	Provider                    string
	Audience                    string
}

// assumeRoleWithWebIdentity gives a role to whoever has the token of a service account, as IAM roles for service accounts
// do. The token is taken for what it says: no issuer is asked.
func (c *Cloud) assumeRoleWithWebIdentity(in *webIdentityInput) (*webIdentityOutput, error) {
	if strings.Count(in.WebIdentityToken, ".") != 2 {
		return nil, failf("InvalidIdentityToken", "The ID Token provided is not a valid JWT.")
	}
	out, err := c.newSession(in.RoleArn, in.RoleSessionName, in.DurationSeconds, "sts:AssumeRoleWithWebIdentity")
	if err != nil {
		return nil, err
	}
	return &webIdentityOutput{Credentials: out.Credentials, AssumedRoleUser: out.AssumedRoleUser, Provider: "https://kubernetes.default.svc",
		SubjectFromWebIdentityToken: "system:serviceaccount:sandbox:sandbox", Audience: "sts.amazonaws.com"}, nil
}

func (c *Cloud) newSession(role, name string, lifetime *int32, action string) (*assumeRoleOutput, error) {
	life := sessionLife
	if lifetime != nil {
		life = time.Duration(*lifetime) * time.Second
	}
	switch {
	case len(name) < 2 || len(name) > 64:
		return nil, validationError("1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must have length between 2 and 64", name)
	case life < minSessionLife || life > maxSessionLife:
		return nil, validationError("1 validation error detected: Value '%d' at 'durationSeconds' is not between %v and %v", *lifetime, minSessionLife, maxSessionLife)
	case role != c.RoleARN():
		return nil, &Error{Code: "AccessDenied", Message: "User is not authorized to perform: " + action + " on resource: " + role, Status: http.StatusForbidden}
	}
	if len(c.sessionOrder) >= maxSessions {
		delete(c.sessions, c.sessionOrder[0])
		c.sessionOrder = slices.Delete(c.sessionOrder, 0, 1)
	}
	key := "ASIA" + strings.ToUpper(strings.ReplaceAll(c.newUUID(), "-", "")[:16])
	s := &session{secret: c.newUUID(), token: c.newUUID(), role: RoleName, name: name, expires: c.now().Add(life)}
	c.sessions[key], c.sessionOrder = s, append(c.sessionOrder, key)
	arn, id := c.callerIdentityOf(key)
	return &assumeRoleOutput{
		Credentials:     stsCredentials{AccessKeyID: key, SecretAccessKey: s.secret, SessionToken: s.token, Expiration: s.expires},
		AssumedRoleUser: assumedRoleUser{AssumedRoleID: id, Arn: arn},
	}, nil
}
