package aws

import (
	"errors"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// fullData uses every field of launch templates that the simulation has, so that the model check sees them all.
func fullData(image string) *types.RequestLaunchTemplateData {
	return &types.RequestLaunchTemplateData{
		ImageId: &image, InstanceType: types.InstanceTypeM5Large, KeyName: sdk.String("key"), UserData: sdk.String("IyEvYmluL2Jhc2g="),
		EbsOptimized: sdk.Bool(true), DisableApiTermination: sdk.Bool(false), DisableApiStop: sdk.Bool(false), InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		IamInstanceProfile: &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: sdk.String("nodes")},
		BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{DeviceName: sdk.String("/dev/xvda"), Ebs: &types.LaunchTemplateEbsBlockDeviceRequest{
			VolumeSize: sdk.Int32(20), VolumeType: types.VolumeTypeGp3, Encrypted: sdk.Bool(true), DeleteOnTermination: sdk.Bool(true), Iops: sdk.Int32(3000), Throughput: sdk.Int32(125),
			KmsKeyId: sdk.String("k"), SnapshotId: sdk.String("snap-1"),
		}}, {DeviceName: sdk.String("/dev/xvdb"), NoDevice: sdk.String("")}},
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
			DeviceIndex: sdk.Int32(0), Groups: []string{"sg-1", "sg-2"}, AssociatePublicIpAddress: sdk.Bool(false), DeleteOnTermination: sdk.Bool(true), Description: sdk.String("d"),
			InterfaceType: sdk.String("efa"), NetworkCardIndex: sdk.Int32(0), SecondaryPrivateIpAddressCount: sdk.Int32(2), Ipv6AddressCount: sdk.Int32(1),
		}},
		SecurityGroupIds: []string{"sg-3"}, SecurityGroups: []string{"name"},
		TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{ResourceType: "instance", Tags: []types.Tag{{Key: sdk.String("a"), Value: sdk.String("1")}}}, {ResourceType: "volume"}},
		Monitoring:        &types.LaunchTemplatesMonitoringRequest{Enabled: sdk.Bool(true)},
		Placement:         &types.LaunchTemplatePlacementRequest{Tenancy: types.TenancyDefault, GroupName: sdk.String("pg"), PartitionNumber: sdk.Int32(1)},
		InstanceMarketOptions: &types.LaunchTemplateInstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: &types.LaunchTemplateSpotMarketOptionsRequest{
			MaxPrice: sdk.String("1"), SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
		}},
		CreditSpecification:              &types.CreditSpecificationRequest{CpuCredits: sdk.String("standard")},
		MetadataOptions:                  &types.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: sdk.Int32(2), HttpEndpoint: "enabled", HttpProtocolIpv6: "disabled", InstanceMetadataTags: "enabled"},
		PrivateDnsNameOptions:            &types.LaunchTemplatePrivateDnsNameOptionsRequest{HostnameType: types.HostnameTypeResourceName, EnableResourceNameDnsARecord: sdk.Bool(true), EnableResourceNameDnsAAAARecord: sdk.Bool(false)},
		CpuOptions:                       &types.LaunchTemplateCpuOptionsRequest{CoreCount: sdk.Int32(2), ThreadsPerCore: sdk.Int32(1)},
		EnclaveOptions:                   &types.LaunchTemplateEnclaveOptionsRequest{Enabled: sdk.Bool(false)},
		HibernationOptions:               &types.LaunchTemplateHibernationOptionsRequest{Configured: sdk.Bool(false)},
		CapacityReservationSpecification: &types.LaunchTemplateCapacityReservationSpecificationRequest{CapacityReservationPreference: types.CapacityReservationPreferenceOpen},
	}
}

func TestLaunchTemplateKeepsEveryField(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	created, err := a.EC2.CreateLaunchTemplate(a.ctx(), &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: sdk.String("full"), VersionDescription: sdk.String("one"), LaunchTemplateData: fullData(image),
		TagSpecifications: []types.TagSpecification{{ResourceType: "launch-template", Tags: []types.Tag{{Key: sdk.String("team"), Value: sdk.String("x")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if lt := created.LaunchTemplate; *lt.DefaultVersionNumber != 1 || *lt.LatestVersionNumber != 1 || len(lt.Tags) != 1 {
		t.Errorf("created %+v", lt)
	}
	out, err := a.EC2.DescribeLaunchTemplateVersions(a.ctx(), &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: created.LaunchTemplate.LaunchTemplateId, Versions: []string{"1"}})
	if err != nil {
		t.Fatal(err)
	}
	d := out.LaunchTemplateVersions[0].LaunchTemplateData
	// One leaf of each part shows that it came back; the model check shows that it came back under AWS's names.
	got := []any{
		*d.ImageId, d.InstanceType, *d.KeyName, *d.UserData, *d.EbsOptimized, *d.DisableApiTermination, *d.DisableApiStop, d.InstanceInitiatedShutdownBehavior, *d.IamInstanceProfile.Name,
		*d.BlockDeviceMappings[0].Ebs.Throughput, *d.BlockDeviceMappings[1].NoDevice, d.NetworkInterfaces[0].Groups, *d.NetworkInterfaces[0].Ipv6AddressCount, d.SecurityGroupIds, d.SecurityGroups,
		*d.TagSpecifications[0].Tags[0].Value, d.TagSpecifications[1].ResourceType, *d.Monitoring.Enabled, *d.Placement.PartitionNumber, *d.InstanceMarketOptions.SpotOptions.MaxPrice,
		*d.CreditSpecification.CpuCredits, *d.MetadataOptions.HttpPutResponseHopLimit, d.MetadataOptions.InstanceMetadataTags, d.PrivateDnsNameOptions.HostnameType, *d.CpuOptions.CoreCount,
		*d.EnclaveOptions.Enabled, *d.HibernationOptions.Configured, d.CapacityReservationSpecification.CapacityReservationPreference,
	}
	want := []any{
		image, types.InstanceTypeM5Large, "key", "IyEvYmluL2Jhc2g=", true, false, false, types.ShutdownBehaviorTerminate, "nodes",
		int32(125), "", []string{"sg-1", "sg-2"}, int32(1), []string{"sg-3"}, []string{"name"},
		"1", types.ResourceTypeVolume, true, int32(1), "1",
		"standard", int32(2), types.LaunchTemplateInstanceMetadataTagsState("enabled"), types.HostnameTypeResourceName, int32(2),
		false, false, types.CapacityReservationPreferenceOpen,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLaunchTemplateVersions(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	second := a.CreateImage(ImageSpec{Name: "node-2"})
	create := func(source *string, d *types.RequestLaunchTemplateData) *types.LaunchTemplateVersion {
		t.Helper()
		out, err := a.EC2.CreateLaunchTemplateVersion(a.ctx(), &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateName: sdk.String("nodes"), SourceVersion: source, LaunchTemplateData: d})
		if err != nil {
			t.Fatal(err)
		}
		return out.LaunchTemplateVersion
	}
	merged := create(sdk.String("1"), &types.RequestLaunchTemplateData{ImageId: &second})
	if *merged.VersionNumber != 2 || *merged.LaunchTemplateData.ImageId != second || merged.LaunchTemplateData.InstanceType != types.InstanceTypeM5Large || *merged.DefaultVersion {
		t.Errorf("with a source: %+v", merged)
	}
	alone := create(nil, &types.RequestLaunchTemplateData{ImageId: sdk.String("resolve:ssm:" + ParameterRecommendedImage)})
	if *alone.VersionNumber != 3 || alone.LaunchTemplateData.InstanceType != "" {
		t.Errorf("without a source: %+v", alone)
	}
	describe := func(change func(*ec2.DescribeLaunchTemplateVersionsInput)) (numbers []int64, images []string) {
		t.Helper()
		in := &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: sdk.String("nodes")}
		change(in)
		p := ec2.NewDescribeLaunchTemplateVersionsPaginator(a.EC2, in)
		for p.HasMorePages() {
			out, err := p.NextPage(a.ctx())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range out.LaunchTemplateVersions {
				numbers = append(numbers, *v.VersionNumber)
				images = append(images, *v.LaunchTemplateData.ImageId)
			}
		}
		return numbers, images
	}
	if _, err := a.EC2.ModifyLaunchTemplate(a.ctx(), &ec2.ModifyLaunchTemplateInput{LaunchTemplateName: sdk.String("nodes"), DefaultVersion: sdk.String("2")}); err != nil {
		t.Fatal(err)
	}
	type in = *ec2.DescribeLaunchTemplateVersionsInput
	for _, tc := range []struct {
		name   string
		change func(in)
		want   []int64
	}{
		{"all, newest first", func(in) {}, []int64{3, 2, 1}},
		{"in pages of one", func(i in) { i.MaxResults = sdk.Int32(1) }, []int64{3, 2, 1}},
		{"latest and default", func(i in) { i.Versions = []string{"$Latest", "$Default"} }, []int64{3, 2}},
		{"each once", func(i in) { i.Versions = []string{"2", "$Default"} }, []int64{2}},
		{"a range", func(i in) { i.MinVersion, i.MaxVersion = sdk.String("1"), sdk.String("2") }, []int64{2, 1}},
		{"by filter", func(i in) {
			i.Filters = []types.Filter{{Name: sdk.String("is-default-version"), Values: []string{"true"}}}
		}, []int64{2}},
		{"latest of all templates", func(i in) { i.LaunchTemplateName, i.Versions = nil, []string{"$Latest"} }, []int64{3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, _ := describe(tc.change); !cmp.Equal(got, tc.want) {
				t.Errorf("versions %v, want %v", got, tc.want)
			}
		})
	}
	if _, images := describe(func(i in) { i.Versions = []string{"3"} }); images[0] != "resolve:ssm:"+ParameterRecommendedImage {
		t.Errorf("unresolved image %v", images)
	}
	if _, images := describe(func(i in) { i.Versions, i.ResolveAlias = []string{"3"}, sdk.Bool(true) }); images[0] != image {
		t.Errorf("resolved image %v, want %s", images, image)
	}

	call := func(change func(in)) error {
		i := &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateName: sdk.String("nodes")}
		change(i)
		_, err := a.EC2.DescribeLaunchTemplateVersions(a.ctx(), i)
		return err
	}
	for _, tc := range []struct {
		name, code string
		change     func(in)
	}{
		{"unknown version", "InvalidLaunchTemplateId.VersionNotFound", func(i in) { i.Versions = []string{"9"} }},
		{"malformed version", "InvalidLaunchTemplateVersion.Malformed", func(i in) { i.Versions = []string{"newest"} }},
		{"unknown id", "InvalidLaunchTemplateId.NotFound", func(i in) { i.LaunchTemplateName, i.LaunchTemplateId = nil, sdk.String("lt-0") }},
		{"unknown name", "InvalidLaunchTemplateName.NotFoundException", func(i in) { i.LaunchTemplateName = sdk.String("x") }},
		{"id and name", "InvalidParameterCombination", func(i in) { i.LaunchTemplateId = sdk.String("lt-0") }},
		{"a number without a template", "InvalidParameterValue", func(i in) { i.LaunchTemplateName, i.Versions = nil, []string{"1"} }},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, call(tc.change), tc.code, "") })
	}
	_, err := a.EC2.CreateLaunchTemplate(a.ctx(), &ec2.CreateLaunchTemplateInput{LaunchTemplateName: sdk.String("nodes"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: &image}})
	refused(t, err, "InvalidLaunchTemplateName.AlreadyExistsException", "already in use")
	lts, err := a.EC2.DescribeLaunchTemplates(a.ctx(), &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"nodes"}})
	if err != nil || *lts.LaunchTemplates[0].LatestVersionNumber != 3 || *lts.LaunchTemplates[0].DefaultVersionNumber != 2 {
		t.Errorf("DescribeLaunchTemplates %+v, %v", lts, err)
	}
}

// The SDK retries a lost answer with the same client token; the retry must not make a second version.
func TestTemplateClientTokens(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	for range 2 {
		out, err := a.EC2.CreateLaunchTemplateVersion(a.ctx(), &ec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: sdk.String("nodes"), ClientToken: sdk.String("t"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: &image},
		})
		if err != nil || *out.LaunchTemplateVersion.VersionNumber != 2 {
			t.Errorf("version %+v, %v", out, err)
		}
		created, err := a.EC2.CreateLaunchTemplate(a.ctx(), &ec2.CreateLaunchTemplateInput{
			LaunchTemplateName: sdk.String("other"), ClientToken: sdk.String("u"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: &image},
		})
		if err != nil || *created.LaunchTemplate.LatestVersionNumber != 1 {
			t.Errorf("template %+v, %v", created, err)
		}
	}
}

// Images named by an SSM parameter are resolved at each launch, not when the template is written.
func TestImagesByParameterResolveAtLaunch(t *testing.T) {
	a := newAccount(t)
	first := a.seed()
	if _, err := a.CreateLaunchTemplate("follow", LaunchTemplateData{ImageID: ptr("resolve:ssm:" + ParameterRecommendedImage), InstanceType: ptr("m5.large")}); err != nil {
		t.Fatal(err)
	}
	a.seedGroup(GroupSpec{Name: "g", LaunchTemplate: "follow", Max: 2, Desired: 1})
	second := a.CreateImage(ImageSpec{Name: "node-2"})
	a.PutParameter(ParameterRecommendedImage, second)
	a.seedGroup(GroupSpec{Name: "h", LaunchTemplate: "follow", Max: 2, Desired: 1})
	if g, h := a.group("g").Instances[0], a.group("h").Instances[0]; g.ImageID != first || h.ImageID != second || g.Version != 1 || h.Version != 1 {
		t.Errorf("images %s and %s, want %s and %s of the same version", g.ImageID, h.ImageID, first, second)
	}
	if m := a.describe(a.group("g").Instances[0].ID)[0]; *m.ImageId != first {
		t.Errorf("EC2 shows %s", *m.ImageId)
	}
	a.PutParameter(ParameterRecommendedImage, "ami-gone")
	if err := a.CreateAutoScalingGroup(GroupSpec{Name: "i", LaunchTemplate: "follow", Max: 1, Desired: 1}); err != nil {
		t.Fatal(err)
	}
	a.pass(time.Second)
	if g := a.group("i"); len(g.Instances) != 0 {
		t.Error("a group launched from an image that does not exist")
	}
}

func TestLaunchTemplateVersionLimit(t *testing.T) {
	a := newAccount(t, func(c *Config) { c.TemplateVersions = 2 })
	a.seed()
	for i, want := range []string{"", "VersionLimitExceeded"} {
		_, err := a.EC2.CreateLaunchTemplateVersion(a.ctx(), &ec2.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: ptr("nodes"), SourceVersion: ptr("1"), LaunchTemplateData: &types.RequestLaunchTemplateData{InstanceType: "m5.xlarge"}})
		var api smithy.APIError
		if errors.As(err, &api); (err == nil) != (want == "") || err != nil && api.ErrorCode() != want {
			t.Errorf("version %d: error %v, want %q", i+2, err, want)
		}
	}
}
