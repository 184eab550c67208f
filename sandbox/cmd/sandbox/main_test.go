package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rotatord/rotator/sandbox/observer"
)

// This test binary is the command itself when it is asked to be.
const asCommand = "SANDBOX_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a running `sandbox up`.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *bytes.Buffer
	env    map[string]string // from the ready line
}

const processTimeout = 2 * time.Minute // a loaded machine is slow

// startUp runs the smallest sandbox and returns once it is ready.
func startUp(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), processTimeout)
	t.Cleanup(cancel)
	p := &process{stderr: &bytes.Buffer{}, env: map[string]string{}}
	p.cmd = exec.CommandContext(ctx, os.Args[0], append([]string{"up", "--nodes", "1", "--workload", "none", "--boot-delay", "100ms"}, args...)...)
	p.cmd.Env = append(os.Environ(), asCommand+"=1")
	p.cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = p.cmd.Wait()
		t.Fatalf("no ready line: %v\n%s", err, p.stderr)
	}
	fields := strings.Fields(line)
	if fields[0] != "ready" {
		t.Fatalf("the first line is %q, want one that begins with ready", line)
	}
	for _, kv := range fields[1:] {
		k, v, _ := strings.Cut(kv, "=")
		p.env[k] = v
	}
	return p
}

// run runs another command of the sandbox beside it.
func (p *process) run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	t.Setenv("SANDBOX_URL", p.env["SANDBOX_URL"])
	var out bytes.Buffer
	c := newCommand(strings.NewReader(""), &out, io.Discard)
	c.SetArgs(args)
	err = c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestUpAndItsCommands(t *testing.T) {
	p := startUp(t, "--exit-on-stdin-close")
	for _, name := range []string{"KUBECONFIG", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SANDBOX_URL"} {
		if p.env[name] == "" {
			t.Errorf("the ready line has no %s: %v", name, p.env)
		}
	}
	for _, c := range []struct {
		args    []string
		want    string
		wantErr string
	}{
		{args: []string{"verify"}, want: "OK: no budget was violated"},
		{args: []string{"verify", "--output", "json"}, want: `"ok": true`},
		{args: []string{"publish-image", "--json"}, want: `"imageId": "ami-`},
		{args: []string{"publish-image", "--group", "demo-workers-1"}, want: "launch template demo-workers-1 version 3"},
		{args: []string{"publish-image", "--group", "nobody"}, wantErr: "nobody"},
		{args: []string{"publish-release", "--ami-type", "BOTTLEROCKET_x86_64"}, want: "parameter /aws/service/bottlerocket/aws-k8s-1.37/x86_64/latest/image_id"},
		{args: []string{"publish-release", "--json"}, want: `"version": "1.37.2-`},
		{args: []string{"publish-release", "--ami-type", "PLAN9"}, wantErr: "choose one of AL2023_x86_64_STANDARD"},
		{args: []string{"fault", "add", "throttle", "--action", "autoscaling", "--share", "0.5"}, want: "\n"},
		{args: []string{"fault", "list"}, want: "action=autoscaling share=0.5"},
		{args: []string{"fault", "clear"}},
		{args: []string{"fault", "list", "--output", "json"}, want: "[]"},
		{args: []string{"fault", "add", "earthquake"}, wantErr: "not known"},
		{args: []string{"stats"}, want: "0 calls since"},
		{args: []string{"stats", "--output", "xml"}, wantErr: "neither text nor json"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			out, err := p.run(t, c.args...)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("error = %v, want one with %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out, c.want) {
				t.Errorf("output = %q, want it to contain %q", out, c.want)
			}
		})
	}
	t.Run("it ends with its parent's pipe", func(t *testing.T) {
		if err := p.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("up ended with %v\n%s", err, p.stderr)
		}
	})
}

func TestUpEndsOnASignal(t *testing.T) {
	dir := t.TempDir()
	p := startUp(t, "--dir", dir)

	second := exec.CommandContext(t.Context(), os.Args[0], "up", "--dir", dir)
	second.Env = append(os.Environ(), asCommand+"=1")
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "in use by another sandbox") {
		t.Errorf("a second sandbox in the folder: %v, %s, want a refusal", err, out)
	}

	// Closing standard input means nothing without the flag.
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.run(t, "verify"); err != nil {
		t.Errorf("verify after standard input was closed: %v", err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("up ended with %v\n%s", err, p.stderr)
	}
}

func TestUpRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--nodes", "0"}, "--nodes 0"},
		{[]string{"--groups", "0"}, "--groups 0"},
		{[]string{"--nodes", "2", "--groups", "3"}, "--nodes 2"},
		{[]string{"--zones", "9"}, "--zones 9"},
		{[]string{"--pods", "-1"}, "--pods -1"},
		{[]string{"--pods", "100000"}, "do not fit"},
		{[]string{"--boot-delay", "-1s"}, "--boot-delay"},
		{[]string{"--workload", "none.yaml"}, "none.yaml"},
		{[]string{"--apiserver-port", "70000"}, "--apiserver-port"},
		{[]string{"--cluster", ""}, "--cluster"},
		{[]string{"--provider", "gke"}, `--provider "gke"`},
		{[]string{"--provider", "kops", "--zones", "2"}, "--zones 2"},
		{[]string{"--provider", "eks-managed", "--nodes", "2"}, "--nodes 2"},
		{[]string{"--provider", "eks-managed", "--target-group"}, "--target-group"},
		{[]string{"--eks-speedup", "0"}, "--eks-speedup 0"},
		{[]string{"--launch-template-versions", "0"}, "--launch-template-versions 0"},
		{[]string{"--provider", "kops", "--cluster", "demo"}, "kops names its clusters like domains"},
		{[]string{"--provider", "kops", "--mixed-instances"}, "--mixed-instances"},
		{[]string{"extra"}, "extra"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			command := newCommand(strings.NewReader(""), io.Discard, io.Discard)
			command.SetArgs(append([]string{"up", "--dir", t.TempDir()}, c.args...))
			err := command.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one with %q", err, c.want)
			}
		})
	}
}

// verifyAgainst runs `sandbox verify` against an endpoint that answers v.
func verifyAgainst(t *testing.T, v *observer.Verdict, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	var out, errOut bytes.Buffer
	c := newCommand(strings.NewReader(""), &out, &errOut)
	c.SetArgs(append([]string{"verify", "--wait", "0s", "--url", server.URL}, args...))
	err = c.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

func TestVerify(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)
	node := func(id string) []observer.NodeState {
		return []observer.NodeState{{Name: "n", ProviderID: id, Ready: true}}
	}
	before := filepath.Join(t.TempDir(), "before.json")
	content, err := json.Marshal(&observer.Verdict{OK: true, Nodes: node("aws:///z/i-1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(before, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		verdict    observer.Verdict
		args       []string
		wantOut    string
		wantStderr string
		wantErr    bool
	}{
		{name: "clean", verdict: observer.Verdict{OK: true}, wantOut: "OK: no budget was violated"},
		{
			name: "violated",
			verdict: observer.Verdict{Violations: []observer.Violation{{
				Namespace: "shop", Budget: "web", Start: end.Add(-time.Second), End: &end, Desired: 3, Healthy: 2, Cause: "pod shop/a was asked to end",
			}}},
			wantOut: "VIOLATED: budget shop/web: 2 healthy of 3 desired, from 00:00:00 for 1s: pod shop/a was asked to end", wantErr: true,
		},
		{
			name:    "deleted",
			verdict: observer.Verdict{DirectDeletes: []observer.Deletion{{User: "rotator-admin", UserAgent: "rotatord", Namespace: "shop", Pod: "a"}}},
			wantOut: "DELETED: pod shop/a by rotator-admin (rotatord)", wantErr: true,
		},
		{
			name:    "a cordoned node is shown",
			verdict: observer.Verdict{OK: true, Nodes: []observer.NodeState{{Name: "n", Ready: true, Unschedulable: true, Taints: []string{"a:NoSchedule"}}}},
			wantOut: "n: cordoned; taints a:NoSchedule",
		},
		{
			name: "replaced", args: []string{"--replaced-since", before},
			verdict: observer.Verdict{OK: true, Nodes: node("aws:///z/i-2")}, wantStderr: "all 1 nodes were replaced",
		},
		{
			name: "not replaced", args: []string{"--replaced-since", before},
			verdict: observer.Verdict{OK: true, Nodes: node("aws:///z/i-1")}, wantStderr: "NOT REPLACED: node n is still the same machine", wantErr: true,
		},
		{
			name: "no earlier verdict", args: []string{"--replaced-since", "/dev/null"},
			verdict: observer.Verdict{OK: true}, wantErr: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, stderr, err := verifyAgainst(t, &c.verdict, c.args...)
			if (err != nil) != c.wantErr {
				t.Errorf("error = %v, want one: %v", err, c.wantErr)
			}
			if !strings.Contains(out, c.wantOut) || !strings.Contains(stderr, c.wantStderr) {
				t.Errorf("output = %q and %q, want %q and %q", out, stderr, c.wantOut, c.wantStderr)
			}
		})
	}
}

func TestCommandsNeedAnAddress(t *testing.T) {
	t.Setenv("SANDBOX_URL", "")
	c := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	c.SetArgs([]string{"stats"})
	if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "SANDBOX_URL") {
		t.Errorf("error = %v, want one that names SANDBOX_URL", err)
	}
}
