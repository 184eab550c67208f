package sdk

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// Release is an image, or a release of one, as a person knows it.
type Release struct {
	ID         string    // what Stage takes
	Name       string    // empty: it has none but its id
	Created    time.Time // zero: unknown
	Notes      string    // URL of its release notes; empty: unknown
	Kubernetes string    // version of its kubelet, as 1.37; empty: unknown
}

// ReleaseOrder says where a release stands, seen from the current one.
type ReleaseOrder int

// Orders. The zero value: there is no target.
const (
	ReleaseOrderUnspecified ReleaseOrder = iota
	ReleaseSame
	ReleaseNewer
	ReleaseOlder   // a downgrade
	ReleaseUnknown // they cannot be compared
)

// Releases answers Stager.Releases.
type Releases struct {
	Groups      []GroupRelease
	Diagnostics []Diagnostic // about the scope
}

// GroupRelease compares one group with a release.
type GroupRelease struct {
	GroupID, GroupName string
	Role               Role    // as in its NodeGroup; unspecified: RoleNode
	Current            Release // the group's desired revision
	// Target is what the release means for this group; nil: it cannot be had for it,
	// and a diagnostic of severity error says why.
	Target *Release
	Order  ReleaseOrder
	// Diagnostics: one of severity error means that Stage would refuse it.
	Diagnostics []Diagnostic
}

// StageRequest makes an image or release the group's desired revision.
type StageRequest struct {
	Op
	GroupID string
	Release string // latest, an image id, ssm:PARAMETER, a version
	// AllowDowngrade: without it a release older than the group's is a failure.
	AllowDowngrade bool
}

// StageResult answers Stage. Previous is what the desired revision was before
// this call changed it, Staged what it is now; the same where nothing was to
// change. Both are required unless the operation has failed.
type StageResult struct {
	Operation
	Previous, Staged Release
}

func (s *server) Releases(ctx context.Context, r *proto.ReleasesRequest) (*proto.ReleasesResponse, error) {
	d, ok := s.d.(Stager)
	if !ok {
		return nil, notOffered(s.d, "Releases")
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	if r.GetScope().GetCluster() == "" || r.GetRelease() == "" {
		return nil, Errorf(codes.InvalidArgument, "Releases: scope.cluster or release is empty")
	}
	list, err := d.Releases(ctx, Scope{Cluster: r.GetScope().GetCluster(), Groups: r.GetScope().GetGroups()}, r.GetRelease())
	if err != nil {
		return nil, wireError(err)
	}
	if list == nil {
		return nil, Errorf(codes.Internal, "Releases: the driver answered nothing and no error: this is a bug of the driver")
	}
	out := &proto.ReleasesResponse{}
	for _, g := range list.Groups {
		p, err := groupReleaseToProto(g)
		if err != nil {
			return nil, Errorf(codes.Internal, "Releases: group %s: %v: this is a bug of the driver", g.GroupID, err)
		}
		out.Groups = append(out.Groups, p)
	}
	if out.Diagnostics, err = diagnosticsToProto(list.Diagnostics); err != nil {
		return nil, Errorf(codes.Internal, "Releases: %v: this is a bug of the driver", err)
	}
	return out, nil
}

func (s *server) Stage(ctx context.Context, r *proto.StageRequest) (*proto.StageResponse, error) {
	var previous, staged *proto.Release
	op, err := operate[Stager](s, "Stage", r, func(d Stager, op Op) (*Operation, error) {
		result, err := d.Stage(ctx, StageRequest{Op: op, GroupID: r.GetGroupId(), Release: r.GetRelease(), AllowDowngrade: r.GetAllowDowngrade()})
		if err != nil || result == nil {
			return nil, err
		}
		if result.State != OperationFailed && (result.Previous.ID == "" || result.Staged.ID == "") {
			return nil, Errorf(codes.Internal, "Stage: the driver does not say what was and what is the group's release: this is a bug of the driver")
		}
		previous, staged = releaseToProto(result.Previous), releaseToProto(result.Staged)
		return &result.Operation, nil
	})
	return &proto.StageResponse{Operation: op, Previous: previous, Staged: staged}, err
}

func groupReleaseToProto(g GroupRelease) (*proto.GroupRelease, error) {
	if g.GroupID == "" || g.GroupName == "" || g.Current.ID == "" {
		return nil, fmt.Errorf("it lacks an id, a name or a current release")
	}
	out := &proto.GroupRelease{GroupId: g.GroupID, GroupName: g.GroupName, Current: releaseToProto(g.Current)}
	var err error
	if g.Role != RoleUnspecified {
		if out.Role, err = roleToProto(g.Role); err != nil {
			return nil, err
		}
	}
	if out.Diagnostics, err = diagnosticsToProto(g.Diagnostics); err != nil {
		return nil, err
	}
	if g.Target == nil {
		if g.Order != ReleaseOrderUnspecified || !hasError(g.Diagnostics) {
			return nil, fmt.Errorf("it has no target, and no diagnostic of severity error that says why")
		}
		return out, nil
	}
	if g.Target.ID == "" {
		return nil, fmt.Errorf("its target has no id")
	}
	out.Target = releaseToProto(*g.Target)
	out.Order, err = releaseOrderToProto(g.Order)
	return out, err
}

func releaseToProto(r Release) *proto.Release {
	if r.ID == "" {
		return nil
	}
	return &proto.Release{Id: r.ID, Name: r.Name, Created: stamp(r.Created), Notes: r.Notes, Kubernetes: r.Kubernetes}
}
