package eks

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	one := wanted{offers: []offer{{id: "lt-1", name: "nodes", version: 4}}}
	image := wanted{offers: []offer{{id: "lt-1", name: "nodes", version: 4, image: "ami-2"}}}
	config := wanted{launchConfig: "nodes-7"}
	byType := wanted{
		offers: []offer{{id: "lt-1", version: 4}, {id: "lt-2", version: 9, image: "ami-2"}},
		types:  map[string]int{"m5.large": 0, "m6g.large": 1},
	}
	byAttribute := wanted{offers: byType.offers}
	from := func(id, version string) made { return made{id: id, version: version, instanceType: "m5.large"} }
	arm := made{id: "lt-2", version: "9", instanceType: "m6g.large", image: "ami-2"}
	cases := []struct {
		name string
		w    wanted
		m    made
		code string // empty: current
		in   string
	}{
		{"the version", one, from("lt-1", "4"), "", ""},
		{"an older version", one, from("lt-1", "3"), "revision", "launch template lt-1 version 3, wanted 4"},
		{"a newer version", one, from("lt-1", "5"), "revision", "version 5, wanted 4"},
		{"another template", one, from("lt-9", "4"), "revision", "launch template lt-9:4, wanted lt-1:4"},
		{"a template by name alone", one, made{name: "nodes", version: "4"}, "", ""},
		{"another template by name alone", one, made{name: "other", version: "4"}, "revision", "other:4"},
		{"from a launch configuration", one, made{launchConfig: "nodes-7"}, "revision", "launch configuration nodes-7, wanted launch template lt-1:4"},
		{"from nothing that still exists", one, made{}, "revision", "unknown or deleted"},
		{"the image", image, made{id: "lt-1", version: "4", image: "ami-2"}, "", ""},
		{"another image", image, made{id: "lt-1", version: "4", image: "ami-1"}, "image", "image ami-1, wanted ami-2"},
		{"an image that is not known yet", image, from("lt-1", "4"), "", ""},
		{"another image of an older version", image, made{id: "lt-1", version: "3", image: "ami-1"}, "revision", "version 3"},
		{"the launch configuration", config, made{launchConfig: "nodes-7"}, "", ""},
		{"another launch configuration", config, made{launchConfig: "nodes-6"}, "revision", "launch configuration nodes-6, wanted nodes-7"},
		{"from a template, not a configuration", config, from("lt-1", "4"), "revision", "launch template lt-1:4, wanted launch configuration nodes-7"},
		{"the type's own template", byType, arm, "", ""},
		{"the type's own template, other image", byType, made{id: "lt-2", version: "9", instanceType: "m6g.large", image: "ami-1"}, "image", "ami-1"},
		{"another type's template", byType, made{id: "lt-2", version: "9", instanceType: "m5.large"}, "revision", "lt-2:9, wanted lt-1:4"},
		{"a type that is not offered", byType, made{id: "lt-1", version: "4", instanceType: "c5.large"}, "revision", "instance type c5.large"},
		{"any type, first template", byAttribute, made{id: "lt-1", version: "4", instanceType: "c5.large"}, "", ""},
		{"any type, second template", byAttribute, arm, "", ""},
		{"any type, neither template", byAttribute, from("lt-1", "3"), "revision", "version 3, wanted 4"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := c.w.judge(c.m)
			if c.code == "" {
				if len(got) > 0 {
					t.Errorf("reasons %+v, want none", got)
				}
				return
			}
			if len(got) != 1 || got[0].Code != c.code || !strings.Contains(got[0].Message, c.in) {
				t.Errorf("reasons %+v, want %s: …%s…", got, c.code, c.in)
			}
		})
	}
}

func TestSourceOf(t *testing.T) {
	lt := func(id, version string) *asgtypes.LaunchTemplateSpecification {
		return &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(id), Version: aws.String(version)}
	}
	ref := func(id, version, image string) sourceRef {
		return sourceRef{templateRef: templateRef{id: id, version: version}, image: image}
	}
	mixed := func(o ...asgtypes.LaunchTemplateOverrides) asgtypes.AutoScalingGroup {
		return asgtypes.AutoScalingGroup{MixedInstancesPolicy: &asgtypes.MixedInstancesPolicy{LaunchTemplate: &asgtypes.LaunchTemplate{LaunchTemplateSpecification: lt("lt-1", "$Latest"), Overrides: o}}}
	}
	typed := func(name string) asgtypes.LaunchTemplateOverrides {
		return asgtypes.LaunchTemplateOverrides{InstanceType: aws.String(name)}
	}
	own, pinned, heavy, light := typed("m6g.large"), typed("m5.large"), typed("m5.large"), typed("m5.large")
	own.LaunchTemplateSpecification = lt("lt-2", "3")
	pinned.ImageId = aws.String("ami-1")
	heavy.WeightedCapacity, light.WeightedCapacity = aws.String("4"), aws.String("1")
	cpus := mixed(typed("m5.large"))
	cpus.DesiredCapacityType = aws.String("vcpu")
	cases := []struct {
		name string
		g    asgtypes.AutoScalingGroup
		want launchSource
	}{
		{"a template", asgtypes.AutoScalingGroup{LaunchTemplate: lt("lt-1", "4")}, launchSource{refs: []sourceRef{ref("lt-1", "4", "")}}},
		{"a template without a version", asgtypes.AutoScalingGroup{LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("nodes")}}, launchSource{refs: []sourceRef{{templateRef: templateRef{name: "nodes", version: "$Default"}}}}},
		{"a launch configuration", asgtypes.AutoScalingGroup{LaunchConfigurationName: aws.String("nodes-7")}, launchSource{launchConfig: "nodes-7"}},
		{"nothing", asgtypes.AutoScalingGroup{}, launchSource{}},
		{"a policy without overrides", mixed(), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "")}}},
		{"types", mixed(typed("m5.large"), typed("m6i.large")), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "")}, types: map[string]int{"m5.large": 0, "m6i.large": 0}}},
		{"a type with its own template", mixed(typed("m5.large"), own), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", ""), ref("lt-2", "3", "")}, types: map[string]int{"m5.large": 0, "m6g.large": 1}}},
		{"a type with its own image", mixed(pinned), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "ami-1")}, types: map[string]int{"m5.large": 0}}},
		{"attributes", mixed(asgtypes.LaunchTemplateOverrides{InstanceRequirements: &asgtypes.InstanceRequirements{}}), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "")}}},
		{"weights", mixed(heavy), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "")}, types: map[string]int{"m5.large": 0}, weighted: true}},
		{"a weight of one", mixed(light), launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "")}, types: map[string]int{"m5.large": 0}}},
		{"capacity in CPUs", cpus, launchSource{refs: []sourceRef{ref("lt-1", "$Latest", "")}, types: map[string]int{"m5.large": 0}, weighted: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := sourceOf(&c.g)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(launchSource{}, sourceRef{}, templateRef{})); diff != "" {
				t.Errorf("source (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStateOf(t *testing.T) {
	for _, s := range asgtypes.LifecycleState("").Values() {
		if stateOf(s) == 0 != leftOut(s) {
			t.Errorf("%s: state %v, left out %v: an instance is either shown in a state or left out", s, stateOf(s), leftOut(s))
		}
	}
}
