package kops

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
)

// The tags of kops on groups, launch templates and instances.
const (
	tagCluster       = "KubernetesCluster"
	tagInstanceGroup = "kops.k8s.io/instancegroup"
	tagRolePrefix    = "k8s.io/role/"
	// tagLabelPrefix begins the tags that tell the cluster autoscaler the labels of a group's nodes. On AWS
	// kops-controller labels nodes by its own reading of the specification, which is where these tags come from too.
	tagLabelPrefix = "k8s.io/cluster-autoscaler/node-template/label/"
)

const (
	labelControlPlane = "node-role.kubernetes.io/control-plane"
	labelNode         = "node-role.kubernetes.io/node"
)

// labels are those of a group's nodes (kops' pkg/nodelabels).
func (g InstanceGroup) labels() map[string]string {
	switch g.Role {
	case RoleControlPlane:
		return map[string]string{
			labelControlPlane: "", "kops.k8s.io/kops-controller-pki": "", "node.kubernetes.io/exclude-from-external-load-balancers": "",
		}
	case RoleNode:
		return map[string]string{labelNode: ""}
	case RoleBastion:
	}
	return nil
}

// tags are those that kops puts on a group, its launch template and its instances (CloudTagsForInstanceGroup).
func (c *Cluster) tags(g InstanceGroup) map[string]string {
	tags := map[string]string{
		"Name": c.AutoScalingGroup(g), tagCluster: c.Name, cloudnode.ClusterTag(c.Name): "owned", tagInstanceGroup: g.Name,
	}
	switch g.Role {
	case RoleControlPlane:
		tags[tagRolePrefix+"master"], tags[tagRolePrefix+"control-plane"] = "1", "1"
	case RoleNode:
		tags[tagRolePrefix+"node"] = "1"
	case RoleBastion:
		tags[tagRolePrefix+"bastion"] = "1"
	}
	for k, v := range g.labels() {
		tags[tagLabelPrefix+k] = v
	}
	return tags
}

// IsControlPlane says that a machine carries the control plane.
func IsControlPlane(m aws.Machine) bool {
	_, ok := m.Tags[tagRolePrefix+"control-plane"]
	return ok
}

// staticPods are what the kubelet of a control-plane node runs from its manifests, of those that kops writes there.
var staticPods = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd-manager-main", "etcd-manager-events"}

// Profile says as what a machine joins; a bastion joins nothing.
func Profile(m aws.Machine) (p cloudnode.Profile, joins bool) {
	if _, bastion := m.Tags[tagRolePrefix+"bastion"]; bastion {
		return cloudnode.Profile{}, false
	}
	p.Labels = map[string]string{}
	for k, v := range m.Tags {
		if label, ok := strings.CutPrefix(k, tagLabelPrefix); ok {
			p.Labels[label] = v
		}
	}
	if IsControlPlane(m) {
		p.Taints = []corev1.Taint{{Key: labelControlPlane, Effect: corev1.TaintEffectNoSchedule}}
		p.StaticPods = staticPods
	}
	return p, true
}

// launchTags are a group's tags as a launch template holds them, for each kind of resource that a launch makes.
func launchTags(tags []aws.Tag) []aws.TagSpecification {
	var out []aws.TagSpecification
	for _, kind := range []string{"instance", "volume", "network-interface"} {
		out = append(out, aws.TagSpecification{ResourceType: kind, Tags: tags})
	}
	return out
}

func tagList(m map[string]string) (tags []aws.Tag) {
	for _, k := range sortedKeys(m) {
		tags = append(tags, aws.Tag{Key: k, Value: m[k]})
	}
	return tags
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
