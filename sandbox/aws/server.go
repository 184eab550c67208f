package aws

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rotatord/rotator/sandbox/aws/wire"
	"github.com/rotatord/rotator/sandbox/control"
)

// The services, by the names that SigV4 gives them in the credential scope.
const (
	serviceEC2         = "ec2"
	serviceAutoScaling = "autoscaling"
	serviceSSM         = "ssm"
	serviceSTS         = "sts"
	serviceELB         = "elasticloadbalancing"
	serviceEKS         = "eks"
	serviceIAM         = "iam"
)

// The access keys that the simulated account knows.
const (
	// AccessKeyID and SecretAccessKey are the credentials of an administrator.
	AccessKeyID     = "sandbox"
	SecretAccessKey = "sandbox"
	// DeniedAccessKeyID belongs to a user without any permission.
	DeniedAccessKeyID = "denied"
)

// action answers one API action: it decodes the request, acts and encodes the answer. It runs with mu held.
type action func(c *Cloud, body request) ([]byte, error)

// request is a call as it came in, before its parameters are decoded.
type request struct {
	id   string // request id
	key  string // the caller's access key
	form url.Values
	json []byte
	path []string // what the route's placeholders stand for, in their order
}

// service is one AWS API: how it is told from the others, its protocol and its actions.
type service struct {
	name    string
	version string // the Version parameter, or the prefix of X-Amz-Target
	xmlns   string
	json    bool
	routes  []route // of the protocol REST-JSON; empty: the action is named in the request
	actions map[string]action
}

// services are all that is simulated; a new service is a new line and a file of actions.
var services = []*service{
	{name: serviceEC2, version: "2016-11-15", xmlns: "http://ec2.amazonaws.com/doc/2016-11-15/", actions: ec2Actions()},
	{name: serviceAutoScaling, version: "2011-01-01", xmlns: "http://autoscaling.amazonaws.com/doc/2011-01-01/", actions: autoScalingActions()},
	{name: serviceELB, version: "2015-12-01", xmlns: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/", actions: elbActions()},
	{name: serviceSTS, version: "2011-06-15", xmlns: "https://sts.amazonaws.com/doc/2011-06-15/", actions: stsActions()},
	{name: serviceIAM, version: "2010-05-08", xmlns: "https://iam.amazonaws.com/doc/2010-05-08/", actions: iamActions()},
	{name: serviceSSM, version: "AmazonSSM", json: true, actions: ssmActions()},
	{name: serviceEKS, json: true, routes: eksRoutes(), actions: eksActions()},
}

// knownAction says whether a fault's action can ever match: a service, an action, or SERVICE:ACTION (ACTION may be *).
func knownAction(name string) bool {
	svc, act, both := strings.Cut(name, ":")
	return slices.ContainsFunc(services, func(s *service) bool {
		if both {
			return s.name == svc && (act == "*" || s.actions[act] != nil)
		}
		return s.name == name || s.actions[name] != nil
	})
}

// xmlAction makes an action of the protocols ec2 and query from a function of plain structs. Out may be struct{}.
func xmlAction[In, Out any](svc, name string, f func(*Cloud, *In) (*Out, error)) action {
	return func(c *Cloud, r request) ([]byte, error) {
		p := wire.Query
		if svc == serviceEC2 {
			p = wire.EC2
		}
		in := new(In)
		if err := wire.Decode(p, r.form, in); err != nil {
			return nil, err
		}
		out, err := f(c, in)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if p == wire.EC2 {
			b.WriteString("<requestId>" + r.id + "</requestId>")
			wire.Encode(p, &b, out)
			return b.Bytes(), nil
		}
		b.WriteString("<" + name + "Result>")
		wire.Encode(p, &b, out)
		b.WriteString("</" + name + "Result><ResponseMetadata><RequestId>" + r.id + "</RequestId></ResponseMetadata>")
		return b.Bytes(), nil
	}
}

// plainAction is an xmlAction of the protocol query whose model has no output: only the metadata comes back.
func plainAction[In any](f func(*Cloud, *In) error) action {
	return func(c *Cloud, r request) ([]byte, error) {
		in := new(In)
		if err := wire.Decode(wire.Query, r.form, in); err != nil {
			return nil, err
		}
		if err := f(c, in); err != nil {
			return nil, err
		}
		return []byte("<ResponseMetadata><RequestId>" + r.id + "</RequestId></ResponseMetadata>"), nil
	}
}

// jsonAction makes an action of the protocol JSON 1.1.
func jsonAction[In, Out any](f func(*Cloud, *In) (*Out, error)) action {
	return func(c *Cloud, r request) ([]byte, error) {
		in := new(In)
		d := json.NewDecoder(bytes.NewReader(r.json))
		d.DisallowUnknownFields()
		if err := d.Decode(in); err != nil {
			return nil, failf("SerializationException", "%v", err)
		}
		out, err := f(c, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}

// maxRequest bounds a request's body; AWS's own limits are lower (user data of 16 KiB is the largest parameter).
const maxRequest = 1 << 20

// credentialScope matches the Credential of a SigV4 Authorization header: key id, date, region, service.
var credentialScope = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request\b`)

// Handler speaks the wire protocols of all services on one port. The service is told by the SigV4 credential scope,
// without one by the request's Version or X-Amz-Target. Signatures are not verified, those in URLs aside: the secret is
// no secret here.
func (c *Cloud) Handler() http.Handler { return http.HandlerFunc(c.serveAWS) }

func (c *Cloud) serveAWS(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	id := c.newUUID()
	c.mu.Unlock()

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "read the request: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		var posted url.Values
		posted, err = url.ParseQuery(string(body))
		for k, v := range posted {
			form[k] = v
		}
	}
	if err != nil {
		http.Error(w, "read the request's parameters: "+err.Error(), http.StatusBadRequest)
		return
	}
	presigned := r.Header.Get("Authorization") == "" && form.Has(amzCredential)
	who := callerOf(r, form)
	prefix, target, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	svc := findService(who, form.Get("Version"), prefix)
	if svc == nil {
		http.Error(w, "the simulated AWS serves ec2, autoscaling, elasticloadbalancing, eks, iam, ssm and sts: this request is none of theirs", http.StatusNotFound)
		return
	}
	in := request{id: id, form: form, json: body}
	name := form.Get("Action")
	switch {
	case svc.routes != nil:
		name, in.path = findRoute(svc.routes, r.Method, r.URL.EscapedPath())
	case svc.json:
		name = target
	}
	var answer []byte
	if presigned {
		for _, p := range amzParameters {
			form.Del(p)
		}
		err = c.verifyPresigned(r)
	}
	if err == nil {
		answer, err = c.call(svc, name, who, in)
	}
	if err != nil {
		e := asError(svc.name, name, err)
		c.count(svc, name, e.Code)
		writeError(w, svc, id, e)
		return
	}
	c.count(svc, name, "")
	writeAnswer(w, svc, name, id, answer)
}

func findService(who *caller, version, target string) *service {
	for _, s := range services {
		if who != nil && s.name == who.service || who == nil && s.version != "" && (s.version == version || s.json && s.version == target) {
			return s
		}
	}
	return nil
}

// count leaves out actions that do not exist, so that the counters stay bounded.
func (c *Cloud) count(svc *service, name, code string) {
	if svc.actions[name] == nil {
		name = "(unknown)"
	}
	c.stats.add(svc.name, name, code)
}

// call runs one action behind all that can stop it, in AWS's order: identity, permission, rate, then the act.
func (c *Cloud) call(svc *service, name string, who *caller, r request) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.authenticate(svc, name, who); err != nil {
		return nil, err
	}
	act := svc.actions[name]
	if act == nil {
		return nil, unknownAction(svc, name)
	}
	denied := who != nil && who.key == DeniedAccessKeyID || c.callFault(control.Deny, svc.name, name)
	if denied && !needsNoPermission(svc, name) {
		return nil, accessDenied(svc, name, c.cfg.AccountID)
	}
	if !c.limits.allow(svc.name, name, c.now()) || c.callFault(control.Throttle, svc.name, name) {
		return nil, throttled(svc)
	}
	if c.callFault(control.ErrorBeforeAct, svc.name, name) {
		return nil, internalError(svc)
	}
	if who != nil {
		r.key = who.key
	}
	answer, err := act(c, r)
	if err == nil && c.callFault(control.ErrorAfterAct, svc.name, name) {
		return nil, internalError(svc)
	}
	return answer, err
}

// needsNoPermission tells the actions that no policy can deny: GetCallerIdentity, as its documentation says, and what
// is called without credentials.
func needsNoPermission(svc *service, name string) bool {
	return svc.name == serviceSTS && name == "GetCallerIdentity" || unsigned(svc, name)
}

// unsigned tells the action that is called to get credentials.
func unsigned(svc *service, name string) bool {
	return svc.name == serviceSTS && name == "AssumeRoleWithWebIdentity"
}

func (c *Cloud) authenticate(svc *service, name string, who *caller) error {
	switch {
	case who == nil && unsigned(svc, name):
		return nil
	case who == nil && svc.json: // never one of REST-JSON: without a scope it is not told from others
		return failf("MissingAuthenticationTokenException", "Missing Authentication Token")
	case who == nil:
		return &Error{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token", Status: http.StatusForbidden}
	}
	if err := c.known(svc, who); err != nil {
		return err
	}
	if who.region == c.cfg.Region || svc.name == serviceSTS || svc.name == serviceIAM { // IAM is one for all regions
		return nil
	}
	// Each of AWS's endpoints serves one region and says so to requests signed for another.
	code := "SignatureDoesNotMatch"
	if svc.json {
		code = "InvalidSignatureException"
	}
	return &Error{Code: code, Status: http.StatusForbidden,
		Message: fmt.Sprintf("Credential should be scoped to a valid region, not '%s' (the simulated AWS is %s).", who.region, c.cfg.Region)}
}

func unknownAction(svc *service, name string) *Error {
	switch {
	case svc.routes != nil:
		return &Error{Code: "UnknownOperationException", Message: "the simulated AWS knows no such method and path of " + svc.name, Status: http.StatusNotFound}
	case svc.json:
		return failf("UnknownOperationException", "the simulated AWS does not know the operation %q", name)
	case svc.name == serviceEC2:
		return failf("InvalidAction", "The action %s is not valid for this web service.", name)
	}
	return failf("InvalidAction", "Could not find operation %s for version %s", name, svc.version)
}

func accessDenied(svc *service, name, account string) *Error {
	user := "arn:aws:iam::" + account + ":user/denied"
	why := fmt.Sprintf("User: %s is not authorized to perform: %s:%s because no identity-based policy allows the %s:%s action", user, svc.name, name, svc.name, name)
	switch {
	case svc.routes != nil:
		return &Error{Code: "AccessDeniedException", Message: why, Status: http.StatusForbidden}
	case svc.json:
		return failf("AccessDeniedException", "%s", why)
	case svc.name == serviceEC2:
		return &Error{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. " + why, Status: http.StatusForbidden}
	}
	return &Error{Code: "AccessDenied", Message: why, Status: http.StatusForbidden}
}

func throttled(svc *service) *Error {
	switch {
	case svc.routes != nil:
		return &Error{Code: "TooManyRequestsException", Message: "Too Many Requests", Status: http.StatusTooManyRequests}
	case svc.json:
		return failf("ThrottlingException", "Rate exceeded")
	case svc.name == serviceEC2:
		return &Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
	}
	return failf("Throttling", "Rate exceeded")
}

func internalError(svc *service) *Error {
	code := map[string]string{serviceEC2: "InternalError", serviceSSM: "InternalServerError", serviceEKS: "ServerException"}[svc.name]
	if code == "" {
		code = "InternalFailure"
	}
	return &Error{Code: code, Message: "An internal error has occurred", Status: http.StatusInternalServerError}
}

func writeAnswer(w http.ResponseWriter, svc *service, name, id string, answer []byte) {
	switch {
	case svc.routes != nil:
		writeBody(w, http.StatusOK, "application/json", id, answer)
		return
	case svc.json:
		writeBody(w, http.StatusOK, "application/x-amz-json-1.1", id, answer)
		return
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<" + name + `Response xmlns="` + svc.xmlns + `">`)
	b.Write(answer)
	b.WriteString("</" + name + "Response>")
	writeBody(w, http.StatusOK, "text/xml;charset=UTF-8", id, b.Bytes())
}

func writeError(w http.ResponseWriter, svc *service, id string, e *Error) {
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if svc.routes != nil {
		writeRESTError(w, status, id, e)
		return
	}
	if svc.json {
		b, err := json.Marshal(map[string]string{"__type": e.Code, "message": e.Message})
		if err != nil {
			panic(err) // two strings always marshal
		}
		writeBody(w, status, "application/x-amz-json-1.1", id, b)
		return
	}
	fault := "Sender"
	if status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	var msg bytes.Buffer
	_ = xml.EscapeText(&msg, []byte(e.Message)) // a bytes.Buffer does not fail
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if svc.name == serviceEC2 {
		fmt.Fprintf(&b, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>", e.Code, msg.Bytes(), id)
	} else {
		fmt.Fprintf(&b, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`, svc.xmlns, fault, e.Code, msg.Bytes(), id)
	}
	writeBody(w, status, "text/xml;charset=UTF-8", id, b.Bytes())
}

func writeBody(w http.ResponseWriter, status int, contentType, id string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone; there is nobody to tell
}
