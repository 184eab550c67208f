//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stateStore is the folder of the sandbox's state store.
func (s *Sandbox) stateStore(tb testing.TB) string {
	tb.Helper()
	for _, kv := range s.environ {
		if dir, ok := strings.CutPrefix(kv, "KOPS_STATE_STORE=file://"); ok {
			return dir
		}
	}
	tb.Fatal("the sandbox names no state store")
	return ""
}

// State stores that are not as they should be, with a cluster that is well: what
// is wrong is said, and nothing changes.
func TestKopsStores(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t)
	of := s.stateStore(t)
	replace := func(from, to string) func(string) string {
		return func(text string) string {
			if !strings.Contains(text, from) {
				t.Errorf("%q is not in the file to change:\n%s", from, text)
			}
			return strings.ReplaceAll(text, from, to)
		}
	}
	for _, tc := range []struct {
		name    string
		file    string // of the cluster, in a copy of the store
		change  func(string) string
		remove  bool
		env     []string
		command string
		code    int
		says    []string
		not     string
	}{
		{name: "encrypted", file: "config", change: func(string) string { return "\x00GITCRYPT\x00\xff\xfe" }, command: "run", code: exitFailed, says: []string{"state-store-encrypted"}},
		{name: "of a newer kops", file: "config", change: func(text string) string {
			return replace("kops.k8s.io/v1alpha2", "kops.k8s.io/v9")(text)
		}, command: "run", code: exitFailed, says: []string{"cannot be read by kops"}},
		{name: "applied by a newer kops", file: "kops-version.txt", change: func(string) string { return "1.99.0" }, command: "plan", says: []string{"kops 1.99.0, which is newer than this driver's library"}},
		{name: "an instance group without instances", file: "instancegroup/more", change: func(string) string {
			return "apiVersion: kops.k8s.io/v1alpha2\nkind: InstanceGroup\nmetadata:\n  name: more\nspec:\n  role: Node\n  minSize: 1\n  maxSize: 1\n"
		}, command: "plan", says: []string{"instance group more of cluster kops.example.com is in the state store, and the cloud has nothing of it"}},
		{name: "instances that match no group", file: "instancegroup/nodes-2", remove: true, command: "plan",
			says: []string{"2 instance(s) carry the tag of cluster kops.example.com and belong to no instance group of it", "nodes-2"}},
		{name: "changed and not applied", file: "instancegroup/nodes-1", change: replace("maxSize: 2", "maxSize: 5"), command: "plan",
			says: []string{"Run kops update cluster --yes before the rotation", "instance group nodes-1 is specified with 2 to 5 instances"}},
		{name: "no credentials", file: "config", change: func(text string) string { return text },
			env:     []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null"},
			command: "run", code: exitFailed, says: []string{"credentials"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store := t.TempDir()
			if err := os.CopyFS(store, os.DirFS(of)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(store, s.Name, tc.file)
			if tc.remove {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				text, err := os.ReadFile(path)
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tc.change(string(text))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.Stats(t, true)
			res := s.kopsRotatord(t).With(append(tc.env, "KOPS_STATE_STORE=file://"+store, "HOME="+store)...).Run(t, tc.command)
			if res.Code != tc.code {
				t.Errorf("exit code %d, want %d\n%s", res.Code, tc.code, res.Text())
			}
			for _, w := range tc.says {
				if !strings.Contains(strings.Join(strings.Fields(res.Text()), " "), w) {
					t.Errorf("it does not say %q:\n%s", w, res.Text())
				}
			}
			if st := s.Stats(t, false); st.Launched+st.Terminated+st.Changing > 0 {
				t.Errorf("it changed something: %+v", st)
			}
			if holds, err := filepath.Glob(filepath.Join(store, s.Name, "backups", "rotatord", "*")); err != nil || len(holds) > 0 {
				t.Errorf("it left records %v, %v", holds, err)
			}
		})
	}
}

// The way to the API server is made of the state store's keys, with no
// kubeconfig anywhere, in kops' own spelling.
func TestKopsAccess(t *testing.T) {
	s := kopsCluster(t)
	s.MustSettle(t)
	r := s.kopsRotatord(t).With("KUBECONFIG=/nonexistent", "HOME="+t.TempDir(), "KOPS_CLUSTER_NAME="+s.Name)
	args := append([]string{"kops", "rolling-update", "cluster", "--instance-group", "nodes-1", "--force", "--"}, r.Base[4:]...)
	res := r.Exec(t, append(args, "--access", "driver")...)
	if res.Code != exitDone || !strings.Contains(res.Text(), "replace 2 nodes in 1 group") || strings.Contains(res.Text(), "(never joined)") {
		t.Errorf("exit code %d\n%s", res.Code, res.Text())
	}
}
