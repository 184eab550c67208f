package sdk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// graceOnTerm is how long calls in flight may take to finish after SIGTERM.
// What is cut off is sent again to the driver's next life: calls state goals.
const graceOnTerm = 3 * time.Second

// answerFlush is how long the last answers may take to leave: gRPC writes them
// after the handler has returned, and Stop cuts what is not written.
const answerFlush = 100 * time.Millisecond

// Serve runs d as a plugin of rotatord. It returns when the host has ended the
// driver, when the host is gone, or after SIGTERM; main should then return.
// Started by hand, it explains itself on stderr and exits with status 1.
//
// SIGINT is ignored: a terminal sends it to the host as well, and the host
// decides. Nothing may be written to stdout before Serve is called.
func Serve(d Driver) {
	log := NewLogger()
	l := newLife(log)
	var hostGone atomic.Bool
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	// When the host has died nobody reads the log. A line into it must not kill
	// the driver in the middle of tidying up.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-stop
		log.Info("terminated: finishing the calls in flight")
		l.end(graceOnTerm)
	}()
	go func() {
		waitForHostToDie()
		hostGone.Store(true)
		l.end(0)
	}()

	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &grpcPlugin{d: d}}},
		Logger:           log,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(append(append(opts, ServerOptions()...),
				grpc.ChainUnaryInterceptor(l.unary), grpc.ChainStreamInterceptor(l.stream))...)
			l.serving(s)
			return s
		},
	})
	if hostGone.Load() {
		removeSocketDir()
	}
}

// removeSocketDir removes the folder that the host made for the driver's socket
// and would have removed. It may take a moment until the socket is gone from
// it; a folder that holds anything stays.
func removeSocketDir() {
	dir := os.Getenv(plugin.EnvUnixSocketDir)
	if dir == "" {
		return
	}
	for range 20 {
		if err := os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ServerOptions are the options of a driver's gRPC server: its limits.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(MaxMessageBytes), grpc.MaxSendMsgSize(MaxMessageBytes)}
}

// NewLogger returns a logger whose lines the host shows as the driver's, with
// their level: JSON on stderr. The least level is the host's. Never log a
// secret: the host masks the values that it knows to be secret, and cannot know
// all.
func NewLogger() hclog.Logger {
	level := hclog.LevelFromString(os.Getenv(EnvLogLevel))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	return hclog.New(&hclog.LoggerOptions{Level: level, Output: os.Stderr, JSONFormat: true})
}

// grpcPlugin is go-plugin's view of a driver. There is no broker: drivers never
// call the host.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	d Driver
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	Register(s, p.d)
	return nil
}

// GRPCClient is the host's half, which is not in the SDK.
func (p *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, Errorf(codes.Unimplemented, "the SDK serves drivers; core/host calls them")
}

// life is one run of the process: it knows the calls in flight, so that the
// process can end between calls and not in the middle of one.
type life struct {
	log   hclog.Logger
	ready chan struct{} // closed once server is set
	once  sync.Once

	mu      sync.Mutex
	server  *grpc.Server
	calls   int
	ending  bool
	drained chan struct{} // closed when ending and no call is left
}

func newLife(log hclog.Logger) *life {
	return &life{log: log, ready: make(chan struct{}), drained: make(chan struct{})}
}

func (l *life) serving(s *grpc.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = s
	close(l.ready)
}

// end refuses new calls, waits for those in flight for at most grace, and stops
// the server, upon which Serve returns. A process that does not end by that is
// ended a second later: the socket's file is then left behind, and nothing
// else.
func (l *life) end(grace time.Duration) {
	l.once.Do(func() {
		l.mu.Lock()
		l.ending = true
		if l.calls == 0 {
			close(l.drained)
		}
		l.mu.Unlock()

		select {
		case <-l.drained:
			if grace > 0 {
				time.Sleep(answerFlush)
			}
		case <-time.After(grace):
		}
		time.AfterFunc(time.Second, func() { os.Exit(0) })
		select {
		case <-l.ready:
			l.server.Stop()
		case <-time.After(time.Second): // signalled before it served anything
			os.Exit(0)
		}
	})
}

func (l *life) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return Errorf(codes.Unavailable, "the driver is ending")
	}
	l.calls++
	return nil
}

func (l *life) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	if l.ending && l.calls == 0 {
		close(l.drained)
	}
}

func (l *life) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if !ours(info.Server) {
		return next(ctx, req)
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	return next(ctx, req)
}

func (l *life) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if !ours(srv) {
		return next(srv, s)
	}
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	return next(srv, s)
}

// ours tells the driver's calls from go-plugin's own, some of which last as
// long as the process.
func ours(srv any) bool {
	_, ok := srv.(*server)
	return ok
}
