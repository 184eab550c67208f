package kops

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/drivers/sdk"
)

const stageWeb = stageCluster + "/web"

func specifiedImage(t *testing.T, d *Driver, group string) string {
	t.Helper()
	sp, err := d.store.load(t.Context(), stageCluster)
	if err != nil {
		t.Fatal(err)
	}
	return sp.group(group).Spec.Image
}

// edit changes a file of the cluster's folder, and puts it back at the end.
func edit(t *testing.T, dir, name, from, to string) {
	t.Helper()
	path := filepath.Join(dir, stageCluster, name)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now := strings.Replace(string(was), from, to, 1)
	if now == string(was) {
		t.Fatalf("%s does not hold %q:\n%s", name, from, was)
	}
	writeFiles(t, filepath.Join(dir, stageCluster), map[string]string{name: now})
	t.Cleanup(func() { writeFiles(t, filepath.Join(dir, stageCluster), map[string]string{name: string(was)}) })
}

func mustStage(t *testing.T, d *Driver, r sdk.StageRequest) *sdk.StageResult {
	t.Helper()
	res, err := d.Stage(t.Context(), r)
	if err != nil || res.State != sdk.OperationDone {
		t.Fatalf("Stage: %+v, %v", res, err)
	}
	return res
}

// An image is specified and applied, for one group only, and what was begun is
// gone on with.
func TestStage(t *testing.T) {
	d, _, machines, _ := onStageMock(t)
	same := func(group string, want ...string) {
		t.Helper()
		if got := machines.images(group); !slices.Equal(got, want) {
			t.Errorf("the versions of group %s have the images %v, want %v", group, got, want)
		}
	}

	dry := mustStage(t, d, sdk.StageRequest{Op: sdk.Op{DryRun: true}, GroupID: stageWeb, Release: "latest"})
	if report := dry.Diagnostics[0].Detail; !strings.Contains(report, "LaunchTemplate/web."+stageCluster) || !strings.Contains(report, stageOld+" -> "+stageNew) {
		t.Errorf("the dry run says\n%s", report)
	}
	same("web", stageOld)
	if got := specifiedImage(t, d, "web"); got != stageOld {
		t.Errorf("the dry run has specified %s", got)
	}

	res := mustStage(t, d, sdk.StageRequest{GroupID: stageWeb, Release: "latest"})
	if res.Previous.ID != stageOld || res.Staged.ID != stageNew || res.Staged.Name != "node-2" {
		t.Errorf("staged %+v after %+v", res.Staged, res.Previous)
	}
	same("web", stageOld, stageNew)
	same("batch", stageOld)
	if got := specifiedImage(t, d, "web"); got != stageNew {
		t.Errorf("the state store has image %s, want %s", got, stageNew)
	}
	again := mustStage(t, d, sdk.StageRequest{GroupID: stageWeb, Release: "latest"})
	if again.Previous.ID != stageNew || again.Staged.ID != stageNew {
		t.Errorf("once more: staged %+v after %+v", again.Staged, again.Previous)
	}
	same("web", stageOld, stageNew)

	// Killed between the state store and the cloud.
	sp, err := d.store.load(t.Context(), stageCluster)
	if err != nil {
		t.Fatal(err)
	}
	ig := sp.group("batch").DeepCopy()
	u := &update{inventory: inventory{spec: sp}, d: d, store: d.store, staged: []*staging{{ig: ig, target: &image{spelled: stageNew}}}}
	if u.specify(t.Context()); len(u.staged) != 1 {
		t.Fatal("the state store was not written")
	}
	same("batch", stageOld)
	mustStage(t, d, sdk.StageRequest{GroupID: stageCluster + "/batch", Release: stageNew})
	same("batch", stageOld, stageNew)

	// The way back, by a name.
	mustStage(t, d, sdk.StageRequest{GroupID: stageWeb, Release: "node-1", AllowDowngrade: true})
	same("web", stageOld, stageNew, stageOld)
	if got := specifiedImage(t, d, "web"); got != "node-1" {
		t.Errorf("the state store has image %s, want node-1", got)
	}
	// The device of its root volume is another: more than the id changes, and all of
	// it is the image's.
	mustStage(t, d, sdk.StageRequest{GroupID: stageWeb, Release: stageOther})
	same("web", stageOld, stageNew, stageOld, stageOther)
}

// Whatever else `kops update cluster` would change refuses an image, and
// nothing is changed then.
func TestStageRefused(t *testing.T) {
	d, _, machines, dir := onStageMock(t)
	for _, tc := range []struct {
		name     string
		file     string // of the cluster's folder, edited
		from, to string
		before   func(*testing.T)
		release  string
		code     string
		says     string
	}{
		{name: "another field of the group", file: "instancegroup/web", from: "m5.large", to: "m5.xlarge", release: stageNew, code: "cluster-not-applied", says: "modify LaunchTemplate/web." + stageCluster},
		{name: "the image of another group", file: "instancegroup/batch", from: stageOld, to: stageNew, release: stageNew, code: "cluster-not-applied", says: "modify LaunchTemplate/batch." + stageCluster},
		{name: "the size of another group", file: "instancegroup/batch", from: "maxSize: 2", to: "maxSize: 3", release: stageNew, code: "cluster-not-applied", says: "modify AutoscalingGroup/batch." + stageCluster},
		{name: "the cluster", file: "config", from: "sshAccess: [0.0.0.0/0]", to: "sshAccess: [10.0.0.0/8]", release: stageNew, code: "cluster-not-applied", says: "create SecurityGroupRule/"},
		{name: "another minor version of kops", file: "kops-version.txt", from: "1.36.0", to: "1.35.2", release: stageNew, code: "kops-version-differs", says: "1.35.2"},
		{name: "a newer patch of kops", file: "kops-version.txt", from: "1.36.0", to: "1.36.9", release: stageNew, code: "kops-update-failed", says: "older than last used"},
		{name: "Terraform", file: "config", from: "spec:\n", to: "spec:\n  target: {terraform: {providerExtraConfig: {alias: x}}}\n", release: stageNew, code: "cluster-of-terraform", says: stageCluster},
		{name: "a rotation", before: func(t *testing.T) {
			op := sdk.GroupRequest{Op: sdk.Op{RotationID: "r-1"}, GroupID: stageCluster + "/batch"}
			if res, err := d.Prepare(t.Context(), op); err != nil || res.State != sdk.OperationDone {
				t.Fatal(res, err)
			}
			t.Cleanup(func() {
				// The test's own context has ended by now.
				if res, err := d.Restore(context.Background(), op); err != nil || res.State != sdk.OperationDone {
					t.Error(res, err)
				}
			})
		}, release: stageNew, code: "cluster-held", says: "batch by rotation r-1"},
		{name: "another architecture", release: stageArm, code: "architecture-differs", says: "arm64"},
		{name: "no such image", release: "nothing", code: "image-not-found", says: "nothing"},
		{name: "no channel", file: "config", from: "channel: file", to: "channel: none # ", release: "latest", code: "no-latest-image", says: "none"},
		{name: "an image of the user's own", file: "../channel.yaml", from: "  - {name: " + stageOld, to: "  # {name: " + stageOld, release: "latest", code: "no-latest-image", says: "not of channel"},
		{name: "an image that changes other groups", release: "flatcar-1", code: "image-changes-more", says: "LaunchTemplate/batch." + stageCluster},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.file != "" {
				edit(t, dir, tc.file, tc.from, tc.to)
			}
			if tc.before != nil {
				tc.before(t)
			}
			was := specifiedImage(t, d, "web")
			res, err := d.Stage(t.Context(), sdk.StageRequest{GroupID: stageWeb, Release: tc.release})
			if err != nil || res.State != sdk.OperationFailed {
				t.Fatalf("Stage: %+v, %v", res, err)
			}
			if diag := res.Diagnostics[0]; diag.Code != tc.code || !strings.Contains(diag.Summary, tc.says) {
				t.Errorf("it says %s: %s, want %s with %q\n%s", diag.Code, diag.Summary, tc.code, tc.says, diag.Detail)
			}
			if now := specifiedImage(t, d, "web"); now != was || !slices.Equal(machines.images("web"), []string{stageOld}) {
				t.Errorf("it was refused, and the image is %s; the versions have %v", now, machines.images("web"))
			}
		})
	}
	t.Run("an older image", func(t *testing.T) {
		mustStage(t, d, sdk.StageRequest{GroupID: stageWeb, Release: stageNew})
		res, err := d.Stage(t.Context(), sdk.StageRequest{GroupID: stageWeb, Release: stageOld})
		if err != nil || res.State != sdk.OperationFailed || res.Diagnostics[0].Code != "release-older" {
			t.Errorf("Stage: %+v, %v", res, err)
		}
	})
	t.Run("no such group", func(t *testing.T) {
		if _, err := d.Stage(t.Context(), sdk.StageRequest{GroupID: stageCluster + "/gone", Release: stageNew}); status.Code(err) != codes.NotFound {
			t.Errorf("%v", err)
		}
	})
}

// What is in the state store and not in the cloud is the image that a group is
// to get, and none that it has.
func TestReleases(t *testing.T) {
	d, _, _, dir := onStageMock(t)
	edit(t, dir, "instancegroup/batch", stageOld, stageNew)
	edit(t, dir, "instancegroup/control-plane", "m5.large", "m6g.xlarge")
	list, err := d.Releases(t.Context(), sdk.Scope{Cluster: stageCluster}, "latest")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		group, current, target string
		order                  sdk.ReleaseOrder
		codes                  []string
	}
	rows := func(list *sdk.Releases) (rows []row) {
		for _, g := range list.Groups {
			r := row{group: g.GroupName, current: g.Current.ID, order: g.Order}
			if g.Target != nil {
				r.target = g.Target.ID
			}
			for _, diag := range g.Diagnostics {
				r.codes = append(r.codes, diag.Code)
			}
			rows = append(rows, r)
		}
		return rows
	}
	want := []row{
		{"batch", stageOld, stageNew, sdk.ReleaseNewer, nil},
		{"control-plane", stageOld, "", sdk.ReleaseOrderUnspecified, []string{"no-latest-image"}},
		{"web", stageOld, stageNew, sdk.ReleaseNewer, nil},
	}
	if diff := cmp.Diff(want, rows(list), cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("latest (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		release string
		want    row
	}{
		{stageOld, row{"web", stageOld, stageOld, sdk.ReleaseSame, nil}},
		{"flatcar-1", row{"web", stageOld, stageFlatcar, sdk.ReleaseNewer, nil}},
		{stageArm, row{"web", stageOld, stageArm, sdk.ReleaseNewer, []string{"architecture-differs"}}},
		{"nothing", row{"web", stageOld, "", sdk.ReleaseOrderUnspecified, []string{"image-not-found"}}},
	} {
		list, err := d.Releases(t.Context(), sdk.Scope{Cluster: stageCluster, Groups: []string{stageWeb}}, tc.release)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]row{tc.want}, rows(list), cmp.AllowUnexported(row{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.release, diff)
		}
	}
}

// The configuration says what the latest is, and a pattern means the newest
// image that matches.
func TestLatest(t *testing.T) {
	d, _, machines, dir := onStageMock(t)
	machines.matches = "node-*"
	if diags, err := d.Configure(t.Context(), []byte(`{"state":"file://`+dir+`","latest":"self/node-*"}`), false); err != nil || len(diags) > 0 {
		t.Fatal(diags, err)
	}
	list, err := d.Releases(t.Context(), sdk.Scope{Cluster: stageCluster, Groups: []string{stageWeb}}, "latest")
	if err != nil || list.Groups[0].Target == nil || list.Groups[0].Target.ID != stageOther {
		t.Fatalf("%+v, %v", list, err)
	}
	mustStage(t, d, sdk.StageRequest{GroupID: stageWeb, Release: "latest"})
	if got := specifiedImage(t, d, "web"); got != "self/node-5" {
		t.Errorf("the state store has image %q, want the name of the newest", got)
	}
}

// `kops update cluster --yes` between Prepare and Restore resumes what Prepare
// suspended. The record outlives it: the group stays held, a repeated Prepare
// suspends again, Restore puts back what was, and nothing is staged until then.
func TestUpdateBetweenPrepareAndRestore(t *testing.T) {
	d, cloud, _, _ := onStageMock(t)
	groups := cloud.MockAutoscaling.(*resumable).Groups
	op := sdk.GroupRequest{Op: sdk.Op{RotationID: "r-1"}, GroupID: stageWeb}
	for _, step := range []struct {
		name      string
		do        func() error
		suspended bool
	}{
		{"Prepare", func() error { _, err := d.Prepare(t.Context(), op); return err }, true},
		{"kops update cluster", func() error { kopsUpdate(t, d, cloud); return nil }, false},
		{"Prepare once more", func() error { _, err := d.Prepare(t.Context(), op); return err }, true},
		{"Stage", func() error {
			res, err := d.Stage(t.Context(), sdk.StageRequest{GroupID: stageCluster + "/batch", Release: stageNew})
			if err == nil && (res.State != sdk.OperationFailed || res.Diagnostics[0].Code != "cluster-held") {
				t.Errorf("Stage: %+v", res)
			}
			return err
		}, true},
		{"Restore", func() error { _, err := d.Restore(t.Context(), op); return err }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(step.name, err)
		}
		if got := suspended(groups["web."+stageCluster], azRebalance); got != step.suspended {
			t.Errorf("after %s AZRebalance is suspended: %v, want %v", step.name, got, step.suspended)
		}
	}
	mustStage(t, d, sdk.StageRequest{GroupID: stageCluster + "/batch", Release: stageNew})
}

// A plan says what the state store specifies and the cloud has not.
func TestNotApplied(t *testing.T) {
	d, _, _, dir := onStageMock(t)
	said := func() (list []string) {
		t.Helper()
		snapshot, err := d.Observe(t.Context(), sdk.Scope{Cluster: stageCluster}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range snapshot.Groups {
			for _, diag := range g.Diagnostics {
				list = append(list, diag.Code+": "+diag.Summary)
			}
		}
		return list
	}
	edit(t, dir, "instancegroup/control-plane", stageOld, "node-1") // the same image
	if list := said(); len(list) > 0 {
		t.Errorf("nothing differs, and it says %q", list)
	}
	edit(t, dir, "instancegroup/batch", "m5.large", "m5.xlarge")
	edit(t, dir, "instancegroup/web", stageOld, "node-2")
	edit(t, dir, "instancegroup/control-plane", "node-1", "nothing")
	want := []string{
		"group-not-applied: instance group batch is specified with machine type m5.xlarge, and its launch template has m5.large",
		`image-not-found: instance group control-plane is specified with image nothing: could not find Image for "nothing"`,
		"group-not-applied: instance group web is specified with image node-2 (ami-00000002), and its launch template has ami-00000001",
	}
	if diff := cmp.Diff(want, said()); diff != "" {
		t.Errorf("it says (-want +got):\n%s", diff)
	}
}
