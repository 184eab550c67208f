package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
)

// Marks that others may set too are taken back only where they are ours still.
func TestMarksOfOthersStay(t *testing.T) {
	type m = map[string]string
	const down, shielded, label, excluded = model.AnnotationScaleDownDisabled, model.AnnotationShielded,
		model.LabelExcludeFromLoadBalancers, model.AnnotationExcluded
	shield, exclude := func(b bool) engine.NodePatch { return engine.NodePatch{Shield: &b} }, func(b bool) engine.NodePatch { return engine.NodePatch{Exclude: &b} }
	cases := map[string]struct {
		labels, annotations         m
		patch                       engine.NodePatch
		wantLabels, wantAnnotations m // nil: as before
	}{
		"shield":                          {annotations: m{}, patch: shield(true), wantAnnotations: m{down: "true", shielded: "-"}},
		"shield over another value":       {annotations: m{down: "false"}, patch: shield(true), wantAnnotations: m{down: "true", shielded: "false"}},
		"shielded by a person":            {annotations: m{down: "true"}, patch: shield(true)},
		"shielded already":                {annotations: m{down: "true", shielded: "-"}, patch: shield(true)},
		"shield that a person took off":   {annotations: m{shielded: "-"}, patch: shield(true)},
		"unshield":                        {annotations: m{down: "true", shielded: "-"}, patch: shield(false), wantAnnotations: m{}},
		"unshield to what was":            {annotations: m{down: "true", shielded: "false"}, patch: shield(false), wantAnnotations: m{down: "false"}},
		"unshield what an empty one was":  {annotations: m{down: "true", shielded: ""}, patch: shield(false), wantAnnotations: m{down: ""}},
		"unshield what a person changed":  {annotations: m{down: "false", shielded: "-"}, patch: shield(false), wantAnnotations: m{down: "false"}},
		"unshield what a person took off": {annotations: m{shielded: "false"}, patch: shield(false), wantAnnotations: m{}},
		"unshield a person's":             {annotations: m{down: "true"}, patch: shield(false)},
		"exclude":                         {patch: exclude(true), wantLabels: m{label: "true"}, wantAnnotations: m{excluded: "true"}},
		"excluded by a person":            {labels: m{label: "false"}, patch: exclude(true)},
		"excluded already":                {labels: m{label: "true"}, annotations: m{excluded: "true"}, patch: exclude(true)},
		"include":                         {labels: m{label: "true", "a": "b"}, annotations: m{excluded: "true"}, patch: exclude(false), wantLabels: m{"a": "b"}, wantAnnotations: m{}},
		"include what a person excluded":  {labels: m{label: "true"}, patch: exclude(false)},
		"include what a person changed":   {labels: m{label: "me"}, annotations: m{excluded: "true"}, patch: exclude(false), wantLabels: m{label: "me"}, wantAnnotations: m{}},
		"nothing asked":                   {labels: m{label: "true"}, annotations: m{excluded: "true", down: "true", shielded: "-"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			setLabels, setAnnotations := c.patch.Metadata(c.labels, c.annotations)
			if got, want := merged(c.labels, setLabels), or(c.wantLabels, c.labels); !cmp.Equal(got, want) {
				t.Errorf("labels are %v, want %v", got, want)
			}
			if got, want := merged(c.annotations, setAnnotations), or(c.wantAnnotations, c.annotations); !cmp.Equal(got, want) {
				t.Errorf("annotations are %v, want %v", got, want)
			}
			if same := c.wantLabels == nil && c.wantAnnotations == nil; same && len(setLabels)+len(setAnnotations) > 0 {
				t.Errorf("it is so already, and is written: %v %v", setLabels, setAnnotations)
			}
		})
	}
}

func or(m, otherwise map[string]string) map[string]string {
	if m == nil {
		m = otherwise
	}
	if m == nil {
		m = map[string]string{}
	}
	return m
}
