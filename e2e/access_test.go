//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
)

// Without a kubeconfig: the driver knows the API server's address and its
// authority, and makes tokens of its AWS credentials.
func TestAccess(t *testing.T) {
	s := plain(t)
	group := s.Name + "-workers-1"
	s.PublishImage(t, group)
	home := t.TempDir()
	r := s.rotatord(t).With("KUBECONFIG", "HOME="+home)
	args := []string{"--group", group, "--journal-store", "cluster"}

	if res := r.Run(t, "plan", append(args, "--access", "kubeconfig")...); res.Code != exitUsage || !strings.Contains(res.Stderr, "no kubeconfig found") {
		t.Fatalf("plan --access kubeconfig ended with %d\n%s", res.Code, res.Text())
	}
	if res := r.Run(t, "plan", append(args, "--access", "driver")...); res.Code != exitDone || !strings.Contains(res.Stdout, "replace 3") {
		t.Fatalf("plan --access driver ended with %d\n%s", res.Code, res.Text())
	}
	// By itself, for want of a kubeconfig.
	res := r.Run(t, "run", append(args, "--log-level", "debug")...)
	if res.Code != exitDone || !strings.Contains(res.Stdout, "3 of 3 replaced") {
		t.Fatalf("run ended with %d\n%s", res.Code, res.Text())
	}
	if strings.Contains(res.Text(), "k8s-aws-v1.") {
		t.Error("a token is in the log")
	}
	status := r.Exec(t, "status", "--cluster", s.Name, "--driver", "eks", "--driver-path", executable("rotatord-driver-eks"))
	if status.Code != exitDone || !strings.Contains(status.Stdout, "3 of 3 node(s) replaced") {
		t.Errorf("status ended with %d\n%s", status.Code, status.Text())
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) > 0 {
		t.Errorf("something was left in the home folder: %v, %v", entries, err)
	}
	s.MustHaveKeptBudgets(t)

	// Who is not known to the cluster is told what to do.
	stranger := r.With("AWS_ACCESS_KEY_ID=stranger")
	if res := stranger.Run(t, "plan", append(args, "--access", "driver")...); res.Code == exitDone || strings.Contains(res.Text(), "k8s-aws-v1.") {
		t.Errorf("a stranger's plan ended with %d\n%s", res.Code, res.Text())
	} else {
		t.Logf("a stranger is told: %s", res.Stderr)
	}
}
