package eks

import (
	"slices"
	"strconv"

	"github.com/rotatord/rotator/drivers/sdk"
)

// Labels that EKS gives the nodes of a managed node group, beside those of the
// node group itself, which every way keeps
// (https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html).
const (
	labelNodegroup = "eks.amazonaws.com/nodegroup"
	// labelImage is the id of the node's image. EKS gives it with its own images and
	// with the user's.
	labelImage = "eks.amazonaws.com/nodegroup-image"
	// labelTemplate is the version of the user's launch template, where there is one.
	labelTemplate = "eks.amazonaws.com/sourceLaunchTemplateVersion"
)

// lostLabels are those that new nodes of the node group have another value of.
// List are the group's instances with the reasons for which they go.
//
// A second node group has another name. A new release has another image, and a
// node group that is rolled to another version of its launch template says so: in
// every way that renews. The way self launches from what the Auto Scaling group
// has anyway, and only EKS knows what that says.
func (d *Driver) lostLabels(m *managed, list []sdk.Instance) []string {
	var lost []string
	if m.Way == WayBlueGreen {
		lost = append(lost, labelNodegroup+"="+m.name)
	}
	if !m.Way.renews() {
		return lost
	}
	if has := m.templateVersion(); has > 0 && has < m.wanted.template {
		lost = append(lost, labelTemplate+"="+strconv.FormatInt(has, 10))
	}
	for _, image := range d.imagesThatGo(m, list) {
		lost = append(lost, labelImage+"="+image)
	}
	return lost[:min(len(lost), sdk.MaxLostLabels)]
}

// imagesThatGo are the images of instances that new ones do not have, each once
// and sorted: of an older release, or where the wanted one is known, any other.
func (d *Driver) imagesThatGo(m *managed, list []sdk.Instance) []string {
	var images []string
	for _, i := range list {
		image := d.view.known[i.ID].image
		older := slices.ContainsFunc(i.Reasons, func(r sdk.Reason) bool { return r.Code == reasonRelease || r.Code == reasonKubernetes })
		if image != "" && (older || m.byImage() && m.wanted.image != "" && image != m.wanted.image) {
			images = append(images, image)
		}
	}
	slices.Sort(images)
	return slices.Compact(images)
}
