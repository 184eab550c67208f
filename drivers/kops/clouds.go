package kops

import (
	"context"
	"strconv"
	"strings"
	"time"

	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/gce"
	"k8s.io/kops/upup/pkg/fi/cloudup/scaleway"

	"github.com/rotatord/rotator/drivers/sdk"
)

// refillsByApplying tells whether on a cloud nothing but `kops update cluster`
// brings an instance in the place of one that was deleted. kops' own rolling
// update applies the cluster after each deletion there.
func refillsByApplying(cloud kopsapi.CloudProviderID) bool {
	switch cloud {
	case kopsapi.CloudProviderOpenstack, kopsapi.CloudProviderHetzner, kopsapi.CloudProviderScaleway,
		kopsapi.CloudProviderDO, kopsapi.CloudProviderAzure:
		return true
	default:
		return false
	}
}

// machine is what of an instance kops' snapshot leaves out, on other clouds than
// AWS.
type machine struct {
	id       string // of one life: a machine made anew has another
	zone     string
	launched time.Time // zero: unknown
	state    sdk.InstanceState
	provider string // spec.providerID of its node; empty: unknown, and it is not joined
}

// cloudGroups asks kops' own code for the cloud's groups, and completes what it
// leaves out. It answers by the name that this code gives them.
func (d *Driver) cloudGroups(ctx context.Context, inv *inventory, igs []*kopsapi.InstanceGroup) (map[string]*cloudinstances.CloudInstanceGroup, error) {
	groups, err := call(ctx, &d.calls, "looking at the cloud", func() (map[string]*cloudinstances.CloudInstanceGroup, error) {
		// Nodes would only be joined, which is the host's: it passes none.
		return inv.cloud.GetCloudGroups(inv.cluster, igs, false, nil)
	})
	if err != nil {
		return nil, err
	}
	if !refillsByApplying(inv.cluster.GetCloudProvider()) {
		return groups, nil
	}
	if groups == nil {
		groups = map[string]*cloudinstances.CloudInstanceGroup{}
	}
	for _, ig := range igs {
		g := groups[ig.Name]
		if g == nil {
			// A group there is nothing but its machines: with the last of them it goes,
			// and comes back when the cluster is applied.
			g = &cloudinstances.CloudInstanceGroup{HumanName: ig.Name, InstanceGroup: ig}
			groups[ig.Name] = g
		}
		// Its size is the specification's. On Azure kops answers with the scale
		// set's, which a deletion has made smaller.
		g.MinSize = int(fi.ValueOf(ig.Spec.MinSize))
		g.TargetSize, g.MaxSize = g.MinSize, max(int(fi.ValueOf(ig.Spec.MaxSize)), g.MinSize)
	}
	return groups, nil
}

// machines are those of other clouds than AWS, by the id that kops' code gives
// them.
func (d *Driver) machines(ctx context.Context, inv *inventory) (map[string]machine, error) {
	if inv.aws() != nil {
		return nil, nil
	}
	found := map[string]machine{}
	if cloud, ok := inv.cloud.(gce.GCECloud); ok {
		return call(ctx, &d.calls, "looking at the machines", func() (map[string]machine, error) {
			return gceMachines(context.WithoutCancel(ctx), cloud, inv.groups)
		})
	}
	for _, g := range inv.groups {
		for _, list := range [][]*cloudinstances.CloudInstance{g.Ready, g.NeedUpdate} {
			for _, i := range list {
				found[i.ID] = otherMachine(inv.cluster, inv.cloud, i)
			}
		}
	}
	return found, nil
}

// gceMachines reads the machines of the zones in which there are groups: a list
// for each zone. A managed instance group makes machines anew under their names,
// and its instances have no other id in kops: the number that Google gives each
// life tells them apart.
func gceMachines(ctx context.Context, cloud gce.GCECloud, groups map[string]*cloudinstances.CloudInstanceGroup) (map[string]machine, error) {
	type key struct{ zone, name string }
	wanted, zones := map[key]string{}, map[string]bool{}
	for _, g := range groups {
		for _, list := range [][]*cloudinstances.CloudInstance{g.Ready, g.NeedUpdate} {
			for _, i := range list {
				if project, zone, name, ok := gceName(i.ID); ok && project == cloud.Project() {
					wanted[key{zone, name}], zones[zone] = i.ID, true
				}
			}
		}
	}
	found := map[string]machine{}
	for zone := range zones {
		list, err := cloud.Compute().Instances().List(ctx, cloud.Project(), zone)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			id := wanted[key{zone, i.Name}]
			if id == "" {
				continue
			}
			launched, _ := time.Parse(time.RFC3339, i.CreationTimestamp) // else unknown
			found[id] = machine{
				id: zone + "/" + i.Name + "/" + strconv.FormatUint(i.Id, 10), zone: zone, launched: launched, state: stateOf(i.Status),
				provider: "gce://" + cloud.Project() + "/" + zone + "/" + i.Name,
			}
		}
	}
	return found, nil
}

// gceName takes apart what kops has as the id of a machine of Google Cloud:
// https://www.googleapis.com/compute/v1/projects/P/zones/Z/instances/NAME.
func gceName(id string) (project, zone, name string, ok bool) {
	parts := strings.Split(id, "/")
	n := len(parts)
	if n < 6 || parts[n-2] != "instances" || parts[n-4] != "zones" {
		return "", "", "", false
	}
	return parts[n-5], parts[n-3], parts[n-1], true
}

// otherMachine is a machine of a cloud where kops' own snapshot says all that
// this driver knows.
func otherMachine(cluster *kopsapi.Cluster, cloud fi.Cloud, i *cloudinstances.CloudInstance) machine {
	m := machine{id: i.ID, state: stateOf(string(i.State))}
	switch cluster.GetCloudProvider() {
	case kopsapi.CloudProviderHetzner:
		m.provider = "hcloud://" + i.ID
	case kopsapi.CloudProviderDO:
		m.provider = "digitalocean://" + i.ID
	case kopsapi.CloudProviderOpenstack:
		m.provider = "openstack:///" + i.ID
	case kopsapi.CloudProviderScaleway:
		if scw, ok := cloud.(scaleway.ScwCloud); ok { // kops' clusters there have one zone
			m.zone = scw.Zone()
			m.provider = "scaleway://instance/" + m.zone + "/" + i.ID
		}
	case kopsapi.CloudProviderAzure:
		// NAME_NUMBER, of the scale set NAME. Azure's controller writes the resource
		// group in lower case.
		set, number, ok := cutLast(i.ID, "_")
		if azure := cluster.Spec.CloudProvider.Azure; ok && azure != nil {
			m.provider = "azure:///subscriptions/" + azure.SubscriptionID + "/resourceGroups/" + strings.ToLower(cluster.AzureResourceGroupName()) +
				"/providers/Microsoft.Compute/virtualMachineScaleSets/" + set + "/virtualMachines/" + number
		}
	default:
	}
	return m
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// stateOf maps what clouds call the state of a machine. What is not known here
// runs, as for kops, which looks at none of them.
func stateOf(s string) sdk.InstanceState {
	switch strings.ToLower(s) {
	case "provisioning", "staging", "initializing", "starting", "new", "build":
		return sdk.InstancePending
	case "stopping", "suspending", "deleting", "deleted", "soft_deleted":
		return sdk.InstanceTerminating
	}
	return sdk.InstanceInService
}
