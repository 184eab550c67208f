package aws

import (
	"slices"
	"strings"
)

// Filter is a filter of a describe action. Filters are joined by "and", the values of one by "or".
type Filter struct {
	Name   string
	Values []string `q:"Value"`
}

// fields reads the values that a thing has under a filter's name; nil for a name it does not know.
type fields[T any] map[string]func(T) []string

// tagsOf is how the three tag filters of EC2 (tag:KEY, tag-key, tag-value) read a thing's tags.
type tagsOf[T any] func(T) map[string]string

// matchEC2 applies EC2's filters: values may hold the wildcards * and ?, tag filters work where tags is given.
// "Filter values are case-sensitive", "wildcards … backslash escapes", say the documentation's general filter rules.
func matchEC2[T any](filters []Filter, known fields[T], tags tagsOf[T]) (func(T) bool, error) {
	for _, f := range filters {
		isTag := tags != nil && (strings.HasPrefix(f.Name, "tag:") || f.Name == "tag-key" || f.Name == "tag-value")
		if known[f.Name] == nil && !isTag {
			return nil, failf("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
		}
		if len(f.Values) == 0 {
			return nil, failf("InvalidParameterValue", "The filter '%s' must have at least one value", f.Name)
		}
	}
	return func(t T) bool {
		for _, f := range filters {
			var have []string
			switch {
			case known[f.Name] != nil:
				have = known[f.Name](t)
			case f.Name == "tag-key":
				for k := range tags(t) {
					have = append(have, k)
				}
			case f.Name == "tag-value":
				for _, v := range tags(t) {
					have = append(have, v)
				}
			default:
				if v, ok := tags(t)[strings.TrimPrefix(f.Name, "tag:")]; ok {
					have = []string{v}
				}
			}
			if !slices.ContainsFunc(have, func(h string) bool {
				return slices.ContainsFunc(f.Values, func(p string) bool { return glob(p, h) })
			}) {
				return false
			}
		}
		return true
	}, nil
}

// glob matches * (any run of characters), ? (any one) and a backslash before either, in linear memory and without
// backtracking over more than one star.
func glob(pattern, s string) bool {
	p, star, mark := 0, -1, 0
	i := 0
	for i < len(s) {
		if p < len(pattern) {
			switch ch := pattern[p]; {
			case ch == '*':
				star, mark = p, i
				p++
				continue
			case ch == '?':
				p++
				i++
				continue
			case ch == '\\' && p+1 < len(pattern) && pattern[p+1] == s[i]:
				p += 2
				i++
				continue
			case ch == s[i]:
				p++
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
