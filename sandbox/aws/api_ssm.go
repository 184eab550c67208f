package aws

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

func ssmActions() map[string]action {
	return map[string]action{
		"GetParameter": jsonAction((*Cloud).getParameter),
	}
}

type getParameterInput struct {
	Name           string
	WithDecryption *bool
}

type getParameterOutput struct {
	Parameter ssmParameter
}

type ssmParameter struct {
	ARN              string
	DataType         string
	LastModifiedDate json.Number // seconds since 1970, with milliseconds
	Name             string
	Selector         string `json:",omitempty"`
	Type             string
	Value            string
	Version          int64
}

// epochSeconds is how the JSON protocols write timestamps.
func epochSeconds(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

// getParameter reads NAME or NAME:VERSION; labels as selectors are not simulated and answer as an unknown version.
func (c *Cloud) getParameter(in *getParameterInput) (*getParameterOutput, error) {
	if in.Name == "" {
		return nil, failf("ValidationException", "1 validation error detected: Value at 'name' failed to satisfy constraint: Member must not be null")
	}
	p, version, err := c.resolveParameter(in.Name)
	if err != nil {
		return nil, err
	}
	out := ssmParameter{
		ARN: c.arn("ssm", "parameter/"+strings.TrimPrefix(p.name, "/")), DataType: "text", Name: p.name, Type: "String",
		LastModifiedDate: epochSeconds(p.modified), Value: p.values[version-1], Version: version,
	}
	if _, selector, ok := strings.Cut(in.Name, ":"); ok {
		out.Selector = ":" + selector
	}
	if p.image {
		out.DataType = "aws:ec2:image"
	}
	return &getParameterOutput{Parameter: out}, nil
}
