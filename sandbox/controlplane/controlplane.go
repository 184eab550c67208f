// Package controlplane runs a real Kubernetes control plane inside this
// process: etcd, kube-apiserver, kube-controller-manager and kube-scheduler,
// each the upstream code. It listens on loopback only, and everything is gone
// when it stops.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// startTimeout bounds each step of the start. An idle machine needs about
	// three seconds; a loaded one with two cores has needed twenty.
	startTimeout = 2 * time.Minute
	// stopTimeout bounds each step of the stop. The API server waits for open
	// watches to end, and a client that holds one must not hold the process.
	stopTimeout = 5 * time.Second
	// pollInterval is short because a start is waited for by a person.
	pollInterval = 20 * time.Millisecond
)

// Options says where and how to run. Dir is required.
type Options struct {
	// Dir holds the kubeconfigs, the credentials, etcd's data, the audit log
	// and the components' log. It is created where missing. What an earlier
	// control plane left there is removed; one that still runs is an error.
	Dir string
	// Front is the host:port under which the kubeconfig of UserAdmin reaches the
	// API server; empty: its own. It must lead there on loopback, for the serving
	// certificate to fit. The components reach the API server directly.
	Front string
	// Name is the cluster's in the kubeconfigs, and their context's; empty:
	// "sandbox".
	Name string
	// ServerNames are names by which the serving certificate goes beside its own.
	ServerNames []string
	// TokenWebhook is the URL of a webhook on loopback that the API server asks
	// about bearer tokens that it does not know, with TokenReviews; empty: none.
	TokenWebhook string
	// NodeMonitorGracePeriod is how long a node's lease may go without renewal
	// before the node counts as dead; 0 means 50 s, Kubernetes' own default.
	NodeMonitorGracePeriod time.Duration
}

// A ControlPlane is running from Start to Stop.
type ControlPlane struct {
	dir       string
	files     *credentials
	unlock    func()
	etcd      *embed.Etcd
	etcdURL   string
	port      int // the API server's
	client    kubernetes.Interface
	apiMu     sync.Mutex // guards the lives of API server and scheduler: the next six
	stopAPI   context.CancelFunc
	apiDone   chan struct{}
	conns     *connections
	apiDown   bool
	stopSched context.CancelFunc
	schedDone chan struct{}
	stopRest  context.CancelFunc
	restDone  chan struct{}
	failed    chan error
	closeLogs func()
}

// started guards against a second control plane: the upstream components keep
// flags, feature gates and klog in globals of the process.
var started atomic.Bool

// Start returns when the API server is ready, the controllers and the scheduler
// run, and pods can be created in namespace default. It can be called once in a
// process. The caller calls Stop, unless Start fails. Cancelling ctx gives up
// the start; it does not stop a control plane that has started.
func Start(ctx context.Context, opts Options) (_ *ControlPlane, err error) {
	if !started.CompareAndSwap(false, true) {
		return nil, errors.New("a control plane was started in this process before: start another process")
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("control plane folder %q: %w", opts.Dir, err)
	}
	c := &ControlPlane{dir: dir, failed: make(chan error, 4)} // one place for each component
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	if c.unlock, err = claim(dir); err != nil {
		return nil, err
	}
	if c.closeLogs, err = redirectLogs(c.LogFile()); err != nil {
		return nil, err
	}
	listener, port, err := listen(0)
	if err != nil {
		return nil, err
	}
	if c.files, err = writeCredentials(dir, port, opts); err != nil {
		_ = listener.Close()
		return nil, err
	}
	if c.etcd, c.etcdURL, err = startEtcd(ctx, dir); err != nil {
		_ = listener.Close()
		return nil, err
	}
	if c.client, err = kubernetes.NewForConfig(c.RESTConfig(UserSetup)); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("client of the control plane: %w", err)
	}
	c.port = port
	c.startAPIServer(listener)
	if err := c.wait(ctx, "the API server to be ready", c.ready); err != nil {
		return nil, err
	}

	restCtx, stopRest := context.WithCancel(context.Background())
	c.stopRest = stopRest
	grace := opts.NodeMonitorGracePeriod
	if grace == 0 {
		grace = 50 * time.Second
	}
	c.restDone = make(chan struct{})
	c.run(restCtx, "kube-controller-manager", c.restDone, func() error { return runControllerManager(restCtx, c.files, grace) })
	c.startScheduler()
	// Pods are refused until the controller has made their service account.
	if err := c.wait(ctx, "the default service account", func(ctx context.Context) bool {
		_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	}); err != nil {
		return nil, err
	}
	return c, nil
}

// ready tells whether the API server says so.
func (c *ControlPlane) ready(ctx context.Context) bool {
	b, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err == nil && string(b) == "ok"
}

// run starts a component and reports its end, unless it was told to end.
func (c *ControlPlane) run(ctx context.Context, name string, done chan<- struct{}, f func() error) {
	go func() {
		defer close(done)
		err := f()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it returned without an error")
		}
		c.failed <- fmt.Errorf("%s ended: %w; its log is %s", name, err, c.LogFile())
	}()
}

func (c *ControlPlane) wait(ctx context.Context, what string, ok func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; the components' log is %s", what, ctx.Err(), c.LogFile())
		case err := <-c.failed:
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-ticker.C:
		}
	}
	return nil
}

// Failed yields an error when a component ends by itself. The control plane is
// of no use then: stop it.
func (c *ControlPlane) Failed() <-chan error { return c.failed }

// Kubeconfig is the absolute path of the kubeconfig of UserAdmin: the one that
// rotatord and people use.
func (c *ControlPlane) Kubeconfig() string { return c.files.kubeconfig(UserAdmin) }

// Address is the API server's own host:port.
func (c *ControlPlane) Address() string { return strings.TrimPrefix(c.files.server, "https://") }

// CertificateAuthority is the one that the API server trusts its clients by, PEM:
// whoever has the key can be anybody.
func (c *ControlPlane) CertificateAuthority() (cert, key []byte) { return c.files.caPEM, c.files.caKey }

// AuditLog is the absolute path of the API server's audit log, JSON lines.
func (c *ControlPlane) AuditLog() string { return filepath.Join(c.dir, "audit.log") }

// LogFile is the absolute path of the log that all components share.
func (c *ControlPlane) LogFile() string { return filepath.Join(c.dir, "control-plane.log") }

// RESTConfig returns a client configuration that acts as user, speaks protobuf
// and is not rate limited by itself.
func (c *ControlPlane) RESTConfig(user User) *rest.Config {
	return &rest.Config{
		Host:            c.files.server,
		BearerToken:     c.files.tokens[user],
		TLSClientConfig: rest.TLSClientConfig{CAData: c.files.caPEM},
		UserAgent:       string(user),
		QPS:             -1,
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	}
}

// Stop ends the components in the reverse order of their start, within about
// fifteen seconds, and leaves Dir as it is. End the clients first: the API
// server waits for open watches.
func (c *ControlPlane) Stop() {
	if c.stopRest != nil {
		c.stopRest()
		waitFor(c.restDone, stopTimeout)
	}
	c.apiMu.Lock()
	if c.stopSched != nil {
		c.stopSched()
		waitFor(c.schedDone, stopTimeout)
	}
	if c.stopAPI != nil {
		c.stopAPI()
		waitFor(c.apiDone, stopTimeout)
	}
	c.apiMu.Unlock()
	if c.etcd != nil {
		c.etcd.Close()
	}
	if c.closeLogs != nil {
		c.closeLogs()
	}
	if c.unlock != nil {
		c.unlock()
	}
}

func waitFor(done <-chan struct{}, limit time.Duration) {
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// leftovers are what an earlier control plane leaves in its folder and a new
// one would trip over: etcd's data, and an audit log with another run's events.
var leftovers = []string{"etcd", "audit.log", "control-plane.log"}

// claim makes dir this process' own until the returned function is called.
func claim(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("control plane folder: %w", err)
	}
	release, err = lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("control plane folder %s is in use by another sandbox (%w): stop that one, or choose another folder", dir, err)
	}
	for _, name := range leftovers {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			release()
			return nil, fmt.Errorf("removing what an earlier control plane left: %w", err)
		}
	}
	return release, nil
}
