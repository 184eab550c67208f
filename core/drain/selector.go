package drain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// selector is a label selector as kubectl's -l has it: all of its requirements
// must hold. It is our own because the packages that decide import nothing of
// Kubernetes; the grammar is that of "Labels and Selectors" in its documentation.
type selector []requirement

type requirement struct {
	key    string
	values []string // none: the key's presence is what counts
	not    bool
}

var (
	labelKey   = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$`)
	setBased   = regexp.MustCompile(`^(\S+)\s+(in|notin)\s*\(([^()]*)\)$`)
)

// parseSelector reads "app=web,tier in (a,b),!legacy". Empty matches everything.
func parseSelector(text string) (selector, error) {
	var s selector
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for _, part := range splitOutside(text) {
		r, err := parseRequirement(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		s = append(s, r)
	}
	return s, nil
}

// splitOutside splits at commas that are not within parentheses.
func splitOutside(text string) []string {
	var out []string
	depth, begin := 0, 0
	for i, c := range text {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, text[begin:i])
				begin = i + 1
			}
		}
	}
	return append(out, text[begin:])
}

func parseRequirement(text string) (requirement, error) {
	r := requirement{}
	switch m := setBased.FindStringSubmatch(text); {
	case m != nil:
		r.key, r.not = m[1], m[2] == "notin"
		for v := range strings.SplitSeq(m[3], ",") {
			r.values = append(r.values, strings.TrimSpace(v))
		}
	case strings.Contains(text, "="):
		key, value, _ := strings.Cut(text, "=")
		key, r.not = strings.CutSuffix(key, "!")
		value = strings.TrimPrefix(value, "=") // == is = as well
		r.key, r.values = strings.TrimSpace(key), []string{strings.TrimSpace(value)}
	default:
		r.key, r.not = strings.CutPrefix(text, "!")
		r.key = strings.TrimSpace(r.key)
	}
	bad := slices.ContainsFunc(r.values, func(v string) bool { return !labelValue.MatchString(v) })
	if !labelKey.MatchString(r.key) || bad {
		return r, fmt.Errorf("%q is not a label selector: write as for kubectl -l, such as app=web, tier in (a,b), !legacy", text)
	}
	return r, nil
}

// matches as the API does: a negative requirement holds for what lacks the key.
func (s selector) matches(labels map[string]string) bool {
	for _, r := range s {
		v, has := labels[r.key]
		if ok := has && (len(r.values) == 0 || slices.Contains(r.values, v)); ok == r.not {
			return false
		}
	}
	return true
}
