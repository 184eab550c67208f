// Package core is the library's face: what a provisioner embeds to rotate the
// nodes of a cluster, and what the rotatord command is made of.
//
//	r, err := core.Open(ctx, core.Options{Spec: spec})
//	if err != nil { ... }
//	defer r.Close()
//	p, err := r.Plan()
//	if err != nil || len(p.Refusals) > 0 { ... }
//	result, err := r.Run(ctx)
//
// A Rotator is for one rotation. It launches the driver as a process of its
// own, and talks to the cluster that the spec's kubeconfig names or the driver
// knows the way to.
package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/rotatord/rotator/core/engine"
	"github.com/rotatord/rotator/core/event"
	"github.com/rotatord/rotator/core/host"
	"github.com/rotatord/rotator/core/journal"
	"github.com/rotatord/rotator/core/kube"
	"github.com/rotatord/rotator/core/model"
	"github.com/rotatord/rotator/core/plan"
	"github.com/rotatord/rotator/core/runtime"
)

// Options of a rotation. Spec must be complete: package config defaults and
// validates it.
type Options struct {
	Spec plan.Spec
	// Log receives what a developer wants to know; events go to Sinks. Default: none.
	Log *slog.Logger
	// DriverLog receives the driver's own log. Default: none.
	DriverLog hclog.Logger
	// Sinks receive every event once it is durable; a runtime.Recaller is told first
	// what earlier runs of the rotation did.
	Sinks []runtime.Sink
	// Stop, once closed, starts nothing new, tidies the cluster and ends the
	// rotation, which can be resumed. Nil: never.
	Stop <-chan struct{}
	// RotationID names the rotation; default: made from the time and chance. A
	// rotation that an earlier run left unfinished goes on under its own id.
	RotationID string
	// FromCluster leaves the journal of an earlier run unread, as if it were
	// lost: what the nodes and the provider carry is enough to go on.
	FromCluster bool
	// Cluster and Provider replace the ports, for embedders that have their own.
	// A given Cluster must not have been started. Default: by Spec.
	Cluster  runtime.Cluster
	Provider runtime.Provider
	// Journal and Lock replace those that Spec names. With a Cluster of the
	// embedder's own there is no lock but this one, and the journal is in a folder.
	Journal journal.Store
	Lock    runtime.Lock
}

// Rotator is one rotation of one cluster, opened and not yet run.
type Rotator struct {
	opts        Options
	cluster     runtime.Cluster
	provider    runtime.Provider
	inventory   model.Inventory
	diagnostics []model.Diagnostic
	plan        *plan.Plan
	planErr     error
	past        past
	pastErr     error // why past is not known
	// id of the rotation and of its journal; empty: not yet decided.
	id, journalID string
	recalled      bool           // the sinks know of earlier runs
	lacking       []plan.Finding // permissions
	deletions     bool           // whether nodes may be deleted has been asked
	closesAt      time.Time      // the window; zero: there is none
	undoing       bool           // it takes everything back, and need not be asked to
	closers       []func()
}

// Open launches the driver, connects to the cluster, and looks at both once.
// It changes nothing. Errors are *host.Error, *kube.Error or *engine.Error,
// each saying what to do. Close must be called on success.
func Open(ctx context.Context, o Options) (*Rotator, error) {
	r, err := openCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := r.openProvider(ctx); err != nil {
		r.Close()
		return nil, err
	}
	r.lookForPermissions(ctx)
	if err := r.observe(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func openCluster(ctx context.Context, o Options) (*Rotator, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := o.Spec.Complete(); err != nil {
		return nil, err
	}
	r := &Rotator{opts: o}
	if err := r.connect(ctx); err != nil {
		r.Close()
		return nil, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.closers = append(r.closers, stop)
	// The watches outlive ctx, which may only bound the opening.
	unhook := context.AfterFunc(ctx, stop)
	err := r.cluster.Start(watching)
	unhook()
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// connect finds the cluster and looks at nothing of it yet.
func (r *Rotator) connect(ctx context.Context) error {
	o := r.opts
	if r.cluster = o.Cluster; r.cluster != nil {
		return nil
	}
	if o.Spec.CloudOnly {
		r.cluster = noCluster{changes: make(chan engine.Input)}
		return nil
	}
	c, err := r.connectKube(ctx, kube.Options{Volumes: watchesVolumes(o.Spec), Autoscalers: moves(o.Spec)})
	if err != nil {
		return err
	}
	r.cluster = c
	return nil
}

// watchesVolumes tells whether claims and attachments matter.
func watchesVolumes(s plan.Spec) bool { return s.Drain.VolumeDetachTimeout > 0 || moves(s) }

// moves tells whether workloads are to be moved without downtime. What they own
// decides whether they can be.
func moves(s plan.Spec) bool {
	return s.Drain.SingleReplica == plan.SingleRestart || s.Drain.SingleReplica == plan.SingleSurge
}

// openProvider launches the driver, unless that was done.
func (r *Rotator) openProvider(ctx context.Context) error {
	if r.provider == nil {
		r.provider = r.opts.Provider
	}
	if r.provider == nil {
		d := r.opts.Spec.Driver
		h, err := host.Launch(ctx, host.Options{Name: d.Name, Path: d.Path, PluginDirs: d.PluginDir, SHA256: d.SHA256, Env: d.Env,
			Config: d.Config, Cluster: r.opts.Spec.Cluster, CallTimeout: d.Timeout, Log: r.opts.DriverLog})
		if err != nil {
			return err
		}
		r.closers = append(r.closers, h.Close)
		r.provider = h
	}
	return nil
}

// observe looks at the cluster and the provider and makes the plan.
func (r *Rotator) observe(ctx context.Context) error {
	r.inventory = r.cluster.Inventory()
	s, diagnostics, err := r.provider.Observe(ctx, 0)
	if err != nil {
		return fmt.Errorf("looking at cluster %s through driver %s: %w", r.opts.Spec.Cluster, r.opts.Spec.Driver.Name, err)
	}
	r.inventory.Groups, r.inventory.Instances, r.diagnostics = s.Groups, s.Instances, diagnostics
	now := time.Now()
	groups, err := plan.Selected(r.opts.Spec, s.Groups)
	if r.planErr = err; err != nil {
		return nil //nolint:nilerr // Plan returns it: what was seen is worth showing all the same
	}
	store, err := r.store(nil)
	if err == nil {
		r.past, err = r.takeUp(ctx, store, now)
	}
	r.pastErr = err
	if err := r.compareReleases(ctx, groups); err != nil {
		return err
	}
	if r.plan, r.planErr = plan.Resume(r.opts.Spec, r.inventory, now, r.past.memory.Memory); r.planErr == nil {
		r.lookForDeletions(ctx)
		r.plan.Warnings = append(r.plan.Warnings, r.lacking...)
	}
	return nil
}

// Diagnostics are the driver's findings about the cluster: what it left out,
// and why; and what keeps us from knowing about earlier runs.
func (r *Rotator) Diagnostics() []model.Diagnostic {
	list := slices.Clip(r.diagnostics)
	if r.pastErr != nil {
		list = append(list, model.Diagnostic{Severity: model.SeverityWarning, Code: "journal-unknown",
			Summary: "the journal cannot be read: the plan does not know what earlier runs did", Detail: r.pastErr.Error()})
	}
	return list
}

// Plan says what Run would do. It changes nothing. The only error is a
// *plan.SelectionError.
func (r *Rotator) Plan() (*plan.Plan, error) { return r.plan, r.planErr }

// RefusedError says that the plan has refusals; nothing was changed.
type RefusedError struct{ Plan *plan.Plan }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the plan was refused: %s", e.Plan.Refusals[0].Message)
}

// Run ends with StatusStopped where the spec's window is shut, with nothing
// changed. It refuses where permissions are missing, takes the lock, looks again,
// makes the release that the spec asks for the groups' desired revision, and
// carries out the plan that it then makes. With nothing to do it returns StatusDone
// at once, without the lock. Errors: *plan.SelectionError, *RefusedError,
// *kube.HeldError, *kube.Error, with nothing changed; runtime.ErrJournal,
// runtime.ErrLockLost, ctx's own. It can be called once.
func (r *Rotator) Run(ctx context.Context) (*engine.Result, error) {
	if res, err := r.ready(); res != nil || err != nil {
		return res, err
	}
	if _, shut, err := closes(r.opts.Spec, time.Now()); shut != nil || err != nil {
		return shut, err
	}
	return r.locked(ctx, func(lock runtime.Lock) (*engine.Result, error) {
		// Another rotation may have ended since we looked.
		if res, err := r.lookAgain(ctx); res != nil || err != nil {
			return res, err
		}
		var shut *engine.Result
		var err error
		if r.closesAt, shut, err = closes(r.opts.Spec, time.Now()); shut != nil || err != nil {
			return shut, err
		}
		if r.plan.Stagings() > 0 || len(r.past.memory.OpenStages()) > 0 {
			if res, err := r.stagePlanned(ctx, lock); res != nil || err != nil {
				return res, err
			}
			// What is outdated now, the provider says.
			if res, err := r.lookAgain(ctx); res != nil || err != nil {
				return afterStaging(res, err)
			}
		}
		return r.run(ctx, r.plan, lock, false)
	})
}

// lookAgain observes and tells whether there is a rotation to run, as ready does.
func (r *Rotator) lookAgain(ctx context.Context) (*engine.Result, error) {
	if err := r.observe(ctx); err != nil {
		return nil, err
	}
	if r.pastErr != nil {
		return nil, fmt.Errorf("%w: %w", runtime.ErrJournal, r.pastErr)
	}
	return r.ready()
}

// ready tells whether there is a rotation to run: both answers are nil then.
func (r *Rotator) ready() (*engine.Result, error) {
	p, err := r.Plan()
	switch {
	case err != nil:
		return nil, err
	case len(p.Refusals) > 0:
		return nil, &RefusedError{Plan: p}
	case p.Nodes() == 0 && p.Stagings() == 0 && !p.Leftovers() && !r.past.cutOff():
		return &engine.Result{Status: engine.StatusDone, Message: "nothing to do: no node is outdated"}, nil
	case len(r.lacking) > 0:
		p.Refusals = r.lacking
		return nil, &RefusedError{Plan: p}
	}
	return nil, nil
}

// name decides the rotation's id, once, and that of its journal. fresh is what it
// is called where it does not go on with another.
func (r *Rotator) name(fresh string) string {
	if r.id == "" {
		r.id = cmp.Or(r.past.rotation, r.opts.RotationID, fresh)
		// Where the journal is not to be trusted, it is not written to either.
		if r.journalID = r.id; r.opts.FromCluster {
			r.journalID = fresh
		}
	}
	return r.id
}

// recall tells the sinks, once, what earlier runs did.
func (r *Rotator) recall(past []event.Event) {
	if r.recalled || len(past) == 0 {
		return
	}
	r.recalled = true
	for _, s := range r.opts.Sinks {
		if s, ok := s.(runtime.Recaller); ok {
			s.Recall(past)
		}
	}
}

func (r *Rotator) run(ctx context.Context, p *plan.Plan, lock runtime.Lock, drainOnly bool) (*engine.Result, error) {
	fresh := freshID()
	id := r.name(fresh)
	log, err := r.openLog(ctx, r.journalID, lock)
	if err != nil {
		return nil, err
	}
	defer log.Close(context.WithoutCancel(ctx))
	r.recall(log.Past())
	spec := fingerprint(r.opts.Spec)
	if drainOnly {
		spec = "drain" // nothing goes on with it
	}
	var abort <-chan struct{}
	if l, ok := lock.(*kube.Lease); ok && !r.undoing { // which takes everything back already
		abort = l.Aborted()
	}
	// The ids of this run's operations are its own, also where it goes on with an
	// earlier rotation.
	e := engine.New(engine.Config{Rotation: id, OpPrefix: fresh, Memory: engine.Restore(log.Past()), Plan: p, Spec: r.opts.Spec,
		SpecID: spec, DrainOnly: drainOnly, ClosesAt: r.closesAt, UndoOnStop: r.opts.Spec.Strategy.OnSignal == plan.SignalUndo})
	first := engine.Cluster(&r.inventory)
	first.Snapshot = &engine.Snapshot{Groups: r.inventory.Groups, Instances: r.inventory.Instances}
	r.inventory = model.Inventory{} // the engine keeps what it needs of it
	result, err := runtime.Run(ctx, runtime.Options{Rotation: id, Engine: e, Provider: r.provider, Cluster: r.cluster, Journal: log, Lock: lock,
		Sinks: r.opts.Sinks, Stop: r.opts.Stop, Abort: abort, Log: r.opts.Log,
		Initial: first})
	if errors.Is(err, journal.ErrTakenOver) {
		// A run that stood still may learn it from the journal before its lock says
		// so: whoever writes the journal now has the lock.
		err = fmt.Errorf("%w: %w", runtime.ErrLockLost, err)
	}
	return result, err
}

// Close ends the driver and the watches. It may be called more than once.
func (r *Rotator) Close() {
	for _, c := range r.closers {
		c()
	}
	r.closers = nil
}

// DrainNode cordons and drains one node, with the spec's rules. With terminate
// it then ends the node's instance through the driver, after which its group
// refills; without, no driver is needed and the node stays cordoned. Errors
// are those of Open and Run.
func DrainNode(ctx context.Context, o Options, node string, terminate bool) (*engine.Result, error) {
	o.Spec.Release = "" // a drain is about one node
	if terminate {
		o.Spec.Select = plan.Select{Nodes: []string{node}, Force: true,
			Roles: []string{string(model.RoleNode), string(model.RoleControlPlane), string(model.RoleAPIServer), string(model.RoleBastion)}}
		o.Spec.Strategy = plan.Strategy{Mode: plan.ModeRolling, MaxUnavailable: "1", Waits: o.Spec.Strategy.Waits}
		r, err := Open(ctx, o)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return r.Run(ctx)
	}
	if o.Spec.CloudOnly {
		return nil, errNoCluster
	}
	r, err := openCluster(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.provider = noProvider{}
	r.lookForPermissions(ctx)
	// Before the lock: a node that does not exist needs none.
	r.inventory = r.cluster.Inventory()
	p, err := plan.BuildDrain(o.Spec, r.inventory, node, time.Now())
	if err == nil {
		p.Refusals = append(p.Refusals, r.lacking...)
	}
	if err != nil || len(p.Refusals) > 0 {
		return nil, cmp.Or(err, error(&RefusedError{Plan: p}))
	}
	return r.locked(ctx, func(lock runtime.Lock) (*engine.Result, error) {
		r.inventory = r.cluster.Inventory()
		p, err := plan.BuildDrain(o.Spec, r.inventory, node, time.Now())
		if err != nil || len(p.Refusals) > 0 {
			return nil, cmp.Or(err, error(&RefusedError{Plan: p}))
		}
		// The engine knows instances: the node stands for its own.
		g := p.Groups[0]
		r.inventory.Groups = []model.NodeGroup{{ID: g.ID, Name: g.Name, Role: g.Role, Desired: g.Size}}
		r.inventory.Instances = []model.Instance{{ID: node, GroupID: g.ID, State: model.InstanceInService}}
		return r.run(ctx, p, lock, true)
	})
}

// noProvider stands in where a drain needs no driver: nothing calls it.
type noProvider struct{}

func (noProvider) Observe(context.Context, time.Duration) (*engine.Snapshot, []model.Diagnostic, error) {
	return nil, nil, &engine.Error{Code: engine.ErrUnsupported, Message: "a drain has no driver"}
}

func (noProvider) Do(context.Context, string, engine.Effect) error {
	return &engine.Error{Code: engine.ErrUnsupported, Message: "a drain has no driver"}
}
