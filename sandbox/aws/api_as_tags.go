package aws

import (
	"slices"
	"strings"
)

// checkGroupTag checks a tag of a request for the group of that name ("" when the request names the group in the tag).
func checkGroupTag(t GroupTag, name string) error {
	switch {
	case t.ResourceType != "" && t.ResourceType != "auto-scaling-group":
		return validationError("Invalid resource type %s: the only one is auto-scaling-group", t.ResourceType)
	case name != "" && t.ResourceID != "" && t.ResourceID != name:
		return validationError("The tag %s names the group %s, not %s", t.Key, t.ResourceID, name)
	case t.Key == "" || len(t.Key) > 128*4 || len(t.Value) > 256*4:
		return validationError("The tag key %q is empty, or key or value is longer than 128 and 256 characters", t.Key)
	case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
		return validationError("The aws: prefix for tag keys is reserved for AWS use: %s", t.Key)
	}
	return nil
}

type groupTagsInput struct {
	Tags []GroupTag
}

// createOrUpdateTags sets all tags or none. Instances that exist keep theirs: PropagateAtLaunch means what it says.
func (c *Cloud) createOrUpdateTags(in *groupTagsInput) error {
	adds := map[*group]int{}
	for _, t := range in.Tags {
		g, err := c.changeableGroup(t.ResourceID)
		if err != nil {
			return err
		}
		if err := checkGroupTag(t, ""); err != nil {
			return err
		}
		if !slices.ContainsFunc(g.tags, func(o GroupTag) bool { return o.Key == t.Key }) {
			adds[g]++
		}
		if len(g.tags)+adds[g] > maxTags {
			return failf("LimitExceeded", "The group %s would have more than %d tags", g.name, maxTags)
		}
	}
	for _, t := range in.Tags {
		c.groups[t.ResourceID].setTag(t)
	}
	return nil
}

type deleteGroupTagsInput struct {
	Tags []struct {
		ResourceID        string `q:"ResourceId"`
		ResourceType      string
		Key               string
		Value             *string
		PropagateAtLaunch *bool
	}
}

// deleteGroupTags removes tags by key; one that is not there is no error.
func (c *Cloud) deleteGroupTags(in *deleteGroupTagsInput) error {
	for _, t := range in.Tags {
		if _, err := c.changeableGroup(t.ResourceID); err != nil {
			return err
		}
	}
	for _, t := range in.Tags {
		g := c.groups[t.ResourceID]
		g.tags = slices.DeleteFunc(g.tags, func(o GroupTag) bool { return o.Key == t.Key })
	}
	return nil
}

type describeGroupTagsInput struct {
	Filters    []asFilter
	MaxRecords *int32
	NextToken  string
}

type describeGroupTagsOutput struct {
	Tags      []GroupTag
	NextToken string
}

func (c *Cloud) describeGroupTags(in *describeGroupTagsInput) (*describeGroupTagsOutput, error) {
	size, err := recordLimit(in.MaxRecords, 50)
	if err != nil {
		return nil, err
	}
	read := map[string]func(GroupTag) string{
		"auto-scaling-group": func(t GroupTag) string { return t.ResourceID },
		"key":                func(t GroupTag) string { return t.Key },
		"value":              func(t GroupTag) string { return t.Value },
		"propagate-at-launch": func(t GroupTag) string {
			if t.PropagateAtLaunch {
				return "true"
			}
			return "false"
		},
	}
	for _, f := range in.Filters {
		if read[f.Name] == nil {
			return nil, validationError("Filter type %s is not correct. Allowed Filter types are: auto-scaling-group, key, value, propagate-at-launch", f.Name)
		}
	}
	var list []GroupTag
	for _, g := range c.groupOrder { // by name, and tags by key: sorted as paging needs it
		for _, t := range g.tags {
			if !slices.ContainsFunc(in.Filters, func(f asFilter) bool { return !slices.Contains(f.Values, read[f.Name](t)) }) {
				list = append(list, t)
			}
		}
	}
	items, next, ok := page("group tags", list, func(t GroupTag) string { return t.ResourceID + "\x00" + t.Key }, in.NextToken, size)
	if !ok {
		return nil, errASNextToken
	}
	return &describeGroupTagsOutput{Tags: append([]GroupTag{}, items...), NextToken: next}, nil
}
