//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/rotatord/rotator/drivers/sdk/conformance"
)

// kopsRoles selects all roles, as kops does.
var kopsRoles = []string{"--role", "bastion", "--role", "control-plane", "--role", "node"}

// kopsRotatord returns the command set up for a cluster of kops, with kopsRoles
// as the last of its flags: only commands that plan take them.
func (s *Sandbox) kopsRotatord(tb testing.TB) *Rotatord {
	tb.Helper()
	r := s.rotatord(tb)
	r.Base = append([]string{"--cluster", s.Name, "--driver", "kops",
		"--driver-path", executable("rotatord-driver-kops"), "--lock-duration", "120s",
		"--journal-dir", filepath.Join(r.Dir, "journal"), "--report-dir", filepath.Join(r.Dir, "report")}, kopsRoles...)
	return r
}

// mustBeUpToDate fails the test unless kops and rotatord both find nothing to do.
func (s *Sandbox) mustBeUpToDate(t *testing.T, r *Rotatord) {
	t.Helper()
	if out := s.kops(t, "rolling-update", "cluster"); !strings.Contains(out, "No rolling-update required") {
		t.Errorf("kops still finds something to do:\n%s", out)
	}
	r.Run(t, "plan").MustExit(t, exitDone, "nothing to replace")
}

// A rotation that was killed is finished by the same command, and nothing that
// it detached is left behind.
func TestKopsDriverRotatordKilled(t *testing.T) {
	s := kopsCluster(t)
	r := s.kopsRotatord(t)
	s.CLI(t, "publish-image", "--group", "nodes-1.kops.example.com")
	s.Stats(t, true)
	r.Run(t, "plan").MustExit(t, exitDone, "replace 2 of 8 nodes", "launched from nodes-1.kops.example.com:", ", wanted nodes-1.kops.example.com:", "the group's own: kops' default")
	p := r.Start(t, "run")
	p.Await("replacement-ready")
	p.Signal(syscall.SIGKILL)
	p.Wait()
	r.Run(t, "run").MustExit(t, exitDone, "2 node(s) replaced")
	s.mustBeUpToDate(t, r)
	s.MustHaveKeptBudgets(t)
	if st := s.Stats(t, false); st.Terminated != 2 || st.Launched != 2 {
		t.Errorf("%d machines launched and %d terminated, want 2 of each", st.Launched, st.Terminated)
	}
}

// Nothing changes for a state store or a cluster that is not there.
func TestKopsBadInput(t *testing.T) {
	s := kopsCluster(t)
	r := s.kopsRotatord(t)
	empty := t.TempDir()
	for _, tc := range []struct {
		name string
		env  string
		args []string
		code int
		says []string
	}{
		{name: "no state store", env: "KOPS_STATE_STORE", code: exitUsage, says: []string{"nothing says where the kops state store is"}},
		{name: "missing", env: "KOPS_STATE_STORE=file:///nonexistent", code: exitUsage, says: []string{"cannot be read"}},
		{name: "empty", env: "KOPS_STATE_STORE=file://" + empty, code: exitFailed, says: []string{"state-store-empty"}},
		{name: "another cluster", args: []string{"--cluster", "kops.example.org"}, code: exitFailed, says: []string{"cluster-not-found", "kops.example.com"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := r
			if tc.env != "" {
				run = r.With(tc.env, "HOME="+empty)
			}
			res := run.Run(t, "run", tc.args...)
			for _, w := range tc.says {
				if !strings.Contains(res.Text(), w) {
					t.Errorf("it does not say %q", w)
				}
			}
			if res.Code != tc.code || t.Failed() {
				t.Errorf("exit code %d, want %d\n%s", res.Code, tc.code, res.Text())
			}
		})
	}
}

// The guide says where each flag of `kops rolling-update cluster` is here.
func TestKopsFlagsAreMapped(t *testing.T) {
	guide, err := os.ReadFile("../docs/from-kops.md")
	if err != nil {
		t.Fatal(err)
	}
	help, err := exec.Command(executable("kops"), "rolling-update", "cluster", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("kops: %v; `make kops-command` builds it\n%s", err, help)
	}
	own, _, _ := strings.Cut(string(help), "Global Flags:")
	flags := regexp.MustCompile(`(?m)^ +(?:-\w, |    )--([a-z-]+)`).FindAllStringSubmatch(own, -1)
	if len(flags) < 18 {
		t.Fatalf("the help of kops names %d flags only:\n%s", len(flags), own)
	}
	ours, err := exec.Command(executable("rotatord"), "kops", "rolling-update", "cluster", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("rotatord: %v\n%s", err, ours)
	}
	for _, f := range flags {
		if !strings.Contains(string(ours), "--"+f[1]) {
			t.Errorf("rotatord kops rolling-update cluster does not take --%s", f[1])
		}
		if f[1] != "help" && !strings.Contains(string(guide), "`--"+f[1]) {
			t.Errorf("docs/from-kops.md does not say where --%s is", f[1])
		}
	}
}

// The driver as it is shipped, against the rules of the protocol, with a group
// behind a load balancer that surges all the same.
func TestKopsConformance(t *testing.T) {
	const group = "nodes-2"
	s := kopsCluster(t)
	away := s.behindTargetGroup(t, group+"."+s.Name)
	defer func() { // the rotation of the suite is finished: what it detached goes
		away()
		r := s.kopsRotatord(t)
		r.Run(t, "run").MustExit(t, exitDone)
		s.mustBeUpToDate(t, r)
		// The suite ends instances in service: it answers with 1, for what it has seen.
		_, _ = s.cli(context.Background(), "verify", "--reset")
	}()
	conformance.Run(t, conformance.Config{
		Command: []string{executable("rotatord-driver-kops")},
		Env:     append(cleanEnviron(), s.environ...),
		Config:  func(*testing.T) string { return `{"detachBehindLoadBalancers":true}` },
		Cluster: s.Name,
		Group:   s.Name + "/" + group,
	})
}

// behindTargetGroup puts an Auto Scaling group behind a target group of its own,
// until away is called.
func (s *Sandbox) behindTargetGroup(t *testing.T, group string) (away func()) {
	t.Helper()
	balancers := elasticloadbalancingv2.New(elasticloadbalancingv2.Options{
		Region: s.Region, BaseEndpoint: aws.String(s.Getenv("AWS_ENDPOINT_URL")),
		Credentials: credentials.NewStaticCredentialsProvider("sandbox", "sandbox", ""),
	})
	made, err := balancers.CreateTargetGroup(t.Context(), &elasticloadbalancingv2.CreateTargetGroupInput{
		Name: aws.String("web"), Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(80), VpcId: aws.String("vpc"),
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := made.TargetGroups[0].TargetGroupArn
	if _, err := balancers.ModifyTargetGroupAttributes(t.Context(), &elasticloadbalancingv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: arn,
		Attributes:     []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("1")}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AutoScaling().AttachLoadBalancerTargetGroups(t.Context(), &autoscaling.AttachLoadBalancerTargetGroupsInput{
		AutoScalingGroupName: &group, TargetGroupARNs: []string{*arn},
	}); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := s.AutoScaling().DetachLoadBalancerTargetGroups(t.Context(), &autoscaling.DetachLoadBalancerTargetGroupsInput{
			AutoScalingGroupName: &group, TargetGroupARNs: []string{*arn},
		}); err != nil {
			t.Error(err)
		}
		if _, err := balancers.DeleteTargetGroup(t.Context(), &elasticloadbalancingv2.DeleteTargetGroupInput{TargetGroupArn: arn}); err != nil {
			t.Error(err)
		}
	}
}
