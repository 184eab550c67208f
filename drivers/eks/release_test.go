package eks

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/drivers/sdk"
)

func TestParseImage(t *testing.T) {
	cases := []struct {
		name      string
		want      release
		parameter string // of the recommended image for Kubernetes 1.37; empty: not one of EKS'
		named     string // of this image
	}{
		{
			"amazon-eks-node-al2023-x86_64-standard-1.37-v20261120", release{familyAmazonLinux, "1.37", "20261120"},
			"/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/x86_64/standard/recommended/image_id",
			"/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/x86_64/standard/amazon-eks-node-al2023-x86_64-standard-1.37-v20261120/image_id",
		},
		{
			"amazon-eks-node-al2023-arm64-nvidia-1.36-v20261101", release{familyAmazonLinux, "1.36", "20261101"},
			"/aws/service/eks/optimized-ami/1.37/amazon-linux-2023/arm64/nvidia/recommended/image_id",
			"/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/arm64/nvidia/amazon-eks-node-al2023-arm64-nvidia-1.36-v20261101/image_id",
		},
		{
			"amazon-eks-node-1.31-v20240807", release{familyAmazonLinux, "1.31", "20240807"},
			"/aws/service/eks/optimized-ami/1.37/amazon-linux-2/recommended/image_id",
			"/aws/service/eks/optimized-ami/1.31/amazon-linux-2/amazon-eks-node-1.31-v20240807/image_id",
		},
		{
			"amazon-eks-arm64-node-1.31-v20240807", release{familyAmazonLinux, "1.31", "20240807"},
			"/aws/service/eks/optimized-ami/1.37/amazon-linux-2-arm64/recommended/image_id",
			"/aws/service/eks/optimized-ami/1.31/amazon-linux-2-arm64/amazon-eks-arm64-node-1.31-v20240807/image_id",
		},
		{
			"amazon-eks-gpu-node-1.31-v20240807", release{familyAmazonLinux, "1.31", "20240807"},
			"/aws/service/eks/optimized-ami/1.37/amazon-linux-2-gpu/recommended/image_id",
			"/aws/service/eks/optimized-ami/1.31/amazon-linux-2-gpu/amazon-eks-gpu-node-1.31-v20240807/image_id",
		},
		{
			"bottlerocket-aws-k8s-1.37-x86_64-v1.26.1-943d9a41", release{familyBottlerocket, "1.37", "1.26.1-943d9a41"},
			"/aws/service/bottlerocket/aws-k8s-1.37/x86_64/latest/image_id",
			"/aws/service/bottlerocket/aws-k8s-1.37/x86_64/1.26.1/image_id",
		},
		{
			"bottlerocket-aws-k8s-1.37-nvidia-aarch64-v1.26.1-943d9a41", release{familyBottlerocket, "1.37", "1.26.1-943d9a41"},
			"/aws/service/bottlerocket/aws-k8s-1.37-nvidia/arm64/latest/image_id",
			"/aws/service/bottlerocket/aws-k8s-1.37-nvidia/arm64/1.26.1/image_id",
		},
		{
			"Windows_Server-2022-English-Core-EKS_Optimized-1.37-2026.11.12", release{familyWindows, "1.37", "2026.11.12"},
			"/aws/service/ami-windows-latest/Windows_Server-2022-English-Core-EKS_Optimized-1.37/image_id", "",
		},
		{name: "amazon-eks-node-al2023-x86_64-standard-1.37-v2026"},
		{name: "my-amazon-eks-node-1.37-v20261120"},
		{name: "amazon-eks-odd-node-1.37-v20261120"},
		{name: "ubuntu-eks/k8s_1.37/images"},
		{name: ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, at, ok := parseImage(c.name)
			if ok != (c.parameter != "") || r != c.want {
				t.Fatalf("%+v %v, want %+v", r, ok, c.want)
			}
			if !ok {
				return
			}
			if got := at.imageParameter("1.37"); got != c.parameter {
				t.Errorf("recommended: %s\nwant         %s", got, c.parameter)
			}
			if got := at.namedImageParameter(r); got != c.named {
				t.Errorf("this one: %s\nwant      %s", got, c.named)
			}
		})
	}
}

func TestCompareReleases(t *testing.T) {
	parse := func(f family, v, kubernetes string) release {
		r, ok := f.parse(v)
		if !ok {
			t.Fatalf("%s is no release", v)
		}
		if r.kubernetes == "" {
			r.kubernetes = kubernetes
		}
		return r
	}
	cases := []struct {
		a, b release
		want int
		ok   bool
	}{
		{parse(familyAmazonLinux, "1.37.2-20261120", ""), parse(familyAmazonLinux, "1.37.1-20261101", ""), 1, true},
		{parse(familyAmazonLinux, "1.9.2-20261120", ""), parse(familyAmazonLinux, "1.37.1-20261101", ""), -1, true},
		{parse(familyAmazonLinux, "1.37.2-20261120", ""), parse(familyAmazonLinux, "1.37.2-20261120", ""), 0, true},
		{parse(familyBottlerocket, "1.9.1-943d9a41", "1.37"), parse(familyBottlerocket, "1.26.0-00000000", "1.37"), -1, true},
		{parse(familyBottlerocket, "1.26.1-943d9a41", "1.37"), parse(familyBottlerocket, "1.26.1-943d9a41", "1.36"), 1, true},
		{parse(familyBottlerocket, "1.26.1-943d9a41", "1.37"), parse(familyBottlerocket, "1.26.1-00000000", "1.37"), 0, false},
		{parse(familyWindows, "1.37-2026.11.12", ""), parse(familyWindows, "1.37-2026.09.10", ""), 1, true},
		{parse(familyWindows, "1.37-2026.11.12", ""), parse(familyAmazonLinux, "1.37.2-20261120", ""), 0, false},
		{release{}, parse(familyAmazonLinux, "1.37.2-20261120", ""), 0, false},
	}
	for _, c := range cases {
		if got, ok := c.a.compare(c.b); got != c.want || ok != c.ok {
			t.Errorf("%+v and %+v: %d %v, want %d %v", c.a, c.b, got, ok, c.want, c.ok)
		}
	}
	for _, v := range []string{"", "1.37", "1.37.2", "1.37.2-2026112", "v1.37.2-20261120"} {
		if r, ok := familyAmazonLinux.parse(v); ok {
			t.Errorf("%q is read as %+v", v, r)
		}
	}
}

// TestBehind: what an instance of a node group lacks, the node group at rest and while EKS changes it.
func TestBehind(t *testing.T) {
	const image = "amazon-eks-node-al2023-x86_64-standard-"
	group := func(change func(*managed)) *managed {
		m := &managed{name: "system", NodeGroupWay: NodeGroupWay{Way: WayDelegated}, Nodegroup: &ekstypes.Nodegroup{
			AmiType: ekstypes.AMITypesAl2023X8664Standard, Version: aws.String("1.36"), ReleaseVersion: aws.String("1.36.5-20261101"), Status: ekstypes.NodegroupStatusActive,
		}}
		if change != nil {
			change(m)
		}
		m.want("1.37", map[string]string{
			amiTypes[m.AmiType].releaseParameter("1.37"): "1.37.2-20261120", amiTypes[m.AmiType].imageParameter("1.37"): "ami-new",
			amiTypes[m.AmiType].releaseParameter("1.36"): "1.36.5-20261120",
		}, 5)
		return m
	}
	updating := func(m *managed) { m.Status = ekstypes.NodegroupStatusUpdating }
	template := func(v string) func(*managed) {
		return func(m *managed) {
			m.LaunchTemplate = &ekstypes.LaunchTemplateSpecification{Id: aws.String("lt-1"), Version: aws.String(v)}
			m.AmiType = ekstypes.AMITypesCustom
		}
	}
	cases := []struct {
		name             string
		change           func(*managed)
		image, imageName string
		version          string // of EKS' own template
		code             string // empty: current
	}{
		{name: "the wanted image", image: "ami-new"},
		{name: "an older Kubernetes version", image: "ami-1", imageName: image + "1.36-v20261120", code: reasonKubernetes},
		{name: "an older release", image: "ami-1", imageName: image + "1.37-v20261101", code: reasonRelease},
		{name: "a newer release", image: "ami-1", imageName: image + "1.37-v20261130"},
		{name: "an unknown image, by what EKS says", image: "ami-1", code: reasonKubernetes},
		{name: "an unknown image while EKS changes the node group", image: "ami-1", change: updating},
		{name: "pinned to what it has", image: "ami-1", imageName: image + "1.36-v20261101", change: func(m *managed) { m.Tags = map[string]string{tagRelease: "1.36.5-20261101"} }},
		{name: "pinned to a newer one of its version", image: "ami-1", imageName: image + "1.36-v20261101", change: func(m *managed) { m.Tags = map[string]string{tagRelease: "1.36.5-20261110"} }, code: reasonRelease},
		{name: "an older template", image: "ami-1", change: template("4"), version: "2", code: reasonTemplate},
		{name: "the newest template", image: "ami-1", change: template("5"), version: "2"},
		{name: "an older template, in a roll of ours, not yet", image: "ami-1", change: func(m *managed) { template("4")(m); updating(m); m.record = &rollRecord{From: 2} }, version: "2", code: reasonTemplate},
		{name: "an older template, in a roll of ours, replaced", image: "ami-1", change: func(m *managed) { template("4")(m); updating(m); m.record = &rollRecord{From: 2} }, version: "3"},
		{name: "an older template, in a roll of somebody's", image: "ami-1", change: func(m *managed) { template("4")(m); updating(m) }, version: "2"},
		{name: "an AMI type that is not known", image: "ami-1", change: func(m *managed) { m.AmiType = "AL2030" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := group(c.change)
			var got string
			if why := m.behind(made{version: c.version}, m.standing(c.image, c.imageName)); len(why) > 0 {
				got = why[0].Code
			}
			if got != c.code {
				t.Errorf("%q, want %q", got, c.code)
			}
		})
	}
}

// TestNodegroupHealth: what EKS refuses to update is an error where EKS is to.
func TestNodegroupHealth(t *testing.T) {
	issues := &ekstypes.NodegroupHealth{Issues: []ekstypes.Issue{
		{Code: ekstypes.NodegroupIssueCodeNodeCreationFailure, Message: aws.String("no joy"), ResourceIds: []string{"i-1", "i-2"}},
		{Code: ekstypes.NodegroupIssueCodeEc2LaunchTemplateVersionMismatch, ResourceIds: []string{"lt-1"}},
	}}
	for way, severity := range map[Way]sdk.Severity{WayDelegated: sdk.SeverityError, WaySelf: sdk.SeverityWarning} {
		m := &managed{name: "system", NodeGroupWay: NodeGroupWay{Way: way}, Nodegroup: &ekstypes.Nodegroup{Health: issues}}
		got := m.health()
		for i := range got {
			if got[i].Detail == "" {
				t.Errorf("%s says nothing of what to do", got[i].Code)
			}
			got[i].Detail = ""
		}
		want := []sdk.Diagnostic{
			{Severity: sdk.SeverityWarning, Code: "node-creation-failure", Object: "i-1, i-2", Summary: "node group system: NodeCreationFailure of i-1 and i-2: no joy"},
			{Severity: severity, Code: "ec2-launch-template-version-mismatch", Object: "lt-1", Summary: "node group system: Ec2LaunchTemplateVersionMismatch of lt-1"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", way, diff)
		}
		if _, found := m.unhealthy("i-2"); !found {
			t.Error("i-2 is not named")
		}
	}
}

// TestNodegroupRecords: each record is read back as it was written, fits a tag, and is refused when it is not ours.
func TestNodegroupRecords(t *testing.T) {
	roll := &rollRecord{Op: "r-20261123-024510-abcdef-00012", At: time.Unix(1772366400, 0), Version: "1.37", Release: "1.37.2-20261120", Template: 12, From: 31, Force: true, Update: "298be881-2e30-ce71-21ee-b739fd62983a"}
	got, err := parseRollRecord(map[string]string{tagRoll: roll.String()})
	if diff := cmp.Diff(roll, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	longest := *roll
	longest.Op = string(make([]byte, maxOpID))
	if n := len(longest.String()); n > maxTagValue {
		t.Errorf("the longest record of a roll has %d characters, and a tag holds %d", n, maxTagValue)
	}
	config := &updateRecord{Own: updateConfig{Percent: 33, Strategy: "DEFAULT"}, Set: updateConfig{Nodes: 100, Strategy: "MINIMAL"}}
	readConfig, err := parseUpdateRecord(map[string]string{tagUpdateConfig: config.String()})
	if diff := cmp.Diff(config, readConfig); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	stage := &stageRecord{Op: "o", From: "ami-1", To: "1.37.2-20261120", Version: 3}
	readStage, err := parseStageRecord(map[string]string{tagStaged: stage.String()})
	if diff := cmp.Diff(stage, readStage); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, value := range []string{"", "op=o", roll.String() + " later=1", "op=o op=o"} {
		if _, err := parseRollRecord(map[string]string{tagRoll: value}); err == nil {
			t.Errorf("%q is read as a record of a roll", value)
		}
		if _, err := parseUpdateRecord(map[string]string{tagUpdateConfig: value}); err == nil {
			t.Errorf("%q is read as a record of an update configuration", value)
		}
		if _, err := parseStageRecord(map[string]string{tagStaged: value}); err == nil {
			t.Errorf("%q is read as a record of a staged release", value)
		}
	}
}

// TestUpdateConfigDefaults: EKS' own bound in instances, which the core counts on.
func TestUpdateConfigDefaults(t *testing.T) {
	for _, c := range []struct {
		of   updateConfig
		size int
		want string
	}{
		{updateConfig{Nodes: 2}, 9, "2"},
		{updateConfig{Percent: 33}, 10, "4"},
		{updateConfig{Percent: 1}, 0, "1"},
	} {
		if got := c.of.defaults(c.size).MaxUnavailable; got != c.want {
			t.Errorf("%+v of %d: %s, want %s", c.of, c.size, got, c.want)
		}
	}
}
