package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

func eksRoutes() []route {
	const group = "/clusters/{name}/node-groups/{nodegroupName}"
	return []route{
		{http.MethodGet, "/clusters", "ListClusters"},
		{http.MethodGet, "/clusters/{name}", "DescribeCluster"},
		{http.MethodGet, "/clusters/{name}/node-groups", "ListNodegroups"},
		{http.MethodPost, "/clusters/{name}/node-groups", "CreateNodegroup"},
		{http.MethodGet, group, "DescribeNodegroup"},
		{http.MethodDelete, group, "DeleteNodegroup"},
		{http.MethodPost, group + "/update-version", "UpdateNodegroupVersion"},
		{http.MethodPost, group + "/update-config", "UpdateNodegroupConfig"},
		{http.MethodGet, "/clusters/{name}/updates", "ListUpdates"},
		{http.MethodGet, "/clusters/{name}/updates/{updateId}", "DescribeUpdate"},
		{http.MethodPost, "/tags/{resourceArn}", "TagResource"},
		{http.MethodDelete, "/tags/{resourceArn}", "UntagResource"},
		{http.MethodGet, "/tags/{resourceArn}", "ListTagsForResource"},
	}
}

func eksActions() map[string]action {
	return map[string]action{
		"ListClusters":           restAction((*Cloud).listClusters),
		"DescribeCluster":        restAction((*Cloud).describeCluster),
		"ListNodegroups":         restAction((*Cloud).listNodegroups),
		"CreateNodegroup":        restAction((*Cloud).createNodegroup),
		"DescribeNodegroup":      restAction((*Cloud).describeNodegroup),
		"DeleteNodegroup":        restAction((*Cloud).deleteNodegroup),
		"UpdateNodegroupVersion": restAction((*Cloud).updateNodegroupVersion),
		"UpdateNodegroupConfig":  restAction((*Cloud).updateNodegroupConfig),
		"ListUpdates":            restAction((*Cloud).listUpdates),
		"DescribeUpdate":         restAction((*Cloud).describeUpdate),
		"TagResource":            restAction((*Cloud).tagEKSResource),
		"UntagResource":          restAction((*Cloud).untagEKSResource),
		"ListTagsForResource":    restAction((*Cloud).listEKSTags),
	}
}

// eksPage cuts one page of at most 100, which is EKS' largest and its default.
func eksPage(scope string, all []string, token string, size *int) ([]string, string, error) {
	const largest = 100
	n := largest
	if size != nil {
		n = *size
	}
	if n < 1 || n > largest {
		return nil, "", invalidParameter(nil, "maxResults must be between 1 and %d", largest)
	}
	items, next, ok := page(scope, all, func(s string) string { return s }, token, n)
	if !ok {
		return nil, "", invalidParameter(nil, "Invalid nextToken")
	}
	return append([]string{}, items...), next, nil
}

type listClustersInput struct {
	MaxResults *int     `json:"-" query:"maxResults"`
	NextToken  string   `json:"-" query:"nextToken"`
	Include    []string `json:"-" query:"include"`
}

type listClustersOutput struct {
	Clusters  []string `json:"clusters"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (c *Cloud) listClusters(in *listClustersInput) (*listClustersOutput, error) {
	names, next, err := eksPage("clusters", slices.Sorted(maps.Keys(c.clusters)), in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	return &listClustersOutput{Clusters: names, NextToken: next}, nil
}

type describeClusterInput struct {
	Name string `json:"-" uri:"0"`
}

type describeClusterOutput struct {
	Cluster eksCluster `json:"cluster"`
}

type eksCluster struct {
	Name            string            `json:"name"`
	ARN             string            `json:"arn"`
	CreatedAt       json.Number       `json:"createdAt"`
	Version         string            `json:"version"`
	Endpoint        string            `json:"endpoint,omitempty"`
	RoleARN         string            `json:"roleArn"`
	VPC             eksVPC            `json:"resourcesVpcConfig"`
	Network         eksNetwork        `json:"kubernetesNetworkConfig"`
	Status          string            `json:"status"`
	CA              eksCertificate    `json:"certificateAuthority"`
	PlatformVersion string            `json:"platformVersion"`
	Tags            map[string]string `json:"tags,omitempty"`
	AccessConfig    eksAccessConfig   `json:"accessConfig"`
}

type eksVPC struct {
	SubnetIDs       []string `json:"subnetIds"`
	SecurityGroups  []string `json:"securityGroupIds"`
	ClusterSecurity string   `json:"clusterSecurityGroupId"`
	VPCID           string   `json:"vpcId"`
	Public          bool     `json:"endpointPublicAccess"`
	Private         bool     `json:"endpointPrivateAccess"`
	PublicCIDRs     []string `json:"publicAccessCidrs"`
}

type eksNetwork struct {
	ServiceCIDR string `json:"serviceIpv4Cidr"`
	Family      string `json:"ipFamily"`
}

type eksCertificate struct {
	Data string `json:"data,omitempty"`
}

type eksAccessConfig struct {
	Mode string `json:"authenticationMode"`
}

func (c *Cloud) describeCluster(in *describeClusterInput) (*describeClusterOutput, error) {
	cl, err := c.findCluster(in.Name)
	if err != nil {
		return nil, err
	}
	out := eksCluster{
		Name: cl.name, ARN: cl.arn, CreatedAt: epochSeconds(cl.created), Version: cl.version, Endpoint: cl.endpoint, Status: "ACTIVE",
		RoleARN: "arn:aws:iam::" + c.cfg.AccountID + ":role/" + cl.name + "-cluster",
		VPC: eksVPC{SecurityGroups: []string{}, ClusterSecurity: fmt.Sprintf("sg-0%016x", c.cfg.Seed<<8), VPCID: c.VPCID(),
			Public: true, PublicCIDRs: []string{"0.0.0.0/0"}},
		Network: eksNetwork{ServiceCIDR: "172.20.0.0/16", Family: "ipv4"}, CA: eksCertificate{Data: cl.clusterCA()},
		PlatformVersion: "eks.1", Tags: cl.tags, AccessConfig: eksAccessConfig{Mode: "API"},
	}
	for _, z := range c.cfg.Zones {
		out.VPC.SubnetIDs = append(out.VPC.SubnetIDs, c.SubnetID(z))
	}
	if cl.endpoint == "" {
		out.Status = "CREATING"
	}
	return &describeClusterOutput{Cluster: out}, nil
}

type listNodegroupsInput struct {
	Cluster    string `json:"-" uri:"0"`
	MaxResults *int   `json:"-" query:"maxResults"`
	NextToken  string `json:"-" query:"nextToken"`
}

type listNodegroupsOutput struct {
	Nodegroups []string `json:"nodegroups"`
	NextToken  string   `json:"nextToken,omitempty"`
}

func (c *Cloud) listNodegroups(in *listNodegroupsInput) (*listNodegroupsOutput, error) {
	cl, err := c.findCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(cl.nodegroups))
	for _, n := range cl.nodegroups {
		names = append(names, n.name)
	}
	names, next, err := eksPage("nodegroups", names, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	return &listNodegroupsOutput{Nodegroups: names, NextToken: next}, nil
}

type describeNodegroupInput struct {
	Cluster string `json:"-" uri:"0"`
	Name    string `json:"-" uri:"1"`
}

type nodegroupOutput struct {
	Nodegroup eksNodegroup `json:"nodegroup"`
}

// eksNodegroup is a node group as EKS shows it.
type eksNodegroup struct {
	Name           string            `json:"nodegroupName"`
	ARN            string            `json:"nodegroupArn"`
	Cluster        string            `json:"clusterName"`
	Version        string            `json:"version,omitempty"`
	ReleaseVersion string            `json:"releaseVersion,omitempty"`
	CreatedAt      json.Number       `json:"createdAt"`
	ModifiedAt     json.Number       `json:"modifiedAt"`
	Status         string            `json:"status"`
	CapacityType   string            `json:"capacityType"`
	Scaling        scalingConfig     `json:"scalingConfig"`
	InstanceTypes  []string          `json:"instanceTypes,omitempty"`
	Subnets        []string          `json:"subnets"`
	AMIType        string            `json:"amiType"`
	NodeRole       string            `json:"nodeRole"`
	Labels         map[string]string `json:"labels,omitempty"`
	Taints         []NodeTaint       `json:"taints,omitempty"`
	Resources      eksResources      `json:"resources"`
	DiskSize       *int32            `json:"diskSize,omitempty"`
	Health         eksHealth         `json:"health"`
	Update         updateConfig      `json:"updateConfig"`
	LaunchTemplate *eksTemplateSpec  `json:"launchTemplate,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
}

type scalingConfig struct {
	MinSize     *int32 `json:"minSize,omitempty"`
	MaxSize     *int32 `json:"maxSize,omitempty"`
	DesiredSize *int32 `json:"desiredSize,omitempty"`
}

type eksResources struct {
	AutoScalingGroups []eksGroupName `json:"autoScalingGroups"`
}

type eksGroupName struct {
	Name string `json:"name"`
}

type eksHealth struct {
	Issues []eksIssue `json:"issues"`
}

type eksTemplateSpec struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	ID      string `json:"id,omitempty"`
}

func (c *Cloud) describeNodegroup(in *describeNodegroupInput) (*nodegroupOutput, error) {
	n, err := c.findNodegroup(in.Cluster, in.Name)
	if err != nil {
		return nil, err
	}
	return &nodegroupOutput{Nodegroup: c.eksNodegroup(n)}, nil
}

func (c *Cloud) eksNodegroup(n *nodegroup) eksNodegroup {
	out := eksNodegroup{
		Name: n.name, ARN: n.arn, Cluster: n.cluster.name, Version: n.version, ReleaseVersion: n.releaseVersion,
		CreatedAt: epochSeconds(n.created), ModifiedAt: epochSeconds(n.modified), Status: n.status, CapacityType: n.capacityType,
		Scaling:       scalingConfig{MinSize: ptr(int32(n.min)), MaxSize: ptr(int32(n.max)), DesiredSize: ptr(int32(n.desired))},
		InstanceTypes: n.instanceTypes, Subnets: n.subnets, AMIType: n.amiType, NodeRole: n.nodeRole, Labels: n.labels, Taints: n.taints,
		Resources: eksResources{AutoScalingGroups: []eksGroupName{{n.asg}}}, DiskSize: n.diskSize, Health: eksHealth{Issues: append([]eksIssue{}, n.issues...)},
		Update: n.update, LaunchTemplate: n.launchTemplate, Tags: n.tags,
	}
	return out
}
