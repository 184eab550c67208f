package sdk

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Kubernetes' rules for labels
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/).
var (
	labelPrefix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	labelWord   = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

const maxLabelPrefix, maxLabelWord = 253, 63

// CheckLostLabel tells what is wrong with one of [NodeGroup.LostLabels], KEY or
// KEY=VALUE; nil: nothing. An empty value is a value.
func CheckLostLabel(label string) error {
	key, value, _ := strings.Cut(label, "=")
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		prefix, name = "", key
	}
	switch {
	case found && (len(prefix) > maxLabelPrefix || !labelPrefix.MatchString(prefix)),
		len(name) > maxLabelWord || !labelWord.MatchString(name):
		return fmt.Errorf("lost label %q: %q is no key of a label", label, key)
	case len(value) > maxLabelWord || value != "" && !labelWord.MatchString(value):
		return fmt.Errorf("lost label %q: %q is no value of a label", label, value)
	}
	return nil
}

func lostLabelsToProto(labels []string) ([]string, error) {
	if n := len(labels); n > MaxLostLabels {
		return nil, fmt.Errorf("it has %d lost labels, and may have %d", n, MaxLostLabels)
	}
	for i, l := range labels {
		if err := CheckLostLabel(l); err != nil {
			return nil, err
		}
		if slices.Contains(labels[:i], l) {
			return nil, fmt.Errorf("lost label %q is listed twice", l)
		}
	}
	return slices.Clone(labels), nil
}
