package aws

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// launchTemplate is a launch template with its versions.
type launchTemplate struct {
	seq            int
	id, name       string
	created        time.Time
	tags           map[string]string
	versions       []*templateVersion // by number; deleted ones are missing
	defaultVersion int64
	latest         int64 // the highest number ever given that still exists
	nextVersion    int64
}

// templateVersion is one version; immutable.
type templateVersion struct {
	template    *launchTemplate
	number      int64
	description string
	created     time.Time
	data        LaunchTemplateData
}

func (v *templateVersion) String() string { return strconv.FormatInt(v.number, 10) }

func (t *launchTemplate) find(number int64) *templateVersion {
	i, ok := slices.BinarySearchFunc(t.versions, number, func(v *templateVersion, n int64) int { return cmp.Compare(v.number, n) })
	if !ok {
		return nil
	}
	return t.versions[i]
}

// versionNamed reads a version as the APIs name it: a number, $Latest, $Default or nothing, which means $Default.
func (t *launchTemplate) versionNamed(name string) (*templateVersion, error) {
	var number int64
	switch name {
	case "", "$Default":
		number = t.defaultVersion
	case "$Latest":
		number = t.latest
	default:
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			return nil, failf("InvalidLaunchTemplateVersion.Malformed", "Launch template version %s is malformed: give a number, $Latest or $Default", name)
		}
		number = n
	}
	if v := t.find(number); v != nil {
		return v, nil
	}
	return nil, failf("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", name, t.id)
}

// findTemplate looks a template up by id or by name; exactly one must be given.
func (c *Cloud) findTemplate(id, name string) (*launchTemplate, error) {
	switch {
	case id != "" && name != "":
		return nil, failf("InvalidParameterCombination", "You must specify either a launch template ID or a launch template name, not both.")
	case id == "" && name == "":
		return nil, failf("MissingParameter", "You must specify either a launch template ID or a launch template name.")
	case id != "" && c.templates[id] == nil:
		return nil, failf("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID %s, does not exist.", id)
	case name != "" && c.templateNames[name] == nil:
		return nil, failf("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
	case id != "":
		return c.templates[id], nil
	}
	return c.templateNames[name], nil
}

// CreateLaunchTemplate adds a launch template with version 1, which is its default, and answers its id. The tags are
// the template's own; those of what it launches are in its data.
func (c *Cloud) CreateLaunchTemplate(name string, data LaunchTemplateData, tags ...Tag) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := map[string]string{}
	for _, t := range tags {
		own[t.Key] = t.Value
	}
	t, err := c.createTemplate(name, "", data, own)
	if err != nil {
		return "", err
	}
	return t.id, nil
}

func (c *Cloud) createTemplate(name, description string, data LaunchTemplateData, tags map[string]string) (*launchTemplate, error) {
	if c.templateNames[name] != nil {
		return nil, failf("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
	}
	if tags == nil {
		tags = map[string]string{}
	}
	t := &launchTemplate{seq: len(c.templateOrder) + 1, id: c.newID("lt"), name: name, created: c.now(), tags: tags, defaultVersion: 1, nextVersion: 1}
	c.templates[t.id], c.templateNames[name] = t, t
	c.templateOrder = append(c.templateOrder, t)
	c.addVersion(t, description, data)
	return t, nil
}

func (c *Cloud) addVersion(t *launchTemplate, description string, data LaunchTemplateData) *templateVersion {
	v := &templateVersion{template: t, number: t.nextVersion, description: description, created: c.now(), data: data}
	t.nextVersion++
	t.latest = v.number
	t.versions = append(t.versions, v)
	return v
}

// CreateLaunchTemplateVersion adds a version to the template of that name: the source version (a number, $Latest,
// $Default; "" for none) with the fields of data laid over it. The default version stays what it was.
func (c *Cloud) CreateLaunchTemplateVersion(name, source string, data LaunchTemplateData) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.findTemplate("", name)
	if err != nil {
		return 0, err
	}
	v, err := c.createVersion(t, source, "", data)
	if err != nil {
		return 0, err
	}
	return v.number, nil
}

func (c *Cloud) createVersion(t *launchTemplate, source, description string, data LaunchTemplateData) (*templateVersion, error) {
	if len(t.versions) >= c.cfg.TemplateVersions {
		return nil, failf("VersionLimitExceeded", "The maximum number of versions (%d) of launch template %s has been reached: delete versions that are not in use.", c.cfg.TemplateVersions, t.id)
	}
	if source != "" {
		base, err := t.versionNamed(source)
		if err != nil {
			return nil, err
		}
		data = mergeData(base.data, data)
	}
	return c.addVersion(t, description, data), nil
}

// LaunchTemplateSpecification names a template and a version of it, as groups and RunInstances do.
type LaunchTemplateSpecification struct {
	LaunchTemplateID   string `q:"LaunchTemplateId" x:"LaunchTemplateId"`
	LaunchTemplateName string
	Version            string
}

// resolved is a launch source as it stands at this moment.
type resolved struct {
	version      *templateVersion // nil without a template
	launchConfig string           // "" without a launch configuration
	data         LaunchTemplateData
	imageID      string // with resolve:ssm followed
}

func (r resolved) versionNumber() int64 {
	if r.version == nil {
		return 0
	}
	return r.version.number
}

// resolveTemplate follows $Latest, $Default and resolve:ssm: a launch calls it each time, as AWS does.
func (c *Cloud) resolveTemplate(spec LaunchTemplateSpecification) (resolved, error) {
	// Groups keep id and name together, as Auto Scaling shows them; the id decides.
	name := spec.LaunchTemplateName
	if spec.LaunchTemplateID != "" {
		name = ""
	}
	t, err := c.findTemplate(spec.LaunchTemplateID, name)
	if err != nil {
		return resolved{}, err
	}
	v, err := t.versionNamed(spec.Version)
	if err != nil {
		return resolved{}, err
	}
	if deref(v.data.ImageID) == "" {
		return resolved{}, failf("MissingParameter", "The request must contain the parameter ImageId")
	}
	imageID, err := c.resolveImage(*v.data.ImageID)
	if err != nil {
		return resolved{}, err
	}
	return resolved{version: v, data: v.data, imageID: imageID}, nil
}
