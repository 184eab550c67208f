package aws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

type createNodegroupInput struct {
	Cluster        string            `json:"-" uri:"0"`
	NodegroupName  string            `json:"nodegroupName"`
	ScalingConfig  *scalingConfig    `json:"scalingConfig"`
	DiskSize       *int32            `json:"diskSize"`
	Subnets        []string          `json:"subnets"`
	InstanceTypes  []string          `json:"instanceTypes"`
	AMIType        string            `json:"amiType"`
	NodeRole       string            `json:"nodeRole"`
	Labels         map[string]string `json:"labels"`
	Taints         []NodeTaint       `json:"taints"`
	Tags           map[string]string `json:"tags"`
	Token          string            `json:"clientRequestToken"`
	LaunchTemplate *eksTemplateSpec  `json:"launchTemplate"`
	UpdateConfig   *updateConfig     `json:"updateConfig"`
	CapacityType   string            `json:"capacityType"`
	Version        string            `json:"version"`
	ReleaseVersion string            `json:"releaseVersion"`
}

func (c *Cloud) createNodegroup(in *createNodegroupInput) (*nodegroupOutput, error) {
	cl, err := c.findCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	token := in.Token
	body := tokenBody("CreateNodegroup", in, &in.Token)
	if n, err := cl.usedBefore(token, body); err != nil || n != nil {
		return c.shown(n, err)
	}
	if err := c.nodegroupMayLaunch(in.LaunchTemplate, map[string]string{"clusterName": cl.name, "nodegroupName": in.NodegroupName}); err != nil {
		return nil, err
	}
	n, err := c.addNodegroup(in)
	if err != nil {
		return nil, err
	}
	cl.remember(token, body, n)
	return &nodegroupOutput{Nodegroup: c.eksNodegroup(n)}, nil
}

// shown is the answer of a CreateNodegroup that was made before.
func (c *Cloud) shown(result any, err error) (*nodegroupOutput, error) {
	if err != nil {
		return nil, err
	}
	return &nodegroupOutput{Nodegroup: c.eksNodegroup(result.(*nodegroup))}, nil
}

// tokenBody is a request as a clientRequestToken remembers it: everything but the token itself, which it clears.
func tokenBody(action string, in any, token *string) string {
	*token = ""
	b, err := json.Marshal(in)
	if err != nil {
		panic(err) // our own request structs marshal
	}
	return action + " " + string(b)
}

// usedBefore finds what a token made; nil for a new one. A token that comes with other parameters is refused.
func (cl *cluster) usedBefore(token, body string) (any, error) {
	u, used := cl.tokens[token]
	switch {
	case token == "" || !used:
		return nil, nil
	case u.body != body:
		return nil, invalidParameter(map[string]string{"clusterName": cl.name},
			"The clientRequestToken %s was used before with other parameters", token)
	}
	return u.result, nil
}

// maxTokens bounds what a cluster remembers; a token in use is far younger than the tokens before it.
const maxTokens = 10_000

func (cl *cluster) remember(token, body string, result any) {
	if token == "" {
		return
	}
	if len(cl.tokens) >= maxTokens {
		clear(cl.tokens)
	}
	cl.tokens[token] = usedToken{body: body, result: result}
}

// addNodegroup makes a node group and its Auto Scaling group from a request, or refuses as EKS does.
func (c *Cloud) addNodegroup(in *createNodegroupInput) (*nodegroup, error) {
	cl, err := c.findCluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	about := map[string]string{"clusterName": cl.name, "nodegroupName": in.NodegroupName}
	at, exists := slices.BinarySearchFunc(cl.nodegroups, in.NodegroupName, func(n *nodegroup, name string) int { return cmp.Compare(n.name, name) })
	if exists {
		return nil, &Error{Code: "ResourceInUseException", Message: "NodeGroup already exists with name " + in.NodegroupName + " and cluster name " + cl.name,
			Status: http.StatusConflict, About: about}
	}
	now := c.now()
	n := &nodegroup{
		cluster: cl, name: in.NodegroupName, uuid: c.newUUID(), created: now, modified: now, since: now, status: nodegroupCreating,
		amiType: in.AMIType, capacityType: cmp.Or(in.CapacityType, "ON_DEMAND"), nodeRole: in.NodeRole, instanceTypes: in.InstanceTypes,
		subnets: in.Subnets, diskSize: in.DiskSize, labels: in.Labels, taints: in.Taints, tags: maps.Clone(in.Tags),
		version: cmp.Or(in.Version, cl.version), drains: map[string]time.Time{},
	}
	if n.tags == nil {
		n.tags = map[string]string{}
	}
	if err := c.describeNew(n, in, about); err != nil {
		return nil, err
	}
	revision, err := c.revisionFor(n, n.version, in.ReleaseVersion, in.LaunchTemplate)
	if err != nil {
		return nil, err
	}
	n.releaseVersion, n.launchTemplate = revision.release, revision.launchTemplate
	n.arn = c.arn("eks", "nodegroup/"+cl.name+"/"+n.name+"/"+n.uuid)
	if n.template, err = c.createTemplate("eks-"+n.uuid, "", revision.data, n.eksTags()); err != nil {
		return nil, err
	}
	n.current = 1
	n.asg = "eks-" + n.name + "-" + n.uuid
	if err := c.createNodegroupASG(n); err != nil {
		return nil, err
	}
	cl.nodegroups = slices.Insert(cl.nodegroups, at, n)
	return n, nil
}

// describeNew checks and fills in what is not about the revision.
func (c *Cloud) describeNew(n *nodegroup, in *createNodegroupInput, about map[string]string) error {
	switch {
	case n.name == "":
		return invalidParameter(about, "The node group name must not be empty")
	case n.nodeRole == "":
		return invalidParameter(about, "Role ARN must not be empty")
	case len(n.subnets) == 0 || len(c.zonesOf(n.subnets)) < len(n.subnets):
		return invalidParameter(about, "The subnet IDs %v do not exist or are empty", n.subnets)
	case compareKubernetes(n.version, n.cluster.version) > 0:
		return invalidParameter(about, "Nodegroup version %s is newer than the cluster's %s", n.version, n.cluster.version)
	case n.capacityType != "ON_DEMAND" && n.capacityType != "SPOT":
		return invalidParameter(about, "The simulated EKS has the capacity types ON_DEMAND and SPOT, not %s", n.capacityType)
	}
	s := cmp.Or(in.ScalingConfig, &scalingConfig{})
	n.min, n.max, n.desired = 1, 2, 2 // EKS' own defaults
	if s.MinSize != nil {
		n.min = int(*s.MinSize)
	}
	if s.MaxSize != nil {
		n.max = int(*s.MaxSize)
	}
	if s.DesiredSize != nil {
		n.desired = int(*s.DesiredSize)
	}
	if err := checkScaling(n.min, n.max, n.desired, about); err != nil {
		return err
	}
	if in.UpdateConfig != nil {
		n.update = *in.UpdateConfig
	}
	if err := checkUpdateConfig(n.update, about); err != nil {
		return err
	}
	if n.update.MaxUnavailable == nil && n.update.MaxUnavailablePercentage == nil {
		n.update.MaxUnavailable = ptr(int32(1))
	}
	for _, t := range n.taints {
		if t.Key == "" || !slices.Contains([]string{"NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"}, t.Effect) {
			return invalidParameter(about, "The taint %+v has no key, or an effect that is none of NO_SCHEDULE, NO_EXECUTE and PREFER_NO_SCHEDULE", t)
		}
	}
	for k := range n.labels {
		if strings.HasPrefix(k, "eks.amazonaws.com/") {
			return invalidParameter(about, "Label cannot contain reserved prefixes [kubernetes.io/, k8s.io/, eks.amazonaws.com/]: %s", k)
		}
	}
	return nil
}

func checkScaling(low, high, desired int, about map[string]string) error {
	if low < 0 || high < 1 || low > desired || desired > high {
		return invalidParameter(about, "Minimum capacity %d, desired capacity %d and maximum capacity %d must be in this order, and the maximum at least 1", low, desired, high)
	}
	return nil
}

// eksRevision is what the nodes of a node group are made from.
type eksRevision struct {
	data           LaunchTemplateData // of EKS' own launch template
	release        string
	launchTemplate *eksTemplateSpec
}

// revisionFor resolves a Kubernetes version, a release and a launch template of the user's to a revision, by the rules
// of the EKS user guide, "Customize managed nodes with launch templates": EKS makes a copy of the user's template; one
// with an image is a custom AMI, which has no release and no version of its own. A CUSTOM node group stays one.
func (c *Cloud) revisionFor(n *nodegroup, version, releaseVersion string, user *eksTemplateSpec) (eksRevision, error) {
	about := n.about()
	out := eksRevision{}
	if user != nil {
		t, err := c.findTemplate(user.ID, user.Name)
		if err != nil {
			return out, invalidParameter(about, "Launch template cannot be read: %v", err)
		}
		v, err := t.versionNamed(user.Version)
		if err != nil {
			return out, invalidParameter(about, "Launch template version cannot be read: %v", err)
		}
		out.data = v.data
		out.launchTemplate = &eksTemplateSpec{ID: t.id, Name: t.name, Version: v.String()}
		switch {
		case v.data.IamInstanceProfile != nil:
			return out, invalidParameter(about, "Launch template should not specify an instance profile. The noderole in your request will be used to construct an instance profile.")
		case deref(v.data.InstanceType) != "" && len(n.instanceTypes) > 0:
			return out, invalidParameter(about, "Cannot specify instance types in launch template and API request")
		}
		if image := deref(v.data.ImageID); image != "" {
			return c.customRevision(n, version, releaseVersion, out, image)
		}
	}
	if n.custom() {
		return out, invalidParameter(about, "Launch template of a node group with a custom AMI must specify an image ID")
	}
	n.amiType = cmp.Or(n.amiType, "AL2023_x86_64_STANDARD")
	if _, ok := findAMIType(n.amiType); !ok {
		return out, invalidParameter(about, "The simulated EKS does not know the AMI type %s: choose one of %s", n.amiType, strings.Join(AMITypes(), ", "))
	}
	r := c.findRelease(n.amiType, version, releaseVersion)
	switch {
	case r == nil && releaseVersion == "":
		return out, invalidParameter(about, "There is no release of %s for kubernetes version %s", n.amiType, version)
	case r == nil:
		return out, invalidParameter(about, "Requested release version %s is not valid for kubernetes version %s.", releaseVersion, version)
	}
	out.release = r.version
	out.data.ImageID = ptr(r.image)
	return c.withTags(n, out), nil
}

func (c *Cloud) customRevision(n *nodegroup, version, releaseVersion string, out eksRevision, image string) (eksRevision, error) {
	about := n.about()
	switch {
	case n.amiType != "" && !n.custom():
		return out, invalidParameter(about, "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template.")
	case releaseVersion != "" || version != n.version:
		return out, invalidParameter(about, "You cannot specify the fields version and releaseVersion when using custom AMIs.")
	}
	id, err := c.resolveImage(image)
	if err != nil {
		return out, invalidParameter(about, "Launch template names an image that cannot be used: %v", err)
	}
	n.amiType = amiTypeCustom
	out.release = id
	return c.withTags(n, out), nil
}

// withTags adds what every launch template of EKS' own has: the marks of the group on its instances.
func (c *Cloud) withTags(n *nodegroup, r eksRevision) eksRevision {
	if len(n.instanceTypes) == 0 && deref(r.data.InstanceType) == "" {
		n.instanceTypes = []string{"t3.medium"}
	}
	r.data.TagSpecifications = slices.Clone(r.data.TagSpecifications)
	r.data.TagSpecifications = append(r.data.TagSpecifications, TagSpecification{ResourceType: "instance", Tags: tagList(n.eksTags())})
	return r
}

// eksTags are the marks by which everything of a node group is found.
func (n *nodegroup) eksTags() map[string]string {
	return map[string]string{tagEKSCluster: n.cluster.name, tagEKSNodegroup: n.name}
}

// The lifecycle hook by which EKS empties a node before its instance goes, whoever asked for its end.
const (
	hookTerminate        = "Terminate-LC-Hook"
	hookTerminateTimeout = 1800 // seconds
)

// createNodegroupASG makes the Auto Scaling group as EKS does: spread over the subnets' zones, a mixed instances policy
// over the instance types, pinned to a version of EKS' template, and with these termination policies.
func (c *Cloud) createNodegroupASG(n *nodegroup) error {
	in := &createGroupInput{
		AutoScalingGroupName: n.asg, MinSize: ptr(int32(n.min)), MaxSize: ptr(int32(n.max)), DesiredCapacity: ptr(int32(n.desired)),
		VPCZoneIdentifier: ptr(strings.Join(n.subnets, ",")), CapacityRebalance: ptr(true),
		TerminationPolicies: []string{policyAllocationStrategy, policyOldestTemplate, policyOldestInstance},
		Hooks: []LifecycleHook{{LifecycleHookName: hookTerminate, LifecycleTransition: transitionTerminating,
			HeartbeatTimeout: ptr(int32(hookTerminateTimeout)), DefaultResult: resultContinue}},
		MixedInstancesPolicy: n.mixedPolicy(n.template, n.current),
	}
	tags := n.eksTags()
	tags["k8s.io/cluster-autoscaler/enabled"] = "true"
	tags["k8s.io/cluster-autoscaler/"+n.cluster.name] = "owned"
	tags["kubernetes.io/cluster/"+n.cluster.name] = "owned"
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		in.Tags = append(in.Tags, GroupTag{Key: k, Value: tags[k], PropagateAtLaunch: true})
	}
	_, err := c.createGroup(in)
	return err
}

// mixedPolicy is the launch source of a node group's Auto Scaling group at a version of EKS' template.
func (n *nodegroup) mixedPolicy(t *launchTemplate, version int64) *MixedInstancesPolicy {
	onDemand := int32(100)
	if n.capacityType == "SPOT" {
		onDemand = 0
	}
	p := &MixedInstancesPolicy{
		LaunchTemplate: &MixedLaunchTemplate{LaunchTemplateSpecification: &LaunchTemplateSpecification{LaunchTemplateID: t.id, Version: fmt.Sprint(version)}},
		InstancesDistribution: &InstancesDistribution{
			OnDemandAllocationStrategy: "prioritized", OnDemandBaseCapacity: ptr(int32(0)), OnDemandPercentageAboveBaseCapacity: &onDemand,
			SpotAllocationStrategy: "price-capacity-optimized",
		},
	}
	for _, t := range n.instanceTypes {
		p.LaunchTemplate.Overrides = append(p.LaunchTemplate.Overrides, LaunchTemplateOverride{InstanceType: t})
	}
	return p
}

type deleteNodegroupInput struct {
	Cluster string `json:"-" uri:"0"`
	Name    string `json:"-" uri:"1"`
}

// deleteNodegroup begins the end of a node group: its nodes are drained for a while, then they go, then it does.
func (c *Cloud) deleteNodegroup(in *deleteNodegroupInput) (*nodegroupOutput, error) {
	n, err := c.findNodegroup(in.Cluster, in.Name)
	if err != nil {
		return nil, err
	}
	if n.status == nodegroupUpdating || n.status == nodegroupDeleting {
		return nil, n.inUse("deleted")
	}
	now := c.now()
	n.enter(nodegroupDeleting, now)
	if g := c.groups[n.asg]; g != nil {
		g.min = 0
		g.setDesired(0, now)
	}
	return &nodegroupOutput{Nodegroup: c.eksNodegroup(n)}, nil
}

// inUse is EKS' answer to a change of a node group that is at work.
func (n *nodegroup) inUse(what string) *Error {
	return &Error{Code: "ResourceInUseException", Status: http.StatusConflict, About: n.about(),
		Message: "Nodegroup cannot be " + what + " as it is currently not in Active State"}
}

// enter changes the status of a node group.
func (n *nodegroup) enter(status string, now time.Time) {
	if n.status != status {
		n.status, n.since, n.modified = status, now, now
	}
}
