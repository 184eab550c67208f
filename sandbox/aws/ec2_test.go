package aws

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// code is the AWS error code of an error, "" for none.
func code(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return err.Error()
}

// refused checks that a call failed with an AWS error code and a message that contains text.
func refused(t *testing.T, err error, wantCode, text string) {
	t.Helper()
	if code(err) != wantCode || err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %s with %q", err, wantCode, text)
	}
}

func (a *account) run(in *ec2.RunInstancesInput) *ec2.RunInstancesOutput {
	a.t.Helper()
	out, err := a.EC2.RunInstances(a.ctx(), in)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func (a *account) describe(ids ...string) []types.Instance {
	a.t.Helper()
	out, err := a.EC2.DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		a.t.Fatal(err)
	}
	var list []types.Instance
	for _, r := range out.Reservations {
		list = append(list, r.Instances...)
	}
	return list
}

func TestInstanceLife(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	id := *a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image, InstanceType: types.InstanceTypeM5Large}).Instances[0].InstanceId
	state := func() types.InstanceStateName { return a.describe(id)[0].State.Name }
	if s := state(); s != types.InstanceStateNamePending {
		t.Fatalf("just launched: %s", s)
	}
	a.pass(200 * time.Millisecond)
	i := a.describe(id)[0]
	if i.State.Name != types.InstanceStateNameRunning || *i.State.Code != 16 {
		t.Fatalf("after the pending delay: %v", i.State)
	}
	if !strings.HasSuffix(*i.PrivateDnsName, ".eu-central-1.compute.internal") || !strings.HasPrefix(*i.PrivateDnsName, "ip-10-0-") {
		t.Errorf("private DNS name %s", *i.PrivateDnsName)
	}
	if *i.SubnetId != a.SubnetID(*i.Placement.AvailabilityZone) || !i.LaunchTime.Equal(start) {
		t.Errorf("subnet %s launch %s", *i.SubnetId, i.LaunchTime)
	}
	for range 2 { // terminating twice is no error and changes nothing
		out, err := a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
		if err != nil || out.TerminatingInstances[0].CurrentState.Name != types.InstanceStateNameShuttingDown {
			t.Fatalf("terminate: %v %v", out, err)
		}
	}
	a.pass(500 * time.Millisecond)
	i = a.describe(id)[0]
	if i.State.Name != types.InstanceStateNameTerminated || i.PrivateIpAddress != nil || *i.StateReason.Code != "Client.UserInitiatedShutdown" {
		t.Errorf("after the shutdown delay: %+v", i)
	}
	a.jump(59 * time.Minute)
	if s := state(); s != types.InstanceStateNameTerminated {
		t.Errorf("a terminated instance must stay visible for an hour, is %s", s)
	}
	a.jump(2 * time.Minute)
	_, err := a.EC2.DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	refused(t, err, "InvalidInstanceID.NotFound", "The instance ID '"+id+"' does not exist")
	if want := []string{"running " + id, "stopping " + id, "terminated " + id}; !slices.Equal(a.log, want) {
		t.Errorf("hooks %v, want %v", a.log, want)
	}
}

func TestPrivateDNSNames(t *testing.T) {
	for _, tc := range []struct {
		region    string
		resources bool
		want      func(id string) string
	}{
		{"eu-west-1", false, func(string) string { return "ip-10-0-0-4.eu-west-1.compute.internal" }},
		{"us-east-1", false, func(string) string { return "ip-10-0-0-4.ec2.internal" }},
		{"eu-west-1", true, func(id string) string { return id + ".eu-west-1.compute.internal" }},
		{"us-east-1", true, func(id string) string { return id + ".ec2.internal" }},
	} {
		t.Run(fmt.Sprint(tc.region, " ", tc.resources), func(t *testing.T) {
			a := newAccount(t, func(c *Config) { c.Region, c.ResourceNames = tc.region, tc.resources })
			image := a.seed()
			i := a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image, SubnetId: sdk.String(a.SubnetID(tc.region + "a"))}).Instances[0]
			if want := tc.want(*i.InstanceId); *i.PrivateDnsName != want {
				t.Errorf("%s, want %s", *i.PrivateDnsName, want)
			}
		})
	}
}

func TestRunInstancesRefusals(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	ok := func(change func(*ec2.RunInstancesInput)) *ec2.RunInstancesInput {
		in := &ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image}
		change(in)
		return in
	}
	for _, tc := range []struct {
		name, code, text string
		in               *ec2.RunInstancesInput
	}{
		{"no image", "MissingParameter", "ImageId", ok(func(in *ec2.RunInstancesInput) { in.ImageId = nil })},
		{"unknown image", "InvalidAMIID.NotFound", "[ami-0]", ok(func(in *ec2.RunInstancesInput) { in.ImageId = sdk.String("ami-0") })},
		{"less than one", "InvalidParameterValue", "MinCount", ok(func(in *ec2.RunInstancesInput) { in.MinCount = sdk.Int32(0) })},
		{"unknown subnet", "InvalidSubnetID.NotFound", "subnet-1", ok(func(in *ec2.RunInstancesInput) { in.SubnetId = sdk.String("subnet-1") })},
		{"unknown zone", "InvalidParameterValue", "availability zone", ok(func(in *ec2.RunInstancesInput) {
			in.Placement = &types.Placement{AvailabilityZone: sdk.String("mars-1a")}
		})},
		{"reserved tag", "InvalidParameterValue", "reserved", ok(func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: sdk.String("aws:x"), Value: sdk.String("")}}}}
		})},
		{"unknown template", "InvalidLaunchTemplateName.NotFoundException", "nope", ok(func(in *ec2.RunInstancesInput) {
			in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nope")}
		})},
		{"a dry run", "DryRunOperation", "would have succeeded", ok(func(in *ec2.RunInstancesInput) { in.DryRun = sdk.Bool(true) })},
		{"what is not simulated", "UnknownParameter", "HibernationOptions", ok(func(in *ec2.RunInstancesInput) {
			in.HibernationOptions = &types.HibernationOptionsRequest{Configured: sdk.Bool(true)}
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := a.EC2.RunInstances(a.ctx(), tc.in)
			refused(t, err, tc.code, tc.text)
		})
	}
	if n := len(a.Machines()); n != 0 {
		t.Errorf("refused calls launched %d instances", n)
	}
}

func TestRunInstancesIsIdempotentByClientToken(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	in := &ec2.RunInstancesInput{MinCount: sdk.Int32(2), MaxCount: sdk.Int32(2), ImageId: &image, ClientToken: sdk.String("once")}
	ids := func(out *ec2.RunInstancesOutput) (s []string) {
		for _, i := range out.Instances {
			s = append(s, *i.InstanceId)
		}
		return s
	}
	first := ids(a.run(in))
	if again := ids(a.run(in)); len(again) != 2 || !slices.Equal(first, again) {
		t.Errorf("the same token launched %v, then %v", first, again)
	}
	in.MaxCount = sdk.Int32(3)
	_, err := a.EC2.RunInstances(a.ctx(), in)
	refused(t, err, "IdempotentParameterMismatch", "inconsistent")
	in.ClientToken = sdk.String("twice")
	if other := ids(a.run(in)); len(other) != 3 || slices.Contains(other, first[0]) {
		t.Errorf("another token answered %v", other)
	}
}

func TestRunInstancesFromTemplate(t *testing.T) {
	a := newAccount(t)
	a.seed()
	second := a.CreateImage(ImageSpec{Name: "node-2"})
	if _, err := a.CreateLaunchTemplateVersion("nodes", "1", LaunchTemplateData{
		ImageID: &second, TagSpecifications: []TagSpecification{{ResourceType: "instance", Tags: []Tag{{"from", "template"}, {"both", "template"}}}},
	}); err != nil {
		t.Fatal(err)
	}
	i := a.run(&ec2.RunInstancesInput{
		MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nodes"), Version: sdk.String("$Latest")},
		TagSpecifications: []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: sdk.String("both"), Value: sdk.String("call")}}}},
	}).Instances[0]
	got := map[string]string{}
	for _, tag := range i.Tags {
		got[*tag.Key] = *tag.Value
	}
	want := map[string]string{"from": "template", "both": "call", "aws:ec2launchtemplate:version": "2", "aws:ec2launchtemplate:id": a.templateNames["nodes"].id}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if *i.ImageId != second || i.InstanceType != types.InstanceTypeM5Large {
		t.Errorf("image %s type %s: want the new image and the type of the source version", *i.ImageId, i.InstanceType)
	}
}

func TestTerminateAllOrNone(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	out := a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image, DisableApiTermination: sdk.Bool(true)})
	locked := *out.Instances[0].InstanceId
	free := *a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image}).Instances[0].InstanceId
	for _, tc := range []struct {
		name, code, text string
		ids              []string
	}{
		{"an unknown id", "InvalidInstanceID.NotFound", "i-00000000000000000", []string{free, "i-00000000000000000"}},
		{"two unknown ids", "InvalidInstanceID.NotFound", "The instance IDs 'i-00000000000000000, i-00000000000000001' do not exist", []string{"i-00000000000000001", free, "i-00000000000000000"}},
		{"no id at all", "InvalidInstanceID.Malformed", `Invalid id: "web-1"`, []string{free, "web-1"}},
		{"a protected one", "OperationNotPermitted", "disableApiTermination", []string{free, locked}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: tc.ids})
			refused(t, err, tc.code, tc.text)
			if m, _ := a.Machine(free); m.State != "pending" {
				t.Errorf("the other instance is %s", m.State)
			}
		})
	}
}

func TestDescribeInstancesFilters(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	for n, zone := range []string{"a", "b", "c", "a"} {
		a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image, SubnetId: sdk.String(a.SubnetID("eu-central-1" + zone)),
			TagSpecifications: []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{{Key: sdk.String("n"), Value: sdk.String(fmt.Sprint("web-", n))}, {Key: sdk.String(fmt.Sprint("k", n)), Value: sdk.String("")}}}}})
	}
	a.pass(time.Second)
	first := a.Machines()[0]
	if _, err := a.EC2.TerminateInstances(a.ctx(), &ec2.TerminateInstancesInput{InstanceIds: []string{first.ID}}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		filters []types.Filter
		want    []int
	}{
		{"by value", []types.Filter{{Name: sdk.String("tag:n"), Values: []string{"web-1"}}}, []int{1}},
		{"values are joined by or", []types.Filter{{Name: sdk.String("tag:n"), Values: []string{"web-1", "web-3"}}}, []int{1, 3}},
		{"filters are joined by and", []types.Filter{{Name: sdk.String("tag:n"), Values: []string{"web-*"}}, {Name: sdk.String("availability-zone"), Values: []string{"eu-central-1a"}}}, []int{0, 3}},
		{"wildcards", []types.Filter{{Name: sdk.String("tag:n"), Values: []string{"w*-?"}}}, []int{0, 1, 2, 3}},
		{"an escaped wildcard is itself", []types.Filter{{Name: sdk.String("tag:n"), Values: []string{`web-\?`}}}, nil},
		{"case matters", []types.Filter{{Name: sdk.String("tag:n"), Values: []string{"WEB-1"}}}, nil},
		{"by tag key", []types.Filter{{Name: sdk.String("tag-key"), Values: []string{"k2"}}}, []int{2}},
		{"by state", []types.Filter{{Name: sdk.String("instance-state-name"), Values: []string{"shutting-down"}}}, []int{0}},
		{"by address", []types.Filter{{Name: sdk.String("private-ip-address"), Values: []string{"10.0.32.4"}}}, []int{1}},
		{"by image", []types.Filter{{Name: sdk.String("image-id"), Values: []string{"ami-nope"}}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := a.EC2.DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{Filters: tc.filters})
			if err != nil {
				t.Fatal(err)
			}
			all := a.Machines()
			var got []int
			for _, r := range out.Reservations {
				got = append(got, slices.IndexFunc(all, func(m Machine) bool { return m.ID == *r.Instances[0].InstanceId }))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("instances %v, want %v", got, tc.want)
			}
		})
	}
	_, err := a.EC2.DescribeInstances(a.ctx(), &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: sdk.String("colour"), Values: []string{"red"}}}})
	refused(t, err, "InvalidParameterValue", "The filter 'colour' is invalid")
}

func TestDescribeInstancesPages(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(13), MaxCount: sdk.Int32(13), ImageId: &image})
	var ids []string
	p := ec2.NewDescribeInstancesPaginator(a.EC2, &ec2.DescribeInstancesInput{MaxResults: sdk.Int32(5)})
	pages := 0
	for p.HasMorePages() {
		out, err := p.NextPage(a.ctx())
		if err != nil {
			t.Fatal(err)
		}
		if pages++; pages == 1 { // what comes and goes meanwhile must not shift the pages
			a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), ImageId: &image})
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				ids = append(ids, *i.InstanceId)
			}
		}
	}
	var want []string
	for _, m := range a.Machines() {
		want = append(want, m.ID)
	}
	if d := cmp.Diff(want, ids); d != "" || pages != 3 {
		t.Errorf("%d pages: %s", pages, d)
	}
	for _, tc := range []struct {
		name, code, text string
		in               ec2.DescribeInstancesInput
	}{
		{"too small a page", "InvalidParameterValue", "between 5 and 1000", ec2.DescribeInstancesInput{MaxResults: sdk.Int32(4)}},
		{"too large a page", "InvalidParameterValue", "between 5 and 1000", ec2.DescribeInstancesInput{MaxResults: sdk.Int32(1001)}},
		{"ids and pages", "InvalidParameterCombination", "maxResults", ec2.DescribeInstancesInput{MaxResults: sdk.Int32(5), InstanceIds: ids[:1]}},
		{"a token of nobody", "InvalidNextToken", "not valid", ec2.DescribeInstancesInput{NextToken: sdk.String("abc")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := a.EC2.DescribeInstances(a.ctx(), &tc.in)
			refused(t, err, tc.code, tc.text)
		})
	}
}

func TestEC2Tags(t *testing.T) {
	a := newAccount(t)
	image := a.seed()
	id := *a.run(&ec2.RunInstancesInput{MinCount: sdk.Int32(1), MaxCount: sdk.Int32(1), LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: sdk.String("nodes")}}).Instances[0].InstanceId
	create := func(resources []string, kv ...string) error {
		in := &ec2.CreateTagsInput{Resources: resources}
		for i := 0; i < len(kv); i += 2 {
			in.Tags = append(in.Tags, types.Tag{Key: &kv[i], Value: &kv[i+1]})
		}
		_, err := a.EC2.CreateTags(a.ctx(), in)
		return err
	}
	if err := create([]string{id, image}, "owner", "me", "empty", ""); err != nil {
		t.Fatal(err)
	}
	refused(t, create([]string{id}, "aws:x", "y"), "InvalidParameterValue", "reserved")
	refused(t, create([]string{id, "i-00000000000000000"}, "late", "y"), "InvalidInstanceID.NotFound", "does not exist")
	refused(t, create([]string{"elephant"}, "a", "b"), "InvalidID", "elephant")
	var many []string
	for n := range 49 {
		many = append(many, fmt.Sprint("k", n), "v")
	}
	refused(t, create([]string{id}, many...), "TagLimitExceeded", "50")

	if m, _ := a.Machine(id); m.Tags["owner"] != "me" || m.Tags["late"] != "" {
		t.Errorf("tags %v: the first call holds, the refused one must not", m.Tags)
	}
	out, err := a.EC2.DescribeTags(a.ctx(), &ec2.DescribeTagsInput{Filters: []types.Filter{{Name: sdk.String("key"), Values: []string{"owner", "empty"}}, {Name: sdk.String("resource-type"), Values: []string{"instance"}}}})
	if err != nil || len(out.Tags) != 2 || *out.Tags[0].Key != "empty" || *out.Tags[0].Value != "" || *out.Tags[1].ResourceId != id {
		t.Errorf("DescribeTags %+v, %v", out, err)
	}
	del := func(key string, value *string) {
		t.Helper()
		if _, err := a.EC2.DeleteTags(a.ctx(), &ec2.DeleteTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: &key, Value: value}}}); err != nil {
			t.Fatal(err)
		}
	}
	del("owner", sdk.String("somebody else"))
	if m, _ := a.Machine(id); m.Tags["owner"] != "me" {
		t.Error("a tag with another value was deleted")
	}
	del("owner", nil)
	m, _ := a.Machine(id)
	if _, ok := m.Tags["owner"]; ok || m.Tags["aws:ec2launchtemplate:version"] != "1" {
		t.Errorf("tags after the delete: %v", m.Tags)
	}
}

func TestImagesRegionsZones(t *testing.T) {
	a := newAccount(t)
	first := a.seed()
	second := a.CreateImage(ImageSpec{Name: "node-2", CreationDate: start.Add(time.Hour), Architecture: "arm64"})
	out, err := a.EC2.DescribeImages(a.ctx(), &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{{Name: sdk.String("name"), Values: []string{"node-*"}}, {Name: sdk.String("architecture"), Values: []string{"arm64"}}}})
	if err != nil || len(out.Images) != 1 || *out.Images[0].ImageId != second || *out.Images[0].CreationDate != "2026-03-01T13:00:00.000Z" {
		t.Errorf("DescribeImages %+v, %v", out, err)
	}
	if out, err := a.EC2.DescribeImages(a.ctx(), &ec2.DescribeImagesInput{Owners: []string{"amazon"}}); err != nil || len(out.Images) != 0 {
		t.Errorf("images of another owner: %+v, %v", out, err)
	}
	_, err = a.EC2.DescribeImages(a.ctx(), &ec2.DescribeImagesInput{ImageIds: []string{first, "ami-00000000000000000"}})
	refused(t, err, "InvalidAMIID.NotFound", "ami-00000000000000000")

	zones, err := a.EC2.DescribeAvailabilityZones(a.ctx(), &ec2.DescribeAvailabilityZonesInput{})
	if err != nil || len(zones.AvailabilityZones) != 3 || *zones.AvailabilityZones[1].ZoneName != "eu-central-1b" || *zones.AvailabilityZones[1].ZoneId != "euc1-az2" {
		t.Errorf("DescribeAvailabilityZones %+v, %v", zones, err)
	}
	_, err = a.EC2.DescribeAvailabilityZones(a.ctx(), &ec2.DescribeAvailabilityZonesInput{ZoneNames: []string{"eu-central-1z"}})
	refused(t, err, "InvalidParameterValue", "eu-central-1z")
	regions, err := a.EC2.DescribeRegions(a.ctx(), &ec2.DescribeRegionsInput{})
	if err != nil || len(regions.Regions) != 1 || *regions.Regions[0].RegionName != "eu-central-1" {
		t.Errorf("DescribeRegions %+v, %v", regions, err)
	}
}
