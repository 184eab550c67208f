package aws

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// role is an IAM role. Nothing here is permitted or denied by it.
type role struct {
	name, id, path string
	assume         string // policy document
	created        time.Time
	policies       map[string]string // inline: document by name
	tags           map[string]string
}

// instanceProfile is an IAM instance profile, with a role at most.
type instanceProfile struct {
	name, id, path string
	created        time.Time
	role           *role
	tags           map[string]string
}

// iamName is what roles, policies and instance profiles may be called.
var iamName = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)

func iamActions() map[string]action {
	return map[string]action{
		"CreateRole":               iamAction("CreateRole", (*Cloud).createRole),
		"GetRole":                  iamAction("GetRole", (*Cloud).getRole),
		"ListRoles":                iamAction("ListRoles", (*Cloud).listRoles),
		"UpdateAssumeRolePolicy":   plainAction((*Cloud).updateAssumeRolePolicy),
		"TagRole":                  plainAction((*Cloud).tagRole),
		"PutRolePolicy":            plainAction((*Cloud).putRolePolicy),
		"GetRolePolicy":            iamAction("GetRolePolicy", (*Cloud).getRolePolicy),
		"DeleteRolePolicy":         plainAction((*Cloud).deleteRolePolicy),
		"ListAttachedRolePolicies": iamAction("ListAttachedRolePolicies", (*Cloud).listAttachedRolePolicies),
		"CreateInstanceProfile":    iamAction("CreateInstanceProfile", (*Cloud).createInstanceProfile),
		"GetInstanceProfile":       iamAction("GetInstanceProfile", (*Cloud).getInstanceProfile),
		"AddRoleToInstanceProfile": plainAction((*Cloud).addRoleToInstanceProfile),
		"TagInstanceProfile":       plainAction((*Cloud).tagInstanceProfile),
	}
}

func iamAction[In, Out any](name string, f func(*Cloud, *In) (*Out, error)) action {
	return xmlAction(serviceIAM, name, f)
}

func noSuchEntity(format string, args ...any) *Error {
	e := failf("NoSuchEntity", format, args...)
	e.Status = http.StatusNotFound
	return e
}

func entityExists(format string, args ...any) *Error {
	e := failf("EntityAlreadyExists", format, args...)
	e.Status = http.StatusConflict
	return e
}

func (c *Cloud) findRole(name string) (*role, error) {
	r := c.roles[name]
	if r == nil {
		return nil, noSuchEntity("The role with name %s cannot be found.", name)
	}
	return r, nil
}

func (c *Cloud) findProfile(name string) (*instanceProfile, error) {
	p := c.profiles[name]
	if p == nil {
		return nil, noSuchEntity("Instance Profile %s cannot be found.", name)
	}
	return p, nil
}

type iamTag struct {
	Key   string
	Value *string
}

// iamTags reads tags that a call gives.
func iamTags(list []iamTag) map[string]string {
	tags := map[string]string{}
	for _, t := range list {
		tags[t.Key] = deref(t.Value)
	}
	return tags
}

func shownIAMTags(tags map[string]string) []iamTag {
	out := []iamTag{}
	for _, t := range tagList(tags) {
		out = append(out, iamTag{t.Key, &t.Value})
	}
	return out
}

type iamRole struct {
	Path                     string
	RoleName                 string
	RoleID                   string `x:"RoleId"`
	Arn                      string
	CreateDate               time.Time
	AssumeRolePolicyDocument string
	MaxSessionDuration       int32
	Tags                     []iamTag
}

// shownRole shows a role; documents are URL-encoded in answers, as RFC 3986 says.
func (c *Cloud) shownRole(r *role) iamRole {
	return iamRole{
		Path: r.path, RoleName: r.name, RoleID: r.id, Arn: "arn:aws:iam::" + c.cfg.AccountID + ":role" + r.path + r.name, CreateDate: r.created,
		AssumeRolePolicyDocument: url.PathEscape(r.assume), MaxSessionDuration: 3600, Tags: shownIAMTags(r.tags),
	}
}

type createRoleInput struct {
	Path                     string
	RoleName                 string
	AssumeRolePolicyDocument string
	Tags                     []iamTag
}

type roleOutput struct{ Role iamRole }

func (c *Cloud) createRole(in *createRoleInput) (*roleOutput, error) {
	switch {
	case !iamName.MatchString(in.RoleName) || len(in.RoleName) > 64:
		return nil, validationError("1 validation error detected: Value '%s' at 'roleName' failed to satisfy constraint", in.RoleName)
	case in.AssumeRolePolicyDocument == "":
		return nil, validationError("1 validation error detected: Value null at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must not be null")
	case c.roles[in.RoleName] != nil:
		return nil, entityExists("Role with name %s already exists.", in.RoleName)
	}
	r := &role{
		name: in.RoleName, id: "AROA" + c.iamID(), path: pathOf(in.Path), assume: in.AssumeRolePolicyDocument, created: c.now(),
		policies: map[string]string{}, tags: iamTags(in.Tags),
	}
	c.roles[r.name] = r
	return &roleOutput{Role: c.shownRole(r)}, nil
}

func pathOf(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// iamID is the rest of an id of IAM: sixteen letters and digits.
func (c *Cloud) iamID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, 17)
	for i := range b {
		b[i] = letters[c.ids.IntN(len(letters))]
	}
	return string(b)
}

type roleInput struct{ RoleName string }

func (c *Cloud) getRole(in *roleInput) (*roleOutput, error) {
	r, err := c.findRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	return &roleOutput{Role: c.shownRole(r)}, nil
}

type listRolesInput struct {
	PathPrefix string
	Marker     string
	MaxItems   *int
}

type listRolesOutput struct {
	Roles       []iamRole
	IsTruncated bool
	Marker      string
}

// listRoles leaves out the tags, as the API's documentation says.
func (c *Cloud) listRoles(in *listRolesInput) (*listRolesOutput, error) {
	var list []*role
	for _, name := range slices.Sorted(maps.Keys(c.roles)) {
		if r := c.roles[name]; strings.HasPrefix(r.path, in.PathPrefix) {
			list = append(list, r)
		}
	}
	size := 100
	if in.MaxItems != nil {
		size = *in.MaxItems
	}
	items, next, ok := page("roles", list, func(r *role) string { return r.name }, in.Marker, size)
	if !ok {
		return nil, failf("InvalidInput", "Invalid Marker: %s", in.Marker)
	}
	out := &listRolesOutput{Roles: []iamRole{}, IsTruncated: next != "", Marker: next}
	for _, r := range items {
		shown := c.shownRole(r)
		shown.Tags = nil
		out.Roles = append(out.Roles, shown)
	}
	return out, nil
}

type updateAssumeInput struct{ RoleName, PolicyDocument string }

func (c *Cloud) updateAssumeRolePolicy(in *updateAssumeInput) error {
	r, err := c.findRole(in.RoleName)
	if err == nil {
		r.assume = in.PolicyDocument
	}
	return err
}

type tagRoleInput struct {
	RoleName string
	Tags     []iamTag
}

func (c *Cloud) tagRole(in *tagRoleInput) error {
	r, err := c.findRole(in.RoleName)
	if err != nil {
		return err
	}
	for _, t := range in.Tags {
		r.tags[t.Key] = deref(t.Value)
	}
	return nil
}

type rolePolicyInput struct{ RoleName, PolicyName, PolicyDocument string }

func (c *Cloud) putRolePolicy(in *rolePolicyInput) error {
	r, err := c.findRole(in.RoleName)
	switch {
	case err != nil:
		return err
	case !iamName.MatchString(in.PolicyName) || in.PolicyDocument == "":
		return validationError("1 validation error detected: 'policyName' or 'policyDocument' failed to satisfy constraint")
	}
	r.policies[in.PolicyName] = in.PolicyDocument
	return nil
}

type namedPolicyInput struct{ RoleName, PolicyName string }

type rolePolicyOutput struct{ RoleName, PolicyName, PolicyDocument string }

func (c *Cloud) getRolePolicy(in *namedPolicyInput) (*rolePolicyOutput, error) {
	r, err := c.findRole(in.RoleName)
	if err != nil {
		return nil, err
	}
	document, ok := r.policies[in.PolicyName]
	if !ok {
		return nil, noSuchEntity("The role policy with name %s cannot be found.", in.PolicyName)
	}
	return &rolePolicyOutput{RoleName: r.name, PolicyName: in.PolicyName, PolicyDocument: url.PathEscape(document)}, nil
}

func (c *Cloud) deleteRolePolicy(in *namedPolicyInput) error {
	r, err := c.findRole(in.RoleName)
	if err != nil {
		return err
	}
	if _, ok := r.policies[in.PolicyName]; !ok {
		return noSuchEntity("The role policy with name %s cannot be found.", in.PolicyName)
	}
	delete(r.policies, in.PolicyName)
	return nil
}

type attachedPoliciesInput struct {
	RoleName   string
	PathPrefix string
	Marker     string
	MaxItems   *int
}

type attachedPoliciesOutput struct {
	AttachedPolicies []struct{}
	IsTruncated      bool
}

// listAttachedRolePolicies has none to show: policies that are not inline are not simulated.
func (c *Cloud) listAttachedRolePolicies(in *attachedPoliciesInput) (*attachedPoliciesOutput, error) {
	if _, err := c.findRole(in.RoleName); err != nil {
		return nil, err
	}
	return &attachedPoliciesOutput{AttachedPolicies: []struct{}{}}, nil
}

type iamProfile struct {
	Path                string
	InstanceProfileName string
	InstanceProfileID   string `x:"InstanceProfileId"`
	Arn                 string
	CreateDate          time.Time
	Roles               []iamRole
	Tags                []iamTag
}

type profileOutput struct{ InstanceProfile iamProfile }

func (c *Cloud) shownProfile(p *instanceProfile) *profileOutput {
	out := iamProfile{
		Path: p.path, InstanceProfileName: p.name, InstanceProfileID: p.id, Arn: "arn:aws:iam::" + c.cfg.AccountID + ":instance-profile" + p.path + p.name,
		CreateDate: p.created, Roles: []iamRole{}, Tags: shownIAMTags(p.tags),
	}
	if p.role != nil {
		out.Roles = append(out.Roles, c.shownRole(p.role))
	}
	return &profileOutput{out}
}

type createProfileInput struct {
	InstanceProfileName string
	Path                string
	Tags                []iamTag
}

func (c *Cloud) createInstanceProfile(in *createProfileInput) (*profileOutput, error) {
	switch {
	case !iamName.MatchString(in.InstanceProfileName):
		return nil, validationError("1 validation error detected: Value '%s' at 'instanceProfileName' failed to satisfy constraint", in.InstanceProfileName)
	case c.profiles[in.InstanceProfileName] != nil:
		return nil, entityExists("Instance Profile %s already exists.", in.InstanceProfileName)
	}
	p := &instanceProfile{name: in.InstanceProfileName, id: "AIPA" + c.iamID(), path: pathOf(in.Path), created: c.now(), tags: iamTags(in.Tags)}
	c.profiles[p.name] = p
	return c.shownProfile(p), nil
}

type profileInput struct{ InstanceProfileName string }

func (c *Cloud) getInstanceProfile(in *profileInput) (*profileOutput, error) {
	p, err := c.findProfile(in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	return c.shownProfile(p), nil
}

type addRoleInput struct{ InstanceProfileName, RoleName string }

func (c *Cloud) addRoleToInstanceProfile(in *addRoleInput) error {
	p, err := c.findProfile(in.InstanceProfileName)
	if err != nil {
		return err
	}
	r, err := c.findRole(in.RoleName)
	switch {
	case err != nil:
		return err
	case p.role != nil:
		e := failf("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		e.Status = http.StatusConflict
		return e
	}
	p.role = r
	return nil
}

type tagProfileInput struct {
	InstanceProfileName string
	Tags                []iamTag
}

func (c *Cloud) tagInstanceProfile(in *tagProfileInput) error {
	p, err := c.findProfile(in.InstanceProfileName)
	if err != nil {
		return err
	}
	for _, t := range in.Tags {
		p.tags[t.Key] = deref(t.Value)
	}
	return nil
}
