package kops

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	kopsapi "k8s.io/kops/pkg/apis/kops"
	"k8s.io/kops/util/pkg/vfs"
)

// A cluster that cannot be read is said to be what it is.
func TestLoadRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		code  codes.Code
		says  []string
	}{
		{name: "an empty store", code: codes.NotFound, says: []string{"state-store-empty"}},
		{name: "another name", files: map[string]string{"k.example.org/config": "x", "far.away/config": "x", "k.example.net/config": "x", "zzzzzzzzzzzzzzzzz/config": "x"},
			code: codes.NotFound, says: []string{"cluster-not-found", "nearest of its 4: k.example.net, k.example.org, far.away"}},
		{name: "encrypted", files: map[string]string{"k.example.com/config": "\x00GITCRYPT\x00\x01\xff"}, code: codes.FailedPrecondition, says: []string{"state-store-encrypted"}},
		{name: "encrypted with sops", files: map[string]string{"k.example.com/config": "kind: ENC[x]\nsops:\n  version: 3\n"}, code: codes.FailedPrecondition, says: []string{"state-store-encrypted"}},
		{name: "of a newer kops", files: map[string]string{"k.example.com/config": "apiVersion: kops.k8s.io/v9\nkind: Cluster\n", "k.example.com/kops-version.txt": "1.99.0\n"},
			code: codes.FailedPrecondition, says: []string{"kops-newer", "1.99.0"}},
		{name: "no specification", files: map[string]string{"k.example.com/config": "hello"}, code: codes.FailedPrecondition, says: []string{"cluster-undecodable"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tc.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, diag := openStore(t.Context(), "file://"+dir, &callers{})
			if diag != nil {
				t.Fatal(diag.Summary)
			}
			_, err := s.load(t.Context(), "k.example.com")
			if status.Code(err) != tc.code {
				t.Errorf("answered %v, want %v", err, tc.code)
			}
			for _, w := range tc.says {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
		})
	}
}

func TestOpenStoreMissing(t *testing.T) {
	_, diag := openStore(t.Context(), "file://"+filepath.Join(t.TempDir(), "none"), &callers{})
	if diag == nil || diag.Code != "state-store-missing" {
		t.Errorf("%+v, want a finding state-store-missing", diag)
	}
}

// A record is written once, read back, never half understood, and is where
// neither kops update cluster nor kops delete cluster minds it.
func TestHoldRecord(t *testing.T) {
	dir := t.TempDir()
	s := &spec{base: vfs.NewFSPath(dir), cluster: &kopsapi.Cluster{}}
	ctx := t.Context()
	if r, err := s.readHold(ctx, "web"); r != nil || err != nil {
		t.Fatalf("a record before there is one: %v, %v", r, err)
	}
	want := &holdRecord{Version: holdVersion, Rotation: "r-1", Group: "web", At: time.Unix(1000, 0).UTC(), ResumeAZRebalance: true}
	if err := s.createHold(ctx, want); err != nil {
		t.Fatal(err)
	}
	if err := s.createHold(ctx, &holdRecord{Version: holdVersion, Rotation: "r-2", Group: "web"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second record answers %v, want that there is one", err)
	}
	got, err := s.readHold(ctx, "web")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "backups", "rotatord", "web.json")); err != nil {
		t.Error(err)
	}
	if err := got.checkHolder(s.holdPath("web"), "r-1"); err != nil {
		t.Errorf("the holder itself is refused: %v", err)
	}
	if err := got.checkHolder(s.holdPath("web"), "r-2"); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "r-1") {
		t.Errorf("another rotation is answered %v, want ABORTED with the holder's name", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "backups", "rotatord", "bad.json"), []byte(`{"version":1,"rotation":"r","group":"bad","later":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	holds, bad, err := s.readHolds(ctx)
	if err != nil || len(holds) != 1 || holds["web"] == nil || len(bad) != 1 || bad["bad"] == nil {
		t.Errorf("records %v, unreadable %v, %v", holds, bad, err)
	}
	for range 2 {
		if err := s.dropHold(ctx, "web"); err != nil {
			t.Errorf("removing the record: %v", err)
		}
	}
}

// A call of the library that hangs does not hang its caller, and too many of
// them are not added to.
func TestCallsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &callers{}
		release := make(chan struct{})
		hang := func() (int, error) { <-release; return 1, nil }
		for range maxStray {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := call(ctx, c, "waiting", hang); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("a call that hangs answers %v, want DEADLINE_EXCEEDED", err)
			}
			cancel()
		}
		if _, err := call(t.Context(), c, "waiting", hang); status.Code(err) != codes.Unavailable {
			t.Errorf("one more answers %v, want UNAVAILABLE", err)
		}
		close(release)
		synctest.Wait()
		if n, err := call(t.Context(), c, "waiting", hang); n != 1 || err != nil {
			t.Errorf("after they came back a call answers %d, %v", n, err)
		}
	})
}
