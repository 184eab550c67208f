package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rotatord/rotator/sandbox/stack"
)

// downTimeout is how long an end in order may take before the process just ends.
const downTimeout = 30 * time.Second

func newUp() *cobra.Command {
	o := stack.Defaults()
	watchStdin := false
	c := &cobra.Command{
		Use:   "up",
		Short: "Run the sandbox in the foreground",
		Long: `Up runs the sandbox until SIGINT or SIGTERM. When all nodes and pods are Ready
and all budgets are met it prints one line on standard output,

  ready KUBECONFIG=... AWS_ENDPOINT_URL=... AWS_REGION=... AWS_ACCESS_KEY_ID=sandbox
        AWS_SECRET_ACCESS_KEY=sandbox SANDBOX_URL=...

and writes the same as export lines to DIR/env. Progress goes to standard error,
the components' log to DIR/control-plane.log, the API server's audit log to
DIR/audit.log.

Pods and nodes can be tuned by annotation, for example in a --workload file:
sandbox.rotatord.github.io/ start-delay, stop-delay, run-delay ("1.5s") and
never-ready ("true") on pods, ready-delay and never-ready on nodes.`,
		Example: `  sandbox up
  sandbox up --dir ./sb --nodes 30 --groups 3 --zones 3 --seed 7
  sandbox up --workload my-app.yaml --pod-start-delay 3s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Provider == stack.ProviderKops && !c.Flags().Changed("cluster") {
				o.Cluster = stack.KopsCluster
			}
			if o.Provider != stack.ProviderEKS && !c.Flags().Changed("groups") {
				o.Groups = 2
			}
			return up(c, o, watchStdin)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Dir, "dir", "", "folder of kubeconfig, logs and credentials (default: a new one, removed at the end)")
	f.StringVar(&o.Provider, "provider", o.Provider, "eks (groups of workers), eks-managed (managed node groups and one group of workers) or kops (control plane, bastion, workers and a state store)")
	f.StringVar(&o.Cluster, "cluster", o.Cluster, "name of the cluster; its groups carry the tag kubernetes.io/cluster/NAME")
	f.StringVar(&o.Region, "region", o.Region, "AWS region")
	f.IntVar(&o.Nodes, "nodes", o.Nodes, "how many nodes, over all groups")
	f.IntVar(&o.Groups, "groups", o.Groups, "how many Auto Scaling groups (NAME-workers-1, ...) or managed node groups (NAME-managed-1, ...)")
	f.BoolVar(&o.NoBastion, "no-bastion", o.NoBastion, "a cluster of kops without a bastion: kops update cluster can apply it here")
	f.IntVar(&o.Zones, "zones", o.Zones, "how many availability zones, 1 to 8")
	f.DurationVar(&o.BootDelay, "boot-delay", o.BootDelay, "how long a running machine takes to join as a Ready node")
	f.DurationVar(&o.PodStart, "pod-start-delay", o.PodStart, "how long a pod takes from its node to Ready")
	f.DurationVar(&o.PodStop, "pod-stop-delay", o.PodStop, "how long a pod takes to end; its grace period cuts it short")
	f.DurationVar(&o.VolumeAttach, "volume-attach-delay", o.VolumeAttach, "how long a volume takes to be attached")
	f.DurationVar(&o.VolumeDetach, "volume-detach-delay", o.VolumeDetach, "how long a volume takes to be detached")
	f.DurationVar(&o.JobRun, "job-run-delay", o.JobRun, "how long a pod runs that may complete")
	f.DurationVar(&o.NodeLostTime, "node-monitor-grace-period", o.NodeLostTime, "how long a node whose kubelet is silent counts as alive")
	f.StringVar(&o.Workload, "workload", o.Workload, "demo, none, or a YAML file of manifests")
	f.IntVar(&o.Pods, "pods", 0, "how many pods the demo has, about (default: 9 for each node)")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "decides all chance: ids, the demo's workloads, which calls a fault strikes")
	f.BoolVar(&o.MixedInstances, "mixed-instances", false, "groups use a mixed instances policy")
	f.BoolVar(&o.TargetGroup, "target-group", false, "all groups are behind a load balancer's target group, NAME-web; of a kops cluster its control plane, behind NAME-api")
	f.DurationVar(&o.DeregistrationDelay, "deregistration-delay", o.DeregistrationDelay, "how long a target of it drains, in whole seconds")
	f.BoolVar(&o.ResourceNames, "resource-names", false, "node names from instance ids (i-0abc.eu-central-1.compute.internal)")
	f.Float64Var(&o.EKSSpeedup, "eks-speedup", o.EKSSpeedup, "how many times faster than at AWS EKS works on managed node groups: with 60 its drain of 15 minutes takes 15 s")
	f.IntVar(&o.TemplateVersions, "launch-template-versions", o.TemplateVersions, "how many versions a launch template may have")
	f.IntVar(&o.APIServerPort, "apiserver-port", 0, "port of the API server, as the kubeconfig names it (default: a free one)")
	f.BoolVar(&watchStdin, "exit-on-stdin-close", false, "end when standard input closes: with a parent's pipe the sandbox never outlives the parent")
	return c
}

func up(c *cobra.Command, o stack.Options, watchStdin bool) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if watchStdin {
		go func() {
			_, _ = io.Copy(io.Discard, c.InOrStdin())
			stop()
		}()
	}
	// A second signal, or an end that hangs, ends the process at once: whoever
	// asked twice does not want to wait.
	context.AfterFunc(ctx, func() {
		stop() // the next signal has its default effect
		time.AfterFunc(downTimeout, func() { os.Exit(1) })
	})

	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "sandbox-")
		if err != nil {
			return fmt.Errorf("folder of the sandbox: %w", err)
		}
		defer os.RemoveAll(dir)
		o.Dir = dir
	}
	began := time.Now()
	progress := func(format string, args ...any) {
		fmt.Fprintf(c.ErrOrStderr(), "sandbox: %5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	s, err := stack.Up(ctx, o, progress)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("stopped before it was ready: %w", err)
		}
		return err
	}
	progress("ready")
	fmt.Fprintf(c.OutOrStdout(), "ready %s\n", strings.Join(s.Environment(), " "))
	select {
	case <-ctx.Done():
		progress("ending")
	case err = <-s.Failed():
	}
	s.Down()
	return err
}
