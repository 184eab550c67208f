package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

var (
	_ runtime.Stager   = (*Driver)(nil)
	_ runtime.Accessor = (*Driver)(nil)
)

var releaseOrders = map[proto.ReleaseOrder]model.ReleaseOrder{
	proto.ReleaseOrder_RELEASE_ORDER_SAME:    model.ReleaseSame,
	proto.ReleaseOrder_RELEASE_ORDER_NEWER:   model.ReleaseNewer,
	proto.ReleaseOrder_RELEASE_ORDER_OLDER:   model.ReleaseOlder,
	proto.ReleaseOrder_RELEASE_ORDER_UNKNOWN: model.ReleaseUnknown,
}

// Releases compares the groups that can be staged with a release, and returns the
// driver's diagnostics about the scope too. groups are ids; none: all. It changes
// nothing. Errors are *engine.Error; of code ErrUnsupported where the driver
// stages nothing.
func (d *Driver) Releases(ctx context.Context, groups []string, release string) ([]model.GroupRelease, []model.Diagnostic, error) {
	if len(groups) == 0 {
		groups = d.sup.o.Groups
	}
	var out []model.GroupRelease
	var diagnostics []model.Diagnostic
	err := d.sup.call(ctx, "Releases", func(ctx context.Context, c proto.DriverClient) error {
		r, err := c.Releases(ctx, &proto.ReleasesRequest{Scope: &proto.Scope{Cluster: d.sup.o.Cluster, Groups: groups}, Release: release})
		if err != nil {
			return err
		}
		if out, err = groupReleasesFromProto(r.GetGroups()); err == nil {
			diagnostics, err = diagnosticsFromProto(r.GetDiagnostics())
		}
		return brokenAnswer(err)
	})
	return out, diagnostics, err
}

// Stage makes a release the group's desired revision and tells what that was
// before this call and is now. done is false while the provider works on it:
// the same call tells how far that is. Errors are *engine.Error.
func (d *Driver) Stage(ctx context.Context, rotation string, r runtime.StageRequest) (previous, staged model.Release, done bool, err error) {
	err = d.sup.call(ctx, "Stage of group "+r.GroupID, func(ctx context.Context, c proto.DriverClient) error {
		a, err := c.Stage(ctx, &proto.StageRequest{Op: &proto.Op{Id: r.Op, RotationId: rotation, DryRun: r.DryRun},
			GroupId: r.GroupID, Release: r.Release, AllowDowngrade: r.AllowDowngrade})
		if err := outcome(err, a.GetOperation()); err != nil {
			return err
		}
		done = a.GetOperation().GetState() == proto.OperationState_OPERATION_STATE_DONE
		if previous, err = releaseFromProto(a.GetPrevious()); err == nil {
			staged, err = releaseFromProto(a.GetStaged())
		}
		return brokenAnswer(err)
	})
	return previous, staged, done, err
}

// Access answers how the cluster's API server is reached. Errors are
// *engine.Error, and never hold a credential.
func (d *Driver) Access(ctx context.Context) (model.Access, error) {
	var out model.Access
	err := d.sup.call(ctx, "Access", func(ctx context.Context, c proto.DriverClient) error {
		a, err := c.Access(ctx, &proto.AccessRequest{Cluster: d.sup.o.Cluster})
		if err != nil {
			return err
		}
		expires, err := timeFromProto("expires_at", a.GetExpiresAt())
		switch {
		case err != nil:
		case a.GetEndpoint() == "":
			err = errors.New("it has no endpoint")
		case a.GetToken() == "" && (len(a.GetClientCertificate()) == 0 || len(a.GetClientKey()) == 0):
			err = errors.New("it has no credentials")
		}
		out = model.Access{Endpoint: a.GetEndpoint(), CA: a.GetCa(), ServerName: a.GetServerName(), Token: a.GetToken(),
			ClientCertificate: a.GetClientCertificate(), ClientKey: a.GetClientKey(), ExpiresAt: expires}
		return brokenAnswer(err)
	})
	if err != nil {
		return model.Access{}, err
	}
	return out, nil
}

// brokenAnswer is the error of an answer that breaks the protocol; nil stays nil.
func brokenAnswer(err error) error {
	if err == nil {
		return nil
	}
	return &engine.Error{Code: engine.ErrPermanent, Message: fmt.Sprintf("the answer breaks the protocol: %v: this is a bug of the driver", err)}
}

func groupReleasesFromProto(list []*proto.GroupRelease) ([]model.GroupRelease, error) {
	if len(list) > maxItems {
		return nil, fmt.Errorf("it has more than %d groups", maxItems)
	}
	seen := map[string]bool{}
	out := make([]model.GroupRelease, 0, len(list))
	for _, g := range list {
		r, err := groupReleaseFromProto(g)
		if err == nil && seen[r.GroupID] {
			err = errors.New("it is in it twice")
		}
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", g.GetGroupId(), err)
		}
		seen[r.GroupID] = true
		out = append(out, r)
	}
	return out, nil
}

func groupReleaseFromProto(g *proto.GroupRelease) (model.GroupRelease, error) {
	out := model.GroupRelease{GroupID: g.GetGroupId(), Group: g.GetGroupName(), Role: model.RoleNode}
	if out.GroupID == "" || out.Group == "" {
		return out, errors.New("it lacks an id or a name")
	}
	var err error
	if g.GetRole() != proto.Role_ROLE_UNSPECIFIED {
		if out.Role, err = known("role", roles, g.GetRole()); err != nil {
			return out, err
		}
	}
	if out.Current, err = releaseFromProto(g.GetCurrent()); err != nil {
		return out, fmt.Errorf("current release: %w", err)
	}
	if out.Diagnostics, err = diagnosticsFromProto(g.GetDiagnostics()); err != nil {
		return out, err
	}
	if g.GetTarget() == nil {
		if out.Error() == nil {
			return out, errors.New("it has no target, and nothing says why")
		}
		return out, nil
	}
	target, err := releaseFromProto(g.GetTarget())
	if err != nil {
		return out, fmt.Errorf("target: %w", err)
	}
	out.Target = &target
	out.Order, err = known("order", releaseOrders, g.GetOrder())
	return out, err
}

func releaseFromProto(r *proto.Release) (model.Release, error) {
	out := model.Release{ID: r.GetId(), Name: r.GetName(), Notes: r.GetNotes(), Kubernetes: r.GetKubernetes()}
	if out.ID == "" {
		return out, errors.New("a release has no id")
	}
	var err error
	out.Created, err = timeFromProto("created", r.GetCreated())
	return out, err
}
