package kops

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/azure"
	"k8s.io/kops/upup/pkg/fi/cloudup/do"
	"k8s.io/kops/upup/pkg/fi/cloudup/hetzner"
	"k8s.io/kops/upup/pkg/fi/cloudup/linode"
	"k8s.io/kops/upup/pkg/fi/cloudup/metal"
	"k8s.io/kops/upup/pkg/fi/cloudup/openstack"
	"k8s.io/kops/upup/pkg/fi/cloudup/scaleway"

	"github.com/rotatord/rotator/drivers/sdk"
)

func TestTraitsOf(t *testing.T) {
	node, control := kopsapi.InstanceGroupRoleNode, kopsapi.InstanceGroupRoleControlPlane
	ended := sdk.Traits{Prepare: true, TerminateKeep: true, Refill: sdk.RefillDriver}
	surges := sdk.Traits{Prepare: true, Stage: true, StageTogether: true, TerminateKeep: true, TerminateShrink: true, SurgeDetaches: true, MaxSurge: 5, Refill: sdk.RefillGroup}
	for _, tc := range []struct {
		name    string
		cloud   kopsapi.CloudProviderID
		role    kopsapi.InstanceGroupRole
		manager kopsapi.InstanceManager
		want    sdk.Traits
	}{
		{name: "AWS", cloud: kopsapi.CloudProviderAWS, role: node, want: surges},
		{name: "AWS, API servers", cloud: kopsapi.CloudProviderAWS, role: kopsapi.InstanceGroupRoleAPIServer, want: surges},
		{name: "AWS, bastion", cloud: kopsapi.CloudProviderAWS, role: kopsapi.InstanceGroupRoleBastion, want: surges},
		{name: "AWS, control plane", cloud: kopsapi.CloudProviderAWS, role: control, want: sdk.Traits{Prepare: true, Stage: true, StageTogether: true, TerminateKeep: true, Refill: sdk.RefillGroup}},
		{name: "AWS, Karpenter", cloud: kopsapi.CloudProviderAWS, role: node, manager: kopsapi.InstanceManagerKarpenter,
			want: sdk.Traits{Prepare: true, TerminateKeep: true, Refill: sdk.RefillScheduler}},
		{name: "GCE", cloud: kopsapi.CloudProviderGCE, role: node, want: sdk.Traits{Prepare: true, TerminateKeep: true, Refill: sdk.RefillGroup, KeepsNodeName: true}},
		{name: "OpenStack", cloud: kopsapi.CloudProviderOpenstack, role: node, want: ended},
		{name: "Hetzner", cloud: kopsapi.CloudProviderHetzner, role: node, want: ended},
		{name: "DigitalOcean", cloud: kopsapi.CloudProviderDO, role: node, want: ended},
		{name: "Azure", cloud: kopsapi.CloudProviderAzure, role: node, want: ended},
		{name: "Scaleway", cloud: kopsapi.CloudProviderScaleway, role: node, want: sdk.Traits{Prepare: true, TerminateKeep: true, Refill: sdk.RefillDriver, KeepsNodeName: true}},
		{name: "Metal", cloud: kopsapi.CloudProviderMetal, role: node},
		{name: "Linode", cloud: kopsapi.CloudProviderLinode, role: node},
		{name: "a cloud of a later kops", cloud: "moon", role: node},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ig := &kopsapi.InstanceGroup{}
			ig.Spec.Role, ig.Spec.Manager = tc.role, tc.manager
			if diff := cmp.Diff(tc.want, traitsOf(tc.cloud, ig, 5)); diff != "" {
				t.Errorf("traits (-want +got):\n%s", diff)
			}
		})
	}
}

// The library's own code for each cloud, as far as it can be asked without the
// cloud: what refuses, or does nothing, must not be offered as a surge, and what
// cannot end an instance must not be offered to. GCE's refuses too, but cannot
// be made without credentials; AWS's is what the end-to-end tests run.
func TestTraitsAgreeWithTheLibrary(t *testing.T) {
	for name, value := range map[string]string{
		"HCLOUD_TOKEN": "x", "DIGITALOCEAN_ACCESS_TOKEN": "x", "LINODE_TOKEN": "x", "SCW_PROFILE": "REDACTED",
		"AZURE_TENANT_ID": "x", "AZURE_CLIENT_ID": "x", "AZURE_CLIENT_SECRET": "x",
	} {
		t.Setenv(name, value)
	}
	must := func(c fi.Cloud, err error) fi.Cloud {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	clouds := []struct {
		fi.Cloud
		detachRefuses bool // else it returns nil and does nothing
		deleteRefuses bool // else it needs the cloud to say
	}{
		{Cloud: must(hetzner.NewHetznerCloud("fsn1"))},
		{Cloud: must(do.NewDOCloud("fra1")), detachRefuses: true},
		{Cloud: must(scaleway.NewScwCloud(nil)), detachRefuses: true},
		{Cloud: must(azure.NewAzureCloud("sub", "group", "westeurope", nil)), detachRefuses: true},
		{Cloud: &openstack.MockCloud{}, detachRefuses: true},
		{Cloud: must(linode.NewCloud("nl-ams")), detachRefuses: true, deleteRefuses: true},
		{Cloud: must(metal.NewCloud()), detachRefuses: true, deleteRefuses: true},
	}
	for _, c := range clouds {
		id := c.ProviderID()
		t.Run(string(id), func(t *testing.T) {
			ig := &kopsapi.InstanceGroup{}
			ig.Spec.Role = kopsapi.InstanceGroupRoleNode
			i := &cloudinstances.CloudInstance{ID: "1", CloudInstanceGroup: &cloudinstances.CloudInstanceGroup{InstanceGroup: ig}}
			traits := traitsOf(id, ig, 5)
			if err := c.DetachInstance(i); (err != nil) != c.detachRefuses {
				t.Errorf("DetachInstance answers %v, and the table was made for a library where refusing is %v", err, c.detachRefuses)
			}
			if traits.MaxSurge > 0 || traits.SurgeDetaches {
				t.Errorf("a surge of %d is offered", traits.MaxSurge)
			}
			if !c.deleteRefuses {
				return
			}
			if err := c.DeleteInstance(i); err == nil {
				t.Error("DeleteInstance ends an instance, and the table says that it cannot")
			}
			if traits.TerminateKeep || traits.TerminateShrink {
				t.Error("to end an instance is offered")
			}
		})
	}
}
