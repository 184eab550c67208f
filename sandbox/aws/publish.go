package aws

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rotatord/rotator/sandbox/control"
)

// PublishImage implements [control.Backend]: it makes a new machine image and what follows from it, in one moment.
// The SSM parameter names the image. The launch template of each group gets a new version with it, unless the template
// follows the parameter; a group that is pinned to a version by number is moved to the new one, and a group that follows
// $Default sees the default moved. The groups of EKS managed node groups are left alone. A launch configuration is replaced by a copy, since it cannot change.
func (c *Cloud) PublishImage(_ context.Context, r control.PublishImageRequest) (control.PublishedImage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A managed node group is EKS' own: whoever moves its template breaks it, and does so only by name.
	list := slices.DeleteFunc(slices.Clone(c.groupOrder), func(g *group) bool { return c.nodegroupOf(g.name) != nil })
	if r.Group != "" {
		g := c.groups[r.Group]
		if g == nil {
			return control.PublishedImage{}, fmt.Errorf("publish an image for group %q: there is no such Auto Scaling group", r.Group)
		}
		list = []*group{g}
	}
	now := c.now()
	n := len(c.imageOrder) + 1
	img := c.createImage(ImageSpec{Name: "sandbox-node-" + now.UTC().Format("20060102") + "-" + strconv.Itoa(n), CreationDate: now})
	out := control.PublishedImage{
		ImageID: img.id, ImageName: img.name, CreationDate: img.created, Parameter: ParameterRecommendedImage,
		ParameterVersion: c.putParameter(ParameterRecommendedImage, img.id), Groups: []control.PublishedGroup{},
	}
	made := map[*launchTemplate]*templateVersion{} // groups may share a template
	for _, g := range list {
		p, err := c.publishTo(g, img, made, n, now)
		if err != nil {
			return control.PublishedImage{}, fmt.Errorf("publish image %s for group %s: %w", img.id, g.name, err)
		}
		out.Groups = append(out.Groups, p)
	}
	return out, nil
}

func (c *Cloud) publishTo(g *group, img *image, made map[*launchTemplate]*templateVersion, n int, now time.Time) (control.PublishedGroup, error) {
	if old := c.launchConfigs[g.source.launchConfig]; old != nil {
		next := *old
		base, _, _ := strings.Cut(old.LaunchConfigurationName, "-image-")
		next.LaunchConfigurationName, next.ImageID = base+"-image-"+strconv.Itoa(n), img.id
		if c.launchConfigs[next.LaunchConfigurationName] == nil { // two groups may share one
			if err := c.createLaunchConfiguration(&next); err != nil {
				return control.PublishedGroup{}, err
			}
		}
		g.source = source{launchConfig: next.LaunchConfigurationName}
		return control.PublishedGroup{Name: g.name, LaunchConfiguration: next.LaunchConfigurationName}, nil
	}
	spec := g.source.templateSpec()
	t, err := c.findTemplate(spec.LaunchTemplateID, "")
	if err != nil {
		return control.PublishedGroup{}, err
	}
	current, err := t.versionNamed(spec.Version)
	if err != nil {
		return control.PublishedGroup{}, err
	}
	out := control.PublishedGroup{Name: g.name, LaunchTemplate: t.name, Version: current.number}
	if strings.HasPrefix(deref(current.data.ImageID), "resolve:ssm:") {
		return out, nil
	}
	v := made[t]
	if v == nil {
		if v, err = c.createVersion(t, current.String(), img.name, LaunchTemplateData{ImageID: &img.id}); err != nil {
			return control.PublishedGroup{}, err
		}
		made[t] = v
	}
	out.Version = v.number
	switch spec.Version {
	case "$Latest":
	case "$Default":
		t.defaultVersion = v.number
	default:
		moved := *spec // the group's specification may be in an answer that is being written: replace, never change
		moved.Version = v.String()
		if g.source.mixed != nil {
			policy, lt := *g.source.mixed, *g.source.mixed.LaunchTemplate
			lt.LaunchTemplateSpecification = &moved
			policy.LaunchTemplate = &lt
			g.source = source{mixed: &policy}
		} else {
			g.source = source{template: &moved}
		}
	}
	return out, nil
}

// PublishRelease implements [control.Backend].
func (c *Cloud) PublishRelease(r control.PublishReleaseRequest) ([]control.PublishedRelease, error) {
	out := []control.PublishedRelease{}
	list, err := c.AddReleases(ReleaseSpec{AMIType: r.AMIType, Kubernetes: cmp.Or(r.Kubernetes, KubernetesVersion)})
	for _, l := range list {
		out = append(out, control.PublishedRelease{AMIType: l.AMIType, Kubernetes: l.Kubernetes, Version: l.Version,
			ImageID: l.ImageID, ImageName: l.ImageName, Parameter: l.Parameter})
	}
	return out, err
}

// refreshStatuses are AWS's InstanceRefreshStatus values; those of a refresh that is over come last.
var refreshStatuses = []string{
	"Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking",
	"Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful",
}

// firstEndedStatus is where in refreshStatuses the ended ones begin.
const firstEndedStatus = 5

// SeedInstanceRefresh implements [control.Backend].
func (c *Cloud) SeedInstanceRefresh(r control.InstanceRefreshRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[r.Group]
	if g == nil {
		return fmt.Errorf("seed an instance refresh: there is no Auto Scaling group %q", r.Group)
	}
	if r.Status == "" {
		r.Status = "InProgress"
	}
	at := slices.Index(refreshStatuses, r.Status)
	if at < 0 {
		return fmt.Errorf("seed an instance refresh of %s: status %q is not known: choose from %s", r.Group, r.Status, strings.Join(refreshStatuses, ", "))
	}
	now := c.now()
	if n := len(g.refreshes); n == 0 || !g.refreshes[n-1].EndTime.IsZero() {
		g.refreshes = append(g.refreshes, &InstanceRefresh{InstanceRefreshID: c.newUUID(), AutoScalingGroupName: g.name, StartTime: now, InstancesToUpdate: int32(g.capacity())})
	}
	last := g.refreshes[len(g.refreshes)-1]
	last.Status = r.Status
	if at >= firstEndedStatus {
		last.EndTime, last.PercentageComplete, last.InstancesToUpdate = now, 100, 0
	}
	return nil
}

// SeedWarmPool implements [control.Backend].
func (c *Cloud) SeedWarmPool(r control.WarmPoolRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[r.Group]
	if g == nil {
		return fmt.Errorf("seed a warm pool: there is no Auto Scaling group %q", r.Group)
	}
	var err error
	if r.Remove {
		_, err = c.deleteWarmPool(&deleteWarmPoolInput{AutoScalingGroupName: g.name, ForceDelete: true})
	} else {
		_, err = c.putWarmPool(&putWarmPoolInput{AutoScalingGroupName: g.name, MinSize: ptr(int32(r.MinSize))})
	}
	if err != nil {
		return fmt.Errorf("seed a warm pool of %s: %w", r.Group, err)
	}
	return nil
}
