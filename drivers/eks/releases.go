package eks

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk"
)

// latestRelease asks for the newest release.
const latestRelease = "latest"

// subject is a group as a release sees it.
type subject struct {
	g *group
	// image is the machine image that the group launches from; empty: EKS chooses
	// the image, by the release.
	image string
	// template is what a new image goes into, and version the one in use.
	template templateRef
	version  int64
	// parameter is what the template takes its image from; empty: it names one.
	parameter string
}

// managed tells that the release is EKS' to know: the group is of a node group
// with an image of EKS'.
func (s *subject) managed() bool { return s.g.node != nil && !s.g.node.custom() }

func (s *subject) name() string {
	if s.g.node != nil {
		return s.g.node.name
	}
	return s.g.name
}

// want is what a release is looked for by: an SSM parameter, an image, or
// neither, because it cannot be had.
type want struct {
	release   string // of EKS; only for managed groups
	image     string
	parameter string // whose value is an image
	// releaseParameter has the release as its value, beside parameter.
	releaseParameter string
	refusal          *sdk.Diagnostic
}

// comparison is a group compared with a release.
type comparison struct {
	subject
	sdk.GroupRelease
	// target is the image of Target; empty for managed groups.
	target string
}

// Releases implements sdk.Stager. Fifty managed groups cost one describe each,
// and a handful of other calls.
func (d *Driver) Releases(ctx context.Context, scope sdk.Scope, release string) (*sdk.Releases, error) {
	cfg, c, err := d.configured()
	if err != nil {
		return nil, err
	}
	if scope.Cluster == "" {
		return nil, sdk.Errorf(codes.InvalidArgument, "releases: the scope names no cluster")
	}
	v := &d.view
	v.looking.Lock()
	defer v.looking.Unlock()
	at := d.now()
	tag := cfg.tagFor(scope.Cluster)
	all, err := describeGroups(ctx, c.asg, tag)
	if err != nil {
		return nil, err
	}
	s := &sdk.Snapshot{}
	if all, err = d.join(ctx, c, s, cfg, scope.Cluster, all, at, 0); err != nil {
		return nil, err
	}
	groups := choose(s, cfg, all, slices.Sorted(slices.Values(scope.Groups)), tag)
	list, err := d.compare(ctx, c, cfg, scope.Cluster, groups, release, at)
	if err != nil {
		return nil, err
	}
	out := &sdk.Releases{Diagnostics: s.Diagnostics}
	for _, l := range list {
		if !l.g.stages(cfg) && l.g.node != nil {
			out.Diagnostics = append(out.Diagnostics, wayDiagnostic(l.g, l.g.way(cfg)))
			continue
		}
		if l.Current.ID == "" { // it cannot be staged, and a diagnostic says why
			out.Diagnostics = append(out.Diagnostics, l.Diagnostics...)
			continue
		}
		out.Groups = append(out.Groups, l.GroupRelease)
	}
	return out, nil
}

// compare compares groups with a release, in describes that are batched over all
// of them. What it learns goes through the caches of v, whose looking the caller
// holds.
func (d *Driver) compare(ctx context.Context, c *clients, cfg Config, cluster string, groups []*group, release string, at time.Time) ([]*comparison, error) {
	list, err := d.subjects(ctx, c, groups, at)
	if err != nil {
		return nil, err
	}
	controlPlane := ""
	if cluster != "" && !d.view.nodegroups.unknown {
		if controlPlane, err = d.controlPlane(ctx, c, cluster, at, nodegroupAge); err != nil {
			return nil, err
		}
	}
	// What groups have now says which family of images they follow.
	images := &d.view.images
	if err := images.read(ctx, c.ec2, collect(list, func(l *comparison) string { return l.image })); err != nil {
		return nil, err
	}
	wants := make([]want, len(list))
	names := map[string]bool{}
	for i, l := range list {
		if l.Current.ID == "" && l.image == "" && !l.managed() {
			continue // it cannot be staged
		}
		wants[i] = l.lookFor(cfg, release, controlPlane, images.known[l.image])
		for _, p := range []string{wants[i].parameter, wants[i].releaseParameter} {
			if p != "" {
				names[p] = true
			}
		}
	}
	values, err := readParameters(ctx, c.ssm, slices.Sorted(maps.Keys(names)))
	if err != nil {
		return nil, err
	}
	for i := range wants {
		wants[i].resolve(list[i].GroupName, values)
	}
	var ids []string
	for _, w := range wants {
		ids = append(ids, w.image)
	}
	if err := images.read(ctx, c.ec2, ids); err != nil {
		return nil, err
	}
	for i, l := range list {
		switch {
		case l.managed():
			l.judgeManaged(wants[i], controlPlane, images.known[wants[i].image])
		case l.image != "":
			l.judgeImage(wants[i], controlPlane, images.known)
		}
	}
	return list, nil
}

func collect(list []*comparison, of func(*comparison) string) []string {
	var out []string
	for _, l := range list {
		out = append(out, of(l))
	}
	return out
}

// subjects finds out what groups launch from: which template, and which image.
func (d *Driver) subjects(ctx context.Context, c *clients, groups []*group, at time.Time) ([]*comparison, error) {
	var list []*comparison
	var refs []templateRef
	for _, g := range groups {
		l := &comparison{subject: subject{g: g}}
		l.GroupID, l.GroupName = g.name, l.name()
		list = append(list, l)
		if l.managed() {
			continue
		}
		if diag := l.stageable(); diag != nil {
			l.Diagnostics = append(l.Diagnostics, *diag)
			continue
		}
		refs = append(refs, l.template)
	}
	templates := &d.view.templates
	offers, gone, err := templates.resolve(ctx, c, refs, at, 0)
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.template == (templateRef{}) {
			continue
		}
		if m := gone[l.template]; m != nil {
			l.Diagnostics = append(l.Diagnostics, finding(sdk.SeverityError, m.code, l.GroupID, "Point the group to a launch template that exists.", "group %s: %s", l.GroupName, m.what))
			continue
		}
		o := offers[l.template]
		l.version = o.version
		data := templates.versions[templateVersion{l.template.key(), o.version}]
		l.image = data.image
		if name, ok := strings.CutPrefix(data.image, resolveSSM); ok {
			l.image, l.parameter = o.image, name
		}
		if l.image == "" {
			l.Diagnostics = append(l.Diagnostics, finding(sdk.SeverityError, "template-without-image", l.GroupID,
				"Give the template an image first.", "launch template %s version %d of group %s names no image", l.template.key(), l.version, l.GroupName))
		}
	}
	return list, nil
}

// stageable finds the template that a new image goes into, or says why there is
// none.
func (l *comparison) stageable() *sdk.Diagnostic {
	refuse := func(code, detail, what string) *sdk.Diagnostic {
		diag := finding(sdk.SeverityWarning, code, l.g.name, detail, "group %s cannot be given a release: %s", l.GroupName, what)
		return &diag
	}
	if m := l.g.node; m != nil {
		ref, ok := m.userTemplate()
		if !ok {
			return refuse("nodegroup-without-template", "Create the node group anew, with a launch template.", "its image is its own, and it has no launch template")
		}
		l.template = ref
		return nil
	}
	s := sourceOf(l.g.AutoScalingGroup)
	switch {
	case s.launchConfig != "":
		return refuse("launch-configuration", "Move it to a launch template: a launch configuration cannot change, and new accounts cannot create one.", "it launches from a launch configuration")
	case len(s.refs) == 0:
		return refuse("launch-template-missing", "Give it a launch template.", "it names no launch template")
	case len(s.refs) > 1 || s.refs[0].image != "":
		return refuse("mixed-templates", "Publish new versions of these templates yourself; rotator rotates the group then.", "its mixed instances policy has templates or images of its own for some instance types")
	}
	l.template = s.refs[0].templateRef
	return nil
}

// isImage tells the id of a machine image.
func isImage(s string) bool { return strings.HasPrefix(s, "ami-") }

// lookFor says where the release is found for this group. Image is what the
// group has now.
func (l *comparison) lookFor(cfg Config, release, controlPlane string, image imageFacts) want {
	parameter, byParameter := strings.CutPrefix(release, "ssm:")
	if l.managed() {
		return l.lookForRelease(release, parameter, byParameter, controlPlane)
	}
	own := strings.TrimPrefix(cfg.Releases[l.g.name], "ssm:")
	r, t, ofEKS := parseImage(image.name)
	switch {
	case byParameter:
		return want{parameter: parameter}
	case isImage(release):
		return want{image: release}
	case release != latestRelease && release != "":
		asked, _ := t.family.parse(release)
		asked.kubernetes = cmp.Or(asked.kubernetes, r.kubernetes)
		name := t.namedImageParameter(asked)
		if name == "" {
			return want{refusal: refuse("release-not-found", l.GroupID, "Name an image (ami-…) or a parameter (ssm:…).",
				"%q is no release of the image that group %s has, %s", release, l.GroupName, cmp.Or(image.name, l.image))}
		}
		return want{parameter: name}
	case own != "":
		return want{parameter: own}
	case l.parameter != "":
		return want{parameter: l.parameter} // it follows its parameter by itself
	case ofEKS:
		return want{parameter: t.imageParameter(cmp.Or(controlPlane, r.kubernetes))}
	}
	return want{refusal: refuse("release-source-unknown", l.GroupID,
		"Say so in the driver's configuration, releases: {"+l.g.name+": ssm:PARAMETER}, or name an image: --release ami-….",
		"where new images of group %s come from is not known: %s is none of EKS'", l.GroupName, cmp.Or(image.name, l.image))}
}

func (l *comparison) lookForRelease(release, parameter string, byParameter bool, controlPlane string) want {
	m := l.g.node
	t, known := amiTypes[m.AmiType]
	if !known {
		return want{refusal: refuse("ami-type-unknown", l.GroupID, "Use a newer rotator.", "node group %s has the AMI type %s, whose releases this driver cannot find", m.name, m.AmiType)}
	}
	// Latest is of the control plane's version, whatever the node group is pinned to.
	recommended := want{parameter: t.imageParameter(controlPlane), releaseParameter: t.releaseParameter(controlPlane)}
	switch {
	case release == latestRelease || release == "":
		return recommended
	case byParameter:
		return want{releaseParameter: parameter}
	case isImage(release):
		recommended.image = release // resolve holds it against the recommended one
		return recommended
	}
	r, ok := t.family.parse(release)
	if !ok {
		return want{refusal: refuse("release-not-found", l.GroupID, "Give it as EKS spells it: aws eks describe-nodegroup shows releaseVersion.",
			"%q is no release version of AMI type %s, which node group %s has", release, m.AmiType, m.name)}
	}
	r.kubernetes = cmp.Or(r.kubernetes, controlPlane)
	return want{release: release, parameter: t.namedImageParameter(r)}
}

func refuse(code, object, detail, summary string, args ...any) *sdk.Diagnostic {
	diag := finding(sdk.SeverityError, code, object, detail, summary, args...)
	return &diag
}

// resolve fills in what the parameters say; group is named in refusals.
func (w *want) resolve(group string, values map[string]string) {
	if w.refusal != nil {
		return
	}
	asked := w.image
	if w.parameter != "" {
		w.image = values[w.parameter]
	}
	if w.releaseParameter != "" {
		w.release = values[w.releaseParameter]
	}
	switch {
	case asked != "" && w.parameter != "" && asked != w.image:
		w.refusal = refuse("release-is-image", asked, "Give a release version, or latest.", "image %s is not the one that EKS recommends for node group %s, and EKS takes releases of managed node groups by version", asked, group)
	case w.releaseParameter != "" && w.release == "":
		w.refusal = refuse("image-parameter-missing", w.releaseParameter, "Check its name and the region.", "parameter %s, with the release for group %s, does not exist", w.releaseParameter, group)
	case w.release == "" && w.image == "":
		w.refusal = refuse("image-parameter-missing", w.parameter, "Check its name and the region; AWS may not publish that release any more.", "parameter %s, with the image for group %s, does not exist", w.parameter, group)
	case w.release == "" && !isImage(w.image):
		w.refusal = refuse("image-parameter-invalid", w.parameter, "Its value is to be an image id, ami-….", "parameter %s, with the image for group %s, has the value %q", w.parameter, group, w.image)
	}
}

// judgeManaged compares a group whose image is EKS'.
func (l *comparison) judgeManaged(w want, controlPlane string, image imageFacts) {
	m := l.g.node
	t := amiTypes[m.AmiType]
	running := m.running()
	pinned := m.Tags[tagRelease]
	l.Current = releaseOf(t, cmp.Or(pinned, running.label), aws.ToString(m.Version), imageFacts{})
	if l.Current.ID == "" {
		l.Diagnostics = append(l.Diagnostics, *refuse("release-unknown", l.GroupID, "See aws eks describe-nodegroup.", "EKS does not say which release node group %s has", m.name))
		return
	}
	if w.refusal != nil {
		l.Diagnostics = append(l.Diagnostics, *w.refusal)
		return
	}
	r, ok := t.family.parse(w.release)
	if !ok {
		l.Diagnostics = append(l.Diagnostics, *refuse("release-not-found", l.GroupID, "Give it as EKS spells it: aws eks describe-nodegroup shows releaseVersion.",
			"%q is no release version of AMI type %s, which node group %s has", w.release, m.AmiType, m.name))
		return
	}
	r.kubernetes = cmp.Or(r.kubernetes, controlPlane)
	target := releaseOf(t, w.release, r.kubernetes, image)
	l.Target = &target
	current, ok := t.family.parse(l.Current.ID)
	current.kubernetes = cmp.Or(current.kubernetes, aws.ToString(m.Version))
	l.Order = order(r, current, ok)
	if l.Current.ID == w.release && (pinned != "" || current.kubernetes == r.kubernetes) {
		l.Order = sdk.ReleaseSame
	}
	l.checkKubernetes(r.kubernetes, controlPlane, current.kubernetes)
	if o, ok := r.compare(running.release); ok && o < 0 {
		l.Diagnostics = append(l.Diagnostics, *refuse("release-downgrade", l.GroupID,
			"EKS does not roll a node group back. Create a new node group with that release, and move the pods there.",
			"node group %s runs release %s, which is newer than %s", m.name, running.label, w.release))
	}
	if image.id == "" && w.parameter != "" {
		l.Diagnostics = append(l.Diagnostics, finding(sdk.SeverityWarning, "release-unverified", l.GroupID, "EKS refuses the roll if there is no such release.",
			"whether there is a release %s is not known: AWS publishes no parameter %s", w.release, w.parameter))
	}
}

// releaseOf is a release of EKS' images as a person knows it.
func releaseOf(t amiType, version, kubernetes string, image imageFacts) sdk.Release {
	out := sdk.Release{ID: version, Name: image.name, Created: image.created, Kubernetes: kubernetes}
	if r, ok := t.family.parse(version); ok {
		out.Kubernetes = cmp.Or(r.kubernetes, kubernetes)
		out.Notes = t.family.notes(r.serial)
		for _, layout := range []string{"20060102", "2006.01.02"} {
			if day, err := time.Parse(layout, r.serial); err == nil && out.Created.IsZero() {
				out.Created = day
			}
		}
	}
	return out
}

// judgeImage compares a group whose template names the image.
func (l *comparison) judgeImage(w want, controlPlane string, images map[string]imageFacts) {
	current := images[l.image]
	current.id = l.image
	l.Current = current.release()
	if w.refusal != nil {
		l.Diagnostics = append(l.Diagnostics, *w.refusal)
		return
	}
	target := images[w.image]
	if target.name == "" && target.architecture == "" {
		l.Diagnostics = append(l.Diagnostics, *refuse("image-not-found", w.image, "Check the id and the region, and that the image is shared with this account.",
			"image %s, for group %s, does not exist here", w.image, l.GroupName))
		return
	}
	release := target.release()
	l.Target, l.target = &release, w.image
	l.Order = imageOrder(target, current)
	if current.architecture != "" && target.architecture != current.architecture {
		l.Diagnostics = append(l.Diagnostics, *refuse("release-architecture", w.image, "Name an image of the same architecture; parameters have one each.",
			"image %s is for %s, and group %s has %s", w.image, target.architecture, l.GroupName, current.architecture))
	}
	l.checkKubernetes(target.kubernetes(), controlPlane, current.kubernetes())
}

// checkKubernetes refuses a version of Kubernetes that is neither the control
// plane's nor what the group has.
func (l *comparison) checkKubernetes(target, controlPlane, current string) {
	if target == "" || controlPlane == "" || target == controlPlane || target == current {
		return
	}
	l.Diagnostics = append(l.Diagnostics, *refuse("release-kubernetes", l.GroupID, "Name a release for the control plane's version.",
		"the release for group %s has Kubernetes %s, and the control plane has %s", l.GroupName, target, controlPlane))
}

// order says where target stands, seen from current.
func order(target, current release, known bool) sdk.ReleaseOrder {
	o, ok := target.compare(current)
	switch {
	case !known || !ok:
		return sdk.ReleaseUnknown
	case o < 0:
		return sdk.ReleaseOlder
	case o > 0:
		return sdk.ReleaseNewer
	}
	return sdk.ReleaseSame
}

// imageOrder orders images of EKS' by what their names say, others by when they
// were made.
func imageOrder(target, current imageFacts) sdk.ReleaseOrder {
	if target.id == current.id {
		return sdk.ReleaseSame
	}
	t, _, ok := parseImage(target.name)
	c, _, also := parseImage(current.name)
	if ok && also && t.family == c.family {
		if o := order(t, c, true); o != sdk.ReleaseUnknown && o != sdk.ReleaseSame {
			return o
		}
	}
	switch {
	case target.created.IsZero() || current.created.IsZero() || target.created.Equal(current.created):
		return sdk.ReleaseUnknown
	case target.created.Before(current.created):
		return sdk.ReleaseOlder
	}
	return sdk.ReleaseNewer
}

// errorsOf are the diagnostics for which Stage refuses.
func (l *comparison) errorsOf() []sdk.Diagnostic {
	return slices.DeleteFunc(slices.Clone(l.Diagnostics), func(d sdk.Diagnostic) bool { return !isError(d) })
}
