// Package kops makes the simulated account look as if kops had made a cluster in it: the state store with the cluster's
// specification, the launch templates and Auto Scaling groups with kops' names and tags, and nodes as kops labels them.
// What kops writes and where was read from k8s.io/kops v1.36.0; the sandbox does not link its library, which would add
// 170 MB to an executable that needs a page of YAML of it.
package kops

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
)

// Version is the release of kops that the state store says has made the cluster.
const Version = "1.36.0"

// Role is the role of an instance group, as the API v1alpha2 of the state store spells it.
type Role string

// The roles that the sandbox has.
const (
	RoleControlPlane Role = "Master"
	RoleNode         Role = "Node"
	RoleBastion      Role = "Bastion"
)

// InstanceGroup is a kops instance group and the Auto Scaling group that stands for it.
type InstanceGroup struct {
	Name        string
	Role        Role
	Size        int // minimum and maximum, as kops sets them
	Zones       []string
	MachineType string
	// TargetGroup is the ARN of one that the instances are registered in; empty: none.
	TargetGroup string
}

// Cluster is a cluster of kops.
type Cluster struct {
	Name    string
	Region  string
	Groups  []InstanceGroup // bastions, control plane, nodes: the order in which kops rolls them
	Zones   []string
	Network string // id of the VPC
	Subnets map[string]string
}

// ControlPlaneSize is how many machines the control plane has, each in a zone and a group of its own.
const ControlPlaneSize = 3

// NewCluster plans a cluster: a bastion, a control plane of three, and workers in groups nodes-1, nodes-2 and so on
// over all zones. There are as many zones at least as the control plane has machines. Without a bastion there is no
// network load balancer that kops would put before it, and `kops update cluster` can apply the cluster here.
func NewCluster(name, region string, zones []string, bastion bool, workers, groups int, machineType string) *Cluster {
	c := &Cluster{Name: name, Region: region, Zones: zones}
	if bastion {
		c.Groups = append(c.Groups, InstanceGroup{Name: "bastions", Role: RoleBastion, Size: 1, Zones: zones[:1], MachineType: "t3.medium"})
	}
	for _, z := range zones[:ControlPlaneSize] {
		c.Groups = append(c.Groups, InstanceGroup{Name: "control-plane-" + z, Role: RoleControlPlane, Size: 1, Zones: []string{z}, MachineType: "m5.large"})
	}
	for i := range groups {
		size := workers / groups
		if i < workers%groups {
			size++
		}
		c.Groups = append(c.Groups, InstanceGroup{Name: "nodes-" + strconv.Itoa(i+1), Role: RoleNode, Size: size, Zones: zones, MachineType: machineType})
	}
	return c
}

// Nodes is how many machines join the cluster: all but the bastions.
func (c *Cluster) Nodes() (n int) {
	for _, g := range c.Groups {
		if g.Role != RoleBastion {
			n += g.Size
		}
	}
	return n
}

// AutoScalingGroup is the name that kops gives the Auto Scaling group and the launch template of an instance group.
func (c *Cluster) AutoScalingGroup(g InstanceGroup) string {
	if g.Role == RoleControlPlane {
		return g.Name + ".masters." + c.Name
	}
	return g.Name + "." + c.Name
}

// InternalName is the name by which kops expects the API server's certificate to go.
func (c *Cluster) InternalName() string { return "api.internal." + c.Name }

// Balance puts the control plane behind a target group, as the load balancer that kops makes for the API server does.
// It is called before Seed.
func (c *Cluster) Balance(cloud *aws.Cloud, deregistrationDelay time.Duration) error {
	arn, err := cloud.CreateTargetGroup(aws.TargetGroupSpec{
		Name: strings.ReplaceAll(c.Name, ".", "-") + "-api", DeregistrationDelay: deregistrationDelay,
		Tags: map[string]string{tagCluster: c.Name, cloudnode.ClusterTag(c.Name): "owned"},
	})
	if err != nil {
		return fmt.Errorf("target group of the API server: %w", err)
	}
	for i := range c.Groups {
		if g := &c.Groups[i]; g.Role == RoleControlPlane {
			g.TargetGroup = arn
		}
	}
	return nil
}

// group finds an instance group by the name of its Auto Scaling group.
func (c *Cluster) group(autoScalingGroup string) (g InstanceGroup, ok bool) {
	for _, g := range c.Groups {
		if c.AutoScalingGroup(g) == autoScalingGroup {
			return g, true
		}
	}
	return InstanceGroup{}, false
}
