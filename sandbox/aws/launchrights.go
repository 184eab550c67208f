package aws

import "github.com/rotatord/rotator/sandbox/control"

// Whoever has a group launch from a launch template must be allowed to launch from it: "ec2:RunInstances are checked when
// an Auto Scaling group is created or updated using a launch template", says the Auto Scaling user guide, and EKS asks the
// same of whoever gives a node group a template. A fault that denies RunInstances stands for a caller without that right.

// mayLaunch says whether the caller may launch instances. Caller holds mu.
func (c *Cloud) mayLaunch() bool { return !c.callFault(control.Deny, serviceEC2, "RunInstances") }

// groupMayLaunch is Auto Scaling's check of an update.
func (c *Cloud) groupMayLaunch(in *updateGroupInput) error {
	if in.LaunchTemplate == nil && in.MixedInstancesPolicy == nil || c.mayLaunch() {
		return nil
	}
	name := ""
	if in.LaunchTemplate != nil {
		name = in.LaunchTemplate.LaunchTemplateID
	}
	return failf("AccessDenied", "You are not authorized to use launch template: %s", name)
}

// nodegroupMayLaunch is EKS' check of a template that a node group is given.
func (c *Cloud) nodegroupMayLaunch(template *eksTemplateSpec, about map[string]string) error {
	if template == nil || c.mayLaunch() {
		return nil
	}
	return &Error{Code: "InvalidRequestException", About: about,
		Message: "You are not authorized to launch instances with this launch template. Encoded authorization failure message: none, this is a simulation"}
}
