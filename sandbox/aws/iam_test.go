package aws

import (
	"net/url"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// Roles and instance profiles as `kops update cluster` makes them. IAM is one
// for all regions: its calls are signed for us-east-1.
func TestIAM(t *testing.T) {
	a := newAccount(t)
	const document = `{"Version": "2012-10-17", "Statement": []}`
	role, profile, policy := sdk.String("nodes.example.com"), sdk.String("nodes.example.com"), sdk.String("nodes")
	tags := []types.Tag{{Key: sdk.String("kubernetes.io/cluster/example.com"), Value: sdk.String("owned")}, {Key: sdk.String("empty"), Value: sdk.String("")}}
	_, err := a.IAM.GetRole(a.ctx(), &iam.GetRoleInput{RoleName: role})
	refused(t, err, "NoSuchEntity", *role)
	must[*iam.CreateRoleOutput](t)(a.IAM.CreateRole(a.ctx(), &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: sdk.String(document), Tags: tags}))
	_, err = a.IAM.CreateRole(a.ctx(), &iam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: sdk.String(document)})
	refused(t, err, "EntityAlreadyExists", *role)
	must[*iam.TagRoleOutput](t)(a.IAM.TagRole(a.ctx(), &iam.TagRoleInput{RoleName: role, Tags: []types.Tag{{Key: sdk.String("more"), Value: sdk.String("1")}}}))
	must[*iam.UpdateAssumeRolePolicyOutput](t)(a.IAM.UpdateAssumeRolePolicy(a.ctx(), &iam.UpdateAssumeRolePolicyInput{RoleName: role, PolicyDocument: sdk.String(document)}))
	got := must[*iam.GetRoleOutput](t)(a.IAM.GetRole(a.ctx(), &iam.GetRoleInput{RoleName: role})).Role
	if text, err := url.QueryUnescape(*got.AssumeRolePolicyDocument); err != nil || text != document || len(got.Tags) != 3 {
		t.Errorf("role with the document %q (%v) and tags %+v", text, err, got.Tags)
	}
	list := must[*iam.ListRolesOutput](t)(a.IAM.ListRoles(a.ctx(), &iam.ListRolesInput{}))
	if len(list.Roles) != 1 || list.Roles[0].Tags != nil || list.IsTruncated {
		t.Errorf("roles %+v", list)
	}

	must[*iam.PutRolePolicyOutput](t)(a.IAM.PutRolePolicy(a.ctx(), &iam.PutRolePolicyInput{RoleName: role, PolicyName: policy, PolicyDocument: sdk.String(document)}))
	p := must[*iam.GetRolePolicyOutput](t)(a.IAM.GetRolePolicy(a.ctx(), &iam.GetRolePolicyInput{RoleName: role, PolicyName: policy}))
	if text, err := url.QueryUnescape(*p.PolicyDocument); err != nil || text != document {
		t.Errorf("policy %q, %v", text, err)
	}
	must[*iam.ListAttachedRolePoliciesOutput](t)(a.IAM.ListAttachedRolePolicies(a.ctx(), &iam.ListAttachedRolePoliciesInput{RoleName: role}))
	must[*iam.DeleteRolePolicyOutput](t)(a.IAM.DeleteRolePolicy(a.ctx(), &iam.DeleteRolePolicyInput{RoleName: role, PolicyName: policy}))
	_, err = a.IAM.GetRolePolicy(a.ctx(), &iam.GetRolePolicyInput{RoleName: role, PolicyName: policy})
	refused(t, err, "NoSuchEntity", *policy)

	must[*iam.CreateInstanceProfileOutput](t)(a.IAM.CreateInstanceProfile(a.ctx(), &iam.CreateInstanceProfileInput{InstanceProfileName: profile}))
	must[*iam.TagInstanceProfileOutput](t)(a.IAM.TagInstanceProfile(a.ctx(), &iam.TagInstanceProfileInput{InstanceProfileName: profile, Tags: tags}))
	must[*iam.AddRoleToInstanceProfileOutput](t)(a.IAM.AddRoleToInstanceProfile(a.ctx(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: profile, RoleName: role}))
	_, err = a.IAM.AddRoleToInstanceProfile(a.ctx(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: profile, RoleName: role})
	refused(t, err, "LimitExceeded", "1")
	made := must[*iam.GetInstanceProfileOutput](t)(a.IAM.GetInstanceProfile(a.ctx(), &iam.GetInstanceProfileInput{InstanceProfileName: profile})).InstanceProfile
	if len(made.Roles) != 1 || *made.Roles[0].RoleName != *role || len(made.Tags) != 2 {
		t.Errorf("instance profile %+v", made)
	}
}
