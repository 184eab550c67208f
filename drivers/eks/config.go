package eks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Config of the driver. The zero value is valid: everything then comes from
// the AWS SDK's own chain (variables, profile, role of the machine).
type Config struct {
	// Region of the cluster, as eu-central-1; empty: the SDK's chain.
	Region string `json:"region,omitempty"`
	// Profile of the shared AWS configuration; empty: the SDK's chain.
	Profile string `json:"profile,omitempty"`
	// Endpoint takes the place of AWS's own endpoints, for every service. For
	// tests; AWS_ENDPOINT_URL does the same.
	Endpoint string `json:"endpoint,omitempty"`
	// Tag that marks the cluster's groups, KEY or KEY=VALUE; empty:
	// kubernetes.io/cluster/NAME with the value owned or shared.
	Tag string `json:"tag,omitempty"`
	// Surge is how extra instances are made of self-managed groups; empty:
	// SurgeCapacity.
	Surge SurgeWay `json:"surge,omitempty"`
	// ManagedNodeGroups says how managed node groups are rotated.
	ManagedNodeGroups ManagedNodeGroups `json:"managedNodeGroups,omitzero"`
	// Releases says, by name of a self-managed group, where its newest image is
	// found: ssm:PARAMETER. Groups that are not named follow EKS' own images, by
	// the name of the image that they have.
	Releases map[string]string `json:"releases,omitempty"`
}

// SurgeWay is how a group gets extra instances.
type SurgeWay string

// Ways to surge.
const (
	SurgeCapacity SurgeWay = "capacity" // desired capacity is raised
	// SurgeDetach takes old instances out of the group, which launches others.
	// Groups behind load balancers, and those of managed node groups, surge by
	// capacity all the same.
	SurgeDetach SurgeWay = "detach"
)

// configSchema describes Config. A test holds it against the struct.
const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Configuration of the eks driver",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "region": {
      "type": "string",
      "description": "AWS region of the cluster. Default: what the AWS SDK finds (AWS_REGION, the profile)."
    },
    "profile": {
      "type": "string",
      "description": "Profile of the shared AWS configuration files. Default: what the AWS SDK finds (AWS_PROFILE)."
    },
    "endpoint": {
      "type": "string",
      "format": "uri",
      "description": "URL that takes the place of AWS's endpoints, for tests."
    },
    "tag": {
      "type": "string",
      "description": "Tag of the cluster's Auto Scaling groups, KEY or KEY=VALUE. Default: kubernetes.io/cluster/NAME with the value owned or shared."
    },
    "surge": {
      "type": "string",
      "enum": ["capacity", "detach"],
      "description": "How self-managed groups get extra instances. capacity: desired capacity is raised. detach: old instances are taken out of the group, which launches others; desired capacity stays; not behind load balancers. Default: capacity."
    },
    "managedNodeGroups": {
      "type": "object",
      "description": "How managed node groups are rotated.",
      "additionalProperties": false,
      "properties": {
        "way": {"$ref": "#/$defs/way"},
        "strategy": {"$ref": "#/$defs/strategy"},
        "force": {"$ref": "#/$defs/force"},
        "blueGreen": {"$ref": "#/$defs/blueGreen"},
        "groups": {
          "type": "object",
          "description": "What differs for some node groups, by name.",
          "additionalProperties": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
              "way": {"$ref": "#/$defs/way"},
              "strategy": {"$ref": "#/$defs/strategy"},
              "force": {"$ref": "#/$defs/force"},
              "blueGreen": {"$ref": "#/$defs/blueGreen"}
            }
          }
        }
      }
    },
    "releases": {
      "type": "object",
      "description": "Where the newest image of a self-managed group is found, by the group's name: ssm:PARAMETER. Default: EKS' recommended image of the same family.",
      "additionalProperties": {"type": "string", "pattern": "^ssm:.+"}
    }
  },
  "$defs": {
    "way": {
      "type": "string",
      "enum": ["delegated", "assisted", "self", "blue-green", "skip"],
      "description": "delegated: EKS rolls the node group. assisted (experimental): the same, while rotator empties old nodes ahead. self: rotator replaces instances itself, for every reason but a new release. blue-green: a second node group with the new release takes its place. skip: leave them alone. Default: delegated."
    },
    "strategy": {
      "type": "string",
      "enum": ["DEFAULT", "MINIMAL"],
      "description": "EKS' update strategy for the time of a rotation. Default: the node group's own."
    },
    "force": {
      "type": "boolean",
      "description": "EKS ends nodes whose pods it cannot evict, past PodDisruptionBudgets. Default: false."
    },
    "blueGreen": {
      "type": "object",
      "description": "How a second node group takes the place of one, where the way is blue-green.",
      "additionalProperties": false,
      "properties": {
        "keepOld": {
          "type": "boolean",
          "description": "Leave the old node group, with no instance. Default: false, it is deleted."
        }
      }
    }
  }
}`

// parseConfig reads raw strictly. Nothing at all is the zero Config.
func parseConfig(raw []byte) (Config, []sdk.Diagnostic) {
	refuse := func(summary, detail string) (Config, []sdk.Diagnostic) {
		return Config{}, []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: "config-invalid", Summary: summary, Detail: detail, Object: "driver.config"}}
	}
	const keys = "The eks driver knows the keys region, profile, endpoint, tag, surge, managedNodeGroups and releases."
	var c Config
	if len(bytes.TrimSpace(raw)) == 0 {
		return c, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return refuse("the eks driver's configuration is refused: "+strings.TrimPrefix(err.Error(), "json: "), keys)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse("the eks driver's configuration is refused: text after the JSON object", keys)
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return refuse(fmt.Sprintf("the eks driver's endpoint %q is no URL", c.Endpoint), "Give a whole URL such as http://127.0.0.1:4566, or leave endpoint out to use AWS.")
		}
	}
	if key, _, _ := strings.Cut(c.Tag, "="); c.Tag != "" && key == "" {
		return refuse(fmt.Sprintf("the eks driver's tag %q has no key", c.Tag), "Give KEY or KEY=VALUE, or leave tag out for kubernetes.io/cluster/NAME.")
	}
	if c.Surge != "" && c.Surge != SurgeCapacity && c.Surge != SurgeDetach {
		return refuse(fmt.Sprintf("the eks driver's surge %q is unknown", c.Surge), "Give capacity or detach, or leave it out for capacity.")
	}
	if summary, detail := c.ManagedNodeGroups.check(); summary != "" {
		return refuse(summary, detail)
	}
	for _, group := range slices.Sorted(maps.Keys(c.Releases)) {
		if name, ok := strings.CutPrefix(c.Releases[group], "ssm:"); !ok || name == "" {
			return refuse(fmt.Sprintf("releases.%s: %q names no parameter", group, c.Releases[group]), "Give ssm:PARAMETER, where the parameter's value is an image id.")
		}
	}
	return c, nil
}

// groupTag is how the groups of a cluster are told from others.
type groupTag struct {
	key    string
	values []string // empty: any value
}

// tagFor returns the tag that marks the cluster's groups. The comparison is
// always exact: "prod" must not match the groups of "prod-2".
func (c Config) tagFor(cluster string) groupTag {
	if c.Tag == "" {
		return groupTag{key: "kubernetes.io/cluster/" + cluster, values: []string{"owned", "shared"}}
	}
	key, value, hasValue := strings.Cut(c.Tag, "=")
	if !hasValue {
		return groupTag{key: key}
	}
	return groupTag{key: key, values: []string{value}}
}

func (t groupTag) String() string {
	if len(t.values) == 0 {
		return t.key
	}
	return t.key + "=" + strings.Join(t.values, "|")
}
