package eks

import (
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
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// templatesPerCall is how many templates one describe asks for; AWS's limit.
const templatesPerCall = 200

// resolveSSM begins an image that is named by a Systems Manager parameter.
const resolveSSM = "resolve:ssm:"

// templateCache resolves what groups launch from. What can change ($Latest,
// $Default, parameters) is remembered for as long as its caller allows; what
// cannot (a numbered version) for ever, for as long as a group names it.
type templateCache struct {
	numbers  map[string]templateNumbers // by templateRef.key
	versions map[templateVersion]templateImage
	params   map[string]paramValue
}

type templateNumbers struct {
	id, name          string
	latest, byDefault int64
	gone              bool
	at                time.Time
}

type templateVersion struct {
	key    string // templateRef.key
	number int64
}

type templateImage struct {
	id, name string // of the template
	image    string // ami-..., resolve:ssm:..., or empty
	gone     bool
}

type paramValue struct {
	value string
	gone  bool
	at    time.Time
}

// missing says that what a group launches from does not exist: a fault of that
// group, not of the whole look.
type missing struct{ code, what string }

func (m *missing) Error() string { return m.what }

func (t *templateCache) init() {
	if t.numbers == nil {
		t.numbers, t.versions, t.params = map[string]templateNumbers{}, map[templateVersion]templateImage{}, map[string]paramValue{}
	}
}

// resolve turns refs into offers. All describes are batched over the refs of
// all groups. An error is one of the calls; a ref that names nothing that
// exists is answered in gone.
func (t *templateCache) resolve(ctx context.Context, c *clients, refs []templateRef, now time.Time, maxAge time.Duration) (offers map[templateRef]offer, gone map[templateRef]*missing, err error) {
	t.init()
	offers, gone = map[templateRef]offer{}, map[templateRef]*missing{}
	if err := t.readNumbers(ctx, c.ec2, refs, now, maxAge); err != nil {
		return nil, nil, err
	}
	versions := map[templateRef]templateVersion{}
	for _, r := range refs {
		n, err := t.number(r)
		if err != nil {
			gone[r] = err
			continue
		}
		versions[r] = templateVersion{r.key(), n}
	}
	if err := t.readVersions(ctx, c.ec2, refs, versions); err != nil {
		return nil, nil, err
	}
	if err := t.readParams(ctx, c.ssm, versions, now, maxAge); err != nil {
		return nil, nil, err
	}
	for r, v := range versions {
		o, err := t.offer(v)
		if err != nil {
			gone[r] = err
			continue
		}
		offers[r] = o
	}
	return offers, gone, nil
}

// number returns the version that a ref means, once readNumbers has run.
func (t *templateCache) number(r templateRef) (int64, *missing) {
	if r.version != "$Latest" && r.version != "$Default" {
		n, err := strconv.ParseInt(r.version, 10, 64)
		if err != nil {
			return 0, &missing{"launch-template-missing", fmt.Sprintf("launch template %s has no version %q", r.key(), r.version)}
		}
		return n, nil
	}
	n := t.numbers[r.key()]
	switch {
	case n.gone:
		return 0, &missing{"launch-template-missing", fmt.Sprintf("launch template %s does not exist", r.key())}
	case r.version == "$Latest":
		return n.latest, nil
	}
	return n.byDefault, nil
}

// offer returns a version's offer, once readVersions and readParams have run.
func (t *templateCache) offer(v templateVersion) (offer, *missing) {
	data := t.versions[v]
	if data.gone {
		return offer{}, &missing{"launch-template-missing", fmt.Sprintf("launch template %s has no version %d", v.key, v.number)}
	}
	o := offer{id: data.id, name: data.name, version: v.number}
	if name, ok := strings.CutPrefix(data.image, resolveSSM); ok {
		p := t.params[name]
		if p.gone {
			return offer{}, &missing{"image-parameter-missing", fmt.Sprintf("parameter %s, which launch template %s version %d takes its image from, does not exist", name, v.key, v.number)}
		}
		o.image = p.value
	}
	return o, nil
}

// readNumbers reads $Latest and $Default of the templates of refs: one call
// for up to 200 templates.
func (t *templateCache) readNumbers(ctx context.Context, client *ec2.Client, refs []templateRef, now time.Time, maxAge time.Duration) error {
	ids, names := map[string]bool{}, map[string]bool{}
	for _, r := range refs {
		if r.version != "$Latest" && r.version != "$Default" {
			continue
		}
		if n, ok := t.numbers[r.key()]; ok && now.Sub(n.at) < maxAge {
			continue
		}
		if r.id != "" {
			ids[r.id] = true
		} else {
			names[r.name] = true
		}
	}
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(ids)), templatesPerCall) {
		if err := t.describe(ctx, client, chunk, now, func(in *ec2.DescribeLaunchTemplatesInput, keys []string) { in.LaunchTemplateIds = keys }); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(names)), templatesPerCall) {
		if err := t.describe(ctx, client, chunk, now, func(in *ec2.DescribeLaunchTemplatesInput, keys []string) { in.LaunchTemplateNames = keys }); err != nil {
			return err
		}
	}
	return nil
}

// describe reads some templates. AWS refuses the whole call when one of them is
// gone, without saying which in a code: then each is asked for by itself.
func (t *templateCache) describe(ctx context.Context, client *ec2.Client, keys []string, now time.Time, by func(*ec2.DescribeLaunchTemplatesInput, []string)) error {
	in := &ec2.DescribeLaunchTemplatesInput{}
	by(in, keys)
	out, err := client.DescribeLaunchTemplates(ctx, in)
	switch {
	case templateNotFound(err) && len(keys) == 1:
		t.numbers[keys[0]] = templateNumbers{gone: true, at: now}
		return nil
	case templateNotFound(err):
		for _, k := range keys {
			if err := t.describe(ctx, client, []string{k}, now, by); err != nil {
				return err
			}
		}
		return nil
	case err != nil:
		return statusOf("ec2:DescribeLaunchTemplates", strings.Join(keys, ","), err)
	}
	for _, k := range keys {
		t.numbers[k] = templateNumbers{gone: true, at: now}
	}
	for _, lt := range out.LaunchTemplates {
		n := templateNumbers{
			id: aws.ToString(lt.LaunchTemplateId), name: aws.ToString(lt.LaunchTemplateName),
			latest: aws.ToInt64(lt.LatestVersionNumber), byDefault: aws.ToInt64(lt.DefaultVersionNumber), at: now,
		}
		for _, k := range []string{n.id, n.name} {
			if slices.Contains(keys, k) {
				t.numbers[k] = n
			}
		}
	}
	return nil
}

func templateNotFound(err error) bool {
	return strings.HasPrefix(errCode(err), "InvalidLaunchTemplate")
}

// readVersions reads the versions that were never read: one call a template.
func (t *templateCache) readVersions(ctx context.Context, client *ec2.Client, refs []templateRef, versions map[templateRef]templateVersion) error {
	for _, r := range refs {
		v, ok := versions[r]
		if !ok {
			continue
		}
		if known, ok := t.versions[v]; ok && !known.gone {
			continue
		}
		in := &ec2.DescribeLaunchTemplateVersionsInput{Versions: []string{strconv.FormatInt(v.number, 10)}}
		if r.id != "" {
			in.LaunchTemplateId = &r.id
		} else {
			in.LaunchTemplateName = &r.name
		}
		out, err := client.DescribeLaunchTemplateVersions(ctx, in)
		switch {
		case templateNotFound(err), err == nil && len(out.LaunchTemplateVersions) == 0:
			t.versions[v] = templateImage{gone: true}
		case err != nil:
			return statusOf("ec2:DescribeLaunchTemplateVersions", r.key(), err)
		default:
			t.versions[v] = imageOf(out.LaunchTemplateVersions[0])
		}
	}
	return nil
}

func imageOf(v ec2types.LaunchTemplateVersion) templateImage {
	i := templateImage{id: aws.ToString(v.LaunchTemplateId), name: aws.ToString(v.LaunchTemplateName)}
	if v.LaunchTemplateData != nil {
		i.image = aws.ToString(v.LaunchTemplateData.ImageId)
	}
	return i
}

// readParams reads the parameters that versions take their image from: one
// call each, and few groups share more than one.
func (t *templateCache) readParams(ctx context.Context, client *ssm.Client, versions map[templateRef]templateVersion, now time.Time, maxAge time.Duration) error {
	names := map[string]bool{}
	for _, v := range versions {
		if name, ok := strings.CutPrefix(t.versions[v].image, resolveSSM); ok {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if p, ok := t.params[name]; ok && now.Sub(p.at) < maxAge {
			continue
		}
		out, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
		var notFound *ssmtypes.ParameterNotFound
		var noVersion *ssmtypes.ParameterVersionNotFound
		switch {
		case errors.As(err, &notFound), errors.As(err, &noVersion):
			t.params[name] = paramValue{gone: true, at: now}
		case err != nil:
			return statusOf("ssm:GetParameter", name, err)
		default:
			t.params[name] = paramValue{value: aws.ToString(out.Parameter.Value), at: now}
		}
	}
	return nil
}

// forget drops what no group names any more.
func (t *templateCache) forget(refs []templateRef) {
	keys, params := map[string]bool{}, map[string]bool{}
	for _, r := range refs {
		keys[r.key()] = true
	}
	maps.DeleteFunc(t.numbers, func(k string, _ templateNumbers) bool { return !keys[k] })
	maps.DeleteFunc(t.versions, func(v templateVersion, _ templateImage) bool { return !keys[v.key] })
	for _, v := range t.versions {
		params[strings.TrimPrefix(v.image, resolveSSM)] = true
	}
	maps.DeleteFunc(t.params, func(k string, _ paramValue) bool { return !params[k] })
}
