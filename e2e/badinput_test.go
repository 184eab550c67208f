//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// What a person gets wrong before anything is touched: one clear message that
// names the object, the right exit code, and nothing changed.
func TestBadInput(t *testing.T) {
	s, other := plain(t), scrap(t)
	noHome := t.TempDir()
	tests := []struct {
		name  string
		file  string   // a rotation file; empty: none
		flags []string // after the usual ones
		env   []string // as With takes them
		code  int
		words []string
	}{
		{name: "unknown key", file: "strategy:\n  maxSurg: 2\n", code: exitUsage, words: []string{"rotation.yaml:6", "maxSurg", "maxSurge"}},
		{name: "negative count", flags: []string{"--max-in-flight=-1"}, code: exitUsage, words: []string{"max-in-flight", "-1"}},
		{name: "negative surge", file: "strategy:\n  maxSurge: -1\n", code: exitUsage, words: []string{"maxSurge", "-1"}},
		{name: "surge and unavailable both zero", flags: []string{"--max-surge=0", "--max-unavailable=0"}, code: exitUsage,
			words: []string{"maxSurge", "maxUnavailable"}},
		{name: "unknown flag", flags: []string{"--max-surgee=1"}, code: exitUsage, words: []string{"max-surgee"}},
		{name: "selection matches nothing", flags: []string{"--group", "nosuch-*"}, code: exitUsage, words: []string{"nosuch-*"}},
		{name: "no such cluster at the provider", flags: []string{"--cluster", "nosuch"}, code: exitUsage, words: []string{"nosuch"}},
		{name: "a cluster's name that only begins the same", flags: []string{"--cluster", s.Name[:2]}, code: exitUsage, words: []string{s.Name[:2]}},
		{name: "driver missing", flags: []string{"--driver", "nosuch", "--driver-path="}, code: exitUsage, words: []string{"rotatord-driver-nosuch"}},
		{name: "driver's path is wrong", flags: []string{"--driver-path", "/nonexistent/driver"}, code: exitUsage, words: []string{"/nonexistent/driver"}},
		{name: "driver of another protocol version", flags: []string{"--driver-path", script(t, 0o755, `echo '1|99|tcp|127.0.0.1:1|grpc'; sleep 5`)},
			code: exitUsage, words: []string{"version"}},
		{name: "driver dies during start", flags: []string{"--driver-path", script(t, 0o755, `echo 'no license found' >&2; exit 3`)},
			code: exitUsage, words: []string{"driver"}},
		{name: "driver is world-writable", flags: []string{"--driver-path", script(t, 0o777, `exit 0`)}, code: exitUsage, words: []string{"everybody can write"}},
		{name: "driver's checksum is another", flags: []string{"--driver-sha256", "0000000000000000000000000000000000000000000000000000000000000000"},
			code: exitUsage, words: []string{"sha256"}},
		{name: "unknown key of the driver's configuration", flags: []string{"--driver-config", "regoin=eu-central-1"}, code: exitUsage, words: []string{"regoin"}},
		{name: "kubeconfig of another cluster", env: []string{"KUBECONFIG=" + other.Getenv("KUBECONFIG")}, code: exitRefused, words: []string{s.Name, "kubeconfig"}},
		{name: "kubeconfig is missing", flags: []string{"--kubeconfig", "/nonexistent/kubeconfig"}, code: exitUsage, words: []string{"/nonexistent/kubeconfig"}},
		{name: "no AWS credentials", code: exitFailed, words: []string{"credentials"},
			env: []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED=true", "HOME=" + noHome}},
		{name: "AWS credentials are denied", env: []string{"AWS_ACCESS_KEY_ID=denied"}, code: exitFailed, words: []string{"autoscaling:DescribeAutoScalingGroups"}},
		{name: "AWS credentials are unknown", env: []string{"AWS_ACCESS_KEY_ID=AKIAUNKNOWN"}, code: exitFailed, words: []string{"credentials"}},
	}
	before, otherBefore := s.State(t), other.State(t)
	s.PublishImage(t, groupName(s, 1)) // so that there would be something to do
	s.Stats(t, true)
	for _, tc := range tests {
		for _, command := range []string{"plan", "run"} {
			t.Run(tc.name+"/"+command, func(t *testing.T) {
				r := s.rotatord(t).With(tc.env...)
				flags := tc.flags
				if tc.file != "" {
					path := filepath.Join(r.Dir, "rotation.yaml")
					text := "apiVersion: rotatord.github.io/v1alpha1\nkind: Rotation\ncluster: e2e\ndriver: {name: eks}\n" + tc.file
					if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					flags = append([]string{"--config", path}, flags...)
				}
				r.Run(t, command, flags...).MustExit(t, tc.code, tc.words...)
			})
		}
	}
	if got := s.Stats(t, false); got.Changing != 0 {
		t.Errorf("%d calls changed something at the provider: %+v", got.Changing, got.Calls)
	}
	s.State(t).MustEqual(t, before)
	other.State(t).MustEqual(t, otherBefore)
}

// script writes an executable that is no driver.
func script(t *testing.T, mode os.FileMode, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rotatord-driver-eks")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Chmod, because the umask takes bits from what WriteFile is given.
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// --dry-run shows what would be done and changes nothing.
func TestDryRun(t *testing.T) {
	s := plain(t)
	group := groupName(s, 1)
	s.PublishImage(t, group)
	before := s.State(t)
	changes := s.Verify(t).NodeChanges
	s.Stats(t, true)
	res := s.rotatord(t).Run(t, "run", "--dry-run", "--group", group).MustExit(t, exitDone, group)
	for _, id := range before.Groups[group].Instances {
		res.MustExit(t, exitDone, id)
	}
	s.State(t).MustEqual(t, before)
	if got := s.Stats(t, false); got.Changing != 0 {
		t.Errorf("%d calls changed something at the provider: %+v", got.Changing, got.Calls)
	}
	for _, was := range changes {
		for _, is := range s.Verify(t).NodeChanges {
			if is.User == "rotator-admin" && is.User == was.User && is.Count != was.Count {
				t.Errorf("user %s changed nodes %d times before and %d after", is.User, was.Count, is.Count)
			}
		}
	}
}
