package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

const (
	// startTimeout is how long a driver may take until it listens. It takes a
	// few hundredths of a second; a busy machine that reads the executable from
	// a slow disk takes longer.
	startTimeout = 30 * time.Second
	// killAfter is how long a driver may take to end by itself when it is asked.
	killAfter = 3 * time.Second
	// exitNotice is how long the end of a process whose connection has broken
	// may take to be noticed.
	exitNotice = 2 * time.Second
	// stateNotice is how long a connection may take to notice that it is broken.
	stateNotice = 50 * time.Millisecond
	// pingTimeout is how long a driver that let a call's deadline pass may take
	// to answer a health check, before it counts as hung.
	pingTimeout = 5 * time.Second
)

// process is one life of a driver.
type process struct {
	exe    *executable
	client *plugin.Client
	conn   *grpc.ClientConn
	driver proto.DriverClient
	ending sync.Once
}

// startProcess verifies and runs the candidate's executable and connects to it.
// Errors are *Error.
func startProcess(ctx context.Context, c Candidate, o Options, env []string, m masker, log hclog.Logger) (*process, error) {
	file, err := openVerified(c.Path, o.SHA256)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	exe, err := newExecutable(file, c.Path, o.SHA256 != "", env, m)
	if err != nil {
		return nil, startError(c, nil, err)
	}
	p := &process{exe: exe}
	p.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: &clientPlugin{}}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		Logger:           log,
		StartTimeout:     startTimeout,
		SyncStdout:       stdioLog{log, m},
		SyncStderr:       stdioLog{log, m},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			exe.cmd.Env = append(exe.cmd.Env, cmd.Env...) // the cookie, the certificate, the socket's folder
			return exe, nil
		},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(sdk.MaxMessageBytes), grpc.MaxCallSendMsgSize(sdk.MaxMessageBytes))},
	})
	// go-plugin's start knows no context.
	stop := context.AfterFunc(ctx, func() { _ = exe.Kill(ctx) })
	defer stop()
	if err := p.connect(); err != nil {
		p.close()
		if e := protocolError(c, exe.stdout.get()); e != nil {
			return nil, e
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, startError(c, exe, err)
	}
	return p, nil
}

func (p *process) connect() error {
	client, err := p.client.Client()
	if err != nil {
		return err
	}
	raw, err := client.Dispense(sdk.PluginName)
	if err != nil {
		return err
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return fmt.Errorf("go-plugin answered a %T", raw)
	}
	p.conn, p.driver = conn, proto.NewDriverClient(conn)
	return nil
}

// close ends the process: by asking, then by force. Calls in flight are cut.
func (p *process) close() {
	p.ending.Do(func() {
		// Kill asks with a call that has no deadline; a driver that hangs would hold
		// it up for ever.
		force := time.AfterFunc(killAfter, func() { _ = p.exe.Kill(context.Background()) })
		defer force.Stop()
		p.client.Kill()
	})
}

// died tells, after a call has failed, whether the driver is gone. It waits for
// the end of a process whose connection has broken, and ends one that does not
// end by itself: nobody can talk to it any more.
func (p *process) died() bool {
	if !p.exe.alive() {
		return true
	}
	// The call may have failed a moment before the connection's state changed.
	moment, cancel := context.WithTimeout(context.Background(), stateNotice)
	defer cancel()
	if !p.conn.WaitForStateChange(moment, connectivity.Ready) {
		return false // the driver itself answered UNAVAILABLE
	}
	select {
	case <-p.exe.exited:
	case <-time.After(exitNotice):
		_ = p.exe.Kill(context.Background())
	}
	return true
}

// hung tells whether the driver answers nothing at all, and kills it then.
func (p *process) hung(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer cancel()
	_, err := healthpb.NewHealthClient(p.conn).Check(ctx, &healthpb.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if err == nil {
		return false
	}
	_ = p.exe.Kill(ctx)
	return true
}

// clientPlugin is go-plugin's view of the host's half: the bare connection.
type clientPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (*clientPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host serves no drivers")
}

func (*clientPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// stdioLog shows what a driver prints on stdout and stderr, where nothing
// belongs once it serves.
type stdioLog struct {
	log  hclog.Logger
	mask masker
}

func (l stdioLog) Write(p []byte) (int, error) {
	for line := range strings.Lines(l.mask.mask(string(p))) {
		l.log.Debug(strings.TrimRight(line, "\r\n"))
	}
	return len(p), nil
}

// protocolError reads go-plugin's handshake line, "1|VERSION|NETWORK|ADDRESS|
// PROTOCOL|CERTIFICATE", and says what about it is not ours; nil: nothing, or
// there is no line.
func protocolError(c Candidate, line string) error {
	if line == "" {
		return nil
	}
	refuse := func(fix, format string, args ...any) error {
		return &Error{Code: CodeProtocol, Message: fmt.Sprintf("driver %s (%s) ", c.Name, c.Path) + fmt.Sprintf(format, args...), Fix: fix}
	}
	parts := strings.Split(line, "|")
	if len(parts) < 4 || parts[0] != strconv.Itoa(plugin.CoreProtocolVersion) {
		if len(line) > lineWidth {
			line = line[:lineWidth] + "…"
		}
		return refuse("check that it is a driver of rotator", "is not a driver: it printed %q", line)
	}
	if parts[1] != strconv.Itoa(sdk.ProtocolVersion) {
		return refuse("install the driver's release for this rotatord, or the rotatord for this driver",
			"speaks version %s of the driver protocol, this rotatord version %d", parts[1], sdk.ProtocolVersion)
	}
	if len(parts) < 5 || parts[4] != string(plugin.ProtocolGRPC) {
		return refuse("its author must serve it by gRPC", "does not speak gRPC")
	}
	if len(parts) < 6 || parts[5] == "" {
		return refuse("its author must let go-plugin's automatic mutual TLS be", "offers no certificate for mutual TLS")
	}
	return nil
}

// startError says why a driver did not start, with the last that it said.
func startError(c Candidate, exe *executable, cause error) error {
	e := &Error{Code: CodeStart, Message: fmt.Sprintf("driver %s (%s) did not start: %v", c.Name, c.Path, cause), Err: cause,
		Fix: "run it by hand: a driver ends at once and says that it is a plugin; and look at what it logs with --log-level debug"}
	if exe != nil && !exe.alive() {
		switch {
		case exe.cmd.ProcessState == nil:
			e.Message = fmt.Sprintf("driver %s (%s) cannot be run: %v", c.Name, c.Path, exe.err)
			e.Fix = fmt.Sprintf("install the one that was built for this machine (%s/%s); a script needs its interpreter", runtime.GOOS, runtime.GOARCH)
		case exe.cmd.ProcessState.Exited() || !exe.killed.Load(): // not by us
			e.Message = fmt.Sprintf("driver %s (%s) ended before it was ready: %s", c.Name, c.Path, exe.end())
		}
		if lines := exe.lastWords(); len(lines) > 0 {
			e.Message += "; the last it said:" + indent(lines)
		}
	}
	return e
}
