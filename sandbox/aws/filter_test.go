package aws

import "testing"

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"web", "web", true},
		{"web", "web1", false},
		{"", "", true},
		{"", "x", false},
		{"*", "", true},
		{"*", "anything", true},
		{"w*b", "web", true},
		{"w*b", "wb", true},
		{"w*b", "web1", false},
		{"*a*b*", "xxaxxbxx", true},
		{"*aab", "aaab", true}, // the star must give back what it took
		{"w?b", "web", true},
		{"w?b", "wb", false},
		{"?", "", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{`a\?c`, "a?c", true},
		{`a\?c`, "abc", false},
		{`a\\b`, `a\b`, true},
	} {
		if got := glob(tc.pattern, tc.text); got != tc.want {
			t.Errorf("glob(%q, %q) = %v", tc.pattern, tc.text, got)
		}
	}
}
