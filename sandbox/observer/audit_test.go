package observer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func line(user, verb, resource, subresource, name string, code int) string {
	return fmt.Sprintf(`{"stage":"ResponseComplete","verb":%q,"user":{"username":%q},"userAgent":"agent",`+
		`"objectRef":{"resource":%q,"subresource":%q,"namespace":"shop","name":%q},"responseStatus":{"code":%d},`+
		`"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z"}`+"\n", verb, user, resource, subresource, name, code)
}

func TestAuditReader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	write := func(s string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := newAuditReader(file)
	if err := r.read(); err == nil {
		t.Fatal("reading a log that is not there succeeded")
	}
	write(line("rotator-admin", "create", "pods", "eviction", "a", 201))
	write(line("rotator-admin", "create", "pods", "eviction", "b", 429))
	write(line("rotator-admin", "create", "pods", "eviction", "b", 429))
	write(line("rotator-admin", "create", "pods", "eviction", "c", 404))
	write(line("rotator-admin", "delete", "pods", "", "d", 200))
	write(line("rotator-admin", "delete", "pods", "", "gone", 404))
	write(line("rotator-admin", "deletecollection", "pods", "", "", 200))
	write(line("sandbox-kubelet", "delete", "pods", "", "a", 200))
	write(line("rotator-admin", "patch", "nodes", "", "n", 200))
	write(line("rotator-admin", "patch", "nodes", "", "n", 409))
	write(line("rotator-admin", "get", "nodes", "", "n", 200)) // changes nothing
	half := line("rotator-admin", "create", "pods", "eviction", "e", 201)
	write(half[:40]) // the API server is in the middle of a line
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]*EvictionCount{
		"rotator-admin": {User: "rotator-admin", Allowed: 1, Refused: 2, Other: 1},
	}, r.evictions); diff != "" {
		t.Errorf("evictions (-want +got):\n%s", diff)
	}
	var deleted []string
	for _, d := range r.deletes["rotator-admin"] {
		deleted = append(deleted, d.Pod)
	}
	if diff := cmp.Diff([]string{"d", ""}, deleted); diff != "" {
		t.Errorf("rotatord's deletions (-want +got):\n%s", diff)
	}
	if n := len(r.deletes["sandbox-kubelet"]); n != 1 {
		t.Errorf("the kubelet's deletions = %d, want 1", n)
	}
	if n := r.changes["rotator-admin"]; n != 1 {
		t.Errorf("changes of nodes = %d, want 1", n)
	}

	write(half[40:])
	r.clear()
	if err := r.read(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]*EvictionCount{"rotator-admin": {User: "rotator-admin", Allowed: 1}}, r.evictions); diff != "" {
		t.Errorf("evictions since clear (-want +got):\n%s", diff)
	}

	write("not json\n")
	if err := r.read(); err == nil {
		t.Error("a line that is not JSON was read without an error")
	}
}
