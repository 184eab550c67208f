package sdk_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

func TestReleases(t *testing.T) {
	ask := &proto.ReleasesRequest{Scope: &proto.Scope{Cluster: "c", Groups: []string{"g"}}, Release: "latest"}
	_, err := serve(t, &watcher{}).Releases(t.Context(), ask)
	wantCode(t, "not offered", err, codes.Unimplemented)
	_, err = serve(t, newFull()).Releases(t.Context(), ask)
	wantCode(t, "not configured", err, codes.FailedPrecondition)

	d := newFull()
	c := configured(t, d)
	for name, r := range map[string]*proto.ReleasesRequest{"no cluster": {Release: "latest"}, "no release": {Scope: ask.Scope}} {
		_, err := c.Releases(t.Context(), r)
		wantCode(t, name, err, codes.InvalidArgument)
	}
	_, err = c.Releases(t.Context(), ask)
	wantCode(t, "no answer", err, codes.Internal)

	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	why := []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: "image-architecture", Summary: "image ami-2 is for arm64"}}
	d.releases = &sdk.Releases{Groups: []sdk.GroupRelease{
		{GroupID: "g", GroupName: "workers", Current: sdk.Release{ID: "ami-1"}, Order: sdk.ReleaseNewer,
			Target: &sdk.Release{ID: "ami-2", Name: "node-2", Created: at, Notes: "https://notes.example", Kubernetes: "1.37"}},
		{GroupID: "h", GroupName: "arm", Current: sdk.Release{ID: "ami-3"}, Diagnostics: why},
	}}
	got, err := c.Releases(t.Context(), ask)
	wantCode(t, "Releases", err, codes.OK)
	want := &proto.ReleasesResponse{Groups: []*proto.GroupRelease{
		{GroupId: "g", GroupName: "workers", Current: &proto.Release{Id: "ami-1"}, Order: proto.ReleaseOrder_RELEASE_ORDER_NEWER,
			Target: &proto.Release{Id: "ami-2", Name: "node-2", Created: timestamppb.New(at), Notes: "https://notes.example", Kubernetes: "1.37"}},
		{GroupId: "h", GroupName: "arm", Current: &proto.Release{Id: "ami-3"},
			Diagnostics: []*proto.Diagnostic{{Severity: proto.Severity_SEVERITY_ERROR, Code: "image-architecture", Summary: "image ami-2 is for arm64"}}},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{sdk.Scope{Cluster: "c", Groups: []string{"g"}}, "latest"}, d.requests[len(d.requests)-2:]); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}

	for name, g := range map[string]sdk.GroupRelease{
		"no id":                {GroupName: "n", Current: sdk.Release{ID: "a"}, Diagnostics: why},
		"no current":           {GroupID: "g", GroupName: "n", Diagnostics: why},
		"no target and no why": {GroupID: "g", GroupName: "n", Current: sdk.Release{ID: "a"}},
		"a target without id":  {GroupID: "g", GroupName: "n", Current: sdk.Release{ID: "a"}, Target: &sdk.Release{Name: "x"}, Order: sdk.ReleaseNewer},
		"no order":             {GroupID: "g", GroupName: "n", Current: sdk.Release{ID: "a"}, Target: &sdk.Release{ID: "b"}},
	} {
		d.releases = &sdk.Releases{Groups: []sdk.GroupRelease{g}}
		_, err := c.Releases(t.Context(), ask)
		wantCode(t, name, err, codes.Internal)
	}
}

func TestStageAnswersWhatWas(t *testing.T) {
	got, err := configured(t, newFull()).Stage(t.Context(), &proto.StageRequest{Op: &proto.Op{Id: "o", RotationId: "r"}, GroupId: "g", Release: "latest"})
	wantCode(t, "Stage", err, codes.OK)
	want := &proto.StageResponse{Operation: &proto.Operation{State: proto.OperationState_OPERATION_STATE_DONE},
		Previous: &proto.Release{Id: "ami-1"}, Staged: &proto.Release{Id: "ami-2", Name: "two"}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestAccess(t *testing.T) {
	ask := &proto.AccessRequest{Cluster: "c"}
	_, err := serve(t, &watcher{}).Access(t.Context(), ask)
	wantCode(t, "not offered", err, codes.Unimplemented)
	_, err = serve(t, newFull()).Access(t.Context(), ask)
	wantCode(t, "not configured", err, codes.FailedPrecondition)
	d := newFull()
	c := configured(t, d)
	_, err = c.Access(t.Context(), &proto.AccessRequest{})
	wantCode(t, "no cluster", err, codes.InvalidArgument)
	for name, a := range map[string]*sdk.Access{"nothing": nil, "no endpoint": {Token: "t"}, "no credentials": {Endpoint: "https://e"},
		"half a certificate": {Endpoint: "https://e", ClientCertificate: []byte("c")}} {
		d.access = a
		_, err := c.Access(t.Context(), ask)
		wantCode(t, name, err, codes.Internal)
	}
	d.access = &sdk.Access{Endpoint: "https://e", CA: []byte("ca"), ServerName: "kubernetes", Token: "s3cret", ExpiresAt: time.Unix(900, 0)}
	got, err := c.Access(t.Context(), ask)
	wantCode(t, "Access", err, codes.OK)
	want := &proto.AccessResponse{Endpoint: "https://e", Ca: []byte("ca"), ServerName: "kubernetes", Token: "s3cret", ExpiresAt: timestamppb.New(time.Unix(900, 0))}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}

	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "access", d.access, "value", *d.access)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&log, verb, d.access)
		fmt.Fprintf(&log, verb, *d.access)
	}
	if strings.Contains(log.String(), "s3cret") || !strings.Contains(log.String(), "https://e") {
		t.Errorf("a log of access has its token, or not its endpoint: %s", log.String())
	}
}

func TestRollOnTheWire(t *testing.T) {
	at := time.Unix(1000, 0)
	group := func(r *sdk.RollStatus) *sdk.Snapshot {
		return &sdk.Snapshot{ObservedAt: at, Groups: []sdk.NodeGroup{{ID: "g", Name: "g", Role: sdk.RoleNode, Roll: r}}}
	}
	d := newFull()
	c := configured(t, d)
	d.snapshot = group(&sdk.RollStatus{ID: "u-1", OpID: "o-1", State: sdk.RollFailed, Phase: "drain", Since: at, Ended: at.Add(time.Minute),
		Diagnostics: []sdk.Diagnostic{{Severity: sdk.SeverityError, Code: "eviction", Summary: "pod shop/cart-1"}}})
	pages, err := observe(t, c, &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}})
	wantCode(t, "Observe", err, codes.OK)
	want := &proto.RollStatus{Id: "u-1", OpId: "o-1", State: proto.RollState_ROLL_STATE_FAILED, Phase: "drain", Since: timestamppb.New(at), Ended: timestamppb.New(at.Add(time.Minute)),
		Diagnostics: []*proto.Diagnostic{{Severity: proto.Severity_SEVERITY_ERROR, Code: "eviction", Summary: "pod shop/cart-1"}}}
	if diff := cmp.Diff(want, pages[0].GetPage().GetGroups()[0].GetRoll(), protocmp.Transform()); diff != "" {
		t.Errorf("roll (-want +got):\n%s", diff)
	}
	for name, r := range map[string]*sdk.RollStatus{"no id": {State: sdk.RollRunning}, "no state": {ID: "u"}} {
		d.snapshot = group(r)
		_, err := observe(t, c, &proto.ObserveRequest{Scope: &proto.Scope{Cluster: "c"}})
		wantCode(t, name, err, codes.Internal)
	}
}
