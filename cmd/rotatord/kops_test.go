package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/rotatord/rotator/core/plan"
)

// Each flag of kops comes to what docs/from-kops.md says.
func TestKopsFlags(t *testing.T) {
	const all = "--role bastion,control-plane,api-server,node --lock-duration 120s"
	for _, tc := range []struct {
		args, want string
		note       string
		fails      string
	}{
		{args: "k.io", want: "plan --driver kops --cluster k.io " + all},
		{args: "--name k.io --yes", want: "run --driver kops --cluster k.io " + all},
		{args: "k.io -y --state s3://b --force", want: "run --driver kops --cluster k.io --driver-config state=s3://b " + all + " --force"},
		{args: "k.io --instance-group a,b --instance-group c", want: "plan --driver kops --cluster k.io --role bastion,control-plane,api-server,node --group a --group b --group c --lock-duration 120s"},
		{args: "k.io --instance-group-roles Node,apiserver,bastions", want: "plan --driver kops --cluster k.io --role node,api-server,bastion"},
		{args: "k.io --instance-group-roles master,control-plane", want: "plan --driver kops --cluster k.io --role control-plane --lock-duration 120s"},
		{args: "k.io --drain-timeout 5m --fail-on-drain-error=false", want: "plan --driver kops --cluster k.io " + all + " --drain-deadline 5m0s --on-failure continue"},
		{args: "k.io --validation-timeout 20m --fail-on-validate-error=false", want: "plan --driver kops --cluster k.io " + all + " --workloads-gate=false --node-ready-timeout 20m0s --workloads-timeout 20m0s"},
		{args: "k.io --cloudonly --control-plane-interval 5m", want: "plan --driver kops --cluster k.io --role bastion,control-plane,api-server,node --cloudonly --wait-between-drains 5m0s"},
		{args: "k.io --master-interval 5m", want: "plan --driver kops --cluster k.io " + all, note: "--control-plane-interval says nothing here"},
		{args: "k.io --node-interval 1m --validate-count 3", want: "plan --driver kops --cluster k.io " + all, note: "--validate-count says nothing here"},
		{args: "", fails: "the cluster is missing"},
		{args: "k.io l.io", fails: `unexpected argument "l.io"`},
		{args: "k.io --name l.io", fails: "the cluster is k.io and --name l.io"},
		{args: "k.io --interactive", fails: "nobody is asked"},
		{args: "k.io --config x", fails: "--config is kops' own"},
		{args: "k.io --api-server https://x", fails: "comes from a kubeconfig"},
		{args: "k.io --instance-group-roles worker", fails: `unknown role "worker"`},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Setenv("KOPS_CLUSTER_NAME", "")
			set := pflag.NewFlagSet("kops", pflag.ContinueOnError)
			f := newKopsFlags(set)
			if err := set.Parse(strings.Fields(tc.args)); err != nil {
				t.Fatal(err)
			}
			got, notes, err := f.command(set.Args())
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("%v, want %q", err, tc.fails)
				}
				return
			}
			if err != nil || !slices.Equal(got, strings.Fields(tc.want)) {
				t.Errorf("it is\n%s, want\n%s; %v", strings.Join(got, " "), tc.want, err)
			}
			if (len(notes) > 0) != (tc.note != "") || !strings.Contains(strings.Join(notes, "\n"), tc.note) {
				t.Errorf("notes %q, want %q", notes, tc.note)
			}
		})
	}
}

// The command says what it comes to, and is that, with what follows after --.
func TestKopsSpelling(t *testing.T) {
	f := &fake{plan: &plan.Plan{Cluster: "k.io", Mode: plan.ModeRolling}}
	got := call(t, f, "kops", "rolling-update", "cluster", "k.io", "--", "--max-surge", "2", "--group", "web*")
	if got.code != 0 || !strings.Contains(got.stderr, "This is: rotatord plan --driver kops --cluster k.io") || !strings.Contains(got.stderr, "--group 'web*'") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
	if f.request.Spec.Cluster != "k.io" || f.request.Spec.Driver.Name != "kops" || f.request.Spec.Strategy.MaxSurge != "2" {
		t.Errorf("asked for %+v", f.request.Spec)
	}
	if got := call(t, f, "kops", "rolling-update", "cluster", "k.io", "--", "--max-sturge", "2"); got.code != exitUsage || !strings.Contains(got.stderr, "--max-surge") {
		t.Errorf("a flag that is none: exit code %d\n%s", got.code, got.stderr)
	}
}
