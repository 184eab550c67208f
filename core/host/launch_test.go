package host_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/model"
)

func exampleOptions(t testing.TB, desired int) host.Options {
	return host.Options{
		Name: "example", Path: exampleDriver(t), Cluster: "prod",
		Config: map[string]any{"file": newCloud(t, desired), "password": "open sesame"},
	}
}

func launch(t testing.TB, o host.Options) *host.Driver {
	t.Helper()
	d, err := host.Launch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestLaunchObserveAndChange(t *testing.T) {
	d := launch(t, exampleOptions(t, 3))
	info := d.Info()
	if info.Name != "example" || info.Version == "" || len(info.ConfigSchema) == 0 {
		t.Errorf("info is %+v", info)
	}
	if diff := cmp.Diff([]string{"prepare", "set-surge", "terminate", "roll", "stage"}, info.Verbs); diff != "" {
		t.Errorf("verbs (-want +got):\n%s", diff)
	}

	do := func(e engine.Effect) {
		t.Helper()
		if err := d.Do(t.Context(), "rot-1", e); err != nil {
			t.Fatalf("%s: %v", e.Verb, err)
		}
	}
	do(engine.Effect{ID: "op-1", Verb: engine.VerbPrepare, GroupID: "g1"})
	do(engine.Effect{ID: "op-2", Verb: engine.VerbSetSurge, GroupID: "g1", Surge: 1})
	do(engine.Effect{ID: "op-3", Verb: engine.VerbTerminate, GroupID: "g1", InstanceID: "m-000001", Shrink: true, Surge: 0})
	s, diagnostics, err := d.Observe(t.Context(), 0)
	if err != nil || len(diagnostics) != 0 {
		t.Fatalf("observe: %v, diagnostics %v", err, diagnostics)
	}
	want := []model.NodeGroup{{
		ID: "g1", Name: "workers", Role: model.RoleNode, Desired: 3, Max: 8, Revision: "2", HeldBy: "rot-1",
		Traits: model.Traits{TerminateKeep: true, TerminateShrink: true, Prepare: true, Stage: true, Refill: model.RefillGroup, MaxSurge: 5},
	}}
	if diff := cmp.Diff(want, s.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	states := map[string]model.InstanceState{}
	for _, i := range s.Instances {
		states[i.ID] = i.State
		if i.ProviderID == "" || i.LaunchedAt.IsZero() || i.Outdated() != (i.Revision == "1") {
			t.Errorf("instance is %+v", i)
		}
	}
	if diff := cmp.Diff(map[string]model.InstanceState{
		"m-000001": model.InstanceTerminating, "m-000002": model.InstanceInService,
		"m-000003": model.InstanceInService, "m-000004": model.InstanceInService,
	}, states); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	do(engine.Effect{ID: "op-4", Verb: engine.VerbRestore, GroupID: "g1"})

	d.Close()
	d.Close() // more than once is fine
	if _, _, err := d.Observe(t.Context(), 0); codeOf(err) != engine.ErrDriverLost {
		t.Errorf("observe after Close: %v", err)
	}
}

// TestRoll has a driver roll a group, and sees how that goes.
func TestRoll(t *testing.T) {
	o := exampleOptions(t, 3)
	file := o.Config["file"].(string)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(raw, []byte(`"rebalance":true`), []byte(`"rebalance":true,"rolls":true`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	d := launch(t, o)
	look := func() model.NodeGroup {
		t.Helper()
		s, _, err := d.Observe(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.Groups[0]
	}
	if g := look(); !g.Traits.Rolled() || g.Roll.State != model.RollNone {
		t.Errorf("before: %+v", g)
	}
	for _, id := range []string{"op-1", "op-1", "op-2"} { // the same again, and one that attaches
		if err := d.Do(t.Context(), "rot-1", engine.Effect{ID: id, Verb: engine.VerbRoll, GroupID: "g1"}); err != nil {
			t.Fatal(err)
		}
	}
	if g := look(); g.Roll.ID != "g1-roll-1" || g.Roll.Op != "op-1" || g.Roll.State == model.RollNone || g.Roll.Since.IsZero() {
		t.Errorf("after: %+v", g.Roll)
	}
	err = d.Do(t.Context(), "rot-1", engine.Effect{ID: "op-3", Verb: engine.VerbCancel, GroupID: "g1", Target: "op-1"})
	if codeOf(err) != engine.ErrUnsupported {
		t.Errorf("cancel, which the driver does not offer: %v", err)
	}
	err = d.Do(t.Context(), "rot-1", engine.Effect{ID: "op-4", Verb: engine.VerbRoll, GroupID: "no-such-group"})
	if codeOf(err) != engine.ErrNotFound {
		t.Errorf("roll of a group that does not exist: %v", err)
	}
}

func codeOf(err error) engine.ErrorCode {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func hostCode(err error) host.Code {
	var e *host.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
