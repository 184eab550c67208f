package kops

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"k8s.io/kops/cloudmock/aws/mockautoscaling"
	"k8s.io/kops/cloudmock/aws/mockec2"
	"k8s.io/kops/cloudmock/aws/mockelb"
	"k8s.io/kops/cloudmock/aws/mockelbv2"
	"k8s.io/kops/cloudmock/aws/mockeventbridge"
	"k8s.io/kops/cloudmock/aws/mockiam"
	"k8s.io/kops/cloudmock/aws/mocksqs"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/pki"
	"k8s.io/kops/upup/pkg/fi"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"
)

const (
	stageCluster = "stage.example.com"
	stageOld     = "ami-00000001"
	stageNew     = "ami-00000002"
	stageArm     = "ami-00000003"
	stageFlatcar = "ami-00000004"
	stageOther   = "ami-00000005" // with another root device
)

// stageFiles is a state store with a cluster of three groups.
func stageFiles(base string) map[string]string {
	group := func(name, role string, size string) string {
		return `apiVersion: kops.k8s.io/v1alpha2
kind: InstanceGroup
metadata:
  name: ` + name + `
  labels: {kops.k8s.io/cluster: ` + stageCluster + `}
spec: {role: ` + role + `, image: ` + stageOld + `, machineType: m5.large, minSize: ` + size + `, maxSize: ` + size + `, subnets: [us-test-1a]}
`
	}
	return map[string]string{
		"config": `apiVersion: kops.k8s.io/v1alpha2
kind: Cluster
metadata: {name: ` + stageCluster + `}
spec:
  api: {dns: {}}
  authorization: {rbac: {}}
  channel: ` + base + `/channel.yaml
  cloudProvider: aws
  configBase: ` + base + `/` + stageCluster + `
  etcdClusters:
  - {name: main, etcdMembers: [{instanceGroup: control-plane, name: a}]}
  - {name: events, etcdMembers: [{instanceGroup: control-plane, name: a}]}
  iam: {allowContainerRegistry: true, legacy: false}
  kubelet: {anonymousAuth: false}
  kubernetesApiAccess: [0.0.0.0/0]
  kubernetesVersion: 1.36.0
  networkCIDR: 172.20.0.0/16
  networking: {cni: {}}
  nonMasqueradeCIDR: 100.64.0.0/10
  sshAccess: [0.0.0.0/0]
  subnets:
  - {name: us-test-1a, zone: us-test-1a, type: Public, cidr: 172.20.32.0/19}
  topology: {dns: {type: None}}
`,
		"instancegroup/control-plane": group("control-plane", "Master", "1"),
		"instancegroup/web":           group("web", "Node", "2"),
		"instancegroup/batch":         group("batch", "Node", "2"),
	}
}

const stageChannel = `apiVersion: kops.k8s.io/v1alpha2
kind: Channel
metadata: {name: test}
spec:
  images:
  - {name: ami-00000002, providerID: aws, architectureID: amd64, kubernetesVersion: ">=1.30.0"}
  - {name: ami-00000001, providerID: aws, architectureID: amd64, kubernetesVersion: "<1.30.0"}
`

// stageEC2 is kops' own mock, with images that can be found by id and launch
// templates that have versions.
type stageEC2 struct {
	*mockec2.MockEC2
	versions map[string][]ec2types.LaunchTemplateVersion // by template id, oldest first
	// matches is a pattern of names that DescribeImages knows, beside names.
	matches string
}

func (m *stageEC2) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, opts ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	ids := in.ImageIds
	for _, f := range in.Filters {
		if m.matches != "" && f.Values[0] == m.matches {
			for _, i := range m.Images {
				if ok, _ := path.Match(m.matches, aws.ToString(i.Name)); ok {
					ids = append(ids, aws.ToString(i.ImageId))
				}
			}
		}
		if aws.ToString(f.Name) == "image-id" {
			ids = f.Values
		}
	}
	if len(ids) == 0 {
		return m.MockEC2.DescribeImages(ctx, in, opts...)
	}
	out := &ec2.DescribeImagesOutput{}
	for _, i := range m.Images {
		if slices.Contains(ids, aws.ToString(i.ImageId)) {
			out.Images = append(out.Images, *i)
		}
	}
	return out, nil
}

// keep remembers what the mock holds now as the newest version.
func (m *stageEC2) keep(ctx context.Context, name *string) error {
	out, err := m.MockEC2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: name})
	if err != nil {
		return err
	}
	v := out.LaunchTemplateVersions[0]
	m.versions[*v.LaunchTemplateId] = append(m.versions[*v.LaunchTemplateId], v)
	return nil
}

func (m *stageEC2) CreateLaunchTemplate(ctx context.Context, in *ec2.CreateLaunchTemplateInput, opts ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateOutput, error) {
	out, err := m.MockEC2.CreateLaunchTemplate(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	return out, m.keep(ctx, in.LaunchTemplateName)
}

func (m *stageEC2) CreateLaunchTemplateVersion(ctx context.Context, in *ec2.CreateLaunchTemplateVersionInput, opts ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	out, err := m.MockEC2.CreateLaunchTemplateVersion(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	return out, m.keep(ctx, in.LaunchTemplateName)
}

func (m *stageEC2) DescribeLaunchTemplates(ctx context.Context, in *ec2.DescribeLaunchTemplatesInput, opts ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplatesOutput, error) {
	if len(in.LaunchTemplateIds) == 0 {
		return m.MockEC2.DescribeLaunchTemplates(ctx, in, opts...)
	}
	out := &ec2.DescribeLaunchTemplatesOutput{}
	for _, id := range in.LaunchTemplateIds {
		n := int64(len(m.versions[id]))
		out.LaunchTemplates = append(out.LaunchTemplates, ec2types.LaunchTemplate{LaunchTemplateId: &id, LatestVersionNumber: &n, DefaultVersionNumber: &n})
	}
	return out, nil
}

func (m *stageEC2) DescribeLaunchTemplateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput, opts ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	if in.LaunchTemplateId == nil {
		return m.MockEC2.DescribeLaunchTemplateVersions(ctx, in, opts...)
	}
	n, err := strconv.Atoi(in.Versions[0])
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeLaunchTemplateVersionsOutput{LaunchTemplateVersions: m.versions[*in.LaunchTemplateId][n-1 : n]}, nil
}

// images lists the images of the versions of a group's template, oldest first.
func (m *stageEC2) images(group string) (images []string) {
	for _, list := range m.versions {
		for _, v := range list {
			if aws.ToString(v.LaunchTemplateName) == group+"."+stageCluster {
				images = append(images, aws.ToString(v.LaunchTemplateData.ImageId))
			}
		}
	}
	return images
}

// onStageMock returns a driver over kops' own mock of all of AWS, in which
// kops itself has applied the cluster, with more groups like batch.
func onStageMock(t *testing.T, more ...string) (d *Driver, cloud *awsup.MockAWSCloud, machines *stageEC2, dir string) {
	t.Helper()
	dir = t.TempDir()
	writeFiles(t, dir, map[string]string{"channel.yaml": stageChannel})
	files := stageFiles("file://" + dir)
	for _, name := range more {
		files["instancegroup/"+name] = strings.ReplaceAll(files["instancegroup/batch"], "batch", name)
	}
	writeFiles(t, filepath.Join(dir, stageCluster), files)
	artifacts, err := filepath.Abs("testdata/artifacts/1.36.0")
	if err != nil {
		t.Fatal(err)
	}
	// Where kops reads the hashes of what its nodes download. With it set, it asks
	// no registry for the digests of images.
	pki.DefaultPrivateKeySize = 1024 // larger ones are most of the time that an update takes
	t.Setenv("KOPS_BASE_URL", "file://"+artifacts)
	machines = &stageEC2{MockEC2: &mockec2.MockEC2{}, versions: map[string][]ec2types.LaunchTemplateVersion{}}
	for i, id := range []string{stageOld, stageNew, stageArm, stageFlatcar, stageOther} {
		arch, name, root := ec2types.ArchitectureValuesX8664, "node-"+string(rune('1'+i)), "/dev/xvda"
		switch id {
		case stageArm:
			arch = ec2types.ArchitectureValuesArm64
		case stageFlatcar:
			name = "flatcar-1"
		case stageOther:
			root = "/dev/sda1"
		}
		machines.Images = append(machines.Images, &ec2types.Image{
			ImageId: aws.String(id), Name: &name, OwnerId: aws.String("123456789012"),
			CreationDate: aws.String("2026-0" + string(rune('1'+i)) + "-01T00:00:00.000Z"), RootDeviceName: &root, Architecture: arch,
		})
	}
	mock := awsup.BuildMockAWSCloud("us-test-1", "abc").WithTags(map[string]string{awsup.TagClusterName: stageCluster}).(*awsup.MockAWSCloud)
	mock.MockEC2, mock.MockIAM, mock.MockELB, mock.MockELBV2 = machines, &mockiam.MockIAM{}, &mockelb.MockELB{}, &mockelbv2.MockELBV2{EC2: machines.MockEC2}
	mock.MockAutoscaling = &resumable{&mockautoscaling.MockAutoscaling{}}
	mock.MockSQS, mock.MockEventBridge = &mocksqs.MockSQS{}, &mockeventbridge.MockEventBridge{}
	d = New(WithCloud(func(*kopsapi.Cluster) (fi.Cloud, error) { return mock, nil }))
	if diags, err := d.Configure(t.Context(), []byte(`{"state":"file://`+dir+`"}`), false); err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	kopsUpdate(t, d, mock)
	return d, mock, machines, dir
}

// kopsUpdate is `kops update cluster --yes`.
func kopsUpdate(t *testing.T, d *Driver, cloud fi.Cloud) {
	t.Helper()
	sp, err := d.store.load(t.Context(), stageCluster)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.update(t.Context(), sp, cloud, nil, true); err != nil {
		t.Fatal(err)
	}
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestChangesOf(t *testing.T) {
	const report = `Will create resources:
  SecurityGroupRule/from-1.2.3.4/32-ingress-tcp-22to22-nodes
  	CIDR                	1.2.3.4/32

Will modify resources:
  LaunchTemplate/nodes.example.com
  	ImageID             	 ami-1 -> ami-2
  	UserData
  	                    	  echo
  	                    	+ SomeField: x

  AutoscalingGroup/nodes.example.com
   internal consistency error!
    actual: x

Items will be deleted only when the --prune flag is specified:
  TargetGroup          tcp-old

Items will be deleted during update:
  SecurityGroupRule    from-0.0.0.0/0

Something else:
`
	want := []change{
		{what: "Something else:"},
		{what: "actual: x"},
		{what: "create SecurityGroupRule/from-1.2.3.4/32-ingress-tcp-22to22-nodes", fields: []string{"CIDR"}},
		{what: "delete SecurityGroupRule from-0.0.0.0/0"},
		{what: "internal consistency error!"},
		{what: "modify AutoscalingGroup/nodes.example.com"},
		{what: "modify LaunchTemplate/nodes.example.com", fields: []string{"ImageID", "UserData"}},
	}
	if d := cmp.Diff(want, changesOf(report), cmp.AllowUnexported(change{})); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	const shown = `Will create resources:
  SecurityGroupRule/from-1.2.3.4/32-ingress-tcp-22to22-nodes
  	CIDR                	1.2.3.4/32

Will modify resources:
  LaunchTemplate/nodes.example.com
  	ImageID             	 ami-1 -> ami-2
  	UserData	(a text: kops update cluster shows it)

  AutoscalingGroup/nodes.example.com

Items will be deleted only when the --prune flag is specified:
  TargetGroup          tcp-old

Items will be deleted during update:
  SecurityGroupRule    from-0.0.0.0/0`
	if d := cmp.Diff(shown, withoutTexts(report)); d != "" {
		t.Errorf("what is shown (-want +got):\n%s", d)
	}
	if got := changesOf(""); len(got) > 0 {
		t.Errorf("an empty report has the changes %v", got)
	}
}
