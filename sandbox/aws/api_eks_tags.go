package aws

import (
	"net/http"
	"strings"
)

type tagEKSInput struct {
	ARN  string            `json:"-" uri:"0"`
	Tags map[string]string `json:"tags"`
}

// eksTagged finds the tags of a cluster or a node group by its ARN.
func (c *Cloud) eksTagged(arn string) (map[string]string, error) {
	if !strings.HasPrefix(arn, c.arn("eks", "")) {
		return nil, failf("BadRequestException", "The ARN %s is not of EKS in this account and region", arn)
	}
	for _, cl := range c.clusters {
		if cl.arn == arn {
			return cl.tags, nil
		}
		for _, n := range cl.nodegroups {
			if n.arn == arn {
				return n.tags, nil
			}
		}
	}
	return nil, &Error{Code: "NotFoundException", Message: "The resource " + arn + " was not found", Status: http.StatusNotFound}
}

func (c *Cloud) tagEKSResource(in *tagEKSInput) (*struct{}, error) {
	tags, err := c.eksTagged(in.ARN)
	if err != nil {
		return nil, err
	}
	added := 0
	for k := range in.Tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") || k == "" || len(k) > 128 {
			return nil, failf("BadRequestException", "Invalid tag key %q", k)
		}
		if _, known := tags[k]; !known {
			added++
		}
	}
	if len(tags)+added > maxTags {
		return nil, failf("BadRequestException", "The resource would have %d tags; at most %d are allowed", len(tags)+added, maxTags)
	}
	for k, v := range in.Tags {
		tags[k] = v
	}
	return &struct{}{}, nil
}

type untagEKSInput struct {
	ARN  string   `json:"-" uri:"0"`
	Keys []string `json:"-" query:"tagKeys"`
}

func (c *Cloud) untagEKSResource(in *untagEKSInput) (*struct{}, error) {
	tags, err := c.eksTagged(in.ARN)
	if err != nil {
		return nil, err
	}
	for _, k := range in.Keys {
		delete(tags, k)
	}
	return &struct{}{}, nil
}

type listEKSTagsInput struct {
	ARN string `json:"-" uri:"0"`
}

type listEKSTagsOutput struct {
	Tags map[string]string `json:"tags,omitempty"`
}

func (c *Cloud) listEKSTags(in *listEKSTagsInput) (*listEKSTagsOutput, error) {
	tags, err := c.eksTagged(in.ARN)
	if err != nil {
		return nil, err
	}
	return &listEKSTagsOutput{Tags: tags}, nil
}
