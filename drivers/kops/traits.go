package kops

import (
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/featureflag"

	"github.com/rotatord/rotator/drivers/sdk"
)

// traitsOf says what kops' own code for a cloud can do with one instance group.
// A test holds the table against the library. members is how many instances
// the cloud's group has; surge is limited by it, because it is made by
// detaching them.
//
// Stage is for AWS: a launch template's new version changes no instance. On
// other clouds `kops update cluster` may replace instances by itself.
//
//	cloud         DetachInstance      DeleteInstance     who brings a new one      same node name
//	AWS           detaches            ends               the Auto Scaling group    no
//	AWS, Karpenter   -                ends               Karpenter                 no
//	GCE           refuses             recreates          the instance group        yes
//	OpenStack     refuses             ends               applying the cluster      no
//	Hetzner       does nothing        ends               applying the cluster      no
//	Scaleway      refuses             ends               applying the cluster      yes
//	DigitalOcean  refuses             ends               applying the cluster      no
//	Azure         refuses             ends               applying the cluster      no
//	Metal, Linode refuses             refuses            nobody                    -
//
// Who applies the cluster is the driver (refill.go).
func traitsOf(cloud kopsapi.CloudProviderID, ig *kopsapi.InstanceGroup, members int) sdk.Traits {
	t := sdk.Traits{Drains: sdk.DrainsCore, Prepare: true}
	switch cloud {
	case kopsapi.CloudProviderAWS:
		t.TerminateKeep = true
		switch {
		case ig.Spec.Manager == kopsapi.InstanceManagerKarpenter:
			t.Refill = sdk.RefillScheduler
		case featureflag.Spotinst.Enabled():
			// Spotinst's groups, not Auto Scaling's, are behind the instance groups:
			// they can be neither taken nor detached by what this driver does.
			return sdk.Traits{}
		default:
			t.Refill, t.Stage, t.StageTogether = sdk.RefillGroup, true, true
			// A machine of the control plane registers itself through its own API
			// server, which needs its own etcd member: there is no extra one.
			if ig.Spec.Role != kopsapi.InstanceGroupRoleControlPlane {
				t.TerminateShrink, t.SurgeDetaches, t.MaxSurge = true, true, members
			}
		}
	case kopsapi.CloudProviderGCE:
		t.TerminateKeep, t.Refill, t.KeepsNodeName = true, sdk.RefillGroup, true
	case kopsapi.CloudProviderScaleway:
		t.TerminateKeep, t.Refill, t.KeepsNodeName = true, sdk.RefillDriver, true
	case kopsapi.CloudProviderOpenstack, kopsapi.CloudProviderHetzner, kopsapi.CloudProviderDO, kopsapi.CloudProviderAzure:
		t.TerminateKeep, t.Refill = true, sdk.RefillDriver
	case kopsapi.CloudProviderMetal, kopsapi.CloudProviderLinode:
		return sdk.Traits{}
	default:
		return sdk.Traits{}
	}
	return t
}

// roleOf is the role of an instance group; unspecified: kops knows one that
// this driver does not.
func roleOf(r kopsapi.InstanceGroupRole) sdk.Role {
	switch r {
	case kopsapi.InstanceGroupRoleControlPlane:
		return sdk.RoleControlPlane
	case kopsapi.InstanceGroupRoleAPIServer:
		return sdk.RoleAPIServer
	case kopsapi.InstanceGroupRoleNode:
		return sdk.RoleNode
	case kopsapi.InstanceGroupRoleBastion:
		return sdk.RoleBastion
	}
	return sdk.RoleUnspecified
}
