package aws

import (
	"cmp"
	"slices"
	"strings"
)

// maxTags is how many tags a resource may carry; those that begin with aws: do not count.
const maxTags = 50

type createTagsInput struct {
	Resources []string `q:"ResourceId"`
	Tags      []Tag    `q:"Tag"`
	DryRun    bool
}

type returned struct {
	Return bool
}

// tagged finds a resource's tags by its id: instances, images, launch templates and what is in the VPC carry tags.
func (c *Cloud) tagged(id string) (map[string]string, string, error) {
	switch prefix, _, _ := strings.Cut(id, "-"); {
	case prefix == "i" && c.instances[id] != nil:
		return c.instances[id].tags, "instance", nil
	case prefix == "ami" && c.images[id] != nil:
		return c.images[id].tags, "image", nil
	case prefix == "lt" && c.templates[id] != nil:
		return c.templates[id].tags, "launch-template", nil
	}
	if tags, kind := c.taggedInVPC(id); tags != nil {
		return tags, kind, nil
	}
	switch prefix, _, _ := strings.Cut(id, "-"); {
	case prefix == "i":
		return nil, "", failf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
	case prefix == "ami":
		return nil, "", failf("InvalidAMIID.NotFound", "The image ID '%s' does not exist", id)
	case prefix == "lt":
		return nil, "", failf("InvalidLaunchTemplateId.NotFound", "The launch template ID '%s' does not exist", id)
	}
	return nil, "", failf("InvalidID", "The ID '%s' is not valid", id)
}

// createTags sets all tags on all resources or, when something is wrong with one, none.
func (c *Cloud) createTags(in *createTagsInput) (*returned, error) {
	if len(in.Resources) == 0 || len(in.Tags) == 0 {
		return nil, failf("MissingParameter", "The request must contain the parameters ResourceId and Tag")
	}
	var all []map[string]string
	for _, id := range in.Resources {
		tags, _, err := c.tagged(id)
		if err != nil {
			return nil, err
		}
		n := 0
		for k := range tags {
			if !strings.HasPrefix(k, "aws:") {
				n++
			}
		}
		for _, t := range in.Tags {
			if err := checkTagKey(t.Key); err != nil {
				return nil, err
			}
			if _, ok := tags[t.Key]; !ok {
				n++
			}
		}
		if n > maxTags {
			return nil, failf("TagLimitExceeded", "More than %d tags were requested for resource %s", maxTags, id)
		}
		all = append(all, tags)
	}
	if in.DryRun {
		return nil, errDryRun
	}
	for _, tags := range all {
		for _, t := range in.Tags {
			tags[t.Key] = t.Value
		}
	}
	return &returned{Return: true}, nil
}

type deleteTagsInput struct {
	Resources []string `q:"ResourceId"`
	Tags      []struct {
		Key   string
		Value *string
	} `q:"Tag"`
	DryRun bool
}

// deleteTags removes tags; with a value only where it holds, without tags all that are not AWS's own.
func (c *Cloud) deleteTags(in *deleteTagsInput) (*returned, error) {
	var all []map[string]string
	for _, id := range in.Resources {
		tags, _, err := c.tagged(id)
		if err != nil {
			return nil, err
		}
		all = append(all, tags)
	}
	for _, t := range in.Tags {
		if err := checkTagKey(t.Key); err != nil {
			return nil, err
		}
	}
	if in.DryRun {
		return nil, errDryRun
	}
	for _, tags := range all {
		for k := range tags {
			if len(in.Tags) == 0 && !strings.HasPrefix(k, "aws:") {
				delete(tags, k)
			}
		}
		for _, t := range in.Tags {
			if t.Value == nil || *t.Value == tags[t.Key] {
				delete(tags, t.Key)
			}
		}
	}
	return &returned{Return: true}, nil
}

type describeTagsInput struct {
	Filters    []Filter `q:"Filter"`
	MaxResults *int
	NextToken  string
	DryRun     bool
}

type describeTagsOutput struct {
	Tags      []tagDescription `x:"tagSet"`
	NextToken string           `x:"nextToken"`
}

type tagDescription struct {
	ResourceID   string `x:"resourceId"`
	ResourceType string
	Key          string
	Value        *string
}

func (c *Cloud) describeTags(in *describeTagsInput) (*describeTagsOutput, error) {
	if in.MaxResults != nil && (*in.MaxResults < 5 || *in.MaxResults > 1000) {
		return nil, failf("InvalidParameterValue", "Value ( %d ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", *in.MaxResults)
	}
	known := fields[tagDescription]{
		"key":           func(t tagDescription) []string { return []string{t.Key} },
		"value":         func(t tagDescription) []string { return []string{*t.Value} },
		"resource-id":   func(t tagDescription) []string { return []string{t.ResourceID} },
		"resource-type": func(t tagDescription) []string { return []string{t.ResourceType} },
	}
	// tag:KEY is read like everywhere else, through the one tag that the line is.
	match, err := matchEC2(in.Filters, known, func(t tagDescription) map[string]string { return map[string]string{t.Key: *t.Value} })
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun
	}
	var list []tagDescription
	add := func(id, kind string, tags map[string]string) {
		for k, v := range tags {
			if t := (tagDescription{ResourceID: id, ResourceType: kind, Key: k, Value: &v}); match(t) {
				list = append(list, t)
			}
		}
	}
	for _, i := range c.order {
		add(i.id, "instance", i.tags)
	}
	for _, i := range c.imageOrder {
		add(i.id, "image", i.tags)
	}
	for _, t := range c.templateOrder {
		add(t.id, "launch-template", t.tags)
	}
	c.eachInVPC(func(id, kind string, tags map[string]string) bool {
		add(id, kind, tags)
		return true
	})
	key := func(t tagDescription) string { return t.ResourceID + "\x00" + t.Key }
	slices.SortFunc(list, func(a, b tagDescription) int { return cmp.Compare(key(a), key(b)) })
	items, next, ok := page("tags", list, key, in.NextToken, deref(in.MaxResults))
	if !ok {
		return nil, errNextToken
	}
	return &describeTagsOutput{Tags: append([]tagDescription{}, items...), NextToken: next}, nil
}
