package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// kopsCommand is kops' own spelling, for those who come from there: it maps
// flags and decides nothing. docs/from-kops.md is its specification.
func (a *app) kopsCommand() *cobra.Command {
	kops := &cobra.Command{
		Use: "kops", Short: "Rotate with the flags of kops", GroupID: groupSetup,
		Long: "The flags of kops, mapped to those of `rotatord run --driver kops`.",
	}
	update := &cobra.Command{Use: "rolling-update", Short: "Replace the nodes of a cluster of kops"}
	a.only(kops)
	a.only(update)
	cluster := &cobra.Command{
		Use:   "cluster [CLUSTER] [flags] [-- flags of rotatord run]",
		Short: "Replace the nodes of a cluster that are outdated; without --yes, say which",
		Long: `Takes the flags of 'kops rolling-update cluster', prints the command of rotatord
that they come to, and runs that: 'rotatord run' with --yes, 'rotatord plan'
without. What kops has no flag for follows after --.`,
		Example: `  rotatord kops rolling-update cluster k8s.example.com
  rotatord kops rolling-update cluster k8s.example.com --yes -- --groups-at-once 2`,
	}
	f := newKopsFlags(cluster.Flags())
	cluster.RunE = func(cmd *cobra.Command, args []string) error {
		own, rest := args, []string(nil)
		if at := cmd.ArgsLenAtDash(); at >= 0 {
			own, rest = args[:at], args[at:]
		}
		mapped, notes, err := f.command(own)
		if err != nil {
			return err
		}
		mapped = append(mapped, rest...)
		for _, n := range notes {
			fmt.Fprintln(a.stderr, n)
		}
		fmt.Fprintf(a.stderr, "This is: rotatord %s\n\n", quoted(mapped))
		again := a.root()
		again.SetArgs(mapped)
		again.SetOut(a.stdout)
		again.SetErr(a.stderr)
		return again.ExecuteContext(cmd.Context())
	}
	update.AddCommand(cluster)
	kops.AddCommand(update)
	return kops
}

// kopsFlags are those of `kops rolling-update cluster`.
type kopsFlags struct {
	set                                 *pflag.FlagSet
	name, state, config, apiServer      string
	yes, force, interactive, cloudOnly  bool
	failOnDrain, failOnValidate, useOwn bool
	groups, roles                       []string
	drain, validation, controlPlane     time.Duration
}

func newKopsFlags(set *pflag.FlagSet) *kopsFlags {
	f := &kopsFlags{set: set}
	set.SortFlags = false
	set.StringVar(&f.name, "name", "", "Name of the cluster; default: KOPS_CLUSTER_NAME")
	set.StringVar(&f.state, "state", "", "URL of the state store; default: as kops finds it")
	set.StringVar(&f.config, "config", "", "Refused: set KOPS_STATE_STORE")
	set.BoolVarP(&f.yes, "yes", "y", false, "Act; without it nothing is changed")
	set.BoolVar(&f.force, "force", false, "Replace nodes that are not outdated too")
	set.StringSliceVar(&f.groups, "instance-group", nil, "Instance groups; default: all")
	set.StringSliceVar(&f.roles, "instance-group-roles", nil, "Roles: control-plane, apiserver, node, bastion; default: all")
	set.DurationVar(&f.drain, "drain-timeout", 0, "How long a node may take to drain")
	set.BoolVar(&f.failOnDrain, "fail-on-drain-error", true, "Stop where a node cannot be drained; false leaves it as it is and goes on")
	set.BoolVar(&f.failOnValidate, "fail-on-validate-error", true, "Wait for what was moved to be healthy")
	set.DurationVar(&f.validation, "validation-timeout", 0, "How long new nodes, and what was moved, may take")
	set.BoolVar(&f.cloudOnly, "cloudonly", false, "Do without the API server: nothing is drained")
	set.DurationVar(&f.controlPlane, "control-plane-interval", 0, "Pause after each machine, with --cloudonly only")
	set.DurationVar(&f.controlPlane, "master-interval", 0, "The same")
	set.BoolVarP(&f.interactive, "interactive", "i", false, "Refused: nobody is asked")
	set.StringVar(&f.apiServer, "api-server", "", "Refused: the kubeconfig names the API server")
	set.BoolVar(&f.useOwn, "use-kubeconfig", true, "Always so")
	// What is watched needs no pauses and no second look.
	set.Duration("node-interval", 0, "Not needed")
	set.Duration("bastion-interval", 0, "Not needed")
	set.Duration("post-drain-delay", 0, "Not needed")
	set.Int32("validate-count", 0, "Not needed")
	set.Duration("admin", 0, "Not needed: the kubeconfig decides")
	set.IntP("v", "v", 0, "Not needed: --log-level")
	return f
}

// without are the flags that say nothing here, and what stands in for them.
var without = []struct{ flag, instead string }{
	{"node-interval", "the next node goes as soon as a replacement is Ready; -- --wait-between-drains for a pause"},
	{"bastion-interval", "the next bastion goes as soon as a replacement is in service"},
	{"post-drain-delay", "pods, volumes and load balancers are waited for"},
	{"validate-count", "what is waited for is watched, not polled"},
	{"admin", "the kubeconfig decides"},
	{"v", "-- --log-level debug"},
}

// rolesOfKops are kops' words for roles, singular and in lower case.
var rolesOfKops = map[string]string{
	"bastion": "bastion", "control-plane": "control-plane", "controlplane": "control-plane", "master": "control-plane",
	"apiserver": "api-server", "api-server": "api-server", "node": "node",
}

// cluster is the name that is meant. What has no counterpart, and must not be left
// out in silence, is refused.
func (f *kopsFlags) cluster(args []string) (string, error) {
	name := f.name
	switch {
	case len(args) > 1:
		return "", usage("one cluster at a time", "unexpected argument %q", args[1])
	case len(args) == 1 && name != "" && name != args[0]:
		return "", usage("name the cluster once", "the cluster is %s and --name %s", args[0], name)
	case len(args) == 1:
		name = args[0]
	case name == "":
		name = os.Getenv("KOPS_CLUSTER_NAME")
	}
	switch {
	case name == "":
		return "", usage("name it as `kops get clusters` does, or set KOPS_CLUSTER_NAME", "the cluster is missing")
	case f.config != "":
		return "", usage("set KOPS_STATE_STORE, or --state; ~/.kops.yaml is read", "--config is kops' own")
	case f.interactive:
		return "", usage("leave --interactive out; -- --mode batch --batch-size 1 --wait-between-batches 5m pauses for a look, and Ctrl-C stops", "nobody is asked between nodes")
	case f.apiServer != "":
		return "", usage("write one with `kops export kubeconfig --api-server`, and give it with -- --kubeconfig FILE", "the API server comes from a kubeconfig")
	}
	return name, nil
}

// command is what the flags come to: a command of rotatord, and notes for a
// person about what has no counterpart.
func (f *kopsFlags) command(args []string) (command, notes []string, err error) {
	name, err := f.cluster(args)
	if err != nil {
		return nil, nil, err
	}
	command = []string{"plan"}
	if f.yes {
		command = []string{"run"}
	}
	add := func(ok bool, words ...string) {
		if ok {
			command = append(command, words...)
		}
	}
	add(true, "--driver", "kops", "--cluster", name)
	add(f.state != "", "--driver-config", "state="+f.state)
	roles := []string{"bastion", "control-plane", "api-server", "node"}
	if len(f.roles) > 0 {
		roles = nil
	}
	for _, r := range f.roles {
		role := rolesOfKops[strings.TrimSuffix(strings.ToLower(r), "s")]
		if role == "" {
			return nil, nil, usage("roles are control-plane, apiserver, node and bastion", "unknown role %q", r)
		}
		if !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	add(true, "--role", strings.Join(roles, ","))
	for _, g := range f.groups {
		add(true, "--group", g)
	}
	// The lock lives in the API server that the control plane runs.
	add(slices.Contains(roles, "control-plane") && !f.cloudOnly, "--lock-duration", "120s")
	add(f.force, "--force")
	add(f.set.Changed("drain-timeout"), "--drain-deadline", f.drain.String())
	add(!f.failOnDrain, "--on-failure", "continue")
	add(!f.failOnValidate, "--workloads-gate=false")
	add(f.set.Changed("validation-timeout"), "--node-ready-timeout", f.validation.String(), "--workloads-timeout", f.validation.String())
	add(f.cloudOnly, "--cloudonly")
	paused := f.set.Changed("control-plane-interval") || f.set.Changed("master-interval")
	add(f.cloudOnly && paused, "--wait-between-drains", f.controlPlane.String())
	if paused && !f.cloudOnly {
		notes = append(notes, "--control-plane-interval says nothing here: a machine goes when all others are whole")
	}
	for _, w := range without {
		if f.set.Changed(w.flag) {
			notes = append(notes, fmt.Sprintf("--%s says nothing here: %s", w.flag, w.instead))
		}
	}
	return command, notes, nil
}

// quoted is a command as one would type it.
func quoted(words []string) string {
	list := slices.Clone(words)
	for i, w := range list {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			list[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(list, " ")
}
