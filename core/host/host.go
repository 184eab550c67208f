// Package host finds, verifies, launches and restarts drivers, which run as
// processes of their own, and is the port by which the core calls them.
package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/runtime"
	"github.com/rotatord/rotator/drivers/sdk"
	"github.com/rotatord/rotator/drivers/sdk/proto"
)

// defaultCallTimeout bounds one call. A driver returns as soon as the provider
// has accepted a change; throttled describes of a large cluster take longest.
const defaultCallTimeout = 2 * time.Minute

// Options say which driver to run, and how.
type Options struct {
	// Name as in --driver NAME. May be empty when Path is given.
	Name string
	// Path of the executable; empty: Find looks for it.
	Path string
	// PluginDirs are searched before all other folders.
	PluginDirs []string
	// SHA256 that the executable must have, in hex; empty: any.
	SHA256 string
	// Env adds to the allow-listed environment: "NAME=value" sets a variable,
	// "NAME" or "PREFIX_*" lets variables of the host through.
	Env []string
	// Config is the driver's configuration, by the schema of its Info.
	Config map[string]any
	// Cluster is its name at the provider; Groups limits what is observed to
	// these group ids.
	Cluster string
	Groups  []string
	// CallTimeout bounds each call; 0: two minutes.
	CallTimeout time.Duration
	// Log receives the driver's own log lines and go-plugin's; nil: none.
	Log hclog.Logger
}

// Info is what a driver says about itself.
type Info struct {
	Name         string
	Version      string
	ConfigSchema []byte   // JSON Schema; empty: it reads no configuration
	Verbs        []string // what it implements: prepare, set-surge, terminate, ...
	Candidate    Candidate
}

// Driver is a driver that runs and is configured. It implements the core's
// port: calls have deadlines, and a driver that dies is started again. Safe for
// concurrent use.
type Driver struct {
	sup      *supervisor
	info     Info
	warnings []model.Diagnostic
}

var _ runtime.Provider = (*Driver)(nil)

// Launch finds, verifies, starts and configures a driver. Errors are *Error,
// but for the end of ctx. The driver runs until Close, whatever becomes of ctx.
func Launch(ctx context.Context, o Options) (*Driver, error) {
	s, info, err := open(ctx, o)
	if err != nil {
		return nil, endOf(ctx, err)
	}
	warnings, err := s.configure(ctx, s.life, false)
	if err != nil {
		s.close()
		return nil, endOf(ctx, err)
	}
	for _, w := range warnings {
		s.log.Warn(w.Summary, "code", w.Code, "detail", w.Detail)
	}
	return &Driver{sup: s, info: info, warnings: warnings}, nil
}

// Inspect starts a driver without configuring it, asks for its Info and ends it.
func Inspect(ctx context.Context, o Options) (Info, error) {
	s, info, err := open(ctx, o)
	if err != nil {
		return Info{}, endOf(ctx, err)
	}
	s.close()
	return info, nil
}

// Validate starts a driver, lets it check o.Config without using it, and ends
// it. The diagnostics are those of an accepted configuration; one that is
// refused is an *Error of code driver-config or driver-denied.
func Validate(ctx context.Context, o Options) ([]model.Diagnostic, error) {
	s, _, err := open(ctx, o)
	if err != nil {
		return nil, endOf(ctx, err)
	}
	defer s.close()
	diagnostics, err := s.configure(ctx, s.life, true)
	return diagnostics, endOf(ctx, err)
}

// endOf makes an error that came of the end of ctx say so: it is not the
// driver's fault. Any other stays as it is.
func endOf(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("while a driver was started: %w", context.Cause(ctx))
}

// Info returns what the driver said about itself when it was launched.
func (d *Driver) Info() Info { return d.info }

// Warnings are the diagnostics of the accepted configuration.
func (d *Driver) Warnings() []model.Diagnostic { return slices.Clone(d.warnings) }

// Close ends the driver. Calls in flight are cut, which cancels nothing at the
// provider; later calls fail. It may be called more than once.
func (d *Driver) Close() { d.sup.close() }

// open starts a driver and asks for its Info.
func open(ctx context.Context, o Options) (*supervisor, Info, error) {
	c, err := Find(o.Name, o)
	if err != nil {
		return nil, Info{}, err
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	config, err := json.Marshal(o.Config)
	if err != nil {
		return nil, Info{}, &Error{Code: CodeConfig, Message: fmt.Sprintf("configuration of driver %s: %v", c.Name, err), Err: err}
	}
	if o.Config == nil {
		config = []byte("{}")
	}
	env := environment(c.Name, o.Env, os.Environ())
	s := newSupervisor(c, o, config, env)
	s.life, err = startProcess(ctx, c, o, s.env, s.mask, s.log)
	if err != nil {
		return nil, Info{}, err
	}
	info, err := s.askInfo(ctx)
	if err != nil {
		s.close()
		return nil, Info{}, err
	}
	return s, info, nil
}

// askInfo asks the first life of the driver who it is.
func (s *supervisor) askInfo(ctx context.Context) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.CallTimeout)
	defer cancel()
	r, err := s.life.driver.Info(ctx, &proto.InfoRequest{})
	if err != nil {
		if status.Code(err) == codes.Unimplemented {
			return Info{}, &Error{Code: CodeProtocol, Message: fmt.Sprintf("driver %s (%s) does not serve %s", s.c.Name, s.c.Path, proto.Driver_ServiceDesc.ServiceName), Err: err}
		}
		if s.life.died() {
			return Info{}, startError(s.c, s.life.exe, err)
		}
		return Info{}, &Error{Code: CodeStart, Message: fmt.Sprintf("driver %s (%s) does not say what it is: %v", s.c.Name, s.c.Path, err), Err: err}
	}
	info := Info{Name: r.GetName(), Version: r.GetVersion(), ConfigSchema: r.GetConfigSchema(), Candidate: s.c}
	for _, v := range r.GetVerbs() {
		name, ok := verbName(v)
		if !ok {
			return Info{}, &Error{Code: CodeProtocol, Message: fmt.Sprintf("driver %s (%s) offers verb %v, which this rotatord does not know", s.c.Name, s.c.Path, v), Fix: "install the rotatord for this driver"}
		}
		info.Verbs = append(info.Verbs, name)
	}
	if info.Name != s.c.Name && s.o.Name != "" {
		return Info{}, &Error{Code: CodeProtocol, Message: fmt.Sprintf("%s calls itself driver %q, not %q", s.c.Path, info.Name, s.c.Name), Fix: "name the executable after its driver: " + sdk.ExecutablePrefix + info.Name}
	}
	s.verbs = info.Verbs
	return info, nil
}

// tryLater is what to do about CodeUnavailable.
const tryLater = "run the same command again once the provider answers"

// configure sends the configuration to one life of the driver. The diagnostics
// are those of an accepted configuration. Errors are *Error.
func (s *supervisor) configure(ctx context.Context, p *process, validateOnly bool) ([]model.Diagnostic, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.CallTimeout)
	defer cancel()
	r, err := p.driver.Configure(ctx, &proto.ConfigureRequest{Config: s.config, ValidateOnly: validateOnly})
	if err != nil {
		switch status.Code(err) {
		case codes.PermissionDenied, codes.Unauthenticated:
			return nil, &Error{Code: CodeDenied, Message: fmt.Sprintf("driver %s: %s", s.c.Name, s.text(err)), Fix: "check the provider's credentials", Err: err}
		case codes.InvalidArgument, codes.FailedPrecondition:
			return nil, &Error{Code: CodeConfig, Message: fmt.Sprintf("driver %s: %s", s.c.Name, s.text(err)), Err: err}
		case codes.ResourceExhausted, codes.DeadlineExceeded:
			return nil, &Error{Code: CodeUnavailable, Message: fmt.Sprintf("driver %s: %s", s.c.Name, s.text(err)), Fix: tryLater, Err: err}
		}
		if p.died() {
			return nil, startError(s.c, p.exe, err)
		}
		return nil, &Error{Code: CodeStart, Message: fmt.Sprintf("driver %s cannot be configured: %s", s.c.Name, s.text(err)), Err: err}
	}
	diagnostics, err := diagnosticsFromProto(r.GetDiagnostics())
	if err != nil {
		return nil, &Error{Code: CodeProtocol, Message: fmt.Sprintf("driver %s: configure: %v", s.c.Name, err), Err: err}
	}
	code, later := CodeConfig, true
	var texts []string
	for _, d := range diagnostics {
		if d.Severity != model.SeverityError {
			continue
		}
		if sdk.AboutCredentials(d.Code) {
			code = CodeDenied
		}
		later = later && d.Retry == model.RetryLater
		text := s.mask.mask(d.Summary)
		if d.Detail != "" {
			text += ": " + s.mask.mask(d.Detail)
		}
		texts = append(texts, text)
	}
	if len(texts) > 0 {
		e := &Error{Code: code, Message: fmt.Sprintf("driver %s: %s", s.c.Name, strings.Join(texts, "; "))}
		if later {
			e.Code, e.Fix = CodeUnavailable, tryLater
		}
		return nil, e
	}
	return diagnostics, nil
}

// text is what a failed call says, for a person.
func (s *supervisor) text(err error) string { return s.mask.mask(status.Convert(err).Message()) }
