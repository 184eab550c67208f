package aws

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

type createTemplateInput struct {
	LaunchTemplateName string
	VersionDescription string
	LaunchTemplateData *LaunchTemplateData
	TagSpecifications  []TagSpecification `q:"TagSpecification"`
	ClientToken        string
	DryRun             bool
}

type templateOutput struct {
	LaunchTemplate ec2Template
}

type ec2Template struct {
	ID            string `x:"launchTemplateId"`
	Name          string `x:"launchTemplateName"`
	CreateTime    time.Time
	CreatedBy     string
	DefaultNumber int64 `x:"defaultVersionNumber"`
	LatestNumber  int64 `x:"latestVersionNumber"`
	Tags          []Tag `x:"tagSet"`
}

func (c *Cloud) ec2Template(t *launchTemplate) ec2Template {
	return ec2Template{
		ID: t.id, Name: t.name, CreateTime: t.created, CreatedBy: c.callerARN(), DefaultNumber: t.defaultVersion, LatestNumber: t.latest, Tags: tagList(t.tags),
	}
}

func (c *Cloud) callerARN() string { return "arn:aws:iam::" + c.cfg.AccountID + ":user/sandbox" }

func (c *Cloud) createLaunchTemplate(in *createTemplateInput) (*templateOutput, error) {
	if in.LaunchTemplateName == "" || in.LaunchTemplateData == nil {
		return nil, failf("MissingParameter", "The request must contain the parameters LaunchTemplateName and LaunchTemplateData")
	}
	tags := map[string]string{}
	for _, s := range in.TagSpecifications {
		for _, t := range s.Tags {
			if err := checkTagKey(t.Key); err != nil {
				return nil, err
			}
			if s.ResourceType == "launch-template" {
				tags[t.Key] = t.Value
			}
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	// A client token makes the call idempotent: the SDK sends the same one when it retries a lost answer.
	if v := c.versionTokens[in.ClientToken]; v != nil && v.template.name == in.LaunchTemplateName {
		return &templateOutput{LaunchTemplate: c.ec2Template(v.template)}, nil
	}
	t, err := c.createTemplate(in.LaunchTemplateName, in.VersionDescription, *in.LaunchTemplateData, tags)
	if err != nil {
		return nil, err
	}
	c.rememberToken(in.ClientToken, t.versions[0])
	return &templateOutput{LaunchTemplate: c.ec2Template(t)}, nil
}

func (c *Cloud) rememberToken(token string, v *templateVersion) {
	if token != "" {
		c.versionTokens[token] = v
	}
}

type createVersionInput struct {
	LaunchTemplateID   string `q:"LaunchTemplateId"`
	LaunchTemplateName string
	SourceVersion      string
	VersionDescription string
	LaunchTemplateData *LaunchTemplateData
	ResolveAlias       bool
	ClientToken        string
	DryRun             bool
}

type createVersionOutput struct {
	Version ec2TemplateVersion `x:"launchTemplateVersion"`
}

type ec2TemplateVersion struct {
	ID          string `x:"launchTemplateId"`
	Name        string `x:"launchTemplateName"`
	Number      int64  `x:"versionNumber"`
	Description string `x:"versionDescription"`
	CreateTime  time.Time
	CreatedBy   string
	Default     bool               `x:"defaultVersion"`
	Data        LaunchTemplateData `x:"launchTemplateData"`
}

// ec2Version shows a version; with alias the image id that resolve:ssm stands for, as ResolveAlias asks.
func (c *Cloud) ec2Version(v *templateVersion, alias bool) (ec2TemplateVersion, error) {
	out := ec2TemplateVersion{
		ID: v.template.id, Name: v.template.name, Number: v.number, Description: v.description, CreateTime: v.created, CreatedBy: c.callerARN(),
		Default: v.number == v.template.defaultVersion, Data: v.data,
	}
	if alias && out.Data.ImageID != nil {
		id, err := c.resolveImage(*out.Data.ImageID)
		if err != nil {
			return ec2TemplateVersion{}, err
		}
		out.Data.ImageID = &id
	}
	return out, nil
}

func (c *Cloud) createLaunchTemplateVersion(in *createVersionInput) (*createVersionOutput, error) {
	if in.LaunchTemplateData == nil {
		return nil, failf("MissingParameter", "The request must contain the parameter LaunchTemplateData")
	}
	t, err := c.findTemplate(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	v := c.versionTokens[in.ClientToken]
	if v == nil || v.template != t {
		if v, err = c.createVersion(t, in.SourceVersion, in.VersionDescription, *in.LaunchTemplateData); err != nil {
			return nil, err
		}
		c.rememberToken(in.ClientToken, v)
	}
	shown, err := c.ec2Version(v, in.ResolveAlias)
	if err != nil {
		return nil, err
	}
	return &createVersionOutput{Version: shown}, nil
}

type describeTemplatesInput struct {
	IDs        []string `q:"LaunchTemplateId"`
	Names      []string `q:"LaunchTemplateName"`
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeTemplatesOutput struct {
	Templates []ec2Template `x:"launchTemplates"`
	NextToken string        `x:"nextToken"`
}

// maxTemplateResults is the largest page of launch templates and of their versions, and the default.
const maxTemplateResults = 200

func templatePageSize(n *int) (int, error) {
	if n == nil {
		return maxTemplateResults, nil
	}
	if *n < 1 || *n > maxTemplateResults {
		return 0, failf("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value between 1 and %d.", *n, maxTemplateResults)
	}
	return *n, nil
}

func (c *Cloud) describeLaunchTemplates(in *describeTemplatesInput) (*describeTemplatesOutput, error) {
	size, err := templatePageSize(in.MaxResults)
	if err != nil {
		return nil, err
	}
	match, err := matchEC2(in.Filters, fields[*launchTemplate]{
		"launch-template-name": func(t *launchTemplate) []string { return []string{t.name} },
		"create-time":          func(t *launchTemplate) []string { return []string{t.created.UTC().Format(time.RFC3339)} },
	}, func(t *launchTemplate) map[string]string { return t.tags })
	if err != nil {
		return nil, err
	}
	for _, id := range in.IDs {
		if _, err := c.findTemplate(id, ""); err != nil {
			return nil, err
		}
	}
	for _, name := range in.Names {
		if _, err := c.findTemplate("", name); err != nil {
			return nil, err
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	var list []*launchTemplate
	for _, t := range c.templateOrder {
		named := len(in.IDs)+len(in.Names) == 0 || slices.Contains(in.IDs, t.id) || slices.Contains(in.Names, t.name)
		if named && match(t) {
			list = append(list, t)
		}
	}
	items, next, ok := page("templates", list, func(t *launchTemplate) string { return fmt.Sprintf("%08x", t.seq) }, in.NextToken, size)
	if !ok {
		return nil, errNextToken
	}
	out := &describeTemplatesOutput{Templates: []ec2Template{}, NextToken: next}
	for _, t := range items {
		out.Templates = append(out.Templates, c.ec2Template(t))
	}
	return out, nil
}

type describeVersionsInput struct {
	LaunchTemplateID   string `q:"LaunchTemplateId"`
	LaunchTemplateName string
	Versions           []string `q:"LaunchTemplateVersion"`
	MinVersion         string
	MaxVersion         string
	Filters            []Filter `q:"Filter"`
	MaxResults         *int
	NextToken          string
	ResolveAlias       bool
	DryRun             bool
}

type describeVersionsOutput struct {
	Versions  []ec2TemplateVersion `x:"launchTemplateVersionSet"`
	NextToken string               `x:"nextToken"`
}

// describeLaunchTemplateVersions shows versions newest first. Without a template it shows $Latest and $Default of all
// templates and takes no numbers, as the API's documentation says.
func (c *Cloud) describeLaunchTemplateVersions(in *describeVersionsInput) (*describeVersionsOutput, error) {
	size, err := templatePageSize(in.MaxResults)
	if err != nil {
		return nil, err
	}
	match, err := matchEC2(in.Filters, fields[*templateVersion]{
		"is-default-version": func(v *templateVersion) []string {
			return []string{strconv.FormatBool(v.number == v.template.defaultVersion)}
		},
		"image-id":      func(v *templateVersion) []string { return []string{deref(v.data.ImageID)} },
		"instance-type": func(v *templateVersion) []string { return []string{deref(v.data.InstanceType)} },
		"create-time":   func(v *templateVersion) []string { return []string{v.created.UTC().Format(time.RFC3339)} },
	}, nil)
	if err != nil {
		return nil, err
	}
	list, err := c.selectVersions(in)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	list = slices.DeleteFunc(list, func(v *templateVersion) bool { return !match(v) })
	key := func(v *templateVersion) string {
		return fmt.Sprintf("%08x.%016x", v.template.seq, uint64(1<<62-v.number))
	}
	slices.SortFunc(list, func(a, b *templateVersion) int {
		if d := a.template.seq - b.template.seq; d != 0 {
			return d
		}
		return int(b.number - a.number)
	})
	items, next, ok := page("versions", slices.Compact(list), key, in.NextToken, size)
	if !ok {
		return nil, errNextToken
	}
	out := &describeVersionsOutput{Versions: []ec2TemplateVersion{}, NextToken: next}
	for _, v := range items {
		shown, err := c.ec2Version(v, in.ResolveAlias)
		if err != nil {
			return nil, err
		}
		out.Versions = append(out.Versions, shown)
	}
	return out, nil
}

func (c *Cloud) selectVersions(in *describeVersionsInput) ([]*templateVersion, error) {
	if in.LaunchTemplateID == "" && in.LaunchTemplateName == "" {
		var list []*templateVersion
		if len(in.Versions) == 0 {
			return nil, failf("MissingParameter", "You must specify either a launch template ID or a launch template name.")
		}
		for _, name := range in.Versions {
			if name != "$Latest" && name != "$Default" {
				return nil, failf("InvalidParameterValue", "Without a launch template only the versions $Latest and $Default can be described, not %s.", name)
			}
			for _, t := range c.templateOrder {
				v, err := t.versionNamed(name)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
		}
		return list, nil
	}
	t, err := c.findTemplate(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	if len(in.Versions) > 0 {
		if in.MinVersion != "" || in.MaxVersion != "" {
			return nil, failf("InvalidParameterCombination", "The parameters LaunchTemplateVersion and MinVersion or MaxVersion cannot be used together.")
		}
		var list []*templateVersion
		for _, name := range in.Versions {
			v, err := t.versionNamed(name)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	low, high := int64(1), t.latest
	if in.MinVersion != "" {
		if low, err = strconv.ParseInt(in.MinVersion, 10, 64); err != nil {
			return nil, failf("InvalidParameterValue", "Value (%s) for parameter MinVersion is invalid.", in.MinVersion)
		}
	}
	if in.MaxVersion != "" {
		if high, err = strconv.ParseInt(in.MaxVersion, 10, 64); err != nil {
			return nil, failf("InvalidParameterValue", "Value (%s) for parameter MaxVersion is invalid.", in.MaxVersion)
		}
	}
	return slices.DeleteFunc(slices.Clone(t.versions), func(v *templateVersion) bool { return v.number < low || v.number > high }), nil
}

type modifyTemplateInput struct {
	LaunchTemplateID   string `q:"LaunchTemplateId"`
	LaunchTemplateName string
	DefaultVersion     string `q:"SetDefaultVersion"`
	ClientToken        string
	DryRun             bool
}

func (c *Cloud) modifyLaunchTemplate(in *modifyTemplateInput) (*templateOutput, error) {
	t, err := c.findTemplate(in.LaunchTemplateID, in.LaunchTemplateName)
	if err != nil {
		return nil, err
	}
	v, err := t.versionNamed(in.DefaultVersion)
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	t.defaultVersion = v.number
	return &templateOutput{LaunchTemplate: c.ec2Template(t)}, nil
}
