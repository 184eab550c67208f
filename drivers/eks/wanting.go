package eks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Codes of the reasons that hold for instances of managed node groups.
const (
	// reasonRelease: an older release of EKS' image than the one recommended, or
	// pinned.
	reasonRelease = "release"
	// reasonKubernetes: an older Kubernetes version than the control plane's.
	reasonKubernetes = "kubernetes-version"
	// reasonTemplate: an older version of the user's launch template.
	reasonTemplate = "launch-template"
	// reasonHealth: EKS names the instance in a health issue. Only where the core
	// replaces instances.
	reasonHealth = "health"
)

// tagRelease pins a managed node group to a release: it is rolled to that one,
// whichever is recommended. Stage writes it.
const tagRelease = tagPrefix + "release"

// maxSkew is how many minor versions a kubelet may be behind the API server, by
// Kubernetes' version skew policy.
const maxSkew = 3

// wanting is what a managed node group is to be made from.
type wanting struct {
	// kubernetes, release and image are of EKS' images; empty for the user's own.
	kubernetes string
	release    string // empty: unknown
	image      string // of the release; empty: unknown
	pinned     bool
	// template is the version of the user's launch template; 0: there is none.
	template int64
}

// String is the revision as a person sees it.
func (w wanting) String() string {
	var s []string
	if w.release != "" {
		s = append(s, w.release)
	}
	if w.template != 0 {
		s = append(s, "launch template version "+strconv.FormatInt(w.template, 10))
	}
	return strings.Join(s, ", ")
}

// kubernetesWanted is the version that a node group is to have: its pin's, else
// the control plane's.
func (m *managed) kubernetesWanted(controlPlane string) string {
	if r, ok := amiTypes[m.AmiType].family.parse(m.Tags[tagRelease]); ok && r.kubernetes != "" {
		return r.kubernetes
	}
	return controlPlane
}

// pinnedImageParameter names the parameter with the image of the release that the
// node group is pinned to; empty: it is pinned to none, or there is none.
func (m *managed) pinnedImageParameter(controlPlane string) string {
	t := amiTypes[m.AmiType]
	r, ok := t.family.parse(m.Tags[tagRelease])
	if !ok {
		return ""
	}
	r.kubernetes = cmp.Or(r.kubernetes, controlPlane)
	return t.namedImageParameter(r)
}

// want works out what the node group is to be made from. Params holds the values
// of SSM parameters, latest the newest version of the user's launch template (0:
// unknown).
func (m *managed) want(controlPlane string, params map[string]string, latest int64) {
	m.wanted = wanting{}
	if m.LaunchTemplate != nil {
		m.wanted.template = max(latest, m.templateVersion())
	}
	t, known := amiTypes[m.AmiType]
	switch {
	case m.custom():
		return
	case !known:
		m.diagnostics = append(m.diagnostics, finding(sdk.SeverityWarning, "ami-type-unknown", m.name,
			"Use a newer rotator. Until then only its launch template and its health are compared.",
			"node group %s has the AMI type %s, whose releases this driver cannot find", m.name, m.AmiType))
		return
	}
	w := &m.wanted
	w.kubernetes = m.kubernetesWanted(controlPlane)
	recommended := params[t.releaseParameter(w.kubernetes)]
	w.release = recommended
	if pin := m.Tags[tagRelease]; pin != "" {
		w.release, w.pinned = pin, true
	}
	if w.release == recommended {
		w.image = params[t.imageParameter(w.kubernetes)]
	} else {
		w.image = params[m.pinnedImageParameter(controlPlane)]
	}
	if w.release == "" {
		m.diagnostics = append(m.diagnostics, finding(sdk.SeverityWarning, "release-unknown", m.name,
			"Whether the node group is behind is not known. EKS may not build this image for that version of Kubernetes any more.",
			"node group %s: AWS publishes no parameter %s", m.name, t.releaseParameter(w.kubernetes)))
	}
	if n := minorsBehind(aws.ToString(m.Version), controlPlane); n > maxSkew {
		m.diagnostics = append(m.diagnostics, finding(sdk.SeverityWarning, "kubernetes-skew", m.name,
			"Kubernetes supports "+strconv.Itoa(maxSkew)+" at most: rotate this node group before the control plane is upgraded again.",
			"node group %s has Kubernetes %s, %d minor versions behind the control plane", m.name, aws.ToString(m.Version), n))
	}
}

// stands is where an instance stands between releases.
type stands struct {
	release
	label string // as a person sees it; empty: unknown
}

// standing works out which release an instance was made from: by its image's
// name, or else by what EKS says of the node group, unless it is changing.
func (m *managed) standing(image, imageName string) stands {
	family := amiTypes[m.AmiType].family
	if image != "" && image == m.wanted.image {
		return stands{m.wantedRelease(), m.wanted.release}
	}
	if r, _, ok := parseImage(imageName); ok && r.family == family {
		if family == familyBottlerocket {
			return stands{r, r.serial}
		}
		return stands{r, r.kubernetes + "-" + r.serial}
	}
	if m.updating() {
		return stands{}
	}
	version := aws.ToString(m.ReleaseVersion)
	r, ok := family.parse(version)
	if !ok {
		return stands{}
	}
	if r.kubernetes == "" {
		r.kubernetes = aws.ToString(m.Version)
	}
	return stands{r, version}
}

func (m *managed) wantedRelease() release {
	r, _ := amiTypes[m.AmiType].family.parse(m.wanted.release)
	if r.kubernetes == "" {
		r.kubernetes = m.wanted.kubernetes
	}
	return r
}

// behind says why an instance is to be rolled by EKS; nothing: it is current.
func (m *managed) behind(inst made, at stands) []sdk.Reason {
	reason := func(code, format string, args ...any) []sdk.Reason {
		return []sdk.Reason{{Code: code, Message: fmt.Sprintf(format, args...)}}
	}
	if w := m.wantedRelease(); at.label != "" && m.wanted.release != "" {
		if order, ok := at.compare(w); ok && order < 0 {
			if at.kubernetes != w.kubernetes && at.kubernetes != "" && w.kubernetes != "" {
				return reason(reasonKubernetes, "Kubernetes %s, wanted %s", at.kubernetes, w.kubernetes)
			}
			return reason(reasonRelease, "release %s, wanted %s", at.label, m.wanted.release)
		}
	}
	has := m.templateVersion()
	if has >= m.wanted.template {
		return nil
	}
	if m.updating() {
		// The node group still has its earlier version. Only our own record tells
		// which version of EKS' template the update started from.
		n, err := strconv.ParseInt(inst.version, 10, 64)
		if m.record == nil || err != nil || n > m.record.From {
			return nil
		}
	}
	return reason(reasonTemplate, "launch template version %d, wanted %d", has, m.wanted.template)
}

// parametersPerCall is AWS's limit on the names of one GetParameters.
const parametersPerCall = 10

// readParameters reads SSM parameters. Those that do not exist are left out.
func readParameters(ctx context.Context, client *ssm.Client, names []string) (map[string]string, error) {
	values := map[string]string{}
	for chunk := range slices.Chunk(names, parametersPerCall) {
		out, err := client.GetParameters(ctx, &ssm.GetParametersInput{Names: chunk})
		if err != nil {
			return nil, statusOf("ssm:GetParameters", strings.Join(chunk, ","), err)
		}
		for _, p := range out.Parameters {
			values[aws.ToString(p.Name)] = aws.ToString(p.Value)
		}
	}
	return values, nil
}

// recommended reads the parameters of EKS' recommended releases for node groups,
// two for each AMI type and version of Kubernetes.
func (d *Driver) recommended(ctx context.Context, c *clients, list []*managed, controlPlane string, at time.Time, maxAge time.Duration) (map[string]string, error) {
	names := map[string]bool{}
	for _, m := range list {
		if t, ok := amiTypes[m.AmiType]; ok {
			k := m.kubernetesWanted(controlPlane)
			names[t.releaseParameter(k)], names[t.imageParameter(k)] = true, true
			if p := m.pinnedImageParameter(controlPlane); p != "" {
				names[p] = true
			}
		}
	}
	n := &d.view.nodegroups
	if n.params == nil {
		n.params = map[string]timed[string]{}
	}
	var ask []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if p, ok := n.params[name]; !ok || maxAge == 0 || at.Sub(p.at) >= nodegroupAge {
			ask = append(ask, name)
		}
	}
	values, err := readParameters(ctx, c.ssm, ask)
	if err != nil {
		return nil, err
	}
	for _, name := range ask {
		n.params[name] = timed[string]{values[name], at}
	}
	maps.DeleteFunc(n.params, func(name string, _ timed[string]) bool { return !names[name] })
	out := make(map[string]string, len(n.params))
	for name, p := range n.params {
		out[name] = p.value
	}
	return out, nil
}
