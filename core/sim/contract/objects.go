package contract

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rotatord/rotator/core/journal"
)

// Objects checks what the journal relies on of the objects that it is kept in:
// of two writers that have read the same, one is told that it is not alone.
func Objects(t *testing.T, open func(t testing.TB) journal.Objects) {
	t.Helper()
	ctx := t.Context()
	o := open(t)
	labels := map[string]string{"example.com/rotation": "r1"}
	head := journal.Object{Name: "head", Labels: labels, Data: map[string][]byte{"a": {0, 1, 2}}}

	if _, err := o.Get(ctx, "head"); !errors.Is(err, journal.ErrNoObject) {
		t.Errorf("get what is not there: %v", err)
	}
	first, err := o.Create(ctx, head)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Create(ctx, head); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("create it twice: %v", err)
	}
	read, err := o.Get(ctx, "head")
	if err != nil {
		t.Fatal(err)
	}
	head.Version = first
	if d := cmp.Diff(head, read); d != "" {
		t.Errorf("what was read is not what was written: %s", d)
	}

	// Two writers go on from the same version.
	head.Data = map[string][]byte{"a": {3}, "b": nil}
	second, err := o.Update(ctx, head)
	if err != nil {
		t.Fatal(err)
	}
	if second == first {
		t.Errorf("version %s stayed the same", first)
	}
	other := head
	other.Data = map[string][]byte{"a": {4}}
	if _, err := o.Update(ctx, other); !errors.Is(err, journal.ErrConflict) {
		t.Errorf("update from an old version: %v", err)
	}
	if read, err = o.Get(ctx, "head"); err != nil || string(read.Data["a"]) != "\x03" || read.Version != second {
		t.Errorf("after the conflict: %+v, %v, want the first writer's", read, err)
	}
	if _, err := o.Update(ctx, journal.Object{Name: "none", Version: second}); !errors.Is(err, journal.ErrNoObject) {
		t.Errorf("update what is not there: %v", err)
	}

	// What is immutable stays as it is.
	chunk := journal.Object{Name: "chunk", Labels: labels, Data: map[string][]byte{"a": {1}}, Immutable: true}
	if chunk.Version, err = o.Create(ctx, chunk); err != nil {
		t.Fatal(err)
	}
	changed := chunk
	changed.Data = map[string][]byte{"a": {2}}
	if _, err := o.Update(ctx, changed); err == nil {
		t.Error("an immutable object was changed")
	}
	if read, err = o.Get(ctx, "chunk"); err != nil || !cmp.Equal(chunk, read) {
		t.Errorf("the immutable object: %s, %v", cmp.Diff(chunk, read), err)
	}

	// Lists and deletions go by label.
	stays := journal.Object{Name: "stays", Labels: map[string]string{"example.com/rotation": "r2"}}
	if _, err := o.Create(ctx, stays); err != nil {
		t.Fatal(err)
	}
	names := func(labels map[string]string) (got []string) {
		t.Helper()
		list, err := o.List(ctx, labels)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			got = append(got, o.Name)
		}
		return got
	}
	if d := cmp.Diff([]string{"chunk", "head"}, names(labels)); d != "" {
		t.Errorf("list: %s", d)
	}
	for range 2 { // none is fine
		if err := o.Delete(ctx, labels); err != nil {
			t.Error(err)
		}
	}
	if d := cmp.Diff([]string(nil), names(labels)); d != "" {
		t.Errorf("after the deletion: %s", d)
	}
	if d := cmp.Diff([]string{"stays"}, names(stays.Labels)); d != "" {
		t.Errorf("what was not to be deleted: %s", d)
	}
	if err := o.Delete(ctx, stays.Labels); err != nil {
		t.Error(err)
	}
}
