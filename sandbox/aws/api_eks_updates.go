package aws

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// update is one update of a node group.
type update struct {
	nodegroup *nodegroup
	id        string
	kind      string // UpdateType
	status    string // UpdateStatus
	params    []eksParam
	created   time.Time
	errors    []eksUpdateError

	*roll // of a version update; nil for a change of the configuration
	until time.Time
}

// The states of an update (UpdateStatus) and its kinds (UpdateType).
const (
	updateInProgress  = "InProgress"
	updateSuccessful  = "Successful"
	updateFailed      = "Failed"
	updateOfVersion   = "VersionUpdate"
	updateOfConfig    = "ConfigUpdate"
	strategyDefault   = "DEFAULT"
	strategyMinimal   = "MINIMAL"
	maxUpdatesOfGroup = 1000 // what a node group remembers
)

type eksParam struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type eksUpdateError struct {
	Code        string   `json:"errorCode"`
	Message     string   `json:"errorMessage"`
	ResourceIDs []string `json:"resourceIds"`
}

type updateOutput struct {
	Update eksUpdate `json:"update"`
}

type eksUpdate struct {
	ID        string           `json:"id"`
	Status    string           `json:"status"`
	Type      string           `json:"type"`
	Params    []eksParam       `json:"params"`
	CreatedAt json.Number      `json:"createdAt"`
	Errors    []eksUpdateError `json:"errors"`
}

func (u *update) shown() *updateOutput {
	return &updateOutput{Update: eksUpdate{
		ID: u.id, Status: u.status, Type: u.kind, Params: append([]eksParam{}, u.params...), CreatedAt: epochSeconds(u.created),
		Errors: append([]eksUpdateError{}, u.errors...),
	}}
}

type updateVersionInput struct {
	Cluster        string           `json:"-" uri:"0"`
	Name           string           `json:"-" uri:"1"`
	Version        string           `json:"version"`
	ReleaseVersion string           `json:"releaseVersion"`
	LaunchTemplate *eksTemplateSpec `json:"launchTemplate"`
	Force          bool             `json:"force"`
	Token          string           `json:"clientRequestToken"`
}

// updateNodegroupVersion begins to roll a node group. It is refused as EKS refuses it; see [Cloud.targetOf] for what
// it rolls to.
func (c *Cloud) updateNodegroupVersion(in *updateVersionInput) (*updateOutput, error) {
	n, err := c.findNodegroup(in.Cluster, in.Name)
	if err != nil {
		return nil, err
	}
	token := in.Token
	body := tokenBody("UpdateNodegroupVersion "+in.Name, in, &in.Token)
	if u, err := n.cluster.usedBefore(token, body); err != nil || u != nil {
		return shownBefore(u, err)
	}
	if err := n.changeable(); err != nil {
		return nil, err
	}
	if err := c.nodegroupMayLaunch(in.LaunchTemplate, n.about()); err != nil {
		return nil, err
	}
	version, revision, err := c.targetOf(n, in)
	if err != nil {
		return nil, err
	}
	u := c.newUpdate(n, updateOfVersion)
	u.roll = &roll{version: version, revision: revision, force: in.Force, minimal: n.update.UpdateStrategy == strategyMinimal, nodes: map[string]*rollNode{}}
	u.params = []eksParam{{"Version", version}}
	if !n.custom() {
		u.params = append(u.params, eksParam{"ReleaseVersion", revision.release})
	}
	if t := revision.launchTemplate; t != nil {
		u.params = append(u.params, eksParam{"LaunchTemplateName", t.Name}, eksParam{"LaunchTemplateVersion", t.Version})
	}
	n.cluster.remember(token, body, u)
	return u.shown(), nil
}

func shownBefore(result any, err error) (*updateOutput, error) {
	if err != nil {
		return nil, err
	}
	return result.(*update).shown(), nil
}

// changeable refuses a change of a node group that is at work, or broken in a way that a change would not mend.
func (n *nodegroup) changeable() error {
	if n.status != nodegroupActive && n.status != nodegroupDegraded {
		return n.inUse("updated")
	}
	if slices.ContainsFunc(n.issues, func(i eksIssue) bool {
		return i.Code == issueVersionMismatch || i.Code == issueGroupNotFound
	}) {
		return &Error{Code: "InvalidRequestException", About: n.about(),
			Message: "Nodegroup health has issues other than [ AsgInstanceLaunchFailures, InstanceLimitExceeded, InsufficientFreeAddresses, ClusterUnreachable, PodEvictionFailure, NodeCreationFailure ]"}
	}
	return nil
}

// targetOf is what an update rolls to: the Kubernetes version and the release asked for, and the version of the user's
// launch template asked for or the one in use. A release without a version is looked for among the node group's own
// ("Requested release version 1.31.3-20250103 is not valid for kubernetes version 1.30", eksctl#7976, with a cluster at
// 1.31). With neither "the node group will be updated to match the cluster's current Kubernetes version, and the latest
// available AMI for that version will be used", says the API's documentation of the parameter version; its introduction
// says the node group's version. The former surprises, so it is the one to test against. And: "You cannot roll back a
// node group to an earlier Kubernetes version or AMI version."
func (c *Cloud) targetOf(n *nodegroup, in *updateVersionInput) (string, eksRevision, error) {
	about := n.about()
	version := n.version
	switch {
	case in.Version != "" && n.custom():
		return "", eksRevision{}, invalidParameter(about, "You cannot specify the field kubernetesVersion when using custom AMIs.")
	case in.ReleaseVersion != "" && n.custom():
		return "", eksRevision{}, invalidParameter(about, "You cannot specify the field releaseVersion when using custom AMIs.")
	case in.Version != "" && compareKubernetes(in.Version, n.version) < 0:
		return "", eksRevision{}, invalidParameter(about, "Nodegroup version %s cannot be downgraded to %s", n.version, in.Version)
	case in.Version != "" && compareKubernetes(in.Version, n.cluster.version) > 0:
		return "", eksRevision{}, invalidParameter(about, "Nodegroup version %s is newer than the cluster's %s", in.Version, n.cluster.version)
	case in.Version != "":
		version = in.Version
	case in.ReleaseVersion == "" && !n.custom():
		version = n.cluster.version
	}
	user := n.launchTemplate
	if in.LaunchTemplate != nil {
		if user == nil {
			return "", eksRevision{}, invalidParameter(about, "You cannot specify a launch template for a node group that was created without one.")
		}
		t, err := c.findTemplate(in.LaunchTemplate.ID, in.LaunchTemplate.Name)
		if err != nil || t.id != user.ID {
			return "", eksRevision{}, invalidParameter(about, "The launch template must be the one of the node group, %s (%s)", user.Name, user.ID)
		}
		user = in.LaunchTemplate
	}
	if user != nil {
		user = &eksTemplateSpec{ID: n.launchTemplate.ID, Version: user.Version}
	}
	revision, err := c.revisionFor(n, version, in.ReleaseVersion, user)
	if err != nil {
		return "", eksRevision{}, err
	}
	if !n.custom() && version == n.version {
		from, to := c.findRelease(n.amiType, version, n.releaseVersion), c.findRelease(n.amiType, version, revision.release)
		if from != nil && to.number < from.number {
			return "", eksRevision{}, invalidParameter(about, "Nodegroup release version %s cannot be downgraded to %s", n.releaseVersion, revision.release)
		}
	}
	return version, revision, nil
}

// newUpdate begins an update.
func (c *Cloud) newUpdate(n *nodegroup, kind string) *update {
	now := c.now()
	u := &update{nodegroup: n, id: c.newUUID(), kind: kind, status: updateInProgress, created: now}
	if len(n.updates) >= maxUpdatesOfGroup {
		n.updates = n.updates[1:]
	}
	n.updates = append(n.updates, u)
	n.enter(nodegroupUpdating, now)
	return u
}

type updateConfigInput struct {
	Cluster       string          `json:"-" uri:"0"`
	Name          string          `json:"-" uri:"1"`
	Labels        json.RawMessage `json:"labels,omitempty"`
	Taints        json.RawMessage `json:"taints,omitempty"`
	ScalingConfig *scalingConfig  `json:"scalingConfig"`
	UpdateConfig  *updateConfig   `json:"updateConfig"`
	Token         string          `json:"clientRequestToken"`
}

// configUpdateDelay is about what EKS takes for a change of the configuration, before [Config.EKSSpeedup].
const configUpdateDelay = 15 * time.Second

// updateNodegroupConfig changes sizes and the update configuration. Labels and taints, which EKS puts on the nodes that
// run too, are not simulated.
func (c *Cloud) updateNodegroupConfig(in *updateConfigInput) (*updateOutput, error) {
	n, err := c.findNodegroup(in.Cluster, in.Name)
	if err != nil {
		return nil, err
	}
	token := in.Token
	body := tokenBody("UpdateNodegroupConfig "+in.Name, in, &in.Token)
	if u, err := n.cluster.usedBefore(token, body); err != nil || u != nil {
		return shownBefore(u, err)
	}
	about := n.about()
	switch {
	case n.status != nodegroupActive && n.status != nodegroupDegraded:
		return nil, n.inUse("updated")
	case in.Labels != nil || in.Taints != nil:
		return nil, &Error{Code: "InvalidRequestException", Message: "the simulated EKS does not change labels and taints of a node group", About: about}
	case in.ScalingConfig == nil && in.UpdateConfig == nil:
		return nil, invalidParameter(about, "No changes needed for the node group: nothing was asked for")
	}
	var params []eksParam
	g := c.groups[n.asg]
	if g != nil {
		n.desired = g.desired // what is not named stays as it is, whoever set it
	}
	sizes := []*int{&n.min, &n.max, &n.desired}
	next := []int{n.min, n.max, n.desired}
	if s := in.ScalingConfig; s != nil {
		for i, p := range []struct {
			name string
			size *int32
		}{{"MinSize", s.MinSize}, {"MaxSize", s.MaxSize}, {"DesiredSize", s.DesiredSize}} {
			if p.size != nil {
				next[i] = int(*p.size)
				params = append(params, eksParam{p.name, strconv.Itoa(next[i])})
			}
		}
		if err := checkScaling(next[0], next[1], next[2], about); err != nil {
			return nil, err
		}
	}
	if s := in.UpdateConfig; s != nil {
		merged := n.update.with(*s)
		if err := checkUpdateConfig(*s, about); err != nil {
			return nil, err
		}
		params = append(params, s.params()...)
		n.update = merged
	}
	for i, size := range sizes {
		*size = next[i]
	}
	now := c.now()
	if g != nil && in.ScalingConfig != nil {
		g.min, g.max = n.min, n.max
		g.setDesired(n.desired, now)
	}
	u := c.newUpdate(n, updateOfConfig)
	u.params, u.until = params, now.Add(c.eksTime(configUpdateDelay))
	n.cluster.remember(token, body, u)
	return u.shown(), nil
}

// with is the configuration after a change; the two limits exclude each other.
func (u updateConfig) with(change updateConfig) updateConfig {
	if change.MaxUnavailable != nil || change.MaxUnavailablePercentage != nil {
		u.MaxUnavailable, u.MaxUnavailablePercentage = change.MaxUnavailable, change.MaxUnavailablePercentage
	}
	if change.UpdateStrategy != "" {
		u.UpdateStrategy = change.UpdateStrategy
	}
	return u
}

func (u updateConfig) params() (out []eksParam) {
	if u.MaxUnavailable != nil {
		out = append(out, eksParam{"MaxUnavailable", itoa(int(*u.MaxUnavailable))})
	}
	if u.MaxUnavailablePercentage != nil {
		out = append(out, eksParam{"MaxUnavailablePercentage", itoa(int(*u.MaxUnavailablePercentage))})
	}
	if u.UpdateStrategy != "" {
		out = append(out, eksParam{"UpdateStrategy", u.UpdateStrategy})
	}
	return out
}

type listUpdatesInput struct {
	Cluster    string `json:"-" uri:"0"`
	Nodegroup  string `json:"-" query:"nodegroupName"`
	MaxResults *int   `json:"-" query:"maxResults"`
	NextToken  string `json:"-" query:"nextToken"`
}

type listUpdatesOutput struct {
	IDs       []string `json:"updateIds"`
	NextToken string   `json:"nextToken,omitempty"`
}

// listUpdates lists the updates of a node group in no order that means anything, as EKS does. Those of the cluster
// itself, which it lists without one, do not exist here.
func (c *Cloud) listUpdates(in *listUpdatesInput) (*listUpdatesOutput, error) {
	if _, err := c.findCluster(in.Cluster); err != nil {
		return nil, err
	}
	ids := []string{}
	if in.Nodegroup != "" {
		n, err := c.findNodegroup(in.Cluster, in.Nodegroup)
		if err != nil {
			return nil, err
		}
		for _, u := range n.updates {
			ids = append(ids, u.id)
		}
	}
	slices.Sort(ids)
	ids, next, err := eksPage("updates", ids, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	return &listUpdatesOutput{IDs: ids, NextToken: next}, nil
}

type describeUpdateInput struct {
	Cluster   string `json:"-" uri:"0"`
	ID        string `json:"-" uri:"1"`
	Nodegroup string `json:"-" query:"nodegroupName"`
}

func (c *Cloud) describeUpdate(in *describeUpdateInput) (*updateOutput, error) {
	if _, err := c.findCluster(in.Cluster); err != nil {
		return nil, err
	}
	if in.Nodegroup != "" {
		n, err := c.findNodegroup(in.Cluster, in.Nodegroup)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(n.updates, func(u *update) bool { return u.id == in.ID }); i >= 0 {
			return n.updates[i].shown(), nil
		}
	}
	return nil, notFound("No update found for ID: "+in.ID, map[string]string{"clusterName": in.Cluster})
}
