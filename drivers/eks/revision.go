package eks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Codes of the reasons that this driver gives.
const (
	// reasonRevision: another template, version, launch configuration or
	// instance type than the group launches from.
	reasonRevision = "revision"
	// reasonImage: the right version, but the parameter that names its image
	// resolves to another image by now.
	reasonImage = "image"
)

// templateRef is a launch template as a group names it.
type templateRef struct {
	id, name string
	version  string // a number, $Latest or $Default
}

func refOf(s *asgtypes.LaunchTemplateSpecification) templateRef {
	r := templateRef{id: aws.ToString(s.LaunchTemplateId), name: aws.ToString(s.LaunchTemplateName), version: aws.ToString(s.Version)}
	if r.version == "" {
		r.version = "$Default" // as AWS documents it
	}
	return r
}

// key is what the template is looked up by: AWS refuses both at once.
func (r templateRef) key() string {
	if r.id != "" {
		return r.id
	}
	return r.name
}

// offer is one thing that a group launches from, resolved.
type offer struct {
	id, name string // of the launch template
	version  int64
	// image is set where instances are compared by image as well: the version
	// names a parameter, or the group overrides the image.
	image string
}

func (o offer) String() string {
	s := o.id
	if s == "" {
		s = o.name
	}
	s += ":" + strconv.FormatInt(o.version, 10)
	if o.image != "" {
		s += "@" + o.image
	}
	return s
}

// wanted is a group's desired revision: all that it may launch from now.
type wanted struct {
	launchConfig string  // of groups without a launch template
	offers       []offer // else at least one
	// types says which offer an instance type is launched from; nil: the group
	// does not choose by type, and any of the offers will do.
	types map[string]int
}

// String is the group's revision as a person and a plan see it.
func (w wanted) String() string {
	if w.launchConfig != "" {
		return w.launchConfig
	}
	names := make([]string, len(w.offers))
	for i, o := range w.offers {
		names[i] = o.String()
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ",")
}

// byImage tells whether the images of instances matter.
func (w wanted) byImage() bool {
	return slices.ContainsFunc(w.offers, func(o offer) bool { return o.image != "" })
}

// made is what an instance was launched from.
type made struct {
	launchConfig string
	id, name     string // of the launch template; empty: none
	version      string
	instanceType string
	image        string // empty: not known
}

// String is the instance's revision. The image is part of it where the group
// compares by image.
func (m made) String() string {
	switch {
	case m.launchConfig != "":
		return m.launchConfig
	case m.id == "" && m.name == "":
		return ""
	}
	s := m.id
	if s == "" {
		s = m.name
	}
	s += ":" + m.version
	if m.image != "" {
		s += "@" + m.image
	}
	return s
}

// judge says why an instance is outdated; nothing: it is current. It is pure.
func (w wanted) judge(m made) []sdk.Reason {
	revision := func(format string, args ...any) []sdk.Reason {
		return []sdk.Reason{{Code: reasonRevision, Message: fmt.Sprintf(format, args...)}}
	}
	hasTemplate := m.id != "" || m.name != ""
	switch {
	case !hasTemplate && m.launchConfig == "":
		// AWS drops the name from an instance once what it names is deleted, and an
		// instance that a person attached may never have had one.
		return revision("what it was launched from is unknown or deleted, wanted %s", w)
	case w.launchConfig != "" && hasTemplate:
		return revision("launch template %s, wanted launch configuration %s", m, w.launchConfig)
	case w.launchConfig != "" && m.launchConfig != w.launchConfig:
		return revision("launch configuration %s, wanted %s", m.launchConfig, w.launchConfig)
	case w.launchConfig != "":
		return nil
	case !hasTemplate:
		return revision("launch configuration %s, wanted launch template %s", m.launchConfig, w)
	}
	candidates := w.offers
	if w.types != nil {
		i, ok := w.types[m.instanceType]
		if !ok {
			return revision("instance type %s is none that the group launches", m.instanceType)
		}
		candidates = w.offers[i : i+1]
	}
	i := slices.IndexFunc(candidates, func(o offer) bool {
		return sameTemplate(o, m) && m.version == strconv.FormatInt(o.version, 10)
	})
	if i >= 0 {
		if o := candidates[i]; o.image != "" && m.image != "" && m.image != o.image {
			return []sdk.Reason{{Code: reasonImage, Message: fmt.Sprintf("image %s, wanted %s", m.image, o.image)}}
		}
		return nil
	}
	if o := candidates[0]; sameTemplate(o, m) {
		return revision("launch template %s version %s, wanted %d", o.id, m.version, o.version)
	}
	return revision("launch template %s, wanted %s", m, candidates[0])
}

func sameTemplate(o offer, m made) bool {
	if o.id != "" && m.id != "" {
		return o.id == m.id
	}
	return o.name == m.name
}

// launchSource is what a group launches from, as the group names it.
type launchSource struct {
	launchConfig string
	refs         []sourceRef
	types        map[string]int // instance type to index in refs; nil: not chosen by type
	weighted     bool           // capacity is counted in units other than instances
}

// sourceRef is one template of a group, with the image that it overrides.
type sourceRef struct {
	templateRef
	image string
}

// sourceOf reads a group. A source without a launch configuration and without
// refs launches from nothing that this driver knows.
func sourceOf(g *asgtypes.AutoScalingGroup) launchSource {
	switch {
	case g.LaunchTemplate != nil:
		return launchSource{refs: []sourceRef{{templateRef: refOf(g.LaunchTemplate)}}}
	case g.MixedInstancesPolicy != nil && g.MixedInstancesPolicy.LaunchTemplate != nil:
		s := mixedSource(g.MixedInstancesPolicy.LaunchTemplate)
		s.weighted = s.weighted || aws.ToString(g.DesiredCapacityType) != "" && aws.ToString(g.DesiredCapacityType) != "units"
		return s
	}
	return launchSource{launchConfig: aws.ToString(g.LaunchConfigurationName)}
}

func mixedSource(lt *asgtypes.LaunchTemplate) launchSource {
	var s launchSource
	if lt.LaunchTemplateSpecification == nil {
		return s
	}
	base := refOf(lt.LaunchTemplateSpecification)
	if len(lt.Overrides) == 0 {
		s.refs = []sourceRef{{templateRef: base}}
		return s
	}
	s.types = map[string]int{}
	byAttribute := false
	for _, o := range lt.Overrides {
		ref := sourceRef{templateRef: base, image: aws.ToString(o.ImageId)}
		if o.LaunchTemplateSpecification != nil {
			ref.templateRef = refOf(o.LaunchTemplateSpecification)
		}
		i := slices.Index(s.refs, ref)
		if i < 0 {
			i = len(s.refs)
			s.refs = append(s.refs, ref)
		}
		if t := aws.ToString(o.InstanceType); t != "" {
			s.types[t] = i
		} else {
			byAttribute = true
		}
		s.weighted = s.weighted || aws.ToString(o.WeightedCapacity) != "" && aws.ToString(o.WeightedCapacity) != "1"
	}
	if byAttribute {
		s.types = nil // AWS chooses the type by its attributes: any is right
	}
	return s
}
