package kops

import (
	"context"
	"strings"

	kopsapi "k8s.io/kops/pkg/apis/kops"

	"github.com/rotatord/rotator/drivers/sdk"
)

// unapplied says, by instance group, what the state store specifies otherwise
// than the launch template has it: the image and the machine type, which are
// what people change. kops' dry run would find the rest too, in as many calls
// as an update.
func (d *Driver) unapplied(ctx context.Context, inv *inventory) (map[string][]sdk.Diagnostic, error) {
	var err error
	if inv.templates, err = d.templates(ctx, inv.aws(), inv.groups, inv.versions); err != nil {
		return nil, err
	}
	found, out := d.images(inv.aws()), map[string][]sdk.Diagnostic{}
	for _, ig := range inv.spec.groups {
		applied, ok := inv.templates[ig.Name]
		if !ok {
			continue
		}
		differs := func(what, specified, has string) {
			out[ig.Name] = append(out[ig.Name], finding(sdk.SeverityWarning, "group-not-applied", ig.Name,
				"Run kops update cluster --yes before the rotation: what is not applied is not rotated in.",
				"instance group %s is specified with %s %s, and its launch template has %s", ig.Name, what, specified, has))
		}
		if t := machineTypeOf(ig); t != "" && applied.machineType != "" && t != applied.machineType {
			differs("machine type", t, applied.machineType)
		}
		if ig.Spec.Image == "" || ig.Spec.Image == applied.image {
			continue
		}
		specified := ig.Spec.Image
		if !strings.HasPrefix(specified, "ami-") {
			i, err := found.find(ctx, specified)
			switch {
			case err != nil && isStatus(err):
				return nil, err
			case err != nil:
				out[ig.Name] = append(out[ig.Name], finding(sdk.SeverityWarning, "image-not-found", ig.Name,
					"kops update cluster fails until the instance group names an image that exists.",
					"instance group %s is specified with image %s: %s", ig.Name, specified, cause(err)))
				continue
			case i.id == applied.image:
				continue
			}
			specified += " (" + i.id + ")"
		}
		differs("image", specified, applied.image)
	}
	return out, nil
}

// machineTypeOf is the machine type that kops gives a group's launch template;
// empty: a policy of several decides.
func machineTypeOf(ig *kopsapi.InstanceGroup) string {
	if ig.Spec.MixedInstancesPolicy != nil {
		return ""
	}
	t, _, _ := strings.Cut(ig.Spec.MachineType, ",")
	return t
}
