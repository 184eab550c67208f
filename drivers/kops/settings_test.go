package kops

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
	kopsapi "k8s.io/kops/pkg/apis/kops"

	"github.com/rotatord/rotator/drivers/sdk"
)

func amount(s string) *intstr.IntOrString {
	v := intstr.Parse(s)
	return &v
}

// The rules are those of kops 1.36, pkg/instancegroups/settings.go.
func TestDefaultsOf(t *testing.T) {
	no := false
	for _, tc := range []struct {
		name           string
		cloud          kopsapi.CloudProviderID
		role           kopsapi.InstanceGroupRole
		manager        kopsapi.InstanceManager
		group, cluster *kopsapi.RollingUpdate
		members        int
		want           sdk.Defaults
	}{
		{name: "nothing is said", members: 3,
			want: sdk.Defaults{MaxSurge: "1", MaxUnavailable: "0", Source: "kops' default"}},
		{name: "nothing is said, on another cloud", cloud: kopsapi.CloudProviderHetzner, members: 3,
			want: sdk.Defaults{MaxSurge: "0", MaxUnavailable: "1", Source: "kops' default"}},
		{name: "Karpenter cannot surge", manager: kopsapi.InstanceManagerKarpenter, members: 3,
			want: sdk.Defaults{MaxSurge: "0", MaxUnavailable: "1", Source: "kops' default"}},
		{name: "a control plane never surges", role: kopsapi.InstanceGroupRoleControlPlane, members: 1,
			want: sdk.Defaults{MaxSurge: "0", MaxUnavailable: "1", Source: "maxSurge: kops' default, and it cannot surge; maxUnavailable: kops' default"}},
		{name: "the group's before the cluster's", members: 10,
			group:   &kopsapi.RollingUpdate{MaxSurge: amount("3")},
			cluster: &kopsapi.RollingUpdate{MaxSurge: amount("5"), MaxUnavailable: amount("2")},
			want:    sdk.Defaults{MaxSurge: "3", MaxUnavailable: "2", Source: "maxSurge: the instance group's rollingUpdate; maxUnavailable: the cluster's rollingUpdate"}},
		{name: "a surge rounds up, the rest down", members: 7,
			group: &kopsapi.RollingUpdate{MaxSurge: amount("25%"), MaxUnavailable: amount("25%")},
			want:  sdk.Defaults{MaxSurge: "2", MaxUnavailable: "1", Source: "the instance group's rollingUpdate"}},
		{name: "a percentage of what may be unavailable is one at least", members: 3,
			group: &kopsapi.RollingUpdate{MaxSurge: amount("0"), MaxUnavailable: amount("1%")},
			want:  sdk.Defaults{MaxSurge: "0", MaxUnavailable: "1", Source: "the instance group's rollingUpdate"}},
		{name: "no surge makes one unavailable", members: 3,
			group: &kopsapi.RollingUpdate{MaxSurge: amount("0")},
			want:  sdk.Defaults{MaxSurge: "0", MaxUnavailable: "1", Source: "maxSurge: the instance group's rollingUpdate; maxUnavailable: kops' default"}},
		{name: "drainAndTerminate", members: 3, cluster: &kopsapi.RollingUpdate{DrainAndTerminate: &no},
			want: sdk.Defaults{MaxSurge: "1", MaxUnavailable: "0", Disabled: true,
				Source: "kops' default; drainAndTerminate: false"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cluster := clusterOn(tc.cloud)
			cluster.Spec.RollingUpdate = tc.cluster
			ig := &kopsapi.InstanceGroup{}
			ig.Spec.RollingUpdate, ig.Spec.Manager, ig.Spec.Role = tc.group, tc.manager, tc.role
			if ig.Spec.Role == "" {
				ig.Spec.Role = kopsapi.InstanceGroupRoleNode
			}
			traits := traitsOf(cluster.GetCloudProvider(), ig, tc.members)
			if diff := cmp.Diff(tc.want, defaultsOf(cluster, ig, traits, tc.members)); diff != "" {
				t.Errorf("defaults (-want +got):\n%s", diff)
			}
		})
	}
}

// clusterOn makes a cluster of a cloud; empty: AWS.
func clusterOn(cloud kopsapi.CloudProviderID) *kopsapi.Cluster {
	c := &kopsapi.Cluster{}
	c.Name = "kops.example.com"
	p := &c.Spec.CloudProvider
	switch cloud {
	case kopsapi.CloudProviderGCE:
		p.GCE = &kopsapi.GCESpec{}
	case kopsapi.CloudProviderOpenstack:
		p.Openstack = &kopsapi.OpenstackSpec{}
	case kopsapi.CloudProviderHetzner:
		p.Hetzner = &kopsapi.HetznerSpec{}
	case kopsapi.CloudProviderScaleway:
		p.Scaleway = &kopsapi.ScalewaySpec{}
	case kopsapi.CloudProviderDO:
		p.DO = &kopsapi.DOSpec{}
	case kopsapi.CloudProviderAzure:
		p.Azure = &kopsapi.AzureSpec{}
	case kopsapi.CloudProviderMetal:
		c.Labels = map[string]string{kopsapi.AlphaLabelCloudProvider: "metal"}
	case kopsapi.CloudProviderLinode:
		p.Linode = &kopsapi.LinodeSpec{}
	default:
		p.AWS = &kopsapi.AWSSpec{}
	}
	return c
}
