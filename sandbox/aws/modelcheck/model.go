// Package modelcheck holds answers of the simulated AWS against AWS's own API models, the api-2.json files that the
// AWS SDK for Go v1 ships. It exists for tests: the models come from the module cache and are no part of any binary.
package modelcheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// modelModule is where the models come from. Module version v1.55.8 is the last of its line: AWS ended v1, and its
// models stay as they were then. A field that AWS added later is unknown here and would be reported.
const modelModule = "github.com/aws/aws-sdk-go"

// services are the models that are loaded: the name that SigV4 scopes give a service, and its model's folder.
var services = map[string]string{
	"ec2":                  "ec2/2016-11-15",
	"autoscaling":          "autoscaling/2011-01-01",
	"eks":                  "eks/2017-11-01",
	"iam":                  "iam/2010-05-08",
	"ssm":                  "ssm/2014-11-06",
	"elasticloadbalancing": "elasticloadbalancingv2/2015-12-01",
	"sts":                  "sts/2011-06-15",
}

// additions are what the models of v1 lack. What AWS added after v1 ended is as the SDK for Go v2 has it: members of
// structures with the shape of each, and values of enums. Errors are such that the service answers and no model
// declares.
var additions = map[string]struct {
	members map[string]map[string]string
	enums   map[string][]string
	shapes  map[string]*shape
	errors  map[string][]string // by operation
}{
	"ec2": {
		// "For an internet gateway, the state is available when attached to a VPC", says the API's documentation.
		enums: map[string][]string{"AttachmentStatus": {"available"}},
	},
	"eks": {
		members: map[string]map[string]string{"NodegroupUpdateConfig": {"updateStrategy": "NodegroupUpdateStrategies"}},
		shapes:  map[string]*shape{"NodegroupUpdateStrategies": {Type: "string", Enum: []string{"DEFAULT", "MINIMAL"}}},
		enums: map[string][]string{
			"AMITypes":        {"AL2023_x86_64_NVIDIA", "AL2023_ARM_64_NVIDIA", "AL2023_x86_64_NEURON", "BOTTLEROCKET_x86_64_FIPS", "BOTTLEROCKET_ARM_64_FIPS"},
			"UpdateParamType": {"UpdateStrategy"},
		},
		errors: map[string][]string{"CreateNodegroup": {"ResourceNotFoundException"}},
	},
}

// complete adds what the model lacks.
func complete(name string, m *Model) {
	add := additions[name]
	maps.Copy(m.Shapes, add.shapes)
	for s, members := range add.members {
		for member, target := range members {
			m.Shapes[s].Members[member] = &ref{Shape: target}
		}
	}
	for name, codes := range add.errors {
		op := m.Operations[name]
		for _, code := range codes {
			op.Errors = append(op.Errors, ref{Shape: code})
		}
		m.Operations[name] = op
	}
	for s, values := range add.enums {
		m.Shapes[s].Enum = append(m.Shapes[s].Enum, values...)
	}
}

// ref is a use of a shape.
type ref struct {
	Shape         string `json:"shape"`
	LocationName  string `json:"locationName"`
	Flattened     bool   `json:"flattened"`
	ResultWrapper string `json:"resultWrapper"`
}

// shape is a type of a model.
type shape struct {
	Type      string          `json:"type"`
	Required  []string        `json:"required"`
	Members   map[string]*ref `json:"members"`
	Member    *ref            `json:"member"`
	Key       *ref            `json:"key"`
	Value     *ref            `json:"value"`
	Enum      []string        `json:"enum"`
	Flattened bool            `json:"flattened"`
	Pattern   string          `json:"pattern"`
	Min       *float64        `json:"min"`
	Max       *float64        `json:"max"`
	Fault     bool            `json:"fault"` // an error of the service's own making, HTTP 500
	Error     struct {
		Code           string `json:"code"`
		HTTPStatusCode int    `json:"httpStatusCode"`
	} `json:"error"`
}

// Model is one service's API.
type Model struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		Protocol     string `json:"protocol"`
		XMLNamespace string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]operation `json:"operations"`
	Shapes     map[string]*shape    `json:"shapes"`
}

type operation struct {
	HTTP struct {
		Method     string `json:"method"`
		RequestURI string `json:"requestUri"`
	} `json:"http"`
	Output *ref  `json:"output"`
	Errors []ref `json:"errors"`
}

// Checker holds the models of all services.
type Checker struct {
	models map[string]*Model
}

var load = sync.OnceValues(func() (*Checker, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", modelModule).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return nil, fmt.Errorf("find the folder of %s (is it downloaded? try `go mod download %s`): %w", modelModule, modelModule, err)
	}
	c := &Checker{models: map[string]*Model{}}
	for name, path := range services {
		file := filepath.Join(dir, "models", "apis", filepath.FromSlash(path), "api-2.json")
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the API model of %s: %w", name, err)
		}
		m := new(Model)
		if err := json.Unmarshal(b, m); err != nil {
			return nil, fmt.Errorf("read the API model of %s: %w", name, err)
		}
		complete(name, m)
		c.models[name] = m
	}
	return c, nil
})

// Load reads the models, once for the whole test binary; the test fails when the module cache does not hold them.
func Load(t testing.TB) *Checker {
	t.Helper()
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
