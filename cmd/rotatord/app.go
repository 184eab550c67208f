package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/rotatord/rotator/core"
	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// app is one call of the command: what it talks to, and where it writes. Data
// goes to stdout, everything else to stderr.
type app struct {
	stdout, stderr io.Writer
	// signals delivers what asks the process to end (stopSignals); nil: none.
	signals   <-chan os.Signal
	listening listening
	// outlive is called before what must not be cut short (outliveReaders); nil: not.
	outlive func()
	// exit ends the process at once, on the second signal.
	exit    func(code int)
	backend backend
	// self starts another rotatord, with env beside this one's variables.
	self func(args, env []string, stdout, stderr io.Writer) (child, error)

	args []string // of this call, for messages
}

// backend is what the commands need of package core and of the driver host.
type backend interface {
	// Open launches the driver, connects to the cluster and looks at both. It
	// changes nothing.
	Open(ctx context.Context, r request) (rotation, error)
	// Drain drains one node, and ends its instance where terminate is set.
	Drain(ctx context.Context, r request, node string, terminate bool) (*engine.Result, error)
	// Abort takes back what an unfinished rotation changed.
	Abort(ctx context.Context, r request) (*engine.Result, error)
	// CheckReleases compares the selected groups with a release.
	CheckReleases(ctx context.Context, r request) (*core.Releases, error)
	// StageRelease makes a release the groups' desired revision; RollbackRelease
	// gives them back what they had, or the release to. dryRun changes nothing.
	StageRelease(ctx context.Context, r request, dryRun bool) (*core.Staging, error)
	RollbackRelease(ctx context.Context, r request, to string, dryRun bool) (*core.Staging, error)
	// Drivers lists the executables that carry drivers, the refused ones too.
	Drivers(d plan.Driver) []driverFile
	// DriverInfo starts the driver, asks it about itself, and ends it.
	DriverInfo(ctx context.Context, r request) (*driverInfo, error)
	// State connects to the cluster and finds the journals. It changes nothing.
	State(ctx context.Context, r request) (state, error)
	// Explain says what an error of the backend means for a person; nil: it is
	// none of the backend's own.
	Explain(err error) *failure
}

// rotation is an opened rotation.
type rotation interface {
	Plan() (*plan.Plan, error)
	Run(ctx context.Context) (*engine.Result, error)
	Diagnostics() []model.Diagnostic
	Close()
}

// state is what is known of a cluster's rotations.
type state interface {
	// Holder tells who holds the lock; nil: nobody.
	Holder(ctx context.Context) (*kube.Holder, error)
	Journals() journal.Store
	Close()
}

// request is what a command asks the backend for.
type request struct {
	Spec      plan.Spec
	Log       *slog.Logger
	DriverLog hclog.Logger
	Sinks     []runtime.Sink
	Stop      <-chan struct{}
	// FromCluster leaves the journal aside.
	FromCluster bool
}

// driverFile is an executable that carries a driver, or claims to.
type driverFile struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Source string `json:"source"`
	// Status is ok, rejected or hidden.
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

// driverInfo is what a driver says about itself.
type driverInfo struct {
	Name         string
	Version      string
	Path         string
	Verbs        []string
	ConfigSchema []byte // JSON Schema; empty: no configuration
}

// run executes one call and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	a.args = args
	a.stderr = &lockedWriter{w: a.stderr}
	stdout := &checkedWriter{w: a.stdout}
	a.stdout = stdout
	done := make(chan struct{})
	defer close(done)
	go a.passSignals(done)
	cmd := a.root()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var f *failure
	if stdout.err != nil && (err == nil || errors.Is(err, stdout.err) && !errors.As(err, &f)) {
		err = &failure{code: exitFailed, message: "all is done, but the output is not complete: " + stdout.err.Error(),
			fix: "free space where stdout goes, or have it go elsewhere", err: stdout.err}
	}
	return a.report(err)
}

// lockedWriter keeps lines of progress, logs and signals apart.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
