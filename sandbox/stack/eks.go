package stack

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
)

// firstReleaseAge is how old the node images are that a cluster begins with.
const firstReleaseAge = 21 * 24 * time.Hour

// eksMinor is the cluster's version as EKS gives it.
var eksMinor = aws.KubernetesVersion[:strings.LastIndex(aws.KubernetesVersion, ".")]

// seedEKS makes the cluster as EKS knows it, and the first releases of its node images.
func seedEKS(cloud *aws.Cloud, name string) (releases []aws.Release, err error) {
	if err := cloud.CreateCluster(aws.ClusterSpec{Name: name, Version: eksMinor}); err != nil {
		return nil, err
	}
	return cloud.AddReleases(aws.ReleaseSpec{Kubernetes: aws.KubernetesVersion, Date: time.Now().Add(-firstReleaseAge)})
}

// managedProvider is a cluster of EKS managed node groups NAME-managed-1 and so on, and one self-managed group,
// NAME-workers-1.
type managedProvider struct{ opts Options }

func (p *managedProvider) nodes() int { return p.opts.Nodes }

func (p *managedProvider) profile(m aws.Machine) (cloudnode.Profile, bool) { return eksProfile(m) }

func (p *managedProvider) seed(cloud *aws.Cloud) error {
	o := p.opts
	releases, err := seedEKS(cloud, o.Cluster)
	if err != nil {
		return err
	}
	for i := range o.Groups {
		size := shareOf(o.Nodes, o.Groups+1, i)
		spec := aws.NodegroupSpec{
			Cluster: o.Cluster, Name: fmt.Sprintf("%s-managed-%d", o.Cluster, i+1), InstanceTypes: []string{instanceType},
			// As in addGroup: no room for a surge above the desired capacity. EKS makes its own.
			Max: size, Desired: size,
		}
		if err := cloud.CreateNodegroup(spec); err != nil {
			return fmt.Errorf("node group %s: %w", spec.Name, err)
		}
	}
	image := releases[0].ImageID
	if err := addGroup(cloud, o.Cluster, 1, shareOf(o.Nodes, o.Groups+1, o.Groups), image, o.MixedInstances, nil); err != nil {
		return err
	}
	return addGroup(cloud, o.Cluster+"-2", 1, 1, image, false, nil) // another cluster's, in the same account
}

// eksProfile is that of a machine on EKS: a worker, with the labels and taints of its managed node group if it has one.
func eksProfile(m aws.Machine) (p cloudnode.Profile, joins bool) {
	effects := map[string]corev1.TaintEffect{
		"NO_SCHEDULE": corev1.TaintEffectNoSchedule, "NO_EXECUTE": corev1.TaintEffectNoExecute, "PREFER_NO_SCHEDULE": corev1.TaintEffectPreferNoSchedule,
	}
	p.Labels = m.Labels
	for _, t := range m.Taints {
		p.Taints = append(p.Taints, corev1.Taint{Key: t.Key, Value: t.Value, Effect: effects[t.Effect]})
	}
	return p, true
}

// shareOf is the size of group number i when nodes are spread evenly over so many groups.
func shareOf(nodes, groups, i int) int {
	size := nodes / groups
	if i < nodes%groups {
		size++
	}
	return size
}

// nodegroupsMissing names a node group that is not at work as it should.
func nodegroupsMissing(cloud *aws.Cloud, cluster string) string {
	for _, n := range cloud.Nodegroups(cluster) {
		if n.Status != "ACTIVE" {
			return fmt.Sprintf("node group %s is %s %v", n.Name, n.Status, n.Issues)
		}
	}
	return ""
}
