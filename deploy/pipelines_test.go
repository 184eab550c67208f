package deploy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// rule is one of a GitLab job.
type rule struct{ If, When string }

// component is the template for GitLab, with its inputs filled in.
func component(t *testing.T, inputs map[string]string) map[string]struct {
	Extends string
	Rules   []rule
	Needs   []string
} {
	t.Helper()
	header, body, ok := strings.Cut(read(t, "ci/gitlab/templates/rotate.yml"), "\n---\n")
	if !ok {
		t.Fatal("the component has no header")
	}
	var spec struct {
		Spec struct {
			Inputs map[string]struct {
				Default string
				Options []string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(header), &spec); err != nil {
		t.Fatal(err)
	}
	for name := range inputs {
		if _, ok := spec.Spec.Inputs[name]; !ok {
			t.Fatalf("there is no input %s", name)
		}
	}
	used := map[string]bool{}
	body = regexp.MustCompile(`\$\[\[ inputs\.([a-z-]+) \]\]`).ReplaceAllStringFunc(body, func(m string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(m, "$[[ inputs."), " ]]")
		used[name] = true
		in, ok := spec.Spec.Inputs[name]
		if !ok {
			t.Errorf("input %s is not declared", name)
		}
		if v, ok := inputs[name]; ok {
			return v
		}
		return in.Default
	})
	for name := range spec.Spec.Inputs {
		if !used[name] {
			t.Errorf("input %s is used nowhere", name)
		}
	}
	var jobs map[string]struct {
		Extends string
		Rules   []rule
		Needs   []string
	}
	if err := yaml.Unmarshal([]byte(body), &jobs); err != nil {
		t.Fatal(err)
	}
	return jobs
}

// holds evaluates a rule as GitLab would, in so far as the template needs it: terms
// that must all hold, each a comparison with == or =~.
func holds(t *testing.T, condition, source string) bool {
	t.Helper()
	for term := range strings.SplitSeq(condition, " && ") {
		left, right, equal := strings.Cut(term, " == ")
		if !equal {
			left, right, _ = strings.Cut(term, " =~ ")
		}
		if left == "$CI_PIPELINE_SOURCE" {
			left = source
		} else if !strings.HasPrefix(left, `"`) {
			t.Fatalf("a rule that this test does not understand: %q", condition)
		}
		switch left, right = strings.Trim(left, `"`), strings.TrimSpace(right); {
		case equal && left != strings.Trim(right, `"`):
			return false
		case !equal && !regexp.MustCompile(strings.Trim(right, "/")).MatchString(left):
			return false
		}
	}
	return true
}

// Whoever includes the template must not rotate a cluster with every push.
func TestGitLabRunsWhenAsked(t *testing.T) {
	all := []string{"rotate:check", "rotate:plan", "rotate:rotate", "rotate:verify"}
	for _, tt := range []struct {
		source string
		inputs map[string]string
		want   []string
		manual []string
	}{
		{"push", nil, nil, nil},
		{"push", map[string]string{"approval": "true", "merge-requests": "true"}, nil, nil},
		{"merge_request_event", nil, nil, nil},
		{"merge_request_event", map[string]string{"merge-requests": "true", "approval": "true"}, all[:2], nil},
		{"schedule", nil, all, nil},
		{"schedule", map[string]string{"approval": "true"}, all, all[2:3]},
		{"web", nil, all, nil},
		{"pipeline", map[string]string{"approval": "true"}, all, all[2:3]},
	} {
		jobs := component(t, tt.inputs)
		var runs, manual []string
		for name, j := range jobs {
			rules := j.Rules
			if rules == nil {
				rules = jobs[j.Extends].Rules
			}
			i := slices.IndexFunc(rules, func(r rule) bool { return holds(t, r.If, tt.source) })
			if strings.HasPrefix(name, ".") || i < 0 {
				continue
			}
			runs = append(runs, name)
			if rules[i].When == "manual" {
				manual = append(manual, name)
			}
			for _, need := range j.Needs {
				if _, ok := jobs[need]; !ok {
					t.Errorf("%s needs %s, which does not exist", name, need)
				}
			}
		}
		slices.Sort(runs)
		if diff := cmp.Diff([][]string{tt.want, tt.manual}, [][]string{runs, manual}); diff != "" {
			t.Errorf("%s, %v (-want +got):\n%s", tt.source, tt.inputs, diff)
		}
	}
}

// The workflow for GitHub: others' actions by their commit, no right that it does
// not need, no expression in a script, where what stands there would be run, and
// artifacts whose names two calls in one run do not share.
func TestGitHubIsCareful(t *testing.T) {
	text := read(t, "ci/github/rotate.yml")
	for _, m := range regexp.MustCompile(`(?m)^ *- uses: (.*)$`).FindAllStringSubmatch(text, -1) {
		if !regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+$`).MatchString(m[1]) {
			t.Errorf("an action that is not pinned to a commit, with its version beside: %s", m[1])
		}
	}
	var w struct {
		On struct {
			Call struct {
				Inputs map[string]struct{ Type string }
			} `yaml:"workflow_call"`
		}
		Permissions map[string]string
		Jobs        map[string]struct {
			Permissions map[string]string
			Concurrency struct {
				Group  string
				Cancel bool `yaml:"cancel-in-progress"`
			}
			Steps []struct {
				Name, Uses, Run, If string
				With                map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(text), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"contents": "read", "id-token": "write"}, w.Permissions); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	if c := w.Jobs["rotate"].Concurrency; c.Cancel || !strings.Contains(c.Group, "inputs.config") {
		t.Errorf("a rotation may be cancelled by another: %+v", c)
	}
	for name := range w.On.Call.Inputs {
		if !strings.Contains(text, "inputs."+name) {
			t.Errorf("input %s is used nowhere", name)
		}
	}
	for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if _, ok := w.On.Call.Inputs[m[1]]; !ok {
			t.Errorf("input %s is not declared", m[1])
		}
	}
	artifacts := map[string]bool{}
	for job, j := range w.Jobs {
		if j.Permissions != nil {
			t.Errorf("job %s has rights of its own: %v", job, j.Permissions)
		}
		for _, s := range j.Steps {
			if strings.Contains(s.Run, "${{") {
				t.Errorf("step %s puts an expression into its script: what stands there would be run", s.Name)
			}
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false" {
				t.Errorf("job %s leaves the repository's token in the working copy", job)
			}
			if strings.HasPrefix(s.Uses, "actions/upload-artifact@") {
				if name := s.With["name"]; artifacts[name] || !strings.Contains(name, "${{ inputs.") {
					t.Errorf("artifact %q: another call of the workflow in the same run has it too", name)
				} else {
					artifacts[name] = true
				}
			}
		}
	}
}

// The inputs of both are the document's.
func TestDocumentNamesTheInputs(t *testing.T) {
	doc := read(t, "../docs/ci.md")
	for _, path := range []string{"ci/gitlab/templates/rotate.yml", "ci/github/rotate.yml"} {
		section := read(t, path)
		for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(section, -1) {
			if !strings.Contains(doc, fmt.Sprintf("`%s`", m[1])) {
				t.Errorf("docs/ci.md does not name the input %s of %s", m[1], path)
			}
		}
	}
}
