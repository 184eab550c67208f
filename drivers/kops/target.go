package kops

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/pkg/cloudinstances"

	"github.com/rotatord/rotator/drivers/sdk"
)

// target is one group that is about to be changed.
type target struct {
	inventory
	d    *Driver
	name string
	ig   *kopsapi.InstanceGroup // nil where the cloud names groups otherwise (GCE)
	hold *holdRecord            // nil: nobody holds it
	// group is the cloud's, after read.
	group *cloudinstances.CloudInstanceGroup
}

// open finds a group for a change. A group that does not exist is NOT_FOUND,
// one that another rotation holds ABORTED. A non-nil operation ends the call: a
// record cannot be read. With fresh the specification is read now.
func (d *Driver) open(ctx context.Context, id, rotation string, fresh bool) (*target, *sdk.Operation, error) {
	_, s, err := d.configured()
	if err != nil {
		return nil, nil, err
	}
	if !rotationID.MatchString(rotation) {
		return nil, nil, sdk.Errorf(codes.InvalidArgument, "rotation id %q: give 1 to 64 of the characters A-Z a-z 0-9 . _ : / @ + -", rotation)
	}
	cluster, name, err := splitGroupID(id)
	if err != nil {
		return nil, nil, err
	}
	age := specAge
	if fresh {
		age = 0
	}
	t := &target{d: d, name: name}
	if t.spec, err = d.spec(ctx, s, cluster, age); err != nil {
		return nil, nil, err
	}
	t.ig = t.spec.group(name)
	if t.cloud, err = d.cloud(ctx, t.cluster); err != nil {
		return nil, nil, err
	}
	if t.ig == nil {
		// A name that only the cloud knows, or none at all.
		if err := t.read(ctx); err != nil {
			return nil, nil, err
		}
	}
	t.hold, err = call(ctx, &d.calls, "reading the state store", func() (*holdRecord, error) {
		return t.readHold(context.WithoutCancel(ctx), name)
	})
	switch unreadable := (*errUnreadable)(nil); {
	case errors.As(err, &unreadable):
		return nil, failed(unreadableDiagnostic(name, t.holdPath(name), err)), nil
	case err != nil:
		return nil, nil, statusOf("reading the record of the rotation on", name, err)
	}
	if err := t.hold.checkHolder(t.holdPath(name), rotation); err != nil {
		return nil, nil, err
	}
	return t, nil, nil
}

// read asks the cloud for the group, once.
func (g *target) read(ctx context.Context) error {
	if g.group != nil {
		return nil
	}
	igs := g.spec.groups
	if g.ig != nil {
		igs = []*kopsapi.InstanceGroup{g.ig}
	}
	groups, err := g.d.cloudGroups(ctx, &g.inventory, igs)
	if err != nil {
		return statusOf("looking at the group", g.name, err)
	}
	if groups[g.name] == nil {
		return sdk.Errorf(codes.NotFound, "cluster %s has no group %s in its cloud: somebody deleted it, or kops update cluster never made it", g.cluster.Name, g.name)
	}
	g.groups = map[string]*cloudinstances.CloudInstanceGroup{g.name: groups[g.name]}
	if g.others, err = g.d.machines(ctx, &g.inventory); err != nil {
		return statusOf("looking at the machines of the group", g.name, err)
	}
	g.group = groups[g.name]
	return nil
}
