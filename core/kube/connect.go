package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

	"github.com/rotatord/rotator/core/model"
)

// Options of a connection. The zero value is what kubectl would do.
type Options struct {
	// Kubeconfig is a file; empty: the files that KUBECONFIG lists, then
	// ~/.kube/config, then the service account of the pod that this runs in.
	Kubeconfig string
	// Context of the kubeconfig; empty: its current one.
	Context string
	// Access answers the way to the API server, with credentials that are good for a
	// while; it is asked again before they end. Kubeconfig and Context do not count
	// then. Nil: they do.
	Access func(ctx context.Context) (model.Access, error)
	// UserAgent names us in the API server's logs; default "rotator".
	UserAgent string
	// Volumes watches PersistentVolumeClaims and VolumeAttachments too, Autoscalers
	// HorizontalPodAutoscalers. Each takes permissions of its own.
	Volumes, Autoscalers bool
	Log                  *slog.Logger // default: none
}

const (
	// connectTimeout bounds the one call that Connect makes.
	connectTimeout = 15 * time.Second
	// qps and burst bound our calls. A drain of 50 pods at once, or the two calls
	// that taint each of 50 nodes, pass without waiting; beyond that, 50 a second
	// at some 50 ms each take 3 of the 200 changes that an API server works on at
	// once by default, and leave the rest to the controllers that refill what we
	// drain.
	qps   = 50
	burst = 100
	// The journal and the lock have a limit of their own: a renewal must not wait
	// behind a thousand evictions. They make a few calls a second.
	stateQPS   = 20
	stateBurst = 40
)

// The API groups that are used, and no others: the full client set would
// bring the types of thirty into every program that embeds us.
var (
	scheme = newScheme()
	codecs = serializer.NewCodecFactory(scheme)
)

func newScheme() *apiruntime.Scheme {
	s := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, coordinationv1.AddToScheme, storagev1.AddToScheme, autoscalingv1.AddToScheme,
		authorizationv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // a name registered twice: a fault of the build, not of a run
		}
	}
	return s
}

// Connect finds the cluster's address and credentials and asks the API server
// for its version, to know that both work. It changes nothing. Errors are
// *Error.
func Connect(ctx context.Context, o Options) (*Cluster, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var cfg *rest.Config
	var err error
	if o.Access != nil {
		cfg, err = accessConfig(ctx, o.Access, log, time.Now)
	} else {
		cfg, err = loadConfig(o)
	}
	if err != nil {
		return nil, err
	}
	c, err := newCluster(cfg, o.UserAgent, log)
	if err != nil {
		return nil, fault(CodeKubeconfigInvalid, err,
			"check certificates, keys and the exec section of this user in the kubeconfig",
			"the kubeconfig's settings for %s cannot be used: %v", cfg.Host, err)
	}
	c.volumes, c.autoscaling, c.byDriver = o.Volumes, o.Autoscalers, o.Access != nil
	if err := c.ping(ctx); err != nil {
		return nil, err
	}
	c.checkClock(ctx)
	return c, nil
}

// loadConfig follows kubectl's rules.
func loadConfig(o Options) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	rules.WarnIfAllMissing = false // said below, in one place
	raw, err := rules.Load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault(CodeKubeconfigMissing, err, "check the path, or leave it out to use KUBECONFIG or ~/.kube/config",
			"kubeconfig %s does not exist", o.Kubeconfig)
	case err != nil:
		return nil, fault(CodeKubeconfigInvalid, err, "repair the file; `kubectl config view` shows what it holds",
			"the kubeconfig cannot be read: %v", err)
	}
	if o.Context != "" {
		if _, ok := raw.Contexts[o.Context]; !ok {
			return nil, unknownContext(o.Context, "asked for", raw, rules)
		}
	} else if raw.CurrentContext != "" {
		if _, ok := raw.Contexts[raw.CurrentContext]; !ok {
			return nil, unknownContext(raw.CurrentContext, "the current one", raw, rules)
		}
	}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
	cfg, err := clientcmd.NewNonInteractiveClientConfig(*raw, o.Context, overrides, rules).ClientConfig()
	if clientcmd.IsEmptyConfig(err) && o.Kubeconfig == "" {
		cfg, err = rest.InClusterConfig()
		switch {
		case errors.Is(err, rest.ErrNotInCluster):
			return nil, fault(CodeKubeconfigMissing, err,
				"name a file with --kubeconfig or KUBECONFIG; for EKS, `aws eks update-kubeconfig --name CLUSTER` writes one",
				"no kubeconfig found (looked at %s) and this is not a pod of a cluster", strings.Join(rules.GetLoadingPrecedence(), ", "))
		case err != nil:
			return nil, fault(CodeKubeconfigMissing, err,
				"give the pod a service account with automountServiceAccountToken, or name a file with --kubeconfig",
				"no kubeconfig found, and this pod's service account cannot be used: %v", err)
		}
	}
	if err != nil {
		return nil, fault(CodeKubeconfigInvalid, err, "repair the file; `kubectl config view` shows what it holds",
			"the kubeconfig %s cannot be used: %v", source(rules), err)
	}
	return cfg, nil
}

func unknownContext(name, how string, raw *clientcmdapi.Config, rules *clientcmd.ClientConfigLoadingRules) *Error {
	known := slices.Sorted(maps.Keys(raw.Contexts))
	list := "none"
	if len(known) > 0 {
		list = strings.Join(known, ", ")
	}
	return fault(CodeContextUnknown, nil, "choose one of its contexts: "+list,
		"context %q (%s) is not in the kubeconfig %s", name, how, source(rules))
}

// source names the files that exist among those that were looked at.
func source(rules *clientcmd.ClientConfigLoadingRules) string {
	var found []string
	for _, p := range rules.GetLoadingPrecedence() {
		if _, err := os.Stat(p); err == nil {
			found = append(found, p)
		}
	}
	return cmp.Or(strings.Join(found, string(filepath.ListSeparator)), "that was found")
}

// newCluster makes the clients: one for each API group, over one transport and
// under one rate limit, and those of the journal and the lock.
func newCluster(cfg *rest.Config, userAgent string, log *slog.Logger) (*Cluster, error) {
	cfg = rest.CopyConfig(cfg)
	// Protobuf takes half the bytes and a fifth of the CPU of JSON; errors and
	// proxies may answer JSON all the same.
	cfg.ContentType = apiruntime.ContentTypeProtobuf
	cfg.AcceptContentTypes = apiruntime.ContentTypeProtobuf + "," + apiruntime.ContentTypeJSON
	cfg.NegotiatedSerializer = codecs.WithoutConversion()
	cfg.UserAgent = fmt.Sprintf("%s (%s/%s)", cmp.Or(userAgent, "rotator"), runtime.GOOS, runtime.GOARCH)
	cfg.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(qps, burst)
	cfg.WarningHandlerWithContext = warnings{log}
	cfg.Timeout = 0 // each call has a deadline of its own; a watch has none
	clock := &clock{}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		clock.next = shortErrors{next}
		return clock
	})
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	own := *client // it may be one that others share
	own.CheckRedirect = stay
	if cfg.ExecProvider != nil {
		own.Transport = punctual{own.Transport}
	}
	client = &own
	group := func(path string, gv schema.GroupVersion) (*rest.RESTClient, error) {
		cfg := rest.CopyConfig(cfg)
		cfg.APIPath, cfg.GroupVersion, cfg.NegotiatedSerializer = path, &gv, pruning{cfg.NegotiatedSerializer}
		return rest.RESTClientForConfigAndClient(cfg, client)
	}
	stateLimit := flowcontrol.NewTokenBucketRateLimiter(stateQPS, stateBurst)
	state := func(path string, gv schema.GroupVersion) (*rest.RESTClient, error) {
		cfg := rest.CopyConfig(cfg)
		cfg.APIPath, cfg.GroupVersion, cfg.RateLimiter = path, &gv, stateLimit
		return rest.RESTClientForConfigAndClient(cfg, client)
	}
	c := &Cluster{server: cfg.Host, log: log, helper: cfg.ExecProvider, clock: clock}
	if c.core, err = group("/api", corev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.apps, err = group("/apis", appsv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.policy, err = group("/apis", policyv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.storage, err = group("/apis", storagev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.scaling, err = group("/apis", autoscalingv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.access, err = group("/apis", authorizationv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.records, err = state("/api", corev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.leases, err = state("/apis", coordinationv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	c.feed = newFeed()
	c.feed.clock = clock
	return c, nil
}

// call bounds one call, and sends what client-go has to say about it to our log
// and not to standard error.
func (c *Cluster) call(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.logged(ctx), timeout)
}

func (c *Cluster) logged(ctx context.Context) context.Context {
	return klog.NewContext(ctx, logr.FromSlogHandler(c.log.Handler()))
}

func (c *Cluster) unauthorized(err error) *Error {
	if c.byDriver {
		return fault(CodeUnauthorized, err, "make the identity that the driver works as known to the cluster: on EKS, by an access entry for its IAM role (`aws eks create-access-entry`) or in the ConfigMap aws-auth",
			"the API server %s does not accept the driver's credentials", c.server)
	}
	return fault(CodeUnauthorized, err, "sign in anew, or check the user of this context in the kubeconfig",
		"the API server %s does not accept the credentials", c.server)
}

// warnings sends the API server's warnings (deprecations) to the log.
type warnings struct{ log *slog.Logger }

func (w warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if code == 299 && text != "" { // RFC 7234: a persistent warning, the only one that the API server sends
		w.log.DebugContext(ctx, "warning of the API server", "text", text)
	}
}
