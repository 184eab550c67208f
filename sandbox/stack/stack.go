// Package stack puts the sandbox together: control plane, kubelets, simulated
// AWS and what stands between, workloads, and the observer over all.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/rotatord/rotator/sandbox/aws"
	"github.com/rotatord/rotator/sandbox/cloudnode"
	"github.com/rotatord/rotator/sandbox/control"
	"github.com/rotatord/rotator/sandbox/controlplane"
	"github.com/rotatord/rotator/sandbox/csi"
	"github.com/rotatord/rotator/sandbox/eks"
	"github.com/rotatord/rotator/sandbox/kops"
	"github.com/rotatord/rotator/sandbox/kubelet"
	"github.com/rotatord/rotator/sandbox/observer"
	"github.com/rotatord/rotator/sandbox/proxy"
	"github.com/rotatord/rotator/sandbox/workload"
)

// settleTimeout bounds the wait for all nodes and pods. A large cluster on a
// small machine needs minutes.
const settleTimeout = 10 * time.Minute

// progressInterval is how often a wait says what it waits for.
const progressInterval = 5 * time.Second

// A Sandbox runs from Up to Down.
type Sandbox struct {
	opts     Options
	kops     *kopsProvider // nil: another provider
	quorum   *quorum       // nil: no machine carries the control plane
	plane    *controlplane.ControlPlane
	cloud    *aws.Cloud
	observer *observer.Observer
	server   *http.Server
	url      string
	proxy    *proxy.Proxy
	faults   *faults

	progress func(format string, args ...any)

	stop   context.CancelFunc // of all parts but the control plane
	wg     sync.WaitGroup
	failed chan error
}

// Up starts everything and returns when all nodes and pods are Ready and all
// budgets are met. It tells progress what it does, one line at a time. It can be
// called once in a process. The caller calls Down, unless Up fails.
func Up(ctx context.Context, o Options, progress func(format string, args ...any)) (_ *Sandbox, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	objects, err := workloadObjects(o)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	s := &Sandbox{opts: o, progress: progress, stop: stop, failed: make(chan error, 8)} // a place for each part
	defer func() {
		if err != nil {
			s.Down()
		}
	}()

	// The machines boot while the control plane starts.
	var from provider = &groupsProvider{o}
	switch o.Provider {
	case ProviderKops:
		s.kops = newKopsProvider(o)
		from = s.kops
	case ProviderEKSManaged:
		from = &managedProvider{o}
	}
	// rotatord and people go through a proxy that faults can cut; our own parts
	// and the components do not, so that the cluster lives on meanwhile.
	if s.proxy, err = proxy.Listen(o.APIServerPort); err != nil {
		return nil, fmt.Errorf("--apiserver-port %d: %w", o.APIServerPort, err)
	}
	nodes := cloudnode.New(o.Cluster, from.profile)
	hooks, way := nodes.Hooks(), network(s.proxy)
	if s.kops != nil {
		s.quorum = newQuorum(s.proxy, kops.ControlPlaneSize, s.kops.controlPlane)
		hooks, way = s.quorum.hooks(hooks), s.quorum
	}
	s.cloud = aws.New(aws.Config{
		Region: o.Region, Zones: zones(o.Region, o.Zones), Seed: o.Seed, BootDelay: o.BootDelay,
		ResourceNames: o.ResourceNames, EKSSpeedup: o.EKSSpeedup, TemplateVersions: o.TemplateVersions, Hooks: hooks,
	})
	if err := from.seed(s.cloud); err != nil {
		return nil, err
	}
	s.start("simulated AWS", func() error { return s.cloud.Run(run) })

	// The API server is told where the port is before anybody answers there.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("port of the simulated AWS: %w", err)
	}
	defer func() {
		if s.server == nil {
			_ = listener.Close()
		}
	}()
	s.url = "http://" + listener.Addr().String()

	progress("starting etcd, API server, controllers and scheduler")
	plane := controlplane.Options{Dir: o.Dir, Front: s.proxy.Address(), NodeMonitorGracePeriod: o.NodeLostTime}
	if s.kops != nil {
		plane.Name, plane.ServerNames = o.Cluster, []string{s.kops.cluster.InternalName()}
	} else {
		plane.TokenWebhook = s.url + tokenWebhookPath
	}
	if s.plane, err = controlplane.Start(ctx, plane); err != nil {
		return nil, err
	}
	s.start("way to the API server", func() error { return s.proxy.Serve(run, s.plane.Address()) })
	clients, err := s.clients(controlplane.UserSetup, controlplane.UserKubelet, controlplane.UserCloudController, controlplane.UserPodGC, controlplane.UserCSI, controlplane.UserObserver, controlplane.UserEKS)
	if err != nil {
		return nil, err
	}
	s.observer = observer.New(observer.Options{
		Client: clients[controlplane.UserObserver], AuditLog: s.plane.AuditLog(),
		Rotator: string(controlplane.UserAdmin), Groups: s.cloud.Groups, Targets: s.cloud.Targets,
		Terminations: func() []control.Termination { return s.cloud.Stats(false).Terminations },
	})
	s.start("observer", func() error { return s.observer.Run(run) })
	kubelets := kubelet.New(clients[controlplane.UserKubelet], kubelet.Options{StartDelay: o.PodStart, StopDelay: o.PodStop, RunDelay: o.JobRun,
		LeaseInterval: leaseInterval(o.NodeLostTime)})
	s.start("kubelets", func() error { return kubelets.Run(run) })
	disks := csi.New(clients[controlplane.UserCSI], csi.Delays{Attach: o.VolumeAttach, Detach: o.VolumeDetach})
	s.start("CSI driver", func() error { return disks.Run(run) })
	s.start("cloud controller", func() error {
		return nodes.Run(run, cloudnode.Clients{
			Kubelet: clients[controlplane.UserKubelet], CloudController: clients[controlplane.UserCloudController], PodGC: clients[controlplane.UserPodGC],
		}, kubelets)
	})
	var backend control.Backend = s.cloud
	if s.kops == nil {
		ca, _ := s.plane.CertificateAuthority()
		if err := s.cloud.ConnectCluster(o.Cluster, "https://"+s.proxy.Address(), ca, eks.NewKubernetes(clients[controlplane.UserEKS])); err != nil {
			return nil, err
		}
	} else {
		caCert, caKey := s.plane.CertificateAuthority()
		if err := s.kops.writeStore(o.Dir, s.proxy.Address(), caCert, caKey); err != nil {
			return nil, err
		}
		backend = kopsPublisher{s.cloud, s.kops.store}
	}
	s.faults = newFaults(backend, way, s.plane, kubelets)
	s.serve(listener)

	progress("waiting for %d nodes", from.nodes())
	setup := clients[controlplane.UserSetup]
	if err := s.await(ctx, func(ctx context.Context) (string, error) { return nodesMissing(ctx, setup, from.nodes()) }); err != nil {
		return nil, err
	}
	if err := s.await(ctx, func(context.Context) (string, error) { return nodegroupsMissing(s.cloud, o.Cluster), nil }); err != nil {
		return nil, err
	}
	if s.quorum != nil {
		if err := s.quorum.begin(); err != nil {
			return nil, err
		}
	}
	select {
	case <-s.observer.Synced():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	progress("creating %d objects", len(objects))
	if err := workload.Create(ctx, s.plane.RESTConfig(controlplane.UserSetup), objects); err != nil {
		return nil, err
	}
	progress("waiting for pods and budgets")
	if err := s.await(ctx, func(ctx context.Context) (string, error) { return workload.Unsettled(ctx, setup) }); err != nil {
		return nil, err
	}
	if err := s.writeEnvironment(); err != nil {
		return nil, err
	}
	return s, nil
}

func workloadObjects(o Options) ([]runtime.Object, error) {
	switch o.Workload {
	case WorkloadNone:
		return nil, nil
	case WorkloadDemo:
		_, allocatable := cloudnode.Capacity(instanceType)
		return workload.Demo(workload.DemoOptions{
			Nodes: o.Nodes, Pods: o.Pods, Seed: o.Seed,
			NodeCPU: allocatable.Cpu().MilliValue(), NodeMemory: allocatable.Memory().Value() >> 20,
		})
	}
	return workload.ReadFile(o.Workload)
}

func (s *Sandbox) clients(users ...controlplane.User) (map[controlplane.User]kubernetes.Interface, error) {
	clients := map[controlplane.User]kubernetes.Interface{}
	for _, u := range users {
		client, err := kubernetes.NewForConfig(s.plane.RESTConfig(u))
		if err != nil {
			return nil, fmt.Errorf("client of %s: %w", u, err)
		}
		clients[u] = client
	}
	return clients, nil
}

// start runs a part that only ends when it is told to.
func (s *Sandbox) start(name string, f func() error) {
	s.wg.Go(func() {
		if err := f(); err != nil {
			s.failed <- fmt.Errorf("%s ended: %w", name, err)
		}
	})
}

// leaseInterval is how often kubelets renew their leases: as often as real ones
// do, or so often that a node is not called dead for one renewal that came late.
func leaseInterval(lost time.Duration) time.Duration {
	const usual = 10 * time.Second
	if lost <= 0 {
		return usual
	}
	return min(usual, lost/4)
}

// tokenWebhookPath is where the API server of an EKS cluster asks about tokens.
const tokenWebhookPath = "/_sandbox/eks/token-reviews"

// serve answers on the port of AWS and of the sandbox's own endpoint.
func (s *Sandbox) serve(listener net.Listener) {
	mux := http.NewServeMux()
	verify := http.StripPrefix("/_sandbox", s.observer.Handler())
	mux.Handle("/_sandbox/verify", verify)
	mux.Handle("/_sandbox/verify/", verify)
	mux.Handle("/_sandbox/", http.StripPrefix("/_sandbox", control.NewHandler(s.faults)))
	if s.kops == nil {
		// rotatord is the same user by whatever way it gets in, so that the observer
		// knows what it does.
		admin := eks.AccessEntry{User: string(controlplane.UserAdmin), Groups: []string{"system:masters"}}
		mux.Handle("POST "+tokenWebhookPath, &eks.Authenticator{Cloud: s.cloud, Cluster: s.opts.Cluster, Host: listener.Addr().String(),
			Entries: map[string]eks.AccessEntry{s.cloud.Administrator(): admin, s.cloud.RoleARN(): admin}})
	}
	mux.Handle("/", s.cloud.Handler())
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.start("simulated AWS' port", func() error {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}

// await repeats look until it names nothing that is missing.
func (s *Sandbox) await(ctx context.Context, look func(context.Context) (missing string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	told := time.Now()
	for {
		missing, err := look(ctx)
		if err == nil && missing == "" {
			return nil
		}
		if time.Since(told) >= progressInterval {
			told = time.Now()
			s.progress("still missing: %s", missing)
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for the cluster, last: %s: %w", missing, ctx.Err()), err)
		case err := <-s.failed:
			return err
		case err := <-s.plane.Failed():
			return err
		case <-ticker.C:
		}
	}
}

func nodesMissing(ctx context.Context, client kubernetes.Interface, want int) (string, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	ready := 0
	for _, n := range list.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && !slices.ContainsFunc(n.Spec.Taints, notYet) {
				ready++
			}
		}
	}
	if ready < want {
		return fmt.Sprintf("%d of %d nodes Ready and initialised", ready, want), nil
	}
	return "", nil
}

// notYet tells the taints of a node that is not ready or not initialised from
// those that it keeps.
func notYet(t corev1.Taint) bool {
	return strings.HasPrefix(t.Key, "node.kubernetes.io/") || strings.HasPrefix(t.Key, "node.cloudprovider.kubernetes.io/")
}

// Environment is what a client of the sandbox needs, as KEY=VALUE.
func (s *Sandbox) Environment() []string {
	env := []string{
		"KUBECONFIG=" + s.plane.Kubeconfig(),
		"AWS_ENDPOINT_URL=" + s.url,
		"AWS_REGION=" + s.opts.Region,
		"AWS_ACCESS_KEY_ID=sandbox",
		"AWS_SECRET_ACCESS_KEY=sandbox",
		"SANDBOX_URL=" + s.url + "/_sandbox",
	}
	if s.kops != nil {
		env = append(env, s.kops.environment()...)
	}
	return env
}

func (s *Sandbox) writeEnvironment() error {
	var b strings.Builder
	for _, kv := range s.Environment() {
		k, v, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", k, strings.ReplaceAll(v, "'", `'\''`))
	}
	if err := os.WriteFile(filepath.Join(s.opts.Dir, "env"), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("environment of the sandbox: %w", err)
	}
	return nil
}

// Failed yields an error when a part ends by itself.
func (s *Sandbox) Failed() <-chan error {
	merged := make(chan error, 1)
	go func() {
		select {
		case err := <-s.failed:
			merged <- err
		case err := <-s.plane.Failed():
			merged <- err
		}
	}()
	return merged
}

// Down ends everything: first who asks, then who answers.
func (s *Sandbox) Down() {
	s.stop()
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.faults != nil {
		s.faults.close()
	}
	s.wg.Wait()
	if s.plane != nil {
		s.plane.Stop()
	}
}
