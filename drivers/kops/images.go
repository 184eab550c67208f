package kops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	kopsutil "k8s.io/kops/pkg/apis/kops/util"
	"k8s.io/kops/pkg/cloudinstances"
	"k8s.io/kops/upup/pkg/fi/cloudup"
	"k8s.io/kops/upup/pkg/fi/cloudup/awsup"
	"k8s.io/kops/util/pkg/architectures"
	"k8s.io/kops/util/pkg/vfs"

	"github.com/rotatord/rotator/drivers/sdk"
)

// latest is the release that means: what the driver finds to be the newest.
const latest = "latest"

// ssmPrefix begins an image that a Systems Manager parameter names, in kops'
// specifications and here.
const ssmPrefix = "ssm:"

// imagesPerCall is below AWS's limit on DescribeImages by id.
const imagesPerCall = 100

// image is a machine image.
type image struct {
	id, name, owner string
	created         time.Time // zero: unknown
	arch            ec2types.ArchitectureValues
	// spelled is how the specification of an instance group is to name it.
	spelled string
}

func imageOf(i *ec2types.Image) *image {
	created, err := time.Parse(time.RFC3339, aws.ToString(i.CreationDate))
	if err != nil {
		created = time.Time{}
	}
	return &image{id: aws.ToString(i.ImageId), name: aws.ToString(i.Name), owner: aws.ToString(i.OwnerId), created: created, arch: i.Architecture}
}

func (i *image) release() sdk.Release {
	return sdk.Release{ID: i.id, Name: i.name, Created: i.created}
}

// template is what a version of a launch template says that kops' users set.
type template struct{ image, machineType string }

// templates are what instance groups launch from now, by instance group. The
// versions, which never change, are remembered: one call for each new one.
func (d *Driver) templates(ctx context.Context, cloud awsup.AWSCloud, groups map[string]*cloudinstances.CloudInstanceGroup, versions map[string]string) (map[string]template, error) {
	out := map[string]template{}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		asg := asgOf(groups[name])
		if asg == nil {
			continue
		}
		t := templateOf(asg)
		if t == nil {
			continue
		}
		id := aws.ToString(t.LaunchTemplateId)
		version := cmp.Or(versions[id+":"+aws.ToString(t.Version)], aws.ToString(t.Version))
		key := id + ":" + version
		if known, ok := d.view.template(key); ok {
			out[name] = known
			continue
		}
		answer, err := cloud.EC2().DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{version}})
		if err != nil {
			return nil, statusOf("ec2:DescribeLaunchTemplateVersions", key, err)
		}
		if len(answer.LaunchTemplateVersions) == 0 || answer.LaunchTemplateVersions[0].LaunchTemplateData == nil {
			continue
		}
		v := answer.LaunchTemplateVersions[0]
		read := template{image: aws.ToString(v.LaunchTemplateData.ImageId), machineType: string(v.LaunchTemplateData.InstanceType)}
		out[name] = read
		if _, err := strconv.Atoi(version); err == nil {
			d.view.keepTemplate(key, read)
		}
	}
	return out, nil
}

// images finds images for a call, each once.
type images struct {
	d       *Driver
	cloud   awsup.AWSCloud
	byID    map[string]*image
	spelled map[string]*image
	archs   map[string]architectures.Architecture // by machine type
	missing map[string]error                      // by spelling: why it was not found
	// channel of the cluster, and why it cannot be read; both nil: not tried yet.
	channel    *kopsapi.Channel
	unreadable error
}

func (d *Driver) images(cloud awsup.AWSCloud) *images {
	return &images{d: d, cloud: cloud, byID: map[string]*image{}, spelled: map[string]*image{}, archs: map[string]architectures.Architecture{}, missing: map[string]error{}}
}

// readIDs reads images by id, in as few calls as there are hundreds of them.
// One that is gone is left out.
func (m *images) readIDs(ctx context.Context, ids []string) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	for chunk := range slices.Chunk(ids, imagesPerCall) {
		// A filter, because an id that is gone would fail the call for all.
		out, err := m.cloud.EC2().DescribeImages(ctx, &ec2.DescribeImagesInput{Filters: []ec2types.Filter{awsup.NewEC2Filter("image-id", chunk...)}})
		if err != nil {
			return statusOf("ec2:DescribeImages", strings.Join(chunk, ","), err)
		}
		for i := range out.Images {
			found := imageOf(&out.Images[i])
			m.byID[found.id] = found
		}
	}
	return nil
}

// find resolves an image as kops spells it, by kops' own code: an id, a name of
// this account's, OWNER/NAME, or ssm:PARAMETER. Of several that a pattern
// matches kops takes the newest.
func (m *images) find(ctx context.Context, spelled string) (*image, error) {
	if known := m.spelled[spelled]; known != nil {
		return known, nil
	}
	if err := m.missing[spelled]; err != nil {
		return nil, err
	}
	found, err := call(ctx, &m.d.calls, "looking for image "+spelled, func() (*ec2types.Image, error) { return m.cloud.ResolveImage(spelled) })
	if err != nil {
		m.missing[spelled] = err
		return nil, err
	}
	i := imageOf(found)
	i.spelled = spelled
	m.spelled[spelled] = i
	return i, nil
}

// target resolves a release for an instance group. A diagnostic instead says
// why there is none.
func (m *images) target(ctx context.Context, sp *spec, ig *kopsapi.InstanceGroup, current *image, release string) (*image, *sdk.Diagnostic) {
	wanted := release
	if wanted == "" || wanted == latest {
		var diag *sdk.Diagnostic
		if wanted, diag = m.latest(ctx, sp, ig, current); diag != nil {
			return nil, diag
		}
	}
	found, err := m.find(ctx, wanted)
	if err != nil {
		diag := notFound(wanted, ig.Name, err)
		return nil, &diag
	}
	t := *found
	switch {
	case strings.HasPrefix(wanted, ssmPrefix) && ig.Spec.Image != wanted:
		// What the parameter says later is another release: nobody asked for it.
		t.spelled = t.id
	case strings.ContainsAny(wanted, "*?"):
		t.spelled = t.name
		if owner, _, ok := strings.Cut(wanted, "/"); ok {
			t.spelled = owner + "/" + t.name
		}
	}
	return &t, nil
}

// notFound says why an image was not found: that there is none like this, or that
// the cloud could not be asked, which may pass.
func notFound(spelled, group string, err error) sdk.Diagnostic {
	const listing = "error listing images:" // kops keeps no more of the cloud's error than its text
	asked := true
	if api := smithy.APIError(nil); errors.As(err, &api) {
		asked = strings.Contains(api.ErrorCode(), "NotFound")
	} else if isStatus(err) || strings.HasPrefix(err.Error(), listing) {
		asked = strings.Contains(err.Error(), "InvalidAMIID")
	}
	if !asked {
		return diagnose("looking for image "+spelled, group, err)
	}
	return finding(sdk.SeverityError, "image-not-found", group,
		"Give an image id, a name of this account's images, OWNER/NAME (with * it means the newest that matches), or ssm:PARAMETER.",
		"image %s for instance group %s: %s", spelled, group, cause(err))
}

// latest says how kops spells the newest image for an instance group: what the
// driver's configuration names, else the parameter that the specification
// itself names, else what the cluster's channel recommends. As `kops upgrade
// cluster`, it moves no group from an image of its own to the channel's.
func (m *images) latest(ctx context.Context, sp *spec, ig *kopsapi.InstanceGroup, current *image) (string, *sdk.Diagnostic) {
	cfg, _, err := m.d.configured()
	switch {
	case err == nil && cfg.Latest != "":
		return cfg.Latest, nil
	case strings.HasPrefix(ig.Spec.Image, ssmPrefix):
		return ig.Spec.Image, nil
	}
	location := cmp.Or(sp.cluster.Spec.Channel, kopsapi.DefaultChannel)
	none := func(format string, args ...any) (string, *sdk.Diagnostic) {
		diag := finding(sdk.SeverityError, "no-latest-image", ig.Name,
			"Name an image, or say with driver.config.latest where the newest is: ssm:PARAMETER, or OWNER/PATTERN*.",
			"nothing says which image is the latest for instance group %s: %s", ig.Name, fmt.Sprintf(format, args...))
		return "", &diag
	}
	if m.channel == nil && m.unreadable == nil {
		m.channel, m.unreadable = call(ctx, &m.d.calls, "reading channel "+location, func() (*kopsapi.Channel, error) { return kopsapi.LoadChannel(vfs.Context, location) })
	}
	if err := m.unreadable; err != nil {
		return none("channel %s cannot be read: %s", location, cause(err))
	}
	version, err := kopsutil.ParseKubernetesVersion(sp.cluster.Spec.KubernetesVersion)
	if err != nil {
		return none("%s is no version of Kubernetes", sp.cluster.Spec.KubernetesVersion)
	}
	arch, err := m.arch(ctx, ig.Spec.MachineType)
	if err != nil {
		return none("the architecture of machine type %s is not known: %s", ig.Spec.MachineType, cause(err))
	}
	recommended := m.channel.FindImage(kopsapi.CloudProviderAWS, *version, arch)
	if recommended == nil {
		return none("channel %s has no image for Kubernetes %s on %s", location, version, arch)
	}
	if !ofChannel(m.channel, ig.Spec.Image, current) {
		return none("its image %s is not of channel %s, which recommends %s", ig.Spec.Image, location, recommended.Name)
	}
	return recommended.Name, nil
}

// ofChannel tells whether an image is one that kops' channels recommend or have
// recommended: by its name in the specification, or by that of the image.
func ofChannel(channel *kopsapi.Channel, specified string, current *image) bool {
	names := []string{specified}
	if current != nil {
		names = append(names, current.id, current.owner+"/"+current.name)
	}
	return specified == "" || slices.ContainsFunc(names, func(name string) bool {
		return channel.HasUpstreamImagePrefix(name) ||
			slices.ContainsFunc(channel.Spec.Images, func(i *kopsapi.ChannelImageSpec) bool { return i.Name == name })
	})
}

// arch is the architecture of a machine type, as kops picks it.
func (m *images) arch(ctx context.Context, machineType string) (architectures.Architecture, error) {
	machineType, _, _ = strings.Cut(machineType, ",")
	if known, ok := m.archs[machineType]; ok {
		return known, nil
	}
	arch, err := call(ctx, &m.d.calls, "looking at machine type "+machineType, func() (architectures.Architecture, error) {
		return cloudup.MachineArchitecture(m.cloud, machineType)
	})
	if err == nil {
		m.archs[machineType] = arch
	}
	return arch, err
}

// fits tells whether an image runs on an architecture.
func (i *image) fits(arch architectures.Architecture) bool {
	switch arch {
	case architectures.ArchitectureAmd64:
		return i.arch == ec2types.ArchitectureValuesX8664
	case architectures.ArchitectureArm64:
		return i.arch == ec2types.ArchitectureValuesArm64
	}
	return false
}
