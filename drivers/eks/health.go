package eks

import (
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"

	"github.com/rotatord/rotator/drivers/sdk"
)

// advice says what to do about EKS' codes of health issues and of errors of
// updates, which share their names.
var advice = map[string]string{
	"AccessDenied":                             "The node role has no access entry (or line in aws-auth), or lost a policy: nodes cannot register. Restore them.",
	"AmiIdNotFound":                            "The image of the launch template is gone. Publish a version of the template with an image that exists.",
	"AsgInstanceLaunchFailures":                "EC2 does not launch instances for the group; its activities say why: aws autoscaling describe-scaling-activities. Often: no capacity of that type, a quota, or an encryption key without grant.",
	"AutoScalingGroupInstanceRefreshActive":    "Let the instance refresh of its Auto Scaling group finish, or cancel it.",
	"AutoScalingGroupInvalidConfiguration":     "Somebody changed the Auto Scaling group behind EKS. Put back what they changed.",
	"AutoScalingGroupNotFound":                 "Somebody deleted the Auto Scaling group. Create the node group anew.",
	"ClusterUnreachable":                       "EKS or the nodes do not reach the API server: check its endpoint access, security groups and admission webhooks.",
	"Ec2InstanceTypeDoesNotExist":              "The node group names an instance type that does not exist here. Create it anew with one that does.",
	"Ec2LaunchTemplateInvalidConfiguration":    "The launch template cannot be used. Publish a version that can.",
	"Ec2LaunchTemplateMaxLimitExceeded":        "The account has as many launch templates as it may have. Delete some, or ask for a higher quota.",
	"Ec2LaunchTemplateNotFound":                "Somebody deleted EKS' launch template. Create the node group anew.",
	"Ec2LaunchTemplateVersionMaxLimitExceeded": "The launch template has as many versions as it may have. Delete old ones.",
	"Ec2LaunchTemplateVersionMismatch":         "Somebody pointed the Auto Scaling group to another launch template or version than EKS made. Point it back: EKS refuses updates until then.",
	"Ec2SecurityGroupNotFound":                 "The cluster's security group is gone. Create the cluster's node groups anew.",
	"Ec2SubnetInvalidConfiguration":            "Nodes get no public address in these subnets, and need one. Turn auto-assignment on.",
	"Ec2SubnetMissingIpv6Assignment":           "Turn on the assignment of IPv6 addresses in these subnets.",
	"Ec2SubnetNotFound":                        "These subnets are gone. Create the node group anew in others.",
	"IamInstanceProfileNotFound":               "Somebody deleted the instance profile. Create the node group anew.",
	"IamNodeRoleNotFound":                      "Somebody deleted the node role. Create it again with the same name and policies.",
	"InstanceLimitExceeded":                    "The account runs as many instances of that type as it may. Ask for a higher quota, or make room.",
	"InsufficientFreeAddresses":                "The subnets have no free addresses. Make room, or give the node group more subnets.",
	"IpNotAvailable":                           "The subnets have no free addresses. Make room, or give the node group more subnets.",
	"NodeCreationFailure":                      "New instances do not become Ready nodes: check the node role's policies and access entry, the security groups, and the kubelet's log on the instance.",
	"NodeTerminationFailure":                   "EKS cannot end nodes. Look for lifecycle hooks and scale-in protection on its Auto Scaling group.",
	"PodEvictionFailure":                       "EKS gave up after 15 minutes of evictions on these nodes: a PodDisruptionBudget allows none, or a pod tolerates the node's taint. rotatord plan names such budgets. Make them allow one, or set force; then run again.",
	"SourceEc2LaunchTemplateNotFound":          "Somebody deleted the launch template that the node group was made from. Create the node group anew.",
}

// harmless are the health issues with which EKS accepts an update, by its own
// answer to one that it refuses.
var harmless = []ekstypes.NodegroupIssueCode{
	ekstypes.NodegroupIssueCodeAsgInstanceLaunchFailures, ekstypes.NodegroupIssueCodeInstanceLimitExceeded,
	ekstypes.NodegroupIssueCodeInsufficientFreeAddresses, ekstypes.NodegroupIssueCodeClusterUnreachable,
	ekstypes.NodegroupIssueCodePodEvictionFailure, ekstypes.NodegroupIssueCodeNodeCreationFailure,
}

// health turns the issues of a node group into diagnostics. Those with which EKS
// refuses updates are errors where EKS is to make one.
func (m *managed) health() []sdk.Diagnostic {
	if m.Health == nil {
		return nil
	}
	var out []sdk.Diagnostic
	for _, i := range m.Health.Issues {
		severity := sdk.SeverityWarning
		if m.Way.rolls() && !slices.Contains(harmless, i.Code) {
			severity = sdk.SeverityError
		}
		out = append(out, translate(severity, m.name, string(i.Code), aws.ToString(i.Message), i.ResourceIds))
	}
	return out
}

// unhealthy tells whether a health issue names the instance.
func (m *managed) unhealthy(instance string) (issue string, found bool) {
	if m.Health == nil {
		return "", false
	}
	for _, i := range m.Health.Issues {
		if slices.Contains(i.ResourceIds, instance) {
			return string(i.Code), true
		}
	}
	return "", false
}

// translate makes a diagnostic of what EKS says is wrong with a node group.
func translate(severity sdk.Severity, nodegroup, code, message string, resources []string) sdk.Diagnostic {
	object := nodegroup
	summary := "node group " + nodegroup + ": " + code
	if len(resources) > 0 {
		object = strings.Join(resources, ", ")
		summary += " of " + shortList(resources)
	}
	if message != "" {
		summary += ": " + message
	}
	detail := advice[code]
	if detail == "" {
		detail = "The EKS user guide says what this code means: Troubleshooting, managed node group errors."
	}
	return sdk.Diagnostic{Severity: severity, Code: dashed(code), Summary: summary, Detail: detail, Object: object}
}

// shownResources bounds a line for a person.
const shownResources = 5

func shortList(names []string) string {
	if len(names) <= shownResources {
		return joinAnd(names)
	}
	return strings.Join(names[:shownResources], ", ") + ", …"
}

// dashed spells a code of EKS as codes of diagnostics are spelled:
// PodEvictionFailure is pod-eviction-failure.
func dashed(code string) string {
	var b strings.Builder
	for i, r := range code {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
