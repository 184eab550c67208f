package kops

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/kops/upup/pkg/fi"

	"github.com/rotatord/rotator/drivers/sdk"
)

// updates counts the runs of kops' update, and lets a test fail them.
type updates struct {
	mu   sync.Mutex
	runs []string // "dry" or "apply", and the groups that get another image
	fail func(apply bool) error
}

func watchUpdates(d *Driver, update updater) *updates {
	u := &updates{}
	d.update = func(s *store, ctx context.Context, sp *spec, cloud fi.Cloud, images map[string]string, apply bool) (*difference, error) {
		run := "dry"
		if apply {
			run = "apply"
		}
		for _, name := range slices.Sorted(maps.Keys(images)) {
			if images[name] != stageOld {
				run += " " + name
			}
		}
		u.mu.Lock()
		u.runs = append(u.runs, run)
		fail := u.fail
		u.mu.Unlock()
		if fail != nil {
			if err := fail(apply); err != nil {
				return nil, err
			}
		}
		return update(s, ctx, sp, cloud, images, apply)
	}
	return u
}

// update plays kops' update of images, which is all that differs.
func (m *stageEC2) update(_ *store, ctx context.Context, sp *spec, _ fi.Cloud, images map[string]string, apply bool) (*difference, error) {
	diff := &difference{}
	for _, ig := range groupsWith(sp.groups, images) {
		had := m.images(ig.Name)
		if len(had) == 0 || had[len(had)-1] == ig.Spec.Image {
			continue // the first: the control plane, whose template has another name
		}
		name := ig.Name + "." + stageCluster
		diff.changes = append(diff.changes, change{what: "modify LaunchTemplate/" + name, fields: []string{"ImageID"}})
		if apply {
			_, err := m.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateName: &name, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &ig.Spec.Image}})
			if err != nil {
				return nil, err
			}
		}
	}
	return diff, nil
}

// since are the runs since the last call.
func (u *updates) since() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	runs := u.runs
	u.runs = nil
	return runs
}

// stageTogether stages releases, by group, with calls that all wait before the
// first is served. It returns what each is told: "done", or a code.
func stageTogether(t *testing.T, d *Driver, releases map[string]string) map[string]string {
	t.Helper()
	unlock, err := d.changing.lock(t.Context(), stageCluster)
	if err != nil {
		t.Fatal(err)
	}
	calls, said := map[string]*stageCall{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(releases)) {
		c := newStageCall(t.Context(), name, sdk.StageRequest{Release: releases[name]})
		first, err := d.stages.queue(stageCluster, c)
		if err != nil {
			t.Fatal(err)
		}
		if first {
			go d.runStages(t.Context(), stageCluster)
		}
		calls[name] = c
	}
	unlock()
	for name, c := range calls {
		said[name] = saidOf(c.wait(t.Context()))
	}
	return said
}

func saidOf(res *sdk.StageResult, err error) string {
	switch {
	case err != nil:
		return status.Code(err).String()
	case res.State == sdk.OperationFailed:
		return res.Diagnostics[0].Code
	}
	return "done"
}

// Twelve groups take one dry run and one update, and each caller its own answer.
func TestStageTogether(t *testing.T) {
	more := strings.Fields("m-1 m-2 m-3 m-4 m-5 m-6 m-7 m-8 m-9")
	d, _, machines, _ := onStageMock(t, more...)
	u := watchUpdates(d, d.update)
	want := map[string]string{"gone": codes.NotFound.String(), "control-plane": "architecture-differs"}
	releases := map[string]string{"gone": stageNew, "control-plane": stageArm}
	all := append([]string{"batch", "web"}, more...)
	for _, name := range all {
		releases[name], want[name] = stageNew, "done"
	}
	if diff := cmp.Diff(want, stageTogether(t, d, releases)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	slices.Sort(all)
	groups := " " + strings.Join(all, " ")
	if diff := cmp.Diff([]string{"dry" + groups, "apply" + groups}, u.since()); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	for _, name := range all {
		if got := machines.images(name); !slices.Equal(got, []string{stageOld, stageNew}) || specifiedImage(t, d, name) != stageNew {
			t.Errorf("group %s: the versions have the images %v, the state store %s", name, got, specifiedImage(t, d, name))
		}
	}
	if got := machines.images("control-plane.masters"); !slices.Equal(got, []string{stageOld}) {
		t.Errorf("the control plane was refused, and its versions have the images %v", got)
	}
	// The same calls again find their goal reached.
	stageTogether(t, d, releases)
	if runs := u.since(); len(runs) > 0 {
		t.Errorf("the same calls again: %v", runs)
	}
}

// One image that changes other groups too is refused, and the others are staged.
// Images that change more of their own template are not.
func TestStageTogetherRefused(t *testing.T) {
	d, _, machines, _ := onStageMock(t)
	u := watchUpdates(d, d.update)
	said := stageTogether(t, d, map[string]string{"batch": stageOther, "web": "flatcar-1"})
	if diff := cmp.Diff(map[string]string{"batch": "done", "web": "image-changes-more"}, said); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	want := []string{"dry batch web", "dry", "dry batch", "dry web", "dry batch", "apply batch"}
	if diff := cmp.Diff(want, u.since()); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	if got := machines.images("web"); !slices.Equal(got, []string{stageOld}) || specifiedImage(t, d, "web") != stageOld {
		t.Errorf("group web was refused; its versions have the images %v, the state store %s", got, specifiedImage(t, d, "web"))
	}
}

// After a crash between the state store and the cloud, calls for only some of
// the groups are refused, unless those for the others come before that is said.
func TestStageTogetherAfterCrash(t *testing.T) {
	d, _, machines, dir := onStageMock(t)
	u := watchUpdates(d, machines.update)
	for _, name := range []string{"batch", "web"} {
		edit(t, dir, "instancegroup/"+name, stageOld, stageNew)
	}
	if said := stageTogether(t, d, map[string]string{"web": stageNew}); said["web"] != codeNotApplied {
		t.Errorf("one of two groups: %s", said["web"])
	}
	u.since()
	var late *stageCall
	u.fail = func(apply bool) error {
		if late == nil {
			late = newStageCall(t.Context(), "batch", sdk.StageRequest{Release: stageNew})
			if first, err := d.stages.queue(stageCluster, late); first || err != nil {
				t.Errorf("a call that comes late: %v, %v", first, err)
			}
		}
		return nil
	}
	if said := stageTogether(t, d, map[string]string{"web": stageNew}); said["web"] != "done" {
		t.Errorf("one of two groups, and the other late: %s", said["web"])
	}
	if said := saidOf(late.wait(t.Context())); said != "done" {
		t.Errorf("the late one: %s", said)
	}
	want := []string{"dry web", "dry", "dry batch web", "apply batch web"}
	if diff := cmp.Diff(want, u.since()); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	if got := machines.images("batch"); !slices.Equal(got, []string{stageOld, stageNew}) {
		t.Errorf("the versions of group batch have the images %v", got)
	}
}

// What does not concern the others: a caller that leaves, another release for
// the same group, a dry run. What concerns all: an update that fails.
func TestStageTogetherApart(t *testing.T) {
	d, _, machines, _ := onStageMock(t)
	u := watchUpdates(d, machines.update)
	unlock, err := d.changing.lock(t.Context(), stageCluster)
	if err != nil {
		t.Fatal(err)
	}
	leaving, leave := context.WithCancel(t.Context())
	call := func(ctx context.Context, group string, r sdk.StageRequest) *stageCall {
		c := newStageCall(ctx, group, r)
		if _, err := d.stages.queue(stageCluster, c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	left := call(leaving, "batch", sdk.StageRequest{Release: stageNew})
	web := call(t.Context(), "web", sdk.StageRequest{Release: stageNew})
	twice := call(t.Context(), "web", sdk.StageRequest{Release: stageNew})
	back := call(t.Context(), "web", sdk.StageRequest{Release: stageOld, AllowDowngrade: true})
	dry := call(t.Context(), "batch", sdk.StageRequest{Release: stageNew, Op: sdk.Op{DryRun: true}})
	leave()
	go d.runStages(t.Context(), stageCluster)
	unlock()
	if _, err := left.wait(leaving); status.Code(err) != codes.Canceled {
		t.Errorf("who left is told %v", err)
	}
	for name, c := range map[string]*stageCall{"web": web, "the same again": twice, "web, back": back, "the dry run": dry} {
		if said := saidOf(c.wait(t.Context())); said != "done" {
			t.Errorf("%s: %s", name, said)
		}
	}
	if diff := cmp.Diff([]string{"dry web", "apply web", "dry", "apply", "dry batch"}, u.since()); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	if got := machines.images("batch"); !slices.Equal(got, []string{stageOld}) {
		t.Errorf("group batch was not to be staged, and its versions have the images %v", got)
	}

	u.fail = func(apply bool) error {
		if apply {
			return errors.New("no network")
		}
		return nil
	}
	releases := map[string]string{"batch": stageNew, "web": stageNew}
	failed := map[string]string{"batch": "kops-update-failed", "web": "kops-update-failed"}
	if diff := cmp.Diff(failed, stageTogether(t, d, releases)); diff != "" {
		t.Errorf("an update that fails (-want +got):\n%s", diff)
	}
	u.fail = func(bool) error { panic("boom") }
	if said := stageTogether(t, d, releases); said["web"] != codes.Internal.String() {
		t.Errorf("the library panics: %v", said)
	}
	u.fail = nil
	if diff := cmp.Diff(map[string]string{"batch": "done", "web": "done"}, stageTogether(t, d, releases)); diff != "" {
		t.Errorf("the same calls again (-want +got):\n%s", diff)
	}
}
