package host

import (
	"net/url"
	"slices"
	"strings"
)

// A driver gets these variables of the host's environment and no others, so
// that a secret of somebody else (a CI system's tokens, another cloud's keys)
// does not reach it. An entry that ends in * is a prefix.
var (
	envForAll = []string{
		"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "LC_*", "TZ",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
	}
	// Credentials and settings of the provider, by the driver's name. A driver
	// that is not listed gets what begins with its own name, and what Options.Env
	// names.
	envByDriver = map[string][]string{
		"eks": {"AWS_*"},
		"kops": {
			"KOPS_*", "S3_*", "AWS_*", // state stores are S3 on every cloud
			"GOOGLE_*", "CLOUDSDK_*", "GCE_*", // Google Cloud
			"AZURE_*",
			"DIGITALOCEAN_*", "DO_*",
			"HCLOUD_*",
			"OS_*", "OPENSTACK_*", // OpenStack
			"SCW_*", // Scaleway
			"LINODE_*",
		},
	}
)

// environment chooses what a driver gets of environ ("NAME=value"), in its
// order. Entries of extra are added last: "NAME=value" sets a variable, "NAME"
// and "PREFIX_*" let more of environ through.
func environment(driver string, extra, environ []string) []string {
	allow := slices.Clone(envForAll)
	own, ok := envByDriver[driver]
	if !ok {
		own = []string{strings.ToUpper(strings.ReplaceAll(driver, "-", "_")) + "_*"}
	}
	allow = append(allow, own...)
	var set []string
	for _, e := range extra {
		if strings.Contains(e, "=") {
			set = append(set, e)
		} else {
			allow = append(allow, e)
		}
	}
	var env []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if slices.ContainsFunc(allow, func(pattern string) bool { return matches(pattern, name) }) {
			env = append(env, e)
		}
	}
	return append(env, set...)
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// secretWords in the name of a variable or of a key of the configuration mean
// that its value is a secret.
var secretWords = []string{"SECRET", "TOKEN", "PASSWORD", "PASSWD", "PRIVATE", "CREDENTIAL", "APIKEY", "API_KEY", "ACCESS_KEY", "ACCESSKEY"}

// notSecret are endings of names that hold a place, not a secret.
var notSecret = []string{"_FILE", "_PATH", "_DIR", "_URI", "_URL", "_ID", "FILE", "PATH"}

func secretName(name string) bool {
	name = strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if slices.ContainsFunc(notSecret, func(s string) bool { return strings.HasSuffix(name, s) }) {
		return false
	}
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// secrets collects the values that logs must not show.
func secrets(env []string, config map[string]any) []string {
	var list []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if secretName(name) {
			list = append(list, value)
		}
		if strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			if u, err := url.Parse(value); err == nil && u.User != nil {
				if password, ok := u.User.Password(); ok {
					list = append(list, password)
				}
			}
		}
	}
	return append(list, configSecrets(config, false)...)
}

// configSecrets walks a configuration; below a key with a secret's name all
// strings are secrets.
func configSecrets(v any, secret bool) []string {
	var list []string
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			list = append(list, configSecrets(inner, secret || secretName(k))...)
		}
	case []any:
		for _, inner := range v {
			list = append(list, configSecrets(inner, secret)...)
		}
	case string:
		if secret {
			list = append(list, v)
		}
	}
	return list
}
