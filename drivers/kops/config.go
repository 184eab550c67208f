package kops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Config of the driver. The zero value is valid: the state store is then found
// as kops finds it.
type Config struct {
	// State is the URL of the state store, as s3://bucket; empty:
	// KOPS_STATE_STORE, then kops_state_store of ~/.kops.yaml or ~/.kops/config.
	State string `json:"state,omitempty"`
	// DetachBehindLoadBalancers lets groups surge by detaching although AWS takes
	// a detached instance out of its load balancers at once, before its
	// replacement is Ready.
	DetachBehindLoadBalancers bool `json:"detachBehindLoadBalancers,omitempty"`
	// Latest is the image that the release "latest" means, as kops spells it:
	// ssm:PARAMETER, or OWNER/PATTERN* for the newest that matches; empty: what the
	// cluster's channel recommends.
	Latest string `json:"latest,omitempty"`
}

// configSchema describes Config. A test holds it against the struct.
const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "Configuration of the kops driver",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "state": {
      "type": "string",
      "description": "URL of the kops state store, as s3://bucket. Default: KOPS_STATE_STORE, then kops_state_store of ~/.kops.yaml or ~/.kops/config."
    },
    "detachBehindLoadBalancers": {
      "type": "boolean",
      "description": "Let groups with load balancers surge too. AWS takes a detached instance out of its load balancers before the replacement is Ready. Default: false."
    },
    "latest": {
      "type": "string",
      "description": "What the release \"latest\" means, as kops spells images: ssm:PARAMETER, or OWNER/PATTERN* for the newest image that matches. Default: the parameter that the instance group itself names, else what the cluster's channel recommends."
    }
  }
}`

// schemes of state stores that kops knows.
var schemes = []string{"azureblob", "do", "file", "gs", "hos", "linode", "s3", "scw", "swift"}

// parseConfig reads raw strictly. Nothing at all is the zero Config.
func parseConfig(raw []byte) (Config, []sdk.Diagnostic) {
	refuse := func(summary, detail string) (Config, []sdk.Diagnostic) {
		return Config{}, []sdk.Diagnostic{finding(sdk.SeverityError, "config-invalid", "driver.config", detail, "%s", summary)}
	}
	const keys = "The kops driver knows the keys state, detachBehindLoadBalancers and latest."
	var c Config
	if len(bytes.TrimSpace(raw)) == 0 {
		return c, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return refuse("the kops driver's configuration is refused: "+strings.TrimPrefix(err.Error(), "json: "), keys)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse("the kops driver's configuration is refused: text after the JSON object", keys)
	}
	if c.State != "" {
		if diag := checkStateURL(c.State); diag != nil {
			return Config{}, []sdk.Diagnostic{*diag}
		}
	}
	return c, nil
}

// checkStateURL refuses what is no URL of a state store; nil: it may be one.
func checkStateURL(state string) *sdk.Diagnostic {
	u, err := url.Parse(state)
	if err == nil && slices.Contains(schemes, u.Scheme) && (u.Host != "" || u.Path != "") {
		return nil
	}
	diag := finding(sdk.SeverityError, "state-store-invalid", "state",
		"Give a URL such as s3://bucket; the schemes are "+strings.Join(schemes, ", ")+".", "%q is no URL of a kops state store", state)
	return &diag
}

// stateStore is the URL of the state store, trimmed as kops trims it; empty:
// nobody said where it is.
func (c Config) stateStore() (string, *sdk.Diagnostic) {
	state := c.State
	if state == "" {
		state = os.Getenv("KOPS_STATE_STORE")
	}
	if state == "" {
		var diag *sdk.Diagnostic
		if state, diag = stateStoreOfFile(); diag != nil {
			return "", diag
		}
	}
	if state == "" {
		diag := finding(sdk.SeverityError, "state-store-unknown", "state",
			"Set KOPS_STATE_STORE, or driver.config.state in the rotation file, to a URL such as s3://bucket.",
			"nothing says where the kops state store is")
		return "", &diag
	}
	return strings.TrimSuffix(state, "/"), checkStateURL(state)
}

// stateStoreOfFile reads kops' own configuration file: ~/.kops.yaml, else
// ~/.kops/config. No file, or none of the key, is the empty string.
func stateStoreOfFile() (string, *sdk.Diagnostic) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", nil // no home, no file
	}
	for _, path := range []string{filepath.Join(home, ".kops.yaml"), filepath.Join(home, ".kops", "config")} {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		// Its keys are in any case, and those of kops are more than this one.
		values := map[string]any{}
		if err == nil {
			err = yaml.Unmarshal(data, &values)
		}
		if err != nil {
			diag := finding(sdk.SeverityError, "kops-config-unreadable", path,
				"Correct it, or set KOPS_STATE_STORE or driver.config.state.", "kops' configuration file cannot be read: %v", err)
			return "", &diag
		}
		for k, v := range values {
			if strings.EqualFold(k, "kops_state_store") {
				return fmt.Sprint(v), nil
			}
		}
		return "", nil
	}
	return "", nil
}
