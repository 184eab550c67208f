package controlplane

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/cache"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/configz"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// Why not the upstream New*Command functions: the API server's and the
// scheduler's both call SetupSignalContext, which panics when called a second
// time in a process, and each applies the global logging configuration, which
// fails when applied a second time. So each component is started one level
// lower: options, flags, configuration, Run.

func runAPIServer(ctx context.Context, c *credentials, listener net.Listener, etcdURL string) error {
	policy := filepath.Join(c.dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	s := apiserveroptions.NewServerRunOptions()
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // a loopback address may not be an endpoint
		"--service-cluster-ip-range=172.20.0.0/16",
		"--cert-dir=" + c.dir,
		"--tls-cert-file=" + c.file("apiserver.crt"),
		"--tls-private-key-file=" + c.file("apiserver.key"),
		"--client-ca-file=" + c.file("ca.crt"),
		"--token-auth-file=" + c.file("tokens.csv"),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.file("sa.key"),
		"--service-account-signing-key-file=" + c.file("sa.key"),
		"--audit-policy-file=" + policy,
		"--audit-log-path=" + filepath.Join(c.dir, "audit.log"),
		// Blocking: an answered request is in the log, so a verdict misses none.
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=4096", // MiB; a rotated log would lose its beginning to the reader
		"--max-requests-inflight=3000",
		"--max-mutating-requests-inflight=2000",
		"--profiling=true", // of the whole process: kubectl get --raw /debug/pprof/profile
	}
	if c.webhook != "" {
		args = append(args, "--authentication-token-webhook-config-file="+c.webhook, "--authentication-token-webhook-version=v1")
	}
	if err := parse(s.Flags(), args); err != nil {
		return err
	}
	s.SecureServing.Listener = listener
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return utilerrors.NewAggregate(errs)
	}
	// A name that one process registers once: the next life takes it again.
	name, err := cache.NewInformerName("kube-apiserver")
	if err != nil {
		return err
	}
	defer name.Release()
	completed.InformerName = name
	return apiserver.Run(ctx, completed)
}

// controllers are those that a node rotation can observe or that workloads
// need. Left out are the ones that need a cloud or certificates.
var controllers = strings.Join([]string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"endpoints-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"job-controller",
	"namespace-controller",
	"node-lifecycle-controller",
	"persistentvolume-attach-detach-controller",
	"persistentvolume-binder-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"replicationcontroller-controller",
	"serviceaccount-controller",
	"statefulset-controller",
	"taint-eviction-controller",
	"ttl-after-finished-controller",
}, ",")

func runControllerManager(ctx context.Context, c *credentials, nodeMonitorGrace time.Duration) error {
	s, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	flags := s.Flags(kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	s.ParsedFlags = &flags
	if err := parse(flags, []string{
		"--kubeconfig=" + c.kubeconfig(userControllerManager),
		"--controllers=" + controllers,
		"--leader-elect=false",
		"--secure-port=0",
		"--use-service-account-credentials=false",
		"--service-account-private-key-file=" + c.file("sa.key"),
		"--root-ca-file=" + c.file("ca.crt"),
		// Without limits of its own a large cluster fills in seconds; the
		// controllers' decisions do not depend on them.
		"--kube-api-qps=2000", "--kube-api-burst=4000",
		"--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20", "--concurrent-gc-syncs=20",
		"--allocate-node-cidrs=false",
		"--node-monitor-grace-period=" + nodeMonitorGrace.String(),
	}); err != nil {
		return err
	}
	cfg, err := s.Config(ctx, kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	if err != nil {
		return err
	}
	return kcm.Run(ctx, cfg.Complete())
}

func runScheduler(ctx context.Context, c *credentials) error {
	// With --config the scheduler ignores --kubeconfig and --leader-elect. What
	// decides placement is left at its defaults: a rotation is judged by it.
	file := c.file("scheduler.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: %q, qps: 2000, burst: 4000}
leaderElection: {leaderElect: false}
`, c.kubeconfig(userScheduler)), 0o600); err != nil {
		return err
	}
	o := scheduleroptions.NewOptions()
	if err := parse(*o.Flags, []string{"--config=" + file, "--secure-port=0"}); err != nil {
		return err
	}
	completed, s, err := scheduler.Setup(ctx, o)
	if err != nil {
		return err
	}
	// What it registers once in a process: the next life does so again.
	defer configz.Delete("componentconfig")
	return scheduler.Run(ctx, completed, s)
}

func parse(named cliflag.NamedFlagSets, args []string) error {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, f := range named.FlagSets {
		flags.AddFlagSet(f)
	}
	return flags.Parse(args)
}
