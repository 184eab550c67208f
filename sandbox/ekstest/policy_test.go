package ekstest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/sandbox/aws"
)

// actions reads the actions of a policy; IAM allows one string for a list.
func actions(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Version   string
		Statement []struct {
			Sid, Effect string
			Action      any
		}
	}
	if err := json.Unmarshal(raw, &policy); err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, s := range policy.Statement {
		switch a := s.Action.(type) {
		case string:
			list = append(list, a)
		case []any:
			for _, v := range a {
				list = append(list, v.(string))
			}
		}
		if s.Effect != "Allow" {
			t.Errorf("statement %s: effect %q", s.Sid, s.Effect)
		}
	}
	slices.Sort(list)
	return list
}

// TestPolicy runs a rotation that needs everything, and holds what it called
// against the policy that the documentation gives to users: no action too many,
// none too few.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.template("by-parameter", "resolve:ssm:"+aws.ParameterRecommendedImage)
	arn, err := w.CreateTargetGroup(aws.TargetGroupSpec{Name: "web"})
	w.check(err)
	w.seed(3, func(s *aws.GroupSpec) {
		s.TargetGroups = []string{arn}
		s.LaunchTemplate = "by-parameter"
		s.Hooks = []aws.LifecycleHook{{LifecycleHookName: "drain-hook", LifecycleTransition: "autoscaling:EC2_INSTANCE_TERMINATING"}}
	})
	d := w.driver()
	old := look(t, d, 0).Instances
	accepted(t, prepare(t, d))
	accepted(t, must(d.Quiesce(t.Context(), request(old[1].ID)))(t))
	accepted(t, must(d.Unquiesce(t.Context(), request(old[1].ID)))(t))
	accepted(t, setSurge(t, d, 4))
	w.pass(3 * time.Second)
	keep(t, d, old[0].ID)
	w.pass(3 * time.Second)
	look(t, d, 0)
	for s := 3; s >= 0; s-- {
		r := shrinkFirst(t, w, d, s)
		accepted(t, &r.Capacity)
	}
	accepted(t, restore(t, d))

	calls := w.calls()
	delete(calls, "sts:GetCallerIdentity") // needs no permission
	want := actions(t, filepath.Join("..", "..", "deploy", "aws", "rotatord-eks-iam.json"))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(calls))); diff != "" {
		t.Errorf("actions (-policy +called):\n%s", diff)
	}
}
