package aws

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func ssmActions() map[string]action {
	return map[string]action{
		"GetParameter":        jsonAction((*Cloud).getParameter),
		"GetParameters":       jsonAction((*Cloud).getParameters),
		"GetParametersByPath": jsonAction((*Cloud).getParametersByPath),
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
	return &getParameterOutput{Parameter: c.ssmParameter(p, version, in.Name)}, nil
}

// ssmParameter shows a version of a parameter as it was asked for, NAME or NAME:VERSION.
func (c *Cloud) ssmParameter(p *parameter, version int64, asked string) ssmParameter {
	out := ssmParameter{
		ARN: c.arn("ssm", "parameter/"+strings.TrimPrefix(p.name, "/")), DataType: "text", Name: p.name, Type: "String",
		LastModifiedDate: epochSeconds(p.modified), Value: p.values[version-1], Version: version,
	}
	if _, selector, ok := strings.Cut(asked, ":"); ok {
		out.Selector = ":" + selector
	}
	if p.image {
		out.DataType = "aws:ec2:image"
	}
	return out
}

type getParametersInput struct {
	Names          []string
	WithDecryption *bool
}

type getParametersOutput struct {
	Parameters        []ssmParameter
	InvalidParameters []string `json:",omitempty"`
}

// maxParameters is how many names one GetParameters takes, and the largest page of GetParametersByPath.
const maxParameters = 10

// getParameters reads up to ten parameters. Those that do not exist are named in the answer and are no error.
func (c *Cloud) getParameters(in *getParametersInput) (*getParametersOutput, error) {
	if len(in.Names) == 0 || len(in.Names) > maxParameters {
		return nil, failf("ValidationException", "1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and %d", maxParameters)
	}
	out := &getParametersOutput{Parameters: []ssmParameter{}}
	for _, name := range in.Names {
		p, version, err := c.resolveParameter(name)
		if err != nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		out.Parameters = append(out.Parameters, c.ssmParameter(p, version, name))
	}
	return out, nil
}

type parametersByPathInput struct {
	Path           string
	Recursive      bool
	MaxResults     *int
	NextToken      string
	WithDecryption *bool
}

type parametersByPathOutput struct {
	Parameters []ssmParameter
	NextToken  string `json:",omitempty"`
}

// getParametersByPath reads the parameters below a path, one level of them unless all are asked for. Filters are not
// simulated.
func (c *Cloud) getParametersByPath(in *parametersByPathInput) (*parametersByPathOutput, error) {
	size := maxParameters
	if in.MaxResults != nil {
		size = *in.MaxResults
	}
	if !strings.HasPrefix(in.Path, "/") || size < 1 || size > maxParameters {
		return nil, failf("ValidationException", "The path must begin with a slash, and MaxResults be between 1 and %d", maxParameters)
	}
	folder := strings.TrimSuffix(in.Path, "/") + "/"
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.parameters)) {
		if rest, below := strings.CutPrefix(name, folder); below && (in.Recursive || !strings.Contains(rest, "/")) {
			names = append(names, name)
		}
	}
	names, next, ok := page("parameters", names, func(s string) string { return s }, in.NextToken, size)
	if !ok {
		return nil, failf("InvalidNextToken", "The specified token isn't valid.")
	}
	out := &parametersByPathOutput{Parameters: []ssmParameter{}, NextToken: next}
	for _, name := range names {
		p := c.parameters[name]
		out.Parameters = append(out.Parameters, c.ssmParameter(p, int64(len(p.values)), name))
	}
	return out, nil
}
