package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// coreBackend is the real backend.
type coreBackend struct{}

var _ backend = coreBackend{}

func (coreBackend) Open(ctx context.Context, r request) (rotation, error) {
	rot, err := core.Open(ctx, coreOptions(r))
	if err != nil {
		return nil, err // and not a nil *core.Rotator in an interface
	}
	return rot, nil
}

func (coreBackend) Drain(ctx context.Context, r request, node string, terminate bool) (*engine.Result, error) {
	return core.DrainNode(ctx, coreOptions(r), node, terminate)
}

func (coreBackend) Abort(ctx context.Context, r request) (*engine.Result, error) {
	return core.Abort(ctx, coreOptions(r))
}

func (coreBackend) CheckReleases(ctx context.Context, r request) (*core.Releases, error) {
	return core.CheckReleases(ctx, coreOptions(r))
}

func (coreBackend) StageRelease(ctx context.Context, r request, dryRun bool) (*core.Staging, error) {
	return core.StageRelease(ctx, coreOptions(r), dryRun)
}

func (coreBackend) RollbackRelease(ctx context.Context, r request, to string, dryRun bool) (*core.Staging, error) {
	return core.RollbackRelease(ctx, coreOptions(r), to, dryRun)
}

func coreOptions(r request) core.Options {
	return core.Options{Spec: r.Spec, Log: r.Log, DriverLog: r.DriverLog, Sinks: r.Sinks, Stop: r.Stop, FromCluster: r.FromCluster}
}

func (coreBackend) Drivers(d plan.Driver) []driverFile {
	var out []driverFile
	for _, c := range host.List(host.Options{PluginDirs: d.PluginDir}) {
		f := driverFile{Name: c.Name, Path: c.Path, Source: c.Source, Status: "ok"}
		var e *host.Error
		switch {
		case errors.As(c.Err, &e):
			f.Status, f.Reason, f.Fix = "rejected", e.Message, e.Fix
		case c.Err != nil:
			f.Status, f.Reason = "rejected", c.Err.Error()
		case c.ShadowedBy != "":
			f.Status, f.Reason = "hidden", fmt.Sprintf("%s is not used: %s has the same name and comes first", c.Path, c.ShadowedBy)
		}
		out = append(out, f)
	}
	return out
}

func (coreBackend) DriverInfo(ctx context.Context, r request) (*driverInfo, error) {
	d := r.Spec.Driver
	i, err := host.Inspect(ctx, host.Options{Name: d.Name, Path: d.Path, PluginDirs: d.PluginDir, SHA256: d.SHA256, Env: d.Env,
		CallTimeout: d.Timeout, Log: r.DriverLog})
	if err != nil {
		return nil, err
	}
	return &driverInfo{Name: i.Name, Version: i.Version, Path: i.Candidate.Path, Verbs: i.Verbs, ConfigSchema: i.ConfigSchema}, nil
}

func (coreBackend) Explain(err error) *failure {
	var (
		he *host.Error
		ke *kube.Error
		re *core.RefusedError
		le *kube.HeldError
		ce *journal.CorruptError
		ee *core.EndError
	)
	switch {
	case errors.As(err, &re):
		var f *failure
		errors.As(refused(re.Plan), &f)
		return f
	case errors.As(err, &ee):
		var f *failure
		errors.As(resultFailure(ee.Result), &f)
		return f
	case errors.As(err, &he):
		return &failure{code: driverExit(he.Code), message: he.Message, fix: he.Fix, err: err}
	case errors.As(err, &ke):
		return &failure{code: clusterExit(ke.Code), message: ke.Message, fix: ke.Fix, err: err}
	case errors.As(err, &le):
		return &failure{code: exitLocked, message: le.Error() + "; nothing was changed",
			fix: fmt.Sprintf("wait until it has ended (`rotatord status` shows how far it is), or stop it; if it must not go on and cannot be stopped, run this again with --take-over, which begins %s after it took the lock", le.Wait), err: err}
	case errors.Is(err, journal.ErrInUse):
		return &failure{code: exitLocked, message: err.Error(), fix: "wait for the other rotatord to end, or stop it; another --journal-dir would not make two rotations of one cluster safe", err: err}
	case errors.Is(err, runtime.ErrLockLost):
		return &failure{code: exitStopped, message: err.Error(), fix: "run the same command again: it goes on where this one ended, unless somebody else has the lock now (`rotatord status`)", err: err}
	case errors.Is(err, journal.ErrTakenOver):
		return &failure{code: exitLocked, message: err.Error(), fix: "`rotatord status` shows who goes on with the rotation", err: err}
	case errors.As(err, &ce):
		return &failure{code: exitFailed, message: ce.Error(), err: err}
	case errors.Is(err, runtime.ErrJournal) && journal.Transient(err):
		return &failure{code: exitStopped, message: err.Error(), fix: "check that the API server answers, then run the same command again", err: err}
	case errors.Is(err, runtime.ErrJournal):
		return &failure{code: exitStopped, message: err.Error(), fix: "put right what the message names, then run the same command again", err: err}
	}
	return nil
}

func (coreBackend) State(ctx context.Context, r request) (state, error) {
	s, err := core.OpenState(ctx, coreOptions(r))
	if err != nil {
		return nil, err // and not a nil *core.State in an interface
	}
	return s, nil
}

// driverExit tells drivers that cannot be used as they are configured from
// those that fail.
func driverExit(c host.Code) int {
	switch c {
	case host.CodeMissing, host.CodeRejected, host.CodeProtocol, host.CodeStart, host.CodeConfig:
		return exitUsage
	case host.CodeDenied, host.CodeUnavailable, host.CodeLost:
		return exitFailed
	}
	return exitFailed
}

// clusterExit tells a kubeconfig that cannot be used from a cluster that does
// not answer.
func clusterExit(c kube.Code) int {
	switch c {
	case kube.CodeKubeconfigMissing, kube.CodeKubeconfigInvalid, kube.CodeContextUnknown:
		return exitUsage
	case kube.CodeAccess, kube.CodeUnreachable, kube.CodeUnauthorized, kube.CodeForbidden:
		return exitFailed
	}
	return exitFailed
}
