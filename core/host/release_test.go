package host_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
)

func TestReleasesAndStage(t *testing.T) {
	d := launch(t, exampleOptions(t, 1))
	list, _, err := d.Releases(t.Context(), nil, "latest")
	if err != nil {
		t.Fatal(err)
	}
	want := []model.GroupRelease{{GroupID: "g1", Group: "workers", Role: model.RoleNode, Current: model.Release{ID: "2"}, Target: &model.Release{ID: "2"}, Order: model.ReleaseSame}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("releases (-want +got):\n%s", diff)
	}
	list, _, err = d.Releases(t.Context(), []string{"g1"}, "9")
	if err != nil || len(list) != 1 || list[0].Target != nil || list[0].Error() == nil || list[0].Error().Code != "release-unknown" {
		t.Errorf("a release that does not exist: %+v, %v", list, err)
	}
	previous, staged, done, err := d.Stage(t.Context(), "r-1", runtime.StageRequest{Op: "op-1", GroupID: "g1", Release: "latest"})
	if err != nil || !done || previous.ID != "2" || staged.ID != "2" {
		t.Errorf("stage: %v, %v, %v, %v", previous, staged, done, err)
	}
	var e *engine.Error
	if _, _, _, err := d.Stage(t.Context(), "r-1", runtime.StageRequest{Op: "op-2", GroupID: "g1", Release: "9"}); !errors.As(err, &e) ||
		e.Code != engine.ErrPermanent || !strings.Contains(e.Message, "Stage of group g1") || !strings.Contains(e.Message, "there is no release") {
		t.Errorf("a release that does not exist is staged: %v", err)
	}
	if _, err := d.Access(t.Context()); !errors.As(err, &e) || e.Code != engine.ErrUnsupported {
		t.Errorf("a driver without Access answers %v", err)
	}
}

func TestAccess(t *testing.T) {
	o := testOptions(t, map[string]any{"instances": 1})
	d := launch(t, o)
	a, err := d.Access(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := model.Access{Endpoint: "https://api.prod", CA: []byte("ca"), Token: "k8s-aws-v1.secret", ExpiresAt: time.Unix(1000, 0)}
	if !a.ExpiresAt.Equal(want.ExpiresAt) {
		t.Errorf("it expires at %v", a.ExpiresAt)
	}
	if a.ExpiresAt = want.ExpiresAt; cmp.Diff(want.Token, a.Token) != "" || cmp.Diff(want.CA, a.CA) != "" || a.Endpoint != want.Endpoint {
		t.Errorf("access to %s is not what the driver answered", a.Endpoint)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, a) + fmt.Sprintf(verb, &a); strings.Contains(text, "secret") || !strings.Contains(text, "api.prod") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	o.Cluster = "other"
	var e *engine.Error
	if _, err := launch(t, o).Access(t.Context()); !errors.As(err, &e) || e.Code != engine.ErrNotFound {
		t.Errorf("a cluster that does not exist: %v", err)
	}
}

// An answer that breaks the protocol is an error of the driver's, whatever was asked.
func TestBrokenAnswers(t *testing.T) {
	releases := func(d *host.Driver) error {
		_, _, err := d.Releases(t.Context(), nil, "latest")
		return err
	}
	stage := func(d *host.Driver) error {
		_, _, _, err := d.Stage(t.Context(), "r-1", runtime.StageRequest{Op: "op-1", GroupID: "g", Release: "2"})
		return err
	}
	access := func(d *host.Driver) error {
		a, err := d.Access(t.Context())
		if err != nil && a.Token != "" {
			t.Error("an error comes with a token")
		}
		return err
	}
	for mode, c := range map[string]struct {
		ask  func(*host.Driver) error
		want string
	}{
		"release-nameless":           {releases, "lacks an id or a name"},
		"release-without-current":    {releases, "current release: a release has no id"},
		"release-without-target":     {releases, "no target, and nothing says why"},
		"release-order":              {releases, "order 99 is not one"},
		"release-twice":              {releases, `group "g": it is in it twice`},
		"release-timeless":           {releases, "created: "},
		"stage-unknown-state":        {stage, "operation state 99"},
		"stage-without-operation":    {stage, "operation state OPERATION_STATE_UNSPECIFIED"},
		"stage-without-previous":     {stage, "a release has no id"},
		"stage-without-staged":       {stage, "a release has no id"},
		"access-nowhere":             {access, "it has no endpoint"},
		"access-without-credentials": {access, "it has no credentials"},
		"access-timeless":            {access, "expires_at: "},
	} {
		t.Run(mode, func(t *testing.T) {
			d := launch(t, testOptions(t, nil, "TEST_MODE="+mode))
			if err := c.ask(d); codeOf(err) != engine.ErrPermanent || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want a permanent one that says %q", err, c.want)
			}
		})
	}
	d := launch(t, testOptions(t, nil, "TEST_MODE=sound"))
	for _, ask := range []func(*host.Driver) error{releases, stage, access} {
		if err := ask(d); err != nil {
			t.Error(err)
		}
	}
}
