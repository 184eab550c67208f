package aws

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// cluster is an EKS cluster. Its control plane is somebody else's: the cloud only says where it is.
type cluster struct {
	name, arn, version string
	created            time.Time
	endpoint           string
	ca                 []byte // PEM
	kubernetes         Kubernetes
	tags               map[string]string
	nodegroups         []*nodegroup // by name
	tokens             map[string]usedToken
}

// usedToken is what a clientRequestToken was used for.
type usedToken struct {
	body   string // action and parameters, the token aside
	result any    // *update or *nodegroup
}

// nodegroup is a managed node group: a description that EKS keeps an Auto Scaling group to.
type nodegroup struct {
	cluster                 *cluster
	name, uuid, arn         string
	version, releaseVersion string // the latter is an image id with a custom image
	created, modified       time.Time
	status                  string
	amiType, capacityType   string
	nodeRole                string
	instanceTypes, subnets  []string
	diskSize                *int32
	labels                  map[string]string
	taints                  []NodeTaint
	tags                    map[string]string
	min, max                int
	desired                 int // as EKS was told; the Auto Scaling group's own counts while no update is at work
	update                  updateConfig
	launchTemplate          *eksTemplateSpec // the user's; nil without
	issues                  []eksIssue

	asg      string
	template *launchTemplate // EKS' own, which the Auto Scaling group launches from
	current  int64           // the version of template that the group is at

	updates []*update // oldest first
	// since is when the status was entered.
	since time.Time
	// drains are the nodes that EKS empties because their instance terminates, by instance id.
	drains map[string]time.Time
}

// NodeTaint is a taint of a node group's nodes. The effect is spelled as EKS spells it: NO_SCHEDULE.
type NodeTaint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

type updateConfig struct {
	MaxUnavailable           *int32 `json:"maxUnavailable,omitempty"`
	MaxUnavailablePercentage *int32 `json:"maxUnavailablePercentage,omitempty"`
	UpdateStrategy           string `json:"updateStrategy,omitempty"`
}

type eksIssue struct {
	Code        string   `json:"code"`
	Message     string   `json:"message"`
	ResourceIDs []string `json:"resourceIds"`
}

// The states of a node group (NodegroupStatus).
const (
	nodegroupCreating     = "CREATING"
	nodegroupActive       = "ACTIVE"
	nodegroupUpdating     = "UPDATING"
	nodegroupDeleting     = "DELETING"
	nodegroupCreateFailed = "CREATE_FAILED"
	nodegroupDegraded     = "DEGRADED"
)

// The tags and labels by which EKS marks what it manages.
const (
	tagEKSCluster       = "eks:cluster-name"
	tagEKSNodegroup     = "eks:nodegroup-name"
	labelNodegroup      = "eks.amazonaws.com/nodegroup"
	labelNodegroupImage = "eks.amazonaws.com/nodegroup-image"
	labelCapacityType   = "eks.amazonaws.com/capacityType"
)

// ClusterSpec is an EKS cluster to be.
type ClusterSpec struct {
	Name string
	// Version is the control plane's, for instance 1.37.
	Version string
}

// CreateCluster adds a cluster. Its status is CREATING until [Cloud.ConnectCluster] says where its API server is.
func (c *Cloud) CreateCluster(s ClusterSpec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clusters[s.Name] != nil {
		return fmt.Errorf("EKS cluster %s exists already", s.Name)
	}
	c.clusters[s.Name] = &cluster{
		name: s.Name, arn: c.arn("eks", "cluster/"+s.Name), version: s.Version, created: c.now(), tags: map[string]string{}, tokens: map[string]usedToken{},
	}
	return nil
}

// ConnectCluster says where a cluster's API server is, and how EKS manages node groups in it; k may be nil, and then
// instances count as Ready nodes without pods once they are in service.
func (c *Cloud) ConnectCluster(name, endpoint string, ca []byte, k Kubernetes) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.clusters[name]
	if cl == nil {
		return fmt.Errorf("connect EKS cluster %s: there is none", name)
	}
	cl.endpoint, cl.ca, cl.kubernetes = endpoint, ca, k
	return nil
}

// NodegroupSpec is a managed node group to be.
type NodegroupSpec struct {
	Cluster, Name string
	// AMIType defaults to AL2023_x86_64_STANDARD.
	AMIType string
	// ReleaseVersion defaults to the recommended one.
	ReleaseVersion string
	// InstanceTypes default to t3.medium, as EKS' do.
	InstanceTypes []string
	// Min, Max and Desired are the sizes; 0 <= Min <= Desired <= Max, Max at least 1.
	Min, Max, Desired int
	Labels            map[string]string
	Taints            []NodeTaint
	// LaunchTemplate is the name of a template of the account's own, LaunchVersion a number of its versions; "" for none.
	LaunchTemplate, LaunchVersion string
}

// CreateNodegroup makes a managed node group. It is CREATING until its nodes are Ready.
func (c *Cloud) CreateNodegroup(s NodegroupSpec) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := &createNodegroupInput{
		Cluster: s.Cluster, NodegroupName: s.Name, AMIType: s.AMIType, ReleaseVersion: s.ReleaseVersion, InstanceTypes: s.InstanceTypes,
		ScalingConfig: &scalingConfig{MinSize: ptr(int32(s.Min)), MaxSize: ptr(int32(s.Max)), DesiredSize: ptr(int32(s.Desired))},
		NodeRole:      "arn:aws:iam::" + c.cfg.AccountID + ":role/" + s.Cluster + "-nodes", Labels: s.Labels, Taints: s.Taints,
	}
	for _, z := range c.cfg.Zones {
		in.Subnets = append(in.Subnets, c.SubnetID(z))
	}
	if s.LaunchTemplate != "" {
		in.LaunchTemplate = &eksTemplateSpec{Name: s.LaunchTemplate, Version: s.LaunchVersion}
	}
	_, err := c.addNodegroup(in)
	return err
}

// NodegroupState is a copy of what EKS knows of a node group.
type NodegroupState struct {
	Name, Status, Version, ReleaseVersion, AutoScalingGroup string
	// Issues are the codes of its health issues.
	Issues []string
}

// Nodegroups reads the state of a cluster's managed node groups, sorted by name.
func (c *Cloud) Nodegroups(cluster string) []NodegroupState {
	c.mu.Lock()
	defer c.mu.Unlock()
	cl := c.clusters[cluster]
	if cl == nil {
		return nil
	}
	var out []NodegroupState
	for _, n := range cl.nodegroups {
		s := NodegroupState{Name: n.name, Status: n.status, Version: n.version, ReleaseVersion: n.releaseVersion, AutoScalingGroup: n.asg}
		for _, i := range n.issues {
			s.Issues = append(s.Issues, i.Code)
		}
		out = append(out, s)
	}
	return out
}

// notFound is EKS' answer to a name that it does not know.
func notFound(message string, about map[string]string) *Error {
	return &Error{Code: "ResourceNotFoundException", Message: message, Status: http.StatusNotFound, About: about}
}

// invalidParameter is EKS' answer to a parameter that cannot be; about may be nil.
func invalidParameter(about map[string]string, format string, args ...any) *Error {
	return &Error{Code: "InvalidParameterException", Message: fmt.Sprintf(format, args...), About: about}
}

func (c *Cloud) findCluster(name string) (*cluster, error) {
	if cl := c.clusters[name]; cl != nil {
		return cl, nil
	}
	return nil, notFound("No cluster found for name: "+name+".", nil)
}

func (c *Cloud) findNodegroup(cluster, name string) (*nodegroup, error) {
	cl, err := c.findCluster(cluster)
	if err != nil {
		return nil, err
	}
	if i, ok := slices.BinarySearchFunc(cl.nodegroups, name, func(n *nodegroup, name string) int { return cmp.Compare(n.name, name) }); ok {
		return cl.nodegroups[i], nil
	}
	return nil, notFound("No node group found for name: "+name+".", map[string]string{"clusterName": cluster, "nodegroupName": name})
}

func (n *nodegroup) about() map[string]string {
	return map[string]string{"clusterName": n.cluster.name, "nodegroupName": n.name}
}

// nodegroupOf is the node group that owns an Auto Scaling group; nil for one that is nobody's.
func (c *Cloud) nodegroupOf(asg string) *nodegroup {
	for _, cl := range c.clusters {
		for _, n := range cl.nodegroups {
			if n.asg == asg {
				return n
			}
		}
	}
	return nil
}

// custom says that the image is the user's, named by the launch template.
func (n *nodegroup) custom() bool { return n.amiType == amiTypeCustom }

// identity is what a machine of a node group joins as: the labels and taints that its user data gives the kubelet.
func (n *nodegroup) identity(i *instance) nodeIdentity {
	id := nodeIdentity{labels: maps.Clone(n.labels), taints: slices.Clone(n.taints)}
	if id.labels == nil {
		id.labels = map[string]string{}
	}
	id.labels[labelNodegroup], id.labels[labelNodegroupImage], id.labels[labelCapacityType] = n.name, i.imageID, n.capacityType
	return id
}

// nodeIdentity is what a machine tells the API server of itself, beyond what EC2 knows.
type nodeIdentity struct {
	labels map[string]string
	taints []NodeTaint
}

// clusterCA is the certificate authority as DescribeCluster shows it.
func (cl *cluster) clusterCA() string { return base64.StdEncoding.EncodeToString(cl.ca) }

// zonesOf are the availability zones of subnets, in the account's order.
func (c *Cloud) zonesOf(subnets []string) []string {
	var out []string
	for _, z := range c.cfg.Zones {
		if slices.Contains(subnets, c.SubnetID(z)) {
			out = append(out, z)
		}
	}
	return out
}

// sizeOf is what a node group's percentage of its nodes is, rounded up; at least 1, at most EKS' 100.
func (u updateConfig) sizeOf(nodes int) int {
	const most = 100
	n := int(deref(u.MaxUnavailable))
	if u.MaxUnavailablePercentage != nil {
		n = (nodes*int(*u.MaxUnavailablePercentage) + 99) / 100
	}
	return max(1, min(n, most))
}

// checkUpdateConfig refuses what EKS does: both limits, or a strategy that it does not have.
func checkUpdateConfig(u updateConfig, about map[string]string) error {
	switch {
	case u.MaxUnavailable != nil && u.MaxUnavailablePercentage != nil:
		return invalidParameter(about, "Only one of maxUnavailable and maxUnavailablePercentage can be specified")
	case u.MaxUnavailable != nil && (*u.MaxUnavailable < 1 || *u.MaxUnavailable > 100):
		return invalidParameter(about, "maxUnavailable must be between 1 and 100")
	case u.MaxUnavailablePercentage != nil && (*u.MaxUnavailablePercentage < 1 || *u.MaxUnavailablePercentage > 100):
		return invalidParameter(about, "maxUnavailablePercentage must be between 1 and 100")
	case u.UpdateStrategy != "" && u.UpdateStrategy != strategyDefault && u.UpdateStrategy != strategyMinimal:
		return invalidParameter(about, "updateStrategy must be one of [%s]", strings.Join([]string{strategyDefault, strategyMinimal}, ", "))
	}
	return nil
}
